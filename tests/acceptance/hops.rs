//! Payments that are looked at with others by user and by merchant, on several partitions: hop by hop to the verdicts of one.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;
use tests::{Kafka, Payments, PipelineFile, Received, Running, repository, scorer, start_scorer, text};

use crate::expected::{sorted, values};

const PARTITIONS: u32 = 4;

/// Payments in all, and those that are there before an instance is killed.
const ALL: usize = 6_000;
const FIRST: usize = 4_000;

/// The topic that is keyed by the second column, and its group.
const BETWEEN: &str = "atalaya-transactions-by-merchant_id";

/// The same on a topic of its own, with its own outputs.
fn alone() -> PipelineFile {
    PipelineFile::waiting_payments()
        .with_output_prefix("one-")
        .replaced("topic = \"transactions\"", "topic = \"payments\"")
}

/// How a scorer of a pipeline file is started, in the group of that name. One that is dead leaves the group soon.
fn run_of(kafka: &Kafka, file: &Path, folder: &Path, group: &str, more: &[&str]) -> Vec<String> {
    let (models, state) = (repository().join("models"), folder.join(group));
    let what = ["run", "--pipeline", text(file), "--models", text(&models), "--device", "cpu", "--group", group];
    let how = ["--all-verdicts", "--state-dir", text(&state), "-X", "session.timeout.ms=6000"];
    [&what[..], &how, &["--brokers", &kafka.brokers], more].concat().into_iter().map(str::to_owned).collect()
}

fn borrowed(arguments: &[String]) -> Vec<&str> {
    arguments.iter().map(String::as_str).collect()
}

/// The number of the row of the table at the end of a run.
fn counted(table: &str, name: &str) -> Option<u64> {
    let mut cells = table.split(['│', '┆', '\n']).map(str::trim);
    cells.find(|cell| *cell == name)?;
    cells.next()?.parse().ok()
}

/// Every verdict names the payment where it was first.
fn assert_sources(verdicts: &[Received], sent: &BTreeMap<(u64, u64), String>) {
    for verdict in verdicts {
        let source = &verdict.value["source"];
        assert_eq!(source["topic"], "transactions", "{source}");
        let at = (source["partition"].as_u64().unwrap(), source["offsets"][0][0].as_u64().unwrap());
        assert_eq!(sent.get(&at).map(String::as_str), verdict.value["key"].as_str(), "{source}");
    }
}

/// The ids of payments by where they are.
fn places(kafka: &Kafka) -> BTreeMap<(u64, u64), String> {
    let mut places = BTreeMap::new();
    for partition in 0..PARTITIONS {
        for (offset, payload) in (0..).zip(kafka.payloads("transactions", partition as i32)) {
            let payment: Value = serde_json::from_slice(&payload).unwrap();
            places.insert((u64::from(partition), offset), payment["transaction_id"].as_str().unwrap().to_owned());
        }
    }
    places
}

