//! A partition's state as records of a compacted changelog: what changed since the last time, and back again.
//!
//! Keys begin with a byte that says what they are of:
//! `e` + key: an open entity; `c` + number: keys that closed, with the time until which they are remembered;
//! `x` + number: cancelled keys, with the time of their first line; `w`: the windows; `h`: the head, which is the last
//! record of every change. A record without a value deletes.

use std::collections::{BTreeSet, VecDeque};

use shared::codec::{Damaged, Reader, put_bytes, put_optional, put_signed, put_unsigned};
use shared::expiry::ExpiryMap;
use shared::pipeline::Pipeline;
use shared::time::Timestamp;
use thiserror::Error;

use super::Monotonic;
use super::cancellations::{Cancelled, decode_keys, encode_keys};
use super::clock::PartitionClock;
use super::entity::OpenEntity;
use super::partition::Open;
use super::windows::Windows;

const VERSION: u8 = 1;

const ENTITY: u8 = b'e';
const CLOSED: u8 = b'c';
const CANCELLED: u8 = b'x';
const WINDOWS: u8 = b'w';
const HEAD: u8 = b'h';

/// Bytes of keys a record; a longer list takes several.
const LIST_BYTES: usize = 256 << 10;

/// A record of a changelog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateRecord {
    /// What it is of.
    pub key: Vec<u8>,
    /// What it is; `None` deletes.
    pub value: Option<Vec<u8>>,
}

/// What a partition's state belongs to: state of one origin is never read for another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The topic whose partition it is of.
    pub topic: String,
    /// How many partitions that topic has.
    pub partitions: i32,
    /// What the state of an entity is made of.
    pub layout: String,
}

/// The head of a partition's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// What the state belongs to.
    pub origin: Origin,
    /// When this state began, by the driver's clock: tells a changelog from one that took its place.
    pub birth: i64,
    /// Counts the changes; committed beside the input's offset, so that the two can be told to belong together.
    pub sequence: u64,
    /// The first record of the input that is not in the state.
    pub next_offset: i64,
    pub(super) watermark: Option<Timestamp>,
    pub(super) idle_since: Option<Monotonic>,
    pub(super) closed_through: Timestamp,
    pub(super) next_list: u64,
}

/// Why state cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum StateError {
    /// Bytes that nobody wrote.
    #[error("a record of the state is damaged or of another version")]
    Damaged,
    /// Deadlines that go back.
    #[error("records of the state are out of order")]
    Disordered,
    /// State of another topic, partition count or pipeline.
    #[error("the state was made with {found}; here it is {wanted}")]
    Foreign {
        /// What of its origin is different.
        found: String,
        /// What that is where it is wanted.
        wanted: String,
    },
}

impl From<Damaged> for StateError {
    fn from(_: Damaged) -> Self {
        Self::Damaged
    }
}

impl Head {
    pub(super) fn record(&self) -> StateRecord {
        let mut out = vec![VERSION];
        put_signed(&mut out, self.birth);
        put_unsigned(&mut out, self.sequence);
        put_signed(&mut out, self.next_offset);
        put_optional(&mut out, self.watermark);
        put_optional(&mut out, self.idle_since);
        put_signed(&mut out, self.closed_through);
        put_unsigned(&mut out, self.next_list);
        put_bytes(&mut out, self.origin.topic.as_bytes());
        put_unsigned(&mut out, self.origin.partitions as u64);
        put_bytes(&mut out, self.origin.layout.as_bytes());
        StateRecord { key: vec![HEAD], value: Some(out) }
    }

    /// The head, when `key` is that of one.
    ///
    /// # Errors
    /// [`Damaged`] bytes.
    pub fn decode(key: &[u8], value: &[u8]) -> Result<Option<Self>, Damaged> {
        if key != [HEAD] {
            return Ok(None);
        }
        let mut reader = Reader(value);
        if reader.byte()? != VERSION {
            return Err(Damaged);
        }
        let (birth, sequence, next_offset) = (reader.signed()?, reader.unsigned()?, reader.signed()?);
        let (watermark, idle_since) = (reader.optional()?, reader.optional()?);
        let (closed_through, next_list) = (reader.signed()?, reader.unsigned()?);
        let topic = reader.text()?.to_owned();
        let partitions = i32::try_from(reader.unsigned()?).map_err(|_| Damaged)?;
        let origin = Origin { topic, partitions, layout: reader.text()?.to_owned() };
        reader.end()?;
        Ok(Some(Self { origin, birth, sequence, next_offset, watermark, idle_since, closed_through, next_list }))
    }
}

