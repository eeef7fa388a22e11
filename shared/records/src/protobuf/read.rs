//! Reads messages by a plan.

use super::plan::{FieldRead, MessageRead, ProtobufPlan, What};
use super::types::{Kind, Meaning, Messages};
use super::wire::{Wire, WireType};
use crate::avro::Decimal;
use crate::field::{self, Field, Texts};
use crate::reason::Reason;
use crate::schema::{Column, ColumnType};
use crate::time;

/// The largest scale of a decimal.
const MOST_SCALE: u64 = 1_000;

impl ProtobufPlan {
    /// Fills `fields`, one a column and all of them [`Field::Absent`] before, with what stands in `record`.
    ///
    /// # Errors
    /// The reason why the bytes are no such message.
    pub(crate) fn read<'a>(
        &self,
        record: &'a [u8],
        (columns, texts): (&[Column], &mut Texts),
        fields: &mut [Field<'a>],
    ) -> Result<(), Reason> {
        texts.clear();
        let begun = vec![false; self.n_reads];
        let mut reading = Reading { messages: &self.messages, columns, texts, fields, begun, counts: Vec::new() };
        reading.message(&self.read, record)
    }
}

/// A message that is being read.
struct Reading<'r, 'a> {
    messages: &'r Messages,
    columns: &'r [Column],
    texts: &'r mut Texts,
    fields: &'r mut [Field<'a>],
    /// Which messages have begun: parts of one may stand in several places.
    begun: Vec<bool>,
    /// How many values of a list have come, by the message and the number of its field.
    counts: Vec<(usize, u32, usize)>,
}

