//! How the scorer ends: what it could not finish it does not call finished, and its exit code tells a supervisor what to do.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::BaseRecord;
use rdkafka::{ClientConfig, TopicPartitionList};
use tests::{
    Group, Kafka, Producer, Received, Run, Running, repository, scorer, start_broken_scorer, start_scorer, text,
    wait_for,
};

/// Exit codes of `sysexits(3)`.
const DATA: Option<i32> = Some(65);
const BUG: Option<i32> = Some(70);
const UNAVAILABLE: Option<i32> = Some(75);
const CONFIGURATION: Option<i32> = Some(78);

const PATIENCE: Duration = Duration::from_secs(120);

/// A broker and a folder for what the scorer keeps.
struct Place {
    kafka: Kafka,
    folder: tempfile::TempDir,
}

impl Place {
    fn start() -> Option<Self> {
        Some(Self { kafka: Kafka::start()?, folder: tempfile::tempdir().unwrap() })
    }

    fn arguments(&self, options: &[&str]) -> Vec<String> {
        let (models, state) = (repository().join("models"), self.folder.path().join("state"));
        let paths = ["--models", text(&models), "--state-dir", text(&state), "--device", "cpu"];
        let all = [&["run", "--brokers", &self.kafka.brokers, "--all-verdicts"][..], &paths, options].concat();
        all.into_iter().map(str::to_owned).collect()
    }

