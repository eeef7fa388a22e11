//! Memory has one bound, whatever comes.

use tests::flood::{self, Flood, Outcome, Plan};
use tests::{Kafka, scorer};

const MAX_MEMORY: u64 = 256 << 20;

/// A short flood; `None` where Kafka is missing and tests may be skipped.
fn within_the_bound(flood: Flood, seconds: u64) -> Option<Outcome> {
    let outcome = flood::run(flood, &Plan { max_memory: MAX_MEMORY, seconds, records: u64::MAX })?;
    assert!(outcome.peak <= MAX_MEMORY && outcome.peak_after_restart <= MAX_MEMORY, "{flood}: {outcome:?}");
    Some(outcome)
}

/// Each forgotten key is counted.
#[test]
fn a_flood_of_new_keys_stays_within_the_bound() {
    let Some(outcome) = within_the_bound(Flood::NewKeys, 8) else { return };
    let given_up = ["forgotten_keys", "forgotten_seen_keys", "windows_judged_early"].map(|name| outcome.counted(name));
    assert!(given_up.iter().sum::<u64>() > 0, "{outcome:?}");
}

#[test]
fn a_flood_of_open_invoices_stays_within_the_bound() {
    let Some(outcome) = within_the_bound(Flood::OpenInvoices, 8) else { return };
    assert!(outcome.counted("closed_early") > 0, "{outcome:?}");
}

#[test]
fn a_slow_broker_makes_nothing_pile_up() {
    let Some(outcome) = within_the_bound(Flood::SlowBroker, 12) else { return };
    assert!(outcome.counted("published") > 0, "{outcome:?}");
}

#[test]
fn a_topic_that_grows_faster_than_it_is_read_makes_nothing_pile_up() {
    let Some(outcome) = within_the_bound(Flood::Backlog, 10) else { return };
    assert!(outcome.counted("malformed_lines") > 0 && outcome.counted("records") < outcome.sent, "{outcome:?}");
}

#[test]
fn too_little_memory_is_said_with_what_would_do() {
    let Some(kafka) = Kafka::start() else { return };
    let run = scorer(&["run", "--brokers", &kafka.brokers, "--device", "cpu", "--max-memory", "100MiB"]);
    assert_eq!(run.code, Some(78), "{}", run.stderr);
    let said = "error: --max-memory 100 MiB is too little for a topic with 1 partitions: use --max-memory ";
    assert!(run.stderr.contains(said), "{}", run.stderr);
}
