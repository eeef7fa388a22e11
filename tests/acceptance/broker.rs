//! Brokers that end and come back, and a network that is cut.

use std::time::Duration;

use tests::{Feed, Kafka, Proxy, Trial};

const LINES_A_SECOND: usize = 1_000;

/// A scorer under load on three brokers, of which one goes and comes back.
fn a_broker_goes_and_comes_back(go: impl FnOnce(&Trial)) {
    let Some(trial) = Trial::start(Kafka::start_three(), 3) else { return };
    let feed = Feed::start(trial.sender(), LINES_A_SECOND);
    let mut instance = trial.instance("only", &[]);
    trial.group.wait_until_all_move();
    go(&trial);
    trial.group.wait_until_all_move();
    trial.kafka.start_brokers();
    trial.group.wait_until_all_move();
    assert!(!instance.has_ended(), "it is still there");
    trial.assert_exact(feed.stop(), vec![instance]);
}

#[test]
fn a_killed_leader_of_the_input_changes_nothing() {
    a_broker_goes_and_comes_back(|trial| trial.kafka.kill_broker(trial.kafka.leader("purchases", 0)));
}

#[test]
fn a_restarted_coordinator_changes_nothing() {
    a_broker_goes_and_comes_back(|trial| {
        trial.kafka.terminate_broker(trial.kafka.coordinator(trial.group_name()));
    });
}

/// The scorer's connections are silent for a while; everybody else's are not.
fn a_cut_changes_nothing(span: Duration) {
    let proxy = Proxy::bind();
    let Some(trial) = Trial::start(Kafka::start_behind(&proxy), 3) else { return };
    let feed = Feed::start(trial.sender(), LINES_A_SECOND);
    let mut instance = trial.instance("only", &[]);
    trial.group.wait_until_all_move();
    proxy.cut();
    std::thread::sleep(span);
    proxy.heal();
    trial.group.wait_until_all_move();
    assert!(!instance.has_ended(), "it is still there");
    trial.assert_exact(feed.stop(), vec![instance]);
}

#[test]
fn a_short_cut_changes_nothing() {
    a_cut_changes_nothing(Duration::from_secs(5));
}

/// Longer than the group and its transactions wait for a member.
#[test]
fn a_long_cut_changes_nothing() {
    a_cut_changes_nothing(Duration::from_secs(60));
}
