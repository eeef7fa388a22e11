//! How a CSV file is written: encoding, delimiter, quotes, comments and header from its first bytes, and how numbers look and
//! what stands for nothing from its records.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::{self, Read};

use thiserror::Error;

use super::names::{Hint, strength};
use super::numbers::{self, is_numeric};
use super::sample::{Cell, Sample, Sampler};
use super::{About, Doubt};
use crate::csv::FileRecords;
use crate::dialect::{Dialect, Encoding, NULLS, Nulls, NumberStyle, shown_delimiter};
use crate::text::printable;

/// How many bytes of a file are looked at for its layout.
pub const HEAD_BYTES: usize = 1 << 20;

/// Records that are looked at for it.
const HEAD_RECORDS: usize = 500;

/// A longer record is none.
const MOST_BYTES: usize = 1 << 20;

/// Texts that stand for nothing in some files, though not everywhere: `NA` is Namibia too.
const MORE_NULLS: [&str; 12] =
    ["NA", "-", "--", "?", ".", "#N/A", "#NA", "nil", "missing", "unknown", "undefined", "<NA>"];

/// Why the layout of a file cannot be told.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LayoutError {
    /// It has no record.
    #[error("there is no record in it")]
    Empty,
    /// Every record has one field.
    #[error("its lines are not divided by commas, semicolons, tabs or bars: is it CSV? The first is `{0}`")]
    OneColumn(String),
    /// There is something before the header.
    #[error(
        "line {line} has {width} fields and the lines above it have not: remove what stands before the header, as `tail -n +{line} FILE` does"
    )]
    Preamble {
        /// The line of the first record that is as most are.
        line: u64,
        /// How many fields most records have.
        width: usize,
    },
}

/// How a file is written that begins with `head`, of which that may be all (`is_whole`). `header` says whether it begins with
/// the names of its columns, where that is known. How numbers look is left open.
///
/// # Errors
/// [`LayoutError`].
pub fn layout(
    head: &[u8],
    is_whole: bool,
    header: Option<bool>,
    doubts: &mut Vec<Doubt>,
) -> Result<Dialect, LayoutError> {
    let encoding = encoding_of(head, doubts);
    let mut text = Encoding::decode(encoding, head);
    if !is_whole && let Some(end) = text.iter().rposition(|&byte| byte == b'\n') {
        text.to_mut().truncate(end + 1);
    }
    let mut dialect = Dialect { encoding: Encoding::default(), ..Dialect::default() };
    let comments = |line: &&[u8]| line.starts_with(b"#");
    let lines: Vec<&[u8]> = text.split(|&byte| byte == b'\n').take(HEAD_RECORDS).collect();
    let n_comments = lines.iter().filter(|line| comments(line)).count();
    // A single one may be the header: #id,amount.
    let first_is_comment = lines.first().is_some_and(comments);
    let mut tried = Vec::new();
    for comment in [None, Some(b'#')].into_iter().take(if n_comments > 0 { 2 } else { 1 }) {
        for delimiter in [b',', b';', b'\t', b'|'] {
            let dialect = Dialect { delimiter, comment, ..dialect.clone() };
            tried.extend(Shape::of(&text, &dialect).map(|shape| (shape, dialect)));
        }
    }
    let best = tried.into_iter().rev().max_by_key(|(shape, _)| shape.rank()).ok_or(LayoutError::Empty)?;
    let shape = best.0;
    dialect = best.1;
    if dialect.comment.is_none() && n_comments > usize::from(first_is_comment) {
        dialect.comment = Some(b'#');
    }
    if shape.width == 1 {
        let first = lines.iter().find(|line| !line.trim_ascii().is_empty()).copied().unwrap_or_default();
        let first: String = String::from_utf8_lossy(first.trim_ascii()).chars().take(60).collect();
        return Err(LayoutError::OneColumn(printable(&first).to_string()));
    }
    if !shape.first_fits {
        return Err(LayoutError::Preamble { line: shape.first_line, width: shape.width });
    }
    if has_single_quotes(&shape.records) {
        dialect.quote = Some(b'\'');
    }
    dialect.header = header.unwrap_or_else(|| has_header(&shape.records));
    if !dialect.header && header.is_none() {
        let text =
            "the first line has values as the others have: the columns are called by their place, column_1 and so on";
        doubts.push(Doubt::new(About::Input, text));
    }
    dialect.encoding = encoding;
    Ok(dialect)
}

/// What a file looks like with one delimiter.
struct Shape {
    /// How many fields most records have, and which share of them has.
    width: usize,
    share: f64,
    /// Whether the first record is so.
    first_fits: bool,
    /// The line of the first that is.
    first_line: u64,
    records: Vec<Vec<String>>,
}

