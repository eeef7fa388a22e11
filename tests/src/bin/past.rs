//! How much the past of ten thousand users takes: in the changelog, on disk and in memory, and how long a scorer takes to
//! have it back after a restart.
//!
//! `cargo run -p tests --bin past` simulates thirty days of payments, three a day and user, lets the pipeline
//! `transactions` judge them, and looks at what it keeps.
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on panics")]

use std::path::Path;
use std::sync::Arc;

use scorer::kafka::{KafkaSettings, PartitionState, states};
use shared::pipeline::Pipeline;
use tests::measure::{memory, preload, simulated_payments};
use tests::{Group, Kafka, Running, build_programs, repository, start_scorer, text};

const USERS: u32 = 10_000;
const DAYS: u32 = 30;
const PAYMENTS_A_DAY: u32 = 3;
const GROUP: &str = "past";
const PIPELINE: &str = "transactions";

fn main() {
    build_programs();
    let folder = tempfile::tempdir().unwrap();
    let (kept, fresh) = (folder.path().join("kept"), folder.path().join("fresh"));
    let file = simulated_payments(folder.path(), USERS * DAYS * PAYMENTS_A_DAY, USERS);
    let kafka = Kafka::start().expect("Apache Kafka");
    preload(&kafka, PIPELINE, &file, 1);
    fill(&kafka, &kept);
    let state = state(&kafka);
    let snapshot = bytes_of_files(&kept);
    println!("{}", written(&state, snapshot));

    let empty = start(&kafka, "empty", &folder.path().join("empty"), &["-X", "auto.offset.reset=latest"]);
    let (nothing, _) = restored(empty, "assigned");
    let from_snapshot = restored(start(&kafka, GROUP, &kept, &[]), "restored");
    let from_changelog = restored(start(&kafka, GROUP, &fresh, &[]), "restored");
    println!("memory of a scorer without a past: {nothing} KiB");
    for (rss, how) in [from_snapshot, from_changelog] {
        let bytes = (rss.saturating_sub(nothing) * 1024) as f64;
        println!("{how}; memory {rss} KiB, {:.0} bytes more for each user", bytes / f64::from(USERS));
    }
}

/// Lets a scorer judge everything and leave in good order.
fn fill(kafka: &Kafka, state: &Path) {
    let running = start(kafka, GROUP, state, &[]);
    Group::new(&kafka.brokers, GROUP, PIPELINE, 1).wait_until_consumed();
    let rss = memory(&running, "VmRSS");
    let (run, took) = running.terminate();
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    println!("everything is judged; memory then {rss} KiB; the scorer left in {} ms", took.as_millis());
}

fn state(kafka: &Kafka) -> PartitionState {
    let pipeline = Arc::new(Pipeline::load(PIPELINE).unwrap().with_event_clock().unwrap());
    let settings = KafkaSettings::at(&kafka.brokers);
    states(&settings, &pipeline, GROUP).unwrap().remove(0)
}

/// What a changelog holds once it is compacted, and what it holds now.
fn written(state: &PartitionState, snapshot: u64) -> String {
    // A part of the past: `p`, and the number of its key's column in the order of the features.
    let of = |relation: u8| state.snapshot.iter().filter(move |record| record.key.starts_with(&[b'p', relation]));
    let size = |relation: u8| {
        let bytes = of(relation).map(|record| record.key.len() + record.value.as_ref().map_or(0, Vec::len));
        (of(relation).count(), bytes.sum::<usize>())
    };
    let ((user_parts, of_users), (merchant_parts, of_merchants)) = (size(0), size(1));
    let all: usize =
        state.snapshot.iter().map(|record| record.key.len() + record.value.as_ref().map_or(0, Vec::len)).sum();
    let users = f64::from(USERS);
    format!(
        "keys with state: {}; live bytes of the changelog: {all}, of users {of_users} in {user_parts} records, of merchants \
         {of_merchants} in {merchant_parts}\n\
         for each user: {:.0} bytes of its own in {:.1} records, {:.0} with everything; snapshot {:.0}; records of the \
         changelog before compaction {}",
        state.keys,
        of_users as f64 / users,
        user_parts as f64 / users,
        all as f64 / users,
        snapshot as f64 / users,
        state.changelog_records,
    )
}

/// Waits until a scorer has what it begins with; its memory, and how it got it.
fn restored(mut running: Running, sign: &str) -> (u64, String) {
    let logged = running.wait_for_log(sign);
    let rss = memory(&running, "VmRSS");
    // Killed, so that it changes nothing for the next one.
    running.kill();
    (rss, format!("{} keys in {} ms from the {}", logged["keys"], logged["millis"], logged["source"]))
}

/// With an id of its own, a scorer gets its partition back at once.
fn start(kafka: &Kafka, group: &str, state: &Path, options: &[&str]) -> Running {
    let models = repository().join("models");
    let what = ["run", "--brokers", &kafka.brokers, "--pipeline", PIPELINE, "--models", text(&models)];
    let who = ["--group", group, "--instance-id", group, "--state-dir", text(state)];
    let how = ["--device", "cpu", "--clock", "event", "--json-logs"];
    start_scorer(&[&what[..], &who, &how, options].concat())
}

fn bytes_of_files(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    entries
        .map(
            |entry| if entry.path().is_dir() { bytes_of_files(&entry.path()) } else { entry.metadata().unwrap().len() },
        )
        .sum()
}
