//! Instances that keep copies of the state of partitions that others own.

use std::time::Duration;

use tests::{Feed, Kafka, Running, Trial, scorer, wait_for};

/// So that one that dies without a word does not hold the others up for long.
const SHORT_TIMEOUTS: [&str; 4] = ["-X", "session.timeout.ms=6000", "-X", "transaction.timeout.ms=6000"];

const PATIENCE: Duration = Duration::from_secs(60);

/// What an instance says once it has read a changelog to its end.
const COPIED: &str = "a standby copy is up to date";

fn instance(trial: &Trial, name: &str) -> Running {
    let how = ["--standbys", "1", "--status-interval", "1s"];
    trial.instance(name, &[&SHORT_TIMEOUTS[..], &how].concat())
}

/// The partitions that log lines are of.
fn partitions(lines: &[serde_json::Value]) -> Vec<i64> {
    let mut partitions: Vec<i64> = lines.iter().map(|line| line["partition"].as_i64().unwrap()).collect();
    partitions.sort_unstable();
    partitions
}

/// The numbers that an instance last logged.
fn numbers(instance: &Running) -> Option<serde_json::Value> {
    instance.log("status").pop()
}

#[test]
fn who_takes_over_goes_on_from_its_copy_to_what_an_undisturbed_run_finds() {
    let Some(trial) = Trial::start(Kafka::start(), 4) else { return };
    let feed = Feed::start(trial.sender(), 2_000);
    let owner = instance(&trial, "i0");
    trial.group.wait_until_all_move();
    assert!(owner.log(COPIED).is_empty(), "who is alone has nothing to follow");
    let heir = instance(&trial, "i1");
    wait_for("two partitions of its own, and copies of the two others", PATIENCE, || {
        let own = partitions(&heir.log("restored"));
        let copied = partitions(&heir.log(COPIED));
        let all: std::collections::BTreeSet<i64> = own.iter().chain(&copied).copied().collect();
        (own.len() == 2 && all.len() == 4).then_some(())
    });
    trial.group.wait_until_all_move();
    let shown = wait_for("the number of copies", PATIENCE, || {
        numbers(&heir).filter(|numbers| numbers["atalaya_standby_partitions"] == 2)
    });
    assert!(shown["atalaya_standby_lag_records"].as_u64().is_some_and(|lag| lag < 5_000), "{shown}");

    let before = heir.log("restored");
    owner.kill();
    trial.group.wait_until_all_move();
    let taken_over = heir.log("restored").split_off(before.len());
    assert_eq!(partitions(&[&before[..], &taken_over].concat()), [0, 1, 2, 3]);
    for restored in &taken_over {
        assert_eq!(restored["source"], "standby", "{restored}");
        assert!(restored["records"].as_u64().unwrap() < 100, "the changelog is not read again: {restored}");
    }
    trial.assert_exact(feed.stop(), vec![heir]);
}

/// Copies are taken over from those who leave in good order too, and whoever comes follows what the others own.
#[test]
fn copies_follow_the_partitions_wherever_they_go() {
    let Some(trial) = Trial::start(Kafka::start(), 4) else { return };
    let feed = Feed::start(trial.sender(), 2_000);
    let mut instances = vec![instance(&trial, "i0"), instance(&trial, "i1")];
    trial.group.wait_until_all_move();
    for round in 2..4 {
        wait_for("copies of what the other owns", PATIENCE, || {
            let has_two = |instance: &Running| {
                numbers(instance).is_some_and(|numbers| numbers["atalaya_standby_partitions"] == 2)
            };
            instances.iter().all(has_two).then_some(())
        });
        trial.group.wait_until_all_move();
        // The eldest leaves, and commits before.
        let (run, _) = instances.remove(0).terminate();
        assert_eq!(run.code, Some(0), "{}", run.stderr);
        trial.group.wait_until_all_move();
        let sources = |instance: &Running| -> Vec<String> {
            instance.log("restored").iter().map(|line| line["source"].as_str().unwrap_or_default().to_owned()).collect()
        };
        let from_copies = sources(&instances[0]).iter().filter(|source| *source == "standby").count();
        assert!(from_copies >= 2, "{:?}", sources(&instances[0]));
        instances.push(instance(&trial, &format!("i{round}")));
        trial.group.wait_until_all_move();
    }
    trial.assert_exact(feed.stop(), instances);
}

#[test]
fn at_least_once_there_is_nothing_to_follow() {
    let run = scorer(&["run", "--standbys", "2", "--delivery", "at-least-once"]);
    assert_ne!(run.code, Some(0));
    assert!(run.stderr.contains("--standbys 2 needs --delivery exactly-once"), "{}", run.stderr);
}
