//! From the bytes of a record to the values of a line: the one definition of what is valid.
//!
//! The trainer feeds records of files, the scorer messages of a stream; both get the same values or the same
//! reasons.

use std::sync::Arc;

use crate::csv::{Fields, Splitter};
use crate::json::{Field, JsonReader};
use crate::reason::Reason;
use crate::schema::{Column, ColumnType, Currency, InputFormat, Schema};
use crate::time::DatetimeParser;
use crate::value::Value;

/// Parses records of one schema.
#[derive(Debug, Clone)]
pub struct LineParser {
    schema: Arc<Schema>,
    splitter: Splitter,
    json: JsonReader,
    dates: DatetimeParser,
}

impl LineParser {
    /// A parser for records of `schema`.
    pub fn new(schema: Arc<Schema>) -> Self {
        let dates = DatetimeParser::new(&schema.datetime_formats);
        Self { schema, splitter: Splitter::new(), json: JsonReader::default(), dates }
    }

    /// Parses a message that holds one record in the schema's format, and hands the line, one value a column, to
    /// `use_line`.
    ///
    /// # Errors
    /// Every reason why the record is erroneous.
    pub fn parse<T>(&mut self, record: &[u8], use_line: impl FnOnce(&[Value<'_>]) -> T) -> Result<T, Vec<Reason>> {
        if record.is_empty() {
            return Err(vec![Reason::EmptyRecord]);
        }
        let Self { schema, splitter, json, dates } = self;
        if record.len() > schema.max_record_bytes {
            return Err(vec![Reason::RecordTooLarge]);
        }
        match schema.format {
            InputFormat::Json => parse_object(schema, dates, json, record, use_line),
            InputFormat::Csv => {
                let fields = splitter.split_one(record).ok_or_else(|| vec![Reason::NotOneRecord])?;
                parse_fields(schema, dates, fields, &Order::Same, use_line)
            }
        }
    }

    /// Parses a CSV record of a file that was taken apart already; `order` maps columns to its fields.
    ///
    /// # Errors
    /// Every reason why the record is erroneous.
    pub fn parse_fields<T>(
        &mut self,
        raw_len: usize,
        fields: &Fields,
        order: &Order,
        use_line: impl FnOnce(&[Value<'_>]) -> T,
    ) -> Result<T, Vec<Reason>> {
        if raw_len > self.schema.max_record_bytes {
            return Err(vec![Reason::RecordTooLarge]);
        }
        parse_fields(&self.schema, &mut self.dates, fields, order, use_line)
    }

    /// Parses a JSON record, which has `raw_len` bytes where it comes from.
    ///
    /// # Errors
    /// Every reason why the record is erroneous.
    pub fn parse_json<T>(
        &mut self,
        raw_len: usize,
        record: &[u8],
        use_line: impl FnOnce(&[Value<'_>]) -> T,
    ) -> Result<T, Vec<Reason>> {
        if raw_len > self.schema.max_record_bytes {
            return Err(vec![Reason::RecordTooLarge]);
        }
        parse_object(&self.schema, &mut self.dates, &mut self.json, record, use_line)
    }

    /// Parses one field, the value of column `column`.
    ///
    /// # Errors
    /// The reason why the field is erroneous.
    pub fn parse_value<'a>(&mut self, column: usize, field: &'a [u8]) -> Result<Value<'a>, Reason> {
        parse_value(&self.schema.columns[column], field, &mut self.dates)
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

impl Order {
    /// The order that a file's header gives, by names and aliases.
    ///
    /// # Errors
    /// The names of the columns that the header lacks; optional ones it may lack.
    pub fn from_header(header: &[&str], columns: &[Column]) -> Result<Self, Vec<String>> {
        let place = |column: &Column| header.iter().position(|name| column.is_called(name.trim()));
        let fields: Vec<Option<usize>> = columns.iter().map(place).collect();
        let lacks = |(column, field): &(&Column, &Option<usize>)| field.is_none() && !column.optional;
        let missing: Vec<String> =
            columns.iter().zip(&fields).filter(lacks).map(|(column, _)| column.name.clone()).collect();
        if !missing.is_empty() {
            return Err(missing);
        }
        let is_same = header.len() == columns.len() && fields.iter().enumerate().all(|(i, &field)| field == Some(i));
        Ok(if is_same { Self::Same } else { Self::Header { fields, width: header.len() } })
    }

    fn width(&self, columns: usize) -> usize {
        match self {
            Self::Same => columns,
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
    dates: &mut DatetimeParser,
    fields: &Fields,
    order: &Order,
    use_line: impl FnOnce(&[Value<'_>]) -> T,
) -> Result<T, Vec<Reason>> {
    let columns = &schema.columns;
    let width = order.width(columns.len());
    if fields.len() != width {
        return Err(vec![if fields.len() < width { Reason::TooFewFields } else { Reason::TooManyFields }]);
    }
    with_room(columns.len(), Value::Missing, |values| {
        let mut reasons = Vec::new();
        for (index, column) in columns.iter().enumerate() {
            let value = match order.field(index) {
                Some(field) => parse_value(column, fields.get(field), dates),
                None => admit(column, Value::Missing),
            };
            match value {
                Ok(value) => values[index] = value,
                Err(reason) => reasons.push(reason),
            }
        }
        let result = finish(schema, values, reasons, use_line);
        if result.is_err() && is_header(columns, fields, order) { Err(vec![Reason::HeaderLine]) } else { result }
    })
}

fn parse_object<T>(
    schema: &Schema,
    dates: &mut DatetimeParser,
    json: &mut JsonReader,
    record: &[u8],
    use_line: impl FnOnce(&[Value<'_>]) -> T,
) -> Result<T, Vec<Reason>> {
    let columns = &schema.columns;
    with_room(columns.len(), Field::Absent, |fields| {
        json.read(record, columns, fields).map_err(|reason| vec![reason])?;
        with_room(columns.len(), Value::Missing, |values| {
            let mut reasons = Vec::new();
            for (index, column) in columns.iter().enumerate() {
                match value_of(column, fields[index], json, dates) {
                    Ok(value) => values[index] = value,
                    Err(reason) => reasons.push(reason),
                }
            }
            finish(schema, values, reasons, use_line)
        })
    })
}

/// Hands `act` so many slots. Wide records are rare: only they pay for an allocation.
fn with_room<S: Copy, T>(slots: usize, empty: S, act: impl FnOnce(&mut [S]) -> T) -> T {
    const USUAL: usize = 32;
    if slots <= USUAL { act(&mut [empty; USUAL][..slots]) } else { act(&mut vec![empty; slots]) }
}

/// What is left once each column has its value: what values say of each other.
fn finish<T>(
    schema: &Schema,
    values: &mut [Value<'_>],
    mut reasons: Vec<Reason>,
    use_line: impl FnOnce(&[Value<'_>]) -> T,
) -> Result<T, Vec<Reason>> {
    if let Err(reason) = convert(schema, values) {
        reasons.push(reason);
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

fn is_header(columns: &[Column], fields: &Fields, order: &Order) -> bool {
    let is_name = |column: &Column, field: usize| {
        std::str::from_utf8(fields.get(field)).is_ok_and(|name| column.is_called(name.trim()))
    };
    // Columns that the file does not have say nothing.
    let mut found = columns.iter().enumerate().filter_map(|(index, column)| Some((column, order.field(index)?)));
    found.all(|(column, field)| is_name(column, field))
}

/// The value of a column by what a JSON record says of it.
fn value_of<'a>(
    column: &Column,
    field: Field<'a>,
    json: &'a JsonReader,
    dates: &mut DatetimeParser,
) -> Result<Value<'a>, Reason> {
    match (field, column.kind) {
        (Field::Absent | Field::Null, _) => admit(column, Value::Missing),
        (Field::Twice, _) => Err(Reason::DuplicateField(column.name.clone())),
        (Field::Text(text), _) => parse_text(column, text, dates),
        (Field::Written(start, end), _) => parse_text(column, json.text(start, end), dates),
        (Field::Integer(number), ColumnType::Float) => admit(column, Value::Float(number as f64)),
        (Field::Integer(number), _) => admit(column, Value::Integer(number)),
        (Field::Float(number), _) => admit(column, Value::Float(number)),
        (Field::Unfit | Field::Digits, kind) => Err(match kind {
            ColumnType::Text => Reason::NotAText(column.name.clone()),
            ColumnType::Integer => Reason::NotAnInteger(column.name.clone()),
            ColumnType::Float => Reason::NotANumber(column.name.clone()),
            ColumnType::Datetime => Reason::NotADatetime(column.name.clone()),
        }),
    }
}

fn parse_value<'a>(column: &Column, field: &'a [u8], dates: &mut DatetimeParser) -> Result<Value<'a>, Reason> {
    let text = std::str::from_utf8(field).map_err(|_| Reason::InvalidUtf8(column.name.clone()))?;
    parse_text(column, text, dates)
}

fn parse_text<'a>(column: &Column, text: &'a str, dates: &mut DatetimeParser) -> Result<Value<'a>, Reason> {
    let name = || column.name.clone();
    let text = text.trim();
    if text.is_empty() {
        return admit(column, Value::Missing);
    }
    let value = match column.kind {
        ColumnType::Text => Value::Text(text),
        ColumnType::Integer => parse_integer(text).map(Value::Integer).map_err(|problem| match problem {
            NotInteger::TooLarge => Reason::OutOfRange(name()),
            NotInteger::NoInteger => Reason::NotAnInteger(name()),
        })?,
        ColumnType::Float => text.parse().map(Value::Float).map_err(|_| Reason::NotANumber(name()))?,
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
    let name = || column.name.clone();
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

enum NotInteger {
    TooLarge,
    NoInteger,
}

fn parse_integer(text: &str) -> Result<i64, NotInteger> {
    use std::num::IntErrorKind::{NegOverflow, PosOverflow};
    text.parse::<i64>().map_err(|error| match error.kind() {
        PosOverflow | NegOverflow => NotInteger::TooLarge,
        _ => NotInteger::NoInteger,
    })
}

fn in_range(column: &Column, number: f64) -> bool {
    column.range.0 <= number && number <= column.range.1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::testing::schema;
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
            (b"1,s,\"d,1,9/1/2010 9:22,1.0,c,UK", &["too_few_fields"]),
            (b"InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country", &["header_line"]),
            (b"Invoice,StockCode,Description,Quantity,InvoiceDate,Price,Customer ID,Country", &["header_line"]),
            (b"1,s,\xFF\xFE,1,9/1/2010 9:22,1.0,c,UK", &["invalid_utf8:Description"]),
            (b",s,d,1,9/1/2010 9:22,1.0,c,UK", &["missing_value:InvoiceNo"]),
            (b"1,s,d,,9/1/2010 9:22,,c,UK", &["missing_value:Quantity", "missing_value:UnitPrice"]),
            (b"1,s,d,1.5,9/1/2010 9:22,x,c,UK", &["not_an_integer:Quantity", "not_a_number:UnitPrice"]),
            (b"1,s,d,99999999999999999999,9/1/2010 9:22,1.0,c,UK", &["out_of_range:Quantity"]),
            (b"1,s,d,1,9/1/2010 9:22,-0.01,c,UK", &["out_of_range:UnitPrice"]),
            (b"1,s,d,1,9/1/2010 9:22,NaN,c,UK", &["not_finite:UnitPrice"]),
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
        assert_eq!(missing[0], "StockCode");
    }

    #[test]
    fn an_optional_column_may_be_absent_from_a_header() {
        let columns = INVOICES.replace("Description", "Description?").replace("UnitPrice:float", "UnitPrice:float?");
        let schema = Arc::new(invoices(&columns));
        let order = |header: &str| Order::from_header(&header.split(',').collect::<Vec<_>>(), &schema.columns);
        let parse = |order: &Order, record: &[u8]| {
            let (mut splitter, mut parser) = (Splitter::new(), LineParser::new(Arc::clone(&schema)));
            let fields = splitter.split_one(record).unwrap();
            parser.parse_fields(record.len(), fields, order, |line| {
                (line[1].text().map(str::to_owned), line[2].is_missing())
            })
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
            ["StockCode", "Quantity", "InvoiceDate", "CustomerID", "Country"]
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
