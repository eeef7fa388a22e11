//! `scorer report`: one page about what was found in a time, to send by mail.

mod cancelled;
mod page;
mod visible;

use std::io::Write as _;

use anyhow::{Context as _, Result};
use shared::files::StagedFile;
use shared::pipeline::Pipeline;
use shared::text::grouped;
use shared::time::format_timestamp;
use window::{Found, Kind, Limits};

use self::cancelled::Cancelled;
use self::page::{Page, Period};
use super::console;
use super::logs::init_logs;
use super::published::{read, read_anomalies, take};
use crate::args::ReportArgs;
use crate::clock::now_since_epoch;
use crate::kafka::Follower;

/// What is kept to be counted. A page says so where that was too little.
const LIMITS: Limits = Limits { entities: 100_000, entity_bytes: 256 << 20, errors: 100_000, error_bytes: 64 << 20 };

pub(super) fn report(args: &ReportArgs) -> Result<()> {
    init_logs(false);
    let pipeline = Pipeline::load(&args.pipeline)?;
    let settings = args.brokers.settings()?;
    let path = args.output.display();
    let failed = || format!("cannot write {path}");
    // A folder that takes no file is told of before much is read.
    let mut file = StagedFile::create(&args.output).with_context(failed)?;

    let period = Period { from: args.since, to: now_since_epoch() };
    let (mut follower, mut found, mut cancelled) = (Follower::new(&settings), Found::new(LIMITS), Cancelled::default());
    read_anomalies(&mut follower, &pipeline, args.since, &mut found)?;
    let erroneous = &pipeline.erroneous_topic;
    read(&mut follower, &pipeline, erroneous, args.since, |message| drop(take(&mut found, Kind::DeadLetter, message)))?;
    if let Some(cancellations) = &pipeline.cancellations {
        read(&mut follower, &pipeline, &cancellations.topic, args.since, |message| {
            cancelled.add(message.payload.unwrap_or_default());
        })?;
    }

    let page = Page::new(&pipeline, period, &found, &cancelled).html()?;
    file.write_all(page.as_bytes()).and_then(|()| file.publish()).with_context(failed)?;
    let (anomalies, erroneous) = (grouped(found.all().count() as u64), grouped(found.errors().messages as u64));
    let since = format_timestamp(args.since);
    console::print(format_args!("{anomalies} anomalies and {erroneous} erroneous messages since {since}: {path}"))?;
    Ok(())
}
