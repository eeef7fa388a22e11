//! Kafka's record clock: deadlines on a quiet topic, across a restart, and in a replay.

use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rdkafka::producer::BaseRecord;
use tempfile::TempDir;
use tests::{Group, Kafka, PipelineFile, Producer, Received, Running, compare, scorer, start_scorer, text};

const LIVE: &str = "live";
const REPLAYED: &str = "replayed";

/// A topic on a cluster, and two groups that write to topics of their own.
struct Topic {
    kafka: Kafka,
    producer: Producer,
    folder: TempDir,
}

impl Topic {
    fn new(session_gap: &str) -> Option<Self> {
        let kafka = Kafka::start()?;
        let topic = Self { producer: Producer::new(&kafka.brokers), kafka, folder: tempfile::tempdir().unwrap() };
        for group in [LIVE, REPLAYED] {
            let pipeline = PipelineFile::invoices().with("session_gap", session_gap);
            pipeline.with_output_prefix(&format!("{group}-")).write(&topic.path(group));
            let (path, brokers) = (topic.path(group), &topic.kafka.brokers);
            let run = scorer(&["topics", "--brokers", brokers, "--group", group, "--pipeline", text(&path)]);
            assert_eq!(run.code, Some(0), "{}", run.stderr);
        }
        Some(topic)
    }

    /// Starts a scorer that keeps its state in a folder of its group.
    fn start(&self, group: &str, options: &[&str]) -> Running {
        let (pipeline, state) = (self.path(group), self.folder.path().join(format!("state-of-{group}")));
        let what = ["--group", group, "--pipeline", text(&pipeline), "--state-dir", text(&state)];
        let how = ["--device", "cpu", "--all-verdicts", "--instance-id", group];
        start_scorer(&[&["run", "--brokers", &self.kafka.brokers][..], &what, &how, options].concat())
    }

    /// Sends a line of an invoice with this timestamp, and waits until it is acknowledged.
    fn send(&self, invoice: &str, timestamp: i64) {
        let line = format!("{invoice},22143,RED MUG,2,9/1/2010 9:22,1.5,12345,France");
        let record = BaseRecord::to("purchases").key(invoice.as_bytes()).payload(line.as_bytes());
        self.producer.send(record.timestamp(timestamp));
        self.producer.flush();
    }

    fn read(&self, group: &str, topic: &str) -> Vec<Received> {
        self.kafka.read(&format!("{group}-{topic}"))
    }

    /// Waits for so many verdicts of the live group; invoices and their numbers of lines, sorted.
    fn verdicts(&self, count: usize) -> Vec<(String, u64)> {
        let received = self.kafka.read_until("live-anomalias_kmeans", |received| received.len() >= count);
        let invoice = |received: Received| (received.key.unwrap(), received.value["lines"].as_u64().unwrap());
        let mut invoices: Vec<(String, u64)> = received.into_iter().map(invoice).collect();
        invoices.sort();
        invoices
    }

    fn path(&self, group: &str) -> PathBuf {
        self.folder.path().join(format!("{group}.toml"))
    }
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64
}

fn invoices(expected: &[(&str, u64)]) -> Vec<(String, u64)> {
    expected.iter().map(|(key, lines)| ((*key).to_owned(), *lines)).collect()
}

#[test]
fn a_quiet_topic_closes_each_last_invoice_once() {
    let Some(topic) = Topic::new("2s") else { return };
    let running = topic.start(LIVE, &[]);
    for (count, invoice) in ["7", "8", "9"].into_iter().enumerate() {
        topic.send(invoice, now());
        topic.send(invoice, now());
        topic.verdicts(count + 1);
    }
    assert_eq!(running.terminate().0.code, Some(0));
    assert_eq!(topic.verdicts(3), invoices(&[("7", 2), ("8", 2), ("9", 2)]));
}

/// Killed with open invoices, and started again after their deadlines; a line that came in time meanwhile is of its
/// invoice.
#[test]
fn a_restart_after_the_deadline_neither_loses_nor_splits_an_invoice() {
    let gap = Duration::from_secs(6);
    let Some(topic) = Topic::new("6s") else { return };
    let start = now();
    topic.send("7", start);
    topic.send("8", start);
    let running = topic.start(LIVE, &[]);
    Group::new(&topic.kafka.brokers, LIVE, "purchases", 1).wait_until_consumed();
    running.kill();
    topic.send("7", start + gap.as_millis() as i64 / 2);
    std::thread::sleep(gap + Duration::from_secs(1));
    let running = topic.start(LIVE, &[]);
    topic.verdicts(2);
    assert_eq!(running.terminate().0.code, Some(0));
    assert_eq!(topic.verdicts(2), invoices(&[("7", 2), ("8", 1)]));
}

/// Lines that come as they are stamped, with pauses in which invoices close, and two lines that come after that.
#[test]
fn a_replayed_backlog_gives_what_the_live_run_gave() {
    const LINES: [(u64, &str); 12] = [
        (0, "1"),
        (500, "1"),
        (600, "2"),
        (1_000, "1"),
        (1_700, "2"),
        (2_800, "2"),
        (6_500, "1"),
        (6_600, "3"),
        (7_000, "4"),
        (7_600, "3"),
        (11_000, "4"),
        (11_100, "5"),
    ];
    let Some(topic) = Topic::new("2s") else { return };
    let live = topic.start(LIVE, &[]);
    // It is there when the first line comes.
    topic.send("0", now());
    topic.verdicts(1);
    let start = Instant::now();
    for (at, invoice) in LINES {
        std::thread::sleep(Duration::from_millis(at).saturating_sub(start.elapsed()));
        topic.send(invoice, now());
    }
    topic.verdicts(6);
    assert_eq!(live.terminate().0.code, Some(0));
    let replayed = topic.start(REPLAYED, &["--until-end"]).wait();
    assert_eq!(replayed.code, Some(0), "{}", replayed.stderr);
    for (name, count) in [("anomalias_kmeans", 6), ("anomalias_bisect_kmeans", 6), ("facturas_erroneas", 2)] {
        let difference = compare(name, &topic.read(REPLAYED, name), &topic.read(LIVE, name));
        assert!(difference.is_none(), "{difference}");
        assert_eq!(topic.read(LIVE, name).len(), count, "{name}");
    }
}