impl Shape {
    fn of(text: &[u8], dialect: &Dialect) -> Option<Self> {
        let mut file = FileRecords::new(text, dialect, MOST_BYTES).ok()?;
        let mut found: Vec<(u64, Vec<String>)> = Vec::new();
        while let Ok(Some(record)) = file.next_record() {
            if record.fault.is_none() {
                let field = |field: &[u8]| String::from_utf8_lossy(field).trim().to_owned();
                found.push((record.line, record.fields.iter().map(field).collect()));
            }
            if found.len() == HEAD_RECORDS {
                break;
            }
        }
        let mut widths: BTreeMap<usize, usize> = BTreeMap::new();
        found.iter().for_each(|(_, fields)| *widths.entry(fields.len()).or_default() += 1);
        let (width, count) = widths.into_iter().max_by_key(|&(width, count)| (count, width))?;
        let share = count as f64 / found.len() as f64;
        let first_fits = found.first().is_some_and(|(_, fields)| fields.len() == width);
        let first_line = found.iter().find(|(_, fields)| fields.len() == width).map_or(1, |(line, _)| *line);
        let records = found.into_iter().map(|(_, fields)| fields).filter(|fields| fields.len() == width).collect();
        Some(Self { width, share, first_fits, first_line, records })
    }

    /// Which delimiter is the best: one that all records have, the header too, and that makes the most fields.
    fn rank(&self) -> (bool, bool, bool, usize) {
        (self.width > 1, self.share >= 0.9, self.first_fits, self.width)
    }
}

/// The encoding of a file that begins so. A mark of the byte order is not named: it is found in every file.
fn encoding_of(head: &[u8], doubts: &mut Vec<Doubt>) -> Encoding {
    let marked = [&b"\xFF\xFE"[..], b"\xFE\xFF", b"\xEF\xBB\xBF"].iter().any(|mark| head.starts_with(mark));
    let zeros = |odd: usize| head.iter().skip(odd).step_by(2).filter(|byte| **byte == 0).count();
    let named = |name: &str| Encoding::of(name).unwrap_or_default();
    let half = head.len() / 2;
    let is_utf16 = |zeros: usize, others: usize| half > 4 && zeros * 10 > half * 7 && others * 10 < half;
    if marked {
        return Encoding::default();
    }
    if is_utf16(zeros(1), zeros(0)) {
        return named("utf-16le");
    }
    if is_utf16(zeros(0), zeros(1)) {
        return named("utf-16be");
    }
    match std::str::from_utf8(head) {
        Ok(_) => Encoding::default(),
        // A letter that the end cuts in two.
        Err(error) if error.error_len().is_none() => Encoding::default(),
        Err(error) => {
            let at = error.valid_up_to();
            let line = 1 + head[..at].iter().filter(|byte| **byte == b'\n').count() as u64;
            doubts.push(latin_doubt(line, head[at]));
            named("windows-1252")
        }
    }
}

fn latin_doubt(line: u64, byte: u8) -> Doubt {
    let latin = Encoding::of("windows-1252").unwrap_or_default();
    let shown = String::from_utf8_lossy(&latin.decode(&[byte])).into_owned();
    let text = format!(
        "the byte 0x{byte:02X} on line {line} is not UTF-8: the encoding is taken for windows-1252 (latin1), where it is `{}`",
        printable(&shown)
    );
    Doubt::new(About::Input, text)
}

/// Whether fields are in single quotes: nearly all that are not empty of some column.
fn has_single_quotes(records: &[Vec<String>]) -> bool {
    let width = records.first().map_or(0, Vec::len);
    (0..width).any(|column| {
        let texts: Vec<&String> =
            records.iter().skip(1).map(|record| &record[column]).filter(|text| !text.is_empty()).collect();
        let is_quoted = |text: &&&String| text.len() >= 2 && text.starts_with('\'') && text.ends_with('\'');
        texts.len() > 1 && texts.iter().filter(is_quoted).count() * 10 >= texts.len() * 9
    })
}

/// Whether the first record names the columns: it has no number or date in it, and columns of numbers or dates have texts
/// there, or none of its texts stands below it.
fn has_header(records: &[Vec<String>]) -> bool {
    let Some((first, rest)) = records.split_first() else { return true };
    if first.iter().any(|text| is_value(text)) {
        return false;
    }
    let mut seen = HashSet::new();
    if first.iter().any(|text| !text.is_empty() && !seen.insert(text)) {
        return false;
    }
    let has_values = (0..first.len()).any(|column| {
        let values = rest.iter().filter(|record| is_value(&record[column])).count();
        !rest.is_empty() && values * 10 >= rest.len() * 7
    });
    let stands_below =
        |column: usize| rest.iter().any(|record| !first[column].is_empty() && record[column] == first[column]);
    has_values || !(0..first.len()).any(stands_below)
}

