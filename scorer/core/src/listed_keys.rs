//! Keys that are remembered, as they are in memory and in the lists of the changelog: every key of a list is in the queue, in
//! the same order, until it goes.

use shared::time::Timestamp;

use crate::changelog::lists::{Going, Lists, Mark};
use crate::changelog::record::{Changes, StateError, StateRecord};
use crate::key_queue::KeyQueue;

/// Keys that are remembered, each with a time, in the order of times.
#[derive(Debug)]
pub(crate) struct ListedKeys {
    keys: KeyQueue,
    lists: Lists,
    /// How many of the keys, the newest, no list has yet.
    unlisted: usize,
    /// While state is restored: what its last change says of keys that had to go before their time.
    restored_mark: Option<Mark>,
}

impl ListedKeys {
    /// No keys yet; those of their lists begin with `kind`.
    pub fn new(kind: u8) -> Self {
        Self { keys: KeyQueue::default(), lists: Lists::new(kind), unlisted: 0, restored_mark: None }
    }

    /// How many keys are remembered.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Bytes in memory: by the keys alone, so that keys that were read back take as many.
    pub fn bytes(&self) -> usize {
        self.keys.bytes()
    }

    /// Whether `key` is remembered.
    pub fn contains(&self, key: &str) -> bool {
        self.keys.contains(key)
    }

    /// The time of the oldest key.
    pub fn first_time(&self) -> Option<Timestamp> {
        self.keys.first_time()
    }

    /// The time of the newest key: another one may not be before it.
    pub fn last_time(&self) -> Option<Timestamp> {
        self.keys.last_time()
    }

    /// Remembers a key, with a time that is not before that of any other.
    pub fn push(&mut self, key: &str, time: Timestamp) {
        self.keys.push(key, time);
        self.unlisted += 1;
    }

    /// Forgets the oldest key; its time.
    pub fn pop(&mut self, going: Going) -> Option<Timestamp> {
        let time = self.keys.pop()?;
        if !self.lists.on_gone(going) {
            self.unlisted -= 1;
        }
        Some(time)
    }

    /// Every key with its time, the oldest first.
    pub fn iter(&self) -> impl Iterator<Item = (Timestamp, &str)> {
        self.keys.iter()
    }

    /// No key's time is later than `time` from now on.
    pub fn set_back(&mut self, time: Timestamp) {
        self.keys.set_back(time);
    }

    /// What is to be written down of keys that had to go before their time.
    pub fn mark(&self) -> Option<Mark> {
        self.lists.mark()
    }

    /// Takes in the list with the number `key`; `on_key` hears of each key's time.
    pub fn restore(
        &mut self,
        key: &[u8],
        value: Option<&[u8]>,
        mut on_key: impl FnMut(Timestamp),
    ) -> Result<(), StateError> {
        let (keys, mut is_ordered) = (&mut self.keys, true);
        self.lists.restore(key, value, |time, key| {
            is_ordered &= keys.last_time().is_none_or(|last| last <= time);
            keys.push(key, time);
            on_key(time);
        })?;
        if is_ordered { Ok(()) } else { Err(StateError::Disordered) }
    }

    /// Takes in what the change that is being read says of keys that had to go before their time.
    pub fn restore_mark(&mut self, mark: Option<Mark>) {
        self.restored_mark = mark;
    }

    /// A change has been read to its end: the keys that it says have gone go; `on_gone` hears of each one's time.
    pub fn forget_deleted(&mut self, on_gone: impl FnMut(Timestamp)) {
        let gone = self.lists.take_deleted(self.restored_mark);
        (0..gone).map_while(|_| self.keys.pop()).for_each(on_gone);
    }

    /// Writes down the new keys, and deletes the lists whose keys have all gone.
    pub fn take_changes(&mut self, changes: &mut Changes) {
        self.lists.add(self.keys.last(std::mem::take(&mut self.unlisted)), changes);
        self.lists.delete_dead(changes);
    }

    /// The lists as they are now, without the keys that are not live.
    pub fn snapshot(&self, is_live: impl Fn(Timestamp) -> bool, put: &mut dyn FnMut(StateRecord)) {
        self.lists.snapshot(self.keys.iter(), is_live, put);
    }
}
