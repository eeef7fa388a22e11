//! What is valid in a line, and what is not.

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
    let header =
        ["Country", "Invoice", "StockCode", "Description", "Quantity", "InvoiceDate", "Price", "Customer ID", "Extra"];
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
    assert_eq!(LineParser::new(Arc::clone(&schema)).parse(b"1,s,2,,1.5,,", |_| ()), Err(vec![Reason::TooFewFields]));
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
    assert_eq!(reasons(b"1,s,d,NULL,9/1/2010 9:22,\\N,c,UK"), ["missing_value:Quantity", "missing_value:UnitPrice"]);
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
