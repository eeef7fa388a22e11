//! Keys that are done with and still known for a while, so that what comes late or twice is told from what is new.

use shared::expiry::ExpiryMap;
use shared::pipeline::Pipeline;
use shared::time::Timestamp;

use crate::changelog::lists::Lists;
use crate::changelog::record::{ChangelogKind, Changes, StateError, StateRecord};
use crate::resume::Recovery;

/// The keys that a partition is done with, each until a time.
#[derive(Debug)]
pub(crate) struct SeenKeys {
    keys: ExpiryMap<()>,
    lists: Lists,
    recovery: Recovery,
    /// Keys since the last commit, where there is a changelog.
    added: Vec<(Timestamp, Box<str>)>,
}

impl SeenKeys {
    /// The first byte of the keys of its lists.
    pub const KIND: u8 = b'c';

    pub fn new(recovery: Recovery) -> Self {
        Self { keys: ExpiryMap::default(), lists: Lists::new(Self::KIND), recovery, added: Vec::new() }
    }

    /// Whether `key` is still known when the clock shows `now`.
    pub fn knows(&mut self, key: &str, now: Timestamp) -> bool {
        while self.keys.pop_expired(now).is_some() {}
        self.keys.get(key).is_some()
    }

    /// Remembers `key` until a time, and no shorter than the keys before it, so that they stay in order.
    pub fn add(&mut self, key: Box<str>, until: Timestamp) {
        let until = self.keys.last_deadline().map_or(until, |last| last.max(until));
        self.keys.insert(&key, until, ());
        if self.recovery == Recovery::Changelog {
            self.added.push((until, key));
        }
    }

    /// No key is remembered for longer than until `time` from now on.
    pub fn set_back(&mut self, time: Timestamp) {
        let mut keys = ExpiryMap::default();
        while let Some((key, until, ())) = self.keys.pop_oldest() {
            keys.insert(&key, until.min(time), ());
        }
        self.keys = keys;
        self.lists.set_back(time);
    }

    /// How many keys are remembered.
    pub fn len(&self) -> usize {
        self.keys.len()
    }
}

impl ChangelogKind for SeenKeys {
    fn kinds(&self) -> &'static [u8] {
        &[Self::KIND]
    }

    fn restore(&mut self, _: &Pipeline, _: u8, key: &[u8], value: Option<&[u8]>) -> Result<(), StateError> {
        let (Self { keys, lists, .. }, mut is_ordered) = (self, true);
        lists.restore(key, value, |until, key| {
            is_ordered &= keys.last_deadline().is_none_or(|last| last <= until);
            keys.insert(key, until, ());
        })?;
        if is_ordered { Ok(()) } else { Err(StateError::Disordered) }
    }

    fn forget_restored(&mut self, clock: Timestamp) {
        while self.keys.pop_expired(clock).is_some() {}
        if self.lists.is_empty() {
            self.keys = ExpiryMap::default();
        }
    }

    fn take_changes(&mut self, _: &Pipeline, changes: &mut Changes) {
        self.lists.add(&std::mem::take(&mut self.added), changes);
        if let Some(clock) = changes.clock {
            self.lists.forget(clock, changes);
        }
    }

    fn snapshot(&self, _: &Pipeline, clock: Timestamp, put: &mut dyn FnMut(StateRecord)) {
        let live = self.keys.iter().map(|(key, until, ())| (until, key)).filter(|(until, _)| *until > clock);
        self.lists.snapshot(live, put);
    }
}
