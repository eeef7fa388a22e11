//! `scorer labels`: what analysts said of anomalies.

use std::path::Path;

use anyhow::{Result, anyhow, ensure};
use serde_json::Value;
use shared::pipeline::Pipeline;

use super::console;
use super::logs::init_logs;
use crate::args::{ExportArgs, LabelsCommand};
use crate::file::{LabelFile, LabelRow};
use crate::kafka::{KafkaError, labels_topic, read_labels_topic};

pub(super) fn labels(command: &LabelsCommand) -> Result<()> {
    init_logs(false);
    match command {
        LabelsCommand::Export(args) => export(args),
    }
}

fn export(args: &ExportArgs) -> Result<()> {
    let pipeline = Pipeline::load(&args.pipeline)?;
    let file = LabelFile::new(&args.output)?;
    ensure!(
        !args.exceptions || file.is_json_lines(),
        "exceptions are written as JSON lines: name the file FILE.jsonl, or leave --exceptions out"
    );
    let topic = labels_topic(&pipeline);
    let entries = read_labels_topic(&args.brokers.settings()?, &topic).map_err(|error| match error {
        KafkaError::MissingTopic(topic) => {
            anyhow!("topic `{topic}` does not exist: nobody has said anything yet in a window (`scorer run --listen`)")
        }
        error => error.into(),
    })?;
    let wanted = if args.exceptions { "exception" } else { "label" };
    let mut unreadable = 0;
    let values = entries.into_iter().filter_map(|entry| {
        let value = entry.value.and_then(|value| serde_json::from_slice::<Value>(&value).ok());
        let value = value.filter(|value| value["kind"].is_string() && value["id"] == entry.key.as_str());
        unreadable += usize::from(value.is_none());
        value
    });
    let rows: Vec<LabelRow> = values.filter(|value| value["kind"] == wanted).map(LabelRow::new).collect();
    let (n_rows, path) = (rows.len(), args.output.display());
    file.write(&rows)?;
    if unreadable > 0 {
        tracing::warn!(topic, unreadable, "entries that are no labels were left out");
    }
    if args.output != Path::new("-") {
        let plural = if n_rows == 1 { "" } else { "s" };
        console::print(format_args!("{n_rows} {wanted}{plural} of `{topic}` written to {path}"))?;
    }
    Ok(())
}
