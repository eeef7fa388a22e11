//! The first stage: records in, state machine, batches of outputs on.

use std::collections::BTreeSet;
use std::sync::mpsc::SyncSender;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaError as ClientError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka::{ClientContext, Statistics};
use serde::{Deserialize, Serialize};
use shared::time::Timestamp;

use super::settings::{KafkaError, log_client};
use super::status::StatusCell;
use super::stream::{EndWhen, Progress, StopHandle, StreamOptions};
use crate::core::{Core, Input, Monotonic, Output, Record, Resume};

/// How often offsets are committed when nothing is published.
const COMMIT_INTERVAL: Duration = Duration::from_secs(1);

/// The longest wait for a record: how soon a request to stop is seen.
const LONGEST_WAIT: Duration = Duration::from_millis(50);

pub(super) type InputConsumer = BaseConsumer<InputContext>;

/// Outputs of a stretch of the input, and what may be committed once they are published.
#[derive(Debug)]
pub(super) struct Batch {
    pub outputs: Vec<Output>,
    pub resume_points: Vec<(i32, Resume)>,
}

/// Everything that reaches the loop.
enum Event<'a> {
    Message(BorrowedMessage<'a>),
    CaughtUp(i32),
    Nothing,
}

/// A change of what is ours, in the order in which the group said so.
enum Ownership {
    Assigned(Vec<i32>),
    Revoked(Vec<i32>),
}

/// Runs until a stop is asked for, the end is reached, the next stage is gone, or Kafka fails for good.
pub(super) fn consume(
    consumer: &InputConsumer,
    topic: &str,
    core: Core,
    options: &StreamOptions,
    stop: &StopHandle,
    status: &StatusCell,
    next: &SyncSender<Batch>,
) -> Result<(), KafkaError> {
    let start = Instant::now();
    let consumer_loop = ConsumeLoop {
        consumer,
        topic,
        core,
        options,
        status,
        next,
        start,
        outputs: Vec::new(),
        batch_since: None,
        batch_records: 0,
        last_sent: start,
        last_time: start,
        caught_up: BTreeSet::new(),
    };
    consumer_loop.run(stop)
}

struct ConsumeLoop<'a> {
    consumer: &'a InputConsumer,
    topic: &'a str,
    core: Core,
    options: &'a StreamOptions,
    status: &'a StatusCell,
    next: &'a SyncSender<Batch>,
    start: Instant,
    outputs: Vec<Output>,
    /// When the oldest output of the open batch was made.
    batch_since: Option<Instant>,
    batch_records: usize,
    last_sent: Instant,
    last_time: Instant,
    caught_up: BTreeSet<i32>,
}

impl<'a> ConsumeLoop<'a> {
    fn run(mut self, stop: &StopHandle) -> Result<(), KafkaError> {
        while !stop.is_requested() {
            let event = self.next_event()?;
            // What is ours may have changed while we waited: that comes before any record.
            self.follow_ownership()?;
            self.handle(event);
            if self.is_batch_due() && !self.send_batch() {
                return Ok(());
            }
            if self.is_end() {
                self.core.apply(Input::End, &mut self.outputs);
                break;
            }
        }
        self.send_batch();
        Ok(())
    }

