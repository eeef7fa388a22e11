//! Everything at work: a thread that decides, one for each channel that sends, and a desk for people.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde::Serialize;
use thiserror::Error;

use crate::alert::Alert;
use crate::anomaly::Anomaly;
use crate::channel::Channel;
use crate::delivery::{Backoff, Health, MOST_WAITING, Queue, now};
use crate::engine::{Earlier, Engine, GroupView, MOST_GROUPS};
use crate::intake::{Inbox, Intake, QUEUED, intake};
use crate::reading::Reading;
use crate::rule::{Condition, Rule};
use crate::word::Word;

/// Gives the numbers of the stream as they are now. It is asked once a second, and has to answer at once.
pub type Ask = Arc<dyn Fn() -> Reading + Send + Sync>;

/// How often the stream is looked at.
const TICK: Duration = Duration::from_secs(1);

/// Anomalies that were published so long before the start, or less, are decided again: nobody knows whether those who are told
/// were told of them.
const AGAIN: i64 = 10 * 60_000;

/// Bytes of an anomaly that is kept: about.
const ANOMALY: usize = 2048;

/// The most bytes that alerts take with these rules and so many channels: about.
pub fn memory(rules: &[Rule], n_channels: usize) -> usize {
    let group = |rule: &Rule| {
        let counted = if let Condition::Anomalies { count, .. } = rule.condition { count } else { 0 };
        crate::engine::EXAMPLES * ANOMALY + 16 * counted.max(crate::engine::REMEMBERED) + 1024
    };
    let largest = rules.iter().map(group).max().unwrap_or(0);
    let groups = if rules.iter().any(|rule| !rule.group_by.is_empty()) { MOST_GROUPS } else { rules.len() };
    let alert = (crate::engine::EXAMPLES + 1) * ANOMALY;
    groups * largest + QUEUED * ANOMALY + n_channels * MOST_WAITING * alert
}

/// A channel of an [`Alerting`].
struct Line {
    name: String,
    kind: &'static str,
    queue: Queue,
}

struct Shared {
    engine: Mutex<Engine>,
    lines: Vec<Line>,
    dropped: Arc<AtomicU64>,
    is_over: AtomicBool,
}

impl Shared {
    fn engine(&self) -> MutexGuard<'_, Engine> {
        self.engine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands alerts to the channels of their rules.
    fn hand_out(&self, channels: &BTreeMap<String, Vec<String>>, alerts: Vec<Alert>) {
        for alert in alerts {
            let alert = Arc::new(alert);
            let wanted = channels.get(&alert.rule);
            for line in self.lines.iter().filter(|line| wanted.is_some_and(|names| names.contains(&line.name))) {
                line.queue.add(alert.clone());
            }
        }
    }
}

/// Alerts at work. They end with [`Alerting::close`], or at once when this is dropped.
pub struct Alerting {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

/// What people see of alerts, and do about them.
#[derive(Clone)]
pub struct Desk(Arc<Shared>);

/// What people see.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct View {
    /// The time of day, in milliseconds since 1970.
    pub now: i64,
    /// The rules.
    pub rules: Vec<RuleView>,
    /// What is so now, the newest first.
    pub firing: Vec<GroupView>,
    /// The channels.
    pub channels: Vec<ChannelView>,
    /// Anomalies that no rule saw because too many came at once.
    pub dropped: u64,
    /// Groups that were forgotten because there were too many.
    pub forgotten: u64,
}

/// A rule as people see it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RuleView {
    /// Its name.
    pub name: String,
    /// Its channels.
    pub channels: Vec<String>,
    /// Until when it says nothing.
    pub snoozed_until: Option<i64>,
}

/// A channel as people see it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ChannelView {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: &'static str,
    /// Alerts that were taken.
    pub sent: u64,
    /// Alerts that were refused for good.
    pub refused: u64,
    /// Alerts that went unsent.
    pub dropped: u64,
    /// Alerts that wait.
    pub waiting: usize,
    /// Failures since an alert was taken the last time.
    pub failures: u32,
    /// The last failure.
    pub error: Option<String>,
    /// When an alert was taken the last time.
    pub last_sent: Option<i64>,
    /// Since when none is taken.
    pub failing_since: Option<i64>,
}

/// What cannot be done at the desk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum DeskError {
    /// There is no such alert by now.
    #[error("there is no such alert; it may be resolved by now")]
    NoAlert,
    /// There is no such rule.
    #[error("the pipeline file has no alert of this name")]
    NoRule,
}

