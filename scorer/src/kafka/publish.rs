//! The last stage: messages out, acknowledgements in, then the input's offsets are committed.

use std::sync::mpsc::Receiver;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{CommitMode, Consumer};
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode};
use rdkafka::message::Message as _;
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::consume::{InputConsumer, encode_resume};
use super::settings::{KafkaError, KafkaSettings, log_client};
use super::status::StatusCell;
use crate::core::Resume;
use crate::messages::Message;

/// How long the broker has to acknowledge a batch.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(60);

/// Messages of a batch, and what may be committed once they are acknowledged.
#[derive(Debug)]
pub(super) struct Publication {
    pub messages: Vec<Message>,
    pub resume_points: Vec<(i32, Resume)>,
}

/// A producer that reports the first message that was not accepted.
pub struct Sender {
    producer: BaseProducer<DeliveryContext>,
}

impl Sender {
    /// A producer for these brokers.
    ///
    /// # Errors
    /// [`KafkaError::Settings`] when librdkafka refuses a setting.
    pub fn new(settings: &KafkaSettings) -> Result<Self, KafkaError> {
        let producer = settings
            .producer()
            .create_with_context(DeliveryContext::default())
            .map_err(|error| KafkaError::Settings(error.to_string()))?;
        Ok(Self { producer })
    }

    /// Queues a message; waits while the queue is full.
    ///
    /// # Errors
    /// [`KafkaError::NotDelivered`] when the client refuses it, for example for its size.
    pub fn send(&self, topic: &str, key: Option<&[u8]>, payload: &[u8]) -> Result<(), KafkaError> {
        let mut record = BaseRecord::<[u8], [u8]>::to(topic).payload(payload);
        record.key = key;
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((ClientError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    record = back;
                    self.producer.poll(Duration::from_millis(20));
                }
                Err((error, _)) => {
                    return Err(KafkaError::NotDelivered { topic: topic.to_owned(), cause: error.to_string() });
                }
            }
        }
    }

    /// Lets acknowledgements in without waiting for them.
    pub fn poll(&self) {
        self.producer.poll(Duration::ZERO);
    }

    /// Waits until everything that was queued is acknowledged.
    ///
    /// # Errors
    /// The first message that was not accepted, or that none of it was acknowledged within a minute.
    pub fn flush(&self) -> Result<(), KafkaError> {
        let start = Instant::now();
        // The client's own wait looks only every 100 ms, which would be most of the time a batch takes.
        while let Err(error) = self.producer.flush(Duration::ZERO) {
            let is_waiting = error.rdkafka_error_code() == Some(RDKafkaErrorCode::OperationTimedOut);
            if !is_waiting || start.elapsed() >= DELIVERY_TIMEOUT {
                return Err(KafkaError::failed("waiting for acknowledgements")(error));
            }
            self.producer.poll(Duration::from_millis(1));
        }
        match self.producer.context().take_failure() {
            None => Ok(()),
            Some((topic, cause)) => Err(KafkaError::NotDelivered { topic, cause }),
        }
    }
}

/// Publishes and commits until the channel closes.
pub(super) fn publish(
    batches: &Receiver<Publication>,
    sender: &Sender,
    consumer: &InputConsumer,
    topic: &str,
    status: &StatusCell,
    on_message: &(dyn Fn(&Message) + Send + Sync),
) -> Result<(), KafkaError> {
    let mut last: Option<TopicPartitionList> = None;
    while let Ok(batch) = batches.recv() {
        for message in &batch.messages {
            sender.send(&message.topic, message.key.as_deref().map(str::as_bytes), &message.payload())?;
        }
        sender.flush()?;
        batch.messages.iter().for_each(on_message);
        status.update(|status| batch.messages.iter().for_each(|message| status.count(message)));
        if let Some(offsets) = commit(consumer, topic, &batch.resume_points, CommitMode::Async) {
            last = Some(offsets);
        }
    }
    // The last word is said in person: an asynchronous commit may be lost when the client goes.
    if let Some(offsets) = last {
        consumer.commit(&offsets, CommitMode::Sync).map_err(KafkaError::failed("committing offsets"))?;
    }
    Ok(())
}

/// Commits the partitions that are still ours; what else the batch held is its new owner's to commit.
fn commit(
    consumer: &InputConsumer,
    topic: &str,
    points: &[(i32, Resume)],
    mode: CommitMode,
) -> Option<TopicPartitionList> {
    let mut offsets = TopicPartitionList::new();
    for (partition, resume) in points.iter().filter(|(partition, _)| consumer.context().owns(*partition)) {
        let added = offsets.add_partition_offset(topic, *partition, Offset::Offset(resume.offset));
        if added.is_ok()
            && let Some(mut element) = offsets.find_partition(topic, *partition)
        {
            element.set_metadata(encode_resume(resume));
        }
    }
    if offsets.count() == 0 {
        return None;
    }
    if let Err(error) = consumer.commit(&offsets, mode) {
        tracing::warn!(%error, "offsets were not committed; their records may be read again");
    }
    Some(offsets)
}

/// Keeps the first message that was not accepted.
#[derive(Debug, Default)]
struct DeliveryContext {
    failure: Mutex<Option<(String, String)>>,
}

impl DeliveryContext {
    fn take_failure(&self) -> Option<(String, String)> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl ClientContext for DeliveryContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log_client(level, facility, message);
    }

    fn error(&self, error: ClientError, reason: &str) {
        tracing::debug!(%error, reason, "kafka producer");
    }
}

impl ProducerContext for DeliveryContext {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, _: ()) {
        if let Err((error, message)) = result {
            let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
            failure.get_or_insert_with(|| (message.topic().to_owned(), error.to_string()));
        }
    }
}
