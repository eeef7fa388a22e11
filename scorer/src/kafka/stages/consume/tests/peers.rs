//! Loops that are stream threads of one process.

use super::*;

/// A stream thread of two, with one partition of two, that is to end by itself.
fn thread_of_two(peers: &Peers, partition: i32, lines: usize) -> Bench {
    let mut bench = Bench::new(&[(partition, lines)], 100);
    bench.consume.options.peers = peers.of_thread(usize::try_from(partition).unwrap());
    bench.consume.options.end_when = EndWhen::Reached(Arc::new(|progress| progress.records >= 5));
    bench
}

impl Bench {
    /// Reads what there is, and commits it.
    fn read_all(&mut self) {
        let batch = self.whole_batch();
        let committed = self.broker.commit(batch);
        self.results.send(committed).unwrap();
        self.steps(20);
    }

    /// The state of its partition cannot be had.
    fn tear(&self, partition: i32) {
        let [group, topic, how] = ["g", "in", "torn"].map(str::to_owned);
        let torn = KafkaError::TornState { group, topic, partition, how };
        self.broker.lock().failures.push((partition, torn));
    }
}

#[test]
fn the_end_has_come_once_all_threads_have_read_everything() {
    let peers = Peers::new(2, 2);
    let [mut first, mut second] = [(0, 2), (1, 3)].map(|(partition, lines)| thread_of_two(&peers, partition, lines));
    first.read_all();
    assert!(!first.consume.has_come_to_end().unwrap(), "the other one has not begun");
    second.read_all();
    assert!(second.consume.has_come_to_end().unwrap());
    assert!(first.consume.has_come_to_end().unwrap());
}

#[test]
fn records_of_all_threads_count_for_the_end() {
    let peers = Peers::new(2, 2);
    let [mut first, mut second] = [(0, 2), (1, 2)].map(|(partition, lines)| thread_of_two(&peers, partition, lines));
    first.read_all();
    second.read_all();
    assert!(!first.consume.has_come_to_end().unwrap() && !second.consume.has_come_to_end().unwrap(), "there are 4");
    second.broker.lock().lines.insert(1, lines(1, 3));
    second.consume.open.after_a_pause();
    second.read_all();
    assert!(second.consume.has_come_to_end().unwrap() && first.consume.has_come_to_end().unwrap());
}

/// Each on a thread of its own, to the end: whichever is slower, nobody waits for ever.
#[test]
fn threads_end_together() {
    for slow in [0, 1] {
        let peers = Peers::new(2, 2);
        let (to_brokers, brokers) = channel();
        let threads = [(0, 2), (1, 3)].map(|(partition, lines)| {
            let (peers, to_brokers) = (peers.clone(), to_brokers.clone());
            thread::spawn(move || {
                let bench = thread_of_two(&peers, partition, lines);
                let is_slow = partition == slow;
                if is_slow {
                    bench.broker.lock().slow.insert(partition);
                }
                let (consume, broker) = bench.with_publisher();
                to_brokers.send((is_slow, broker)).unwrap();
                consume.run().0.map_err(|error| error.to_string())
            })
        });
        let mut found: Vec<(bool, Shared)> = brokers.iter().take(2).collect();
        found.sort_by_key(|(is_slow, _)| *is_slow);
        let [(_, quick), (_, slow)] = <[(bool, Shared); 2]>::try_from(found).ok().unwrap();
        let is_committed = |happened: &Happened| matches!(happened, Happened::Committed(..));
        while !quick.happened().iter().any(is_committed) {
            thread::yield_now();
        }
        assert!(!slow.happened().iter().any(is_committed));
        slow.lock().slow.clear();
        for thread in threads {
            assert_eq!(thread.join().unwrap(), Ok(()));
        }
        assert!(slow.happened().iter().any(is_committed));
    }
}

#[test]
fn a_thread_without_a_partition_that_can_be_restored_does_not_end_the_others() {
    let peers = Peers::new(2, 2);
    let [mut first, mut second] = [(0, 2), (1, 3)].map(|(partition, lines)| thread_of_two(&peers, partition, lines));
    [&mut first, &mut second].into_iter().for_each(|bench| bench.consume.options.end_when = EndWhen::Never);
    first.tear(0);
    first.steps(10);
    second.read_all();
    assert!(!second.consume.has_come_to_end().unwrap() && !first.consume.has_come_to_end().unwrap());

    let mut second = thread_of_two(&peers, 1, 3);
    second.consume.options.end_when = EndWhen::Never;
    second.tear(1);
    second.steps(10);
    let error = second.consume.has_come_to_end().unwrap_err();
    assert!(matches!(error, KafkaError::TornState { partition: 1, .. }), "{error}");
}
