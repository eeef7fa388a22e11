//! Instances that come and go.

use tests::{Clock, Feed, Former, Kafka, Running, Subject, Trial};

/// So that one that dies without a word does not hold the others up for long.
const SHORT_TIMEOUTS: [&str; 4] = ["-X", "session.timeout.ms=6000", "-X", "transaction.timeout.ms=6000"];

/// Under load, instances join and leave one after the other, every second or two: as soon as a newcomer has its
/// partitions and every partition has been committed further.
fn instances_join_and_leave(subject: Subject, newcomers: usize, (threads, partitions): (&str, u32)) -> Option<Joined> {
    let trial = Trial::of(subject, Clock::Event, Kafka::start(), partitions)?;
    let feed = Feed::start(trial.sender(), 2_000);
    let mut instances: Vec<Running> = Vec::new();
    for number in 0..newcomers {
        if instances.len() == 3 {
            // The eldest leaves.
            let (run, _) = instances.remove(0).terminate();
            assert_eq!(run.code, Some(0), "{}", run.stderr);
            trial.group.wait_until_all_move();
        }
        let options = [&SHORT_TIMEOUTS[..], &["--threads", threads]].concat();
        let mut newcomer = trial.instance(&format!("i{number}"), &options);
        newcomer.wait_for_log("restored");
        instances.push(newcomer);
        trial.group.wait_until_all_move();
    }
    Some(Joined { trial, feed, instances })
}

/// A group under load, after instances have come and gone.
struct Joined {
    trial: Trial,
    feed: Feed,
    instances: Vec<Running>,
}

#[test]
fn instances_that_join_and_leave_lose_and_duplicate_nothing() {
    let joined = instances_join_and_leave(Subject::Invoices, 8, ("1", 6));
    let Some(Joined { trial, feed, instances }) = joined else { return };
    trial.assert_exact(feed.stop(), instances);
}

/// Partitions go from thread to thread, in the same process and in others.
#[test]
fn instances_with_several_threads_that_join_and_leave_lose_and_duplicate_nothing() {
    let joined = instances_join_and_leave(Subject::Invoices, 4, ("4", 12));
    let Some(Joined { trial, feed, instances }) = joined else { return };
    trial.assert_exact(feed.stop(), instances);
}

/// The past of customers goes with their partitions, from those who leave and from one that dies without a word.
#[test]
fn the_past_goes_from_instance_to_instance() {
    let joined = instances_join_and_leave(Subject::Cards, 4, ("1", 6));
    let Some(Joined { trial, feed, mut instances }) = joined else { return };
    instances.remove(0).kill();
    trial.group.wait_until_all_move();
    trial.assert_exact(feed.stop(), instances);
}

/// Partitions that were on their way to another instance when the one that gave them up died: it comes back at once,
/// under its name, and they get an owner all the same.
#[test]
fn an_instance_that_dies_between_two_rounds_leaves_no_partition_behind() {
    let Some(trial) = Trial::start(Kafka::start(), 6) else { return };
    let former = Former::join(&trial, "i0", 6);
    // Without a name, it cannot be the one that begins the second round.
    let heir = trial.instance("heir", &[]);
    former.die_between_two_rounds();
    let back = trial.instance("i0", &["--instance-id", "i0"]);
    let feed = Feed::start(trial.sender(), 2_000);
    trial.group.wait_until_all_move();
    trial.assert_exact(feed.stop(), vec![heir, back]);
}

/// What an instance with a name had is there for it after a restart, and the others keep theirs.
#[test]
fn an_instance_that_comes_back_under_its_name_disturbs_nobody() {
    let Some(trial) = Trial::start(Kafka::start(), 4) else { return };
    let feed = Feed::start(trial.sender(), 2_000);
    let start = |name: &str| trial.instance(name, &["--instance-id", name]);
    let stays = start("i0");
    trial.group.wait_until_all_move();
    let mut restarted = start("i1");
    restarted.wait_for_log("restored");
    trial.group.wait_until_all_move();

    let before = stays.log("restored").len();
    restarted.kill();
    let restarted = start("i1");
    trial.group.wait_until_all_move();
    assert_eq!(restarted.log("restored").len(), 2, "it has what it had");
    assert_eq!(stays.log("restored").len(), before, "nothing moved, and nothing came to nothing");
    trial.assert_exact(feed.stop(), vec![stays, restarted]);
}

/// A member that asks for nothing for `max.poll.interval.ms` is out of its group. That nobody takes its results for longer than
/// that is no reason to ask for nothing.
#[test]
fn an_instance_whose_results_nobody_takes_stays_in_its_group() {
    let Some(trial) = Trial::start(Kafka::start(), 2) else { return };
    let feed = Feed::start(trial.sender(), 2_000);
    // Its transaction outlives the outage, and a few batches are all that it has under way.
    let patience = ["-X", "transaction.timeout.ms=60000", "--batch-records", "200"];
    let polls = ["-X", "session.timeout.ms=6000", "-X", "max.poll.interval.ms=6000"];
    let instance = trial.instance("i0", &[patience, polls].concat());
    trial.group.wait_until_all_move();
    let before = instance.log("restored").len();

    let verdicts = "anomalias_kmeans";
    trial.kafka.set(verdicts, "min.insync.replicas", "2");
    // It is the time itself that does the harm: more than twice as much as it has.
    std::thread::sleep(std::time::Duration::from_secs(14));
    trial.kafka.set(verdicts, "min.insync.replicas", "1");
    trial.group.wait_until_all_move();
    assert_eq!(instance.log("restored").len(), before, "nothing was taken from it: {}", instance.stderr());
    trial.assert_exact(feed.stop(), vec![instance]);
}
