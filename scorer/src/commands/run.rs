//! `scorer run`: score a live topic.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use shared::pipeline::Pipeline;

use super::live::{StatusLine, accompany, init_logs};
use super::{LIVE_BATCH, console, load, summary, topics_of, with_clock};
use crate::args::{CreateArgs, DeliveryArg, MutationArg, RepartitionArg, RunArgs};
use crate::kafka::{
    Delivery, EndWhen, KafkaError, KafkaSettings, Mutation, Stream, StreamOptions, TopicSettings, Topics,
    ensure_topics, find_misplaced, has_direct_state,
};

pub(super) async fn run(args: RunArgs) -> Result<()> {
    init_logs(args.json_logs);
    let loaded = load(&args.pipeline, LIVE_BATCH, |pipeline| with_clock(pipeline, args.clock))?;
    let settings = args.brokers.settings();
    let topics = choose_topics(&args, &settings, &loaded.pipeline).await?;
    let create = topic_settings(&args.create);
    let created = ensure_topics(&settings, &loaded.pipeline, &args.group, &topics, create).await?;
    announce(&args, &loaded, &created);
    let options = StreamOptions {
        group: args.group.clone(),
        delivery: match args.delivery {
            DeliveryArg::ExactlyOnce => Delivery::ExactlyOnce,
            DeliveryArg::AtLeastOnce => Delivery::AtLeastOnce,
        },
        repartition: topics.is_repartitioned(),
        instance_id: args.instance_id.clone(),
        state_dir: Some(args.state_dir.clone()),
        batch_records: args.batch_records,
        commit_interval: Duration::from_millis(args.commit_interval_ms),
        all_verdicts: args.all_verdicts,
        end_when: if args.until_end { EndWhen::Reached(Arc::new(|_| true)) } else { EndWhen::Never },
        max_erroneous_bytes: None,
        mutation: args.mutation.map(|MutationArg::OffsetsOutsideTransaction| Mutation::OffsetsOutsideTransaction),
        faults: None,
    };
    let stream = Stream::start(&settings, loaded.pipeline, loaded.detectors, options, Arc::new(|_| {})).await?;
    let status = stream.status();
    accompany(stream, &StatusLine::new(!args.json_logs)).await?;
    if args.json_logs {
        tracing::info!(summary = ?status.get(), "ended");
    } else {
        console::print(summary::table(&status.get()))?;
    }
    Ok(())
}

/// Whether lines have to be brought together first, said in one line where they do or would.
async fn choose_topics(args: &RunArgs, settings: &KafkaSettings, pipeline: &Arc<Pipeline>) -> Result<Topics> {
    let direct = Topics::new(pipeline, &args.group);
    let repartitioned = Topics::repartitioned(pipeline, &args.group);
    let (source, input) = (&direct.source, &repartitioned.input);
    let is_chosen = args.repartition == RepartitionArg::Always
        || (args.repartition == RepartitionArg::Auto
            && topics_of(settings, pipeline, &args.group).await?.is_repartitioned());
    let why = if is_chosen {
        format!("lines of `{source}` go through `{input}`, where those of one invoice meet")
    } else {
        let (asked, of, group) = (settings.clone(), pipeline.clone(), args.group.clone());
        let look = move || Ok::<_, KafkaError>((find_misplaced(&asked, &of)?, has_direct_state(&asked, &of, &group)?));
        let (found, has_state) = tokio::task::spawn_blocking(look).await??;
        match found {
            None => return Ok(direct),
            // Open invoices would be parted from the lines that are still to come.
            Some(found) if has_state && args.repartition == RepartitionArg::Auto => {
                say(
                    args,
                    &format!(
                        "`{source}` is not keyed by invoice number ({found}): invoices may be split; to bring their lines \
                         together, `scorer reset` and run with --repartition always"
                    ),
                );
                return Ok(direct);
            }
            Some(found) if args.repartition == RepartitionArg::Never => {
                say(args, &format!("`{source}` is not keyed by invoice number ({found}): invoices may be split"));
                return Ok(direct);
            }
            Some(found) => format!(
                "`{source}` is not keyed by invoice number ({found}): its lines go through `{input}`, where those of one \
                 invoice meet; --repartition never leaves them where they are"
            ),
        }
    };
    ensure!(
        args.delivery == DeliveryArg::ExactlyOnce,
        "{why}; that needs --delivery exactly-once, or --repartition never"
    );
    say(args, &why);
    Ok(repartitioned)
}

fn say(args: &RunArgs, text: &str) {
    if args.json_logs {
        tracing::info!(how = text, "repartition");
    } else {
        console::say(text);
    }
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
        return tracing::info!(device, topic, brokers, group, detectors = ?names, delivery = ?args.delivery, ?created, "started");
    }
    console::say(format_args!("device: {device}"));
    if !created.is_empty() {
        console::say(format_args!("created topics: {}", created.join(", ")));
    }
    let delivery = match args.delivery {
        DeliveryArg::ExactlyOnce => "exactly once",
        DeliveryArg::AtLeastOnce => "at least once",
    };
    console::say(format_args!(
        "scoring `{topic}` on {brokers} as group `{group}` with {}, {delivery}; Ctrl-C to stop",
        names.join(" and ")
    ));
}
