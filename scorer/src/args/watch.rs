//! The command lines of `watch` and `report`: what was found, without a window.

use std::path::PathBuf;

use clap::Args;
use shared::time::parse_span;
use window::Severity;

use super::{BrokerArgs, parse_time};
use crate::clock::now_since_epoch;

/// Options of `watch`.
#[derive(Debug, Clone, Args)]
#[command(after_long_help = WATCH_EXAMPLES)]
pub struct WatchArgs {
    /// Pipeline that ships with the program, or pipeline file; it names the topics.
    #[arg(long, value_name = "NAME|FILE", default_value = "invoices")]
    pub pipeline: String,
    /// Brokers.
    #[command(flatten)]
    pub brokers: BrokerArgs,
    /// Begin with what was published since then: a span such as 90m, 24h or 7d, or a time such as 2026-11-21T09:30:00Z or
    /// milliseconds since 1970.
    #[arg(long, value_name = "SPAN|TIME", default_value = "24h", value_parser = parse_since)]
    pub since: i64,
    /// Show this severity and worse ones only: low, medium, high or critical.
    #[arg(long, value_name = "SEVERITY", value_parser = parse_severity)]
    pub severity: Option<Severity>,
    /// Show only what this detector calls an anomaly.
    #[arg(long, value_name = "NAME")]
    pub detector: Option<String>,
    /// Show also those that are closed: analysts know what they are.
    #[arg(long)]
    pub all: bool,
    /// End once everything was read that is there now.
    #[arg(long)]
    pub once: bool,
    /// Print a JSON object a line, as `/api/v1/anomalies` of the window gives it.
    #[arg(long)]
    pub json: bool,
}

const WATCH_EXAMPLES: &str = "\
Examples:
  scorer watch                                        the anomalies of the last day, and then those that come
  scorer watch --since 7d --severity high             the bad ones of a week
  scorer watch --since 90m --once --json | jq .key    the keys of those of the last 90 minutes

Each entity has one line, and one more if a detector that judges later finds that it is worse. What an exception hides is not
shown. The command joins no consumer group and writes nothing. Ctrl-C ends it.";

/// Options of `report`.
#[derive(Debug, Clone, Args)]
pub struct ReportArgs {
    /// Pipeline that ships with the program, or pipeline file; it names the topics.
    #[arg(long, value_name = "NAME|FILE", default_value = "invoices")]
    pub pipeline: String,
    /// Brokers.
    #[command(flatten)]
    pub brokers: BrokerArgs,
    /// Tell of what was published since then: a span such as 90m, 24h or 7d, or a time such as 2026-11-21T09:30:00Z or
    /// milliseconds since 1970.
    #[arg(long, value_name = "SPAN|TIME", default_value = "24h", value_parser = parse_since)]
    pub since: i64,
    /// The page to write: a single HTML file, which needs no network.
    #[arg(long, value_name = "FILE", default_value = "report.html")]
    pub output: PathBuf,
}

/// A moment, or how long ago it was.
fn parse_since(text: &str) -> Result<i64, String> {
    since(text, now_since_epoch())
        .ok_or_else(|| "use a span such as 90m, 24h or 7d, or a time such as 2026-11-21T09:30:00Z".to_owned())
}

fn since(text: &str, now: i64) -> Option<i64> {
    let ago = || Some(now.saturating_sub(parse_span(text)?).max(0));
    parse_time(text).or_else(ago)
}

fn parse_severity(text: &str) -> Result<Severity, String> {
    Severity::of(text).ok_or_else(|| format!("use {}", Severity::ALL.map(Severity::name).join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_span_ago_or_a_time() {
        let now = 10 * 86_400_000;
        let of = |text: &str| since(text, now);
        assert_eq!([of("24h"), of("7d"), of("90m")], [9 * 86_400_000, 3 * 86_400_000, now - 90 * 60_000].map(Some));
        assert_eq!([of("1970-01-01T00:00:01Z"), of("1000")], [Some(1_000); 2]);
        assert_eq!(of("30d"), Some(0), "there was nothing before");
        assert_eq!(["", "yesterday", "-1h", "24", "h"].map(of).iter().flatten().collect::<Vec<_>>(), [&24]);
        assert_eq!(parse_severity("high"), Ok(Severity::High));
        assert_eq!(parse_severity("bad"), Err("use low, medium, high, critical".to_owned()));
    }
}
