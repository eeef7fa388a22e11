//! Laws of the rules, and what they mean in single cases.

mod heeding;

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::rule::By;

const MINUTE: i64 = 60_000;

fn rule(count: usize) -> Rule {
    Rule {
        name: "rule".to_owned(),
        condition: Condition::Anomalies {
            severity: Severity::Medium,
            detectors: Vec::new(),
            count,
            window: 10 * MINUTE,
        },
        group_by: vec![By::Customer],
        throttle: 5 * MINUTE,
        repeat: None,
        resolve_after: 30 * MINUTE,
        channels: Vec::new(),
    }
}

fn about_the_stream(condition: Condition) -> Rule {
    Rule { condition, group_by: Vec::new(), throttle: 0, resolve_after: MINUTE, ..rule(1) }
}

fn anomaly(entity: usize, customer: usize, severity: Severity) -> Anomaly {
    Anomaly {
        entity: format!("p/0/{entity}/k{entity}"),
        key: format!("k{entity}"),
        detector: "knn".to_owned(),
        severity,
        reason: "4,000 items".to_owned(),
        customer: Some(customer.to_string()),
        fields: vec![("Country".to_owned(), "France".to_owned())],
        at: 0,
    }
}

fn quiet() -> Reading {
    Reading { is_reading: true, ..Reading::default() }
}

fn engine(rule: Rule) -> Engine {
    Engine::new("p", vec![rule])
}

#[test]
fn the_first_anomaly_is_told_at_once_and_the_next_ones_together() {
    let mut engine = engine(rule(1));
    let first = engine.anomaly(&anomaly(1, 7, Severity::High), 0);
    assert_eq!((first.len(), first[0].new, first[0].status), (1, 1, Status::Firing));
    assert_eq!(first[0].summary, "1 anomaly of customer 7");
    assert_eq!(first[0].group, [("customer".to_owned(), "7".to_owned())]);
    assert!(engine.anomaly(&anomaly(2, 7, Severity::Critical), MINUTE).is_empty(), "it is throttled");
    assert!(engine.anomaly(&anomaly(3, 7, Severity::High), 2 * MINUTE).is_empty());
    assert!(engine.tick(&quiet(), 4 * MINUTE).is_empty());
    let next = engine.tick(&quiet(), 5 * MINUTE);
    assert_eq!((next.len(), next[0].new, next[0].count, next[0].severity), (1, 2, 3, Some(Severity::Critical)));
    assert_eq!(next[0].anomalies[0].key, "k3", "the newest comes first");
    assert_ne!(next[0].id, first[0].id);
    let resolved = engine.tick(&quiet(), 40 * MINUTE);
    assert_eq!((resolved.len(), resolved[0].status), (1, Status::Resolved));
    assert!(engine.tick(&quiet(), 41 * MINUTE).is_empty() && engine.views(41 * MINUTE).is_empty());
}

#[test]
fn what_no_rule_is_about_is_not_told() {
    let mut engine = engine(rule(1));
    assert!(engine.anomaly(&anomaly(1, 7, Severity::Low), 0).is_empty(), "it is not severe enough");
    let of_others = Condition::Anomalies {
        severity: Severity::Low,
        detectors: vec!["kmeans".to_owned()],
        count: 1,
        window: MINUTE,
    };
    let mut other = self::engine(Rule { condition: of_others, ..rule(1) });
    assert!(other.anomaly(&anomaly(1, 7, Severity::Critical), 0).is_empty(), "it is another detector's");
}

#[test]
fn so_many_entities_in_a_window_make_one_alert_and_an_entity_counts_once() {
    let mut engine = engine(rule(3));
    for (entity, at) in [(1, 0), (1, 1), (2, 2), (2, 3)] {
        assert!(engine.anomaly(&anomaly(entity, 7, Severity::High), at).is_empty(), "{entity} at {at}");
    }
    assert!(engine.anomaly(&anomaly(9, 8, Severity::High), 4).is_empty(), "it is another customer's");
    let third = engine.anomaly(&anomaly(3, 7, Severity::High), 5);
    assert_eq!((third.len(), third[0].count, third[0].new), (1, 3, 3));
    // Too slow.
    let mut slow = self::engine(rule(3));
    for entity in 0..20 {
        assert!(slow.anomaly(&anomaly(entity, 7, Severity::High), entity as i64 * 6 * MINUTE).is_empty());
    }
}

#[test]
fn it_is_said_again_until_somebody_knows_or_it_gets_worse() {
    let mut engine = engine(Rule { repeat: Some(10 * MINUTE), resolve_after: 600 * MINUTE, ..rule(1) });
    let first = engine.anomaly(&anomaly(1, 7, Severity::Medium), 0);
    let again = engine.tick(&quiet(), 10 * MINUTE);
    assert_eq!((again.len(), again[0].repeats, again[0].new), (1, 1, 0));
    assert_ne!(again[0].id, first[0].id, "a receiver that drops what it has seen takes it");
    assert!(engine.acknowledge(&first[0].group_id) && !engine.acknowledge("nothing"));
    assert!(engine.tick(&quiet(), 20 * MINUTE).is_empty());
    assert!(engine.anomaly(&anomaly(2, 7, Severity::Medium), 21 * MINUTE).is_empty());
    let worse = engine.anomaly(&anomaly(3, 7, Severity::Critical), 22 * MINUTE);
    assert_eq!((worse.len(), worse[0].severity), (1, Some(Severity::Critical)));
}

