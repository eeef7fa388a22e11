//! How to reach a broker.

use std::path::Path;

use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::producer::ProducerContext;
use rdkafka::{ClientContext, Statistics};

use super::error::{CONNECT_TIMEOUT, KafkaError};
use super::group_protocol::GroupProtocol;
use crate::memory::ClientQueues;

/// The largest message that is produced: as large as a broker may be set to take.
pub(crate) const MAX_MESSAGE_BYTES: usize = 32 << 20;

/// Settings that a guarantee of the program rests on, and why nobody else sets them.
const PROTECTED: &[(&str, &str)] = &[
    ("bootstrap.servers", "name the brokers with --brokers"),
    ("metadata.broker.list", "name the brokers with --brokers"),
    ("group.id", "name the group with --group"),
    ("enable.auto.commit", "offsets are committed together with the results of their records"),
    ("auto.commit.enable", "offsets are committed together with the results of their records"),
    ("enable.auto.offset.store", "offsets are committed together with the results of their records"),
    ("enable.partition.eof", "the end of each partition has to be seen, for --until-end and for closing what is idle"),
    ("statistics.interval.ms", "what was read of each partition is known from statistics"),
    ("isolation.level", "a record of an aborted transaction must not be scored"),
    ("partition.assignment.strategy", "state moves with its partition, which needs `cooperative-sticky`"),
    ("group.protocol", "choose it with --group-protocol"),
    ("group.remote.assignor", "state moves with its partition, which needs `uniform`"),
    ("transactional.id", "it is made of the group and --instance-id, so that an old instance is fenced"),
    ("enable.idempotence", "a result must not be published twice"),
    ("enable.gapless.guarantee", "a result must not be lost"),
    ("acks", "a result must not be lost"),
    ("request.required.acks", "a result must not be lost"),
    ("queued.min.messages", "the queues of clients are a part of --max-memory"),
    ("queued.max.messages.kbytes", "the queues of clients are a part of --max-memory"),
    ("fetch.message.max.bytes", "the queues of clients are a part of --max-memory"),
    ("max.partition.fetch.bytes", "the queues of clients are a part of --max-memory"),
    ("fetch.max.bytes", "the queues of clients are a part of --max-memory"),
    ("queue.buffering.max.messages", "the queues of clients are a part of --max-memory"),
    ("queue.buffering.max.kbytes", "the queues of clients are a part of --max-memory"),
];

/// What librdkafka keeps of a record in a queue beside its bytes, about: an operation (`rd_kafka_op_t`) with a message.
const BYTES_A_RECORD: usize = 640;

/// Brokers and further settings of librdkafka.
#[derive(Debug, Clone)]
pub struct KafkaSettings {
    /// `host:port`, several with commas.
    pub brokers: String,
    /// Settings of librdkafka that win over ours, such as `security.protocol`. Their values are never printed.
    pub properties: Vec<(String, String)>,
    /// How much the queues of clients take.
    pub queues: ClientQueues,
    /// Who hands out the partitions of groups.
    pub group_protocol: GroupProtocol,
}

impl KafkaSettings {
    /// These brokers, reached as a client does that is told nothing else.
    pub fn at(brokers: impl Into<String>) -> Self {
        let (queues, group_protocol) = (ClientQueues::default(), GroupProtocol::default());
        Self { brokers: brokers.into(), properties: Vec::new(), queues, group_protocol }
    }

    /// These brokers, reached with the settings in `file`, a line `key=value` each, and with those of flags, which win.
    ///
    /// # Errors
    /// [`KafkaError::ProtectedSetting`] for a setting that a guarantee rests on; [`KafkaError::Settings`] when the file
    /// cannot be read or something is not `key=value`, without repeating it: it may be a secret.
    pub fn new(brokers: String, file: Option<&Path>, flags: &[String]) -> Result<Self, KafkaError> {
        let mut properties = match file {
            Some(file) => properties_of(file)?,
            None => Vec::new(),
        };
        for (number, flag) in (1..).zip(flags) {
            properties.push(key_and_value(flag).ok_or_else(|| {
                KafkaError::Settings(format!("-X number {number} is not KEY=VALUE, such as security.protocol=SASL_SSL"))
            })?);
        }
        for (key, _) in &properties {
            if let Some((name, why)) = PROTECTED.iter().find(|(name, _)| name == key) {
                return Err(KafkaError::ProtectedSetting { name, why });
            }
        }
        Ok(Self { properties, ..Self::at(brokers) })
    }

