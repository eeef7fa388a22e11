//! Any bytes as a message of CSV in any dialect: it has one outcome.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use records::line::LineParser;
use records::schema::{InputFormat, Schema};
use records_fuzz::{dialect, outcomes, schema};

fuzz_target!(|bytes: &[u8]| {
    let Some((choice, message)) = bytes.split_first_chunk::<3>() else { return };
    let mut parser = LineParser::new(Arc::new(Schema { csv: dialect(*choice), ..schema(InputFormat::Csv) }));
    assert_eq!(outcomes(&mut parser, message).len(), 1);
});
