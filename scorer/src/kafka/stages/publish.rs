//! The last stage: messages out, acknowledgements in, progress committed; and what came of it goes back to the first.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};
use std::time::Instant;

use super::batch::{BatchId, CommitResult, ScoredPart};
use super::commit::Transactions;
use super::publication::{EncodedMessage, Publication, Undelivered};
use crate::agreement::Agreement;
use crate::kafka::client::consumer::GroupConsumer;
use crate::kafka::client::error::KafkaError;
use crate::kafka::client::producer::{ProducedOffsets, Producer};
use crate::kafka::options::OnMessage;
use crate::kafka::stop::StopHandle;
use crate::kafka::topics::input::InputTopic;
use crate::kafka::topics::limits::RecordLimits;
use crate::kafka::topics::names::Topics;
use crate::messages::DeadLetters;
use crate::status::StatusCell;
use crate::truth::Truth;

mod at_least_once;
mod exactly_once;

/// How results are committed.
pub(crate) enum Commits {
    /// Exactly once.
    Transactions(Box<Transactions>),
    /// At least once.
    Offsets(Producer),
}

/// The last stage.
pub(crate) struct Publisher {
    pub consumer: Arc<GroupConsumer>,
    /// The topic whose offsets are committed.
    pub input: InputTopic,
    pub topics: Topics,
    pub status: StatusCell,
    pub stop: StopHandle,
    pub on_message: OnMessage,
    pub dead_letters: DeadLetters,
    pub limits: RecordLimits,
    pub results: Sender<CommitResult>,
}

impl Publisher {
    /// Runs until the channel closes or Kafka fails for good.
    ///
    /// # Errors
    /// Why Kafka failed.
    pub(crate) fn run(&self, parts: &Receiver<ScoredPart>, commits: Commits) -> Result<(), KafkaError> {
        match commits {
            Commits::Transactions(transactions) => self.run_exactly_once(parts, *transactions),
            Commits::Offsets(producer) => self.run_at_least_once(parts, &producer),
        }
    }

    /// An empty batch.
    fn open(&self, id: BatchId) -> PublishedBatch<'_> {
        let publication = Publication::empty(&self.dead_letters, &self.limits);
        PublishedBatch { id, publication, truth: Truth::default(), agreement: Agreement::default() }
    }

    /// Tells the first stage, and whoever listens, of a batch that is committed; that took since `start`.
    fn committed(&self, batch: PublishedBatch<'_>, produced: ProducedOffsets, start: Instant) {
        let PublishedBatch { id, publication, truth, agreement } = batch;
        publication.warn();
        publication.messages().for_each(|message| (self.on_message)(message));
        let Undelivered { dead_letters, skipped } = publication.undelivered();
        self.status.update(|status| {
            publication.messages().for_each(|message| status.count(message));
            status.commits.add(start.elapsed());
            status.undeliverable += dead_letters;
            status.skipped += skipped;
            status.truth.merge(truth);
            status.agreement.merge(agreement);
        });
        let _ = self.results.send(CommitResult::Committed { number: id.number, produced });
    }
}

/// What has come of a batch so far.
struct PublishedBatch<'a> {
    id: BatchId,
    publication: Publication<'a, EncodedMessage>,
    truth: Truth,
    agreement: Agreement,
}

impl PublishedBatch<'_> {
    /// Adds a part.
    fn add(&mut self, messages: Vec<EncodedMessage>, truth: Truth, agreement: Agreement) -> Result<(), KafkaError> {
        self.truth.merge(truth);
        self.agreement.merge(agreement);
        self.publication.extend(messages)
    }
}
