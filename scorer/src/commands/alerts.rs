//! `scorer alerts`: what the pipeline file says of alerts, and whether the channels work.

use alerts::{Alert, SendError};
use anyhow::{Result, ensure};
use shared::pipeline::Pipeline;

use super::console;
use super::logs::init_logs;
use crate::alerting::{channel, kind};
use crate::args::AlertsTestArgs;
use crate::clock::now_since_epoch;

/// Sends one alert through each channel, once, and says what became of it.
pub(super) fn test(args: &AlertsTestArgs) -> Result<()> {
    init_logs(false);
    let pipeline = Pipeline::load(&args.pipeline)?;
    let settings = args.brokers.settings()?;
    ensure!(
        !pipeline.channels.is_empty(),
        "pipeline `{}` has no [[channels]]: docs/alerts.md says how to write some",
        pipeline.name
    );
    let names: Vec<&str> = pipeline.channels.iter().map(|spec| spec.name.as_str()).collect();
    if let Some(wanted) = &args.channel {
        ensure!(names.contains(&wanted.as_str()), "there is no channel `{wanted}`: there are {}", names.join(", "));
    }
    let is_wanted = |name: &str| args.channel.as_ref().is_none_or(|wanted| wanted == name);
    let mut failed = Vec::new();
    for spec in pipeline.channels.iter().filter(|spec| is_wanted(&spec.name)) {
        let rule = pipeline.alerts.iter().find(|alert| alert.channels.contains(&spec.name));
        let alert = Alert::test(&pipeline.name, rule.map_or("test", |rule| &rule.name), now_since_epoch());
        let sent = channel(spec, &settings)?.send(&alert);
        console::print(line(&spec.name, kind(spec), &sent))?;
        if sent.is_err() {
            failed.push(spec.name.as_str());
        }
    }
    ensure!(failed.is_empty(), "the test did not arrive by {}", failed.join(", "));
    Ok(())
}

fn line(name: &str, kind: &str, sent: &Result<(), SendError>) -> String {
    match sent {
        Ok(()) => format!("{name} ({kind}): sent"),
        Err(error) => format!("{name} ({kind}): {error}"),
    }
}
