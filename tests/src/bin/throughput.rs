//! Lines a second through the scorer on a real Kafka in both deliveries, beside what a bare consumer of the same topic
//! reaches.
//!
//! `cargo run -p tests --bin throughput` simulates about a million lines, sends them, and lets all three read them in
//! turn, three times each; medians are printed.
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on panics")]

use std::path::Path;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use tests::measure::{median, preload, read_to_the_end, simulated_lines};
use tests::{Kafka, build_programs, text};

const ROUNDS: usize = 3;
const COMMIT_INTERVAL_MS: &str = "100";

fn main() {
    build_programs();
    let folder = tempfile::tempdir().unwrap();
    let kafka = Kafka::start();
    preload(&kafka, &simulated_lines(folder.path()), 1);

    let (mut bare, mut at_least_once, mut exactly_once) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=ROUNDS {
        bare.push(consume(&kafka.brokers));
        at_least_once.push(score(&kafka, "at-least-once", round, folder.path()));
        exactly_once.push(score(&kafka, "exactly-once", round, folder.path()));
        println!(
            "round {round}: bare consumer {:.0} lines/s, at least once {:.0}, exactly once {:.0}",
            bare[round - 1],
            at_least_once[round - 1],
            exactly_once[round - 1]
        );
    }
    let (bare, at_least_once, exactly_once) = (median(&bare), median(&at_least_once), median(&exactly_once));
    println!(
        "median: bare consumer={bare:.0} lines/s at-least-once={at_least_once:.0} exactly-once={exactly_once:.0} \
         at-least-once/bare={:.2} exactly-once/at-least-once={:.2} commit interval={COMMIT_INTERVAL_MS} ms",
        at_least_once / bare,
        exactly_once / at_least_once
    );
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
fn score(kafka: &Kafka, delivery: &str, round: usize, folder: &Path) -> f64 {
    let group = format!("{delivery}-{round}");
    let state = folder.join(&group);
    let interval = ["--commit-interval-ms", COMMIT_INTERVAL_MS];
    let options = [&["--delivery", delivery, "--state-dir", text(&state)][..], &interval].concat();
    let ended = read_to_the_end(kafka, &group, &[options])[0];
    ended.records / ended.seconds
}
