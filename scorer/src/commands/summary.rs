//! The table at the end of a run.

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, ContentArrangement, Table};
use shared::pipeline::{Pipeline, Scored};
use shared::text::printable;

use super::advice;
use super::columns::{WIDTH, wrapped};
use super::words::{in_short, percent, who_was_right};
use crate::drift::Report;
use crate::kafka::Status;
use crate::truth::{Truth, share};

/// A number and what it is of.
type Row = (String, u64);

/// What became of records, and what was found of what they are known to be.
pub(super) fn text(status: &Status, pipeline: &Pipeline) -> String {
    let known = known(&status.truth, pipeline, &KNOWN, WIDTH).map_or_else(String::new, |table| format!("\n{table}"));
    let advice = advice::on(&status.counters).map_or_else(String::new, |text| format!("\n{}", wrapped(&text, WIDTH)));
    let (table, agreement) = (table(status, pipeline), side_by_side(status, pipeline, WIDTH));
    format!("{table}{known}{agreement}{}{advice}", drift(status, WIDTH))
}

/// The same without what was found of what records are known to be, with sentences of at most `width` columns.
pub(super) fn outcome(status: &Status, pipeline: &Pipeline, width: usize) -> String {
    format!("{}{}", table(status, pipeline), side_by_side(status, pipeline, width))
}

/// How the first two trained detectors agree, and which of them is right more often.
fn side_by_side(status: &Status, pipeline: &Pipeline, width: usize) -> String {
    let [first, second, ..] = pipeline.detectors.as_slice() else { return String::new() };
    let names = [first.name.as_str(), second.name.as_str()];
    let right = (!status.truth.is_empty()).then(|| who_was_right(names, &status.agreement.mcnemar()));
    let sentences = in_short(names, &status.agreement).into_iter().chain(right);
    sentences.map(|sentence| format!("\n{}", wrapped(&sentence, width))).collect()
}

/// Whether the stream was like the training, detector by detector.
fn drift(status: &Status, width: usize) -> String {
    let report = status.drift.report();
    let sentences = report.iter().flat_map(Report::sentences);
    sentences.map(|sentence| format!("\n{}", wrapped(&sentence, width))).collect()
}

