//! Where a row stands.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::numbers::grouped;

/// The place of a row in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowLocation<P = PathBuf> {
    /// The file.
    pub file: P,
    /// `line` or `row`, as the file's format counts.
    pub unit: &'static str,
    /// Its number, from 1.
    pub number: u64,
}

impl<P> RowLocation<P> {
    /// A line of a text file.
    pub(crate) fn line(file: P, number: u64) -> Self {
        Self { file, unit: "line", number }
    }

    /// A row of a Parquet file.
    pub(crate) fn row(file: P, number: u64) -> Self {
        Self { file, unit: "row", number }
    }
}

impl<P: AsRef<Path>> fmt::Display for RowLocation<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "on {} {} of {}", self.unit, grouped(self.number), self.file.as_ref().display())
    }
}
