//! How far a repartitioner has come, or a hop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};

/// How far a repartitioner has come, or a hop: for the stages that read what it writes, one in each stream thread.
#[derive(Debug, Clone)]
pub(crate) struct RepartitionProgress {
    shared: Arc<Shared>,
    /// Whether what lies before is told of here: it is the same for all stream threads, and counts once.
    is_told: bool,
}

impl Default for RepartitionProgress {
    fn default() -> Self {
        Self { shared: Arc::default(), is_told: true }
    }
}

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
    /// That of a hop before, which tells by itself what lies before.
    pub(crate) fn of_hop() -> Self {
        Self { is_told: false, ..Self::default() }
    }

    /// The same for a stream thread: what lies before is told of by the first.
    pub(crate) fn of_thread(&self, thread: usize) -> Self {
        Self { is_told: self.is_told && thread == 0, ..self.clone() }
    }

    /// Whether everything that the source had at some moment can be read from the topic of copies.
    pub(crate) fn has_caught_up(&self) -> bool {
        self.shared.has_caught_up.load(Ordering::Acquire)
    }

    pub(crate) fn set_caught_up(&self) {
        self.shared.has_caught_up.store(true, Ordering::Release);
    }

    /// Whether it makes no more copies, and all that it made can be read.
    pub(crate) fn has_ended(&self) -> bool {
        self.shared.has_ended.load(Ordering::Acquire)
    }

    pub(crate) fn set_ended(&self) {
        self.shared.has_ended.store(true, Ordering::Release);
    }

    /// The source's records that were not read yet, as far as is known.
    pub(crate) fn lag(&self) -> Option<i64> {
        if !self.is_told {
            return Some(0);
        }
        Some(self.shared.lag.load(Ordering::Relaxed)).filter(|lag| *lag >= 0)
    }

    /// The source's records that were deleted before they could be copied, as far as that is committed.
    pub(crate) fn lost(&self) -> u64 {
        if self.is_told { self.shared.lost.load(Ordering::Relaxed) } else { 0 }
    }

    pub(crate) fn add_lost(&self, count: u64) {
        self.shared.lost.fetch_add(count, Ordering::Relaxed);
    }

    /// The source's partitions whose next record waits until its schema is known.
    pub(crate) fn waiting(&self) -> usize {
        if self.is_told { self.shared.waiting.load(Ordering::Relaxed) } else { 0 }
    }

    pub(crate) fn set_waiting(&self, partitions: usize) {
        self.shared.waiting.store(partitions, Ordering::Relaxed);
    }

    pub(crate) fn set_lag(&self, lag: Option<i64>) {
        self.shared.lag.store(lag.unwrap_or(-1), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_before_counts_once() {
        let progress = RepartitionProgress::default();
        let [first, second] = [0, 1].map(|thread| progress.of_thread(thread));
        assert_eq!((first.lag(), second.lag()), (None, Some(0)), "nothing is known yet");
        progress.set_lag(Some(5));
        progress.set_waiting(2);
        progress.add_lost(3);
        progress.set_caught_up();
        assert_eq!((first.lag(), first.waiting(), first.lost()), (Some(5), 2, 3));
        assert_eq!((second.lag(), second.waiting(), second.lost()), (Some(0), 0, 0));
        assert!(first.has_caught_up() && second.has_caught_up() && !first.has_ended());
        let hop = RepartitionProgress::of_hop();
        assert_eq!((hop.lag(), hop.of_thread(0).lag()), (Some(0), Some(0)), "it is in the status of that hop");
    }
}