/// A topic of four partitions, an instance that is killed in the middle and goes on, and something in the topic between the hops
/// that nobody of ours wrote: the verdicts are those of one partition, each once.
#[test]
fn two_keys_on_many_partitions_give_what_one_partition_gives() {
    let Some(kafka) = Kafka::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let (many, one) = (folder.path().join("many.toml"), folder.path().join("one.toml"));
    PipelineFile::waiting_payments().write(&many);
    alone().write(&one);
    for (file, group, partitions) in [(&many, "atalaya", PARTITIONS), (&one, "alone", 1)] {
        let how = ["--group", group, "--partitions", &partitions.to_string(), "--brokers", &kafka.brokers];
        let topics = scorer(&[&["topics", "--pipeline", text(file)][..], &how].concat());
        assert_eq!(topics.code, Some(0), "{}", topics.stderr);
        assert_eq!(topics.stdout.contains("keyed by merchant_id"), partitions > 1, "{}", topics.stdout);
    }
    let payments: Vec<(String, String)> = Payments::new().take(ALL).collect();
    kafka.send_keyed("payments", payments.clone());
    let single = run_of(&kafka, &one, folder.path(), "alone", &["--until-end"]);
    let single = scorer(&borrowed(&single));
    assert_eq!(single.code, Some(0), "{}", single.stderr);
    assert!(!single.stderr.contains("]-> "), "one partition is one hop: {}", single.stderr);

    kafka.send_keyed("transactions", payments[..FIRST].to_vec());
    let running: Running = start_scorer(&borrowed(&run_of(&kafka, &many, folder.path(), "atalaya", &["--json-logs"])));
    let judged = "transaction_anomalies_kmeans";
    kafka.read_until(judged, |received| received.len() > FIRST / 4);
    let way = running.log("topology").remove(0)["way"].clone();
    assert_eq!(way, format!("transactions -[user_id]-> {BETWEEN} -[merchant_id]-> verdicts"));
    running.kill();
    assert!(kafka.read(judged).len() < FIRST, "it was killed in the middle");

    kafka.send_keyed("transactions", payments[FIRST..].to_vec());
    kafka.send(BETWEEN, &[b"a record of somebody else".to_vec(), Vec::new()]);
    let rest = scorer(&borrowed(&run_of(&kafka, &many, folder.path(), "atalaya", &["--until-end"])));
    assert_eq!(rest.code, Some(0), "{}", rest.stderr);
    assert_eq!(counted(&rest.stdout, "(of somebody else in an internal topic)"), Some(2), "{}", rest.stdout);
    assert!(rest.stderr.contains("are skipped and counted"), "{}", rest.stderr);

    for topic in PipelineFile::waiting_payments().pipeline().output_topics() {
        let (expected, found) = (kafka.read(&format!("one-{topic}")), kafka.read(topic));
        assert_eq!(found.len(), expected.len(), "{topic}");
        assert!(sorted(values(&found)) == sorted(values(&expected)), "{topic}: the same to the bit");
    }
    let (verdicts, windows) = (kafka.read(judged), kafka.read("transaction_anomalies_zscore"));
    assert_eq!((verdicts.len(), windows.len()), (ALL, ALL));
    let places = places(&kafka);
    assert_sources(&verdicts, &places);
    assert_sources(&windows, &places);
    state_and_reset_know_the_hops(&kafka, &many);
}

fn state_and_reset_know_the_hops(kafka: &Kafka, file: &Path) {
    let of = ["--pipeline", text(file), "--group", "atalaya", "--brokers", &kafka.brokers];
    let state = scorer(&[&["state"][..], &of].concat());
    assert_eq!(state.code, Some(0), "{}", state.stderr);
    for topic in ["transactions", BETWEEN] {
        let rows = state.stdout.lines().filter(|line| line.contains(&format!("│ {topic} ")));
        assert_eq!(rows.count(), PARTITIONS as usize, "{}", state.stdout);
    }
    let reset = scorer(&[&["reset", "--to", "earliest", "--yes"][..], &of].concat());
    assert_eq!(reset.code, Some(0), "{}", reset.stderr);
    for (committed, _) in kafka.committed("atalaya", "transactions", PARTITIONS) {
        assert_eq!(committed, Some(0));
    }
    for (committed, end) in kafka.committed(BETWEEN, BETWEEN, PARTITIONS) {
        assert_eq!(committed, Some(end), "what went on before is not judged again");
    }
}

/// What hops cannot do without is said before anything is read.
#[test]
fn hops_need_exactly_once_and_topics_that_fit() {
    let Some(kafka) = Kafka::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    kafka.create_topic("transactions", 3, &[]);
    let run = |more: &[&str]| {
        let state = folder.path().join("state");
        let what = ["run", "--pipeline", "transactions", "--device", "cpu", "--until-end", "--brokers", &kafka.brokers];
        scorer(&[&what[..], &["--state-dir", text(&state)], more].concat())
    };
    let refused = |run: tests::Run, says: &str| {
        assert_eq!(run.code, Some(78), "{}", run.stderr);
        assert!(run.stderr.contains(says), "{}", run.stderr);
    };
    kafka.create_topic(BETWEEN, 2, &[]);
    refused(
        run(&[]),
        "has 2 partitions; it must have 3, as `transactions`: `scorer reset --group atalaya --to latest`",
    );
    kafka.extend_topic(BETWEEN, 3);
    kafka.set(BETWEEN, "cleanup.policy", "compact");
    refused(run(&[]), "must have cleanup.policy=delete");
    kafka.set(BETWEEN, "cleanup.policy", "delete");
    refused(
        run(&["--delivery", "at-least-once"]),
        "records are looked at with others by `user_id` and by `merchant_id`, one hop after the other: that needs --delivery \
         exactly-once, or a topic with one partition",
    );
    // An empty topic has an end, too.
    let empty = run(&[]);
    assert_eq!((empty.code, counted(&empty.stdout, "read")), (Some(0), Some(0)), "{}", empty.stderr);
}
