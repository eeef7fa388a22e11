//! A partition as one hop of several: what comes to it from the hop before, and what it tells the next one.

use shared::pipeline::{Hop, Pipeline};
use shared::time::Timestamp;

use super::Partition;
use crate::aggregation::Aggregation;
use crate::clock::WallMillis;
use crate::output::Output;
use crate::record::Record;
use crate::records::forward::watermark;
use crate::step::Step;
use crate::watermarks::{IDLE_AFTER, IDLE_PACE, Watermark};

impl Partition {
    /// Whether a hop before writes into it.
    pub fn has_hop_before(&self) -> bool {
        self.sources.is_some()
    }

    /// Takes what the hop before has sent. What nobody of this pipeline sent is skipped, and counted.
    pub fn arrived(&mut self, record: &Record<'_>, step: &mut Step<'_>) {
        let Self { aggregation, progress, sources, .. } = self;
        let arrived = match aggregation {
            Aggregation::Records(scoring) => scoring.arrived(record.payload, progress, step).ok(),
            Aggregation::Sessions(_) => None,
        };
        match (arrived, sources) {
            (Some(Some((source, watermark))), Some(sources)) => {
                sources.take(source, watermark);
                let clock = sources.clock();
                if clock.is_some_and(|clock| clock > self.progress.closed_through) {
                    self.observe(clock, step);
                }
            }
            (Some(_), _) => {}
            (None, _) => step.counters.foreign_records += 1,
        }
        self.next_offset = Some(record.offset.saturating_add(1));
        self.progress.has_changed = true;
    }

    /// How far the partition is, for the next hop, when there is news; `is_commit` where a commit is about to be made. Between
    /// commits there is news only of a partition that has nothing to read.
    pub fn tell(&mut self, pipeline: &Pipeline, is_commit: bool) -> Option<Output> {
        let hop = next_of(pipeline)?;
        let idle_for = self.progress.clock.idle_for();
        if !is_commit && (self.sources.is_some() || idle_for.is_none()) {
            return None;
        }
        let is_idle = match &self.sources {
            Some(sources) => sources.are_idle(),
            None => idle_for.is_some_and(|idle| idle >= IDLE_AFTER),
        };
        let time = Some(self.progress.closed_through).filter(|through| *through > Timestamp::MIN);
        let now = Watermark { time, is_idle };
        if self.told == Some(now) || (time.is_none() && !is_idle) {
            return None;
        }
        self.told = Some(now);
        // Committed with the input's offset, so that one who no longer owns the partition cannot say anything of it.
        self.progress.has_changed = true;
        Some(Output::Watermark(watermark(hop, self.progress.number, now)))
    }

    /// When there is going to be news for the next hop if nothing comes: its clock goes on until all that went on is due there,
    /// and until it is said that there is nothing to wait for.
    pub(super) fn next_watermark(&self, pipeline: &Pipeline) -> Option<WallMillis> {
        next_of(pipeline)?;
        let clock = &self.progress.clock;
        let is_known_idle = self.told.is_some_and(|told| told.is_idle);
        let until_idle = if is_known_idle { None } else { clock.when_proven_for(IDLE_PACE) };
        let due = self.aggregation.all_due_at().filter(|due| *due > self.progress.closed_through);
        let until_due = due.and_then(|due| clock.when(due.saturating_add(pipeline.entity.grace)));
        until_idle.into_iter().chain(until_due).min()
    }
}

/// The hop, where another one follows.
fn next_of(pipeline: &Pipeline) -> Option<&Hop> {
    pipeline.hop().filter(|hop| hop.next_column().is_some())
}
