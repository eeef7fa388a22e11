//! Transactions as Parquet, a row group at a time.

use std::cell::RefCell;
use std::fmt;
use std::io::{self, Write};
use std::rc::Rc;

use polars::io::parquet::write::BatchedWriter;
use polars::prelude::{
    Column, DataFrame, Float64Chunked, Int64Chunked, IntoColumn, IntoSeries, NewChunkedArray, ParquetWriter,
    PolarsResult, StringChunkedBuilder, TimeUnit,
};

use super::text::{HEADER, push_hex, push_merchant, push_user};
use super::transaction::Transaction;
use crate::WriteError;
use crate::target::Target;

const ROWS_A_GROUP: usize = 1 << 16;

/// Collects a row group and writes it; `timestamp` is a moment in UTC, in milliseconds, the label null where nothing is
/// strange.
pub(super) struct ParquetFile {
    shared: Rc<RefCell<Shared>>,
    writer: BatchedWriter<Handle>,
    rows: Vec<Transaction>,
}

/// The writer of Polars does not give back what it writes to, and turns its errors into words.
struct Shared {
    target: Target,
    failure: Option<io::Error>,
}

struct Handle(Rc<RefCell<Shared>>);

impl Write for Handle {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut shared = self.0.borrow_mut();
        let result = shared.target.write(bytes);
        result.map_err(|error| shared.keep(error))
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut shared = self.0.borrow_mut();
        let result = shared.target.flush();
        result.map_err(|error| shared.keep(error))
    }
}

impl Shared {
    fn keep(&mut self, error: io::Error) -> io::Error {
        let kind = error.kind();
        self.failure = Some(error);
        kind.into()
    }
}

impl ParquetFile {
    pub(super) fn new(target: Target) -> Result<Self, WriteError> {
        let shared = Rc::new(RefCell::new(Shared { target, failure: None }));
        let empty = frame(&[]).and_then(|frame| {
            ParquetWriter::new(Handle(Rc::clone(&shared))).set_parallel(false).batched(frame.schema())
        });
        match empty {
            Ok(writer) => Ok(Self { shared, writer, rows: Vec::with_capacity(ROWS_A_GROUP) }),
            Err(error) => Err(failed(&shared, &error)),
        }
    }

    pub(super) fn put(&mut self, transaction: &Transaction) -> Result<(), WriteError> {
        self.rows.push(*transaction);
        if self.rows.len() == ROWS_A_GROUP { self.write_group() } else { Ok(()) }
    }

    fn write_group(&mut self) -> Result<(), WriteError> {
        let written = frame(&self.rows).and_then(|frame| self.writer.write_batch(&frame));
        self.rows.clear();
        written.map_err(|error| failed(&self.shared, &error))
    }

    /// Writes the end of the file.
    pub(super) fn into_target(mut self) -> Result<Target, WriteError> {
        if !self.rows.is_empty() {
            self.write_group()?;
        }
        self.writer.finish().map_err(|error| failed(&self.shared, &error))?;
        drop(self.writer);
        let target = std::mem::replace(&mut self.shared.borrow_mut().target, Target::Nowhere);
        Ok(target)
    }
}

impl fmt::Debug for ParquetFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ParquetFile").field("rows", &self.rows.len()).finish_non_exhaustive()
    }
}

fn failed(shared: &Rc<RefCell<Shared>>, error: &impl fmt::Display) -> WriteError {
    let mut shared = shared.borrow_mut();
    let cause = shared.failure.take().unwrap_or_else(|| io::Error::other(error.to_string()));
    WriteError { target: shared.target.to_string(), cause }
}

fn frame(rows: &[Transaction]) -> PolarsResult<DataFrame> {
    let [id, user, merchant, amount, currency, latitude, longitude, timestamp, label] = HEADER;
    let columns = vec![
        texts(id, rows, |row, out| push_hex(out, row.id)),
        texts(user, rows, |row, out| push_user(out, row.user)),
        texts(merchant, rows, |row, out| push_merchant(out, row.merchant)),
        numbers(amount, rows, Transaction::amount_in_currency),
        texts(currency, rows, |row, out| out.extend_from_slice(row.currency.code().as_bytes())),
        numbers(latitude, rows, |row| row.position.latitude_degrees()),
        numbers(longitude, rows, |row| row.position.longitude_degrees()),
        moments(timestamp, rows),
        texts(label, rows, |row, out| out.extend(row.label.iter().flat_map(|label| label.label().bytes()))),
    ];
    DataFrame::new(rows.len(), columns)
}

/// A column of texts; an empty one is a missing one.
fn texts(name: &str, rows: &[Transaction], push: impl Fn(&Transaction, &mut Vec<u8>)) -> Column {
    let mut column = StringChunkedBuilder::new(name.into(), rows.len());
    let mut text = Vec::new();
    for row in rows {
        text.clear();
        push(row, &mut text);
        column.append_option(std::str::from_utf8(&text).ok().filter(|text| !text.is_empty()));
    }
    column.finish().into_series().into_column()
}

fn numbers(name: &str, rows: &[Transaction], of: impl Fn(&Transaction) -> f64) -> Column {
    Float64Chunked::from_iter_values(name.into(), rows.iter().map(of)).into_series().into_column()
}

fn moments(name: &str, rows: &[Transaction]) -> Column {
    let millis = Int64Chunked::from_iter_values(name.into(), rows.iter().map(|row| row.timestamp));
    millis.into_datetime(TimeUnit::Milliseconds, None).into_series().into_column()
}
