//! Why history cannot be read.

use std::io;
use std::path::PathBuf;

use shared::avro::AvroFileError;
use shared::text::printable;
use thiserror::Error;

use crate::memory::TooLittleMemory;

/// Why history cannot be read: one sentence that names the file, the place, and what would be right.
#[derive(Debug, Error)]
pub enum LoadError {
    /// Nothing is there.
    #[error("there is no file {}: name your history with --input FILE", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// A folder is there.
    #[error("{} is a folder: name its files, as in --input '{}/*.csv'", path.display(), path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
    },
    /// Nothing matches.
    #[error("no file matches {pattern}: name your history with --input FILE")]
    NoMatch {
        /// The pattern.
        pattern: String,
    },
    /// A pattern that cannot be read.
    #[error("{pattern} is not a valid file pattern: {problem}")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// What is wrong.
        problem: String,
    },
    /// It cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// It cannot be decompressed.
    #[error("{} is not a complete gzip file ({source}): copy or compress it again", path.display())]
    Gzip {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// It is no file of Avro, or a damaged one.
    #[error("{}: {problem}", path.display())]
    Avro {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: AvroFileError,
    },
    /// Its name does not say what its records are, and those of the stream are not kept in files.
    #[error(
        "{}: messages of Protobuf are not read from files: give it as .avro, .parquet, .jsonl or .csv, under a name that ends so",
        path.display()
    )]
    NoFiles {
        /// The file.
        path: PathBuf,
    },
    /// It is of a kind that is not read.
    #[error("{} is {what}: {advice}", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What it is.
        what: &'static str,
        /// How it can be read.
        advice: &'static str,
    },
    /// It has no byte.
    #[error("{} is empty: it should start with a header line that names the columns {columns}", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
        /// The pipeline's columns.
        columns: String,
    },
    /// A column is not there.
    #[error("{}{place}: {missing}; the columns found are {found}; rename them, or add their names under [input.aliases] in the pipeline file", path.display())]
    MissingColumns {
        /// The file.
        path: PathBuf,
        /// The header's line, where a file has one.
        place: String,
        /// What is missing, as a clause.
        missing: String,
        /// The names of the file's columns.
        found: String,
    },
    /// A header has a column twice, by its name or an alias.
    #[error("{}{place}: the column `{column}` is there twice, as `{names}`: leave one out, or remove the alias from the pipeline file", path.display())]
    ColumnTwice {
        /// The file.
        path: PathBuf,
        /// The header's line.
        place: String,
        /// The pipeline's name of the column.
        column: String,
        /// The names in the header.
        names: String,
    },
    /// Fields are separated otherwise than the pipeline file says.
    #[error("{} seems to be separated by `{found}`: say so in the pipeline file, with [input.csv] delimiter = \"{found}\"", path.display())]
    OtherDelimiter {
        /// The file.
        path: PathBuf,
        /// What stands between fields.
        found: String,
    },
    /// A column of a type that cannot be read as the pipeline's.
    #[error("{}: column `{column}` is of type {found}, but the pipeline file declares it as {declared}: {allowed} would be right", path.display())]
    WrongType {
        /// The file.
        path: PathBuf,
        /// The column's name in the file.
        column: String,
        /// Its type in the file.
        found: String,
        /// The pipeline's type.
        declared: &'static str,
        /// Types that can be read as that.
        allowed: &'static str,
    },
    /// Polars refuses the file.
    #[error("{} is not a complete Parquet file: {problem}", path.display())]
    Parquet {
        /// The file.
        path: PathBuf,
        /// The cause.
        problem: String,
    },
    /// Headers and nothing below them, or no line at all.
    #[error("{files}: there is no row of data, so there is nothing to learn from")]
    NoRow {
        /// The files.
        files: String,
    },
    /// Rows, and none of them valid.
    #[error(
        "{files}: none of the {rows} rows can be used; the most frequent reason is {reason} ({count} rows, first {first}){hint}"
    )]
    NoUsableRow {
        /// The files.
        files: String,
        /// How many rows there are.
        rows: u64,
        /// The most frequent reason.
        reason: String,
        /// How many rows have it.
        count: u64,
        /// The first of them.
        first: String,
        /// What would be right, as a clause; empty where nothing shows it.
        hint: String,
    },
    /// Too many rows of a file are not valid.
    #[error(transparent)]
    TooManyBad(#[from] Box<TooManyBad>),
    /// A chunk of lines cannot be taken.
    #[error(transparent)]
    Chunk(#[from] ChunkError),
}

/// Too many rows of a file are not valid for one reason.
#[derive(Debug, Error)]
#[error(
    "{}: {count} of {rows} rows ({share}) are dropped for {reason}, the first on {first}, which is more than --max-bad {most}; {hint}",
    path.display()
)]
pub struct TooManyBad {
    /// The file.
    pub path: PathBuf,
    /// How many rows are dropped for that reason.
    pub count: String,
    /// How many rows there are.
    pub rows: String,
    /// The share.
    pub share: String,
    /// The reason.
    pub reason: String,
    /// Where the first of them stands.
    pub first: String,
    /// The largest share that is taken.
    pub most: String,
    /// What would be right.
    pub hint: String,
}

/// A record is older than those whose features were made already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the records are not ordered by time")]
pub struct OutOfOrder;

/// Why a chunk of lines cannot be taken.
#[derive(Debug, Error)]
pub enum ChunkError {
    /// Polars refuses it, which is no fault of the data.
    #[error("cannot combine the lines of an entity: {0}")]
    Polars(#[from] polars::error::PolarsError),
    /// What is held of the history so far is too large.
    #[error(transparent)]
    Memory(#[from] TooLittleMemory),
    /// Records that are judged as they come are not in their order.
    #[error(transparent)]
    OutOfOrder(#[from] OutOfOrder),
}

impl LoadError {
    /// The error for `missing` columns of a file that has the columns `found`.
    pub(super) fn missing_columns(path: &std::path::Path, place: &str, missing: &[String], found: &[&str]) -> Self {
        let (noun, verb) = if missing.len() == 1 { ("column", "is") } else { ("columns", "are") };
        let names: Vec<String> = missing.iter().map(|name| format!("`{name}`")).collect();
        Self::MissingColumns {
            path: path.to_owned(),
            place: place.to_owned(),
            missing: format!("the {noun} {} {verb} missing", names.join(", ")),
            found: listed(found),
        }
    }
}

/// Names one after the other; of very many or very long ones, the first.
fn listed(names: &[&str]) -> String {
    const MOST: usize = 300;
    let text = names.iter().map(|name| printable(name.trim()).to_string()).collect::<Vec<_>>().join(", ");
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{} ...", &text[..end]),
        None => text,
    }
}
