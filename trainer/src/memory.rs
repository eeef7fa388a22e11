//! How much memory a training may take, how much it needs, and how it makes do with less.
//!
//! Lines pass through in chunks; what stays is a row for every entity. Of what is computed from those, the scaled rows
//! may be in a file and the runs of k-means may wait for each other, so only the rest has to fit.

use shared::memory::allowed;
pub use shared::memory::{Size, peak};
use thiserror::Error;

const MIB: u64 = 1 << 20;

/// What the program takes by itself, with a chunk of lines and what Polars makes of it, and the buffers of files.
const PROGRAM: u64 = 144 * MIB;

/// Of what may be taken besides, the part that can be used, (8, 9): the allocator does not give everything back at once.
const USABLE: (u64, u64) = (8, 9);

/// What reading rows from a file takes: three blocks, see [`shared::rows::RowStore::memory`].
const READING_ROWS: u64 = 12 * MIB;

/// Least bytes an entity that finding clusters takes besides the rows: one run's state, and who is in which leaf.
const STATE_BYTES: u64 = 16;

/// Bytes an entity and detector of a score and a cluster.
const SCORE_BYTES: u64 = 8;

/// Bytes an entity that sorting a feature or the scores takes for a while.
const SORTING_BYTES: u64 = 16;

/// Less memory is allowed than a history needs.
#[derive(Debug, Error, PartialEq)]
pub enum TooLittleMemory {
    /// Everything was read, and what is needed is known.
    #[error(
        "--max-memory {} is too little for this history, whose {n_entities} entities need {}: use --max-memory {} or \
         more, or less history",
        Size(*allowed), Size(*needed), Size(*needed).typed()
    )]
    Known {
        /// Bytes that are allowed.
        allowed: u64,
        /// The smallest number of bytes that would do.
        needed: u64,
        /// How many entities there are.
        n_entities: u64,
    },
    /// Not everything was read.
    #[error(
        "--max-memory {} is too little for this history, whose first {share:.0}% have {n_entities} entities: all of it \
         needs about {}, so use --max-memory {} or more, or less history",
        Size(*allowed), Size(*needed), Size(*needed).typed()
    )]
    Estimated {
        /// Bytes that are allowed.
        allowed: u64,
        /// About the smallest number of bytes that would do, if the rest is like what was read.
        needed: u64,
        /// How many entities there are so far.
        n_entities: u64,
        /// How much of the history was read, in percent.
        share: f64,
    },
}

/// What decides how much memory a training needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// How many entities there are.
    pub n_entities: u64,
    /// Bytes of their keys.
    pub key_bytes: u64,
    /// Features of each.
    pub n_features: u64,
    /// Detectors that are trained.
    pub n_detectors: u64,
    /// Whether one of them needs all scaled rows in memory: only k-means can do with a file of them.
    pub rows_in_memory: bool,
}

/// How a training makes do with what it may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Plan {
    /// Most bytes of scaled rows in memory; beyond, they are in a file. `None`: all.
    pub row_bytes: Option<u64>,
    /// Most bytes that k-means remembers of the points between rounds. `None`: all it would like to.
    pub state_bytes: Option<usize>,
}

/// Most bytes that may be taken; `None`: no bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Budget(pub Option<u64>);

impl Budget {
    /// What was asked for, or else three quarters of the machine's memory, where that is known.
    pub fn new(asked: Option<Size>) -> Self {
        Self(allowed(asked))
    }

    /// How a training of this shape makes do.
    ///
    /// # Errors
    /// [`TooLittleMemory`] when it cannot.
    pub fn plan(self, shape: Shape) -> Result<Plan, TooLittleMemory> {
        let Some(allowed) = self.0 else { return Ok(Plan::default()) };
        let needed = shape.least();
        if allowed < needed {
            return Err(TooLittleMemory::Known { allowed, needed, n_entities: shape.n_entities });
        }
        let left = usable(allowed) - shape.entities() - shape.scores();
        let least_state = shape.n_entities * STATE_BYTES;
        let row_bytes = left - least_state;
        let fits = shape.rows() <= row_bytes || shape.rows_in_memory;
        let rows = if fits { shape.rows() } else { READING_ROWS };
        let state_bytes = usize::try_from(left.saturating_sub(rows).max(least_state)).unwrap_or(usize::MAX);
        Ok(Plan { row_bytes: Some(if fits { row_bytes.max(rows) } else { 0 }), state_bytes: Some(state_bytes) })
    }

