//! What time it is for a partition: the largest timestamp seen, plus the time that passed since everything was read.

use shared::time::{Millis, Timestamp};

use super::Monotonic;

/// A partition's clock.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct PartitionClock {
    /// The largest timestamp seen.
    watermark: Option<Timestamp>,
    /// Since when there is nothing left to read.
    idle_since: Option<Monotonic>,
}

impl PartitionClock {
    /// A record came, with a timestamp unless it could not be read.
    pub(super) fn observe(&mut self, timestamp: Option<Timestamp>) {
        self.idle_since = None;
        self.watermark = self.watermark.max(timestamp);
    }

    /// Everything has been read.
    pub(super) fn caught_up(&mut self, now: Monotonic) {
        self.idle_since.get_or_insert(now);
    }

    pub(super) fn watermark(&self) -> Option<Timestamp> {
        self.watermark
    }

    /// How long there has been nothing to read; `None` while there is something.
    pub(super) fn idle_for(&self, now: Monotonic) -> Option<Millis> {
        self.idle_since.map(|since| (now - since).max(0))
    }

    /// The time: time that passes counts only while there is nothing to read.
    pub(super) fn at(&self, now: Option<Monotonic>) -> Option<Timestamp> {
        let idle = now.and_then(|now| self.idle_for(now)).unwrap_or(0);
        self.watermark.map(|watermark| watermark.saturating_add(idle))
    }

    /// When the clock will show `timestamp` if nothing comes; `None` while there is something to read.
    pub(super) fn when(&self, timestamp: Timestamp) -> Option<Monotonic> {
        Some(self.idle_since?.saturating_add(timestamp.saturating_sub(self.watermark?).max(0)))
    }
}
