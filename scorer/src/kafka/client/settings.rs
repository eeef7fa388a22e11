//! How to reach a broker.

use std::fmt;
use std::path::Path;

use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::producer::ProducerContext;
use rdkafka::{ClientContext, Statistics};

use super::error::KafkaError;
use super::group_protocol::GroupProtocol;
use super::properties::{self, Lookup};
use super::{java, token};
use crate::memory::ClientQueues;

/// The largest message that is produced: as large as a broker may be set to take.
pub(crate) const MAX_MESSAGE_BYTES: usize = 32 << 20;

/// The brokers to begin with.
const BROKERS: &str = "bootstrap.servers";

/// Settings that a guarantee of the program rests on, and why nobody else sets them.
const PROTECTED: &[(&str, &str)] = &[
    (BROKERS, "name the brokers with --brokers"),
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

/// Settings that nobody else may see: they do not belong on a command line.
const SECRET: &[&str] = &[
    "sasl.password",
    "sasl.jaas.config",
    "sasl.oauthbearer.client.secret",
    "ssl.key.password",
    "ssl.key.pem",
    "ssl.keystore.key",
    "ssl.keystore.password",
];

/// Where a broker is looked for when nobody names one.
const DEFAULT_BROKERS: &str = "localhost:9092";

/// Brokers and further settings of librdkafka.
#[derive(Clone)]
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

/// Without the values of the settings: some are secrets.
impl fmt::Debug for KafkaSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: Vec<&str> = self.properties.iter().map(|(key, _)| key.as_str()).collect();
        let Self { brokers, queues, .. } = self;
        f.debug_struct("KafkaSettings")
            .field("brokers", brokers)
            .field("properties", &keys)
            .field("queues", queues)
            .finish()
    }
}

impl KafkaSettings {
    /// These brokers, reached as a client does that is told nothing else.
    pub fn at(brokers: impl Into<String>) -> Self {
        let (queues, group_protocol) = (ClientQueues::default(), GroupProtocol::default());
        Self { brokers: brokers.into(), properties: Vec::new(), queues, group_protocol }
    }

    /// These brokers, or else those that `file` names, or else one on this machine; reached with the settings in `file`, in the
    /// form of Java's clients, and with those of flags, which win.
    ///
    /// # Errors
    /// [`KafkaError::ProtectedSetting`] for a setting that a guarantee rests on; [`KafkaError::Settings`] when the file
    /// cannot be read, or a setting has no meaning here or stands where others see it. No value is repeated: it may be a secret.
    pub fn new(brokers: Option<String>, file: Option<&Path>, flags: &[String]) -> Result<Self, KafkaError> {
        let mut given = file.map_or_else(|| Ok(Vec::new()), properties_of)?;
        let of_file = given.extract_if(.., |(key, _)| key == BROKERS).last().map(|(_, brokers)| brokers);
        for (number, flag) in (1..).zip(flags) {
            given.push(of_flag(number, flag)?);
        }
        let lookup = Lookup { variable: &|name: &str| std::env::var(name).ok() };
        let properties = java::translate(given, &lookup).map_err(KafkaError::Settings)?;
        for (key, _) in &properties {
            if let Some((name, why)) = PROTECTED.iter().find(|(name, _)| name == key) {
                return Err(KafkaError::ProtectedSetting { name, why });
            }
        }
        let brokers = brokers.or(of_file).unwrap_or_else(|| DEFAULT_BROKERS.to_owned());
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
        config.set(BROKERS, &self.brokers).set("client.id", "atalaya");
        if self.speaks_tls() {
            // What came with this program knows no authorities: those of the system are looked for.
            config.set("ssl.ca.location", "probe");
        }
        defaults.iter().for_each(|(key, value)| {
            config.set(*key, *value);
        });
        self.properties.iter().for_each(|(key, value)| {
            config.set(key, value);
        });
        // The one would stand beside the other.
        if self.property("ssl.ca.pem").is_some() {
            config.remove("ssl.ca.location");
        }
        config.set_log_level(RDKafkaLogLevel::Warning);
        config
    }

