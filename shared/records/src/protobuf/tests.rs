//! Messages of Protobuf by the parser of the stream.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::framing::{SchemaId, lead_of};
use crate::line::{LineParser, Part};
use crate::schema::InputFormat;
use crate::schema::testing::schema as columns;
use crate::schemas::WriterSchema;
use crate::time::format_timestamp;
use crate::value::Value;

fn field(number: u32, name: &str, kind: Kind) -> FieldType {
    let camel = name.replace("_i", "I");
    FieldType {
        number,
        names: [name.to_owned(), camel],
        kind,
        is_list: false,
        is_map: false,
        has_presence: matches!(kind, Kind::Message(_)),
        one_of: None,
    }
}

/// A message `Payment` with a message `Merchant` in it, a list, a map, a `oneof` and what everybody knows.
fn payments() -> Messages {
    let text = |number, name| field(number, name, Kind::String);
    let list = |field| FieldType { is_list: true, ..field };
    let one_of = |field| FieldType { one_of: Some(0), has_presence: true, ..field };
    let payment = vec![
        text(1, "id"),
        field(2, "merchant", Kind::Message(1)),
        field(3, "amount", Kind::Double),
        field(4, "at", Kind::Message(2)),
        list(field(5, "counts", Kind::Int32)),
        FieldType { is_map: true, ..list(field(6, "tags", Kind::Message(3))) },
        one_of(text(7, "card")),
        one_of(field(8, "cash", Kind::Int64)),
        field(9, "kind", Kind::Enum(0)),
        FieldType { has_presence: true, ..field(10, "maybe", Kind::Sint32) },
        list(field(11, "others", Kind::Message(1))),
        field(12, "named", Kind::Message(4)),
        field(13, "exact", Kind::Message(5)),
        field(14, "large", Kind::Fixed64),
    ];
    let merchant = vec![text(1, "shop_id"), field(2, "no", Kind::Int32)];
    let message = |fields| MessageType { fields, ..MessageType::default() };
    let meant = |fields, meaning| MessageType { meaning: Some(meaning), ..message(fields) };
    let messages = vec![
        MessageType { inside: vec![1], ..message(payment) },
        message(merchant),
        meant(vec![field(1, "seconds", Kind::Int64), field(2, "nanos", Kind::Int32)], Meaning::Timestamp),
        message(vec![text(1, "key"), field(2, "value", Kind::Int32)]),
        meant(vec![text(1, "value")], Meaning::Wrapper),
        meant(vec![field(1, "value", Kind::Bytes)], Meaning::Decimal),
    ];
    let enums = vec![vec![(0, "SHOP".to_owned()), (3, "BANK".to_owned())]];
    Messages::new(messages, enums, vec![0]).unwrap()
}

fn parser(names: &str, paths: &[(&str, &str)]) -> LineParser {
    let mut found = columns(InputFormat::Protobuf, names, &[]);
    for (name, path) in paths {
        found.column(name).path = Some(path.parse().unwrap());
    }
    let schemas = found.schemas.get_or_insert_default();
    schemas.insert(SchemaId::Number(7), WriterSchema::Protobuf(Arc::new(payments())));
    LineParser::new(Arc::new(found))
}

