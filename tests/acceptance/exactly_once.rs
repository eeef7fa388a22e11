//! Instances that are killed under load; `kill-test` is the same with more rounds.

use tests::kill::{GroupProtocol, MUTATIONS, Plan, run};
use tests::{Clock, Subject};

/// Three instances that share partitions among themselves. Five rounds have a zombie and a restart of all among them.
const PLAN: Plan = Plan {
    subject: Subject::Invoices,
    clock: Clock::Event,
    group_protocol: GroupProtocol::Classic,
    threads: 1,
    rounds: 5,
    instances: 3,
    standbys: 0,
    seed: 1,
    mutation: None,
};

fn nothing_is_lost_or_duplicated(subject: Subject, clock: Clock, instances: usize) {
    assert_exact(&Plan { subject, clock, instances, ..PLAN });
}

fn assert_exact(plan: &Plan) {
    let Some(outcome) = run(plan) else { return };
    assert!(outcome.is_exact(), "{outcome:?}; the test's output names some of them");
    assert!(outcome.from_snapshots > 0, "partitions came back from snapshots too");
}

#[test]
fn killed_instances_lose_and_duplicate_nothing() {
    nothing_is_lost_or_duplicated(Subject::Invoices, Clock::Event, 3);
}

/// The broker hands out the partitions, so an instance that was killed waits for its name until the broker has given the
/// killed one up.
#[test]
fn killed_instances_lose_and_duplicate_nothing_where_the_broker_hands_out_partitions() {
    assert_exact(&Plan { group_protocol: GroupProtocol::Consumer, rounds: 4, ..PLAN });
}

/// Others take over from copies that they kept.
#[test]
fn killed_instances_lose_and_duplicate_nothing_with_standby_copies() {
    let plan = Plan { standbys: 3, rounds: 4, ..PLAN };
    let Some(outcome) = run(&plan) else { return };
    assert!(outcome.is_exact(), "{outcome:?}; the test's output names some of them");
    assert!(outcome.from_standbys > 0, "partitions came back from copies too");
}

/// Each of four threads has its own partitions and transactions, and all are killed in the middle of them.
#[test]
fn killed_threads_lose_and_duplicate_nothing() {
    assert_exact(&Plan { threads: 4, instances: 1, rounds: 4, ..PLAN });
}

#[test]
fn a_killed_single_instance_loses_and_duplicates_nothing() {
    nothing_is_lost_or_duplicated(Subject::Invoices, Clock::Event, 1);
}

/// Kafka's clock goes on while nothing is read, and stands still while nobody can know that nothing came.
#[test]
fn killed_instances_close_each_invoice_once_by_the_clock_of_kafka() {
    nothing_is_lost_or_duplicated(Subject::Invoices, Clock::Record, 3);
}

/// What is remembered of users and merchants comes back with every kill: a payment that was forgotten, or remembered
/// twice, would change the features of those after it.
#[test]
fn a_killed_single_instance_judges_every_payment_once() {
    nothing_is_lost_or_duplicated(Subject::Payments, Clock::Event, 1);
}

/// Payments go from hop to hop between instances that are killed: what one hop committed, the next one gets once, in an order
/// that nothing changes.
#[test]
fn killed_instances_judge_every_payment_once_on_many_partitions() {
    assert_exact(&Plan { subject: Subject::WaitingPayments, instances: 2, rounds: 2, ..PLAN });
}

#[test]
fn killed_instances_judge_every_card_payment_once() {
    nothing_is_lost_or_duplicated(Subject::Cards, Clock::Event, 3);
}

/// The test of the test: a guarantee is broken, and ten rounds are enough to find it out. Most often the first four are.
fn is_found_out(mutation: &'static str, instances: usize) {
    is_found_out_by(&Plan { instances, mutation: Some(mutation), ..PLAN });
}

fn is_found_out_by(plan: &Plan) {
    let mutation = plan.mutation.unwrap();
    assert!(MUTATIONS.contains(&mutation));
    for (seed, rounds) in (1..).zip([4, 3, 3]) {
        let Some(outcome) = run(&Plan { seed, rounds, ..*plan }) else { return };
        if !outcome.is_exact() {
            return;
        }
    }
    panic!("nobody found out that the scorer has the fault `{mutation}`");
}

#[test]
fn offsets_outside_of_the_transaction_are_found_out() {
    is_found_out("offsets-outside-transaction", 1);
}

#[test]
fn state_outside_of_the_transaction_is_found_out() {
    is_found_out("state-outside-transaction", 3);
}

#[test]
fn results_outside_of_the_transaction_are_found_out() {
    is_found_out("results-outside-transaction", 1);
}

#[test]
fn commits_without_a_fence_are_found_out() {
    is_found_out("no-fence", 3);
}

#[test]
fn a_tag_that_is_ignored_is_found_out() {
    is_found_out("tag-ignored", 1);
}

#[test]
fn a_standby_copy_that_is_trusted_is_found_out() {
    let plan = Plan { standbys: 3, mutation: Some("standby-trusted"), ..PLAN };
    let Some(outcome) = run(&plan) else { return };
    assert!(!outcome.is_exact(), "{outcome:?}");
    assert!(outcome.from_standbys > 0, "{outcome:?}: it is found out by what the copies held");
}

#[test]
fn a_snapshot_that_is_trusted_is_found_out() {
    is_found_out("snapshot-trusted", 3);
}
