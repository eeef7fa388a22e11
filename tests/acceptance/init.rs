//! From a topic that nobody has described to verdicts.

use shared::pipeline::Pipeline;
use tests::{Kafka, scorer, text, trainer};

#[test]
fn a_topic_becomes_a_pipeline_that_is_trained_and_scored() {
    let Some(kafka) = Kafka::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let record = |row: usize| {
        let (user, shop, cents) = (row % 7, row * 5 % 11, 100 + row * 37 % 900);
        let at = format!("2024-01-{:02}T{:02}:00:00Z", 1 + row / 24, row % 24);
        format!(
            "{{\"payment_id\":\"p{row}\",\"created_at\":\"{at}\",\"customer\":\"c{user}\",\"shop\":\"s{shop}\",\"amount\":{}.{:02}}}",
            cents / 100,
            cents % 100
        )
    };
    let records: Vec<String> = (0..400).map(record).collect();
    kafka.create_topic("payments", 1, &[]);
    kafka.send("payments", &records.iter().map(|record| record.clone().into_bytes()).collect::<Vec<_>>());
    let (pipeline, history, models) =
        (folder.path().join("payments.toml"), folder.path().join("history.jsonl"), folder.path().join("models"));
    let brokers = ["--brokers", &kafka.brokers];
    let told = scorer(&[&["init", "--topic", "payments", "--output", text(&pipeline)][..], &brokers].concat());
    assert_eq!(told.code, Some(0), "{}", told.stderr);
    assert!(told.stdout.contains("key: names a record") && told.stdout.contains("next:"), "{}", told.stdout);
    assert_eq!(Pipeline::load(text(&pipeline)).unwrap().topic, "payments");

    std::fs::write(&history, records.join("\n")).unwrap();
    let with = ["--pipeline", text(&pipeline), "--models", text(&models), "--device", "cpu"];
    let trained = trainer(&[&with[..], &["--quiet", "--input", text(&history)]].concat());
    assert_eq!(trained.code, Some(0), "{}", trained.stderr);
    let state = folder.path().join("state");
    let how = ["--all-verdicts", "--until-end", "--state-dir", text(&state)];
    let run = scorer(&[&["run"][..], &with, &how, &brokers].concat());
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert_eq!(kafka.read("payments_anomalies_kmeans").len(), records.len());
    assert!(kafka.read("payments_errors").is_empty());
}