    fn run(&self, options: &[&str]) -> Run {
        let arguments = self.arguments(options);
        scorer(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn start_with(&self, start: fn(&[&str]) -> Running, options: &[&str]) -> Running {
        let arguments = self.arguments(options);
        start(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Runs to the end of the topic, which has to succeed.
    fn finish(&self, options: &[&str]) {
        let run = self.run(&[options, &["--until-end"]].concat());
        assert_eq!(run.code, Some(0), "{}", run.stderr);
    }

    /// Keeps what the scorer has on disk.
    fn copy_state(&self, to: &str) {
        let [from, to] = ["state", to].map(|name| self.folder.path().join(name));
        assert!(std::process::Command::new("cp").arg("-r").args([from, to]).status().unwrap().success());
    }

    /// Gives the scorer back what was kept.
    fn restore_state(&self, from: &str) {
        let [from, to] = [from, "state"].map(|name| self.folder.path().join(name));
        std::fs::remove_dir_all(&to).unwrap();
        std::fs::rename(from, to).unwrap();
    }

    fn keys(&self, topic: &str) -> Vec<String> {
        let mut keys: Vec<String> = self.kafka.read(topic).into_iter().filter_map(|Received { key, .. }| key).collect();
        keys.sort();
        keys
    }
}

fn line(invoice: &str) -> Vec<u8> {
    format!("{invoice},22143,RED MUG,2,9/1/2010 9:22,1.5,12345,France").into_bytes()
}

fn last_line(run: &Run) -> &str {
    run.stderr.lines().last().unwrap_or_default()
}

/// A header's name is bytes, whatever the protocol's documents call it.
#[test]
fn a_header_whose_name_is_not_text_stops_nothing() {
    let Some(place) = Place::start() else { return };
    let payment = |id: &str| {
        format!(
            r#"{{"transaction_id":"{id}","user_id":"u1","merchant_id":"m1","amount":12.5,"currency":"EUR","latitude":40.34207,"longitude":-3.8055,"timestamp":"2024-02-10T03:23:02.165Z"}}"#
        )
    };
    place.kafka.create_topic("transactions", 1, &[]);
    let producer = Producer::new(&place.kafka.brokers);
    let bytes = [0xff, 0xfe].as_slice();
    // SAFETY: the client passes pointer and length on to C and looks at nothing else.
    let name = unsafe { std::str::from_utf8_unchecked(bytes) };
    let names = [Some("label"), Some(name), None];
    for (number, header) in names.into_iter().enumerate() {
        let (id, value) = (number.to_string(), payment(&number.to_string()));
        let mut record = BaseRecord::to("transactions").key(id.as_bytes()).payload(value.as_bytes());
        if let Some(key) = header {
            let both = OwnedHeaders::new().insert(Header { key, value: Some(b"x".as_slice()) });
            record = record.headers(both.insert(Header { key: "label", value: Some(b"normal".as_slice()) }));
        }
        producer.send(record);
    }
    producer.flush();
    let run = place.run(&["--pipeline", "transactions", "--until-end", "--repartition", "never"]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let committed = place.kafka.committed("atalaya", "transactions", 1);
    assert_eq!(committed, [(Some(3), 3)], "{}", run.stdout);
}

/// A panic on any thread that holds a client ends the process, and the next start goes on as after a kill.
#[test]
fn a_panic_ends_the_process_and_costs_nothing() {
    let Some(place) = Place::start() else { return };
    let invoices: Vec<String> = (0..20).map(|number| format!("A{number:02}")).collect();
    place.kafka.create_topic("purchases", 1, &[]);
    place.kafka.send("purchases", &invoices.iter().map(|invoice| line(invoice)).collect::<Vec<_>>());
    let small = ["--batch-records", "4", "--clock", "event"];
    for end in ["panic:before:read:9", "panic:before:commit:1", "panic:after:commit:1", "panic:before:init:1"] {
        let run = place.start_with(start_broken_scorer, &[&small[..], &["--end-at", end]].concat());
        let run = run.wait_at_most(PATIENCE);
        assert_eq!(run.code, BUG, "{end}: {}", run.stderr);
        assert!(last_line(&run).contains("by a fault of this program (a panic on purpose"), "{end}: {}", run.stderr);
    }
    place.finish(&small);
    assert_eq!(place.keys("anomalias_kmeans"), invoices);
}

/// What cannot get better by itself is said once, and the process ends.
#[test]
fn a_configuration_that_is_refused_ends_the_process() {
    let Some(place) = Place::start() else { return };
    for (setting, why) in [
        ("transaction.timeout.ms=1000000", "transaction timeout"),
        ("enable.partition.eof=false", "the end of each partition"),
        ("enable.auto.commit=true", "committed together with the results"),
        ("isolation.level=read_uncommitted", "aborted transaction"),
        ("no.such.setting=GEHEIM1", "no.such.setting"),
    ] {
        let run = place.start_with(start_scorer, &["-X", setting]).wait_at_most(PATIENCE);
        assert_eq!(run.code, CONFIGURATION, "{setting}: {}", run.stderr);
        let said = last_line(&run);
        assert!(said.starts_with("error: ") && said.to_lowercase().contains(why), "{setting}: {}", run.stderr);
        assert!(!run.stderr.contains("GEHEIM1"), "{}", run.stderr);
    }
    let nobody = scorer(&["run", "--brokers", "localhost:1", "--device", "cpu"]);
    assert_eq!(nobody.code, UNAVAILABLE, "{}", nobody.stderr);
    let models = repository().join("models");
    let state = ["--brokers", &place.kafka.brokers, "--state-dir", "/dev/null/state"];
    let state = scorer(&[&["run", "--device", "cpu", "--models", text(&models)][..], &state].concat());
    assert_eq!(state.code, CONFIGURATION, "{}", state.stderr);
    let create = ["topics", "--brokers", &place.kafka.brokers, "--group", "g", "--replication-factor", "3"];
    let topics = scorer(&create);
    assert_eq!(topics.code, CONFIGURATION, "{}", topics.stderr);
    assert!(last_line(&topics).contains("cannot be created"), "{}", topics.stderr);
}

/// An instance whose partitions are others' by now has nothing to commit, and that is no failure.
#[test]
fn an_instance_that_lost_its_session_leaves_in_good_order() {
    let Some(place) = Place::start() else { return };
    place.kafka.create_topic("purchases", 1, &[]);
    place.kafka.send("purchases", &[line("A1"), line("A2")]);
    for delivery in ["at-least-once", "exactly-once"] {
        let options = ["--delivery", delivery, "--group", delivery, "-X", "session.timeout.ms=6000", "--json-logs"];
        let running = place.start_with(start_scorer, &options);
        let group = Group::new(&place.kafka.brokers, delivery, "purchases", 1);
        // At least once, the position stays before what is open.
        wait_for("a commit", PATIENCE, || group.committed().ok()?[0].map(|_| ()));
        running.signal("STOP");
        wait_for("the end of its session", PATIENCE, || (members(&place.kafka, delivery) == 0).then_some(()));
        running.signal("TERM");
        running.signal("CONT");
        let run = running.wait_at_most(PATIENCE);
        assert_eq!(run.code, Some(0), "{delivery}: {}", run.stderr);
    }
}

fn members(kafka: &Kafka, group: &str) -> usize {
    let consumer: BaseConsumer = ClientConfig::new().set("bootstrap.servers", &kafka.brokers).create().unwrap();
    let groups = consumer.fetch_group_list(Some(group), PATIENCE).unwrap();
    groups.groups().iter().map(|group| group.members().len()).sum()
}

/// Each is refused in a sentence that says what would be right, and changes nothing.
#[test]
fn what_does_not_belong_together_is_refused() {
    let Some(place) = Place::start() else { return };
    place.kafka.create_topic("purchases", 1, &[]);
    place.kafka.send("purchases", &[line("A1"), line("A2")]);
    place.finish(&[]);
    let first = position(&place.kafka);
    place.copy_state("early");

    let other = place.run(&["--delivery", "at-least-once", "--until-end"]);
    assert_eq!(other.code, CONFIGURATION, "{}", other.stderr);
    assert!(last_line(&other).contains("the other --delivery"), "{}", other.stderr);

    let running = place.start_with(start_scorer, &["--json-logs"]);
    wait_for("a member", PATIENCE, || (members(&place.kafka, "atalaya") > 0).then_some(()));
    let reset = scorer(&["reset", "--brokers", &place.kafka.brokers, "--to", "earliest", "--yes"]);
    assert_eq!(reset.code, UNAVAILABLE, "{}", reset.stderr);
    assert!(last_line(&reset).contains("is in use"), "{}", reset.stderr);
    assert_eq!(running.terminate().0.code, Some(0));

    place.kafka.send("purchases", &[line("A3")]);
    place.finish(&[]);
    let second = position(&place.kafka);
    assert_ne!(first, second);
    // As tools do that know nothing of what stands beside an offset.
    let mut moved = TopicPartitionList::new();
    moved.add_partition_offset("purchases", 0, first.elements()[0].offset()).unwrap();
    move_to(&place.kafka, &moved);
    let torn = place.run(&["--until-end"]);
    assert_eq!(torn.code, DATA, "{}", torn.stderr);
    assert!(last_line(&torn).contains("do not belong together"), "{}", torn.stderr);
    // As those do that copy both: the change that stands beside it was not the last.
    move_to(&place.kafka, &first);
    // With a snapshot of a later change, then with one of the change itself.
    for state in [None, Some("early")] {
        state.into_iter().for_each(|state| place.restore_state(state));
        let torn = place.run(&["--until-end"]);
        assert_eq!(torn.code, DATA, "{}", torn.stderr);
        assert!(last_line(&torn).contains("the state is of a later change than the offset"), "{}", torn.stderr);
    }
    move_to(&place.kafka, &second);
    place.finish(&[]);

    place.kafka.extend_topic("purchases", 2);
    let extended = place.run(&["--until-end"]);
    assert_eq!(extended.code, CONFIGURATION, "{}", extended.stderr);
    assert!(last_line(&extended).contains("has 2 partitions and had 1"), "{}", extended.stderr);
    assert_eq!(place.keys("anomalias_kmeans"), ["A1", "A2", "A3"], "nothing that was refused had an effect");
}

fn of_group(kafka: &Kafka) -> BaseConsumer {
    ClientConfig::new().set("bootstrap.servers", &kafka.brokers).set("group.id", "atalaya").create().unwrap()
}

/// What the group has committed for partition 0, with what stands beside it.
fn position(kafka: &Kafka) -> TopicPartitionList {
    let mut asked = TopicPartitionList::new();
    asked.add_partition("purchases", 0);
    of_group(kafka).committed_offsets(asked, PATIENCE).unwrap()
}

fn move_to(kafka: &Kafka, position: &TopicPartitionList) {
    of_group(kafka).commit(position, CommitMode::Sync).unwrap();
}
