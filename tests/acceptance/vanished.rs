//! Records that are gone before they are read, and topics that are not what they were.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use serde_json::{Value, json};
use tempfile::TempDir;
use tests::{Group, Kafka, PipelineFile, Received, Run, Running, repository, scorer, start_scorer, text, wait_for};

const TOPIC: &str = "purchases";

/// For whatever a broker or a scorer has to do.
const PATIENCE: Duration = Duration::from_secs(120);

/// A way to read a topic.
struct Way {
    /// The group, and what its output topics begin with.
    name: &'static str,
    options: &'static [&'static str],
    /// The group whose offsets are of the topic.
    reader: &'static str,
}

const EXACTLY_ONCE: Way = Way { name: "exact", options: &[], reader: "exact" };
const AT_LEAST_ONCE: Way = Way { name: "least", options: &["--delivery", "at-least-once"], reader: "least" };
const REPARTITIONED: Way = Way { name: "copied", options: &["--repartition", "always"], reader: "copied-repartition" };

/// A topic with one partition, and groups that read it, each with output topics of its own.
struct Topic {
    kafka: Kafka,
    folder: TempDir,
}

impl Topic {
    fn new() -> Option<Self> {
        let topic = Self { kafka: Kafka::start()?, folder: tempfile::tempdir().unwrap() };
        for way in [&EXACTLY_ONCE, &AT_LEAST_ONCE, &REPARTITIONED] {
            PipelineFile::invoices().with_output_prefix(&format!("{}-", way.name)).write(&topic.pipeline(way));
        }
        topic.kafka.create_topic(TOPIC, 1, &[]);
        Some(topic)
    }

    fn pipeline(&self, way: &Way) -> PathBuf {
        self.folder.path().join(format!("{}.toml", way.name))
    }

    /// Sends invoices of one line each, a minute apart by their dates: each closes the one before.
    fn send(&self, numbers: std::ops::Range<u32>) {
        let records = numbers.map(|number| {
            let (day, hour, minute) = (1 + number / 1_440, number / 60 % 24, number % 60);
            let line = format!("{number},22143,RED MUG,2,9/{day}/2010 {hour}:{minute:02},1.5,12345,France");
            (number.to_string(), line)
        });
        self.kafka.send_keyed(TOPIC, records);
    }

    /// Runs a command for a group.
    fn command(&self, way: &Way, command: &[&str]) -> Run {
        let pipeline = self.pipeline(way);
        scorer(
            &[command, &["--pipeline", text(&pipeline), "--group", way.name, "--brokers", &self.kafka.brokers]]
                .concat(),
        )
    }

    /// Scores everything that is there.
    fn run(&self, way: &Way, options: &[&str]) -> Run {
        let state = self.folder.path().join("state");
        let models = repository().join("models");
        let what = ["run", "--models", text(&models), "--device", "cpu", "--clock", "event", "--all-verdicts"];
        let how = ["--until-end", "--state-dir", text(&state)];
        self.command(way, &[&what[..], &how, way.options, options].concat())
    }

    /// As [`run`](Self::run), which has to succeed; what it prints.
    fn done(&self, way: &Way, options: &[&str]) -> String {
        let run = self.run(way, options);
        assert_eq!(run.code, Some(0), "{}: {}", way.name, run.stderr);
        run.stdout
    }

    /// Starts a scorer that goes on until it is stopped.
    fn start(&self, way: &Way) -> Running {
        let (pipeline, models) = (self.pipeline(way), repository().join("models"));
        let state = self.folder.path().join("state");
        let what = ["run", "--models", text(&models), "--device", "cpu", "--clock", "event", "--all-verdicts"];
        let whose = ["--pipeline", text(&pipeline), "--group", way.name, "--brokers", &self.kafka.brokers];
        start_scorer(&[&what[..], &["--state-dir", text(&state)], way.options, &whose].concat())
    }

    fn read(&self, way: &Way, topic: &str) -> Vec<Received> {
        self.kafka.read(&format!("{}-{topic}", way.name))
    }

    /// The invoices with a verdict.
    fn verdicts(&self, way: &Way) -> Vec<u32> {
        numbers(&self.read(way, "anomalias_kmeans"))
    }

    /// Waits until an invoice has its verdict.
    fn wait_for_verdict(&self, way: &Way, number: u32) {
        let topic = format!("{}-anomalias_kmeans", way.name);
        self.kafka.read_until(&topic, |received| numbers(received).contains(&number));
    }

