//! `scorer redrive`: send erroneous records to the input again.

use std::sync::Arc;

use anyhow::Result;
use shared::pipeline::Pipeline;

use super::console;
use super::logs::init_logs;
use super::run::topic_settings;
use crate::args::RedriveArgs;
use crate::kafka::{Redrive, Redriven, Which};

pub(super) async fn redrive(args: RedriveArgs) -> Result<()> {
    init_logs(false);
    let pipeline = Arc::new(Pipeline::load(&args.pipeline)?);
    let topic = pipeline.topic.clone();
    let redrive = Redrive {
        pipeline,
        group: args.group,
        which: Which { reason: args.reason, since: args.since, until: None, record: args.record },
        is_dry: args.dry_run,
        by: None,
        most_known: usize::MAX,
        create: topic_settings(&args.create),
    };
    let redriven = redrive.run(&args.brokers.settings()?).await?;
    console::print(text(&redriven, &topic, args.dry_run))?;
    Ok(())
}

/// What was or would be sent, and a line for each reason why something was not.
fn text(redriven: &Redriven, topic: &str, is_dry: bool) -> String {
    let Redriven { sent, sent_before, truncated, too_large, not_of_a_record } = *redriven;
    let how = if is_dry { "would be sent" } else { "sent" };
    let others = [
        (sent_before, "sent before"),
        (truncated, "left out: the erroneous message holds only a part of the record"),
        (too_large, "left out: the record is larger than the topic takes"),
        (not_of_a_record, "left out: the erroneous message is not about a single record"),
    ];
    let others = others.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("\n{count} {what}"));
    format!("{sent} {how} to `{topic}`{}", others.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_sent_has_its_reason() {
        let none = Redriven { sent: 3, ..Redriven::default() };
        assert_eq!(text(&none, "purchases", false), "3 sent to `purchases`");
        assert_eq!(text(&none, "purchases", true), "3 would be sent to `purchases`");
        let some = Redriven { sent_before: 2, truncated: 1, ..none };
        insta::assert_snapshot!(text(&some, "purchases", false), @r"
        3 sent to `purchases`
        2 sent before
        1 left out: the erroneous message holds only a part of the record
        ");
    }
}
