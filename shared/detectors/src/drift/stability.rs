//! How far the values of a stream are from those of the training.

/// Of fewer values nothing is said: chance alone would make the index large.
pub const FEWEST: u64 = 500;

/// The share of the training that cells are put together to.
const SHARE: f64 = 0.1;

/// How many values of a stream fell in each cell. It is a sum: what was counted of parts can be merged in any order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CellCounts {
    counts: Vec<u64>,
    missing: u64,
    outside: u64,
    n: u64,
}

impl CellCounts {
    /// Adds a value in a cell; whether it lies outside the range of the training.
    pub fn add(&mut self, cell: usize, is_outside: bool) {
        if self.counts.len() <= cell {
            self.counts.resize(cell + 1, 0);
        }
        self.counts[cell] += 1;
        self.outside += u64::from(is_outside);
        self.n += 1;
    }

    /// Adds a record without a value.
    pub fn add_missing(&mut self) {
        self.missing += 1;
        self.n += 1;
    }

    /// Adds what was counted of other records.
    pub fn merge(&mut self, other: &Self) {
        if self.counts.len() < other.counts.len() {
            self.counts.resize(other.counts.len(), 0);
        }
        self.counts.iter_mut().zip(&other.counts).for_each(|(sum, count)| *sum += count);
        self.missing += other.missing;
        self.outside += other.outside;
        self.n += other.n;
    }

    /// How many records were counted.
    pub fn n(&self) -> u64 {
        self.n
    }

    /// The share of them without a value.
    pub fn missing(&self) -> f64 {
        self.missing as f64 / self.n.max(1) as f64
    }

    /// The share of them outside the range of the training.
    pub fn outside(&self) -> f64 {
        self.outside as f64 / self.n.max(1) as f64
    }
}

/// The counts of the newest records: of at least so many, once there were as many, and of less than twice as many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recent {
    window: u64,
    before: CellCounts,
    now: CellCounts,
}

impl Recent {
    /// Counts of at least the newest `window` records.
    pub fn new(window: u64) -> Self {
        Self { window, before: CellCounts::default(), now: CellCounts::default() }
    }

    /// Adds a value in a cell, or that there is none.
    pub fn add(&mut self, cell: Option<usize>, is_outside: bool) {
        if self.now.n >= self.window {
            self.before = std::mem::take(&mut self.now);
        }
        match cell {
            Some(cell) => self.now.add(cell, is_outside),
            None => self.now.add_missing(),
        }
    }

    /// What was counted of the newest records.
    pub fn counts(&self) -> CellCounts {
        let mut counts = self.before.clone();
        counts.merge(&self.now);
        counts
    }
}

/// The population stability index of what was counted, beside the weights of the cells in the training: the sum of
/// `(a - e) ln(a / e)` over tenths of the training, with the share `a` of the stream and `e` of the training (Lewis, "An Introduction to
/// Credit Scoring", 1994; as a divergence, Jeffreys 1946). It is 0 where both are alike; people call 0.1 a small change and
/// 0.25 a large one. A share of nothing counts as half a record, and missing values are a cell of their own. `None` of fewer than
/// [`FEWEST`] records.
pub fn population_stability(weights: &[u64], counts: &CellCounts) -> Option<f64> {
    let total: u64 = weights.iter().sum();
    if counts.n < FEWEST || total < 2 {
        return None;
    }
    let groups = groups(weights, total);
    let n_groups = groups.len() + usize::from(counts.missing > 0);
    let of_stream = |count: u64| (count as f64 + 0.5) / (counts.n as f64 + 0.5 * n_groups as f64);
    let part = |of_stream: f64, of_training: f64| (of_stream - of_training) * (of_stream / of_training).ln();
    let mut index = 0.0;
    for group in groups {
        let weight: u64 = weights[group.clone()].iter().sum();
        let count: u64 = counts.counts.iter().take(group.end).skip(group.start).sum();
        index += part(of_stream(count), weight as f64 / total as f64);
    }
    if counts.missing > 0 {
        index += part(of_stream(counts.missing), 0.5 / total as f64);
    }
    Some(index)
}

/// Neighbouring cells with at least a tenth of the training together.
fn groups(weights: &[u64], total: u64) -> Vec<std::ops::Range<usize>> {
    // A little less than a tenth is one: ranks are rounded.
    let enough = total as f64 * SHARE * 0.95;
    let (mut groups, mut start, mut sum) = (Vec::<std::ops::Range<usize>>::new(), 0, 0u64);
    for (cell, weight) in weights.iter().enumerate() {
        sum += *weight;
        if sum as f64 >= enough {
            groups.push(start..cell + 1);
            (start, sum) = (cell + 1, 0);
        }
    }
    // What is left over is too little to stand alone.
    match groups.last_mut() {
        Some(last) => last.end = weights.len(),
        None => groups.push(0..weights.len()),
    }
    groups
}
