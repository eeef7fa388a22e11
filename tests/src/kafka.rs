//! A real Apache Kafka for a test, what a consumer sees of it, and brokers that end and come back.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};
use rdkafka::producer::BaseRecord;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use serde_json::Value;

use crate::programs::signal;
use crate::share::Share;
use crate::{Group, Producer, Proxy, repository, wait_for};

const TIMEOUT: Duration = Duration::from_secs(60);

/// The exit code of kafka.sh where Java, Maven or the jars are missing.
const IS_MISSING: i32 = 3;

/// As kafka.sh sets offsets.topic.num.partitions.
const OFFSETS_PARTITIONS: u32 = 3;

/// A cluster on this machine, stopped when this is dropped. There is none where Kafka is missing and tests may be skipped.
#[derive(Debug)]
pub struct Kafka {
    folder: PathBuf,
    /// `host:port`, several with commas.
    pub brokers: String,
    /// Where programs under test find it: the brokers, or the proxy before the broker.
    pub reached_at: String,
    _share: Share,
}

/// A message as a consumer sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct Received {
    /// Its key.
    pub key: Option<String>,
    /// Its payload, as JSON.
    pub value: Value,
}

impl Kafka {
    /// Starts a broker on a free port with an empty log.
    pub fn start() -> Option<Self> {
        Self::start_with(&[])
    }

    /// Starts three brokers; every topic is on all of them, and one of them may be away.
    pub fn start_three() -> Option<Self> {
        Self::start_with(&["--brokers", "3"])
    }

    /// Starts a broker that is reached through `proxy` by those who come to it there, and directly by others.
    pub fn start_behind(proxy: &Proxy) -> Option<Self> {
        let proxied = ["--proxied", &proxy.port().to_string()];
        let (mut kafka, text) = Self::run_script(&proxied, Share::with_others())?;
        proxy.pass_on_to(&value_of(&text, "behind="));
        kafka.reached_at = format!("127.0.0.1:{}", proxy.port());
        Some(kafka)
    }

    /// Starts a cluster with options of kafka.sh.
    pub fn start_with(options: &[&str]) -> Option<Self> {
        Some(Self::run_script(options, Share::with_others())?.0)
    }

    /// As [`start`](Self::start), for a test that leaves nothing of the machine to others.
    pub(crate) fn start_alone() -> Option<Self> {
        Some(Self::run_script(&[], Share::all())?.0)
    }

    /// Starts a broker as `kafka.sh start --secured FOLDER` does; also what it says of its listeners.
    pub(crate) fn start_secured(folder: &str) -> Option<(Self, String)> {
        Self::run_script(&["--secured", folder], Share::with_others())
    }

    fn run_script(options: &[&str], share: Share) -> Option<(Self, String)> {
        let output = script().arg("start").args(options).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        let started = match output.status.code() {
            Some(0) => Ok(output.stdout),
            Some(IS_MISSING) => Err(format!("Apache Kafka is missing: {}", said.trim())),
            _ => panic!("Kafka did not start: {said}"),
        };
        let text = String::from_utf8(requirements::found(started)?).unwrap();
        let brokers = value_of(&text, "bootstrap=");
        let folder = value_of(&text, "dir=").into();
        Some((Self { folder, reached_at: brokers.clone(), brokers, _share: share }, text))
    }

    /// The folder of its data and logs, which every broker's command line names.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Changes a setting of a topic; the others are as the broker has them by default.
    pub fn set(&self, topic: &str, key: &str, value: &str) {
        let admin: AdminClient<DefaultClientContext> = self.client().create().unwrap();
        let wanted = AlterConfig::new(ResourceSpecifier::Topic(topic)).set(key, value);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let answer = runtime.block_on(admin.alter_configs([&wanted], &AdminOptions::new())).unwrap();
        assert!(answer.iter().all(Result::is_ok), "{answer:?}");
    }

    /// Sends records without keys to partition 0 and waits for their acknowledgements.
    pub fn send(&self, topic: &str, payloads: &[Vec<u8>]) {
        let producer = Producer::new(&self.brokers);
        payloads
            .iter()
            .for_each(|payload| producer.send(BaseRecord::to(topic).partition(0).payload(payload.as_slice())));
        producer.flush();
    }

