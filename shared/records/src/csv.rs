//! From bytes to records and their fields: CSV after RFC 4180, as bytes.
//!
//! A stream delivers one record a message; a file holds many. Both are taken apart by the same automaton
//! (`csv-core`), so a record has the same fields wherever it came from. The automaton takes every text for CSV; `fault`
//! knows the rules of quotes.

mod sections;

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

/// The records of a file, in UTF-8 whatever its encoding; a byte order mark, empty lines and comments are passed over.
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
        let mut records = Self {
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
        };
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
        // The automaton passes over a byte order mark, but only over one that it is given whole.
        self.read_at_least(BYTE_ORDER_MARK.len())?;
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

    /// Passes over what stands before a record: empty lines and comments.
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn split(record: &[u8]) -> Result<Vec<Vec<u8>>, Reason> {
        let mut splitter = Splitter::new(&Dialect::default());
        splitter.split_one(record).map(|fields| fields.iter().map(<[u8]>::to_vec).collect())
    }

    fn fields(record: &[u8]) -> Option<Vec<Vec<u8>>> {
        split(record).ok()
    }

    #[test]
    fn quoted_fields_keep_commas_quotes_and_line_breaks() {
        let found = fields(b"1,\"a, \"\"b\"\"\nc\",").unwrap();
        assert_eq!(found, vec![b"1".to_vec(), b"a, \"b\"\nc".to_vec(), b"".to_vec()]);
    }

    #[test]
    fn a_message_holds_exactly_one_record() {
        for none in [&b""[..], b"\n", b"a,b\nc,d"] {
            assert_eq!(split(none), Err(Reason::NotOneRecord));
        }
        assert_eq!(fields(b"a,b\r\n").unwrap().len(), 2);
    }

    #[test]
    fn quotes_have_rules() {
        for (record, fault) in [
            (&b"a,\"b"[..], Reason::UnclosedQuote),
            (b"a,\"b\"\"", Reason::UnclosedQuote),
            (b"\"", Reason::UnclosedQuote),
            (b"\"a\"b,c", Reason::TextAfterQuote),
            (b"\"a\" ,c", Reason::TextAfterQuote),
            (b"a,\"b\"\"c\"d", Reason::TextAfterQuote),
        ] {
            assert_eq!(split(record), Err(fault), "{}", String::from_utf8_lossy(record));
        }
        for (record, n_fields) in [(&b"a\"b,c"[..], 2), (b"\"a\",\"\"\r\n", 2), (b"6\" plate,\"7\"\"\"", 2)] {
            assert_eq!(split(record).map(|fields| fields.len()), Ok(n_fields));
        }
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

    fn all<R: Read>(mut records: FileRecords<R>) -> Vec<(Seen, Option<Reason>)> {
        let mut seen = Vec::new();
        while let Some(FileRecord { line, len, raw, fields, fault }) = records.next_record().unwrap() {
            seen.push(((line, len, raw.to_vec(), fields.iter().map(<[u8]>::to_vec).collect()), fault));
        }
        seen
    }

    fn records(source: impl Read, max_record_bytes: usize) -> Vec<Seen> {
        let records = FileRecords::new(source, &Dialect::default(), max_record_bytes).unwrap();
        all(records).into_iter().map(|(seen, _)| seen).collect()
    }

    #[test]
    fn a_forgotten_quote_costs_one_line() {
        let bytes = b"1,\"open\r\n2,b\n3,\"quoted, here\"\n4,\"two\nlines\"\n5,\"at the end\n6,f";
        for step in [1, 2, 7, 100] {
            let records = FileRecords::new(Dribble(bytes, step), &Dialect::default(), 100).unwrap();
            let seen: Vec<_> = all(records)
                .into_iter()
                .map(|((line, len, _, fields), fault)| (line, len, fields.len(), fault))
                .collect();
            let unclosed = Some(Reason::UnclosedQuote);
            assert_eq!(
                seen,
                [
                    (1, 7, 0, unclosed.clone()),
                    (2, 3, 2, None),
                    (3, 16, 2, None),
                    (4, 13, 2, None),
                    (6, 13, 0, unclosed),
                    (7, 3, 2, None),
                ]
            );
        }
    }

    #[test]
    fn a_quote_that_is_open_for_too_long_was_forgotten() {
        let mut bytes = b"h\n1,\"open\n".to_vec();
        (0..100_000).for_each(|row| bytes.extend(format!("{row},x\n").as_bytes()));
        for step in [100, 1 << 20] {
            let records = FileRecords::whole(Dribble(&bytes, step), &Dialect::default(), 1000).unwrap();
            let seen = all(records);
            assert_eq!(seen.len(), 100_002);
            assert_eq!((&seen[1].0.2[..], &seen[1].1), (&b"1,\"open"[..], &Some(Reason::UnclosedQuote)));
            assert!(seen[2..].iter().all(|(_, fault)| fault.is_none()));
            assert_eq!(seen[100_001].0.0, 100_002);
        }
    }

    #[test]
    fn a_dialect_is_read_as_its_own() {
        let dialect = Dialect { delimiter: b';', quote: Some(b'\''), comment: Some(b'#'), ..Dialect::default() };
        let bytes = b"# a;comment\n\n#another 'one\na;'b;c';\"d\n'#e';f;g\n";
        for step in [1, 3, 100] {
            let seen = all(FileRecords::new(Dribble(bytes, step), &dialect, 100).unwrap());
            let texts = |index: usize| {
                let ((line, _, _, fields), _) = &seen[index];
                (*line, fields.iter().map(|field| String::from_utf8_lossy(field).into_owned()).collect::<Vec<_>>())
            };
            assert_eq!(texts(0), (4, vec!["a".to_owned(), "b;c".to_owned(), "\"d".to_owned()]));
            assert_eq!(texts(1), (5, vec!["#e".to_owned(), "f".to_owned(), "g".to_owned()]));
            assert_eq!(seen.len(), 2);
        }
        // Without quotes, a quote is a character.
        let plain = Dialect { quote: None, delimiter: b'\t', ..Dialect::default() };
        let seen = all(FileRecords::new(&b"\"a\t'b\n"[..], &plain, 100).unwrap());
        assert_eq!((seen[0].0.3.len(), &seen[0].1), (2, &None));
    }

    #[test]
    fn a_file_is_utf8_whatever_it_was() {
        let utf16 = |mark: u16, bytes: fn(u16) -> [u8; 2]| -> Vec<u8> {
            std::iter::once(mark).chain("n,é\n1,£5\n".encode_utf16()).flat_map(bytes).collect()
        };
        let named =
            |name: &str| Dialect { encoding: crate::dialect::Encoding::of(name).unwrap(), ..Dialect::default() };
        for (bytes, dialect) in [
            (b"n,\xE9\n1,\xA35\n".to_vec(), named("latin1")),
            // The mark of the byte order tells.
            (utf16(0xFEFF, u16::to_le_bytes), Dialect::default()),
            (utf16(0xFEFF, u16::to_be_bytes), Dialect::default()),
            (utf16(0xFEFF, u16::to_be_bytes), named("latin1")),
            ("n,é\n1,£5\n".encode_utf16().flat_map(u16::to_le_bytes).collect(), named("utf-16")),
            ("\u{feff}n,é\n1,£5\n".as_bytes().to_vec(), Dialect::default()),
        ] {
            for step in [1, 2, 5, 100] {
                let seen = all(FileRecords::new(Dribble(&bytes, step), &dialect, 100).unwrap());
                let raw: Vec<&[u8]> = seen.iter().map(|((_, _, raw, _), _)| raw.as_slice()).collect();
                assert_eq!(raw, ["n,é".as_bytes(), "1,£5".as_bytes()], "{dialect:?} {step}");
            }
        }
        // What is no UTF-8 is left as it is.
        let seen = records(&b"1,\xA35\n"[..], 100);
        assert_eq!(seen[0].2, b"1,\xA35");
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
            // The third goes over two lines, and is too large for that.
            assert_eq!(seen, [(1, 3, 3, 2), (2, 5, 5, 1), (3, 4, 4, 0), (4, 2, 2, 1), (5, 6, 0, 0), (6, 3, 3, 2)]);
        }
    }

    #[test]
    fn an_unclosed_quote_takes_no_more_memory_than_the_largest_record() {
        let mut bytes = b"a\n\"".to_vec();
        bytes.resize(4 << 20, b'x');
        let mut records = FileRecords::new(bytes.as_slice(), &Dialect::default(), 1000).unwrap();
        assert_eq!(records.next_record().unwrap().map(|record| record.len), Some(1));
        assert_eq!(records.next_record().unwrap().map(|record| record.len), Some((4 << 20) - 2));
        assert!(records.buffer.capacity() <= 4 * READ_BYTES, "{}", records.buffer.capacity());
        assert!(records.splitter.fields.bytes.capacity() <= 4 * READ_BYTES);
    }

    fn is_utf16(bytes: &[u8]) -> bool {
        bytes.starts_with(b"\xFF\xFE") || bytes.starts_with(b"\xFE\xFF")
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
            // A smaller limit takes the content of lines away that exceed it, and is the same however the bytes come.
            let cut = records(Dribble(&bytes, step), 20);
            prop_assert_eq!(&cut, &records(bytes.as_slice(), 20));
            for (_, len, raw, fields) in &cut {
                let is_right = if *len > 20 { raw.is_empty() && fields.is_empty() } else { raw.len() == *len };
                prop_assert!(is_right);
            }
            // Nothing is lost: all that is no line break is in one record.
            let text = |seen: &[Seen]| seen.iter().map(|(_, len, ..)| *len).sum::<usize>();
            let is_plain = !bytes.contains(&b'"') && !bytes.starts_with(&BYTE_ORDER_MARK) && !is_utf16(&bytes);
            if is_plain {
                let content = bytes.iter().filter(|byte| !is_line_ending(**byte)).count();
                prop_assert_eq!((text(&cut), text(&whole)), (content, content));
            }
        }

        /// Whatever a message holds, its fields are those that the automaton finds.
        #[test]
        fn plain_records_have_the_fields_of_the_automaton(
            messages in proptest::collection::vec(proptest::collection::vec(prop_oneof![
                8 => Just(b','), 8 => Just(b'x'), 2 => any::<u8>(), 1 => Just(b'"'), 1 => Just(b'\n'), 1 => Just(0xEF),
            ], 0..60), 1..5),
            has_quotes in any::<bool>(),
        ) {
            let dialect = Dialect { quote: has_quotes.then_some(b'"'), ..Dialect::default() };
            let (mut plain, mut automaton) = (Splitter::new(&dialect), Splitter::new(&dialect));
            for message in messages {
                let found = plain.split_one(&message).map(|found| found.iter().map(<[u8]>::to_vec).collect::<Vec<_>>());
                let expected = automaton.split_any(&message);
                prop_assert_eq!(found, expected.map(|found| found.iter().map(<[u8]>::to_vec).collect::<Vec<_>>()));
            }
        }

        #[test]
        fn any_bytes_end(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(records(bytes.as_slice(), 1000).len() <= bytes.len());
            let _ = fields(&bytes);
        }
    }
}
