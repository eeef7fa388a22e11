//! From the bytes of a record to the values of a line: the one definition of what is valid.
//!
//! The trainer feeds records of files, the scorer messages of a stream; both get the same values or the same
//! reasons.

use std::sync::Arc;

use crate::pipeline::{Column, ColumnType, Pipeline};
use crate::reason::Reason;
use crate::records::{Fields, Splitter};
use crate::time::{DatetimeParser, Timestamp};

/// One value of a line.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// The field was empty.
    Missing,
    /// Text, without white space around it.
    Text(&'a str),
    /// A whole number.
    Integer(i64),
    /// A finite number.
    Float(f64),
    /// A moment.
    Datetime(Timestamp),
}

impl<'a> Value<'a> {
    /// Whether the field was empty.
    pub fn is_missing(self) -> bool {
        self == Self::Missing
    }

    /// The text, when it is one.
    pub fn text(self) -> Option<&'a str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    /// The moment, when it is one.
    pub fn datetime(self) -> Option<Timestamp> {
        if let Self::Datetime(moment) = self { Some(moment) } else { None }
    }
}

/// Parses records of one pipeline.
#[derive(Debug, Clone)]
pub struct LineParser {
    pipeline: Arc<Pipeline>,
    splitter: Splitter,
    dates: DatetimeParser,
}

impl LineParser {
    /// A parser for records of `pipeline`.
    pub fn new(pipeline: Arc<Pipeline>) -> Self {
        let dates = DatetimeParser::new(&pipeline.datetime_formats);
        Self { pipeline, splitter: Splitter::new(), dates }
    }

    /// Parses a message that holds one record, and hands the line, one value a column, to `use_line`.
    ///
    /// # Errors
    /// Every reason why the record is erroneous.
    pub fn parse<T>(&mut self, record: &[u8], use_line: impl FnOnce(&[Value<'_>]) -> T) -> Result<T, Vec<Reason>> {
        let Self { pipeline, splitter, dates } = self;
        if record.is_empty() {
            return Err(vec![Reason::EmptyRecord]);
        }
        if record.len() > pipeline.max_record_bytes {
            return Err(vec![Reason::RecordTooLarge]);
        }
        let fields = splitter.split_one(record).ok_or_else(|| vec![Reason::NotOneRecord])?;
        parse_fields(pipeline, dates, fields, &Order::Same, use_line)
    }

    /// Parses a record of a file that was taken apart already; `order` maps columns to its fields.
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
        if raw_len > self.pipeline.max_record_bytes {
            return Err(vec![Reason::RecordTooLarge]);
        }
        parse_fields(&self.pipeline, &mut self.dates, fields, order, use_line)
    }

    /// Parses one field, the value of column `column`.
    ///
    /// # Errors
    /// The reason why the field is erroneous.
    pub fn parse_value<'a>(&mut self, column: usize, field: &'a [u8]) -> Result<Value<'a>, Reason> {
        parse_value(&self.pipeline.columns[column], field, &mut self.dates)
    }
}

/// Where a column stands in a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// As the pipeline declares them, as on the stream.
    Same,
    /// As a file's header says: `fields[i]` is the place of column `i` among `width` fields.
    Header {
        /// Place of each column.
        fields: Vec<usize>,
        /// How many fields a record of this file has.
        width: usize,
    },
}

impl Order {
    /// The order that a file's header gives, by names and aliases.
    ///
    /// # Errors
    /// The names of the columns that the header lacks.
    pub fn from_header(header: &[&str], columns: &[Column]) -> Result<Self, Vec<String>> {
        let place = |column: &Column| header.iter().position(|name| column.is_called(name.trim()));
        let missing: Vec<String> =
            columns.iter().filter(|column| place(column).is_none()).map(|column| column.name.clone()).collect();
        if !missing.is_empty() {
            return Err(missing);
        }
        let fields: Vec<usize> = columns.iter().filter_map(place).collect();
        let same = header.len() == columns.len() && fields.iter().enumerate().all(|(index, &field)| index == field);
        Ok(if same { Self::Same } else { Self::Header { fields, width: header.len() } })
    }

