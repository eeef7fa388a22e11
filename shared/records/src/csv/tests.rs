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
        let seen: Vec<_> =
            all(records).into_iter().map(|((line, len, _, fields), fault)| (line, len, fields.len(), fault)).collect();
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
    let named = |name: &str| Dialect { encoding: crate::dialect::Encoding::of(name).unwrap(), ..Dialect::default() };
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
        let seen: Vec<_> = seen.iter().map(|(line, len, raw, fields)| (*line, *len, raw.len(), fields.len())).collect();
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
        let is_marked = bytes.windows(BYTE_ORDER_MARK.len()).any(|window| window == BYTE_ORDER_MARK);
        let is_plain = !bytes.contains(&b'"') && !is_marked && !is_utf16(&bytes);
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

#[test]
fn files_put_together_keep_every_record_wherever_a_mark_stands() {
    let first = [vec![b'x'; READ_BYTES - 1], b"\n".to_vec()].concat();
    // The marks stand before, across and behind the end of what is read at a time.
    for shorter in 0..5 {
        let bytes = [&first[shorter..], &BYTE_ORDER_MARK, b"\n", &BYTE_ORDER_MARK, b"a,b\n", &BYTE_ORDER_MARK].concat();
        for step in [1 << 10, usize::MAX] {
            let seen = records(Dribble(&bytes, step), READ_BYTES);
            let last: Vec<_> = seen.iter().skip(1).map(|(line, len, raw, _)| (*line, *len, raw.as_slice())).collect();
            assert_eq!(last, [(3, 3, &b"a,b"[..])], "{shorter} {step}");
        }
    }
}
