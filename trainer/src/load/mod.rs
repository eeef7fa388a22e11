//! From files of history to lines: Polars columns of every line that is valid, and the count of those that are not.
//!
//! A CSV record goes through the parser of the stream, so it has the same fate in history and on Kafka.

mod bad_rows;
mod csv;
mod error;
mod inputs;
mod lines;
mod parquet;

use std::path::Path;
use std::sync::Arc;

use polars::prelude::DataFrame;
use shared::pipeline::Pipeline;

use crate::progress::Progress;

pub use bad_rows::{BadRow, BadRows, Place};
pub use error::LoadError;
pub use inputs::resolve;

use inputs::Format;
use lines::Lines;

/// The lines of all files.
#[derive(Debug)]
pub struct Loaded {
    /// Valid lines in the order of the files: the columns that the pipeline uses, by name.
    pub lines: DataFrame,
    /// Rows of all files, without headers.
    pub rows_read: u64,
    /// Rows that are not valid.
    pub bad_rows: BadRows,
}

/// Reads `files` one after the other.
///
/// # Errors
/// [`LoadError`] when a file cannot be read at all, lacks a column or has it in a wrong type, or when no row is valid.
pub fn load(pipeline: &Arc<Pipeline>, files: &[impl AsRef<Path>], progress: Progress) -> Result<Loaded, LoadError> {
    let mut lines = Lines::new(pipeline);
    for file in files.iter().map(AsRef::as_ref) {
        match inputs::format(file) {
            Format::Parquet => parquet::read(file, pipeline, &mut lines, progress)?,
            Format::Csv => csv::read(file, pipeline, &mut lines, progress)?,
        }
    }
    check_usable(&lines, files)?;
    lines.finish()
}

fn check_usable(lines: &Lines, files: &[impl AsRef<Path>]) -> Result<(), LoadError> {
    let names = || files.iter().map(|file| file.as_ref().display().to_string()).collect::<Vec<_>>().join(", ");
    match (lines.rows_read(), lines.bad_rows().most_frequent()) {
        (0, _) => Err(LoadError::NoRow { files: names() }),
        (rows, Some((reason, bad))) if lines.is_empty() => Err(LoadError::NoUsableRow {
            files: names(),
            rows,
            reason: reason.to_string(),
            count: bad.count,
            first: bad.first.to_string(),
        }),
        _ => Ok(()),
    }
}
