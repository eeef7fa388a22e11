//! The middle stage: outputs in, messages out.

use std::sync::mpsc::{Receiver, SyncSender};
use std::time::Instant;

use super::batch::{BatchPart, BatchTimes, ScoredPart};
use crate::kafka::client::error::KafkaError;
use crate::kafka::stages::publication::EncodedMessage;
use crate::messages::{Encoded, Encoder};
use crate::scoring::Detectors;

/// Scores until either side is gone.
///
/// # Errors
/// A device that failed and that nothing may replace. What is not published is not committed either.
pub(crate) fn score(
    parts: &Receiver<BatchPart>,
    encoder: &Encoder,
    detectors: &Detectors,
    next: &SyncSender<ScoredPart>,
) -> Result<(), KafkaError> {
    let mut buffer = Vec::new();
    while let Ok(BatchPart { id, outputs, point, times }) = parts.recv() {
        let start = Instant::now();
        let Encoded { messages, truth, agreement, observations } = encoder.encode(outputs, detectors)?;
        // Bytes are made here, beside the commit of what came before.
        let messages = messages.into_iter().map(|message| EncodedMessage::by(&mut buffer, message)).collect();
        let times = BatchTimes { scored: (start, Instant::now()), ..times };
        if next.send(ScoredPart { id, messages, truth, agreement, observations, point, times }).is_err() {
            break;
        }
    }
    Ok(())
}
