//! Accompanies a running stream: signals, the status line.

use std::io::IsTerminal;
use std::time::Duration;

use anyhow::{Result, bail};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use shared::pipeline::{Pipeline, Scored};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use super::console;
use super::status_log::StatusLog;
use super::words::percent;
use crate::kafka::Stream;
use crate::status::{Status, StatusCell};

/// How long a stream may take to publish and commit once it is asked to stop.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(25);

/// Waits until the stream ends or somebody stops it, and shows or logs what it does meanwhile.
///
/// # Errors
/// The stream's error, or that it did not end in time.
pub(super) async fn accompany(stream: Stream, line: &StatusLine, log: Option<StatusLog>) -> Result<()> {
    let (status, mut log) = (stream.status(), log);
    let ended = wait(stream, line, log.as_mut()).await;
    // How it was at the end is in the log however short it was.
    if let Some(log) = &mut log {
        log.write(&status);
    }
    ended
}

async fn wait(stream: Stream, line: &StatusLine, mut log: Option<&mut StatusLog>) -> Result<()> {
    let mut logged = log.as_ref().map(|log| ticks(log.every()));
    let (stop, status) = (stream.stop_handle(), stream.status());
    let mut joined = tokio::task::spawn_blocking(move || stream.join());
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    // A terminal that is closed is no reason to leave work undone.
    let mut hang_up = signal(SignalKind::hangup())?;
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            result = &mut joined => {
                line.clear();
                return Ok(result??);
            }
            _ = interrupt.recv() => break,
            _ = terminate.recv() => break,
            _ = hang_up.recv() => break,
            _ = tick.tick() => line.show(&status),
            () = due(logged.as_mut()) => {
                if let Some(log) = &mut log {
                    log.write(&status);
                }
            }
        }
    }
    line.clear();
    line.say("stopping: what was read is published and committed; Ctrl-C again ends at once");
    tracing::info!("stopping: publishing and committing what was read");
    stop.request();
    tokio::select! {
        result = &mut joined => Ok(result??),
        _ = interrupt.recv() => {
            line.say("ended at once; what is not committed will be read again");
            std::process::exit(130)
        }
        () = tokio::time::sleep(DRAIN_TIMEOUT) => {
            bail!("the stream did not end within {} s; what is not committed will be read again", DRAIN_TIMEOUT.as_secs())
        }
    }
}

/// The first one comes after the interval.
fn ticks(every: Duration) -> Interval {
    let mut ticks = interval_at(Instant::now() + every, every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// Waits until a line is due, which it never is where nobody wants any.
async fn due(interval: Option<&mut Interval>) {
    match interval {
        Some(interval) => {
            interval.tick().await;
        }
        None => std::future::pending().await,
    }
}

impl StatusLine {
    fn show(&self, status: &StatusCell) {
        if !self.bar.is_hidden() {
            self.bar.set_message(describe(&status.get(), self.open, &self.last_records));
            self.bar.tick();
        }
    }

    fn clear(&self) {
        self.bar.finish_and_clear();
    }

    /// Tells somebody who sits in front of it.
    fn say(&self, text: &str) {
        if self.is_visible {
            console::say(text);
        }
    }
}

/// One line a second on a terminal.
pub(super) struct StatusLine {
    bar: ProgressBar,
    is_visible: bool,
    /// What is open.
    open: &'static str,
    last_records: std::sync::atomic::AtomicU64,
}

impl StatusLine {
    /// A line on standard error, or nothing where that is no terminal or logs go there.
    pub(super) fn new(wanted: bool, pipeline: &Pipeline) -> Self {
        let visible = wanted && std::io::stderr().is_terminal();
        let target = if visible { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(None, target);
        if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg}") {
            bar.set_style(style);
        }
        let open = match &pipeline.scored {
            Scored::Sessions(_) => "open invoices",
            Scored::Records(_) => "waiting",
        };
        Self { bar, is_visible: visible, open, last_records: std::sync::atomic::AtomicU64::new(0) }
    }

    /// A handle to print lines past the status line.
    pub(super) fn bar(&self) -> ProgressBar {
        self.bar.clone()
    }
}

fn describe(status: &Status, open: &str, last_records: &std::sync::atomic::AtomicU64) -> String {
    let counters = &status.counters;
    let before = last_records.swap(counters.records, std::sync::atomic::Ordering::Relaxed);
    let truth = |name: &str| {
        let (precision, recall) = (percent(status.truth.precision(name)), percent(status.truth.recall(name)));
        if status.truth.is_empty() { String::new() } else { format!(" (precision {precision}, recall {recall})") }
    };
    let anomalies: Vec<String> =
        status.anomalies.iter().map(|(name, count)| format!("{name} {count}{}", truth(name))).collect();
    let lost = match counters.lost_to_retention {
        0 => String::new(),
        lost => format!(" | lost {lost}"),
    };
    let unread = [
        ("restoring", status.restoring_partitions),
        ("failed partitions", status.failed_partitions),
        ("waiting for a schema", status.waiting_partitions),
    ];
    let unread: String =
        unread.iter().filter(|(_, count)| *count > 0).map(|(name, count)| format!(" | {name} {count}")).collect();
    format!(
        "{} records/s | {open} {} | anomalies: {} | erroneous {}{lost}{unread} | lag {}",
        counters.records.saturating_sub(before),
        counters.open_entities,
        anomalies.join(", "),
        counters.erroneous(),
        status.lag.map_or_else(|| "?".to_owned(), |lag| lag.to_string()),
    )
}
