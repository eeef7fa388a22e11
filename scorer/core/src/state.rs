//! A partition's state as records of a compacted changelog: what they are, and what they belong to.
//!
//! Keys begin with a byte that says what they are of:
//! `e` + key: an open entity; `c` + number: keys that closed, with the time until which they are remembered;
//! `x` + number: cancelled keys, with the time of their first line; `w`: the windows; `p` + part: a part of the past of a
//! key; `t`: the largest time in that past; `r` + time + key: a record that waits; `z` + detector + part: what waits for its
//! windows; `h`: the head, which is the last record of every change. A record without a value deletes.

use std::collections::BTreeSet;

use shared::codec::{Damaged, Reader, put_bytes, put_optional, put_signed, put_unsigned};
use shared::history::{Part, PartError};
use shared::pipeline::Pipeline;
use shared::time::Timestamp;
use thiserror::Error;

use super::Monotonic;
use super::entity::OpenEntity;
use super::windows::Windows;

pub(super) const VERSION: u8 = 1;

pub(super) const ENTITY: u8 = b'e';
pub(super) const CLOSED: u8 = b'c';
pub(super) const CANCELLED: u8 = b'x';
pub(super) const WINDOWS: u8 = b'w';
pub(super) const PAST: u8 = b'p';
pub(super) const PAST_CLOCK: u8 = b't';
pub(super) const HELD: u8 = b'r';
pub(super) const WINDOWED: u8 = b'z';
pub(super) const HEAD: u8 = b'h';

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

impl From<PartError> for StateError {
    fn from(_: PartError) -> Self {
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
    pub(super) fn beside(&self, other: &Self) -> String {
        let other = other.parts();
        let different: Vec<String> = self.parts().into_iter().filter(|part| !other.contains(part)).collect();
        if different.is_empty() { "less than that".to_owned() } else { different.join(", ") }
    }

    fn parts(&self) -> Vec<String> {
        let topic = [format!("topic `{}`", self.topic), format!("{} partitions", self.partitions)];
        topic.into_iter().chain(self.layout.lines().map(|line| format!("`{line}`"))).collect()
    }
}

pub(super) fn windows_record(value: Vec<u8>) -> StateRecord {
    StateRecord { key: vec![WINDOWS], value: Some(value) }
}

/// A part of what is remembered as a record.
pub(super) fn past_record(part: Part) -> StateRecord {
    let mut key = part.key;
    key.insert(0, PAST);
    StateRecord { key, value: part.value }
}

/// The largest time in what is remembered as a record.
pub(super) fn past_clock_record(clock: Timestamp) -> StateRecord {
    let mut value = vec![VERSION];
    put_signed(&mut value, clock);
    StateRecord { key: vec![PAST_CLOCK], value: Some(value) }
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
