//! Decides what is worth an alert. It does no I/O, and the time is an argument.

mod group;
mod replay;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::Serialize;

use crate::alert::{Alert, Group, Status, digest};
use crate::anomaly::{Anomaly, Severity};
use crate::reading::{Past, Reading};
use crate::rule::{Condition, Rule};
use crate::word::{Of, Word};
use group::GroupState;
pub(crate) use group::{EXAMPLES, REMEMBERED};
pub use replay::Earlier;

/// Groups that are kept, of all rules together: beyond that the one that was quiet the longest goes.
pub(crate) const MOST_GROUPS: usize = 5_000;

/// Groups of which nothing is said for a while, whether they are kept or not: beyond that the one of which it ends first goes.
const MOST_QUIET: usize = 5_000;

/// Decides by rules.
#[derive(Debug)]
pub struct Engine {
    pipeline: String,
    rules: Vec<Rule>,
    /// By rule, then by what they have in common.
    groups: Vec<BTreeMap<Vec<String>, GroupState>>,
    watches: Vec<Watch>,
    /// Rules that say nothing until then.
    snoozed: Vec<Option<i64>>,
    /// Groups of which nothing is said until then, by their names: they may come again, or be found only later.
    quiet: BTreeMap<String, i64>,
    forgotten: u64,
    most_groups: usize,
}

/// What a rule about the stream remembers of it.
#[derive(Debug, Default)]
struct Watch {
    past: Past,
    /// Since when it is so.
    since: Option<i64>,
    /// When records came the last time, and how many there were.
    last: Option<(i64, u64)>,
    /// What is said of it, where that is more than a number.
    words: Option<String>,
}

/// A group as people see it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GroupView {
    /// Names it.
    pub id: String,
    /// The rule.
    pub rule: String,
    /// What anomalies have in common, in words.
    pub group: String,
    /// Since when it is so.
    pub since: i64,
    /// When something of it was found the last time.
    pub last: i64,
    /// Anomalous entities since it began.
    pub count: u64,
    /// The worst severity.
    pub severity: Option<Severity>,
    /// The value that a rule about the stream is about.
    pub value: Option<f64>,
    /// When a message was sent the last time.
    pub last_sent: Option<i64>,
    /// Until when nothing is said of it.
    pub snoozed_until: Option<i64>,
    /// Whether somebody has said that they know.
    pub is_acknowledged: bool,
    /// What the newest anomaly is about.
    pub reason: Option<String>,
}

impl Engine {
    /// Decides by these rules, for a pipeline of this name.
    pub fn new(pipeline: &str, rules: Vec<Rule>) -> Self {
        let n_rules = rules.len();
        Self {
            pipeline: pipeline.to_owned(),
            groups: (0..n_rules).map(|_| BTreeMap::new()).collect(),
            watches: (0..n_rules).map(|_| Watch::default()).collect(),
            snoozed: vec![None; n_rules],
            quiet: BTreeMap::new(),
            rules,
            forgotten: 0,
            most_groups: MOST_GROUPS,
        }
    }

    /// The rules.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Groups that were forgotten because there were too many.
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// Takes an anomaly in, at this moment, and says what is worth telling.
    pub fn anomaly(&mut self, anomaly: &Anomaly, now: i64) -> Vec<Alert> {
        let concerned: Vec<usize> = (0..self.rules.len())
            .filter(|index| self.rules[*index].concerns(anomaly.severity, &anomaly.detector))
            .collect();
        concerned.into_iter().filter_map(|index| self.hit(index, anomaly, now)).collect()
    }

    fn hit(&mut self, index: usize, anomaly: &Anomaly, now: i64) -> Option<Alert> {
        let rule = &self.rules[index];
        let Condition::Anomalies { count, window, .. } = rule.condition else { return None };
        let values = rule.group_of(anomaly);
        self.make_room(index, &values);
        self.group(index, &values).hit(anomaly, now, count, window);
        self.told(index, &values, now)
    }