impl Origin {
    /// What is different from `other`, on one line.
    fn beside(&self, other: &Self) -> String {
        let other = other.parts();
        let different: Vec<String> = self.parts().into_iter().filter(|part| !other.contains(part)).collect();
        if different.is_empty() { "less than that".to_owned() } else { different.join(", ") }
    }

    fn parts(&self) -> Vec<String> {
        let topic = [format!("topic `{}`", self.topic), format!("{} partitions", self.partitions)];
        topic.into_iter().chain(self.layout.lines().map(|line| format!("`{line}`"))).collect()
    }
}

/// Lists of keys in the changelog, each until its last key is forgotten.
#[derive(Debug, Clone, Default)]
pub(super) struct Lists {
    kind: u8,
    /// Number and the time of the last key, oldest first.
    live: VecDeque<(u64, Timestamp)>,
}

impl Lists {
    pub(super) fn closed() -> Self {
        Self { kind: CLOSED, live: VecDeque::new() }
    }

    pub(super) fn cancelled() -> Self {
        Self { kind: CANCELLED, live: VecDeque::new() }
    }

    /// Writes down new keys.
    pub(super) fn add(&mut self, keys: &[(Timestamp, impl AsRef<str>)], next: &mut u64, out: &mut Vec<StateRecord>) {
        let mut rest = keys;
        while !rest.is_empty() {
            let (chunk, after) = rest.split_at(fitting(rest));
            rest = after;
            let (last, value) = encode_keys(chunk.iter().map(|(time, key)| (*time, key.as_ref())));
            out.push(StateRecord { key: self.key(*next), value: Some(value) });
            self.live.push_back((*next, last));
            *next += 1;
        }
    }

    /// Deletes the lists whose last key's time is not after `time`.
    pub(super) fn forget(&mut self, time: Timestamp, out: &mut Vec<StateRecord>) {
        while let Some((number, _)) = self.live.front().filter(|(_, last)| *last <= time).copied() {
            out.push(StateRecord { key: self.key(number), value: None });
            self.live.pop_front();
        }
    }

    /// The lists as they are now: each remembered key, in the order of times, in the list that holds it.
    pub(super) fn snapshot<'a>(
        &self,
        keys: impl Iterator<Item = (Timestamp, &'a str)>,
        mut put: impl FnMut(StateRecord),
    ) {
        let mut keys = keys.peekable();
        for &(number, last) in &self.live {
            let here: Vec<(Timestamp, &str)> = std::iter::from_fn(|| keys.next_if(|(time, _)| *time <= last)).collect();
            let value = encode_keys(here.into_iter()).1;
            put(StateRecord { key: self.key(number), value: Some(value) });
        }
    }

