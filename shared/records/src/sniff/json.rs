//! Samples of JSON records.

use std::io::{self, Cursor, Read};

use serde_json::Value;

use super::sample::{Cell, Found, Sample, Sampler};
use crate::json::{self, Content};
use crate::json_file::JsonFile;
use crate::json_path::{JsonPath, Step};
use crate::schema::{Envelope, MessageShape, RecordsAt};

/// A longer line is no record.
const MOST_BYTES: usize = 1 << 20;

/// Objects lie no deeper in a record than that where they are looked into.
const MOST_STEPS: usize = 4;

/// Most columns; beyond them, objects are not looked into.
const MOST_COLUMNS: usize = 500;

/// Bytes of a file that show whether its lines are arrays.
const HEAD_BYTES: u64 = 256 << 10;

/// Reads a file of JSON, and tells what a message holds: that is a line, or a value of an array.
///
/// # Errors
/// What reading gives.
pub fn sample<R: Read>(mut source: R) -> io::Result<(Sample, MessageShape)> {
    let mut head = Vec::new();
    source.by_ref().take(HEAD_BYTES).read_to_end(&mut head)?;
    let lines_are_arrays = are_arrays(&head);
    let mut records = JsonFile::new(Cursor::new(head).chain(source), MOST_BYTES, lines_are_arrays)?;
    let mut messages = Messages::default();
    while let Some(record) = records.next_record()?.filter(|_| !messages.sampler.is_done()) {
        messages.push(record.raw);
    }
    Ok(messages.finish())
}

/// Whether a file that begins so has an array on each line: there is more than one.
fn are_arrays(head: &[u8]) -> bool {
    let mut lines = head.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty());
    let is_whole = |line: &[u8]| line.ends_with(b"]");
    lines.next().is_some_and(is_whole) && lines.next().is_some_and(|line| line.starts_with(b"["))
}

/// Messages of which the first says what all of them hold.
#[derive(Debug, Default)]
pub struct Messages {
    sampler: Sampler,
    shape: Option<MessageShape>,
}

impl Messages {
    /// Adds a message, with the records that it holds.
    pub fn push(&mut self, message: &[u8]) {
        let message = json::without_mark(message);
        if json::check(message).is_err() {
            return self.sampler.push_torn();
        }
        let shape = self.shape.get_or_insert_with(|| shape_of(message));
        match json::content(message, shape) {
            Ok(Content::Record(record)) => push(&mut self.sampler, &message[record]),
            Ok(Content::Records(array)) => {
                json::items(message, array).for_each(|record| push(&mut self.sampler, &message[record]));
            }
            // A deletion is no record.
            Ok(Content::Deletion | Content::Nothing) => {}
            Err(_) => self.sampler.push_torn(),
        }
    }

    /// What was kept of the records, and what a message holds.
    pub fn finish(self) -> (Sample, MessageShape) {
        (self.sampler.finish(), self.shape.unwrap_or_default())
    }
}

/// What a message seems to hold, which is valid JSON.
fn shape_of(message: &[u8]) -> MessageShape {
    let Ok(value) = serde_json::from_slice::<Value>(message) else { return MessageShape::default() };
    let is_event = |event: &Value| {
        event["op"].as_str().is_some_and(|op| op.len() == 1)
            && (event.get("after").is_some() || event.get("before").is_some())
    };
    let envelope = match &value {
        event if is_event(event) => Some(Envelope::Debezium),
        wrapped if wrapped.get("schema").is_some() && is_event(&wrapped["payload"]) => Some(Envelope::Debezium),
        wrapped if wrapped.get("schema").is_some() && wrapped["payload"].is_object() => Some(Envelope::Connect),
        _ => None,
    };
    MessageShape { envelope, records: value.is_array().then_some(RecordsAt::Message) }
}

/// Adds one record.
fn push(sampler: &mut Sampler, record: &[u8]) {
    let most_steps = if sampler.width() < MOST_COLUMNS { MOST_STEPS } else { 1 };
    match fields(record, most_steps) {
        Some(found) => sampler.push_found(found),
        None => sampler.push_torn(),
    }
}

/// The fields of a record, and those of the objects in it, so many steps deep; `None` where it is no object.
pub fn fields(record: &[u8], most_steps: usize) -> Option<Vec<(Found, Cell)>> {
    let Ok(Value::Object(fields)) = serde_json::from_slice(record) else { return None };
    let mut found = Vec::with_capacity(fields.len());
    for (name, value) in fields {
        let path = JsonPath::field(&name);
        add(name, path, value, most_steps, &mut found);
    }
    Some(found)
}

