//! How far from its deadline an invoice is closed on Kafka's record clock: when its topic is quiet, and when it is
//! busy.
//!
//! `cargo run -p tests --bin deadline` sends single lines and takes the time until their verdicts arrive at a consumer
//! that reads only what is committed. The error is that time without the session gap.
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on panics")]

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::producer::BaseRecord;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tests::measure::quantile;
use tests::{Kafka, PipelineFile, Producer, build_programs, scorer, start_scorer, text};

const SESSION_GAP_MS: i64 = 2_000;
const QUIET_PROBES: usize = 50;
const BUSY_PROBES: usize = 200;
const BACKGROUND_LINES_A_SECOND: u64 = 5_000;
/// Lines of an invoice of the background: it is complete while others go on.
const BACKGROUND_LINES: u64 = 20;
const ANSWER: Duration = Duration::from_secs(60);

fn main() {
    build_programs();
    let quiet = measured(|topic| (0..QUIET_PROBES).map(|probe| topic.probe(&format!("P{probe}"))).collect());
    let busy = measured(busy_probes);
    for (name, errors) in [("quiet", quiet), ("busy", busy)] {
        let (p50, p99) = (quantile(&errors, 0.5), quantile(&errors, 0.99));
        println!("{name} topic: {} invoices, error p50={p50:.0} ms p99={p99:.0} ms", errors.len());
    }
}

/// What a measurement reaches: a running scorer's topics.
struct Topic {
    brokers: String,
    producer: Producer,
    arrivals: Receiver<(String, i64)>,
}

/// Starts a cluster and a scorer, and lets `measure` measure.
fn measured(measure: impl FnOnce(&Topic) -> Vec<f64>) -> Vec<f64> {
    let folder = tempfile::tempdir().unwrap();
    let (pipeline, state) = (folder.path().join("quick.toml"), folder.path().join("state"));
    PipelineFile::invoices().with("session_gap", &format!("{SESSION_GAP_MS}ms")).write(&pipeline);
    let kafka = Kafka::start().expect("Apache Kafka");
    let topics = scorer(&["topics", "--brokers", &kafka.brokers]);
    assert_eq!(topics.code, Some(0), "{}", topics.stderr);
    let options = ["--pipeline", text(&pipeline), "--state-dir", text(&state), "--device", "cpu", "--all-verdicts"];
    let running = start_scorer(&[&["run", "--brokers", &kafka.brokers][..], &options].concat());
    let (sender, arrivals) = channel();
    let brokers = kafka.brokers.clone();
    // It ends with the process.
    std::thread::spawn(move || listen(&brokers, &sender));
    let topic = Topic { brokers: kafka.brokers.clone(), producer: Producer::new(&kafka.brokers), arrivals };
    // Until the scorer has its partition, it is late.
    topic.probe("first");
    let errors = measure(&topic);
    assert_eq!(running.terminate().0.code, Some(0));
    errors
}

impl Topic {
    /// Sends one line and waits for its verdict; the error in milliseconds.
    fn probe(&self, key: &str) -> f64 {
        let sent = send_line(&self.producer, key);
        self.producer.poll();
        loop {
            let (arrived, at) = self.arrivals.recv_timeout(ANSWER).unwrap();
            if arrived == key {
                return (at - sent - SESSION_GAP_MS) as f64;
            }
        }
    }
}

/// Ten probes a second among the background's lines.
fn busy_probes(topic: &Topic) -> Vec<f64> {
    let (stop, brokers) = (AtomicBool::new(false), &topic.brokers);
    std::thread::scope(|scope| {
        scope.spawn(|| send_background(brokers, &stop));
        let mut sent = HashMap::new();
        for probe in 0..BUSY_PROBES {
            let key = format!("P{probe}");
            sent.insert(key.clone(), send_line(&topic.producer, &key));
            topic.producer.poll();
            std::thread::sleep(Duration::from_millis(100));
        }
        let mut errors = Vec::new();
        while !sent.is_empty()
            && let Ok((arrived, at)) = topic.arrivals.recv_timeout(ANSWER)
        {
            errors.extend(sent.remove(&arrived).map(|sent| (at - sent - SESSION_GAP_MS) as f64));
        }
        stop.store(true, Ordering::Relaxed);
        assert!(sent.is_empty(), "every probe has a verdict");
        errors
    })
}

fn send_background(brokers: &str, stop: &AtomicBool) {
    let producer = Producer::new(brokers);
    let start = std::time::Instant::now();
    let mut lines = 0;
    while !stop.load(Ordering::Relaxed) {
        let due = start.elapsed().as_millis() as u64 * BACKGROUND_LINES_A_SECOND / 1000;
        while lines < due {
            send_line(&producer, &format!("B{}", lines / BACKGROUND_LINES));
            lines += 1;
        }
        producer.poll();
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Sends a line of an invoice; its timestamp.
fn send_line(producer: &Producer, key: &str) -> i64 {
    let (line, timestamp) = (format!("{key},22143,RED MUG,2,9/1/2010 9:22,1.5,12345,France"), now());
    producer.send(BaseRecord::to("purchases").key(key.as_bytes()).payload(line.as_bytes()).timestamp(timestamp));
    timestamp
}

/// Tells each committed verdict's key and when it arrived.
fn listen(brokers: &str, arrivals: &Sender<(String, i64)>) {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers).set("group.id", "listener").set("isolation.level", "read_committed");
    let consumer: BaseConsumer = config.create().unwrap();
    let mut assignment = TopicPartitionList::new();
    assignment.add_partition_offset("anomalias_kmeans", 0, Offset::Beginning).unwrap();
    consumer.assign(&assignment).unwrap();
    loop {
        if let Some(Ok(message)) = consumer.poll(Duration::from_secs(1)) {
            let arrival = (String::from_utf8_lossy(message.key().unwrap()).into_owned(), now());
            if arrivals.send(arrival).is_err() {
                return;
            }
        }
    }
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64
}
