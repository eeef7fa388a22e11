//! What is written: models that are the same every time, and reports that agree with them.

use std::collections::HashMap;
use std::fs::{self, File};
use std::path::Path;

use polars::prelude::*;
use shared::detector::Detector;
use shared::device::{DeviceRequest, choose};
use shared::evaluation::statistics::quantile;
use shared::matrix::FeatureMatrix;
use shared::model::{Model, of_another_training};
use shared::pipeline::Pipeline;

use crate::fixtures::{Workplace, csv, invoices, real_history};

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
        let profile = model.profile.as_ref().unwrap();
        assert_eq!((profile.scores.n_samples, profile.features.len()), (200, pipeline.n_features()));
        assert!(
            profile
                .features
                .iter()
                .zip(&model.usual)
                .all(|(it, [low, high])| it.range[0] <= *low && *high <= it.range[1])
        );
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

/// Two invoices whose prices leave float64 when they are squared: models that the scorer can read, or a refusal that leaves
/// the old ones.
#[test]
fn enormous_numbers_in_the_history_break_no_model() {
    let enormous: String = (0..2).map(|invoice| format!("90000{invoice},1,x,1,3/15/2010 9:59,1e308,1,UK\n")).collect();
    let workplace = Workplace::with_history(&invoices(200));
    workplace.write("enormous.csv", &csv(&(invoices(200) + &enormous)));
    assert_eq!(workplace.train("history.csv", &[]).code, Some(0));
    let old = workplace.model("kmeans");
    for scaling in ["none", "standard", "robust", "symlog"] {
        let run = workplace.train("enormous.csv", &["--quiet", "--scaling", scaling]);
        if run.code == Some(0) {
            assert_read_back(&workplace);
        } else {
            assert!(run.stderr.starts_with("error: detector `") && run.stderr.contains("1e308"), "{run:?}");
            assert_eq!(workplace.model("kmeans"), old, "{scaling}");
        }
    }
}

/// A training that was killed left half-written files: the next one removes them, and nothing else.
#[test]
fn what_a_killed_training_left_is_removed_by_the_next() {
    let workplace = Workplace::with_history(&invoices(60));
    assert_eq!(workplace.train("history.csv", &[]).code, Some(0));
    let left = [
        "models/invoices/kmeans/.model.json.4711.tmp",
        "models/invoices/kmeans/.weights-0123abcd.safetensors.4711-2.tmp",
        "models/invoices/reports/.training.json.4711.tmp",
    ];
    let others = "models/invoices/kmeans/.mine.tmp";
    left.iter().chain([&others]).for_each(|name| workplace.write(name, b"half"));
    assert_eq!(workplace.train("history.csv", &[]).code, Some(0));
    for name in left {
        assert!(!workplace.path(name).exists(), "{name}");
    }
    assert!(workplace.path(others).exists());
}

/// The report is in its place before the first model: a training that ends in between is found by it.
#[test]
fn the_report_names_the_models_that_were_written() {
    let workplace = Workplace::with_history(&invoices(60));
    let versions = || {
        ["kmeans", "bisecting-kmeans"].map(|detector| {
            Model::read(&Model::path(&workplace.path("models"), "invoices", detector)).unwrap().version()
        })
    };
    let others = |[first, second]: &[String; 2]| {
        let detectors = [("kmeans", first.as_str()), ("bisecting-kmeans", second.as_str())];
        of_another_training(&workplace.path("models"), "invoices", detectors).len()
    };
    assert_eq!(workplace.train("history.csv", &[]).code, Some(0));
    let old = versions();
    assert_eq!(workplace.train("history.csv", &["--seed", "43"]).code, Some(0));
    let new = versions();
    assert_eq!((others(&new), others(&old)), (0, 2));
    let mixed = [new[0].clone(), old[1].clone()];
    assert_eq!(others(&mixed), 1);
}

