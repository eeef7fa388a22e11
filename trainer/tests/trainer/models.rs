//! What is written: models that are the same every time, and reports that agree with them.

use std::collections::HashMap;
use std::fs::{self, File};
use std::path::Path;

use polars::prelude::*;
use shared::detector::Detector;
use shared::device::{DeviceRequest, choose};
use shared::matrix::FeatureMatrix;
use shared::model::Model;
use shared::pipeline::Pipeline;

use crate::fixtures::{Workplace, invoices, real_history};

#[test]
fn the_same_history_seed_and_device_give_the_same_bytes() {
    let workplace = Workplace::with_history(&invoices(200));
    let models = ["--quiet", "--quiet"].map(|quiet| {
        assert_eq!(workplace.train("history.csv", &[quiet]).code, Some(0));
        (workplace.model("kmeans"), workplace.model("bisecting-kmeans"))
    });
    assert_eq!(models[0], models[1]);
    assert_eq!(workplace.train("history.csv", &["--seed", "43"]).code, Some(0));
    assert_ne!(models[0].0, workplace.model("kmeans"), "another seed is another model");
}

#[test]
fn real_history_gives_the_same_bytes_with_one_thread_and_with_many() {
    let Some(path) = real_history() else { return };
    let models = ["1", "4"].map(|threads| {
        let workplace = Workplace::new();
        let status = std::process::Command::new(env!("CARGO_BIN_EXE_trainer"))
            .args(["--quiet", "--device", "cpu", "--input"])
            .arg(&path)
            .current_dir(workplace.path(""))
            .env("RAYON_NUM_THREADS", threads)
            .env("POLARS_MAX_THREADS", threads)
            .status()
            .unwrap();
        assert!(status.success());
        assert_read_back(&workplace);
        (workplace.model("kmeans"), workplace.model("bisecting-kmeans"))
    });
    assert_eq!(models[0], models[1]);
}

/// What is read is what was written, to the last digit: else the scorer's version and scores would be others.
fn assert_read_back(workplace: &Workplace) {
    for detector in ["kmeans", "bisecting-kmeans"] {
        let path = workplace.path("models/invoices").join(detector).join("model.json");
        assert_eq!(Model::read(&path).unwrap().files().json, workplace.model(detector));
    }
}

#[test]
fn the_scorer_can_load_what_the_trainer_wrote() {
    let workplace = Workplace::with_history(&invoices(200));
    assert_eq!(workplace.train("history.csv", &[]).code, Some(0));
    assert_read_back(&workplace);
    let pipeline = Pipeline::load("invoices").unwrap();
    for detector in ["kmeans", "bisecting-kmeans"] {
        let model = Model::load(&workplace.path("models"), &pipeline, detector).unwrap();
        assert_eq!(model.training.rows, 200);
        let inertia: Vec<f64> =
            model.learned.clusters().unwrap().inertia_by_k.iter().map(|(_, inertia)| *inertia).collect();
        assert!(inertia.is_sorted_by(|a, b| a >= b), "inertia never rises with k: {inertia:?}");
    }
}

fn report(folder: &Path, name: &str) -> DataFrame {
    ParquetReader::new(File::open(folder.join(name)).unwrap()).finish().unwrap()
}

#[test]
fn reports_agree_with_the_models() {
    let workplace = Workplace::with_history(&invoices(200));
    assert_eq!(workplace.train("history.csv", &["--quantile", "0.9"]).code, Some(0));
    let folder = workplace.path("models/invoices/reports");
    let scores = report(&folder, "scores.parquet");
    assert_eq!(scores.height(), 200);
    let pipeline = Pipeline::load("invoices").unwrap();
    for spec in &pipeline.detectors {
        let model = Model::load(&workplace.path("models"), &pipeline, &spec.name).unwrap();
        assert_scored_as_on_the_stream(&scores, &pipeline, &model);
        let anomalous = scores.column(&format!("{}_anomalous", spec.name)).unwrap().bool().unwrap().clone();
        assert_eq!(anomalous.sum().unwrap() as usize, model.training.anomalies);
        assert!(model.training.anomalies > 0 && model.training.anomalies <= 20);
    }
    check_elbow(&report(&folder, "elbow.parquet"));
    let centroids = report(&folder, "centroids.parquet");
    let sizes: u64 = centroids.column("size").unwrap().u64().unwrap().sum().unwrap();
    assert_eq!(sizes, 400, "each of two detectors has all invoices in its clusters");
    let agreement = report(&folder, "agreement.parquet");
    let count = |name: &str| agreement.column(name).unwrap().u32().unwrap().get(0).unwrap();
    assert_eq!(count("anomalies_a"), count("both") + count("only_a"));
    let training: serde_json::Value = serde_json::from_slice(&fs::read(folder.join("training.json")).unwrap()).unwrap();
    assert_eq!((training["rows_read"].as_u64(), training["entities_trained_on"].as_u64()), (Some(400), Some(200)));
    assert!(training["trained_at"].as_str().unwrap().starts_with("20"));
}

/// Each entity by itself has, from the model file, the score and the cluster of the report.
fn assert_scored_as_on_the_stream(scores: &DataFrame, pipeline: &Pipeline, model: &Model) {
    let detector = Detector::new(model.clone(), &choose(DeviceRequest::Cpu).unwrap().device);
    let column = |name: &str| scores.column(name).unwrap();
    let features: Vec<_> = pipeline.feature_names().iter().map(|name| column(name).f64().unwrap().clone()).collect();
    let named = |what: &str| column(&format!("{}_{what}", model.detector)).clone();
    let (score, cluster) = (named("score"), named("cluster"));
    for row in 0..scores.height() {
        let values: Vec<f64> = features.iter().map(|feature| feature.get(row).unwrap()).collect();
        let batch = detector.score(&FeatureMatrix::from_values(values.len(), values));
        let alone = batch.iter().next().unwrap();
        assert_eq!(score.f32().unwrap().get(row), Some(alone.0));
        assert_eq!(cluster.i32().unwrap().get(row), alone.1);
    }
}

fn check_elbow(elbow: &DataFrame) {
    let detectors = elbow.column("detector").unwrap().str().unwrap().clone();
    let chosen = elbow.column("chosen").unwrap().bool().unwrap().clone();
    let mut by_detector: HashMap<&str, u32> = HashMap::new();
    for (detector, chosen) in detectors.iter().zip(chosen.iter()) {
        *by_detector.entry(detector.unwrap()).or_default() += u32::from(chosen.unwrap());
    }
    assert_eq!(by_detector, HashMap::from([("kmeans", 1), ("bisecting-kmeans", 1)]));
    assert_eq!(elbow.height(), 10);
}