/// Whether a text is a number or a date, however it is written.
fn is_value(text: &str) -> bool {
    let digits = text.chars().filter(char::is_ascii_digit).count();
    let letters = text.chars().filter(|c| c.is_alphabetic()).count();
    digits > 0 && digits > letters && text.chars().next().is_some_and(|c| !c.is_alphabetic() && c != '#' && c != '_')
}

/// Reads the records of a CSV file; a text that is not in the dialect's encoding is read as windows-1252.
///
/// # Errors
/// What reading gives.
pub fn sample<R: Read>(source: R, dialect: &Dialect) -> io::Result<Sample> {
    let mut records = FileRecords::new(source, dialect, MOST_BYTES)?;
    let names: Option<Vec<String>> = if dialect.header {
        let header = records.next_record()?;
        header.map(|header| header.fields.iter().map(|name| decoded(name).trim().to_owned()).collect())
    } else {
        None
    };
    let mut sampler = names.map(Sampler::new);
    while let Some(record) = records.next_record()? {
        let width = record.fields.len();
        let sampler =
            sampler.get_or_insert_with(|| Sampler::new((1..=width).map(|at| format!("column_{at}")).collect()));
        if sampler.is_done() {
            break;
        }
        if record.fault.is_some() || width != sampler.width() {
            sampler.push_torn();
            continue;
        }
        match std::str::from_utf8(record.raw) {
            Ok(text) if text.is_ascii() => {}
            Ok(_) => sampler.note_beyond_ascii(),
            Err(_) => sampler.note_not_utf8(record.line),
        }
        sampler.push(width, || record.fields.iter().map(|field| cell(&decoded(field))).collect());
    }
    Ok(sampler.unwrap_or_default().finish())
}

fn decoded(field: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(field) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => {
            let latin = Encoding::of("windows-1252").unwrap_or_default();
            Cow::Owned(String::from_utf8_lossy(&latin.decode(field)).into_owned())
        }
    }
}

fn cell(text: &str) -> Cell {
    let text = text.trim();
    if text.is_empty() { Cell::Missing } else { Cell::Text(text.to_owned()) }
}

/// What the records of a sample add to a layout: an encoding that shows only later, how numbers look, what stands for
/// nothing.
pub(super) fn complete(mut dialect: Dialect, sample: &Sample, doubts: &mut Vec<Doubt>) -> Dialect {
    if let Some((line, count)) = sample.not_utf8.filter(|_| dialect.encoding.is_utf8()) {
        if count > sample.n_beyond_ascii {
            dialect.encoding = Encoding::of("windows-1252").unwrap_or_default();
            let text = format!(
                "{count} lines, the first of them {line}, are not UTF-8: the encoding is taken for windows-1252 (latin1)"
            );
            doubts.push(Doubt::new(About::Input, text));
        } else {
            let text = format!(
                "{count} lines, the first of them {line}, are not UTF-8, though others are: they are erroneous where a column of them is read"
            );
            doubts.push(Doubt::new(About::Input, text));
        }
    }
    let usual = Nulls::new(&NULLS);
    let columns: Vec<Vec<&str>> = (0..sample.names.len())
        .map(|index| sample.column(index).filter_map(Cell::text).filter(|text| !usual.contains(text)).collect())
        .collect();
    // What stands for nothing is looked for where all others are numbers, and numbers where it does not stand.
    let cleaned: Vec<Vec<&str>> = columns.iter().map(|texts| without_nulls(texts)).collect();
    dialect.texts.numbers = numbers::style_of(&cleaned, dialect.delimiter, doubts);
    let mut found: HashMap<&str, usize> = HashMap::new();
    for (index, texts) in columns.iter().enumerate() {
        if cleaned[index].len() < texts.len() && is_numeric(dialect.texts.numbers, &cleaned[index]) {
            for null in MORE_NULLS.iter().filter(|null| texts.iter().any(|text| text.eq_ignore_ascii_case(null))) {
                found.entry(null).or_insert(index);
            }
        }
    }
    if !found.is_empty() {
        let mut nulls: Vec<&str> = NULLS.iter().copied().chain(found.keys().copied()).collect();
        nulls[NULLS.len()..].sort_unstable();
        for null in &nulls[NULLS.len()..] {
            let column = &sample.names[found[null]];
            let text =
                format!("`{null}` is read as nothing, because it stands among the numbers of `{}`", printable(column));
            doubts.push(Doubt::new(About::Input, text));
        }
        dialect.texts.nulls = Nulls::new(&nulls);
    }
    dialect
}

