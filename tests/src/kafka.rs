//! A real Apache Kafka for a test, and what a consumer sees of it.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use serde_json::Value;

use crate::repository;

/// A cluster of one broker, stopped when this is dropped.
#[derive(Debug)]
pub struct Kafka {
    folder: PathBuf,
    /// `host:port`.
    pub brokers: String,
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
    pub fn start() -> Self {
        let script = repository().join("tests/kafka/kafka.sh");
        let output = Command::new(script).arg("start").stderr(Stdio::inherit()).output().unwrap();
        assert!(output.status.success(), "Kafka starts; tests/kafka/README.md tells what it needs");
        let text = String::from_utf8(output.stdout).unwrap();
        let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).unwrap().to_owned();
        Self { folder: value("dir=").into(), brokers: value("bootstrap=") }
    }

    /// Creates a topic.
    pub fn create_topic(&self, name: &str, partitions: u32, settings: &[(&str, &str)]) {
        let jars = repository().join("tests/kafka/target/jars/*");
        let mut command = Command::new("java");
        command.arg("-cp").arg(jars).arg("org.apache.kafka.tools.TopicCommand");
        command.args(["--bootstrap-server", &self.brokers, "--create", "--topic", name]);
        command.args(["--partitions", &partitions.to_string()]);
        for (key, value) in settings {
            command.args(["--config", &format!("{key}={value}")]);
        }
        assert!(command.stdout(Stdio::null()).status().unwrap().success());
    }

    /// Sends records without keys to partition 0 and waits for their acknowledgements.
    pub fn send(&self, topic: &str, payloads: &[Vec<u8>]) {
        let producer: BaseProducer =
            self.client().set("message.max.bytes", "30000000").set("compression.type", "lz4").create().unwrap();
        for payload in payloads {
            producer
                .send(BaseRecord::<(), [u8]>::to(topic).partition(0).payload(payload))
                .map_err(|error| error.0)
                .unwrap();
        }
        producer.flush(Duration::from_secs(30)).unwrap();
    }

    /// Everything in a topic up to its present end, read with `read_committed`.
    pub fn read(&self, topic: &str) -> Vec<Received> {
        let consumer: BaseConsumer = self
            .client()
            .set("group.id", "reader")
            .set("enable.partition.eof", "true")
            .set("isolation.level", "read_committed")
            .set("fetch.message.max.bytes", "40000000")
            .create()
            .unwrap();
        let metadata = consumer.fetch_metadata(Some(topic), Duration::from_secs(10)).unwrap();
        let mut open = metadata.topics()[0].partitions().len();
        let mut assignment = TopicPartitionList::new();
        for partition in metadata.topics()[0].partitions() {
            assignment.add_partition_offset(topic, partition.id(), Offset::Beginning).unwrap();
        }
        consumer.assign(&assignment).unwrap();
        let mut received = Vec::new();
        let start = Instant::now();
        while open > 0 {
            assert!(start.elapsed() < Duration::from_secs(60), "the broker answers");
            match consumer.poll(Duration::from_secs(1)) {
                None => {}
                Some(Ok(message)) => received.push(Received {
                    key: message.key().map(|key| String::from_utf8(key.to_vec()).unwrap()),
                    value: serde_json::from_slice(message.payload().unwrap()).unwrap(),
                }),
                Some(Err(KafkaError::PartitionEOF(_))) => open -= 1,
                Some(Err(error)) => panic!("{error}"),
            }
        }
        received
    }

    /// Reads a topic again and again until it holds what is waited for; at most two minutes.
    pub fn read_until(&self, topic: &str, is_there: impl Fn(&[Received]) -> bool) -> Vec<Received> {
        let start = Instant::now();
        loop {
            let received = self.read(topic);
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
    pub fn committed(&self, group: &str, topic: &str, partitions: i32) -> Vec<(Option<i64>, i64)> {
        let consumer: BaseConsumer = self.client().set("group.id", group).create().unwrap();
        let mut asked = TopicPartitionList::new();
        asked.add_partition_range(topic, 0, partitions - 1);
        let committed = consumer.committed_offsets(asked, Duration::from_secs(10)).unwrap();
        let of = |partition| {
            let (_, end) = consumer.fetch_watermarks(topic, partition, Duration::from_secs(10)).unwrap();
            let offset = committed.find_partition(topic, partition).and_then(|found| found.offset().to_raw());
            (offset.filter(|offset| *offset >= 0), end)
        };
        (0..partitions).map(of).collect()
    }

    fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.brokers);
        config
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        let script = repository().join("tests/kafka/kafka.sh");
        let _ = Command::new(script).args(["stop", "--dir"]).arg(&self.folder).status();
    }
}