    /// The same, where the partitions of groups are handed out like this.
    ///
    /// # Errors
    /// [`KafkaError::ProtectedSetting`] for a setting of the user that says nothing then.
    pub fn with_group_protocol(self, group_protocol: GroupProtocol) -> Result<Self, KafkaError> {
        group_protocol.refuse_foreign(&self.properties)?;
        Ok(Self { group_protocol, ..self })
    }

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
            // Half of what it may take: of what is being sent, a compressed copy is there too.
            ("queue.buffering.max.kbytes", &(self.queues.produced / 2 / 1024).to_string()),
            ("queue.buffering.max.messages", &(self.queues.produced / 2 / BYTES_A_RECORD).to_string()),
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
            // How long the client waits before a transaction when the markers of the one before are not written yet. With its
            // own 100 ms a shorter commit interval would make results later, not earlier.
            ("retry.backoff.ms", "5"),
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
        let mut config = self.client(&[
            ("group.id", name),
            ("enable.auto.commit", "false"),
            ("enable.auto.offset.store", "false"),
            ("enable.partition.eof", "true"),
            ("isolation.level", "read_committed"),
            // Memory is for the state, not for records that wait to be read.
            ("queued.max.messages.kbytes", "8192"),
            ("queued.min.messages", "10000"),
            ("fetch.message.max.bytes", "1048576"),
            ("fetch.max.bytes", "1048576"),
            ("fetch.queue.backoff.ms", "1"),
            ("fetch.wait.max.ms", "20"),
        ]);
        // It sends nothing, and would not fetch less than the largest message that it may send.
        config.set("message.max.bytes", "1048576");
        // What the user says here is where a group begins; these are read from where they are asked to.
        config.set("auto.offset.reset", "earliest");
        config.create_with_context(QuietContext).map_err(KafkaError::settings)
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
        // A quarter for the bytes of records, and one for what the client keeps of each; the rest for what one answer brings
        // when the queue is nearly full, which is several times as much once it is unpacked.
        let (quarter, answer) = (self.queues.fetched / 4, (self.queues.fetched / 32).to_string());
        let kbytes = (quarter / 1024).to_string();
        let records = (quarter / BYTES_A_RECORD).min(10_000_000).to_string();
        let of_member = [
            ("group.id", group),
            // Whoever does not poll for so long is out of the group. Nothing that takes long is done between two polls; the
            // longest is to wait for batches under way (see `SETTLE_TIMEOUT`).
            ("max.poll.interval.ms", "300000"),
            ("queued.max.messages.kbytes", &kbytes),
            ("queued.min.messages", &records),
            // One record or batch may be larger: a broker sends the first one whole.
            ("fetch.message.max.bytes", &answer),
            ("fetch.max.bytes", &answer),
            ("enable.auto.commit", "false"),
            ("enable.auto.offset.store", "false"),
            ("enable.partition.eof", "true"),
            ("isolation.level", "read_committed"),
            // After its queue was full for a moment the client would pause for a second.
            ("fetch.queue.backoff.ms", "2"),
            ("fetch.wait.max.ms", "100"),
        ];
        let mut config = self.client(&[self.group_protocol.settings(), &of_member].concat());
        // The client would fetch no less than the largest message that it may send, and this one sends none.
        config.set("message.max.bytes", &answer);
        // They tell how far a partition was read past its last record, without which no time passes while it is idle.
        config.set("statistics.interval.ms", "1000");
        if let Some(id) = instance_id {
            config.set("group.instance.id", id);
        }
        // What the user says here is where a group without offsets begins. Over records that are gone, the client may only
        // jump to the first one that is left: what is lost is counted then.
        config.set("auto.offset.reset", "earliest");
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

/// The settings in a file of lines `key=value`, as other programs of librdkafka read it. Empty lines and those that begin
/// with `#` say nothing.
fn properties_of(file: &Path) -> Result<Vec<(String, String)>, KafkaError> {
    let cannot = |why: String| KafkaError::Settings(format!("{}: {why}", file.display()));
    let text = std::fs::read_to_string(file).map_err(|error| cannot(error.to_string()))?;
    let lines = (1..).zip(text.lines().map(str::trim));
    let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|(number, line)| key_and_value(line).ok_or_else(|| cannot(format!("line {number} is not key=value"))))
        .collect()
}

