//! Results of a file: JSON lines or Parquet, whole or not at all.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use serde_json::Value;
use shared::model::write_atomically_with;
use shared::verdict::Verdict;
use tables::{Column, ParquetWriter, Values};
use thiserror::Error;

use crate::messages::{Content, Message};

/// Why results cannot be written.
#[derive(Debug, Error)]
pub enum OutputError {
    /// A name that says no format.
    #[error("cannot tell the format of {}: name it FILE.jsonl or FILE.parquet", .0.display())]
    Format(PathBuf),
    /// Writing failed.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OutputFormat {
    JsonLines,
    Parquet,
}

/// Collects messages and writes them to a file.
///
/// JSON lines hold every message: a line is the message's JSON, with its topic in front. Parquet holds the verdicts,
/// a row each, features and their shares as columns.
#[derive(Debug)]
pub struct VerdictFile {
    path: PathBuf,
    format: OutputFormat,
    lines: Vec<u8>,
    verdicts: Vec<Verdict>,
}

impl VerdictFile {
    /// A file whose ending says the format; `-` is JSON lines on standard output.
    ///
    /// # Errors
    /// [`OutputError::Format`].
    pub fn new(path: &Path) -> Result<Self, OutputError> {
        let format = match path.extension().and_then(|extension| extension.to_str()) {
            Some("jsonl" | "ndjson") => OutputFormat::JsonLines,
            Some("parquet") => OutputFormat::Parquet,
            _ if path == Path::new("-") => OutputFormat::JsonLines,
            _ => return Err(OutputError::Format(path.to_owned())),
        };
        Ok(Self { path: path.to_owned(), format, lines: Vec::new(), verdicts: Vec::new() })
    }

    /// Takes a message.
    pub fn push(&mut self, message: Message) {
        match (self.format, message.content) {
            (OutputFormat::Parquet, Content::Verdict(verdict)) => self.verdicts.push(*verdict),
            (OutputFormat::Parquet, Content::Erroneous(_) | Content::Cancellations(_) | Content::Report(_)) => {}
            (OutputFormat::JsonLines, content) => {
                // The very bytes that a broker would get, with the topic in front.
                let (topic, payload) = (Value::from(&*message.topic), content.payload());
                self.lines.extend_from_slice(format!("{{\"topic\":{topic},").as_bytes());
                self.lines.extend_from_slice(payload.strip_prefix(b"{").unwrap_or(&payload));
                self.lines.push(b'\n');
            }
        }
    }

    /// Writes the file.
    ///
    /// # Errors
    /// [`OutputError::Write`]; the file is then as it was before.
    pub fn finish(self) -> Result<(), OutputError> {
        let path = self.path.clone();
        let result = match self.format {
            OutputFormat::JsonLines if path == Path::new("-") => io::stdout().lock().write_all(&self.lines),
            OutputFormat::JsonLines => write_atomically_with(&path, |file| file.write_all(&self.lines)),
            OutputFormat::Parquet => write_atomically_with(&path, |file| write_parquet(file, &self.verdicts)),
        };
        result.map_err(|source| OutputError::Write { path, source })
    }
}

/// Most rows of a row group.
const ROWS_A_GROUP: usize = 1 << 18;

fn write_parquet(file: &mut File, verdicts: &[Verdict]) -> io::Result<()> {
    let names = feature_names(verdicts);
    let mut writer = ParquetWriter::new(BufWriter::new(file), &columns(&names, &[]))?;
    for rows in verdicts.chunks(ROWS_A_GROUP) {
        writer.write(columns(&names, rows))?;
    }
    writer.finish()?.flush()
}

/// The names of all features, in the order in which they come: those of one detector are the same in all its verdicts.
fn feature_names(verdicts: &[Verdict]) -> Vec<String> {
    let (mut names, mut detectors) = (Vec::new(), BTreeSet::new());
    for verdict in verdicts.iter().filter(|verdict| detectors.insert(&verdict.detector)) {
        let new: Vec<&String> = verdict.features.keys().filter(|name| !names.contains(*name)).collect();
        let new: Vec<String> = new.into_iter().cloned().collect();
        names.extend(new);
    }
    names
}

/// What verdicts say, a row each; of the features `names` also their shares and what would have been usual.
fn columns(names: &[String], verdicts: &[Verdict]) -> Vec<Column> {
    fn all<T>(verdicts: &[Verdict], of: impl Fn(&Verdict) -> Option<T>) -> Vec<Option<T>> {
        verdicts.iter().map(of).collect()
    }
    let texts = |name: &str, of: fn(&Verdict) -> Option<&str>| Column::texts(name, verdicts.iter().map(of));
    let mut columns = vec![
        texts("key", |verdict| Some(&verdict.key)),
        texts("detector", |verdict| Some(&verdict.detector)),
        texts("model_version", |verdict| Some(&verdict.model_version)),
        Column::new("anomalous", Values::Bools(all(verdicts, |verdict| Some(verdict.anomalous)))),
        Column::new("score", Values::Floats(all(verdicts, |verdict| Some(verdict.score)))),
        Column::new("threshold", Values::Floats(all(verdicts, |verdict| Some(verdict.threshold)))),
        Column::new("p_value", Values::Doubles(all(verdicts, |verdict| verdict.p_value))),
        Column::new("cluster", Values::Integers(all(verdicts, |verdict| verdict.cluster))),
        Column::new("lines", Values::Counts(all(verdicts, |verdict| Some(verdict.lines)))),
        texts("customer_id", |verdict| verdict.customer_id.as_deref()),
        texts("first_timestamp", |verdict| Some(&verdict.first_timestamp)),
        texts("last_timestamp", |verdict| Some(&verdict.last_timestamp)),
    ];
    let numbers =
        |name: &str, of: &dyn Fn(&Verdict) -> Option<f64>| Column::new(name, Values::Doubles(all(verdicts, of)));
    for name in names {
        columns.push(numbers(name, &|verdict| verdict.features.get(name).and_then(Value::as_f64)));
    }
    for name in names {
        let of = |verdict: &Verdict| verdict.contributions.get(name).and_then(Value::as_f64);
        columns.push(numbers(&format!("{name}_contribution"), &of));
    }
    for name in names {
        let of = |verdict: &Verdict| verdict.expected.get(name).and_then(Value::as_f64);
        columns.push(numbers(&format!("{name}_expected"), &of));
    }
    columns
}
