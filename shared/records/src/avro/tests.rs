//! Records of Avro by the parser of the stream: each beside the same record in JSON.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::framing::{SchemaId, lead_of};
use crate::line::{LineParser, Part};
use crate::reason::Reason;
use crate::schema::testing::schema as columns;
use crate::schema::{Envelope, InputFormat, MessageShape, RecordsAt};
use crate::schemas::{Refused, WriterSchema};
use crate::time::format_timestamp;
use crate::value::Value;

/// Writes values as Avro does.
#[derive(Debug, Clone, Default)]
pub(crate) struct Writer(pub Vec<u8>);

impl Writer {
    pub fn long(mut self, number: i64) -> Self {
        let mut rest = ((number << 1) ^ (number >> 63)) as u64;
        while rest >= 0x80 {
            self.0.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        self.0.push(rest as u8);
        self
    }

    pub fn bytes(mut self, bytes: &[u8]) -> Self {
        self = self.long(bytes.len() as i64);
        self.0.extend(bytes);
        self
    }

    pub fn text(self, text: &str) -> Self {
        self.bytes(text.as_bytes())
    }

    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self
    }
}

fn write() -> Writer {
    Writer::default()
}

const PAYMENT: &str = r#"{"type":"record","name":"Payment","namespace":"shop","fields":[
    {"name":"before","type":{"type":"map","values":["null","string"]}},
    {"name":"id","type":{"type":"string","logicalType":"uuid"}},
    {"name":"merchant","type":["null",{"type":"record","name":"Merchant","fields":[
        {"name":"name","type":"string"},{"name":"id","type":"int"},{"name":"kind","type":{"type":"enum","name":"Kind","symbols":["SHOP","BANK"]}}]}]},
    {"name":"amount","type":{"type":"bytes","logicalType":"decimal","precision":18,"scale":2}},
    {"name":"at","type":{"type":"long","logicalType":"timestamp-millis"}},
    {"name":"items","type":{"type":"array","items":"Merchant"}},
    {"name":"after","type":["double","null"]}]}"#;

/// A parser of records of `schema`, which has the number 7.
fn parser(schema: &str, names: &str, change: impl FnOnce(&mut crate::schema::Schema)) -> LineParser {
    let mut found = columns(InputFormat::Avro, names, &["%Y-%m-%d"]);
    let schemas = found.schemas.get_or_insert_default();
    schemas.insert(SchemaId::Number(7), WriterSchema::Avro(Arc::new(Schema::parse(schema, &[]).unwrap())));
    change(&mut found);
    LineParser::new(Arc::new(found))
}

fn framed(body: &Writer) -> Vec<u8> {
    [&lead_of(SchemaId::Number(7))[..], &body.0].concat()
}

/// What a message holds, as text.
fn shown(parser: &mut LineParser, message: &[u8], header: Option<&[u8]>) -> Vec<String> {
    let mut parts = Vec::new();
    parser.each_with(message, header, |piece, part| {
        let place = piece.index().map_or_else(String::new, |index| format!("{index}: "));
        parts.push(match part {
            Part::Line(line) => place + &line.iter().map(value).collect::<Vec<_>>().join(" "),
            Part::Erroneous(reasons) => place + &reasons.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
            Part::Deletion => place + "deletion",
            Part::Nothing => place + "nothing",
        });
    });
    parts
}

fn value(value: &Value<'_>) -> String {
    match value {
        Value::Missing => "-".to_owned(),
        Value::Text(text) => (*text).to_owned(),
        Value::Integer(number) => number.to_string(),
        Value::Float(number) => format!("{number:?}"),
        Value::Datetime(moment) => format_timestamp(*moment),
    }
}

fn payment() -> Writer {
    let merchant = |writer: Writer, name: &str, id| writer.text(name).long(id).long(1);
    let head = write().long(1).text("x").long(1).text("y").long(0).text("a-1").long(1);
    let body = merchant(head, "Acme", 42).bytes(&[0x30, 0x39]).long(1_283_332_920_000);
    // Two blocks, the second with its size.
    let items = merchant(body.long(1), "first", 1).long(-1).long(8);
    merchant(items, "other", 2).long(0).long(0).raw(&1.5f64.to_le_bytes())
}

