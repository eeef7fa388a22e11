//! `scorer init`: a pipeline file for a topic that nobody has described yet.

use std::path::PathBuf;

use anyhow::{Context, Result};
use comfy_table::Table;
use comfy_table::presets::UTF8_FULL_CONDENSED;
use shared::draft::{self, Draft, Request, of_records, shell_word};

use super::console;
use super::logs::init_logs;
use crate::args::InitArgs;
use crate::kafka::newest_records;

pub(super) fn init(args: &InitArgs) -> Result<()> {
    init_logs(false);
    let name = args.name.clone().unwrap_or_else(|| draft::pipeline_name(&args.topic));
    let output = args.output.clone().unwrap_or_else(|| PathBuf::from(format!("{name}.toml")));
    draft::check_output(&output, args.force)?;
    let records = newest_records(&args.brokers.settings()?, &args.topic, args.records)?;
    let source = format!("topic `{}`", args.topic);
    let findings = of_records(&records).with_context(|| source.clone())?;
    let request = Request { name, topic: args.topic.clone(), source, command: "scorer init" };
    let draft = draft::draft(&findings, &request)?;
    draft.write(&output, args.force)?;
    console::print(report(&draft, &args.topic, &shell_word(&output)))?;
    Ok(())
}

/// The columns, the doubts, and what to do next.
fn report(draft: &Draft, topic: &str, output: &str) -> String {
    let mut table = Table::new();
    table.load_preset(UTF8_FULL_CONDENSED).set_header(["column", "type", "example", "used as"]);
    draft.columns.iter().for_each(|row| {
        table.add_row(row);
    });
    let Draft { writing, .. } = draft;
    let doubts = draft.doubts_text();
    format!(
        "{writing}\n{table}\n{doubts}\nwrote {output}; next:\n  trainer --pipeline {output} --input HISTORY    (a file of \
         records as those of `{topic}`)\n  scorer --pipeline {output}"
    )
}
