//! What a running stream is doing, for a status line and a closing summary.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::agreement::Agreement;
use crate::core::Counters;
use crate::drift::Drift;
use crate::messages::{Content, Message};
use crate::truth::Truth;

/// Upper bounds of the durations that are told apart, in seconds.
const BOUNDS: [f64; 14] = [0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// How long commits took.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Commits {
    /// How many took at most as long as each bound, and longer than the one before; the last are longer than all.
    counts: [u64; BOUNDS.len() + 1],
    /// All together, in seconds.
    pub seconds: f64,
    /// When the last one was done.
    pub last: Option<Instant>,
}

impl Commits {
    /// Adds one that is done now.
    pub fn add(&mut self, took: Duration) {
        let seconds = took.as_secs_f64();
        let place = BOUNDS.iter().position(|bound| seconds <= *bound).unwrap_or(BOUNDS.len());
        self.counts[place] += 1;
        self.seconds += seconds;
        self.last = Some(Instant::now());
    }

    /// Adds the commits of others.
    fn merge(&mut self, other: Self) {
        let Self { counts, seconds, last } = other;
        self.counts.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        self.seconds += seconds;
        self.last = self.last.max(last);
    }

    /// Upper bounds in seconds, the last of them infinite, each with how many are within it and beyond the one before.
    pub fn buckets(&self) -> impl Iterator<Item = (f64, u64)> + '_ {
        BOUNDS.into_iter().chain([f64::INFINITY]).zip(self.counts)
    }
}

/// A moment of a stream.
#[derive(Debug, Clone, Default)]
pub struct Status {
    /// Records by outcome.
    pub counters: Counters,
    /// Records that the broker has and that were not read yet, as far as is known.
    pub lag: Option<i64>,
    /// How long ago the records were written that were read last, in seconds: of the partition that is behind most. 0 where
    /// everything was read.
    pub lag_seconds: Option<f64>,
    /// Whether the group has given partitions, or said that there are none for this instance.
    pub has_joined: bool,
    /// Partitions of this instance.
    pub owned_partitions: usize,
    /// Bytes of the state of all partitions, about.
    pub state_bytes: usize,
    /// How long commits took.
    pub commits: Commits,
    /// Partitions whose state is on its way: nothing of them is read yet.
    pub restoring_partitions: usize,
    /// Partitions whose state could not be restored: nothing of them is read.
    pub failed_partitions: usize,
    /// Partitions whose next record waits until a Schema Registry tells its schema.
    pub waiting_partitions: usize,
    /// Partitions of other instances whose state is followed here.
    pub standby_partitions: usize,
    /// Changelog records that these copies are behind, with markers of transactions among them.
    pub standby_lag: u64,
    /// Anomalies published, by detector.
    pub anomalies: Vec<(String, u64)>,
    /// Messages acknowledged by the broker.
    pub published: u64,
    /// Messages, and lines on their way to the right partition, that were told of in the erroneous topic, because their
    /// own topic does not take them.
    pub undeliverable: u64,
    /// The same that the erroneous topic did not take either.
    pub skipped: u64,
    /// Batches that were sent again after their transaction had failed.
    pub sent_again: u64,
    /// How often everything went back to the last commit.
    pub rolled_back: u64,
    /// Cancellation counts published.
    pub windows: u64,
    /// What was found of what records are known to be.
    pub truth: Truth,
    /// What the first two trained detectors say of entities.
    pub agreement: Agreement,
    /// Whether the stream is still like the training. All threads of a stream share one.
    pub drift: Drift,
}

impl Status {
    /// This hop and the next one as one stream: its partitions are those that the first one reads.
    fn with_next_hop(mut self, next: Self) -> Self {
        let owned_partitions = self.owned_partitions;
        self.merge(next);
        Self { owned_partitions, ..self }
    }

