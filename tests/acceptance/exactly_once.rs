//! Instances that are killed under load; `kill-test` is the same with more rounds.

use tests::Subject;
use tests::kill::{MUTATIONS, Plan, run};

fn nothing_is_lost_or_duplicated(subject: Subject, instances: usize) {
    let plan = Plan { subject, rounds: 10, instances, seed: 1, mutation: None };
    let Some(outcome) = run(&plan) else { return };
    assert!(outcome.is_exact(), "{outcome:?}; the test's output names some of them");
    assert!(outcome.from_snapshots > 0, "partitions came back from snapshots too");
}

#[test]
fn killed_instances_lose_and_duplicate_nothing() {
    nothing_is_lost_or_duplicated(Subject::Invoices, 3);
}

#[test]
fn a_killed_single_instance_loses_and_duplicates_nothing() {
    nothing_is_lost_or_duplicated(Subject::Invoices, 1);
}

/// What is remembered of users and merchants comes back with every kill: a payment that was forgotten, or remembered
/// twice, would change the features of those after it.
#[test]
fn a_killed_single_instance_judges_every_payment_once() {
    nothing_is_lost_or_duplicated(Subject::Payments, 1);
}

#[test]
fn killed_instances_judge_every_card_payment_once() {
    nothing_is_lost_or_duplicated(Subject::Cards, 3);
}

/// The test of the test: each guarantee is broken in turn, and ten rounds are enough to find it out.
fn a_broken_guarantee_is_found_out(instances: usize) {
    for mutation in MUTATIONS {
        let plan = Plan { subject: Subject::Invoices, rounds: 10, instances, seed: 1, mutation: Some(mutation) };
        let Some(outcome) = run(&plan) else { return };
        assert!(!outcome.is_exact(), "{mutation}: {outcome:?}");
    }
}

#[test]
fn of_one_instance_a_broken_guarantee_is_found_out() {
    a_broken_guarantee_is_found_out(1);
}

#[test]
fn of_three_instances_a_broken_guarantee_is_found_out() {
    a_broken_guarantee_is_found_out(3);
}
