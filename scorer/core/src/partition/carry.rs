//! The partitions of a topic that has grown, from those that it had.
//!
//! Everything that was written by then has been read. So the clock of a partition is behind that of another one only because
//! nothing came to it, and the time of a new partition is the latest of those that it has keys from. Whatever has to wait
//! counts from that time on, as if all had been in one partition.

use shared::pipeline::Pipeline;
use shared::time::{Millis, Timestamp};

use super::{ChangelogPosition, Partition};
use crate::aggregation::Aggregation;
use crate::changelog::head::{Head, Origin};
use crate::clock::{Inherited, PartitionClock};
use crate::growth::{Growth, GrowthError};
use crate::known_keys::KnownKeys;
use crate::output::Report;
use crate::records::RecordScoring;
use crate::resume::Recovery;
use crate::sessions::OpenSessions;

/// What time it is for a partition.
#[derive(Debug, Clone, Copy)]
struct Times {
    watermark: Option<Timestamp>,
    /// How long it is proven that there was nothing to read.
    idle_for: Option<Millis>,
    closed_through: Timestamp,
}

impl Times {
    fn of(partition: &Partition) -> Self {
        let clock = &partition.progress.clock;
        let (watermark, idle_for) = (clock.watermark(), clock.idle_to_inherit());
        Self { watermark, idle_for, closed_through: partition.progress.closed_through }
    }

    /// Of two partitions that become one: nothing was left in both only as long as in either.
    fn and(self, other: Self) -> Self {
        Self {
            watermark: self.watermark.max(other.watermark),
            idle_for: self.idle_for.zip(other.idle_for).map(|(a, b)| a.min(b)),
            closed_through: self.closed_through.max(other.closed_through),
        }
    }
}

impl Partition {
    /// Visits the keys by which what is known is placed.
    pub fn each_placed_key(&self, pipeline: &Pipeline, visit: &mut dyn FnMut(&str)) {
        match &self.aggregation {
            Aggregation::Sessions(sessions) => {
                sessions.keys().for_each(&mut *visit);
                let KnownKeys { seen, cancelled } = &self.progress.keys;
                seen.iter().chain(cancelled.iter()).for_each(|(_, key)| visit(key));
            }
            Aggregation::Records(scoring) => scoring.each_key(pipeline, visit),
        }
    }

    /// The partitions of a topic that has grown, by number, from those that it had, by number.
    pub fn carry_over(pipeline: &Pipeline, old: Vec<Self>, growth: &Growth<'_>) -> Result<Vec<Self>, GrowthError> {
        let times: Vec<Times> = old.iter().map(Times::of).collect();
        let next_list = old.iter().map(|partition| partition.changelog.next_list).max().unwrap_or(0);
        let fresh = |number| Self::new(pipeline, number, Recovery::Changelog, None);
        let mut new: Vec<Self> = growth.numbers().map(fresh).collect();
        for (to, partition) in (0..).zip(&mut new) {
            let feeders = (0..).zip(&times).filter(|(from, _)| growth.feeds(*from, to)).map(|(_, times)| *times);
            if let Some(Times { watermark, idle_for, closed_through }) = feeders.reduce(Times::and) {
                partition.progress.clock = PartitionClock::resumed(watermark, idle_for.map(Inherited::For));
                partition.progress.closed_through = closed_through;
            }
            partition.changelog = ChangelogPosition { next_list, ..ChangelogPosition::default() };
        }
        let (mut keys, mut sessions, mut scorings) = (Vec::new(), Vec::new(), Vec::new());
        for partition in old {
            keys.push(partition.progress.keys);
            match partition.aggregation {
                Aggregation::Sessions(of_partition) => sessions.push(of_partition),
                Aggregation::Records(of_partition) => scorings.push(*of_partition),
            }
        }
        carry_keys(&keys, &mut new, growth)?;
        let mut new_sessions: Vec<&mut OpenSessions> = Vec::new();
        let mut new_scorings: Vec<&mut RecordScoring> = Vec::new();
        for partition in &mut new {
            match &mut partition.aggregation {
                Aggregation::Sessions(of_partition) => new_sessions.push(of_partition),
                Aggregation::Records(of_partition) => new_scorings.push(of_partition),
            }
        }
        OpenSessions::carry_over(sessions, &mut new_sessions, growth)?;
        RecordScoring::carry_over(pipeline, scorings, &mut new_scorings, growth)?;
        Ok(new)
    }

    /// What the windows over all partitions are to know of this one.
    pub fn whole_report(&self) -> Report {
        let (partition, watermark) = (self.progress.number, self.watermark());
        let panes = self.progress.keys.cancelled.counts().into_iter().collect();
        Report { partition, watermark, idle_since: None, idle_for: None, panes }
    }

    /// Begins a life of its own at `next_offset`, as the second change after one in which nothing was known; its head.
    pub fn begin_life(&mut self, pipeline: &Pipeline, origin: &Origin, birth: i64, next_offset: i64) -> Option<Head> {
        self.next_offset = Some(next_offset);
        (self.changelog.birth, self.changelog.sequence) = (birth, 1);
        self.progress.has_changed = true;
        // What is written comes from the whole state: this only notes that it is.
        self.take_changes(pipeline, origin, None, None).map(|(head, _)| head)
    }
}

/// Divides the keys that are done with and those that were cancelled. What a session was is placed by its key. What a single
/// record was is placed by a key that is not known any more: each partition that may get another copy knows it.
fn carry_keys(old: &[KnownKeys], new: &mut [Partition], growth: &Growth<'_>) -> Result<(), GrowthError> {
    let mut seen: Vec<Vec<(Timestamp, &str)>> = new.iter().map(|_| Vec::new()).collect();
    let mut cancelled = seen.clone();
    let are_placed = new.iter().any(|partition| matches!(partition.aggregation, Aggregation::Sessions(_)));
    for (from, keys) in (0..).zip(old) {
        for (until, key) in keys.seen.iter() {
            if are_placed {
                seen[growth.place(from, key)? as usize].push((until, key));
                continue;
            }
            for to in growth.numbers().filter(|to| growth.feeds(from, *to)) {
                seen[to as usize].push((until, key));
            }
        }
        for (first, key) in keys.cancelled.iter() {
            cancelled[growth.place(from, key)? as usize].push((first, key));
        }
        new[from as usize].progress.keys.cancelled.carry_forgotten(&keys.cancelled);
    }
    for ((partition, mut seen), mut cancelled) in new.iter_mut().zip(seen).zip(cancelled) {
        seen.sort_by_key(|(until, _)| *until);
        cancelled.sort_by_key(|(first, _)| *first);
        let keys = &mut partition.progress.keys;
        seen.into_iter().for_each(|(until, key)| keys.seen.add(key, until));
        cancelled.into_iter().for_each(|(first, key)| keys.cancelled.carry_in(key, first));
    }
    Ok(())
}
