//! Reads records by a plan, and finds what a message holds.

use std::cell::Cell;
use std::fmt;
use std::ops::Range;

use super::cursor::Cursor;
use super::decimal::Decimal;
use super::plan::{AvroPlan, Read};
use super::schema::{FixedMeaning, Meaning, Schema, Type, TypeId};
use crate::field::{self, Field, Texts};
use crate::framing::write_uuid;
use crate::json::MOST_RECORDS;
use crate::json_path::{JsonPath, Step};
use crate::reason::Reason;
use crate::schema::{Column, ColumnType};
use crate::time::{self, Timestamp};

/// Milliseconds of a day.
const DAY: i64 = 86_400_000;

impl AvroPlan {
    /// Fills `fields`, one a column and all of them [`Field::Absent`] before, with what stands in `record`, all of which is
    /// read by `read`.
    ///
    /// # Errors
    /// The reason why the bytes are no such record.
    pub(crate) fn read<'a>(
        schema: &Schema,
        read: &Read,
        record: &'a [u8],
        (columns, texts): (&[Column], &mut Texts),
        fields: &mut [Field<'a>],
    ) -> Result<(), Reason> {
        texts.clear();
        let mut cursor = Cursor::new(record);
        Reading { schema, columns, texts, fields }.read(read, &mut cursor)?;
        if cursor.is_at_end() { Ok(()) } else { Err(Reason::NotAvro) }
    }

    /// Fails where `message` is not one value of the schema.
    pub(crate) fn check(schema: &Schema, message: &[u8]) -> Result<(), Reason> {
        let mut cursor = Cursor::new(message);
        cursor.skip(schema, schema.root())?;
        if cursor.is_at_end() { Ok(()) } else { Err(Reason::NotAvro) }
    }
}

/// A record that is being read.
struct Reading<'r, 'a> {
    schema: &'r Schema,
    columns: &'r [Column],
    texts: &'r mut Texts,
    fields: &'r mut [Field<'a>],
}

impl<'a> Reading<'_, 'a> {
    fn set(&mut self, column: usize, field: Field<'a>) {
        let known = &mut self.fields[column];
        *known = if *known == Field::Absent { field } else { Field::Twice };
    }

    fn set_all(&mut self, columns: &[usize], field: Field<'a>) {
        columns.iter().for_each(|&column| self.set(column, field));
    }

    fn read(&mut self, read: &Read, cursor: &mut Cursor<'a>) -> Result<(), Reason> {
        match read {
            Read::Skip(id) => cursor.skip(self.schema, *id),
            Read::Value(column, id) => {
                let field = self.value(*column, *id, cursor)?;
                self.set(*column, field);
                Ok(())
            }
            Read::Null(columns) => {
                self.set_all(columns, Field::Null);
                Ok(())
            }
            Read::Unfit(columns, id) => {
                self.set_all(columns, Field::Unfit);
                cursor.skip(self.schema, *id)
            }
            Read::Record(unfit, fields) => {
                self.set_all(unfit, Field::Unfit);
                fields.iter().try_for_each(|field| self.read(field, cursor))
            }
            Read::Union(branches) => {
                let branch = cursor.choice(branches.len())?;
                self.read(&branches[branch], cursor)
            }
            Read::Array(unfit, items, kind) => {
                self.set_all(unfit, Field::Unfit);
                self.array(items, *kind, cursor)
            }
            Read::Map(unfit, entries, kind) => {
                self.set_all(unfit, Field::Unfit);
                self.map(entries, *kind, cursor)
            }
        }
    }

    fn array(&mut self, items: &[(usize, Read)], kind: TypeId, cursor: &mut Cursor<'a>) -> Result<(), Reason> {
        let last = items.iter().map(|(place, _)| *place as u64 + 1).max().unwrap_or(0);
        let mut place = 0u64;
        loop {
            let (count, size) = cursor.block()?;
            if (count, size) == (0, None) {
                return Ok(());
            }
            let end = place.checked_add(count).ok_or(Reason::NotAvro)?;
            match size {
                Some(size) if place >= last => {
                    cursor.take(size)?;
                }
                _ => {
                    while place < end.min(last) {
                        match items.iter().find(|(wanted, _)| *wanted as u64 == place) {
                            Some((_, read)) => self.read(read, cursor)?,
                            None => cursor.skip(self.schema, kind)?,
                        }
                        place += 1;
                    }
                    if !self.schema.is_empty(kind) {
                        for _ in place..end {
                            cursor.skip(self.schema, kind)?;
                        }
                    }
                }
            }
            place = end;
        }
    }

    fn map(&mut self, entries: &[(Vec<String>, Read)], kind: TypeId, cursor: &mut Cursor<'a>) -> Result<(), Reason> {
        loop {
            let (count, size) = cursor.block()?;
            if (count, size) == (0, None) {
                return Ok(());
            }
            for _ in 0..count {
                let key = cursor.bytes()?;
                match entries.iter().find(|(names, _)| names.iter().any(|name| name.as_bytes() == key)) {
                    Some((_, read)) => self.read(read, cursor)?,
                    None => cursor.skip(self.schema, kind)?,
                }
            }
        }
    }

    fn value(&mut self, column: usize, id: TypeId, cursor: &mut Cursor<'a>) -> Result<Field<'a>, Reason> {
        let (column, texts) = (&self.columns[column], &mut *self.texts);
        Ok(match self.schema.get(id) {
            Type::Boolean => texts.flag(column, cursor.boolean()?),
            Type::Int(meaning) => whole(column, texts, i64::from(cursor.int()?), *meaning),
            Type::Long(meaning) => whole(column, texts, cursor.long()?, *meaning),
            Type::Float => {
                let number = f32::from_le_bytes(cursor.array()?);
                texts.float(column, f64::from(number), number)
            }
            Type::Double => {
                let number = f64::from_le_bytes(cursor.array()?);
                texts.float(column, number, number)
            }
            Type::String => field::text_of_bytes(column, cursor.bytes()?),
            Type::Enum(symbols) => {
                let symbol = cursor.choice(symbols.len())?;
                if field::takes_texts(column) { texts.write(&symbols[symbol]) } else { Field::Unfit }
            }
            Type::Bytes(scale) => decimal(texts, cursor.bytes()?, *scale),
            Type::Fixed(size, meaning) => {
                let bytes = cursor.take(*size)?;
                match (meaning, <&[u8; 16]>::try_from(bytes)) {
                    (FixedMeaning::Decimal(scale), _) => decimal(texts, bytes, Some(*scale)),
                    (FixedMeaning::Uuid, Ok(bytes)) if column.kind == ColumnType::Text => texts.write(Uuid(bytes)),
                    _ => Field::Unfit,
                }
            }
            // A plan has other steps for these.
            Type::Null | Type::Record(_) | Type::Array(_) | Type::Map(_) | Type::Union(_) => {
                cursor.skip(self.schema, id)?;
                Field::Unfit
            }
        })
    }
}

