//! The last stage: messages out, acknowledgements in, progress committed; and what came of it goes back to the first.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};

use rdkafka::consumer::{CommitMode, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::batch::{BatchId, CommitPoint, CommitResult, ScoredBatch};
use super::commit::{Transaction, Transactions};
use super::transaction_error::TransactionError;
use crate::agreement::Agreement;
use crate::core::{PartitionChanges, Resume};
use crate::kafka::client::consumer::GroupConsumer;
use crate::kafka::client::error::KafkaError;
use crate::kafka::client::producer::{ProduceRecord, ProducedOffsets, Producer};
use crate::kafka::options::OnMessage;
use crate::kafka::stop::StopHandle;
use crate::kafka::topics::input::InputTopic;
use crate::kafka::topics::names::Topics;
use crate::kafka::wire::offset_metadata::{StateTag, encode_resume};
use crate::messages::Message;
use crate::status::StatusCell;
use crate::truth::Truth;

/// How results are committed.
pub(crate) enum Commits {
    /// Exactly once.
    Transactions(Transactions),
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
    pub results: Sender<CommitResult>,
}

impl Publisher {
    /// Runs until the channel closes or Kafka fails for good.
    ///
    /// # Errors
    /// Why Kafka failed.
    pub(crate) fn run(&self, batches: &Receiver<ScoredBatch>, commits: Commits) -> Result<(), KafkaError> {
        match commits {
            Commits::Transactions(transactions) => self.run_exactly_once(batches, transactions),
            Commits::Offsets(producer) => self.run_at_least_once(batches, &producer),
        }
    }

    fn run_exactly_once(
        &self,
        batches: &Receiver<ScoredBatch>,
        mut transactions: Transactions,
    ) -> Result<(), KafkaError> {
        transactions.start(&self.stop)?;
        let (mut failed_epoch, owner) = (None, self.input.owner());
        while let Ok(ScoredBatch { id, messages, truth, agreement, point }) = batches.recv() {
            let CommitPoint::Changes { changes, fence } = &point else { continue };
            if failed_epoch == Some(id.epoch) {
                continue;
            }
            let tag = |of: &PartitionChanges| StateTag::of(&of.head).encode(&owner);
            let offset = |of: &PartitionChanges| (of.partition, of.head.next_offset, tag(of));
            let offsets: Vec<(i32, i64, String)> = changes.iter().map(offset).collect();
            let transaction = Transaction { input: &self.input, offsets: &offsets, fence };
            let mut records = self.records(&messages, changes);
            match transactions.commit(&transaction, &mut records, &self.consumer, &self.stop) {
                Ok(produced) => self.committed(id, &messages, (truth, agreement), produced),
                Err(TransactionError::Undeliverable(error)) => return Err(error),
                Err(TransactionError::Abortable(reason) | TransactionError::FatalProducer(reason)) => {
                    failed_epoch = Some(id.epoch);
                    // A new producer ends what the old one left open: offsets are known only then.
                    transactions.start(&self.stop)?;
                    let _ = self.results.send(CommitResult::Failed { epoch: id.epoch, reason });
                }
            }
        }
        Ok(())
    }

    /// Results, then changes of state.
    fn records<'a>(
        &'a self,
        messages: &'a [Message],
        changes: &'a [PartitionChanges],
    ) -> impl Iterator<Item = ProduceRecord<'a>> {
        let result = |message: &'a Message| ProduceRecord {
            key: message.key.as_deref().map(str::as_bytes),
            payload: Some(Cow::Owned(message.payload())),
            ..ProduceRecord::to(&message.topic)
        };
        let topic = &self.topics.state;
        let state = move |of: &'a PartitionChanges| {
            of.records.iter().map(move |record| ProduceRecord::state(topic, of.partition, record))
        };
        messages.iter().map(result).chain(changes.iter().flat_map(state))
    }

    fn run_at_least_once(&self, batches: &Receiver<ScoredBatch>, producer: &Producer) -> Result<(), KafkaError> {
        let mut last: Option<(u64, TopicPartitionList)> = None;
        while let Ok(ScoredBatch { id, messages, truth, agreement, point }) = batches.recv() {
            let CommitPoint::Resume(points) = point else { continue };
            for message in &messages {
                producer.send(&message.topic, message.key.as_deref().map(str::as_bytes), &message.payload())?;
            }
            producer.flush()?;
            let revocations = self.consumer.context().revocations();
            // The records were read before this is asked: they are of the topic whose offsets are committed.
            match self.input.confirm(self.consumer.client(), None) {
                Ok(()) => last = self.commit_offsets(&points).map(|offsets| (revocations, offsets)).or(last),
                Err(KafkaError::Failed { cause, .. }) => {
                    tracing::warn!(cause, "offsets were not committed; their records may be read again");
                }
                Err(error) => return Err(error),
            }
            self.committed(id, &messages, (truth, agreement), producer.take_produced());
        }
        // The last commit is made synchronously: an asynchronous one may be lost when the client goes.
        match last {
            Some((revocations, offsets)) if revocations == self.consumer.context().revocations() => {
                self.commit_last(&offsets)
            }
            // Their new owners may have come further by now.
            Some(_) | None => Ok(()),
        }
    }

    /// Commits where the next start goes on. An instance that is out of its group by now has nothing to say about that:
    /// others go on from its last commit, and what it published since may come twice, as at least once allows.
    fn commit_last(&self, offsets: &TopicPartitionList) -> Result<(), KafkaError> {
        match self.consumer.commit(offsets, CommitMode::Sync) {
            Ok(()) => Ok(()),
            Err(error) if error.rdkafka_error_code().is_some_and(is_of_a_lost_session) => {
                tracing::warn!(%error, "the last offsets were not committed: other instances own the partitions");
                Ok(())
            }
            Err(error) => Err(KafkaError::of("committing offsets", &error)),
        }
    }

    fn committed(&self, id: BatchId, messages: &[Message], found: (Truth, Agreement), produced: ProducedOffsets) {
        messages.iter().for_each(|message| (self.on_message)(message));
        self.status.update(|status| {
            messages.iter().for_each(|message| status.count(message));
            status.truth.merge(found.0);
            status.agreement.merge(found.1);
        });
        let _ = self.results.send(CommitResult::Committed { number: id.number, produced });
    }

    /// Commits the partitions that are still ours; what else the batch held is its new owner's to commit.
    fn commit_offsets(&self, points: &[(i32, Resume)]) -> Option<TopicPartitionList> {
        let (mut offsets, owner) = (TopicPartitionList::new(), self.input.owner());
        for (partition, resume) in points.iter().filter(|(partition, _)| self.consumer.context().owns(*partition)) {
            let added = offsets.add_partition_offset(&self.input.name, *partition, Offset::Offset(resume.offset));
            if added.is_ok()
                && let Some(mut element) = offsets.find_partition(&self.input.name, *partition)
            {
                element.set_metadata(encode_resume(resume, &owner));
            }
        }
        if offsets.count() == 0 {
            return None;
        }
        if let Err(error) = self.consumer.commit(&offsets, CommitMode::Async) {
            tracing::warn!(%error, "offsets were not committed; their records may be read again");
        }
        Some(offsets)
    }
}

/// Whether the broker says that the one who asks is no member of the group any more, or not as it was.
fn is_of_a_lost_session(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::IllegalGeneration
            | RDKafkaErrorCode::UnknownMemberId
            | RDKafkaErrorCode::RebalanceInProgress
            | RDKafkaErrorCode::FencedInstanceId
            | RDKafkaErrorCode::AssignmentLost
    )
}
