//! The last stage: messages out, acknowledgements in, progress committed; and what came of it goes back to the first.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};
use std::time::{Duration, Instant};

use rdkafka::consumer::{CommitMode, Consumer};
use rdkafka::error::{KafkaError as ClientError, KafkaResult, RDKafkaErrorCode};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::batch::{BatchId, CommitPoint, CommitResult, ScoredBatch};
use super::commit::{Transaction, Transactions};
use super::publication::{EncodedMessage, Publication, Undelivered};
use super::transaction_error::TransactionError;
use crate::agreement::Agreement;
use crate::core::{PartitionChanges, Resume};
use crate::kafka::client::consumer::GroupConsumer;
use crate::kafka::client::error::KafkaError;
use crate::kafka::client::producer::{Failures, ProduceRecord, ProducedOffsets, Producer, RefusedRecord, is_refusal};
use crate::kafka::membership::commit_fence::CommitFence;
use crate::kafka::options::OnMessage;
use crate::kafka::stop::StopHandle;
use crate::kafka::topics::input::InputTopic;
use crate::kafka::topics::limits::RecordLimits;
use crate::kafka::topics::names::Topics;
use crate::kafka::wire::offset_metadata::{StateTag, encode_resume};
use crate::messages::{DeadLetters, Message};
use crate::status::StatusCell;
use crate::truth::Truth;

/// How often a batch is sent before everything goes back to the last commit.
const ATTEMPTS: u32 = 3;

