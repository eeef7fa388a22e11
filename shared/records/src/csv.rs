//! From bytes to records and their fields: CSV after RFC 4180, as bytes.
//!
//! A stream delivers one record a message; a file holds many. Both are taken apart by the same automaton
//! (`csv-core`), so a record has the same fields wherever it came from. The automaton takes every text for CSV; `fault`
//! knows the rules of quotes.

mod sections;
#[cfg(test)]
mod tests;

use std::io::{self, Read};

use csv_core::{ReadRecordResult, Reader, ReaderBuilder};
use encoding_rs_io::{DecodeReaderBytes, DecodeReaderBytesBuilder};
use memchr::{memchr, memchr_iter, memchr2};

use crate::dialect::Dialect;
use crate::reason::Reason;

pub use sections::{SectionRecords, Windows, line_starts};

/// The fields of one record: unquoted bytes, one after the other.
#[derive(Debug, Default, Clone)]
pub struct Fields {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    len: usize,
    /// How many bytes stand between two fields.
    gap: usize,
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
        let start = if index == 0 { 0 } else { self.ends[index - 1] + self.gap };
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
    delimiter: u8,
    quote: Option<u8>,
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

impl Splitter {
    /// A splitter for records with these delimiters and quotes.
    pub fn new(dialect: &Dialect) -> Self {
        let fields = Fields { bytes: vec![0; 512], ends: vec![0; 16], len: 0, gap: 0 };
        let Dialect { delimiter, quote, .. } = *dialect;
        let mut builder = ReaderBuilder::new();
        builder.delimiter(delimiter).quoting(quote.is_some()).quote(quote.unwrap_or(b'"'));
        Self { reader: builder.build(), delimiter, quote, fields, written: 0, ends: 0 }
    }

    /// The fields of a message that holds one record.
    ///
    /// # Errors
    /// It breaks the rules of quotes, or holds no record or more than one.
    pub fn split_one(&mut self, record: &[u8]) -> Result<&Fields, Reason> {
        if self.split_plain(record) { Ok(&self.fields) } else { self.split_any(record) }
    }

    /// Takes a record apart that holds nothing but texts and delimiters, as most do; whether it is one. The automaton would find
    /// the same fields, a byte at a time.
    fn split_plain(&mut self, record: &[u8]) -> bool {
        let is_quoted = self.quote.is_some_and(|quote| memchr(quote, record).is_some());
        let is_plain = !is_quoted && !record.is_empty() && memchr2(b'\r', b'\n', record).is_none();
        if !is_plain || record.starts_with(&BYTE_ORDER_MARK) {
            return false;
        }
        let Fields { bytes, ends, len, gap } = &mut self.fields;
        if bytes.len() < record.len() {
            bytes.resize(record.len(), 0);
        }
        bytes[..record.len()].copy_from_slice(record);
        (*len, *gap) = (0, 1);
        for end in memchr_iter(self.delimiter, record).chain([record.len()]) {
            if *len == ends.len() {
                ends.resize(2 * ends.len(), 0);
            }
            ends[*len] = end;
            *len += 1;
        }
        true
    }

    fn split_any(&mut self, record: &[u8]) -> Result<&Fields, Reason> {
        if let Some(fault) = self.fault(record) {
            return Err(fault);
        }
        self.begin();
        let (consumed, mut progress) = self.feed(record);
        if progress == Progress::More {
            (_, progress) = self.feed(&[]);
        }
        let rest = &record[consumed..];
        let is_one = progress == Progress::Whole && rest.iter().all(|byte| matches!(byte, b'\r' | b'\n'));
        if is_one { Ok(&self.fields) } else { Err(Reason::NotOneRecord) }
    }

    fn fault(&self, record: &[u8]) -> Option<Reason> {
        fault(record, self.delimiter, self.quote?)
    }

    /// Begins a record.
    fn begin(&mut self) {
        self.reader.reset();
        self.forget();
    }

