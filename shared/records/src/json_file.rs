//! Files of JSON: a record a line or, in an array, one after the other, however the array is laid out.

use std::io::{self, BufRead, BufReader, Chain, Cursor, Read};

use crate::json_lines::{BYTE_ORDER_MARK, JsonLine, JsonLines, READ_BYTES};
use crate::magic::{self, HEAD_BYTES};

/// The records of a file of JSON.
///
/// Memory holds one buffer of the file and one record.
#[derive(Debug)]
pub enum JsonFile<R> {
    /// Each line is one.
    Lines(JsonLines<Whole<R>>),
    /// They stand in an array.
    Array(JsonArray<Whole<R>>),
}

/// A file whose first bytes were looked at.
pub type Whole<R> = Chain<Cursor<Vec<u8>>, R>;

impl<R: Read> JsonFile<R> {
    /// Looks at how a file begins. A record with more than `max_record_bytes` bytes is counted and not kept. Where
    /// `lines_are_arrays`, a line that is an array is one record, and an array over several lines holds one a value.
    ///
    /// # Errors
    /// What reading gives.
    pub fn new(mut source: R, max_record_bytes: usize, lines_are_arrays: bool) -> io::Result<Self> {
        let mut head = Vec::new();
        source.by_ref().take(HEAD_BYTES as u64).read_to_end(&mut head)?;
        let is_array = magic::is_json_array(&head) && !(lines_are_arrays && begins_with_whole_line(&head));
        let mut whole = Cursor::new(head).chain(source);
        if !is_array {
            return Ok(Self::Lines(JsonLines::new(whole, max_record_bytes)));
        }
        if whole.get_ref().0.get_ref().starts_with(BYTE_ORDER_MARK) {
            whole.get_mut().0.set_position(BYTE_ORDER_MARK.len() as u64);
        }
        Ok(Self::Array(JsonArray::new(whole, max_record_bytes)))
    }

    /// The next record, or `None` at the end of the file.
    ///
    /// # Errors
    /// What reading gives; an array that has no end.
    // A lending iterator: the record lives in a buffer that the next call reuses.
    pub fn next_record(&mut self) -> io::Result<Option<JsonLine<'_>>> {
        match self {
            Self::Lines(lines) => lines.next_line(),
            Self::Array(array) => array.next_record(),
        }
    }
}

/// Whether the first line of an array goes to the array's end, as far as the first bytes of a file show it.
fn begins_with_whole_line(head: &[u8]) -> bool {
    let text = head.strip_prefix(BYTE_ORDER_MARK).unwrap_or(head).trim_ascii_start();
    match text.iter().position(|byte| *byte == b'\n') {
        Some(end) => text[..end].trim_ascii_end().ends_with(b"]"),
        None => true,
    }
}

/// The values of an array, or of one array after the other. What stands between arrays is read line by line.
///
/// A value ends at a comma, or at the end of the array; what it is, is for others to say. Texts go over no line break, as
/// JSON has it, so that a forgotten quote ends with its line.
#[derive(Debug)]
pub struct JsonArray<R> {
    source: BufReader<R>,
    raw: Vec<u8>,
    place: Place,
    /// The number of the line that is read.
    line: u64,
    /// The line on which the last record begins, and how many do.
    begun: (u64, u32),
    max_record_bytes: usize,
}

/// Where reading stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Between arrays.
    Outside,
    /// In an array, behind its beginning.
    AtFirst,
    /// In an array, behind a comma.
    AfterComma,
}

impl<R: Read> JsonArray<R> {
    fn new(source: R, max_record_bytes: usize) -> Self {
        Self {
            source: BufReader::with_capacity(READ_BYTES, source),
            raw: Vec::new(),
            place: Place::Outside,
            line: 1,
            begun: (0, 0),
            max_record_bytes,
        }
    }

