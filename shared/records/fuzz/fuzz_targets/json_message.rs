//! Any bytes as a message of JSON, in every envelope and with every place of records: each record alone has the fate that it
//! has among the others.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use records::line::LineParser;
use records::schema::{InputFormat, Schema};
use records_fuzz::{outcomes, schema, shape};

fuzz_target!(|bytes: &[u8]| {
    let Some((choice, message)) = bytes.split_first() else { return };
    let mut parser = LineParser::new(Arc::new(Schema { json: shape(*choice), ..schema(InputFormat::Json) }));
    outcomes(&mut parser, message);
});
