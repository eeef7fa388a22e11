//! The middle stage: outputs in, messages out.

use std::sync::mpsc::{Receiver, SyncSender};
use std::time::Instant;

use super::batch::{Batch, BatchTimes, ScoredBatch};
use crate::kafka::client::error::KafkaError;
use crate::messages::{Encoded, Encoder};
use crate::scoring::Detectors;

/// Scores until either side is gone.
///
/// # Errors
/// A device that failed and that nothing may replace. What is not published is not committed either.
pub(crate) fn score(
    batches: &Receiver<Batch>,
    encoder: &Encoder,
    detectors: &Detectors,
    next: &SyncSender<ScoredBatch>,
) -> Result<(), KafkaError> {
    while let Ok(Batch { id, outputs, point, times }) = batches.recv() {
        let start = Instant::now();
        let Encoded { messages, truth, agreement } = encoder.encode(outputs, detectors)?;
        let times = BatchTimes { scored: (start, Instant::now()), ..times };
        if next.send(ScoredBatch { id, messages, truth, agreement, point, times }).is_err() {
            break;
        }
    }
    Ok(())
}
