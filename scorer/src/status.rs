//! What a running stream is doing, for a status line and a closing summary.

use std::sync::{Arc, Mutex, PoisonError};

use crate::agreement::Agreement;
use crate::core::Counters;
use crate::messages::{Content, Message};
use crate::truth::Truth;

/// A moment of a stream.
#[derive(Debug, Clone, Default)]
pub struct Status {
    /// Records by outcome.
    pub counters: Counters,
    /// Records that the broker has and that were not read yet, as far as is known.
    pub lag: Option<i64>,
    /// Partitions whose state is on its way: nothing of them is read yet.
    pub restoring_partitions: usize,
    /// Partitions whose state could not be restored: nothing of them is read.
    pub failed_partitions: usize,
    /// Anomalies published, by detector.
    pub anomalies: Vec<(String, u64)>,
    /// Messages acknowledged by the broker.
    pub published: u64,
    /// Messages, and lines on their way to the right partition, that were told of in the erroneous topic, because their
    /// own topic does not take them.
    pub undeliverable: u64,
    /// The same that the erroneous topic did not take either.
    pub skipped: u64,
    /// Batches that were sent again after their transaction had failed.
    pub sent_again: u64,
    /// How often everything went back to the last commit.
    pub rolled_back: u64,
    /// Cancellation counts published.
    pub windows: u64,
    /// What was found of what records are known to be.
    pub truth: Truth,
    /// What the first two trained detectors say of entities.
    pub agreement: Agreement,
}

impl Status {
    /// Adds a message that was published.
    pub fn count(&mut self, message: &Message) {
        // Reports stay among the instances: nobody else would know what to make of their number.
        self.published += u64::from(!matches!(message.content, Content::Report(_)));
        match &message.content {
            Content::Verdict(verdict) if verdict.anomalous => {
                if let Some((_, count)) = self.anomalies.iter_mut().find(|(name, _)| *name == verdict.detector) {
                    *count += 1;
                }
            }
            Content::Cancellations(_) => self.windows += 1,
            Content::Verdict(_) | Content::Entity(_) | Content::Erroneous(_) | Content::Report(_) => {}
        }
    }
}

/// The status that the threads of a stream write and others read.
#[derive(Debug, Clone, Default)]
pub struct StatusCell(Arc<Mutex<Status>>);

impl StatusCell {
    /// The latest status.
    pub fn get(&self) -> Status {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn update(&self, change: impl FnOnce(&mut Status)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}
