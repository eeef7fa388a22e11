//! A partition as one hop of several: what comes to it from the hop before, and what it tells the next one.

use shared::pipeline::{Hop, Pipeline};
use shared::time::{Millis, Timestamp};

use super::Partition;
use crate::aggregation::Aggregation;
use crate::clock::WallMillis;
use crate::output::Output;
use crate::record::Record;
use crate::records::forward::watermark;
use crate::step::Step;
use crate::watermarks::{IDLE_PACE, SourceClocks, Watermark, idle_after};

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
        // A partition that others write into is told of all of them, whether it has records or not: it is never idle.
        let idle_for = self.progress.clock.idle_for().filter(|_| self.sources.is_none());
        if !is_commit && idle_for.is_none() {
            return None;
        }
        let time = Some(self.progress.closed_through).filter(|through| *through > Timestamp::MIN);
        let (said, has_lateness) = (self.said_idle(), self.aggregation.lateness() > 0);
        let is_word = idle_for.is_some_and(|idle| idle >= said.unwrap_or(0).saturating_add(self.idle_after()));
        let is_news = match said {
            None => is_word || (time.is_some() && (self.told.time != time || self.told.idle_for.is_some())),
            // Another word is worth something only where it is a proof; else there is news once all that went on is due.
            Some(_) => (is_word && has_lateness) || (self.is_all_due(time) && !self.is_all_due(self.told.time)),
        };
        self.told.idle_for = said;
        if !is_news {
            return None;
        }
        let is_idle = is_word || (said.is_some() && !has_lateness);
        self.told = Told { time, idle_for: if is_word { idle_for } else { said } };
        // Committed with the input's offset, so that one who no longer owns the partition cannot say anything of it.
        self.progress.has_changed = true;
        Some(Output::Watermark(watermark(hop, self.progress.number, Watermark { time, is_idle })))
    }

    /// When there is going to be news for the next hop if nothing comes: its clock goes on until it is said that it is idle, and
    /// until all that went on is due there. Where that has to be proved, it is said again and again.
    pub(super) fn next_watermark(&self, pipeline: &Pipeline) -> Option<WallMillis> {
        next_of(pipeline)?;
        let clock = &self.progress.clock;
        let word = match self.said_idle() {
            None => clock.when_proven_for(IDLE_PACE),
            Some(said) if self.aggregation.lateness() > 0 => {
                clock.when_idle_for(said.saturating_add(self.idle_after()))
            }
            Some(_) => None,
        };
        let due = self.aggregation.all_due_at().filter(|due| *due > self.progress.closed_through);
        let until_due = due.and_then(|due| clock.when(due.saturating_add(pipeline.entity.grace)));
        word.into_iter().chain(until_due).min()
    }

    /// How long it had been idle when that was said last; `None` where it was not said of the idle time that lasts.
    fn said_idle(&self) -> Option<Millis> {
        let idle_for = self.progress.clock.idle_for()?;
        self.told.idle_for.filter(|said| *said <= idle_for)
    }

    fn idle_after(&self) -> Millis {
        idle_after(self.aggregation.lateness())
    }

    /// Whether all that went on is due in the next hop when this is the clock.
    fn is_all_due(&self, clock: Option<Timestamp>) -> bool {
        self.aggregation.all_due_at().is_none_or(|due| clock.is_some_and(|clock| clock >= due))
    }
}

/// What the next hop was told of a partition.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Told {
    /// Its clock.
    time: Option<Timestamp>,
    /// How long it had been idle when that was said last.
    idle_for: Option<Millis>,
}

/// The clocks of those who write into a partition, where that is a hop before.
pub(super) fn sources(pipeline: &Pipeline) -> Option<SourceClocks> {
    let hop = pipeline.hop().filter(|hop| hop.has_before())?;
    Some(SourceClocks::new(hop.partitions, hop.features.lateness()))
}

/// The hop, where another one follows.
fn next_of(pipeline: &Pipeline) -> Option<&Hop> {
    pipeline.hop().filter(|hop| hop.next_column().is_some())
}
