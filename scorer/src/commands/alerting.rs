//! The alerts of a run: what they are given, and when.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use alerts::{Alerting, Anomaly, Backoff, ChannelView, Desk, Intake, View};
use anyhow::Result;
use shared::pipeline::Pipeline;
use shared::verdict::Verdict;
use window::{AlertAction, AlertDesk, AlertNumbers, ChannelNumbers};

use crate::alerting::{anomaly, channel, kind, reading, rules, severity};
use crate::clock::now_since_epoch;
use crate::kafka::{KafkaSettings, OnMessage, RecentMessage, read_recent};
use crate::messages::Content;
use crate::status::StatusCell;

/// Messages of each topic that are read back at the start: the newest.
const RECENT: usize = 10_000;

/// What was published so long before the start, or less, is decided again.
const AGAIN: i64 = 10 * 60_000;

/// How long alerts may take to leave once the stream has ended.
const FAREWELL: Duration = Duration::from_secs(10);

/// Alerts at work.
pub(super) struct Alerts {
    alerting: Alerting,
    intake: Intake,
    status: Arc<OnceLock<StatusCell>>,
}

impl Alerts {
    /// Begins, where the pipeline file has alerts. With `read_back`, what was published before is decided too.
    ///
    /// # Errors
    /// When a channel cannot be made ready.
    pub(super) fn start(
        pipeline: &Arc<Pipeline>,
        settings: &KafkaSettings,
        is_read_back: bool,
    ) -> Result<Option<Self>> {
        if pipeline.alerts.is_empty() {
            return Ok(None);
        }
        let mut channels = Vec::new();
        for spec in &pipeline.channels {
            channels.push((spec.name.clone(), kind(spec), channel(spec, settings)?));
        }
        let status = Arc::<OnceLock<StatusCell>>::default();
        let of = status.clone();
        let ask = Arc::new(move || of.get().map(|status| reading(&status.get())).unwrap_or_default());
        let (settings, of, started) = (settings.clone(), pipeline.clone(), now_since_epoch());
        let earlier = move || if is_read_back { published_before(&settings, &of, started) } else { Vec::new() };
        let (alerting, intake) =
            Alerting::start(&pipeline.name, rules(pipeline), channels, Backoff::default(), ask, earlier)?;
        Ok(Some(Self { alerting, intake, status }))
    }

    /// The most bytes that the alerts of a pipeline take, about.
    pub(super) fn memory(pipeline: &Pipeline) -> u64 {
        if pipeline.alerts.is_empty() {
            return 0;
        }
        alerts::memory(&rules(pipeline), pipeline.channels.len()) as u64
    }

    /// Leaves at the rules what was committed.
    pub(super) fn on_message(&self) -> OnMessage {
        let intake = self.intake.clone();
        Arc::new(move |message| {
            if let Content::Verdict(verdict) = &message.content
                && verdict.anomalous
            {
                intake.offer(severity(verdict), &verdict.detector, || anomaly(verdict, now_since_epoch()));
            }
        })
    }

    /// Looks at the numbers of this stream from now on.
    pub(super) fn watch(&self, status: StatusCell) {
        // It is told once.
        let _ = self.status.set(status);
    }

    /// What people see of them, and do about them.
    pub(super) fn desk(&self) -> Desk {
        self.alerting.desk()
    }

    /// Sends what is left, for a while, once the stream has ended.
    pub(super) async fn close(self) {
        let closing = tokio::task::spawn_blocking(move || self.alerting.close(FAREWELL));
        match closing.await {
            Ok(0) => {}
            Ok(unsent) => tracing::warn!(unsent, "alerts were not sent: their channels did not take them in time"),
            Err(error) => tracing::warn!(%error, "the alerts did not end as they should"),
        }
    }
}

/// The desk, as the window takes it.
pub(super) struct AlertsAtWindow(pub Desk);

impl AlertDesk for AlertsAtWindow {
    fn view(&self) -> String {
        // Plain data with text keys.
        serde_json::to_string(&self.0.view()).unwrap_or_default()
    }

    fn numbers(&self) -> AlertNumbers {
        let View { rules, firing, channels, dropped, forgotten, .. } = self.0.view();
        let of_rule = |name: &str| firing.iter().filter(|group| group.rule == name).count() as u64;
        let channel = |channel: ChannelView| ChannelNumbers {
            name: channel.name,
            sent: channel.sent,
            refused: channel.refused,
            dropped: channel.dropped,
            waiting: channel.waiting as u64,
            failing_since: channel.failing_since,
        };
        AlertNumbers {
            firing: rules.into_iter().map(|rule| (rule.name.clone(), of_rule(&rule.name))).collect(),
            channels: channels.into_iter().map(channel).collect(),
            dropped,
            forgotten,
        }
    }

    fn act(&self, action: AlertAction) -> Result<(), String> {
        let done = match action {
            AlertAction::Acknowledge { id } => self.0.acknowledge(&id),
            AlertAction::Snooze { id, length } => self.0.snooze(&id, length),
            AlertAction::SnoozeRule { rule, length } => self.0.snooze_rule(&rule, length),
        };
        done.map_err(|error| error.to_string())
    }
}

/// Tells all of them.
pub(super) fn all_of(several: Vec<OnMessage>) -> OnMessage {
    Arc::new(move |message| several.iter().for_each(|tell| tell(message)))
}

/// The anomalies that were published before the start and that rules still remember. What cannot be read is as if it had never
/// been.
fn published_before(settings: &KafkaSettings, pipeline: &Pipeline, started: i64) -> Vec<Anomaly> {
    let rules = rules(pipeline);
    let memory = rules.iter().map(|rule| rule.resolve_after.max(AGAIN)).max().unwrap_or(AGAIN);
    let since = started - memory;
    let mut found = Vec::new();
    for (name, topic) in pipeline.detector_topics() {
        let take = |RecentMessage { payload, at, is_of_normal }: RecentMessage<'_>| {
            if is_of_normal || at < since || at >= started {
                return;
            }
            let Ok(verdict) = serde_json::from_slice::<Verdict>(payload) else { return };
            if verdict.anomalous && rules.iter().any(|rule| rule.concerns(severity(&verdict), name)) {
                found.push(anomaly(&verdict, at).shortened());
            }
        };
        if let Err(error) = read_recent(settings, topic, RECENT, take) {
            tracing::warn!(%error, topic, "alerts are not decided again of what was published before this start");
        }
    }
    found
}