    fn next_record(&mut self) -> io::Result<Option<JsonLine<'_>>> {
        loop {
            match (self.peek_past_blanks()?, self.place) {
                (None, Place::Outside) => return Ok(None),
                (None, Place::AtFirst | Place::AfterComma) => return Err(self.without_end(self.line)),
                (Some(b'['), Place::Outside) => self.place = Place::AtFirst,
                (Some(b']'), Place::AtFirst) => self.place = Place::Outside,
                (Some(_), _) => return self.record().map(Some),
            }
            self.source.consume(1);
        }
    }

    /// The next byte that is not blank, which is not taken.
    fn peek_past_blanks(&mut self) -> io::Result<Option<u8>> {
        loop {
            let bytes = self.source.fill_buf()?;
            let blanks = bytes.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
            let found = bytes.get(blanks).copied();
            let is_end = bytes.is_empty();
            self.line += line_breaks(&bytes[..blanks]);
            self.source.consume(blanks);
            if found.is_some() || is_end {
                return Ok(found);
            }
        }
    }

    /// The record that begins here, to its end.
    fn record(&mut self) -> io::Result<JsonLine<'_>> {
        let line = self.line;
        self.begun = if self.begun.0 == line { (line, self.begun.1 + 1) } else { (line, 0) };
        let item = Some(self.begun.1).filter(|before| *before > 0);
        let mut scan = Scan { is_outside: self.place == Place::Outside, ..Scan::default() };
        // Bytes up to here, and up to the last one that is not blank.
        let (mut read, mut len) = (0usize, 0usize);
        self.raw.clear();
        let end = loop {
            let bytes = self.source.fill_buf()?;
            if bytes.is_empty() && !scan.is_outside {
                return Err(self.without_end(line));
            }
            let (n, end) = scan.skip_to_end(bytes);
            let taken = &bytes[..n];
            if let Some(last) = taken.iter().rposition(|byte| !byte.is_ascii_whitespace()) {
                len = read + last + 1;
            }
            read += n;
            let room = self.max_record_bytes.saturating_sub(self.raw.len());
            self.raw.extend_from_slice(&taken[..n.min(room)]);
            self.line += line_breaks(taken);
            let is_end = end.is_some() || bytes.is_empty();
            // A line break is passed over with the blanks that follow.
            let delimiter = usize::from(matches!(end, Some(b',' | b']')));
            self.source.consume(n + delimiter);
            if is_end {
                break end;
            }
        };
        self.place = match end {
            Some(b',') => Place::AfterComma,
            _ => Place::Outside,
        };
        let raw: &[u8] = match &self.raw[..] {
            _ if len > self.max_record_bytes => &[],
            // Nothing between two commas: no message has no byte without being a tombstone.
            _ if len == 0 => &b","[..],
            raw => &raw[..len],
        };
        Ok(JsonLine { line, item, len: len.max(raw.len()), raw })
    }

    fn without_end(&self, line: u64) -> io::Error {
        let place = match self.begun {
            (0, _) => format!("on line {line} has no end"),
            (last, _) => format!("has no end behind the record on line {last}"),
        };
        io::Error::other(format!("the JSON array {place}: the file may not be whole"))
    }
}

fn line_breaks(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|byte| **byte == b'\n').count() as u64
}

/// How far a value has been read.
#[derive(Debug, Default)]
struct Scan {
    /// Whether it stands in no array: then it ends with its line.
    is_outside: bool,
    /// How many objects and arrays are open.
    depth: u64,
    is_text: bool,
    is_escaped: bool,
}

