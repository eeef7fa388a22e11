//! Where the records are that a message is about.

use serde::{Deserialize, Serialize};

/// Most runs of offsets that a verdict names: the lines of an invoice may be scattered.
const MOST_RUNS: usize = 100;

/// Where records are: in a partition of a topic, or in a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum VerdictSource {
    /// In a topic.
    Topic {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// First and last offset of each run of them, in rising order.
        offsets: Vec<(i64, i64)>,
        /// How many runs there are, where not all are named.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        offset_runs: Option<usize>,
    },
    /// In a file.
    File {
        /// The file, as it was called.
        file: String,
        /// First and last line of each run of them, in rising order; the first line of a file is 1.
        lines: Vec<(i64, i64)>,
        /// How many runs there are, where not all are named.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        line_runs: Option<usize>,
    },
}

impl VerdictSource {
    /// Records of a partition of a topic.
    pub fn in_topic(topic: &str, partition: i32, offsets: &[(i64, i64)]) -> Self {
        let (offsets, offset_runs) = first_runs(offsets);
        Self::Topic { topic: topic.to_owned(), partition, offsets, offset_runs }
    }

    /// Lines of a file.
    pub fn in_file(file: &str, lines: &[(i64, i64)]) -> Self {
        let (lines, line_runs) = first_runs(lines);
        Self::File { file: file.to_owned(), lines, line_runs }
    }

    /// The partition and the offset of the first record; of a file, 0 and the line.
    pub(super) fn first(&self) -> Option<(i32, i64)> {
        match self {
            Self::Topic { partition, offsets, .. } => offsets.first().map(|(first, _)| (*partition, *first)),
            Self::File { lines, .. } => lines.first().map(|(first, _)| (0, *first)),
        }
    }
}

/// As many runs as a message has room for; where that is not all, how many there are.
fn first_runs(runs: &[(i64, i64)]) -> (Vec<(i64, i64)>, Option<usize>) {
    let named = runs[..runs.len().min(MOST_RUNS)].to_vec();
    (named, (runs.len() > MOST_RUNS).then_some(runs.len()))
}
