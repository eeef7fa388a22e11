//! `scorer topics`: which topics a pipeline needs, and which are there.

use anyhow::Result;
use comfy_table::Table;
use comfy_table::presets::UTF8_FULL_CONDENSED;
use shared::pipeline::{Pipeline, Scored};

use super::logs::init_logs;
use super::run::topic_settings;
use super::{console, topics_of};
use crate::args::TopicsArgs;
use crate::kafka::{Topics, check_topics, ensure_topics};

pub(super) async fn topics(args: TopicsArgs) -> Result<()> {
    init_logs(false);
    let pipeline = Pipeline::load(&args.pipeline)?;
    let settings = args.brokers.settings()?;
    let internal = topics_of(&settings, &pipeline, &args.group).await?;
    let created = match topic_settings(&args.create) {
        Some(create) => ensure_topics(&settings, &pipeline, &args.group, &internal, Some(create)).await?,
        None => Vec::new(),
    };
    let states = check_topics(&settings, &pipeline, &internal).await?;
    let mut table = Table::new();
    table.load_preset(UTF8_FULL_CONDENSED);
    table.set_header(["topic", "what for", "partitions", "cleanup", ""]);
    let mut missing = Vec::new();
    for state in &states {
        let partitions = state.partitions.map_or_else(|| "-".to_owned(), |count| count.to_string());
        let note = match state.partitions {
            _ if created.contains(&state.name) => "created",
            Some(count) if state.name == pipeline.topic && has_fewer(count, args.create.partitions) => "as it was",
            Some(_) => "",
            None => "missing",
        };
        if state.partitions.is_none() && note == "missing" {
            missing.push(state.name.clone());
        }
        let cleanup = state.cleanup.clone().unwrap_or_else(|| "-".to_owned());
        let purpose = purpose(&pipeline, &internal, &state.name);
        table.add_row([state.name.clone(), purpose, partitions, cleanup, note.to_owned()]);
    }
    console::print(table)?;
    let count = states.iter().find(|state| state.name == pipeline.topic).and_then(|state| state.partitions);
    if let Some(count) = count.filter(|&count| has_fewer(count, args.create.partitions)) {
        console::say(format_args!(
            "`{}` was there with {count} partitions, and --partitions is for topics that are created: `scorer grow --partitions {}` \
             gives it more and carries the state over",
            pipeline.topic, args.create.partitions
        ));
    }
    anyhow::ensure!(
        missing.is_empty(),
        "missing topics: {}; leave out --no-create-topics to create them",
        missing.join(", ")
    );
    Ok(())
}

/// Whether more partitions were asked for than there are.
fn has_fewer(count: usize, asked: i32) -> bool {
    usize::try_from(asked).is_ok_and(|asked| count < asked)
}

fn purpose(pipeline: &Pipeline, internal: &Topics, topic: &str) -> String {
    if let Some(hop) = internal.hops.iter().position(|hop| hop.input == topic) {
        let column = pipeline.placed_by().get(hop + 1).map_or("", |&column| &pipeline.schema.columns[column].name);
        return format!("internal: records on their way, keyed by {column}");
    }
    if topic == internal.state || internal.hops.iter().any(|hop| hop.state == topic) {
        let what = match pipeline.scored {
            Scored::Sessions(_) => "changelog of open invoices and other state",
            Scored::Records(_) => "changelog of the state of keys",
        };
        return format!("internal: {what}");
    }
    if topic == internal.reports {
        return "internal: reports on the cancellations of each partition".to_owned();
    }
    if topic == pipeline.topic {
        return "input".to_owned();
    }
    if topic == internal.input {
        return "internal: repartitioned lines".to_owned();
    }
    if topic == pipeline.erroneous_topic {
        return match pipeline.scored {
            Scored::Sessions(_) => "erroneous lines and invoices".to_owned(),
            Scored::Records(_) => "erroneous records".to_owned(),
        };
    }
    match pipeline.detector_topics().find(|(_, of)| *of == topic) {
        Some((name, _)) => format!("anomalies by {name}"),
        None if pipeline.channels.iter().any(|channel| channel.topic() == Some(topic)) => "alerts".to_owned(),
        None => "cancellation counts".to_owned(),
    }
}
