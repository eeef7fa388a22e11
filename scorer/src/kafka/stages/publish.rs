//! The last stage: messages out, acknowledgements in, progress committed; and what came of it goes back to the first.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};
use std::time::Instant;

use super::batch::{BatchId, BatchTimes, CommitPoint, CommitResult, ScoredPart};
use super::commit::Transactions;
use super::publication::{EncodedMessage, Publication, Undelivered};
use crate::agreement::Agreement;
use crate::drift::Observations;
use crate::kafka::client::consumer::GroupConsumer;
use crate::kafka::client::error::KafkaError;
use crate::kafka::client::producer::{ProducedOffsets, Producer};
use crate::kafka::options::{BatchTrace, OnBatch, OnMessage};
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
    pub on_batch: Option<OnBatch>,
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
        let (truth, agreement) = (Truth::default(), Agreement::default());
        let observations = Observations::default();
        PublishedBatch { id, publication, truth, agreement, observations, times: None, began: Instant::now() }
    }

    /// Tells of a batch that has come to its end now, where somebody traces them.
    fn trace(&self, batch: &PublishedBatch<'_>, acknowledged: Option<Instant>, error: Option<String>) {
        let (Some(on_batch), Some(BatchTimes { records, read, scored })) = (&self.on_batch, batch.times) else {
            return;
        };
        let now = Instant::now();
        on_batch(BatchTrace {
            number: batch.id.number,
            records,
            messages: batch.publication.len(),
            read,
            scored,
            published: (batch.began, acknowledged.unwrap_or(now)),
            committed: acknowledged.map(|acknowledged| (acknowledged, now)),
            error,
        });
    }

    /// Tells the first stage, and whoever listens, of a batch that is committed; that took since `start`.
    fn committed(&self, batch: PublishedBatch<'_>, produced: ProducedOffsets, start: Instant) {
        let PublishedBatch { id, publication, truth, agreement, observations, .. } = batch;
        publication.warn();
        let of_others = publication.messages().filter(|message| !message.content.is_internal());
        of_others.for_each(|message| (self.on_message)(message));
        let Undelivered { dead_letters, skipped } = publication.undelivered();
        let mut alarms = Vec::new();
        self.status.update(|status| {
            publication.messages().for_each(|message| status.count(message));
            status.commits.add(start.elapsed());
            status.undeliverable += dead_letters;
            status.skipped += skipped;
            status.truth.merge(truth);
            status.agreement.merge(agreement);
            alarms = status.drift.add(&observations);
        });
        for alarm in alarms {
            tracing::warn!("{alarm}");
        }
        let _ = self.results.send(CommitResult::Committed { number: id.number, produced });
    }
}

/// What has come of a batch so far.
struct PublishedBatch<'a> {
    id: BatchId,
    publication: Publication<'a, EncodedMessage>,
    truth: Truth,
    agreement: Agreement,
    observations: Observations,
    /// Of the parts that came.
    times: Option<BatchTimes>,
    /// When the first of them came.
    began: Instant,
}

impl PublishedBatch<'_> {
    /// Adds a part; gives back what is committed with it, where it is the last.
    fn add(&mut self, part: ScoredPart) -> Result<Option<CommitPoint>, KafkaError> {
        let ScoredPart { messages, truth, agreement, observations, point, times, .. } = part;
        self.truth.merge(truth);
        self.agreement.merge(agreement);
        self.observations.merge(observations);
        self.times = Some(self.times.map_or(times, |before| before.then(times)));
        self.publication.extend(messages)?;
        Ok(point)
    }
}