    /// Takes what is there at once, and waits only when there is nothing.
    fn next_event(&self) -> Result<Event<'a>, KafkaError> {
        let consumer = self.consumer;
        let polled = consumer.poll(Duration::ZERO).or_else(|| consumer.poll(self.wait()));
        match polled {
            None => Ok(Event::Nothing),
            Some(Ok(message)) => Ok(Event::Message(message)),
            Some(Err(ClientError::PartitionEOF(partition))) => Ok(Event::CaughtUp(partition)),
            Some(Err(ClientError::MessageConsumption(RDKafkaErrorCode::UnknownTopicOrPartition))) => {
                Err(KafkaError::MissingTopic(self.topic.to_owned()))
            }
            Some(Err(error @ ClientError::MessageConsumptionFatal(_))) => {
                Err(KafkaError::Failed { action: "reading records", cause: error.to_string() })
            }
            // librdkafka goes on by itself after anything else, such as a broker that went away.
            Some(Err(error)) => {
                tracing::warn!(%error, "reading records");
                Ok(Event::Nothing)
            }
        }
    }

    /// Until the open batch, the next deadline or a request to stop wants attention.
    fn wait(&self) -> Duration {
        let batch =
            self.batch_since.map(|since| (since + self.options.batch_age).saturating_duration_since(Instant::now()));
        let now = self.now();
        let deadline = self.core.next_deadline().map(|at| Duration::from_millis((at - now).max(0) as u64));
        [Some(LONGEST_WAIT), batch, deadline].into_iter().flatten().min().unwrap_or(LONGEST_WAIT)
    }

    fn now(&self) -> Monotonic {
        self.start.elapsed().as_millis() as Monotonic
    }

    fn follow_ownership(&mut self) -> Result<(), KafkaError> {
        for change in self.consumer.context().take_changes() {
            match change {
                Ownership::Assigned(partitions) => self.assigned(&partitions)?,
                Ownership::Revoked(partitions) => {
                    for partition in partitions {
                        self.caught_up.remove(&partition);
                        self.core.apply(Input::Revoked { partition }, &mut self.outputs);
                    }
                }
            }
        }
        Ok(())
    }

    fn assigned(&mut self, partitions: &[i32]) -> Result<(), KafkaError> {
        let mut asked = TopicPartitionList::new();
        partitions.iter().for_each(|partition| {
            asked.add_partition(self.topic, *partition);
        });
        let committed = self
            .consumer
            .committed_offsets(asked, Duration::from_secs(10))
            .map_err(KafkaError::failed("asking for committed offsets"))?;
        for &partition in partitions {
            let resume =
                committed.find_partition(self.topic, partition).and_then(|found| decode_resume(found.metadata()));
            tracing::info!(partition, ?resume, "assigned");
            self.core.apply(Input::Assigned { partition, resume }, &mut self.outputs);
        }
        Ok(())
    }

    fn handle(&mut self, event: Event<'_>) {
        match event {
            Event::Message(message) => {
                self.caught_up.remove(&message.partition());
                self.batch_records += 1;
                let record = Record {
                    partition: message.partition(),
                    offset: message.offset(),
                    timestamp: message.timestamp().to_millis().unwrap_or(0),
                    payload: message.payload().unwrap_or_default(),
                };
                self.core.apply(Input::Record(record), &mut self.outputs);
            }
            Event::CaughtUp(partition) => {
                self.caught_up.insert(partition);
                let now = self.now();
                self.core.apply(Input::CaughtUp { partition, now }, &mut self.outputs);
            }
            Event::Nothing => self.pass_time(),
        }
        // Under load there is never nothing: time passes all the same.
        if self.batch_records.is_multiple_of(1024) && self.last_time.elapsed() >= LONGEST_WAIT {
            self.pass_time();
        }
        if !self.outputs.is_empty() {
            self.batch_since.get_or_insert_with(Instant::now);
        }
    }

    fn pass_time(&mut self) {
        self.last_time = Instant::now();
        let now = self.now();
        self.core.apply(Input::Time { now }, &mut self.outputs);
        self.report();
    }

    fn is_batch_due(&self) -> bool {
        let full = self.batch_records >= self.options.batch_records;
        let old = self.batch_since.is_some_and(|since| since.elapsed() >= self.options.batch_age);
        full || old || (self.batch_records > 0 && self.last_sent.elapsed() >= COMMIT_INTERVAL)
    }

    /// Hands the batch on; whether there is still somebody to take it.
    fn send_batch(&mut self) -> bool {
        let batch = Batch { outputs: std::mem::take(&mut self.outputs), resume_points: self.core.resume_points() };
        self.batch_since = None;
        self.batch_records = 0;
        self.last_sent = Instant::now();
        self.report();
        self.next.send(batch).is_ok()
    }

    fn report(&self) {
        let (counters, lag) = (self.core.counters(), self.consumer.context().lag());
        let lag = if self.all_caught_up() { Some(0) } else { lag };
        self.status.update(|status| {
            status.counters = counters;
            status.lag = lag;
        });
    }

    fn all_caught_up(&self) -> bool {
        let owned = self.consumer.context().owned();
        !owned.is_empty() && owned.is_subset(&self.caught_up)
    }

    fn is_end(&self) -> bool {
        match &self.options.end_when {
            EndWhen::Never => false,
            EndWhen::Reached(reached) => {
                self.all_caught_up() && reached(&Progress { records: self.core.counters().records })
            }
        }
    }
}

