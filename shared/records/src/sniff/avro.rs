//! Samples of Avro records.

use std::io::Read;

use super::sample::{Cell, Found, Sample, Sampler};
use crate::avro::{AvroFile, AvroFileError, Cursor, Decimal, FixedMeaning, Meaning, Schema, Type, TypeId};
use crate::json_path::{JsonPath, Step};
use crate::reason::Reason;
use crate::time;

/// Records lie no deeper in each other than that where they are looked into.
const MOST_STEPS: usize = 4;

/// Most columns; beyond them, records are not looked into.
const MOST_COLUMNS: usize = 500;

/// Reads the records of a file.
///
/// # Errors
/// It is no file of Avro, or a damaged one.
pub fn sample<R: Read>(source: R) -> Result<Sample, AvroFileError> {
    let mut file = AvroFile::new(source)?;
    let schema = file.schema().clone();
    let mut sampler = Sampler::default();
    while let Some(record) = file.next_record()?.filter(|_| !sampler.is_done()) {
        let most_steps = if sampler.width() < MOST_COLUMNS { MOST_STEPS } else { 1 };
        match fields(&schema, record.raw, most_steps) {
            Some(found) => sampler.push_found(found),
            None => sampler.push_torn(),
        }
    }
    Ok(sampler.finish())
}

/// What a record says of each of its fields; of a record in it, of the fields of that. `None` where it is no record.
pub fn fields(schema: &Schema, record: &[u8], most_steps: usize) -> Option<Vec<(Found, Cell)>> {
    let (mut cursor, mut found) = (Cursor::new(record), Vec::new());
    let mut kind = schema.root();
    if let Type::Union(branches) = schema.get(kind) {
        kind = branches[cursor.choice(branches.len()).ok()?];
    }
    let Type::Record(fields) = schema.get(kind) else { return None };
    for (name, field) in fields {
        let walk = &mut Walk { schema, cursor: &mut cursor, most_steps, found: &mut found };
        walk.add(name.clone(), JsonPath::field(name), *field).ok()?;
    }
    Some(found)
}

struct Walk<'w, 'a> {
    schema: &'w Schema,
    cursor: &'w mut Cursor<'a>,
    most_steps: usize,
    found: &'w mut Vec<(Found, Cell)>,
}

impl Walk<'_, '_> {
    fn add(&mut self, name: String, path: JsonPath, kind: TypeId) -> Result<(), Reason> {
        let schema = self.schema;
        match schema.get(kind) {
            Type::Union(branches) => {
                let branch = self.cursor.choice(branches.len())?;
                self.add(name, path, branches[branch])
            }
            Type::Record(fields) if path.steps().len() < self.most_steps && !fields.is_empty() => {
                for (field, kind) in fields {
                    let path = path.then(Step::Field(field.clone()));
                    self.add(path.to_string(), path, *kind)?;
                }
                Ok(())
            }
            _ => {
                let cell = self.cell(kind)?;
                let path = (path.steps().len() > 1).then_some(path);
                self.found.push((Found { name, path }, cell));
                Ok(())
            }
        }
    }

    fn cell(&mut self, kind: TypeId) -> Result<Cell, Reason> {
        let text = |text: &str| match text.trim() {
            "" => Cell::Missing,
            text => Cell::Text(text.to_owned()),
        };
        let decimal = |bytes, scale: Option<usize>| {
            let decimal = scale.and_then(|scale| Decimal::new(bytes, scale));
            decimal.map_or(Cell::Nested, |decimal| Cell::Number(decimal.to_string()))
        };
        Ok(match self.schema.get(kind) {
            Type::Null => Cell::Missing,
            Type::Boolean => Cell::Flag(self.cursor.boolean()?),
            Type::Int(meaning) => whole(i64::from(self.cursor.int()?), *meaning),
            Type::Long(meaning) => whole(self.cursor.long()?, *meaning),
            // With a fraction, so that it is not taken for a whole number: 5.0.
            Type::Float => Cell::Number(format!("{:?}", f32::from_le_bytes(self.cursor.array()?))),
            Type::Double => Cell::Number(format!("{:?}", f64::from_le_bytes(self.cursor.array()?))),
            Type::String => text(&String::from_utf8_lossy(self.cursor.bytes()?)),
            Type::Enum(symbols) => text(&symbols[self.cursor.choice(symbols.len())?]),
            Type::Bytes(scale) => decimal(self.cursor.bytes()?, *scale),
            Type::Fixed(size, FixedMeaning::Decimal(scale)) => decimal(self.cursor.take(*size)?, Some(*scale)),
            Type::Fixed(..) | Type::Array(_) | Type::Map(_) | Type::Record(_) | Type::Union(_) => {
                self.cursor.skip(self.schema, kind)?;
                Cell::Nested
            }
        })
    }
}

fn whole(number: i64, meaning: Meaning) -> Cell {
    let moment = match meaning {
        Meaning::Number | Meaning::Time(_) => None,
        Meaning::Date => number.checked_mul(86_400_000),
        Meaning::Timestamp(per_second) | Meaning::LocalTimestamp(per_second) => {
            Some(number.div_euclid(per_second / 1_000))
        }
    };
    moment.and_then(time::known).map_or_else(|| Cell::Number(number.to_string()), Cell::Moment)
}
