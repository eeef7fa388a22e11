//! `trainer compare` as a program, on small tables and on what is wrong with some.

use std::fs;

use polars::prelude::*;
use serde_json::Value;

use crate::fixtures::{Run, Workplace, invoices};

/// A table of `n` rows and three features, of which every twentieth row is far away and has the label 1.
fn table(n: usize) -> String {
    let row = |row: usize| {
        let is_anomaly = row.is_multiple_of(20);
        let noise = |step: usize| (row * step % 97) as f64 / 97.0;
        let far = if is_anomaly { 4.0 } else { 0.0 };
        format!("{},{},{},{}\n", far + noise(37), noise(53) - far, noise(71), u8::from(is_anomaly))
    };
    format!("a,b,c,label\n{}", (0..n).map(row).collect::<String>())
}

fn with_table(text: &str) -> Workplace {
    let workplace = Workplace::new();
    workplace.write("t.csv", text.as_bytes());
    workplace
}

/// Compares k-means and bisecting k-means on `t.csv`, on the CPU.
fn compare(workplace: &Workplace, more: &[&str]) -> Run {
    let fixed = ["compare", "--input", "t.csv", "--device", "cpu", "--bootstrap", "50"];
    let detectors = ["--detectors", "kmeans,bisecting-kmeans"];
    let named = if more.contains(&"--detectors") { &[][..] } else { &detectors };
    workplace.run(&[&fixed, named, more].concat())
}

fn objects(workplace: &Workplace, folder: &str) -> Vec<Value> {
    let text = fs::read_to_string(workplace.path(folder).join("comparison.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn frame(workplace: &Workplace, file: &str) -> DataFrame {
    ParquetReader::new(fs::File::open(workplace.path(file)).unwrap()).finish().unwrap()
}

fn refused(text: &str, more: &[&str]) -> String {
    let workplace = with_table(text);
    let run = compare(&workplace, &[&["--output", "out"], more].concat());
    assert_eq!((run.code, run.stdout.contains("results are in")), (Some(1), false), "{run:?}");
    assert!(!workplace.path("out").exists(), "nothing is half-written");
    run.stderr.strip_prefix("error: ").unwrap().trim_end().to_owned()
}

#[test]
fn the_stable_form_writes_one_object_a_detector() {
    let workplace = with_table(&table(400));
    let run = compare(&workplace, &["--label", "label", "--all-rows", "--output", "out"]);
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""), "{run:?}");
    for object in objects(&workplace, "out") {
        assert!(["kmeans", "bisecting-kmeans"].contains(&object["detector"].as_str().unwrap()));
        for key in ["roc_auc", "average_precision", "fit_seconds", "score_rows_per_second"] {
            assert!(object[key].as_f64().unwrap() >= 0.0, "{key}: {object}");
        }
        assert_eq!((&object["rows_fitted"], &object["rows_scored"]), (&400.into(), &400.into()));
        assert!(object["skipped"].is_null() && object["roc_auc_low"].as_f64() <= object["roc_auc"].as_f64());
    }
    let comparison = frame(&workplace, "out/comparison.parquet");
    assert_eq!(comparison.height(), 2);
    let scores = frame(&workplace, "out/comparison_scores.parquet");
    assert_eq!(scores.height(), 400);
    for column in ["row", "label", "kmeans_score", "kmeans_threshold", "kmeans_anomalous", "bisecting-kmeans_score"] {
        assert!(scores.column(column).is_ok(), "{column}");
    }
    assert_eq!(frame(&workplace, "out/comparison_agreement.parquet").height(), 1);
    for wanted in ["ROC AUC", "avg prec", "kmeans", "sorted by roc-auc", "20 anomalies", "results are in out"] {
        assert!(run.stdout.contains(wanted), "`{wanted}` is missing in\n{}", run.stdout);
    }
    for line in run.stdout.lines().filter(|line| !line.starts_with("device:")) {
        assert!(line.chars().count() <= 110, "`{line}`");
    }
}

