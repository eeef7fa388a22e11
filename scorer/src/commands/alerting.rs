//! The alerts of a run: what they are given, and when.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel as ends};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use alerts::{Alerting, Anomaly, Backoff, ChannelView, Desk, Earlier, GroupView, Intake, Of, Rule, View, Word};
use anyhow::Result;
use shared::pipeline::Pipeline;
use shared::verdict::Verdict;
use window::{AlertAction, AlertDesk, AlertNumbers, AlertOf, AlertWord, ChannelNumbers, Concerned, Entry};

use crate::alerting::{anomaly, channel, kind, reading, rules, severity};
use crate::clock::now_since_epoch;
use crate::kafka::{
    Follower, KafkaError, KafkaSettings, OnMessage, RecentMessage, TopicMessage, labels_topic, read_labels_topic,
    read_recent,
};
use crate::messages::Content;
use crate::status::StatusCell;

/// Messages of each topic that are read back at the start: the newest.
const RECENT: usize = 10_000;

/// What was published so long before the start, or less, is decided again.
const AGAIN: i64 = 10 * 60_000;

/// What was acknowledged so long before the start, or less, still is if nothing has changed about it.
const ACKNOWLEDGED: i64 = 7 * 24 * 3_600_000;

/// How long to wait before a topic that could not be read is read again.
const RETRY: Duration = Duration::from_secs(10);

/// How long alerts may take to leave once the stream has ended.
const FAREWELL: Duration = Duration::from_secs(10);

/// Alerts at work.
pub(super) struct Alerts {
    alerting: Alerting,
    intake: Intake,
    status: Arc<OnceLock<StatusCell>>,
    /// Whoever listens to what people say does so while this is there.
    listening: Option<Sender<()>>,
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
        let earlier = move || if is_read_back { before(&settings, &of, started) } else { Earlier::default() };
        let (alerting, intake) =
            Alerting::start(&pipeline.name, rules(pipeline), channels, Backoff::default(), ask, earlier)?;
        Ok(Some(Self { alerting, intake, status, listening: None }))
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

    /// Hears what people say at the windows of other instances, where this one has no window to hear it.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(super) fn listen(&mut self, settings: &KafkaSettings, pipeline: &Pipeline) -> io::Result<()> {
        let (listening, is_over) = ends();
        let (settings, topic, desk) = (settings.clone(), labels_topic(pipeline), self.desk());
        let listen = move || {
            let mut is_deaf = false;
            loop {
                match hear(&settings, &topic, &desk, &is_over) {
                    // Nobody has had a window yet.
                    Ok(()) | Err(KafkaError::MissingTopic(_)) => is_deaf = false,
                    Err(error) if !is_deaf => {
                        is_deaf = true;
                        tracing::warn!(%error, topic, "it is not heard what people say of alerts");
                    }
                    Err(_) => {}
                }
                if !matches!(is_over.recv_timeout(RETRY), Err(RecvTimeoutError::Timeout)) {
                    break;
                }
            }
        };
        thread::Builder::new().name("alert-words".to_owned()).spawn(listen)?;
        self.listening = Some(listening);
        Ok(())
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

    fn act(&self, action: &AlertAction) -> Result<Concerned, String> {
        let group = |id: &String| {
            let found = self.0.view().firing.into_iter().find(|group| group.id == *id);
            found.map(|GroupView { rule, group, .. }| Concerned { rule, group: Some(group) }).unwrap_or_default()
        };
        let (of, done) = match action {
            AlertAction::Acknowledge { id } => (group(id), self.0.acknowledge(id)),
            AlertAction::Snooze { id, length } => (group(id), self.0.snooze(id, *length)),
            AlertAction::SnoozeRule { rule, length } => {
                (Concerned { rule: rule.clone(), group: None }, self.0.snooze_rule(rule, *length))
            }
        };
        done.map(|()| of).map_err(|error| error.to_string())
    }

    fn heed(&self, word: &AlertWord) {
        self.0.heed(&said(word));
    }
}

