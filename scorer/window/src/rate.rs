//! How many there were in a second.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// Counts by the second.
#[derive(Debug, Default)]
pub(crate) struct Rate {
    second: AtomicI64,
    count: AtomicU64,
}

impl Rate {
    /// Whether one more is within `most` a second, at this moment in milliseconds. Several threads that begin a second
    /// together may let a few more through.
    pub(crate) fn admits(&self, at: i64, most: u64) -> bool {
        let second = at.div_euclid(1000);
        if self.second.swap(second, Ordering::Relaxed) != second {
            self.count.store(0, Ordering::Relaxed);
        }
        self.count.fetch_add(1, Ordering::Relaxed) < most
    }
}