#[test]
fn nothing_is_said_of_what_is_snoozed_and_it_is_said_afterwards() {
    let mut engine = engine(rule(1));
    let first = engine.anomaly(&anomaly(1, 7, Severity::High), 0);
    assert!(engine.snooze(&first[0].group_id, 20 * MINUTE));
    assert_eq!(engine.views(MINUTE)[0].snoozed_until, Some(20 * MINUTE));
    assert!(engine.anomaly(&anomaly(2, 7, Severity::High), 6 * MINUTE).is_empty());
    assert!(engine.tick(&quiet(), 19 * MINUTE).is_empty());
    let after = engine.tick(&quiet(), 20 * MINUTE);
    assert_eq!((after.len(), after[0].new), (1, 1));
    assert!(engine.snooze_rule("rule", 40 * MINUTE) && !engine.snooze_rule("other", 40 * MINUTE));
    assert!(engine.anomaly(&anomaly(3, 8, Severity::High), 30 * MINUTE).is_empty(), "a new group is of the rule too");
    assert!(engine.tick(&quiet(), 36 * MINUTE).is_empty(), "the first one is resolved unheard");
    let after = engine.tick(&quiet(), 40 * MINUTE);
    assert_eq!((after.len(), after[0].group[0].1.as_str()), (1, "8"));
}

#[test]
fn a_rate_of_errors_counts_only_where_there_are_enough_records() {
    let rate = Condition::ErroneousRate { above: 0.1, window: 5 * MINUTE, min_records: 100 };
    let mut engine = engine(about_the_stream(rate));
    let at = |records, erroneous| Reading { records, erroneous, ..quiet() };
    assert!(engine.tick(&at(0, 0), 0).is_empty());
    assert!(engine.tick(&at(50, 50), MINUTE).is_empty(), "too few records to say so");
    assert!(engine.tick(&at(1000, 100), 2 * MINUTE).is_empty(), "10% is not above 10%");
    let firing = engine.tick(&at(1000, 200), 3 * MINUTE);
    assert_eq!((firing.len(), firing[0].value), (1, Some(0.2)));
    assert_eq!(firing[0].summary, "20.0% of the records of 5 min are erroneous");
    assert!(engine.tick(&at(9000, 200), 4 * MINUTE - 1).is_empty());
    let resolved = engine.tick(&at(9000, 200), 4 * MINUTE);
    assert_eq!((resolved.len(), resolved[0].status), (1, Status::Resolved));
}

#[test]
fn a_stream_that_is_behind_is_told_of_once_it_has_lasted() {
    let lag = Condition::Lag { records: Some(100), age: None, lasting: MINUTE };
    let mut engine = engine(about_the_stream(lag));
    let behind = |lag| Reading { lag, ..quiet() };
    assert!(engine.tick(&behind(Some(500)), 0).is_empty());
    assert!(engine.tick(&behind(Some(50)), 30_000).is_empty());
    assert!(engine.tick(&behind(Some(500)), 40_000).is_empty());
    assert!(engine.tick(&behind(Some(500)), 99_999).is_empty(), "it was short of it in between");
    let firing = engine.tick(&behind(Some(600)), 100_000);
    assert_eq!((firing.len(), firing[0].summary.as_str()), (1, "600 records wait to be read"));
    assert!(engine.tick(&behind(None), 110_000).is_empty(), "what is not known is not so");
    assert_eq!(engine.tick(&behind(Some(0)), 160_000).len(), 1, "resolved");
}

#[test]
fn silence_is_told_of_where_there_is_something_to_read() {
    let mut engine = engine(about_the_stream(Condition::Silence { lasting: 2 * MINUTE }));
    let at = |records, is_reading| Reading { records, is_reading, ..Reading::default() };
    assert!(engine.tick(&at(5, false), 0).is_empty());
    assert!(engine.tick(&at(5, false), 10 * MINUTE).is_empty(), "a standby hears nothing");
    assert!(engine.tick(&at(5, true), 11 * MINUTE).is_empty());
    let firing = engine.tick(&at(5, true), 12 * MINUTE);
    assert_eq!((firing.len(), firing[0].summary.as_str()), (1, "no records came for 2 min"));
    assert!(engine.tick(&at(6, true), 13 * MINUTE - 1).is_empty());
    assert_eq!(engine.tick(&at(7, true), 13 * MINUTE)[0].status, Status::Resolved);
}

