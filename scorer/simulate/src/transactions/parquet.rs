//! Transactions as Parquet, a row group at a time.

use std::fmt;
use std::io;

use tables::{Column, ParquetWriter, Texts, Values};

use super::text::{HEADER, push_hex, push_merchant, push_user};
use super::transaction::Transaction;
use crate::WriteError;
use crate::target::Target;

const ROWS_A_GROUP: usize = 1 << 16;

/// Collects a row group and writes it; `timestamp` is a moment in UTC, in milliseconds, the label null where nothing is
/// strange.
pub(super) struct ParquetFile {
    /// What errors call the file.
    name: String,
    writer: ParquetWriter<Target>,
    rows: Vec<Transaction>,
}

impl ParquetFile {
    pub(super) fn new(target: Target) -> Result<Self, WriteError> {
        let name = target.to_string();
        match ParquetWriter::new(target, &columns(&[])) {
            Ok(writer) => Ok(Self { name, writer, rows: Vec::with_capacity(ROWS_A_GROUP) }),
            Err(cause) => Err(WriteError { target: name, cause }),
        }
    }

    pub(super) fn put(&mut self, transaction: &Transaction) -> Result<(), WriteError> {
        self.rows.push(*transaction);
        if self.rows.len() == ROWS_A_GROUP { self.write_group() } else { Ok(()) }
    }

    fn write_group(&mut self) -> Result<(), WriteError> {
        let written = self.writer.write(columns(&self.rows));
        self.rows.clear();
        written.map_err(|cause| self.failed(cause))
    }

    /// Writes the end of the file.
    pub(super) fn into_target(mut self) -> Result<Target, WriteError> {
        if !self.rows.is_empty() {
            self.write_group()?;
        }
        let target = self.name;
        self.writer.finish().map_err(|cause| WriteError { target, cause })
    }

    fn failed(&self, cause: io::Error) -> WriteError {
        WriteError { target: self.name.clone(), cause }
    }
}

impl fmt::Debug for ParquetFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ParquetFile").field("rows", &self.rows.len()).finish_non_exhaustive()
    }
}

fn columns(rows: &[Transaction]) -> Vec<Column> {
    let [id, user, merchant, amount, currency, latitude, longitude, timestamp, label] = HEADER;
    vec![
        texts(id, rows, |row, out| push_hex(out, row.id)),
        texts(user, rows, |row, out| push_user(out, row.user)),
        texts(merchant, rows, |row, out| push_merchant(out, row.merchant)),
        numbers(amount, rows, Transaction::amount_in_currency),
        texts(currency, rows, |row, out| out.extend_from_slice(row.currency.code().as_bytes())),
        numbers(latitude, rows, |row| row.position.latitude_degrees()),
        numbers(longitude, rows, |row| row.position.longitude_degrees()),
        Column::new(timestamp, Values::Moments(rows.iter().map(|row| Some(row.timestamp)).collect())),
        texts(label, rows, |row, out| out.extend(row.label.iter().flat_map(|label| label.label().bytes()))),
    ]
}

/// A column of texts; an empty one is a missing one.
fn texts(name: &str, rows: &[Transaction], push: impl Fn(&Transaction, &mut Vec<u8>)) -> Column {
    let (mut column, mut text) = (Texts::default(), Vec::new());
    for row in rows {
        text.clear();
        push(row, &mut text);
        column.push(std::str::from_utf8(&text).ok().filter(|text| !text.is_empty()));
    }
    Column::new(name, Values::Texts(column))
}

fn numbers(name: &str, rows: &[Transaction], of: impl Fn(&Transaction) -> f64) -> Column {
    Column::new(name, Values::Doubles(rows.iter().map(|row| Some(of(row))).collect()))
}
