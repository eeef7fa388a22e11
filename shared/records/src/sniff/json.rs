//! Samples of JSON records.

use std::fmt;
use std::io::{self, Read};

use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::sample::{Cell, Sample, Sampler};
use crate::json_lines::JsonLines;

/// A longer line is no record.
const MOST_BYTES: usize = 1 << 20;

/// Reads JSON lines.
///
/// # Errors
/// What reading gives.
pub fn sample<R: Read>(source: R) -> io::Result<Sample> {
    let mut lines = JsonLines::new(source, MOST_BYTES);
    let mut sampler = Sampler::default();
    while let Some(line) = lines.next_line()?.filter(|_| !sampler.is_done()) {
        push(&mut sampler, line.raw);
    }
    Ok(sampler.finish())
}

/// Adds one record.
pub fn push(sampler: &mut Sampler, record: &[u8]) {
    match serde_json::from_slice(record) {
        Ok(Object(fields)) => sampler.push_named(fields),
        Err(_) => sampler.push_torn(),
    }
}

/// An object, with its fields in their order.
struct Object(Vec<(String, Cell)>);

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Object;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Object(fields))
            }
        }
        deserializer.deserialize_map(Fields)
    }
}

impl<'de> Deserialize<'de> for Cell {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyCell)
    }
}

struct AnyCell;

impl<'de> Visitor<'de> for AnyCell {
    type Value = Cell;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<Cell, E> {
        Ok(Cell::Missing)
    }

    fn visit_bool<E: Error>(self, flag: bool) -> Result<Cell, E> {
        Ok(Cell::Flag(flag))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Cell, E> {
        Ok(Cell::Number(number.to_string()))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Cell, E> {
        Ok(Cell::Number(number.to_string()))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Cell, E> {
        // With a fraction, so that it is not taken for a whole number: 5.0.
        Ok(Cell::Number(format!("{number:?}")))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Cell, E> {
        let text = text.trim();
        Ok(if text.is_empty() { Cell::Missing } else { Cell::Text(text.to_owned()) })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Cell, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Cell::Nested)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Cell, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Cell::Nested)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_value_is_a_cell() {
        let lines = b"{\"a\":1,\"b\":2.0,\"c\":\" x \",\"d\":null,\"e\":[1,{}],\"f\":true}\n[1]\n{\"g\":\"\"}\n";
        let sample = sample(&lines[..]).unwrap();
        assert_eq!(sample.names, ["a", "b", "c", "d", "e", "f", "g"]);
        let number = |text: &str| Cell::Number(text.to_owned());
        let text = Cell::Text("x".to_owned());
        assert_eq!(
            sample.rows[0],
            [number("1"), number("2.0"), text, Cell::Missing, Cell::Nested, Cell::Flag(true), Cell::Missing]
        );
        assert_eq!(sample.rows[1][6], Cell::Missing);
        assert_eq!((sample.n_records, sample.n_torn, sample.rows.len()), (3, 1, 2));
    }
}