impl Alerting {
    /// Begins: with these rules, and these channels with their names and kinds. `earlier` is what was published and said
    /// before: the last minutes are decided again, and what was before them only says what was so then.
    ///
    /// # Errors
    /// When the system gives no threads.
    pub fn start(
        pipeline: &str,
        rules: Vec<Rule>,
        channels: Vec<(String, &'static str, Box<dyn Channel>)>,
        backoff: Backoff,
        ask: Ask,
        earlier: impl FnOnce() -> Earlier + Send + 'static,
    ) -> io::Result<(Self, Intake)> {
        let (intake, inbox) = intake(&rules);
        let by_rule = rules.iter().map(|rule| (rule.name.clone(), rule.channels.clone())).collect();
        let (mut lines, mut threads) = (Vec::new(), Vec::new());
        for (name, kind, channel) in channels {
            let queue = Queue::default();
            let (served, its_name) = (queue.clone(), name.clone());
            let work = move || served.serve(&its_name, &*channel, backoff);
            threads.push(thread::Builder::new().name(format!("alert-{name}")).spawn(work)?);
            lines.push(Line { name, kind, queue });
        }
        let engine = Mutex::new(Engine::new(pipeline, rules));
        let shared = Shared { engine, lines, dropped: inbox.dropped.clone(), is_over: AtomicBool::new(false) };
        let alerting = Self { shared: Arc::new(shared), threads };
        let shared = alerting.shared.clone();
        let work = move || {
            begin_with(&shared, &by_rule, earlier());
            decide(&shared, &by_rule, &inbox, &ask);
        };
        let decider = thread::Builder::new().name("alerts".to_owned()).spawn(work)?;
        let mut alerting = alerting;
        alerting.threads.insert(0, decider);
        Ok((alerting, intake))
    }

    /// What people see of it, and do about it.
    pub fn desk(&self) -> Desk {
        Desk(self.shared.clone())
    }

    /// Decides what came, sends it, and ends: after `patience` at the latest. How many alerts went unsent.
    pub fn close(mut self, patience: Duration) -> u64 {
        let until = Instant::now() + patience;
        self.shared.is_over.store(true, Ordering::Release);
        // The thread that decides never waits long.
        if !self.threads.is_empty() {
            let _ = self.threads.remove(0).join();
        }
        let before: u64 = self.shared.lines.iter().map(|line| line.queue.health().dropped).sum();
        self.shared.lines.iter().for_each(|line| line.queue.close(until));
        let after: u64 = self.shared.lines.iter().map(|line| line.queue.health().dropped).sum();
        after - before
    }
}

impl Drop for Alerting {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Release);
        self.shared.lines.iter().for_each(|line| line.queue.close(Instant::now()));
    }
}

/// Takes in what was before.
fn begin_with(shared: &Shared, channels: &BTreeMap<String, Vec<String>>, earlier: Earlier) {
    let now = now();
    let alerts = shared.engine().replay(earlier, (now - AGAIN, now));
    shared.hand_out(channels, alerts);
}

/// Decides until nobody wants that any more; then what waits, once more.
fn decide(shared: &Shared, channels: &BTreeMap<String, Vec<String>>, inbox: &Inbox, ask: &Ask) {
    let mut next_tick = Instant::now() + TICK;
    let take = |anomaly: Anomaly| {
        let alerts = shared.engine().anomaly(&anomaly, now());
        shared.hand_out(channels, alerts);
    };
    loop {
        let left = next_tick.saturating_duration_since(Instant::now()).min(Duration::from_millis(100));
        if let Some(anomaly) = inbox.next(left) {
            take(anomaly);
        }
        if shared.is_over.load(Ordering::Acquire) {
            while let Some(anomaly) = inbox.try_next() {
                take(anomaly);
            }
            return;
        }
        if Instant::now() >= next_tick {
            next_tick = Instant::now() + TICK;
            let alerts = shared.engine().tick(&ask(), now());
            shared.hand_out(channels, alerts);
        }
    }
}

impl Desk {
    /// What is so now.
    pub fn view(&self) -> View {
        let now = now();
        let engine = self.0.engine();
        let rules = engine.rules().iter().zip(engine.snoozed_rules(now));
        View {
            now,
            rules: rules
                .map(|(rule, snoozed_until)| RuleView {
                    name: rule.name.clone(),
                    channels: rule.channels.clone(),
                    snoozed_until,
                })
                .collect(),
            firing: engine.views(now),
            channels: self.0.lines.iter().map(view_of).collect(),
            dropped: self.0.dropped.load(Ordering::Relaxed),
            forgotten: engine.forgotten(),
        }
    }

    /// Says nothing of an alert for a while; 0 ends that.
    ///
    /// # Errors
    /// [`DeskError::NoAlert`].
    pub fn snooze(&self, id: &str, length: Duration) -> Result<(), DeskError> {
        if self.0.engine().snooze(id, later(length)) { Ok(()) } else { Err(DeskError::NoAlert) }
    }

    /// Says nothing of a rule for a while; 0 ends that.
    ///
    /// # Errors
    /// [`DeskError::NoRule`].
    pub fn snooze_rule(&self, name: &str, length: Duration) -> Result<(), DeskError> {
        if self.0.engine().snooze_rule(name, later(length)) { Ok(()) } else { Err(DeskError::NoRule) }
    }

    /// Hears what people have said, elsewhere or before.
    pub fn heed(&self, word: &Word) {
        self.0.engine().heed(word);
    }

    /// Somebody knows of an alert: nothing more is said of it until it is resolved, or gets worse.
    ///
    /// # Errors
    /// [`DeskError::NoAlert`].
    pub fn acknowledge(&self, id: &str) -> Result<(), DeskError> {
        if self.0.engine().acknowledge(id) { Ok(()) } else { Err(DeskError::NoAlert) }
    }
}

fn later(length: Duration) -> i64 {
    now().saturating_add(i64::try_from(length.as_millis()).unwrap_or(i64::MAX))
}

fn view_of(line: &Line) -> ChannelView {
    let Health { sent, refused, dropped, waiting, failures, error, last_sent, failing_since } = line.queue.health();
    ChannelView {
        name: line.name.clone(),
        kind: line.kind,
        sent,
        refused,
        dropped,
        waiting,
        failures,
        error,
        last_sent,
        failing_since,
    }
}
