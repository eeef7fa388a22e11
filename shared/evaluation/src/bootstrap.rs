//! How far measures would vary if the rows had been others of the same kind: stratified bootstrap.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::binomial::draw;
use super::ranking::Step;
use super::statistics::quantile;
use super::{Confusion, Ranking};

/// Cells with fewer rows than this on average are filled row by row, others cell by cell.
const ROWS_A_CELL: u64 = 16;

/// Most cells that are filled in all replicates together, unless that would be fewer than [`LEAST_REPLICATES`].
const MOST_CELLS: u64 = 200_000_000;

/// Fewest replicates that large data have.
const LEAST_REPLICATES: usize = 100;

/// How intervals are found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bootstrap {
    /// How many times the rows are drawn again. Where there are very many anomalies, fewer are made, but no fewer than 100:
    /// many rows leave little to chance.
    pub n_replicates: usize,
    /// The probability that an interval holds what it is of, such as 0.95.
    pub confidence: f64,
    /// Seed of the draws.
    pub seed: u64,
}

impl Default for Bootstrap {
    fn default() -> Self {
        Self { n_replicates: 1000, confidence: 0.95, seed: 42 }
    }
}

/// Bounds of a measure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// The lower bound.
    pub low: f64,
    /// The upper bound.
    pub high: f64,
}

/// Bounds of what measures a detector.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Intervals {
    /// Of [`Ranking::roc_auc`].
    pub roc_auc: Interval,
    /// Of [`Ranking::average_precision`].
    pub average_precision: Interval,
    /// Of [`Confusion::precision`].
    pub precision: Interval,
    /// Of [`Confusion::recall`].
    pub recall: Interval,
    /// Of [`Confusion::f1`].
    pub f1: Interval,
}

impl Bootstrap {
    /// Percentile intervals (Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13) of a ranking's
    /// measures and of those at a threshold.
    ///
    /// Anomalies and normal rows are drawn again apart from each other, so that every replicate has as many of each. Rows
    /// are not drawn one by one where they are many: what a measure sees of them is how many fall between two anomalies,
    /// and those numbers are multinomial. Nothing is sorted again. The same seed gives the same bits on any number of
    /// threads.
    pub fn intervals(&self, ranking: &Ranking, at_threshold: Confusion) -> Intervals {
        let strata = Strata::new(ranking);
        let n_replicates = self.n_replicates_for(ranking).max(1);
        let replicates: Vec<[f64; 5]> = (0..n_replicates)
            .into_par_iter()
            .map(|replicate| {
                let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
                // A stream of the generator a replicate: none depends on another's draws.
                rng.set_stream(replicate as u64);
                let (ranking, counts) = (strata.resample(&mut rng), resample(at_threshold, &mut rng));
                [ranking.roc_auc(), ranking.average_precision(), counts.precision(), counts.recall(), counts.f1()]
            })
            .collect();
        let interval = |measure: usize| self.interval(replicates.iter().map(|values| values[measure]).collect());
        Intervals {
            roc_auc: interval(0),
            average_precision: interval(1),
            precision: interval(2),
            recall: interval(3),
            f1: interval(4),
        }
    }

    fn n_replicates_for(&self, ranking: &Ranking) -> usize {
        let cells = 3 * ranking.steps.len() as u64 + 1;
        let affordable = usize::try_from(MOST_CELLS / cells).unwrap_or(usize::MAX);
        self.n_replicates.min(affordable.max(LEAST_REPLICATES))
    }

    fn interval(&self, mut values: Vec<f64>) -> Interval {
        values.sort_by(f64::total_cmp);
        let tail = (1.0 - self.confidence) / 2.0;
        Interval { low: quantile(&values, tail), high: quantile(&values, 1.0 - tail) }
    }
}

