//! The table at the end of a run.

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, Table};

use crate::kafka::Status;

/// Records by outcome, which add up, then what was found.
pub(super) fn table(status: &Status) -> Table {
    let counters = &status.counters;
    let mut table = Table::new();
    table.load_preset(UTF8_FULL_CONDENSED);
    table.set_header(["records", "", "results", ""]);
    let records = [
        ("read", counters.records),
        ("  in scored invoices", counters.scored_lines),
        ("  in erroneous invoices", counters.erroneous_entity_lines),
        ("  malformed", counters.malformed_lines),
        ("  late", counters.late_lines),
        ("  of cancellations", counters.cancellation_lines),
        ("  in open invoices", counters.open_lines),
        ("  published before", counters.already_published_lines),
        ("  given up to others", counters.given_up_lines),
        ("(came with state)", counters.taken_over_lines),
        ("(not keyed by invoice)", counters.misplaced_lines),
    ];
    let mut results = vec![("invoices scored".to_owned(), counters.scored_entities)];
    results.extend(status.anomalies.iter().map(|(name, count)| (format!("anomalies by {name}"), *count)));
    results.push(("erroneous invoices".to_owned(), counters.erroneous_entities));
    if counters.closed_early > 0 {
        results.push(("closed early, at a limit".to_owned(), counters.closed_early));
    }
    results.push(("cancelled invoices".to_owned(), counters.cancellations));
    results.push(("cancellation counts".to_owned(), status.windows));
    results.push(("messages published".to_owned(), status.published));
    // The last four are of restarts, rebalances and misplaced lines: a row of zeros would only raise questions.
    let records: Vec<(&str, u64)> = records
        .into_iter()
        .enumerate()
        .filter(|(index, (_, count))| *index < 7 || *count > 0)
        .map(|(_, row)| row)
        .collect();
    for index in 0..records.len().max(results.len()) {
        let cells = |found: Option<(String, u64)>| match found {
            Some((name, count)) => [name, count.to_string()],
            None => [String::new(), String::new()],
        };
        let left = cells(records.get(index).map(|(name, count)| ((*name).to_owned(), *count)));
        table.add_row(left.into_iter().chain(cells(results.get(index).cloned())));
    }
    for index in [1, 3] {
        if let Some(column) = table.column_mut(index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}
