//! One JSON object as a record: what it says of each column, by the column's name or alias.
//!
//! Nothing is decided here but what JSON is and which field is whose: what a value may be is for [`crate::line`] to say.

use std::fmt::{self, Write};

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::reason::Reason;
use crate::schema::{Column, ColumnType};

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// What a record says of a column.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Field<'a> {
    /// Nothing: there is no such field.
    Absent,
    /// That there is no value.
    Null,
    /// A text as it stands in the record; or a number, digit by digit, where the column is no float.
    Text(&'a str),
    /// A text that does not stand in the record as it is: from here to there in [`JsonReader::text`].
    Written(usize, usize),
    /// A whole number.
    Integer(i64),
    /// A number for a float column.
    Float(f64),
    /// A number whose digits are asked for and were not looked at yet.
    Digits,
    /// A value of a kind that the column cannot have.
    Unfit,
    /// It has the field twice, under one name or under two.
    Twice,
}

/// Reads records, reusing its buffers.
#[derive(Debug, Clone, Default)]
pub(crate) struct JsonReader {
    /// Texts that had escapes, and digits of numbers that are texts here.
    text: String,
    /// Entry of the object and column of each [`Field::Digits`], in the order of the record.
    digits: Vec<(usize, usize)>,
}

impl JsonReader {
    /// Fills `fields`, one a column and all of them [`Field::Absent`] before.
    ///
    /// # Errors
    /// The reason why `record` is not one JSON object that can be read.
    pub(crate) fn read<'a>(
        &mut self,
        record: &'a [u8],
        columns: &[Column],
        fields: &mut [Field<'a>],
    ) -> Result<(), Reason> {
        let record = record.strip_prefix(BYTE_ORDER_MARK).unwrap_or(record);
        self.text.clear();
        self.digits.clear();
        let mut object = Object { columns, fields, reader: self, column: None };
        let mut json = serde_json::Deserializer::from_slice(record);
        match json.deserialize_map(&mut object).and_then(|()| json.end()) {
            Err(error) => Err(reason(&error, object.column.map(|index| &columns[index]))),
            Ok(()) => {
                self.take_digits(record, fields);
                Ok(())
            }
        }
    }

    /// The text of a [`Field::Written`].
    pub(crate) fn text(&self, start: usize, end: usize) -> &str {
        &self.text[start..end]
    }

    /// Adds a text, in whole.
    fn write(&mut self, text: impl fmt::Display) -> Field<'static> {
        let start = self.text.len();
        // A string takes every text.
        let _ = write!(self.text, "{text}");
        Field::Written(start, self.text.len())
    }

    /// Looks up the numbers whose digits are asked for: serde_json has their values only, and an id such as
    /// 12345678901234567890123 would lose its last digits.
    fn take_digits<'a>(&mut self, record: &'a [u8], fields: &mut [Field<'a>]) {
        if self.digits.is_empty() {
            return;
        }
        let mut wanted = self.digits.iter().peekable();
        for (entry, value) in values(record).enumerate() {
            while let Some((_, column)) = wanted.next_if(|(wanted, _)| *wanted == entry) {
                // A field that came again in the meantime stays what it is.
                if fields[*column] == Field::Digits {
                    fields[*column] = number(value).map_or(Field::Unfit, Field::Text);
                }
            }
        }
    }
}

/// What follows the colon of each entry of an object, from there to the end of `record`, which is valid JSON.
fn values(record: &[u8]) -> impl Iterator<Item = &[u8]> {
    let (mut depth, mut in_text, mut escaped) = (0, false, false);
    record.iter().enumerate().filter_map(move |(at, byte)| {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => in_text = !in_text,
            _ if in_text => {}
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            b':' if depth == 1 => return Some(&record[at + 1..]),
            _ => {}
        }
        None
    })
}

/// The number that `json` begins with.
fn number(json: &[u8]) -> Option<&str> {
    let json = json.trim_ascii_start();
    let is_part = |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E');
    let end = json.iter().position(|byte| !is_part(byte)).unwrap_or(json.len());
    std::str::from_utf8(&json[..end]).ok()
}

