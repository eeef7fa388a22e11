//! Time that passes, and the time of day.
//!
//! The time of day of a machine may be wrong, and may be set at any moment. Only `ahead` goes by it. What passes is
//! measured by a clock that nobody sets.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::core::WallMillis;

/// Milliseconds that never go back while the process runs, and that nobody sets. They count from the time of day at the
/// start, so that readings of two runs differ; only spans between readings of one clock mean anything.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WallClock {
    start: Instant,
    epoch: WallMillis,
}

impl WallClock {
    pub(crate) fn start() -> Self {
        Self { start: Instant::now(), epoch: now_since_epoch() }
    }

    pub(crate) fn now(&self) -> WallMillis {
        self.epoch + self.start.elapsed().as_millis() as WallMillis
    }
}

/// The time of day.
pub(crate) fn now_since_epoch() -> WallMillis {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as WallMillis)
}