    /// Whether brokers are reached by TLS.
    pub(super) fn speaks_tls(&self) -> bool {
        self.property("security.protocol").is_some_and(|protocol| protocol.to_lowercase().ends_with("ssl"))
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
        create_consumer(&self.reader_config(name), QuietContext)
    }

    /// How such a reader is set.
    pub(crate) fn reader_config(&self, name: &str) -> ClientConfig {
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
        config
    }

    /// A client that is asked for the ends of partitions and reads nothing.
    pub(crate) fn reader_of_ends(&self) -> Result<BaseConsumer<QuietContext>, KafkaError> {
        let mut config = self.client(&[("group.id", "ends"), ("enable.auto.commit", "false")]);
        // Records of open transactions are there, though they cannot be read yet.
        config.set("isolation.level", "read_uncommitted");
        create_consumer(&config, QuietContext)
    }

    /// Whether a group without offsets begins at the end of the topic.
    pub(crate) fn starts_at_latest(&self) -> bool {
        let value = self.properties.iter().rev().find(|(key, _)| key == "auto.offset.reset").map(|(_, value)| value);
        value.is_some_and(|value| ["latest", "largest", "end"].contains(&value.as_str()))
    }

    /// A member of a group, which has this name where it is a static one.
    pub fn consumer(&self, group: &str, instance_id: Option<&str>) -> ClientConfig {
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

/// A consumer; where it logs in with tokens, it has the first one.
pub(crate) fn create_consumer<C: ConsumerContext>(
    config: &ClientConfig,
    context: C,
) -> Result<BaseConsumer<C>, KafkaError> {
    let consumer: BaseConsumer<C> = config.create_with_context(context).map_err(KafkaError::settings)?;
    token::give_first(config, consumer.client().native_ptr())?;
    Ok(consumer)
}

/// The settings in a file.
fn properties_of(file: &Path) -> Result<Vec<(String, String)>, KafkaError> {
    let cannot = |why: String| KafkaError::Settings(format!("{}: {why}", file.display()));
    let text = std::fs::read_to_string(file).map_err(|error| cannot(error.to_string()))?;
    properties::parse(&text).map_err(cannot)
}

/// The setting of the flag with this number.
fn of_flag(number: usize, flag: &str) -> Result<(String, String), KafkaError> {
    let problem =
        || KafkaError::Settings(format!("-X number {number} is not KEY=VALUE, such as security.protocol=SASL_SSL"));
    let (key, value) = flag.split_once('=').ok_or_else(problem)?;
    let (key, value) = (key.trim(), value.trim());
    if key.is_empty() {
        return Err(problem());
    }
    if SECRET.contains(&key) && !value.contains("${") {
        return Err(KafkaError::Settings(format!(
            "-X {key}: others on this machine can read command lines: write it into a file for --kafka-config, or -X \
             '{key}=${{env:NAME}}' or -X '{key}=${{file:PATH}}'"
        )));
    }
    Ok((key.to_owned(), value.to_owned()))
}

/// Sends librdkafka's own messages to the log and not to the terminal.
#[derive(Debug, Clone, Copy)]
pub(crate) struct QuietContext;

impl ClientContext for QuietContext {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log_client(level, facility, message);
    }

    fn error(&self, error: rdkafka::error::KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "kafka client");
    }

    fn stats(&self, _: Statistics) {}

    fn generate_oauth_token(&self, config: Option<&str>) -> token::Answer {
        token::of_config(config)
    }
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
    use super::*;

    fn with(key: &str, value: &str) -> Result<KafkaSettings, KafkaError> {
        KafkaSettings::new(None, None, &[format!("{key}={value}")])
    }

