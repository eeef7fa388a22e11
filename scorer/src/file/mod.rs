//! Files of lines: read as the stream would deliver them, and the results written to a file.

mod lines;
mod output;

pub use lines::{FileError, FileLine, FileLines, read_file};
pub use output::{OutputError, VerdictFile};
