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
    pub fn tell(&mut self, pipeline: &Pipeline, now: Option<WallMillis>, is_commit: bool) -> Option<Output> {
        let hop = next_of(pipeline)?;
        let idle = self.idle();
        if !is_commit && idle.is_none() {
            return None;
        }
        let time = Some(self.progress.closed_through).filter(|through| *through > Timestamp::MIN);
        let (word, has_lateness) = (self.word(), self.aggregation.lateness() > 0);
        let is_word = idle.is_some_and(|(since, until)| until >= self.next_word(word, since));
        let is_news = match word {
            None => is_word || (time.is_some() && (self.told.time != time || self.told.word.is_some())),
            // Another word is worth something only where it is a proof; else there is news once all that went on is due.
            Some(_) => (is_word && has_lateness) || (self.is_all_due(time) && !self.is_all_due(self.told.time)),
        };
        self.told.word = word;
        if !is_news {
            return None;
        }
        let is_idle = is_word || (word.is_some() && !has_lateness);
        let said = idle.filter(|_| is_word).map(|(since, until)| Word { since, at: now.unwrap_or(until).max(until) });
        self.told = Told { time, word: said.or(word) };
        // Committed with the input's offset, so that one who no longer owns the partition cannot say anything of it.
        self.progress.has_changed = true;
        Some(Output::Watermark(watermark(hop, self.progress.number, Watermark { time, is_idle })))
    }

    /// When there is going to be news for the next hop if nothing comes: its clock goes on until it is said that it is idle, and
    /// until all that went on is due there. Where that has to be proved, it is said again and again.
    pub(super) fn next_watermark(&self, pipeline: &Pipeline) -> Option<WallMillis> {
        next_of(pipeline)?;
        let clock = &self.progress.clock;
        let (since, _) = self.idle()?;
        let word = match self.word() {
            None => clock.when_proven_for(IDLE_PACE),
            word if self.aggregation.lateness() > 0 => Some(self.next_word(word, since)),
            Some(_) => None,
        };
        let due = self.aggregation.all_due_at().filter(|due| *due > self.progress.closed_through);
        let until_due = due.and_then(|due| clock.when(due.saturating_add(pipeline.entity.grace)));
        word.into_iter().chain(until_due).min()
    }

    /// Since when it has had nothing to read, and until when that is proven. One that others write into is told of all of them,
    /// whether it has records or not: it is never idle.
    fn idle(&self) -> Option<(WallMillis, WallMillis)> {
        let clock = &self.progress.clock;
        let (since, idle_for) = (clock.idle_since()?, clock.idle_for()?);
        self.sources.is_none().then_some((since, since.saturating_add(idle_for)))
    }

    /// Its last word that it is idle, where that is so since then.
    fn word(&self) -> Option<Word> {
        let (since, _) = self.idle()?;
        self.told.word.filter(|word| word.since == since)
    }

    /// From when on it is to be proven that it is idle for the next word: what proves it was asked for after the last word was
    /// written.
    fn next_word(&self, last: Option<Word>, since: WallMillis) -> WallMillis {
        let pace = idle_after(self.aggregation.lateness());
        last.map_or(since, |word| word.at).saturating_add(pace)
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
    /// That it is idle.
    word: Option<Word>,
}

/// A word that a partition has nothing to read.
#[derive(Debug, Clone, Copy)]
struct Word {
    /// Since when it has had nothing.
    since: WallMillis,
    /// When it was said.
    at: WallMillis,
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
