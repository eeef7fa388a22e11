//! The program's one way to standard output and, but for logs and errors, to standard error.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write, stderr, stdout};

/// Prints a line to standard output. A reader that has gone, as in `scorer run | head`, is no error.
///
/// # Errors
/// Any other failure to write.
pub(super) fn print(text: impl Display) -> io::Result<()> {
    let mut output = stdout().lock();
    match writeln!(output, "{text}").and_then(|()| output.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

/// Says a line on standard error: where nobody hears it there is nobody to tell.
pub(super) fn say(text: impl Display) {
    let _ = writeln!(stderr(), "{text}");
}
