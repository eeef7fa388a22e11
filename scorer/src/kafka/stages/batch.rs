//! What goes from stage to stage.

use std::fmt;
use std::time::Instant;

use crate::agreement::Agreement;
use crate::core::{Output, PartitionChanges, Resume};
use crate::kafka::client::producer::ProducedOffsets;
use crate::kafka::membership::commit_fence::CommitFence;
use crate::messages::Message;
use crate::truth::Truth;

/// Which batch it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BatchId {
    pub number: u64,
    /// How often everything had been rolled back: batches of an earlier epoch are not committed.
    pub epoch: u64,
}

/// How many records a batch has, and when it was in which stage.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BatchTimes {
    pub records: usize,
    /// When its first record came, and when it was closed.
    pub read: (Instant, Instant),
    /// When it began to be scored, and when it was.
    pub scored: (Instant, Instant),
}

impl BatchTimes {
    /// Of a batch that is closed now; one that time alone has filled began then, too.
    pub(crate) fn closed(records: usize, since: Option<Instant>) -> Self {
        let now = Instant::now();
        Self { records, read: (since.unwrap_or(now), now), scored: (now, now) }
    }
}

/// Outputs of a stretch of the input, and what is committed with them.
#[derive(Debug)]
pub(crate) struct Batch {
    pub id: BatchId,
    pub outputs: Vec<Output>,
    pub point: CommitPoint,
    pub times: BatchTimes,
}

/// Messages of a batch, and what is committed with them.
#[derive(Debug)]
pub(crate) struct ScoredBatch {
    pub id: BatchId,
    pub messages: Vec<Message>,
    pub truth: Truth,
    pub agreement: Agreement,
    pub point: CommitPoint,
    pub times: BatchTimes,
}

/// How far the input has come with a batch.
pub(crate) enum CommitPoint {
    /// At least once: where to read again.
    Resume(Vec<(i32, Resume)>),
    /// Exactly once: what changed, and for whom that may be committed.
    Changes { changes: Vec<PartitionChanges>, fence: CommitFence },
}

impl fmt::Debug for CommitPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Resume(points) => f.debug_tuple("Resume").field(points).finish(),
            Self::Changes { changes, .. } => f.debug_struct("Changes").field("partitions", &changes.len()).finish(),
        }
    }
}

/// The result of a batch.
#[derive(Debug)]
pub(crate) enum CommitResult {
    /// Everything of it is committed; `produced` are the offsets that it has in the internal topics.
    Committed { number: u64, produced: ProducedOffsets },
    /// Nothing of it is.
    Failed { epoch: u64, reason: String },
}
