use std::sync::Arc;

use proptest::prelude::*;
use serde_json::json;

use crate::line::{LineParser, Part};
use crate::schema::testing::schema;
use crate::schema::{Currency, Envelope, InputFormat, MessageShape, RecordsAt, Schema};
use crate::value::Value;

const COLUMNS: &str = "id user amount:float count:int when:datetime note? latitude:float?";

/// JSON records with these columns, of which the id and the amount are needed.
fn records(columns: &str) -> Schema {
    let mut records = schema(InputFormat::Json, columns, &["rfc3339", "%Y-%m-%d %H:%M:%S"]);
    records.column("user").aliases = ["user_id", "customer"].map(str::to_owned).to_vec();
    ["id", "amount"].into_iter().for_each(|name| records.column(name).needed = true);
    records
}

/// The same with amounts in the currency that the user stands for.
fn with_currency() -> Schema {
    let rates = [("USD", 0.5), ("XXX", 1e300)].map(|(name, rate)| (name.to_owned(), rate)).into();
    let currency = Currency { column: 1, amount: 2, original: None, base: "EUR".to_owned(), rates };
    Schema { currency: Some(currency), ..records(COLUMNS) }
}

/// The values of a line, or the reasons why it is none, as text: NaN is not among them, and -0.0 is not 0.0.
type Outcome = Result<Vec<String>, Vec<String>>;

fn outcome(schema: Schema, record: &[u8]) -> Outcome {
    let parsed =
        LineParser::new(Arc::new(schema)).parse(record, |line| line.iter().map(|value| format!("{value:?}")).collect());
    parsed.map_err(|reasons| reasons.iter().map(ToString::to_string).collect())
}

fn reasons(record: impl AsRef<[u8]>) -> Vec<String> {
    outcome(records(COLUMNS), record.as_ref()).err().unwrap_or_default()
}

/// A record that is valid but for `fields`, which come first.
fn with(fields: &str) -> String {
    format!(r#"{{{fields}"id":"1","amount":1.5,"other":{{"a":[1,{{}}]}}}}"#)
}

/// The value of column `index` of a record that is valid.
fn value(index: usize, record: &str) -> String {
    outcome(records(COLUMNS), record.as_bytes()).unwrap_or_else(|reasons| panic!("{record}: {reasons:?}"))[index]
        .clone()
}

#[test]
fn a_record_has_its_values() {
    let record = br#" {"when":"2026-03-01T10:00:00.250+02:00","amount":-12.5e1,"unknown":[{"id":2}],"count":-7,
        "latitude":null,"customer":"\u00e9ric \"\\\ud83d\ude00","id":"a b"} "#;
    let check = |line: &[Value<'_>]| {
        assert_eq!(line[0], Value::Text("a b"));
        assert_eq!(line[1], Value::Text("\u{e9}ric \"\\\u{1f600}"));
        assert_eq!((line[2], line[3]), (Value::Float(-125.0), Value::Integer(-7)));
        assert_eq!(line[4], Value::Datetime(1_772_352_000_250));
        assert_eq!((line[5], line[6]), (Value::Missing, Value::Missing));
        // What stands in the record is not copied.
        let place = line[0].text().unwrap().as_ptr();
        assert!(record.as_ptr_range().contains(&place));
    };
    LineParser::new(Arc::new(records(COLUMNS))).parse(record, check).unwrap();
}