fn decimal(texts: &mut Texts, bytes: &[u8], scale: Option<usize>) -> Field<'static> {
    match scale.and_then(|scale| Decimal::new(bytes, scale)) {
        Some(decimal) => texts.decimal(decimal),
        None => Field::Unfit,
    }
}

struct Uuid<'a>(&'a [u8; 16]);

impl fmt::Display for Uuid<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_uuid(f, self.0)
    }
}

/// A whole number by what it means.
fn whole(column: &Column, texts: &mut Texts, number: i64, meaning: Meaning) -> Field<'static> {
    let is_text = column.kind == ColumnType::Text;
    let millis = |per_second: i64| match per_second {
        1_000 => number,
        per_second => number.div_euclid(per_second / 1_000),
    };
    let of_calendar = |texts: &mut Texts, local: Option<Timestamp>, is_date: bool| {
        local.map(|local| if is_text { texts.write(time::Shown { local, is_date }) } else { Field::Local(local) })
    };
    let moment = match meaning {
        Meaning::Number => return texts.integer(column, number),
        Meaning::Timestamp(per_second) => time::known(millis(per_second))
            .map(|moment| if is_text { texts.write(time::format_timestamp(moment)) } else { Field::Moment(moment) }),
        Meaning::LocalTimestamp(per_second) => of_calendar(texts, time::known(millis(per_second)), false),
        Meaning::Date => of_calendar(texts, number.checked_mul(DAY).and_then(time::known), true),
        Meaning::Time(per_second) => {
            let of_day = Some(millis(per_second)).filter(|of_day| is_text && (0..DAY).contains(of_day));
            of_day.map(|of_day| texts.write(time::OfDay(of_day)))
        }
    };
    texts.moment(column, number, moment)
}

/// A value that was found in a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub kind: TypeId,
    pub at: Range<usize>,
}

/// Finds values in messages that are known to be of the schema.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Finder<'s, 'm> {
    pub schema: &'s Schema,
    pub message: &'m [u8],
}

impl Finder<'_, '_> {
    /// The whole message; `None` where it is null.
    pub fn whole(&self) -> Result<Option<Found>, Reason> {
        self.resolve(self.schema.root(), 0)
    }