    /// A group of a rule. One that is new may have been snoozed before.
    fn group(&mut self, index: usize, values: &[String]) -> &mut GroupState {
        let is_known = self.quiet.is_empty() || self.groups[index].contains_key(values);
        let snoozed_until = if is_known { None } else { self.quiet.get(&self.group_id(index, values)).copied() };
        let group = self.groups[index].entry(values.to_vec()).or_default();
        group.snoozed_until = group.snoozed_until.max(snoozed_until);
        group
    }

    /// Looks at the numbers of the stream, and at what the time alone changes: what was held back is due, repeated or resolved.
    pub fn tick(&mut self, reading: &Reading, now: i64) -> Vec<Alert> {
        for index in 0..self.rules.len() {
            if self.snoozed[index].is_some_and(|until| until <= now) {
                self.snoozed[index] = None;
            }
            self.watch(index, reading, now);
        }
        self.pass(now)
    }

    /// Says what the time alone changes up to a moment.
    fn pass(&mut self, now: i64) -> Vec<Alert> {
        self.quiet.retain(|_, until| now < *until);
        let mut alerts = Vec::new();
        for index in 0..self.rules.len() {
            let all: Vec<Vec<String>> = self.groups[index].keys().cloned().collect();
            for values in all {
                alerts.extend(self.passed(index, &values, now));
            }
            let rule = &self.rules[index];
            self.groups[index].retain(|_, group| group.is_worth_keeping(rule, now));
        }
        alerts
    }

    /// What the time alone changes about a group.
    fn passed(&mut self, index: usize, values: &[String], now: i64) -> impl Iterator<Item = Alert> + use<> {
        let told = self.told(index, values, now);
        told.into_iter().chain(self.resolved(index, values, now))
    }

    /// Looks at the numbers of the stream for one rule.
    fn watch(&mut self, index: usize, reading: &Reading, now: i64) {
        let (watch, rule) = (&mut self.watches[index], &self.rules[index]);
        let holds = match rule.condition {
            Condition::Anomalies { .. } => return,
            Condition::ErroneousRate { above, window, min_records } => {
                let (records, erroneous) = watch.past.add(now, reading, window);
                let rate = erroneous as f64 / records.max(1) as f64;
                (records >= min_records.max(1) && rate > above).then_some(rate)
            }
            Condition::Lag { records, age, lasting } => {
                let behind = reading.lag.filter(|lag| records.is_some_and(|most| *lag > most)).map(|lag| lag as f64);
                let old = reading.lag_age.filter(|old| age.is_some_and(|most| *old > most)).map(|old| old as f64);
                let is_so = behind.or(old);
                watch.since = is_so.and(watch.since.or(Some(now)));
                is_so.filter(|_| watch.since.is_some_and(|since| now - since >= lasting))
            }
            Condition::Silence { lasting } => {
                let (last, before) = *watch.last.get_or_insert((now, reading.records));
                if reading.records != before || !reading.is_reading {
                    watch.last = Some((now, reading.records));
                    None
                } else {
                    (now - last >= lasting).then_some((now - last) as f64)
                }
            }
            Condition::Drift => {
                if reading.drift.is_some() {
                    watch.words.clone_from(&reading.drift);
                }
                reading.drift.is_some().then_some(reading.drifting as f64)
            }
        };
        if let Some(value) = holds {
            self.group(index, &[]).hold(value, now);
        }
    }

    /// The message about a group that is due, where one is.
    fn told(&mut self, index: usize, values: &[String], now: i64) -> Option<Alert> {
        if self.snoozed[index].is_some_and(|until| now < until) {
            return None;
        }
        let group = self.groups[index].get_mut(values)?;
        let due = group.due(&self.rules[index], now)?;
        let new = group.send(due, now);
        self.alert(index, values, Status::Firing, new, now)
    }

    /// The message that a group is resolved, where it is and anybody was told that it was not.
    fn resolved(&mut self, index: usize, values: &[String], now: i64) -> Option<Alert> {
        let is_snoozed = self.snoozed[index].is_some_and(|until| now < until);
        let group = self.groups[index].get(values)?;
        if !group.is_over(&self.rules[index], is_snoozed, now) {
            return None;
        }
        let is_told = group.is_told() && !is_snoozed && !group.is_snoozed(now);
        let alert = is_told.then(|| self.alert(index, values, Status::Resolved, 0, now)).flatten();
        if let Some(group) = self.groups[index].get_mut(values) {
            group.end();
        }
        alert
    }

