//! From bytes to records and their fields: CSV after RFC 4180, as bytes.
//!
//! A stream delivers one record a message; a file holds many. Both are taken apart by the same automaton
//! (`csv-core`), so a record has the same fields wherever it came from.

use std::io::{self, Read};

use csv_core::{ReadRecordResult, Reader};

/// The fields of one record: unquoted bytes, one after the other.
#[derive(Debug, Default, Clone)]
pub struct Fields {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    len: usize,
}

impl Fields {
    /// How many fields the record has.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no field at all.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The bytes of field `index`.
    ///
    /// # Panics
    /// When `index` is not below [`Fields::len`].
    pub fn get(&self, index: usize) -> &[u8] {
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        &self.bytes[start..self.ends[index]]
    }

    /// The fields in order.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.len).map(|index| self.get(index))
    }
}

/// Takes records apart into [`Fields`], reusing its buffers.
#[derive(Debug, Clone)]
pub struct Splitter {
    reader: Reader,
    fields: Fields,
    /// Bytes and ends of fields that the record under way has so far.
    written: usize,
    ends: usize,
}

/// What became of a record when it was given more bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// It goes on after them.
    More,
    /// It is whole.
    Whole,
    /// There is none: the input has ended.
    End,
}

impl Default for Splitter {
    fn default() -> Self {
        Self::new()
    }
}

impl Splitter {
    /// A splitter for comma-separated records with double quotes.
    pub fn new() -> Self {
        let fields = Fields { bytes: vec![0; 512], ends: vec![0; 16], len: 0 };
        Self { reader: Reader::new(), fields, written: 0, ends: 0 }
    }

    /// The fields of a message that holds one record, or `None` when it holds none or more than one.
    pub fn split_one(&mut self, record: &[u8]) -> Option<&Fields> {
        self.begin();
        let (consumed, mut progress) = self.feed(record);
        if progress == Progress::More {
            (_, progress) = self.feed(&[]);
        }
        let rest = &record[consumed..];
        let is_one = progress == Progress::Whole && rest.iter().all(|byte| matches!(byte, b'\r' | b'\n'));
        is_one.then_some(&self.fields)
    }

    /// Begins a record.
    fn begin(&mut self) {
        self.reader.reset();
        self.forget();
    }

    /// Forgets what the record under way holds, but not where in it the automaton is.
    fn forget(&mut self) {
        (self.written, self.ends, self.fields.len) = (0, 0, 0);
    }

    /// Goes on with `input`, of which an empty one is the end of all: how many bytes it took, and what became of the
    /// record.
    fn feed(&mut self, input: &[u8]) -> (usize, Progress) {
        let mut consumed = 0;
        loop {
            let (result, used, out, fields) = self.reader.read_record(
                &input[consumed..],
                &mut self.fields.bytes[self.written..],
                &mut self.fields.ends[self.ends..],
            );
            consumed += used;
            self.written += out;
            self.ends += fields;
            match result {
                ReadRecordResult::InputEmpty => return (consumed, Progress::More),
                ReadRecordResult::OutputFull => self.fields.bytes.resize(self.fields.bytes.len() * 2, 0),
                ReadRecordResult::OutputEndsFull => self.fields.ends.resize(self.fields.ends.len() * 2, 0),
                ReadRecordResult::Record => {
                    self.fields.len = self.ends;
                    return (consumed, Progress::Whole);
                }
                ReadRecordResult::End => return (consumed, Progress::End),
            }
        }
    }
}

const BYTE_ORDER_MARK: [u8; 3] = *b"\xEF\xBB\xBF";

/// Most bytes of a line ending.
const LINE_ENDING: usize = 2;

/// Bytes that are read at a time.
const READ_BYTES: usize = 256 << 10;

/// One record of a file.
#[derive(Debug)]
pub struct FileRecord<'a> {
    /// The line the record starts on, from 1.
    pub line: u64,
    /// Its bytes in the file, without its line ending.
    pub len: usize,
    /// The record as it stands in the file, without its line ending; empty when it is too large.
    pub raw: &'a [u8],
    /// Its fields; none when it is too large.
    pub fields: &'a Fields,
}

/// The records of a file; a byte order mark and empty lines are passed over.
///
/// The file is read a buffer at a time, and a record may go over any number of them: memory holds one buffer and one
/// record.
#[derive(Debug)]
pub struct FileRecords<R> {
    source: R,
    /// Bytes that were read: up to `start` they are done with, from `next` on nobody has looked at them.
    buffer: Vec<u8>,
    start: usize,
    next: usize,
    has_ended: bool,
    line: u64,
    max_record_bytes: usize,
    splitter: Splitter,
}