#[test]
fn fields_reach_columns_by_their_paths() {
    let at = |schema: &mut crate::schema::Schema| {
        for (name, path) in [("shop", "merchant.name"), ("no", "merchant.id"), ("kind", "merchant.kind")] {
            schema.column(name).path = Some(path.parse().unwrap());
        }
        schema.column("second").path = Some("items[1].id".parse().unwrap());
        schema.column("third").path = Some("items[2].id".parse().unwrap());
        schema.column("x").path = Some("before.x".parse().unwrap());
        schema.column("amount").aliases.push("sum".to_owned());
    };
    let names = "id shop no:int kind amount:float at:datetime second:int third:int x after:float gone";
    let mut parser = parser(PAYMENT, names, at);
    let line = shown(&mut parser, &framed(&payment()), None);
    assert_eq!(line, ["a-1 Acme 42 BANK 123.45 2010-09-01T09:22:00Z 2 - y 1.5 -"]);
    // The same in a header.
    let header = lead_of(SchemaId::Number(7));
    assert_eq!(shown(&mut parser, &payment().0, Some(&header)), line);
}

#[test]
fn what_is_not_of_the_schema_is_one_erroneous_record() {
    let mut parser = parser(PAYMENT, "id", |_| ());
    let whole = framed(&payment());
    assert_eq!(shown(&mut parser, &whole, None), ["a-1"]);
    for end in 5..whole.len() {
        assert_eq!(shown(&mut parser, &whole[..end], None), ["not_avro"], "{end}");
    }
    for end in 1..5 {
        assert_eq!(shown(&mut parser, &whole[..end], None), ["no_schema_id"], "{end}");
    }
    assert_eq!(shown(&mut parser, &[&whole[..], b"x"].concat(), None), ["not_avro"], "a byte too many");
    assert_eq!(shown(&mut parser, b"", None), ["empty_record"]);
    assert_eq!(shown(&mut parser, b"{\"id\":\"a-1\"}", None), ["no_schema_id"], "plain JSON");
}

#[test]
fn a_schema_that_is_not_known_yet_is_asked_for_and_one_that_is_refused_is_not() {
    let mut parser = parser(PAYMENT, "id", |_| ());
    let message = |number| [&lead_of(SchemaId::Number(number))[..], &payment().0].concat();
    let schema = parser.schema().clone();
    assert_eq!(schema.unknown_schema(&message(7), None), None);
    assert_eq!(schema.unknown_schema(&message(8), None), Some(SchemaId::Number(8)));
    assert_eq!(schema.unknown_schema(b"", None), None);
    assert_eq!(schema.unknown_schema(b"\x05", None), None, "it is erroneous without one");
    let schemas = schema.schemas.as_ref().unwrap();
    schemas.refuse(SchemaId::Number(8), Refused::Unknown);
    schemas.refuse(SchemaId::Number(9), Refused::Unusable);
    schemas.insert(SchemaId::Number(10), WriterSchema::Json);
    assert_eq!(schema.unknown_schema(&message(8), None), None);
    assert_eq!(shown(&mut parser, &message(8), None), ["unknown_schema:8"]);
    assert_eq!(shown(&mut parser, &message(9), None), ["unusable_schema:9"]);
    assert_eq!(shown(&mut parser, &message(10), None), ["unusable_schema:10"], "of another kind");
    schemas.forget_unknown();
    assert_eq!(schema.unknown_schema(&message(8), None), Some(SchemaId::Number(8)), "by now there may be one");
    assert_eq!(schema.unknown_schema(&message(9), None), None);
}

