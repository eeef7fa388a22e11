//! The values of a line.

use crate::time::{Timestamp, is_odd};

/// One value of a line.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// The field was empty.
    Missing,
    /// Text, without white space around it.
    Text(&'a str),
    /// A whole number.
    Integer(i64),
    /// A finite number.
    Float(f64),
    /// A moment.
    Datetime(Timestamp),
}

/// The first [odd](is_odd) date of a line, with its column; `latest` is a moment by when the line had been written.
pub fn odd_date(line: &[Value<'_>], latest: Option<Timestamp>) -> Option<(usize, Timestamp)> {
    let mut dates = line.iter().enumerate().filter_map(|(column, value)| Some((column, value.datetime()?)));
    dates.find(|(_, moment)| is_odd(*moment, latest))
}

impl<'a> Value<'a> {
    /// Whether the field was empty.
    pub fn is_missing(self) -> bool {
        self == Self::Missing
    }

    /// The text, when it is one.
    pub fn text(self) -> Option<&'a str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    /// The number, when it is one.
    pub fn number(self) -> Option<f64> {
        match self {
            Self::Integer(number) => Some(number as f64),
            Self::Float(number) => Some(number),
            Self::Missing | Self::Text(_) | Self::Datetime(_) => None,
        }
    }

    /// The moment, when it is one.
    pub fn datetime(self) -> Option<Timestamp> {
        if let Self::Datetime(moment) = self { Some(moment) } else { None }
    }
}
