//! The middle stage: outputs in, messages out.

use std::sync::mpsc::{Receiver, SyncSender};

use super::batch::{Batch, ScoredBatch};
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
    while let Ok(Batch { id, outputs, point }) = batches.recv() {
        let Encoded { messages, truth, agreement } = encoder.encode(outputs, detectors)?;
        if next.send(ScoredBatch { id, messages, truth, agreement, point }).is_err() {
            break;
        }
    }
    Ok(())
}