#[test]
fn every_kind_of_bad_record_has_its_reason() {
    let cases: &[(&str, &[&str])] = &[
        ("", &["empty_record"]),
        (" ", &["not_json"]),
        ("\u{feff}", &["not_json"]),
        ("null", &["not_json"]),
        ("[]", &["not_json"]),
        ("1,2,3", &["not_json"]),
        (r#""id""#, &["not_json"]),
        (r#"{"id":"1","amount":1"#, &["not_json"]),
        (r#"{"id":"1","amount":1,}"#, &["not_json"]),
        (r#"{"id":"1","amount":1} x"#, &["not_json"]),
        (r#"{"id":"1","amount":1}{"id":"2","amount":2}"#, &["not_json"]),
        (r#"{"id":"1","amount":01}"#, &["not_json"]),
        (r#"{"id":"1","amount":NaN}"#, &["not_json"]),
        (r#"{"id":"1","amount":1,"x":"\ud800"}"#, &["not_json"]),
        (r#"{"id":"1","amount":1,"x":1e400}"#, &["not_json"]),
        ("{}", &["missing_value:id", "missing_value:amount"]),
        (r#"{"id":"  ","amount":null}"#, &["missing_value:id", "missing_value:amount"]),
        (r#"{"id":"1","amount":"12.5"}"#, &["not_a_number:amount"]),
        (r#"{"id":"1","amount":""}"#, &["not_a_number:amount"]),
        (r#"{"amount":true,"id":false}"#, &["not_a_text:id", "not_a_number:amount"]),
        (r#"{"id":{"a":1},"amount":[1]}"#, &["not_a_text:id", "not_a_number:amount"]),
        (r#"{"id":"1","amount":1e400,"note":7}"#, &["not_finite:amount"]),
        (r#"{"id":"1","amount":1,"count":1e400}"#, &["out_of_range:count"]),
    ];
    for (record, expected) in cases {
        assert_eq!(reasons(record), *expected, "{record}");
    }
    assert_eq!(reasons(vec![b' '; (1 << 20) + 1]), ["record_too_large"]);
    assert_eq!(reasons(b"{\"id\":\"1\",\"amount\":1,\"note\":\"\xFF\"}"), ["invalid_utf8:note"]);
    assert_eq!(reasons(b"{\"id\":\"1\",\"amount\":1,\"\xFF\":1}"), ["not_json"]);
}

#[test]
fn integers_are_whole_and_dates_are_texts() {
    for (field, expected) in [
        ("1.5", "not_an_integer:count"),
        ("\"5\"", "not_an_integer:count"),
        ("[5]", "not_an_integer:count"),
        ("9223372036854775808", "out_of_range:count"),
        ("-9223372036854775809", "out_of_range:count"),
        ("123456789012345678901234567890", "out_of_range:count"),
    ] {
        assert_eq!(reasons(with(&format!("\"count\":{field},"))), [expected], "{field}");
    }
    assert_eq!(reasons(with("\"count\":5.0,")), [] as [&str; 0], "a whole number, as tables with gaps write it");
    for field in ["1772359200", "\"yesterday\"", "true", "{}", "\"2026-02-30 10:00:00\"", "1.5"] {
        assert_eq!(reasons(with(&format!("\"when\":{field},"))), ["not_a_datetime:when"], "{field}");
    }
    assert_eq!(value(4, &with(r#""when":"1970-01-01 00:00:01","#)), "Datetime(1000)");
    assert_eq!(value(4, &with(r#""when":"1970-01-01T00:00:0\u0031Z","#)), "Datetime(1000)");
    assert_eq!(value(4, &with(r#""when":"","#)), "Missing");
}

#[test]
fn numbers_at_the_edges_are_themselves() {
    for (written, read) in [
        ("9223372036854775807", "Integer(9223372036854775807)"),
        ("-9223372036854775808", "Integer(-9223372036854775808)"),
        ("-0", "Integer(0)"),
    ] {
        assert_eq!(value(3, &with(&format!("\"count\":{written},"))), read);
    }
    for (written, read) in [
        ("1e308", 1e308),
        ("-1.7976931348623157e308", f64::MIN),
        ("5e-324", 5e-324),
        ("1e-400", 0.0),
        ("-0.0", -0.0),
        ("-0", -0.0),
        ("9007199254740993", 9_007_199_254_740_992.0),
        ("18446744073709551616", 18_446_744_073_709_551_616.0),
        ("0.1", 0.1),
    ] {
        assert_eq!(value(6, &with(&format!("\"latitude\":{written},"))), format!("Float({read:?})"));
    }
}

#[test]
fn an_id_may_be_a_number_and_keeps_its_digits() {
    for written in ["0", "-0", "4539", "-7", "18446744073709551615", "12345678901234567890123", "1.50", "1E5", "2e-7"] {
        let expected = format!("Text({written:?})");
        assert_eq!(value(1, &with(&format!("\"user\": {written} ,"))), expected);
        let around = format!(r#""a:\"b":{{"user":[":",9.5]}},"note":7.50,"\u0075ser_id":{written},"#);
        let line = outcome(records(COLUMNS), with(&around).as_bytes()).unwrap();
        assert_eq!((line[1].as_str(), line[5].as_str()), (expected.as_str(), "Text(\"7.50\")"));
        let last = format!(r#"{{"id":"1","amount":2,"user":{written}}}"#);
        assert_eq!(value(1, &last), expected);
    }
}

#[test]
fn a_field_that_stands_twice_is_named() {
    assert_eq!(reasons(with(r#""amount":1.5,"#)), ["duplicate_field:amount"]);
    assert_eq!(
        reasons(with(r#""amount":null,"user":1.5,"customer":2.5,"#)),
        ["duplicate_field:user", "duplicate_field:amount"]
    );
    assert_eq!(reasons(with(r#""user":"a","user":"a","user":"a","#)), ["duplicate_field:user"]);
    assert_eq!(reasons(with(r#""note":2.5,"note":"a","#)), ["duplicate_field:note"]);
    assert!(reasons(with(r#""what":1,"what":2,"Amount":"","#)).is_empty(), "nobody asks for those");
}

#[test]
fn depth_is_a_reason_and_never_the_end() {
    for field in ["note", "unknown", "amount"] {
        for (open, close) in [("[", "]"), ("{\"a\":", "}"), ("[{\"note\":", "}]")] {
            let nested = |levels: usize, end: &str| {
                with(&format!(
                    "\"{field}\":{}1{},",
                    open.repeat(levels),
                    if end.is_empty() { String::new() } else { end.repeat(levels) }
                ))
            };
            for levels in [130, 10_000] {
                assert_eq!(reasons(nested(levels, close)), ["nested_too_deep"], "{field} {levels} times {open}");
                assert_eq!(reasons(nested(levels, "")), ["nested_too_deep"], "{field} {levels} times {open}, unclosed");
            }
        }
    }
    let deep = |levels: usize| reasons(with(&format!("\"x\":{}{},", "[".repeat(levels), "]".repeat(levels))));
    assert_eq!((deep(126), deep(127)), (vec![], vec!["nested_too_deep".to_owned()]));
    assert_eq!(reasons("[".repeat(100_000)), ["not_json"]);
}

#[test]
fn a_byte_order_mark_is_passed_over() {
    assert!(reasons(format!("\u{feff}{}", with(""))).is_empty());
    assert_eq!(value(1, &format!("\u{feff}{}", with(r#""user":1.50,"#))), "Text(\"1.50\")");
    assert_eq!(reasons(format!("\u{feff}\u{feff}{}", with(""))), ["not_json"]);
}

#[test]
fn a_record_of_many_columns_is_read() {
    let columns: Vec<String> = (0..100).map(|index| format!("c{index}:int?")).collect();
    let schema = records(&format!("id user amount:float {}", columns.join(" ")));
    let fields: String = (0..100).rev().map(|index| format!(",\"c{index}\":{index}")).collect();
    let line = outcome(schema, format!("{{\"amount\":1,\"id\":1{fields}}}").as_bytes()).unwrap();
    assert_eq!(line.len(), 103);
    assert!((0..100).all(|index| line[index + 3] == format!("Integer({index})")));
}

#[test]
fn amounts_are_in_the_base_currency() {
    let amount = |currency: &str, amount: &str| {
        let record = format!(r#"{{"id":1,"user":{currency},"amount":{amount}}}"#);
        outcome(with_currency(), record.as_bytes()).map(|line| line[2].clone())
    };
    let reason = |reason: &str| Err(vec![reason.to_owned()]);
    for base in ["\"EUR\"", "null", "\"\"", "\" EUR\""] {
        assert_eq!(amount(base, "0.1").unwrap(), "Float(0.1)");
    }
    assert_eq!(amount("\"USD\"", "3").unwrap(), "Float(1.5)");
    assert_eq!(amount("\"usd\"", "3"), reason("unknown_currency:user"));
    assert_eq!(amount("\"XXX\"", "1e10"), reason("not_finite:amount"));
    assert_eq!(
        amount("\"GBP\"", "\"3\""),
        Err(vec!["not_a_number:amount".to_owned(), "unknown_currency:user".to_owned()])
    );
}

#[test]
fn ranges_are_of_what_the_record_says_before_its_currency_is_looked_at() {
    let mut schema = with_currency();
    schema.column("amount").range = (0.0_f64.next_up(), 10.0);
    let amount =
        |amount: &str| outcome(schema.clone(), format!(r#"{{"id":1,"user":"USD","amount":{amount}}}"#).as_bytes());
    assert_eq!(amount("10").unwrap()[2], "Float(5.0)");
    assert_eq!(amount("5e-324").unwrap()[2], "Float(0.0)");
    for out in ["10.5", "0", "-0.0", "-1"] {
        assert_eq!(amount(out), Err(vec!["out_of_range:amount".to_owned()]), "{out}");
    }
}

/// A field of a record, as JSON and as CSV; where only one of the two can say it, there is none.
fn fields() -> impl Strategy<Value = Vec<(String, String)>> {
    let text = prop_oneof![Just(String::new()), "[ a-z0-9,\"\\\\é\u{1f600}\n:{}]{0,12}", "[0-9]{1,25}"];
    let text = text.prop_map(|text| (json!(text).to_string(), text));
    let number = prop_oneof![
        any::<i64>().prop_map(|number| number.to_string()),
        any::<f64>()
            .prop_filter("JSON has it", |number| number.is_finite())
            .prop_map(|number| json!(number).to_string()),
        "-?(0|[1-9][0-9]{0,25})(\\.[0-9]{1,5})?([eE][-+]?[0-9]{1,2})?",
    ];
    let number = number.prop_map(|number| (number.clone(), number)).boxed();
    let none = Just(("null".to_owned(), String::new()));
    let date = prop_oneof!["20[0-9]{2}-[01][0-9]-[0-3][0-9] [0-2][0-9]:[0-5][0-9]:00", "2026-03-0[1-9]T10:0[0-9]:00Z"];
    let date = date.prop_map(|date| (json!(date).to_string(), date));
    let id = prop_oneof![text.clone(), number.clone()].boxed();
    let numeric = prop_oneof![4 => number, 1 => none.clone()].boxed();
    let dated = prop_oneof![4 => date, 1 => text, 1 => none].boxed();
    (id.clone(), id.clone(), numeric.clone(), numeric.clone(), dated, id, numeric)
        .prop_map(|(a, b, c, d, e, f, g)| vec![a, b, c, d, e, f, g])
}

fn csv_record(fields: &[(String, String)]) -> String {
    let quoted: Vec<String> = fields.iter().map(|(_, text)| format!("\"{}\"", text.replace('"', "\"\""))).collect();
    quoted.join(",")
}

/// The fields as an object, in this order of the columns and under these names.
fn json_record(fields: &[(String, String)], order: &[usize], escaped: bool) -> String {
    let names = ["id", "customer", "amount", "count", "when", "note", "latitude"];
    let name = |index: usize| {
        if !escaped {
            return format!("\"{}\"", names[index]);
        }
        let escapes: String = names[index].chars().map(|c| format!("\\u{:04x}", c as u32)).collect();
        format!("\"{escapes}\"")
    };
    let entries: Vec<String> = order.iter().map(|&index| format!("{}:{}", name(index), fields[index].0)).collect();
    format!("{{{}}}", entries.join(", "))
}

proptest! {
    #[test]
    fn a_record_has_one_fate_however_it_is_written(
        fields in fields(),
        order in Just((0..7).collect::<Vec<usize>>()).prop_shuffle(),
        escaped in any::<bool>(),
        has_currency in any::<bool>(),
    ) {
        let as_json = if has_currency { with_currency() } else { records(COLUMNS) };
        let mut as_csv = Schema { format: InputFormat::Csv, ..as_json.clone() };
        // In JSON, only null stands for nothing.
        as_csv.csv.texts.nulls = crate::dialect::Nulls::new(&[""]);
        let (json, csv) = (json_record(&fields, &order, escaped), csv_record(&fields));
        prop_assert_eq!(outcome(as_json, json.as_bytes()), outcome(as_csv, csv.as_bytes()), "{} and {}", json, csv);
    }

    #[test]
    fn no_bytes_make_the_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = reasons(&bytes);
    }

    #[test]
    fn no_change_to_a_record_makes_the_parser_panic(
        fields in fields(),
        order in Just((0..7).collect::<Vec<usize>>()).prop_shuffle(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), prop_oneof![
            any::<u8>(), proptest::sample::select(b"{}[]\":,\\u0e-.\xFF\x00 ".to_vec())], 0..3u8), 1..6),
    ) {
        let mut bytes = json_record(&fields, &order, false).into_bytes();
        for (place, byte, kind) in changes {
            let at = place.index(bytes.len());
            match kind {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ => { bytes.truncate(at + 1); }
            }
        }
        let read = serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(&bytes);
        let found = reasons(&bytes);
        // What is no object for anybody is none here; and what is one here is one for everybody.
        let says_so = found.iter().any(|reason| {
            reason == "not_json" || reason.starts_with("invalid_utf8") || reason.starts_with("not_finite")
                || reason.starts_with("out_of_range")
        });
        prop_assert!(read.is_ok() || says_so, "{:?} of {}", found, String::from_utf8_lossy(&bytes));
        prop_assert!(read.is_err() || !found.contains(&"not_json".to_owned()), "{}", String::from_utf8_lossy(&bytes));
    }
}

/// Records of several columns that stand in objects and arrays.
fn nested(paths: &[(&str, &str)]) -> Schema {
    let mut records = schema(InputFormat::Json, "id merchant amount:float count:int flag when:datetime", &["unix_ms"]);
    for (name, path) in paths {
        records.column(name).path = Some(path.parse().unwrap());
    }
    records.column("id").needed = true;
    records
}

const PATHS: [(&str, &str); 3] =
    [("merchant", "merchant.id"), ("amount", "items[1].price"), ("count", "items[0][\"n.o\"]")];

#[test]
fn values_are_found_where_paths_lead() {
    let record = br#"{"x":{"merchant":{"id":1}},"items":[{"n.o":3,"price":9},{"deep":[{"price":1}],"price":-2.5}],
        "merchant":{"name":"x","id":12345678901234567890123},"id":{"a":1}["#;
    assert_eq!(outcome(nested(&PATHS), record), Err(vec!["not_json".to_owned()]));
    let record = br#"{"x":{"merchant":{"id":1.5}},"items":[{"n.o":3.0,"price":9},{"deep":[{"price":1}],"price":-2.5}],
        "merchant":{"name":"x","id":12345678901234567890123},"when":1.0,"id":7.25}"#;
    let values = outcome(nested(&PATHS), record).unwrap();
    // Digit by digit, wherever the numbers stand.
    assert_eq!(values[..2], [r#"Text("7.25")"#, r#"Text("12345678901234567890123")"#]);
    assert_eq!(values[2..], ["Float(-2.5)", "Integer(3)", "Missing", "Datetime(1)"]);
}

#[test]
fn reasons_name_the_path() {
    let mut records = nested(&PATHS);
    ["merchant", "amount"].into_iter().for_each(|name| records.column(name).needed = true);
    for (record, expected) in [
        (r#"{"id":"1"}"#, vec!["missing_value:merchant.id", "missing_value:items[1].price"]),
        (
            r#"{"id":"1","merchant":null,"items":[{}]}"#,
            vec!["missing_value:merchant.id", "missing_value:items[1].price"],
        ),
        (
            r#"{"id":"1","merchant":5,"items":{"price":1}}"#,
            vec!["not_a_text:merchant.id", "not_a_number:items[1].price", "not_an_integer:items[0][\"n.o\"]"],
        ),
        (
            r#"{"id":"1","merchant":{"id":"a","id":"b"},"items":[0,{"price":1}]}"#,
            vec!["duplicate_field:merchant.id", "not_an_integer:items[0][\"n.o\"]"],
        ),
        (
            r#"{"id":"1","merchant":{"id":"a"},"merchant":{},"items":[{},{"price":1e999}]}"#,
            vec!["not_finite:items[1].price"],
        ),
    ] {
        assert_eq!(outcome(records.clone(), record.as_bytes()).unwrap_err(), expected, "{record}");
    }
    assert!(outcome(records, br#"{"id":"1","merchant":{"id":"a"},"items":[{},{"price":1}]}"#).is_ok());
}

#[test]
fn values_may_be_written_as_another_type_where_the_column_says_so() {
    let mut records = nested(&[]);
    ["amount", "count", "flag"].into_iter().for_each(|name| records.column(name).converts = true);
    let read = |fields: &str| outcome(records.clone(), format!(r#"{{"id":"1",{fields}}}"#).as_bytes());
    let values = |fields: &str| read(fields).unwrap()[2..5].join(" ");
    assert_eq!(values(r#""amount":"12.50","count":" 7 ","flag":true"#), r#"Float(12.5) Integer(7) Text("true")"#);
    assert_eq!(values(r#""amount":true,"count":false,"flag":1.5"#), r#"Float(1.0) Integer(0) Text("1.5")"#);
    assert_eq!(values(r#""amount":"","count":"N/A","flag":"N/A""#), r#"Missing Missing Text("N/A")"#);
    let reasons = |fields: &str| read(fields).unwrap_err().join(" ");
    assert_eq!(
        reasons(r#""amount":"12,50","count":"7.5","flag":[]"#),
        "not_a_number:amount not_an_integer:count not_a_text:flag"
    );
    assert_eq!(reasons(r#""amount":"NaN1","count":"\u0031e400""#), "not_a_number:amount not_an_integer:count");
}

#[test]
fn no_record_is_lost_for_a_lenient_column() {
    let mut records = nested(&[]);
    let flag = records.column("flag");
    (flag.converts, flag.is_lenient) = (true, true);
    for (label, expected) in [
        ("true", r#"Text("true")"#),
        ("1", r#"Text("1")"#),
        (r#""fraud""#, r#"Text("fraud")"#),
        ("[1]", "Missing"),
        (r#"{"a":1}"#, "Missing"),
        (r#"1,"flag":2"#, "Missing"),
        ("null", "Missing"),
    ] {
        let record = format!(r#"{{"id":"1","flag":{label}}}"#);
        assert_eq!(outcome(records.clone(), record.as_bytes()).unwrap()[4], expected, "{label}");
    }
    let mut as_csv = Schema { format: InputFormat::Csv, ..records };
    as_csv.column("count").optional = true;
    assert_eq!(outcome(as_csv, b"1,m,2,3,\xFF,").unwrap()[4], "Missing");
}

/// What a message holds: a line as its id and amount, a record's first reason, or another outcome, with its place.
fn held(shape: MessageShape, message: &str) -> Vec<String> {
    let records = Schema { json: shape, ..nested(&[]) };
    let mut seen = Vec::new();
    LineParser::new(Arc::new(records)).each(message.as_bytes(), |piece, part| {
        let found = match part {
            Part::Line(line) => format!("{} {:?}", line[0].text().unwrap_or_default(), line[2].number()),
            Part::Erroneous(reasons) => reasons[0].to_string(),
            Part::Deletion => "deletion".to_owned(),
            Part::Nothing => "nothing".to_owned(),
        };
        let place = piece.index().map_or_else(String::new, |index| format!("{index}: "));
        seen.push(place + &found);
    });
    seen
}

fn one(envelope: Envelope, message: &str) -> String {
    let shape = MessageShape { envelope: Some(envelope), records: None };
    held(shape, message).join("; ")
}

#[test]
fn envelopes_are_opened() {
    let row = r#"{"id":"1","amount":2}"#;
    for (message, expected) in [
        (format!(r#"{{"schema":{{"type":"struct"}},"payload":{row}}}"#), "1 Some(2.0)"),
        (format!(r#" {{"payload" : {row} }} "#), "1 Some(2.0)"),
        (r#"{"schema":null,"payload":null}"#.to_owned(), "nothing"),
        ("null".to_owned(), "nothing"),
        (String::new(), "nothing"),
        (row.to_owned(), "missing_value:payload"),
        (format!(r#"{{"payload":{row},"payload":{row}}}"#), "duplicate_field:payload"),
        (format!(r#"{{"payload":{row}"#), "not_json"),
        (r#"{"payload":7}"#.to_owned(), "not_json"),
        ("[]".to_owned(), "missing_value:payload"),
    ] {
        assert_eq!(one(Envelope::Connect, &message), expected, "{message}");
    }
    for (event, expected) in [
        (format!(r#"{{"before":null,"after":{row},"op":"c"}}"#), "1 Some(2.0)"),
        (format!(r#"{{"op":"u","before":{{"id":"0"}},"after":{row}}}"#), "1 Some(2.0)"),
        (format!(r#"{{"op":"r","after":{row},"source":{{"op":"x"}}}}"#), "1 Some(2.0)"),
        (format!(r#"{{"before":{row},"after":null,"op":"d"}}"#), "deletion"),
        (r#"{"op":"t"}"#.to_owned(), "deletion"),
        (r#"{"op":"c","after":null}"#.to_owned(), "missing_value:after"),
        (r#"{"op":"m","message":{}}"#.to_owned(), "unknown_operation"),
        (r#"{"op":null,"after":{}}"#.to_owned(), "unknown_operation"),
    ] {
        assert_eq!(one(Envelope::Debezium, &event), expected, "{event}");
        let wrapped = format!(r#"{{"schema":{{"op":1}},"payload":{event}}}"#);
        assert_eq!(one(Envelope::Debezium, &wrapped), expected, "{wrapped}");
    }
    assert_eq!(one(Envelope::Debezium, r#"{"schema":{},"payload":null}"#), "nothing");
    assert_eq!(one(Envelope::Debezium, row), "missing_value:payload");
}

#[test]
fn a_message_may_hold_several_records() {
    let at = |path: &str| match path {
        "." => MessageShape { envelope: None, records: Some(RecordsAt::Message) },
        path => MessageShape { envelope: None, records: Some(RecordsAt::Path(path.parse().unwrap())) },
    };
    let array = r#"[{"id":"1","amount":2}, {"id":"2","amount":"x"},{} ,5,{"id":"3"}]"#;
    let expected = ["0: 1 Some(2.0)", "1: not_a_number:amount", "2: missing_value:id", "3: not_json", "4: 3 None"];
    assert_eq!(held(at("."), array), expected);
    assert_eq!(held(at("a.b[0]"), &format!(r#"{{"a":{{"b":[{array}]}}}}"#)), expected);
    assert_eq!(held(at("."), r#"{"id":"1"}"#), ["1 None"], "one object is one record");
    assert_eq!(held(at("."), "[ ]"), ["nothing"]);
    assert_eq!(held(at("."), "7"), ["not_json"]);
    assert_eq!(held(at("."), "[{}"), ["not_json"]);
    assert_eq!(held(at("a"), r#"{"a":null}"#), ["nothing"]);
    assert_eq!(held(at("a"), r#"{"b":[]}"#), ["missing_value:a"]);
    assert_eq!(held(at("a"), r#"{"a":"x"}"#), ["not_an_array:a"]);
    let in_envelope = MessageShape { envelope: Some(Envelope::Connect), ..at("a") };
    assert_eq!(held(in_envelope, r#"{"payload":{"a":[{"id":"1"}]}}"#), ["0: 1 None"]);
}

#[test]
fn a_message_holds_no_more_records_than_memory_has_room_for() {
    let shape = |records| MessageShape { envelope: None, records: Some(records) };
    let array = |count: usize| format!("[{}]", vec!["{}"; count].join(","));
    assert_eq!(held(shape(RecordsAt::Message), &array(10_000)).len(), 10_000);
    assert_eq!(held(shape(RecordsAt::Message), &array(10_001)), ["too_many_records"]);
    let around = |count: usize, bytes: usize| format!(r#"{{"x":"{}","a":{}}}"#, "x".repeat(bytes), array(count));
    let at = shape(RecordsAt::Path("a".parse().unwrap()));
    assert_eq!(held(at.clone(), &around(100, 600_000)).len(), 100);
    assert_eq!(held(at, &around(200, 600_000)), ["too_many_records"]);
}

#[test]
fn what_stands_around_records_is_theirs() {
    let mut records = nested(&[("merchant", "account.id"), ("when", "at")]);
    for name in ["merchant", "when"] {
        records.column(name).is_of_message = true;
    }
    records.column("merchant").needed = true;
    records.json.records = Some(RecordsAt::Path("list".parse().unwrap()));
    let records = Arc::new(records);
    let held = |message: &str| {
        let mut seen = Vec::new();
        LineParser::new(Arc::clone(&records)).each(message.as_bytes(), |_, part| match part {
            Part::Line(line) => seen.push(format!("{:?} {:?} {:?}", line[0], line[1], line[5])),
            part => seen.push(format!("{part:?}")),
        });
        seen.join("; ")
    };
    let list = r#""list":[{"id":"1","account":{"id":"no"}},{"id":"2"}]"#;
    assert_eq!(
        held(&format!(r#"{{{list},"account":{{"id":"\u0041"}},"at":5.0}}"#)),
        r#"Text("1") Text("A") Datetime(5); Text("2") Text("A") Datetime(5)"#
    );
    let missing = r#"Erroneous([MissingValue("$.account.id")])"#;
    assert_eq!(held(&format!("{{{list}}}")), format!("{missing}; {missing}"));
}

proptest! {
    /// Whatever the bytes, a message has an outcome, and those that hold one record alone have that record's.
    #[test]
    fn every_message_has_its_outcomes_and_each_record_alone_has_its_own(
        bytes in prop_oneof![
            "[\\[\\]{}\":, a-c0-9.-]{0,40}",
            r#"(\[|\{"payload":\{"a":\[)(\{"id":"[ab]"(,"amount":[0-9]{1,3})?\},?|null,?|[0-9]){0,4}(\]|\]\}\})"#,
            r#"\{("schema":1,)?"(payload|after)":\{"id":"1"\}(,"op":"[cdx]")?\}"#,
        ],
        envelope in prop::sample::select(&[None, Some(Envelope::Connect), Some(Envelope::Debezium)]),
        records in prop::sample::select(vec![None, Some(RecordsAt::Message), Some(RecordsAt::Path("a".parse().unwrap()))]),
    ) {
        let shape = MessageShape { envelope, records };
        let seen = held(shape.clone(), &bytes);
        prop_assert!(!seen.is_empty());
        let schema = Arc::new(Schema { json: shape.clone(), ..nested(&[]) });
        let mut alone = Vec::new();
        LineParser::new(schema).each(bytes.as_bytes(), |piece, _| {
            alone.push(String::from_utf8(piece.alone().into_owned()).unwrap());
        });
        for (seen, alone) in seen.iter().zip(alone) {
            let outcome = |text: &String| text.split_once(": ").map_or(text.clone(), |(_, outcome)| outcome.to_owned());
            let again: Vec<String> = held(shape.clone(), &alone).iter().map(outcome).collect();
            prop_assert_eq!(again, [outcome(seen)]);
        }
    }

    /// A record has one fate, whether its values stand in fields or deeper.
    #[test]
    fn a_record_has_the_same_fate_however_deep_it_is(
        id in r#""[a-z]{0,3}"|[0-9]{1,25}|[0-9]{1,3}\.[0-9]|null|true|\[1\]"#,
        amount in r#"-?[1-9][0-9]{0,3}(\.[0-9]{1,3})?(e[0-9]{1,3})?|"[0-9]"|null|\{\}"#,
        before in r#"("x":(\[\[1\],2\]|\{"id":[3]\}|"\[\{"),){0,2}"#,
    ) {
        let flat = format!(r#"{{{before}"id":{id},"amount":{amount}}}"#);
        let deep = format!(r#"{{{before}"d":[0,{{{before}"id":{id},"more":{{"amount":{amount}}}}}]}}"#);
        let at_depth = nested(&[("id", "d[1].id"), ("amount", "d[1].more.amount")]);
        let flat = outcome(nested(&[]), flat.as_bytes());
        let named = |reasons: Vec<String>| -> Vec<String> {
            reasons.iter().map(|reason| reason.replace("d[1].more.", "").replace("d[1].", "")).collect()
        };
        prop_assert_eq!(flat, outcome(at_depth, deep.as_bytes()).map_err(named));
    }
}
