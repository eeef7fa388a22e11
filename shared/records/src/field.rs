//! What a record says of a column, whatever format it is written in.
//!
//! Formats with types share the rules here: which of their values a column takes at all. What a value may be is for
//! [`crate::line`] to say.

use std::fmt::{self, Write};

use crate::schema::{Column, ColumnType};
use crate::time::Timestamp;

/// What a record says of a column.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Field<'a> {
    /// Nothing: there is no such field.
    Absent,
    /// That there is no value.
    Null,
    /// A text as it stands in the record; or a number, digit by digit, where the column is no float.
    Text(&'a str),
    /// A text that does not stand in the record as it is: from here to there in [`Texts`].
    Written(usize, usize),
    /// An exact number that was put into digits: from here to there in [`Texts`].
    Decimal(usize, usize),
    /// A whole number.
    Integer(i64),
    /// A number for a float column.
    Float(f64),
    /// A number whose digits are asked for and were not looked at yet.
    Digits,
    /// A moment.
    Moment(Timestamp),
    /// What clocks show in the pipeline's zone, as if it were UTC.
    Local(Timestamp),
    /// A text that is no UTF-8.
    NotUtf8,
    /// A value of a kind that the column cannot have.
    Unfit,
    /// It has the field twice, under one name or under two.
    Twice,
}

/// Texts that do not stand in a record as they are.
#[derive(Debug, Clone, Default)]
pub(crate) struct Texts(String);

impl Texts {
    /// Forgets the texts of the last record.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// The text of a [`Field::Written`] or a [`Field::Decimal`].
    pub fn get(&self, start: usize, end: usize) -> &str {
        &self.0[start..end]
    }

    /// Adds a text, in whole.
    pub fn write(&mut self, text: impl fmt::Display) -> Field<'static> {
        let (start, end) = self.add(text);
        Field::Written(start, end)
    }

    fn add(&mut self, text: impl fmt::Display) -> (usize, usize) {
        let start = self.0.len();
        // A string takes every text.
        let _ = write!(self.0, "{text}");
        (start, self.0.len())
    }

    /// True or false in `column`.
    pub fn flag(&mut self, column: &Column, flag: bool) -> Field<'static> {
        match column.kind {
            _ if !column.converts => Field::Unfit,
            ColumnType::Text => Field::Text(if flag { "true" } else { "false" }),
            ColumnType::Integer | ColumnType::Float => Field::Integer(i64::from(flag)),
            ColumnType::Datetime => Field::Unfit,
        }
    }

    /// A whole number in `column`.
    pub fn integer(&mut self, column: &Column, number: i64) -> Field<'static> {
        match column.kind {
            ColumnType::Text | ColumnType::Datetime => self.write(number),
            ColumnType::Integer | ColumnType::Float => Field::Integer(number),
        }
    }

    /// A whole number in `column` that may be too large for 64 bits with a sign.
    pub fn unsigned(&mut self, column: &Column, number: u64) -> Field<'static> {
        match (i64::try_from(number), column.kind) {
            (Ok(number), _) => self.integer(column, number),
            (Err(_), ColumnType::Float) => Field::Float(number as f64),
            (Err(_), _) => self.write(number),
        }
    }

    /// A number of `column` that a computer wrote as a float of 64 bits, or of 32.
    pub fn float(&mut self, column: &Column, number: f64, shortest: impl fmt::Display) -> Field<'static> {
        match column.kind {
            ColumnType::Float => Field::Float(number),
            _ if !number.is_finite() => Field::Unfit,
            ColumnType::Text | ColumnType::Integer | ColumnType::Datetime => self.write(shortest),
        }
    }

    /// The number `unscaled / 10^scale`, digit by digit.
    pub fn decimal(&mut self, digits: impl fmt::Display) -> Field<'static> {
        let (start, end) = self.add(digits);
        Field::Decimal(start, end)
    }

    /// A moment in `column`: a column of numbers gets the number that stands in the record.
    pub fn moment(&mut self, column: &Column, number: i64, moment: Option<Field<'static>>) -> Field<'static> {
        match (column.kind, moment) {
            (ColumnType::Integer | ColumnType::Float, _) => Field::Integer(number),
            (ColumnType::Datetime | ColumnType::Text, Some(moment)) => moment,
            (ColumnType::Datetime | ColumnType::Text, None) => Field::Unfit,
        }
    }
}

/// A text in `column`.
pub(crate) fn text<'a>(column: &Column, text: &'a str) -> Field<'a> {
    if takes_texts(column) { Field::Text(text) } else { Field::Unfit }
}

/// Bytes that are to be a text in `column`.
pub(crate) fn text_of_bytes<'a>(column: &Column, bytes: &'a [u8]) -> Field<'a> {
    if !takes_texts(column) {
        return Field::Unfit;
    }
    std::str::from_utf8(bytes).map_or(Field::NotUtf8, Field::Text)
}

/// Whether a text is a value of the column.
pub(crate) fn takes_texts(column: &Column) -> bool {
    matches!(column.kind, ColumnType::Text | ColumnType::Datetime) || column.converts
}
