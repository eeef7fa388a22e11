//! Dates of rows that are good, and hardly meant: the pipeline file may read them in another way than they were written.

use std::fmt;

use shared::time::{Timestamp, format_timestamp};

use super::RowLocation;
use crate::numbers::grouped;

/// Rows with a date before 1970, or more than a year from now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OddDates {
    /// How many there are.
    pub rows: u64,
    /// The column of the first one's date.
    pub column: String,
    /// That date.
    pub date: Timestamp,
    /// Where it stands.
    pub first: RowLocation,
}

impl fmt::Display for OddDates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rows, column, date, first } = self;
        let (rows, have) = (grouped(*rows), if *rows == 1 { "row has" } else { "rows have" });
        write!(
            f,
            "{rows} {have} a date before 1970 or more than a year from now, the first {first}: `{column}` is {}; see \
             whether `datetime_formats` in the pipeline file reads dates as they are meant",
            format_timestamp(*date)
        )
    }
}
