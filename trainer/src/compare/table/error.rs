//! Why a table cannot be compared on.

use shared::text::printable;
use thiserror::Error;

use crate::load::LoadError;
use crate::memory::Size;

/// Why a table cannot be compared on: one sentence that names the file or the column, and what would be right.
#[derive(Debug, Error)]
pub enum TableError {
    /// A file cannot be read.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// A file without a header.
    #[error("{file} is empty: it should start with a header line that names its columns")]
    Empty {
        /// The file.
        file: String,
    },
    /// JSON without an object.
    #[error("{file} holds no JSON object: one object per line, or an array of objects, would be right")]
    NoObject {
        /// The file.
        file: String,
    },
    /// Nothing below the header.
    #[error("{files}: there is no row of data, so there is nothing to compare on")]
    NoRow {
        /// The files.
        files: String,
    },
    /// A column is not there.
    #[error("{file} has no column `{column}`; its columns are {found}")]
    NoColumn {
        /// The file.
        file: String,
        /// What was asked for.
        column: String,
        /// What there is.
        found: String,
    },
    /// Two columns of one name.
    #[error("{file} has two columns called `{column}`: give them different names")]
    Twice {
        /// The file.
        file: String,
        /// The name.
        column: String,
    },
    /// Rows of which nobody says what they are.
    #[error(
        "the label `{column}` is missing in {count} rows, first {first}: give each row a label, or say that rows without one are \
         normal, with --normal-label \"\""
    )]
    MissingLabel {
        /// The column.
        column: String,
        /// How many rows.
        count: u64,
        /// Where the first is.
        first: String,
    },
    /// More than two values.
    #[error(
        "the label `{column}` is not binary, its values are {values}: name a column with two values, or name the value \
         that means an anomaly with --anomaly VALUE"
    )]
    NotBinary {
        /// The column.
        column: String,
        /// Some of its values.
        values: String,
    },
    /// One value.
    #[error(
        "every row has the label `{column}` = {value}: without {lacking} it cannot serve for evaluation; leave out --label \
         to compare without labels"
    )]
    OneKind {
        /// The column.
        column: String,
        /// Its only value.
        value: String,
        /// `an anomaly` or `a normal row`.
        lacking: &'static str,
    },
    /// Two values that may be either.
    #[error(
        "the label `{column}` has the values {values}, which are equally frequent: name the one that means an \
         anomaly with --anomaly VALUE"
    )]
    Ambiguous {
        /// The column.
        column: String,
        /// The values.
        values: String,
    },
    /// A value that was named does not occur.
    #[error("no row has the label `{column}` = {value}; its values are {values}")]
    NoSuchLabel {
        /// The column.
        column: String,
        /// What was named.
        value: String,
        /// What there is.
        values: String,
    },
    /// No row is left that is not named as normal, or none that is.
    #[error("with --normal-label {normal}, every row with the label `{column}` is {all}; its values are {values}")]
    OneKindNamed {
        /// The column.
        column: String,
        /// What was named.
        normal: String,
        /// `normal` or `an anomaly`.
        all: &'static str,
        /// What there is.
        values: String,
    },
    /// Texts, and they are refused.
    #[error(
        "these columns contain text that is not a number, such as `{example}`: {columns}; use --categorical drop or \
         one-hot, or --exclude them"
    )]
    Categorical {
        /// The columns.
        columns: String,
        /// A text.
        example: String,
    },
    /// Nothing to learn from.
    #[error("{file} has no column of numbers: there is nothing to compare detectors on")]
    NoFeature {
        /// The file.
        file: String,
    },
    /// More than memory holds.
    #[error(
        "{n_rows} rows of {n_features} features need {needed}, but only {allowed} is allowed: use a larger --max-memory, or \
         fewer rows"
    )]
    TooLarge {
        /// Rows.
        n_rows: u64,
        /// Features.
        n_features: u64,
        /// What they need.
        needed: Size,
        /// What there is.
        allowed: Size,
    },
    /// Somebody else writes to the file.
    #[error("{file} changed while it was read: try again when it is complete")]
    Changed {
        /// The file.
        file: String,
    },
}

/// Names one after the other; of many, the first.
pub(super) fn listed<'a>(names: impl Iterator<Item = &'a String>) -> String {
    const MOST: usize = 12;
    let names: Vec<String> = names.map(|name| printable(name).to_string()).collect();
    let more = names.len().saturating_sub(MOST);
    let text = names.iter().take(MOST).cloned().collect::<Vec<_>>().join(", ");
    if more > 0 { format!("{text} and {more} more") } else { text }
}
