//! From bytes to records and their fields: CSV after RFC 4180, as bytes.
//!
//! A stream delivers one record a message; a file holds many. Both are taken apart by the same automaton
//! (`csv-core`), so a record has the same fields wherever it came from.

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
        Self { reader: Reader::new(), fields }
    }

    /// The fields of a message that holds one record, or `None` when it holds none or more than one.
    pub fn split_one(&mut self, record: &[u8]) -> Option<&Fields> {
        self.reader.reset();
        let consumed = self.read(record)?;
        let rest = &record[consumed..];
        rest.iter().all(|byte| matches!(byte, b'\r' | b'\n')).then_some(&self.fields)
    }

    /// Reads one record from the start of `input`; the bytes it took, or `None` when none is left.
    fn read(&mut self, input: &[u8]) -> Option<usize> {
        let (mut consumed, mut written, mut ends) = (0, 0, 0);
        loop {
            let (result, used, out, fields) = self.reader.read_record(
                &input[consumed..],
                &mut self.fields.bytes[written..],
                &mut self.fields.ends[ends..],
            );
            consumed += used;
            written += out;
            ends += fields;
            match result {
                // More input never comes: the next call, with none, ends the last record.
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputFull => self.fields.bytes.resize(self.fields.bytes.len() * 2, 0),
                ReadRecordResult::OutputEndsFull => self.fields.ends.resize(self.fields.ends.len() * 2, 0),
                ReadRecordResult::Record => {
                    self.fields.len = ends;
                    return Some(consumed);
                }
                ReadRecordResult::End => return None,
            }
        }
    }
}

/// One record of a file.
#[derive(Debug)]
pub struct FileRecord<'a> {
    /// The line the record starts on, from 1.
    pub line: u64,
    /// The record as it stands in the file, without its line ending.
    pub raw: &'a [u8],
    /// Its fields.
    pub fields: &'a Fields,
}

/// The records of a whole file held in memory; a byte order mark and empty lines are passed over.
#[derive(Debug)]
pub struct FileRecords<'a> {
    rest: &'a [u8],
    line: u64,
    splitter: Splitter,
}

impl<'a> FileRecords<'a> {
    /// Reads records from `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        let rest = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
        Self { rest, line: 1, splitter: Splitter::new() }
    }

    /// The next record, or `None` at the end of the file.
    // A lending iterator: the fields live in a buffer that the next call reuses.
    pub fn next_record(&mut self) -> Option<FileRecord<'_>> {
        self.skip_line_endings();
        self.splitter.reader.reset();
        let consumed = self.splitter.read(self.rest)?;
        let (taken, rest) = self.rest.split_at(consumed);
        let line = self.line;
        self.rest = rest;
        self.line += taken.iter().filter(|&&byte| byte == b'\n').count() as u64;
        let end = taken.len() - taken.iter().rev().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        Some(FileRecord { line, raw: &taken[..end], fields: &self.splitter.fields })
    }

    /// How many bytes are still to be read.
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    fn skip_line_endings(&mut self) {
        let blank = self.rest.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        self.line += self.rest[..blank].iter().filter(|&&byte| byte == b'\n').count() as u64;
        self.rest = &self.rest[blank..];
    }
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

    #[test]
    fn file_records_know_their_line() {
        let mut records = FileRecords::new(b"\xEF\xBB\xBFh\r\n\r\n\"x\ny\"\nlast");
        let mut seen = Vec::new();
        while let Some(record) = records.next_record() {
            seen.push((record.line, record.raw.to_vec()));
        }
        assert_eq!(seen, vec![(1, b"h".to_vec()), (3, b"\"x\ny\"".to_vec()), (5, b"last".to_vec())]);
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
            let mut records = FileRecords::new(text.as_bytes());
            for row in &rows {
                let record = records.next_record().expect("a record for every row");
                let found: Vec<_> = record.fields.iter().map(|field| String::from_utf8(field.to_vec()).unwrap()).collect();
                prop_assert_eq!(&found, row);
                // The raw bytes of the file's record split into the same fields as a message of their own.
                let raw = record.raw.to_vec();
                prop_assert_eq!(fields(&raw).unwrap().len(), row.len());
            }
            prop_assert!(records.next_record().is_none());
        }

        #[test]
        fn any_bytes_end(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut records = FileRecords::new(&bytes);
            let mut count = 0;
            while records.next_record().is_some() { count += 1; }
            prop_assert!(count <= bytes.len());
            let _ = fields(&bytes);
        }
    }
}
