//! The program's one way to standard output.

use std::io::{self, ErrorKind, Write};

use shared::text::printable_lines;

/// Prints `text`. A reader that has gone, as in `trainer | head`, is no error.
///
/// # Errors
/// Any other failure to write.
pub fn print(text: &str) -> io::Result<()> {
    let mut output = io::stdout().lock();
    match write!(output, "{}", printable_lines(text)).and_then(|()| output.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}
