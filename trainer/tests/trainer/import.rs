//! Models that real Spark trained and saved (`benches/spark/make_fixtures.py`) give Spark's verdicts here.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use shared::detector::Detector;
use shared::detectors::clusters::{Clusters, Partition};
use shared::device::{DeviceRequest, choose};
use shared::matrix::FeatureMatrix;
use shared::model::{LastTraining, Model, of_another_training};
use shared::pipeline::Pipeline;

use crate::fixtures::{Run, Workplace, csv, invoices};

/// What Spark said of some rows.
#[derive(Deserialize)]
struct Predictions {
    features: Vec<String>,
    rows: Vec<Vec<f64>>,
    models: std::collections::BTreeMap<String, Prediction>,
}

#[derive(Deserialize)]
struct Prediction {
    labels: Vec<i32>,
    squared_distances: Vec<f64>,
    anomalous: Vec<bool>,
}

fn spark(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/spark").join(name)
}

fn predictions() -> Predictions {
    serde_json::from_slice(&fs::read(spark("predictions.json")).unwrap()).unwrap()
}

fn threshold(name: &str) -> PathBuf {
    spark(&format!("threshold_{name}.txt"))
}

/// The detector of `invoices-spark` that a model is for.
fn detector(name: &str) -> &'static str {
    if name.contains("bisect") { "bisecting-kmeans" } else { "kmeans" }
}

/// Imports a fixture into the folder `models`.
fn import(workplace: &Workplace, name: &str, more: &[&str]) -> Run {
    import_from(workplace, &spark(name), &threshold(name), more)
}

fn import_from(workplace: &Workplace, folder: &Path, threshold: &Path, more: &[&str]) -> Run {
    let fixed = ["import", "spark", folder.to_str().unwrap(), "--threshold", threshold.to_str().unwrap()];
    workplace.run(&[&fixed[..], more].concat())
}

fn load(workplace: &Workplace, detector: &str) -> Model {
    Model::load(&workplace.path("models"), &Pipeline::load("invoices-spark").unwrap(), detector).unwrap()
}

fn clusters(model: &Model) -> &Clusters {
    model.learned.clusters().unwrap()
}

/// As the scorer does it: all rows in a batch, and one by one.
fn verdicts(model: &Model, rows: &[Vec<f64>]) -> Vec<(f32, Option<i32>, bool)> {
    let detector = Detector::new(model.clone(), &choose(DeviceRequest::Cpu).unwrap().device);
    let of = |values: Vec<f64>| {
        let batch = detector.score(&FeatureMatrix::from_values(model.features.len(), values));
        let verdict = |(score, cluster)| (score, cluster, detector.is_anomalous((score, cluster)));
        batch.iter().map(verdict).collect::<Vec<_>>()
    };
    let together = of(rows.concat());
    let alone: Vec<_> = rows.iter().flat_map(|row| of(row.clone())).collect();
    assert_eq!(together, alone);
    together
}

fn assert_near(here: f64, there: f64, what: &str) {
    assert!((here - there).abs() <= 1e-12 * there.abs(), "{what}: {here} and {there}");
}

/// MLlib and ML, k-means and bisecting k-means, sparse centres, and the formats of earlier versions of Spark.
#[test]
fn every_model_of_spark_gives_the_verdicts_of_spark() {
    let Predictions { features, rows, models } = predictions();
    assert_eq!(models.len(), 8);
    for (name, expected) in models {
        let workplace = Workplace::new();
        let run = import(&workplace, &name, &[]);
        assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""), "{name}");
        let model = load(&workplace, detector(&name));
        assert_eq!(model.features, features);
        let exact = clusters(&model).exact_distances().unwrap();
        let found = verdicts(&model, &rows);
        assert!(expected.anomalous.contains(&true) && expected.anomalous.contains(&false));
        for (index, row) in rows.iter().enumerate() {
            let what = format!("{name}, row {index}");
            let (label, squared) = exact.predict(row);
            assert_eq!(label, expected.labels[index], "{what}");
            assert_near(squared, expected.squared_distances[index], &what);
            let (score, cluster, is_anomalous) = found[index];
            assert_eq!((cluster, is_anomalous), (Some(label), expected.anomalous[index]), "{what}");
            assert!((f64::from(score) - squared).abs() <= 2e-7 * squared, "{what}: {score}");
        }
    }
}