    /// Sends keys with their payloads, partitioned by key, and waits for their acknowledgements; how many there were.
    pub fn send_keyed(&self, topic: &str, records: impl IntoIterator<Item = (String, String)>) -> u64 {
        let (producer, mut sent) = (Producer::new(&self.brokers), 0);
        for (key, payload) in records {
            producer.send(BaseRecord::to(topic).key(key.as_bytes()).payload(payload.as_bytes()));
            sent += 1;
        }
        producer.flush();
        sent
    }

    /// Everything in all partitions of a topic up to their present ends, read with `read_committed`.
    pub fn read(&self, topic: &str) -> Vec<Received> {
        let mut received = Vec::new();
        self.each(topic, |message| {
            received.push(Received {
                key: message.key().map(|key| String::from_utf8(key.to_vec()).unwrap()),
                value: serde_json::from_slice(message.payload().unwrap()).unwrap(),
            });
        });
        received
    }

    /// The payloads in a partition of a topic, in order.
    pub fn payloads(&self, topic: &str, partition: i32) -> Vec<Vec<u8>> {
        let mut payloads = Vec::new();
        self.each(topic, |message| {
            if message.partition() == partition {
                payloads.push(message.payload().unwrap_or_default().to_vec());
            }
        });
        payloads
    }

    /// Hands everything over that is in all partitions of a topic up to their present ends.
    fn each(&self, topic: &str, mut take: impl FnMut(&BorrowedMessage<'_>)) {
        let consumer: BaseConsumer = self
            .client()
            .set("group.id", "reader")
            .set("enable.partition.eof", "true")
            .set("isolation.level", "read_committed")
            .set("fetch.message.max.bytes", "40000000")
            .create()
            .unwrap();
        let metadata = consumer.fetch_metadata(Some(topic), TIMEOUT).unwrap();
        let partitions = metadata.topics()[0].partitions();
        assert!(!partitions.is_empty(), "topic `{topic}` exists");
        let mut assignment = TopicPartitionList::new();
        for partition in partitions {
            assignment.add_partition_offset(topic, partition.id(), Offset::Beginning).unwrap();
        }
        consumer.assign(&assignment).unwrap();
        let (mut ended, start) = (BTreeSet::new(), Instant::now());
        while ended.len() < partitions.len() {
            assert!(start.elapsed() < TIMEOUT, "the broker answers");
            match consumer.poll(Duration::from_secs(1)) {
                None => {}
                Some(Ok(message)) => take(&message),
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    ended.insert(partition);
                }
                Some(Err(error)) => assert!(is_connection(&error), "{error}"),
            }
        }
    }

    /// Where what can be read of topics ends, partition by partition: while that stays as it is, there is nothing new in them.
    pub fn readable_ends(&self, topics: &[&str]) -> Vec<i64> {
        let consumer: BaseConsumer = self.client().set("isolation.level", "read_committed").create().unwrap();
        let end = |topic: &str, partition: i32| {
            let what = format!("the end of partition {partition} of `{topic}`");
            wait_for(&what, TIMEOUT, || Some(consumer.fetch_watermarks(topic, partition, TIMEOUT).ok()?.1))
        };
        let ends_of = |topic: &&str| {
            let metadata = wait_for("metadata", TIMEOUT, || consumer.fetch_metadata(Some(topic), TIMEOUT).ok());
            let partitions: Vec<i32> =
                metadata.topics()[0].partitions().iter().map(|partition| partition.id()).collect();
            partitions.into_iter().map(|partition| end(topic, partition)).collect::<Vec<i64>>()
        };
        topics.iter().flat_map(ends_of).collect()
    }

