//! How long a scorer takes to have a million open invoices back after a restart, and how much memory: from its
//! snapshot, and from the changelog topic alone.
//!
//! `cargo run -p tests --bin restore`
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on panics")]

use std::path::Path;

use tests::measure::memory;
use tests::{Group, Kafka, Running, build_programs, scorer, start_scorer, text};

const INVOICES: u64 = 1_000_000;
const GROUP: &str = "restore";

fn main() {
    build_programs();
    let folder = tempfile::tempdir().unwrap();
    let (kept, fresh) = (folder.path().join("kept"), folder.path().join("fresh"));
    let kafka = Kafka::start().expect("Apache Kafka");
    fill(&kafka, &kept);
    let with_snapshot = restore(&kafka, &kept);
    let without = restore(&kafka, &fresh);
    println!("open={INVOICES} with the snapshot: {with_snapshot}; without: {without}");
}

/// Lets a scorer read the invoices, one line each and all of one minute, so that none is complete, and ends it.
fn fill(kafka: &Kafka, state: &Path) {
    let topics = scorer(&["topics", "--brokers", &kafka.brokers, "--group", GROUP]);
    assert_eq!(topics.code, Some(0), "{}", topics.stderr);
    let record = |number: u64| {
        let key = (1_000_000 + number).to_string();
        let line = format!("{key},22143,RED MUG,2,9/1/2010 9:22,1.5,12345,France");
        (key, line)
    };
    kafka.send_keyed("purchases", (0..INVOICES).map(record));
    let running = start(kafka, state);
    Group::new(&kafka.brokers, GROUP, "purchases", 1).wait_until_consumed();
    let (run, took) = running.terminate();
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    println!("{INVOICES} open invoices; the scorer left in {} ms", took.as_millis());
}

/// Starts a scorer, and tells how it got its invoices back.
fn restore(kafka: &Kafka, state: &Path) -> String {
    let mut running = start(kafka, state);
    let restored = running.wait_for_log("restored");
    assert_eq!(restored["open"], INVOICES, "{restored}");
    let memory = format!("{} MiB", memory(&running, "VmHWM") / 1024);
    // Killed, so that it changes nothing for the next one.
    running.kill();
    format!("{} ms from the {}, peak memory {memory}", restored["millis"], restored["source"].as_str().unwrap())
}

/// With an id of its own, a scorer gets its partition back at once.
fn start(kafka: &Kafka, state: &Path) -> Running {
    let who = ["--group", GROUP, "--instance-id", "restore", "--state-dir", text(state)];
    let how = ["--device", "cpu", "--clock", "event", "--json-logs"];
    start_scorer(&[&["run", "--brokers", &kafka.brokers][..], &who, &how].concat())
}