#[test]
fn every_detector_takes_part_or_says_why_not() {
    let workplace = with_table(&table(300));
    let fixed = ["compare", "--input", "t.csv", "--device", "cpu", "--bootstrap", "20", "--output", "out"];
    let run = workplace.run(&[&fixed[..], &["--label", "label"]].concat());
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""), "{run:?}");
    let (objects, known) = (objects(&workplace, "out"), shared::detectors::defaults());
    assert_eq!(objects.len(), known.len());
    for detector in known {
        let object = objects.iter().find(|object| object["detector"] == detector.name).unwrap();
        assert!(object["roc_auc"].as_f64().is_some() != object["skipped"].is_string(), "{object}");
    }
    for line in run.stdout.lines().filter(|line| !line.starts_with("device:") && !line.contains(": ")) {
        assert!(line.chars().count() <= 110, "`{line}`");
    }
}

#[test]
fn the_same_seed_gives_the_same_files_but_for_times() {
    let workplace = with_table(&table(300));
    let of = |folder: &str, seed: &str| {
        let run = compare(&workplace, &["--label", "label", "--output", folder, "--seed", seed, "--quiet"]);
        assert_eq!((run.code, run.stdout.as_str()), (Some(0), ""));
        fs::read(workplace.path(folder).join("comparison_scores.parquet")).unwrap()
    };
    assert_eq!(of("one", "7"), of("two", "7"));
    assert_ne!(of("one", "7"), of("three", "8"));
}

#[test]
fn the_table_is_sorted_by_what_was_asked_for() {
    let workplace = with_table(&table(300));
    for (sort, key, is_rising) in [
        ("average-precision", "average_precision", false),
        ("f1", "f1", false),
        ("fit-seconds", "fit_seconds", true),
        ("score-rows-per-second", "score_rows_per_second", false),
        ("model-bytes", "model_bytes", true),
    ] {
        let run = compare(&workplace, &["--label", "label", "--output", "out", "--sort", sort]);
        assert_eq!(run.code, Some(0), "{run:?}");
        let values: Vec<f64> = objects(&workplace, "out").iter().map(|object| object[key].as_f64().unwrap()).collect();
        assert!(if is_rising { values[0] <= values[1] } else { values[0] >= values[1] }, "{sort}: {values:?}");
    }
}

#[test]
fn without_labels_everything_is_said_to_be_synthetic() {
    let workplace = with_table(&table(300));
    let detectors = ["--detectors", "kmeans,bisecting-kmeans,hbos,ensemble"];
    let run = compare(&workplace, &[&["--exclude", "label", "--output", "out"][..], &detectors].concat());
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(run.stdout.contains("there are no labels") && run.stdout.contains("synthetic anomalies"), "{}", run.stdout);
    for object in objects(&workplace, "out") {
        assert!(object["roc_auc"].is_null());
        for key in ["synthetic_roc_auc", "synthetic_roc_auc_global", "stability", "agreement"] {
            assert!(object[key].as_f64().is_some(), "{key}: {object}");
        }
    }
    let found = objects(&workplace, "out");
    assert_eq!(found[0]["detector"], "ensemble", "no measure tells more without labels");
    let agreements: Vec<f64> = found[1..].iter().map(|object| object["agreement"].as_f64().unwrap()).collect();
    assert!(agreements.is_sorted_by(|a, b| a >= b), "{agreements:?}");
    let error = refused(&table(100), &["--exclude", "label", "--sort", "roc-auc"]);
    assert_eq!(error, "--sort roc-auc needs labels: name their column with --label, or sort by another measure");
}

#[test]
fn false_alarms_are_counted_where_that_is_asked_for() {
    let workplace = with_table(&table(6000));
    let run =
        compare(&workplace, &["--label", "label", "--output", "out", "--false-alarm-rates", "--fit-on", "normal"]);
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(run.stdout.contains("asked 0.1%") && run.stdout.contains("held-out normal rows"), "{}", run.stdout);
    for object in objects(&workplace, "out") {
        let rates = object["false_alarm_rates"].as_array().unwrap();
        assert_eq!(rates.len(), 3);
        for rate in rates {
            let (asked, realised) = (rate["asked"].as_f64().unwrap(), rate["realised"].as_f64().unwrap());
            assert!((realised - asked).abs() < 0.02, "{rate}");
        }
    }
    assert_eq!(frame(&workplace, "out/comparison_false_alarms.parquet").height(), 6);
}

