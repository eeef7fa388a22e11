//! Lists of keys in the changelog: many keys a record, each with a time, so that a commit writes few records.

use std::collections::VecDeque;

use shared::codec::{Damaged, put_bytes, put_signed, put_unsigned};
use shared::time::Timestamp;

use super::record::{Changes, StateRecord, VERSION, versioned};

/// Bytes of keys a record; a longer list takes several.
const LIST_BYTES: usize = 256 << 10;

/// Lists of keys in the changelog, each until its last key is forgotten.
#[derive(Debug, Clone)]
pub(crate) struct Lists {
    kind: u8,
    /// Number and the time of the last key, oldest first.
    live: VecDeque<(u64, Timestamp)>,
}

impl Lists {
    /// No lists yet; their keys begin with `kind`.
    pub fn new(kind: u8) -> Self {
        Self { kind, live: VecDeque::new() }
    }

    pub fn is_empty(&self) -> bool {
        self.live.is_empty()
    }

    /// Writes down new keys.
    pub fn add(&mut self, keys: &[(Timestamp, impl AsRef<str>)], changes: &mut Changes) {
        let mut rest = keys;
        while !rest.is_empty() {
            let (chunk, after) = rest.split_at(fitting(rest));
            rest = after;
            let (last, value) = encode_keys(chunk.iter().map(|(time, key)| (*time, key.as_ref())));
            changes.records.push(StateRecord { key: self.key(changes.next_list), value: Some(value) });
            self.live.push_back((changes.next_list, last));
            changes.next_list += 1;
        }
    }

    /// Deletes the lists whose last key's time is not after `time`.
    pub fn forget(&mut self, time: Timestamp, changes: &mut Changes) {
        while let Some((number, _)) = self.live.front().filter(|(_, last)| *last <= time).copied() {
            changes.records.push(StateRecord { key: self.key(number), value: None });
            self.live.pop_front();
        }
    }

    /// No key's time is later than `time` from now on.
    pub fn set_back(&mut self, time: Timestamp) {
        self.live.iter_mut().for_each(|(_, last)| *last = time.min(*last));
    }

    /// The lists as they are now: each remembered key, in the order of times, in the list that holds it.
    pub fn snapshot<'a>(&self, keys: impl Iterator<Item = (Timestamp, &'a str)>, put: &mut dyn FnMut(StateRecord)) {
        let mut keys = keys.peekable();
        for &(number, last) in &self.live {
            let here: Vec<(Timestamp, &str)> = std::iter::from_fn(|| keys.next_if(|(time, _)| *time <= last)).collect();
            let value = encode_keys(here.into_iter()).1;
            put(StateRecord { key: self.key(number), value: Some(value) });
        }
    }

    /// Takes in the list with the number `key` and hands its keys to `take`; or that it was deleted: keys are forgotten by
    /// their times, so it held none that counts.
    pub fn restore(
        &mut self,
        key: &[u8],
        value: Option<&[u8]>,
        take: impl FnMut(Timestamp, &str),
    ) -> Result<(), Damaged> {
        let number = key.try_into().map(u64::from_be_bytes).map_err(|_| Damaged)?;
        match value {
            Some(value) => self.live.push_back((number, decode_keys(value, take)?)),
            None => self.live.retain(|(live, _)| *live != number),
        }
        Ok(())
    }

    fn key(&self, number: u64) -> Vec<u8> {
        let mut key = vec![self.kind];
        key.extend_from_slice(&number.to_be_bytes());
        key
    }
}

/// How many of the first keys go into one record: at least one.
fn fitting(keys: &[(Timestamp, impl AsRef<str>)]) -> usize {
    let mut bytes = 0;
    let fits = |(_, key): &&(Timestamp, _)| {
        let key: &str = AsRef::<str>::as_ref(key);
        bytes += key.len() + size_of::<Timestamp>();
        bytes <= LIST_BYTES
    };
    keys.iter().take_while(fits).count().max(1)
}

/// Keys with their times, as one record of a changelog: `(last time, bytes)`.
fn encode_keys<'a>(keys: impl ExactSizeIterator<Item = (Timestamp, &'a str)>) -> (Timestamp, Vec<u8>) {
    let mut out = vec![VERSION];
    put_unsigned(&mut out, keys.len() as u64);
    let mut last = 0;
    for (time, key) in keys {
        put_signed(&mut out, time.wrapping_sub(last));
        put_bytes(&mut out, key.as_bytes());
        last = time;
    }
    (last, out)
}

/// Reads the keys of a list; the last time.
fn decode_keys(bytes: &[u8], mut take: impl FnMut(Timestamp, &str)) -> Result<Timestamp, Damaged> {
    let mut reader = versioned(bytes)?;
    let mut last: Timestamp = 0;
    for _ in 0..reader.count()? {
        last = last.wrapping_add(reader.signed()?);
        take(last, reader.text()?);
    }
    reader.end()?;
    Ok(last)
}
