//! Without a named history: the sample data, and what becomes of models that are there already.

use std::fs;

use shared::model::Model;

use crate::fixtures::{Run, Workplace, csv, invoices};

const FAST: [&str; 6] = ["--device", "cpu", "--k", "3", "--n-init", "2"];

fn train(workplace: &Workplace, more: &[&str]) -> Run {
    let run = workplace.run(&[&FAST, more].concat());
    assert_eq!(run.code, Some(0), "{run:?}");
    run
}

/// The rows that the models in a folder were trained on.
fn rows(workplace: &Workplace, models: &str) -> usize {
    Model::read(&Model::path(&workplace.path(models), "invoices", "kmeans")).unwrap().training.rows
}

#[test]
fn the_sample_is_built_in() {
    let workplace = Workplace::new();
    let run = train(&workplace, &[]);
    assert!(run.stdout.contains(" learned from sample data: resources/training.csv (built in)\n"), "{}", run.stdout);
    let first = "trains pipeline `invoices` on its sample data, resources/training.csv (built in), into models; `trainer --input";
    assert!(run.stdout.starts_with(first) && run.stdout.contains("\ndevice: cpu"), "{}", run.stdout);
    assert!(!run.stdout.contains("they replace"), "{}", run.stdout);
    assert_eq!((rows(&workplace, "models"), run.stderr.as_str()), (2651, ""));
    let again = train(&workplace, &["--seed", "43"]);
    let replaced = "they replace kmeans and bisecting-kmeans,\n   trained on resources/training.csv (built in) on 20";
    assert!(again.stdout.contains(replaced) && again.stdout.contains("UTC (2,651 rows)\n"), "{}", again.stdout);
    assert!(!workplace.path("models-sample").exists() && again.stderr.is_empty(), "{again:?}");
    let payments = train(&workplace, &["--pipeline", "transactions", "--quiet"]);
    assert_eq!((payments.stdout.as_str(), payments.stderr.as_str()), ("", ""));
    assert!(workplace.path("models/transactions/kmeans/model.json").exists());
}

#[test]
fn a_file_in_the_folder_wins() {
    let workplace = Workplace::new();
    fs::create_dir(workplace.path("resources")).unwrap();
    workplace.write("resources/training.csv", &csv(&invoices(60)));
    let run = train(&workplace, &[]);
    assert!(run.stdout.contains(" learned from sample data: resources/training.csv\n"), "{}", run.stdout);
    assert_eq!(rows(&workplace, "models"), 60);
}

#[test]
fn the_sample_replaces_no_models_of_another_history() {
    let workplace = Workplace::with_history(&invoices(60));
    train(&workplace, &["--input", "history.csv"]);
    let (model, report) = (workplace.model("kmeans"), workplace.path("models/invoices/reports/training.json"));
    let report_before = fs::read(&report).unwrap();
    for quiet in [&[][..], &["--quiet"]] {
        let run = train(&workplace, quiet);
        let said = "warning: models/invoices has models of another history: kmeans and bisecting-kmeans, trained on \
                    history.csv on 20";
        assert!(run.stderr.starts_with(said), "{}", run.stderr);
        let rest = "UTC (60 rows). They stay as they are, and the new ones are in models-sample/invoices. To replace them, use \
                    --force.\n";
        assert!(run.stderr.ends_with(rest), "{}", run.stderr);
        assert_eq!((workplace.model("kmeans"), fs::read(&report).unwrap()), (model.clone(), report_before.clone()));
        assert_eq!(rows(&workplace, "models-sample"), 2651);
    }
    // The folder beside it may have models of another history, too.
    train(&workplace, &["--input", "history.csv", "--models", "models-sample"]);
    let run = train(&workplace, &[]);
    assert!(run.stderr.contains("are in models-sample-2/invoices."), "{}", run.stderr);
    assert_eq!((rows(&workplace, "models-sample"), rows(&workplace, "models-sample-2")), (60, 2651));

    let forced = train(&workplace, &["--force"]);
    assert_eq!((rows(&workplace, "models"), forced.stderr.as_str()), (2651, ""));
    assert!(
        forced.stdout.contains("they replace kmeans and bisecting-kmeans,\n   trained on history.csv on "),
        "{}",
        forced.stdout
    );
}

/// A named history is meant: its models replace others, and say so.
#[test]
fn a_named_history_replaces_models_and_says_which() {
    let workplace = Workplace::with_history(&invoices(60));
    train(&workplace, &[]);
    let run = train(&workplace, &["--input", "history.csv"]);
    assert!(
        run.stdout.contains("they replace kmeans and bisecting-kmeans,\n   trained on resources/"),
        "{}",
        run.stdout
    );
    assert_eq!((rows(&workplace, "models"), run.stderr.as_str()), (60, ""));
    assert!(run.stdout.lines().all(|line| line.chars().count() <= 100), "{}", run.stdout);
}

#[test]
fn a_model_that_cannot_be_read_is_spared_too() {
    let workplace = Workplace::new();
    fs::create_dir_all(workplace.path("models/invoices/kmeans")).unwrap();
    workplace.write("models/invoices/kmeans/model.json", b"{}");
    let run = train(&workplace, &[]);
    assert!(run.stderr.contains("kmeans, which cannot be read. They stay as they are"), "{}", run.stderr);
    assert_eq!((workplace.model("kmeans").as_str(), rows(&workplace, "models-sample")), ("{}", 2651));
}