#[test]
fn bad_labels_are_errors() {
    let of = |labels: [&str; 3]| {
        let rows: String = (0..60).map(|row| format!("{},{}\n", row * 37 % 59, labels[row % 3])).collect();
        refused(&format!("a,label\n{rows}"), &["--label", "label"])
    };
    assert!(of(["0", "1", "2"]).starts_with("the label `label` is not binary, its values are 0, 1, 2: "));
    assert!(of(["0", "0", "0"]).starts_with("every row has the label `label` = 0: without an anomaly "));
    assert!(of(["0", "", "1"]).starts_with("the label `label` is missing in 20 rows, first on line 3 of t.csv: "));
    let error = refused(&table(60), &["--label", "Class"]);
    assert_eq!(error, "t.csv has no column `Class`; its columns are a, b, c, label");
}

#[test]
fn columns_that_are_no_features_are_left_out_and_said() {
    let rows: String = (0..200)
        .map(|row| {
            format!(
                "{},{},7,{},{}\n",
                row * 37 % 199,
                ["x", "y"][row % 2],
                if row % 9 == 0 { "" } else { "1.5" },
                u8::from(row % 50 == 0)
            )
        })
        .collect();
    let workplace = with_table(&format!("a,kind,constant,gaps,label\n{rows}"));
    let run = compare(&workplace, &["--label", "label", "--output", "out"]);
    assert_eq!(run.code, Some(0), "{run:?}");
    for wanted in [
        "1 column with text that is not a number is left out: kind",
        "features that never change: constant, gaps (2)",
        "missing values become the median of the fitted rows: gaps (23)",
    ] {
        assert!(run.stdout.contains(wanted), "`{wanted}` is missing in\n{}", run.stdout);
    }
    let one_hot = compare(&workplace, &["--label", "label", "--output", "out", "--categorical", "one-hot"]);
    assert!(one_hot.stdout.contains(" t.csv: 5 features"), "{one_hot:?}");
    let refused = compare(&workplace, &["--label", "label", "--missing", "refuse"]);
    assert_eq!(
        refused.stderr,
        "error: values are missing in gaps (23): use --missing median, mean or zero, or fill them\n"
    );
}

#[test]
fn rows_that_are_all_equal_end_the_comparison_with_the_reason() {
    let rows: String = (0..40).map(|row| format!("1,2,{}\n", u8::from(row % 10 == 0))).collect();
    let error = refused(&format!("a,b,label\n{rows}"), &["--label", "label"]);
    assert!(
        error.starts_with("no detector can be compared on these rows; `kmeans`: all 28 rows have the same features"),
        "{error}"
    );
}

#[test]
fn too_few_rows_skip_detectors_and_not_the_rest() {
    let workplace = with_table(&table(8));
    let run = compare(&workplace, &["--label", "label", "--output", "out", "--all-rows"]);
    assert!([Some(0), Some(1)].contains(&run.code), "{run:?}");
    assert!(!run.stderr.contains("panicked"), "{run:?}");
    let error = refused("a,label\n1,0\n", &["--label", "label"]);
    assert!(error.starts_with("every row has the label `label` = 0"), "{error}");
}

#[test]
fn a_wide_table_is_compared() {
    let n_columns = 1500;
    let header: Vec<String> = (0..n_columns).map(|column| format!("f{column}")).collect();
    let row = |row: usize| {
        let values: Vec<String> = (0..n_columns).map(|column| ((row * 31 + column * 17) % 23).to_string()).collect();
        format!("{},{}\n", values.join(","), u8::from(row.is_multiple_of(25)))
    };
    let text = format!("{},label\n{}", header.join(","), (0..100).map(row).collect::<String>());
    let workplace = with_table(&text);
    let run = compare(&workplace, &["--label", "label", "--all-rows", "--output", "out"]);
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(run.stdout.contains("1,500 features"), "{}", run.stdout);
}

#[test]
fn more_than_memory_holds_is_an_error() {
    let error = refused(&table(100), &["--label", "label", "--max-memory", "1MiB"]);
    assert!(error.starts_with("100 rows of 3 features need 161 MiB, but only 1 MiB is allowed: "), "{error}");
}

#[test]
fn flags_that_make_no_sense_are_refused() {
    for more in [
        &["--all-rows", "--test-share", "0.5"][..],
        &["--all-rows", "--false-alarm-rates"],
        &["--quantile", "0.9", "--false-alarm-rate", "0.1"],
        &["--promote"],
        &["--sort", "beauty"],
        &["--test-share", "1"],
        &["--anomaly", "1"],
    ] {
        let run = compare(&with_table(&table(60)), more);
        assert_eq!(run.code, Some(2), "{more:?}: {run:?}");
    }
    assert_eq!(Workplace::new().run(&["compare"]).code, Some(2));
    let error = refused(&table(60), &["--label", "label", "--detectors", "kmeans,oracle"]);
    assert!(error.starts_with("there is no detector `oracle` to compare; there are kmeans, "), "{error}");
    let error = refused(&table(60), &["--exclude", "label", "--fit-on", "normal"]);
    assert_eq!(error, "--fit-on normal needs labels: name their column with --label");
}

