//! A file in sections, so that these are taken apart side by side.
//!
//! Where a record begins cannot be told from the middle of a file: a line break may stand in quotes, and a quote may have been
//! forgotten. So each section is read as if a record began there. Which of its records there really are is known once what
//! comes before was read: what is taken of a file from some place on depends on the bytes from there on alone, so if both a
//! reading from the front and that of a section begin a record at one place, they find the same from there on.

use std::io::{self, Empty, Read};

use encoding_rs_io::DecodeReaderBytes;
use memchr::memchr;

use super::{BYTE_ORDER_MARK, FileRecord, FileRecords, decoder};
use crate::dialect::Dialect;

/// The bytes of a file, in UTF-8 whatever its encoding and without a byte order mark, some at a time.
#[derive(Debug)]
pub struct Windows<R> {
    source: DecodeReaderBytes<R, Vec<u8>>,
    bytes: Vec<u8>,
    has_begun: bool,
    has_ended: bool,
    /// What reading gave after the bytes that are here.
    failure: Option<io::Error>,
}

impl<R: Read> Windows<R> {
    /// No bytes yet, of a file in this dialect; a mark of the byte order wins over its encoding.
    ///
    /// # Errors
    /// What reading the first bytes gives.
    pub fn new(source: R, dialect: &Dialect) -> io::Result<Self> {
        let source = decoder(source, dialect)?;
        Ok(Self { source, bytes: Vec::new(), has_begun: false, has_ended: false, failure: None })
    }

    /// Lets go of the first `done` bytes, and reads `more` after the others, or what is left of the file.
    ///
    /// # Errors
    /// What reading gives; if it gave bytes before that, the next time that some are asked for.
    ///
    /// # Panics
    /// When there are not as many bytes as `done`.
    pub fn advance(&mut self, done: usize, more: usize) -> io::Result<()> {
        self.bytes.drain(..done);
        if more == 0 {
            return Ok(());
        }
        if let Some(failure) = self.failure.take() {
            return Err(failure);
        }
        if self.has_ended {
            return Ok(());
        }
        let more = more.max(BYTE_ORDER_MARK.len());
        let before = self.bytes.len();
        let outcome = self.source.by_ref().take(more as u64).read_to_end(&mut self.bytes);
        let read = self.bytes.len() - before;
        match outcome {
            Ok(_) => self.has_ended = read < more,
            Err(failure) if read == 0 => return Err(failure),
            Err(failure) => self.failure = Some(failure),
        }
        if !std::mem::replace(&mut self.has_begun, true) && self.bytes.starts_with(&BYTE_ORDER_MARK) {
            self.bytes.drain(..BYTE_ORDER_MARK.len());
        }
        Ok(())
    }

    /// The bytes that are here.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether no byte follows them.
    pub fn has_ended(&self) -> bool {
        self.has_ended
    }
}

/// Where to cut `bytes` into up to `n_sections` sections of about the same size: 0, and places behind line breaks, rising.
pub fn line_starts(bytes: &[u8], n_sections: usize) -> Vec<usize> {
    let mut starts = vec![0];
    for section in 1..n_sections {
        let about = bytes.len() / n_sections * section;
        let Some(line_break) = memchr(b'\n', &bytes[about..]) else { break };
        let start = about + line_break + 1;
        if start < bytes.len() && starts.last().is_some_and(|last| start > *last) {
            starts.push(start);
        }
    }
    starts
}

/// The records of one section after the other, as far as they are certain: a record that more bytes could change is left.
#[derive(Debug)]
pub struct SectionRecords {
    records: FileRecords<Empty>,
    is_last: bool,
    /// Up to where records were certain, and the line there.
    rest: (usize, u64),
}

impl SectionRecords {
    /// No section yet. Of a record with more than `max_record_bytes` bytes only the length is known.
    ///
    /// # Errors
    /// None: nothing is read.
    pub fn new(dialect: &Dialect, max_record_bytes: usize) -> io::Result<Self> {
        let records = FileRecords::new(io::empty(), dialect, max_record_bytes)?;
        Ok(Self { records, is_last: false, rest: (0, 0) })
    }

    /// Begins with `bytes`, of which the first stands on `line`; if they are the last ones, the file ends with them.
    pub fn begin(&mut self, bytes: &[u8], line: u64, is_last: bool) {
        let records = &mut self.records;
        records.buffer.clear();
        records.buffer.extend_from_slice(bytes);
        (records.start, records.next, records.line) = (0, 0, line);
        (records.has_ended, records.is_short) = (true, false);
        (self.is_last, self.rest) = (is_last, (0, line));
    }

    /// The next record that is certain, and the place of its first byte.
    ///
    /// # Errors
    /// None: nothing is read.
    pub fn next_record(&mut self) -> io::Result<Option<(usize, FileRecord<'_>)>> {
        let before = (self.records.next, self.records.line);
        self.records.skip_to_record()?;
        let (start, line) = (self.records.next, self.records.line);
        if start == self.records.buffer.len() {
            // Only empty lines and comments were left. A comment that is not over goes on with the bytes that follow.
            let is_over = self.is_last || self.records.buffer.last().is_none_or(|last| *last == b'\n');
            self.rest = if is_over { (start, line) } else { before };
            return Ok(None);
        }
        let taken = self.records.take_record()?;
        if self.records.is_short && !self.is_last {
            self.rest = (start, line);
            return Ok(None);
        }
        self.rest = (self.records.next, self.records.line);
        Ok(taken.map(|taken| (start, self.records.record(line, taken))))
    }

