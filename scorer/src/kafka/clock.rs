//! The time of day, as far as it may be relied on.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::core::Monotonic;

/// Milliseconds since the epoch that never go back while the process runs, so that readings of different runs compare.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WallClock {
    start: Instant,
    epoch: Monotonic,
}

impl WallClock {
    pub(crate) fn start() -> Self {
        Self { start: Instant::now(), epoch: now_since_epoch() }
    }

    pub(crate) fn now(&self) -> Monotonic {
        self.epoch + self.start.elapsed().as_millis() as Monotonic
    }
}

pub(crate) fn now_since_epoch() -> Monotonic {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as Monotonic)
}
