//! How much memory a training may take, how much it needs, and how it makes do with less.
//!
//! Lines pass through in chunks; what stays is a row for every entity. Of what is computed from those, the scaled rows
//! may be in a file and the runs of k-means may wait for each other, so only the rest has to fit.

use std::fmt;
use std::fs;

use thiserror::Error;

const KIB: u64 = 1 << 10;
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

/// The part of the machine's memory that is taken when nothing is said: (3, 4) is three quarters.
const SHARE: (u64, u64) = (3, 4);

/// A number of bytes, as people write it: `2GiB`, `512 MiB`, `1.5GB`, `4096`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

impl std::str::FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "use a size such as 512MiB, 2GiB or 1.5GB".to_owned();
        let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let number: f64 = number.parse().map_err(|_| wrong())?;
        let factor = match unit.trim().to_ascii_lowercase().as_str() {
            "" | "b" => 1,
            "k" | "kib" => KIB,
            "m" | "mib" => MIB,
            "g" | "gib" => 1 << 30,
            "t" | "tib" => 1 << 40,
            "kb" => 1_000,
            "mb" => 1_000_000,
            "gb" => 1_000_000_000,
            "tb" => 1_000_000_000_000,
            _ => return Err(wrong()),
        };
        let bytes = number * factor as f64;
        if (1.0..1e18).contains(&bytes) { Ok(Self(bytes as u64)) } else { Err(wrong()) }
    }
}

impl fmt::Display for Size {
    /// In a unit of which there are at least ten, or whole ones, so that what is shown can be typed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [("GiB", 1 << 30), ("MiB", MIB), ("KiB", KIB)];
        let fits = |&&(_, unit): &&(&str, u64)| self.0 >= 10 * unit || (self.0 >= unit && self.0.is_multiple_of(unit));
        match units.iter().find(fits) {
            Some((name, unit)) => write!(f, "{} {name}", self.0.div_ceil(*unit)),
            None => write!(f, "{} bytes", self.0),
        }
    }
}

/// Less memory is allowed than a history needs.
#[derive(Debug, Error, PartialEq)]
pub enum TooLittleMemory {
    /// Everything was read, and what is needed is known.
    #[error(
        "--max-memory {} is too little for this history, whose {n_entities} entities need {}: use --max-memory {} or \
         more, or less history",
        Size(*allowed), Size(*needed), typed(*needed)
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
        Size(*allowed), Size(*needed), typed(*needed)
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

fn typed(bytes: u64) -> String {
    Size(bytes).to_string().replace(' ', "")
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
        Self(asked.map(|size| size.0).or_else(|| Some(machine_memory()? / SHARE.1 * SHARE.0)))
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

/// The most memory that the process has had, in bytes; `None` where the system does not tell.
pub fn peak() -> Option<u64> {
    kilobytes(&fs::read_to_string("/proc/self/status").ok()?, "VmHWM:")
}

/// The memory that the machine has, or that the process may take of it.
fn machine_memory() -> Option<u64> {
    let installed = kilobytes(&fs::read_to_string("/proc/meminfo").ok()?, "MemTotal:")?;
    let limit = fs::read_to_string("/sys/fs/cgroup/memory.max").ok().and_then(|text| text.trim().parse().ok());
    Some(limit.map_or(installed, |limit: u64| limit.min(installed)))
}

/// The number after `name` in a file of the kernel, which counts in kB.
fn kilobytes(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse::<u64>().ok().map(|kilobytes| kilobytes * KIB)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, bytes) in
            [("2GiB", 2 << 30), ("512 MiB", 512 << 20), ("1.5GB", 1_500_000_000), ("4096", 4096), ("64m", 64 << 20)]
        {
            assert_eq!(text.parse(), Ok(Size(bytes)), "{text}");
        }
        for bad in ["", "GiB", "-1GiB", "1 potato", "0", "1e3", "1..5GB", "9999999999GB"] {
            assert!(bad.parse::<Size>().is_err(), "{bad}");
        }
    }

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

        #[test]
        fn what_is_shown_is_at_least_what_is_meant(bytes in 1..(1u64 << 50)) {
            let shown: Size = typed(bytes).replace("bytes", "B").parse().unwrap();
            prop_assert!(shown.0 >= bytes && shown.0 <= bytes + bytes / 10 + 1);
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_process_has_had_memory() {
        assert!(peak().unwrap() > MIB && machine_memory().unwrap() > 64 * MIB);
    }
}