/// Adds a value; of an object, the values in it, which are called by the paths to them.
fn add(name: String, path: JsonPath, value: Value, most_steps: usize, found: &mut Vec<(Found, Cell)>) {
    match value {
        Value::Object(fields) if path.steps().len() < most_steps && !fields.is_empty() => {
            for (name, value) in fields {
                let path = path.then(Step::Field(name));
                add(path.to_string(), path, value, most_steps, found);
            }
        }
        value => {
            let path = (path.steps().len() > 1).then_some(path);
            found.push((Found { name, path }, cell(value)));
        }
    }
}

fn cell(value: Value) -> Cell {
    match value {
        Value::Null => Cell::Missing,
        Value::Bool(flag) => Cell::Flag(flag),
        Value::Number(number) => {
            match number.as_i64().map(|it| it.to_string()).or(number.as_u64().map(|it| it.to_string())) {
                Some(whole) => Cell::Number(whole),
                // With a fraction, so that it is not taken for a whole number: 5.0.
                None => Cell::Number(format!("{:?}", number.as_f64().unwrap_or(f64::NAN))),
            }
        }
        Value::String(text) => match text.trim() {
            "" => Cell::Missing,
            text => Cell::Text(text.to_owned()),
        },
        Value::Array(_) | Value::Object(_) => Cell::Nested,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_kind_of_value_is_a_cell() {
        let lines = b"{\"a\":1,\"b\":2.0,\"c\":\" x \",\"d\":null,\"e\":[1,{}],\"f\":true}\n[1]\n{\"g\":\"\"}\n";
        let (sample, shape) = sample(&lines[..]).unwrap();
        assert!(shape.is_plain());
        assert_eq!(sample.names, ["a", "b", "c", "d", "e", "f", "g"]);
        let number = |text: &str| Cell::Number(text.to_owned());
        let text = Cell::Text("x".to_owned());
        assert_eq!(
            sample.rows[0],
            [number("1"), number("2.0"), text, Cell::Missing, Cell::Nested, Cell::Flag(true), Cell::Missing]
        );
        assert_eq!(sample.rows[1][6], Cell::Missing);
        assert_eq!((sample.n_records, sample.n_torn, sample.rows.len()), (3, 1, 2));
    }

    #[test]
    fn what_lies_in_objects_is_found() {
        let (sample, _) =
            sample(&br#"{"id":1,"m":{"id":"x","geo.code":{"lat":1.5}},"empty":{},"m.id":7}"#[..]).unwrap();
        assert_eq!(sample.names, ["id", "m.id", r#"m["geo.code"].lat"#, "empty"]);
        // One name cannot stand for two values: the first one that is met has it.
        assert_eq!(
            sample.paths.keys().map(String::as_str).collect::<BTreeSet<_>>(),
            BTreeSet::from(["m.id", r#"m["geo.code"].lat"#])
        );
    }

    #[test]
    fn envelopes_and_arrays_are_told() {
        let shape = |text: &str| sample(text.as_bytes()).unwrap();
        let event = r#"{"before":null,"after":{"id":1},"op":"c"}"#;
        for (text, envelope) in [
            (event.to_owned(), Some(Envelope::Debezium)),
            (format!(r#"{{"schema":{{}},"payload":{event}}}"#), Some(Envelope::Debezium)),
            (r#"{"schema":{},"payload":{"id":1}}"#.to_owned(), Some(Envelope::Connect)),
            (r#"{"payload":{"id":1}}"#.to_owned(), None),
        ] {
            let (sample, shape) = shape(&text);
            assert_eq!((shape.envelope, sample.n_records), (envelope, 1), "{text}");
        }
        let (sample, shape) = shape("[{\"id\":1},{\"id\":2}]\n[]\n[{\"id\":3},7]\n");
        assert_eq!(shape.records, Some(RecordsAt::Message));
        assert_eq!((sample.names.len(), sample.n_records, sample.n_torn), (1, 4, 1));
        for array in ["[{\"id\":1},{\"id\":2},7]", "[\n  {\n    \"id\": 1\n  },\n  {\"id\": 2}, 7]\n"] {
            let (sample, shape) = self::sample(array.as_bytes()).unwrap();
            assert_eq!((shape.records, sample.n_records, sample.n_torn), (None, 3, 1), "{array}");
        }
    }
}
