//! How long a scorer takes to have a million open invoices back after a restart, and how much memory: from its
//! snapshot, and from the changelog topic alone.
//!
//! With `--standbys`, also how long it takes after a kill until another instance has published the first verdict of the
//! partition that it took over: with a standby copy of the state, and without.
//!
//! `cargo run -p tests --bin restore -- --standbys`
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on panics")]

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use tests::measure::memory;
use tests::{Group, Kafka, Running, build_programs, scorer, start_scorer, text, wait_for};

const INVOICES: u64 = 1_000_000;
const GROUP: &str = "restore";
const VERDICTS: &str = "anomalias_kmeans";

/// How many invoices are complete before all others, one after the other: the first verdicts after each failover.
const EARLY: u64 = 4;

/// How long the group waits for an instance that does not answer, and what else may take long.
const SESSION: &str = "session.timeout.ms=6000";
const PATIENCE: Duration = Duration::from_secs(120);

/// How often a look is taken at what is timed.
const LOOK: Duration = Duration::from_millis(5);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has_standbys = arguments == ["--standbys"];
    if !arguments.is_empty() && !has_standbys {
        eprintln!("usage: restore [--standbys]");
        return ExitCode::from(2);
    }
    build_programs();
    let folder = tempfile::tempdir().unwrap();
    let (kept, fresh) = (folder.path().join("kept"), folder.path().join("fresh"));
    let kafka = Kafka::start().expect("Apache Kafka");
    fill(&kafka, &kept);
    let with_snapshot = restore(&kafka, &kept);
    let without = restore(&kafka, &fresh);
    println!("open={INVOICES} with the snapshot: {with_snapshot}; without: {without}");
    if has_standbys {
        let (mut owner, mut early) = (start(&kafka, &kept), 0);
        owner.wait_for_log("restored");
        for (standbys, what) in [("1", "with a standby copy"), ("0", "without one")] {
            let heir = start_heir(&kafka, &folder.path().join(what), standbys);
            let (took, heir) = fail_over(&kafka, owner, heir, early);
            println!("open={INVOICES} failover {what}: {took}");
            (owner, early) = (heir, early + 1);
        }
        owner.kill();
    }
    ExitCode::SUCCESS
}

/// Lets a scorer read the invoices, one line each and all within a minute, so that none is complete, and ends it.
fn fill(kafka: &Kafka, state: &Path) {
    let topics = scorer(&["topics", "--brokers", &kafka.brokers, "--group", GROUP]);
    assert_eq!(topics.code, Some(0), "{}", topics.stderr);
    let record = |number: u64| {
        // An invoice is complete 40 s after its last line: the early ones while the others are open.
        let (minute, second) = if number < EARLY { (21, 22 + 4 * number) } else { (22, 0) };
        line(number, &format!("2010-09-01 09:{minute}:{second:02}"))
    };
    kafka.send_keyed("purchases", (0..INVOICES).map(record));
    let running = start(kafka, state);
    Group::new(&kafka.brokers, GROUP, "purchases", 1).wait_until_consumed();
    let (run, took) = running.terminate();
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    println!("{INVOICES} open invoices; the scorer left in {} ms", took.as_millis());
}

/// A line of the invoice with this number, and its key.
fn line(number: u64, date: &str) -> (String, String) {
    let key = (1_000_000 + number).to_string();
    let line = format!("{key},22143,RED MUG,2,{date},1.5,12345,France");
    (key, line)
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
    start_with(kafka, state, &["--instance-id", "restore"])
}

fn start_with(kafka: &Kafka, state: &Path, options: &[&str]) -> Running {
    let who = ["--group", GROUP, "--state-dir", text(state), "-X", SESSION];
    let how = ["--device", "cpu", "--clock", "event", "--all-verdicts", "--json-logs"];
    start_scorer(&[&["run", "--brokers", &kafka.brokers][..], &who, &how, options].concat())
}

/// Starts an instance that gets no partition while another one has the only one, and waits until it is ready to take over.
fn start_heir(kafka: &Kafka, state: &Path, standbys: &str) -> Running {
    let mut heir = start_with(kafka, state, &["--standbys", standbys]);
    if standbys == "0" {
        wait_for("the heir to be in the group", PATIENCE, || (members(kafka) == Some(2)).then_some(()));
    } else {
        let copy = heir.wait_for_log("a standby copy is up to date");
        println!("the copy has {} records; the heir, {} MiB", copy["records"], memory(&heir, "VmRSS") / 1024);
    }
    heir
}

/// How many members the group has, unless it rebalances.
fn members(kafka: &Kafka) -> Option<usize> {
    let consumer: BaseConsumer = ClientConfig::new().set("bootstrap.servers", &kafka.brokers).create().unwrap();
    let groups = consumer.fetch_group_list(Some(GROUP), PATIENCE).unwrap();
    let group = groups.groups().first()?;
    (group.state() == "Stable").then(|| group.members().len())
}

/// Kills the owner of the partition, and tells how long the heir takes until its first verdict; the heir.
fn fail_over(kafka: &Kafka, owner: Running, mut heir: Running, early: u64) -> (String, Running) {
    let before = kafka.readable_ends(&[VERDICTS]);
    let killed_at = Instant::now();
    owner.kill();
    // By its date one of the early invoices is complete, and no other.
    kafka.send_keyed("purchases", [line(EARLY, &format!("2010-09-01 09:22:{:02}", 4 + 4 * early))]);
    // The group gives the partition away once the session of the killed instance is over.
    look_until(|| members(kafka) == Some(1));
    let given_at = Instant::now();
    look_until(|| kafka.readable_ends(&[VERDICTS]) != before);
    let (after, in_all) = (given_at.elapsed().as_millis(), killed_at.elapsed().as_millis());
    let restored = heir.wait_for_log("restored");
    let took = format!(
        "the first verdict {after} ms after the group had given the partition away, {in_all} ms after the kill; restored \
         in {} ms from the {}, {} records read",
        restored["millis"],
        restored["source"].as_str().unwrap(),
        restored["records"]
    );
    (took, heir)
}

fn look_until(mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "waited in vain for the heir");
        std::thread::sleep(LOOK);
    }
}
