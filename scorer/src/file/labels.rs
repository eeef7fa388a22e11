//! Which entities are anomalies, from a file of keys and labels.

use std::collections::BTreeMap;
use std::io;

use serde_json::Value;
use shared::avro::{AvroFile, AvroFileError};
use shared::dialect::Dialect;
use shared::json_file::JsonFile;
use shared::line::{LineParser, Part};
use shared::pipeline::{Column, InputFormat, Label, Pipeline, Schema, is_confirmed};
use shared::records::FileRecords;
use shared::text::printable;

use super::{FileError, InputFile};
use crate::agreement::Labels;

/// What a column of labels is called where the pipeline names none.
const LABEL: &str = "label";

/// What the column of keys is called in a file of `scorer labels export`.
const KEY: &str = "key";

/// Bytes of a record that goes over several lines; beyond them, a quote was forgotten.
const MOST_QUOTED_BYTES: usize = 1 << 20;

/// Reads the labels in a file: CSV with a header, or JSON. One column is named as the pipeline's
/// key, another as its label, or `label`; there may be others, so a file of records is one of labels too.
///
/// # Errors
/// [`FileError::NoLabels`] when a column is missing.
pub fn read_labels(file: InputFile, pipeline: &Pipeline) -> Result<Labels, FileError> {
    let mut labels = Labels::default();
    read(file, pipeline, &mut |key, scenario| labels.add(key, scenario.is_some()))?;
    Ok(labels)
}

/// Reads what kind of anomaly each entity is known to be, from a file as [`read_labels`] takes it.
///
/// # Errors
/// As [`read_labels`].
pub fn read_scenarios(file: InputFile, pipeline: &Pipeline) -> Result<BTreeMap<String, String>, FileError> {
    let mut scenarios = BTreeMap::new();
    read(file, pipeline, &mut |key, scenario| {
        scenarios.extend(scenario.map(|scenario| (key.trim().to_owned(), scenario.to_owned())));
    })?;
    Ok(scenarios)
}

/// Hands each key to `take`, with the scenario that it belongs to.
fn read(file: InputFile, pipeline: &Pipeline, take: Take<'_>) -> Result<(), FileError> {
    let path = file.path().to_owned();
    let format = InputFormat::of_file(&path).unwrap_or(pipeline.schema.format);
    let columns = Columns::of(pipeline);
    let read = |source: io::Error| FileError::Read { path: path.clone(), source };
    let found = match format {
        InputFormat::Csv => columns.read_csv(file, take).map_err(read)?,
        InputFormat::Json if is_nested(pipeline) => read_nested(file, pipeline, take).map_err(read)?,
        InputFormat::Json => columns.read_json(file, take).map_err(read)?,
        InputFormat::Avro => read_avro(file, pipeline, take).map_err(|problem| match problem {
            AvroFileError::Read(source) => read(source),
            problem => FileError::Avro { path: path.clone(), problem },
        })?,
        InputFormat::Protobuf => return Err(FileError::NoFiles { path }),
    };
    found.map_err(|found| FileError::NoLabels {
        path: path.clone(),
        key: columns.key.name.clone(),
        label: columns.label.map_or(LABEL, |label| &label.name).to_owned(),
        found: printable(&found).to_string(),
    })
}

/// Whether a key or a label may stand deeper in a line than in a field of its object.
fn is_nested(pipeline: &Pipeline) -> bool {
    let Schema { json, columns, .. } = &*pipeline.schema;
    !json.is_plain() || columns.iter().any(|column| column.path.is_some())
}