fn shown(parser: &mut LineParser, message: &[u8], header: Option<&[u8]>) -> Vec<String> {
    let mut parts = Vec::new();
    parser.each_with(message, header, |_, part| {
        parts.push(match part {
            Part::Line(line) => line.iter().map(value).collect::<Vec<_>>().join(" "),
            Part::Erroneous(reasons) => reasons.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
            Part::Deletion | Part::Nothing => "nothing".to_owned(),
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

fn varint(mut rest: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while rest >= 0x80 {
        bytes.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    bytes.push(rest as u8);
    bytes
}

fn number(field: u64, number: u64) -> Vec<u8> {
    [varint(field << 3), varint(number)].concat()
}

fn part(field: u64, bytes: &[u8]) -> Vec<u8> {
    [varint(field << 3 | 2), varint(bytes.len() as u64), bytes.to_vec()].concat()
}

/// The first message of the schema with these parts.
fn framed(parts: &[Vec<u8>]) -> Vec<u8> {
    [&lead_of(SchemaId::Number(7))[..], &[0], &parts.concat()].concat()
}

fn payment() -> Vec<Vec<u8>> {
    let merchant = |shop: &str, no: i64| [part(1, shop.as_bytes()), number(2, no as u64)].concat();
    vec![
        number(99, 5),
        part(1, b"p-1"),
        part(2, &merchant("s1", -4)),
        [vec![3 << 3 | 1], 12.5f64.to_le_bytes().to_vec()].concat(),
        part(4, &[number(1, 1_283_332_920), number(2, 250_000_000)].concat()),
        part(5, &[varint(7), varint(8)].concat()),
        number(5, 9),
        part(6, &[part(1, b"a"), number(2, 1)].concat()),
        part(6, &part(1, b"zero")),
        part(7, b"1234"),
        number(8, 50),
        number(9, 3),
        part(11, &merchant("o1", 1)),
        part(11, &merchant("o2", 2)),
        part(12, &part(1, b"wrapped")),
        part(13, &[part(1, &[0x30, 0x39]), number(2, 9), number(3, 2)].concat()),
        [vec![14 << 3 | 1], u64::MAX.to_le_bytes().to_vec()].concat(),
    ]
}

#[test]
fn fields_reach_columns_by_their_paths() {
    let names = "id shop no:int amount:float at:datetime third:int fourth:int zero:int card cash:int kind maybe:int second \
                 named exact:float large";
    let paths = [
        ("shop", "merchant.shopId"),
        ("no", "merchant.no"),
        ("third", "counts[2]"),
        ("fourth", "counts[3]"),
        ("zero", "tags.zero"),
        ("second", "others[1].shop_id"),
    ];
    let mut parser = parser(&names.split_whitespace().collect::<Vec<_>>().join(" "), &paths);
    let line = "p-1 s1 -4 12.5 2010-09-01T09:22:00.250Z 9 - 0 - 50 BANK - o2 wrapped 123.45 18446744073709551615";
    assert_eq!(shown(&mut parser, &framed(&payment()), None), [line]);
    let header = [&lead_of(SchemaId::Number(7))[..], &[0]].concat();
    assert_eq!(shown(&mut parser, &payment().concat(), Some(&header)), [line]);
    // What is not there is zero, unless it can be told from that; the last one of two counts.
    let absent = "- - - 0.0 - - - - - - SHOP - - - - 0";
    assert_eq!(shown(&mut parser, &framed(&[]), None), [absent]);
    let twice = framed(&[part(1, b"x"), part(2, &part(1, b"s")), part(1, b"y"), part(2, &number(2, 3))]);
    assert!(shown(&mut parser, &twice, None)[0].starts_with("y s 3 0.0 -"), "parts of a message are one");
}

#[test]
fn a_message_in_a_message_is_found_by_its_places_and_what_is_none_is_erroneous() {
    let mut parser = parser("shop_id no:int", &[]);
    let with = |places: &[u8], body: &[u8]| [&lead_of(SchemaId::Number(7))[..], places, body].concat();
    let body = [part(1, b"s1"), number(2, 4)].concat();
    assert_eq!(shown(&mut parser, &with(&[4, 0, 0], &body), None), ["s1 4"]);
    for places in [&[2, 2][..], &[4, 0, 2], &[1, 0], &[], &[0xff]] {
        assert_eq!(shown(&mut parser, &with(places, &body), None), ["not_protobuf"], "{places:?}");
    }
    for bad in [&[0x08][..], &[0x0a, 5, 1], &[0x00], &[0x10, 1, 0x0f], &[0x12, 1, 1], &[0x0c]] {
        assert_eq!(shown(&mut parser, &with(&[4, 0, 0], bad), None), ["not_protobuf"], "{bad:?}");
    }
    assert_eq!(shown(&mut parser, &with(&[4, 0, 0], &part(1, &[0xff])), None), ["invalid_utf8:shop_id"]);
    let groups = |n: usize| with(&[4, 0, 0], &[vec![0x1b; n], vec![0x1c; n], body.clone()].concat());
    assert_eq!(shown(&mut parser, &groups(50), None), ["s1 4"]);
    assert_eq!(shown(&mut parser, &groups(100_000), None), ["nested_too_deep"]);
}

#[test]
fn what_refers_to_nothing_is_no_schema() {
    let message = |kind| MessageType { fields: vec![field(1, "x", kind)], ..MessageType::default() };
    assert!(Messages::new(vec![message(Kind::Message(1))], Vec::new(), vec![0]).is_none());
    assert!(Messages::new(vec![message(Kind::Enum(0))], Vec::new(), vec![0]).is_none());
    assert!(Messages::new(vec![message(Kind::Bool)], Vec::new(), vec![1]).is_none());
    assert!(Messages::new(vec![message(Kind::Bool)], Vec::new(), vec![0]).is_some());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_bytes_have_one_outcome_and_none_panics(
        bytes in prop::collection::vec(any::<u8>(), 0..60),
        parts in prop::collection::vec(prop::sample::select((0..17usize).collect::<Vec<_>>()), 0..6),
    ) {
        let names = "id shop no:int at:datetime third:int zero:int kind named exact:float";
        let paths = [("shop", "merchant.shop_id"), ("no", "others[0].no"), ("third", "counts[2]"), ("zero", "tags.zero")];
        let mut parser = parser(names, &paths);
        let mut torn: Vec<Vec<u8>> = parts.iter().map(|place| payment()[*place].clone()).collect();
        torn.push(bytes.clone());
        for message in [framed(&torn), framed(std::slice::from_ref(&bytes)), [&lead_of(SchemaId::Number(7))[..], &bytes].concat()] {
            prop_assert_eq!(shown(&mut parser, &message, None).len(), 1);
        }
    }
}