/// What was said, as those who decide take it.
fn said(word: &AlertWord) -> Word {
    let of = match &word.of {
        AlertOf::Group(id) => Of::Group(id.clone()),
        AlertOf::Rule(name) => Of::Rule(name.clone()),
    };
    Word { of, acknowledged: word.acknowledged, snoozed_until: word.snoozed_until, at: word.at }
}

/// Tells the desk what people have said and what they say, until nobody wants to hear more.
fn hear(settings: &KafkaSettings, topic: &str, desk: &Desk, is_over: &Receiver<()>) -> Result<(), KafkaError> {
    let tell = |TopicMessage { key, payload, offset, .. }: TopicMessage<'_>| {
        let key = String::from_utf8_lossy(key).into_owned();
        if let Some(word) = AlertWord::of(&Entry { key, value: payload.map(<[u8]>::to_vec), version: offset }) {
            desk.heed(&said(&word));
        }
    };
    let mut follower = Follower::new(settings);
    follower.read(topic, None, tell)?;
    follower.follow(|message| {
        message.into_iter().for_each(tell);
        matches!(is_over.try_recv(), Err(TryRecvError::Empty))
    })
}

/// Tells all of them.
pub(super) fn all_of(several: Vec<OnMessage>) -> OnMessage {
    Arc::new(move |message| several.iter().for_each(|tell| tell(message)))
}

/// What was published and said before the start and still matters. What cannot be read is as if it had never been.
fn before(settings: &KafkaSettings, pipeline: &Pipeline, started: i64) -> Earlier {
    let words = words_before(settings, &labels_topic(pipeline));
    let since = since(&rules(pipeline), &words, started);
    Earlier { anomalies: published_before(settings, pipeline, (since, started)), words }
}

fn words_before(settings: &KafkaSettings, topic: &str) -> Vec<Word> {
    match read_labels_topic(settings, topic) {
        Ok(entries) => entries.iter().filter_map(AlertWord::of).map(|word| said(&word)).collect(),
        // Nobody has had a window yet.
        Err(KafkaError::MissingTopic(_)) => Vec::new(),
        Err(error) => {
            tracing::warn!(%error, topic, "alerts that were snoozed or acknowledged before this start are told again");
            Vec::new()
        }
    }
}

/// From when on it matters what was published: as far back as rules remember, and as they did when something was acknowledged.
fn since(rules: &[Rule], words: &[Word], started: i64) -> i64 {
    let memory = rules.iter().map(Rule::memory).max().unwrap_or(0).max(AGAIN);
    let acknowledged = words.iter().filter_map(|word| word.acknowledged).filter(|at| *at >= started - ACKNOWLEDGED);
    acknowledged.min().unwrap_or(started).min(started) - memory
}

/// The anomalies that were published in a time and that rules are about.
fn published_before(settings: &KafkaSettings, pipeline: &Pipeline, (since, started): (i64, i64)) -> Vec<Anomaly> {
    let (rules, mut found) = (rules(pipeline), Vec::new());
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

#[cfg(test)]
mod tests {
    use alerts::{Condition, Severity};

    use super::*;

    const HOUR: i64 = 3_600_000;

    #[test]
    fn what_was_acknowledged_is_read_from_before_it_was() {
        let condition = Condition::Anomalies { severity: Severity::Low, detectors: Vec::new(), count: 1, window: HOUR };
        let rule = Rule {
            name: "rule".to_owned(),
            condition,
            group_by: Vec::new(),
            throttle: 0,
            repeat: None,
            resolve_after: HOUR / 2,
            channels: Vec::new(),
        };
        let started = 1_000 * HOUR;
        let word = |acknowledged: Option<i64>| Word {
            of: Of::Group("a".to_owned()),
            acknowledged,
            snoozed_until: Some(started + HOUR),
            at: started,
        };
        let of = |words: &[Word]| since(std::slice::from_ref(&rule), words, started);
        assert_eq!(of(&[]), 999 * HOUR);
        assert_eq!(of(&[word(None)]), 999 * HOUR);
        assert_eq!(of(&[word(Some(900 * HOUR)), word(Some(950 * HOUR)), word(Some(HOUR))]), 899 * HOUR, "not for ever");
        assert_eq!(since(&[], &[], started), started - AGAIN);
    }
}
