//! Payments a second through the parser, in each format: `cargo bench -p records`.
#![allow(clippy::unwrap_used, reason = "a bench that cannot go on panics")]

use std::hint::black_box;
use std::sync::Arc;

use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use records::avro;
use records::dialect::Dialect;
use records::framing::{SchemaId, lead_of};
use records::line::LineParser;
use records::schema::{Column, InputFormat, MessageShape, Schema};
use records::schemas::{Schemas, WriterSchema};
use records::time::DatetimeFormats;

/// Payments of one pass.
const N: usize = 1_000;

/// What is read: five of the twelve fields.
const COLUMNS: [&str; 5] = ["id", "user", "amount:float", "currency", "at:datetime"];

const WRITER: &str = r#"{"type":"record","name":"Payment","fields":[
    {"name":"id","type":"string"},{"name":"user","type":"string"},{"name":"merchant","type":{"type":"record","name":"Merchant","fields":[
        {"name":"id","type":"string"},{"name":"city","type":["null","string"]}]}},
    {"name":"amount","type":"double"},{"name":"currency","type":"string"},
    {"name":"at","type":{"type":"long","logicalType":"timestamp-millis"}},
    {"name":"channel","type":{"type":"enum","name":"Channel","symbols":["POS","WEB"]}},
    {"name":"latitude","type":["null","double"]},{"name":"longitude","type":["null","double"]},
    {"name":"tags","type":{"type":"array","items":"string"}}]}"#;

fn main() {
    divan::main();
}

fn parser(format: InputFormat, schemas: Option<Arc<Schemas>>) -> LineParser {
    let mut columns: Vec<Column> = COLUMNS.iter().map(|declared| declared.parse().unwrap()).collect();
    columns[0].max_bytes = Some(1024);
    LineParser::new(Arc::new(Schema {
        format,
        columns,
        csv: Dialect::default(),
        json: MessageShape::default(),
        schemas,
        datetime_formats: DatetimeFormats::read(&["unix_ms"], None).unwrap(),
        max_record_bytes: 1 << 20,
        currency: None,
        key: None,
    }))
}

fn run(bencher: Bencher<'_, '_>, mut parser: LineParser, messages: &[Vec<u8>]) {
    let bytes: usize = messages.iter().map(Vec::len).sum();
    bencher.counter(ItemsCount::new(N)).counter(BytesCount::new(bytes)).bench_local(|| {
        for message in messages {
            parser.parse(black_box(message), |line| black_box(line.len())).unwrap();
        }
    });
}

/// Id, user, merchant, amount and moment of payment `n`.
fn payment(n: usize) -> (String, String, String, f64, i64) {
    (
        format!("c4d30791ed7d{n:04}"),
        format!("u{:05}", n * 7),
        format!("m{}", n % 97),
        12.5 + n as f64 / 4.0,
        1_772_359_200_000 + n as i64,
    )
}

#[divan::bench]
fn json(bencher: Bencher<'_, '_>) {
    let message = |n| {
        let (id, user, merchant, amount, at) = payment(n);
        format!(
            r#"{{"id":"{id}","user":"{user}","merchant":{{"id":"{merchant}","city":"Vigo"}},"amount":{amount},"currency":"EUR","at":{at},"channel":"POS","latitude":42.25,"longitude":-8.75,"tags":["chip","home"]}}"#
        )
        .into_bytes()
    };
    run(bencher, parser(InputFormat::Json, None), &(0..N).map(message).collect::<Vec<_>>());
}

#[divan::bench]
fn avro(bencher: Bencher<'_, '_>) {
    let long = |number: i64| {
        let (mut bytes, mut rest) = (Vec::new(), ((number << 1) ^ (number >> 63)) as u64);
        while rest >= 0x80 {
            bytes.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        bytes.push(rest as u8);
        bytes
    };
    let text = |text: &str| [long(text.len() as i64), text.as_bytes().to_vec()].concat();
    let double = |number: f64| number.to_le_bytes().to_vec();
    let id = SchemaId::Number(7);
    let message = |n| {
        let (key, user, merchant, amount, at) = payment(n);
        let merchant = [text(&merchant), long(1), text("Vigo")].concat();
        let place = [long(1), double(42.25), long(1), double(-8.75)].concat();
        let tags = [long(2), text("chip"), text("home"), long(0)].concat();
        [lead_of(id), text(&key), text(&user), merchant, double(amount), text("EUR"), long(at), long(0), place, tags]
            .concat()
    };
    let schemas = Schemas::default();
    schemas.insert(id, WriterSchema::Avro(Arc::new(avro::Schema::parse(WRITER, &[]).unwrap())));
    run(bencher, parser(InputFormat::Avro, Some(Arc::new(schemas))), &(0..N).map(message).collect::<Vec<_>>());
}
