//! Files of lines: read as the stream would deliver them, and the results written to a file, and read again.

mod input;
mod label_rows;
mod labels;
mod lines;
mod message_rows;
mod output;
mod row_columns;
mod verdicts;

pub use input::{InputFile, Position};
pub use label_rows::{LabelFile, LabelRow};
pub use labels::{read_labels, read_scenarios};
pub use lines::{FileError, FileLine, FileLines};
pub use output::{OutputError, VerdictFile, is_standard_output};
pub use verdicts::{pipeline_of_messages, read_messages, read_verdicts};
