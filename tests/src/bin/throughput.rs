//! Records a second through the scorer on a real Kafka in both deliveries, beside what a bare consumer of the same topic
//! reaches.
//!
//! `cargo run -p tests --bin throughput` simulates about a million lines of invoices, sends them, and lets all three read
//! them in turn, three times each; medians are printed. `--pipeline transactions` does that with a million payments, and
//! `--windows` with as many features as an hour, a day, a week and a month of users and merchants have.
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on panics")]

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use tests::measure::{median, preload, read_to_the_end, simulated_lines, simulated_payments};
use tests::{Kafka, PipelineFile, build_programs, repository, text, trainer};

const ROUNDS: usize = 3;
const COMMIT_INTERVAL_MS: &str = "100";

const PAYMENTS: u32 = 1_000_000;
const USERS: u32 = 5_000;

/// What scorers read, and with what.
struct Load {
    pipeline: PathBuf,
    topic: String,
    models: PathBuf,
    file: PathBuf,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let make = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] | ["--pipeline", "invoices"] => invoices,
        ["--pipeline", "transactions"] => transactions,
        ["--pipeline", "transactions", "--windows"] => transactions_with_windows,
        _ => {
            eprintln!("usage: throughput [--pipeline invoices | --pipeline transactions [--windows]]");
            return ExitCode::from(2);
        }
    };
    build_programs();
    let folder = tempfile::tempdir().unwrap();
    let load = make(folder.path());
    let kafka = Kafka::start().expect("Apache Kafka");
    preload(&kafka, text(&load.pipeline), &load.file, 1);

    let (mut bare, mut at_least_once, mut exactly_once) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=ROUNDS {
        bare.push(consume(&kafka.brokers, &load.topic));
        at_least_once.push(score(&kafka, &load, "at-least-once", round, folder.path()));
        exactly_once.push(score(&kafka, &load, "exactly-once", round, folder.path()));
        println!(
            "round {round}: bare consumer {:.0} records/s, at least once {:.0}, exactly once {:.0}",
            bare[round - 1],
            at_least_once[round - 1],
            exactly_once[round - 1]
        );
    }
    let (bare, at_least_once, exactly_once) = (median(&bare), median(&at_least_once), median(&exactly_once));
    println!(
        "median: bare consumer={bare:.0} records/s at-least-once={at_least_once:.0} exactly-once={exactly_once:.0} \
         at-least-once/bare={:.2} exactly-once/at-least-once={:.2} commit interval={COMMIT_INTERVAL_MS} ms",
        at_least_once / bare,
        exactly_once / at_least_once
    );
    ExitCode::SUCCESS
}

fn invoices(folder: &Path) -> Load {
    Load::new(PipelineFile::invoices(), repository().join("models"), simulated_lines(folder), folder)
}

fn transactions(folder: &Path) -> Load {
    let file = simulated_payments(folder, PAYMENTS, USERS);
    Load::new(PipelineFile::of("transactions"), repository().join("models"), file, folder)
}

fn transactions_with_windows(folder: &Path) -> Load {
    let mut features = Vec::new();
    for key in ["user_id", "merchant_id"] {
        for span in ["1h", "1d", "7d", "30d"] {
            for quantity in ["count()", "sum(amount)", "std(amount)", "min(amount)", "max(amount)"] {
                features.push(format!("F{} = \"log1p({quantity} by {key} over {span})\"", features.len()));
            }
        }
    }
    let features: Vec<&str> = features.iter().map(String::as_str).collect();
    let (file, models) = (simulated_payments(folder, PAYMENTS, USERS), folder.join("models"));
    let load = Load::new(PipelineFile::of("transactions").with_features(&features), models, file, folder);
    let what = ["--pipeline", text(&load.pipeline), "--input", text(&load.file), "--models", text(&load.models)];
    let run = trainer(&[&what[..], &["--device", "cpu", "--quiet"]].concat());
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    load
}

impl Load {
    fn new(pipeline: PipelineFile, models: PathBuf, file: PathBuf, folder: &Path) -> Self {
        let (path, topic) = (folder.join("pipeline.toml"), pipeline.pipeline().topic);
        pipeline.write(&path);
        Self { pipeline: path, topic, models, file }
    }
}

/// Records a second from the first to the last, by a consumer that does nothing with them.
fn consume(brokers: &str, topic: &str) -> f64 {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", "bare")
        .set("enable.partition.eof", "true")
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.commit", "false")
        .set("fetch.queue.backoff.ms", "2")
        .create()
        .unwrap();
    consumer.subscribe(&[topic]).unwrap();
    let (mut records, mut first) = (0u64, None);
    loop {
        match consumer.poll(Duration::from_secs(1)) {
            None => {}
            Some(Ok(_)) => {
                first.get_or_insert_with(Instant::now);
                records += 1;
            }
            Some(Err(KafkaError::PartitionEOF(_))) => break,
            Some(Err(error)) => panic!("{error}"),
        }
    }
    records as f64 / first.unwrap().elapsed().as_secs_f64()
}

/// Records a second from the first that was read to the last that was scored, published and committed.
fn score(kafka: &Kafka, load: &Load, delivery: &str, round: usize, folder: &Path) -> f64 {
    let group = format!("{delivery}-{round}");
    let state = folder.join(&group);
    let what = ["--pipeline", text(&load.pipeline), "--models", text(&load.models), "--state-dir", text(&state)];
    let how = ["--delivery", delivery, "--commit-interval-ms", COMMIT_INTERVAL_MS];
    let ended = read_to_the_end(kafka, &group, &[[&what[..], &how].concat()])[0];
    ended.records / ended.seconds
}
