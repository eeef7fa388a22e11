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
    let after = decode_values(columns, values, |column, value| {
        fit &= is_of(pipeline.schema.columns[column].kind, value);
        if column == time {
            moment = value.datetime();
        }
    })?;
    after.end()?;
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

#[cfg(test)]
mod tests {
    use shared::pipeline::Scored;

    use super::super::reorder_buffer::encode_values;
    use super::*;

    /// The hops of payments over so many partitions, and the columns that stay with a payment.
    fn payments(partitions: i32) -> (Vec<Pipeline>, Vec<usize>) {
        let pipeline = Pipeline::load("transactions").unwrap();
        let Scored::Records(records) = &pipeline.scored else { panic!("payments are scored one by one") };
        (pipeline.hops(partitions), pipeline.kept_columns(records))
    }

    fn read_at<'a>(pipeline: &Pipeline, columns: &[usize], bytes: &'a [u8]) -> Result<Arrival<'a>, Damaged> {
        let time = pipeline.column("timestamp").unwrap();
        read(pipeline, (pipeline.hop().unwrap(), time), columns, bytes)
    }

    fn payment(hops: &[Pipeline], columns: &[usize], features: &[f64]) -> (Forwarded, Box<[u8]>) {
        let mut line = vec![Value::Missing; hops[0].schema.columns.len()];
        let column = |name: &str| hops[0].column(name).unwrap();
        line[column("user_id")] = Value::Text("ann");
        line[column("merchant_id")] = Value::Text("shop");
        line[column("amount")] = Value::Float(12.5);
        line[column("timestamp")] = Value::Datetime(1_700_000_000_000);
        let values = encode_values(columns, &line);
        let source = RecordSource { partition: 3, offset: 1 << 40 };
        let leaving = Leaving { source, key: "id", truth: Some("stolen"), features, values: &values };
        (forwarded(hops[0].hop().unwrap(), "shop", &leaving), values)
    }

    #[test]
    fn a_record_arrives_as_it_left_to_the_bit() {
        let (hops, columns) = payments(4);
        let features = [0.1 + 0.2, f64::INFINITY, -0.0];
        let (Forwarded { key, bytes }, values) = payment(&hops, &columns, &features);
        assert_eq!(key, "shop");
        let Ok(Arrival::Record(arrived)) = read_at(&hops[1], &columns, &bytes) else { panic!("it is read") };
        let bits = |features: &[f64]| features.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&arrived.known), bits(&features));
        assert_eq!((arrived.key, arrived.truth, arrived.values), ("id", Some("stolen"), &*values));
        assert_eq!((arrived.source, arrived.time), (RecordSource { partition: 3, offset: 1 << 40 }, 1_700_000_000_000));
    }

    #[test]
    fn what_is_not_of_this_way_is_not_read() {
        let (hops, columns) = payments(4);
        let (Forwarded { bytes, .. }, _) = payment(&hops, &columns, &[1.0, 2.0, 3.0]);
        for length in 0..bytes.len() {
            assert!(read_at(&hops[1], &columns, &bytes[..length]).is_err(), "cut off at {length}");
        }
        assert!(read_at(&hops[1], &columns, &[&bytes[..], &[0]].concat()).is_err(), "longer");
        assert!(read_at(&hops[0], &columns, &bytes).is_err(), "it is for the second hop");
        let (others, _) = payments(5);
        assert!(read_at(&others[1], &columns, &bytes).is_err(), "over five partitions it is another way");
    }

    #[test]
    fn a_watermark_arrives() {
        let (hops, columns) = payments(4);
        for sent in [(None, true), (Some(1_700_000_000_000), false)].map(|(time, is_idle)| Watermark { time, is_idle })
        {
            let bytes = watermark(hops[0].hop().unwrap(), 2, sent);
            let arrived = read_at(&hops[1], &columns, &bytes);
            assert_eq!(arrived, Ok(Arrival::Watermark { source: 2, watermark: sent }));
        }
        let far = Watermark { time: Some(Timestamp::MAX), is_idle: false };
        let first = hops[0].hop().unwrap();
        assert!(read_at(&hops[1], &columns, &watermark(first, 2, far)).is_err(), "no clock shows that");
        let near = Watermark { time: Some(0), ..far };
        assert!(read_at(&hops[1], &columns, &watermark(first, 4, near)).is_err(), "there are four partitions");
    }
}
