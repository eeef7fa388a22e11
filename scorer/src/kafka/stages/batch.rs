//! What goes from stage to stage.

use std::fmt;

use crate::agreement::Agreement;
use crate::core::{Output, PartitionChanges, Resume};
use crate::kafka::client::producer::ProducedOffsets;
use crate::kafka::membership::commit_fence::CommitFence;
use crate::kafka::stages::publication::EncodedMessage;
use crate::truth::Truth;

/// Which batch it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BatchId {
    pub number: u64,
    /// How often everything had been rolled back: batches of an earlier epoch are not committed.
    pub epoch: u64,
}

/// A part of the outputs of a stretch of the input: what there is goes on before the batch is whole. With the last part comes
/// what is committed with all of them.
///
/// A part of a later epoch says that what came of the earlier one is not committed.
#[derive(Debug)]
pub(crate) struct BatchPart {
    pub id: BatchId,
    pub outputs: Vec<Output>,
    /// `None` where more of the batch follows.
    pub point: Option<CommitPoint>,
}

/// Messages of a part of a batch.
#[derive(Debug)]
pub(crate) struct ScoredPart {
    pub id: BatchId,
    pub messages: Vec<EncodedMessage>,
    pub truth: Truth,
    pub agreement: Agreement,
    /// As [`BatchPart::point`].
    pub point: Option<CommitPoint>,
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
