//! At least once: results are sent as they come, and the offsets of a batch are committed once all of its results are
//! acknowledged. Nothing waits for that meanwhile.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use rdkafka::consumer::{CommitMode, Consumer};
use rdkafka::error::{KafkaError as ClientError, KafkaResult, RDKafkaErrorCode};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::{PublishedBatch, Publisher};
use crate::core::Resume;
use crate::kafka::client::error::KafkaError;
use crate::kafka::client::producer::{Failures, ProduceRecord, Producer, RecordId, RefusedRecord, is_refusal};
use crate::kafka::client::topic_id::TopicQuestion;
use crate::kafka::stages::batch::{CommitPoint, ScoredPart};
use crate::kafka::stages::publication::{EncodedMessage, Publication};
use crate::kafka::wire::offset_metadata::encode_resume;

/// How long to wait at a time for more to send, while acknowledgements are to come.
const ACKNOWLEDGEMENT_WAIT: Duration = Duration::from_millis(1);

/// How often the last offsets are committed, and how long a heartbeat takes that the client sends at once.
const ATTEMPTS: u32 = 3;
const HEARTBEAT: Duration = Duration::from_millis(200);

/// A batch whose records the client has.
struct SentBatch<'a> {
    /// What its records are called by.
    group: usize,
    batch: PublishedBatch<'a>,
    end: End<'a>,
}

/// What is to happen once the records of a batch are acknowledged.
enum End<'a> {
    /// Nothing yet: more of it is to come.
    Open,
    /// Its offsets are committed.
    Commit { points: Vec<(i32, Resume)>, topic: Option<TopicQuestion<'a>>, start: Instant },
    /// Nothing: its partitions went to other instances before it was whole.
    Forget,
}

/// The batches that are not committed, oldest first, and the last commit.
struct AtLeastOnce<'a> {
    publisher: &'a Publisher,
    producer: &'a Producer,
    sent: VecDeque<SentBatch<'a>>,
    last_group: usize,
    /// How often partitions had been revoked by then, and the offsets.
    last_commit: Option<(u64, TopicPartitionList)>,
}

impl Publisher {
    pub(super) fn run_at_least_once(
        &self,
        parts: &Receiver<ScoredPart>,
        producer: &Producer,
    ) -> Result<(), KafkaError> {
        let (sent, last_group, last_commit) = (VecDeque::new(), 0, None);
        let mut state = AtLeastOnce { publisher: self, producer, sent, last_group, last_commit };
        loop {
            let part = match state.has_to_follow() {
                true => parts.recv_timeout(ACKNOWLEDGEMENT_WAIT),
                false => parts.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match part {
                Ok(part) => state.send(part)?,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            producer.poll();
            if producer.has_failures() {
                state.replace_refused(Vec::new())?;
            }
            state.commit_acknowledged()?;
        }
        state.replace_refused(Vec::new())?;
        state.commit_acknowledged()?;
        state.end()
    }
}

impl AtLeastOnce<'_> {
    /// Whether anything happens without another part.
    fn has_to_follow(&self) -> bool {
        let is_whole = |sent: &SentBatch<'_>| !matches!(sent.end, End::Open);
        self.sent.front().is_some_and(is_whole) || self.producer.has_unacknowledged()
    }

    /// Hands the records of a part to the client.
    fn send(&mut self, part: ScoredPart) -> Result<(), KafkaError> {
        let (id, start, publisher) = (part.id, Instant::now(), self.publisher);
        if let Some(sent) = self.sent.back_mut()
            && matches!(sent.end, End::Open)
            && sent.batch.id != id
        {
            sent.end = End::Forget;
        }
        if self.sent.back().is_none_or(|sent| !matches!(sent.end, End::Open)) {
            self.last_group += 1;
            self.sent.push_back(SentBatch { group: self.last_group, batch: publisher.open(id), end: End::Open });
        }
        let Some(sent) = self.sent.back_mut() else { return Ok(()) };
        let before = sent.batch.publication.len();
        let point = sent.batch.add(part)?;
        let mut refused = Vec::new();
        for record in sent.batch.publication.records_from(before) {
            let tag = RecordId { group: sent.group, index: record.tag }.tag();
            refused.extend(queue(self.producer, ProduceRecord { tag, ..record })?.map(|refused| refused.tag));
        }
        if let Some(CommitPoint::Resume(points)) = point {
            // The records were read before this is asked: they are of the topic whose offsets are committed.
            let topic = publisher.input.ask(publisher.consumer.client());
            sent.end = End::Commit { points, topic, start };
        }
        if refused.is_empty() { Ok(()) } else { self.replace_refused(refused) }
    }

    /// Waits until everything is accepted or refused. Where several records are refused together, each is sent alone: only then
    /// is it known which one is meant, and that one is replaced by a dead letter.
    fn replace_refused(&mut self, mut suspects: Vec<usize>) -> Result<(), KafkaError> {
        let Failures { refused, innocent, .. } = settle(self.producer)?;
        suspects.extend(refused.iter().map(|refused| refused.tag).chain(innocent));
        suspects.sort_unstable();
        for tag in suspects {
            let RecordId { group, index } = RecordId::of(tag);
            let sent = self.sent.iter_mut().find(|sent| sent.group == group);
            let Some(sent) = sent.filter(|sent| !matches!(sent.end, End::Forget)) else { continue };
            send_alone(self.producer, &mut sent.batch.publication, index)?;
        }
        Ok(())
    }

    /// Commits the batches that are whole and acknowledged, in their order.
    fn commit_acknowledged(&mut self) -> Result<(), KafkaError> {
        let is_over =
            |sent: &mut SentBatch<'_>| !matches!(sent.end, End::Open) && self.producer.unacknowledged(sent.group) == 0;
        while let Some(SentBatch { batch, end, .. }) = self.sent.pop_front_if(is_over) {
            let End::Commit { points, topic, start } = end else { continue };
            let (publisher, acknowledged) = (self.publisher, Instant::now());
            let revocations = publisher.consumer.context().revocations();
            match publisher.input.confirm(publisher.consumer.client(), topic) {
                Ok(()) => {
                    let committed = publisher.commit_offsets(&points).map(|offsets| (revocations, offsets));
                    self.last_commit = committed.or(self.last_commit.take());
                }
                Err(KafkaError::Failed { cause, .. }) => {
                    tracing::warn!(cause, "offsets were not committed; their records may be read again");
                }
                Err(error) => return Err(error),
            }
            publisher.trace(&batch, Some(acknowledged), None);
            publisher.committed(batch, self.producer.take_produced(), start);
        }
        Ok(())
    }

    /// The last commit is made synchronously: an asynchronous one may be lost when the client goes.
    fn end(self) -> Result<(), KafkaError> {
        let consumer = &self.publisher.consumer;
        match self.last_commit {
            Some((revocations, offsets)) if revocations == consumer.context().revocations() => {
                self.publisher.commit_last(&offsets)
            }
            // Their new owners may have come further by now.
            Some(_) | None => Ok(()),
        }
    }
}

impl Publisher {
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

/// Sends a record by itself until it is accepted, or skipped.
fn send_alone(
    producer: &Producer,
    publication: &mut Publication<'_, EncodedMessage>,
    index: usize,
) -> Result<(), KafkaError> {
    // What was replaced is sent as what it is by now; what is skipped is there no more.
    while let Some(record) = publication.record(index) {
        let mut refused: Vec<RefusedRecord> = queue(producer, record)?.into_iter().collect();
        refused.extend(settle(producer)?.refused);
        if refused.is_empty() {
            break;
        }
        publication.refuse_these(&refused)?;
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