    fn of_text(text: &str, brokers: Option<&str>) -> Result<KafkaSettings, KafkaError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        KafkaSettings::new(brokers.map(str::to_owned), Some(file.path()), &[])
    }

    #[test]
    fn flags_win_over_the_file_and_what_is_neither_is_not_repeated() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "# of the bank\n\n security.protocol = ssl\nssl.key.password=a=b\n").unwrap();
        let settings = |flags: &[&str]| {
            let flags: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
            KafkaSettings::new(None, Some(file.path()), &flags)
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
            assert!(create_consumer(&config, QuietContext).is_ok(), "{protocol:?}");
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

    #[test]
    fn brokers_are_those_of_the_flag_or_of_the_file_or_near() {
        let file = "bootstrap.servers=a:1,b:2\nsecurity.protocol=SSL\n";
        assert_eq!(of_text(file, None).unwrap().brokers, "a:1,b:2");
        assert_eq!(of_text(file, Some("c:3")).unwrap().brokers, "c:3");
        assert_eq!(of_text("", None).unwrap().brokers, "localhost:9092");
        let refused = with("bootstrap.servers", "a:1").unwrap_err().to_string();
        assert!(refused.contains("name the brokers with --brokers"), "{refused}");
    }

    /// What is linked in has no authorities of its own.
    #[test]
    fn the_authorities_of_the_system_are_trusted_where_no_others_are_named() {
        let location = |text: &str| of_text(text, None).unwrap().client(&[]).get("ssl.ca.location").map(str::to_owned);
        assert_eq!(location(""), None);
        assert_eq!(location("security.protocol=SASL_SSL").as_deref(), Some("probe"));
        assert_eq!(location("security.protocol=ssl\nssl.ca.location=/ca.pem").as_deref(), Some("/ca.pem"));
        assert_eq!(location("security.protocol=ssl\nssl.truststore.certificates=A"), None);
    }

    /// TLS and every way to log in are part of the program, whatever it was built on.
    #[test]
    fn this_build_has_tls_and_logins() {
        for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] {
            let text =
                format!("security.protocol=SASL_SSL\nsasl.mechanism={mechanism}\nsasl.username=u\nsasl.password=p\n");
            create_consumer(&of_text(&text, None).unwrap().client(&[]), QuietContext).unwrap();
        }
        let text = "security.protocol=SASL_SSL\nsasl.mechanism=OAUTHBEARER\n";
        let without =
            create_consumer(&of_text(text, None).unwrap().client(&[]), QuietContext).err().unwrap().to_string();
        assert!(without.contains("OAUTHBEARER needs a token"), "{without}");
    }

    #[test]
    fn secrets_do_not_stand_on_command_lines_nor_in_what_is_printed_for_programmers() {
        for key in SECRET {
            let error = with(key, "GEHEIM1").unwrap_err().to_string();
            assert!(error.contains("others on this machine") && !error.contains("GEHEIM1"), "{error}");
        }
        let settings = of_text("sasl.password=GEHEIM1\nsasl.username=GEHEIM1\n", None).unwrap();
        assert_eq!(settings.property("sasl.password").as_deref(), Some("GEHEIM1"));
        let printed = format!("{settings:?}");
        assert!(printed.contains("sasl.password") && !printed.contains("GEHEIM1"), "{printed}");
    }

    /// A key that librdkafka does not know, a value that it does not take, and one that this build does not support.
    #[test]
    fn no_value_of_a_setting_is_ever_printed() {
        let keys =
            ["sasl.pass-word", "ssl.key.password", "ssl.key.pem", "sasl.jaas.config", "security.protocol", "acks2"];
        for key in keys {
            let settings = of_text(&format!("{key}=GEHEIM1"), None);
            let error = settings.and_then(|settings| create_consumer(&settings.client(&[]), QuietContext)).err();
            let text = error.map(|error| format!("{error} {error:?}")).unwrap_or_default();
            assert!(!text.contains("GEHEIM1"), "{text}");
            assert!(text.is_empty() || text.contains(key), "{text}");
        }
    }
}
