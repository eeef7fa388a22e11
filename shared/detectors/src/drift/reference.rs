//! The distribution of a number in the training, in short, and where values of a stream fall in it.

use evaluation::statistics::place;
use serde::{Deserialize, Serialize};

use super::identity::Identity;

/// The shares of the values between which features are told apart: tenths, as is usual for the population stability index.
pub const FEATURE_SHARES: [f64; 9] = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9];

/// The same for scores: finer, and finest at the ends, where anomalies are.
pub const SCORE_SHARES: [f64; 27] = [
    0.001, 0.002_5, 0.005, 0.01, 0.02, 0.04, 0.06, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.92, 0.94,
    0.96, 0.98, 0.99, 0.995, 0.997_5, 0.999, 0.999_5,
];

/// So many equal values have their places drawn one by one; of more, each has the mean of its place, which is as far from the truth
/// as a place in four million.
const MOST_DRAWN: usize = 1 << 22;

/// More values than any training has: so many are counted exactly, whatever they are added to.
const TOO_MANY: usize = 1 << 52;

/// What the places of equal values are drawn for.
const OF_TIES: u64 = 0x7469_6573;

/// Some of the order statistics of known values.
///
/// Of `n` values and one to come, all exchangeable, that one is as likely to be in each of the `n + 1` gaps between them. So it is
/// between those of rank `r` and `s` with probability `(s - r) / (n + 1)`, whatever the distribution. Ranks depend on `n` alone. Equal
/// values have ranks too: how many there are of each is kept, so that a value to come that equals them can be given a fair place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reference {
    /// How many values there were.
    pub n_samples: usize,
    /// The least and the greatest.
    pub range: [f64; 2],
    /// Ranks, rising, the least value having rank 1.
    pub ranks: Vec<usize>,
    /// The value of each rank.
    pub values: Vec<f64>,
    /// For each rank, its place among the values that equal it, from 1, and how many these are. Empty where each is the only one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ties: Vec<[usize; 2]>,
}

impl Reference {
    /// That of these finite values, told apart at these shares of them.
    pub fn fit(mut values: Vec<f64>, shares: &[f64]) -> Self {
        // A zero is a zero, whatever its sign.
        values.iter_mut().for_each(|value| *value += 0.0);
        let n = values.len();
        let range = values
            .iter()
            .fold([f64::INFINITY, f64::NEG_INFINITY], |[low, high], value| [low.min(*value), high.max(*value)]);
        if n == 0 {
            return Self { n_samples: 0, range: [0.0; 2], ranks: Vec::new(), values, ties: Vec::new() };
        }
        let rank = |share: &f64| ((share * (n + 1) as f64).round() as usize).clamp(1, n);
        let mut ranks: Vec<usize> = shares.iter().map(rank).collect();
        ranks.sort_unstable();
        ranks.dedup();
        let places: Vec<usize> = ranks.iter().map(|rank| rank - 1).collect();
        place(&mut values, &places, f64::total_cmp);
        let kept: Vec<f64> = places.iter().map(|&place| values[place]).collect();
        let ties = ties(&values, &ranks, &kept);
        let has_ties = ties.iter().any(|[_, equal]| *equal > 1);
        Self { n_samples: n, range, ranks, values: kept, ties: if has_ties { ties } else { Vec::new() } }
    }

    /// Checks what was read from a file.
    ///
    /// # Errors
    /// What is wrong.
    pub fn check(&self) -> Result<(), String> {
        let Self { n_samples, range: [low, high], ranks, values, ties } = self;
        let is_ranked = *n_samples < TOO_MANY
            && ranks.is_sorted_by(|a, b| a < b)
            && ranks.iter().all(|rank| (1..=*n_samples).contains(rank));
        let is_finite = low.is_finite() && high.is_finite() && values.iter().all(|value| value.is_finite());
        if !is_ranked || !is_finite || values.len() != ranks.len() || !values.is_sorted() {
            return Err("a distribution of its training is not a list of rising ranks with rising values".to_owned());
        }
        if low > high
            || values.first().is_some_and(|first| first < low)
            || values.last().is_some_and(|last| last > high)
        {
            return Err("a distribution of its training is not within its range".to_owned());
        }
        let of_rank = |([position, equal], rank): (&[usize; 2], &usize)| {
            (1..=*equal).contains(position) && position <= rank && *equal <= *n_samples
        };
        let rises = |index: usize| {
            values[index] != values[index + 1]
                || ties[index][0] < ties[index + 1][0] && ties[index][1] == ties[index + 1][1]
        };
        let are_ties = ties.len() == ranks.len()
            && ties.iter().zip(ranks).all(of_rank)
            && (0..ties.len().saturating_sub(1)).all(rises);
        let is_without = ties.is_empty() && values.is_sorted_by(|a, b| a < b);
        if are_ties || is_without {
            Ok(())
        } else {
            Err("the ties of a distribution of its training do not fit".to_owned())
        }
    }