impl<'a> Reading<'_, 'a> {
    fn message(&mut self, read: &MessageRead, bytes: &'a [u8]) -> Result<(), Reason> {
        if !std::mem::replace(&mut self.begun[read.id], true) {
            for field in &read.fields {
                if let Some(column) = field.or_zero {
                    self.fields[column] = self.zero(column, field.kind);
                }
            }
        }
        let mut wire = Wire::new(bytes);
        while !wire.is_at_end() {
            let (number, kind) = wire.key()?;
            match read.fields.iter().find(|field| field.number == number) {
                Some(field) => self.field(read.id, field, kind, &mut wire)?,
                None => wire.skip(number, kind)?,
            }
        }
        read.twice.iter().for_each(|&column| self.fields[column] = Field::Twice);
        Ok(())
    }

    fn field(&mut self, message: usize, field: &FieldRead, kind: WireType, wire: &mut Wire<'a>) -> Result<(), Reason> {
        field.instead_of.iter().for_each(|&column| self.fields[column] = Field::Null);
        match &field.what {
            What::Unfit(columns) => {
                columns.iter().for_each(|&column| self.fields[column] = Field::Unfit);
                wire.skip(field.number, kind)
            }
            What::Items(items) if kind == WireType::Bytes && wire_type(field.kind) != WireType::Bytes => {
                // Numbers of a list, packed.
                let mut packed = Wire::new(wire.bytes()?);
                while !packed.is_at_end() {
                    self.item(message, field, items, wire_type(field.kind), &mut packed)?;
                }
                Ok(())
            }
            What::Items(items) => self.item(message, field, items, kind, wire),
            What::Entries(entries, key, value) => self.entry(entries, (*key, *value), kind, wire),
            what => self.value(what, field.kind, (field.number, kind), wire),
        }
    }

    fn item(
        &mut self,
        message: usize,
        field: &FieldRead,
        items: &[(usize, What)],
        kind: WireType,
        wire: &mut Wire<'a>,
    ) -> Result<(), Reason> {
        let known = self.counts.iter().position(|(of, number, _)| (*of, *number) == (message, field.number));
        let known = known.unwrap_or_else(|| {
            self.counts.push((message, field.number, 0));
            self.counts.len() - 1
        });
        let place = self.counts[known].2;
        self.counts[known].2 += 1;
        match items.iter().find(|(wanted, _)| *wanted == place) {
            Some((_, what)) => self.value(what, field.kind, (field.number, kind), wire),
            None => wire.skip(field.number, kind),
        }
    }

    fn entry(
        &mut self,
        entries: &[(Vec<String>, What)],
        (key_kind, value_kind): (Kind, Kind),
        kind: WireType,
        wire: &mut Wire<'a>,
    ) -> Result<(), Reason> {
        if kind != WireType::Bytes {
            return Err(Reason::NotProtobuf);
        }
        let bytes = wire.bytes()?;
        let mut key = String::new();
        let mut entry = Wire::new(bytes);
        while !entry.is_at_end() {
            let (number, kind) = entry.key()?;
            match number {
                1 => key = text_of_key(key_kind, kind, &mut entry)?,
                _ => entry.skip(number, kind)?,
            }
        }
        let Some((_, what)) = entries.iter().find(|(names, _)| names.contains(&key)) else { return Ok(()) };
        // A value that is not there is zero.
        if let What::Value(column) = what {
            self.fields[*column] = self.zero(*column, value_kind);
        }
        let mut entry = Wire::new(bytes);
        while !entry.is_at_end() {
            let (number, kind) = entry.key()?;
            match number {
                2 => self.value(what, value_kind, (number, kind), &mut entry)?,
                _ => entry.skip(number, kind)?,
            }
        }
        Ok(())
    }

    fn value(
        &mut self,
        what: &What,
        kind: Kind,
        (number, wire_kind): (u32, WireType),
        wire: &mut Wire<'a>,
    ) -> Result<(), Reason> {
        if let What::Unfit(columns) = what {
            columns.iter().for_each(|&column| self.fields[column] = Field::Unfit);
            return wire.skip(number, wire_kind);
        }
        if wire_kind != wire_type(kind) {
            return Err(Reason::NotProtobuf);
        }
        match what {
            What::Value(column) => {
                let field = self.scalar(*column, kind, wire)?;
                self.fields[*column] = field;
                Ok(())
            }
            What::Meant(column, meaning, place) => {
                let bytes = wire.bytes()?;
                let field = self.meant(*column, *meaning, *place, bytes)?;
                self.fields[*column] = field;
                Ok(())
            }
            What::Inside(message) => self.message(message, wire.bytes()?),
            // A list or a map is never one of its own values.
            What::Unfit(_) | What::Items(_) | What::Entries(..) => wire.skip(number, wire_kind),
        }
    }

    fn scalar(&mut self, column: usize, kind: Kind, wire: &mut Wire<'a>) -> Result<Field<'a>, Reason> {
        let (column, texts) = (&self.columns[column], &mut *self.texts);
        Ok(match kind {
            Kind::Double => {
                let number = f64::from_le_bytes(wire.array()?);
                texts.float(column, number, number)
            }
            Kind::Float => {
                let number = f32::from_le_bytes(wire.array()?);
                texts.float(column, f64::from(number), number)
            }
            // Numbers of 32 bits are written with 64 where they are below zero.
            Kind::Int32 => texts.integer(column, i64::from(wire.varint()? as i32)),
            Kind::Int64 => texts.integer(column, wire.varint()? as i64),
            Kind::Uint32 => texts.integer(column, i64::from(wire.varint()? as u32)),
            Kind::Uint64 => texts.unsigned(column, wire.varint()?),
            Kind::Sint32 => texts.integer(column, i64::from(wire.zigzag()? as i32)),
            Kind::Sint64 => texts.integer(column, wire.zigzag()?),
            Kind::Fixed32 => texts.integer(column, i64::from(u32::from_le_bytes(wire.array()?))),
            Kind::Fixed64 => texts.unsigned(column, u64::from_le_bytes(wire.array()?)),
            Kind::Sfixed32 => texts.integer(column, i64::from(i32::from_le_bytes(wire.array()?))),
            Kind::Sfixed64 => texts.integer(column, i64::from_le_bytes(wire.array()?)),
            Kind::Bool => texts.flag(column, wire.varint()? != 0),
            Kind::String => field::text_of_bytes(column, wire.bytes()?),
            Kind::Enum(place) => symbol(self.messages, texts, column, place, wire.varint()? as i32),
            Kind::Bytes | Kind::Message(_) => {
                wire.bytes()?;
                Field::Unfit
            }
            Kind::Group => Field::Unfit,
        })
    }

    /// The value of a message that everybody knows.
    fn meant(&mut self, column: usize, meaning: Meaning, place: usize, bytes: &'a [u8]) -> Result<Field<'a>, Reason> {
        let mut numbers = [0u64; 3];
        let (mut inner, mut value) = (None, &[][..]);
        let mut wire = Wire::new(bytes);
        let of_wrapper = self.messages.get(place).fields.iter().find(|field| field.number == 1).map(|field| field.kind);
        while !wire.is_at_end() {
            match (wire.key()?, meaning) {
                ((1, kind), Meaning::Wrapper) => {
                    let Some(of) = of_wrapper.filter(|of| wire_type(*of) == kind) else {
                        return Err(Reason::NotProtobuf);
                    };
                    inner = Some(self.scalar(column, of, &mut wire)?);
                }
                ((1, WireType::Bytes), Meaning::Decimal) => value = wire.bytes()?,
                ((number @ 1..=3, WireType::Varint), _) => numbers[number as usize - 1] = wire.varint()?,
                ((number, kind), _) => wire.skip(number, kind)?,
            }
        }
        let is_text = self.columns[column].kind == ColumnType::Text;
        Ok(match meaning {
            Meaning::Wrapper => match (inner, of_wrapper) {
                (Some(inner), _) => inner,
                (None, Some(kind)) => self.zero(column, kind),
                (None, None) => Field::Unfit,
            },
            Meaning::Timestamp => {
                let [seconds, nanos, _] = numbers.map(|number| number as i64);
                let millis = seconds.checked_mul(1_000).and_then(|millis| millis.checked_add(nanos / 1_000_000));
                let Some(moment) = millis.and_then(time::known) else { return Ok(Field::Unfit) };
                match self.columns[column].kind {
                    ColumnType::Datetime => Field::Moment(moment),
                    _ if is_text => self.texts.write(time::format_timestamp(moment)),
                    _ => Field::Unfit,
                }
            }
            Meaning::Decimal => {
                let scale = usize::try_from(numbers[2].min(MOST_SCALE + 1)).unwrap_or(0);
                let decimal = Decimal::new(value, scale).filter(|_| numbers[2] <= MOST_SCALE);
                decimal.map_or(Field::Unfit, |decimal| self.texts.decimal(decimal))
            }
        })
    }

    /// What a field is that is not there.
    fn zero(&mut self, column: usize, kind: Kind) -> Field<'a> {
        let (column, texts) = (&self.columns[column], &mut *self.texts);
        match kind {
            Kind::String => field::text(column, ""),
            Kind::Bool => texts.flag(column, false),
            Kind::Double | Kind::Float => texts.float(column, 0.0, 0.0),
            Kind::Enum(place) => symbol(self.messages, texts, column, place, 0),
            Kind::Bytes | Kind::Message(_) | Kind::Group => Field::Absent,
            _ => texts.integer(column, 0),
        }
    }
}