impl<R: Read> FileRecords<R> {
    /// Reads records from `source`, such as a file or the bytes of one. Of a record with more than `max_record_bytes`
    /// bytes only the length is known.
    ///
    /// # Errors
    /// What reading the first bytes gives.
    pub fn new(source: R, max_record_bytes: usize) -> io::Result<Self> {
        let (buffer, splitter) = (Vec::new(), Splitter::new());
        let mut records =
            Self { source, buffer, start: 0, next: 0, has_ended: false, line: 1, max_record_bytes, splitter };
        records.read_at_least(BYTE_ORDER_MARK.len())?;
        if records.buffer.starts_with(&BYTE_ORDER_MARK) {
            (records.start, records.next) = (BYTE_ORDER_MARK.len(), BYTE_ORDER_MARK.len());
        }
        Ok(records)
    }

    /// The next record, or `None` at the end of the file.
    ///
    /// # Errors
    /// What reading gives.
    // A lending iterator: the record lives in buffers that the next call reuses.
    pub fn next_record(&mut self) -> io::Result<Option<FileRecord<'_>>> {
        self.skip_line_endings()?;
        // The automaton passes over a byte order mark, but only over one that it is given whole.
        self.read_at_least(BYTE_ORDER_MARK.len())?;
        let line = self.line;
        Ok(self.take_record()?.map(|len| {
            let raw = &self.buffer[self.start..self.next];
            let raw = &raw[..len.min(raw.len())];
            FileRecord { line, len, raw, fields: &self.splitter.fields }
        }))
    }

    /// Reads on until a record is whole, and leaves its bytes between `start` and `next`; its length, without the line
    /// ending.
    fn take_record(&mut self) -> io::Result<Option<usize>> {
        self.splitter.begin();
        let (mut len, mut line_ending, mut is_cut) = (0, 0, false);
        loop {
            if self.next == self.buffer.len() {
                self.read_more()?;
            }
            let (consumed, progress) = self.splitter.feed(&self.buffer[self.next..]);
            let taken = &self.buffer[self.next..self.next + consumed];
            let at_end = taken.iter().rev().take_while(|byte| is_line_ending(**byte)).count();
            line_ending = if at_end == taken.len() { line_ending + at_end } else { at_end };
            len += taken.len();
            self.line += line_breaks(taken);
            self.next += consumed;
            is_cut |= match progress {
                Progress::End => return Ok(None),
                Progress::Whole => len - line_ending > self.max_record_bytes,
                Progress::More => len > self.max_record_bytes.saturating_add(LINE_ENDING),
            };
            if is_cut {
                self.splitter.forget();
                self.start = self.next;
            }
            if progress == Progress::Whole {
                // Line breaks at the end of a record that is too large do not make it small enough.
                let least = if is_cut { self.max_record_bytes.saturating_add(1) } else { 0 };
                return Ok(Some(least.max(len - line_ending)));
            }
        }
    }

    fn skip_line_endings(&mut self) -> io::Result<()> {
        loop {
            let rest = &self.buffer[self.next..];
            let blank = rest.iter().take_while(|byte| is_line_ending(**byte)).count();
            self.line += line_breaks(&rest[..blank]);
            self.next += blank;
            self.start = self.next;
            if self.next < self.buffer.len() || !self.read_more()? {
                return Ok(());
            }
        }
    }

    /// Reads until so many bytes wait, or the source has ended.
    fn read_at_least(&mut self, bytes: usize) -> io::Result<()> {
        while self.buffer.len() - self.next < bytes && self.read_more()? {}
        Ok(())
    }

    /// Reads more bytes and lets go of those that are done with; whether there were any.
    fn read_more(&mut self) -> io::Result<bool> {
        if self.has_ended {
            return Ok(false);
        }
        self.buffer.drain(..self.start);
        self.next -= self.start;
        self.start = 0;
        let read = self.source.by_ref().take(READ_BYTES as u64).read_to_end(&mut self.buffer)?;
        self.has_ended = read == 0;
        Ok(!self.has_ended)
    }
}

fn is_line_ending(byte: u8) -> bool {
    matches!(byte, b'\r' | b'\n')
}

