//! How far a repartitioner has come.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};

/// How far a repartitioner has come: for the stage that assembles entities from what it copies.
#[derive(Debug, Clone, Default)]
pub(crate) struct RepartitionProgress(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    has_caught_up: AtomicBool,
    has_ended: AtomicBool,
    /// -1 while it is not known.
    lag: AtomicI64,
    lost: AtomicU64,
    waiting: AtomicUsize,
}

impl Default for Shared {
    fn default() -> Self {
        Self {
            has_caught_up: AtomicBool::new(false),
            has_ended: AtomicBool::new(false),
            lag: AtomicI64::new(-1),
            lost: AtomicU64::new(0),
            waiting: AtomicUsize::new(0),
        }
    }
}

impl RepartitionProgress {
    /// Whether everything that the source had at some moment can be read from the topic of copies.
    pub(crate) fn has_caught_up(&self) -> bool {
        self.0.has_caught_up.load(Ordering::Acquire)
    }

    pub(crate) fn set_caught_up(&self) {
        self.0.has_caught_up.store(true, Ordering::Release);
    }

    /// Whether it makes no more copies, and all that it made can be read.
    pub(crate) fn has_ended(&self) -> bool {
        self.0.has_ended.load(Ordering::Acquire)
    }

    pub(crate) fn set_ended(&self) {
        self.0.has_ended.store(true, Ordering::Release);
    }

    /// The source's records that were not read yet, as far as is known.
    pub(crate) fn lag(&self) -> Option<i64> {
        Some(self.0.lag.load(Ordering::Relaxed)).filter(|lag| *lag >= 0)
    }

    /// The source's records that were deleted before they could be copied, as far as that is committed.
    pub(crate) fn lost(&self) -> u64 {
        self.0.lost.load(Ordering::Relaxed)
    }

    pub(crate) fn add_lost(&self, count: u64) {
        self.0.lost.fetch_add(count, Ordering::Relaxed);
    }

    /// The source's partitions whose next record waits until its schema is known.
    pub(crate) fn waiting(&self) -> usize {
        self.0.waiting.load(Ordering::Relaxed)
    }

    pub(crate) fn set_waiting(&self, partitions: usize) {
        self.0.waiting.store(partitions, Ordering::Relaxed);
    }

    pub(crate) fn set_lag(&self, lag: Option<i64>) {
        self.0.lag.store(lag.unwrap_or(-1), Ordering::Relaxed);
    }
}
