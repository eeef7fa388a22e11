//! Detectors that learn from labels, and thresholds that are chosen by what mistakes cost.

use std::fs;

use serde_json::Value;
use shared::model::Model;

use crate::fixtures::{Run, Workplace};

const DETECTORS: &str = r#"
    { name = "linear", algorithm = "logistic-regression", scaling = "quantile", C = 10, class_weight = "balanced", topic = "linear" },
    { name = "trees", algorithm = "gradient-boosting", max_iter = 40, max_leaf_nodes = 7, class_weight = { normal = 1, anomaly = 4 }, threshold = { cost = { missed = 120, review = 4 } }, topic = "trees" },
"#;

fn pipeline(label: &str, detectors: &str) -> String {
    format!(
        r#"
        name = "cards"
        input.topic = "cards"
        input.columns = ["Id", "At:datetime", "Who", "Amount:float", "Fraud?"]
        input.datetime_formats = ["%Y-%m-%d %H:%M:%S"]
        {label}
        entity.key = "Id"
        outputs.erroneous = "cards_errors"
        features = {{ Amount = "Amount", Hour = "hour(At)" }}
        detectors = [{detectors}]
        "#
    )
}

/// A payment each half hour. One in twelve is a fraud, most of them of a large amount; of one in fifty nobody knows.
fn history(label: impl Fn(usize) -> &'static str) -> String {
    let row = |index: usize| {
        let is_large = index % 12 == 5 && !index.is_multiple_of(5);
        let amount = if is_large { 120 + index * 53 % 100 } else { 10 + index * 37 % 115 };
        let minutes = index * 30;
        let (day, hour, minute) = (1 + minutes / 1440, minutes / 60 % 24, minutes % 60);
        format!("{index},2025-03-{day:02} {hour:02}:{minute:02}:00,C{},{amount},{}\n", index % 7, label(index))
    };
    format!("Id,At,Who,Amount,Fraud\n{}", (0..1200).map(row).collect::<String>())
}

fn known(index: usize) -> &'static str {
    match (index % 50, index % 12) {
        (0, _) => "",
        (_, 5) => "1",
        _ => "0",
    }
}

fn workplace(pipeline: &str, history: &str) -> Workplace {
    let workplace = Workplace::new();
    workplace.write("cards.toml", pipeline.as_bytes());
    workplace.write("history.csv", history.as_bytes());
    workplace
}

fn train(workplace: &Workplace) -> Run {
    workplace.run(&["--pipeline", "cards.toml", "--input", "history.csv", "--device", "cpu"])
}

fn refused(pipeline: &str, history: &str) -> String {
    let workplace = workplace(pipeline, history);
    let run = train(&workplace);
    assert_eq!(run.code, Some(1), "{run:?}");
    assert!(!workplace.path("models").exists(), "nothing is half-written");
    run.stderr
}

#[test]
fn models_that_learned_from_labels_are_the_same_each_time_and_know_frauds() {
    let workplace = workplace(&pipeline("label.column = \"Fraud\"", DETECTORS), &history(known));
    let run = train(&workplace);
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(run.stdout.contains("a missed anomaly costs 120 and a look 4"), "{}", run.stdout);
    let files = || ["linear", "trees"].map(|name| workplace.path(&format!("models/cards/{name}/model.json")));
    let models = files().map(|path| Model::read(&path).unwrap());
    assert_eq!(train(&workplace).code, Some(0));
    assert_eq!(files().map(|path| Model::read(&path).unwrap()), models);
    for model in &models {
        let threshold = model.threshold.value;
        assert!(threshold > 0.0 && threshold < 1.0, "a probability: {threshold}");
    }
    let report = fs::read_to_string(workplace.path("models/cards/reports/training.json")).unwrap();
    let report: Value = serde_json::from_str(&report).unwrap();
    assert!(report["detectors"]["linear"].get("cost").is_none());
    let cost = &report["detectors"]["trees"]["cost"];
    let chosen = &cost["chosen"];
    assert_eq!(cost["costs"], serde_json::json!({ "missed": 120.0, "review": 4.0 }));
    assert_eq!(chosen["threshold"], report["detectors"]["trees"]["threshold"]);
    let number = |point: &Value, key: &str| point[key].as_f64().unwrap();
    let curve = cost["curve"].as_array().unwrap();
    assert!(curve.contains(chosen) && curve.iter().all(|point| number(point, "cost") >= number(chosen, "cost")));
    // A quarter was held out: 300 payments, of which 294 are known and 25 less the unknown ones are frauds.
    let all = curve.last().unwrap();
    assert_eq!(number(all, "alerts"), 294.0);
    assert_eq!(number(all, "missed"), 0.0);
    assert!(number(chosen, "caught") > 0.7 * number(all, "caught"), "{chosen} {all}");
    assert!(number(chosen, "cost") < 0.7 * number(all, "cost").min(number(&curve[0], "cost")), "{chosen} {all}");
}