/// A record with one field `v` of this type.
fn one(kind: &str) -> String {
    format!(r#"{{"type":"record","name":"One","fields":[{{"name":"v","type":{kind}}}]}}"#)
}

#[test]
fn every_type_is_a_value_of_the_columns_that_can_have_it() {
    let logical = |kind: &str, logical: &str| format!(r#"{{"type":"{kind}","logicalType":"{logical}"}}"#);
    let cases: [(String, Writer, [&str; 4]); 22] = [
        ("\"int\"".into(), write().long(-3), ["-3", "-3", "-3.0", "not_a_datetime:v"]),
        (
            "\"long\"".into(),
            write().long(1_283_332_920_000),
            ["1283332920000", "1283332920000", "1283332920000.0", "not_a_datetime:v"],
        ),
        (
            "\"float\"".into(),
            write().raw(&1.1f32.to_le_bytes()),
            ["1.1", "not_an_integer:v", "1.100000023841858", "not_a_datetime:v"],
        ),
        ("\"double\"".into(), write().raw(&5f64.to_le_bytes()), ["5", "5", "5.0", "not_a_datetime:v"]),
        (
            "\"double\"".into(),
            write().raw(&f64::NAN.to_le_bytes()),
            ["not_a_text:v", "not_an_integer:v", "not_finite:v", "not_a_datetime:v"],
        ),
        (
            "\"boolean\"".into(),
            write().raw(&[1]),
            ["not_a_text:v", "not_an_integer:v", "not_a_number:v", "not_a_datetime:v"],
        ),
        (
            "\"string\"".into(),
            write().text("2010-09-01"),
            ["2010-09-01", "not_an_integer:v", "not_a_number:v", "2010-09-01T00:00:00Z"],
        ),
        (
            "\"string\"".into(),
            write().bytes(b"\xff"),
            ["invalid_utf8:v", "not_an_integer:v", "not_a_number:v", "invalid_utf8:v"],
        ),
        (
            "\"bytes\"".into(),
            write().text("x"),
            ["not_a_text:v", "not_an_integer:v", "not_a_number:v", "not_a_datetime:v"],
        ),
        ("\"null\"".into(), write(), ["-", "-", "-", "-"]),
        ("[\"null\",\"int\"]".into(), write().long(1).long(8), ["8", "8", "8.0", "not_a_datetime:v"]),
        ("[\"null\",\"int\"]".into(), write().long(0), ["-", "-", "-", "-"]),
        (
            r#"{"type":"array","items":"int"}"#.into(),
            write().long(0),
            ["not_a_text:v", "not_an_integer:v", "not_a_number:v", "not_a_datetime:v"],
        ),
        (
            r#"{"type":"enum","name":"E","symbols":["A","B"]}"#.into(),
            write().long(1),
            ["B", "not_an_integer:v", "not_a_number:v", "not_a_datetime:v"],
        ),
        (logical("int", "date"), write().long(14_853), ["2010-09-01", "14853", "14853.0", "2010-09-01T00:00:00Z"]),
        (
            logical("int", "time-millis"),
            write().long(33_720_000),
            ["09:22:00", "33720000", "33720000.0", "not_a_datetime:v"],
        ),
        (
            logical("long", "timestamp-micros"),
            write().long(1_283_332_920_250_999),
            ["2010-09-01T09:22:00.250Z", "1283332920250999", "1283332920250999.0", "2010-09-01T09:22:00.250Z"],
        ),
        (
            logical("long", "local-timestamp-millis"),
            write().long(1_283_332_920_000),
            ["2010-09-01T09:22:00", "1283332920000", "1283332920000.0", "2010-09-01T09:22:00Z"],
        ),
        (
            logical("long", "timestamp-millis"),
            write().long(i64::MAX),
            ["not_a_text:v", "9223372036854775807", "9223372036854775807.0", "not_a_datetime:v"],
        ),
        (
            r#"{"type":"bytes","logicalType":"decimal","precision":30,"scale":3}"#.into(),
            write().bytes(&[0xfb, 0x2e]),
            ["-1.234", "not_an_integer:v", "-1.234", "not_a_datetime:v"],
        ),
        (
            r#"{"type":"fixed","name":"D","size":2,"logicalType":"decimal","precision":4,"scale":2}"#.into(),
            write().raw(&[0x01, 0x2c]),
            ["3.00", "3", "3.0", "not_a_datetime:v"],
        ),
        (
            r#"{"type":"fixed","name":"U","size":16,"logicalType":"uuid"}"#.into(),
            write().raw(&[0xab; 16]),
            ["abababab-abab-abab-abab-abababababab", "not_an_integer:v", "not_a_number:v", "not_a_datetime:v"],
        ),
    ];
    for (kind, record, expected) in cases {
        let found = ["v", "v:int", "v:float", "v:datetime"]
            .map(|column| shown(&mut parser(&one(&kind), column, |_| ()), &framed(&record), None).join("|"));
        // The largest number is not a float.
        let expected = expected.map(|text| text.replace("9223372036854775807.0", "9.223372036854776e18"));
        assert_eq!(found, expected, "{kind}");
    }
}

#[test]
fn a_number_is_a_moment_only_by_the_formats_of_dates() {
    let mut parser = parser(&one("\"long\""), "v:datetime", |schema| {
        schema.datetime_formats = crate::time::DatetimeFormats::read(&["unix_s"], None).unwrap();
    });
    assert_eq!(shown(&mut parser, &framed(&write().long(1_283_332_920)), None), ["2010-09-01T09:22:00Z"]);
}

#[test]
fn a_change_event_is_its_row_and_an_array_is_its_records() {
    let row = r#"{"type":"record","name":"Row","fields":[{"name":"id","type":"string"},{"name":"n","type":"int"}]}"#;
    let event = format!(
        r#"{{"type":"record","name":"Envelope","fields":[{{"name":"before","type":["null",{row}]}},
            {{"name":"after","type":["null","Row"]}},{{"name":"op","type":"string"}},{{"name":"ts","type":"long"}}]}}"#
    );
    let mut debezium = parser(&event, "id n:int ts:int", |schema| {
        schema.json = MessageShape { envelope: Some(Envelope::Debezium), records: None };
        schema.column("ts").path = Some("ts".parse().unwrap());
        schema.column("ts").is_of_message = true;
    });
    let change = |after: Writer, op: &str| framed(&write().long(0).raw(&after.0).text(op).long(99));
    let mut shown_of = |message: &[u8]| shown(&mut debezium, message, None);
    assert_eq!(shown_of(&change(write().long(1).text("a").long(5), "c")), ["a 5 99"]);
    assert_eq!(shown_of(&change(write().long(0), "d")), ["deletion"]);
    assert_eq!(shown_of(&change(write().long(0), "u")), ["missing_value:after"]);
    assert_eq!(shown_of(&change(write().long(0), "x")), ["unknown_operation"]);
    assert_eq!(shown_of(b""), ["nothing"]);

    let several = format!(
        r#"{{"type":"record","name":"Batch","fields":[{{"name":"from","type":"string"}},
        {{"name":"rows","type":{{"type":"array","items":["null",{row}]}}}},{{"name":"end","type":"int"}}]}}"#
    );
    let mut batch = parser(&several, "id n:int from", |schema| {
        schema.json = MessageShape { envelope: None, records: Some(RecordsAt::Path("rows".parse().unwrap())) };
        schema.column("from").path = Some("from".parse().unwrap());
        schema.column("from").is_of_message = true;
        schema.column("n").needed = true;
    });
    let rows = write().text("f").long(2).long(1).text("a").long(1).long(0).long(-1).long(4).long(1).text("b").long(3);
    let message = framed(&rows.clone().long(0).long(8));
    assert_eq!(shown(&mut batch, &message, None), ["0: a 1 f", "1: missing_value:n", "2: b 3 f"]);
    // Each of them alone is a message of the same schema.
    let mut alone = Vec::new();
    batch.each(&message, |piece, _| alone.push(piece.alone().into_owned()));
    let of_each: Vec<String> = alone.iter().flat_map(|message| shown(&mut batch, message, None)).collect();
    assert_eq!(of_each, ["0: a 1 f", "0: missing_value:n", "0: b 3 f"]);
    let header = lead_of(SchemaId::Number(7));
    let mut in_header = Vec::new();
    batch.each_with(&message[5..], Some(&header), |piece, _| in_header.push(piece.alone().into_owned()));
    assert_eq!(in_header, alone, "a message alone names its schema itself");
    assert_eq!(shown(&mut batch, &framed(&write().text("f").long(0).long(8)), None), ["nothing"]);
}

