//! The program's one way to standard output and, but for logs and errors, to standard error.
//!
//! Texts come here with what records hold, so nothing passes that a terminal would obey.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write, stderr, stdout};

use serde_json::Value;
use shared::text::{is_printable, printable_lines};

/// Prints a text to standard output. A reader that has gone, as in `scorer run | head`, is no error.
///
/// # Errors
/// Any other failure to write.
pub(super) fn print(text: impl Display) -> io::Result<()> {
    print_while_read(text).map(|_| ())
}

/// The same; whether somebody is left to read more.
///
/// # Errors
/// As [`print()`].
pub(super) fn print_while_read(text: impl Display) -> io::Result<bool> {
    write_line(printable_lines(&text.to_string()))
}

/// Prints JSON to standard output, as [`print()`] does.
///
/// # Errors
/// As [`print()`].
pub(super) fn print_json(value: &Value) -> io::Result<()> {
    write_line(escaped(&format!("{value:#}"))).map(|_| ())
}

/// JSON on one line, with no character that a terminal would obey.
pub(super) fn json_line(value: &Value) -> String {
    escaped(&value.to_string())
}

fn escaped(json: &str) -> String {
    let mut escaped = String::new();
    for c in json.chars() {
        // JSON escapes the control characters of ASCII but for the last, and none beyond.
        if c == '\n' || is_printable(c) {
            escaped.push(c);
        } else {
            c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| escaped += &format!("\\u{unit:04x}"));
        }
    }
    escaped
}

/// Whether somebody was there to read it.
fn write_line(text: impl Display) -> io::Result<bool> {
    let mut output = stdout().lock();
    match writeln!(output, "{text}").and_then(|()| output.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        result => result.map(|()| true),
    }
}

/// Says a line on standard error: where nobody hears it there is nobody to tell.
pub(super) fn say(text: impl Display) {
    let _ = writeln!(stderr(), "{}", printable_lines(&text.to_string()));
}
