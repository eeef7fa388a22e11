//! Every algorithm, from a pipeline file through the trainer to the scorer, and the better one in another's place.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;
use shared::detectors::Algorithm;
use tests::{repository, scorer, text, trainer};

/// The invoices' pipeline with a detector of every algorithm, each with another way to set its threshold.
fn pipeline_with_all() -> String {
    let file = std::fs::read_to_string(repository().join("resources/pipelines/invoices.toml")).unwrap();
    let (head, rest) = file.split_once("[[detectors]]").unwrap();
    let (_, outputs) = rest.split_once("[outputs]").unwrap();
    let thresholds = ["{ quantile = 0.98 }", "{ top = 20 }", "{ false_alarm_rate = 0.02 }"];
    let detector = |(index, name): (usize, &&str)| {
        let threshold = thresholds[index % thresholds.len()];
        let more = match *name {
            "kmeans" => "k = 6\ncorrection = \"both\"\nthreshold_per_cluster = true\n",
            "ensemble" => "members = [\"ecod\", { algorithm = \"isolation-forest\", n_trees = 20 }]\n",
            _ => "",
        };
        format!(
            "[[detectors]]\nname = \"{name}\"\nalgorithm = \"{name}\"\nscaling = \"symlog\"\nthreshold = {threshold}\n\
             {more}topic = \"odd-{name}\"\n\n"
        )
    };
    let detectors: String = Algorithm::NAMES.iter().enumerate().map(detector).collect();
    format!("{head}{detectors}[outputs]{outputs}")
}

/// What `scorer score` says of the production sample, a verdict a line.
fn verdicts(pipeline: &Path, models: &Path, folder: &Path) -> Vec<Value> {
    let output = folder.join("messages.jsonl");
    let run = scorer(&[
        "score",
        "resources/production.csv",
        "--pipeline",
        text(pipeline),
        "--models",
        text(models),
        "--device",
        "cpu",
        "--output",
        text(&output),
    ]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let messages = std::fs::read_to_string(&output).unwrap();
    let parsed = messages.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    parsed.filter(|message| message["score"].is_number()).collect()
}

fn number(verdict: &Value, name: &str) -> f64 {
    verdict[name].as_f64().unwrap_or_else(|| panic!("no {name} in {verdict}"))
}

#[test]
fn every_algorithm_goes_live_by_a_pipeline_file() {
    let folder = tempfile::tempdir().unwrap();
    let (pipeline, models) = (folder.path().join("all.toml"), folder.path().join("models"));
    std::fs::write(&pipeline, pipeline_with_all()).unwrap();
    let run = trainer(&[
        "--pipeline",
        text(&pipeline),
        "--input",
        "resources/training.csv",
        "--models",
        text(&models),
        "--device",
        "cpu",
    ]);
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""), "{}", run.stdout);
    let inspected = trainer(&["inspect", text(&models)]);
    assert_eq!(inspected.code, Some(0), "{}", inspected.stderr);
    let mut anomalies: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    for verdict in verdicts(&pipeline, &models, folder.path()) {
        let detector = verdict["detector"].as_str().unwrap();
        let is_anomalous = verdict["anomalous"].as_bool().unwrap();
        assert_eq!(is_anomalous, number(&verdict, "score") > number(&verdict, "threshold"), "{verdict}");
        let p_value = number(&verdict, "p_value");
        assert!(p_value > 0.0 && p_value <= 1.0, "{verdict}");
        let is_conformal = Algorithm::NAMES.iter().position(|name| *name == detector).unwrap() % 3 == 2;
        assert!(!(is_conformal && is_anomalous) || p_value <= 0.02 + 1e-9, "{verdict}");
        let shares: f64 = verdict["contributions"].as_object().unwrap().values().filter_map(Value::as_f64).sum();
        assert!((shares - 1.0).abs() < 0.01 || shares == 0.0, "{verdict}");
        assert_eq!(verdict["expected"].as_object().unwrap().len(), 5, "{verdict}");
        let counts = anomalies.entry(detector.to_owned()).or_default();
        counts.0 += 1;
        counts.1 += usize::from(is_anomalous);
    }
    assert_eq!(anomalies.len(), Algorithm::NAMES.len());
    for (detector, (all, anomalous)) in anomalies {
        assert!(all > 1000 && anomalous >= 5 && anomalous < all / 4, "{detector}: {anomalous} of {all}");
    }
}

#[test]
fn the_better_detector_takes_the_place_of_another() {
    let folder = tempfile::tempdir().unwrap();
    let (models, output) = (folder.path().join("models"), folder.path().join("comparison"));
    let fit = ["--pipeline", "transactions", "--models", text(&models), "--device", "cpu", "--quiet"];
    let run = trainer(&fit);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let before = std::fs::read_to_string(models.join("transactions/kmeans/model.json")).unwrap();
    let mut compare = vec!["compare"];
    compare.extend(fit);
    compare.extend(["--output", text(&output), "--detectors", "ecod", "--promote", "kmeans"]);
    let run = trainer(&compare);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let after = std::fs::read_to_string(models.join("transactions/kmeans/model.json")).unwrap();
    assert_ne!(before, after);
    let out = folder.path().join("verdicts.jsonl");
    let sample = "resources/transactions/production.jsonl.gz";
    let score = ["score", sample, "--pipeline", "transactions", "--models", text(&models), "--output", text(&out)];
    let run = scorer(&score);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let verdicts = std::fs::read_to_string(&out).unwrap();
    let first = verdicts.lines().find(|line| line.contains("\"detector\":\"kmeans\"")).unwrap();
    let first: Value = serde_json::from_str(first).unwrap();
    assert!(first.get("cluster").is_none(), "ECOD has no clusters: {first}");
    assert_eq!(first["topic"], "transaction_anomalies_kmeans");
}