    /// The headers of everything in partition 0 of a topic, as texts by their names.
    pub fn headers(&self, topic: &str) -> Vec<BTreeMap<String, String>> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let mut found = Vec::new();
        self.each(topic, |message| {
            let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
            found.push(headers.map(|header| (header.key.to_owned(), text(header.value.unwrap()))).collect());
        });
        found
    }

    /// Whether there is a topic of this name.
    fn has_topic(&self, topic: &str) -> bool {
        let consumer: BaseConsumer = self.client().set("group.id", "reader").create().unwrap();
        let metadata = consumer.fetch_metadata(Some(topic), TIMEOUT).unwrap();
        metadata.topics().iter().any(|found| !found.partitions().is_empty())
    }

    /// Reads a topic again and again until it holds what is waited for; at most two minutes. A scorer that has just been started
    /// may not have made the topic yet.
    pub fn read_until(&self, topic: &str, is_there: impl Fn(&[Received]) -> bool) -> Vec<Received> {
        let start = Instant::now();
        loop {
            let received = if self.has_topic(topic) { self.read(topic) } else { Vec::new() };
            if is_there(&received) {
                return received;
            }
            assert!(
                start.elapsed() < Duration::from_secs(120),
                "`{topic}` has {} messages after two minutes",
                received.len()
            );
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// The offsets a group has committed, and the ends of the partitions.
    pub fn committed(&self, group: &str, topic: &str, partitions: u32) -> Vec<(Option<i64>, i64)> {
        let group = Group::new(&self.brokers, group, topic, partitions);
        // A coordinator that has just been found may still be loading.
        let committed = wait_for("the committed offsets", TIMEOUT, || group.committed().ok());
        committed.into_iter().zip(wait_for("the ends", TIMEOUT, || group.ends().ok())).collect()
    }

    /// The broker that leads a partition.
    pub fn leader(&self, topic: &str, partition: i32) -> u32 {
        let consumer: BaseConsumer = self.client().create().unwrap();
        wait_for(&format!("a leader of partition {partition} of `{topic}`"), TIMEOUT, || {
            let metadata = consumer.fetch_metadata(Some(topic), Duration::from_secs(5)).ok()?;
            let partitions = metadata.topics().first()?.partitions();
            let leader = partitions.iter().find(|found| found.id() == partition)?.leader();
            u32::try_from(leader).ok()
        })
    }

    /// The broker that coordinates a consumer group.
    pub fn coordinator(&self, group: &str) -> u32 {
        let partition = java_hash(group).unsigned_abs() % OFFSETS_PARTITIONS;
        self.leader("__consumer_offsets", partition as i32)
    }

    /// Stops the time of a broker with SIGSTOP, until [`Kafka::resume_broker`].
    pub fn pause_broker(&self, node: u32) {
        signal("STOP", self.process_of(node));
    }

    /// Lets a paused broker go on.
    pub fn resume_broker(&self, node: u32) {
        signal("CONT", self.process_of(node));
    }

    fn process_of(&self, node: u32) -> u32 {
        let path = self.folder.join(format!("node-{node}/pid"));
        std::fs::read_to_string(path).unwrap().trim().parse().unwrap()
    }

    /// Ends a broker with SIGKILL.
    pub fn kill_broker(&self, node: u32) {
        self.end_broker(node, "KILL");
    }

    /// Ends a broker with SIGTERM: it hands over what it leads first.
    pub fn terminate_broker(&self, node: u32) {
        self.end_broker(node, "TERM");
    }

    /// Sends a broker a signal, named without SIG.
    pub fn signal_broker(&self, node: u32, name: &str) {
        signal(name, self.process_of(node));
    }

    fn end_broker(&self, node: u32, name: &str) {
        let process = self.process_of(node);
        signal(name, process);
        // Nobody may have waited for it yet: what is left of it then has no command line.
        let command_line = format!("/proc/{process}/cmdline");
        wait_for("the broker's end", TIMEOUT, || {
            std::fs::read(&command_line).map_or(true, |line| line.is_empty()).then_some(())
        });
    }

    /// Starts those brokers again that have ended.
    pub fn start_brokers(&self) {
        assert!(script().args(["start", "--dir"]).arg(&self.folder).stdout(Stdio::null()).status().unwrap().success());
    }

    fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.brokers);
        config
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        let _ = script().args(["stop", "--dir"]).arg(&self.folder).status();
    }
}

fn script() -> Command {
    Command::new(repository().join("tests/kafka/kafka.sh"))
}

pub(crate) fn value_of(text: &str, name: &str) -> String {
    text.lines().find_map(|line| line.strip_prefix(name)).unwrap().to_owned()
}

/// A broker that went away for a moment: the client connects again by itself.
fn is_connection(error: &KafkaError) -> bool {
    let code = error.rdkafka_error_code();
    matches!(code, Some(RDKafkaErrorCode::BrokerTransportFailure | RDKafkaErrorCode::AllBrokersDown))
}

/// Java's `String.hashCode`, of ASCII.
fn java_hash(text: &str) -> i32 {
    text.bytes().fold(0, |hash: i32, byte| hash.wrapping_mul(31).wrapping_add(i32::from(byte)))
}

#[cfg(test)]
mod tests {
    use super::java_hash;

    #[test]
    fn the_hash_is_javas() {
        assert_eq!(java_hash("hello"), 99_162_322);
        assert_eq!(java_hash("exactly-once"), -286_864_670);
    }
}
