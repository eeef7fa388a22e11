//! What analysts say, on a real broker: kept once, by nobody who has not seen the last word, seen in every window, and taken by the
//! other programs.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use tests::{JsonSchema, Kafka, PipelineFile, Received, repository, scorer, text, trainer, wait_for};

use crate::window::Scorer;

const PATIENCE: Duration = Duration::from_secs(120);

const TOPIC: &str = "invoices_labels";

/// A broker with anomalies, and two windows of different groups.
struct Bench {
    kafka: Kafka,
    folder: tempfile::TempDir,
    pipeline: PathBuf,
    windows: [Scorer; 2],
}

impl Bench {
    fn start() -> Option<Self> {
        let (kafka, folder) = (Kafka::start()?, tempfile::tempdir().unwrap());
        let pipeline = folder.path().join("pipeline.toml");
        PipelineFile::invoices().write(&pipeline);
        let start = |group: &str| Scorer::start(&kafka, &pipeline, &folder.path().join(group), &["--group", group]);
        let first = start("one");
        let sample = repository().join("resources/production.csv");
        let replay = scorer(&["replay", text(&sample), "--pipeline", text(&pipeline), "--brokers", &kafka.brokers]);
        assert_eq!(replay.code, Some(0), "{}", replay.stderr);
        wait_for("anomalies", PATIENCE, || (anomalies(&first).len() > 20).then_some(()));
        // It finds the same ones again, in the topics and by itself.
        let windows = [first, start("two")];
        Some(Self { kafka, folder, pipeline, windows })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The entries of the topic.
    fn entries(&self) -> Vec<Received> {
        self.kafka.read(TOPIC)
    }

    fn export(&self, name: &str, more: &[&str]) -> PathBuf {
        let path = self.path(name);
        let what = ["labels", "export", "--pipeline", text(&self.pipeline), "--output", text(&path)];
        let run = scorer(&[&what[..], &["--brokers", &self.kafka.brokers], more].concat());
        assert_eq!(run.code, Some(0), "{}", run.stderr);
        path
    }
}

/// The anomalies that a window has: id and key.
fn anomalies(window: &Scorer) -> Vec<(String, String)> {
    let list = window.json("/api/v1/anomalies?limit=500&sort=worst");
    let text = |it: &Value, name: &str| it[name].as_str().unwrap().to_owned();
    list["anomalies"].as_array().unwrap().iter().map(|it| (text(it, "id"), text(it, "key"))).collect()
}

fn said(id: &str, request: &str, version: &Value, word: &str, by: &str) -> Value {
    json!({ "id": id, "request": request, "version": version, "label": word, "by": by, "note": "seen" })
}

fn label_of(window: &Scorer, id: &str) -> Value {
    window.json(&format!("/api/v1/anomaly?id={id}"))["label"].clone()
}

#[test]
fn a_word_is_kept_once_and_seen_everywhere() {
    let Some(bench) = Bench::start() else { return };
    let [one, two] = &bench.windows;
    let all = wait_for("the same anomalies", PATIENCE, || {
        let (mut first, mut second) = (anomalies(one), anomalies(two));
        first.sort();
        second.sort();
        (first == second).then_some(first)
    });
    let id = &all[0].0;

    // Both windows race for one anomaly, again and again: of each round one wins, and the other hears of it.
    let mut seen = Value::Null;
    for round in 0..8 {
        let by = |name: &str| said(id, &format!("request-{round}-{name}"), &seen, "anomaly", name);
        let answers = std::thread::scope(|scope| {
            let first = scope.spawn(|| one.post("/api/v1/label", &by("ann")));
            let second = scope.spawn(|| two.post("/api/v1/label", &by("bob")));
            [first.join().unwrap(), second.join().unwrap()]
        });
        let mut statuses = answers.each_ref().map(|(status, _)| *status);
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 409], "round {round}: {answers:?}");
        let won = answers.iter().find(|(status, _)| *status == 200).unwrap();
        let lost = answers.iter().find(|(status, _)| *status == 409).unwrap();
        assert_eq!(won.1["label"], lost.1["label"], "who lost sees what was said instead");
        // The same request comes once more, at the other window.
        let by = won.1["label"]["by"].as_str().unwrap();
        let again = two.post("/api/v1/label", &said(id, &format!("request-{round}-{by}"), &seen, "anomaly", by));
        assert_eq!((again.0, &again.1["label"]), (200, &won.1["label"]));
        seen = won.1["label"]["version"].clone();
    }
    assert_eq!(bench.entries().len(), 8, "one entry a round, however often it was sent");
    let schema = JsonSchema::read("label");
    for Received { key, value, .. } in bench.entries() {
        assert_eq!((key.as_deref(), schema.problem(&value)), (Some(id.as_str()), None), "{value}");
        assert!(!value["verdicts"].as_array().unwrap().is_empty());
    }

    // Another program writes as the document says, and both windows see it.
    let own =
        json!({ "schema": 1, "kind": "label", "id": all[1].0, "label": "false_alarm", "at": "2026-11-21T09:30:00Z" });
    assert_eq!(schema.problem(&own), None);
    bench.kafka.send_keyed(TOPIC, [(all[1].0.clone(), own.to_string())]);
    for window in [one, two] {
        wait_for("the word of another program", PATIENCE, || {
            (label_of(window, &all[1].0)["label"] == "false_alarm").then_some(())
        });
    }
    assert_eq!(two.post("/api/v1/label", &said(&all[1].0, "request-late", &Value::Null, "anomaly", "bob")).0, 409);
    let precision = one.json("/api/v1/precision");
    assert_eq!((&precision["labels"]["anomaly"], &precision["labels"]["false_alarm"]), (&json!(1), &json!(1)));

    exported_is_taken_by_the_other_programs(&bench, &all);
}

