//! Keys that are done with and still known for a while, so that what comes late or twice is told from what is new.

use shared::pipeline::Pipeline;
use shared::time::Timestamp;

use crate::changelog::lists::{Going, Mark};
use crate::changelog::record::{ChangelogKind, Changes, StateError, StateRecord, VERSION, versioned};
use crate::listed_keys::ListedKeys;

/// The keys that a partition is done with, each until a time.
#[derive(Debug)]
pub(crate) struct SeenKeys {
    keys: ListedKeys,
    /// What the changelog says of keys that had to go before their time.
    persisted_mark: Option<Mark>,
}

impl SeenKeys {
    /// The first byte of the keys of its lists.
    pub const KIND: u8 = b'c';
    /// The key of what is said of keys that had to go before their time.
    pub const MARK: u8 = b'f';

    pub fn new() -> Self {
        Self { keys: ListedKeys::new(Self::KIND), persisted_mark: None }
    }

    /// Whether `key` is still known. Those whose time has come have to be [forgotten](Self::forget_expired) before.
    pub fn knows(&self, key: &str) -> bool {
        self.keys.contains(key)
    }

    /// Forgets the keys whose time has come when the clock shows `now`.
    pub fn forget_expired(&mut self, now: Timestamp) {
        while self.keys.first_time().is_some_and(|until| until <= now) {
            self.keys.pop(Going::InTime);
        }
    }

    /// Forgets the oldest key before its time; whether there was one.
    pub fn forget_oldest(&mut self) -> bool {
        self.keys.pop(Going::Early).is_some()
    }

    /// Remembers `key` until a time, and no shorter than the keys before it, so that they stay in order.
    pub fn add(&mut self, key: &str, until: Timestamp) {
        self.keys.push(key, self.keys.last_time().map_or(until, |last| last.max(until)));
    }

    /// Every key with the time until which it is remembered, in the order of these.
    pub fn iter(&self) -> impl Iterator<Item = (Timestamp, &str)> {
        self.keys.iter()
    }

    /// No key is remembered for longer than until `time` from now on.
    pub fn set_back(&mut self, time: Timestamp) {
        self.keys.set_back(time);
    }

    /// How many keys are remembered.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Bytes that they take.
    pub fn bytes(&self) -> usize {
        self.keys.bytes()
    }
}

impl ChangelogKind for SeenKeys {
    fn kinds(&self) -> &'static [u8] {
        &[Self::KIND, Self::MARK]
    }

    fn restore(&mut self, _: &Pipeline, kind: u8, key: &[u8], value: Option<&[u8]>) -> Result<(), StateError> {
        if kind == Self::KIND {
            return self.keys.restore(key, value, |_| {});
        }
        self.persisted_mark = value.map(decode_mark).transpose()?;
        self.keys.restore_mark(self.persisted_mark);
        Ok(())
    }

    fn forget_restored(&mut self, clock: Timestamp) {
        self.keys.forget_deleted(|_| {});
        self.forget_expired(clock);
    }

    fn restoring_bytes(&self) -> usize {
        self.keys.bytes()
    }

    fn finish_restoring(&mut self, _: &Pipeline) -> Result<(), StateError> {
        self.keys.forget_deleted(|_| {});
        Ok(())
    }

    fn take_changes(&mut self, _: &Pipeline, changes: &mut Changes) {
        if let Some(clock) = changes.clock {
            self.forget_expired(clock);
        }
        self.keys.take_changes(changes);
        if self.persisted_mark != self.keys.mark() {
            self.persisted_mark = self.keys.mark();
            changes.records.push(mark_record(self.persisted_mark));
        }
    }

    fn snapshot(&self, _: &Pipeline, clock: Timestamp, put: &mut dyn FnMut(StateRecord)) {
        self.keys.snapshot(|until| until > clock, put);
        if self.persisted_mark.is_some() {
            put(mark_record(self.persisted_mark));
        }
    }
}

fn mark_record(mark: Option<Mark>) -> StateRecord {
    let value = mark.map(|mark| {
        let mut value = vec![VERSION];
        mark.encode(&mut value);
        value
    });
    StateRecord { key: vec![SeenKeys::MARK], value }
}

fn decode_mark(value: &[u8]) -> Result<Mark, StateError> {
    let mut reader = versioned(value)?;
    let mark = Mark::decode(&mut reader)?;
    reader.end()?;
    Ok(mark)
}
