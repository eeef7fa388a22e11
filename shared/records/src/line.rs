//! From the bytes of a record to the values of a line: the one definition of what is valid.
//!
//! The trainer feeds records of files, the scorer messages of a stream; both get the same values or the same
//! reasons.

mod framed;

use std::sync::Arc;

use crate::csv::{Fields, FileRecord, Splitter};
use crate::dialect::{NotInteger, TextRules, without_zero_fraction};
use crate::field::{Field, Texts};
use crate::json::{self, Content, JsonReader, Node, Plan};
pub use crate::piece::Piece;
use crate::reason::Reason;
use crate::schema::{Column, ColumnType, Currency, DerivedKey, InputFormat, Schema};
use crate::time::{DatetimeParser, format_timestamp};
use crate::value::Value;

/// What a message holds, one after the other.
#[derive(Debug)]
pub enum Part<'p> {
    /// A line: one value a column.
    Line(&'p [Value<'p>]),
    /// A record that is erroneous, for every one of these reasons.
    Erroneous(Vec<Reason>),
    /// The news that a row was deleted.
    Deletion,
    /// No record: a tombstone, or an empty array.
    Nothing,
}

/// Parses records of one schema.
#[derive(Debug, Clone)]
pub struct LineParser {
    schema: Arc<Schema>,
    splitter: Splitter,
    json: JsonReader,
    /// Reads what stands around records.
    around: JsonReader,
    plan: Plan,
    /// What records are read by whose schema is not their own.
    writers: framed::Writers,
    dates: DatetimeParser,
    /// The key of the last line, where it is made of several columns.
    key: String,
}

impl LineParser {
    /// A parser for records of `schema`.
    pub fn new(schema: Arc<Schema>) -> Self {
        let dates = DatetimeParser::new(schema.datetime_formats.clone());
        let splitter = Splitter::new(&schema.csv);
        let plan = Plan::new(&schema.columns);
        Self {
            schema,
            splitter,
            json: JsonReader::default(),
            around: JsonReader::default(),
            plan,
            writers: framed::Writers::default(),
            dates,
            key: String::new(),
        }
    }