/// Files, and who reads them: one confirmed anomaly and one false alarm.
fn exported_is_taken_by_the_other_programs(bench: &Bench, all: &[(String, String)]) {
    let confirmed = &all[0].1;
    let lines = std::fs::read_to_string(bench.export("labels.jsonl", &[])).unwrap();
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let keys: BTreeSet<&str> = lines.iter().map(|line| line["key"].as_str().unwrap()).collect();
    assert_eq!(keys, BTreeSet::from([all[0].1.as_str(), all[1].1.as_str()]));
    let (csv, parquet) = (bench.export("labels.csv", &[]), bench.export("labels.parquet", &[]));
    let text_of_csv = std::fs::read_to_string(&csv).unwrap();
    assert!(text_of_csv.starts_with("id,pipeline,key,customer_id,label,state,"), "{text_of_csv}");

    // The trainer leaves the confirmed one out, whichever file it reads.
    let history = repository().join("resources/production.csv");
    let train = |name: &str, labels: Option<&Path>| {
        let models = bench.path(name);
        let what = ["--input", text(&history), "--models", text(&models), "--device", "cpu"];
        let labels = labels.map(|path| ["--labels", text(path)]);
        let run = trainer(&[&what[..], labels.as_ref().map_or(&[][..], |it| &it[..])].concat());
        assert_eq!(run.code, Some(0), "{}", run.stderr);
        let report = std::fs::read_to_string(models.join("invoices/reports/training.json")).unwrap();
        let report: Value = serde_json::from_str(&report).unwrap();
        let model = std::fs::read(models.join("invoices/kmeans/model.json")).unwrap();
        (
            report["entities_trained_on"].as_u64().unwrap(),
            report["entities_left_out"]["confirmed_anomaly"].clone(),
            model,
        )
    };
    let (n_all, none, model) = train("all", None);
    assert_eq!(none, Value::Null);
    let of_csv = train("csv", Some(&csv));
    assert_eq!((of_csv.0, &of_csv.1), (n_all - 1, &json!(1)));
    assert_ne!(of_csv.2, model);
    assert!(train("parquet", Some(&parquet)) == of_csv && train("json", Some(&bench.path("labels.jsonl"))) == of_csv);

    // `compare` and `ab` take them as labels.
    let output = bench.path("comparison");
    let what =
        ["compare", "--pipeline", "invoices", "--input", text(&history), "--detectors", "kmeans,ecod", "--all-rows"];
    let how = ["--labels", text(&csv), "--output", text(&output), "--device", "cpu"];
    let run = trainer(&[&what[..], &how].concat());
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert!(run.stdout.contains("1 of the 1 anomalies that"), "{}", run.stdout);
    let models = repository().join("models");
    let what = ["ab", "--pipeline", text(&bench.pipeline), "--models", text(&models), "--input", text(&history)];
    let run = scorer(&[&what[..], &["--labels", text(&csv), "--device", "cpu", "--json"]].concat());
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let report: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(report["labels"]["anomalies"], 1, "`{confirmed}` is one, and no other: {report}");
}

/// A topic that would lose labels, or show them in another order to everybody, is not used; the stream runs all the same.
#[test]
fn a_topic_that_is_not_fit_is_said_to_be() {
    let Some(kafka) = Kafka::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let pipeline = folder.path().join("pipeline.toml");
    PipelineFile::invoices().write(&pipeline);
    kafka.create_topic(TOPIC, 1, &[("cleanup.policy", "delete")]);
    let window = Scorer::start(&kafka, &pipeline, folder.path(), &[]);
    let kept = window.json("/api/v1/status")["window"]["labels_kept"].clone();
    assert_eq!(kept["in"], "nowhere");
    assert!(kept["why"].as_str().unwrap().contains("cleanup.policy=delete"), "{kept}");
    assert_eq!(window.running.terminate().0.code, Some(0));
}