    /// Topic, first and last offset of each lost range that was published.
    fn lost(&self, way: &Way) -> Vec<(String, i64, i64)> {
        let erroneous = self.read(way, "facturas_erroneas").into_iter().map(|message| message.value);
        let range = |value: Value| {
            assert_eq!((&value["kind"], &value["reasons"]), (&json!("lost"), &json!(["lost_to_retention"])), "{value}");
            let (source, offsets) = (&value["source"], &value["source"]["offsets"][0]);
            let offset = |index: usize| offsets[index].as_i64().unwrap();
            (source["topic"].as_str().unwrap().to_owned(), offset(0), offset(1))
        };
        erroneous.map(range).collect()
    }

    fn committed(&self, group: &str) -> Option<i64> {
        self.kafka.committed(group, TOPIC, 1)[0].0
    }
}

fn numbers(received: &[Received]) -> Vec<u32> {
    let mut numbers: Vec<u32> =
        received.iter().map(|received| received.key.as_ref().unwrap().parse().unwrap()).collect();
    numbers.sort_unstable();
    numbers
}

/// The number that the summary has beside a text, if it has the text.
fn summed(summary: &str, what: &str) -> Option<u64> {
    let row = summary.lines().find(|line| line.contains(what))?;
    let cells: Vec<&str> = row.trim_matches('│').split('┆').map(str::trim).collect();
    cells.iter().position(|cell| *cell == what).map(|place| cells[place + 1].parse().unwrap())
}

/// A hundred records read and committed, then 200 that are deleted, and 100 more.
#[test]
fn what_retention_took_while_nobody_read_is_counted_and_published() {
    let Some(topic) = Topic::new() else { return };
    let ways = [EXACTLY_ONCE, AT_LEAST_ONCE, REPARTITIONED];
    topic.send(0..100);
    for way in &ways {
        topic.done(way, &[]);
        assert_eq!(topic.committed(way.reader), Some(100), "{}", way.name);
    }
    topic.send(100..400);
    topic.kafka.delete_records(TOPIC, 300);
    for way in &ways {
        let failed = topic.run(way, &["--on-lost-records", "fail"]);
        assert_ne!(failed.code, Some(0), "{}", way.name);
        let says = format!("the records from offset 100 to 299 of partition 0 of `{TOPIC}` were deleted before group");
        assert!(failed.stderr.contains(&says), "{}", failed.stderr);
        assert_eq!((topic.committed(way.reader), topic.lost(way)), (Some(100), vec![]), "nothing is committed");

        // Where a group begins that has no offsets says nothing of one that has.
        let summary = topic.done(way, &["-X", "auto.offset.reset=latest"]);
        assert_eq!(summed(&summary, "(lost to retention)"), Some(200), "{summary}");
        assert_eq!(topic.lost(way), [(TOPIC.to_owned(), 100, 299)], "{}", way.name);
        assert_eq!(topic.verdicts(way), (0..100).chain(300..400).collect::<Vec<_>>(), "{}", way.name);
        let again = topic.done(way, &[]);
        assert_eq!((summed(&again, "(lost to retention)"), topic.lost(way).len()), (None, 1), "it is said once");
    }
}

/// The scorer stands still while records come and go.
#[test]
fn what_retention_takes_while_the_scorer_runs_is_counted_and_published() {
    let Some(topic) = Topic::new() else { return };
    // Each group begins where the one before left the topic.
    let begins = [(0, 0), (300, 400), (700, 800)];
    for (way, (begin, from)) in [EXACTLY_ONCE, AT_LEAST_ONCE, REPARTITIONED].iter().zip(begins) {
        let running = topic.start(way);
        topic.send(from..from + 100);
        topic.wait_for_verdict(way, from + 98);
        running.signal("STOP");
        topic.send(from + 100..from + 400);
        topic.kafka.delete_records(TOPIC, i64::from(from) + 300);
        running.signal("CONT");
        topic.wait_for_verdict(way, from + 398);
        let (run, _) = running.terminate();
        assert_eq!(run.code, Some(0), "{}: {}", way.name, run.stderr);
        let lost = topic.lost(way);
        // What the client had asked for before may have come.
        let (name, first, last) = lost.last().unwrap();
        assert_eq!((name.as_str(), *last), (TOPIC, i64::from(from) + 299), "{lost:?}");
        assert!(*first >= i64::from(from) + 100, "{lost:?}");
        let is_lost = |number: &u32| lost.iter().any(|(_, first, last)| (*first..=*last).contains(&i64::from(*number)));
        // The last one may still be open.
        let read: BTreeSet<u32> = topic.verdicts(way).into_iter().filter(|number| *number < from + 399).collect();
        let expected: BTreeSet<u32> = (begin..from + 399).filter(|number| !is_lost(number)).collect();
        assert_eq!(read, expected, "{}: each record is read or said to be lost", way.name);
        let counted: u64 = lost.iter().map(|(_, first, last)| (last - first + 1) as u64).sum();
        assert_eq!(summed(&run.stdout, "(lost to retention)"), Some(counted), "{}", run.stdout);
    }
}