    fn note(&mut self, number: u64, last: Timestamp) {
        self.live.push_back((number, last));
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

pub(super) fn windows_record(value: Vec<u8>) -> StateRecord {
    StateRecord { key: vec![WINDOWS], value: Some(value) }
}

fn entity_key(key: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(key.len() + 1);
    out.push(ENTITY);
    out.extend_from_slice(key.as_bytes());
    out
}

/// An open entity as a record.
pub(super) fn entity_record(key: &str, deadline: Timestamp, entity: &OpenEntity) -> StateRecord {
    let mut value = Vec::with_capacity(160);
    value.push(VERSION);
    put_signed(&mut value, deadline);
    entity.encode(&mut value);
    StateRecord { key: entity_key(key), value: Some(value) }
}

/// That an entity is no longer open.
pub(super) fn entity_gone(key: &str) -> StateRecord {
    StateRecord { key: entity_key(key), value: None }
}

/// A partition's state, as far as its records have been read.
#[derive(Debug)]
pub struct Restored {
    pub(super) open: ExpiryMap<Open>,
    pub(super) closed: ExpiryMap<()>,
    pub(super) closed_lists: Lists,
    pub(super) cancelled: Cancelled,
    pub(super) cancelled_lists: Lists,
    pub(super) windows: Option<Windows>,
    head: Option<Head>,
    origin: Origin,
    records: u64,
}

impl Restored {
    /// The key of heads: after one, the state is whole.
    pub const HEAD_KEY: &'static [u8] = &[HEAD];

    /// Nothing read yet.
    pub fn new(pipeline: &Pipeline, origin: Origin) -> Self {
        Self {
            open: ExpiryMap::default(),
            closed: ExpiryMap::default(),
            closed_lists: Lists::closed(),
            cancelled: Cancelled::new(pipeline),
            cancelled_lists: Lists::cancelled(),
            windows: None,
            head: None,
            origin,
            records: 0,
        }
    }

    /// Takes in the next record.
    ///
    /// # Errors
    /// [`StateError`]: nothing of the state may be used then.
    pub fn take(&mut self, pipeline: &Pipeline, key: &[u8], value: Option<&[u8]>) -> Result<(), StateError> {
        self.records += 1;
        let (&kind, rest) = key.split_first().ok_or(StateError::Damaged)?;
        match (kind, value) {
            (ENTITY, Some(value)) => self.take_entity(pipeline, rest, value),
            (ENTITY, None) => {
                self.open.remove(text(rest)?);
                Ok(())
            }
            (CLOSED, Some(value)) => {
                let (closed, mut ordered) = (&mut self.closed, true);
                let last = decode_keys(value, |until, key| {
                    ordered &= closed.last_deadline().is_none_or(|last| last <= until);
                    closed.insert(key, until, ());
                })?;
                self.closed_lists.note(number(rest)?, last);
                if ordered { Ok(()) } else { Err(StateError::Disordered) }
            }
            (CANCELLED, Some(value)) => {
                let last = decode_keys(value, |first, key| {
                    self.cancelled.add(key, first);
                })?;
                self.cancelled.forget_added();
                self.cancelled_lists.note(number(rest)?, last);
                Ok(())
            }
            // Keys are forgotten by their times: a list that is gone held none that counts.
            (CLOSED, None) => {
                let gone = number(rest)?;
                self.closed_lists.live.retain(|(number, _)| *number != gone);
                Ok(())
            }
            (CANCELLED, None) => {
                let gone = number(rest)?;
                self.cancelled_lists.live.retain(|(number, _)| *number != gone);
                Ok(())
            }
            (WINDOWS, Some(value)) => {
                if let Some(settings) = &pipeline.cancellations {
                    self.windows = Some(Windows::decode(settings, value)?);
                }
                Ok(())
            }
            (HEAD, Some(value)) => self.take_head(Head::decode(key, value)?.ok_or(StateError::Damaged)?),
            _ => Err(StateError::Damaged),
        }
    }

    fn take_entity(&mut self, pipeline: &Pipeline, key: &[u8], value: &[u8]) -> Result<(), StateError> {
        let key = text(key)?;
        let mut reader = Reader(value);
        if reader.byte()? != VERSION {
            return Err(StateError::Damaged);
        }
        let deadline = reader.signed()?;
        let entity = OpenEntity::decode(pipeline, &mut reader)?;
        reader.end()?;
        if self.open.last_deadline().is_some_and(|last| last > deadline) {
            return Err(StateError::Disordered);
        }
        self.open.insert(key, deadline, Open::written_down(entity));
        Ok(())
    }

    fn take_head(&mut self, head: Head) -> Result<(), StateError> {
        if head.origin != self.origin {
            return Err(StateError::Foreign {
                found: head.origin.beside(&self.origin),
                wanted: self.origin.beside(&head.origin),
            });
        }
        self.forget_expired(head.watermark);
        self.head = Some(head);
        Ok(())
    }

    /// Drops keys that are no longer remembered: those whose time has passed, and all once no list holds any.
    fn forget_expired(&mut self, clock: Option<Timestamp>) {
        let now = clock.unwrap_or(Timestamp::MIN);
        while self.closed.pop_expired(now).is_some() {}
        self.cancelled.forget_before(now);
        if self.closed_lists.live.is_empty() {
            self.closed = ExpiryMap::default();
        }
        if self.cancelled_lists.live.is_empty() {
            self.cancelled.forget_all();
        }
    }

    /// The last head that was read: the state is whole only there.
    pub fn head(&self) -> Option<&Head> {
        self.head.as_ref()
    }

    /// What the state belongs to.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Records taken in.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// Open entities.
    pub fn open_entities(&self) -> usize {
        self.open.len()
    }

    /// Closed keys that are remembered.
    pub fn closed_keys(&self) -> usize {
        self.closed.len()
    }

    /// Cancelled keys that are remembered.
    pub fn cancelled_keys(&self) -> usize {
        self.cancelled.iter().len()
    }

    /// The end of the last window that was published, where the windows are of this partition.
    pub fn windows_through(&self) -> Option<Timestamp> {
        self.windows.as_ref().map(Windows::published_through).filter(|through| *through > Timestamp::MIN)
    }

    pub(super) fn clock(&self) -> PartitionClock {
        self.head
            .as_ref()
            .map_or_else(PartitionClock::default, |head| PartitionClock::resumed(head.watermark, head.idle_since))
    }

    /// The state as records: what the changelog would hold if it held each key once.
    pub fn snapshot(&self) -> Vec<StateRecord> {
        let clock = self.clock().watermark().unwrap_or(Timestamp::MIN);
        let mut out = Vec::new();
        let mut put = |record| out.push(record);
        self.open.iter().for_each(|(key, deadline, open)| put(entity_record(key, deadline, open.entity())));
        let closed = self.closed.iter().map(|(key, until, ())| (until, key)).filter(|(until, _)| *until > clock);
        self.closed_lists.snapshot(closed, &mut put);
        let live = |first: Timestamp| first.saturating_add(self.cancelled.remember()) > clock;
        self.cancelled_lists.snapshot(self.cancelled.iter().filter(|(first, _)| live(*first)), &mut put);
        self.windows.iter().for_each(|windows| put(windows_record(windows.encode())));
        self.head.iter().for_each(|head| put(head.record()));
        out
    }
}

/// What the keys of a changelog are, whatever wrote it: enough to delete its state.
#[derive(Debug, Default)]
pub struct LiveKeys {
    keys: BTreeSet<Vec<u8>>,
}

impl LiveKeys {
    /// Takes in the next record.
    pub fn take(&mut self, key: &[u8], value: Option<&[u8]>) {
        match value {
            Some(_) => self.keys.insert(key.to_vec()),
            None => self.keys.remove(key),
        };
    }

    /// The records that delete everything and begin a new life at `next_offset` of the input; where the windows are of
    /// this partition, with the reports from `reports_from` on.
    pub fn reset(
        &self,
        pipeline: &Pipeline,
        origin: Origin,
        birth: i64,
        next_offset: i64,
        reports_from: Option<i64>,
    ) -> (Vec<StateRecord>, Head) {
        let is_kept = |key: &&Vec<u8>| **key == [HEAD] || (**key == [WINDOWS] && reports_from.is_some());
        let gone = self.keys.iter().filter(|key| !is_kept(key));
        let mut out: Vec<StateRecord> = gone.map(|key| StateRecord { key: key.clone(), value: None }).collect();
        if let (Some(position), Some(settings)) = (reports_from, &pipeline.cancellations) {
            out.push(windows_record(Windows::starting_at(settings, position).encode()));
        }
        let head = Head {
            origin,
            birth,
            sequence: 1,
            next_offset,
            watermark: None,
            idle_since: None,
            closed_through: Timestamp::MIN,
            next_list: 0,
        };
        out.push(head.record());
        (out, head)
    }
}

fn text(bytes: &[u8]) -> Result<&str, StateError> {
    std::str::from_utf8(bytes).map_err(|_| StateError::Damaged)
}

fn number(bytes: &[u8]) -> Result<u64, StateError> {
    bytes.try_into().map(u64::from_be_bytes).map_err(|_| StateError::Damaged)
}
