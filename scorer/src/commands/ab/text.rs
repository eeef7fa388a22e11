//! The report for people.

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, Table};

use shared::text::printable;

use super::report::{ComparisonReport, Labelled};
use crate::agreement::{Comparison, Example, Side};
use crate::commands::columns::{WIDTH, cut, wrapped};
use crate::commands::words::{beside_threshold, percent, who_was_right};
use crate::truth::share;

/// The letters of the two in tables, whose names may be long.
const LETTERS: [&str; 2] = ["A", "B"];

/// The report.
pub(super) fn of(report: &ComparisonReport) -> String {
    let mut parts = vec![heading(report), agreement(&report.found).to_string(), wrapped(&measures(report), WIDTH)];
    parts.extend(caveats(report).iter().map(|caveat| wrapped(caveat, WIDTH)));
    if let Some(labels) = &report.labels {
        parts.extend(by_labels(report, labels));
    }
    parts.extend(Side::BOTH.into_iter().filter_map(|side| examples(report, side)));
    parts.join("\n")
}

fn heading(report: &ComparisonReport) -> String {
    let ComparisonReport { names: [a, b], entities, source, found, .. } = report;
    let count = found.agreement.all().total();
    let what = if found.is_complete { format!("{count} {entities}") } else { format!("anomalies among {entities}") };
    wrapped(&format!("A is {a}, B is {b}; {what} of {source}"), WIDTH)
}

/// The two by two table, with its sums.
fn agreement(found: &Comparison) -> Table {
    let all = found.agreement.all();
    let known = |number: u64| if found.is_complete { number.to_string() } else { "?".to_owned() };
    let [only_a, only_b] = all.only;
    let mut table = table(["", "B: anomalous", "B: normal", "all"]);
    let row = |name: &str, cells: [String; 3]| std::iter::once(name.to_owned()).chain(cells);
    table.add_row(row("A: anomalous", [all.both, only_a, all.flagged(Side::A)].map(|count| count.to_string())));
    table.add_row(row("A: normal", [only_b.to_string(), known(all.neither), known(only_b + all.neither)]));
    let of_b = all.flagged(Side::B).to_string();
    table.add_row(row("all", [of_b, known(only_a + all.neither), known(all.total())]));
    table
}

fn measures(report: &ComparisonReport) -> String {
    let found = &report.found;
    let all = found.agreement.all();
    let either = all.total() - all.neither;
    let over = if found.is_complete {
        format!("all {}", found.ranked)
    } else {
        format!("the {} that are anomalous to both", found.ranked)
    };
    let ranks = match found.spearman {
        Some(spearman) => format!("{spearman:.3} over {over}"),
        None => format!("none, because all scores are equal over {over}"),
    };
    format!(
        "Jaccard {:.3}: {} of {either} that either calls anomalous. Rank correlation of the scores (Spearman): {ranks}.",
        found.agreement.jaccard(),
        all.both
    )
}

/// What is not known, or may mislead.
fn caveats(report: &ComparisonReport) -> Vec<String> {
    let ComparisonReport { names, versions, entities, found, .. } = report;
    let mut caveats = Vec::new();
    if !found.is_complete {
        caveats.push(format!(
            "There are no verdicts on normal {entities} (`scorer run --all-verdicts` publishes them). A missing verdict is taken \
             for normal, and it is unknown how many are normal to both."
        ));
    }
    for side in Side::BOTH {
        let (name, other) = (&names[side.index()], &names[side.other().index()]);
        let versions = &versions[side.index()];
        if found.alone[side.index()] > 0 {
            caveats.push(format!(
                "{} {entities} have a verdict of {name} but none of {other} (not yet, or it was normal and not published): they \
                 are left out.",
                found.alone[side.index()]
            ));
        }
        if versions.is_empty() {
            caveats.push(format!("There is no verdict of {name}: it found nothing, or did not run."));
        }
        if versions.len() > 1 {
            let each: Vec<String> =
                versions.iter().map(|(version, count)| format!("{} ({count})", printable(version))).collect();
            caveats.push(format!("The verdicts of {name} come from several models: {}.", each.join(", ")));
        }
    }
    if found.again > 0 {
        caveats.push(format!(
            "{} verdicts repeat an earlier one on the same {entities}: the last one counts.",
            found.again
        ));
    }
    caveats
}

/// Who is right, and how often.
fn by_labels(report: &ComparisonReport, labels: &Labelled) -> Vec<String> {
    let ComparisonReport { names, found, entities, .. } = report;
    let anomalies = labels.n_anomalies(found);
    if anomalies.unwrap_or(found.agreement.labelled.total()) == 0 {
        let source = &labels.source;
        return vec![wrapped(&format!("By the labels of {source}, none of these {entities} is an anomaly."), WIDTH)];
    }
    let mut quality = table(["", "found", "false alarms", "precision", "recall"]);
    for side in Side::BOTH {
        let confusion = found.agreement.confusion(side);
        let (hits, alarms) = (confusion.true_positives, confusion.false_positives);
        quality.add_row([
            LETTERS[side.index()].to_owned(),
            anomalies.map_or_else(|| hits.to_string(), |anomalies| format!("{hits} of {anomalies}")),
            alarms.to_string(),
            percent(share(hits, hits + alarms)),
            percent(anomalies.and_then(|anomalies| share(hits, anomalies))),
        ]);
    }
    let (labelled, others, test) = (found.agreement.labelled, found.agreement.others, found.agreement.mcnemar());
    let mut right = table(["anomalous to", "labelled anomalies", "others"]);
    for side in Side::BOTH {
        let (at, [this, other]) = (side.index(), [side, side.other()].map(|side| LETTERS[side.index()]));
        right.add_row([
            format!("{this} alone"),
            format!("{}: {this} is right", labelled.only[at]),
            format!("{}: {other} is right", others.only[at]),
        ]);
    }
    let [a, b] = names;
    vec![
        wrapped(&format!("By the labels of {}:", labels.source), WIDTH),
        quality.to_string(),
        right.to_string(),
        wrapped(&who_was_right([a, b], &test), WIDTH),
    ]
}

/// What only one calls anomalous.
fn examples(report: &ComparisonReport, side: Side) -> Option<String> {
    let (at, found) = (side.index(), &report.found);
    let examples = &found.examples[at];
    if examples.is_empty() {
        return None;
    }
    let name = &report.names[at];
    let mut lines =
        vec![cut(&format!("Only {name} ({}), highest scores first:", found.agreement.all().only[at]), WIDTH)];
    let key = |example: &Example| printable(&example.key).to_string();
    let width = examples.iter().map(|example| key(example).chars().count()).max().unwrap_or(0).min(36);
    for example in examples {
        let score = beside_threshold(example.score, example.threshold);
        let why = example.cause.as_ref().map_or_else(String::new, ToString::to_string);
        let label = match (&report.labels, example.is_labelled) {
            (None, _) => "",
            (Some(_), true) => "anomaly  ",
            (Some(_), false) => "normal   ",
        };
        lines.push(cut(&format!("  {:<width$}  {}  {label}{why}", key(example), score.trim_end()), WIDTH));
    }
    Some(lines.join("\n"))
}

/// A table whose numbers stand below each other.
fn table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_preset(UTF8_FULL_CONDENSED);
    table.set_header(header);
    table.column_iter_mut().skip(1).for_each(|column| column.set_cell_alignment(CellAlignment::Right));
    table
}
