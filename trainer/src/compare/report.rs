//! The comparison on a terminal: at most 110 columns wide.

use shared::evaluation::Interval;

use super::Comparison;
use super::false_alarms::{ASKED, FalseAlarms};
use super::measures::{Entry, Labelled, Measured};
use super::search::{self, Found};
use crate::numbers::{grouped, percentage};
use crate::table::TextTable;

/// Most characters of a detector's name.
const NAME: usize = 26;

/// Everything that was measured, for people.
pub fn report(comparison: &Comparison) -> String {
    let table = if comparison.labels.is_some() { labelled(comparison) } else { unlabelled(comparison) };
    let searched = searched(comparison);
    [
        data(comparison),
        table,
        left_out(comparison),
        explanation(comparison),
        searched,
        false_alarms(&comparison.false_alarms),
    ]
    .into_iter()
    .filter(|section| !section.is_empty())
    .map(|section| format!("\n{section}"))
    .collect()
}

fn data(comparison: &Comparison) -> String {
    let Comparison { name, n_features, n_fit, anomalies, how, notes, .. } = comparison;
    let n_test = comparison.rows.len();
    let count = |n: usize, anomalies: Option<usize>| match anomalies {
        Some(anomalies) => format!(
            "{} rows ({} anomalies, {})",
            grouped(n as u64),
            grouped(anomalies as u64),
            percentage(anomalies, n)
        ),
        None => format!("{} rows", grouped(n as u64)),
    };
    let mut text = format!(" {name}: {} features\n", grouped(*n_features as u64));
    text += &format!(" fitted on {}\n", count(*n_fit, anomalies.map(|anomalies| anomalies.0)));
    text += &format!(" scored {}, {how}\n", count(n_test, anomalies.map(|anomalies| anomalies.1)));
    text + &notes.iter().map(|note| format!(" {note}\n")).collect::<String>()
}

fn labelled(comparison: &Comparison) -> String {
    let header =
        ["detector", "ROC AUC", "avg prec", "prec", "recall", "F1", "at n", "agree", "fit s", "rows/s", "model"];
    let mut table = TextTable::new(1, &header).narrow();
    for (entry, measured) in taking_part(comparison) {
        let Some(Labelled { roc_auc, average_precision, precision_at_n, at_threshold, intervals }) = measured.labelled
        else {
            continue;
        };
        let quality = [
            name(entry),
            with_interval(roc_auc, intervals.roc_auc),
            with_interval(average_precision, intervals.average_precision),
            share(Some(at_threshold.precision())),
            share(Some(at_threshold.recall())),
            share(Some(at_threshold.f1())),
            share(Some(precision_at_n)),
            share(measured.agreement),
        ];
        table.row(quality.into_iter().chain(costs(measured)));
    }
    table.render()
}

fn unlabelled(comparison: &Comparison) -> String {
    let header =
        ["detector", "syn AUC", "syn AP", "global", "depend", "cluster", "stable", "agree", "fit s", "rows/s", "model"];
    let mut table = TextTable::new(1, &header).narrow();
    for (entry, measured) in taking_part(comparison) {
        let all = measured.synthetic.as_ref().map(|synthetic| synthetic.all);
        let by_kind = measured.synthetic.as_ref().map(|synthetic| synthetic.by_kind);
        let of_kind = |index: usize| share(by_kind.map(|kinds| kinds[index].1.roc_auc));
        let quality = [
            name(entry),
            share(all.map(|all| all.roc_auc)),
            share(all.map(|all| all.average_precision)),
            of_kind(0),
            of_kind(1),
            of_kind(2),
            share(measured.stability),
            share(measured.agreement),
        ];
        table.row(quality.into_iter().chain(costs(measured)));
    }
    table.render()
}

fn taking_part(comparison: &Comparison) -> impl Iterator<Item = (&Entry, &Measured)> {
    own(comparison).filter_map(|entry| Some((entry, entry.outcome.as_ref().ok()?)))
}

/// The detectors with their own settings: what a search tries has a table of its own.
fn own(comparison: &Comparison) -> impl Iterator<Item = &Entry> {
    comparison.entries.iter().filter(|entry| entry.variant_of.is_none())
}

/// What a search for better settings came to.
fn searched(comparison: &Comparison) -> String {
    if comparison.entries.iter().all(|entry| entry.variant_of.is_none()) {
        return String::new();
    }
    let measure = if comparison.labels.is_some() { "ROC AUC" } else { "agree" };
    let mut table = TextTable::new(1, &["detector", measure, "best of", "its", "settings", ""]);
    for Found { detector, n_variants, best, own, best_value, is_better } in search::conclude(&comparison.entries) {
        let settings = best.as_deref().and_then(|best| best.strip_prefix(&format!("{detector}: "))).unwrap_or("-");
        let says = if is_better { "better" } else { "cannot tell" };
        let cells = [
            shortened(&detector),
            share(own),
            grouped(n_variants as u64),
            share(best_value),
            settings.to_owned(),
            says.to_owned(),
        ];
        table.row(cells);
    }
    let rule = if comparison.labels.is_some() {
        "better: the intervals of both do not meet. The best of many is always somewhat lucky, so look again on other data"
    } else {
        "better: agrees more with the other detectors, by more than scores change with the seed, and is neither less steady\n \
         nor worse on synthetic anomalies. This is a hint: without labels nothing tells which settings find most"
    };
    format!(" other settings beside each detector's own\n\n{}\n {rule}\n", table.render())
}

