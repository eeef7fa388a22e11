//! The keys that a partition knows beside what is open: those that it is done with, and those that were cancelled.

use shared::pipeline::Pipeline;
use shared::time::Timestamp;

use crate::cancellations::cancelled_keys::CancelledKeys;
use crate::counters::Counters;
use crate::seen_keys::SeenKeys;

/// Either kind of keys keeps at least one part in so many of what the partition may hold: whatever else grows, what came just
/// now is recognized.
const SHARE: usize = 8;

/// The keys that a partition knows.
#[derive(Debug)]
pub(crate) struct KnownKeys {
    pub seen: SeenKeys,
    pub cancelled: CancelledKeys,
}

impl KnownKeys {
    pub fn new(pipeline: &Pipeline) -> Self {
        Self { seen: SeenKeys::new(), cancelled: CancelledKeys::new(pipeline) }
    }

    /// Bytes that they take.
    pub fn bytes(&self) -> usize {
        self.seen.bytes() + self.cancelled.bytes()
    }

    /// Forgets the keys whose time has come when the clock shows `now`.
    pub fn forget_expired(&mut self, now: Timestamp) {
        self.seen.forget_expired(now);
        self.cancelled.forget_expired(now);
    }

    /// Makes room where they and `others` are more than the `limit` of bytes: forgets the keys that were seen longest ago,
    /// then the ones that were cancelled longest ago, down to the share that either keeps. What is still too much is not
    /// theirs to give.
    pub fn make_room(&mut self, limit: usize, others: usize, counters: &mut Counters) {
        let share = limit / SHARE;
        while self.bytes().saturating_add(others) > limit {
            if self.seen.bytes() > share && self.seen.forget_oldest() {
                counters.forgotten_seen_keys += 1;
            } else if self.cancelled.bytes() > share && self.cancelled.forget_oldest() {
                counters.forgotten_cancelled_keys += 1;
            } else {
                break;
            }
        }
    }
}