/// Records by outcome, which add up, then what was found.
fn table(status: &Status, pipeline: &Pipeline) -> Table {
    let mut table = Table::new();
    table.load_preset(UTF8_FULL_CONDENSED);
    table.set_header(["records", "", "results", ""]);
    let (records, results) = match &pipeline.scored {
        Scored::Sessions(_) => of_sessions(status),
        Scored::Records(_) => of_records(status, pipeline),
    };
    for index in 0..records.len().max(results.len()) {
        let cells = |found: Option<&Row>| match found {
            Some((name, count)) => [name.clone(), count.to_string()],
            None => [String::new(), String::new()],
        };
        table.add_row(cells(records.get(index)).into_iter().chain(cells(results.get(index))));
    }
    for index in [1, 3] {
        if let Some(column) = table.column_mut(index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// Rows that are always there, then those of which zeros would only raise questions.
fn rows<'a>(always: &[(&'a str, u64)], unless_zero: &[(&'a str, u64)]) -> Vec<Row> {
    let shown = unless_zero.iter().filter(|(_, count)| *count > 0);
    always.iter().chain(shown).map(|(name, count)| ((*name).to_owned(), *count)).collect()
}

/// Lines with dates that are hardly meant.
fn odd_dates(status: &Status) -> impl Iterator<Item = Row> {
    status.counters.odd_dates.iter().map(|(column, count)| (format!("(odd dates in {column})"), *count))
}

fn anomalies(status: &Status) -> impl Iterator<Item = Row> {
    status.anomalies.iter().map(|(name, count)| (format!("anomalies by {name}"), *count))
}

/// Messages that topics did not take.
fn undelivered(status: &Status) -> [(&'static str, u64); 2] {
    [("undeliverable, told as erroneous", status.undeliverable), ("undeliverable, skipped", status.skipped)]
}

fn of_sessions(status: &Status) -> (Vec<Row>, Vec<Row>) {
    let counters = &status.counters;
    let records = [
        ("read", counters.records),
        ("  in scored invoices", counters.scored_lines),
        ("  in erroneous invoices", counters.erroneous_entity_lines),
        ("  malformed", counters.malformed_lines),
        ("  late", counters.late_lines),
        ("  of cancellations", counters.cancellation_lines),
        ("  in open invoices", counters.open_lines),
    ];
    let of_restarts = [
        ("  published before", counters.already_published_lines),
        ("  revoked", counters.given_up_lines),
        ("(restored with the state)", counters.taken_over_lines),
        ("(lost to retention)", counters.lost_to_retention),
        ("(not keyed by invoice)", counters.misplaced_lines),
    ];
    let mut results = rows(&[("invoices scored", counters.scored_entities)], &[]);
    results.extend(anomalies(status));
    results.extend(rows(
        &[("erroneous invoices", counters.erroneous_entities)],
        &[
            ("closed early, at a limit", counters.closed_early),
            ("closed invoices forgotten, at a limit", counters.forgotten_seen_keys),
            ("cancelled invoices forgotten, at a limit", counters.forgotten_cancelled_keys),
        ],
    ));
    let rest = [
        ("cancelled invoices", counters.cancellations),
        ("cancellation counts", status.windows),
        ("messages published", status.published),
    ];
    results.extend(rows(&rest, &undelivered(status)));
    let mut records = rows(&records, &of_restarts);
    records.extend(odd_dates(status));
    (records, results)
}

fn of_records(status: &Status, pipeline: &Pipeline) -> (Vec<Row>, Vec<Row>) {
    let counters = &status.counters;
    let placed_by = pipeline.placed_by();
    let keyed_by = placed_by.first().map_or("", |&column| &pipeline.schema.columns[column].name);
    let misplaced = format!("(not keyed by {keyed_by})");
    let records = [
        ("read", counters.records),
        ("  judged", counters.scored_lines),
        ("  malformed", counters.malformed_lines),
        ("  duplicates", counters.duplicate_lines),
        ("  too old", counters.old_lines),
        ("  from the future", counters.future_lines),
    ];
    let others = [
        ("  deletions", counters.deletions),
        ("  tombstones and empty arrays", counters.tombstones),
        ("  with features that are not numbers", counters.erroneous_entity_lines),
        ("  waiting", counters.open_lines),
        ("  published before", counters.already_published_lines),
        ("  revoked", counters.given_up_lines),
        ("(restored with the state)", counters.taken_over_lines),
        ("(lost to retention)", counters.lost_to_retention),
        ("(out of order)", counters.out_of_order),
        ("(too late for their windows)", counters.too_late_for_windows),
        ("(of somebody else in an internal topic)", counters.foreign_records),
        (&misplaced, counters.misplaced_lines),
    ];
    let mut results = rows(&[("records judged", counters.scored_entities)], &[]);
    results.extend(anomalies(status));
    let limits = [
        ("judged early, at a limit", counters.closed_early),
        ("windows judged early, at a limit", counters.windows_judged_early),
        ("keys forgotten, at a limit", counters.forgotten_keys),
        ("judged records forgotten, at a limit", counters.forgotten_seen_keys),
        ("cancelled records forgotten, at a limit", counters.forgotten_cancelled_keys),
    ];
    results.extend(rows(&[("erroneous records", counters.erroneous())], &limits));
    results.extend(rows(&[("messages published", status.published)], &undelivered(status)));
    let mut records = rows(&records, &others);
    records.extend(odd_dates(status));
    (records, results)
}

/// What the table of what is known is called in.
pub(super) struct KnownWords<'a> {
    /// What records are known to be.
    pub scenario: &'a str,
    /// How many there are of each.
    pub judged: &'a str,
    /// Those that are none.
    pub normal: &'a str,
}

const KNOWN: KnownWords<'_> = KnownWords { scenario: "label", judged: "judged", normal: "normal" };

/// Recall by scenario, and precision, of every detector, in at most `width` columns; nothing where no record was known to be of
/// any scenario.
pub(super) fn known(truth: &Truth, pipeline: &Pipeline, words: &KnownWords<'_>, width: usize) -> Option<Table> {
    if truth.is_empty() {
        return None;
    }
    let detectors: Vec<&str> = pipeline.detector_topics().map(|(name, _)| name).collect();
    let mut table = Table::new();
    table.load_preset(UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_width(u16::try_from(width).unwrap_or(u16::MAX));
    table.set_header([words.scenario, words.judged].into_iter().chain(detectors.iter().copied()));
    let mut add = |name: &str, judged: u64, found: &dyn Fn(&str) -> u64| {
        let cells = detectors.iter().map(|detector| {
            let found = found(detector);
            format!("{found} ({})", percent(share(found, judged)))
        });
        table.add_row([name.to_owned(), judged.to_string()].into_iter().chain(cells));
    };
    for (scenario, judged) in truth.scenarios() {
        add(&printable(scenario).to_string(), judged, &|detector| truth.found(detector, scenario));
    }
    add(words.normal, truth.normal(), &|detector| truth.false_alarms(detector));
    type Quality = fn(&Truth, &str) -> Option<f64>;
    for (name, of) in [("recall", Truth::recall as Quality), ("precision", Truth::precision)] {
        let cells = detectors.iter().map(|detector| percent(of(truth, detector)));
        table.add_row([name.to_owned(), String::new()].into_iter().chain(cells));
    }
    table.column_iter_mut().skip(1).for_each(|column| column.set_cell_alignment(CellAlignment::Right));
    Some(table)
}