#[test]
fn drift_is_told_once_and_says_what_has_changed() {
    let mut engine = engine(about_the_stream(Condition::Drift));
    let drifted = |words: &str| Reading { drifting: 1, drift: Some(words.to_owned()), ..quiet() };
    assert!(engine.tick(&quiet(), 0).is_empty());
    let firing = engine.tick(&drifted("kmeans since noon: amount (PSI 0.31)"), MINUTE);
    assert_eq!((firing.len(), firing[0].value), (1, Some(1.0)));
    assert_eq!(firing[0].summary, "kmeans since noon: amount (PSI 0.31)");
    for minute in 2..100 {
        assert!(engine.tick(&drifted("kmeans since noon: amount (PSI 0.32)"), minute * MINUTE).is_empty());
    }
    // Another model.
    let resolved = (100..110).flat_map(|minute| engine.tick(&quiet(), minute * MINUTE)).collect::<Vec<_>>();
    assert_eq!(resolved.iter().map(|alert| alert.status).collect::<Vec<_>>(), [Status::Resolved]);
    assert_eq!(resolved[0].summary, "resolved: kmeans since noon: amount (PSI 0.32)");
}

#[test]
fn there_are_never_more_groups_than_are_kept() {
    let mut engine = engine(rule(2)).with_most_groups(10);
    for customer in 0..100 {
        engine.anomaly(&anomaly(customer, customer, Severity::High), customer as i64);
        assert!(engine.groups[0].len() <= 10);
    }
    assert_eq!(engine.forgotten(), 90);
    // The newest are there.
    assert_eq!(engine.anomaly(&anomaly(200, 99, Severity::High), 100).len(), 1);
}

/// What happens: an anomaly of some entity and customer, after so many seconds.
#[derive(Debug, Clone)]
struct Step {
    seconds: i64,
    entity: usize,
    customer: usize,
    severity: usize,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = (0i64..900, 0usize..40, 0usize..3, 0usize..4);
    prop::collection::vec(
        step.prop_map(|(seconds, entity, customer, severity)| Step { seconds, entity, customer, severity }),
        1..120,
    )
}

/// Everything that is told: with a tick each second of so many after the last step, so that nothing is left to be told.
fn told(rule: &Rule, steps: &[Step]) -> Vec<Alert> {
    let mut engine = engine(rule.clone());
    let (mut now, mut alerts) = (0, Vec::new());
    for step in steps {
        for _ in 0..step.seconds / 30 {
            now += 30_000;
            alerts.extend(engine.tick(&quiet(), now));
        }
        now += 1000 * (step.seconds % 30);
        // An entity is one customer's.
        let entity = step.entity * 3 + step.customer;
        alerts.extend(engine.anomaly(&anomaly(entity, step.customer, Severity::ALL[step.severity]), now));
    }
    for _ in 0..200 {
        now += 30_000;
        alerts.extend(engine.tick(&quiet(), now));
    }
    assert!(engine.views(now).is_empty() && engine.groups[0].is_empty(), "all is over by then");
    alerts
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Of a group nothing is said more often than the rule wants.
    #[test]
    fn two_messages_of_a_group_are_never_closer_than_the_throttle(steps in steps(), count in 1usize..4) {
        let rule = rule(count);
        let mut last: BTreeMap<String, i64> = BTreeMap::new();
        for alert in told(&rule, &steps).into_iter().filter(|alert| alert.status == Status::Firing) {
            if let Some(before) = last.insert(alert.group_id.clone(), alert.at) {
                prop_assert!(alert.at - before >= rule.throttle, "{} after {before}", alert.at);
            }
        }
    }

    /// Each anomaly that belongs to an alert is counted in exactly one message.
    #[test]
    fn nothing_is_swallowed(steps in steps(), count in 1usize..4) {
        let mut of_episode: BTreeMap<(String, i64), (u64, u64)> = BTreeMap::new();
        for alert in told(&rule(count), &steps) {
            let (new, total) = of_episode.entry((alert.group_id, alert.since)).or_default();
            *new += alert.new;
            *total = (*total).max(alert.count);
        }
        for (new, total) in of_episode.values() {
            prop_assert_eq!(new, total);
            prop_assert!(*total >= count as u64);
        }
    }

    /// What fires is resolved once, and nothing else is.
    #[test]
    fn firing_and_resolved_take_turns(steps in steps(), count in 1usize..4) {
        let mut firing: BTreeSet<String> = BTreeSet::new();
        for alert in told(&rule(count), &steps) {
            match alert.status {
                Status::Firing => { firing.insert(alert.group_id); }
                _ => prop_assert!(firing.remove(&alert.group_id), "resolved without having fired"),
            }
        }
        prop_assert!(firing.is_empty(), "something was never resolved");
    }

    /// The same happenings make the same messages, and each message has a name of its own.
    #[test]
    fn names_are_of_the_happenings_alone(steps in steps(), count in 1usize..4) {
        let repeating = Rule { repeat: Some(6 * MINUTE), ..rule(count) };
        // An entity is judged once, and no other has its name.
        let steps: Vec<Step> = steps.into_iter().enumerate().map(|(entity, step)| Step { entity, ..step }).collect();
        let (first, second) = (told(&repeating, &steps), told(&repeating, &steps));
        prop_assert_eq!(&first, &second);
        let names: BTreeSet<&str> = first.iter().map(|alert| alert.id.as_str()).collect();
        prop_assert_eq!(names.len(), first.len());
    }
}
