//! What time it is for a partition: the largest timestamp seen, plus the time that passed since everything was read.

use shared::time::{Millis, Timestamp};

/// Wall time in milliseconds, which a driver does not let go back. Where state outlives the driver, it counts from 1970, so
/// that instances on different machines can compare it; elsewhere from any start.
pub type WallMillis = i64;

/// A partition's clock.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct PartitionClock {
    /// The largest timestamp seen.
    watermark: Option<Timestamp>,
    /// Since when there is nothing left to read.
    idle_since: Option<WallMillis>,
    /// Since when there was nothing left to read when an earlier owner stopped: holds if nothing came in between.
    was_idle_since: Option<WallMillis>,
}

impl PartitionClock {
    /// The clock of a partition whose earlier owner had seen `watermark` and had nothing to read since `idle_since`.
    pub fn resumed(watermark: Option<Timestamp>, idle_since: Option<WallMillis>) -> Self {
        Self { watermark, idle_since: None, was_idle_since: idle_since }
    }

    /// A record came, with a timestamp unless it could not be read.
    pub fn observe(&mut self, timestamp: Option<Timestamp>) {
        self.idle_since = None;
        self.was_idle_since = None;
        self.watermark = self.watermark.max(timestamp);
    }

    /// Everything has been read; whether that is news.
    pub fn caught_up(&mut self, now: WallMillis) -> bool {
        let news = self.idle_since.is_none();
        let since = self.was_idle_since.take().map_or(now, |since| since.min(now));
        self.idle_since.get_or_insert(since);
        news
    }

    pub fn watermark(&self) -> Option<Timestamp> {
        self.watermark
    }

    /// Since when there has been nothing to read, or was before an owner stopped.
    pub fn idle_since(&self) -> Option<WallMillis> {
        self.idle_since.or(self.was_idle_since)
    }

    /// How long there has been nothing to read; `None` while there is something.
    pub fn idle_for(&self, now: WallMillis) -> Option<Millis> {
        self.idle_since.map(|since| (now - since).max(0))
    }

    /// The time: time that passes counts only while there is nothing to read.
    pub fn at(&self, now: Option<WallMillis>) -> Option<Timestamp> {
        let idle = now.and_then(|now| self.idle_for(now)).unwrap_or(0);
        self.watermark.map(|watermark| watermark.saturating_add(idle))
    }

    /// When the clock will show `timestamp` if nothing comes; `None` while there is something to read.
    pub fn when(&self, timestamp: Timestamp) -> Option<WallMillis> {
        Some(self.idle_since?.saturating_add(timestamp.saturating_sub(self.watermark?).max(0)))
    }
}
