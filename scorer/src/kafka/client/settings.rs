//! How to reach a broker.

use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::producer::ProducerContext;
use rdkafka::{ClientContext, Statistics};

use super::error::{CONNECT_TIMEOUT, KafkaError};

/// The largest message that is produced: as large as a broker may be set to take.
pub(crate) const MAX_MESSAGE_BYTES: usize = 32 << 20;

/// Brokers and further settings of librdkafka.
#[derive(Debug, Clone)]
pub struct KafkaSettings {
    /// `host:port`, several with commas.
    pub brokers: String,
    /// Settings of librdkafka that win over ours, such as `security.protocol`. Their values are never printed.
    pub properties: Vec<(String, String)>,
}

impl KafkaSettings {
    pub(crate) fn client(&self, defaults: &[(&str, &str)]) -> ClientConfig {
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

    pub(crate) fn producer(&self) -> ClientConfig {
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

    /// A transactional producer; starting it fences earlier producers with the same id.
    pub(crate) fn transactional_producer(&self, id: &str) -> ClientConfig {
        let mut config = self.producer();
        let defaults = [
            ("transactional.id", id),
            // How long readers wait for the transaction of an instance that died.
            ("transaction.timeout.ms", "30000"),
            // When the group's coordinator is gone for good, the client waits for it until any connection changes
            // (librdkafka issue 5511): idle connections are closed soon, and what it remembers of coordinators ages.
            ("connections.max.idle.ms", "15000"),
            ("metadata.max.age.ms", "10000"),
            // The last messages of a batch need not wait for more: the commit waits for them.
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
    pub(crate) fn reader(&self, name: &str) -> Result<BaseConsumer<QuietContext>, KafkaError> {
        self.client(&[
            ("group.id", name),
            ("enable.auto.commit", "false"),
            ("enable.auto.offset.store", "false"),
            ("enable.partition.eof", "true"),
            ("auto.offset.reset", "earliest"),
            ("isolation.level", "read_committed"),
            // Memory is for the state, not for records that wait to be read.
            ("queued.max.messages.kbytes", "8192"),
            ("fetch.message.max.bytes", "1048576"),
            ("fetch.queue.backoff.ms", "1"),
            ("fetch.wait.max.ms", "20"),
        ])
        .create_with_context(QuietContext)
        .map_err(KafkaError::settings)
    }

    /// A client that is asked for the ends of partitions and reads nothing.
    pub(crate) fn reader_of_ends(&self) -> Result<BaseConsumer<QuietContext>, KafkaError> {
        let mut config = self.client(&[("group.id", "ends"), ("enable.auto.commit", "false")]);
        // Records of open transactions are there, though they cannot be read yet.
        config.set("isolation.level", "read_uncommitted");
        config.create_with_context(QuietContext).map_err(KafkaError::settings)
    }

    /// Whether a group without offsets begins at the end of the topic.
    pub(crate) fn starts_at_latest(&self) -> bool {
        let value = self.properties.iter().rev().find(|(key, _)| key == "auto.offset.reset").map(|(_, value)| value);
        value.is_some_and(|value| ["latest", "largest", "end"].contains(&value.as_str()))
    }

    pub(crate) fn consumer(&self, group: &str, instance_id: Option<&str>) -> ClientConfig {
        let mut config = self.client(&[
            ("group.id", group),
            ("partition.assignment.strategy", "cooperative-sticky"),
            // The group replaces an instance that hangs or dies after this time.
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
        ]);
        // They tell how far a partition was read past its last record, without which no time passes while it is idle.
        config.set("statistics.interval.ms", "1000");
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
        let consumer: BaseConsumer<QuietContext> =
            self.client(&[]).create_with_context(QuietContext).map_err(KafkaError::settings)?;
        let metadata = consumer
            .fetch_metadata(None, CONNECT_TIMEOUT)
            .map_err(|_| KafkaError::Unreachable { brokers: self.brokers.clone() })?;
        Ok(metadata.topics().iter().map(|topic| (topic.name().to_owned(), topic.partitions().len())).collect())
    }

    /// How many partitions a topic has.
    ///
    /// # Errors
    /// [`KafkaError`] when no broker answers or there is no such topic.
    pub(crate) fn partitions_of(&self, topic: &str) -> Result<i32, KafkaError> {
        let found = self.connect()?.into_iter().find(|(name, _)| name == topic).map(|(_, partitions)| partitions);
        let count = found.and_then(|count| i32::try_from(count).ok());
        count.filter(|count| *count > 0).ok_or_else(|| KafkaError::MissingTopic(topic.to_owned()))
    }

    /// The value of a setting that the user gave.
    pub(crate) fn property(&self, name: &str) -> Option<String> {
        self.properties.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.clone())
    }
}

/// Sends librdkafka's own messages to the log and not to the terminal.
#[derive(Debug, Clone, Copy)]
pub(crate) struct QuietContext;

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

pub(crate) fn log_client(level: RDKafkaLogLevel, facility: &str, message: &str) {
    match level {
        RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
            tracing::error!(facility, "{message}");
        }
        _ => tracing::debug!(facility, "{message}"),
    }
}
