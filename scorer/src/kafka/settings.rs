//! How to reach a broker, and what can go wrong.

use std::time::Duration;

use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::producer::ProducerContext;
use rdkafka::{ClientContext, Statistics};
use thiserror::Error;

/// How long to wait for a first answer of a broker.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The largest message that is produced: as large as a broker may be set to take.
pub(super) const MAX_MESSAGE_BYTES: usize = 32 << 20;

/// What went wrong with Kafka, in one sentence.
#[derive(Debug, Error)]
pub enum KafkaError {
    /// Nobody answers.
    #[error("no Kafka broker answered at {brokers} within {} s: start one with `docker compose up -d` or `tests/kafka/kafka.sh run`, or name yours with --brokers HOST:PORT", CONNECT_TIMEOUT.as_secs())]
    Unreachable {
        /// The brokers that were asked.
        brokers: String,
    },
    /// A setting that librdkafka does not take.
    #[error("Kafka setting: {0}")]
    Settings(String),
    /// A topic that is not there.
    #[error("topic `{0}` does not exist: create it, or leave out --no-create-topics")]
    MissingTopic(String),
    /// A topic that cannot be created.
    #[error("topic `{topic}` cannot be created: {cause}")]
    CreateTopic {
        /// The topic.
        topic: String,
        /// The broker's words.
        cause: String,
    },
    /// A message that was not acknowledged.
    #[error(
        "a message to topic `{topic}` was not accepted: {cause}; its input is not committed and will be read again"
    )]
    NotDelivered {
        /// The topic.
        topic: String,
        /// The broker's words.
        cause: String,
    },
    /// Anything else.
    #[error("Kafka: {action}: {cause}")]
    Failed {
        /// What was being done.
        action: &'static str,
        /// The cause.
        cause: String,
    },
}

impl KafkaError {
    pub(super) fn failed(action: &'static str) -> impl Fn(rdkafka::error::KafkaError) -> Self {
        move |error| Self::Failed { action, cause: error.to_string() }
    }
}

/// Brokers and further settings of librdkafka.
#[derive(Debug, Clone)]
pub struct KafkaSettings {
    /// `host:port`, several with commas.
    pub brokers: String,
    /// Settings of librdkafka that win over ours, such as `security.protocol`. Their values are never printed.
    pub properties: Vec<(String, String)>,
}

impl KafkaSettings {
    pub(super) fn client(&self, defaults: &[(&str, &str)]) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.brokers).set("client.id", "atalaya");
        defaults.iter().for_each(|(key, value)| {
            config.set(*key, *value);
        });
        self.properties.iter().for_each(|(key, value)| {
            config.set(key, value);
        });
        config.set_log_level(RDKafkaLogLevel::Warning);
        config
    }

    pub(super) fn producer(&self) -> ClientConfig {
        self.client(&[
            ("acks", "all"),
            ("enable.idempotence", "true"),
            ("linger.ms", "2"),
            ("compression.type", "lz4"),
            ("message.max.bytes", &MAX_MESSAGE_BYTES.to_string()),
            ("queue.buffering.max.messages", "500000"),
            ("queue.buffering.max.kbytes", "262144"),
        ])
    }

    pub(super) fn consumer(&self, group: &str) -> ClientConfig {
        self.client(&[
            ("group.id", group),
            ("enable.auto.commit", "false"),
            ("enable.auto.offset.store", "false"),
            ("enable.partition.eof", "true"),
            ("auto.offset.reset", "earliest"),
            ("isolation.level", "read_committed"),
            // After its queue was full for a moment the client would pause for a second.
            ("fetch.queue.backoff.ms", "2"),
            ("fetch.wait.max.ms", "100"),
            ("statistics.interval.ms", "1000"),
        ])
    }

    /// Waits for a broker to answer, and returns the names of its topics and how many partitions each has.
    ///
    /// # Errors
    /// [`KafkaError::Unreachable`] after ten seconds.
    pub fn connect(&self) -> Result<Vec<(String, usize)>, KafkaError> {
        let consumer: BaseConsumer<QuietContext> = self
            .client(&[])
            .create_with_context(QuietContext)
            .map_err(|error| KafkaError::Settings(error.to_string()))?;
        let metadata = consumer
            .fetch_metadata(None, CONNECT_TIMEOUT)
            .map_err(|_| KafkaError::Unreachable { brokers: self.brokers.clone() })?;
        Ok(metadata.topics().iter().map(|topic| (topic.name().to_owned(), topic.partitions().len())).collect())
    }
}

/// Sends librdkafka's own words to the log and not to the terminal.
#[derive(Debug, Clone, Copy)]
pub(super) struct QuietContext;

impl ClientContext for QuietContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log_client(level, facility, message);
    }

    fn error(&self, error: rdkafka::error::KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "kafka client");
    }

    fn stats(&self, _: Statistics) {}
}

impl ConsumerContext for QuietContext {}

impl ProducerContext for QuietContext {
    type DeliveryOpaque = ();

    fn delivery(&self, _: &rdkafka::producer::DeliveryResult<'_>, _: ()) {}
}

pub(super) fn log_client(level: RDKafkaLogLevel, facility: &str, message: &str) {
    match level {
        RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
            tracing::error!(facility, "{message}");
        }
        _ => tracing::debug!(facility, "{message}"),
    }
}