/// Reads the labels of whole records: only the pipeline knows where they stand.
fn read_nested(file: InputFile, pipeline: &Pipeline, take: Take<'_>) -> io::Result<Read> {
    let key = pipeline.entity.key;
    let Some((meaning, label)) = pipeline.label.as_ref().and_then(|label| Some((label, label.column?))) else {
        return Ok(Err("records without a column of labels".to_owned()));
    };
    let mut parser = LineParser::new(pipeline.schema.clone());
    let mut records = JsonFile::new(file, usize::MAX, pipeline.schema.json.is_array())?;
    let mut is_empty = true;
    while let Some(record) = records.next_record()? {
        parser.each_json(record.raw.len(), record.raw, |_, part| {
            if let Part::Line(line) = part
                && let Some(key) = line[key].text()
            {
                take(key, meaning.scenario(line[label].text()));
                is_empty = false;
            }
        });
    }
    Ok(if is_empty { Err("no record that is valid".to_owned()) } else { Ok(()) })
}

/// As [`read_nested`], for a file of Avro.
fn read_avro(file: InputFile, pipeline: &Pipeline, take: Take<'_>) -> Result<Read, AvroFileError> {
    let key = pipeline.entity.key;
    let Some((meaning, label)) = pipeline.label.as_ref().and_then(|label| Some((label, label.column?))) else {
        return Ok(Err("records without a column of labels".to_owned()));
    };
    let (mut records, mut is_empty) = (AvroFile::new(file)?, true);
    let (mut parser, writer) = (LineParser::new(pipeline.schema.clone()), records.schema().clone());
    while let Some(record) = records.next_record()? {
        parser.each_avro(&writer, record.raw, |_, part| {
            if let Part::Line(line) = part
                && let Some(key) = line[key].text()
            {
                take(key, meaning.scenario(line[label].text()));
                is_empty = false;
            }
        });
    }
    Ok(if is_empty { Err("no record that is valid".to_owned()) } else { Ok(()) })
}

/// What the columns are called.
struct Columns<'a> {
    key: &'a Column,
    label: Option<&'a Column>,
    meaning: Label,
    dialect: &'a Dialect,
}

/// What was read, or the columns that there are.
type Read = Result<(), String>;

/// Takes a key, and the scenario that its record belongs to.
type Take<'a> = &'a mut dyn FnMut(&str, Option<&str>);

impl<'a> Columns<'a> {
    fn of(pipeline: &'a Pipeline) -> Self {
        let meaning = pipeline.label.clone().unwrap_or_default();
        let label = meaning.column.map(|column| &pipeline.schema.columns[column]);
        let Schema { columns, csv, .. } = &*pipeline.schema;
        Self { key: &columns[pipeline.entity.key], label, meaning, dialect: csv }
    }

    /// What a label says: a word of an analyst, or a scenario of the pipeline.
    fn scenario<'t>(&self, text: Option<&'t str>) -> Option<&'t str> {
        match text.and_then(is_confirmed) {
            Some(is_anomaly) => text.filter(|_| is_anomaly),
            None => self.meaning.scenario(text),
        }
    }

    fn is_label(&self, name: &str) -> bool {
        name.eq_ignore_ascii_case(LABEL) || self.label.is_some_and(|label| label.is_called(name))
    }

    fn read_csv(&self, file: InputFile, take: Take<'_>) -> io::Result<Read> {
        let mut records = FileRecords::whole(file, self.dialect, MOST_QUOTED_BYTES)?;
        let names: Vec<String> = match records.next_record()? {
            Some(header) => header.fields.iter().map(|name| text(name).trim().to_owned()).collect(),
            None => Vec::new(),
        };
        let key = names.iter().position(|name| self.key.is_called(name));
        let key = key.or_else(|| names.iter().position(|name| name == KEY));
        let label = names.iter().position(|name| self.is_label(name));
        let (Some(key), Some(label)) = (key, label) else { return Ok(Err(names.join(", "))) };
        while let Some(record) = records.next_record()? {
            if key.max(label) < record.fields.len() {
                let label = text(record.fields.get(label));
                take(&text(record.fields.get(key)), self.scenario(Some(&label)));
            }
        }
        Ok(Ok(()))
    }

    fn read_json(&self, file: InputFile, take: Take<'_>) -> io::Result<Read> {
        let (mut records, mut names) = (JsonFile::new(file, usize::MAX, false)?, String::new());
        let (mut has_key, mut has_label) = (false, false);
        while let Some(record) = records.next_record()? {
            let Ok(Value::Object(object)) = serde_json::from_slice(record.raw) else { continue };
            let find = |is: &dyn Fn(&str) -> bool| object.iter().find(|(name, _)| is(name)).map(|(_, value)| value);
            let label = find(&|name| self.is_label(name));
            has_label |= label.is_some();
            match find(&|name| self.key.is_called(name)).or_else(|| find(&|name| name == KEY)).and_then(written) {
                // A record that is normal may say nothing of it.
                Some(key) => {
                    has_key = true;
                    take(&key, self.scenario(label.and_then(written).as_deref()));
                }
                None => names = object.keys().map(String::as_str).collect::<Vec<_>>().join(", "),
            }
        }
        Ok(if has_key && has_label { Ok(()) } else { Err(names) })
    }
}

