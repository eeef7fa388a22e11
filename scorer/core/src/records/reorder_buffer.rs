//! The reorder buffer: records wait here for those that may still come before them, in the order of their own times.
//!
//! Of a record only the values are kept that features and verdict read, in few bytes.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use shared::allocation::allocated;
use shared::codec::{Damaged, Reader, put_bytes, put_signed};
use shared::line::Value;
use shared::pipeline::Pipeline;
use shared::time::Timestamp;

use crate::changelog::record::{ChangelogKind, Changes, StateError, StateRecord, VERSION, text, versioned};
use crate::growth::CameFrom;
use crate::resume::Recovery;

/// Where a record was first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RecordSource {
    pub partition: i32,
    pub offset: i64,
}

/// The time and the key of a record: its place in the order, which does not depend on when it came. Of records that come from
/// a hop before, several may have both in common; of others none has, and no source stands here.
pub(super) type Place = (Timestamp, Arc<str>, RecordSource);

/// A record that waits.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct BufferedRecord {
    offset: i64,
    /// The partition that its offset is of.
    pub came_from: CameFrom,
    /// The scenario that it is known to be of.
    pub truth: Option<Box<str>>,
    /// What a hop before has found of it.
    pub known: Box<[f64]>,
    values: Box<[u8]>,
    is_persisted: bool,
}

/// A record that is to wait.
pub(super) struct Incoming<'a> {
    pub time: Timestamp,
    pub key: &'a str,
    pub source: RecordSource,
    pub truth: Option<&'a str>,
    pub known: &'a [f64],
    /// As [`encode_values`] writes them.
    pub values: Box<[u8]>,
}

/// The records that wait.
#[derive(Debug)]
pub(super) struct ReorderBuffer {
    /// Indices of the columns whose values are kept.
    columns: Vec<usize>,
    /// Of records that come from a hop before: how many features are known of them.
    n_known: Option<usize>,
    records: BTreeMap<Place, BufferedRecord>,
    bytes: usize,
    /// Since the last commit: what came, and what went that the changelog has.
    added: Vec<Place>,
    gone: Vec<Place>,
    /// Where records are read again after a restart: the offsets of those that wait.
    offsets: Option<BTreeSet<i64>>,
}

impl ReorderBuffer {
    /// The first byte of the keys of records that wait in the changelog.
    pub const KIND: u8 = b'r';

    pub fn new(columns: Vec<usize>, n_known: Option<usize>, recovery: Recovery) -> Self {
        let offsets = (recovery == Recovery::Reread).then(BTreeSet::new);
        Self { columns, n_known, records: BTreeMap::new(), bytes: 0, added: Vec::new(), gone: Vec::new(), offsets }
    }

    /// Indices of the columns whose values are kept.
    pub fn columns(&self) -> &[usize] {
        &self.columns
    }

    pub fn len(&self) -> u64 {
        self.records.len() as u64
    }

    /// Bytes of the records that wait.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The time of the first.
    pub fn first(&self) -> Option<Timestamp> {
        self.records.first_key_value().map(|((time, ..), _)| *time)
    }

    /// The smallest offset, where records are read again after a restart.
    pub fn oldest_offset(&self) -> Option<i64> {
        self.offsets.as_ref()?.first().copied()
    }

    /// Lets a record wait; `false` when one in its place does already.
    pub fn push(&mut self, incoming: Incoming<'_>) -> bool {
        let Incoming { time, key, source, truth, known, values } = incoming;
        let (of_place, came_from) = match self.n_known {
            Some(_) => (source, CameFrom::of(source.partition)),
            None => (RecordSource::default(), CameFrom::HERE),
        };
        let place: Place = (time, key.into(), of_place);
        let Entry::Vacant(vacant) = self.records.entry(place.clone()) else { return false };
        let (truth, known) = (truth.map(Into::into), known.into());
        let record = BufferedRecord { offset: source.offset, came_from, truth, known, values, is_persisted: false };
        self.bytes += record.bytes(key);
        vacant.insert(record);
        if let Some(offsets) = &mut self.offsets {
            offsets.insert(source.offset);
        } else {
            self.added.push(place);
        }
        true
    }