/// How long a heartbeat takes that the client sends at once.
const HEARTBEAT: Duration = Duration::from_millis(200);

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
    pub(crate) fn run(&self, batches: &Receiver<ScoredBatch>, commits: Commits) -> Result<(), KafkaError> {
        match commits {
            Commits::Transactions(transactions) => self.run_exactly_once(batches, *transactions),
            Commits::Offsets(producer) => self.run_at_least_once(batches, &producer),
        }
    }

    fn run_exactly_once(
        &self,
        batches: &Receiver<ScoredBatch>,
        mut transactions: Transactions,
    ) -> Result<(), KafkaError> {
        transactions.start(&self.stop)?;
        let mut failed_epoch = None;
        while let Ok(ScoredBatch { id, messages, truth, agreement, point }) = batches.recv() {
            let CommitPoint::Changes { changes, fence } = point else { continue };
            if failed_epoch == Some(id.epoch) {
                continue;
            }
            let start = Instant::now();
            let mut publication = self.publication(messages)?;
            match self.commit(&mut transactions, &mut publication, &changes, &fence)? {
                Ok(produced) => self.committed(id, &publication, (truth, agreement), produced, start),
                Err(reason) => {
                    failed_epoch = Some(id.epoch);
                    self.status.update(|status| status.rolled_back += 1);
                    let _ = self.results.send(CommitResult::Failed { epoch: id.epoch, reason });
                }
            }
        }
        Ok(())
    }

    fn publication(&self, messages: Vec<Message>) -> Result<Publication<'_, EncodedMessage>, KafkaError> {
        Publication::new(messages.into_iter().map(EncodedMessage::new), &self.dead_letters, &self.limits)
    }

    /// Commits a batch: without the records that topics do not take, and again where it failed and nothing of it was lost.
    /// Inside is why it came to nothing.
    fn commit(
        &self,
        transactions: &mut Transactions,
        publication: &mut Publication<'_, EncodedMessage>,
        changes: &[PartitionChanges],
        fence: &CommitFence,
    ) -> Result<Result<ProducedOffsets, String>, KafkaError> {
        let owner = self.input.owner();
        let tag = |of: &PartitionChanges| StateTag::of(&of.head).encode(&owner);
        let offset = |of: &PartitionChanges| (of.partition, of.head.next_offset, tag(of));
        let offsets: Vec<(i32, i64, String)> = changes.iter().map(offset).collect();
        let transaction = Transaction { input: &self.input, offsets: &offsets, fence };
        let mut attempts = 0;
        loop {
            let result = {
                let mut records = publication.records().chain(self.state_records(changes));
                transactions.commit(&transaction, &mut records, &self.consumer, &self.stop)
            };
            let (reason, is_unknown) = match result {
                Ok(produced) => return Ok(Ok(produced)),
                Err(TransactionError::Undeliverable(error)) => return Err(error),
                Err(TransactionError::Refused(refused)) => {
                    publication.refuse(&refused)?;
                    continue;
                }
                Err(TransactionError::Abortable(reason) | TransactionError::FatalProducer(reason)) => (reason, None),
                Err(TransactionError::Unknown(reason, produced)) => (reason, Some(produced)),
            };
            // A new producer ends what the old one left open: offsets are known only then.
            transactions.start(&self.stop)?;
            if let Some(produced) = is_unknown {
                match transactions.was_committed(&transaction, &self.consumer, &self.stop) {
                    Some(true) => return Ok(Ok(produced)),
                    Some(false) => {}
                    None => return Ok(Err(reason)),
                }
            }
            attempts += 1;
            if attempts >= ATTEMPTS || !self.may_try_again(transactions, fence) {
                return Ok(Err(reason));
            }
            tracing::debug!(reason, attempts, "a batch is sent again");
            self.status.update(|status| status.sent_again += 1);
        }
    }

    /// Whether a batch that failed is as good as before.
    fn may_try_again(&self, transactions: &Transactions, fence: &CommitFence) -> bool {
        transactions.may_try_again() && !self.stop.is_requested() && fence.holds(&self.consumer)
    }

    fn state_records<'a>(&'a self, changes: &'a [PartitionChanges]) -> impl Iterator<Item = ProduceRecord<'a>> {
        let topic = &self.topics.state;
        changes
            .iter()
            .flat_map(move |of| of.records.iter().map(move |record| ProduceRecord::state(topic, of.partition, record)))
    }

    fn run_at_least_once(&self, batches: &Receiver<ScoredBatch>, producer: &Producer) -> Result<(), KafkaError> {
        let mut last: Option<(u64, TopicPartitionList)> = None;
        while let Ok(ScoredBatch { id, messages, truth, agreement, point }) = batches.recv() {
            let CommitPoint::Resume(points) = point else { continue };
            let start = Instant::now();
            let mut publication = self.publication(messages)?;
            send(producer, &mut publication)?;
            let revocations = self.consumer.context().revocations();
            // The records were read before this is asked: they are of the topic whose offsets are committed.
            match self.input.confirm(self.consumer.client(), None) {
                Ok(()) => last = self.commit_offsets(&points).map(|offsets| (revocations, offsets)).or(last),
                Err(KafkaError::Failed { cause, .. }) => {
                    tracing::warn!(cause, "offsets were not committed; their records may be read again");
                }
                Err(error) => return Err(error),
            }
            self.committed(id, &publication, (truth, agreement), producer.take_produced(), start);
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
        let mut attempts = 1;
        let mut committed = self.consumer.commit(offsets, CommitMode::Sync);
        // The broker may be an epoch ahead of what the client knows: its next heartbeat, which is on its way, says so.
        while is_of_an_old_epoch(&committed) && attempts < ATTEMPTS {
            std::thread::sleep(HEARTBEAT);
            attempts += 1;
            committed = self.consumer.commit(offsets, CommitMode::Sync);
        }
        match committed {
            Ok(()) => Ok(()),
            Err(error) if error.rdkafka_error_code().is_some_and(is_of_a_lost_session) => {
                tracing::warn!(%error, "the last offsets were not committed: other instances own the partitions");
                Ok(())
            }
            Err(error) => Err(KafkaError::of("committing offsets", &error)),
        }
    }

    fn committed(
        &self,
        id: BatchId,
        publication: &Publication<'_, EncodedMessage>,
        found: (Truth, Agreement),
        produced: ProducedOffsets,
        start: Instant,
    ) {
        publication.warn();
        publication.messages().for_each(|message| (self.on_message)(message));
        let Undelivered { dead_letters, skipped } = publication.undelivered();
        self.status.update(|status| {
            publication.messages().for_each(|message| status.count(message));
            status.commits.add(start.elapsed());
            status.undeliverable += dead_letters;
            status.skipped += skipped;
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

fn is_of_an_old_epoch(committed: &KafkaResult<()>) -> bool {
    let error = committed.as_ref().err();
    error.and_then(ClientError::rdkafka_error_code) == Some(RDKafkaErrorCode::StaleMemberEpoch)
}

/// Whether the broker says that the one who asks is no member of the group any more, or not as it was.
fn is_of_a_lost_session(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::IllegalGeneration
            | RDKafkaErrorCode::UnknownMemberId
            | RDKafkaErrorCode::RebalanceInProgress
            | RDKafkaErrorCode::FencedInstanceId
            | RDKafkaErrorCode::FencedMemberEpoch
            | RDKafkaErrorCode::StaleMemberEpoch
            | RDKafkaErrorCode::AssignmentLost
    )
}

/// Sends messages and waits until they are accepted. Where a batch of them is refused, each of it is sent alone: only then
/// is it known which one is meant, and that one is replaced by a dead letter.
fn send(producer: &Producer, publication: &mut Publication<'_, EncodedMessage>) -> Result<(), KafkaError> {
    let mut suspects = Vec::new();
    for record in publication.records() {
        suspects.extend(queue(producer, record)?.map(|refused| refused.tag));
    }
    let Failures { refused, innocent, .. } = settle(producer)?;
    suspects.extend(refused.iter().map(|refused| refused.tag).chain(innocent));
    suspects.sort_unstable();
    for tag in suspects {
        // What was replaced is sent as what it is by now; what is skipped is there no more.
        while let Some(record) = publication.record(tag) {
            let mut refused: Vec<RefusedRecord> = queue(producer, record)?.into_iter().collect();
            refused.extend(settle(producer)?.refused);
            if refused.is_empty() {
                break;
            }
            publication.refuse_these(&refused)?;
        }
    }
    Ok(())
}

/// Queues a record; inside, where the client itself refuses it.
fn queue(producer: &Producer, record: ProduceRecord<'_>) -> Result<Option<RefusedRecord>, KafkaError> {
    let (topic, tag) = (record.topic, record.tag);
    match producer.queue(record) {
        Ok(()) => Ok(None),
        Err(error) => match error.rdkafka_error_code().filter(|code| is_refusal(*code)) {
            Some(code) => Ok(Some(RefusedRecord { tag, topic: topic.to_owned(), code })),
            None => Err(KafkaError::NotDelivered { topic: topic.to_owned(), cause: error.to_string() }),
        },
    }
}

/// Waits until everything that was queued is accepted or refused.
fn settle(producer: &Producer) -> Result<Failures, KafkaError> {
    producer.wait_for_acknowledgements().map_err(KafkaError::failed("waiting for acknowledgements"))?;
    let failures = producer.take_failures();
    match failures.other {
        Some((topic, code)) => Err(KafkaError::NotDelivered { topic, cause: code.to_string() }),
        None => Ok(failures),
    }
}