fn text(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

/// A text, or a number as it is written.
fn written(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn labels(pipeline: &str, name: &str, text: &str) -> Result<Vec<&'static str>, String> {
        let pipeline = Pipeline::load(pipeline).unwrap();
        let file = InputFile::of_bytes(Path::new(name), text.to_owned());
        let labels = read_labels(file, &pipeline).map_err(|error| error.to_string())?;
        Ok(["1", "2", "3", "4"].into_iter().filter(|key| labels.is_anomaly(key)).collect())
    }

    #[test]
    fn keys_and_labels_are_found_by_their_names() {
        let csv = "\u{feff}Label,other,Invoice\nbulk,x,1\n,x,2\n0,x,3\nodd,x, 4 \nshort\n";
        assert_eq!(labels("invoices", "l.csv", csv), Ok(vec!["1", "4"]));
        let json = "{\"transaction_id\":\"1\",\"label\":\"stolen\"}\n{\"transaction_id\":2}\nnonsense\n\
            {\"transaction_id\":3,\"label\":1}\n{\"transaction_id\":\"4\",\"label\":\"normal\"}\n";
        assert_eq!(labels("transactions", "l.jsonl", json), Ok(vec!["1", "3"]));
    }

    #[test]
    fn what_analysts_said_is_taken_as_they_meant_it() {
        let csv = "id,key,customer_id,label\nx,1,c,anomaly\nx,2,c,false_alarm\nx,3,c,unsure\nx,4,c,\n";
        assert_eq!(labels("invoices", "l.csv", csv), Ok(vec!["1"]));
        let json = "{\"key\":\"1\",\"label\":\"unsure\"}\n{\"key\":\"2\",\"label\":\"anomaly\"}\n{\"key\":\"3\",\"label\":null}\n";
        assert_eq!(labels("transactions", "l.jsonl", json), Ok(vec!["2"]));
    }

    #[test]
    fn scenarios_are_told_by_their_keys() {
        let file = InputFile::of_bytes(Path::new("l.csv"), "InvoiceNo,Label\n1,bulk\n2,\n 3 , odd \n".to_owned());
        let scenarios = read_scenarios(file, &Pipeline::load("invoices").unwrap()).unwrap();
        let expected = [("1", "bulk"), ("3", "odd")].map(|(key, scenario)| (key.to_owned(), scenario.to_owned()));
        assert_eq!(scenarios, BTreeMap::from(expected));
    }

    #[test]
    fn a_file_without_them_is_refused() {
        let says = "l.csv holds no labels: it needs the columns `InvoiceNo` and `label`, and has a, b";
        assert_eq!(labels("invoices", "l.csv", "a,b\n1,2\n"), Err(says.to_owned()));
        let says = "l.jsonl holds no labels: it needs the columns `transaction_id` and `label`, and has a";
        assert_eq!(labels("transactions", "l.jsonl", "{\"a\":1}\n"), Err(says.to_owned()));
        assert!(labels("invoices", "l.csv", "").is_err());
    }
}
