//! How CSV is written: what separates fields, how numbers look, what stands for nothing, and in which encoding it is.

use std::borrow::Cow;

use encoding_rs::Encoding as Table;
use thiserror::Error;

/// What stands for nothing in CSV, where nobody says; upper and lower case are the same. An empty field always does.
pub const NULLS: [&str; 6] = ["", "NULL", "NaN", "N/A", "None", "\\N"];

/// How CSV is written.
#[derive(Debug, Clone, PartialEq)]
pub struct Dialect {
    /// What stands between fields.
    pub delimiter: u8,
    /// What stands around a field that holds delimiters, quotes or line breaks; `None` where no field does.
    pub quote: Option<u8>,
    /// A line of a file that begins with it is passed over.
    pub comment: Option<u8>,
    /// Whether the first record of a file names the columns.
    pub header: bool,
    /// From bytes to text.
    pub encoding: Encoding,
    /// How fields are read.
    pub texts: TextRules,
}

impl Default for Dialect {
    /// RFC 4180, in UTF-8.
    fn default() -> Self {
        let (delimiter, quote, comment, header) = (b',', Some(b'"'), None, true);
        let texts = TextRules { numbers: NumberStyle::default(), nulls: Nulls::new(&NULLS) };
        Self { delimiter, quote, comment, header, encoding: Encoding::default(), texts }
    }
}

/// How the text of a field becomes a value.
#[derive(Debug, Clone, PartialEq)]
pub struct TextRules {
    /// How numbers look.
    pub numbers: NumberStyle,
    /// What stands for nothing.
    pub nulls: Nulls,
}

impl TextRules {
    /// Numbers as programs write them; only an empty text stands for nothing.
    pub const PLAIN: Self = Self { numbers: NumberStyle::PLAIN, nulls: Nulls::EMPTY };
}

/// Texts that stand for nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct Nulls {
    texts: Vec<String>,
    longest: usize,
    /// Bytes that one of them begins with, in both cases.
    first: [bool; 128],
}

impl Nulls {
    const EMPTY: Self = Self { texts: Vec::new(), longest: 0, first: [false; 128] };

    /// These texts, in upper and lower case.
    pub fn new<S: AsRef<str>>(texts: &[S]) -> Self {
        let mut nulls = Self::EMPTY;
        for text in texts.iter().map(|text| text.as_ref().trim()).filter(|text| !text.is_empty()) {
            nulls.longest = nulls.longest.max(text.len());
            let byte = text.as_bytes()[0];
            for byte in [byte.to_ascii_lowercase(), byte.to_ascii_uppercase()] {
                // Texts that begin otherwise are looked at all the same.
                nulls.first[usize::from(byte & 127)] = true;
            }
            nulls.texts.push(text.to_owned());
        }
        nulls
    }

    /// Whether `text`, which has no white space around it, stands for nothing.
    pub fn contains(&self, text: &str) -> bool {
        match text.as_bytes() {
            [] => true,
            bytes if bytes.len() > self.longest || !self.first[usize::from(bytes[0] & 127)] => false,
            _ => self.texts.iter().any(|null| null.eq_ignore_ascii_case(text)),
        }
    }
}

/// How numbers look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NumberStyle {
    /// What stands before the fraction: `.` or `,`.
    pub decimal: char,
    /// What stands between groups of digits. A space is every space that people write there.
    pub thousands: Option<char>,
    /// Whether signs of currencies may stand around a number.
    pub currency_signs: bool,
}

impl Default for NumberStyle {
    fn default() -> Self {
        Self::PLAIN
    }
}

/// A text is no whole number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotInteger {
    /// It has more than 64 bits.
    TooLarge,
    /// It is none at all.
    NoInteger,
}

impl NumberStyle {
    /// As programs write numbers.
    pub const PLAIN: Self = Self { decimal: '.', thousands: None, currency_signs: false };

    /// The number that `text` is.
    pub fn float(self, text: &str) -> Option<f64> {
        if self == Self::PLAIN { text.parse().ok() } else { self.plain(text)?.parse().ok() }
    }