fn line_breaks(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|&&byte| byte == b'\n').count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fields(record: &[u8]) -> Option<Vec<Vec<u8>>> {
        Splitter::new().split_one(record).map(|fields| fields.iter().map(<[u8]>::to_vec).collect())
    }

    #[test]
    fn quoted_fields_keep_commas_quotes_and_line_breaks() {
        let found = fields(b"1,\"a, \"\"b\"\"\nc\",").unwrap();
        assert_eq!(found, vec![b"1".to_vec(), b"a, \"b\"\nc".to_vec(), b"".to_vec()]);
    }

    #[test]
    fn a_message_holds_exactly_one_record() {
        assert_eq!(fields(b""), None);
        assert_eq!(fields(b"\n"), None);
        assert_eq!(fields(b"a,b\nc,d"), None);
        assert_eq!(fields(b"a,b\r\n").unwrap().len(), 2);
    }

    /// A source that gives a few bytes at a time, as a slow pipe does.
    struct Dribble<'a>(&'a [u8], usize);

    impl Read for Dribble<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let size = self.1.min(buffer.len());
            self.0.read(&mut buffer[..size])
        }
    }

    /// Line, length, bytes and fields of a record.
    type Seen = (u64, usize, Vec<u8>, Vec<Vec<u8>>);

    fn records(source: impl Read, max_record_bytes: usize) -> Vec<Seen> {
        let mut records = FileRecords::new(source, max_record_bytes).unwrap();
        let mut seen = Vec::new();
        while let Some(FileRecord { line, len, raw, fields }) = records.next_record().unwrap() {
            seen.push((line, len, raw.to_vec(), fields.iter().map(<[u8]>::to_vec).collect()));
        }
        seen
    }

    #[test]
    fn file_records_know_their_line() {
        let bytes = b"\xEF\xBB\xBFh\r\n\r\n\"x\ny\"\nlast";
        for step in [1, 2, 3, 100] {
            let seen = records(Dribble(bytes, step), 100);
            let seen: Vec<(u64, &[u8])> = seen.iter().map(|(line, _, raw, _)| (*line, raw.as_slice())).collect();
            assert_eq!(seen, [(1, &b"h"[..]), (3, b"\"x\ny\""), (5, b"last")]);
        }
    }

    #[test]
    fn a_record_that_is_too_large_has_only_a_length() {
        let bytes = b"a,b\r\n12345\n\"123\n5\"\n123456\n1,2";
        for step in [1, 4, 100] {
            let seen = records(Dribble(bytes, step), 5);
            let seen: Vec<_> =
                seen.iter().map(|(line, len, raw, fields)| (*line, *len, raw.len(), fields.len())).collect();
            assert_eq!(seen, [(1, 3, 3, 2), (2, 5, 5, 1), (3, 7, 0, 0), (5, 6, 0, 0), (6, 3, 3, 2)]);
        }
    }

    #[test]
    fn an_unclosed_quote_takes_no_more_memory_than_the_largest_record() {
        let mut bytes = b"a\n\"".to_vec();
        bytes.resize(4 << 20, b'x');
        let mut records = FileRecords::new(bytes.as_slice(), 1000).unwrap();
        assert_eq!(records.next_record().unwrap().map(|record| record.len), Some(1));
        assert_eq!(records.next_record().unwrap().map(|record| record.len), Some((4 << 20) - 2));
        assert!(records.buffer.capacity() <= 4 * READ_BYTES, "{}", records.buffer.capacity());
        assert!(records.splitter.fields.bytes.capacity() <= 4 * READ_BYTES);
    }

    fn quote(field: &str) -> String {
        format!("\"{}\"", field.replace('"', "\"\""))
    }

    proptest! {
        #[test]
        fn what_was_quoted_is_read_back(rows in proptest::collection::vec(
            proptest::collection::vec(".{0,20}", 1..12), 1..20)) {
            let text: String = rows.iter()
                .map(|row| row.iter().map(|field| quote(field)).collect::<Vec<_>>().join(",") + "\n").collect();
            let found = records(text.as_bytes(), usize::MAX);
            prop_assert_eq!(found.len(), rows.len());
            for ((_, len, raw, found), row) in found.iter().zip(&rows) {
                let found: Vec<&str> = found.iter().map(|field| std::str::from_utf8(field).unwrap()).collect();
                prop_assert_eq!(&found, row);
                // The raw bytes of the file's record split into the same fields as a message of their own.
                prop_assert_eq!((raw.len(), fields(raw).unwrap().len()), (*len, row.len()));
            }
        }

        #[test]
        fn records_are_the_same_however_the_bytes_come(
            bytes in proptest::collection::vec(prop_oneof![Just(b'"'), Just(b','), Just(b'\n'), Just(b'\r'), Just(b'x'),
                Just(0xEF), Just(0xBB), Just(0xBF), any::<u8>()], 0..200),
            step in 1..9usize,
        ) {
            let whole = records(bytes.as_slice(), 1000);
            prop_assert_eq!(records(Dribble(&bytes, step), 1000), whole.clone());
            let breaks = bytes.iter().filter(|&&byte| byte == b'\n').count() as u64;
            prop_assert!(whole.iter().all(|(line, ..)| *line <= breaks + 1));
            // A smaller limit takes the content of those records away that exceed it, and changes no other.
            for (cut, whole) in records(Dribble(&bytes, step), 20).into_iter().zip(whole) {
                prop_assert_eq!(cut.0, whole.0);
                if cut.1 <= 20 { prop_assert_eq!(cut, whole) } else { prop_assert!(cut.2.is_empty() && cut.3.is_empty()) }
            }
        }

        #[test]
        fn any_bytes_end(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(records(bytes.as_slice(), 1000).len() <= bytes.len());
            let _ = fields(&bytes);
        }
    }
}