    fn width(&self, columns: usize) -> usize {
        match self {
            Self::Same => columns,
            Self::Header { width, .. } => *width,
        }
    }

    /// The field that holds column `index`.
    pub fn field(&self, index: usize) -> usize {
        match self {
            Self::Same => index,
            Self::Header { fields, .. } => fields[index],
        }
    }
}

fn parse_fields<T>(
    pipeline: &Pipeline,
    dates: &mut DatetimeParser,
    fields: &Fields,
    order: &Order,
    use_line: impl FnOnce(&[Value<'_>]) -> T,
) -> Result<T, Vec<Reason>> {
    let columns = &pipeline.columns;
    let width = order.width(columns.len());
    if fields.len() != width {
        return Err(vec![if fields.len() < width { Reason::TooFewFields } else { Reason::TooManyFields }]);
    }
    let mut reasons = Vec::new();
    let mut values = [Value::Missing; 32];
    let mut many = Vec::new();
    // Wide records are rare: only they pay for an allocation.
    let values = if columns.len() <= values.len() {
        &mut values[..columns.len()]
    } else {
        many.resize(columns.len(), Value::Missing);
        &mut many[..]
    };
    for (index, column) in columns.iter().enumerate() {
        match parse_value(column, fields.get(order.field(index)), dates) {
            Ok(value) => values[index] = value,
            Err(reason) => reasons.push(reason),
        }
    }
    if reasons.is_empty() {
        return Ok(use_line(values));
    }
    if is_header(columns, fields, order) {
        reasons = vec![Reason::HeaderLine];
    }
    Err(reasons)
}

fn is_header(columns: &[Column], fields: &Fields, order: &Order) -> bool {
    let called = |(index, column): (usize, &Column)| {
        std::str::from_utf8(fields.get(order.field(index))).is_ok_and(|name| column.is_called(name.trim()))
    };
    columns.iter().enumerate().all(called)
}

fn parse_value<'a>(column: &Column, field: &'a [u8], dates: &mut DatetimeParser) -> Result<Value<'a>, Reason> {
    let name = || column.name.clone();
    let text = std::str::from_utf8(field).map_err(|_| Reason::InvalidUtf8(name()))?.trim();
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

/// The value, when the rules of its column allow it: there when it is needed, finite, and in range.
///
/// # Errors
/// The rule that it breaks.
pub fn admit<'a>(column: &Column, value: Value<'a>) -> Result<Value<'a>, Reason> {
    let name = || column.name.clone();
    match value {
        Value::Missing if column.needed => Err(Reason::MissingValue(name())),
        Value::Integer(number) if !in_range(column, number as f64) => Err(Reason::OutOfRange(name())),
        Value::Float(number) if !number.is_finite() => Err(Reason::NotFinite(name())),
        Value::Float(number) if !in_range(column, number) => Err(Reason::OutOfRange(name())),
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
    use proptest::prelude::*;

    fn parser() -> LineParser {
        LineParser::new(Arc::new(Pipeline::load("invoices").unwrap()))
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
    fn a_missing_date_customer_or_country_is_no_matter_of_the_line() {
        assert!(reasons(b"1,s,d,1,,1.0,,").is_empty());
    }

    #[test]
    fn a_header_may_reorder_and_rename() {
        let pipeline = Pipeline::load("invoices").unwrap();
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
        let order = Order::from_header(&header, &pipeline.columns).unwrap();
        assert_eq!(order, Order::Header { fields: vec![1, 2, 3, 4, 5, 6, 7, 0], width: 9 });
        let missing = Order::from_header(&["InvoiceNo", "Country"], &pipeline.columns).unwrap_err();
        assert_eq!(missing[0], "StockCode");
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