    /// The whole number that `text` is; a fraction of zeros counts as none, as in `12.0`.
    pub(crate) fn integer(self, text: &str) -> Result<i64, NotInteger> {
        use std::num::IntErrorKind::{NegOverflow, PosOverflow};
        let plain = match self {
            Self::PLAIN => Cow::Borrowed(text),
            _ => Cow::Owned(self.plain(text).ok_or(NotInteger::NoInteger)?),
        };
        let whole = without_zero_fraction(&plain).unwrap_or(&plain);
        whole.parse().map_err(|error: std::num::ParseIntError| match error.kind() {
            PosOverflow | NegOverflow => NotInteger::TooLarge,
            _ => NotInteger::NoInteger,
        })
    }

    /// The number as programs write it, when its groups of digits are such: `1.234,50` is `1234.50`.
    fn plain(self, text: &str) -> Option<String> {
        let trimmed = |c: char| c.is_whitespace() || (self.currency_signs && is_currency_sign(c));
        let text = text.trim_matches(trimmed);
        let (sign, unsigned) = match text.strip_prefix(['-', '+', '\u{2212}']) {
            Some(rest) if text.starts_with('+') => ("", rest),
            Some(rest) => ("-", rest),
            None => ("", text),
        };
        let unsigned = unsigned.trim_start_matches(trimmed);
        let (whole, fraction) = match unsigned.split_once(self.decimal) {
            Some((whole, fraction)) => (whole, Some(fraction)),
            None => (unsigned, None),
        };
        if fraction.is_some_and(|fraction| fraction.starts_with(['-', '+']) || fraction.contains(['.', ','])) {
            return None;
        }
        let mut plain = sign.to_owned();
        match self.thousands {
            Some(thousands) => self.join(whole, thousands, &mut plain)?,
            None if whole.contains(['.', ',', '-', '+']) && !whole.contains(['e', 'E']) => return None,
            None => plain.push_str(whole),
        }
        if let Some(fraction) = fraction {
            plain.push('.');
            plain.push_str(fraction);
        }
        Some(plain)
    }

    /// Joins groups of digits: the first has one to three, the last three, those between two (as in India) or three.
    fn join(self, whole: &str, thousands: char, plain: &mut String) -> Option<()> {
        let is_separator =
            |c: char| c == thousands || (thousands == ' ' && matches!(c, '\u{a0}' | '\u{202f}' | '\u{2009}'));
        let groups: Vec<&str> = whole.split(is_separator).collect();
        let last = groups.len() - 1;
        for (index, group) in groups.iter().enumerate() {
            let fits = match index {
                _ if last == 0 => true,
                0 => (1..=3).contains(&group.len()),
                index if index == last => group.len() == 3,
                _ => (2..=3).contains(&group.len()),
            };
            if !fits || (last > 0 && !group.bytes().all(|byte| byte.is_ascii_digit())) {
                return None;
            }
            plain.push_str(group);
        }
        Some(())
    }
}

fn is_currency_sign(c: char) -> bool {
    // The category Sc of Unicode, as far as banks use it.
    matches!(c, '$' | '\u{a2}'..='\u{a5}' | '\u{e3f}' | '\u{20a0}'..='\u{20cf}' | '\u{fdfc}' | '\u{ff04}')
}

/// `12` of `12.0`; `None` where there is another fraction, or none.
pub fn without_zero_fraction(text: &str) -> Option<&str> {
    let (whole, fraction) = text.split_once('.')?;
    let is_whole = whole.strip_prefix('-').unwrap_or(whole).bytes().all(|byte| byte.is_ascii_digit());
    let is_zero = !fraction.is_empty() && fraction.bytes().all(|byte| byte == b'0');
    (is_zero && is_whole && whole.bytes().any(|byte| byte.is_ascii_digit())).then_some(whole)
}

/// From bytes to text and back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Encoding(&'static Table);

/// An encoding that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "`{0}` is not an encoding that is read: use \"utf-8\", \"latin1\", \"windows-1252\", \"utf-16\", or another of one byte a character, such as \"iso-8859-15\""
)]
pub struct UnknownEncoding(String);

impl Default for Encoding {
    fn default() -> Self {
        Self(encoding_rs::UTF_8)
    }
}

impl Encoding {
    /// The encoding called `name`, by the labels of the Encoding Standard: `latin1` is `windows-1252`, which contains it.
    ///
    /// # Errors
    /// It is unknown, or has several bytes a character and is none of Unicode's: a text of those cannot be told from
    /// delimiters byte by byte.
    pub fn of(name: &str) -> Result<Self, UnknownEncoding> {
        let table = Table::for_label(name.as_bytes());
        let found = table.filter(|table| table.is_single_byte() || Self(table).is_unicode());
        found.map(Self).ok_or_else(|| UnknownEncoding(name.to_owned()))
    }