    /// Forgets what the record under way holds, but not where in it the automaton is.
    fn forget(&mut self) {
        (self.written, self.ends, self.fields.len, self.fields.gap) = (0, 0, 0, 0);
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

/// How a record breaks the rules of quotes (RFC 4180, section 2, rules 5 to 7), if it does: a field that begins with a quote
/// ends with one, and nothing stands between that and the next delimiter. A quote within other fields is a character.
fn fault(record: &[u8], delimiter: u8, quote: u8) -> Option<Reason> {
    // Most records have no quote at all.
    memchr(quote, record)?;
    let mut rest = record;
    loop {
        if let Some(quoted) = rest.strip_prefix(&[quote]) {
            let Some(after) = after_quoted(quoted, quote) else { return Some(Reason::UnclosedQuote) };
            rest = after;
            match rest.first() {
                None | Some(b'\r' | b'\n') => return None,
                Some(byte) if *byte == delimiter => {}
                Some(_) => return Some(Reason::TextAfterQuote),
            }
        }
        rest = &rest[memchr(delimiter, rest)? + 1..];
    }
}

/// What follows the quote that closes a field; two in a row are a quote in the field.
fn after_quoted(mut rest: &[u8], quote: u8) -> Option<&[u8]> {
    loop {
        rest = &rest[memchr(quote, rest)? + 1..];
        match rest.strip_prefix(&[quote]) {
            Some(behind) => rest = behind,
            None => return Some(rest),
        }
    }
}

const BYTE_ORDER_MARK: [u8; 3] = *b"\xEF\xBB\xBF";

/// Most bytes of a line ending.
const LINE_ENDING: usize = 2;

/// Bytes that are read at a time.
const READ_BYTES: usize = 256 << 10;

/// Bytes that are decoded at a time, where a file is not in UTF-8.
const DECODED_BYTES: usize = 64 << 10;

/// One record of a file.
#[derive(Debug)]
pub struct FileRecord<'a> {
    /// The line the record starts on, from 1.
    pub line: u64,
    /// Its bytes in the file, without its line ending.
    pub len: usize,
    /// The record as it stands in the file, without its line ending; empty when it is too large.
    pub raw: &'a [u8],
    /// Its fields; none when it is too large or has a fault.
    pub fields: &'a Fields,
    /// How it breaks the rules of quotes, if it does. It is one line then: where a quote was forgotten, the lines that follow
    /// are records of their own.
    pub fault: Option<Reason>,
}

/// The records of a file, in UTF-8 whatever its encoding; byte order marks, empty lines and comments are passed over.
///
/// The file is read a buffer at a time, and a record may go over any number of them: memory holds one buffer and one
/// record.
#[derive(Debug)]
pub struct FileRecords<R> {
    source: DecodeReaderBytes<R, Vec<u8>>,
    /// Bytes that were read: up to `start` they are done with, from `next` on nobody has looked at them.
    buffer: Vec<u8>,
    start: usize,
    next: usize,
    has_ended: bool,
    /// Whether more was asked for after the end.
    is_short: bool,
    line: u64,
    max_record_bytes: usize,
    /// A record with line breaks that is larger has a quote that nobody closed.
    max_quoted_bytes: usize,
    comment: Option<u8>,
    splitter: Splitter,
}

/// What was taken of a file as a record.
struct Taken {
    /// Bytes, without the line ending.
    len: usize,
    fault: Option<Reason>,
}

impl<R: Read> FileRecords<R> {
    /// Reads records from `source`, such as a file or the bytes of one, that are written in this dialect; a mark of the byte
    /// order wins over its encoding. Of a record with more than `max_record_bytes` bytes only the length is known.
    ///
    /// # Errors
    /// What reading the first bytes gives.
    pub fn new(source: R, dialect: &Dialect, max_record_bytes: usize) -> io::Result<Self> {
        Self::with_limits(source, dialect, max_record_bytes, max_record_bytes)
    }

    /// As [`FileRecords::new`], but a record is kept whole however long its line is. A record that goes over several lines
    /// has at most `max_quoted_bytes` bytes; else a quote was not closed.
    ///
    /// # Errors
    /// What reading the first bytes gives.
    pub fn whole(source: R, dialect: &Dialect, max_quoted_bytes: usize) -> io::Result<Self> {
        Self::with_limits(source, dialect, usize::MAX, max_quoted_bytes)
    }

    fn with_limits(source: R, dialect: &Dialect, max_record_bytes: usize, max_quoted_bytes: usize) -> io::Result<Self> {
        let source = decoder(source, dialect)?;
        Ok(Self {
            source,
            buffer: Vec::new(),
            start: 0,
            next: 0,
            has_ended: false,
            is_short: false,
            line: 1,
            max_record_bytes,
            max_quoted_bytes,
            comment: dialect.comment,
            splitter: Splitter::new(dialect),
        })
    }

    /// The next record, or `None` at the end of the file.
    ///
    /// # Errors
    /// What reading gives.
    // A lending iterator: the record lives in buffers that the next call reuses.
    pub fn next_record(&mut self) -> io::Result<Option<FileRecord<'_>>> {
        self.skip_to_record()?;
        let line = self.line;
        let taken = self.take_record()?;
        Ok(taken.map(|taken| self.record(line, taken)))
    }

