//! A producer that knows which message was not accepted, and how far topics of interest have come.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode};
use rdkafka::message::{Header, Message as _, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};

use super::error::KafkaError;
use super::settings::{KafkaSettings, log_client};
use crate::kafka::wire::headers::source_header;

/// How long the broker has to acknowledge a batch.
pub(crate) const DELIVERY_TIMEOUT: Duration = Duration::from_secs(60);

/// A producer that reports the first message that was not accepted.
pub struct Sender {
    pub(crate) producer: BaseProducer<DeliveryContext>,
}

/// A message as the client takes it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outgoing<'a> {
    pub topic: &'a str,
    pub partition: Option<i32>,
    pub key: Option<&'a [u8]>,
    pub payload: Option<&'a [u8]>,
    /// Milliseconds since 1970; without it the time of sending.
    pub timestamp: Option<i64>,
    /// Of a copy: the partition and offset of the original, in a header.
    pub source: Option<(i32, i64)>,
    /// A header of another name.
    pub header: Option<(&'a str, &'a str)>,
}

impl<'a> Outgoing<'a> {
    /// A message with nothing in it, to a partition that the client chooses.
    pub(crate) fn to(topic: &'a str) -> Self {
        Self { topic, partition: None, key: None, payload: None, timestamp: None, source: None, header: None }
    }
}

impl Sender {
    /// A producer for these brokers.
    ///
    /// # Errors
    /// [`KafkaError::Settings`] when librdkafka refuses a setting.
    pub fn new(settings: &KafkaSettings) -> Result<Self, KafkaError> {
        Self::create(&settings.producer(), Vec::new())
    }

    /// A producer that follows the ends of `followed` topics.
    pub(crate) fn create(config: &ClientConfig, followed: Vec<String>) -> Result<Self, KafkaError> {
        let producer = config
            .create_with_context(DeliveryContext { followed, ..DeliveryContext::default() })
            .map_err(|error| KafkaError::Settings(error.to_string()))?;
        Ok(Self { producer })
    }

    /// Queues a message; waits while the queue is full.
    ///
    /// # Errors
    /// [`KafkaError::NotDelivered`] when the client refuses it, for example for its size.
    pub fn send(&self, topic: &str, key: Option<&[u8]>, payload: &[u8]) -> Result<(), KafkaError> {
        let message = Outgoing { key, payload: Some(payload), ..Outgoing::to(topic) };
        self.queue(message)
            .map_err(|error| KafkaError::NotDelivered { topic: topic.to_owned(), cause: error.to_string() })
    }

    /// As [`send`](Self::send), with a key and, if there is one, a header: its name and its value.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn send_with_header(
        &self,
        topic: &str,
        key: &[u8],
        payload: &[u8],
        header: Option<(&str, &str)>,
    ) -> Result<(), KafkaError> {
        let message = Outgoing { key: Some(key), payload: Some(payload), header, ..Outgoing::to(topic) };
        self.queue(message)
            .map_err(|error| KafkaError::NotDelivered { topic: topic.to_owned(), cause: error.to_string() })
    }

    /// Whether everything that was heard of so far was accepted.
    ///
    /// # Errors
    /// The first message that was not.
    pub fn check(&self) -> Result<(), KafkaError> {
        match self.take_failure() {
            None => Ok(()),
            Some((topic, code)) => Err(KafkaError::NotDelivered { topic, cause: code.to_string() }),
        }
    }

    pub(crate) fn queue(&self, message: Outgoing<'_>) -> Result<(), ClientError> {
        let mut record = BaseRecord::<[u8], [u8]>::to(message.topic);
        (record.key, record.payload, record.partition) = (message.key, message.payload, message.partition);
        record.timestamp = message.timestamp;
        record.headers = headers(&message);
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((ClientError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    record = back;
                    self.producer.poll(Duration::ZERO);
                    std::thread::sleep(Duration::from_micros(500));
                }
                Err((error, _)) => return Err(error),
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
        self.wait_for_acknowledgements().map_err(KafkaError::failed("waiting for acknowledgements"))?;
        self.check()
    }

    /// Waits until every queued message is acknowledged or has failed.
    pub(crate) fn wait_for_acknowledgements(&self) -> Result<(), ClientError> {
        let start = Instant::now();
        let mut waiting = self.producer.in_flight_count();
        while waiting > 0 {
            // The client's own wait spends a core on the last millisecond and looks for the end only every 100.
            self.producer.poll(Duration::ZERO);
            let now = self.producer.in_flight_count();
            if now == waiting {
                std::thread::sleep(Duration::from_micros(500));
            }
            waiting = now;
            if start.elapsed() >= DELIVERY_TIMEOUT {
                return Err(ClientError::Flush(RDKafkaErrorCode::OperationTimedOut));
            }
        }
        Ok(())
    }

    /// The first message that was not accepted since the last time: its topic, and why.
    pub(crate) fn take_failure(&self) -> Option<(String, RDKafkaErrorCode)> {
        self.producer.context().lock().failure.take()
    }

    /// The offsets after the last acknowledged messages to the followed topics, by topic and partition.
    pub(crate) fn take_ends(&self) -> Ends {
        std::mem::take(&mut self.producer.context().lock().ends)
    }
}

fn headers(message: &Outgoing<'_>) -> Option<OwnedHeaders> {
    let source = message.source.map(source_header);
    let Some((key, value)) = message.header else { return source };
    let headers = source.unwrap_or_else(|| OwnedHeaders::new_with_capacity(1));
    Some(headers.insert(Header { key, value: Some(value) }))
}

/// Offsets after the last message, by topic and partition.
pub(crate) type Ends = BTreeMap<(String, i32), i64>;

/// Keeps what the broker said of messages.
#[derive(Debug, Default)]
pub(crate) struct DeliveryContext {
    followed: Vec<String>,
    heard: Mutex<Heard>,
}

#[derive(Debug, Default)]
struct Heard {
    failure: Option<(String, RDKafkaErrorCode)>,
    ends: Ends,
}

impl DeliveryContext {
    fn lock(&self) -> std::sync::MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
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
        match result {
            Err((error, message)) => {
                let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown);
                self.lock().failure.get_or_insert_with(|| (message.topic().to_owned(), code));
            }
            Ok(message) => {
                if let Some(topic) = self.followed.iter().find(|topic| *topic == message.topic()) {
                    let mut heard = self.lock();
                    let end = heard.ends.entry((topic.clone(), message.partition())).or_default();
                    *end = (*end).max(message.offset() + 1);
                }
            }
        }
    }
}
