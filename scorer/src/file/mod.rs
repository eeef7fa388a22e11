//! Files of lines: read as the stream would deliver them, and the results written to a file, and read again.

mod labels;
mod lines;
mod output;
mod verdicts;

pub use labels::read_labels;
pub use lines::{FileError, FileLine, FileLines, read_file};
pub use output::{OutputError, VerdictFile};
pub use verdicts::{pipeline_of_messages, read_messages, read_verdicts};
