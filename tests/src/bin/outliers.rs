//! What the detectors of `invoices` find of anomalies that are planted among real invoices, and what else they report: as the
//! pipeline file ships, and with settings that let every cluster count.
//!
//! `cargo run -p tests --bin outliers` trains on real history that is clean, and that has 1% and 5% of planted anomalies. It then
//! scores later invoices, among them as many anomalies of each kind. At last it plants some orders 2, 5 and 20 times in the
//! history and asks whether the next one is found.
#![allow(clippy::unwrap_used, reason = "a measurement that cannot go on panics")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde_json::Value;
use tests::planted::{KINDS, Purchases, renumbered};
use tests::{PipelineFile, build_programs, real_data, scorer, text, trainer};

/// Anomalies of each kind that are looked for.
const LOOKED_FOR: usize = 50;

/// Orders of each kind that are repeated.
const REPEATED: usize = 4;

/// The settings that are compared: a name, and what stands in the place of what the pipeline file says.
const SETTINGS: [(&str, &[(&str, &str)]); 2] = [
    ("as shipped", &[]),
    (
        "robust, elbow, every cluster counts",
        &[
            ("scaling = \"symlog\"", "scaling = \"robust\""),
            ("\nk = 8", "\nk = { elbow = 0.7, max = 20 }"),
            ("min_share = 0.02", "min_share = 0"),
        ],
    ),
];

/// A history and the records that come after it.
struct Case {
    name: String,
    history: PathBuf,
    later: PathBuf,
}

/// How many anomalies of each kind there were and were found, by detector, and how many others were reported and there.
type Found = BTreeMap<String, (BTreeMap<String, (usize, usize)>, (usize, usize))>;

fn main() {
    build_programs();
    let (history, later) = (real_data("training.csv").unwrap(), real_data("production.csv").unwrap());
    let folder = tempfile::tempdir().unwrap();
    let cases = cases(&history, &later, folder.path());
    for (name, changes) in SETTINGS {
        let pipeline = folder.path().join("pipeline.toml");
        let change = |file: PipelineFile, (from, to): &(&str, &str)| file.replaced(from, to);
        changes.iter().fold(PipelineFile::invoices(), change).write(&pipeline);
        println!("{name}\n{:28}{:>18}{}", "history", "detector", heading());
        for case in &cases {
            for (detector, (kinds, others)) in found(case, &pipeline, folder.path()) {
                println!("{:28}{detector:>18}{}", case.name, row(&kinds, others));
            }
        }
        println!();
    }
}

fn heading() -> String {
    KINDS.iter().chain(&["others"]).map(|kind| format!("{kind:>17}")).collect()
}

fn row(kinds: &BTreeMap<String, (usize, usize)>, others: (usize, usize)) -> String {
    let of_kind = |kind: &&str| {
        let (found, all) = kinds.get(*kind).copied().unwrap_or_default();
        format!("{:>17}", format!("{found} of {all}"))
    };
    let others = format!("{:.2}%", 100.0 * others.0 as f64 / others.1.max(1) as f64);
    KINDS.iter().map(of_kind).collect::<String>() + &format!("{others:>17}")
}

/// Files of every case.
fn cases(history: &Path, later: &Path, folder: &Path) -> Vec<Case> {
    let (before, after) = (Purchases::read(history), Purchases::read(later));
    let mut rng = ChaCha8Rng::seed_from_u64(42);
    let mut planted = |purchases: &Purchases, prefix: &str, n: usize| -> Vec<(String, String)> {
        let one = |index: usize| {
            let kind = KINDS[index % KINDS.len()];
            (kind.to_owned(), purchases.strange(kind, &format!("{prefix}{index}-{kind}"), &mut rng))
        };
        (0..n).map(one).collect()
    };
    let looked_for: String =
        planted(&after, "P", LOOKED_FOR * KINDS.len()).into_iter().map(|(_, lines)| lines).collect();
    let with = |name: &str, history: String, later: String| {
        let path = |what: &str| folder.join(format!("{}-{what}.csv", name.replace(' ', "-")));
        let case = Case { name: name.to_owned(), history: path("history"), later: path("later") };
        std::fs::write(&case.history, history).unwrap();
        std::fs::write(&case.later, later).unwrap();
        case
    };
    let (history, later) = (std::fs::read_to_string(history).unwrap(), std::fs::read_to_string(later).unwrap());
    let mut cases = Vec::new();
    for (name, share) in [("clean", 0.0), ("1% anomalies", 0.01), ("5% anomalies", 0.05)] {
        let n = (before.len() as f64 * share) as usize;
        let contamination: String = planted(&before, "H", n).into_iter().map(|(_, lines)| lines).collect();
        cases.push(with(name, format!("{history}{contamination}"), format!("{later}{looked_for}")));
    }
    let repeated = planted(&after, "R", REPEATED * KINDS.len());
    let next: String = repeated.iter().map(|(_, lines)| lines.as_str()).collect();
    for times in [2, 5, 20] {
        let copies = |(index, (_, lines)): (usize, &(String, String))| -> String {
            (0..times).map(|copy| renumbered(lines, &format!("H{index}x{copy}"))).collect()
        };
        let copies: String = repeated.iter().enumerate().map(copies).collect();
        cases.push(with(&format!("some {times} times"), format!("{history}{copies}"), format!("{later}{next}")));
    }
    cases
}

/// Trains on a case's history and scores what comes after it.
fn found(case: &Case, pipeline: &Path, folder: &Path) -> Found {
    let (models, output) = (folder.join("models"), folder.join("verdicts.jsonl"));
    let common = ["--pipeline", text(pipeline), "--models", text(&models), "--device", "cpu"];
    let run = trainer(&[&common[..], &["--input", text(&case.history), "--quiet"]].concat());
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let run = scorer(&[&["score", text(&case.later), "--output", text(&output)], &common[..]].concat());
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let mut found = Found::new();
    let mut seen = BTreeSet::new();
    for line in std::fs::read_to_string(&output).unwrap().lines() {
        let message: Value = serde_json::from_str(line).unwrap();
        let (Some(detector), Some(is_anomalous)) = (message["detector"].as_str(), message["anomalous"].as_bool())
        else {
            continue;
        };
        let key = message["key"].as_str().unwrap();
        assert!(seen.insert((detector.to_owned(), key.to_owned())), "{key} is judged once");
        let (kinds, others) = found.entry(detector.to_owned()).or_default();
        let counts = match key.split_once('-') {
            Some((_, kind)) => kinds.entry(kind.to_owned()).or_default(),
            None => others,
        };
        counts.0 += usize::from(is_anomalous);
        counts.1 += 1;
    }
    found
}
