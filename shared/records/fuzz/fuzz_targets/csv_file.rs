//! Any bytes as a file of CSV in any dialect: read in pieces it has the records that it has when it is read whole, and each
//! record has an outcome.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use records::csv::FileRecords;
use records::line::{LineParser, Order};
use records::schema::{InputFormat, Schema};
use records_fuzz::{Dribble, dialect, file_records, schema};

fuzz_target!(|bytes: &[u8]| {
    let Some((choice, file)) = bytes.split_first_chunk::<4>() else { return };
    let [a, b, c, step] = *choice;
    let dialect = dialect([a, b, c]);
    let whole = file_records(file, &dialect);
    assert_eq!(whole, file_records(Dribble(file, usize::from(step)), &dialect));
    assert!(whole.len() <= file.len(), "a record takes a byte at least");

    let mut parser = LineParser::new(Arc::new(Schema { csv: dialect.clone(), ..schema(InputFormat::Csv) }));
    let Ok(mut records) = FileRecords::new(file, &dialect, parser.schema().max_record_bytes) else { return };
    while let Ok(Some(record)) = records.next_record() {
        if let Err(reasons) = parser.parse_file_record(&record, &Order::Same, |_| ()) {
            assert!(!reasons.is_empty(), "what is erroneous has a reason");
        }
    }
});