#[test]
fn an_array_that_claims_to_hold_more_than_there_is_takes_no_time() {
    let nulls = one(r#"{"type":"array","items":"null"}"#);
    let claim = framed(&write().long(i64::MAX).long(i64::MAX).long(0));
    let mut parser = parser(&nulls, "x", |schema| schema.column("x").path = Some("v[3]".parse().unwrap()));
    assert!(["-", "not_avro"].contains(&shown(&mut parser, &claim, None)[0].as_str()));
    let deep = r#"{"type":"record","name":"Deep","fields":[{"name":"next","type":["null","Deep"]}]}"#;
    let mut parser = self::parser(deep, "x", |_| ());
    let link = |n: usize| framed(&(0..n).fold(write(), |writer, _| writer.long(1)).long(0));
    assert_eq!(shown(&mut parser, &link(50), None), ["-"]);
    assert_eq!(shown(&mut parser, &link(100_000), None), ["nested_too_deep"]);
}

#[test]
fn schemas_evolve_by_the_columns_that_are_read() {
    let mut parser = parser(&one("\"int\""), "v:int late:int", |schema| {
        schema.column("late").if_missing = Some(9.0);
        let later = r#"{"type":"record","name":"One","fields":[{"name":"late","type":"long"},{"name":"new","type":"string"},{"name":"v","type":["null","long"]}]}"#;
        let later = WriterSchema::Avro(Arc::new(Schema::parse(later, &[]).unwrap()));
        schema.schemas.as_ref().unwrap().insert(SchemaId::Number(8), later);
    });
    let second = [&lead_of(SchemaId::Number(8))[..], &write().long(2).text("?").long(1).long(1).0].concat();
    for _ in 0..2 {
        assert_eq!(shown(&mut parser, &framed(&write().long(1)), None), ["1 9"]);
        assert_eq!(shown(&mut parser, &second, None), ["1 2"]);
    }
}

/// A file as writers make it: blocks of so many records.
fn file(codec: &str, pack: impl Fn(&[u8]) -> Vec<u8>, records: &[Writer], a_block: usize) -> Vec<u8> {
    let head = write().raw(b"Obj\x01").long(2).text("avro.schema").text(PAYMENT).text("avro.codec").text(codec);
    let mut file = head.long(0).raw(&[9; 16]);
    for block in records.chunks(a_block) {
        let bytes = pack(&block.iter().flat_map(|record| record.0.clone()).collect::<Vec<_>>());
        file = file.long(block.len() as i64).bytes(&bytes).raw(&[9; 16]);
    }
    file.0
}

fn read(bytes: &[u8]) -> Result<Vec<Vec<u8>>, AvroFileError> {
    let (mut file, mut records) = (AvroFile::new(bytes)?, Vec::new());
    while let Some(AvroRecord { number, raw }) = file.next_record()? {
        records.push(raw.to_owned());
        assert_eq!(number, records.len() as u64);
    }
    Ok(records)
}

#[test]
fn files_are_read_however_they_are_packed_and_broken_ones_end_in_a_sentence() {
    use std::io::Write;
    let records = vec![payment(); 5];
    let deflate = |bytes: &[u8]| {
        let mut packer = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
        packer.write_all(bytes).unwrap();
        packer.finish().unwrap()
    };
    let snappy = |bytes: &[u8]| {
        let packed = snap::raw::Encoder::new().compress_vec(bytes).unwrap();
        [packed, crc32fast::hash(bytes).to_be_bytes().to_vec()].concat()
    };
    let zstandard = |bytes: &[u8]| zstd::stream::encode_all(bytes, 1).unwrap();
    let plain = file("null", <[u8]>::to_vec, &records, 2);
    let expected: Vec<Vec<u8>> = records.iter().map(|record| record.0.clone()).collect();
    for bytes in [
        plain.clone(),
        file("deflate", deflate, &records, 3),
        file("snappy", snappy, &records, 1),
        file("zstandard", zstandard, &records, 5),
    ] {
        assert_eq!(read(&bytes).unwrap(), expected);
    }
    let problem = |bytes: &[u8]| read(bytes).unwrap_err().to_string();
    assert_eq!(problem(b"PAR1"), "it does not begin as an Avro file does");
    assert!(problem(&file("xz", <[u8]>::to_vec, &records, 2)).contains("deflate, snappy or zstandard"));
    assert_eq!(problem(&plain[..plain.len() - 1]), "it is damaged after record 4: the file ends within a block");
    let torn = file("null", |bytes| bytes[1..].to_vec(), &records, 2);
    assert!(problem(&torn).starts_with("it is damaged after record "), "{}", problem(&torn));
    let unpacked = file("snappy", <[u8]>::to_vec, &records, 2);
    assert_eq!(problem(&unpacked), "it is damaged after record 0: a block cannot be unpacked");
    for end in 0..plain.len() {
        // Cut between two blocks, it is a shorter file.
        assert!(read(&plain[..end]).map_or(true, |records| [0, 2, 4].contains(&records.len())), "{end}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_bytes_have_one_outcome_and_none_panics(bytes in prop::collection::vec(any::<u8>(), 0..80), cut in 0..200usize) {
        let names = "id no:int amount:float at:datetime x";
        let mut parser = parser(PAYMENT, names, |schema| {
            schema.column("no").path = Some("items[1].id".parse().unwrap());
            schema.column("x").path = Some("before.x".parse().unwrap());
        });
        let torn = [&payment().0[..cut.min(payment().0.len())], &bytes].concat();
        for message in [bytes.clone(), framed(&Writer(bytes)), framed(&Writer(torn))] {
            prop_assert_eq!(shown(&mut parser, &message, None).len(), 1);
        }
    }

    #[test]
    fn any_bytes_in_a_file_give_records_or_a_sentence(
        at in 0..400usize,
        bytes in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let whole = file("null", <[u8]>::to_vec, &vec![payment(); 3], 2);
        let torn = [&whole[..at.min(whole.len())], &bytes].concat();
        if let Err(error) = read(&torn) {
            prop_assert!(!error.to_string().contains('\n'));
        }
        let _ = read(&bytes);
    }

    #[test]
    fn a_record_has_the_fate_that_it_has_in_json(
        id in prop::option::of("[a-z ]{0,4}"), n in any::<i64>(), x in any::<f64>(), shop in prop::option::of("[a-z]{1,3}"),
    ) {
        let schema = r#"{"type":"record","name":"R","fields":[{"name":"id","type":["null","string"]},{"name":"n","type":"long"},
            {"name":"x","type":"double"},{"name":"of","type":["null",{"type":"record","name":"S","fields":[{"name":"shop","type":"string"}]}]}]}"#;
        let settle = |schema: &mut crate::schema::Schema| {
            schema.column("shop").path = Some("of.shop".parse().unwrap());
            schema.column("id").needed = true;
            schema.column("n").range = (-1e12, 1e12);
        };
        let optional = |writer: Writer, text: &Option<String>| match text {
            Some(text) => writer.long(1).text(text),
            None => writer.long(0),
        };
        let record = optional(optional(write(), &id).long(n).raw(&x.to_le_bytes()), &shop);
        let in_avro = shown(&mut parser(schema, "id n:int x:float shop", settle), &framed(&record), None);
        let json = serde_json::json!({ "id": id, "n": n, "x": x, "of": shop.map(|shop| serde_json::json!({ "shop": shop })) });
        let mut as_json = columns(InputFormat::Json, "id n:int x:float shop", &[]);
        settle(&mut as_json);
        let in_json = shown(&mut LineParser::new(Arc::new(as_json)), json.to_string().as_bytes(), None);
        // JSON has no word for a number that is not finite.
        if x.is_finite() {
            prop_assert_eq!(in_avro, in_json);
        }
    }
}

