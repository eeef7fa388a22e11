//! Files of JSON lines: a record a line, taken apart no further.

use std::io::{self, BufRead, BufReader, Read};

use crate::json::MOST_RECORDS;

pub(crate) const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Most bytes of a line ending.
const LINE_ENDING: usize = 2;

/// Bytes that are read at a time.
pub(crate) const READ_BYTES: usize = 256 << 10;

/// One line of a file, or one record of an array in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JsonLine<'a> {
    /// Its number, from 1; of a record that goes over several lines, that of the first.
    pub line: u64,
    /// Its place among the records that begin on the line, where it is not the first.
    pub item: Option<u32>,
    /// Its bytes in the file, without its line ending; of a line that is too large, at least one too many.
    pub len: usize,
    /// The line as it stands in the file, without its line ending; empty when it is too large.
    pub raw: &'a [u8],
}

/// The lines of a file; a byte order mark and empty lines are passed over, and the last line needs no line break.
///
/// Memory holds one buffer of the file and one line.
#[derive(Debug)]
pub struct JsonLines<R> {
    source: BufReader<R>,
    raw: Vec<u8>,
    /// The number of the line that was read last.
    line: u64,
    max_record_bytes: usize,
}

impl JsonLine<'_> {
    /// The place on its line of a record that is the `index`th of this message, where the message holds several.
    pub fn item_of(&self, index: Option<u32>) -> Option<u32> {
        match (self.item, index) {
            (Some(item), Some(index)) => Some(item.saturating_mul(MOST_RECORDS as u32).saturating_add(index)),
            (item, index) => item.or(index),
        }
    }
}

impl<R: Read> JsonLines<R> {
    /// Reads lines from `source`, such as a file or the bytes of one. A line with more than `max_record_bytes` bytes is
    /// counted and not kept.
    pub fn new(source: R, max_record_bytes: usize) -> Self {
        Self { source: BufReader::with_capacity(READ_BYTES, source), raw: Vec::new(), line: 0, max_record_bytes }
    }

    /// The next line, or `None` at the end of the file.
    ///
    /// # Errors
    /// What reading gives.
    // A lending iterator: the line lives in a buffer that the next call reuses.
    pub fn next_line(&mut self) -> io::Result<Option<JsonLine<'_>>> {
        while self.read_line()? {
            let mark = if self.line == 1 && self.raw.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
            let end = content(&self.raw);
            let len = end.saturating_sub(mark);
            if len > self.max_record_bytes {
                self.skip_rest()?;
                return Ok(Some(JsonLine { line: self.line, item: None, len, raw: &[] }));
            }
            if !self.raw[mark..end].trim_ascii().is_empty() {
                return Ok(Some(JsonLine { line: self.line, item: None, len, raw: &self.raw[mark..end] }));
            }
        }
        Ok(None)
    }

    /// Reads a line, or as much of it as shows that it is too large; whether there was one.
    fn read_line(&mut self) -> io::Result<bool> {
        self.raw.clear();
        // One byte more than a line may have at most.
        let most = self.max_record_bytes.saturating_add(BYTE_ORDER_MARK.len() + LINE_ENDING + 1);
        let read = self.source.by_ref().take(most as u64).read_until(b'\n', &mut self.raw)?;
        self.line += u64::from(read > 0);
        Ok(read > 0)
    }

    /// Passes over what is left of a line that is too large.
    fn skip_rest(&mut self) -> io::Result<()> {
        if self.raw.last() != Some(&b'\n') {
            self.source.skip_until(b'\n')?;
        }
        Ok(())
    }
}

/// How many bytes come before the line ending.
fn content(raw: &[u8]) -> usize {
    let line = raw.strip_suffix(b"\n").unwrap_or(raw);
    line.strip_suffix(b"\r").unwrap_or(line).len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A source that gives a few bytes at a time, as a slow pipe does.
    struct Dribble<'a>(&'a [u8], usize);

    impl Read for Dribble<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let size = self.1.min(buffer.len());
            self.0.read(&mut buffer[..size])
        }
    }

    /// Number, length and bytes of every line.
    fn lines(source: impl Read, max_record_bytes: usize) -> Vec<(u64, usize, Vec<u8>)> {
        let mut lines = JsonLines::new(source, max_record_bytes);
        let mut seen = Vec::new();
        while let Some(JsonLine { line, len, raw, .. }) = lines.next_line().unwrap() {
            seen.push((line, len, raw.to_vec()));
        }
        seen
    }

    #[test]
    fn empty_lines_are_passed_over_and_the_last_needs_no_break() {
        let bytes = b"\xEF\xBB\xBF{}\r\n\r\n \t\n{ }\n\n\xEF\xBB\xBF\n{\"a\":1}";
        for step in [1, 2, 100] {
            let seen = lines(Dribble(bytes, step), 100);
            let seen: Vec<(u64, &[u8])> = seen.iter().map(|(line, _, raw)| (*line, raw.as_slice())).collect();
            assert_eq!(seen, [(1, &b"{}"[..]), (4, b"{ }"), (6, BYTE_ORDER_MARK), (7, b"{\"a\":1}")]);
        }
        assert!(lines(&b""[..], 100).is_empty() && lines(&b"\xEF\xBB\xBF\n\n"[..], 100).is_empty());
    }

    #[test]
    fn a_line_that_is_too_large_has_no_bytes_and_the_next_one_is_whole() {
        let seen = lines(&b"\xEF\xBB\xBF12345\r\n123456\n12345\n1234567890123\r\n\n123456"[..], 5);
        let seen: Vec<(u64, bool, usize)> = seen.iter().map(|(line, len, raw)| (*line, *len > 5, raw.len())).collect();
        assert_eq!(seen, [(1, false, 5), (2, true, 0), (3, false, 5), (4, true, 0), (6, true, 0)]);
    }

    #[test]
    fn a_file_without_line_breaks_takes_no_more_memory_than_the_largest_line() {
        let bytes = vec![b'x'; 4 << 20];
        let mut lines = JsonLines::new(bytes.as_slice(), 1000);
        assert!(lines.next_line().unwrap().is_some_and(|line| line.len > 1000 && line.raw.is_empty()));
        assert!(lines.next_line().unwrap().is_none());
        assert!(lines.raw.capacity() <= 4096, "{}", lines.raw.capacity());
    }

    proptest! {
        #[test]
        fn lines_are_those_of_the_text(
            texts in proptest::collection::vec("[ a\r]{0,9}", 0..20),
            step in 1..9usize,
            max in 0..12usize,
            ends in any::<bool>(),
        ) {
            let text = texts.join("\n") + if ends { "\n" } else { "" };
            let expected: Vec<(u64, Option<&str>)> = (1..).zip(text.split('\n'))
                .map(|(number, line)| (number, line.strip_suffix('\r').unwrap_or(line)))
                .filter(|(_, line)| line.len() > max || !line.trim_ascii().is_empty())
                .map(|(number, line)| (number, (line.len() <= max).then_some(line))).collect();
            let seen = lines(Dribble(text.as_bytes(), step), max);
            let seen: Vec<(u64, Option<&str>)> = seen.iter()
                .map(|(line, len, raw)| (*line, (*len <= max).then(|| std::str::from_utf8(raw).unwrap()))).collect();
            prop_assert_eq!(seen, expected);
        }
    }
}
