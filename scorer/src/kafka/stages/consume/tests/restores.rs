//! Partitions that are restored while others are read, and those that cannot be.

use super::*;

fn torn(partition: i32) -> KafkaError {
    let [group, topic, how] = ["g", "in", "a test"].map(str::to_owned);
    KafkaError::TornState { group, topic, partition, how }
}

fn unavailable(partition: i32) -> KafkaError {
    KafkaError::NoAnswer { topic: "state".to_owned(), partition, seconds: 120, cause: String::new() }
}

impl Bench {
    fn fail(&self, partition: i32, error: KafkaError) {
        self.broker.lock().failures.push((partition, error));
    }

    /// Whether a partition was ever read.
    fn has_read(&self, partition: i32) -> bool {
        has_read(&self.broker, partition)
    }

    fn assert_counts_add_up(&self) {
        let counters = self.consume.tasks.core.counters();
        assert_eq!(counters.accounted(), counters.outcomes(), "{counters:?}");
    }

    /// Steps until a batch is handed on, and commits it.
    fn commit_next(&mut self) -> Vec<(i32, i64)> {
        self.consume.open.after_a_pause();
        let batch = self.next_batch();
        let commits = commits(&batch);
        self.results.send(self.broker.commit(batch)).unwrap();
        commits
    }
}

fn has_read(broker: &Shared, partition: i32) -> bool {
    broker.happened().iter().any(|happened| matches!(happened, Happened::Read(read, _) if *read == partition))
}

#[test]
fn the_others_are_read_while_a_partition_is_restored() {
    let mut bench = Bench::new(&[(0, 2), (1, 3)], 100);
    bench.broker.lock().slow.insert(0);
    assert_eq!(bench.commit_next(), [(1, 3)], "results do not wait for it");
    bench.steps(20);
    assert!(!bench.has_read(0));
    assert_eq!(bench.consume.options.status.get().restoring_partitions, 1);
    bench.broker.lock().slow.clear();
    assert_eq!(bench.commit_next(), [(0, 2)]);
    assert_eq!(bench.records(), 5);
}

#[test]
fn a_partition_that_is_revoked_in_the_middle_of_its_restore_is_not_taken_on() {
    for lost in [false, true] {
        let (mut consume, broker) = Bench::new(&[(0, 2), (1, 3)], 100).with_publisher();
        broker.lock().slow.insert(0);
        (0..3).for_each(|_| consume.step().unwrap().unwrap());
        // If any are lost, all of them are.
        broker.revoke(if lost { &[0, 1] } else { &[0] }, lost);
        consume.step().unwrap().unwrap();
        broker.lock().slow.clear();
        (0..10).for_each(|_| consume.step().unwrap().unwrap());
        assert!(!has_read(&broker, 0) && !consume.tasks.core.owns(0) && consume.tasks.restoring.is_empty());
        assert_eq!(consume.source.assignment().partitions(), if lost { vec![] } else { vec![1] });
        // It may come back.
        broker.lock().is_lost = false;
        broker.assign(&[0]);
        (0..5).for_each(|_| consume.step().unwrap().unwrap());
        assert!(broker.happened().contains(&Happened::Read(0, 0)) && consume.tasks.core.owns(0));
    }
}

#[test]
fn the_end_waits_for_a_partition_that_is_restored() {
    let mut bench = Bench::new(&[(0, 2), (1, 3)], 100);
    bench.broker.lock().slow.insert(0);
    bench.consume.options.end_when = EndWhen::Reached(Arc::new(|_| true));
    bench.commit_next();
    bench.steps(20);
    assert!(bench.consume.source.assignment().is_caught_up() && !bench.consume.is_end());
    bench.broker.lock().slow.clear();
    bench.commit_next();
    assert!(bench.consume.is_end());
}

#[test]
fn a_partition_that_cannot_be_restored_does_not_end_the_others() {
    let until_end: EndWhen = EndWhen::Reached(Arc::new(|_| true));
    for (error, kind) in [(torn(0), ErrorKind::Data), (unavailable(0), ErrorKind::Unavailable)] {
        for is_stopped in [false, true] {
            let mut bench = Bench::new(&[(0, 2), (1, 3)], 100);
            bench.fail(0, error.clone());
            let status = bench.consume.options.status.clone();
            if is_stopped {
                bench.steps(6);
                bench.consume.options.stop.request();
            } else {
                bench.consume.options.end_when = until_end.clone();
            }
            let (consume, broker) = bench.with_publisher();
            let found = consume.run().0.unwrap_err();
            assert_eq!((found.kind(), found.to_string()), (kind, error.to_string()), "it is told at the end");
            assert!(broker.happened().contains(&Happened::Committed(1, 3)) && !has_read(&broker, 0));
            assert_eq!((status.get().failed_partitions, status.get().restoring_partitions), (1, 0));
        }
    }
}

