//! `scorer state`: what a group holds, and its clocks set back.

use std::sync::Arc;

use anyhow::Result;
use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, Table};
use shared::pipeline::{Pipeline, Scored};
use shared::time::format_timestamp;

use super::logs::init_logs;
use super::{console, with_clock};
use crate::args::{GroupArgs, StateArgs, WatermarkArg};
use crate::kafka::{self, states};

pub(super) fn state(args: &StateArgs) -> Result<()> {
    init_logs(false);
    let StateArgs { of, set_watermark } = args;
    let pipeline = Arc::new(with_clock(Pipeline::load(&of.pipeline)?, of.clock)?);
    if let Some(watermark) = *set_watermark {
        return set(of, &pipeline, watermark);
    }
    let states = states(&of.brokers.settings()?, &pipeline, &of.group)?;
    let mut table = Table::new();
    table.load_preset(UTF8_FULL_CONDENSED);
    let is_of_records = matches!(pipeline.scored, Scored::Records(_));
    let [open, done, others] = match is_of_records {
        false => ["open invoices", "closed, remembered", "cancelled, remembered"],
        true => ["waiting", "judged, remembered", "keys with state"],
    };
    // Each hop has a topic of its own.
    let has_hops = states.iter().any(|state| state.topic != states[0].topic);
    let header = ["partition", "next offset", "lag", open, done, others, "watermark", "changelog records"];
    table.set_header(has_hops.then_some("topic").into_iter().chain(header));
    for state in &states {
        let offset = state.offset.map_or_else(|| "-".to_owned(), |offset| offset.to_string());
        let others = if is_of_records { state.keys } else { state.cancelled };
        let watermark = state.watermark.map_or_else(|| "-".to_owned(), format_timestamp);
        let numbers = [state.lag, state.open as i64, state.closed as i64, others as i64];
        let row = [state.partition.to_string(), offset].into_iter().chain(numbers.map(|number| number.to_string()));
        let row = row.chain([watermark, state.changelog_records.to_string()]);
        table.add_row(has_hops.then(|| state.topic.clone()).into_iter().chain(row));
    }
    let numbers = table.column_iter_mut().skip(usize::from(has_hops));
    numbers.for_each(|column| column.set_cell_alignment(CellAlignment::Right));
    console::print(table)?;
    Ok(())
}

fn set(of: &GroupArgs, pipeline: &Arc<Pipeline>, to: WatermarkArg) -> Result<()> {
    let WatermarkArg { partition, time } = to;
    let (topic, time_text) = (&pipeline.topic, format_timestamp(time));
    let later = kafka::set_watermark(&of.brokers.settings()?, pipeline, &of.group, partition, time)?;
    if later.is_empty() {
        console::print(format_args!("no watermark is later than {time_text}: nothing was changed"))?;
    }
    for set_back in later {
        let before = set_back.before.map_or_else(|| "-".to_owned(), format_timestamp);
        let number = set_back.partition;
        console::print(format_args!("`{topic}` partition {number}: set back from {before} to {time_text}"))?;
    }
    Ok(())
}