fn key_and_value(text: &str) -> Option<(String, String)> {
    let (key, value) = text.split_once('=')?;
    let (key, value) = (key.trim(), value.trim());
    (!key.is_empty()).then(|| (key.to_owned(), value.to_owned()))
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

#[cfg(test)]
mod tests {
    use rdkafka::config::FromClientConfigAndContext as _;

    use super::*;

    fn with(key: &str, value: &str) -> Result<KafkaSettings, KafkaError> {
        KafkaSettings::new("localhost:1".to_owned(), None, &[format!("{key}={value}")])
    }

    #[test]
    fn flags_win_over_the_file_and_what_is_neither_is_not_repeated() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "# of the bank\n\n security.protocol = ssl\nssl.key.password=a=b\n").unwrap();
        let settings = |flags: &[&str]| {
            let flags: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
            KafkaSettings::new("localhost:1".to_owned(), Some(file.path()), &flags)
        };
        let both = settings(&["security.protocol=plaintext"]).unwrap();
        assert_eq!(both.property("security.protocol").as_deref(), Some("plaintext"));
        assert_eq!(both.property("ssl.key.password").as_deref(), Some("a=b"));
        for bad in ["GEHEIM1", "=GEHEIM1"] {
            let error = settings(&["a=b", bad]).unwrap_err().to_string();
            assert!(error.contains("-X number 2") && !error.contains("GEHEIM1"), "{error}");
            std::fs::write(file.path(), format!("a=b\n{bad}\n")).unwrap();
            let error = settings(&[]).unwrap_err().to_string();
            assert!(error.contains("line 2") && !error.contains("GEHEIM1"), "{error}");
            std::fs::write(file.path(), "").unwrap();
        }
        std::fs::remove_file(file.path()).unwrap();
        assert!(settings(&[]).unwrap_err().to_string().contains("No such file"));
    }

    #[test]
    fn what_a_guarantee_rests_on_is_refused_with_the_reason() {
        for (name, why) in PROTECTED {
            let error = with(name, "anything").unwrap_err().to_string();
            assert!(error.contains(name) && error.contains(why), "{error}");
        }
        assert!(with("security.protocol", "plaintext").is_ok());
        // Every setting of ours that a user may not change is one that librdkafka knows: no name is misspelt here.
        for (name, _) in PROTECTED {
            let known = ClientConfig::new().set(*name, "\u{1}").create_with_context(QuietContext);
            let known: Result<BaseConsumer<_>, _> = known;
            let text = known.err().map(|error| error.to_string()).unwrap_or_default();
            assert!(!text.contains("No such configuration property"), "{name}: {text}");
        }
    }

    /// librdkafka refuses settings of the one protocol beside the other: that a consumer can be made says that there are none.
    #[test]
    fn a_member_is_set_as_its_protocol_asks() {
        let member = |protocol: GroupProtocol| {
            let settings = KafkaSettings::at("localhost:1").with_group_protocol(protocol).unwrap();
            let config = settings.consumer("g", Some("i0"));
            assert!(BaseConsumer::from_config_and_context(&config, QuietContext).is_ok(), "{protocol:?}");
            config
        };
        let (classic, consumer) = (member(GroupProtocol::Classic), member(GroupProtocol::Consumer));
        assert_eq!(classic.get("partition.assignment.strategy"), Some("cooperative-sticky"));
        assert_eq!((classic.get("session.timeout.ms"), classic.get("group.protocol")), (Some("10000"), None));
        assert_eq!(consumer.get("group.remote.assignor"), Some("uniform"));
        assert_eq!((consumer.get("session.timeout.ms"), consumer.get("group.protocol")), (None, Some("consumer")));
        for config in [classic, consumer] {
            assert_eq!((config.get("group.id"), config.get("group.instance.id")), (Some("g"), Some("i0")));
            assert_eq!(config.get("max.poll.interval.ms"), Some("300000"));
        }
    }

    #[test]
    fn a_session_is_the_members_own_only_with_the_classic_protocol() {
        let session = || with("session.timeout.ms", "6000").unwrap();
        let classic = session().with_group_protocol(GroupProtocol::Classic).unwrap().consumer("g", None);
        assert_eq!(classic.get("session.timeout.ms"), Some("6000"));
        let error = session().with_group_protocol(GroupProtocol::Consumer).unwrap_err().to_string();
        assert!(error.contains("`group.consumer.session.timeout.ms`"), "{error}");
    }

    /// A key that librdkafka does not know, a value that it does not take, and one that this build does not support.
    #[test]
    fn no_value_of_a_setting_is_ever_printed() {
        let keys =
            ["sasl.pass-word", "ssl.key.password", "ssl.key.pem", "sasl.jaas.config", "security.protocol", "acks2"];
        for key in keys {
            let config = with(key, "GEHEIM1").unwrap().client(&[]);
            let made = BaseConsumer::from_config_and_context(&config, QuietContext);
            let error = made.map_err(KafkaError::settings).err();
            let text = error.map(|error| format!("{error} {error:?}")).unwrap_or_default();
            assert!(!text.contains("GEHEIM1"), "{text}");
            assert!(text.is_empty() || text.contains(key), "{text}");
        }
    }
}