    /// Up to where records were certain, and the line there: from here on bytes have to be read again, with those that follow.
    pub fn rest(&self) -> (usize, u64) {
        self.rest
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::reason::Reason;

    /// Place, line, length, bytes, fields and fault of a record.
    type Seen = (u64, usize, Vec<u8>, Vec<Vec<u8>>, Option<Reason>);

    fn seen(record: &FileRecord<'_>, line: u64) -> Seen {
        let fields = record.fields.iter().map(<[u8]>::to_vec).collect();
        (line, record.len, record.raw.to_vec(), fields, record.fault.clone())
    }

    fn whole(bytes: &[u8], dialect: &Dialect, most: usize) -> Vec<Seen> {
        let mut records = FileRecords::new(bytes, dialect, most).unwrap();
        let mut all = Vec::new();
        while let Some(record) = records.next_record().unwrap() {
            all.push(seen(&record, record.line));
        }
        all
    }

    /// Section after section, each from where the one before was no longer certain.
    fn in_windows(bytes: &[u8], dialect: &Dialect, most: usize, window: usize) -> Vec<Seen> {
        let mut windows = Windows::new(bytes, dialect).unwrap();
        let mut records = SectionRecords::new(dialect, most).unwrap();
        let (mut all, mut done, mut line) = (Vec::new(), 0, 1);
        loop {
            windows.advance(done, window).unwrap();
            records.begin(windows.bytes(), line, windows.has_ended());
            while let Some((_, record)) = records.next_record().unwrap() {
                all.push(seen(&record, record.line));
            }
            (done, line) = records.rest();
            if windows.has_ended() {
                return all;
            }
        }
    }

    fn any_bytes() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            3 => Just(vec![b'"']), 3 => Just(vec![b',']), 3 => Just(vec![b'\n']), 1 => Just(vec![b'\r']), 1 => Just(vec![b'#']),
            6 => Just(vec![b'x']), 1 => Just(BYTE_ORDER_MARK.to_vec()), 1 => Just(BYTE_ORDER_MARK[..2].to_vec()),
            1 => any::<u8>().prop_map(|byte| vec![byte]),
        ];
        proptest::collection::vec(piece, 0..300).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1024))]

        #[test]
        fn records_are_the_same_whatever_the_windows(
            bytes in any_bytes(), window in 1usize..50, most in 1usize..60, comment in prop_oneof![Just(None), Just(Some(b'#'))],
        ) {
            let dialect = Dialect { comment, ..Dialect::default() };
            let expected = whole(&bytes, &dialect, most);
            prop_assert_eq!(in_windows(&bytes, &dialect, most, window), expected);
        }

        /// What the merge of sections rests on.
        #[test]
        fn where_two_readings_begin_a_record_they_find_the_same_from_there_on(bytes in any_bytes(), most in 1usize..60) {
            let dialect = Dialect { comment: Some(b'#'), ..Dialect::default() };
            let from = |start: usize| {
                let mut records = SectionRecords::new(&dialect, most).unwrap();
                records.begin(&bytes[start..], 0, true);
                let mut all = Vec::new();
                while let Some((place, record)) = records.next_record().unwrap() {
                    all.push((start + place, seen(&record, 0)));
                }
                all
            };
            let front = from(0);
            for start in line_starts(&bytes, 7) {
                let section = from(start);
                let common = section.iter().position(|(place, _)| front.iter().any(|(other, _)| other == place));
                if let Some(index) = common {
                    let in_front = front.iter().position(|(place, _)| *place == section[index].0).unwrap();
                    prop_assert_eq!(&section[index..], &front[in_front..]);
                }
            }
        }

        #[test]
        fn sections_begin_behind_line_breaks(bytes in any_bytes(), n_sections in 1usize..9) {
            let starts = line_starts(&bytes, n_sections);
            prop_assert!(starts[0] == 0 && starts.len() <= n_sections && starts.is_sorted_by(|a, b| a < b));
            prop_assert!(starts[1..].iter().all(|&start| start < bytes.len() && bytes[start - 1] == b'\n'));
        }
    }

    /// Gives some bytes, and then fails.
    struct Broken<'a>(&'a [u8]);

    impl Read for Broken<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            match self.0.read(buffer)? {
                0 => Err(io::Error::other("broken")),
                read => Ok(read),
            }
        }
    }

    #[test]
    fn what_was_read_before_a_failure_is_handed_out_first() {
        let mut windows = Windows::new(Broken(b"a,b\n1,2\n"), &Dialect::default()).unwrap();
        windows.advance(0, 100).unwrap();
        assert_eq!((windows.bytes(), windows.has_ended()), (&b"a,b\n1,2\n"[..], false));
        assert_eq!(windows.advance(8, 100).unwrap_err().to_string(), "broken");
    }
}
