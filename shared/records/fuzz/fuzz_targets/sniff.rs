//! Any bytes as a file that a pipeline is to be made of: there are findings, or a reason why there are none.
#![no_main]

use libfuzzer_sys::fuzz_target;
use records::sniff::{Writing, avro, csv, json, study};

fuzz_target!(|bytes: &[u8]| {
    let Some((choice, file)) = bytes.split_first() else { return };
    let mut doubts = Vec::new();
    let (writing, sample) = match choice % 3 {
        0 => {
            let header = [None, Some(true), Some(false)][usize::from(choice / 3 % 3)];
            let Ok(dialect) = csv::layout(file, true, header, &mut doubts) else { return };
            let Ok(sample) = csv::sample(file, &dialect) else { return };
            (Writing::Csv(Box::new(dialect)), sample)
        }
        1 => {
            let Ok((sample, shape)) = json::sample(file) else { return };
            (Writing::Json(shape), sample)
        }
        _ => {
            let Ok(sample) = avro::sample(file) else { return };
            (Writing::Table, sample)
        }
    };
    if let Ok(findings) = study(writing, &sample, doubts) {
        assert!(findings.roles.key < findings.columns.len(), "the key is a column");
    }
});
