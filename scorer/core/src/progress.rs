//! How far a partition is, whatever is made of its records.

use shared::reason::Reason;
use shared::time::Timestamp;

use crate::clock::PartitionClock;
use crate::known_keys::KnownKeys;

/// Where a partition stands, whatever is made of its records.
#[derive(Debug)]
pub(crate) struct PartitionProgress {
    pub number: i32,
    pub clock: PartitionClock,
    /// What is due by this clock is done.
    pub closed_through: Timestamp,
    pub keys: KnownKeys,
    /// Whether anything changed since the last commit.
    pub has_changed: bool,
}

impl PartitionProgress {
    /// The largest timestamp; before the first there is no time.
    pub fn now(&self) -> Timestamp {
        self.clock.watermark().unwrap_or(Timestamp::MIN)
    }
}

/// What became of a line at once.
pub(crate) enum LineOutcome {
    /// It is part of something.
    Taken,
    /// It is of a cancelled key.
    Cancellation {
        /// Whether that is the key's first line.
        is_new: bool,
    },
    /// It is erroneous.
    Refused(Reason),
}
