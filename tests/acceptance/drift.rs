//! The stream is no longer like the training: it is told of a file and of a topic, once, and not where nothing has changed.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use shared::detectors::drift::Identity;
use tests::{Kafka, scorer, start_scorer, text, trainer, wait_for};

const PATIENCE: Duration = Duration::from_secs(120);

/// Records that are trained on, and that are scored.
const TRAINED_ON: u64 = 4_000;
const SCORED: u64 = 2_000;

/// From this record on, amounts are larger where they change.
const CHANGE: u64 = 1_000;

const PIPELINE: &str = r#"
name = "cards"

[input]
topic = "drift_cards"
columns = ["id", "at:datetime", "amount:float", "hour:float"]
datetime_formats = ["rfc3339"]

[entity]
key = "id"
clock = "at"

[features]
Amount = "amount"
Hour = "hour"

[[detectors]]
name = "kmeans"
algorithm = "kmeans"
scaling = "none"
k = 3
threshold = { false_alarm_rate = 0.01 }
topic = "drift_cards_odd"

[outputs]
erroneous = "drift_cards_bad"

[drift]
window = 1000

[[channels]]
name = "topic"
type = "kafka"
topic = "drift_alerts"

[[alerts]]
name = "changed"
when = "drift"
channels = ["topic"]
"#;

/// Records a second apart; from `change` on their amounts are larger.
fn records(first: u64, n: u64, change: u64) -> Vec<(String, String)> {
    let record = |index: u64| {
        let (identity, key) = (Identity::of_number(first + index), (first + index).to_string());
        let amount = 10.0 + 5.0 * identity.uniform(0) + if index < change { 0.0 } else { 10.0 };
        let (hour, minute, second) = (index / 3600, index / 60 % 60, index % 60);
        let at = format!("2020-01-01T{hour:02}:{minute:02}:{second:02}Z");
        let line = format!("{key},{at},{amount:.3},{:.3}", 24.0 * identity.uniform(1));
        (key, line)
    };
    (0..n).map(record).collect()
}

fn write(path: &Path, records: &[(String, String)]) {
    let mut file = "id,at,amount,hour\n".to_owned();
    for (_, line) in records {
        writeln!(file, "{line}").unwrap();
    }
    std::fs::write(path, file).unwrap();
}

#[test]
fn a_stream_that_changes_is_told_of_once_and_one_that_does_not_never() {
    let Some(kafka) = Kafka::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (pipeline, models) = (path("cards.toml"), path("models"));
    std::fs::write(&pipeline, PIPELINE).unwrap();
    write(&path("history.csv"), &records(1_000_000, TRAINED_ON, u64::MAX));
    let run = trainer(&[
        "--pipeline",
        text(&pipeline),
        "--input",
        text(&path("history.csv")),
        "--models",
        text(&models),
        "--device",
        "cpu",
    ]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);

    let with = ["--pipeline", text(&pipeline), "--models", text(&models), "--device", "cpu"];
    let score = |records: &[(String, String)]| {
        let (input, output) = (path("records.csv"), path("messages.jsonl"));
        write(&input, records);
        let run = scorer(&[&["score", text(&input), "--output", text(&output)][..], &with].concat());
        assert_eq!(run.code, Some(0), "{}", run.stderr);
        // Sentences are wrapped.
        run.stderr.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let same = score(&records(0, SCORED, u64::MAX));
    assert!(same.contains("kmeans: no drift told in 2000 records (evidence 10^"), "{same}");
    assert!(same.contains("with a probability of at most 0.001 by chance)"), "{same}");
    let changed = score(&records(0, SCORED, CHANGE));
    assert!(changed.contains("kmeans: the stream is no longer like the training since 2020-01-01T00:"), "{changed}");
    assert!(changed.contains("the features that differ most are Amount (PSI "), "{changed}");

    let brokers = ["--brokers", kafka.brokers.as_str()];
    let topics = ["topics", "--partitions", "1", "--pipeline", text(&pipeline)];
    let run = scorer(&[&topics[..], &brokers].concat());
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let state = path("state");
    let running = start_scorer(&[&["run", "--state-dir", text(&state)][..], &with, &brokers].concat());
    kafka.send_keyed("drift_cards", records(0, SCORED, CHANGE));
    let alerts = wait_for("the alert", PATIENCE, || {
        let alerts = kafka.read("drift_alerts");
        (!alerts.is_empty()).then_some(alerts)
    });
    let summary = alerts[0].value["summary"].as_str().unwrap();
    assert!(summary.starts_with("the stream is no longer like the training: kmeans since 2020-01-01T00:"), "{summary}");
    let (ended, _) = running.terminate();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let said = ended.stderr.matches("kmeans: the stream is no longer like the training since").count();
    assert_eq!(said, 1, "one line of the log says so: {}", ended.stderr);
    assert_eq!(kafka.read("drift_alerts").len(), 1, "it is told once");
}
