//! `scorer ab` on the live topics of a real Kafka, beside the same records scored from a file.

use std::path::Path;

use serde_json::Value;
use tests::{Kafka, repository, scorer, text};

/// What `scorer ab --json` says, but for where that is from.
fn ab(arguments: &[&str]) -> Value {
    let run = scorer(&[&["ab", "--json"], arguments].concat());
    assert_eq!(run.code, Some(0), "{arguments:?}: {}", run.stderr);
    let mut report: Value = serde_json::from_str(&run.stdout).unwrap();
    report["source"] = Value::Null;
    if !report["labels"].is_null() {
        report["labels"]["source"] = Value::Null;
    }
    report
}

fn refused(arguments: &[&str], says: &str) {
    let run = scorer(&[&["ab"], arguments].concat());
    assert_eq!((run.code, run.stderr.lines().count()), (Some(1), 1), "{}", run.stderr);
    assert!(run.stderr.contains(says), "{}", run.stderr);
}

/// Scores everything that is in the topic of a pipeline.
fn run(pipeline: &str, kafka: &Kafka, state: &Path, more: &[&str]) {
    let how =
        ["--pipeline", pipeline, "--device", "cpu", "--until-end", "--clock", "event", "--state-dir", text(state)];
    let run = scorer(&[&["run", "--brokers", &kafka.brokers], &how[..], more].concat());
    assert_eq!(run.code, Some(0), "{}", run.stderr);
}

/// Of payments whose labels are headers there and a column here, with all verdicts and a detector that takes its time; and
/// of invoices, with their anomalies only.
#[test]
fn live_topics_say_what_a_file_says() {
    let Some(kafka) = Kafka::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let live = ["--brokers", &kafka.brokers];
    let payments = [&live[..], &["--pipeline", "transactions"]].concat();
    refused(&payments, "topic `transaction_anomalies_kmeans` does not exist: run `scorer run --all-verdicts` first");

    let file = folder.path().join("payments.jsonl");
    let simulate = |to: &[&str]| {
        let what = ["simulate", "transactions", "--count", "4000", "--rate", "4000", "--users", "200", "--seed", "5"];
        let run = scorer(&[&what[..], to].concat());
        assert_eq!(run.code, Some(0), "{}", run.stderr);
    };
    simulate(&["--output", text(&file)]);
    simulate(&["--topic", "transactions", "--brokers", &kafka.brokers]);
    run("transactions", &kafka, folder.path(), &["--all-verdicts"]);
    for detectors in [["--a", "kmeans", "--b", "bisecting-kmeans"], ["--a", "zscore", "--b", "kmeans"]] {
        let of_file = ["--pipeline", "transactions", "--device", "cpu", "--input", text(&file)];
        let expected = ab(&[&of_file[..], &detectors].concat());
        assert!(expected["both"].as_u64().unwrap() + expected["neither"].as_u64().unwrap() > 3_000);
        assert!(expected["labels"]["anomalies"].as_u64() > Some(40), "{expected}");
        assert_eq!(ab(&[&payments[..], &detectors, &["--labels"]].concat()), expected);
        let beside = ab(&[&payments[..], &detectors, &["--labels", text(&file), "--since", "0"]].concat());
        assert_eq!(beside, expected);
    }
    refused(
        &[&payments[..], &["--since", "2100-01-01T00:00:00Z"]].concat(),
        "since 2100-01-01T00:00:00Z: no verdict of `kmeans` or `bisecting-kmeans` of pipeline `transactions` is there",
    );
    let topic = "transaction_anomalies_kmeans";
    assert_eq!(kafka.committed(&format!("{topic}-look"), topic, 1)[0].0, None, "whoever looks commits nothing");

    let production = repository().join("resources/production.csv");
    let topics = scorer(&[&["topics", "--partitions", "3"], &live[..]].concat());
    assert_eq!(topics.code, Some(0), "{}", topics.stderr);
    let replay = scorer(&[&["replay", text(&production)], &live[..]].concat());
    assert_eq!(replay.code, Some(0), "{}", replay.stderr);
    run("invoices", &kafka, folder.path(), &[]);
    let labels = repository().join("resources/production_labels.csv");
    let labels = ["--labels", text(&labels)];
    let some = ab(&[&live[..], &labels].concat());
    let all = ab(&[&["--device", "cpu", "--input", text(&production)], &labels[..]].concat());
    for known in ["both", "only_a", "only_b", "jaccard", "examples", "labels"] {
        assert_eq!(some[known], all[known], "{known}");
    }
    assert_eq!((&some["neither"], &some["all_verdicts"]), (&Value::Null, &Value::Bool(false)));
}