    fn alert(&self, index: usize, values: &[String], status: Status, new: u64, now: i64) -> Option<Alert> {
        let rule = &self.rules[index];
        let firing = self.groups[index].get(values)?.firing.as_ref()?;
        let group: Group = rule.group_by.iter().map(|by| by.name().to_owned()).zip(values.iter().cloned()).collect();
        let newest = firing.examples.back().map_or("", |newest| newest.entity.as_str());
        let repeats = firing.repeats.to_string();
        let severity = firing.worst.map_or("none", Severity::name);
        let mut parts =
            vec![self.pipeline.as_str(), &rule.name, status.name(), &firing.trigger, newest, severity, &repeats];
        parts.extend(values.iter().map(String::as_str));
        Some(Alert {
            id: digest(&parts),
            group_id: self.group_id(index, values),
            pipeline: self.pipeline.clone(),
            rule: rule.name.clone(),
            status,
            severity: firing.worst,
            summary: summary(rule, &group, status, (firing.total, firing.value), self.watches[index].words.as_deref()),
            group,
            since: firing.since,
            at: now,
            count: firing.total,
            new,
            repeats: firing.repeats,
            value: firing.value,
            anomalies: firing.examples.iter().rev().cloned().collect(),
        })
    }

    fn group_id(&self, index: usize, values: &[String]) -> String {
        let mut parts = vec![self.pipeline.as_str(), &self.rules[index].name];
        parts.extend(values.iter().map(String::as_str));
        digest(&parts)
    }

    /// Forgets the group that was quiet the longest, where there are too many and another one comes.
    fn make_room(&mut self, index: usize, values: &[String]) {
        let kept: usize = self.groups.iter().map(BTreeMap::len).sum();
        if kept < self.most_groups || self.groups[index].contains_key(values) {
            return;
        }
        let all = self.groups.iter().enumerate().flat_map(|(rule, groups)| groups.iter().map(move |it| (rule, it)));
        // One that nobody has heard of yet goes last.
        let quietest = all.min_by_key(|(_, (_, group))| (group.is_owed(), group.last));
        if let Some((rule, (values, _))) = quietest {
            let values = values.clone();
            self.groups[rule].remove(&values);
            self.forgotten += 1;
        }
    }

    /// What is so now, the newest first.
    pub fn views(&self, now: i64) -> Vec<GroupView> {
        let mut views = Vec::new();
        for (index, rule) in self.rules.iter().enumerate() {
            for (values, group) in &self.groups[index] {
                let Some(firing) = &group.firing else { continue };
                let words: Vec<String> =
                    rule.group_by.iter().zip(values).map(|(by, value)| format!("{} {value}", by.name())).collect();
                views.push(GroupView {
                    id: self.group_id(index, values),
                    rule: rule.name.clone(),
                    group: words.join(", "),
                    since: firing.since,
                    last: group.last,
                    count: firing.total,
                    severity: firing.worst,
                    value: firing.value,
                    last_sent: group.last_sent,
                    snoozed_until: group.snoozed_until.max(self.snoozed[index]).filter(|until| now < *until),
                    is_acknowledged: firing.acknowledged,
                    reason: firing.examples.back().map(|newest| newest.reason.clone()),
                });
            }
        }
        views.sort_by_key(|view| std::cmp::Reverse((view.since, view.id.clone())));
        views
    }

    /// Until when rules say nothing, by their place.
    pub fn snoozed_rules(&self, now: i64) -> Vec<Option<i64>> {
        self.snoozed.iter().map(|until| until.filter(|until| now < *until)).collect()
    }

    /// Says nothing of a rule until a moment; one that has passed ends that. `false` where there is no such rule.
    pub fn snooze_rule(&mut self, name: &str, until: i64) -> bool {
        let Some(index) = self.rules.iter().position(|rule| rule.name == name) else { return false };
        self.snoozed[index] = Some(until);
        true
    }

