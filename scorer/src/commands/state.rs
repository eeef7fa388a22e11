//! `scorer state`: what a group holds.

use std::sync::Arc;

use anyhow::Result;
use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, Table};
use shared::pipeline::{Pipeline, Scored};

use super::logs::init_logs;
use super::{console, with_clock};
use crate::args::StateArgs;
use crate::kafka::states;

pub(super) fn state(args: &StateArgs) -> Result<()> {
    init_logs(false);
    let pipeline = Arc::new(with_clock(Pipeline::load(&args.pipeline)?, args.clock)?);
    let states = states(&args.brokers.settings()?, &pipeline, &args.group)?;
    let mut table = Table::new();
    table.load_preset(UTF8_FULL_CONDENSED);
    let is_of_records = matches!(pipeline.scored, Scored::Records(_));
    let [open, done, others] = match is_of_records {
        false => ["open invoices", "closed, remembered", "cancelled, remembered"],
        true => ["waiting", "judged, remembered", "keys with state"],
    };
    table.set_header(["partition", "next offset", "lag", open, done, others, "changelog records"]);
    for state in &states {
        let offset = state.offset.map_or_else(|| "-".to_owned(), |offset| offset.to_string());
        let others = if is_of_records { state.keys } else { state.cancelled };
        let numbers = [state.lag, state.open as i64, state.closed as i64, others as i64, state.changelog_records];
        let numbers = numbers.into_iter().map(|number| number.to_string());
        table.add_row([state.partition.to_string(), offset].into_iter().chain(numbers));
    }
    table.column_iter_mut().for_each(|column| column.set_cell_alignment(CellAlignment::Right));
    console::print(table)?;
    Ok(())
}