/// What a [`Resume`] looks like beside a committed offset.
#[derive(Debug, Serialize, Deserialize)]
struct Metadata {
    v: u32,
    offset: i64,
    to: i64,
    closed: Timestamp,
    windows: Timestamp,
}

pub(super) fn encode_resume(resume: &Resume) -> String {
    let Resume { offset, published_to, closed_through, windows_through } = *resume;
    let metadata = Metadata { v: 1, offset, to: published_to, closed: closed_through, windows: windows_through };
    serde_json::to_string(&metadata).expect("numbers are plain data")
}

/// `None` for offsets that somebody else committed, without a word of ours beside them.
fn decode_resume(metadata: &str) -> Option<Resume> {
    let Metadata { v, offset, to, closed, windows } = serde_json::from_str(metadata).ok()?;
    (v == 1).then_some(Resume { offset, published_to: to, closed_through: closed, windows_through: windows })
}

/// Follows the consumer group: which partitions are ours, and how far behind we are.
#[derive(Debug, Default)]
pub(super) struct InputContext {
    shared: Mutex<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    owned: BTreeSet<i32>,
    changes: Vec<Ownership>,
    lag: Option<i64>,
}

impl std::fmt::Debug for Ownership {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Assigned(partitions) => write!(f, "assigned {partitions:?}"),
            Self::Revoked(partitions) => write!(f, "revoked {partitions:?}"),
        }
    }
}

impl InputContext {
    fn with<T>(&self, read: impl FnOnce(&mut Shared) -> T) -> T {
        read(&mut self.shared.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn owns(&self, partition: i32) -> bool {
        self.with(|shared| shared.owned.contains(&partition))
    }

    fn owned(&self) -> BTreeSet<i32> {
        self.with(|shared| shared.owned.clone())
    }

    fn take_changes(&self) -> Vec<Ownership> {
        self.with(|shared| std::mem::take(&mut shared.changes))
    }

    fn lag(&self) -> Option<i64> {
        self.with(|shared| shared.lag)
    }
}

impl ClientContext for InputContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log_client(level, facility, message);
    }

    fn error(&self, error: ClientError, reason: &str) {
        tracing::debug!(%error, reason, "kafka consumer");
    }

    fn stats(&self, statistics: Statistics) {
        let partitions = statistics.topics.values().flat_map(|topic| topic.partitions.values());
        let lags = partitions.map(|partition| partition.consumer_lag).filter(|lag| *lag >= 0);
        let lag = lags.reduce(|a, b| a + b);
        self.with(|shared| shared.lag = lag);
    }
}

impl ConsumerContext for InputContext {
    fn pre_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Revoke(list) = rebalance {
            let partitions = partitions(list);
            self.with(|shared| {
                partitions.iter().for_each(|partition| {
                    shared.owned.remove(partition);
                });
                shared.changes.push(Ownership::Revoked(partitions));
            });
        }
    }

    fn post_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        match rebalance {
            Rebalance::Assign(list) => {
                let partitions = partitions(list);
                self.with(|shared| {
                    shared.owned.extend(&partitions);
                    shared.changes.push(Ownership::Assigned(partitions));
                });
            }
            Rebalance::Revoke(_) => {}
            Rebalance::Error(error) => tracing::warn!(%error, "the consumer group could not share out partitions"),
        }
    }

    fn commit_callback(&self, result: KafkaResult<()>, _: &TopicPartitionList) {
        if let Err(error) = result {
            tracing::warn!(%error, "offsets were not committed; their records may be read again");
        }
    }
}

fn partitions(list: &TopicPartitionList) -> Vec<i32> {
    list.elements().iter().map(|element| element.partition()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_committed_is_read_back() {
        let resume = Resume { offset: 5, published_to: 9, closed_through: -1, windows_through: Timestamp::MIN };
        assert_eq!(decode_resume(&encode_resume(&resume)), Some(resume));
        assert_eq!(decode_resume(""), None);
        assert_eq!(decode_resume("someone else's"), None);
    }
}
