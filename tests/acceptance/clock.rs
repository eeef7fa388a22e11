//! Kafka's record clock: deadlines on a quiet topic, across a restart and a pause of anybody, and in a replay; and clocks that
//! are wrong.

use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use shared::time::format_timestamp;
use tempfile::TempDir;
use tests::{Group, Kafka, PipelineFile, Producer, Received, Running, compare, scorer, start_scorer, text, wait_for};

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
        Self::of(PipelineFile::invoices().with("session_gap", session_gap))
    }

    fn of(pipeline: PipelineFile) -> Option<Self> {
        let kafka = Kafka::start()?;
        let topic = Self { producer: Producer::new(&kafka.brokers), kafka, folder: tempfile::tempdir().unwrap() };
        for group in [LIVE, REPLAYED] {
            pipeline.clone().with_output_prefix(&format!("{group}-")).write(&topic.path(group));
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
        self.send_later(invoice, timestamp);
        self.producer.flush();
    }

    /// Sends a line that is acknowledged when it can be.
    fn send_later(&self, invoice: &str, timestamp: i64) {
        let line = line(invoice);
        let record = BaseRecord::to("purchases").key(invoice.as_bytes()).payload(line.as_bytes());
        self.producer.send(record.timestamp(timestamp));
    }

    /// Runs a command of the scorer for the live group, which has to succeed; what it prints.
    fn done(&self, command: &[&str]) -> String {
        let (pipeline, brokers) = (self.path(LIVE), &self.kafka.brokers);
        let run = scorer(&[command, &["--group", LIVE, "--pipeline", text(&pipeline), "--brokers", brokers]].concat());
        assert_eq!(run.code, Some(0), "{command:?}: {}", run.stderr);
        run.stdout
    }

    /// Replays the topic for the other group, which has to give as many messages as the live run gave, and the same.
    fn compare_with_a_replay(&self, counts: [(&str, usize); 3]) {
        let replayed = self.start(REPLAYED, &["--until-end"]).wait();
        assert_eq!(replayed.code, Some(0), "{}", replayed.stderr);
        for (name, count) in counts {
            let difference = compare(name, &self.read(REPLAYED, name), &self.read(LIVE, name));
            assert!(difference.is_none(), "{difference}");
            assert_eq!(self.read(LIVE, name).len(), count, "{name}");
        }
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

fn line(invoice: &str) -> String {
    format!("{invoice},22143,RED MUG,2,9/1/2010 9:22,1.5,12345,France")
}

/// Lets time pass until so many milliseconds after a moment.
fn sleep_until(moment: i64, after: i64) {
    std::thread::sleep(Duration::from_millis((moment + after - now()).max(0) as u64));
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
    topic.compare_with_a_replay([("anomalias_kmeans", 6), ("anomalias_bisect_kmeans", 6), ("facturas_erroneas", 2)]);
}

/// Two lines of an invoice 3 s apart, with a gap of 4 s. In between, the scorer stands still, then the broker; and the second
/// line is in a transaction that is committed late.
#[test]
fn a_line_in_time_belongs_to_its_invoice_whoever_stands_still() {
    let Some(topic) = Topic::new("4s") else { return };
    let live = topic.start(LIVE, &[]);
    topic.send("0", now());
    topic.verdicts(1);
    let first_line = |invoice: &str| {
        let start = now();
        topic.send(invoice, start);
        Group::new(&topic.kafka.brokers, LIVE, "purchases", 1).wait_until_consumed();
        start
    };

    let start = first_line("7");
    live.signal("STOP");
    sleep_until(start, 3_000);
    topic.send("7", start + 3_000);
    sleep_until(start, 8_000);
    live.signal("CONT");
    topic.verdicts(2);

    let start = first_line("8");
    topic.kafka.pause_broker(1);
    sleep_until(start, 3_000);
    topic.send_later("8", start + 3_000);
    sleep_until(start, 8_000);
    topic.kafka.resume_broker(1);
    topic.producer.flush();
    topic.verdicts(3);

    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", &topic.kafka.brokers)
        .set("transactional.id", "upstream")
        .create()
        .unwrap();
    producer.init_transactions(Duration::from_secs(60)).unwrap();
    let start = first_line("9");
    producer.begin_transaction().unwrap();
    sleep_until(start, 3_000);
    let (payload, record) = (line("9"), BaseRecord::to("purchases").key("9"));
    producer.send(record.payload(payload.as_bytes()).timestamp(start + 3_000)).unwrap();
    producer.flush(Duration::from_secs(60)).unwrap();
    sleep_until(start, 8_000);
    producer.commit_transaction(Duration::from_secs(60)).unwrap();
    // Behind the line is the marker of its transaction.
    assert_eq!(topic.verdicts(4), invoices(&[("0", 1), ("7", 2), ("8", 2), ("9", 2)]));

    assert_eq!(live.terminate().0.code, Some(0));
    topic.compare_with_a_replay([("anomalias_kmeans", 4), ("anomalias_bisect_kmeans", 4), ("facturas_erroneas", 0)]);
}

/// A producer whose clock is fast, and one whose record is nothing but garbage.
#[test]
fn a_timestamp_from_the_future_sets_no_clock() {
    let Some(topic) = Topic::new("2s") else { return };
    let minutes = |minutes: i64| now() + minutes * 60_000;
    topic.send("7", now());
    topic.send("8", minutes(50));
    topic.producer.send(BaseRecord::to("purchases").key(&b"9"[..]).payload(&b"garbage"[..]).timestamp(minutes(55)));
    topic.producer.flush();
    topic.send("7", now());
    let live = topic.start(LIVE, &[]);
    assert_eq!(topic.verdicts(1), invoices(&[("7", 2)]));
    let refused = topic.kafka.read_until("live-facturas_erroneas", |received| received.len() >= 2);
    let reasons: Vec<&str> = refused.iter().map(|received| received.value["reasons"][0].as_str().unwrap()).collect();
    assert_eq!(reasons, ["from_the_future", "too_few_fields"]);
    assert_eq!(live.terminate().0.code, Some(0));
}

/// A watermark that is an hour ahead, because the pipeline allows it, is set back; what is open then closes in its time.
#[test]
fn a_watermark_that_is_ahead_is_shown_and_set_back() {
    let pipeline = PipelineFile::invoices().with("session_gap", "20s").with_line("entity", "ahead = \"2h\"");
    let Some(topic) = Topic::of(pipeline) else { return };
    let start = now();
    topic.send("7", start);
    topic.send("8", start + 50 * 60_000);
    let live = topic.start(LIVE, &[]);
    assert_eq!(topic.verdicts(1), invoices(&[("7", 1)]), "what is ahead has closed it");
    let (pipeline, brokers) = (topic.path(LIVE), &topic.kafka.brokers);
    let set = |time: i64| {
        let what = ["state", "--set-watermark", &time.to_string(), "--group", LIVE, "--pipeline", text(&pipeline)];
        scorer(&[&what[..], &["--brokers", brokers]].concat())
    };
    let refused = set(now());
    assert!(refused.code == Some(75) && refused.stderr.contains("in use"), "{}", refused.stderr);
    assert_eq!(live.terminate().0.code, Some(0));
    assert!(topic.done(&["state"]).contains(&format_timestamp(start + 50 * 60_000)));

    let time = now();
    // A member with a name of its own stays in the group for a while.
    let run = wait_for("the group to be empty", Duration::from_secs(120), || {
        Some(set(time)).filter(|run| run.code == Some(0) || !run.stderr.contains("in use"))
    });
    assert!(run.code == Some(0) && run.stdout.contains(&format_timestamp(time)), "{}{}", run.stdout, run.stderr);
    assert!(topic.done(&["state"]).contains(&format_timestamp(time)));
    assert!(set(time).stdout.contains("nothing was changed"));
    let live = topic.start(LIVE, &[]);
    topic.send("9", now());
    topic.send("9", now() + 1_000);
    assert_eq!(topic.verdicts(3), invoices(&[("7", 1), ("8", 1), ("9", 2)]));
    assert_eq!(live.terminate().0.code, Some(0));
}
