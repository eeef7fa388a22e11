//! Any bytes as a file of JSON lines: read in pieces it has the lines that it has when it is read whole.
#![no_main]

use std::io::Read;

use libfuzzer_sys::fuzz_target;
use records::json_lines::JsonLines;
use records_fuzz::Dribble;

fn lines(source: impl Read, max: usize) -> Vec<(u64, usize, Vec<u8>)> {
    let mut lines = JsonLines::new(source, max);
    let mut seen = Vec::new();
    while let Ok(Some(line)) = lines.next_line() {
        assert!(line.len <= max || line.raw.is_empty(), "a line that is too large is not kept");
        seen.push((line.line, line.len.min(max + 1), line.raw.to_vec()));
    }
    seen
}

fuzz_target!(|bytes: &[u8]| {
    let Some((&[max, step], file)) = bytes.split_first_chunk::<2>() else { return };
    let max = usize::from(max);
    let whole = lines(file, max);
    assert_eq!(whole, lines(Dribble(file, usize::from(step)), max));
    let bytes: usize = whole.iter().map(|(_, _, raw)| raw.len()).sum();
    assert!(bytes <= file.len(), "nothing comes twice");
});
