//! Payments that are timed: when each was sent, and when its verdicts were there for a `read_committed` reader.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::{ClientConfig, Message as _};
use serde_json::Value;

use crate::Kafka;

/// The topic of payments, with one partition.
const PAYMENTS: &str = "transactions";

/// The topics of the two detectors whose verdicts are timed.
const VERDICTS: [&str; 2] = ["transaction_anomalies_kmeans", "transaction_anomalies_bisecting-kmeans"];

/// How long the broker and the last verdicts may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// The verdicts of a payment that are timed.
pub const VERDICTS_A_PAYMENT: usize = VERDICTS.len();

/// Creates the topic of payments and those of their verdicts, with these settings.
pub fn create_topics(kafka: &Kafka, settings: &[(&str, &str)]) {
    VERDICTS.into_iter().chain([PAYMENTS]).for_each(|topic| kafka.create_topic(topic, 1, settings));
}

/// Sends payments, and knows when it sent each.
pub struct TimedSender {
    producer: BaseProducer,
    /// The offset of the first payment.
    first: i64,
    sent_at: Vec<Instant>,
}

impl TimedSender {
    /// Goes on behind what the topic holds.
    pub fn new(brokers: &str) -> Self {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", brokers).set("enable.idempotence", "true").set("linger.ms", "0");
        let producer: BaseProducer = config.create().unwrap();
        let (_, first) = producer.client().fetch_watermarks(PAYMENTS, 0, PATIENCE).unwrap();
        Self { producer, first, sent_at: Vec::new() }
    }

    /// Sends one, now.
    pub fn send(&mut self, payment: &str) {
        self.sent_at.push(Instant::now());
        let record = BaseRecord::<(), _>::to(PAYMENTS).payload(payment.as_bytes());
        self.producer.send(record).map_err(|(error, _)| error).unwrap();
        self.producer.poll(Duration::ZERO);
    }

    /// Waits for acknowledgements.
    pub fn flush(&self) {
        self.producer.flush(PATIENCE).unwrap();
    }

    /// The offset of the next payment.
    pub fn next(&self) -> i64 {
        self.first + self.sent_at.len() as i64
    }

    /// Milliseconds from when the payment was sent that a verdict is about to when that came; `None` where another program sent
    /// the payment.
    pub fn latency(&self, arrived: Arrived) -> Option<f64> {
        let sent = *self.sent_at.get(usize::try_from(arrived.offset - self.first).ok()?)?;
        Some(arrived.at.duration_since(sent).as_secs_f64() * 1e3)
    }
}

/// When a verdict came, and the offset of its payment.
#[derive(Debug, Clone, Copy)]
pub struct Arrived {
    /// When it came.
    pub at: Instant,
    /// Of the payment.
    pub offset: i64,
}

/// Verdicts as they came. They are looked into later.
type Payloads = Vec<(Instant, Vec<u8>)>;

/// Reads verdicts on a thread of its own.
#[derive(Debug)]
pub struct TimedReader {
    arrived: Arc<Mutex<Payloads>>,
    stop: Arc<AtomicBool>,
    thread: thread::JoinHandle<()>,
}

impl TimedReader {
    /// Reads what comes from now on.
    pub fn start(brokers: &str) -> Self {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", brokers).set("group.id", "reader").set("enable.auto.commit", "false");
        config.set("isolation.level", "read_committed").set("fetch.queue.backoff.ms", "1");
        let consumer: BaseConsumer = config.create().unwrap();
        let mut from = TopicPartitionList::new();
        for topic in VERDICTS {
            let (_, end) = consumer.fetch_watermarks(topic, 0, PATIENCE).unwrap();
            from.add_partition_offset(topic, 0, Offset::Offset(end)).unwrap();
        }
        consumer.assign(&from).unwrap();
        let (arrived, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (out, is_asked) = (arrived.clone(), stop.clone());
        let thread = thread::spawn(move || {
            while !is_asked.load(Ordering::Relaxed) {
                if let Some(message) = consumer.poll(Duration::from_millis(100)) {
                    let arrival = Instant::now();
                    let payload = message.unwrap().payload().unwrap_or_default().to_vec();
                    out.lock().unwrap().push((arrival, payload));
                }
            }
        });
        Self { arrived, stop, thread }
    }

    /// Whether anything has come that was not taken.
    pub fn has_any(&self) -> bool {
        !self.arrived.lock().unwrap().is_empty()
    }

    /// Takes what has come since it was last asked.
    pub fn take(&self) -> Vec<Arrived> {
        let arrived = std::mem::take(&mut *self.arrived.lock().unwrap());
        arrived.into_iter().map(|(at, payload)| Arrived { at, offset: offset_of(&payload) }).collect()
    }

    /// Takes what has come and comes, until all verdicts of the payment at `last` are there, of which nothing was taken before.
    pub fn read_through(self, last: i64) -> Vec<Arrived> {
        let start = Instant::now();
        let (mut arrived, mut there) = (Vec::new(), 0);
        while there < VERDICTS.len() {
            assert!(start.elapsed() < PATIENCE, "the last verdicts do not come");
            thread::sleep(Duration::from_millis(50));
            let more = self.take();
            there += more.iter().filter(|arrived| arrived.offset == last).count();
            arrived.extend(more);
        }
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
        arrived
    }
}

/// The offset of the payment that a verdict is about.
fn offset_of(verdict: &[u8]) -> i64 {
    let verdict: Value = serde_json::from_slice(verdict).unwrap();
    verdict["source"]["offsets"][0][0].as_i64().unwrap()
}
