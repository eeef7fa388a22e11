//! CSV records as RFC 4180 writes them, and as the published retail data are written.

use std::io::{self, Write};

/// What stands between fields and around them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signs {
    /// Between fields.
    pub delimiter: u8,
    /// Around a field that holds a delimiter, a quote or a line end; `None` where no field may.
    pub quote: Option<u8>,
}

impl Default for Signs {
    fn default() -> Self {
        Self { delimiter: b',', quote: Some(b'"') }
    }
}

/// Writes one record: quoted where a field needs it, ended by a line feed.
pub fn write_record<W, I>(out: &mut W, fields: I) -> io::Result<()>
where
    W: Write + ?Sized,
    I: IntoIterator,
    I::Item: AsRef<[u8]>,
{
    write_fields(out, fields, Signs::default())?;
    out.write_all(b"\n")
}

/// Writes the fields of one record, without a line end: a message holds just one.
pub fn write_fields<W, I>(out: &mut W, fields: I, signs: Signs) -> io::Result<()>
where
    W: Write + ?Sized,
    I: IntoIterator,
    I::Item: AsRef<[u8]>,
{
    for (position, field) in fields.into_iter().enumerate() {
        if position > 0 {
            out.write_all(&[signs.delimiter])?;
        }
        write_field(out, field.as_ref(), signs)?;
    }
    Ok(())
}

/// Writes one field: in quotes, with inner quotes doubled, only when it holds a delimiter, a quote or a line end.
fn write_field<W: Write + ?Sized>(out: &mut W, field: &[u8], Signs { delimiter, quote }: Signs) -> io::Result<()> {
    let Some(quote) = quote else { return out.write_all(field) };
    if !field.iter().any(|&byte| byte == delimiter || byte == quote || matches!(byte, b'\n' | b'\r')) {
        return out.write_all(field);
    }
    out.write_all(&[quote])?;
    for (index, part) in field.split(|&byte| byte == quote).enumerate() {
        if index > 0 {
            out.write_all(&[quote, quote])?;
        }
        out.write_all(part)?;
    }
    out.write_all(&[quote])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(fields: &[&str]) -> String {
        let mut out = Vec::new();
        write_record(&mut out, fields).expect("a vector takes every byte");
        String::from_utf8(out).expect("fields are UTF-8")
    }

    #[test]
    fn plain_fields_are_not_quoted() {
        assert_eq!(record(&["1", "RED MUG ", "", "0.85"]), "1,RED MUG ,,0.85\n");
    }

    #[test]
    fn commas_quotes_and_line_ends_are_quoted() {
        assert_eq!(record(&["A, B", "SAY \"HI\"", "C\nD", "E\rF"]), "\"A, B\",\"SAY \"\"HI\"\"\",\"C\nD\",\"E\rF\"\n");
    }
}