    /// Takes in a record that waited in another partition; `false` when one with its time and key waits here already.
    pub fn carry_in(&mut self, place: Place, record: BufferedRecord) -> bool {
        let Entry::Vacant(vacant) = self.records.entry(place.clone()) else { return false };
        self.bytes += record.bytes(&place.1);
        vacant.insert(BufferedRecord { is_persisted: false, ..record });
        self.added.push(place);
        true
    }

    /// Every record that waits, with its time and key.
    pub fn iter(&self) -> impl Iterator<Item = (&Place, &BufferedRecord)> {
        self.records.iter()
    }

    /// Takes out the first record if its time is before `time`.
    pub fn pop_before(&mut self, time: Timestamp) -> Option<(Timestamp, Arc<str>, BufferedRecord)> {
        if self.first()? < time { self.pop_first() } else { None }
    }

    /// Takes out the first record.
    pub fn pop_first(&mut self) -> Option<(Timestamp, Arc<str>, BufferedRecord)> {
        let ((time, key, source), record) = self.records.pop_first()?;
        self.bytes -= record.bytes(&key);
        if let Some(offsets) = &mut self.offsets {
            offsets.remove(&record.offset);
        }
        if record.is_persisted {
            self.gone.push((time, key.clone(), source));
        }
        Some((time, key, record))
    }

    /// The values of a record that waited: `(n_columns)`, missing where they are not kept.
    pub fn line<'a>(&self, record: &'a BufferedRecord, n_columns: usize) -> Vec<Value<'a>> {
        let mut line = vec![Value::Missing; n_columns];
        // They were read once before they were taken in.
        let _ = decode_values(&self.columns, &record.values, |column, value| line[column] = value);
        line
    }
}

impl ChangelogKind for ReorderBuffer {
    fn kinds(&self) -> &'static [u8] {
        &[Self::KIND]
    }

    fn restore(&mut self, _: &Pipeline, _: u8, key: &[u8], value: Option<&[u8]>) -> Result<(), StateError> {
        let mut key = Reader(key);
        let time = i64::from_be_bytes(*take(&mut key)?) ^ i64::MIN;
        let of_place = match self.n_known {
            Some(_) => RecordSource {
                partition: i32::from_be_bytes(*take(&mut key)?),
                offset: i64::from_be_bytes(*take(&mut key)?),
            },
            None => RecordSource::default(),
        };
        let key = text(key.0)?;
        let place: Place = (time, key.into(), of_place);
        if let Some(before) = self.records.remove(&place) {
            self.bytes -= before.bytes(key);
        }
        let Some(value) = value else { return Ok(()) };
        let mut reader = versioned(value)?;
        let offset = reader.signed()?;
        let truth = Some(reader.text()?).filter(|truth| !truth.is_empty()).map(Into::into);
        let known = (0..self.n_known.unwrap_or(0)).map(|_| reader.float()).collect::<Result<_, _>>()?;
        let after = decode_values(&self.columns, reader.0, |_, _| {})?;
        let values = &reader.0[..reader.0.len() - after.0.len()];
        let came_from = match self.n_known {
            Some(_) => {
                after.end()?;
                CameFrom::of(of_place.partition)
            }
            None => CameFrom::decode(after)?,
        };
        let record = BufferedRecord { offset, came_from, truth, known, values: values.into(), is_persisted: true };
        self.bytes += record.bytes(key);
        self.records.insert(place, record);
        Ok(())
    }

    fn restoring_bytes(&self) -> usize {
        self.bytes
    }

    fn take_changes(&mut self, _: &Pipeline, changes: &mut Changes) {
        let is_forwarded = self.n_known.is_some();
        let gone = self.gone.drain(..).map(|place| StateRecord { key: state_key(&place, is_forwarded), value: None });
        changes.records.extend(gone);
        for place in self.added.drain(..) {
            if let Some(record) = self.records.get_mut(&place).filter(|record| !record.is_persisted) {
                record.is_persisted = true;
                changes.records.push(record.state(&place, is_forwarded));
            }
        }
    }

    fn snapshot(&self, _: &Pipeline, _: Timestamp, put: &mut dyn FnMut(StateRecord)) {
        self.records.iter().for_each(|(place, record)| put(record.state(place, self.n_known.is_some())));
    }
}

