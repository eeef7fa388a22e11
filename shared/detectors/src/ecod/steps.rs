//! A feature's empirical distribution: its different values, and where there are too many, a choice of them.

/// Different values, rising, and how many rows lie below and up to each.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Steps {
    pub values: Vec<f32>,
    pub below: Vec<i32>,
    pub up_to: Vec<i32>,
    /// The value in the middle, or the mean of the two.
    pub median: f32,
}

impl Steps {
    /// Those of a feature's finite values, of which there is at least one; no more than `max_values`.
    pub(super) fn of(mut values: Vec<f32>, max_values: usize) -> Self {
        values.sort_unstable_by(f32::total_cmp);
        let middle = values.len() / 2;
        let lower = values[(values.len() - 1) / 2];
        let mut steps = Self { median: lower / 2.0 + values[middle] / 2.0, ..Self::default() };
        if lower == values[middle] {
            steps.median = lower;
        }
        let mut below = 0;
        for equal in values.chunk_by(|a, b| a == b) {
            steps.values.push(equal[0]);
            steps.below.push(below);
            below += equal.len() as i32;
            steps.up_to.push(below);
        }
        if steps.values.len() > max_values { steps.thin(max_values) } else { steps }
    }

    /// Keeps at most `max_values` of the values, the first and the last of them among them, so that from one to the next
    /// neither tail grows or shrinks by much more than the same factor.
    fn thin(self, max_values: usize) -> Self {
        let n_rows = self.up_to.last().map_or(0, |&n_rows| n_rows as usize);
        let a_side = max_values / 2;
        let ranks = log_spaced_ranks(n_rows.div_ceil(2), a_side);
        let from_the_right = ranks.iter().rev().map(|rank| n_rows - 1 - rank);
        let mut thinned = Self { median: self.median, ..Self::default() };
        let mut index = 0;
        for rank in ranks.iter().copied().chain(from_the_right) {
            // The value that the row of this rank has.
            while self.up_to[index] as usize <= rank {
                index += 1;
            }
            if thinned.values.last() != Some(&self.values[index]) {
                thinned.values.push(self.values[index]);
                thinned.below.push(self.below[index]);
                thinned.up_to.push(self.up_to[index]);
            }
        }
        thinned
    }
}

/// `n_ranks` ranks, rising from 0 to below `n_rows`: one after the other at first, and from rank `s` on with gaps that grow
/// with the rank, by one row for every `s`.
fn log_spaced_ranks(n_rows: usize, n_ranks: usize) -> Vec<usize> {
    let (last, n_steps) = ((n_rows - 1) as f64, (n_ranks - 1) as f64);
    // With a greater `s` the ranks reach less far: rank number k is k up to s, and then s * exp((k - s) / s).
    let (mut low, mut high) = (1.0, last);
    for _ in 0..100 {
        let s = 0.5 * (low + high);
        if s * (1.0 + (last / s).ln()) <= n_steps { low = s } else { high = s }
    }
    let rank = |k: f64| if k <= low { k } else { low * ((k - low) / low).exp() };
    (0..n_ranks).map(|k| rank(k as f64).round().min(last) as usize).collect()
}