/// The reason that is `error`, which came while the value of `column` was read, if any was.
fn reason(error: &serde_json::Error, column: Option<&Column>) -> Reason {
    // serde_json has no codes for its errors: its words have to do, and tests hold it to them.
    let words = error.to_string();
    match column {
        _ if words.starts_with("recursion limit exceeded") => Reason::NestedTooDeep,
        // As the field of a CSV record that says 1e400.
        Some(Column { name, kind: ColumnType::Float, .. }) if words.starts_with("number out of range") => {
            Reason::NotFinite(name.clone())
        }
        Some(column) if words.starts_with("number out of range") => Reason::OutOfRange(column.name.clone()),
        Some(column) if words.starts_with("invalid unicode code point") => Reason::InvalidUtf8(column.name.clone()),
        _ => Reason::NotJson,
    }
}

/// Visits the object.
struct Object<'r, 'a> {
    columns: &'r [Column],
    fields: &'r mut [Field<'a>],
    reader: &'r mut JsonReader,
    /// The column whose value is being read.
    column: Option<usize>,
}

impl<'a> Visitor<'a> for &mut Object<'_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
        let (mut likely, mut entry) = (0, 0);
        while let Some(found) = map.next_key_seed(Name { columns: self.columns, likely })? {
            self.column = found;
            if let Some(index) = found {
                let kind = self.columns[index].kind;
                let field = map.next_value_seed(ColumnValue { kind, reader: self.reader })?;
                if field == Field::Digits {
                    self.reader.digits.push((entry, index));
                }
                self.fields[index] = if self.fields[index] == Field::Absent { field } else { Field::Twice };
                likely = index + 1;
            } else {
                map.next_value_seed(Ignored)?;
            }
            self.column = None;
            entry += 1;
        }
        Ok(())
    }
}

/// Finds the column that a field's name calls.
struct Name<'r> {
    columns: &'r [Column],
    /// Where to look first: producers tend to write fields in the order in which columns are declared.
    likely: usize,
}

impl<'a> DeserializeSeed<'a> for Name<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<Option<usize>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'a> Visitor<'a> for Name<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Option<usize>, E> {
        let (before, from) = self.columns.split_at(self.likely);
        let called = |column: &Column| column.is_called(name);
        let ahead = from.iter().position(called).map(|index| self.likely + index);
        Ok(ahead.or_else(|| before.iter().position(called)))
    }
}

/// Reads the value of a column of this type.
struct ColumnValue<'r> {
    kind: ColumnType,
    reader: &'r mut JsonReader,
}

impl ColumnValue<'_> {
    fn is_written(&self) -> bool {
        matches!(self.kind, ColumnType::Text | ColumnType::Datetime)
    }
}

impl<'a> DeserializeSeed<'a> for ColumnValue<'_> {
    type Value = Field<'a>;

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<Field<'a>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'a> Visitor<'a> for ColumnValue<'_> {
    type Value = Field<'a>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<Field<'a>, E> {
        Ok(Field::Null)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Field<'a>, E> {
        Ok(Field::Unfit)
    }

    fn visit_borrowed_str<E: Error>(self, text: &'a str) -> Result<Field<'a>, E> {
        Ok(if self.is_written() { Field::Text(text) } else { Field::Unfit })
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Field<'a>, E> {
        Ok(if self.is_written() { self.reader.write(text) } else { Field::Unfit })
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Field<'a>, E> {
        Ok(match self.kind {
            ColumnType::Text | ColumnType::Datetime => self.reader.write(number),
            ColumnType::Integer | ColumnType::Float => Field::Integer(number),
        })
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Field<'a>, E> {
        match i64::try_from(number) {
            Ok(number) => self.visit_i64(number),
            Err(_) => self.visit_f64(number as f64),
        }
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Field<'a>, E> {
        Ok(match self.kind {
            ColumnType::Text | ColumnType::Integer | ColumnType::Datetime => Field::Digits,
            ColumnType::Float => Field::Float(number),
        })
    }

    fn visit_seq<A: SeqAccess<'a>>(self, seq: A) -> Result<Field<'a>, A::Error> {
        Ignored.visit_seq(seq).map(|()| Field::Unfit)
    }

    fn visit_map<A: MapAccess<'a>>(self, map: A) -> Result<Field<'a>, A::Error> {
        Ignored.visit_map(map).map(|()| Field::Unfit)
    }
}

/// Passes over a value as deep as serde_json lets anything be, which [`IgnoredAny`] does not: a record has one fate
/// wherever in it the depth is.
struct Ignored;

impl<'a> DeserializeSeed<'a> for Ignored {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'a> Visitor<'a> for Ignored {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element_seed(Ignored)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
        while map.next_key::<IgnoredAny>()?.is_some() {
            map.next_value_seed(Ignored)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
