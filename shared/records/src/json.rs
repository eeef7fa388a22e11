//! One JSON object as a record: what it says of each column, by the column's name, an alias or its path.
//!
//! Nothing is decided here but what JSON is and which value is whose: what a value may be is for [`crate::line`] to say.

mod message;
mod plan;
mod scan;

use std::fmt;
use std::ops::Range;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::field::{self, Field, Texts};
use crate::reason::Reason;
use crate::schema::{Column, ColumnType};
pub(crate) use message::{AFTER, Content, MOST_RECORDS, OPERATION, are_too_many, content};
pub(crate) use plan::{Node, Plan, Target};

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Reads records, reusing its buffers.
#[derive(Debug, Clone, Default)]
pub(crate) struct JsonReader {
    /// Texts that had escapes, and digits of numbers that are texts here.
    texts: Texts,
    /// Number of the value, as [`scan::values`] counts them from 1, and column of each [`Field::Digits`], in the order of
    /// the record.
    digits: Vec<(usize, usize)>,
}

impl JsonReader {
    /// Fills `fields`, one a column and all of them [`Field::Absent`] before, with what stands where `plan` says.
    ///
    /// # Errors
    /// The reason why `record` is not one JSON object that can be read.
    pub(crate) fn read<'a>(
        &mut self,
        record: &'a [u8],
        columns: &[Column],
        plan: &Node,
        fields: &mut [Field<'a>],
    ) -> Result<(), Reason> {
        let record = without_mark(record);
        self.texts.clear();
        self.digits.clear();
        let mut reading = Reading { columns, fields, reader: self, column: None, n_values: 0 };
        let mut json = serde_json::Deserializer::from_slice(record);
        let object = Object { node: plan, reading: &mut reading };
        match json.deserialize_map(object).and_then(|()| json.end()) {
            Err(error) => Err(reason(&error, reading.column.map(|index| &columns[index]))),
            Ok(()) => {
                self.take_digits(record, fields);
                Ok(())
            }
        }
    }

    /// The texts of the last record.
    pub(crate) fn texts(&self) -> &Texts {
        &self.texts
    }

    /// Looks up the numbers whose digits are asked for: serde_json has their values only, and an id such as
    /// 12345678901234567890123 would lose its last digits.
    fn take_digits<'a>(&mut self, record: &'a [u8], fields: &mut [Field<'a>]) {
        if self.digits.is_empty() {
            return;
        }
        let mut wanted = self.digits.iter().peekable();
        for (number, value) in (1..).zip(scan::values(record)) {
            while let Some((_, column)) = wanted.next_if(|(wanted, _)| *wanted == number) {
                // A field that came again in the meantime stays what it is.
                if fields[*column] == Field::Digits {
                    fields[*column] = digits(value).map_or(Field::Unfit, Field::Text);
                }
            }
        }
    }
}

/// Some producers begin with a mark of the byte order.
pub(crate) fn without_mark(message: &[u8]) -> &[u8] {
    message.strip_prefix(BYTE_ORDER_MARK).unwrap_or(message)
}

/// Where the items of an array stand in `message`.
pub(crate) fn items(message: &[u8], array: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    scan::items(message, array)
}

/// Fails where `message` is not JSON.
///
/// # Errors
/// The reason.
pub(crate) fn check(message: &[u8]) -> Result<(), Reason> {
    let mut json = serde_json::Deserializer::from_slice(message);
    let checked = json.deserialize_any(Ignored(&mut 0)).and_then(|()| json.end());
    checked.map_err(|error| reason(&error, None))
}

/// The number that `json` begins with.
fn digits(json: &[u8]) -> Option<&str> {
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
        Some(column) if column.kind == ColumnType::Float && words.starts_with("number out of range") => {
            Reason::NotFinite(column.place())
        }
        Some(column) if words.starts_with("number out of range") => Reason::OutOfRange(column.place()),
        Some(column) if words.starts_with("invalid unicode code point") => Reason::InvalidUtf8(column.place()),
        _ => Reason::NotJson,
    }
}

/// A record that is being read.
struct Reading<'r, 'a> {
    columns: &'r [Column],
    fields: &'r mut [Field<'a>],
    reader: &'r mut JsonReader,
    /// The column whose value is being read.
    column: Option<usize>,
    /// How many values have begun.
    n_values: usize,
}

impl<'a> Reading<'_, 'a> {
    /// Notes what the record says of these columns.
    fn set(&mut self, columns: &[usize], field: Field<'a>) {
        for &column in columns {
            let known = &mut self.fields[column];
            *known = if *known == Field::Absent { field } else { Field::Twice };
        }
    }
}

/// Visits an object.
struct Object<'n, 'c, 'r, 'a> {
    node: &'n Node,
    reading: &'c mut Reading<'r, 'a>,
}

impl<'a> Visitor<'a> for Object<'_, '_, '_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { node, reading } = self;
        let mut likely = 0;
        while let Some(found) = map.next_key_seed(Name { node, likely })? {
            match found {
                Some(index) => {
                    map.next_value_seed(Found { target: &node.fields[index].1, reading: &mut *reading })?;
                    likely = index + 1;
                }
                None => map.next_value_seed(Ignored(&mut reading.n_values))?,
            }
        }
        Ok(())
    }
}

