//! Instances that come and go.

use tests::{Feed, Kafka, Running, Trial};

/// Under load, instances join and leave one after the other, every second or two: as soon as a newcomer has its
/// partitions and every partition has been committed further.
#[test]
fn instances_that_join_and_leave_lose_and_duplicate_nothing() {
    let Some(trial) = Trial::start(Kafka::start(), 6) else { return };
    let feed = Feed::start(trial.sender(), 2_000);
    let mut instances: Vec<Running> = Vec::new();
    for number in 0..8 {
        if instances.len() == 3 {
            // The eldest leaves.
            let (run, _) = instances.remove(0).terminate();
            assert_eq!(run.code, Some(0), "{}", run.stderr);
            trial.group.wait_until_all_move();
        }
        let mut newcomer = trial.instance(&format!("i{number}"), &[]);
        newcomer.wait_for_log("restored");
        instances.push(newcomer);
        trial.group.wait_until_all_move();
    }
    trial.assert_exact(feed.stop(), instances);
}
