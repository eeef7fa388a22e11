//! What goes from stage to stage.

use std::fmt;

use rdkafka::consumer::ConsumerGroupMetadata;

use crate::agreement::Agreement;
use crate::core::{Output, PartitionChanges, Resume};
use crate::kafka::client::producer::Ends;
use crate::messages::Message;
use crate::truth::Truth;

/// Outputs of a stretch of the input, and what is committed with them.
#[derive(Debug)]
pub(crate) struct Batch {
    pub ticket: Ticket,
    pub outputs: Vec<Output>,
    pub progress: Progress,
}

/// Messages of a batch, and what is committed with them.
#[derive(Debug)]
pub(crate) struct Publication {
    pub ticket: Ticket,
    pub messages: Vec<Message>,
    pub truth: Truth,
    pub agreement: Agreement,
    pub progress: Progress,
}

/// Which batch it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ticket {
    pub number: u64,
    /// Counts the times that everything was rolled back: batches from before come to nothing.
    pub epoch: u64,
}

/// How far the input has come with a batch.
pub(crate) enum Progress {
    /// At least once: where to read again.
    Resume(Vec<(i32, Resume)>),
    /// Exactly once: what changed, and the group as it was.
    Changes { changes: Vec<PartitionChanges>, group: ConsumerGroupMetadata, given_up: u64 },
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Resume(points) => f.debug_tuple("Resume").field(points).finish(),
            Self::Changes { changes, .. } => f.debug_struct("Changes").field("partitions", &changes.len()).finish(),
        }
    }
}

/// What became of a batch.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// Everything of it is committed; `ends` are those of the internal topics.
    Committed { number: u64, ends: Ends },
    /// Nothing of it is.
    Failed { epoch: u64, reason: String },
}