    /// What a path leads to; `None` where it is null.
    ///
    /// # Errors
    /// [`Reason::MissingValue`] where there is no such value.
    pub fn follow(&self, from: Found, path: &JsonPath) -> Result<Option<Found>, Reason> {
        let mut at = from;
        for step in path.steps() {
            let missing = || Reason::MissingValue(path.to_string());
            match self.step(&at, step)?.ok_or_else(missing)? {
                Some(next) => at = next,
                None => return Ok(None),
            }
        }
        Ok(Some(at))
    }

    /// The items of an array, at most one more than a message may hold; `None` where it is none.
    pub fn items(&self, found: &Found) -> Result<Option<Vec<Found>>, Reason> {
        let Type::Array(item) = *self.schema.get(found.kind) else { return Ok(None) };
        let mut items = Vec::new();
        self.each(
            found,
            |_| Ok(()),
            item,
            |at| {
                items.push(Found { kind: item, at });
                items.len() <= MOST_RECORDS
            },
        )?;
        Ok(Some(items))
    }

    /// Whether the value is a record.
    pub fn is_record(&self, found: &Found) -> bool {
        matches!(self.schema.get(found.kind), Type::Record(_))
    }

    /// A text, such as that of an operation.
    pub fn text(&self, found: &Found) -> Option<String> {
        let mut cursor = Cursor::new(&self.message[found.at.clone()]);
        match self.schema.get(found.kind) {
            Type::String => Some(String::from_utf8_lossy(cursor.bytes().ok()?).into_owned()),
            Type::Enum(symbols) => symbols.get(cursor.choice(symbols.len()).ok()?).cloned(),
            _ => None,
        }
    }

    /// A value, or `None` inside where it is null; nothing where there is no such step.
    fn step(&self, from: &Found, step: &Step) -> Result<Option<Option<Found>>, Reason> {
        match (self.schema.get(from.kind), step) {
            (Type::Record(fields), Step::Field(name)) => {
                let mut cursor = self.cursor(from.at.start)?;
                for (field, kind) in fields {
                    if field == name {
                        return self.resolve(*kind, from.at.start + cursor.at()).map(Some);
                    }
                    cursor.skip(self.schema, *kind)?;
                }
                Ok(None)
            }
            (Type::Array(item), Step::Item(number)) => {
                let (mut place, mut found) = (0, None);
                self.each(
                    from,
                    |_| Ok(()),
                    *item,
                    |at| {
                        found = (place == *number).then_some(at);
                        place += 1;
                        found.is_none()
                    },
                )?;
                found.map(|at| self.resolve(*item, at.start)).transpose()
            }
            (Type::Map(value), Step::Field(name)) => {
                let (mut found, called) = (None, Cell::new(false));
                self.each(
                    from,
                    |cursor| {
                        called.set(cursor.bytes()? == name.as_bytes());
                        Ok(())
                    },
                    *value,
                    |at| {
                        found = called.get().then_some(at);
                        found.is_none()
                    },
                )?;
                found.map(|at| self.resolve(*value, at.start)).transpose()
            }
            _ => Ok(None),
        }
    }

    /// Hands the place of each item or entry to `take`, until it wants no more.
    fn each(
        &self,
        found: &Found,
        mut before: impl FnMut(&mut Cursor<'_>) -> Result<(), Reason>,
        kind: TypeId,
        mut take: impl FnMut(Range<usize>) -> bool,
    ) -> Result<(), Reason> {
        let mut cursor = self.cursor(found.at.start)?;
        loop {
            let (count, size) = cursor.block()?;
            if (count, size) == (0, None) {
                return Ok(());
            }
            for _ in 0..count {
                before(&mut cursor)?;
                let start = found.at.start + cursor.at();
                cursor.skip(self.schema, kind)?;
                if !take(start..found.at.start + cursor.at()) {
                    return Ok(());
                }
            }
        }
    }

    /// What a value is behind a union; `None` where it is null.
    fn resolve(&self, kind: TypeId, at: usize) -> Result<Option<Found>, Reason> {
        let mut cursor = self.cursor(at)?;
        let kind = match self.schema.get(kind) {
            Type::Union(branches) => branches[cursor.choice(branches.len())?],
            _ => kind,
        };
        let start = at + cursor.at();
        if *self.schema.get(kind) == Type::Null {
            return Ok(None);
        }
        cursor.skip(self.schema, kind)?;
        Ok(Some(Found { kind, at: start..at + cursor.at() }))
    }

    fn cursor(&self, at: usize) -> Result<Cursor<'_>, Reason> {
        self.message.get(at..).map(Cursor::new).ok_or(Reason::NotAvro)
    }
}
