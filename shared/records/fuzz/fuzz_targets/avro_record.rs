//! Any bytes as a record of Avro, by a schema with every kind of type, in every envelope.
#![no_main]

use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use records::avro::Schema;
use records::schema::InputFormat;
use records::schemas::WriterSchema;
use records_fuzz::{LEAD, framed_parser, outcomes, shape};

static PAYMENT: LazyLock<Arc<Schema>> = LazyLock::new(|| {
    let text = r#"{"type":"record","name":"Payment","fields":[
        {"name":"skipped","type":{"type":"map","values":["null","string",{"type":"fixed","name":"F","size":3}]}},
        {"name":"id","type":[{"type":"string"},"long","null"]},
        {"name":"deep","type":{"type":"record","name":"Deep","fields":[
            {"name":"amount","type":{"type":"bytes","logicalType":"decimal","precision":18,"scale":2}}]}},
        {"name":"items","type":{"type":"array","items":{"type":"record","name":"Item","fields":[
            {"name":"count","type":["int","double","boolean"]}]}}},
        {"name":"at","type":{"type":"long","logicalType":"timestamp-micros"}},
        {"name":"note","type":{"type":"enum","name":"Note","symbols":["A","B"]}},
        {"name":"maybe","type":["null","float"]},
        {"name":"again","type":["null","Payment"]}]}"#;
    Arc::new(Schema::parse(text, &[]).expect("the schema is one"))
});

fuzz_target!(|bytes: &[u8]| {
    let Some((choice, body)) = bytes.split_first() else { return };
    let mut parser = framed_parser(InputFormat::Avro, WriterSchema::Avro(Arc::clone(&PAYMENT)), shape(*choice));
    outcomes(&mut parser, &[&LEAD[..], body].concat());
    // And as they are: they may name another schema, or none.
    outcomes(&mut parser, body);
});