    /// How many of the gaps between the values lie in each cell: they add up to one more than there are values.
    fn weights(&self) -> Vec<u64> {
        let bounds = std::iter::once(0).chain(self.ranks.iter().copied()).chain([self.n_samples + 1]);
        let bounds: Vec<usize> = bounds.collect();
        bounds.windows(2).map(|pair| (pair[1] - pair[0]) as u64).collect()
    }
}

/// For each rank, its place among the values that equal it, and how many these are.
fn ties(values: &[f64], ranks: &[usize], kept: &[f64]) -> Vec<[usize; 2]> {
    let (mut below, mut equal) = (vec![0usize; kept.len() + 1], vec![0usize; kept.len() + 1]);
    for value in values {
        let first = kept.partition_point(|other| other < value);
        let after = kept.partition_point(|other| other <= value);
        // It is below all from `after` on, and equals those before that.
        below[after] += 1;
        if first < after {
            equal[first] += 1;
        }
    }
    let mut n_below = 0;
    let tie = |index: usize| {
        n_below += below[index];
        let first = kept.partition_point(|other| *other < kept[index]);
        // Those that equal it are counted as below the next greater one, so `n_below` has none of them.
        [ranks[index] - n_below, equal[first]]
    };
    (0..kept.len()).map(tie).collect()
}

/// The places between the order statistics of a [`Reference`].
#[derive(Debug, Clone, PartialEq)]
pub struct Cells {
    range: [f64; 2],
    values: Vec<f64>,
    /// For each value, where it lies among the values that equal it, as a share of these: drawn once.
    shares: Vec<f64>,
    weights: Vec<u64>,
}

impl Cells {
    /// Those of a reference that was checked.
    pub fn new(reference: &Reference) -> Self {
        Self::drawn(reference, 0)
    }

    /// The same, with other draws for another seed.
    pub(super) fn drawn(reference: &Reference, seed: u64) -> Self {
        let source = |index: usize| Identity::of_number((OF_TIES + index as u64) ^ seed.rotate_left(32));
        let mut shares = Vec::with_capacity(reference.values.len());
        let mut first = 0;
        while first < reference.values.len() {
            let value = reference.values[first];
            let after = first + reference.values[first..].iter().take_while(|other| **other == value).count();
            match reference.ties.get(first..after) {
                Some(ties) => shares.extend(order_statistics(ties, source(first))),
                None => shares.extend((first..after).map(|index| source(index).uniform(0))),
            }
            first = after;
        }
        Self { range: reference.range, values: reference.values.clone(), shares, weights: reference.weights() }
    }

    /// The cell of a finite value. `uniform`, between 0 and 1, is where it lies among values that equal it.
    pub fn of(&self, value: f64, uniform: f64) -> usize {
        let first = self.values.partition_point(|other| *other < value);
        let after = first + self.values[first..].partition_point(|other| *other <= value);
        first + self.shares[first..after].iter().filter(|share| **share < uniform).count()
    }

    /// Whether a value is less than the least or greater than the greatest of the training.
    pub fn is_outside(&self, value: f64) -> bool {
        value < self.range[0] || value > self.range[1]
    }

    /// How many of the gaps between values of the training lie in each cell.
    pub fn weights(&self) -> &[u64] {
        &self.weights
    }
}

/// Those of uniform numbers that have these places among them, drawn together: the sums of exponential numbers, as shares of the
/// sum of all (Devroye, "Non-Uniform Random Variate Generation", 1986, section V.3).
fn order_statistics(ties: &[[usize; 2]], source: Identity) -> Vec<f64> {
    let equal = ties.first().map_or(1, |[_, equal]| *equal);
    if equal > MOST_DRAWN {
        return ties.iter().map(|[position, _]| *position as f64 / (equal + 1) as f64).collect();
    }
    let (mut sum, mut drawn) = (0.0, Vec::with_capacity(ties.len()));
    for index in 1..=equal + 1 {
        sum -= source.uniform(index as u64).ln();
        if ties.get(drawn.len()).is_some_and(|[position, _]| *position == index) {
            drawn.push(sum);
        }
    }
    drawn.iter_mut().for_each(|share| *share /= sum);
    drawn
}