    /// The record that was taken last, which began on `line`.
    fn record(&self, line: u64, Taken { len, fault }: Taken) -> FileRecord<'_> {
        let raw = &self.buffer[self.start..self.next];
        let raw = &raw[..len.min(raw.len())];
        FileRecord { line, len, raw, fields: &self.splitter.fields, fault }
    }

    /// Reads on until a record is whole, and leaves its bytes between `start` and `next`.
    fn take_record(&mut self) -> io::Result<Option<Taken>> {
        self.splitter.begin();
        let first_line = self.line;
        let (mut len, mut line_ending, mut searched) = (0, 0, 0);
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
            let raw = &self.buffer[self.start..self.next];
            match progress {
                Progress::End => return Ok(None),
                Progress::Whole => {
                    let content = &raw[..len - line_ending];
                    let is_too_long = content.len() > self.max_record_bytes
                        || (content.len() > self.max_quoted_bytes && line_break(content).is_some());
                    if is_too_long || self.splitter.fault(content).is_some() {
                        return self.take_line(first_line).map(Some);
                    }
                    return Ok(Some(Taken { len: content.len(), fault: None }));
                }
                Progress::More => {
                    let is_beyond = |most: usize| len > most.saturating_add(LINE_ENDING);
                    let is_quoted = || line_break(&raw[searched..]).is_some();
                    if is_beyond(self.max_record_bytes) || (is_beyond(self.max_quoted_bytes) && is_quoted()) {
                        return self.take_line(first_line).map(Some);
                    }
                    searched = if is_beyond(self.max_quoted_bytes) { raw.len() } else { 0 };
                }
            }
        }
    }

    /// Takes one line in place of a record that has a fault or is too large: where a quote was forgotten, the lines that
    /// follow are records of their own.
    fn take_line(&mut self, first_line: u64) -> io::Result<Taken> {
        (self.line, self.next) = (first_line, self.start);
        let mut len = 0;
        loop {
            let rest = &self.buffer[self.next..];
            let end = line_break(rest);
            let taken = end.unwrap_or(rest.len());
            len += taken;
            self.next += taken;
            if len > self.max_record_bytes {
                self.start = self.next;
            }
            if end.is_some() || !self.read_more()? {
                break;
            }
        }
        self.splitter.forget();
        let is_kept = len <= self.max_record_bytes;
        let fault = if is_kept { self.splitter.fault(&self.buffer[self.start..self.next]) } else { None };
        Ok(Taken { len, fault })
    }

    /// Passes over what stands before a record: empty lines, comments, and byte order marks, which stand in the middle of a file
    /// that was put together from several.
    fn skip_to_record(&mut self) -> io::Result<()> {
        let mut in_comment = false;
        loop {
            let rest = &self.buffer[self.next..];
            let skipped = rest.iter().take_while(|&&byte| {
                if is_line_ending(byte) {
                    in_comment = false;
                } else if Some(byte) == self.comment {
                    in_comment = true;
                }
                in_comment || is_line_ending(byte)
            });
            let skipped = skipped.count();
            self.line += line_breaks(&rest[..skipped]);
            self.next += skipped;
            self.start = self.next;
            if self.next == self.buffer.len() {
                if self.read_more()? {
                    continue;
                }
                return Ok(());
            }
            self.read_at_least(BYTE_ORDER_MARK.len())?;
            if !self.buffer[self.next..].starts_with(&BYTE_ORDER_MARK) {
                return Ok(());
            }
            self.next += BYTE_ORDER_MARK.len();
            self.start = self.next;
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
            self.is_short = true;
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

/// The bytes of a source in UTF-8, whatever its encoding.
fn decoder<R: Read>(source: R, dialect: &Dialect) -> io::Result<DecodeReaderBytes<R, Vec<u8>>> {
    let encoding = (!dialect.encoding.is_utf8()).then(|| dialect.encoding.table());
    // Bytes that are no UTF-8 are left as they are: columns that nobody reads may hold them.
    DecodeReaderBytesBuilder::new()
        .encoding(encoding)
        .bom_override(true)
        .utf8_passthru(true)
        .build_with_buffer(source, vec![0; DECODED_BYTES])
        .map_err(io::Error::other)
}

/// Where the first line ends.
fn line_break(bytes: &[u8]) -> Option<usize> {
    memchr2(b'\n', b'\r', bytes)
}

fn is_line_ending(byte: u8) -> bool {
    matches!(byte, b'\r' | b'\n')
}

fn line_breaks(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|&&byte| byte == b'\n').count() as u64
}