#[test]
fn where_no_partition_can_be_restored_the_loop_ends_at_once() {
    let mut bench = Bench::new(&[(0, 2), (1, 3)], 100);
    bench.broker.lock().slow.insert(1);
    bench.fail(0, torn(0));
    bench.fail(1, torn(1));
    bench.steps(10);
    bench.broker.lock().slow.clear();
    let error = bench.consume.step().unwrap_err();
    assert!(matches!(error, KafkaError::TornState { partition: 0, .. }), "{error}");
}

#[test]
fn what_is_true_of_all_partitions_ends_the_loop() {
    let mut bench = Bench::new(&[(0, 2), (1, 3)], 100);
    bench.fail(1, KafkaError::TopicRecreated { topic: "in".to_owned(), group: "g".to_owned() });
    bench.steps(1);
    let error = bench.consume.step().unwrap_err();
    assert!(matches!(error, KafkaError::TopicRecreated { .. }), "{error}");
}

#[test]
fn a_partition_that_nobody_answers_for_is_tried_again_until_somebody_does() {
    let mut bench = Bench::new(&[(0, 2), (1, 0)], 100);
    for _ in 0..3 {
        bench.fail(0, unavailable(0));
    }
    bench.steps(20);
    assert_eq!((bench.has_read(0), bench.broker.lock().failures.len()), (false, 2), "not at once");
    for left in [1, 0] {
        bench.now.fetch_add(10_000, Ordering::Relaxed);
        bench.steps(20);
        assert_eq!((bench.has_read(0), bench.broker.lock().failures.len()), (false, left));
    }
    bench.now.fetch_add(10_000, Ordering::Relaxed);
    assert_eq!(bench.commit_next(), [(0, 2)]);
    assert!(bench.consume.tasks.restoring.error().is_none());
}

#[test]
fn counts_add_up_while_everything_goes_back_to_the_last_commit() {
    for is_revoked in [false, true] {
        // Each record waits for earlier ones, and so is open.
        let mut bench = Bench::of(pipeline("[history]\nlateness = \"10s\""), &[(0, 3), (1, 3)], 100);
        bench.commit_next();
        bench.steps(5);
        assert_eq!(bench.consume.tasks.core.counters().open_lines, 6);
        for partition in [0, 1] {
            bench.broker.lock().lines.get_mut(&partition).unwrap().extend(lines(partition + 2, 2));
        }
        bench.consume.open.after_a_pause();
        let epoch = bench.next_batch().id.epoch;
        bench.broker.lock().slow.insert(0);
        bench.results.send(CommitResult::Failed { epoch, reason: "a test".to_owned() }).unwrap();
        bench.steps(1);
        bench.assert_counts_add_up();
        let counters = bench.consume.tasks.core.counters();
        assert_eq!((counters.given_up_lines, counters.taken_over_lines), (3, 0), "those of partition 0 are away");
        let (mut consume, broker) = bench.with_publisher();
        if is_revoked {
            broker.revoke(&[0], false);
            consume.step().unwrap().unwrap();
        }
        broker.lock().slow.clear();
        (0..10).for_each(|_| consume.step().unwrap().unwrap());
        let counters = consume.tasks.core.counters();
        assert_eq!(counters.accounted(), counters.outcomes(), "{counters:?}");
        let expected = if is_revoked { (3, 8, 5) } else { (0, 10, 10) };
        assert_eq!((counters.given_up_lines, counters.records, counters.open_lines), expected);
    }
}

#[test]
fn a_partition_that_is_restored_for_the_first_time_has_nothing_to_go_back_to() {
    let mut bench = Bench::new(&[(0, 2), (1, 3)], 100);
    bench.broker.lock().slow.insert(0);
    let epoch = bench.next_batch().id.epoch;
    bench.results.send(CommitResult::Failed { epoch, reason: "a test".to_owned() }).unwrap();
    bench.steps(1);
    assert!(bench.broker.happened().contains(&Happened::Held(vec![1])));
    bench.broker.lock().slow.clear();
    bench.steps(1);
    let begun = bench.broker.happened().iter().filter(|happened| matches!(happened, Happened::Read(0, 0))).count();
    assert_eq!(begun, 1);
}
