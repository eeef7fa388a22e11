//! The middle stage: outputs in, messages out.

use std::sync::mpsc::{Receiver, SyncSender};

use super::batch::{Batch, Publication};
use crate::kafka::client::error::KafkaError;
use crate::messages::{Encoded, Encoder};
use crate::scoring::Detectors;

/// The middle stage: outputs in, messages out, until either side is gone.
///
/// # Errors
/// A device that failed and that nothing may replace. What is not published is not committed either.
pub(crate) fn score(
    batches: &Receiver<Batch>,
    encoder: &Encoder,
    detectors: &Detectors,
    next: &SyncSender<Publication>,
) -> Result<(), KafkaError> {
    while let Ok(Batch { ticket, outputs, progress }) = batches.recv() {
        let Encoded { messages, truth, agreement } = encoder.encode(outputs, detectors)?;
        if next.send(Publication { ticket, messages, truth, agreement, progress }).is_err() {
            break;
        }
    }
    Ok(())
}
