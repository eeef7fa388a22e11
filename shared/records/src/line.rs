//! From the bytes of a record to the values of a line: the one definition of what is valid.
//!
//! The trainer feeds records of files, the scorer messages of a stream; both get the same values or the same
//! reasons.

use std::sync::Arc;

use crate::csv::{Fields, FileRecord, Splitter};
use crate::dialect::{NotInteger, TextRules, without_zero_fraction};
pub use crate::json::Piece;
use crate::json::{self, Content, Field, JsonReader, Node, Plan};
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
            dates,
            key: String::new(),
        }
    }

    /// What its records look like.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// Parses a message in the schema's format, and hands what it holds to `take`, in order. Most messages hold one record.
    pub fn each<'m>(&mut self, message: &'m [u8], mut take: impl FnMut(&Piece<'m>, Part<'_>)) {
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
    pub fn each_json<'m>(&mut self, raw_len: usize, message: &'m [u8], mut take: impl FnMut(&Piece<'m>, Part<'_>)) {
        let whole = Piece::whole(message);
        let Self { schema, json, around, plan, dates, key, .. } = self;
        if raw_len > schema.max_record_bytes {
            return take(&whole, Part::Erroneous(vec![Reason::RecordTooLarge]));
        }
        if schema.json.is_plain() {
            if let Err(reasons) = parse_object(schema, (dates, key), json, (message, &plan.record), None, |line| {
                take(&whole, Part::Line(line));
            }) {
                take(&whole, Part::Erroneous(reasons));
            }
            return;
        }
        if message.is_empty() && schema.json.envelope.is_some() {
            return take(&whole, Part::Nothing);
        }
        let message = json::without_mark(message);
        let content = json::check(message).and_then(|()| json::content(message, &schema.json));
        let mut fields = Vec::new();
        if !plan.message.columns.is_empty() && matches!(content, Ok(Content::Record(_) | Content::Records(_))) {
            fields.resize(schema.columns.len(), Field::Absent);
            if let Err(reason) = around.read(message, &schema.columns, &plan.message, &mut fields) {
                return take(&whole, Part::Erroneous(vec![reason]));
            }
        }
        let around = Some((&*around, &*fields)).filter(|_| !fields.is_empty());
        let mut one = |piece: &Piece<'m>, record: &[u8]| {
            let parsed = parse_object(schema, (dates, key), json, (record, &plan.record), around, |line| {
                take(piece, Part::Line(line));
            });
            if let Err(reasons) = parsed {
                take(piece, Part::Erroneous(reasons));
            }
        };
        match content {
            Ok(Content::Record(record)) => one(&whole, &message[record]),
            Ok(Content::Records(array)) => Piece::items(message, &array).for_each(|(piece, item)| one(&piece, item)),
            Ok(Content::Deletion) => take(&whole, Part::Deletion),
            Ok(Content::Nothing) => take(&whole, Part::Nothing),
            Err(reason) => take(&whole, Part::Erroneous(vec![reason])),
        }
    }

    /// Parses a message in the schema's format, and hands its first line to `use_line`.
    ///
    /// # Errors
    /// Every reason why the first record is erroneous; [`Reason::EmptyRecord`] where there is none.
    pub fn parse<T>(&mut self, message: &[u8], use_line: impl FnOnce(&[Value<'_>]) -> T) -> Result<T, Vec<Reason>> {
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
        let (mut use_line, mut first) = (Some(use_line), None);
        self.each_json(raw_len, message, |_, part| {
            first = first.take().or_else(|| match part {
                Part::Line(line) => use_line.take().map(|use_line| Ok(use_line(line))),
                Part::Erroneous(reasons) => Some(Err(reasons)),
                Part::Deletion | Part::Nothing => None,
            });
        });
        first.unwrap_or_else(|| Err(vec![Reason::EmptyRecord]))
    }

    /// Parses one field, the value of column `column`.
    ///
    /// # Errors
    /// The reason why the field is erroneous.
    pub fn parse_value<'a>(&mut self, column: usize, field: &'a [u8]) -> Result<Value<'a>, Reason> {
        let rules = match self.schema.format {
            InputFormat::Csv => &self.schema.csv.texts,
            InputFormat::Json => &TextRules::PLAIN,
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

/// Parses a record that stands where a plan says; columns of the message around it are taken from `around`, which read them.
fn parse_object<T>(
    schema: &Schema,
    (dates, key): (&mut DatetimeParser, &mut String),
    json: &mut JsonReader,
    (record, plan): (&[u8], &Node),
    around: Option<(&JsonReader, &[Field<'_>])>,
    use_line: impl FnOnce(&[Value<'_>]) -> T,
) -> Result<T, Vec<Reason>> {
    let columns = &schema.columns;
    with_room(columns.len(), Field::Absent, |fields| {
        json.read(record, columns, plan, fields).map_err(|reason| vec![reason])?;
        with_room(columns.len(), Value::Missing, |values| {
            let mut reasons = Vec::new();
            for (index, column) in columns.iter().enumerate() {
                let (reader, field) = match around {
                    Some((reader, around)) if column.is_of_message => (reader, around[index]),
                    _ => (&*json, fields[index]),
                };
                match value_of(column, field, reader, &schema.csv.texts, dates) {
                    Ok(value) => values[index] = value,
                    Err(reason) => reasons.push(reason),
                }
            }
            finish(schema, values, reasons, key, use_line)
        })
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

/// Turns the amount of a line into the schema's base currency, where it has one.
///
/// # Errors
/// The currency is unknown, or the amount too large for the base.
pub fn convert(schema: &Schema, line: &mut [Value<'_>]) -> Result<(), Reason> {
    let Some(currency) = &schema.currency else { return Ok(()) };
    let Currency { column, amount, .. } = *currency;
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

/// The value of a column by what a JSON record says of it. Texts are numbers by the rules `numbers`, where they may be any.
fn value_of<'a>(
    column: &Column,
    field: Field<'a>,
    json: &'a JsonReader,
    numbers: &TextRules,
    dates: &mut DatetimeParser,
) -> Result<Value<'a>, Reason> {
    let rules = || match column.kind {
        ColumnType::Integer | ColumnType::Float => numbers,
        ColumnType::Text | ColumnType::Datetime => const { &TextRules::PLAIN },
    };
    let value = match (field, column.kind) {
        (Field::Unfit | Field::Digits, _) if !column.is_read => Ok(Value::Missing),
        (Field::Absent | Field::Null, _) => admit(column, Value::Missing),
        (Field::Twice, _) => Err(Reason::DuplicateField(column.place())),
        (Field::Text(text), _) => parse_text(column, text, rules(), dates),
        (Field::Written(start, end), _) => parse_text(column, json.text(start, end), rules(), dates),
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
mod tests {
    use super::*;
    use crate::csv::FileRecords;
    use crate::dialect::{Dialect, Encoding, NumberStyle};
    use crate::schema::testing::schema;
    use crate::time::DatetimeFormats;
    use proptest::prelude::*;

    const INVOICES: &str =
        "InvoiceNo StockCode Description Quantity:int InvoiceDate:datetime UnitPrice:float CustomerID Country";

    /// Purchases as CSV; an invoice's number, a quantity and a price are needed.
    fn invoices(columns: &str) -> Schema {
        let mut invoices = schema(InputFormat::Csv, columns, &["%m/%d/%Y %H:%M", "%Y-%m-%d %H:%M:%S"]);
        for (name, alias) in [("InvoiceNo", "Invoice"), ("UnitPrice", "Price"), ("CustomerID", "Customer ID")] {
            invoices.column(name).aliases.push(alias.to_owned());
        }
        ["InvoiceNo", "Quantity", "UnitPrice"].into_iter().for_each(|name| invoices.column(name).needed = true);
        invoices.column("UnitPrice").range.0 = 0.0;
        invoices
    }

    fn parser() -> LineParser {
        LineParser::new(Arc::new(invoices(INVOICES)))
    }

    fn reasons(record: &[u8]) -> Vec<String> {
        match parser().parse(record, |_| ()) {
            Ok(()) => Vec::new(),
            Err(reasons) => reasons.iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn a_real_line_has_its_values() {
        let line = b"489434,22041,\"RECORD FRAME 7\"\" SINGLE, BLACK\",48,12/1/2009 7:45,2.1,13085,United Kingdom";
        let check = |values: &[Value<'_>]| {
            assert_eq!(values[0], Value::Text("489434"));
            assert_eq!(values[2], Value::Text("RECORD FRAME 7\" SINGLE, BLACK"));
            assert_eq!(values[3], Value::Integer(48));
            assert_eq!(values[5], Value::Float(2.1));
        };
        parser().parse(line, check).unwrap();
    }

    #[test]
    fn every_kind_of_bad_record_has_its_reason() {
        let cases: [(&[u8], &[&str]); 16] = [
            (b"", &["empty_record"]),
            (b"\n", &["not_one_record"]),
            (b"1,2,3", &["too_few_fields"]),
            (b"1,s,d,1,9/1/2010 9:22,1.0,c,UK,extra", &["too_many_fields"]),
            (b"1,s,\"d,1,9/1/2010 9:22,1.0,c,UK", &["unclosed_quote"]),
            (b"InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country", &["header_line"]),
            (b"Invoice,StockCode,Description,Quantity,InvoiceDate,Price,Customer ID,Country", &["header_line"]),
            (b"1,s,\xFF\xFE,1,9/1/2010 9:22,1.0,c,UK", &["invalid_utf8:Description"]),
            (b",s,d,1,9/1/2010 9:22,1.0,c,UK", &["missing_value:InvoiceNo"]),
            (b"1,s,d,,9/1/2010 9:22,,c,UK", &["missing_value:Quantity", "missing_value:UnitPrice"]),
            (b"1,s,d,1.5,9/1/2010 9:22,x,c,UK", &["not_an_integer:Quantity", "not_a_number:UnitPrice"]),
            (b"1,s,d,99999999999999999999,9/1/2010 9:22,1.0,c,UK", &["out_of_range:Quantity"]),
            (b"1,s,d,1,9/1/2010 9:22,-0.01,c,UK", &["out_of_range:UnitPrice"]),
            (b"1,s,d,1,9/1/2010 9:22,inf,c,UK", &["not_finite:UnitPrice"]),
            (b"1,s,d,1,9/1/2010 9:22,1e999,c,UK", &["not_finite:UnitPrice"]),
            (b"1,s,d,1,2/30/2010 9:22,1.0,c,UK", &["not_a_datetime:InvoiceDate"]),
        ];
        for (record, expected) in cases {
            assert_eq!(reasons(record), expected, "{}", String::from_utf8_lossy(record));
        }
        assert_eq!(reasons(&vec![b'x'; (1 << 20) + 1]), ["record_too_large"]);
    }

    #[test]
    fn a_text_that_names_something_has_a_longest_length_in_every_format() {
        let (at_most, longer) = ("k".repeat(8), "é".repeat(4) + "k");
        for (format, write) in [
            (InputFormat::Csv, (|key| format!("{key},1")) as fn(&str) -> String),
            (InputFormat::Json, |key| format!(r#"{{"key":"{key}","n":1}}"#)),
            // A text with an escape is put together elsewhere than one without.
            (InputFormat::Json, |key| format!(r#"{{"key":"{}","n":1}}"#, key.replace('k', "\\u006b"))),
        ] {
            let mut schema = schema(format, "key n:int", &[]);
            schema.column("key").max_bytes = Some(8);
            let mut parser = LineParser::new(Arc::new(schema));
            let mut reasons = |key: &str| parser.parse(write(key).as_bytes(), |_| ()).err();
            assert_eq!(reasons(&at_most), None);
            assert_eq!(reasons(&longer), Some(vec![Reason::KeyTooLong("key".to_owned())]), "{}", write(&longer));
        }
    }

    #[test]
    fn a_missing_date_customer_or_country_is_no_matter_of_the_line() {
        assert!(reasons(b"1,s,d,1,,1.0,,").is_empty());
    }

    #[test]
    fn a_header_may_reorder_and_rename() {
        let schema = invoices(INVOICES);
        let header = [
            "Country",
            "Invoice",
            "StockCode",
            "Description",
            "Quantity",
            "InvoiceDate",
            "Price",
            "Customer ID",
            "Extra",
        ];
        let order = Order::from_header(&header, &schema.columns).unwrap();
        assert_eq!(order, Order::Header { fields: [1, 2, 3, 4, 5, 6, 7, 0].map(Some).to_vec(), width: 9 });
        let missing = Order::from_header(&["InvoiceNo", "Country"], &schema.columns).unwrap_err();
        let lacks = ["StockCode", "Description", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID"];
        assert_eq!(missing, HeaderFault::Missing(lacks.map(str::to_owned).to_vec()));
        // One column cannot be two.
        let twice = Order::from_header(&["Price", "InvoiceNo", "UnitPrice"], &schema.columns).unwrap_err();
        let names = ["Price".to_owned(), "UnitPrice".to_owned()];
        assert_eq!(twice, HeaderFault::Twice { column: "UnitPrice".to_owned(), names });
    }

    #[test]
    fn an_optional_column_may_be_absent_from_a_header() {
        let columns = INVOICES.replace("Description", "Description?").replace("UnitPrice:float", "UnitPrice:float?");
        let schema = Arc::new(invoices(&columns));
        let order = |header: &str| Order::from_header(&header.split(',').collect::<Vec<_>>(), &schema.columns);
        let parse = |order: &Order, record: &[u8]| {
            let mut parser = LineParser::new(Arc::clone(&schema));
            let mut records = FileRecords::new(record, &schema.csv, 1 << 20).unwrap();
            let record = records.next_record().unwrap().unwrap();
            parser.parse_file_record(&record, order, |line| (line[1].text().map(str::to_owned), line[2].is_missing()))
        };
        let header = "Price,InvoiceNo,StockCode,Quantity,InvoiceDate,CustomerID,Country";
        let short = order(header).unwrap();
        assert_eq!(parse(&short, b"1.5,1,s,2,,,"), Ok((Some("s".to_owned()), true)));
        assert_eq!(parse(&short, header.as_bytes()), Err(vec![Reason::HeaderLine]));
        assert_eq!(parse(&short, b"1.5,1,s,2,,,,"), Err(vec![Reason::TooManyFields]));
        // A feature reads the price, so a file without it has no valid line.
        let priceless = order(&header[6..]).unwrap();
        assert_eq!(parse(&priceless, b"1,s,2,,,"), Err(vec![Reason::MissingValue("UnitPrice".into())]));
        assert_eq!(
            order("InvoiceNo,Price").unwrap_err(),
            HeaderFault::Missing(
                ["StockCode", "Quantity", "InvoiceDate", "CustomerID", "Country"].map(str::to_owned).to_vec()
            )
        );
        // A message has no header: its fields are as declared.
        assert_eq!(
            LineParser::new(Arc::clone(&schema)).parse(b"1,s,2,,1.5,,", |_| ()),
            Err(vec![Reason::TooFewFields])
        );
    }

    #[test]
    fn a_number_that_is_missing_is_what_the_pipeline_file_has_for_it() {
        let mut schema = invoices(INVOICES);
        (schema.column("UnitPrice").if_missing, schema.column("Quantity").if_missing) = (Some(2.5), Some(3.0));
        let mut parser = LineParser::new(Arc::new(schema));
        let numbers = parser.parse(b"1,s,d,,9/1/2010 9:22,,c,UK", |line| {
            assert_eq!((line[3], line[5]), (Value::Integer(3), Value::Float(2.5)));
        });
        assert_eq!(numbers, Ok(()));
    }

    #[test]
    fn what_stands_for_nothing_is_nothing() {
        assert_eq!(
            reasons(b"1,s,d,NULL,9/1/2010 9:22,\\N,c,UK"),
            ["missing_value:Quantity", "missing_value:UnitPrice"]
        );
        assert_eq!(reasons(b"nan,s,d,1,9/1/2010 9:22,1,c,UK"), ["missing_value:InvoiceNo"]);
        // In JSON, null does.
        let json = schema(InputFormat::Json, "key n:float", &[]);
        let text = LineParser::new(Arc::new(json)).parse(br#"{"key":"null","n":1}"#, |line| line[0].text().is_some());
        assert_eq!(text, Ok(true));
    }

    #[test]
    fn what_nobody_reads_may_be_anything() {
        let mut csv = invoices(INVOICES);
        ["Description", "StockCode", "InvoiceDate"].into_iter().for_each(|name| csv.column(name).is_read = false);
        let mut parser = LineParser::new(Arc::new(csv));
        assert_eq!(parser.parse(b"1,s\xFF,\xA35 OFF,1,yesterday,1.0,c,UK", |line| line[2].is_missing()), Ok(true));
        let mut json = schema(InputFormat::Json, "key note n:int", &[]);
        ["note", "n"].into_iter().for_each(|name| json.column(name).is_read = false);
        let mut parser = LineParser::new(Arc::new(json));
        assert_eq!(parser.parse(br#"{"key":"k","note":{"a":[1]},"n":true}"#, |_| ()), Ok(()));
    }

    #[test]
    fn an_id_is_the_same_however_it_is_written() {
        for (format, records) in [
            (InputFormat::Csv, [&b"13085.0,1"[..], b"13085,1"]),
            (InputFormat::Json, [&br#"{"id":13085.0,"n":1}"#[..], br#"{"id":"13085","n":1.0}"#]),
        ] {
            let mut schema = schema(format, "id n:int", &[]);
            schema.column("id").max_bytes = Some(100);
            let mut parser = LineParser::new(Arc::new(schema));
            for record in records {
                let id = parser.parse(record, |line| (line[0].text() == Some("13085"), line[1] == Value::Integer(1)));
                assert_eq!(id, Ok((true, true)), "{}", String::from_utf8_lossy(record));
            }
        }
    }

    #[test]
    fn a_european_record_is_read() {
        let mut schema = schema(InputFormat::Csv, "Rechnung Betrag:float Menge:int Datum:datetime Land", &[]);
        schema.datetime_formats = DatetimeFormats::read(&["%d.%m.%Y %H:%M"], Some("Europe/Berlin")).unwrap();
        let mut dialect = Dialect { delimiter: b';', ..Dialect::default() };
        dialect.encoding = Encoding::of("latin1").unwrap();
        dialect.texts.numbers = NumberStyle { decimal: ',', thousands: Some('.'), currency_signs: true };
        schema.csv = dialect;
        let mut parser = LineParser::new(Arc::new(schema));
        let parsed = parser.parse(b"17;\"1.234,50 \x80\";1.000;01.12.2010 8:26;\xD6sterreich", |line| {
            assert_eq!(line[1], Value::Float(1234.5));
            assert_eq!(line[2], Value::Integer(1000));
            assert_eq!(line[3].datetime().map(crate::time::format_timestamp).as_deref(), Some("2010-12-01T07:26:00Z"));
            assert_eq!(line[4], Value::Text("Österreich"));
        });
        assert_eq!(parsed, Ok(()));
    }

    #[test]
    fn a_moment_may_be_a_number() {
        for (format, record) in [
            (InputFormat::Csv, &b"1283332920000,1"[..]),
            (InputFormat::Json, br#"{"at":1283332920000,"n":1}"#),
            (InputFormat::Json, br#"{"at":"1283332920000","n":1}"#),
            (InputFormat::Json, br#"{"at":1283332920000.0,"n":1}"#),
        ] {
            let mut parser = LineParser::new(Arc::new(schema(format, "at:datetime n:int", &["rfc3339", "unix_ms"])));
            let at = parser.parse(record, |line| line[0].datetime());
            assert_eq!(at, Ok(Some(1_283_332_920_000)), "{}", String::from_utf8_lossy(record));
        }
        // Where no format takes numbers, a number is no moment.
        let mut parser = LineParser::new(Arc::new(schema(InputFormat::Json, "at:datetime n:int", &["rfc3339"])));
        let reasons = parser.parse(br#"{"at":1283332920000,"n":1}"#, |_| ()).unwrap_err();
        assert_eq!(reasons, [Reason::NotADatetime("at".to_owned())]);
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parser().parse(&bytes, |_| ());
        }

        #[test]
        fn what_was_written_is_read(quantity in any::<i64>(), price in 0.0f64..1e12, customer in "[0-9]{5}") {
            let record = format!("536365,85123A,d,{quantity},12/1/2010 8:26,{price},{customer},France");
            let (read_quantity, read_price) = parser().parse(record.as_bytes(), |values| (match values[3] {
                Value::Integer(n) => n, _ => panic!("no integer") },
                match values[5] { Value::Float(x) => x, _ => panic!("no float") })).unwrap();
            prop_assert_eq!(read_quantity, quantity);
            prop_assert_eq!(read_price, price);
        }
    }
}
