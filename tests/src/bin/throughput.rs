//! Lines a second through the scorer on a real Kafka, beside what a bare consumer of the same topic reaches.
//!
//! `cargo build && cargo run -p tests --bin throughput` simulates about a million lines, sends them, and lets both read them in turn,
//! three times each; medians are printed.
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on panics")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use scorer::kafka::{EndWhen, KafkaSettings, Stream, StreamOptions};
use scorer::scoring::Detectors;
use shared::device::{DeviceRequest, choose};
use shared::pipeline::Pipeline;
use tests::{Kafka, repository, scorer};

const ROUNDS: usize = 3;

fn main() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("lines.csv");
    let file = file.to_str().unwrap();
    let simulated = scorer(&["simulate", "invoices", "--days", "3200", "--invoices-per-day", "45", "--output", file]);
    assert_eq!(simulated.code, Some(0), "{}", simulated.stderr);
    let kafka = Kafka::start();
    let replay = scorer(&["replay", file, "--brokers", &kafka.brokers]);
    assert_eq!(replay.code, Some(0), "{}", replay.stderr);
    println!("{}", replay.stderr.trim());

    let (mut bare, mut scored) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        bare.push(consume(&kafka.brokers));
        scored.push(score(&kafka.brokers, round));
        println!("round {}: bare consumer {:.0} lines/s, scorer {:.0} lines/s", round + 1, bare[round], scored[round]);
    }
    let (bare, scored) = (median(bare), median(scored));
    println!("median: bare consumer={bare:.0} lines/s scorer={scored:.0} lines/s ratio={:.2}", scored / bare);
}

/// Lines a second from the first to the last, by a consumer that does nothing with them.
fn consume(brokers: &str) -> f64 {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", "bare")
        .set("enable.partition.eof", "true")
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.commit", "false")
        .set("fetch.queue.backoff.ms", "2")
        .create()
        .unwrap();
    consumer.subscribe(&["purchases"]).unwrap();
    let (mut lines, mut first) = (0u64, None);
    loop {
        match consumer.poll(Duration::from_secs(1)) {
            None => {}
            Some(Ok(_)) => {
                first.get_or_insert_with(Instant::now);
                lines += 1;
            }
            Some(Err(KafkaError::PartitionEOF(_))) => break,
            Some(Err(error)) => panic!("{error}"),
        }
    }
    lines as f64 / first.unwrap().elapsed().as_secs_f64()
}

/// Lines a second from the first that was read to the last that was scored, published and committed.
fn score(brokers: &str, round: usize) -> f64 {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let settings = KafkaSettings { brokers: brokers.to_owned(), properties: Vec::new() };
    let pipeline = Arc::new(Pipeline::load("invoices").unwrap().with_event_clock().unwrap());
    let device = choose(DeviceRequest::Cpu).unwrap();
    let detectors = Detectors::load(&repository().join("models"), &pipeline, &device).unwrap();
    runtime
        .block_on(scorer::kafka::ensure_topics(
            &settings,
            &pipeline,
            Some(scorer::kafka::TopicSettings { partitions: 1, replication_factor: -1 }),
        ))
        .unwrap();
    let options = StreamOptions {
        group: format!("scorer-{round}"),
        batch_records: 10_000,
        batch_age: Duration::from_millis(20),
        all_verdicts: false,
        end_when: EndWhen::Reached(Arc::new(|_| true)),
        max_erroneous_bytes: None,
    };
    let stream = runtime.block_on(Stream::start(&settings, pipeline, detectors, options, Arc::new(|_| {}))).unwrap();
    let status = stream.status();
    // Joining the group takes seconds and is not what is measured.
    let mut first = Instant::now();
    while status.get().counters.records == 0 {
        first = Instant::now();
        std::thread::sleep(Duration::from_millis(1));
    }
    stream.join().unwrap();
    status.get().counters.records as f64 / first.elapsed().as_secs_f64()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
