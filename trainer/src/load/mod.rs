//! From files of history to lines: Polars columns of the lines that are valid, a chunk at a time, and the count of those
//! that are not.
//!
//! A CSV, JSON or Avro record goes through the parser of the stream, so it has the same fate in history and on Kafka.

mod avro;
mod bad_rows;
mod csv;
mod error;
mod history_file;
mod inputs;
mod json;
mod kept;
mod lines;
mod max_bad;
mod odd_dates;
mod parquet;
mod physical;
mod row_location;
mod sections;
mod text_file;
mod whole_parquet;

use std::path::PathBuf;
use std::sync::Arc;

use shared::pipeline::{InputFormat, Pipeline};

use crate::progress::Progress;

pub use bad_rows::{BadRow, BadRows};
pub use error::{ChunkError, LoadError, OutOfOrder, TooManyBad};
pub use history_file::HistoryFile;
pub use inputs::resolve;
pub use lines::{LINES_A_CHUNK, TakeChunk};
pub use max_bad::MaxBad;
pub use odd_dates::OddDates;
pub use row_location::RowLocation;

pub(crate) use self::parquet::{contents, is_readable, rows};
pub(crate) use avro::failed as failed_avro;
pub(crate) use inputs::resolve_one;
pub(crate) use text_file::{TextFile, failed};
pub(crate) use whole_parquet::{first_line, guarded};

use inputs::Format;
use lines::Lines;

/// What was read of all files.
#[derive(Debug)]
pub struct Loaded {
    /// Rows of all files, without headers.
    pub rows_read: u64,
    /// Rows that are valid.
    pub n_lines: u64,
    /// Change events without a row, such as deletions, and messages that hold no record. They are no rows.
    pub without_record: u64,
    /// Rows that are valid, with dates that are hardly meant.
    pub odd_dates: Option<OddDates>,
    /// Rows that are not valid.
    pub bad_rows: BadRows,
    /// The same by file, in order.
    pub files: Vec<FileRows>,
}

/// What was read of a file.
#[derive(Debug)]
pub struct FileRows {
    /// The file.
    pub path: PathBuf,
    /// Its rows, without a header.
    pub rows: u64,
    /// Those that are not valid.
    pub bad_rows: BadRows,
}

impl Loaded {
    /// Fails where more rows of a file than `most` are not valid for one reason, if they are ten at least: then the pipeline
    /// file is more likely to be wrong than they are.
    ///
    /// # Errors
    /// [`LoadError::TooManyBad`], with a guess of what would be right where the file shows it.
    pub fn check(&self, pipeline: &Pipeline, most: MaxBad) -> Result<(), LoadError> {
        self.files.iter().try_for_each(|file| max_bad::check(pipeline, file, most))
    }
}

/// Reads `files` one after the other and hands their valid lines to `take`, in order and in chunks of
/// [`LINES_A_CHUNK`], with the columns that the pipeline uses, by name.
///
/// # Errors
/// [`LoadError`] when a file cannot be read at all, lacks a column or has it in a wrong type, when `take` gives an error,
/// or when no row is valid.
pub fn load(
    pipeline: &Arc<Pipeline>,
    files: &[impl Clone + Into<HistoryFile>],
    progress: Progress,
    take: TakeChunk<'_>,
) -> Result<Loaded, LoadError> {
    let files: Vec<HistoryFile> = files.iter().cloned().map(Into::into).collect();
    let mut lines = Lines::new(pipeline, files.iter().map(HistoryFile::bytes).sum(), take);
    let mut bytes_read = 0;
    for file in &files {
        let path = file.as_ref();
        match inputs::format(path, pipeline.schema.format) {
            Format::Parquet => parquet::read(path, pipeline, &mut lines, progress)?,
            Format::Records(InputFormat::Csv) => csv::read(path, file.open(progress)?, pipeline, &mut lines)?,
            Format::Records(InputFormat::Json) => json::read(path, file.open(progress)?, pipeline, &mut lines)?,
            Format::Records(InputFormat::Avro) => avro::read(path, file.open(progress)?, pipeline, &mut lines)?,
            Format::Records(InputFormat::Protobuf) => return Err(LoadError::NoFiles { path: path.to_owned() }),
        }
        bytes_read += file.bytes();
        lines.set_bytes_read(bytes_read);
        lines.end_file(path);
    }
    check_usable(pipeline, &lines, &files)?;
    lines.finish()
}

fn check_usable(pipeline: &Pipeline, lines: &Lines<'_>, files: &[HistoryFile]) -> Result<(), LoadError> {
    let names = || files.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    match (lines.rows_read(), lines.bad_rows().most_frequent()) {
        (0, _) => Err(LoadError::NoRow { files: names() }),
        (rows, Some((reason, bad))) if lines.is_empty() => Err(LoadError::NoUsableRow {
            files: names(),
            rows,
            reason: reason.to_string(),
            count: bad.count,
            first: bad.first.to_string(),
            hint: max_bad::hint(pipeline, &bad.first.file, reason).map_or_else(String::new, |hint| format!("; {hint}")),
        }),
        _ => Ok(()),
    }
}