/// A threshold's counts, each kind drawn again.
fn resample(counts: Confusion, rng: &mut ChaCha8Rng) -> Confusion {
    let anomalies = counts.true_positives + counts.false_negatives;
    let normal = counts.false_positives + counts.true_negatives;
    let mut reported = |part: u64, all: u64| if all == 0 { 0 } else { draw(all, part as f64 / all as f64, rng) };
    let true_positives = reported(counts.true_positives, anomalies);
    let false_positives = reported(counts.false_positives, normal);
    Confusion {
        true_positives,
        false_positives,
        false_negatives: anomalies - true_positives,
        true_negatives: normal - false_positives,
    }
}

/// The rows of each kind, by the cells of the ranking that they are in.
struct Strata {
    /// Anomalies of each step: `(n_steps)`.
    anomalies: Cells,
    /// Normal rows above and at each step, and below the last: `(2 * n_steps + 1)`.
    normal: Cells,
}

impl Strata {
    fn new(ranking: &Ranking) -> Self {
        let anomalies = ranking.steps.iter().map(|step| step.anomalies).collect();
        let mut normal: Vec<u64> = ranking.steps.iter().flat_map(|step| [step.above, step.tied]).collect();
        normal.push(ranking.below);
        Self { anomalies: Cells::new(anomalies), normal: Cells::new(normal) }
    }

    fn resample(&self, rng: &mut ChaCha8Rng) -> Ranking {
        let (anomalies, normal) = (self.anomalies.resample(rng), self.normal.resample(rng));
        let steps = anomalies.iter().zip(normal.chunks_exact(2));
        Ranking {
            steps: steps.map(|(&anomalies, rows)| Step { above: rows[0], tied: rows[1], anomalies }).collect(),
            below: normal.last().copied().unwrap_or(0),
            n_anomalies: self.anomalies.total,
            n_normal: self.normal.total,
        }
    }
}

/// Rows in cells, to be drawn again.
struct Cells {
    counts: Vec<u64>,
    total: u64,
    /// The cell of each row, where rows are drawn one by one.
    of_row: Vec<u32>,
}

impl Cells {
    fn new(counts: Vec<u64>) -> Self {
        let total: u64 = counts.iter().sum();
        let occupied = counts.iter().filter(|count| **count > 0).count() as u64;
        let by_row = total < ROWS_A_CELL * occupied;
        let cells = counts.iter().enumerate().filter(|_| by_row);
        let of_row = cells.flat_map(|(cell, &count)| std::iter::repeat_n(cell as u32, count as usize)).collect();
        Self { counts, total, of_row }
    }

    fn resample(&self, rng: &mut ChaCha8Rng) -> Vec<u64> {
        let mut drawn = vec![0; self.counts.len()];
        if !self.of_row.is_empty() {
            for _ in 0..self.total {
                drawn[self.of_row[rng.random_range(0..self.of_row.len())] as usize] += 1;
            }
            return drawn;
        }
        // A multinomial is a binomial for each cell, of the rows that those before it left.
        let (mut rows, mut left) = (self.total, self.total);
        for (drawn, &count) in drawn.iter_mut().zip(&self.counts).filter(|cell| *cell.1 > 0) {
            *drawn = draw(rows, count as f64 / left as f64, rng);
            rows -= *drawn;
            left -= count;
        }
        drawn
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rows(n: usize, seed: u64) -> (Vec<f32>, Vec<bool>) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let labels: Vec<bool> = (0..n).map(|row| row % 10 == 0).collect();
        let score = |is_anomaly: &bool| rng.random::<f32>() + if *is_anomaly { 0.4 } else { 0.0 };
        (labels.iter().map(score).collect(), labels)
    }

    fn intervals(scores: &[f32], labels: &[bool], seed: u64) -> Intervals {
        let counts = Confusion::of(scores.iter().zip(labels).map(|(score, label)| (*score > 1.0, *label)));
        let bootstrap = Bootstrap { n_replicates: 400, seed, ..Bootstrap::default() };
        bootstrap.intervals(&Ranking::new(scores, labels).unwrap(), counts)
    }

