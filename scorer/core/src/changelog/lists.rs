//! Lists of keys in the changelog: many keys a record, each with a time, so that a commit writes few records.
//!
//! Keys go in the order in which they came. A list is deleted when its last key has gone. Where keys had to go before their
//! time, a mark tells how many of the oldest list are left; it counts from the end, since a snapshot of the list has fewer at
//! the front.

use std::collections::VecDeque;

use shared::codec::{Damaged, Reader, put_bytes, put_signed, put_unsigned};
use shared::time::Timestamp;

use super::record::{Changes, StateRecord, VERSION, versioned};

/// Bytes of keys a record; a longer list takes several.
const LIST_BYTES: usize = 256 << 10;

/// Lists of keys in the changelog, each until its last key has gone.
#[derive(Debug, Clone)]
pub(crate) struct Lists {
    kind: u8,
    /// Oldest first.
    live: VecDeque<List>,
    /// How many keys of the oldest list have gone.
    gone: usize,
    /// What of the oldest list was left when a key had to go before its time.
    mark: Option<Mark>,
    /// The lists that are to be deleted.
    dead: Vec<u64>,
}

/// A list in the changelog.
#[derive(Debug, Clone, Copy)]
struct List {
    number: u64,
    keys: usize,
    /// While state is restored: whether its deletion has been read.
    is_deleted: bool,
}

/// Of a list, and of those before it, no more keys are left than the last `left` of that list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    list: u64,
    left: u64,
}

/// Why a key goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Going {
    /// Its time has come: whoever reads it again knows that from the clock.
    InTime,
    /// Before its time, which has to be written down.
    Early,
}

impl Lists {
    /// No lists yet; their keys begin with `kind`.
    pub fn new(kind: u8) -> Self {
        Self { kind, live: VecDeque::new(), gone: 0, mark: None, dead: Vec::new() }
    }

    /// Notes that the oldest key has gone; whether a list holds it.
    pub fn on_gone(&mut self, going: Going) -> bool {
        let Some(oldest) = self.live.front() else { return false };
        self.gone += 1;
        if going == Going::Early {
            self.mark = Some(Mark { list: oldest.number, left: oldest.keys.saturating_sub(self.gone) as u64 });
        }
        self.drop_empty();
        true
    }

    /// Lists without a key are to be deleted.
    fn drop_empty(&mut self) {
        while let Some(list) = self.live.pop_front_if(|list| list.keys <= self.gone) {
            self.dead.push(list.number);
            (self.gone, self.mark) = (0, None);
        }
    }

    /// What is to be written down of keys that had to go before their time.
    pub fn mark(&self) -> Option<Mark> {
        self.mark
    }

