//! What goes on from hop to hop: records with what is known of them, and how far a partition is.
//!
//! ```text
//! version | way: 8 bytes | hop that it is for | what it is
//! record:    partition and offset where it was first | key | what it is known to be | features that are known | values
//! watermark: partition | its clock, if it has one | whether it is idle
//! ```
//!
//! Features are told by their bits. Whoever may write to the topic may write anything there: what is not of this way, or
//! holds what no hop would say, is [`Damaged`].

use shared::codec::{Damaged, Reader, put_bytes, put_signed, put_unsigned};
use shared::line::Value;
use shared::pipeline::{ColumnType, Hop, Pipeline};
use shared::time::Timestamp;

use super::reorder_buffer::{RecordSource, decode_values};
use crate::output::Forwarded;
use crate::watermarks::Watermark;

const VERSION: u8 = 1;

const RECORD: u8 = b'r';
const WATERMARK: u8 = b'w';

/// Moments beyond this are nobody's: arithmetic on others cannot leave the numbers there are.
const LARGEST_TIME: Timestamp = 1 << 59;

/// A record that goes on.
pub(super) struct Leaving<'a> {
    pub source: RecordSource,
    pub key: &'a str,
    /// The scenario that it is known to be of.
    pub truth: Option<&'a str>,
    /// The features that are known, in their order.
    pub features: &'a [f64],
    /// The values of the columns that stay with it.
    pub values: &'a [u8],
}

/// A record that came from the hop before.
#[derive(Debug, PartialEq)]
pub(super) struct Arrived<'a> {
    pub source: RecordSource,
    pub time: Timestamp,
    pub key: &'a str,
    pub truth: Option<&'a str>,
    /// The features that are known: `(n_known)`.
    pub known: Vec<f64>,
    pub values: &'a [u8],
}

/// What comes from a hop before.
#[derive(Debug, PartialEq)]
pub(super) enum Arrival<'a> {
    Record(Arrived<'a>),
    Watermark { source: i32, watermark: Watermark },
}

/// The record for the hop after `hop`; `to` is its value of the column that keys it there.
pub(super) fn forwarded(hop: &Hop, to: &str, leaving: &Leaving<'_>) -> Forwarded {
    let Leaving { source: RecordSource { partition, offset }, key, truth, features, values } = *leaving;
    let texts = key.len() + truth.map_or(0, str::len);
    let mut out = Vec::with_capacity(48 + texts + size_of_val(features) + values.len());
    put_start(&mut out, hop, RECORD);
    put_unsigned(&mut out, u64::from(partition.unsigned_abs()));
    put_signed(&mut out, offset);
    put_bytes(&mut out, key.as_bytes());
    put_bytes(&mut out, truth.unwrap_or_default().as_bytes());
    features.iter().for_each(|value| out.extend_from_slice(&value.to_bits().to_le_bytes()));
    out.extend_from_slice(values);
    Forwarded { key: to.to_owned(), bytes: out }
}

/// How far the partition `source` of `hop` is, for every partition of the next one.
pub(crate) fn watermark(hop: &Hop, source: i32, watermark: Watermark) -> Vec<u8> {
    let mut out = Vec::with_capacity(24);
    put_start(&mut out, hop, WATERMARK);
    put_unsigned(&mut out, u64::from(source.unsigned_abs()));
    watermark.encode(&mut out);
    out
}

fn put_start(out: &mut Vec<u8>, hop: &Hop, what: u8) {
    out.push(VERSION);
    out.extend_from_slice(&hop.way);
    // As many columns as that are never keys.
    out.push(u8::try_from(hop.index + 1).unwrap_or(u8::MAX));
    out.push(what);
}

/// Reads what came to `hop`; `columns` are those that stay with a record.
pub(super) fn read<'a>(
    pipeline: &Pipeline,
    (hop, time): (&Hop, usize),
    columns: &[usize],
    bytes: &'a [u8],
) -> Result<Arrival<'a>, Damaged> {
    let mut reader = Reader(bytes);
    let version = reader.byte()?;
    let (way, rest) = reader.0.split_first_chunk::<8>().ok_or(Damaged)?;
    reader.0 = rest;
    if (version, way, usize::from(reader.byte()?)) != (VERSION, &hop.way, hop.index) {
        return Err(Damaged);
    }
    let what = reader.byte()?;
    let partition = i32::try_from(reader.unsigned()?).ok().filter(|it| *it < hop.partitions).ok_or(Damaged)?;
    if what == WATERMARK {
        let watermark = Watermark::decode(&mut reader)?;
        reader.end()?;
        let is_one = watermark.time.is_none_or(is_moment);
        return if is_one { Ok(Arrival::Watermark { source: partition, watermark }) } else { Err(Damaged) };
    }
    let offset = reader.signed()?;
    if what != RECORD || offset < 0 {
        return Err(Damaged);
    }
    let key = reader.text()?;
    let truth = Some(reader.text()?).filter(|truth| !truth.is_empty());
    let known = (0..hop.n_known()).map(|_| reader.float()).collect::<Result<_, _>>()?;
    let values = reader.0;
    let time = time_of(pipeline, time, columns, values)?;
    Ok(Arrival::Record(Arrived { source: RecordSource { partition, offset }, time, key, truth, known, values }))
}

/// A record's own time, where all of its values are such as a record of the pipeline has.
fn time_of(pipeline: &Pipeline, time: usize, columns: &[usize], values: &[u8]) -> Result<Timestamp, Damaged> {
    let (mut moment, mut fit) = (None, true);
    decode_values(columns, values, |column, value| {
        fit &= is_of(pipeline.schema.columns[column].kind, value);
        if column == time {
            moment = value.datetime();
        }
    })?;
    moment.filter(|moment| fit && is_moment(*moment)).ok_or(Damaged)
}

fn is_of(kind: ColumnType, value: Value<'_>) -> bool {
    // Amounts that are converted are floats, whatever they were.
    let is_number = matches!(kind, ColumnType::Integer | ColumnType::Float);
    match value {
        Value::Missing => true,
        Value::Text(_) => kind == ColumnType::Text,
        Value::Integer(_) => is_number,
        Value::Float(number) => is_number && number.is_finite(),
        Value::Datetime(_) => kind == ColumnType::Datetime,
    }
}

fn is_moment(time: Timestamp) -> bool {
    time.unsigned_abs() <= LARGEST_TIME.unsigned_abs()
}