/// Sends lines in a transaction, which is committed or not.
fn send_in_transaction(topic: &Topic, numbers: std::ops::Range<u32>, is_committed: bool) {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &topic.kafka.brokers).set("transactional.id", "upstream");
    let producer: BaseProducer = config.create().unwrap();
    producer.init_transactions(PATIENCE).unwrap();
    producer.begin_transaction().unwrap();
    for number in numbers {
        let (key, line) = (number.to_string(), format!("{number},22143,MUG,2,9/1/2010 9:{number:02},1.5,12345,France"));
        producer.send(BaseRecord::to(TOPIC).key(&key).payload(&line)).unwrap();
    }
    producer.flush(PATIENCE).unwrap();
    if is_committed { producer.commit_transaction(PATIENCE) } else { producer.abort_transaction(PATIENCE) }.unwrap();
}

#[test]
fn markers_and_aborted_records_are_neither_lag_nor_loss() {
    let Some(topic) = Topic::new() else { return };
    let ways = [EXACTLY_ONCE, AT_LEAST_ONCE];
    for (from, is_committed) in [(0, true), (20, false), (40, true)] {
        send_in_transaction(&topic, from..from + 10, is_committed);
        let end = topic.kafka.committed("nobody", TOPIC, 1)[0].1;
        for way in &ways {
            let summary = topic.done(way, &[]);
            assert_eq!(summed(&summary, "(lost to retention)"), None, "{}: {summary}", way.name);
            assert_eq!(topic.committed(way.name), Some(end), "{}", way.name);
        }
        topic.kafka.delete_records(TOPIC, end);
    }
    for way in &ways {
        assert_eq!(topic.verdicts(way), (0..10).chain(40..50).collect::<Vec<_>>());
        assert_eq!(topic.lost(way), []);
    }
}

#[test]
fn a_topic_that_was_made_anew_while_nobody_read_is_refused_until_a_reset() {
    let Some(topic) = Topic::new() else { return };
    topic.send(0..100);
    for way in [&EXACTLY_ONCE, &AT_LEAST_ONCE] {
        topic.done(way, &[]);
    }
    for longer_or_shorter in [250, 50] {
        topic.kafka.recreate_topic(TOPIC);
        topic.send(1_000..1_000 + longer_or_shorter);
        let refused = topic.run(&EXACTLY_ONCE, &[]);
        assert_ne!(refused.code, Some(0));
        for says in ["topic `purchases` was deleted and made anew", "`scorer reset --group exact"] {
            assert!(refused.stderr.contains(says), "{}", refused.stderr);
        }
        assert_eq!(topic.verdicts(&EXACTLY_ONCE), (0..100).collect::<Vec<_>>(), "nothing of it was scored");
    }
    let reset = topic.command(&EXACTLY_ONCE, &["reset", "--to", "earliest", "--clock", "event", "--yes"]);
    assert_eq!(reset.code, Some(0), "{}", reset.stderr);
    let expected: Vec<u32> = (0..100).chain(1_000..1_050).collect();
    // At least once there are only offsets, and the broker has deleted them with the topic.
    for way in [&EXACTLY_ONCE, &AT_LEAST_ONCE] {
        topic.done(way, &[]);
        assert_eq!(topic.verdicts(way), expected, "{}", way.name);
    }
}

