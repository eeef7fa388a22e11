//! Any bytes as a file of JSON, of lines or of arrays: read in pieces it has the records that it has when it is read whole.
#![no_main]

use std::io::Read;

use libfuzzer_sys::fuzz_target;
use records::json_file::JsonFile;
use records_fuzz::Dribble;

/// The records, and whether the file has an end.
type Seen = (Vec<(u64, Option<u32>, usize, Vec<u8>)>, bool);

fn records(source: impl Read, max: usize, lines_are_arrays: bool) -> Seen {
    let mut file = JsonFile::new(source, max, lines_are_arrays).expect("memory can be read");
    let mut seen = Vec::new();
    loop {
        match file.next_record() {
            Ok(Some(record)) => {
                // Nothing between two commas is a comma.
                let is_kept = record.len <= max || record.raw.is_empty() || record.raw == b",";
                assert!(is_kept, "a record that is too large is not kept");
                seen.push((record.line, record.item, record.len.min(max + 1), record.raw.to_vec()));
            }
            Ok(None) => return (seen, true),
            Err(_) => return (seen, false),
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Some((&[max, step], file)) = bytes.split_first_chunk::<2>() else { return };
    let (max, lines_are_arrays) = (usize::from(max), step >= 128);
    let whole = records(file, max, lines_are_arrays);
    assert_eq!(whole, records(Dribble(file, usize::from(step % 128)), max, lines_are_arrays));
    let bytes: usize = whole.0.iter().map(|(.., raw)| raw.len()).sum();
    assert!(bytes <= file.len() + 1, "nothing comes twice");
});
