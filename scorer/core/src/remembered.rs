//! Keys that are done with and still known for a while, so that what comes late or twice is told from what is new.

use shared::expiry::ExpiryMap;
use shared::time::Timestamp;

use super::lists::Lists;
use super::state::StateRecord;

/// The keys that a partition is done with, each until a time.
#[derive(Debug)]
pub(super) struct Remembered {
    keys: ExpiryMap<()>,
    lists: Lists,
    /// Whether there is a changelog that wants to know of new keys.
    is_kept: bool,
    /// Keys since the last commit.
    added: Vec<(Timestamp, Box<str>)>,
}

impl Remembered {
    pub(super) fn new(is_kept: bool) -> Self {
        Self { keys: ExpiryMap::default(), lists: Lists::closed(), is_kept, added: Vec::new() }
    }

    /// The keys as the changelog has them.
    pub(super) fn restored(keys: ExpiryMap<()>, lists: Lists) -> Self {
        Self { keys, lists, is_kept: true, added: Vec::new() }
    }

    /// Whether `key` is still known when the clock shows `now`.
    pub(super) fn knows(&mut self, key: &str, now: Timestamp) -> bool {
        while self.keys.pop_expired(now).is_some() {}
        self.keys.get(key).is_some()
    }

    /// Remembers `key` until a time, and no shorter than the keys before it, so that they stay in order.
    pub(super) fn add(&mut self, key: Box<str>, until: Timestamp) {
        let until = self.keys.last_deadline().map_or(until, |last| last.max(until));
        self.keys.insert(&key, until, ());
        if self.is_kept {
            self.added.push((until, key));
        }
    }

    /// Writes down what is new, and deletes what is forgotten by the clock.
    pub(super) fn take_changes(&mut self, clock: Option<Timestamp>, next_list: &mut u64, out: &mut Vec<StateRecord>) {
        self.lists.add(&std::mem::take(&mut self.added), next_list, out);
        if let Some(clock) = clock {
            self.lists.forget(clock, out);
        }
    }

    /// The lists as they are now.
    pub(super) fn snapshot(&self, clock: Timestamp, put: impl FnMut(StateRecord)) {
        let live = self.keys.iter().map(|(key, until, ())| (until, key)).filter(|(until, _)| *until > clock);
        self.lists.snapshot(live, put);
    }
}