impl Scan {
    /// How many of `bytes` belong to the value, and the byte that ends it, if it is among them.
    fn skip_to_end(&mut self, bytes: &[u8]) -> (usize, Option<u8>) {
        for (at, &byte) in bytes.iter().enumerate() {
            match byte {
                b'\n' if self.is_outside => return (at, Some(byte)),
                _ if self.is_outside => {}
                b'\n' => (self.is_text, self.is_escaped) = (false, false),
                _ if self.is_escaped => self.is_escaped = false,
                b'\\' if self.is_text => self.is_escaped = true,
                b'"' => self.is_text = !self.is_text,
                _ if self.is_text => {}
                b'{' | b'[' => self.depth += 1,
                b',' | b']' if self.depth == 0 => return (at, Some(byte)),
                b'}' | b']' => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
        }
        (bytes.len(), None)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    /// A source that gives a few bytes at a time, as a slow pipe does.
    struct Dribble<'a>(&'a [u8], usize);

    impl Read for Dribble<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let size = self.1.min(buffer.len());
            self.0.read(&mut buffer[..size])
        }
    }

    /// Line, place in it, length and bytes of every record, and the error at the end.
    type Seen = (Vec<(u64, Option<u32>, usize, Vec<u8>)>, Option<String>);

    fn records(source: impl Read, max_record_bytes: usize, lines_are_arrays: bool) -> Seen {
        let mut file = JsonFile::new(source, max_record_bytes, lines_are_arrays).unwrap();
        let mut seen = Vec::new();
        loop {
            match file.next_record() {
                Ok(Some(JsonLine { line, item, len, raw })) => seen.push((line, item, len, raw.to_vec())),
                Ok(None) => return (seen, None),
                Err(error) => return (seen, Some(error.to_string())),
            }
        }
    }

    /// Line and text of every record of a file that has an end.
    fn texts(text: &str) -> Vec<(u64, String)> {
        let (seen, error) = records(text.as_bytes(), 100, false);
        assert_eq!(error, None, "{text}");
        seen.into_iter().map(|(line, _, _, raw)| (line, String::from_utf8(raw).unwrap())).collect()
    }

    fn numbered(lines: &[(u64, &str)]) -> Vec<(u64, String)> {
        lines.iter().map(|(line, text)| (*line, (*text).to_owned())).collect()
    }

    #[test]
    fn an_array_over_many_lines_is_its_values_by_the_lines_on_which_they_begin() {
        let pretty =
            "\u{feff}[\n  {\n    \"a\": 1,\n    \"b\": [1, {\"c\": \"],}\\\"\"}]\n  },\n\n  {\"a\":2} ,{}\n]\n\n";
        let first = "{\n    \"a\": 1,\n    \"b\": [1, {\"c\": \"],}\\\"\"}]\n  }";
        assert_eq!(texts(pretty), numbered(&[(2, first), (7, "{\"a\":2}"), (7, "{}")]));
        let items: Vec<_> = records(pretty.as_bytes(), 100, false).0.into_iter().map(|(_, item, ..)| item).collect();
        assert_eq!(items, [None, None, Some(1)], "the place of one that is not the first on its line");
        assert_eq!(texts("[]"), []);
        assert_eq!(texts("[ ]\n[{}]\n{\"a\":3}\n"), numbered(&[(2, "{}"), (3, "{\"a\":3}")]));
        assert_eq!(texts("[{}] {}\n7"), numbered(&[(1, "{}"), (1, "{}"), (2, "7")]));
    }

    #[test]
    fn what_is_no_value_is_a_record_and_the_next_one_is_read() {
        assert_eq!(
            texts("[{\"a\":\"open\n},\n{\"b\":1},\nnonsense,,\n{\"c\":1} {\"d\":1},\n]"),
            numbered(&[
                (1, "{\"a\":\"open\n}"),
                (3, "{\"b\":1}"),
                (4, "nonsense"),
                (4, ","),
                (5, "{\"c\":1} {\"d\":1}"),
                (6, ",")
            ])
        );
        let error = |text: &str| records(text.as_bytes(), 100, false).1.unwrap_or_default();
        let sentence = "the JSON array has no end behind the record on line 3: the file may not be whole";
        assert_eq!(error("[\n{},\n{\"a\":[1},\n{}\n"), sentence);
        assert_eq!(error("[\n{},\n{}"), sentence);
        assert_eq!(error("[\n{},\n{},"), sentence);
        assert_eq!(error("["), "the JSON array on line 1 has no end: the file may not be whole");
    }

    #[test]
    fn a_record_that_is_too_large_has_no_bytes_and_the_next_one_is_whole() {
        let file = format!("[\n{{\"a\":\"{}\"}}   ,\n{{\"a\":1}}]", "x".repeat(3 << 20));
        let mut array = JsonFile::new(file.as_bytes(), 1000, false).unwrap();
        let record = array.next_record().unwrap().unwrap();
        assert_eq!((record.line, record.len, record.raw.len()), (2, (3 << 20) + 8, 0));
        let record = array.next_record().unwrap().unwrap();
        assert_eq!((record.line, record.raw), (3, &b"{\"a\":1}"[..]));
        let JsonFile::Array(array) = array else { panic!("an array") };
        assert!(array.raw.capacity() <= 4096, "{}", array.raw.capacity());
    }

    #[test]
    fn lines_that_are_arrays_stay_lines_where_they_are_records() {
        let lines = "[{\"a\":1},{\"a\":2}]\n[{\"a\":3}]\n";
        let count = |text: &str| records(text.as_bytes(), 100, true).0.len();
        assert_eq!(count(lines), 2);
        assert_eq!(count("[{\"a\":1},{\"a\":2}]"), 1);
        assert_eq!(count("[\n{\"a\":1},\n{\"a\":2}]"), 2);
        assert_eq!(records(lines.as_bytes(), 100, false).0.len(), 3);
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<i32>().prop_map(Value::from),
            "[a\"\\\\,\\[\\]{}\n\u{e9} ]{0,6}".prop_map(Value::from)
        ];
        leaf.prop_recursive(3, 12, 3, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                proptest::collection::vec(("[a-c]{1,2}", inner), 0..3)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn an_array_is_its_values_however_it_is_laid_out(
            values in proptest::collection::vec(value(), 0..8), step in 1..40usize,
        ) {
            let array = Value::from([vec![serde_json::json!({})], values].concat());
            let of = |text: &str| {
                let (seen, error) = records(Dribble(text.as_bytes(), step), 1 << 20, false);
                assert_eq!(error, None);
                seen.into_iter().map(|(_, _, _, raw)| serde_json::from_slice(&raw).unwrap()).collect::<Vec<Value>>()
            };
            prop_assert_eq!(&Value::from(of(&array.to_string())), &array);
            prop_assert_eq!(&Value::from(of(&serde_json::to_string_pretty(&array).unwrap())), &array);
        }

        #[test]
        fn pieces_are_the_whole(
            text in "\\[[\\[{ ]([\\[\\]{},\"\\\\ \na:1]|\r\n){0,60}", step in 1..9usize, max in 0..30usize, arrays in any::<bool>(),
        ) {
            let whole = records(text.as_bytes(), max, arrays);
            prop_assert_eq!(&records(Dribble(text.as_bytes(), step), max, arrays), &whole);
            let bytes: usize = whole.0.iter().map(|(_, _, _, raw)| if raw == b"," { 0 } else { raw.len() }).sum();
            prop_assert!(bytes <= text.len(), "nothing comes twice");
            let lines = text.split('\n').count() as u64;
            prop_assert!(whole.0.iter().all(|(line, ..)| (1..=lines).contains(line)));
            // What ends nowhere is said; all else has been read.
            prop_assert!(whole.0.windows(2).all(|pair| (pair[0].0, pair[0].1) < (pair[1].0, pair[1].1)));
        }
    }
}