/// Finds what a field's name calls.
struct Name<'n> {
    node: &'n Node,
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
        let (before, from) = self.node.fields.split_at(self.likely);
        let called = |(names, _): &(Vec<String>, Target)| names.iter().any(|known| known == name);
        let ahead = from.iter().position(called).map(|index| self.likely + index);
        Ok(ahead.or_else(|| before.iter().position(called)))
    }
}

/// Reads what is looked for.
struct Found<'n, 'c, 'r, 'a> {
    target: &'n Target,
    reading: &'c mut Reading<'r, 'a>,
}

impl<'a> DeserializeSeed<'a> for Found<'_, '_, '_, 'a> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<(), D::Error> {
        let Self { target, reading } = self;
        reading.n_values += 1;
        match target {
            Target::Inside(node) => deserializer.deserialize_any(Inside { node, reading }),
            Target::Column(index) => {
                let (number, column) = (reading.n_values, &reading.columns[*index]);
                reading.column = Some(*index);
                let value = ColumnValue { column, reader: reading.reader, n_values: &mut reading.n_values };
                let field = deserializer.deserialize_any(value)?;
                if field == Field::Digits {
                    reading.reader.digits.push((number, *index));
                }
                reading.set(&[*index], field);
                reading.column = None;
                Ok(())
            }
        }
    }
}

/// Visits an object or an array with columns in it.
struct Inside<'n, 'c, 'r, 'a> {
    node: &'n Node,
    reading: &'c mut Reading<'r, 'a>,
}

impl<'a> Inside<'_, '_, '_, 'a> {
    /// The columns have nothing to stand in.
    fn leave_empty(self) {
        self.reading.set(&self.node.columns, Field::Unfit);
    }
}

impl<'a> Visitor<'a> for Inside<'_, '_, '_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.reading.set(&self.node.columns, Field::Null);
        Ok(())
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        self.leave_empty();
        Ok(())
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        self.leave_empty();
        Ok(())
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        self.leave_empty();
        Ok(())
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        self.leave_empty();
        Ok(())
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        self.leave_empty();
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut seq: A) -> Result<(), A::Error> {
        let Self { node, reading } = self;
        node.fields.iter().for_each(|(_, target)| reading.set(target.columns(), Field::Unfit));
        for place in 0.. {
            let target = node.items.iter().find(|(item, _)| *item == place).map(|(_, target)| target);
            let next = match target {
                Some(target) => seq.next_element_seed(Found { target, reading: &mut *reading })?,
                None => seq.next_element_seed(Ignored(&mut reading.n_values))?,
            };
            if next.is_none() {
                break;
            }
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'a>>(self, map: A) -> Result<(), A::Error> {
        let Self { node, reading } = self;
        node.items.iter().for_each(|(_, target)| reading.set(target.columns(), Field::Unfit));
        Object { node, reading }.visit_map(map)
    }
}

/// Reads the value of a column.
struct ColumnValue<'c> {
    column: &'c Column,
    reader: &'c mut JsonReader,
    n_values: &'c mut usize,
}

impl<'a> Visitor<'a> for ColumnValue<'_> {
    type Value = Field<'a>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<Field<'a>, E> {
        Ok(Field::Null)
    }

    fn visit_bool<E: Error>(self, flag: bool) -> Result<Field<'a>, E> {
        Ok(self.reader.texts.flag(self.column, flag))
    }

    fn visit_borrowed_str<E: Error>(self, text: &'a str) -> Result<Field<'a>, E> {
        Ok(field::text(self.column, text))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Field<'a>, E> {
        Ok(if field::takes_texts(self.column) { self.reader.texts.write(text) } else { Field::Unfit })
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Field<'a>, E> {
        Ok(self.reader.texts.integer(self.column, number))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Field<'a>, E> {
        match i64::try_from(number) {
            Ok(number) => self.visit_i64(number),
            Err(_) => self.visit_f64(number as f64),
        }
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Field<'a>, E> {
        Ok(match self.column.kind {
            ColumnType::Text | ColumnType::Integer | ColumnType::Datetime => Field::Digits,
            ColumnType::Float => Field::Float(number),
        })
    }

    fn visit_seq<A: SeqAccess<'a>>(self, seq: A) -> Result<Field<'a>, A::Error> {
        Ignored(self.n_values).visit_seq(seq).map(|()| Field::Unfit)
    }

    fn visit_map<A: MapAccess<'a>>(self, map: A) -> Result<Field<'a>, A::Error> {
        Ignored(self.n_values).visit_map(map).map(|()| Field::Unfit)
    }
}

/// Passes over a value as deep as serde_json lets anything be, which [`IgnoredAny`] does not: a record has one fate
/// wherever in it the depth is. Counts the value and those in it.
struct Ignored<'c>(&'c mut usize);

impl<'a> DeserializeSeed<'a> for Ignored<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<(), D::Error> {
        *self.0 += 1;
        deserializer.deserialize_any(self)
    }
}

impl<'a> Visitor<'a> for Ignored<'_> {
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
        while seq.next_element_seed(Ignored(&mut *self.0))?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
        while map.next_key::<IgnoredAny>()?.is_some() {
            map.next_value_seed(Ignored(&mut *self.0))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