/// A feature that keeps its name and changes its meaning is another one.
#[test]
fn a_model_of_another_definition_is_refused() {
    let workplace = Workplace::with_history(&invoices(60));
    assert_eq!(workplace.train("history.csv", &[]).code, Some(0));
    let shipped = include_str!("../../../resources/pipelines/invoices.toml");
    let load = |from: &str, to: &str| {
        assert!(shipped.contains(from), "{from}");
        let pipeline = Pipeline::parse(&shipped.replace(from, to), "test.toml").unwrap();
        let model = Model::load(&workplace.path("models"), &pipeline, "kmeans");
        model.map(|model| model.doubts(&pipeline)).map_err(|error| error.to_string())
    };
    assert_eq!(load("\"40s\"", "\"50s\""), Ok(Vec::new()), "how long an invoice is open changes no feature");
    let refused = load("mean(UnitPrice)", "last(UnitPrice)").unwrap_err();
    let (was, is) = ("`feature AvgUnitPrice=mean(UnitPrice)`", "`feature AvgUnitPrice=last(UnitPrice)`");
    assert!(refused.contains(&format!("the model has {was} and the file {is}; train it again")), "{refused}");
    assert!(load("\"Quantity:int\"", "\"Quantity:float\"").unwrap_err().contains("`column Quantity Integer`"));
    // A rule may be mended: it is said, and no more.
    assert_eq!(
        load("UnitPrice = { min = 0.0 }", "UnitPrice = { min = 1.0 }"),
        Ok(vec!["`range UnitPrice (1.0, inf)` is new".to_owned(), "`range UnitPrice (0.0, inf)` is gone".to_owned()])
    );
    let path = Model::path(&workplace.path("models"), "invoices", "kmeans");
    let mut model: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    model.as_object_mut().unwrap().shift_remove("definition").unwrap();
    std::fs::write(&path, model.to_string()).unwrap();
    assert!(load("mean(UnitPrice)", "last(UnitPrice)").unwrap()[0].contains("an earlier trainer wrote it"));
}

/// The models that ship compare nothing with an outlier: what they quote as expected is the centre of a cluster that counts, and
/// each of these is a usual one. Only the pipeline that does what a Spark job did says that every cluster counts.
#[test]
fn no_model_that_ships_takes_an_outlier_for_usual() {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("models");
    let mut n_looked_at = 0;
    for name in ["invoices", "transactions", "invoices-spark"] {
        let pipeline = Pipeline::load(name).unwrap();
        let entities = report(&models.join(name).join("reports"), "scores.parquet");
        let column = |feature: &String| -> Vec<f64> {
            let mut values: Vec<f64> = entities.column(feature).unwrap().f64().unwrap().into_no_null_iter().collect();
            values.sort_by(f64::total_cmp);
            values
        };
        let columns: Vec<Vec<f64>> = pipeline.feature_names().iter().map(column).collect();
        for spec in &pipeline.detectors {
            let model = Model::load(&models, &pipeline, &spec.name).unwrap();
            assert_eq!(model.parameters.min_share(), spec.algorithm.min_share(), "{name} {}", spec.name);
            if name == "invoices-spark" {
                assert_eq!(model.parameters.min_share(), Some(0.0));
                continue;
            }
            let clusters = model.learned.clusters().unwrap();
            let counts = |index: usize| clusters.corrected.as_ref().is_none_or(|it| it.penalties[index].is_some());
            for (index, cluster) in clusters.clusters().iter().enumerate().filter(|(index, _)| counts(*index)) {
                let share = cluster.size as f64 / model.training.rows as f64;
                assert!(share >= 0.005, "{name} {}: cluster {index} has {} rows", spec.name, cluster.size);
                for (values, center) in columns.iter().zip(model.scaler.inverse(&cluster.center)) {
                    let (low, high) = (quantile(values, 0.005), quantile(values, 0.995));
                    assert!(low <= center && center <= high, "{name} {}: {center} of {low} to {high}", spec.name);
                }
                n_looked_at += 1;
            }
        }
    }
    assert!(n_looked_at > 8, "{n_looked_at} clusters");
}