    /// What its records look like.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// Parses a message in the schema's format, and hands what it holds to `take`, in order. Most messages hold one record.
    pub fn each<'m>(&mut self, message: &'m [u8], take: impl FnMut(&Piece<'m>, Part<'_>)) {
        self.each_with(message, None, take);
    }

    /// As [`LineParser::each`], for a message whose schema a header may name: `header` is what
    /// [`SCHEMA_HEADER`](crate::framing::SCHEMA_HEADER) holds.
    pub fn each_with<'m>(
        &mut self,
        message: &'m [u8],
        header: Option<&'m [u8]>,
        mut take: impl FnMut(&Piece<'m>, Part<'_>),
    ) {
        if self.schema.schemas.is_some() {
            return self.each_framed(message, header, take);
        }
        let is_json = self.schema.format == InputFormat::Json;
        if is_json && !self.schema.json.is_plain() {
            self.each_json(message.len(), message, take);
            return;
        }
        let piece = Piece::whole(message);
        if let Err(reasons) = self.parse_plain(message, |line| take(&piece, Part::Line(line))) {
            take(&piece, Part::Erroneous(reasons));
        }
    }

    /// Parses a JSON message, which has `raw_len` bytes where it comes from, and hands what it holds to `take`, in order.
    pub fn each_json<'m>(&mut self, raw_len: usize, message: &'m [u8], take: impl FnMut(&Piece<'m>, Part<'_>)) {
        self.each_json_of(&Piece::whole(message), (raw_len, message), take);
    }

    /// Parses JSON, of which `whole` is the message.
    fn each_json_of<'m>(
        &mut self,
        whole: &Piece<'m>,
        (raw_len, message): (usize, &'m [u8]),
        mut take: impl FnMut(&Piece<'m>, Part<'_>),
    ) {
        let Self { schema, json, around, plan, dates, key, .. } = self;
        if raw_len > schema.max_record_bytes {
            return take(whole, Part::Erroneous(vec![Reason::RecordTooLarge]));
        }
        if schema.json.is_plain() {
            if let Err(reasons) = parse_object(schema, (dates, key), json, (message, &plan.record), None, |line| {
                take(whole, Part::Line(line));
            }) {
                take(whole, Part::Erroneous(reasons));
            }
            return;
        }
        if message.is_empty() && schema.json.envelope.is_some() {
            return take(whole, Part::Nothing);
        }
        let message = json::without_mark(message);
        let content = json::check(message).and_then(|()| json::content(message, &schema.json));
        let mut fields = Vec::new();
        if !plan.message.columns.is_empty() && matches!(content, Ok(Content::Record(_) | Content::Records(_))) {
            fields.resize(schema.columns.len(), Field::Absent);
            if let Err(reason) = around.read(message, &schema.columns, &plan.message, &mut fields) {
                return take(whole, Part::Erroneous(vec![reason]));
            }
        }
        let around = Some((around.texts(), &*fields)).filter(|_| !fields.is_empty());
        let mut one = |piece: &Piece<'m>, record: &[u8]| {
            let parsed = parse_object(schema, (dates, key), json, (record, &plan.record), around, |line| {
                take(piece, Part::Line(line));
            });
            if let Err(reasons) = parsed {
                take(piece, Part::Erroneous(reasons));
            }
        };
        match content {
            Ok(Content::Record(record)) => one(whole, &message[record]),
            Ok(Content::Records(array)) => {
                let (before, after) = (&message[..=array.start], &message[array.end - 1..]);
                for (index, item) in (0..).zip(json::items(message, array)) {
                    let item = &message[item];
                    one(&whole.item(index, [before, item, after], [b"", b""]), item);
                }
            }
            Ok(Content::Deletion) => take(whole, Part::Deletion),
            Ok(Content::Nothing) => take(whole, Part::Nothing),
            Err(reason) => take(whole, Part::Erroneous(vec![reason])),
        }
    }

    /// Parses a message in the schema's format, and hands its first line to `use_line`.
    ///
    /// # Errors
    /// Every reason why the first record is erroneous; [`Reason::EmptyRecord`] where there is none.
    pub fn parse<T>(&mut self, message: &[u8], use_line: impl FnOnce(&[Value<'_>]) -> T) -> Result<T, Vec<Reason>> {
        self.parse_with(message, None, use_line)
    }

    /// As [`LineParser::parse`], for a message whose schema a header may name.
    ///
    /// # Errors
    /// As [`LineParser::parse`].
    pub fn parse_with<T>(
        &mut self,
        message: &[u8],
        header: Option<&[u8]>,
        use_line: impl FnOnce(&[Value<'_>]) -> T,
    ) -> Result<T, Vec<Reason>> {
        if self.schema.schemas.is_some() {
            return first_line(use_line, |take| self.each_framed(message, header, take));
        }
        if self.schema.format == InputFormat::Json && !self.schema.json.is_plain() {
            return self.parse_json(message.len(), message, use_line);
        }
        self.parse_plain(message, use_line)
    }

    /// Parses a message that is one record.
    fn parse_plain<T>(&mut self, record: &[u8], use_line: impl FnOnce(&[Value<'_>]) -> T) -> Result<T, Vec<Reason>> {
        if record.is_empty() {
            return Err(vec![Reason::EmptyRecord]);
        }
        let Self { schema, splitter, json, plan, dates, key, .. } = self;
        if record.len() > schema.max_record_bytes {
            return Err(vec![Reason::RecordTooLarge]);
        }
        match schema.format {
            InputFormat::Json => parse_object(schema, (dates, key), json, (record, &plan.record), None, use_line),
            InputFormat::Csv => {
                let record = schema.csv.encoding.decode(record);
                let fields = splitter.split_one(&record).map_err(|reason| vec![reason])?;
                parse_fields(schema, (dates, key), fields, &Order::Same, use_line)
            }
            // Without a schema, nobody knows what the bytes are.
            InputFormat::Avro | InputFormat::Protobuf => Err(vec![Reason::NoSchemaId]),
        }
    }

    /// Parses a CSV record of a file that was taken apart already; `order` maps columns to its fields.
    ///
    /// # Errors
    /// Every reason why the record is erroneous.
    pub fn parse_file_record<T>(
        &mut self,
        record: &FileRecord<'_>,
        order: &Order,
        use_line: impl FnOnce(&[Value<'_>]) -> T,
    ) -> Result<T, Vec<Reason>> {
        if record.len > self.schema.max_record_bytes {
            return Err(vec![Reason::RecordTooLarge]);
        }
        if let Some(fault) = &record.fault {
            return Err(vec![fault.clone()]);
        }
        parse_fields(&self.schema, (&mut self.dates, &mut self.key), record.fields, order, use_line)
    }

    /// Parses a JSON message, which has `raw_len` bytes where it comes from, and hands its first line to `use_line`.
    ///
    /// # Errors
    /// As [`LineParser::parse`].
    pub fn parse_json<T>(
        &mut self,
        raw_len: usize,
        message: &[u8],
        use_line: impl FnOnce(&[Value<'_>]) -> T,
    ) -> Result<T, Vec<Reason>> {
        first_line(use_line, |take| self.each_json(raw_len, message, take))
    }

    /// Parses one field, the value of column `column`.
    ///
    /// # Errors
    /// The reason why the field is erroneous.
    pub fn parse_value<'a>(&mut self, column: usize, field: &'a [u8]) -> Result<Value<'a>, Reason> {
        let rules = match self.schema.format {
            InputFormat::Csv => &self.schema.csv.texts,
            InputFormat::Json | InputFormat::Avro | InputFormat::Protobuf => &TextRules::PLAIN,
        };
        parse_value(&self.schema.columns[column], field, rules, &mut self.dates)
    }
}

/// Where a column stands in a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// As the schema declares them, as on the stream.
    Same,
    /// As a file's header says: `fields[i]` is the place of column `i` among `width` fields.
    Header {
        /// Place of each column; an optional one may have none.
        fields: Vec<Option<usize>>,
        /// How many fields a record of this file has.
        width: usize,
    },
}

/// Why a header does not say where the columns stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeaderFault {
    /// It lacks these columns.
    Missing(Vec<String>),
    /// It has a column twice, under these names.
    Twice {
        /// The column.
        column: String,
        /// What it is called.
        names: [String; 2],
    },
}

impl Order {
    /// The order that a file's header gives, by names and aliases.
    ///
    /// # Errors
    /// Columns that the header lacks, of which optional ones may be absent, or one that it has twice.
    pub fn from_header(header: &[&str], columns: &[Column]) -> Result<Self, HeaderFault> {
        let mut fields = Vec::with_capacity(columns.len());
        for column in columns {
            let names = if column.is_derived { &[][..] } else { header };
            let mut places = (0..names.len()).filter(|&index| column.is_called(names[index].trim()));
            let place = places.next();
            if let (Some(first), Some(second)) = (place, places.next()) {
                let names = [header[first], header[second]].map(|name| name.trim().to_owned());
                return Err(HeaderFault::Twice { column: column.name.clone(), names });
            }
            fields.push(place);
        }
        let lacks =
            |(column, field): &(&Column, &Option<usize>)| field.is_none() && !column.optional && !column.is_derived;
        let missing: Vec<String> =
            columns.iter().zip(&fields).filter(lacks).map(|(column, _)| column.name.clone()).collect();
        if !missing.is_empty() {
            return Err(HeaderFault::Missing(missing));
        }
        let n_fields = columns.iter().filter(|column| !column.is_derived).count();
        let is_same = header.len() == n_fields && fields[..n_fields].iter().enumerate().all(|(i, &it)| it == Some(i));
        Ok(if is_same { Self::Same } else { Self::Header { fields, width: header.len() } })
    }

    fn width(&self, schema: &Schema) -> usize {
        match self {
            Self::Same => schema.n_fields(),
            Self::Header { width, .. } => *width,
        }
    }

    /// The field that holds column `index`, if any does.
    pub fn field(&self, index: usize) -> Option<usize> {
        match self {
            Self::Same => Some(index),
            Self::Header { fields, .. } => fields[index],
        }
    }
}

fn parse_fields<T>(
    schema: &Schema,
    (dates, key): (&mut DatetimeParser, &mut String),
    fields: &Fields,
    order: &Order,
    use_line: impl FnOnce(&[Value<'_>]) -> T,
) -> Result<T, Vec<Reason>> {
    let columns = &schema.columns;
    let width = order.width(schema);
    if fields.len() != width {
        return Err(vec![if fields.len() < width { Reason::TooFewFields } else { Reason::TooManyFields }]);
    }
    with_room(columns.len(), Value::Missing, |values| {
        let mut reasons = Vec::new();
        for (index, column) in columns.iter().enumerate() {
            let value = match order.field(index).filter(|_| !column.is_derived) {
                Some(field) => parse_value(column, fields.get(field), &schema.csv.texts, dates),
                None => admit(column, Value::Missing),
            };
            match value {
                Ok(value) => values[index] = value,
                Err(reason) => reasons.push(reason),
            }
        }
        let result = finish(schema, values, reasons, key, use_line);
        if result.is_err() && is_header(columns, fields, order) { Err(vec![Reason::HeaderLine]) } else { result }
    })
}

/// Hands the first line of what `each` goes through to `use_line`.
fn first_line<'m, T>(
    use_line: impl FnOnce(&[Value<'_>]) -> T,
    each: impl FnOnce(&mut dyn FnMut(&Piece<'m>, Part<'_>)),
) -> Result<T, Vec<Reason>> {
    let (mut use_line, mut first) = (Some(use_line), None);
    each(&mut |_, part| {
        first = first.take().or_else(|| match part {
            Part::Line(line) => use_line.take().map(|use_line| Ok(use_line(line))),
            Part::Erroneous(reasons) => Some(Err(reasons)),
            Part::Deletion | Part::Nothing => None,
        });
    });
    first.unwrap_or_else(|| Err(vec![Reason::EmptyRecord]))
}

/// What was said of columns by the message around a record, with the texts of that.
type Around<'r, 'a> = Option<(&'r Texts, &'r [Field<'a>])>;

/// Parses a record that stands where a plan says; columns of the message around it are taken from `around`, which read them.
fn parse_object<T>(
    schema: &Schema,
    (dates, key): (&mut DatetimeParser, &mut String),
    json: &mut JsonReader,
    (record, plan): (&[u8], &Node),
    around: Around<'_, '_>,
    use_line: impl FnOnce(&[Value<'_>]) -> T,
) -> Result<T, Vec<Reason>> {
    with_room(schema.columns.len(), Field::Absent, |fields| {
        json.read(record, &schema.columns, plan, fields).map_err(|reason| vec![reason])?;
        parse_values(schema, (dates, key), (json.texts(), fields), around, use_line)
    })
}

/// Makes a line of what a record says of each column, of which those of the message are taken from `around`.
fn parse_values<T>(
    schema: &Schema,
    (dates, key): (&mut DatetimeParser, &mut String),
    (texts, fields): (&Texts, &[Field<'_>]),
    around: Around<'_, '_>,
    use_line: impl FnOnce(&[Value<'_>]) -> T,
) -> Result<T, Vec<Reason>> {
    let columns = &schema.columns;
    with_room(columns.len(), Value::Missing, |values| {
        let mut reasons = Vec::new();
        for (index, column) in columns.iter().enumerate() {
            let (texts, field) = match around {
                Some((texts, around)) if column.is_of_message => (texts, around[index]),
                _ => (texts, fields[index]),
            };
            match value_of(column, field, texts, &schema.csv.texts, dates) {
                Ok(value) => values[index] = value,
                Err(reason) => reasons.push(reason),
            }
        }
        finish(schema, values, reasons, key, use_line)
    })
}

/// Hands `act` so many slots. Wide records are rare: only they pay for an allocation.
fn with_room<S: Copy, T>(slots: usize, empty: S, act: impl FnOnce(&mut [S]) -> T) -> T {
    const USUAL: usize = 32;
    if slots <= USUAL { act(&mut [empty; USUAL][..slots]) } else { act(&mut vec![empty; slots]) }
}

/// What is left once each column has its value: what values say of each other.
fn finish<'v, T>(
    schema: &Schema,
    values: &mut [Value<'v>],
    mut reasons: Vec<Reason>,
    key: &'v mut String,
    use_line: impl FnOnce(&[Value<'_>]) -> T,
) -> Result<T, Vec<Reason>> {
    if let Err(reason) = convert(schema, values) {
        reasons.push(reason);
    }
    if let Some(derived) = schema.key.as_ref().filter(|_| reasons.is_empty()) {
        match make_key(schema, values, key) {
            Ok(key) => values[derived.column] = key.map_or(Value::Missing, Value::Text),
            Err(reason) => reasons.push(reason),
        }
    }
    if reasons.is_empty() { Ok(use_line(values)) } else { Err(reasons) }
}

/// Turns the amount of a line into the schema's base currency, where it has one, and keeps it as it came where that is wanted.
///
/// # Errors
/// The currency is unknown, or the amount too large for the base.
pub fn convert(schema: &Schema, line: &mut [Value<'_>]) -> Result<(), Reason> {
    let Some(currency) = &schema.currency else { return Ok(()) };
    let Currency { column, amount, original, .. } = *currency;
    if let Some(original) = original {
        line[original] = line[amount];
    }
    let Value::Text(name) = line[column] else { return Ok(()) };
    let rate = currency.rate(name).ok_or_else(|| Reason::UnknownCurrency(schema.columns[column].name.clone()))?;
    if let Value::Float(number) = &mut line[amount] {
        *number *= rate;
        if !number.is_finite() {
            return Err(Reason::NotFinite(schema.columns[amount].name.clone()));
        }
    }
    Ok(())
}

/// The key of a line that is made of other columns; `None` where there is none such. It names one combination of their values:
/// a `/` stands between them, and one that is part of a text has a `\\` before it.
///
/// # Errors
/// It is too long.
pub fn make_key<'k>(schema: &Schema, line: &[Value<'_>], key: &'k mut String) -> Result<Option<&'k str>, Reason> {
    let Some(DerivedKey { column, parts }) = schema.key.as_ref().filter(|key| !key.parts.is_empty()) else {
        return Ok(None);
    };
    key.clear();
    for (place, &part) in parts.iter().enumerate() {
        if place > 0 {
            key.push('/');
        }
        add_part(key, line[part], parts.len() > 1);
    }
    admit(&schema.columns[*column], Value::Text(key)).map(Value::text)
}

/// Adds one of the values of which a key is made, which may be several.
fn add_part(key: &mut String, value: Value<'_>, is_one_of_several: bool) {
    match value {
        Value::Text(text) if is_one_of_several && text.contains(['/', '\\']) => {
            for c in text.chars() {
                if matches!(c, '/' | '\\') {
                    key.push('\\');
                }
                key.push(c);
            }
        }
        Value::Text(text) => key.push_str(text),
        Value::Integer(number) => key.push_str(&number.to_string()),
        Value::Datetime(moment) => key.push_str(&format_timestamp(moment)),
        // Its columns are needed, and none is a float.
        Value::Float(_) | Value::Missing => {}
    }
}

fn is_header(columns: &[Column], fields: &Fields, order: &Order) -> bool {
    let is_name = |column: &Column, field: usize| {
        std::str::from_utf8(fields.get(field)).is_ok_and(|name| column.is_called(name.trim()))
    };
    // Columns that the file does not have say nothing.
    let mut found = columns.iter().enumerate().filter_map(|(index, column)| {
        let field = order.field(index).filter(|_| !column.is_derived)?;
        Some((column, field))
    });
    found.all(|(column, field)| is_name(column, field))
}

/// The value of a column by what a record says of it. Texts are numbers by the rules `numbers`, where they may be any.
fn value_of<'a>(
    column: &Column,
    field: Field<'a>,
    texts: &'a Texts,
    numbers: &TextRules,
    dates: &mut DatetimeParser,
) -> Result<Value<'a>, Reason> {
    const PLAIN: &TextRules = &TextRules::PLAIN;
    let rules = || match column.kind {
        ColumnType::Integer | ColumnType::Float => numbers,
        ColumnType::Text | ColumnType::Datetime => PLAIN,
    };
    let moment = |moment: Option<_>| match moment {
        Some(moment) if column.kind == ColumnType::Datetime => admit(column, Value::Datetime(moment)),
        _ => Err(Reason::NotADatetime(column.place())),
    };
    let is_unfit = matches!(field, Field::Unfit | Field::Digits | Field::NotUtf8);
    let value = match (field, column.kind) {
        _ if is_unfit && !column.is_read => Ok(Value::Missing),
        (Field::Absent | Field::Null, _) => admit(column, Value::Missing),
        (Field::Twice, _) => Err(Reason::DuplicateField(column.place())),
        (Field::NotUtf8, _) => Err(Reason::InvalidUtf8(column.place())),
        (Field::Text(text), _) => parse_text(column, text, rules(), dates),
        (Field::Written(start, end), _) => parse_text(column, texts.get(start, end), rules(), dates),
        (Field::Decimal(start, end), _) => parse_text(column, texts.get(start, end), PLAIN, dates),
        (Field::Moment(at), _) => moment(Some(at)),
        (Field::Local(at), _) => moment(dates.local(at)),
        (Field::Integer(number), ColumnType::Float) => admit(column, Value::Float(number as f64)),
        (Field::Integer(number), _) => admit(column, Value::Integer(number)),
        (Field::Float(number), _) => admit(column, Value::Float(number)),
        (Field::Unfit | Field::Digits, kind) => Err(match kind {
            ColumnType::Text => Reason::NotAText(column.place()),
            ColumnType::Integer => Reason::NotAnInteger(column.place()),
            ColumnType::Float => Reason::NotANumber(column.place()),
            ColumnType::Datetime => Reason::NotADatetime(column.place()),
        }),
    };
    if column.is_lenient { value.or(Ok(Value::Missing)) } else { value }
}

fn parse_value<'a>(
    column: &Column,
    field: &'a [u8],
    rules: &TextRules,
    dates: &mut DatetimeParser,
) -> Result<Value<'a>, Reason> {
    match std::str::from_utf8(field) {
        Ok(text) => parse_text(column, text, rules, dates),
        // Any bytes may stand where nobody reads, and where no record is lost for them.
        Err(_) if !column.is_read || column.is_lenient => Ok(Value::Missing),
        Err(_) => Err(Reason::InvalidUtf8(column.place())),
    }
}

fn parse_text<'a>(
    column: &Column,
    text: &'a str,
    rules: &TextRules,
    dates: &mut DatetimeParser,
) -> Result<Value<'a>, Reason> {
    let name = || column.place();
    let text = text.trim();
    if rules.nulls.contains(text) {
        return admit(column, Value::Missing);
    }
    if !column.is_read && column.kind != ColumnType::Text {
        return Ok(Value::Missing);
    }
    let value = match column.kind {
        // The id 13085 is written 13085.0 where a table had it as a float.
        ColumnType::Text if column.max_bytes.is_some() => Value::Text(without_zero_fraction(text).unwrap_or(text)),
        ColumnType::Text => Value::Text(text),
        ColumnType::Integer => rules.numbers.integer(text).map(Value::Integer).map_err(|problem| match problem {
            NotInteger::TooLarge => Reason::OutOfRange(name()),
            NotInteger::NoInteger => Reason::NotAnInteger(name()),
        })?,
        ColumnType::Float => rules.numbers.float(text).map(Value::Float).ok_or_else(|| Reason::NotANumber(name()))?,
        ColumnType::Datetime => dates.parse(text).map(Value::Datetime).ok_or_else(|| Reason::NotADatetime(name()))?,
    };
    admit(column, value)
}

/// The value, when the rules of its column allow it: there when it is needed, finite, in range, and not too long. A number
/// that is not there is the one that the pipeline file has for it, where it has one.
///
/// # Errors
/// The rule that it breaks.
pub fn admit<'a>(column: &Column, value: Value<'a>) -> Result<Value<'a>, Reason> {
    let name = || column.place();
    match value {
        Value::Missing if let Some(number) = column.if_missing => Ok(match column.kind {
            ColumnType::Integer => Value::Integer(number as i64),
            _ => Value::Float(number),
        }),
        Value::Missing if column.needed => Err(Reason::MissingValue(name())),
        Value::Integer(number) if !in_range(column, number as f64) => Err(Reason::OutOfRange(name())),
        Value::Float(number) if !number.is_finite() => Err(Reason::NotFinite(name())),
        Value::Float(number) if !in_range(column, number) => Err(Reason::OutOfRange(name())),
        Value::Text(text) if column.max_bytes.is_some_and(|most| text.len() > most) => Err(Reason::KeyTooLong(name())),
        value => Ok(value),
    }
}

fn in_range(column: &Column, number: f64) -> bool {
    column.range.0 <= number && number <= column.range.1
}

#[cfg(test)]
mod tests;
