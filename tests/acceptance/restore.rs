//! Restores beside the stream: what one partition waits for, or cannot have, does not stop the others.

use std::ops::Range;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tests::{Group, Kafka, Producer, Running, repository, scorer, start_scorer, text, wait_for};

const GROUP: &str = "atalaya";
const TOPIC: &str = "purchases";
const CHANGELOG: &str = "atalaya-invoices-state";
const VERDICTS: &str = "anomalias_kmeans";

/// The exit code for data that cannot be worked with.
const DATA: Option<i32> = Some(65);

const PATIENCE: Duration = Duration::from_secs(60);

/// How long one may go without polling before it is out of the group.
const POLL_INTERVAL: Duration = Duration::from_secs(7);

/// A group of scorers of a topic with two partitions.
struct Place {
    kafka: Kafka,
    folder: tempfile::TempDir,
}

impl Place {
    fn start() -> Option<Self> {
        let place = Self { kafka: Kafka::start()?, folder: tempfile::tempdir().unwrap() };
        let topics = scorer(&["topics", "--brokers", &place.kafka.brokers, "--partitions", "2"]);
        assert_eq!(topics.code, Some(0), "{}", topics.stderr);
        Some(place)
    }

    /// Sends invoices of one line each, a minute apart, so that each closes when the next one comes.
    fn send(&self, partition: i32, numbers: Range<u32>) {
        let producer = Producer::new(&self.kafka.brokers);
        for number in numbers {
            let (hour, minute) = (9 + number % 1_000 / 60, number % 60);
            let line = format!("{number},22143,MUG,2,9/1/2010 {hour}:{minute:02},1.5,12345,France");
            let key = number.to_string();
            producer.send(BaseRecord::to(TOPIC).partition(partition).key(key.as_bytes()).payload(line.as_bytes()));
        }
        producer.flush();
    }

    /// Starts an instance with a folder of its own for its state.
    fn instance(&self, name: &str, options: &[&str]) -> Running {
        let (models, state) = (repository().join("models"), self.folder.path().join(name));
        let what = ["run", "--brokers", &self.kafka.brokers, "--models", text(&models), "--state-dir", text(&state)];
        let how = ["--device", "cpu", "--clock", "event", "--all-verdicts", "--json-logs", "--threads", "1"];
        start_scorer(&[&what[..], &how, options].concat())
    }

    /// The invoices with a verdict, in order.
    fn verdicts(&self) -> Vec<u32> {
        let keys = self.kafka.read(VERDICTS).into_iter().map(|verdict| verdict.key.unwrap().parse().unwrap());
        let mut keys: Vec<u32> = keys.collect();
        keys.sort_unstable();
        keys
    }

    fn wait_for_verdict(&self, number: u32) {
        wait_for(&format!("the verdict on {number}"), PATIENCE, || self.verdicts().contains(&number).then_some(()));
    }

    /// Waits until the group has so many members, each with a partition.
    fn wait_for_members(&self, count: usize) {
        let consumer: BaseConsumer = self.client().create().unwrap();
        // A member without a partition has an assignment without the topic's name.
        let has_partition = |assignment: Option<&[u8]>| {
            assignment.is_some_and(|bytes| bytes.windows(TOPIC.len()).any(|found| found == TOPIC.as_bytes()))
        };
        wait_for("each member to have a partition", PATIENCE, || {
            let groups = consumer.fetch_group_list(Some(GROUP), PATIENCE).unwrap();
            let group = groups.groups().first()?;
            let with_partition = group.members().iter().filter(|member| has_partition(member.assignment())).count();
            (group.state() == "Stable" && with_partition == count).then_some(())
        });
    }

    /// Commits the offset of a partition moved by so much, with what stands beside it.
    fn move_offset(&self, partition: i32, by: i64) {
        let positions = Group::new(&self.kafka.brokers, GROUP, TOPIC, 2).positions();
        let element = positions.find_partition(TOPIC, partition).unwrap();
        let mut moved = TopicPartitionList::new();
        let offset = Offset::Offset(element.offset().to_raw().unwrap() + by);
        moved.add_partition_offset(TOPIC, partition, offset).unwrap();
        moved.find_partition(TOPIC, partition).unwrap().set_metadata(element.metadata());
        let consumer: BaseConsumer = self.client().create().unwrap();
        wait_for("the group to be without members", PATIENCE, || consumer.commit(&moved, CommitMode::Sync).ok());
    }

    fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.kafka.brokers).set("group.id", GROUP);
        config
    }

    /// A transaction in the changelog of a partition: nothing that is written there afterwards can be read before it ends.
    fn open_transaction(&self, partition: i32) -> BaseProducer {
        let mut config = self.client();
        config.set("transactional.id", "in the way").set("transaction.timeout.ms", "120000");
        let producer: BaseProducer = config.create().unwrap();
        producer.init_transactions(PATIENCE).unwrap();
        producer.begin_transaction().unwrap();
        producer.send(BaseRecord::to(CHANGELOG).partition(partition).key("never").payload("committed")).unwrap();
        producer.flush(PATIENCE).unwrap();
        producer
    }
}

/// The partitions whose restore an instance has logged.
fn restored(instance: &Running) -> Vec<i64> {
    instance.log("restored").iter().map(|fields| fields["partition"].as_i64().unwrap()).collect()
}

/// A restore that takes longer than one may go without polling, and a rebalance in the middle of it.
#[test]
fn a_partition_is_read_while_another_is_restored_whoever_comes_meanwhile() {
    let Some(place) = Place::start() else { return };
    place.send(0, 0..3);
    place.send(1, 1_000..1_003);
    let first = place.instance("first", &[]);
    place.wait_for_verdict(1);
    place.wait_for_verdict(1_001);
    let in_the_way = place.open_transaction(0);
    place.send(0, 3..5);
    place.wait_for_verdict(3);
    let (run, _) = first.terminate();
    assert_eq!(run.code, Some(0), "{}", run.stderr);

    let poll_interval = format!("max.poll.interval.ms={}", POLL_INTERVAL.as_millis());
    let strict = ["-X", &poll_interval, "-X", "session.timeout.ms=6000"];
    let mut second = place.instance("second", &strict);
    second.wait_for_log("restored");
    let (start, mut next) = (Instant::now(), 1_003);
    while start.elapsed() < POLL_INTERVAL + Duration::from_secs(1) {
        place.send(1, next..next + 1);
        place.wait_for_verdict(next - 1);
        next += 1;
    }
    assert_eq!(restored(&second), [1], "{}", second.stderr());
    assert!(second.log("partitions were lost to other instances, which continue from the last commit").is_empty());

    let third = place.instance("third", &strict);
    place.wait_for_members(2);
    place.send(1, next..next + 1);
    place.wait_for_verdict(next - 1);
    assert!(![restored(&second), restored(&third)].concat().contains(&0), "it still waits");
    in_the_way.abort_transaction(PATIENCE).unwrap();
    place.send(0, 5..7);
    place.wait_for_verdict(5);
    for running in [second, third] {
        let (run, _) = running.terminate();
        assert_eq!(run.code, Some(0), "{}", run.stderr);
    }
    assert_eq!(place.verdicts(), (0..6).chain(1_000..next).collect::<Vec<_>>(), "each invoice has one verdict");
}

#[test]
fn a_partition_that_cannot_be_restored_is_told_and_does_not_end_the_other() {
    let Some(place) = Place::start() else { return };
    place.send(0, 0..3);
    place.send(1, 1_000..1_003);
    let run = place.instance("one", &["--until-end"]).wait_at_most(PATIENCE);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    place.move_offset(0, -1);
    place.send(0, 3..5);

    let assert_told = |stderr: &str| {
        let told = tests::logged(stderr, "a partition cannot be restored");
        assert_eq!(told.len(), 1, "{stderr}");
        assert!(told[0]["error"].as_str().unwrap().contains("do not belong together"), "{stderr}");
        let last = stderr.lines().last().unwrap_or_default();
        assert!(last.starts_with("error: ") && last.contains("partition 0"), "{stderr}");
    };
    place.send(1, 1_003..1_005);
    let run = place.instance("one", &["--until-end"]).wait_at_most(PATIENCE);
    assert_eq!(run.code, DATA, "{}", run.stderr);
    assert_told(&run.stderr);
    assert_eq!(place.verdicts(), (0..3).chain(1_000..1_005).collect::<Vec<_>>(), "the other is read to its end");

    let running = place.instance("one", &[]);
    place.send(1, 1_005..1_008);
    place.wait_for_verdict(1_006);
    let (run, _) = running.terminate();
    assert_eq!(run.code, DATA, "{}", run.stderr);
    assert_told(&run.stderr);

    place.move_offset(0, 1);
    let run = place.instance("one", &["--until-end"]).wait_at_most(PATIENCE);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert_eq!(place.verdicts(), (0..5).chain(1_000..1_008).collect::<Vec<_>>());
}