/// The texts that do not stand for nothing in some files; all of them where none is left.
fn without_nulls<'a>(texts: &[&'a str]) -> Vec<&'a str> {
    let is_null = |text: &str| MORE_NULLS.iter().any(|null| null.eq_ignore_ascii_case(text));
    let kept = Vec::from_iter(texts.iter().copied().filter(|text| !is_null(text)));
    if kept.is_empty() { texts.to_vec() } else { kept }
}

/// The style in which these texts are numbers, if there is one; those that stand for nothing are left out.
pub fn number_style(texts: &[&str], delimiter: u8) -> Option<NumberStyle> {
    let usual = Nulls::new(&NULLS);
    let texts: Vec<&str> = texts.iter().copied().filter(|text| !usual.contains(text)).collect();
    let style = numbers::style_of(std::slice::from_ref(&texts), delimiter, &mut Vec::new());
    is_numeric(style, &texts).then_some(style)
}

/// The texts that stand for nothing in this dialect, beyond those that always do, as a list of a pipeline file.
pub fn more_nulls(dialect: &Dialect) -> Vec<&'static str> {
    MORE_NULLS.iter().copied().filter(|null| dialect.texts.nulls.contains(null)).collect()
}

/// What is said of a dialect to people, a few words each.
pub fn described(dialect: &Dialect) -> Vec<String> {
    let numbers = dialect.texts.numbers;
    let delimiter = match dialect.delimiter {
        b'\t' => "tabs between fields".to_owned(),
        delimiter => format!("`{}` between fields", shown_delimiter(delimiter)),
    };
    let header = if dialect.header { "a header" } else { "no header" };
    let mut words = vec![delimiter, header.to_owned(), dialect.encoding.name().to_owned()];
    words.extend((numbers.decimal == ',').then(|| "decimal comma".to_owned()));
    words.extend(numbers.thousands.map(|sign| format!("`{sign}` between thousands")));
    words.extend(numbers.currency_signs.then(|| "signs of currencies".to_owned()));
    words.extend(dialect.comment.map(|sign| format!("comments after `{}`", char::from(sign))));
    words.extend(dialect.quote.filter(|sign| *sign != b'"').map(|sign| format!("`{}` as quote", char::from(sign))));
    words
}

/// Whether the numbers of a file are written as where the day comes before the month.
pub(super) fn day_comes_first(dialect: &Dialect) -> bool {
    dialect.texts.numbers.decimal == ',' || matches!(dialect.delimiter, b';')
}

