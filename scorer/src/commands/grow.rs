//! `scorer grow`: more partitions, with the state carried over to them.

use std::sync::Arc;

use anyhow::Result;
use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, Table};
use shared::memory::Size;
use shared::pipeline::{Pipeline, Scored};

use super::logs::init_logs;
use super::{console, with_clock};
use crate::args::{GrowArgs, PartitionerArg};
use crate::kafka::{self, FaultInjection, GrowOptions, Grown, Partitioner};

pub(super) async fn grow(args: GrowArgs) -> Result<()> {
    init_logs(false);
    let of = &args.of;
    let pipeline = Arc::new(with_clock(Pipeline::load(&of.pipeline)?, of.clock)?);
    let partitioner = args.partitioner.map(|named| match named {
        PartitionerArg::Murmur2 => Partitioner::Murmur2,
        PartitionerArg::Crc32 => Partitioner::Crc32,
        PartitionerArg::Fnv1a => Partitioner::Fnv1a,
    });
    let options =
        GrowOptions { partitions: args.partitions, partitioner, is_dry_run: args.dry_run, faults: faults(&args) };
    match kafka::grow(&of.brokers.settings()?, &pipeline, &of.group, &options).await? {
        None => console::print(format_args!(
            "the topic has {} partitions, and the state is divided among them: nothing was changed",
            args.partitions
        ))?,
        Some(grown) => {
            console::print(words(&grown, args.dry_run))?;
            console::print(table(&grown, &pipeline))?;
        }
    }
    Ok(())
}

/// What is to go wrong.
#[cfg(feature = "fault-injection")]
fn faults(args: &GrowArgs) -> FaultInjection {
    FaultInjection { end: args.end_at.clone(), ..FaultInjection::default() }
}

/// Nothing is to go wrong.
#[cfg(not(feature = "fault-injection"))]
fn faults(_: &GrowArgs) -> FaultInjection {
    FaultInjection::default()
}

/// What was done, or would be.
fn words(grown: &Grown, is_dry_run: bool) -> String {
    let Grown { topic, before, partitioner, keys, moved, bytes, partitions, unread } = grown;
    let (now, size) = (partitions.len(), Size(*bytes));
    let verb = if is_dry_run { "would go" } else { "went" };
    let keys = match partitioner {
        Some(partitioner) => {
            format!("{moved} of {keys} remembered keys {verb} to another partition, as {partitioner} places them")
        }
        None => "nothing is placed by a key".to_owned(),
    };
    let now = if is_dry_run { format!("would have {now} partitions") } else { format!("has {now} partitions") };
    let unread = match unread {
        Some(unread) if is_dry_run => format!("; before that, everything has to be read: {unread}"),
        _ => String::new(),
    };
    format!("`{topic}` {now} instead of {before}: {keys}; the state is {size}{unread}")
}

fn table(grown: &Grown, pipeline: &Pipeline) -> Table {
    let mut table = Table::new();
    table.load_preset(UTF8_FULL_CONDENSED);
    let is_of_records = matches!(pipeline.scored, Scored::Records(_));
    let [open, closed, keys] = match is_of_records {
        false => ["open invoices", "closed, remembered", ""],
        true => ["waiting", "judged, remembered", "keys with state"],
    };
    let columns = if is_of_records { 5 } else { 4 };
    table.set_header(["partition", "next offset", open, closed, keys].into_iter().take(columns));
    for (partition, of) in grown.partitions.iter().enumerate() {
        let row = [
            partition.to_string(),
            of.offset.to_string(),
            of.open.to_string(),
            of.closed.to_string(),
            of.keys.to_string(),
        ];
        table.add_row(row.into_iter().take(columns));
    }
    table.column_iter_mut().for_each(|column| column.set_cell_alignment(CellAlignment::Right));
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::GrownPartition;

    #[test]
    fn what_was_done_and_what_would_be_are_told_apart() {
        let partition = GrownPartition { offset: 0, open: 1, closed: 2, keys: 0 };
        let grown = Grown {
            topic: "purchases".to_owned(),
            before: 2,
            partitioner: Some(Partitioner::Crc32),
            keys: 30,
            moved: 12,
            bytes: 2048,
            partitions: vec![partition; 5],
            unread: Some("partition 1 has 3 offsets from 17 on that are not read".to_owned()),
        };
        insta::assert_snapshot!(words(&grown, false), @"`purchases` has 5 partitions instead of 2: 12 of 30 remembered keys went to another partition, as crc32 places them; the state is 2 KiB");
        insta::assert_snapshot!(words(&grown, true), @"`purchases` would have 5 partitions instead of 2: 12 of 30 remembered keys would go to another partition, as crc32 places them; the state is 2 KiB; before that, everything has to be read: partition 1 has 3 offsets from 17 on that are not read");
    }
}
