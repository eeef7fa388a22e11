//! Instances that are killed under load; `kill-test` is the same with more rounds.

use tests::Subject;
use tests::kill::{Outcome, Plan, run};

fn nothing_is_lost_or_duplicated(subject: Subject, instances: usize) {
    let plan = Plan { subject, rounds: 10, instances, seed: 1, mutate: false };
    let Some(outcome) = run(&plan) else { return };
    assert_eq!((outcome.lost, outcome.duplicated), (0, 0), "the test's output names some of them");
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

/// The test of the test: offsets that are committed outside of the transaction are lost or duplicated sooner or later.
fn offsets_outside_of_the_transaction_are_found_out(subject: Subject, instances: usize) {
    for seed in 1..=10 {
        let plan = Plan { subject, rounds: 10, instances, seed, mutate: true };
        let Some(Outcome { lost, duplicated, .. }) = run(&plan) else { return };
        if lost + duplicated > 0 {
            return;
        }
    }
    panic!("a hundred kills did not tell the broken scorer from the sound one");
}

#[test]
fn of_invoices_offsets_outside_of_the_transaction_are_found_out() {
    offsets_outside_of_the_transaction_are_found_out(Subject::Invoices, 3);
}

#[test]
fn of_card_payments_offsets_outside_of_the_transaction_are_found_out() {
    offsets_outside_of_the_transaction_are_found_out(Subject::Cards, 3);
}
