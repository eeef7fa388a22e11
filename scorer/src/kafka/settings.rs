//! How to reach a broker, and what can go wrong.

use std::path::PathBuf;
use std::time::Duration;

use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::producer::ProducerContext;
use rdkafka::{ClientContext, Statistics};
use shared::device::DeviceError;
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
    /// State that was written at another point than the offset.
    #[error(
        "partition {partition} of `{topic}`: offset and state of group `{group}` do not belong together ({how}): \
         `scorer reset --group {group} --to earliest` (or latest, or a time) begins anew with both"
    )]
    TornState {
        /// The consumer group.
        group: String,
        /// The input topic.
        topic: String,
        /// Its partition.
        partition: i32,
        /// How that shows.
        how: String,
    },
    /// State that is damaged or of something else.
    #[error(
        "partition {partition} of `{topic}`: {cause}: run with the pipeline and the topic it was written for, \
         or begin anew with `scorer reset --group {group} --to earliest` (or latest, or a time)"
    )]
    UnusableState {
        /// The consumer group.
        group: String,
        /// The changelog topic.
        topic: String,
        /// Its partition.
        partition: i32,
        /// What is wrong with it.
        cause: String,
    },
    /// The group's offsets are of the other kind of delivery.
    #[error(
        "group `{group}` has run with the other --delivery, whose offsets mean something else: use that one, \
         or another --group, which begins at the start of the topic"
    )]
    OtherDelivery {
        /// The consumer group.
        group: String,
    },
    /// Keys would go to other partitions than before.
    #[error(
        "topic `{topic}` has {now} partitions and had {before}: lines of open invoices now go elsewhere, and would be split. \
         Begin anew with `scorer reset --group {group} --to latest` (or a time before the change)"
    )]
    PartitionsChanged {
        /// The input topic.
        topic: String,
        /// How many it had.
        before: i32,
        /// How many it has.
        now: i32,
        /// The consumer group.
        group: String,
    },
    /// Another instance took our name.
    #[error(
        "another instance of group `{group}` was started as `{name}`: this one ends; give each its own --instance-id"
    )]
    Fenced {
        /// The consumer group.
        group: String,
        /// The name of the instance.
        name: String,
    },
    /// A group that cannot be reset while it works.
    #[error(
        "group `{group}` is in use ({members} running): stop its scorers first; one that died is forgotten after its session timeout"
    )]
    GroupInUse {
        /// The consumer group.
        group: String,
        /// How many instances it has.
        members: usize,
    },
    /// A topic that is not as it has to be.
    #[error("topic `{topic}` {problem}")]
    UnfitTopic {
        /// The topic.
        topic: String,
        /// What is wrong and what would be right.
        problem: String,
    },
    /// A device that failed.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// A folder that cannot be used.
    #[error("cannot keep state in {}: {cause}; name another folder with --state-dir", path.display())]
    StateFolder {
        /// The folder.
        path: PathBuf,
        /// The cause.
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

    /// A producer whose transactions nobody else's of this `id` survive.
    pub(super) fn transactional_producer(&self, id: &str) -> ClientConfig {
        let mut config = self.producer();
        let defaults = [
            ("transactional.id", id),
            // Readers wait for the transaction of an instance that died: not for long.
            ("transaction.timeout.ms", "30000"),
            // When the group's coordinator is gone for good, the client waits for it until any connection changes
            // (librdkafka issue 5511): idle connections are closed soon, and what it remembers of coordinators ages.
            ("connections.max.idle.ms", "15000"),
            ("metadata.max.age.ms", "10000"),
            // The last messages of a batch need not wait for company: the commit does.
            ("linger.ms", "1"),
        ];
        for (key, value) in defaults {
            if !self.properties.iter().any(|(known, _)| known == key) {
                config.set(key, value);
            }
        }
        config
    }

    /// A reader of internal topics that is in no group.
    pub(super) fn reader(&self, name: &str) -> Result<BaseConsumer<QuietContext>, KafkaError> {
        self.client(&[
            ("group.id", name),
            ("enable.auto.commit", "false"),
            ("enable.auto.offset.store", "false"),
            ("enable.partition.eof", "true"),
            ("auto.offset.reset", "earliest"),
            ("isolation.level", "read_committed"),
            // Memory is for the state, not for what waits to become state.
            ("queued.max.messages.kbytes", "8192"),
            ("fetch.message.max.bytes", "1048576"),
            ("fetch.queue.backoff.ms", "1"),
            ("fetch.wait.max.ms", "20"),
        ])
        .create_with_context(QuietContext)
        .map_err(|error| KafkaError::Settings(error.to_string()))
    }

    /// Whether a group without offsets begins at the end of the topic.
    pub(super) fn starts_at_latest(&self) -> bool {
        let value = self.properties.iter().rev().find(|(key, _)| key == "auto.offset.reset").map(|(_, value)| value);
        value.is_some_and(|value| ["latest", "largest", "end"].contains(&value.as_str()))
    }

    pub(super) fn consumer(&self, group: &str, instance_id: Option<&str>) -> ClientConfig {
        let mut config = self.client(&[
            ("group.id", group),
            ("partition.assignment.strategy", "cooperative-sticky"),
            // An instance that hangs or dies is replaced soon.
            ("session.timeout.ms", "10000"),
            ("heartbeat.interval.ms", "1500"),
            ("queued.max.messages.kbytes", "65536"),
            ("enable.auto.commit", "false"),
            ("enable.auto.offset.store", "false"),
            ("enable.partition.eof", "true"),
            ("auto.offset.reset", "earliest"),
            ("isolation.level", "read_committed"),
            // After its queue was full for a moment the client would pause for a second.
            ("fetch.queue.backoff.ms", "2"),
            ("fetch.wait.max.ms", "100"),
            ("statistics.interval.ms", "1000"),
        ]);
        if let Some(id) = instance_id {
            config.set("group.instance.id", id);
        }
        config
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

impl KafkaSettings {
    /// How many partitions a topic has.
    ///
    /// # Errors
    /// [`KafkaError`] when no broker answers or there is no such topic.
    pub(super) fn partitions_of(&self, topic: &str) -> Result<i32, KafkaError> {
        let found = self.connect()?.into_iter().find(|(name, _)| name == topic).map(|(_, partitions)| partitions);
        let count = found.and_then(|count| i32::try_from(count).ok());
        count.filter(|count| *count > 0).ok_or_else(|| KafkaError::MissingTopic(topic.to_owned()))
    }

    /// The value of a setting that the user gave.
    pub(super) fn property(&self, name: &str) -> Option<String> {
        self.properties.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.clone())
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
