//! The partitions that are ours and have no state yet: their state is on its way, or could not be restored.

use std::collections::BTreeMap;

use crate::core::WallMillis;
use crate::kafka::client::error::{ErrorKind, KafkaError};

/// How soon a partition is tried again whose state could not be restored for now; twice as long after each failure.
const FIRST_BACKOFF: WallMillis = 1_000;

/// The longest wait for that.
const LONGEST_BACKOFF: WallMillis = 60_000;

/// How many partitions are tried again at a time: each takes a thread.
const MOST_RETRIES: usize = 4;

/// Partitions that are ours and have no state yet.
#[derive(Debug, Default)]
pub(crate) struct Restoring {
    partitions: BTreeMap<i32, Partition>,
}

#[derive(Debug)]
struct Partition {
    /// Whether it was ours and had its state before.
    is_rolled_back: bool,
    is_under_way: bool,
    failures: u32,
    /// Why it could not be restored the last time.
    failure: Option<Failure>,
}

#[derive(Debug)]
struct Failure {
    error: KafkaError,
    /// When to try again; never where that would change nothing.
    retry_at: Option<WallMillis>,
}

impl Restoring {
    /// Notes that the restore of partitions begins, which are new or rolled back.
    pub(crate) fn begin(&mut self, partitions: &[i32], is_rolled_back: bool) {
        let partition = || Partition { is_rolled_back, is_under_way: true, failures: 0, failure: None };
        self.partitions.extend(partitions.iter().map(|&number| (number, partition())));
    }

    /// Notes that partitions are not ours any more.
    pub(crate) fn remove(&mut self, partitions: &[i32]) {
        self.partitions.retain(|number, _| !partitions.contains(number));
    }

    /// Notes that a partition has its state; whether it was rolled back. `None` where it is not ours.
    pub(crate) fn on_restored(&mut self, partition: i32) -> Option<bool> {
        self.partitions.remove(&partition).map(|partition| partition.is_rolled_back)
    }

    /// Notes, and says, that the state of a partition could not be restored.
    pub(crate) fn on_failed(&mut self, number: i32, error: KafkaError, now: WallMillis) {
        let Some(partition) = self.partitions.get_mut(&number) else { return };
        let backoff = FIRST_BACKOFF.saturating_mul(1 << partition.failures.min(16)).min(LONGEST_BACKOFF);
        let is_passing = error.kind() == ErrorKind::Unavailable;
        let retry_at = is_passing.then(|| now.saturating_add(backoff));
        if partition.failure.is_none() || !is_passing {
            tracing::error!(%error, partition = number, tried_again = is_passing, "a partition cannot be restored");
        } else {
            tracing::debug!(%error, partition = number, "a partition still cannot be restored");
        }
        partition.is_under_way = false;
        partition.failures += 1;
        partition.failure = Some(Failure { error, retry_at });
    }

    /// The partitions that are to be tried again now.
    pub(crate) fn take_due(&mut self, now: WallMillis) -> Vec<i32> {
        let is_retried = |partition: &&Partition| partition.is_under_way && partition.failure.is_some();
        let room = MOST_RETRIES.saturating_sub(self.partitions.values().filter(is_retried).count());
        let is_due = |partition: &Partition| {
            let retry_at = partition.failure.as_ref().and_then(|failure| failure.retry_at);
            !partition.is_under_way && retry_at.is_some_and(|at| at <= now)
        };
        let due = self.partitions.iter_mut().filter(|(_, partition)| is_due(partition)).take(room);
        due.map(|(number, partition)| {
            partition.is_under_way = true;
            *number
        })
        .collect()
    }

    /// Whether the state of any partition is on its way.
    pub(crate) fn is_under_way(&self) -> bool {
        self.partitions.values().any(|partition| partition.is_under_way)
    }

    /// Whether there is no such partition.
    pub(crate) fn is_empty(&self) -> bool {
        self.partitions.is_empty()
    }

    /// Whether the state of every partition has been looked for, and could not be restored at least once.
    pub(crate) fn have_failed(&self) -> bool {
        self.partitions.values().all(|partition| partition.failure.is_some())
    }

