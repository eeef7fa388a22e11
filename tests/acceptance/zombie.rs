//! Instances that come back after they were taken for dead, or that there are two of.

use std::time::Duration;

use tests::{Feed, Kafka, Running, Trial, scorer, text, wait_for};

const PARTITIONS: u32 = 3;

/// Twice as many as there are threads: those that come back get some again.
const OF_THREADS: u32 = 8;

const LINES_A_SECOND: usize = 2_000;
const PATIENCE: Duration = Duration::from_secs(120);

fn restored(instance: &Running) -> usize {
    instance.log("restored").len()
}

/// One is stopped until its partitions are another's and goes on then: what it still holds is not published.
fn what_comes_back_from_the_dead_changes_nothing(threads: &str, partitions: u32) {
    let Some(trial) = Trial::start(Kafka::start(), partitions) else { return };
    let feed = Feed::start(trial.sender(), LINES_A_SECOND);
    let mut without_id = vec!["-X", "session.timeout.ms=6000", "--threads", threads];
    // Several threads stop in the middle of several transactions, for which the heir would wait.
    without_id.extend((threads != "1").then_some(["-X", "transaction.timeout.ms=6000"]).into_iter().flatten());
    let mut stopped = trial.instance("stopped", &without_id);
    trial.group.wait_until_all_move();
    stopped.signal("STOP");
    let heir = trial.instance("heir", &without_id);
    wait_for("the heir to get every partition", PATIENCE, || (restored(&heir) >= partitions as usize).then_some(()));
    trial.group.wait_until_all_move();

    let before = restored(&stopped);
    stopped.signal("CONT");
    wait_for("the instance to see that it was given up", PATIENCE, || {
        (stopped.has_ended() || restored(&stopped) > before).then_some(())
    });
    trial.group.wait_until_all_move();
    let mut instances = vec![heir];
    if stopped.has_ended() {
        let run = stopped.wait();
        assert_eq!(run.code, Some(78), "it says what happened: {}", run.stderr);
    } else {
        instances.push(stopped);
    }
    trial.assert_exact(feed.stop(), instances);
}

#[test]
fn an_instance_that_comes_back_from_the_dead_changes_nothing() {
    what_comes_back_from_the_dead_changes_nothing("1", PARTITIONS);
}

/// Each thread has its own member and its own transactions, and each is given up by itself.
#[test]
fn threads_that_come_back_from_the_dead_change_nothing() {
    what_comes_back_from_the_dead_changes_nothing("4", OF_THREADS);
}

/// The second one that is started with an id is the one that goes on, however many threads either has.
#[test]
fn of_two_instances_with_one_id_the_first_ends() {
    let Some(trial) = Trial::start(Kafka::start(), PARTITIONS) else { return };
    let feed = Feed::start(trial.sender(), LINES_A_SECOND);
    // What the second thread of the first one has is free once its session is over.
    let id = ["--instance-id", "twin", "-X", "session.timeout.ms=6000"];
    let first = trial.instance("first", &[&id[..], &["--threads", "2"]].concat());
    trial.group.wait_until_all_move();
    let second = trial.instance("second", &id);
    let run = first.wait_at_most(PATIENCE);
    let last_words = run.stderr.lines().last().unwrap_or_default();
    assert_eq!(run.code, Some(78), "{last_words}");
    assert!(last_words.starts_with("error: ") && last_words.contains("twin"), "{last_words}");
    trial.group.wait_until_all_move();
    trial.assert_exact(feed.stop(), vec![second]);
}

/// Where the broker hands out partitions, the first one goes on. The second one says that it waits, and for what.
#[test]
fn of_two_instances_with_one_id_the_second_waits_where_the_broker_hands_out_partitions() {
    let Some(trial) = Trial::start(Kafka::start(), PARTITIONS) else { return };
    let feed = Feed::start(trial.sender(), LINES_A_SECOND);
    let options = ["--instance-id", "twin", "--group-protocol", "consumer"];
    let first = trial.instance("first", &options);
    trial.group.wait_until_all_move();
    let mut second = trial.instance("second", &options);
    let waiting = second.wait_for_log("waiting: another member of the group has this name");
    assert_eq!((&waiting["group"], &waiting["name"]), (&trial.group_name().into(), &"twin".into()));

    let file = trial.pipeline_file();
    let of = ["--brokers", &trial.kafka.brokers, "--pipeline", text(&file), "--group", trial.group_name()];
    let reset = scorer(&[&["reset"][..], &of, &["--to", "earliest", "--yes"]].concat());
    assert_eq!(reset.code, Some(75), "{}", reset.stderr);
    assert!(reset.stderr.contains("is in use (1 running)"), "{}", reset.stderr);

    trial.group.wait_until_all_move();
    assert_eq!(restored(&second), 0, "it has nothing as long as the first one lives");
    let (run, _) = first.terminate();
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    trial.group.wait_until_all_move();
    assert_eq!(second.log("waiting: another member of the group has this name").len(), 1, "it says so once");
    trial.assert_exact(feed.stop(), vec![second]);
}
