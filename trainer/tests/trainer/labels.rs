//! What analysts said: confirmed anomalies are as if they had never been in the history.

use std::fs;

use serde_json::Value;

use crate::fixtures::{Workplace, csv, invoices};

/// Invoices that analysts have looked at.
const CONFIRMED: [usize; 2] = [20, 60];
const FALSE_ALARM: usize = 40;

fn labelled() -> Workplace {
    let lines = invoices(200);
    let workplace = Workplace::with_history(&lines);
    let is_confirmed =
        |line: &&str| CONFIRMED.iter().any(|invoice| line.starts_with(&format!("{},", number(*invoice))));
    let without: String = lines.split_inclusive('\n').filter(|line| !is_confirmed(line)).collect();
    assert_eq!(lines.lines().count() - without.lines().count(), 4, "two lines an invoice");
    workplace.write("without.csv", &csv(&without));
    let row = |invoice: usize, label: &str| {
        format!("invoices/0/{invoice}/x,{},{label},\"a \"\"note\"\",\nof two lines\"\n", number(invoice))
    };
    let rows = CONFIRMED.map(|invoice| row(invoice, "anomaly")).concat();
    let labels = format!("id,key,label,note\n{rows}{}{}", row(FALSE_ALARM, "false_alarm"), row(80, "unsure"));
    workplace.write("labels.csv", labels.as_bytes());
    workplace
}

/// The number of the invoice with this index, as its lines have it.
fn number(invoice: usize) -> usize {
    500_000 + invoice
}

#[test]
fn a_confirmed_anomaly_has_no_part_in_a_training() {
    let workplace = labelled();
    for how in [&[][..], &["--quantile", "0.9"], &["--top", "3"]] {
        assert_eq!(workplace.train("without.csv", how).code, Some(0));
        let expected = ["kmeans", "bisecting-kmeans"].map(|detector| workplace.model(detector));
        let run = workplace.train("history.csv", &[&["--labels", "labels.csv"], how].concat());
        assert_eq!(run.code, Some(0), "{run:?}");
        assert_eq!(["kmeans", "bisecting-kmeans"].map(|detector| workplace.model(detector)), expected, "{how:?}");
        let report = fs::read_to_string(workplace.path("models/invoices/reports/training.json")).unwrap();
        let report: Value = serde_json::from_str(&report).unwrap();
        assert_eq!(report["entities_left_out"]["confirmed_anomaly"], 2);
    }
}

#[test]
fn labels_of_another_history_are_told_of_and_what_is_none_is_refused() {
    let workplace = labelled();
    workplace.write("other.csv", b"key,label\nnowhere,anomaly\n");
    let run = workplace.train("history.csv", &["--labels", "other.csv"]);
    assert_eq!(run.code, Some(0));
    let warning = "none of the 1 confirmed anomalies in other.csv is in this history: nothing is left out";
    assert!(run.stderr.contains(warning), "{}", run.stderr);
    let run = workplace.train("history.csv", &["--labels", "history.csv"]);
    assert_eq!(run.code, Some(1));
    assert!(run.stderr.starts_with("error: history.csv holds no labels of analysts: "), "{}", run.stderr);
}

#[test]
fn a_comparison_takes_what_analysts_confirmed_for_anomalies() {
    let workplace = labelled();
    let what = ["compare", "--pipeline", "invoices", "--input", "history.csv", "--all-rows", "--device", "cpu"];
    let how = ["--detectors", "hbos,ecod", "--labels", "labels.csv", "--bootstrap", "50", "--output", "out"];
    let run = workplace.run(&[&what[..], &how].concat());
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(run.stdout.contains("2 of the 2 anomalies that labels.csv confirms"), "{}", run.stdout);
    let run = workplace.run(&[&what[..], &how, &["--label", "x"]].concat());
    assert_eq!(run.code, Some(2), "labels come from one place");
}