    /// Writes down new keys.
    pub fn add<'a>(&mut self, keys: impl Iterator<Item = (Timestamp, &'a str)>, changes: &mut Changes) {
        let mut keys = keys.peekable();
        while keys.peek().is_some() {
            let chunk = fitting(&mut keys);
            let list = List { number: changes.next_list, keys: chunk.len(), is_deleted: false };
            changes.records.push(StateRecord { key: self.key(list.number), value: Some(encode_keys(&chunk)) });
            self.live.push_back(list);
            changes.next_list += 1;
        }
    }

    /// Deletes the lists that have no key any more.
    pub fn delete_dead(&mut self, changes: &mut Changes) {
        let deletion = |number| StateRecord { key: list_key(self.kind, number), value: None };
        changes.records.extend(self.dead.drain(..).map(deletion));
    }

    /// The lists as they are now, when `keys` are all keys that they hold, in order: each in the list that holds it, without
    /// those whose time has come.
    pub fn snapshot<'a>(
        &self,
        mut keys: impl Iterator<Item = (Timestamp, &'a str)>,
        is_live: impl Fn(Timestamp) -> bool,
        put: &mut dyn FnMut(StateRecord),
    ) {
        let mut gone = self.gone;
        for list in &self.live {
            let left = list.keys.saturating_sub(std::mem::take(&mut gone));
            let here: Vec<(Timestamp, &str)> = keys.by_ref().take(left).filter(|(time, _)| is_live(*time)).collect();
            put(StateRecord { key: self.key(list.number), value: Some(encode_keys(&here)) });
        }
    }

    /// Takes in the list with the number `key` and hands its keys to `take`, or that it was deleted.
    pub fn restore(
        &mut self,
        key: &[u8],
        value: Option<&[u8]>,
        mut take: impl FnMut(Timestamp, &str),
    ) -> Result<(), Damaged> {
        let number = key.try_into().map(u64::from_be_bytes).map_err(|_| Damaged)?;
        match value {
            Some(value) => {
                let mut keys = 0;
                let read = decode_keys(value, |time, key| {
                    keys += 1;
                    take(time, key);
                });
                // Every key that was handed over is of a list, also if the record is damaged further on.
                self.live.push_back(List { number, keys, is_deleted: false });
                read?;
            }
            None => {
                let is_meant = |list: &&mut List| list.number == number;
                self.live.iter_mut().filter(is_meant).for_each(|list| list.is_deleted = true);
                // Its keys may have gone by the clock before: it is not to be deleted a second time.
                self.dead.retain(|dead| *dead != number);
            }
        }
        Ok(())
    }

    /// How many of the oldest keys that were read have gone since, by the deletions and the mark of the last change. They
    /// have gone for these lists then.
    pub fn take_deleted(&mut self, mark: Option<Mark>) -> usize {
        let mut taken = 0;
        while let Some(list) = self.live.front().copied() {
            let left = list.keys - self.gone.min(list.keys);
            let is_passed = list.is_deleted || mark.is_some_and(|mark| list.number < mark.list);
            if left > 0 && !is_passed {
                break;
            }
            taken += left;
            self.live.pop_front();
            self.gone = 0;
            if !list.is_deleted {
                self.dead.push(list.number);
            }
        }
        self.mark = mark.filter(|mark| self.live.front().is_some_and(|list| list.number == mark.list));
        if let (Some(Mark { left, .. }), Some(list)) = (self.mark, self.live.front()) {
            let gone = list.keys.saturating_sub(usize::try_from(left).unwrap_or(usize::MAX)).max(self.gone);
            taken += gone - self.gone;
            self.gone = gone;
        }
        taken
    }

    fn key(&self, number: u64) -> Vec<u8> {
        list_key(self.kind, number)
    }
}

impl Mark {
    pub fn encode(self, out: &mut Vec<u8>) {
        put_unsigned(out, self.list);
        put_unsigned(out, self.left);
    }

    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        Ok(Self { list: reader.unsigned()?, left: reader.unsigned()? })
    }
}

fn list_key(kind: u8, number: u64) -> Vec<u8> {
    let mut key = vec![kind];
    key.extend_from_slice(&number.to_be_bytes());
    key
}

/// The next keys that go into one record: at least one.
fn fitting<'a>(
    keys: &mut std::iter::Peekable<impl Iterator<Item = (Timestamp, &'a str)>>,
) -> Vec<(Timestamp, &'a str)> {
    let (mut bytes, mut chunk) = (0, Vec::new());
    while let Some(next) = keys.next_if(|(_, key)| {
        bytes += key.len() + size_of::<Timestamp>();
        bytes <= LIST_BYTES || chunk.is_empty()
    }) {
        chunk.push(next);
    }
    chunk
}

/// Keys with their times, as one record of a changelog.
fn encode_keys(keys: &[(Timestamp, &str)]) -> Vec<u8> {
    let mut out = vec![VERSION];
    put_unsigned(&mut out, keys.len() as u64);
    let mut last = 0;
    for (time, key) in keys {
        put_signed(&mut out, time.wrapping_sub(last));
        put_bytes(&mut out, key.as_bytes());
        last = *time;
    }
    out
}

/// Reads the keys of a list.
fn decode_keys(bytes: &[u8], mut take: impl FnMut(Timestamp, &str)) -> Result<(), Damaged> {
    let mut reader = versioned(bytes)?;
    let mut last: Timestamp = 0;
    for _ in 0..reader.count()? {
        last = last.wrapping_add(reader.signed()?);
        take(last, reader.text()?);
    }
    reader.end()
}
