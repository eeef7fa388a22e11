//! What was so before the start, by what was published and said before.

use super::Engine;
use super::group::GroupState;
use crate::alert::Alert;
use crate::anomaly::Anomaly;
use crate::word::Word;

/// What is known of the time before the start.
#[derive(Debug, Clone, Default)]
pub struct Earlier {
    /// Anomalies that were published.
    pub anomalies: Vec<Anomaly>,
    /// What people said.
    pub words: Vec<Word>,
}

enum Event {
    Anomaly(Anomaly),
    Word(Word),
}

impl Engine {
    /// Takes in what was before, in the order in which it was, and says what was worth telling since a moment, but for what nobody
    /// wants to hear now. What was before that moment only says what was so then.
    pub fn replay(&mut self, earlier: Earlier, (since, now): (i64, i64)) -> Vec<Alert> {
        let Earlier { anomalies, words } = earlier;
        let anomalies = anomalies.into_iter().map(|anomaly| (anomaly.at, Event::Anomaly(anomaly)));
        let words = words.into_iter().flat_map(Word::parts).map(|(at, word)| (at, Event::Word(word)));
        let mut events: Vec<(i64, Event)> = anomalies.chain(words).collect();
        events.sort_by_key(|(at, _)| *at);
        let n_before = events.partition_point(|(at, _)| *at < since);
        let after = events.split_off(n_before);
        for (at, event) in events {
            self.play(event, at);
        }
        // What was over by then is not told to be over now.
        self.pass(since);
        let mut alerts: Vec<Alert> = after.into_iter().flat_map(|(at, event)| self.play(event, at)).collect();
        // Whoever acknowledged or snoozed it was told of it before.
        alerts.retain(|alert| !self.is_hushed(alert, now));
        alerts
    }

    /// Whether nobody wants to hear of the group of an alert.
    fn is_hushed(&mut self, alert: &Alert, now: i64) -> bool {
        let rule = self.rules.iter().position(|rule| rule.name == alert.rule);
        let is_rule_snoozed = rule.is_some_and(|rule| self.snoozed[rule].is_some_and(|until| now < until));
        let is_acknowledged = |group: &GroupState| group.firing.as_ref().is_some_and(|firing| firing.acknowledged);
        let is_hushed = |group: &mut GroupState| is_acknowledged(&*group) || group.is_snoozed(now);
        is_rule_snoozed || self.with_group(&alert.group_id, is_hushed).unwrap_or(false)
    }

    fn play(&mut self, event: Event, at: i64) -> Vec<Alert> {
        match event {
            Event::Anomaly(anomaly) => self.again(&anomaly.shortened(), at),
            Event::Word(word) => {
                self.heed(&word);
                Vec::new()
            }
        }
    }

    /// Takes an anomaly in that was published before. Nothing ticked in between, so what the time alone had changed by then comes
    /// first.
    fn again(&mut self, anomaly: &Anomaly, at: i64) -> Vec<Alert> {
        let mut alerts = Vec::new();
        for index in 0..self.rules.len() {
            if self.rules[index].concerns(anomaly.severity, &anomaly.detector) {
                let values = self.rules[index].group_of(anomaly);
                alerts.extend(self.passed(index, &values, at));
                alerts.extend(self.hit(index, anomaly, at));
            }
        }
        alerts
    }
}
