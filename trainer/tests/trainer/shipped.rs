//! Pipelines that ship for public data sets, on small files of their layouts.

use crate::fixtures::Workplace;
use crate::layouts::{RETAIL, creditcard, paysim, retail, rows, sparkov, us};

/// Trains the pipeline on the file: every row is read, and so many entities are trained on.
fn trains(pipeline: &str, bytes: &[u8], trained_on: &str) {
    let workplace = Workplace::new();
    workplace.write("history.csv", bytes);
    let run = workplace.train("history.csv", &["--pipeline", pipeline]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let count = |line: &str| {
        let found = run.stdout.lines().find_map(|found| found.trim().strip_prefix(line)).map(str::trim);
        found.unwrap_or_else(|| panic!("`{line}` is missing in\n{}", run.stdout)).to_owned()
    };
    assert_eq!((count("rows read").as_str(), count("dropped").as_str()), ("300", "0"), "{}", run.stdout);
    assert_eq!(count("trained on"), trained_on, "{}", run.stdout);
}

#[test]
fn online_retail_in_both_editions_and_in_lower_case() {
    let of_kaggle = |month, day, minute: usize| format!("{month}/{day}/10 {}:{:02}", minute / 60, minute % 60);
    let second = "Invoice,StockCode,Description,Quantity,InvoiceDate,Price,Customer ID,Country";
    let iso = |month, day, minute: usize| format!("2010-{month:02}-{day:02} {:02}:{:02}:00", minute / 60, minute % 60);
    for bytes in [retail(RETAIL, us), retail(second, iso), retail(&RETAIL.to_lowercase(), of_kaggle)] {
        // Five of a hundred are cancelled.
        trains("online-retail", &bytes, "95");
    }
    let latin1: Vec<u8> = String::from_utf8(retail(RETAIL, us))
        .unwrap()
        .replace("MUG", "\u{a3}5 MUG")
        .chars()
        .map(|c| c as u32 as u8)
        .collect();
    trains("online-retail", &latin1, "95");
}

#[test]
fn payments_of_paysim() {
    trains("paysim", &paysim(), "300");
}

/// They have no key: each payment is one, named by its line.
#[test]
fn card_payments_of_creditcard() {
    trains("creditcard", &creditcard(), "300");
}

#[test]
fn card_payments_of_sparkov() {
    trains("sparkov", &sparkov(), "300");
}

#[test]
fn the_template_can_be_trained_as_it_is() {
    let workplace = Workplace::new();
    workplace.write("template.toml", include_bytes!("../../../resources/pipelines/template.toml"));
    let row = |row: usize| {
        format!("p{row},2024-01-{:02}T10:00:00Z,c{},s{},{}.5,,0", 1 + row % 28, row % 7, row % 5, 10 + row % 90)
    };
    workplace.write("payments.csv", &rows(300, "id,created_at,customer,shop,amount,note,fraud", row));
    let run = workplace.train("payments.csv", &["--pipeline", "template.toml"]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert!(workplace.path("models/template/isolation-forest/model.json").exists());
}

/// Whatever stands as a comment in the template is true: the sections that are commented out are read too.
#[test]
fn what_the_template_says_in_comments_is_valid() {
    let template = include_str!("../../../resources/pipelines/template.toml");
    let uncommented: String = template
        .lines()
        .map(|line| {
            let inner = line.strip_prefix("# ").unwrap_or(line);
            let is_key =
                inner.split_once(" = ").is_some_and(|(key, _)| key.chars().all(|c| c.is_ascii_lowercase() || c == '_'));
            // Sections of entities of several lines exclude those of records.
            let is_other = [
                "session_gap",
                "required",
                "key_prefix",
                "window = \"8m\"",
                "slide = \"1m\"",
                "topic = \"payments_cancel",
                "column = \"currency",
                "amount = \"amount\"",
                "base",
                "original",
                "rates",
                "envelope",
                "records",
                "convert",
                "shop",
            ]
            .iter()
            .any(|key| inner.starts_with(key));
            let is_section = inner.starts_with("[[");
            if is_section || (is_key && !is_other) { format!("{inner}\n") } else { format!("{line}\n") }
        })
        .collect();
    assert!(
        uncommented.lines().filter(|line| line.starts_with("lateness") || line.starts_with("timezone")).count() == 2
    );
    shared::pipeline::Pipeline::parse(&uncommented, "template").unwrap();
}
