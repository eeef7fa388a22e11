//! What a running stream is doing, for a status line and a closing summary.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::agreement::Agreement;
use crate::core::Counters;
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
    /// Those of two hops.
    fn with(mut self, others: &Self) -> Self {
        self.counts.iter_mut().zip(&others.counts).for_each(|(ours, theirs)| *ours += theirs);
        self.seconds += others.seconds;
        self.last = self.last.max(others.last);
        self
    }

    /// Adds one that is done now.
    pub fn add(&mut self, took: Duration) {
        let seconds = took.as_secs_f64();
        let place = BOUNDS.iter().position(|bound| seconds <= *bound).unwrap_or(BOUNDS.len());
        self.counts[place] += 1;
        self.seconds += seconds;
        self.last = Some(Instant::now());
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
}

impl Status {
    /// This hop and the next one as one stream: what it reads is what the first one does, and how far it is behind what the last
    /// one is.
    fn with_next_hop(self, next: Self) -> Self {
        let sum = |(name, ours): (String, u64)| {
            let theirs = next.anomalies.iter().find(|(known, _)| *known == name).map_or(0, |(_, theirs)| *theirs);
            (name, ours + theirs)
        };
        let (mut truth, mut agreement) = (self.truth, self.agreement);
        truth.merge(next.truth);
        agreement.merge(next.agreement);
        Self {
            anomalies: self.anomalies.into_iter().map(sum).collect(),
            counters: self.counters.with_next_hop(next.counters),
            // It knows how far those before it are.
            lag: next.lag,
            lag_seconds: self.lag_seconds.zip(next.lag_seconds).map(|(ours, theirs)| ours.max(theirs)),
            has_joined: self.has_joined && next.has_joined,
            owned_partitions: self.owned_partitions,
            state_bytes: self.state_bytes + next.state_bytes,
            commits: self.commits.with(&next.commits),
            restoring_partitions: self.restoring_partitions + next.restoring_partitions,
            failed_partitions: self.failed_partitions + next.failed_partitions,
            waiting_partitions: self.waiting_partitions + next.waiting_partitions,
            published: self.published + next.published,
            undeliverable: self.undeliverable + next.undeliverable,
            skipped: self.skipped + next.skipped,
            sent_again: self.sent_again + next.sent_again,
            rolled_back: self.rolled_back + next.rolled_back,
            windows: self.windows + next.windows,
            truth,
            agreement,
        }
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
}

/// The status that the threads of a stream write and others read.
#[derive(Debug, Clone, Default)]
pub struct StatusCell {
    own: Arc<Mutex<Status>>,
    /// That of the hop before, where there is one.
    before: Option<Arc<StatusCell>>,
}

impl StatusCell {
    /// That of the hop after this one.
    pub(crate) fn of_next_hop(&self) -> Self {
        Self { before: Some(Arc::new(self.clone())), ..Self::default() }
    }

    /// The latest status, that of all hops until here.
    pub fn get(&self) -> Status {
        let own = self.own.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match &self.before {
            Some(before) => before.get().with_next_hop(own),
            None => own,
        }
    }

    pub(crate) fn update(&self, change: impl FnOnce(&mut Status)) {
        change(&mut self.own.lock().unwrap_or_else(PoisonError::into_inner));
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
}
