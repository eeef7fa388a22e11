//! A producer that knows which record was not accepted, and at which offsets records of topics of interest are.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode};
use rdkafka::message::{Header, Message as _, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer as _, ProducerContext};

use super::error::KafkaError;
use super::settings::{KafkaSettings, log_client};
use crate::core::StateRecord;
use crate::kafka::wire::headers::source_header;

/// How long the broker has to acknowledge a batch.
pub(crate) const DELIVERY_TIMEOUT: Duration = Duration::from_secs(60);

/// A producer that reports the first record that was not accepted.
pub struct Producer {
    pub(crate) client: BaseProducer<DeliveryContext>,
}

/// A record as the client takes it.
#[derive(Debug, Clone)]
pub(crate) struct ProduceRecord<'a> {
    pub topic: &'a str,
    pub partition: Option<i32>,
    pub key: Option<&'a [u8]>,
    pub payload: Option<Cow<'a, [u8]>>,
    /// Milliseconds since 1970; without it the time of sending.
    pub timestamp: Option<i64>,
    /// Of a copy: the partition and offset of the original, in a header.
    pub source: Option<(i32, i64)>,
    /// A header of another name.
    pub header: Option<(&'a str, &'a str)>,
}

impl<'a> ProduceRecord<'a> {
    /// A record with nothing in it, to a partition that the client chooses.
    pub(crate) fn to(topic: &'a str) -> Self {
        Self { topic, partition: None, key: None, payload: None, timestamp: None, source: None, header: None }
    }

    /// A record of a changelog.
    pub(crate) fn state(topic: &'a str, partition: i32, record: &'a StateRecord) -> Self {
        let (key, payload) = (Some(record.key.as_slice()), record.value.as_deref().map(Cow::Borrowed));
        Self { partition: Some(partition), key, payload, ..Self::to(topic) }
    }
}

impl Producer {
    /// A producer for these brokers.
    ///
    /// # Errors
    /// [`KafkaError::Settings`] when librdkafka refuses a setting.
    pub fn new(settings: &KafkaSettings) -> Result<Self, KafkaError> {
        Self::create(&settings.producer(), Vec::new())
    }

    /// A producer that follows the ends of `followed` topics.
    pub(crate) fn create(config: &ClientConfig, followed: Vec<String>) -> Result<Self, KafkaError> {
        let client = config
            .create_with_context(DeliveryContext { followed, ..DeliveryContext::default() })
            .map_err(KafkaError::settings)?;
        Ok(Self { client })
    }

    /// Queues a record; waits while the queue is full.
    ///
    /// # Errors
    /// [`KafkaError::NotDelivered`] when the client refuses it, for example for its size.
    pub fn send(&self, topic: &str, key: Option<&[u8]>, payload: &[u8]) -> Result<(), KafkaError> {
        self.produce(ProduceRecord { key, payload: Some(Cow::Borrowed(payload)), ..ProduceRecord::to(topic) })
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
        let payload = Some(Cow::Borrowed(payload));
        self.produce(ProduceRecord { key: Some(key), payload, header, ..ProduceRecord::to(topic) })
    }

    fn produce(&self, record: ProduceRecord<'_>) -> Result<(), KafkaError> {
        let topic = record.topic;
        self.queue(record)
            .map_err(|error| KafkaError::NotDelivered { topic: topic.to_owned(), cause: error.to_string() })
    }

    /// Whether every record that the broker has answered so far was accepted.
    ///
    /// # Errors
    /// The first record that was not.
    pub fn check(&self) -> Result<(), KafkaError> {
        match self.take_failure() {
            None => Ok(()),
            Some((topic, code)) => Err(KafkaError::NotDelivered { topic, cause: code.to_string() }),
        }
    }

    pub(crate) fn queue(&self, message: ProduceRecord<'_>) -> Result<(), ClientError> {
        let mut record = BaseRecord::<[u8], [u8]>::to(message.topic);
        (record.key, record.payload, record.partition) = (message.key, message.payload.as_deref(), message.partition);
        record.timestamp = message.timestamp;
        record.headers = headers(&message);
        loop {
            match self.client.send(record) {
                Ok(()) => return Ok(()),
                Err((ClientError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    record = back;
                    self.client.poll(Duration::ZERO);
                    std::thread::sleep(Duration::from_micros(500));
                }
                Err((error, _)) => return Err(error),
            }
        }
    }

    /// Lets acknowledgements in without waiting for them.
    pub fn poll(&self) {
        self.client.poll(Duration::ZERO);
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
        let mut waiting = self.client.in_flight_count();
        while waiting > 0 {
            // The client's own wait spends a core on the last millisecond and looks for the end only every 100.
            self.client.poll(Duration::ZERO);
            let now = self.client.in_flight_count();
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
        self.client.context().lock().failure.take()
    }

    /// The offsets after the last acknowledged messages to the followed topics, by topic and partition.
    pub(crate) fn take_produced(&self) -> ProducedOffsets {
        std::mem::take(&mut self.client.context().lock().produced)
    }
}

fn headers(message: &ProduceRecord<'_>) -> Option<OwnedHeaders> {
    let source = message.source.map(source_header);
    let Some((key, value)) = message.header else { return source };
    let headers = source.unwrap_or_else(|| OwnedHeaders::new_with_capacity(1));
    Some(headers.insert(Header { key, value: Some(value) }))
}

/// Offsets after the last message, by topic and partition.
pub(crate) type ProducedOffsets = BTreeMap<(String, i32), i64>;

/// Keeps what the broker said of records.
#[derive(Debug, Default)]
pub(crate) struct DeliveryContext {
    followed: Vec<String>,
    reports: Mutex<DeliveryReports>,
}

#[derive(Debug, Default)]
struct DeliveryReports {
    failure: Option<(String, RDKafkaErrorCode)>,
    produced: ProducedOffsets,
}

impl DeliveryContext {
    fn lock(&self) -> std::sync::MutexGuard<'_, DeliveryReports> {
        self.reports.lock().unwrap_or_else(PoisonError::into_inner)
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
                    let mut reports = self.lock();
                    let end = reports.produced.entry((topic.clone(), message.partition())).or_default();
                    *end = (*end).max(message.offset() + 1);
                }
            }
        }
    }
}
