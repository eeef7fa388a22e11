//! Lines a second through one, two and four instances of the scorer in one consumer group, with exactly-once delivery.
//!
//! `cargo run -p tests --bin scale` simulates about a million lines and sends them to eight partitions; then each group
//! reads them all, from the first record that any instance reads to the last commit.
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on panics")]

use tests::measure::{preload, read_to_the_end, simulated_lines};
use tests::{Kafka, build_programs, scorer};

const PARTITIONS: u32 = 8;

fn main() {
    build_programs();
    let folder = tempfile::tempdir().unwrap();
    // All instances of a group are there before the partitions are shared out, and share them out once.
    let kafka = Kafka::start_with(&["--property", "group.initial.rebalance.delay.ms=3000"]);
    preload(&kafka, &simulated_lines(folder.path()), PARTITIONS);
    let mut alone = None;
    for instances in [1, 2, 4] {
        let rate = lines_a_second(&kafka, instances, folder.path().to_str().unwrap());
        let ratio = rate / *alone.get_or_insert(rate);
        println!("instances={instances} {rate:.0} lines/s, {ratio:.2} times one instance");
    }
}

fn lines_a_second(kafka: &Kafka, instances: usize, folder: &str) -> f64 {
    let group = format!("scale-{instances}");
    let create = ["topics", "--brokers", &kafka.brokers, "--group", &group, "--partitions", &PARTITIONS.to_string()];
    let topics = scorer(&create);
    assert_eq!(topics.code, Some(0), "{}", topics.stderr);
    let names: Vec<(String, String)> =
        (0..instances).map(|number| (format!("{group}-{number}"), format!("{folder}/{group}-{number}"))).collect();
    // With an id of its own an instance that is done leaves its partitions where they are.
    let options = names.iter().map(|(name, state)| vec!["--instance-id", name, "--state-dir", state]);
    let ended = read_to_the_end(kafka, &group, &options.collect::<Vec<_>>());
    let records: f64 = ended.iter().map(|ended| ended.records).sum();
    let share: Vec<String> = ended.iter().map(|ended| format!("{:.0}", ended.records)).collect();
    println!("{group}: records read by each instance: {}", share.join(", "));
    // They begin at the same moment, and the last one is the end of all.
    records / ended.iter().map(|ended| ended.seconds).fold(0.0, f64::max)
}
