//! Instances that are killed under load; `kill-test` is the same with more rounds.

use tests::kill::{Outcome, Plan, run};

fn nothing_is_lost_or_duplicated(instances: usize) {
    let Some(outcome) = run(&Plan { rounds: 10, instances, seed: 1, mutate: false }) else { return };
    assert_eq!((outcome.lost, outcome.duplicated), (0, 0), "the test's output names some of them");
}

#[test]
fn killed_instances_lose_and_duplicate_nothing() {
    nothing_is_lost_or_duplicated(3);
}

#[test]
fn a_killed_single_instance_loses_and_duplicates_nothing() {
    nothing_is_lost_or_duplicated(1);
}

/// The test of the test: offsets that are committed outside of the transaction are lost or duplicated sooner or later.
#[test]
fn offsets_outside_of_the_transaction_are_found_out() {
    for seed in 1..=10 {
        let Some(Outcome { lost, duplicated, .. }) = run(&Plan { rounds: 10, instances: 3, seed, mutate: true }) else {
            return;
        };
        if lost + duplicated > 0 {
            return;
        }
    }
    panic!("a hundred kills did not tell the broken scorer from the sound one");
}