    /// Whether what was read so far, the first `share` of the history (0 to 1), leaves hope that all of it fits.
    ///
    /// # Errors
    /// [`TooLittleMemory`] when it does not: what is held exceeds what is allowed.
    pub fn check_reading(self, shape: Shape, held: u64, share: f64) -> Result<(), TooLittleMemory> {
        let Some(allowed) = self.0 else { return Ok(()) };
        // A budget that is too small for anything is found out at the end, when what is needed is known.
        if held <= usable(allowed.max(2 * PROGRAM)) {
            return Ok(());
        }
        let share = share.clamp(0.001, 1.0);
        let whole = |part: u64| (part as f64 / share) as u64;
        let all = Shape { n_entities: whole(shape.n_entities), key_bytes: whole(shape.key_bytes), ..shape };
        let needed = all.least().max(taken_for(whole(held)));
        Err(TooLittleMemory::Estimated { allowed, needed, n_entities: shape.n_entities, share: share * 100.0 })
    }
}

impl Shape {
    /// The least that a training can do with, in bytes.
    fn least(self) -> u64 {
        // An algorithm that has the rows in memory has about as much again of its own.
        let rows = if self.rows_in_memory { 2 * self.rows() } else { READING_ROWS };
        let fitting = rows + self.n_entities * STATE_BYTES;
        let sorting = self.n_entities * SORTING_BYTES;
        taken_for(self.entities() + self.scores() + fitting.max(sorting)).next_multiple_of(MIB)
    }

    /// Keys and features, float64.
    fn entities(self) -> u64 {
        self.key_bytes + self.n_entities * 8 * (self.n_features + 1)
    }

    /// Scaled rows, float32.
    fn rows(self) -> u64 {
        self.n_entities * 4 * self.n_features
    }

    fn scores(self) -> u64 {
        self.n_entities * SCORE_BYTES * self.n_detectors
    }
}

/// What can be used of so many bytes.
fn usable(allowed: u64) -> u64 {
    allowed.saturating_sub(PROGRAM) / USABLE.1 * USABLE.0
}

/// How many bytes have to be allowed for so many to be used.
fn taken_for(used: u64) -> u64 {
    PROGRAM + (used.div_ceil(USABLE.0) + 1) * USABLE.1
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SHAPE: Shape =
        Shape { n_entities: 10_000_000, key_bytes: 60_000_000, n_features: 5, n_detectors: 2, rows_in_memory: false };

    #[test]
    fn without_a_bound_everything_is_in_memory() {
        assert_eq!(Budget(None).plan(SHAPE), Ok(Plan::default()));
    }

    #[test]
    fn less_memory_means_fewer_runs_at_a_time_then_rows_in_a_file_then_an_error() {
        let plan = |bytes: u64| Budget(Some(bytes)).plan(SHAPE).unwrap();
        assert!(plan(20 << 30).row_bytes.unwrap() > SHAPE.rows());
        assert!(plan(20 << 30).state_bytes.unwrap() > 10 << 30);
        let least = SHAPE.least();
        let (tight, leanest) = (plan(least + SHAPE.rows() * 9 / 8), plan(least));
        assert!(tight.row_bytes.unwrap() >= SHAPE.rows() && tight.state_bytes < plan(20 << 30).state_bytes);
        assert_eq!(leanest.row_bytes, Some(0));
        let error = Budget(Some(least - 1)).plan(SHAPE).unwrap_err();
        assert_eq!(error, TooLittleMemory::Known { allowed: least - 1, needed: least, n_entities: 10_000_000 });
    }

    #[test]
    fn the_size_that_an_error_names_can_be_typed_and_is_enough() {
        let error = Budget(Some(MIB)).plan(SHAPE).unwrap_err().to_string();
        let named = error.split("use --max-memory ").nth(1).unwrap().split(" or more").next().unwrap();
        assert!(Budget(Some(named.parse::<Size>().unwrap().0)).plan(SHAPE).is_ok(), "{error}");
    }

    #[test]
    fn reading_ends_when_what_is_held_exceeds_what_is_allowed() {
        let budget = Budget(Some(1 << 30));
        let part = Shape { n_entities: 5_000_000, key_bytes: 30_000_000, ..SHAPE };
        assert_eq!(budget.check_reading(part, 700 << 20, 0.5), Ok(()));
        let error = budget.check_reading(part, 900 << 20, 0.5).unwrap_err().to_string();
        assert!(error.contains("whose first 50% have 5000000 entities: all of it needs about 2170 MiB"), "{error}");
    }

    proptest! {
        #[test]
        fn a_plan_never_takes_more_than_is_allowed(
            n_entities in 0..200_000_000u64, n_features in 1..64u64, n_detectors in 1..4u64, more in 0..(20u64 << 30)
        ) {
            let shape = Shape { n_entities, key_bytes: 7 * n_entities, n_features, n_detectors, rows_in_memory: false };
            let allowed = shape.least() + more;
            let plan = Budget(Some(allowed)).plan(shape).unwrap();
            let rows = if plan.row_bytes.unwrap() >= shape.rows() { shape.rows() } else { READING_ROWS };
            let taken = shape.entities() + shape.scores() + rows + plan.state_bytes.unwrap() as u64;
            prop_assert!(PROGRAM + taken <= allowed, "{taken} of {allowed}");
        }
    }
}
