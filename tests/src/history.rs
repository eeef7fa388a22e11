//! What benchmarks found, kept over time: a file for each run of them, and what is slower than it was.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::measure::median;

/// The variable that names the file of this run. Without it, benchmarks only print.
const FILE: &str = "BENCH_FILE";

/// So many earlier runs are compared with.
const EARLIER: usize = 7;

/// Which of two values is the better one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Better {
    /// Of rates.
    Higher,
    /// Of times and of memory.
    Lower,
}

/// Adds a figure to the file of this run, if one is kept. Its name stays the same from run to run.
pub fn note(name: &str, value: f64, better: Better) {
    let Some(file) = std::env::var_os(FILE) else { return };
    let line =
        json!({ "name": name, "value": value, "better": if better == Better::Higher { "higher" } else { "lower" } });
    let opened = std::fs::OpenOptions::new().create(true).append(true).open(&file);
    let written = opened.and_then(|mut file| writeln!(file, "{line}"));
    written.unwrap_or_else(|error| panic!("{}: {error}", Path::new(&file).display()));
}

/// A figure of the newest run beside those of the runs before it.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// Its name.
    pub name: String,
    /// The median of the runs before.
    pub before: f64,
    /// What it is now.
    pub now: f64,
    /// How many times as good it is now: below 1 where it got worse.
    pub ratio: f64,
}

/// Compares the newest of these runs, which are in order, with those before it. Figures that are new have nothing to be compared
/// with.
pub fn changes(runs: &[Run]) -> Vec<Change> {
    let Some((newest, before)) = runs.split_last() else { return Vec::new() };
    let before = &before[before.len().saturating_sub(EARLIER)..];
    let change = |(name, &(now, better)): (&String, &(f64, Better))| {
        let values: Vec<f64> = before.iter().filter_map(|run| run.0.get(name)).map(|(value, _)| *value).collect();
        let before = (!values.is_empty()).then(|| median(&values))?;
        let ratio = if better == Better::Higher { now / before } else { before / now };
        Some(Change { name: name.clone(), before, now, ratio })
    };
    newest.0.iter().filter_map(change).collect()
}

/// The figures of one run by their names.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Run(BTreeMap<String, (f64, Better)>);

impl Run {
    /// Reads the lines of a file. Where a figure is there several times, the last one counts.
    ///
    /// # Errors
    /// The line that is no figure.
    pub fn of(text: &str) -> Result<Self, String> {
        let figures = text.lines().map(|line| figure(line).ok_or_else(|| format!("this is no figure: {line}")));
        Ok(Self(figures.collect::<Result<_, _>>()?))
    }
}

fn figure(line: &str) -> Option<(String, (f64, Better))> {
    let line: Value = serde_json::from_str(line).ok()?;
    let better = match line["better"].as_str()? {
        "higher" => Better::Higher,
        "lower" => Better::Lower,
        _ => return None,
    };
    let value = line["value"].as_f64().filter(|value| value.is_finite() && *value > 0.0)?;
    Some((line["name"].as_str()?.to_owned(), (value, better)))
}

/// The runs in a folder, in the order of the names of their files.
///
/// # Errors
/// What cannot be read, and why.
pub fn runs(folder: &Path) -> Result<Vec<Run>, String> {
    let said = |path: &Path, error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let entries = std::fs::read_dir(folder).map_err(|error| said(folder, &error))?;
    let paths = entries.map(|entry| entry.map(|entry| entry.path()).map_err(|error| said(folder, &error)));
    let mut paths = paths.collect::<Result<Vec<PathBuf>, String>>()?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "jsonl"));
    paths.sort();
    let run = |path: &PathBuf| {
        let text = std::fs::read_to_string(path).map_err(|error| said(path, &error))?;
        Run::of(&text).map_err(|error| said(path, &error))
    };
    paths.iter().map(run).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(rate: f64, millis: f64) -> Run {
        let line = |name: &str, value: f64, better: &str| {
            json!({ "name": name, "value": value, "better": better }).to_string()
        };
        Run::of(&[line("rate", rate, "higher"), line("millis", millis, "lower")].join("\n")).unwrap()
    }

    #[test]
    fn what_got_slower_is_below_one_whichever_value_is_the_better_one() {
        let runs = [run(90.0, 4.0), run(100.0, 5.0), run(110.0, 6.0), run(50.0, 10.0)];
        let found = changes(&runs);
        let ratios: Vec<(&str, f64, f64)> =
            found.iter().map(|change| (change.name.as_str(), change.before, change.ratio)).collect();
        assert_eq!(ratios, [("millis", 5.0, 0.5), ("rate", 100.0, 0.5)]);
        assert_eq!(changes(&runs[..1]), [], "the first run has none before it");
        // Only the last ones before it count.
        let old = [vec![run(1.0, 1.0); 20], vec![run(100.0, 5.0); EARLIER], vec![run(100.0, 5.0)]].concat();
        assert!(changes(&old).iter().all(|change| change.ratio == 1.0));
    }

    #[test]
    fn what_is_no_figure_is_named() {
        for line in [
            "nothing",
            "{}",
            r#"{"name":"a","value":0,"better":"lower"}"#,
            r#"{"name":"a","value":1,"better":"bigger"}"#,
        ] {
            assert_eq!(Run::of(line), Err(format!("this is no figure: {line}")));
        }
    }
}
