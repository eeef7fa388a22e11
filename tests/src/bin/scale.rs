//! Lines a second through one, two and four instances of the scorer in one consumer group, with exactly-once delivery.
//!
//! `cargo run -p tests --bin scale` simulates about a million lines and sends them to eight partitions; then each group
//! reads them all, from the first record that any instance reads to the last commit.
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on panics")]

use tests::history::{Better, note};
use tests::measure::{Program, median, preload, read_to_the_end, simulated_lines};
use tests::{Kafka, build_programs, scorer};

const PARTITIONS: u32 = 8;

const INSTANCES: [usize; 3] = [1, 2, 4];

/// Rounds that are measured, each with every number of instances in turn.
const ROUNDS: usize = 3;

fn main() {
    build_programs();
    let folder = tempfile::tempdir().unwrap();
    // All instances of a group are there before the partitions are shared out, and share them out once.
    let kafka = Kafka::start_with(&["--property", "group.initial.rebalance.delay.ms=3000"]).expect("Apache Kafka");
    preload(&kafka, "invoices", &simulated_lines(folder.path()), PARTITIONS);
    let mut rates = INSTANCES.map(|_| Vec::new());
    // The first round warms the broker up.
    for round in 0..=ROUNDS {
        for (instances, rates) in INSTANCES.into_iter().zip(&mut rates) {
            let rate = lines_a_second(&kafka, instances, round, folder.path().to_str().unwrap());
            if round > 0 {
                rates.push(rate);
            }
        }
    }
    let rates = rates.map(|rates: Vec<f64>| median(&rates));
    for (instances, rate) in INSTANCES.into_iter().zip(rates) {
        println!("instances={instances} {rate:.0} lines/s, {:.2} times one instance", rate / rates[0]);
        note(&format!("scale, instances {instances}, lines/s"), rate, Better::Higher);
    }
}

fn lines_a_second(kafka: &Kafka, instances: usize, round: usize, folder: &str) -> f64 {
    let group = format!("scale-{instances}-{round}");
    let create = ["topics", "--brokers", &kafka.brokers, "--group", &group, "--partitions", &PARTITIONS.to_string()];
    let topics = scorer(&create);
    assert_eq!(topics.code, Some(0), "{}", topics.stderr);
    let names: Vec<(String, String)> =
        (0..instances).map(|number| (format!("{group}-{number}"), format!("{folder}/{group}-{number}"))).collect();
    // With an id of its own an instance that is done leaves its partitions where they are.
    let options = names.iter().map(|(name, state)| vec!["--instance-id", name, "--state-dir", state, "--threads", "1"]);
    let ended = read_to_the_end(&Program::this(), kafka, &group, &options.collect::<Vec<_>>());
    let records: f64 = ended.iter().map(|ended| ended.records).sum();
    let share: Vec<String> = ended.iter().map(|ended| format!("{:.0}", ended.records)).collect();
    println!("{group}: records read by each instance: {}", share.join(", "));
    // They begin at the same moment, and the last one is the end of all.
    records / ended.iter().map(|ended| ended.seconds).fold(0.0, f64::max)
}