#[test]
fn reasons_are_those_of_the_wire() {
    assert_eq!(Reason::UnknownSchema("17".to_owned()).to_string(), "unknown_schema:17");
}

/// Another program wrote these files, and said what is in them: see `tests/data/README.md`.
#[test]
fn what_another_program_wrote_is_what_it_says() {
    let names = "id shop country level:int amount fee at:datetime day time channel second:int score:float inner";
    let paths = [
        ("shop", "merchant.id"),
        ("country", "merchant.tags.country"),
        ("level", "merchant.tags.level"),
        ("second", "items[1].n"),
        ("inner", "next.id"),
    ];
    let expected: Vec<&str> = include_str!("../../tests/data/expected.txt").lines().collect();
    for bytes in [&include_bytes!("../../tests/data/null.avro")[..], include_bytes!("../../tests/data/deflate.avro")] {
        let mut schema = columns(InputFormat::Avro, names, &[]);
        paths.iter().for_each(|(name, path)| schema.column(name).path = Some(path.parse().unwrap()));
        let mut parser = LineParser::new(Arc::new(schema));
        let mut file = AvroFile::new(bytes).unwrap();
        let (writer, mut found) = (file.schema().clone(), Vec::new());
        while let Some(record) = file.next_record().unwrap() {
            parser.each_avro(&writer, record.raw, |_, part| match part {
                Part::Line(line) => found.push(line.iter().map(value).collect::<Vec<_>>().join(" ")),
                other => panic!("{other:?}"),
            });
        }
        assert_eq!(found, expected);
    }
}