    /// Whether to try again would change nothing for any partition; not where there is none.
    pub(crate) fn have_failed_for_good(&self) -> bool {
        let is_final = |partition: &Partition| partition.failure.as_ref().is_some_and(|it| it.retry_at.is_none());
        !self.is_empty() && self.partitions.values().all(is_final)
    }

    /// The partitions whose state could not be restored, and those whose state is on its way for the first time.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let failed = self.partitions.values().filter(|partition| partition.failure.is_some()).count();
        (failed, self.partitions.len() - failed)
    }

    /// Why a partition could not be restored, if any could not. What cannot pass by itself goes first.
    pub(crate) fn error(&self) -> Option<KafkaError> {
        let failures = || self.partitions.values().filter_map(|partition| partition.failure.as_ref());
        let first = failures().find(|failure| failure.retry_at.is_none()).or_else(|| failures().next());
        first.map(|failure| failure.error.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unavailable(partition: i32) -> KafkaError {
        KafkaError::NoAnswer { topic: "state".to_owned(), partition, seconds: 120, cause: String::new() }
    }

    fn torn(partition: i32) -> KafkaError {
        let [group, topic, how] = ["g", "in", "torn"].map(str::to_owned);
        KafkaError::TornState { group, topic, partition, how }
    }

    fn restoring(partitions: &[i32]) -> Restoring {
        let mut restoring = Restoring::default();
        restoring.begin(partitions, false);
        restoring
    }

    #[test]
    fn what_may_pass_is_tried_again_after_longer_and_longer_waits() {
        let mut restoring = restoring(&[3]);
        let (mut now, mut waits) = (0, Vec::new());
        for _ in 0..8 {
            restoring.on_failed(3, unavailable(3), now);
            let wait = (1..).find(|wait| restoring.take_due(now + wait) == [3]).unwrap();
            assert!(restoring.take_due(now + wait).is_empty(), "it is under way");
            waits.push(wait / 1_000);
            now += wait;
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert!(restoring.have_failed() && !restoring.have_failed_for_good(), "until it is there");
        assert_eq!((restoring.on_restored(3), restoring.error().is_none()), (Some(false), true));
        assert_eq!(restoring.on_restored(3), None);
    }

    #[test]
    fn what_cannot_pass_is_not_tried_again_and_is_the_error() {
        let mut restoring = restoring(&[0, 1, 2]);
        assert!(!restoring.have_failed() && restoring.counts() == (0, 3));
        restoring.on_failed(0, unavailable(0), 0);
        restoring.on_failed(1, torn(1), 0);
        assert!(!restoring.have_failed() && restoring.counts() == (2, 1));
        assert_eq!(restoring.take_due(LONGEST_BACKOFF), [0]);
        assert!(matches!(restoring.error(), Some(KafkaError::TornState { partition: 1, .. })));
        restoring.remove(&[0, 2]);
        assert!(restoring.have_failed_for_good());
        restoring.remove(&[1]);
        assert!(restoring.is_empty() && !restoring.have_failed_for_good() && restoring.error().is_none());
    }

    #[test]
    fn only_a_few_are_tried_again_at_a_time() {
        let all: Vec<i32> = (0..10).collect();
        let mut restoring = restoring(&all);
        all.iter().for_each(|&number| restoring.on_failed(number, unavailable(number), 0));
        assert_eq!(restoring.take_due(LONGEST_BACKOFF), [0, 1, 2, 3]);
        assert!(restoring.take_due(LONGEST_BACKOFF).is_empty());
        restoring.on_restored(2);
        assert_eq!(restoring.take_due(LONGEST_BACKOFF), [4]);
    }

    #[test]
    fn what_was_rolled_back_comes_back_as_that() {
        let mut restoring = Restoring::default();
        restoring.begin(&[1], true);
        restoring.begin(&[2], false);
        assert_eq!((restoring.on_restored(1), restoring.on_restored(2)), (Some(true), Some(false)));
    }
}
