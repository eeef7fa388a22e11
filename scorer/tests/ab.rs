//! `scorer ab` as a user types it, without a broker.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

const PAYMENTS: &str = "resources/transactions/production.jsonl.gz";
const PURCHASES: &str = "resources/production.csv";

struct Run {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn scorer(arguments: &[&str]) -> Run {
    let mut command = Command::new(env!("CARGO_BIN_EXE_scorer"));
    let output = command.args(arguments).args(["--device", "cpu"]).current_dir(repository()).output().unwrap();
    Run {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// What `scorer ab --json` says, but for where that is from.
fn ab(arguments: &[&str]) -> Value {
    let run = scorer(&[&["ab", "--json"], arguments].concat());
    assert_eq!(run.code, Some(0), "{arguments:?}: {}", run.stderr);
    let mut report: Value = serde_json::from_str(&run.stdout).unwrap();
    report["source"] = Value::Null;
    if !report["labels"].is_null() {
        report["labels"]["source"] = Value::Null;
    }
    report
}

/// Writes the verdicts of `scorer score` into a file.
fn score(pipeline: &str, input: &str, output: &str, more: &[&str]) {
    let run = scorer(&[&["score", input, "--pipeline", pipeline, "--output", output], more].concat());
    assert_eq!(run.code, Some(0), "{}", run.stderr);
}

/// The score of each entity and whether it is anomalous, by detector and key, from a file of messages.
fn verdicts(path: &str) -> BTreeMap<String, BTreeMap<String, (f64, bool)>> {
    let mut found: BTreeMap<String, BTreeMap<String, (f64, bool)>> = BTreeMap::new();
    for line in std::fs::read_to_string(path).unwrap().lines() {
        let message: Value = serde_json::from_str(line).unwrap();
        if let Some(detector) = message["detector"].as_str() {
            let verdict = (message["score"].as_f64().unwrap(), message["anomalous"].as_bool().unwrap());
            found.entry(detector.to_owned()).or_default().insert(message["key"].as_str().unwrap().to_owned(), verdict);
        }
    }
    found
}

/// Scored now, or read from the verdicts that were written before, as JSON lines and as Parquet: the same, to the last bit;
/// and the counts are those of the verdicts, looked at one by one.
#[test]
fn records_and_their_verdicts_give_the_same_report() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (lines, parquet) = (path("verdicts.jsonl"), path("verdicts.parquet"));
    score("transactions", PAYMENTS, &lines, &[]);
    score("transactions", PAYMENTS, &parquet, &[]);
    let verdicts = verdicts(&lines);
    for [a, b] in [["kmeans", "bisecting-kmeans"], ["zscore", "kmeans"]] {
        let of = ["--pipeline", "transactions", "--a", a, "--b", b, "--labels", PAYMENTS];
        let report = ab(&[&["--input", PAYMENTS], &of[..]].concat());
        let (of_a, of_b) = (&verdicts[a], &verdicts[b]);
        let count =
            |wanted: [bool; 2]| of_a.iter().filter(|(key, verdict)| [verdict.1, of_b[*key].1] == wanted).count() as u64;
        for (name, wanted) in
            [("both", [true; 2]), ("only_a", [true, false]), ("only_b", [false, true]), ("neither", [false; 2])]
        {
            assert_eq!(report[name], count(wanted), "{name} of {a} and {b}");
        }
        assert!(report["only_a"].as_u64() > Some(0) && report["only_b"].as_u64() > Some(0), "{report}");
        assert_eq!((&report["spearman_over"], &report["all_verdicts"]), (&json!(of_a.len()), &json!(true)));
        assert_eq!(report["labels"]["anomalies"], 335);
        for file in [&lines, &parquet] {
            let of_file = ab(&[&["--input", file], &of[..]].concat());
            assert_eq!(of_file["examples"], report["examples"], "{file}");
            assert_eq!(of_file, report, "{file}");
        }
        // The labels that records bring with them are the same.
        assert_eq!(ab(&["--input", PAYMENTS, "--pipeline", "transactions", "--a", a, "--b", b]), report);
        // The other way round, everything changes sides.
        let turned = ab(&[&["--input", &lines, "--a", b, "--b", a], &of[..2], &of[6..]].concat());
        assert_eq!(
            [&turned["only_a"], &turned["both"], &turned["spearman"], &turned["labels"]["p_value"]],
            [&report["only_b"], &report["both"], &report["spearman"], &report["labels"]["p_value"]]
        );
        assert_eq!(turned["labels"]["only_a_right"], report["labels"]["only_b_right"]);
    }
}

/// Where only anomalies were written, what is known is the same, and what is not is said to be unknown.
#[test]
fn anomalies_alone_say_less() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let all = ab(&["--pipeline", "transactions", "--input", PAYMENTS]);
    for file in [path("odd.jsonl"), path("odd.parquet")] {
        score("transactions", PAYMENTS, &file, &["--anomalies-only"]);
        let labelled = ["--pipeline", "transactions", "--labels", PAYMENTS, "--input", &file];
        let some = ab(&labelled);
        for known in ["both", "only_a", "only_b", "jaccard", "examples", "labels"] {
            assert_eq!(some[known], all[known], "{known}");
        }
        assert_eq!((&some["neither"], &some["all_verdicts"]), (&Value::Null, &json!(false)));
        assert_eq!((&some["spearman_over"], some["spearman"].is_null()), (&all["both"], false));
        let text = scorer(&[&["ab"], &labelled[..]].concat()).stdout;
        let said = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(said.contains("A missing verdict is taken for normal") && said.contains("┆ ? ┆ ? │"), "{text}");
    }
}

#[test]
fn the_report_fits_a_terminal_and_says_who_was_right() {
    let odd = ["--labels", "resources/production_labels.csv"];
    let invoices = scorer(&[&["ab", "--input", PURCHASES], &odd[..]].concat());
    let days = ["ab", "--pipeline", "transactions", "--b", "zscore", "--input", PAYMENTS];
    let payments = scorer(&days);
    for run in [&invoices, &payments] {
        assert_eq!(run.code, Some(0), "{}", run.stderr);
        assert!(run.stdout.lines().all(|line| line.chars().count() <= 100), "{}", run.stdout);
    }
    assert!(
        invoices.stdout.starts_with("A is kmeans, B is bisecting-kmeans; 1055 invoices of resources/production.csv\n")
    );
    assert!(invoices.stdout.contains("41 of 41"), "{}", invoices.stdout);
    let said = payments.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(said.contains("where zscore was wrong, zscore") && said.contains("unlikely to be chance."), "{said}");
    assert!(said.contains("Only zscore (") && said.contains(" anomaly ") && said.contains(" the median "), "{said}");
}

/// Several files are one stream: what the second says of users goes on from the first.
#[test]
fn several_files_are_scored_as_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let payments = path("payments.jsonl");
    let simulated = Command::new(env!("CARGO_BIN_EXE_scorer"))
        .args(["simulate", "transactions", "--count", "4000", "--seed", "3", "--users", "200", "--output", &payments])
        .output()
        .unwrap();
    assert!(simulated.status.success());
    let text = std::fs::read_to_string(&payments).unwrap();
    let half = text.match_indices('\n').nth(1_999).unwrap().0 + 1;
    std::fs::write(path("1.jsonl"), &text[..half]).unwrap();
    std::fs::write(path("2.jsonl"), &text[half..]).unwrap();
    let of = ["--pipeline", "transactions"];
    let whole = ab(&[&of[..], &["--input", &payments]].concat());
    assert_eq!(ab(&[&of[..], &["--input", &path("1.jsonl"), &path("2.jsonl")]].concat()), whole);
}