    /// Says nothing of a group until a moment; one that has passed ends that. `false` where there is no such group.
    pub fn snooze(&mut self, id: &str, until: i64) -> bool {
        let is_firing = self.with_group(id, |group| group.firing.is_some()).unwrap_or(false);
        let is_there = is_firing || self.quiet.contains_key(id);
        if is_there {
            self.be_quiet(id, until);
        }
        is_there
    }

    /// Says nothing of a group until a moment, whether there is such a group by now or not.
    fn be_quiet(&mut self, id: &str, until: i64) {
        self.with_group(id, |group| group.snoozed_until = Some(until));
        self.quiet.insert(id.to_owned(), until);
        while self.quiet.len() > MOST_QUIET {
            let first = self.quiet.iter().min_by_key(|(_, until)| **until).map(|(id, _)| id.clone());
            let Some(first) = first else { break };
            self.quiet.remove(&first);
        }
    }

    /// Hears what people have said, elsewhere or before, however late and however often. It holds from when it was said.
    pub fn heed(&mut self, word: &Word) {
        match &word.of {
            Of::Rule(name) => {
                if let Some(until) = word.snoozed_until {
                    self.snooze_rule(name, until);
                }
            }
            Of::Group(id) => {
                if let Some(until) = word.snoozed_until {
                    self.be_quiet(id, until);
                }
                if let Some(at) = word.acknowledged {
                    self.with_group(id, |group| group.acknowledge_as_of(at));
                }
            }
        }
    }

    /// Somebody knows of a group: nothing more is said of it until it is resolved, or gets worse. `false` where there is no
    /// such group.
    pub fn acknowledge(&mut self, id: &str) -> bool {
        let known = self.with_group(id, |group| {
            group.acknowledge();
            group.firing.is_some()
        });
        known.unwrap_or(false)
    }

    /// Does something with a group; `None` where there is none of this name.
    fn with_group<T>(&mut self, id: &str, change: impl FnOnce(&mut GroupState) -> T) -> Option<T> {
        for index in 0..self.rules.len() {
            let of_id = |values: &&Vec<String>| self.group_id(index, values) == id;
            let found = self.groups[index].keys().find(of_id).cloned();
            if let Some(group) = found.and_then(|values| self.groups[index].get_mut(&values)) {
                return Some(change(group));
            }
        }
        None
    }

    #[cfg(test)]
    fn with_most_groups(mut self, most: usize) -> Self {
        self.most_groups = most;
        self
    }
}

/// What an alert is about, in one sentence.
fn summary(
    rule: &Rule,
    group: &Group,
    status: Status,
    (total, value): (u64, Option<f64>),
    words: Option<&str>,
) -> String {
    let of = group.iter().filter(|(_, value)| !value.is_empty()).map(|(name, value)| format!("{name} {value}"));
    let of = of.collect::<Vec<_>>().join(", ");
    let of = if of.is_empty() { String::new() } else { format!(" of {of}") };
    let value = value.unwrap_or_default();
    let what = match &rule.condition {
        Condition::Anomalies { .. } if total == 1 => format!("1 anomaly{of}"),
        Condition::Anomalies { .. } => format!("{total} anomalies{of}"),
        Condition::ErroneousRate { window, .. } => {
            format!("{:.1}% of the records of {} are erroneous", value * 100.0, span(*window))
        }
        Condition::Lag { records, age, .. } => match (records, age) {
            (Some(most), _) if value > *most as f64 && value.fract() == 0.0 && age.is_none() => {
                format!("{value:.0} records wait to be read")
            }
            (None, Some(_)) => format!("the stream is {} behind", span(value as i64)),
            _ => "the stream is behind".to_owned(),
        },
        Condition::Silence { .. } => format!("no records came for {}", span(value as i64)),
        Condition::Drift => words.unwrap_or("the stream is no longer like the training").to_owned(),
    };
    match status {
        Status::Resolved => format!("resolved: {what}"),
        Status::Firing | Status::Test => what,
    }
}

/// A span in the largest unit that says enough.
fn span(millis: i64) -> String {
    match millis / 1000 {
        0 => format!("{millis} ms"),
        seconds @ 1..=119 => format!("{seconds} s"),
        seconds @ 120..=7199 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3600),
    }
}
