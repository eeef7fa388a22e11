//! Transactions in a file, or on the standard output.

use std::io::Write;
use std::path::Path;

use clap::ValueEnum;
use tables::csv::write_record;

use super::parquet::ParquetFile;
use super::text::{HEADER, TextWriter};
use super::transaction::Transaction;
use crate::WriteError;
use crate::target::Target;

/// So many bytes are collected before they are written.
const BUFFER: usize = 1 << 16;

/// How transactions are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// An object of JSON a line.
    Jsonl,
    /// CSV with a header.
    Csv,
    /// Parquet, with a row group for each 65,536 records.
    Parquet,
}

impl Format {
    /// The format that a name says.
    pub fn of(path: &Path) -> Option<Self> {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("jsonl" | "ndjson" | "json") => Some(Self::Jsonl),
            Some("csv") => Some(Self::Csv),
            Some("parquet" | "pq") => Some(Self::Parquet),
            _ => None,
        }
    }
}

/// Takes transactions, with their labels.
#[derive(Debug)]
pub struct TransactionFile(Kind);

#[derive(Debug)]
enum Kind {
    Text(TextFile),
    Parquet(Box<ParquetFile>),
}

#[derive(Debug)]
struct TextFile {
    target: Target,
    is_csv: bool,
    writer: TextWriter,
    buffer: Vec<u8>,
}

impl TransactionFile {
    /// A file that is there whole or, where it is not finished, not at all.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn whole(path: &Path, format: Format) -> Result<Self, WriteError> {
        Self::new(Target::file(path)?, format)
    }

    /// A file that others may read while it grows. Parquet cannot be read without its end, so it is written whole.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn growing(path: &Path, format: Format) -> Result<Self, WriteError> {
        if format == Format::Parquet { Self::whole(path, format) } else { Self::new(Target::growing(path)?, format) }
    }

    /// The standard output.
    ///
    /// # Errors
    /// A standard output that does not take the header.
    pub fn standard_output(format: Format) -> Result<Self, WriteError> {
        Self::new(Target::standard_output(), format)
    }

    fn new(mut target: Target, format: Format) -> Result<Self, WriteError> {
        if format == Format::Parquet {
            return Ok(Self(Kind::Parquet(Box::new(ParquetFile::new(target)?))));
        }
        let is_csv = format == Format::Csv;
        if is_csv {
            target.put(|out| write_record(out, HEADER))?;
        }
        let buffer = Vec::with_capacity(BUFFER + 1024);
        Ok(Self(Kind::Text(TextFile { target, is_csv, writer: TextWriter::default(), buffer })))
    }

    /// Adds a transaction.
    ///
    /// # Errors
    /// A disk that is full, a reader that went away.
    pub fn put(&mut self, transaction: &Transaction) -> Result<(), WriteError> {
        match &mut self.0 {
            Kind::Text(file) => file.put(transaction),
            Kind::Parquet(file) => file.put(transaction),
        }
    }

    /// Lets readers see what there is so far, as far as the format allows.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub fn flush(&mut self) -> Result<(), WriteError> {
        match &mut self.0 {
            Kind::Text(file) => file.flush(),
            Kind::Parquet(_) => Ok(()),
        }
    }

    /// Brings everything to the disk and gives a whole file its name.
    ///
    /// # Errors
    /// As [`put`](Self::put); a whole file is then not there.
    pub fn finish(self) -> Result<(), WriteError> {
        let mut target = match self.0 {
            Kind::Text(file) => file.into_target()?,
            Kind::Parquet(file) => file.into_target()?,
        };
        target.seal()?;
        target.publish()
    }
}

impl TextFile {
    fn put(&mut self, transaction: &Transaction) -> Result<(), WriteError> {
        if self.is_csv {
            self.writer.csv(&mut self.buffer, transaction);
        } else {
            self.writer.json(&mut self.buffer, transaction, true);
        }
        self.buffer.push(b'\n');
        if self.buffer.len() >= BUFFER { self.write_out() } else { Ok(()) }
    }

    fn write_out(&mut self) -> Result<(), WriteError> {
        let buffer = &self.buffer;
        self.target.put(|out| out.write_all(buffer))?;
        self.buffer.clear();
        Ok(())
    }

    fn flush(&mut self) -> Result<(), WriteError> {
        self.write_out()?;
        self.target.put(|out| out.flush())
    }

    fn into_target(mut self) -> Result<Target, WriteError> {
        self.write_out()?;
        Ok(self.target)
    }
}