#[test]
fn a_pipeline_s_detectors_take_part_and_the_winner_becomes_a_model() {
    let workplace = Workplace::with_history(&invoices(200));
    let fixed = ["compare", "--pipeline", "invoices", "--input", "history.csv", "--device", "cpu"];
    let more =
        ["--detectors", "kmeans,bisecting-kmeans,kmeans-corrected", "--sort", "model-bytes", "--promote", "kmeans"];
    let run = workplace.run(&[&fixed[..], &more].concat());
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""), "{run:?}");
    assert!(run.stdout.contains("promoted: models/invoices/kmeans/model.json\n"), "{}", run.stdout);
    assert!(!run.stdout.contains("it replaces"), "there was no model: {}", run.stdout);
    let model: Value = serde_json::from_str(&workplace.model("kmeans")).unwrap();
    assert_eq!((&model["promoted"], &model["detector"]), (&true.into(), &"kmeans".into()));
    assert_eq!(model["training"]["rows"], 200);
    let scores = frame(&workplace, "models/invoices/reports/comparison_scores.parquet");
    assert_eq!(scores.height(), 60, "the later rows are scored");
    assert!(scores.column("key").is_ok());
    let run = workplace.run(&[&fixed[..], &["--promote", "kmeans", "--sort", "synthetic-roc-auc"]].concat());
    assert!(run.stderr.contains("synthetic anomalies do not tell which detector finds real ones"), "{run:?}");
    let again = workplace.run(&[&fixed[..], &more].concat());
    let replaced = " it replaces kmeans,\n   trained on 200 rows; no report says of what\n";
    assert!(again.stdout.ends_with(replaced), "{}", again.stdout);
    let run = workplace.run(&[&fixed[..], &["--promote", "nobody"]].concat());
    assert!(run.stderr.contains("has no detector `nobody` whose model --promote could replace"), "{run:?}");
    let run = workplace.run(&[&fixed[..], &["--label", "Country"]].concat());
    assert!(run.stderr.contains("combines lines into entities, and a label belongs to one line"), "{run:?}");
}

#[test]
fn a_pipeline_may_be_given_its_label_by_a_flag() {
    let workplace = Workplace::new();
    let pipeline = r#"
        name = "payments"
        input = { topic = "in", columns = ["id", "amount:float", "at:datetime"], datetime_formats = ["rfc3339"] }
        entity = { key = "id" }
        features = { amount = "amount" }
        detectors = [{ name = "far", algorithm = "kmeans", k = 2, topic = "far" }]
        outputs.erroneous = "bad"
    "#;
    workplace.write("p.toml", pipeline.as_bytes());
    let line = |n: usize| {
        let is_fraud = n % 11 == 5;
        let amount = if is_fraud { 900 + n } else { n % 7 };
        format!("p{n},{amount},2024-03-01T10:{:02}:{:02}Z,{}\n", n / 60, n % 60, u8::from(is_fraud))
    };
    let lines: String = (0..200).map(line).collect();
    workplace.write("payments.csv", format!("id,amount,at,fraud\n{lines}").as_bytes());
    let fixed = ["compare", "--pipeline", "p.toml", "--input", "payments.csv", "--label", "fraud", "--device", "cpu"];
    let run = workplace.run(&[&fixed[..], &["--detectors", "far,kmeans", "--output", "out"]].concat());
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""), "{run:?}");
    assert!(run.stdout.contains("scored 60 rows (") && run.stdout.contains("the later ones"), "{}", run.stdout);
    assert!(objects(&workplace, "out").iter().all(|object| object["roc_auc"].as_f64().is_some()));
}

#[test]
fn help_is_a_manual() {
    let run = Workplace::new().run(&["compare", "--help"]);
    assert_eq!(run.code, Some(0));
    for wanted in ["EXAMPLES", "--all-rows", "--false-alarm-rates", "--promote", "synthetic", "EXIT STATUS"] {
        assert!(run.stdout.contains(wanted), "`{wanted}` is missing in\n{}", run.stdout);
    }
}