#[test]
fn a_topic_that_is_made_anew_under_a_running_scorer_ends_it() {
    let Some(topic) = Topic::new() else { return };
    for (way, longer_or_shorter) in [(EXACTLY_ONCE, 1_500), (AT_LEAST_ONCE, 1_500), (EXACTLY_ONCE, 500)] {
        topic.kafka.recreate_topic(TOPIC);
        if topic.command(&way, &["state", "--clock", "event"]).stderr.contains("made anew") {
            let reset = topic.command(&way, &["reset", "--to", "earliest", "--clock", "event", "--yes"]);
            assert_eq!(reset.code, Some(0), "{}", reset.stderr);
        }
        let before = topic.verdicts_if_there(&way);
        let running = topic.start(&way);
        topic.send(0..1_000);
        Group::new(&topic.kafka.brokers, way.name, TOPIC, 1).wait_until_consumed();
        topic.kafka.recreate_topic(TOPIC);
        topic.send(10_000..10_000 + longer_or_shorter);
        let run = running.wait_at_most(PATIENCE);
        assert_ne!(run.code, Some(0), "{}", run.stderr);
        assert!(run.stderr.contains("topic `purchases` was deleted"), "{}", run.stderr);
        assert!(run.stderr.contains("`scorer reset --group"), "{}", run.stderr);
        if way.name == EXACTLY_ONCE.name {
            let since = topic.verdicts(&way).len() - before.len();
            assert!(
                topic.verdicts(&way).iter().all(|number| *number < 10_000),
                "nothing of the new topic is committed"
            );
            assert!(since >= 999, "{since} verdicts on the old one");
        }
    }
}

impl Topic {
    /// As [`verdicts`](Self::verdicts), before the topic is made.
    fn verdicts_if_there(&self, way: &Way) -> Vec<u32> {
        let made = self.command(way, &["topics"]);
        assert_eq!(made.code, Some(0), "{}", made.stderr);
        self.verdicts(way)
    }
}

#[test]
fn a_second_pipeline_in_a_group_is_refused_at_once() {
    let Some(topic) = Topic::new() else { return };
    topic.send(0..50);
    let spark = |way: &Way, command: &[&str]| {
        let whose = ["--pipeline", "invoices-spark", "--group", way.name, "--brokers", &topic.kafka.brokers];
        scorer(&[command, &whose].concat())
    };
    let what = ["run", "--device", "cpu", "--clock", "event", "--until-end"];
    for way in [&EXACTLY_ONCE, &AT_LEAST_ONCE, &REPARTITIONED] {
        topic.done(way, &[]);
        let mut refused = vec![spark(way, &[&what[..], way.options].concat())];
        if way.name == way.reader {
            refused.push(spark(way, &["reset", "--to", "earliest", "--clock", "event", "--yes"]));
        }
        for refused in refused {
            assert_ne!(refused.code, Some(0), "{}", way.name);
            for says in ["pipeline `invoices`", "pipeline `invoices-spark`", "--group"] {
                assert!(refused.stderr.contains(says), "{}: {}", way.name, refused.stderr);
            }
        }
        topic.done(way, &[]);
        assert_eq!(topic.verdicts(way), (0..50).collect::<Vec<_>>(), "{}: the first pipeline goes on", way.name);
    }
}

#[test]
fn a_changelog_that_forgets_deletions_too_soon_is_refused() {
    let Some(topic) = Topic::new() else { return };
    let changelog = "exact-invoices-state";
    topic.kafka.create_topic(changelog, 1, &[("cleanup.policy", "compact"), ("delete.retention.ms", "1000")]);
    let refused = topic.run(&EXACTLY_ONCE, &[]);
    assert_ne!(refused.code, Some(0));
    assert!(refused.stderr.contains("`exact-invoices-state` has delete.retention.ms=1000"), "{}", refused.stderr);
}

/// State of lines that were read directly has no place in a topic of copies, and the topic is not left behind.
#[test]
fn repartitioning_is_refused_where_there_is_other_state() {
    let Some(topic) = Topic::new() else { return };
    topic.send(0..50);
    topic.done(&EXACTLY_ONCE, &[]);
    let refused = topic.run(&EXACTLY_ONCE, &["--repartition", "always"]);
    assert_ne!(refused.code, Some(0));
    assert!(refused.stderr.contains("give the run another --group"), "{}", refused.stderr);
    let topics = topic.command(&EXACTLY_ONCE, &["topics"]).stdout;
    assert!(topics.contains("exact-invoices-state") && !topics.contains("repartition"), "{topics}");
    topic.send(50..60);
    topic.done(&EXACTLY_ONCE, &[]);
    wait_for("every verdict", PATIENCE, || (topic.verdicts(&EXACTLY_ONCE).len() == 60).then_some(()));
}