/// Else the test of all models would pass with the nearest leaf as well.
#[test]
fn the_rows_tell_a_descent_from_the_nearest_leaf() {
    let workplace = Workplace::new();
    assert_eq!(import(&workplace, "clustering_bisect", &[]).code, Some(0));
    let model = load(&workplace, "bisecting-kmeans");
    let Partition::Tree(tree) = &clusters(&model).partition else { panic!("no tree") };
    let centers = &clusters(&model).exact.as_ref().unwrap().centers;
    let leaves: Vec<&Vec<f64>> =
        tree.nodes.iter().zip(centers).filter(|(node, _)| node.children.is_none()).map(|(_, center)| center).collect();
    let Predictions { rows, models, .. } = predictions();
    let nearest = |row: &Vec<f64>| {
        let squared = |leaf: &Vec<f64>| leaf.iter().zip(row).map(|(a, b)| (a - b) * (a - b)).sum::<f64>();
        (0..leaves.len()).min_by(|&a, &b| squared(leaves[a]).total_cmp(&squared(leaves[b]))).unwrap() as i32
    };
    let labels = &models["clustering_bisect"].labels;
    let others = rows.iter().zip(labels).filter(|&(row, label)| nearest(row) != *label).count();
    assert!(others > 0, "every row comes to its nearest leaf");
}

/// A job that takes roots writes the root as its threshold.
#[test]
fn a_job_that_compares_distances_is_followed() {
    let Predictions { rows, models, .. } = predictions();
    for name in ["clustering", "clustering_bisect"] {
        let workplace = Workplace::new();
        let squared: f64 = fs::read_to_string(threshold(name)).unwrap().parse().unwrap();
        workplace.write("threshold", squared.sqrt().to_string().as_bytes());
        let run = import_from(&workplace, &spark(name), &workplace.path("threshold"), &["--distance", "euclidean"]);
        assert_eq!(run.code, Some(0), "{run:?}");
        let model = load(&workplace, detector(name));
        let exact = clusters(&model).exact_distances().unwrap();
        let expected = &models[name];
        for ((row, squared), label) in rows.iter().zip(&expected.squared_distances).zip(&expected.labels) {
            let (cluster, score) = exact.predict(row);
            assert_eq!(cluster, *label);
            assert_near(score, squared.sqrt(), name);
        }
        let anomalous: Vec<bool> = verdicts(&model, &rows).into_iter().map(|(_, _, anomalous)| anomalous).collect();
        assert_eq!(anomalous, expected.anomalous);
    }
}

#[test]
fn what_was_imported_is_told() {
    let workplace = Workplace::new();
    let run = import(&workplace, "clustering", &[]);
    for wanted in [
        "kmeans, k = 5",
        "spark org.apache.spark.mllib.clustering.KMeansModel, version 2.0",
        "squared distance to the centre, in float64",
        "8,871.8, of the job that trained it",
        "features, in the order of the centres: AvgUnitPrice, MinUnitPrice, MaxUnitPrice, Time, NumberItems",
        "the model is in models/invoices-spark/kmeans/model.json",
        "without --history it knows no p-values",
    ] {
        assert!(run.stdout.contains(wanted), "`{wanted}` is missing in\n{}", run.stdout);
    }
    let model = load(&workplace, "kmeans");
    assert!(!model.is_calibrated() && model.usual.is_empty() && model.typical.len() == 5);
    // The same files give the same model, byte for byte; another threshold is other files.
    let imported = model.imported.clone().unwrap();
    assert_eq!(import(&workplace, "clustering", &["--quiet"]).stdout, "");
    assert_eq!(load(&workplace, "kmeans").version(), model.version());
    workplace.write("threshold", b"9000.0");
    assert_eq!(import_from(&workplace, &spark("clustering"), &workplace.path("threshold"), &[]).code, Some(0));
    let other = load(&workplace, "kmeans");
    assert_ne!(other.imported.unwrap().fingerprint, imported.fingerprint);
    assert_eq!(other.threshold.value, 9000.0);
}

/// A history changes no verdict: it tells how rare scores are and what is usual.
#[test]
fn a_history_gives_p_values_and_usual_ranges() {
    let workplace = Workplace::new();
    workplace.write("history.csv", &csv(&invoices(200)));
    assert_eq!(import(&workplace, "clustering", &[]).code, Some(0));
    let without = load(&workplace, "kmeans");
    let run = import(&workplace, "clustering", &["--history", "history.csv"]);
    assert_eq!(run.code, Some(0), "{run:?}");
    let with = load(&workplace, "kmeans");
    assert_eq!((with.training.rows, with.usual.len(), with.is_calibrated()), (200, 5, true));
    assert!(with.training.anomalies > 0 && with.training.anomalies < 200, "{}", with.training.anomalies);
    assert!(run.stdout.contains("of 200 entities of the history"), "{}", run.stdout);
    let rows = predictions().rows;
    assert_eq!(verdicts(&with, &rows), verdicts(&without, &rows));
    let highest = with.p_value(f32::MAX, None);
    assert!((highest - 1.0 / 201.0).abs() < 1e-12, "{highest}");
}

