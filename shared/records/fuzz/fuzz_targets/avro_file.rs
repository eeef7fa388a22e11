//! Any bytes as a file of Avro: it is refused, or its records are the same in pieces and whole, and each has an outcome.
#![no_main]

use std::io::Read;
use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use records::avro::AvroFile;
use records::schema::{InputFormat, MessageShape};
use records::schemas::WriterSchema;
use records_fuzz::{Dribble, LEAD, framed_parser, outcomes};

/// Its records, and how it ended.
fn records(source: impl Read) -> (Vec<Vec<u8>>, String) {
    let mut file = match AvroFile::new(source) {
        Ok(file) => file,
        Err(error) => return (Vec::new(), error.to_string()),
    };
    let mut seen = Vec::new();
    loop {
        match file.next_record() {
            Ok(Some(record)) => seen.push(record.raw.to_vec()),
            Ok(None) => return (seen, String::new()),
            Err(error) => return (seen, error.to_string()),
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Some((step, file)) = bytes.split_first() else { return };
    let (whole, end) = records(file);
    assert_eq!((whole.clone(), end), records(Dribble(file, usize::from(*step))));
    let Ok(opened) = AvroFile::new(file) else { return };
    let writer = WriterSchema::Avro(Arc::clone(opened.schema()));
    let mut parser = framed_parser(InputFormat::Avro, writer, MessageShape::default());
    for record in whole.iter().take(100) {
        outcomes(&mut parser, &[&LEAD[..], record].concat());
    }
});
