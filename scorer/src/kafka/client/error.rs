//! What can go wrong with Kafka.

use std::path::PathBuf;
use std::time::Duration;

use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode};
use registry::RegistryError;
use shared::device::DeviceError;
use thiserror::Error;

pub use super::error_kind::ErrorKind;
pub(crate) use super::error_kind::is_denial;
use super::error_kind::{missing_right, split_state};
use crate::memory::TooLittleMemory;

/// How long to wait for a first answer of a broker.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// What went wrong with Kafka, in one sentence.
#[derive(Debug, Clone, Error)]
pub enum KafkaError {
    /// Nobody answers.
    #[error("no Kafka broker answered at {brokers} within {} s: start one with `docker compose up -d` or `tests/kafka/kafka.sh run`, or name yours with --brokers HOST:PORT", CONNECT_TIMEOUT.as_secs())]
    Unreachable {
        /// The brokers that were asked.
        brokers: String,
    },
    /// Nothing listens there.
    #[error(
        "nothing listens at {brokers}: start a Kafka broker with `docker compose up -d` or `tests/kafka/kafka.sh run`, or name yours with --brokers HOST:PORT"
    )]
    NotListening {
        /// The brokers that were asked.
        brokers: String,
    },
    /// A host that nobody knows.
    #[error("no host is called `{host}`: name a Kafka broker that there is with --brokers HOST:PORT")]
    UnknownHost {
        /// The host.
        host: String,
    },
    /// A broker and a client that do not come to terms about TLS.
    #[error("{address}: {problem}")]
    Tls {
        /// The broker.
        address: String,
        /// What is wrong, and what would be right.
        problem: String,
    },
    /// A login that a broker does not take.
    #[error(
        "the broker at {address} does not let this program log in: {words}. Check security.protocol, sasl.mechanism, user and \
         password in --kafka-config"
    )]
    Login {
        /// The broker.
        address: String,
        /// The broker's words.
        words: String,
    },
    /// A right that is missing.
    #[error("Kafka does not let this user go on: {action}: {missing}")]
    Forbidden {
        /// What was being done.
        action: String,
        /// Which right is missing, and how it is given.
        missing: &'static str,
    },
    /// A setting that librdkafka does not take.
    #[error("Kafka setting: {0}")]
    Settings(String),
    /// A setting that is not the user's to change.
    #[error("-X {name} cannot be set: {why}")]
    ProtectedSetting {
        /// The setting.
        name: &'static str,
        /// What rests on it.
        why: &'static str,
    },
    /// A broker that understood and will not do it, however often it is asked.
    #[error("Kafka refuses: {action}: {cause}")]
    Refused {
        /// What was being done.
        action: &'static str,
        /// The broker's words.
        cause: String,
    },
    /// A topic that is not there.
    #[error("topic `{0}` does not exist: create it, or leave out --no-create-topics")]
    MissingTopic(String),
    /// The same, for a command that creates none.
    #[error(
        "topic `{0}` does not exist: see whether --brokers, --pipeline and --group are those that are meant; `scorer topics` creates \
         the topics of a pipeline"
    )]
    NoTopic(String),
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
         `scorer reset --group {group} --to earliest` (or latest, or a time; with the --pipeline of `run`) starts both again"
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
         or start again with `scorer reset --group {group} --to earliest` (or latest, or a time; with the --pipeline of `run`)"
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
        /// Whether it is of something else, as that of the other partitions then is, too.
        is_foreign: bool,
    },
    /// State and offsets of a topic that is gone.
    #[error(
        "topic `{topic}` was deleted and made anew since group `{group}` began to read it: its state and offsets are of the \
         topic that is gone, and nothing of the new one is committed with them. `scorer reset --group {group} --to earliest` \
         (or latest, or a time; with the --pipeline of `run`) starts again with the new topic"
    )]
    TopicRecreated {
        /// The topic.
        topic: String,
        /// The consumer group.
        group: String,
    },
    /// A topic that was deleted while it was read.
    #[error(
        "topic `{topic}` was deleted while group `{group}` read it: create it again, then start again with \
         `scorer reset --group {group} --to earliest` (with the --pipeline of `run`)"
    )]
    TopicGone {
        /// The topic.
        topic: String,
        /// The consumer group.
        group: String,
    },
    /// A topic that ends before what was read of it.
    #[error(
        "partition {partition} of `{topic}` ends at offset {end}, and group `{group}` has read it up to {next}: the topic was \
         made anew, or its brokers lost records. `scorer reset --group {group} --to earliest` (or latest, or a time; with the \
         --pipeline of `run`) starts again"
    )]
    TopicShortened {
        /// The topic.
        topic: String,
        /// Its partition.
        partition: i32,
        /// Where it ends.
        end: i64,
        /// The next record that was to be read.
        next: i64,
        /// The consumer group.
        group: String,
    },
    /// Records that are gone, where that ends the stream.
    #[error(
        "the records from offset {first} to {last} of partition {partition} of `{topic}` were deleted before group `{group}` \
         read them, and --on-lost-records is `fail`: nothing behind them is committed. `--on-lost-records continue` counts \
         them, and goes on with the first record that is left"
    )]
    RecordsLost {
        /// The topic.
        topic: String,
        /// Its partition.
        partition: i32,
        /// The first of them.
        first: i64,
        /// The last of them.
        last: i64,
        /// The consumer group.
        group: String,
    },
    /// A record of a partition that the group did not assign to this instance.
    #[error(
        "a record of partition {partition} of `{topic}` (offset {offset}) came without its partition's state; nothing of it \
         is committed, and it is read again by the partition's owner"
    )]
    NotOwned {
        /// The topic.
        topic: String,
        /// Its partition.
        partition: i32,
        /// The record.
        offset: i64,
    },
    /// Nobody answers for a partition.
    #[error(
        "no broker answers for partition {partition} of topic `{topic}` for {seconds} s{cause}: nothing was changed, so start \
         again once the partition has a leader"
    )]
    NoAnswer {
        /// The topic.
        topic: String,
        /// Its partition.
        partition: i32,
        /// How long was waited.
        seconds: u64,
        /// What the client said last, in brackets; nothing if it said nothing.
        cause: String,
    },
    /// A transaction that does not end.
    #[error(
        "a transaction in partition {partition} of topic `{topic}` has been open for {seconds} s, and what comes after it \
         cannot be read: nothing was changed, so start again once it is over (Kafka's `kafka-transactions.sh` finds and aborts \
         one that hangs)"
    )]
    OpenTransaction {
        /// The topic.
        topic: String,
        /// Its partition.
        partition: i32,
        /// How long was waited.
        seconds: u64,
    },
    /// A group that another pipeline uses.
    #[error(
        "group `{group}` reads `{topic}` for pipeline `{theirs}`, and this is pipeline `{ours}`: a group has one place in a \
         topic, so give this pipeline a group of its own with --group"
    )]
    OtherPipeline {
        /// The consumer group.
        group: String,
        /// The topic.
        topic: String,
        /// The pipeline whose offsets the group has.
        theirs: String,
        /// The pipeline that was asked for.
        ours: String,
    },
    /// The group's offsets are of the other kind of delivery.
    #[error(
        "the offsets of group `{group}` were committed with the other --delivery and have another meaning: use that \
         --delivery, or another --group, which starts at the beginning of the topic"
    )]
    OtherDelivery {
        /// The consumer group.
        group: String,
    },
    /// Keys would go to other partitions than before.
    #[error(
        "topic `{topic}` has {now} partitions and had {before}: {} `scorer reset --group {group} --to latest` (or a time before \
         the change) starts again",
        split_state(*now, group, *can_grow)
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
        /// Whether the state can be carried over.
        can_grow: bool,
    },
    /// A topic that has to be read to its end before it grows.
    #[error(
        "`{topic}` cannot grow yet: {left}. Stop the producers, let `scorer run --until-caught-up` (as the group is run) read \
         the rest, and try again"
    )]
    NotReadToEnd {
        /// The input topic.
        topic: String,
        /// What is left.
        left: String,
    },
    /// Another instance took our name.
    #[error(
        "another instance of group `{group}` was started with the name `{name}`, so this one ends; give each instance \
         its own --instance-id"
    )]
    Fenced {
        /// The consumer group.
        group: String,
        /// The name of the instance.
        name: String,
    },
    /// Our name is another instance's where the first one keeps it.
    #[error(
        "the name `{name}` is that of another member of group `{group}`, so this instance ends: with --group-protocol consumer \
         a name is free once its member has left, or the broker's `group.consumer.session.timeout.ms` has passed without it; \
         an instance that starts waits for that"
    )]
    NameTaken {
        /// The consumer group.
        group: String,
        /// The name of the instance.
        name: String,
    },
    /// Brokers that do not hand out partitions.
    #[error(
        "the brokers do not hand out the partitions of group `{group}`, which --group-protocol consumer asks for ({cause}): that \
         needs Apache Kafka 4.0 or later, with `consumer` in `group.coordinator.rebalance.protocols`; --group-protocol classic \
         works with every broker"
    )]
    NoGroupProtocol {
        /// The consumer group.
        group: String,
        /// The broker's words.
        cause: String,
    },
    /// A group that cannot be reset while it works.
    #[error(
        "group `{group}` is in use ({members} running): stop its scorers first; a dead one leaves the group after its session timeout"
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
    /// Less memory is allowed than the stream needs.
    #[error(transparent)]
    TooLittleMemory(#[from] TooLittleMemory),
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
    /// A Schema Registry that is of no use.
    #[error(transparent)]
    Registry(RegistryError),
    /// A setting of the Schema Registry that cannot be used.
    #[error("{key} under [input.registry]: {problem}")]
    RegistrySetting {
        /// The key in the pipeline file.
        key: String,
        /// What is wrong.
        problem: String,
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
    /// A fault of this program.
    #[error("{what} failed by a fault of this program ({cause}); what is not committed will be read again")]
    Bug {
        /// What ended.
        what: &'static str,
        /// Its last words.
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
    /// A client that cannot be made. The value of a setting may be a secret, so it is not repeated.
    pub(crate) fn settings(error: ClientError) -> Self {
        match error {
            ClientError::ClientConfig(_, description, key, value) => {
                let description = if value.is_empty() { description } else { description.replace(&value, "...") };
                Self::Settings(if description.contains(&key) { description } else { format!("{key}: {description}") })
            }
            error => Self::Settings(error.to_string()),
        }
    }

    /// Silence of a partition, with what the client said last.
    pub(crate) fn no_answer(
        topic: &str,
        partition: i32,
        silence: Duration,
        error: Option<&rdkafka::error::KafkaError>,
    ) -> Self {
        Self::NoAnswer {
            topic: topic.to_owned(),
            partition,
            seconds: silence.as_secs(),
            cause: error.map_or_else(String::new, |error| format!(" ({error})")),
        }
    }

    /// What `action` failed of.
    pub(crate) fn failed(action: &'static str) -> impl Fn(ClientError) -> Self {
        move |error| Self::of(action, &error)
    }

    /// As [`failed`](Self::failed).
    pub(crate) fn of(action: &'static str, error: &ClientError) -> Self {
        let cause = error.to_string();
        match error.rdkafka_error_code() {
            Some(code) if let Some(denied) = Self::denied(code, || action.to_owned()) => denied,
            Some(code) if is_denial(code) => Self::Refused { action, cause },
            _ => Self::Failed { action, cause },
        }
    }

    /// That a right is missing, where a broker refuses for that.
    pub(crate) fn denied(code: RDKafkaErrorCode, action: impl FnOnce() -> String) -> Option<Self> {
        missing_right(code).map(|missing| Self::Forbidden { action: action(), missing })
    }

    /// Whether it is of one partition and says nothing of the others.
    pub(crate) fn is_of_one_partition(&self) -> bool {
        matches!(
            self,
            Self::TornState { .. }
                | Self::UnusableState { is_foreign: false, .. }
                | Self::TopicShortened { .. }
                | Self::NoAnswer { .. }
                | Self::OpenTransaction { .. }
                | Self::Failed { .. }
        )
    }

    /// What a supervisor can do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::UnknownHost { .. } => ErrorKind::UnknownHost,
            Self::Tls { .. } => ErrorKind::Tls,
            Self::Login { .. } => ErrorKind::Login,
            Self::Forbidden { .. } => ErrorKind::Permission,
            Self::Unreachable { .. }
            | Self::NotListening { .. }
            | Self::NoAnswer { .. }
            | Self::OpenTransaction { .. }
            | Self::NotOwned { .. }
            | Self::GroupInUse { .. }
            | Self::NotReadToEnd { .. }
            | Self::NameTaken { .. }
            | Self::Device(_)
            | Self::Registry(RegistryError::Silent { .. })
            | Self::Failed { .. } => ErrorKind::Unavailable,
            Self::Settings(_)
            | Self::Registry(_)
            | Self::RegistrySetting { .. }
            | Self::ProtectedSetting { .. }
            | Self::Refused { .. }
            | Self::MissingTopic(_)
            | Self::NoTopic(_)
            | Self::CreateTopic { .. }
            | Self::UnusableState { .. }
            | Self::OtherDelivery { .. }
            | Self::OtherPipeline { .. }
            | Self::PartitionsChanged { .. }
            | Self::Fenced { .. }
            | Self::NoGroupProtocol { .. }
            | Self::UnfitTopic { .. }
            | Self::TooLittleMemory(_)
            | Self::StateFolder { .. } => ErrorKind::Configuration,
            Self::TornState { .. }
            | Self::TopicRecreated { .. }
            | Self::TopicGone { .. }
            | Self::TopicShortened { .. }
            | Self::RecordsLost { .. }
            | Self::NotDelivered { .. } => ErrorKind::Data,
            Self::Bug { .. } => ErrorKind::Bug,
        }
    }
}

#[cfg(test)]
mod tests;