fn symbol(messages: &Messages, texts: &mut Texts, column: &Column, place: usize, number: i32) -> Field<'static> {
    match (column.kind, messages.symbol(place, number)) {
        (ColumnType::Integer | ColumnType::Float, _) => Field::Integer(i64::from(number)),
        (_, Some(name)) => texts.write(name),
        (_, None) => Field::Unfit,
    }
}

/// A key of a map as text.
fn text_of_key(kind: Kind, wire_kind: WireType, wire: &mut Wire<'_>) -> Result<String, Reason> {
    if wire_kind != wire_type(kind) {
        return Err(Reason::NotProtobuf);
    }
    Ok(match kind {
        Kind::String => String::from_utf8_lossy(wire.bytes()?).into_owned(),
        Kind::Int32 | Kind::Int64 => (wire.varint()? as i64).to_string(),
        Kind::Sint32 | Kind::Sint64 => wire.zigzag()?.to_string(),
        Kind::Bool => (wire.varint()? != 0).to_string(),
        Kind::Fixed32 => u32::from_le_bytes(wire.array()?).to_string(),
        Kind::Sfixed32 => i32::from_le_bytes(wire.array()?).to_string(),
        Kind::Fixed64 => u64::from_le_bytes(wire.array()?).to_string(),
        Kind::Sfixed64 => i64::from_le_bytes(wire.array()?).to_string(),
        _ => wire.varint()?.to_string(),
    })
}

fn wire_type(kind: Kind) -> WireType {
    match kind {
        Kind::Double | Kind::Fixed64 | Kind::Sfixed64 => WireType::Eight,
        Kind::Float | Kind::Fixed32 | Kind::Sfixed32 => WireType::Four,
        Kind::String | Kind::Bytes | Kind::Message(_) => WireType::Bytes,
        Kind::Group => WireType::Start,
        _ => WireType::Varint,
    }
}