fn left_out(comparison: &Comparison) -> String {
    let sentence = |entry: &Entry| Some(format!(" {}: {}\n", entry.name, entry.outcome.as_ref().err()?));
    own(comparison).filter_map(sentence).collect()
}

fn explanation(comparison: &Comparison) -> String {
    let sorted = format!(" sorted by {}", comparison.sort.name());
    if comparison.labels.is_some() {
        return format!(
            "{sorted}; ± is half of the {:.0}% interval, by {} replicates of the rows\n",
            100.0 * comparison.bootstrap.confidence,
            grouped(comparison.bootstrap.n_replicates as u64)
        );
    }
    format!(
        "{sorted}; there are no labels, so nothing here tells which detector finds most.\n \
         An ensemble is the best choice then.\n \
         syn AUC, syn AP: ROC AUC and average precision on synthetic anomalies, which are made from the scored rows;\n \
         global, depend, cluster: the AUC for each kind. These say little about real anomalies.\n \
         stable: rank correlation of the scores across seeds; agree: mean rank correlation with other detectors\n"
    )
}

fn false_alarms(all: &[FalseAlarms]) -> String {
    let Some(n_normal) = all.iter().find_map(|one| Some(one.outcome.as_ref().ok()?.first()?.n_normal)) else {
        return all.iter().map(|one| format!(" {}: no false alarms counted\n", one.name)).collect();
    };
    let asked = ASKED.map(|rate| format!("asked {}%", rate * 100.0));
    let mut table = TextTable::new(1, &[&["detector".to_owned()], &asked[..]].concat());
    for one in all {
        let cells = match &one.outcome {
            Ok(realised) => realised
                .iter()
                .map(|one| match one.rate() {
                    Some(rate) => format!("{:.2}% ({})", 100.0 * rate, grouped(one.false_alarms)),
                    None => "too few rows".to_owned(),
                })
                .collect(),
            Err(_) => vec!["-".to_owned(); ASKED.len()],
        };
        table.row(std::iter::once(shortened(&one.name)).chain(cells));
    }
    let n_normal = grouped(n_normal);
    format!(
        " false alarms on {n_normal} held-out normal rows, by thresholds that were set on others (split conformal)\n\n{}",
        table.render()
    )
}

fn name(entry: &Entry) -> String {
    shortened(&entry.name)
}

fn shortened(name: &str) -> String {
    if name.chars().count() <= NAME {
        return name.to_owned();
    }
    name.chars().take(NAME - 1).chain(['…']).collect()
}

fn share(value: Option<f64>) -> String {
    match value {
        None => "-".to_owned(),
        Some(value) if value >= 0.9995 => "1.00".to_owned(),
        Some(value) => format!("{value:.3}").replacen("0.", ".", 1),
    }
}

/// `0.987 ±.006`.
fn with_interval(value: f64, interval: Interval) -> String {
    let half = format!("{:.3}", (interval.high - interval.low) / 2.0);
    format!("{value:.3} ±{}", half.trim_start_matches('0'))
}

fn costs(measured: &Measured) -> [String; 3] {
    let rate = scaled(measured.score_rows_per_second(), &[("G", 1e9), ("M", 1e6), ("k", 1e3), ("", 1.0)]);
    let bytes = scaled(measured.model_bytes as f64, &[(" GB", 1e9), (" MB", 1e6), (" kB", 1e3), (" B", 1.0)]);
    [seconds(measured.fit_seconds), rate, bytes]
}

fn seconds(seconds: f64) -> String {
    let decimals = if seconds < 10.0 { 3 } else { usize::from(seconds < 1000.0) };
    format!("{seconds:.decimals$}")
}

/// A number in the largest unit of which there is one, with two or three digits.
fn scaled(number: f64, units: &[(&str, f64)]) -> String {
    let last = units.len() - 1;
    let (unit, size) = units.iter().find(|(_, size)| number >= *size).unwrap_or(&units[last]);
    let of_unit = number / size;
    let decimals = usize::from(of_unit < 10.0 && *size > 1.0);
    format!("{of_unit:.decimals$}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        assert_eq!(with_interval(0.98712, Interval { low: 0.981, high: 0.993 }), "0.987 ±.006");
        assert_eq!(with_interval(0.5, Interval { low: 0.0, high: 2.0 }), "0.500 ±1.000");
        assert_eq!([0.01234, 12.34, 12_345.6].map(seconds), ["0.012", "12.3", "12346"]);
        let bytes = [(" MB", 1e6), (" kB", 1e3), (" B", 1.0)];
        let shown = [0.0, 830.0, 1_234.0, 53_400.0, 2.5e6].map(|number| scaled(number, &bytes));
        assert_eq!(shown, ["0 B", "830 B", "1.2 kB", "53 kB", "2.5 MB"]);
    }

    #[test]
    fn long_names_are_cut() {
        assert_eq!(shortened("bisecting-kmeans-corrected"), "bisecting-kmeans-corrected");
        assert_eq!(shortened("bisecting-kmeans-corrected-default").chars().count(), NAME);
    }
}
