//! What a JSON message holds: a record, several, or none.

use std::ops::Range;

use super::scan;
use crate::json_path::{JsonPath, Step};
use crate::reason::Reason;
use crate::schema::{Envelope, MessageShape, RecordsAt};

/// Where Kafka Connect's JSON converter puts a value, beside its schema.
const PAYLOAD: &str = "payload";
/// What a change event of Debezium is: `c` for create, `u` for update, `r` for a read in a snapshot, `d` for delete, `t` for
/// truncate.
pub(crate) const OPERATION: &str = "op";
/// The row after the change.
pub(crate) const AFTER: &str = "after";

/// Most records of a message: all of them are in memory at a time.
pub(crate) const MOST_RECORDS: usize = 10_000;

/// Most bytes of what stands around records, once for each of them: a record that is erroneous is kept with it.
const MOST_AROUND: usize = 64 << 20;

/// Whether a message holds too many records, with so many bytes around them.
pub(crate) fn are_too_many(count: usize, around: usize) -> bool {
    count > MOST_RECORDS || count.saturating_mul(around) > MOST_AROUND
}

/// What a message holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Content {
    /// One record, which stands there.
    Record(Range<usize>),
    /// An array of records, which stands there.
    Records(Range<usize>),
    /// The news that a row was deleted.
    Deletion,
    /// No record: a tombstone, or an empty array.
    Nothing,
}

/// What `message` holds, which is valid JSON.
///
/// # Errors
/// The reason why it holds nothing of this shape.
pub(crate) fn content(message: &[u8], shape: &MessageShape) -> Result<Content, Reason> {
    let start = message.iter().position(|byte| !byte.is_ascii_whitespace()).unwrap_or(0);
    let whole = start..message.trim_ascii_end().len();
    let Some(record) = (match shape.envelope {
        None => Some(whole),
        Some(_) if is_null(message, &whole) => None,
        Some(Envelope::Connect) => wanted(message, whole, PAYLOAD)?,
        Some(Envelope::Debezium) => match row(message, whole)? {
            Change::Row(row) => Some(row),
            Change::Deletion => return Ok(Content::Deletion),
            Change::Nothing => None,
        },
    }) else {
        return Ok(Content::Nothing);
    };
    match &shape.records {
        None => Ok(Content::Record(record)),
        Some(RecordsAt::Message) => records(message, record, None),
        Some(RecordsAt::Path(path)) => match follow(message, record, path)? {
            Some(found) => records(message, found, Some(path)),
            None => Ok(Content::Nothing),
        },
    }
}

/// What a change event says.
enum Change {
    Row(Range<usize>),
    Deletion,
    Nothing,
}

/// The row of a change event, with the schema beside it or without.
fn row(message: &[u8], event: Range<usize>) -> Result<Change, Reason> {
    let has_operation = is_object(message, &event) && scan::entry(message, event.clone(), OPERATION).is_some();
    let event = if has_operation { Some(event) } else { wanted(message, event, PAYLOAD)? };
    let Some(event) = event else { return Ok(Change::Nothing) };
    let operation = wanted(message, event.clone(), OPERATION)?;
    match operation.map(|operation| &message[operation]) {
        Some(b"\"d\"" | b"\"t\"") => Ok(Change::Deletion),
        Some(b"\"c\"" | b"\"u\"" | b"\"r\"") => {
            let row = wanted(message, event, AFTER)?.ok_or_else(|| Reason::MissingValue(AFTER.to_owned()))?;
            Ok(Change::Row(row))
        }
        _ => Err(Reason::UnknownOperation),
    }
}

/// An array of records; one object is one record.
fn records(message: &[u8], found: Range<usize>, path: Option<&JsonPath>) -> Result<Content, Reason> {
    match message.get(found.start) {
        Some(b'[') => match scan::items(message, found.clone()).take(MOST_RECORDS + 1).count() {
            0 => Ok(Content::Nothing),
            count if are_too_many(count, message.len() - found.len()) => Err(Reason::TooManyRecords),
            _ => Ok(Content::Records(found)),
        },
        Some(b'{') => Ok(Content::Record(found)),
        _ => Err(path.map_or(Reason::NotJson, |path| Reason::NotAnArray(path.to_string()))),
    }
}

/// The value that a path leads to; `None` where it is null.
fn follow(message: &[u8], from: Range<usize>, path: &JsonPath) -> Result<Option<Range<usize>>, Reason> {
    let mut at = from;
    for step in path.steps() {
        let next = match step {
            Step::Field(name) if is_object(message, &at) => match scan::entry(message, at, name) {
                Some((_, true)) => return Err(Reason::DuplicateField(name.clone())),
                found => found.map(|(value, _)| value),
            },
            Step::Item(number) if message.get(at.start) == Some(&b'[') => scan::items(message, at).nth(*number),
            Step::Field(_) | Step::Item(_) => None,
        };
        at = next.ok_or_else(|| Reason::MissingValue(path.to_string()))?;
        if is_null(message, &at) {
            return Ok(None);
        }
    }
    Ok(Some(at))
}

/// The value of an entry that has to be there; `None` where it is null.
fn wanted(message: &[u8], object: Range<usize>, name: &str) -> Result<Option<Range<usize>>, Reason> {
    follow(message, object, &JsonPath::field(name))
}

fn is_object(message: &[u8], value: &Range<usize>) -> bool {
    message.get(value.start) == Some(&b'{')
}

fn is_null(message: &[u8], value: &Range<usize>) -> bool {
    &message[value.clone()] == b"null"
}
