//! Results of a file: JSON lines, CSV or Parquet, written as they come, and there whole or not at all.

use std::io::{self, BufWriter, ErrorKind, Stdout, Write};
use std::path::{Path, PathBuf};

use serde_json::Value;
use shared::files::StagedFile;
use thiserror::Error;

use super::message_rows::MessageRows;
use crate::messages::Message;

/// Why results cannot be written.
#[derive(Debug, Error)]
pub enum OutputError {
    /// A name that says no format.
    #[error("cannot tell the format of {}: name it FILE.jsonl, FILE.csv or FILE.parquet", .0.display())]
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

impl OutputError {
    /// Whether whoever read the standard output has gone.
    pub fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Write { path, source } if is_standard_output(path) && source.kind() == ErrorKind::BrokenPipe)
    }
}

/// Whether this name means the standard output.
pub fn is_standard_output(path: &Path) -> bool {
    path == Path::new("-")
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OutputFormat {
    JsonLines,
    Csv,
    Parquet,
}

/// Takes messages and writes them to a file that has its name at the end; standard output has them at once.
///
/// JSON lines hold every message: a line is the message's JSON, with its topic in front. CSV and Parquet hold a row for every
/// message: of verdicts, features and their shares are columns; of others, a column has the JSON.
#[derive(Debug)]
pub struct VerdictFile {
    path: PathBuf,
    format: OutputFormat,
    /// None before the first message.
    sink: Option<Sink>,
}

/// Where messages go.
#[derive(Debug)]
enum Sink {
    StandardOutput(BufWriter<Stdout>),
    JsonLines(BufWriter<StagedFile>),
    Table(StagedFile, OutputFormat, Box<MessageRows>),
}

impl VerdictFile {
    /// A file whose ending says the format; `-` is JSON lines on standard output.
    ///
    /// # Errors
    /// [`OutputError::Format`].
    pub fn new(path: &Path) -> Result<Self, OutputError> {
        let format = match path.extension().and_then(|extension| extension.to_str()) {
            Some("jsonl" | "ndjson") => OutputFormat::JsonLines,
            Some("csv") => OutputFormat::Csv,
            Some("parquet") => OutputFormat::Parquet,
            _ if is_standard_output(path) => OutputFormat::JsonLines,
            _ => return Err(OutputError::Format(path.to_owned())),
        };
        Ok(Self { path: path.to_owned(), format, sink: None })
    }

    /// Takes a message.
    ///
    /// # Errors
    /// [`OutputError::Write`]; the file is then as it was before.
    pub fn push(&mut self, message: Message) -> Result<(), OutputError> {
        let result = self.sink().and_then(|sink| sink.take(message));
        result.map_err(|source| self.failed(source))
    }

    /// Gives the file its name.
    ///
    /// # Errors
    /// [`OutputError::Write`]; the file is then as it was before.
    pub fn finish(mut self) -> Result<(), OutputError> {
        // Of no message at all there is a file too.
        let begun = self.sink().map(|_| ());
        let result = begun.and_then(|()| self.sink.take().map_or(Ok(()), Sink::finish));
        result.map_err(|source| self.failed(source))
    }

    fn sink(&mut self) -> io::Result<&mut Sink> {
        let sink = match self.sink.take() {
            Some(sink) => sink,
            None => Sink::begin(&self.path, self.format)?,
        };
        Ok(self.sink.insert(sink))
    }

    fn failed(&self, source: io::Error) -> OutputError {
        OutputError::Write { path: self.path.clone(), source }
    }
}

impl Sink {
    fn begin(path: &Path, format: OutputFormat) -> io::Result<Self> {
        if is_standard_output(path) {
            return Ok(Self::StandardOutput(BufWriter::with_capacity(1 << 16, io::stdout())));
        }
        let file = StagedFile::create(path)?;
        Ok(match format {
            OutputFormat::JsonLines => Self::JsonLines(BufWriter::with_capacity(1 << 16, file)),
            // On the same disk, which has to have room for it anyway.
            OutputFormat::Csv | OutputFormat::Parquet => {
                Self::Table(file, format, Box::new(MessageRows::new(shared::files::folder_of(path))?))
            }
        })
    }

    fn take(&mut self, message: Message) -> io::Result<()> {
        match self {
            Self::StandardOutput(out) => write_line(out, message),
            Self::JsonLines(out) => write_line(out, message),
            Self::Table(_, _, rows) => rows.push(&message),
        }
    }

    fn finish(self) -> io::Result<()> {
        match self {
            Self::StandardOutput(mut out) => out.flush(),
            Self::JsonLines(out) => out.into_inner().map_err(io::IntoInnerError::into_error)?.publish(),
            Self::Table(file, format, rows) => {
                match format {
                    OutputFormat::Parquet => rows.write_parquet(file.file())?,
                    OutputFormat::Csv | OutputFormat::JsonLines => rows.write_csv(file.file())?,
                }
                file.publish()
            }
        }
    }
}

/// The very bytes that a broker would get, with the topic in front.
fn write_line(out: &mut impl Write, message: Message) -> io::Result<()> {
    let (topic, payload) = (Value::from(&*message.topic), message.payload());
    write!(out, "{{\"topic\":{topic},")?;
    out.write_all(payload.strip_prefix(b"{").unwrap_or(&payload))?;
    out.write_all(b"\n")
}
