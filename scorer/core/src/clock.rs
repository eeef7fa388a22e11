//! What time it is for a partition: the largest timestamp seen, plus the time for which it is proven that nothing came.

use shared::time::{Millis, Timestamp};

/// Time in milliseconds by one driver's clock, which does not go back. Only durations leave that driver: another machine's
/// clock may show anything.
pub type WallMillis = i64;

/// A partition's clock.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct PartitionClock {
    /// The largest timestamp seen.
    watermark: Option<Timestamp>,
    /// The time with nothing to read, while there is nothing.
    idle: Option<Idle>,
    /// What an earlier owner left of such time: holds if nothing came in between.
    inherited: Option<Inherited>,
}

/// A span of time in which nothing was left to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Idle {
    since: WallMillis,
    /// The last moment for which that is proven.
    until: WallMillis,
}

/// What an earlier owner says of its idle time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Inherited {
    /// How long it was.
    For(Millis),
    /// When it began, by the clock of that owner: earlier builds wrote this alone.
    Since(WallMillis),
}

impl PartitionClock {
    /// The clock of a partition whose earlier owner had seen `watermark`, and had had nothing to read for a while.
    pub fn resumed(watermark: Option<Timestamp>, inherited: Option<Inherited>) -> Self {
        Self { watermark, idle: None, inherited }
    }

    /// A record came whose time counts, unless it has none.
    pub fn observe(&mut self, timestamp: Option<Timestamp>) {
        self.idle = None;
        self.inherited = None;
        self.watermark = self.watermark.max(timestamp);
    }

    /// Everything has been read, and nothing has been waiting since `now`; whether that is news. It proves nothing of the
    /// time after.
    pub fn caught_up(&mut self, now: WallMillis) -> bool {
        if self.idle.is_some() {
            return false;
        }
        let since = match self.inherited.take() {
            None => now,
            Some(Inherited::For(span)) => now.saturating_sub(span.max(0)),
            Some(Inherited::Since(since)) => since.min(now),
        };
        self.idle = Some(Idle { since, until: now });
        true
    }

    /// Everything that was there at `now` has been read: that counts once the end has been seen.
    pub fn read_through(&mut self, now: WallMillis) {
        if let Some(idle) = &mut self.idle {
            idle.until = idle.until.max(now);
        }
    }

    pub fn watermark(&self) -> Option<Timestamp> {
        self.watermark
    }

    /// Since when there has been nothing to read.
    pub fn idle_since(&self) -> Option<WallMillis> {
        match (self.idle, self.inherited) {
            (Some(idle), _) => Some(idle.since),
            (None, Some(Inherited::Since(since))) => Some(since),
            (None, _) => None,
        }
    }

    /// How long it is proven that there was nothing to read; `None` while there is something.
    pub fn idle_for(&self) -> Option<Millis> {
        self.idle.map(|idle| idle.until.saturating_sub(idle.since))
    }

    /// What the next owner inherits of that; nothing where only an earlier build's owner said anything.
    pub fn idle_to_inherit(&self) -> Option<Millis> {
        match self.inherited {
            Some(Inherited::For(span)) => Some(span),
            _ => self.idle_for(),
        }
    }

    /// The time: time that passes counts only as far as nothing is proven to have come.
    pub fn now(&self) -> Option<Timestamp> {
        self.watermark.map(|watermark| watermark.saturating_add(self.idle_for().unwrap_or(0)))
    }

    /// When the clock will show `timestamp` if nothing comes; `None` while there is something to read.
    pub fn when(&self, timestamp: Timestamp) -> Option<WallMillis> {
        let since = self.idle?.since;
        Some(since.saturating_add(timestamp.saturating_sub(self.watermark?).max(0)))
    }

    /// When it will be proven for another `span` that nothing came, if nothing does.
    pub fn when_proven_for(&self, span: Millis) -> Option<WallMillis> {
        Some(self.idle?.until.saturating_add(span))
    }

    /// When it will have been idle for `span` if nothing comes.
    pub fn when_idle_for(&self, span: Millis) -> Option<WallMillis> {
        Some(self.idle?.since.saturating_add(span))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_passes_only_as_far_as_it_is_proven_that_nothing_came() {
        let mut clock = PartitionClock::default();
        clock.observe(Some(100));
        clock.read_through(4_000);
        assert_eq!((clock.now(), clock.idle_for()), (Some(100), None));
        assert!(clock.caught_up(5_000));
        assert_eq!(clock.now(), Some(100), "to be at the end proves nothing of the time after");
        assert!(!clock.caught_up(5_500), "the end was known");
        assert_eq!(clock.now(), Some(100));
        clock.read_through(6_000);
        clock.read_through(5_900);
        assert_eq!((clock.now(), clock.idle_for()), (Some(1_100), Some(1_000)));
        assert_eq!(clock.when(2_100), Some(7_000));
        clock.observe(Some(90));
        assert_eq!((clock.now(), clock.when(2_100)), (Some(100), None), "a record came, though an older one");
    }

    #[test]
    fn an_heir_inherits_a_span_and_no_moment_of_another_clock() {
        let mut first = PartitionClock::default();
        first.observe(Some(100));
        first.caught_up(1_000_000);
        first.read_through(1_003_000);
        let mut second = PartitionClock::resumed(first.watermark(), first.idle_to_inherit().map(Inherited::For));
        assert_eq!(second.idle_to_inherit(), Some(3_000), "who reads nothing passes it on");
        // Its own clock shows another hour.
        second.caught_up(50);
        assert_eq!(second.now(), Some(3_100));
        second.read_through(1_050);
        assert_eq!(second.now(), Some(4_100));
        let mut third = PartitionClock::resumed(Some(100), Some(Inherited::For(3_000)));
        third.observe(None);
        third.caught_up(50);
        assert_eq!(third.now(), Some(100), "a record came in between");
    }
}
