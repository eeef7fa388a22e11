//! Results of a file: JSON lines or Parquet, whole or not at all.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use polars::prelude::{Column, DataFrame, NamedFrom, ParquetWriter, Series};
use serde_json::Value;
use shared::model::write_atomically_with;
use shared::verdict::Verdict;
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
enum Format {
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
    format: Format,
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
            Some("jsonl" | "ndjson") => Format::JsonLines,
            Some("parquet") => Format::Parquet,
            _ if path == Path::new("-") => Format::JsonLines,
            _ => return Err(OutputError::Format(path.to_owned())),
        };
        Ok(Self { path: path.to_owned(), format, lines: Vec::new(), verdicts: Vec::new() })
    }

    /// Takes a message.
    pub fn push(&mut self, message: Message) {
        match (self.format, message.content) {
            (Format::Parquet, Content::Verdict(verdict)) => self.verdicts.push(*verdict),
            (Format::Parquet, Content::Erroneous(_) | Content::Cancellations(_) | Content::Report(_)) => {}
            (Format::JsonLines, content) => {
                let message = Message { topic: message.topic, key: message.key, content };
                // The very bytes that a broker would get, with the topic in front.
                let (topic, payload) = (Value::from(&*message.topic), message.payload());
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
            Format::JsonLines if path == Path::new("-") => io::stdout().lock().write_all(&self.lines),
            Format::JsonLines => write_atomically_with(&path, |file| file.write_all(&self.lines)),
            Format::Parquet => write_atomically_with(&path, |file| write_parquet(file, &self.verdicts)),
        };
        result.map_err(|source| OutputError::Write { path, source })
    }
}

fn write_parquet(file: &mut File, verdicts: &[Verdict]) -> io::Result<()> {
    let mut frame = verdict_frame(verdicts).map_err(io::Error::other)?;
    ParquetWriter::new(BufWriter::new(file)).finish(&mut frame).map_err(io::Error::other)?;
    Ok(())
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

fn verdict_frame(verdicts: &[Verdict]) -> polars::prelude::PolarsResult<DataFrame> {
    fn column<T, V: AsRef<[T]>>(name: &str, values: V) -> Column
    where
        Series: NamedFrom<V, [T]>,
        [T]: ToOwned,
    {
        Series::new(name.into(), values).into()
    }
    let texts = |name: &str, of: fn(&Verdict) -> &str| column(name, verdicts.iter().map(of).collect::<Vec<_>>());
    let mut columns = vec![
        texts("key", |verdict| &verdict.key),
        texts("detector", |verdict| &verdict.detector),
        texts("model_version", |verdict| &verdict.model_version),
        column("anomalous", verdicts.iter().map(|verdict| verdict.anomalous).collect::<Vec<_>>()),
        column("score", verdicts.iter().map(|verdict| verdict.score).collect::<Vec<_>>()),
        column("threshold", verdicts.iter().map(|verdict| verdict.threshold).collect::<Vec<_>>()),
        column("p_value", verdicts.iter().map(|verdict| verdict.p_value).collect::<Vec<_>>()),
        column("cluster", verdicts.iter().map(|verdict| verdict.cluster).collect::<Vec<_>>()),
        column("lines", verdicts.iter().map(|verdict| verdict.lines).collect::<Vec<_>>()),
        column("customer_id", verdicts.iter().map(|verdict| verdict.customer_id.as_deref()).collect::<Vec<_>>()),
        texts("first_timestamp", |verdict| &verdict.first_timestamp),
        texts("last_timestamp", |verdict| &verdict.last_timestamp),
    ];
    let names = feature_names(verdicts);
    let numbers =
        |name: String, of: &dyn Fn(&Verdict) -> Option<f64>| column(&name, verdicts.iter().map(of).collect::<Vec<_>>());
    for name in &names {
        columns.push(numbers(name.clone(), &|verdict| verdict.features.get(name).and_then(Value::as_f64)));
    }
    for name in &names {
        let of = |verdict: &Verdict| verdict.contributions.get(name).and_then(Value::as_f64);
        columns.push(numbers(format!("{name}_contribution"), &of));
    }
    for name in &names {
        let of = |verdict: &Verdict| verdict.expected.get(name).and_then(Value::as_f64);
        columns.push(numbers(format!("{name}_expected"), &of));
    }
    DataFrame::new(verdicts.len(), columns)
}
