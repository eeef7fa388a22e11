//! Any bytes as a message of Protobuf, by a schema with every kind of field.
#![no_main]

use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use records::protobuf::{FieldType, Kind, Meaning, MessageType, Messages};
use records::schema::InputFormat;
use records::schemas::WriterSchema;
use records_fuzz::{LEAD, framed_parser, outcomes, shape};

fn field(number: u32, name: &str, kind: Kind) -> FieldType {
    FieldType {
        number,
        names: [name.to_owned(), name.to_owned()],
        kind,
        is_list: false,
        is_map: false,
        has_presence: matches!(kind, Kind::Message(_)),
        one_of: None,
    }
}

fn list(field: FieldType) -> FieldType {
    FieldType { is_list: true, ..field }
}

static PAYMENT: LazyLock<Arc<Messages>> = LazyLock::new(|| {
    let message = |fields| MessageType { fields, ..MessageType::default() };
    let payment = vec![
        field(1, "id", Kind::String),
        field(2, "deep", Kind::Message(1)),
        list(field(3, "items", Kind::Message(2))),
        field(4, "at", Kind::Message(3)),
        FieldType { one_of: Some(0), has_presence: true, ..field(5, "note", Kind::String) },
        FieldType { one_of: Some(0), has_presence: true, ..field(6, "maybe", Kind::Float) },
        list(field(7, "counts", Kind::Sint64)),
        FieldType { is_map: true, ..list(field(8, "tags", Kind::Message(4))) },
        field(9, "kind", Kind::Enum(0)),
        field(10, "old", Kind::Group),
    ];
    let messages = vec![
        MessageType { inside: vec![1, 2], ..message(payment) },
        message(vec![field(1, "amount", Kind::Double), field(2, "amount_too", Kind::Fixed64)]),
        message(vec![field(1, "count", Kind::Uint32), field(2, "again", Kind::Message(0))]),
        MessageType {
            meaning: Some(Meaning::Timestamp),
            ..message(vec![field(1, "seconds", Kind::Int64), field(2, "nanos", Kind::Int32)])
        },
        message(vec![field(1, "key", Kind::String), field(2, "value", Kind::Sfixed32)]),
    ];
    let enums = vec![vec![(0, "SHOP".to_owned()), (1, "BANK".to_owned())]];
    Arc::new(Messages::new(messages, enums, vec![0]).expect("the places are there"))
});

fuzz_target!(|bytes: &[u8]| {
    let Some((choice, body)) = bytes.split_first() else { return };
    let writer = WriterSchema::Protobuf(Arc::clone(&PAYMENT));
    let mut parser = framed_parser(InputFormat::Protobuf, writer, shape(*choice));
    // The zero says that the message is the first of its schema.
    outcomes(&mut parser, &[&LEAD[..], &[0], body].concat());
    outcomes(&mut parser, &[&LEAD[..], body].concat());
});