/// Whether a column is what some programs write in front of others: the number of the row.
pub(super) fn is_row_number(name: &str, index: usize) -> bool {
    index == 0 && strength(name, Hint::RowNumber) > 0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn told(bytes: &[u8]) -> (Dialect, Sample, Vec<String>) {
        let mut doubts = Vec::new();
        let dialect = layout(bytes, true, None, &mut doubts).unwrap();
        let sample = sample(bytes, &dialect).unwrap();
        let dialect = complete(dialect, &sample, &mut doubts);
        (dialect, sample, doubts.into_iter().map(|doubt| doubt.text).collect())
    }

    #[test]
    fn a_layout_is_told() {
        for (text, expected) in [
            ("a,b\n1,x\n2,y\n", "`,` between fields, a header, UTF-8"),
            ("a;b\n1,5;x\n2,25;y\n", "`;` between fields, a header, UTF-8, decimal comma"),
            ("a\tb\n1\tx, y\n", "tabs between fields, a header, UTF-8"),
            ("a|b|c\n1|x,y|2\n", "`|` between fields, a header, UTF-8"),
            ("a,b\n\"1,234.50\",x\n\"2.50\",y\n", "`,` between fields, a header, UTF-8, `,` between thousands"),
            ("# from the bank\na,b\n# more\n1,2\n", "`,` between fields, a header, UTF-8, comments after `#`"),
            ("#id,b\n1,2\n3,4\n", "`,` between fields, a header, UTF-8"),
            ("1,2010-01-01,x\n2,2010-01-02,y\n", "`,` between fields, no header, UTF-8"),
            ("a,b\n'x, y',1\n'z',2\n'z',2\n", "`,` between fields, a header, UTF-8, `'` as quote"),
            (
                "a;b\n1;\"£1,234.50\"\n2;£3\n",
                "`;` between fields, a header, UTF-8, `,` between thousands, signs of currencies",
            ),
            // A list within a field is none of fields.
            ("a,b\n1,x;y;z\n2,x;y;z\n", "`,` between fields, a header, UTF-8"),
        ] {
            assert_eq!(described(&told(text.as_bytes()).0).join(", "), expected, "{text}");
        }
    }

    #[test]
    fn a_delimiter_is_one_of_the_header_too() {
        let rows: String = (0..50).map(|row| format!("{row},x;y;z\n")).collect();
        assert_eq!(told(format!("a,b\n{rows}").as_bytes()).0.delimiter, b',');
    }

    #[test]
    fn an_encoding_is_told() {
        let (dialect, sample, doubts) = told(b"n;b\n1;\xA35 OFF\n");
        assert_eq!(dialect.encoding.name(), "windows-1252");
        assert_eq!(sample.rows[0][1], Cell::Text("£5 OFF".to_owned()));
        assert!(doubts[0].contains("0xA3 on line 2") && doubts[0].contains("`£`"), "{doubts:?}");
        let units: Vec<u16> = "name,b\n1,é\n2,x\n".encode_utf16().collect();
        let little: Vec<u8> = units.iter().flat_map(|unit| unit.to_le_bytes()).collect();
        let (dialect, sample, _) = told(&little);
        assert_eq!(
            (dialect.encoding.name(), &sample.names[..]),
            ("UTF-16LE", &["name".to_owned(), "b".to_owned()][..])
        );
        let marked: Vec<u8> = [0xFEFF].iter().chain(&units).flat_map(|unit| unit.to_be_bytes()).collect();
        assert_eq!(told(&marked).1.rows[0][1], Cell::Text("é".to_owned()));
    }

    #[test]
    fn an_encoding_may_show_late() {
        let head = b"a,b\n1,x\n";
        let mut doubts = Vec::new();
        let dialect = layout(head, false, None, &mut doubts).unwrap();
        let sample = sample(&b"a,b\n1,x\n2,\xA35\n"[..], &dialect).unwrap();
        let dialect = complete(dialect, &sample, &mut doubts);
        assert_eq!((dialect.encoding.name(), doubts.len()), ("windows-1252", 1));
        assert_eq!(sample.rows[1][1], Cell::Text("£5".to_owned()));
    }

    #[test]
    fn what_stands_for_nothing_is_told() {
        let (dialect, _, doubts) = told(b"a,b\n1,x\nNA,NA\n3,y\nNULL,z\n");
        assert!(dialect.texts.nulls.contains("na") && dialect.texts.nulls.contains("null"));
        assert_eq!(more_nulls(&dialect), ["NA"]);
        assert_eq!(doubts, ["`NA` is read as nothing, because it stands among the numbers of `a`"]);
        // Where no numbers are, it is a text.
        assert!(!told(b"land,b\nNA,1\nDE,2\n").0.texts.nulls.contains("na"));
    }

    #[test]
    fn what_is_no_table_is_named() {
        let error = |text: &str| layout(text.as_bytes(), true, None, &mut Vec::new()).unwrap_err().to_string();
        assert_eq!(error(""), "there is no record in it");
        assert!(error("hello\nworld\n").ends_with("The first is `hello`"));
        let preamble = error("Account 12\nAll bookings\n\nid;date;amount\n1;2;3\n2;3;4\n");
        assert!(preamble.starts_with("line 4 has 3 fields") && preamble.contains("tail -n +4"), "{preamble}");
    }

    proptest! {
        #[test]
        fn any_bytes_end(bytes in proptest::collection::vec(prop_oneof![Just(b','), Just(b'"'), Just(b'\n'), Just(b'#'),
            Just(b'1'), Just(b';'), any::<u8>()], 0..300)) {
            let mut doubts = Vec::new();
            if let Ok(dialect) = layout(&bytes, true, None, &mut doubts) {
                let sample = sample(&bytes[..], &dialect).unwrap();
                complete(dialect, &sample, &mut doubts);
            }
        }

        #[test]
        fn what_was_written_with_a_delimiter_is_told(
            rows in proptest::collection::vec(("[a-z ]{1,8}", 1u32..9999, "[A-Z]{2}"), 3..20),
            delimiter in prop::sample::select(&[',', ';', '\t', '|']),
        ) {
            let d = delimiter;
            let lines: String = rows.iter().map(|(text, number, code)| format!("{text}{d}{number}{d}{code}\n")).collect();
            let (dialect, sample, _) = told(format!("name{d}count{d}code\n{lines}").as_bytes());
            prop_assert_eq!((char::from(dialect.delimiter), dialect.header), (delimiter, true));
            prop_assert_eq!((sample.n_records, sample.n_torn), (rows.len() as u64, 0));
        }
    }
}
