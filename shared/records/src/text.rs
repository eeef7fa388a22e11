//! Texts for people. What records hold comes from anywhere: shown as it is, it could move the cursor of a terminal, change its
//! title, or look like a line of the program's own.

use std::error::Error;
use std::fmt::{self, Display, Write};

/// A text that is shown without a character that does anything but stand there: the others are written as `\u{1b}`.
#[derive(Debug, Clone, Copy)]
pub struct Printable<'a> {
    text: &'a str,
    /// Whether line breaks and tabs stay.
    has_lines: bool,
}

/// A name, a key or another value of a record, on one line.
pub fn printable(text: &str) -> Printable<'_> {
    Printable { text, has_lines: false }
}

/// A text of several lines, whose line breaks and tabs stay.
pub fn printable_lines(text: &str) -> Printable<'_> {
    Printable { text, has_lines: true }
}

impl Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // As a whole, so that a width that was asked for is kept.
        if self.text.chars().all(|c| self.is_shown(c)) {
            return f.pad(self.text);
        }
        let mut escaped = String::with_capacity(self.text.len() + 8);
        for c in self.text.chars() {
            if self.is_shown(c) { escaped.push(c) } else { write!(escaped, "{}", c.escape_debug())? }
        }
        f.pad(&escaped)
    }
}

impl Printable<'_> {
    fn is_shown(&self, c: char) -> bool {
        let is_break = self.has_lines && matches!(c, '\n' | '\t');
        is_break || is_printable(c)
    }
}

/// Whether a character only stands there. That is what [`str::escape_debug`] leaves as it is where it follows another one:
/// alone, it would escape what combines with a letter, such as an accent.
pub fn is_printable(c: char) -> bool {
    if c.is_ascii() {
        return matches!(c, ' '..='~');
    }
    let mut bytes = [b'a'; 5];
    let length = 1 + c.encode_utf8(&mut bytes[1..]).len();
    std::str::from_utf8(&bytes[..length]).is_ok_and(|text| text.escape_debug().nth(1) == Some(c))
}

/// An error and its causes in one sentence. A cause that the sentence before it ends with is not said again.
pub fn sentence(error: &dyn Error) -> String {
    let mut said = error.to_string();
    let causes = std::iter::successors(error.source(), |cause| (*cause).source());
    for cause in causes.map(ToString::to_string) {
        if !said.contains(&cause) {
            said = format!("{said}: {cause}");
        }
    }
    printable_lines(&said).to_string()
}

/// Digits in groups of three: `323,734`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_does_something_is_escaped_and_what_can_be_read_is_not() {
        let of = |text: &str| printable(text).to_string();
        for text in ["", "AB-17", "a\"b'c\\d", "Müller", "日本語", "e\u{301}tude", "Ωμέγα 5 €", "🙂"] {
            assert_eq!(of(text), text);
        }
        assert_eq!(of("\u{1b}[2Jx\r\n\t\u{7f}\0"), "\\u{1b}[2Jx\\r\\n\\t\\u{7f}\\0");
        assert_eq!(of("a\u{9b}31mb\u{202e}c\u{feff}"), "a\\u{9b}31mb\\u{202e}c\\u{feff}");
        assert_eq!(printable_lines("a\n\tb\u{7}").to_string(), "a\n\tb\\u{7}");
        assert_eq!(format!("{:<5}|{:<5}|", printable("ab"), printable("\n")), "ab   |\\n   |");
    }

    #[test]
    fn digits_stand_in_groups_of_three() {
        assert_eq!(
            [0, 7, 999, 1000, 323_734, 1_000_000].map(grouped),
            ["0", "7", "999", "1,000", "323,734", "1,000,000"]
        );
    }

    #[derive(Debug, thiserror::Error)]
    enum Failure {
        #[error("cannot write {name}: {source}")]
        Write { name: &'static str, source: io::Error },
        #[error("the report is not there")]
        Report(#[source] io::Error),
    }

    #[test]
    fn a_cause_is_said_once() {
        let full = || io::Error::other("no space left on device (os error 28)");
        let write = Failure::Write { name: "x\u{1b}", source: full() };
        assert_eq!(sentence(&write), "cannot write x\\u{1b}: no space left on device (os error 28)");
        let report = Failure::Report(full());
        assert_eq!(sentence(&report), "the report is not there: no space left on device (os error 28)");
        assert_eq!(
            sentence(&io::Error::other(report)),
            "the report is not there: no space left on device (os error 28)"
        );
    }

    proptest! {
        #[test]
        fn no_control_character_is_left(text in proptest::collection::vec(any::<char>(), 0..40)) {
            let text: String = text.into_iter().collect();
            prop_assert!(!printable(&text).to_string().chars().any(char::is_control));
            let lines = printable_lines(&text).to_string();
            prop_assert!(!lines.chars().any(|c| c.is_control() && c != '\n' && c != '\t'));
        }
    }
}
