//! What is known of one group of a rule.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use crate::anomaly::{Anomaly, Severity};
use crate::rule::{Condition, Rule};

/// Anomalies that an alert repeats: the newest.
pub(crate) const EXAMPLES: usize = 3;

/// Entities that are remembered, so that the next detector's word on one of them is no news, where a rule counts fewer.
pub(crate) const REMEMBERED: usize = 64;

/// One group.
#[derive(Debug, Clone, Default)]
pub(super) struct GroupState {
    /// The newest entities of the window, by hash, each with when it was found.
    hits: VecDeque<(i64, u64)>,
    /// When something of it was found the last time.
    pub last: i64,
    /// When a message was sent the last time.
    pub last_sent: Option<i64>,
    /// Until when nothing is said of it.
    pub snoozed_until: Option<i64>,
    /// There while it is so.
    pub firing: Option<Firing>,
}

/// A group of which it is so.
#[derive(Debug, Clone)]
pub(super) struct Firing {
    /// Since when.
    pub since: i64,
    /// What it began with: the entity, or the moment.
    pub trigger: String,
    /// Entities since it began.
    pub total: u64,
    /// Those that no message counted.
    pub unsent: u64,
    /// The worst severity.
    pub worst: Option<Severity>,
    /// Since when it has been that bad.
    worst_since: i64,
    /// The newest anomalies, the newest last.
    pub examples: VecDeque<Anomaly>,
    /// The value of a rule about the stream.
    pub value: Option<f64>,
    /// Whether somebody was told.
    is_told: bool,
    /// Whether somebody has said that they know.
    pub acknowledged: bool,
    /// Messages since something new came.
    pub repeats: u32,
}

/// Why a message is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// There is something new.
    News,
    /// It is still so.
    Again,
}

fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

impl GroupState {
    /// Takes an anomaly in. Of one entity only the first detector counts.
    pub(super) fn hit(&mut self, anomaly: &Anomaly, now: i64, count: usize, window: i64) {
        let entity = hash(&anomaly.entity);
        let is_known = self.hits.iter().any(|(_, other)| *other == entity);
        self.last = self.last.max(now);
        if !is_known {
            self.hits.push_back((now, entity));
        }
        while self.hits.len() > count.max(REMEMBERED) || self.hits.front().is_some_and(|(at, _)| now - at > window) {
            self.hits.pop_front();
        }
        match &mut self.firing {
            Some(firing) => firing.add(anomaly, u64::from(!is_known), now),
            None if self.hits.len() >= count => {
                let mut firing = Firing::new(now, anomaly.entity.clone());
                firing.add(anomaly, self.hits.len() as u64, now);
                self.firing = Some(firing);
            }
            None => {}
        }
    }

    /// It is so, with this value.
    pub(super) fn hold(&mut self, value: f64, now: i64) {
        self.last = now;
        let firing = self.firing.get_or_insert_with(|| Firing::new(now, now.to_string()));
        firing.value = Some(value);
    }

    /// Whether a message is due.
    pub(super) fn due(&self, rule: &Rule, now: i64) -> Option<Due> {
        let firing = self.firing.as_ref().filter(|firing| !firing.acknowledged && !self.is_snoozed(now))?;
        let since_sent = self.last_sent.map_or(i64::MAX, |sent| now - sent);
        if firing.is_news() {
            return (since_sent >= rule.throttle).then_some(Due::News);
        }
        rule.repeat.filter(|repeat| since_sent >= *repeat).map(|_| Due::Again)
    }

    /// Notes that a message is sent, and says how many entities are new in it.
    pub(super) fn send(&mut self, due: Due, now: i64) -> u64 {
        self.last_sent = Some(now);
        let Some(firing) = &mut self.firing else { return 0 };
        firing.repeats = if due == Due::Again { firing.repeats.saturating_add(1) } else { 0 };
        firing.is_told = true;
        std::mem::take(&mut firing.unsent)
    }

    /// Whether it is no longer so. As long as somebody is still to be told of something new, it does not end, unless nobody
    /// wants to know.
    pub(super) fn is_over(&self, rule: &Rule, is_rule_snoozed: bool, now: i64) -> bool {
        let Some(firing) = &self.firing else { return false };
        let nobody_waits = firing.acknowledged || is_rule_snoozed || self.is_snoozed(now);
        (nobody_waits || !firing.is_news()) && now - self.last >= rule.resolve_after
    }

    pub(super) fn end(&mut self) {
        self.firing = None;
        self.hits.clear();
    }

    pub(super) fn is_told(&self) -> bool {
        self.firing.as_ref().is_some_and(|firing| firing.is_told)
    }

    /// Whether somebody is still to be told.
    pub(super) fn is_owed(&self) -> bool {
        self.firing.as_ref().is_some_and(Firing::is_news)
    }

    pub(super) fn is_snoozed(&self, now: i64) -> bool {
        self.snoozed_until.is_some_and(|until| now < until)
    }

    pub(super) fn acknowledge(&mut self) {
        if let Some(firing) = &mut self.firing {
            firing.acknowledged = true;
            firing.unsent = 0;
        }
    }

    /// Somebody said at a moment that they know. That was about what was so at that moment: not about what began later, or got
    /// worse later.
    pub(super) fn acknowledge_as_of(&mut self, at: i64) {
        if self.firing.as_ref().is_some_and(|firing| firing.since <= at && firing.worst_since <= at) {
            self.acknowledge();
        }
    }

    /// Whether anything about it may still matter.
    pub(super) fn is_worth_keeping(&self, rule: &Rule, now: i64) -> bool {
        let window = if let Condition::Anomalies { window, .. } = rule.condition { window } else { 0 };
        let is_throttled = self.last_sent.is_some_and(|sent| now - sent < rule.throttle);
        self.firing.is_some()
            || is_throttled
            || self.is_snoozed(now)
            || self.hits.back().is_some_and(|(at, _)| now - at <= window)
    }
}

impl Firing {
    fn new(since: i64, trigger: String) -> Self {
        Self {
            since,
            trigger,
            total: 0,
            unsent: 0,
            worst: None,
            worst_since: since,
            examples: VecDeque::new(),
            value: None,
            is_told: false,
            acknowledged: false,
            repeats: 0,
        }
    }

    fn add(&mut self, anomaly: &Anomaly, entities: u64, now: i64) {
        if self.worst.is_some_and(|worst| anomaly.severity > worst) && self.acknowledged {
            // Whoever said that they know did not know this.
            self.acknowledged = false;
            self.unsent += u64::from(entities == 0);
        }
        if self.worst < Some(anomaly.severity) {
            (self.worst, self.worst_since) = (Some(anomaly.severity), now);
        }
        self.total += entities;
        if !self.acknowledged {
            self.unsent += entities;
        }
        if entities > 0 {
            self.examples.push_back(anomaly.clone().shortened());
            while self.examples.len() > EXAMPLES {
                self.examples.pop_front();
            }
        }
    }

    /// Whether there is something that nobody was told.
    fn is_news(&self) -> bool {
        !self.is_told || self.unsent > 0
    }
}