#[test]
fn without_labels_the_sentence_says_what_would_be_right() {
    let stderr = refused(&pipeline("", DETECTORS), &history(known));
    let expected = "error: detector `linear`: logistic-regression learns from labels, and pipeline `cards` names no column that \
        holds them: add [label] column = \"...\", or use an algorithm that needs none, such as isolation-forest\n";
    assert_eq!(stderr, expected);
    let by_cost = r#"{ name = "far", algorithm = "kmeans", k = 2, threshold = { cost = { missed = 9, review = 1 } }, topic = "far" }"#;
    let stderr = refused(&pipeline("", by_cost), &history(known));
    let expected = "error: detector `far`: threshold cost = { missed = 9, review = 1 } is chosen by labels, and pipeline `cards` \
        names no column that holds them: add [label] column = \"...\", or use threshold = { false_alarm_rate = 0.001 }\n";
    assert_eq!(stderr, expected);
}

#[test]
fn a_class_that_is_missing_is_told() {
    let labelled = pipeline("label.column = \"Fraud\"", DETECTORS);
    let stderr = refused(&labelled, &history(|_| "0"));
    assert!(stderr.starts_with("error: detector `linear`: 0 of the 1200 labelled rows are anomalies: "), "{stderr}");
    // Only frauds are marked: a record without a label is not normal but unknown.
    let stderr = refused(&labelled, &history(|index| if known(index) == "1" { "1" } else { "" }));
    assert!(stderr.contains(" labelled rows are normal: "), "{stderr}");
}

#[test]
fn a_detector_that_learns_from_rows_alone_may_have_a_threshold_by_cost() {
    let by_cost = r#"{ name = "far", algorithm = "kmeans", k = 2, threshold = { cost = { missed = 120, review = 4 } }, topic = "far" }"#;
    let workplace = workplace(&pipeline("label.column = \"Fraud\"", by_cost), &history(known));
    let run = train(&workplace);
    assert_eq!(run.code, Some(0), "{run:?}");
}

#[test]
fn detectors_are_judged_in_the_order_of_time() {
    let labelled = pipeline("label.column = \"Fraud\"\nentity.customer = \"Who\"", DETECTORS);
    let workplace = workplace(&labelled, &history(known));
    let fixed = ["compare", "--pipeline", "cards.toml", "--input", "history.csv", "--device", "cpu", "--output", "out"];
    let run = workplace.run(&[&fixed[..], &["--prequential", "5d", "--delay", "2d", "--cards-a-day", "2"]].concat());
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""), "{run:?}");
    assert!(run.stdout.contains("trained on all before, judged on the 5d after the next 2d"), "{}", run.stdout);
    let report = fs::read_to_string(workplace.path("out/prequential.json")).unwrap();
    let report: Value = serde_json::from_str(&report).unwrap();
    let detectors = report["detectors"].as_array().unwrap();
    assert_eq!(detectors.len(), 2);
    for detector in detectors {
        // 25 days: from the eighth on, three times five are judged.
        let folds = detector["folds"].as_array().unwrap();
        assert_eq!(folds.len(), 3, "{detector}");
        assert_eq!(folds[0]["trained_until"], "2025-03-06T00:00:00Z");
        assert_eq!(folds[0]["judged_from"], "2025-03-08T00:00:00Z");
        for fold in folds {
            assert_eq!(fold["judged"], 240, "{fold}");
            assert_eq!(fold["anomalies"], 20, "{fold}");
            let measure = |key: &str| fold[key].as_f64().unwrap();
            assert!(measure("roc_auc") > 0.7, "{fold}");
            assert!(measure("card_precision") <= measure("best_card_precision"), "{fold}");
        }
    }
    let run = workplace.run(&[&fixed[..], &["--prequential", "30d"]].concat());
    assert_eq!(run.code, Some(1));
    assert!(run.stderr.contains("use more history or shorter spans"), "{run:?}");
    for more in [&["--prequential", "soon"][..], &["--delay", "2d"], &["--prequential", "5d", "--all-rows"]] {
        assert_eq!(workplace.run(&[&fixed[..], more].concat()).code, Some(2), "{more:?}");
    }
    workplace.write("cards.toml", pipeline("", DETECTORS).as_bytes());
    let run = workplace.run(&[&fixed[..], &["--prequential", "5d"]].concat());
    assert!(run.stderr.contains("name their column with --label or in [label]"), "{run:?}");
}