/// The other detector keeps its model, and nobody takes the training for one that ended half-way.
#[test]
fn a_model_of_a_training_is_replaced() {
    let workplace = Workplace::with_history(&invoices(200));
    let trained = workplace.train("history.csv", &["--pipeline", "invoices-spark", "--top", "20"]);
    assert_eq!(trained.code, Some(0), "{trained:?}");
    let (kmeans, bisecting) = (load(&workplace, "kmeans"), load(&workplace, "bisecting-kmeans"));
    let run = import(&workplace, "clustering", &[]);
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(run.stdout.contains("it replaces kmeans"), "{}", run.stdout);
    let imported = load(&workplace, "kmeans");
    assert_ne!(imported.version(), kmeans.version());
    assert_eq!(load(&workplace, "bisecting-kmeans"), bisecting);
    let models = workplace.path("models");
    let (imported, bisecting) = (imported.version(), bisecting.version());
    let versions = [("kmeans", imported.as_str()), ("bisecting-kmeans", bisecting.as_str())];
    assert!(of_another_training(&models, "invoices-spark", versions).is_empty());
    let named: Vec<String> = LastTraining::read(&models, "invoices-spark").unwrap().versions.into_keys().collect();
    assert_eq!(named, ["bisecting-kmeans"]);
}

fn refused(workplace: &Workplace, folder: &Path, threshold: &Path, more: &[&str]) -> String {
    let run = import_from(workplace, folder, threshold, more);
    assert_eq!((run.code, run.stdout.as_str()), (Some(1), ""), "{run:?}");
    assert_eq!(run.stderr.lines().count(), 1, "one sentence: {}", run.stderr);
    assert!(!workplace.path("models").exists(), "nothing is half-written");
    run.stderr
}

#[test]
fn what_cannot_give_the_same_verdicts_is_refused() {
    let workplace = Workplace::new();
    let any = threshold("clustering");
    let of = |name: &str, more: &[&str]| refused(&workplace, &spark(name), &any, more);
    assert!(of("ml-cosine", &[]).contains("it measures cosine distance, and only Euclidean distances can be imported"));
    let expected = "its centres have 3 features and pipeline `invoices-spark` has 5: AvgUnitPrice, MinUnitPrice, \
        MaxUnitPrice, Time, NumberItems; the job must have computed these, in this order";
    let said = of("three-features", &[]);
    assert!(said.contains(expected), "{said}");
    let said = of("clustering", &["--detector", "bisecting-kmeans"]);
    assert!(said.contains("name one that is trained by kmeans (kmeans)"), "{said}");
    let said = of("clustering", &["--detector", "other"]);
    assert!(said.contains("has no detector `other` that is trained; it has kmeans, bisecting-kmeans"), "{said}");
    assert!(of("", &[]).contains("it has no folder `metadata`"));
    assert!(of("gone", &[]).contains("it has no folder `metadata`"));
    let of = |threshold: &str| refused(&workplace, &spark("clustering"), &workplace.path(threshold), &[]);
    assert!(of("gone").starts_with("error: cannot read "));
    workplace.write("text", b"eight");
    assert!(of("text").contains("one number that is not negative, as in 8871.76, and it has `eight`"));
}

/// A copy of the fixture `clustering` with other data.
fn with_data(workplace: &Workplace, name: &str, data: &[u8]) -> PathBuf {
    let folder = workplace.path(name);
    fs::create_dir_all(folder.join("metadata")).unwrap();
    fs::create_dir_all(folder.join("data")).unwrap();
    fs::copy(spark("clustering/metadata/part-00000"), folder.join("metadata/part-00000")).unwrap();
    fs::write(folder.join("data/part-00000.snappy.parquet"), data).unwrap();
    folder
}

#[test]
fn damaged_files_are_refused_in_one_sentence() {
    let workplace = Workplace::new();
    let whole = fs::read(spark("clustering/data/part-00000.snappy.parquet")).unwrap();
    let of = |data: &[u8]| refused(&workplace, &with_data(&workplace, "damaged", data), &threshold("clustering"), &[]);
    assert!(of(b"").contains("cannot import "));
    assert!(of(&whole[..whole.len() / 2]).contains("part-00000.snappy.parquet"));
    let tree = fs::read(spark("clustering_bisect/data/part-00000.snappy.parquet")).unwrap();
    assert!(of(&tree).contains("its columns are not those of this kind of model"));
    let other = fs::read(spark("sparse/data/part-00000.snappy.parquet")).unwrap();
    assert!(of(&other).contains("its 4 centres are not numbered from 0 on to 5"));
    // Each byte in turn is another one: an error or a model, and never a panic.
    for index in (0..whole.len()).step_by(37) {
        let mut data = whole.clone();
        data[index] ^= 0x55;
        let run = import_from(
            &workplace,
            &with_data(&workplace, "changed", &data),
            &threshold("clustering"),
            &["--models", "changed-models"],
        );
        assert!(matches!(run.code, Some(0 | 1)) && !run.stderr.contains("panicked"), "byte {index}: {run:?}");
    }
}
