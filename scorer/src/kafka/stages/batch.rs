//! What goes from stage to stage.

use std::fmt;
use std::time::Instant;

use crate::agreement::Agreement;
use crate::core::{Output, PartitionChanges, Resume};
use crate::drift::Observations;
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

/// How many records a batch has so far, and when it was in which stage.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BatchTimes {
    pub records: usize,
    /// When its first record came, and when its last part was handed on.
    pub read: (Instant, Instant),
    /// When its first part began to be scored, and when the last one was.
    pub scored: (Instant, Instant),
}

impl BatchTimes {
    /// Of a part that is handed on now; a batch that time alone has filled began then, too.
    pub(crate) fn now(records: usize, since: Option<Instant>) -> Self {
        let now = Instant::now();
        Self { records, read: (since.unwrap_or(now), now), scored: (now, now) }
    }

    /// With those of a later part of the same batch.
    pub(crate) fn then(self, later: Self) -> Self {
        Self { records: later.records, read: (self.read.0, later.read.1), scored: (self.scored.0, later.scored.1) }
    }
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
    pub times: BatchTimes,
}

/// Messages of a part of a batch.
#[derive(Debug)]
pub(crate) struct ScoredPart {
    pub id: BatchId,
    pub messages: Vec<EncodedMessage>,
    pub truth: Truth,
    pub agreement: Agreement,
    pub observations: Observations,
    /// As [`BatchPart::point`].
    pub point: Option<CommitPoint>,
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_batch_lasts_from_its_first_part_to_its_last() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let of = |records, from: u64| BatchTimes {
            records,
            read: (at(from), at(from + 1)),
            scored: (at(from + 2), at(from + 3)),
        };
        let both = of(5, 0).then(of(9, 10));
        assert_eq!((both.records, both.read, both.scored), (9, (at(0), at(11)), (at(2), at(13))));
    }
}
