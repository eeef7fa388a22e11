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

#[cfg(test)]
mod tests {
    use rdkafka::mocking::MockCluster;
    use shared::pipeline::{InputFormat, Pipeline};

    use super::*;
    use crate::args::{BrokerArgs, PropertyArgs};
    use crate::kafka::{KafkaSettings, Producer};

    #[test]
    fn the_records_of_a_topic_become_a_pipeline_file() {
        let cluster = MockCluster::new(1).unwrap();
        let settings = KafkaSettings::at(cluster.bootstrap_servers());
        let folder = tempfile::tempdir().unwrap();
        let row = |row: usize, json: bool| {
            let (minute, user, cents) = (row % 60, row % 5, row * 7 % 90);
            if json {
                format!(
                    "{{\"id\":\"t{row}\",\"at\":\"2024-01-01T10:{minute:02}:00Z\",\"user\":\"u{user}\",\"amount\":{cents}.5}}"
                )
            } else {
                format!("t{row};2024-01-01T10:{minute:02}:00Z;u{user};{cents},5")
            }
        };
        for (topic, json, format, key) in
            [("as-json", true, InputFormat::Json, "id"), ("as-csv", false, InputFormat::Csv, "column_1")]
        {
            cluster.create_topic(topic, 2, 1).unwrap();
            let producer = Producer::new(&settings).unwrap();
            for number in 0..60 {
                let text = row(number, json);
                producer.send(topic, Some(text.as_bytes()), text.as_bytes()).unwrap();
            }
            producer.flush().unwrap();
            let output = folder.path().join(format!("{topic}.toml"));
            let args = InitArgs {
                topic: topic.to_owned(),
                brokers: BrokerArgs {
                    brokers: Some(cluster.bootstrap_servers()),
                    properties: PropertyArgs { properties: Vec::new(), kafka_config: None },
                },
                records: 1000,
                name: None,
                output: Some(output.clone()),
                force: false,
            };
            init(&args).unwrap();
            let pipeline = Pipeline::load(&output.display().to_string()).unwrap();
            assert_eq!((pipeline.topic.as_str(), pipeline.schema.format), (topic, format));
            assert_eq!(pipeline.schema.columns[pipeline.entity.key].name, key);
            assert_eq!(pipeline.feature_names().len(), 3);
            assert!(init(&args).unwrap_err().to_string().contains("is there already"));
        }
    }
}