    /// Adds a message that was published.
    pub fn count(&mut self, message: &Message) {
        // What stays among the instances: nobody else would know what to make of its number.
        self.published += u64::from(!message.content.is_internal());
        match &message.content {
            Content::Verdict(verdict) if verdict.anomalous => {
                if let Some((_, count)) = self.anomalies.iter_mut().find(|(name, _)| *name == verdict.detector) {
                    *count += 1;
                }
            }
            Content::Cancellations(_) => self.windows += 1,
            Content::Verdict(_)
            | Content::Entity(_)
            | Content::Erroneous(_)
            | Content::Report(_)
            | Content::ForNextHop { .. } => {}
        }
    }

    /// Adds what goes on in another stream thread of the process, or in another hop.
    pub(crate) fn merge(&mut self, other: Self) {
        let Self {
            counters,
            lag,
            lag_seconds,
            has_joined,
            owned_partitions,
            state_bytes,
            commits,
            restoring_partitions,
            failed_partitions,
            waiting_partitions,
            standby_partitions,
            standby_lag,
            anomalies,
            published,
            undeliverable,
            skipped,
            sent_again,
            rolled_back,
            windows,
            truth,
            agreement,
            // It is one for all threads.
            drift: _,
        } = other;
        self.counters.add(counters);
        self.lag = self.lag.zip(lag).map(|(ours, theirs)| ours + theirs);
        self.lag_seconds = longest_lag(self.lag_seconds, lag_seconds);
        self.has_joined &= has_joined;
        self.owned_partitions += owned_partitions;
        self.state_bytes += state_bytes;
        self.commits.merge(commits);
        self.restoring_partitions += restoring_partitions;
        self.failed_partitions += failed_partitions;
        self.waiting_partitions += waiting_partitions;
        self.standby_partitions += standby_partitions;
        self.standby_lag += standby_lag;
        for (name, count) in anomalies {
            match self.anomalies.iter_mut().find(|(known, _)| *known == name) {
                Some((_, sum)) => *sum += count,
                None => self.anomalies.push((name, count)),
            }
        }
        self.published += published;
        self.undeliverable += undeliverable;
        self.skipped += skipped;
        self.sent_again += sent_again;
        self.rolled_back += rolled_back;
        self.windows += windows;
        self.truth.merge(truth);
        self.agreement.merge(agreement);
    }
}

/// The lag of the partition that is behind most. Where one thread knows nothing of its own, no lag at all of another is no
/// answer either.
fn longest_lag(ours: Option<f64>, theirs: Option<f64>) -> Option<f64> {
    match (ours, theirs) {
        (Some(ours), Some(theirs)) => Some(ours.max(theirs)),
        (known, None) | (None, known) => known.filter(|seconds| *seconds > 0.0),
    }
}

/// The status that the threads of a stream write and others read: each stream thread has a part of its own, and whoever reads
/// gets the whole.
#[derive(Debug, Clone)]
pub struct StatusCell {
    parts: Arc<[Mutex<Status>]>,
    /// The part that is written here.
    own: usize,
    /// That of the hop before, where there is one.
    before: Option<Arc<StatusCell>>,
}

impl Default for StatusCell {
    /// That of one stream thread.
    fn default() -> Self {
        Self::of_threads(1)
    }
}

impl StatusCell {
    /// That of so many stream threads, with the part of the first.
    pub(crate) fn of_threads(threads: usize) -> Self {
        Self { parts: (0..threads.max(1)).map(|_| Mutex::default()).collect(), own: 0, before: None }
    }

    /// The same, for a stream thread; they are counted from 0.
    pub(crate) fn of_thread(&self, thread: usize) -> Self {
        Self { own: thread.min(self.parts.len() - 1), ..self.clone() }
    }

    /// That of the hop after this one, which has so many stream threads.
    pub(crate) fn of_next_hop(&self, threads: usize) -> Self {
        Self { before: Some(Arc::new(self.clone())), ..Self::of_threads(threads) }
    }

    /// The latest status, that of all hops until here.
    pub fn get(&self) -> Status {
        let mut parts = self.parts.iter().map(|part| part.lock().unwrap_or_else(PoisonError::into_inner).clone());
        let mut whole = parts.next().unwrap_or_default();
        parts.for_each(|part| whole.merge(part));
        // A thread without partitions has nothing left to read; a process without any does not know what there is.
        whole.lag = whole.lag.filter(|_| whole.owned_partitions > 0);
        match &self.before {
            Some(before) => before.get().with_next_hop(whole),
            None => whole,
        }
    }

