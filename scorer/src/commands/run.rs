//! `scorer run`: score a live topic.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;

use super::live::{StatusLine, accompany, init_logs};
use super::{load, summary};
use crate::args::{ClockArg, CreateArgs, RunArgs};
use crate::kafka::{EndWhen, Stream, StreamOptions, TopicSettings, ensure_topics};

pub(super) async fn run(args: RunArgs) -> Result<()> {
    init_logs(args.json_logs);
    let loaded = load(&args.pipeline, |pipeline| match args.clock {
        Some(ClockArg::Event) => Ok(pipeline.with_event_clock()?),
        Some(ClockArg::Record) => Ok(pipeline.with_record_clock()),
        None => Ok(pipeline),
    })?;
    let settings = args.brokers.settings();
    let created = ensure_topics(&settings, &loaded.pipeline, topic_settings(&args.create)).await?;
    announce(&args, &loaded, &created);
    let options = StreamOptions {
        group: args.group.clone(),
        batch_records: args.batch_records,
        batch_age: Duration::from_millis(args.batch_age_ms),
        all_verdicts: args.all_verdicts,
        end_when: if args.until_end { EndWhen::Reached(Arc::new(|_| true)) } else { EndWhen::Never },
        max_erroneous_bytes: None,
    };
    let stream = Stream::start(&settings, loaded.pipeline, loaded.detectors, options, Arc::new(|_| {})).await?;
    let status = stream.status();
    accompany(stream, &StatusLine::new(!args.json_logs)).await?;
    if args.json_logs {
        tracing::info!(summary = ?status.get(), "ended");
    } else {
        println!("{}", summary::table(&status.get()));
    }
    Ok(())
}

/// How to create topics, or `None` when they must be there.
pub(super) fn topic_settings(args: &CreateArgs) -> Option<TopicSettings> {
    let settings = TopicSettings { partitions: args.partitions, replication_factor: args.replication_factor };
    (!args.no_create_topics).then_some(settings)
}

fn announce(args: &RunArgs, loaded: &super::Loaded, created: &[String]) {
    let names: Vec<&str> = loaded.detectors.names().collect();
    let (topic, brokers, group) = (&loaded.pipeline.topic, &args.brokers.brokers, &args.group);
    let device = loaded.device.to_string();
    if args.json_logs {
        return tracing::info!(device, topic, brokers, group, detectors = ?names, ?created, "started");
    }
    eprintln!("device: {device}");
    if !created.is_empty() {
        eprintln!("created topics: {}", created.join(", "));
    }
    eprintln!("scoring `{topic}` on {brokers} as group `{group}` with {}; Ctrl-C to stop", names.join(" and "));
}
