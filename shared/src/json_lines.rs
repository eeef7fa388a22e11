//! Files of JSON lines: a record a line, taken apart no further.

use std::io::{self, BufRead, BufReader, Read};

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Most bytes of a line ending.
const LINE_ENDING: usize = 2;

/// Bytes that are read at a time.
const READ_BYTES: usize = 256 << 10;

/// One line of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JsonLine<'a> {
    /// Its number, from 1.
    pub line: u64,
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
                return Ok(Some(JsonLine { line: self.line, len, raw: &[] }));
            }
            if !self.raw[mark..end].trim_ascii().is_empty() {
                return Ok(Some(JsonLine { line: self.line, len, raw: &self.raw[mark..end] }));
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