    pub(crate) fn update(&self, change: impl FnOnce(&mut Status)) {
        change(&mut self.parts[self.own].lock().unwrap_or_else(PoisonError::into_inner));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_commit_is_in_the_first_bucket_that_holds_it() {
        let mut commits = Commits::default();
        for millis in [1, 2, 100, 101, 60_000] {
            commits.add(Duration::from_millis(millis));
        }
        let found: Vec<(f64, u64)> = commits.buckets().filter(|(_, count)| *count > 0).collect();
        assert_eq!(found, [(0.001, 1), (0.0025, 1), (0.1, 1), (0.25, 1), (f64::INFINITY, 1)]);
        assert!((commits.seconds - 60.204).abs() < 1e-9 && commits.last.is_some());
    }

    #[test]
    fn the_threads_of_a_process_have_one_status() {
        let of_first = StatusCell::of_threads(2);
        let of_second = of_first.of_thread(1);
        for (cell, count) in [(&of_first, 3), (&of_second, 4)] {
            cell.update(|status| {
                status.counters.records = count;
                status.anomalies = vec![("kmeans".to_owned(), count), ("lof".to_owned(), 1)];
                (status.lag, status.lag_seconds) = (Some(count as i64), Some(count as f64));
                (status.has_joined, status.owned_partitions) = (true, 1);
                status.commits.add(Duration::from_millis(count));
            });
        }
        let whole = of_second.get();
        assert_eq!((whole.counters.records, whole.owned_partitions, whole.has_joined), (7, 2, true));
        assert_eq!(whole.anomalies, [("kmeans".to_owned(), 7), ("lof".to_owned(), 2)]);
        assert_eq!((whole.lag, whole.lag_seconds), (Some(7), Some(4.0)));
        assert_eq!(whole.commits.buckets().map(|(_, count)| count).sum::<u64>(), 2);
        of_second.update(|status| (status.lag, status.has_joined) = (None, false));
        let whole = of_first.get();
        assert_eq!((whole.lag, whole.has_joined), (None, false), "not before it is known of all");
    }

    #[test]
    fn where_one_thread_does_not_know_its_lag_another_that_has_none_tells_nothing() {
        assert_eq!(longest_lag(Some(1.5), Some(0.0)), Some(1.5));
        assert_eq!(longest_lag(Some(0.0), None), None);
        assert_eq!(longest_lag(None, Some(2.0)), Some(2.0));
        assert_eq!(longest_lag(None, None), None);
    }

    #[test]
    fn hops_have_one_status() {
        let first = StatusCell::of_threads(2);
        let last = first.of_next_hop(2);
        for (cell, lag) in [(&first, 1), (&first.of_thread(1), 2), (&last, 4), (&last.of_thread(1), 8)] {
            cell.update(|status| {
                (status.lag, status.lag_seconds, status.has_joined) = (Some(lag), Some(0.0), true);
                (status.owned_partitions, status.standby_partitions) = (1, 1);
                status.anomalies = vec![("kmeans".to_owned(), 1)];
            });
        }
        first.update(|status| (status.counters.records, status.counters.forwarded_lines) = (3, 3));
        last.update(|status| (status.counters.received_lines, status.counters.scored_lines) = (3, 3));
        let whole = last.of_thread(1).get();
        assert_eq!((whole.lag, whole.owned_partitions, whole.standby_partitions), (Some(15), 2, 4));
        assert_eq!((whole.counters.accounted(), whole.counters.outcomes()), (6, 6));
        assert_eq!(whole.anomalies, [("kmeans".to_owned(), 4)]);
        assert_eq!(first.get().lag, Some(3), "a hop does not know of those behind it");
    }

    #[test]
    fn a_process_without_partitions_has_no_lag() {
        let cell = StatusCell::default();
        cell.update(|status| status.lag = Some(0));
        assert_eq!(cell.get().lag, None);
        cell.update(|status| status.owned_partitions = 1);
        assert_eq!(cell.get().lag, Some(0));
    }
}