    fn is_unicode(self) -> bool {
        self.is_utf8() || self.0 == encoding_rs::UTF_16LE || self.0 == encoding_rs::UTF_16BE
    }

    /// Whether bytes are text as they are.
    pub fn is_utf8(self) -> bool {
        self.0 == encoding_rs::UTF_8
    }

    /// Its name in the Encoding Standard.
    pub fn name(self) -> &'static str {
        self.0.name()
    }

    pub(crate) fn table(self) -> &'static Table {
        self.0
    }

    /// `bytes` as UTF-8. A mark of the byte order at the beginning wins over this encoding.
    pub fn decode(self, bytes: &[u8]) -> Cow<'_, [u8]> {
        if self.is_utf8() {
            return Cow::Borrowed(bytes);
        }
        match self.0.decode(bytes).0 {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        }
    }

    /// UTF-8 as bytes of this encoding, such that [`Encoding::decode`] gives `text` again where it came from there.
    pub fn encode(self, text: Cow<'_, [u8]>) -> Cow<'_, [u8]> {
        let units = |bytes: fn(u16) -> [u8; 2]| {
            let text = String::from_utf8_lossy(&text);
            Cow::Owned(text.encode_utf16().flat_map(bytes).collect())
        };
        match self.0 {
            table if table == encoding_rs::UTF_8 => text,
            table if table == encoding_rs::UTF_16LE => units(u16::to_le_bytes),
            table if table == encoding_rs::UTF_16BE => units(u16::to_be_bytes),
            table => Cow::Owned(table.encode(&String::from_utf8_lossy(&text)).0.into_owned()),
        }
    }
}

/// The delimiter that a header seems to have: of `,`, `;`, tab and `|`, the one that stands in it most often outside quotes.
/// `None` where none does, or where it is no text.
pub fn likely_delimiter(header: &[u8]) -> Option<u8> {
    if header.iter().any(|byte| byte.is_ascii_control() && !byte.is_ascii_whitespace()) {
        return None;
    }
    let mut counts = [0; 4];
    const KNOWN: [u8; 4] = [b',', b';', b'\t', b'|'];
    let mut in_quotes = false;
    for byte in header {
        in_quotes ^= *byte == b'"';
        if let Some(index) = KNOWN.iter().position(|known| known == byte).filter(|_| !in_quotes) {
            counts[index] += 1;
        }
    }
    let most = counts.iter().copied().max().filter(|&most| most > 0)?;
    counts.iter().position(|&count| count == most).map(|index| KNOWN[index])
}