#[test]
fn mistakes_are_one_sentence_each() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let write = |name: &str, text: &str| {
        std::fs::write(path(name), text).unwrap();
        path(name)
    };
    let verdicts = path("verdicts.jsonl");
    score("invoices", PURCHASES, &verdicts, &["--anomalies-only"]);
    let header = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n";
    let (no_record, short) = (write("none.csv", header), write("short.csv", &format!("{header}1,2\n")));
    let other = write("other.jsonl", "{\"a\":1}\n");
    let no_parquet = write("no.parquet", "nonsense");
    let no_verdict = write("empty.jsonl", "{\"pipeline\":\"invoices\",\"kind\":\"line\"}\n");
    let features = "models/invoices/reports/scores.parquet";
    let none = path("none");
    let cases: [(&[&str], &str); 16] = [
        (&["--a", "kmean"], "pipeline `invoices` has no detector `kmean`: it has `kmeans`, `bisecting-kmeans`"),
        (&["--a", "kmeans", "--b", "kmeans"], "`kmeans` is both --a and --b: name two of `kmeans`"),
        (&["--pipeline", "fraud-handbook"], "has no detector but `kmeans`: there is nothing to compare it with"),
        (&["--labels"], "pipeline `invoices` has no [label]: name a file of keys and labels, --labels FILE"),
        (&["--input", PURCHASES, "--labels"], "with --input, name a file of keys and labels"),
        (&["--input", PURCHASES, "--labels", &other], "holds no labels: it needs the columns `InvoiceNo` and `label`"),
        (&["--input", "no-such.csv"], "cannot read no-such.csv: No such file"),
        (&["--input", &no_record], "none of the records could be judged: are they of pipeline `invoices`?"),
        (&["--input", &short], "none of the records could be judged"),
        (&["--input", &no_parquet], "cannot read "),
        (&["--input", features], "holds no verdicts: it lacks the columns "),
        (&["--input", &no_verdict], "no verdict of `kmeans` or `bisecting-kmeans` of pipeline `invoices` is there"),
        (&["--input", &verdicts, PURCHASES], "holds records and the files before it verdicts: compare one kind"),
        (&["--input", PURCHASES, &verdicts], "holds verdicts and the files before it records: compare one kind"),
        (&["--pipeline", "transactions", "--input", &verdicts], "holds verdicts of pipeline `invoices` and not of"),
        (&["--input", PURCHASES, "--models", &none], "train it first with `trainer"),
    ];
    for (arguments, expected) in cases {
        let run = scorer(&[&["ab"], arguments].concat());
        // A model that is missing is a matter of configuration, by its exit code.
        let code = if arguments.contains(&"--models") { 78 } else { 1 };
        assert_eq!(run.code, Some(code), "{arguments:?}: {}", run.stdout);
        let sentence = run.stderr.lines().last().unwrap_or_default();
        assert!(sentence.starts_with("error: ") && sentence.contains(expected), "{arguments:?}: {}", run.stderr);
    }
}
