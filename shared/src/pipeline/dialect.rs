//! `[input.csv]`: how CSV is written.

use records::dialect::{Dialect, Encoding, NULLS, Nulls, NumberStyle, TextRules};

use super::checker::Checker;
use super::file::CsvSection;
use super::{InputFormat, PipelineError};

pub(super) fn check(
    checker: &Checker<'_>,
    section: Option<&CsvSection>,
    format: InputFormat,
) -> Result<Dialect, PipelineError> {
    let usual = Dialect::default();
    let Some(section) = section else { return Ok(usual) };
    if format != InputFormat::Csv {
        return checker.error("[input.csv]", "is for format = \"csv\": remove it");
    }
    let delimiter = match section.delimiter.as_deref() {
        None => usual.delimiter,
        Some("\\t" | "tab") => b'\t',
        Some(text) => byte(checker, "delimiter", text, "\",\", \";\", \"|\" or \"\\t\"")?,
    };
    let quote = match section.quote.as_deref() {
        None => usual.quote,
        Some("") => None,
        Some(text) => Some(byte(checker, "quote", text, "'\"', \"'\" or \"\" for none")?),
    };
    let comment = match section.comment.as_deref() {
        None | Some("") => None,
        Some(text) => Some(byte(checker, "comment", text, "\"#\"")?),
    };
    let signs = [Some(delimiter), quote, comment];
    if (1..signs.len()).any(|at| signs[at].is_some() && signs[..at].contains(&signs[at])) {
        return checker.error("[input.csv]", "delimiter, quote and comment must differ");
    }
    let encoding = match section.encoding.as_deref() {
        None => usual.encoding,
        Some(name) => match Encoding::of(name) {
            Ok(encoding) => encoding,
            Err(unknown) => return checker.error("[input.csv] encoding", unknown.to_string()),
        },
    };
    let nulls = section.null.as_deref().map_or_else(|| Nulls::new(&NULLS), Nulls::new);
    let header = section.header.unwrap_or(usual.header);
    let texts = TextRules { numbers: numbers(checker, section)?, nulls };
    Ok(Dialect { delimiter, quote, comment, header, encoding, texts })
}

fn numbers(checker: &Checker<'_>, section: &CsvSection) -> Result<NumberStyle, PipelineError> {
    let decimal = match section.decimal.as_deref() {
        None | Some(".") => '.',
        Some(",") => ',',
        Some(_) => return checker.error("[input.csv] decimal", "must be \".\" or \",\""),
    };
    let thousands = match section.thousands.as_deref() {
        None | Some("") => None,
        Some("\u{a0}" | "\u{202f}") => Some(' '),
        Some(text) => match text.chars().next().filter(|sign| text.chars().count() == 1 && is_separator(*sign)) {
            Some(sign) if sign == decimal => {
                let problem = format!("`{sign}` is the decimal mark too: set decimal = \",\" or another sign here");
                return checker.error("[input.csv] thousands", problem);
            }
            Some(sign) => Some(sign),
            None => return checker.error("[input.csv] thousands", "must be \",\", \".\", \" \", \"'\" or \"_\""),
        },
    };
    Ok(NumberStyle { decimal, thousands, currency_signs: section.currency_signs.unwrap_or(false) })
}

fn is_separator(sign: char) -> bool {
    matches!(sign, ',' | '.' | ' ' | '\'' | '\u{2019}' | '_')
}

/// The one byte that `text` is: a sign of ASCII that does not end a line.
fn byte(checker: &Checker<'_>, key: &str, text: &str, such_as: &str) -> Result<u8, PipelineError> {
    match text.as_bytes() {
        [byte] if byte.is_ascii() && !matches!(byte, b'\r' | b'\n' | 0) => Ok(*byte),
        _ => checker.error(&format!("[input.csv] {key}"), format!("must be one ASCII character, such as {such_as}")),
    }
}
