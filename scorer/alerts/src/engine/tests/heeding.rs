//! What people said before the start, or elsewhere, holds as if it had been said here.

use super::*;

fn at(moment: i64, entity: usize, severity: Severity) -> Anomaly {
    Anomaly { at: moment, ..anomaly(entity, 7, severity) }
}

/// The name of the group of customer 7.
fn group() -> String {
    engine(rule(1)).anomaly(&anomaly(1, 7, Severity::High), 0)[0].group_id.clone()
}

fn acknowledged(moment: i64) -> Word {
    Word { of: Of::Group(group()), acknowledged: Some(moment), snoozed_until: None, at: moment }
}

fn snoozed(of: Of, moment: i64, until: i64) -> Word {
    Word { of, acknowledged: None, snoozed_until: Some(until), at: moment }
}

/// What is told of anomalies and words from before, of the time since a moment.
fn replayed(anomalies: Vec<Anomaly>, words: Vec<Word>, since: i64) -> (Engine, Vec<Alert>) {
    let mut engine = engine(rule(1));
    let told = engine.replay(Earlier { anomalies, words }, (since, since + 10 * MINUTE));
    (engine, told)
}

#[test]
fn what_was_acknowledged_before_the_start_is_not_told_again() {
    let before = vec![at(0, 1, Severity::High), at(MINUTE, 2, Severity::High)];
    let (_, told) = replayed(before.clone(), Vec::new(), -1);
    assert_eq!(told.len(), 1, "nobody knew of it");
    let (_, told) = replayed(before.clone(), vec![acknowledged(2 * MINUTE)], -1);
    assert!(told.is_empty(), "whoever acknowledged it was told of it");
    let until = |moment| snoozed(Of::Rule("rule".to_owned()), 2 * MINUTE, moment);
    assert!(replayed(before.clone(), vec![until(60 * MINUTE)], -1).1.is_empty());
    assert_eq!(replayed(before.clone(), vec![until(3 * MINUTE)], -1).1.len(), 1, "it is over by now");
    let (mut engine, told) = replayed(before.clone(), vec![acknowledged(2 * MINUTE)], 2 * MINUTE);
    assert!(told.is_empty() && engine.views(2 * MINUTE)[0].is_acknowledged);
    assert!(engine.tick(&quiet(), 20 * MINUTE).is_empty(), "what was not told yet need not be");
    let worse = engine.anomaly(&anomaly(3, 7, Severity::Critical), 21 * MINUTE);
    assert_eq!((worse.len(), worse[0].severity), (1, Some(Severity::Critical)));
    // It got worse before the start.
    let all = [before, vec![at(3 * MINUTE, 3, Severity::Critical)]].concat();
    let (mut engine, told) = replayed(all, vec![acknowledged(2 * MINUTE)], 10 * MINUTE);
    assert!(told.is_empty() && !engine.views(10 * MINUTE)[0].is_acknowledged);
    engine.heed(&acknowledged(2 * MINUTE));
    assert!(!engine.views(10 * MINUTE)[0].is_acknowledged, "heard once more, it is as old as before");
    engine.heed(&acknowledged(4 * MINUTE));
    assert!(engine.views(10 * MINUTE)[0].is_acknowledged);
}

#[test]
fn an_acknowledgement_is_of_what_was_so_then() {
    // It was over for a while in between.
    let apart = vec![at(0, 1, Severity::High), at(60 * MINUTE, 2, Severity::High)];
    let (engine, told) = replayed(apart, vec![acknowledged(MINUTE)], 50 * MINUTE);
    assert_eq!((told.len(), told[0].count, told[0].since), (1, 1, 60 * MINUTE));
    assert!(!engine.views(61 * MINUTE)[0].is_acknowledged);
    let (mut engine, _) = replayed(vec![at(0, 1, Severity::High)], vec![acknowledged(-1)], 0);
    assert!(!engine.views(MINUTE)[0].is_acknowledged, "it was said before there was anything");
    engine.heed(&acknowledged(-1));
    assert!(!engine.views(MINUTE)[0].is_acknowledged);
}

#[test]
fn what_was_over_before_the_start_is_not_told_to_be_over() {
    let (mut engine, told) = replayed(vec![at(0, 1, Severity::High)], Vec::new(), 100 * MINUTE);
    assert!(told.is_empty() && engine.tick(&quiet(), 110 * MINUTE).is_empty() && engine.views(110 * MINUTE).is_empty());
    // What was so at the start is told to be over when it is.
    let (mut engine, _) = replayed(vec![at(90 * MINUTE, 1, Severity::High)], Vec::new(), 100 * MINUTE);
    let over = engine.tick(&quiet(), 120 * MINUTE);
    assert_eq!((over.len(), over[0].status), (1, Status::Resolved));
}

#[test]
fn a_snooze_holds_for_what_is_found_only_later() {
    let of_group = snoozed(Of::Group(group()), 0, 30 * MINUTE);
    let (mut engine, told) = replayed(vec![at(10 * MINUTE, 1, Severity::High)], vec![of_group.clone()], 0);
    assert!(told.is_empty());
    assert_eq!(engine.views(11 * MINUTE)[0].snoozed_until, Some(30 * MINUTE));
    assert_eq!(engine.anomaly(&anomaly(1, 8, Severity::High), 12 * MINUTE).len(), 1, "it is another customer's");
    assert_eq!(engine.tick(&quiet(), 30 * MINUTE).len(), 1);

    let mut later = self::engine(rule(1));
    later.heed(&of_group);
    assert!(later.anomaly(&anomaly(1, 7, Severity::High), MINUTE).is_empty(), "nobody knew the group here");
    // Somebody ends it, elsewhere.
    later.heed(&snoozed(Of::Group(group()), 2 * MINUTE, 2 * MINUTE));
    assert_eq!(later.tick(&quiet(), 2 * MINUTE).len(), 1);
    later.heed(&snoozed(Of::Rule("rule".to_owned()), 3 * MINUTE, 40 * MINUTE));
    later.heed(&snoozed(Of::Rule("another".to_owned()), 3 * MINUTE, 40 * MINUTE));
    assert_eq!(later.snoozed_rules(3 * MINUTE), [Some(40 * MINUTE)]);
    assert!(later.anomaly(&anomaly(5, 9, Severity::High), 4 * MINUTE).is_empty());
}

#[test]
fn a_snoozed_group_that_is_forgotten_stays_snoozed_and_no_more_are_kept_than_may_be() {
    let mut engine = engine(rule(1)).with_most_groups(1);
    let first = engine.anomaly(&anomaly(1, 7, Severity::High), 0);
    assert!(engine.snooze(&first[0].group_id, 60 * MINUTE));
    engine.anomaly(&anomaly(2, 8, Severity::High), 1);
    assert_eq!(engine.forgotten(), 1);
    assert!(engine.anomaly(&anomaly(3, 7, Severity::High), 2).is_empty());
    assert!(engine.snooze(&first[0].group_id, 2), "it can be ended, too");
    assert_eq!(engine.tick(&quiet(), 3).len(), 1);
    for number in 0..MOST_QUIET + 10 {
        engine.heed(&snoozed(Of::Group(number.to_string()), 4, number as i64 + 100));
    }
    assert_eq!(engine.quiet.len(), MOST_QUIET);
    assert!(!engine.quiet.contains_key("9") && engine.quiet.contains_key("10"), "those that end first go");
    engine.tick(&quiet(), i64::MAX);
    assert!(engine.quiet.is_empty());
}