/// How a delimiter is written in a pipeline file.
pub fn shown_delimiter(delimiter: u8) -> String {
    if delimiter == b'\t' { "\\t".to_owned() } else { char::from(delimiter).to_string() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_of_all_countries_are_read() {
        let style = |decimal, thousands| NumberStyle { decimal, thousands, currency_signs: false };
        let money = NumberStyle { currency_signs: true, ..style(',', Some('.')) };
        for (style, text, expected) in [
            (style('.', None), "1234.5", Some(1234.5)),
            (style('.', None), "1,234.5", None),
            (style(',', None), "2,55", Some(2.55)),
            (style(',', None), "-2,55", Some(-2.55)),
            (style(',', None), "2.55", None),
            (style(',', None), "1e3", Some(1000.0)),
            (style(',', None), "1,5e3", Some(1500.0)),
            (style(',', Some('.')), "1.234.567,50", Some(1_234_567.5)),
            (style(',', Some('.')), "1234,50", Some(1234.5)),
            // Not a number with groups of three digits: more likely one of another country.
            (style(',', Some('.')), "12.34", None),
            (style(',', Some('.')), "1.23,5", None),
            (style('.', Some(',')), "12,34,567.5", Some(1_234_567.5)),
            (style('.', Some(',')), ",234", None),
            (style(',', Some(' ')), "1\u{a0}234\u{202f}567,5", Some(1_234_567.5)),
            (style('.', Some('\'')), "1'234.5", Some(1234.5)),
            (style('.', Some(',')), "\u{2212}1,234", Some(-1234.0)),
            (money, "1.234,50 €", Some(1234.5)),
            (money, "-€ 3,00", Some(-3.0)),
            (money, "$-3", Some(-3.0)),
            (style(',', Some('.')), "3,00 €", None),
            (money, "€", None),
            (money, "", None),
            (style(',', Some('.')), "--3", None),
            (style(',', Some('.')), "1,2,3", None),
        ] {
            assert_eq!(style.float(text), expected, "{style:?} {text:?}");
        }
    }

    #[test]
    fn whole_numbers_may_be_written_as_floats() {
        let european = NumberStyle { decimal: ',', thousands: Some('.'), currency_signs: false };
        assert_eq!(NumberStyle::PLAIN.integer("12.0"), Ok(12));
        assert_eq!(NumberStyle::PLAIN.integer("-12.000"), Ok(-12));
        assert_eq!(european.integer("1.234,0"), Ok(1234));
        for text in ["12.5", "12.", ".0", "", "x.0", "1e3"] {
            assert_eq!(NumberStyle::PLAIN.integer(text), Err(NotInteger::NoInteger), "{text}");
        }
        assert_eq!(NumberStyle::PLAIN.integer("99999999999999999999"), Err(NotInteger::TooLarge));
    }

    #[test]
    fn what_stands_for_nothing() {
        let usual = Nulls::new(&NULLS);
        for null in ["", "NULL", "null", "nan", "N/A", "none", "\\N"] {
            assert!(usual.contains(null), "{null}");
        }
        for value in ["0", "NA", "Nancy", "nil", "-", "é"] {
            assert!(!usual.contains(value), "{value}");
        }
        let own = Nulls::new(&["-", "êtré"]);
        assert!(own.contains("-") && own.contains("êtré") && !own.contains("NULL"));
    }

    #[test]
    fn encodings_have_names() {
        let latin1 = Encoding::of("latin1").unwrap();
        assert_eq!(latin1, Encoding::of("Windows-1252").unwrap());
        assert_eq!(&*latin1.decode(b"\xA35"), "£5".as_bytes());
        assert_eq!(&*Encoding::of("utf-16").unwrap().decode(b"a\0b\0"), b"ab");
        for bad in ["gbk", "shift_jis", "latin99", ""] {
            assert!(Encoding::of(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_header_shows_its_delimiter() {
        assert_eq!(likely_delimiter(b"a;b;c"), Some(b';'));
        assert_eq!(likely_delimiter(b"\"a;b;c\",d"), Some(b','));
        assert_eq!(likely_delimiter(b"a\tb, c\td"), Some(b'\t'));
        assert_eq!(likely_delimiter(b"a"), None);
        assert_eq!(likely_delimiter(b"a;b\0;c"), None);
    }

    proptest! {
        #[test]
        fn what_was_decoded_is_encoded_again(
            name in prop::sample::select(&["utf-8", "latin1", "iso-8859-15", "utf-16le", "utf-16be"]),
            text in "[ -~£é]{0,40}",
        ) {
            let encoding = Encoding::of(name).unwrap();
            let bytes = encoding.encode(Cow::Borrowed(text.as_bytes())).into_owned();
            prop_assert_eq!(&*encoding.decode(&bytes), text.as_bytes());
        }

        #[test]
        fn a_number_that_is_written_is_read_again(number in -1_000_000_000i64..1_000_000_000, cents in 0..100) {
            let groups: Vec<String> = number.abs().to_string().as_bytes().rchunks(3).rev()
                .map(|group| String::from_utf8(group.to_vec()).unwrap()).collect();
            let sign = if number < 0 { "-" } else { "" };
            let style = NumberStyle { decimal: ',', thousands: Some('.'), currency_signs: true };
            let text = format!("{sign}{},{cents:02} €", groups.join("."));
            let expected: f64 = format!("{number}.{cents:02}").parse().unwrap();
            prop_assert_eq!(style.float(&text), Some(expected));
            prop_assert_eq!(style.integer(&format!("{sign}{},00", groups.join("."))), Ok(number));
        }

        #[test]
        fn no_text_makes_a_number_panic(text in ".{0,30}", decimal in prop::sample::select(&['.', ',']), signs: bool) {
            for thousands in [None, Some(' '), Some('.')].into_iter().filter(|found| *found != Some(decimal)) {
                let style = NumberStyle { decimal, thousands, currency_signs: signs };
                let _ = (style.float(&text), style.integer(&text));
            }
        }
    }
}