    /// Rows drawn one by one and measured anew.
    fn naive(scores: &[f32], labels: &[bool]) -> (Interval, Interval) {
        let of = |wanted| (0..labels.len()).filter(move |&row| labels[row] == wanted).collect::<Vec<usize>>();
        let (anomalies, normal) = (of(true), of(false));
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut measures = (Vec::new(), Vec::new());
        for _ in 0..2000 {
            let mut drawn: Vec<usize> =
                anomalies.iter().map(|_| anomalies[rng.random_range(0..anomalies.len())]).collect();
            drawn.extend(normal.iter().map(|_| normal[rng.random_range(0..normal.len())]));
            let (scores, labels): (Vec<f32>, Vec<bool>) = drawn.iter().map(|&row| (scores[row], labels[row])).unzip();
            let ranking = Ranking::new(&scores, &labels).unwrap();
            measures.0.push(ranking.roc_auc());
            measures.1.push(ranking.average_precision());
        }
        let bootstrap = Bootstrap::default();
        (bootstrap.interval(measures.0), bootstrap.interval(measures.1))
    }

    #[test]
    fn intervals_are_those_of_rows_drawn_one_by_one() {
        // In the first table rows are drawn one by one, in the second cell by cell.
        for n in [150, 6000] {
            let (scores, labels) = rows(n, 3);
            let scores: Vec<f32> = scores.iter().map(|score| (score * 40.0).round() / 40.0).collect();
            let (found, expected) = (intervals(&scores, &labels, 42), naive(&scores, &labels));
            for (found, expected) in [(found.roc_auc, expected.0), (found.average_precision, expected.1)] {
                let width = expected.high - expected.low;
                assert!((found.low - expected.low).abs() < 0.12 * width, "{found:?} {expected:?}");
                assert!((found.high - expected.high).abs() < 0.12 * width, "{found:?} {expected:?}");
            }
        }
    }

    #[test]
    fn both_ways_of_drawing_are_used() {
        let of = |n, distinct: f32| {
            let (scores, labels) = rows(n, 3);
            let scores: Vec<f32> = scores.iter().map(|score| (score * distinct).round()).collect();
            Strata::new(&Ranking::new(&scores, &labels).unwrap())
        };
        assert!(!of(150, 1e6).normal.of_row.is_empty() && of(6000, 40.0).normal.of_row.is_empty());
    }

    #[test]
    fn the_same_seed_gives_the_same_bits_on_any_number_of_threads() {
        let (scores, labels) = rows(500, 5);
        let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        let many = rayon::ThreadPoolBuilder::new().num_threads(5).build().unwrap();
        let of = |pool: &rayon::ThreadPool, seed| pool.install(|| intervals(&scores, &labels, seed));
        assert_eq!(of(&one, 9), of(&many, 9));
        assert_ne!(of(&one, 9), of(&many, 10));
    }

    #[test]
    fn a_perfect_ranking_has_no_doubt() {
        let found = intervals(&[3.0, 2.0, 0.5, 0.25, 0.1], &[true, true, false, false, false], 1);
        let certain = Interval { low: 1.0, high: 1.0 };
        assert_eq!((found.roc_auc, found.average_precision, found.recall), (certain, certain, certain));
    }

    #[test]
    fn many_anomalies_make_do_with_fewer_replicates() {
        let bootstrap = Bootstrap::default();
        let ranking =
            |n_steps| Ranking { steps: vec![Step::default(); n_steps], below: 0, n_anomalies: 1, n_normal: 1 };
        assert_eq!(bootstrap.n_replicates_for(&ranking(10_000)), 1000);
        assert_eq!(bootstrap.n_replicates_for(&ranking(5_000_000)), 100);
    }

    proptest! {
        #[test]
        fn every_draw_has_as_many_rows_of_each_kind(
            counts in proptest::collection::vec(0..200u64, 1..40), seed in any::<u64>()
        ) {
            let cells = Cells::new(counts.clone());
            let drawn = cells.resample(&mut ChaCha8Rng::seed_from_u64(seed));
            prop_assert_eq!(drawn.iter().sum::<u64>(), cells.total);
            prop_assert!(drawn.iter().zip(&counts).all(|(drawn, count)| *count > 0 || *drawn == 0));
        }
    }
}
