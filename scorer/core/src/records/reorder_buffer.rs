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

/// The time and the key of a record: its place in the order, which does not depend on when it came.
pub(super) type Place = (Timestamp, Arc<str>);

/// A record that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BufferedRecord {
    pub offset: i64,
    /// The scenario that it is known to be of.
    pub truth: Option<Box<str>>,
    values: Box<[u8]>,
    /// The partition that its offset is of.
    pub came_from: CameFrom,
    is_persisted: bool,
}

/// The records that wait.
#[derive(Debug)]
pub(super) struct ReorderBuffer {
    /// Indices of the columns whose values are kept.
    columns: Vec<usize>,
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

    pub fn new(columns: Vec<usize>, recovery: Recovery) -> Self {
        let offsets = (recovery == Recovery::Reread).then(BTreeSet::new);
        Self { columns, records: BTreeMap::new(), bytes: 0, added: Vec::new(), gone: Vec::new(), offsets }
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
        self.records.first_key_value().map(|((time, _), _)| *time)
    }

    /// The smallest offset, where records are read again after a restart.
    pub fn oldest_offset(&self) -> Option<i64> {
        self.offsets.as_ref()?.first().copied()
    }

    /// Lets a record wait; `false` when one with its time and key does already.
    pub fn push(
        &mut self,
        (time, key): (Timestamp, &str),
        offset: i64,
        line: &[Value<'_>],
        truth: Option<&str>,
    ) -> bool {
        let place: Place = (time, key.into());
        let Entry::Vacant(vacant) = self.records.entry(place.clone()) else { return false };
        let values = encode_values(&self.columns, line);
        let (truth, came_from) = (truth.map(Into::into), CameFrom::HERE);
        let record = BufferedRecord { offset, truth, values, came_from, is_persisted: false };
        self.bytes += record.bytes(key);
        vacant.insert(record);
        if let Some(offsets) = &mut self.offsets {
            offsets.insert(offset);
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
        let ((time, key), record) = self.records.pop_first()?;
        self.bytes -= record.bytes(&key);
        if let Some(offsets) = &mut self.offsets {
            offsets.remove(&record.offset);
        }
        if record.is_persisted {
            self.gone.push((time, key.clone()));
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
        let (time, key) = key.split_first_chunk::<8>().ok_or(Damaged)?;
        let key = text(key)?;
        let place: Place = (i64::from_be_bytes(*time) ^ i64::MIN, key.into());
        if let Some(before) = self.records.remove(&place) {
            self.bytes -= before.bytes(key);
        }
        let Some(value) = value else { return Ok(()) };
        let mut reader = versioned(value)?;
        let offset = reader.signed()?;
        let truth = Some(reader.text()?).filter(|truth| !truth.is_empty()).map(Into::into);
        let after = decode_values(&self.columns, reader.0, |_, _| {})?;
        let (values, came_from) = (&reader.0[..reader.0.len() - after.0.len()], CameFrom::decode(after)?);
        let record = BufferedRecord { offset, truth, values: values.into(), came_from, is_persisted: true };
        self.bytes += record.bytes(key);
        self.records.insert(place, record);
        Ok(())
    }

    fn restoring_bytes(&self) -> usize {
        self.bytes
    }

    fn take_changes(&mut self, _: &Pipeline, changes: &mut Changes) {
        let gone = self.gone.drain(..).map(|(time, key)| StateRecord { key: state_key(time, &key), value: None });
        changes.records.extend(gone);
        for place in self.added.drain(..) {
            if let Some(record) = self.records.get_mut(&place).filter(|record| !record.is_persisted) {
                record.is_persisted = true;
                changes.records.push(record.state(&place));
            }
        }
    }

    fn snapshot(&self, _: &Pipeline, _: Timestamp, put: &mut dyn FnMut(StateRecord)) {
        self.records.iter().for_each(|(place, record)| put(record.state(place)));
    }
}

impl BufferedRecord {
    /// Its partition and its offset, where it waits in the partition `number`.
    pub fn place(&self, number: i32) -> (i32, i64) {
        (self.came_from.partition(number), self.offset)
    }

    fn state(&self, (time, key): &Place) -> StateRecord {
        let mut value = Vec::with_capacity(self.values.len() + 8);
        value.push(VERSION);
        put_signed(&mut value, self.offset);
        put_bytes(&mut value, self.truth.as_deref().unwrap_or_default().as_bytes());
        value.extend_from_slice(&self.values);
        self.came_from.encode(&mut value);
        StateRecord { key: state_key(*time, key), value: Some(value) }
    }

    /// What it takes: its values, its key, its place in the tree, and that once more, for a commit has to know of it.
    fn bytes(&self, key: &str) -> usize {
        const COUNTS: usize = 2 * size_of::<usize>();
        let texts = allocated(self.values.len()) + allocated(self.truth.as_ref().map_or(0, |truth| truth.len()));
        2 * size_of::<Place>() + allocated(COUNTS + key.len()) + size_of::<Self>() + texts
    }
}

/// Keys sort as the records do.
fn state_key(time: Timestamp, key: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(9 + key.len());
    out.push(ReorderBuffer::KIND);
    out.extend_from_slice(&(time ^ i64::MIN).to_be_bytes());
    out.extend_from_slice(key.as_bytes());
    out
}

fn encode_values(columns: &[usize], line: &[Value<'_>]) -> Box<[u8]> {
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

/// Reads the values of `columns`; what comes after them.
fn decode_values<'a>(
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