impl BufferedRecord {
    /// Where it was first, when it waits in the partition `number`.
    pub fn source(&self, number: i32) -> RecordSource {
        RecordSource { partition: self.came_from.partition(number), offset: self.offset }
    }

    fn state(&self, place: &Place, is_forwarded: bool) -> StateRecord {
        let mut value = Vec::with_capacity(self.values.len() + size_of_val(&*self.known) + 8);
        value.push(VERSION);
        put_signed(&mut value, self.offset);
        put_bytes(&mut value, self.truth.as_deref().unwrap_or_default().as_bytes());
        self.known.iter().for_each(|known| value.extend_from_slice(&known.to_bits().to_le_bytes()));
        value.extend_from_slice(&self.values);
        if !is_forwarded {
            self.came_from.encode(&mut value);
        }
        StateRecord { key: state_key(place, is_forwarded), value: Some(value) }
    }

    /// What it takes: its values, its key, its place in the tree, and that once more, for a commit has to know of it.
    fn bytes(&self, key: &str) -> usize {
        const COUNTS: usize = 2 * size_of::<usize>();
        let texts = allocated(self.values.len()) + allocated(self.truth.as_ref().map_or(0, |truth| truth.len()));
        let known = allocated(size_of_val(&*self.known));
        2 * size_of::<Place>() + allocated(COUNTS + key.len()) + size_of::<Self>() + texts + known
    }
}

/// Keys sort as the times of the records do; with the source of those that came from a hop before.
fn state_key((time, key, source): &Place, is_forwarded: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(21 + key.len());
    out.push(ReorderBuffer::KIND);
    out.extend_from_slice(&(time ^ i64::MIN).to_be_bytes());
    if is_forwarded {
        out.extend_from_slice(&source.partition.to_be_bytes());
        out.extend_from_slice(&source.offset.to_be_bytes());
    }
    out.extend_from_slice(key.as_bytes());
    out
}

/// The next bytes of a key.
fn take<'a, const N: usize>(reader: &mut Reader<'a>) -> Result<&'a [u8; N], Damaged> {
    let (bytes, rest) = reader.0.split_first_chunk::<N>().ok_or(Damaged)?;
    reader.0 = rest;
    Ok(bytes)
}

/// The values of columns in few bytes.
pub(super) fn encode_values(columns: &[usize], line: &[Value<'_>]) -> Box<[u8]> {
    let mut out = Vec::with_capacity(columns.len() * 10);
    for &column in columns {
        match line[column] {
            Value::Missing => out.push(0),
            Value::Text(text) => {
                out.push(1);
                put_bytes(&mut out, text.as_bytes());
            }
            Value::Integer(number) => {
                out.push(2);
                put_signed(&mut out, number);
            }
            Value::Float(number) => {
                out.push(3);
                out.extend_from_slice(&number.to_bits().to_le_bytes());
            }
            Value::Datetime(moment) => {
                out.push(4);
                put_signed(&mut out, moment);
            }
        }
    }
    out.into()
}

/// Reads the values that [`encode_values`] wrote; what comes after them.
///
/// # Errors
/// [`Damaged`] for anything else.
pub(super) fn decode_values<'a>(
    columns: &[usize],
    values: &'a [u8],
    mut put: impl FnMut(usize, Value<'a>),
) -> Result<Reader<'a>, Damaged> {
    let mut reader = Reader(values);
    for &column in columns {
        let value = match reader.byte()? {
            0 => Value::Missing,
            1 => Value::Text(reader.text()?),
            2 => Value::Integer(reader.signed()?),
            3 => Value::Float(reader.float()?),
            4 => Value::Datetime(reader.signed()?),
            _ => return Err(Damaged),
        };
        put(column, value);
    }
    Ok(reader)
}
