//! The clock of a partition whose records come from a hop before: several partitions write into it, each at its own speed.
//!
//! No record says how far the others are. So each partition of the hop before says how far its own clock is, in a watermark to
//! every partition of the next topic, behind the records that it has judged by then. The clock here is that of the slowest.
//!
//! A partition that has nothing to read must not hold the others for ever, and its clock tells nothing of theirs: a file that
//! is replayed has days in a second, and a partition without a record has no time at all. So an idle partition says again and
//! again, each time with new evidence, that everything it has was read. Where the order matters, because the pipeline has a
//! lateness, the second word after a watermark of another partition proves that nothing was on its way when that was said: its
//! evidence was asked for after the first word was written, and whatever was written before has been read. Then it is passed. Where records are judged as they come anyway, one word is
//! enough, and the partition is not waited for until it speaks again.

use std::collections::BTreeMap;

use shared::codec::{Damaged, Reader, put_optional};
use shared::pipeline::Pipeline;
use shared::time::{Millis, Timestamp};

use crate::changelog::record::{ChangelogKind, Changes, StateError, StateRecord, VERSION, versioned};

/// How far the clock of an idle partition goes on until that is told, while it is new that it is idle.
pub(crate) const IDLE_PACE: Millis = 100;

/// How long a partition has nothing to read until it says that it is idle, where records are judged as they come.
const IDLE_AFTER: Millis = 5_000;

/// The same where they wait for others, and how often it says so again: a part of the time for which they wait, within bounds.
const PARTS_OF_LATENESS: Millis = 4;
const SHORTEST: Millis = 1_000;
const LONGEST: Millis = 60_000;

/// How long a partition has nothing to read until it says that it is idle; with a lateness it says so again as often.
pub(crate) fn idle_after(lateness: Millis) -> Millis {
    if lateness == 0 { IDLE_AFTER } else { (lateness / PARTS_OF_LATENESS).clamp(SHORTEST, LONGEST) }
}

/// How far a partition is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Watermark {
    /// Its clock: everything that was due by it was judged. `None` where it has had no record.
    pub time: Option<Timestamp>,
    /// Whether it has had nothing to read for a while.
    pub is_idle: bool,
}

impl Watermark {
    pub fn encode(self, out: &mut Vec<u8>) {
        put_optional(out, self.time);
        out.push(u8::from(self.is_idle));
    }

    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        let time = reader.optional()?;
        let is_idle = match reader.byte()? {
            0 => false,
            1 => true,
            _ => return Err(Damaged),
        };
        Ok(Self { time, is_idle })
    }
}

/// What a partition of the hop before has said here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Source {
    /// Its clock.
    time: Option<Timestamp>,
    /// Whether its last word was that it is idle.
    is_idle: bool,
    /// How far the furthest was when it said so last.
    furthest: Option<Timestamp>,
    /// How far the furthest was before that word, and so how far it is proven that nothing of it comes.
    passed: Option<Timestamp>,
}

/// How far each partition of the hop before is.
#[derive(Debug)]
pub(crate) struct SourceClocks {
    /// How many there are; those that have not spoken yet hold the clock.
    n_sources: usize,
    /// Whether an idle partition has to prove that it is.
    asks_proof: bool,
    sources: BTreeMap<i32, Source>,
    /// Those that have spoken since the last commit.
    changed: Vec<i32>,
}

impl SourceClocks {
    /// The first byte of the keys of watermarks in the changelog.
    pub const KIND: u8 = b's';

    /// Where none of so many has spoken yet; with a lateness the order of records is not to be put at risk.
    pub fn new(n_sources: i32, lateness: Millis) -> Self {
        let n_sources = usize::try_from(n_sources).unwrap_or(0);
        Self { n_sources, asks_proof: lateness > 0, sources: BTreeMap::new(), changed: Vec::new() }
    }

    /// Takes what a partition says. Its clock does not go back.
    pub fn take(&mut self, source: i32, watermark: Watermark) {
        let before = self.sources.get(&source).copied().unwrap_or_default();
        let mut now = Source { time: watermark.time.max(before.time), is_idle: watermark.is_idle, ..before };
        if watermark.is_idle {
            // What was there before its last word has been read by now.
            now.passed = before.passed.max(before.furthest);
            now.furthest = self.sources.values().map(|source| source.time).max().flatten().max(now.time);
        } else {
            now.furthest = None;
        }
        if self.sources.insert(source, now) != Some(now) && !self.changed.contains(&source) {
            self.changed.push(source);
        }
    }

    /// The clock; `None` as long as a partition that is waited for has not spoken.
    pub fn clock(&self) -> Option<Timestamp> {
        if self.sources.len() < self.n_sources {
            return None;
        }
        // `None` is before every time.
        if self.asks_proof {
            return self.sources.values().map(|source| source.time.max(source.passed)).min().flatten();
        }
        let waited_for = self.sources.values().filter(|source| !source.is_idle).map(|source| source.time);
        waited_for.min().unwrap_or_else(|| self.sources.values().map(|source| source.time).max().flatten())
    }
}

impl ChangelogKind for SourceClocks {
    fn kinds(&self) -> &'static [u8] {
        &[Self::KIND]
    }

    fn restore(&mut self, _: &Pipeline, _: u8, key: &[u8], value: Option<&[u8]>) -> Result<(), StateError> {
        let source = i32::from_be_bytes(key.try_into().map_err(|_| Damaged)?);
        let Some(value) = value else {
            self.sources.remove(&source);
            return Ok(());
        };
        let mut reader = versioned(value)?;
        let Watermark { time, is_idle } = Watermark::decode(&mut reader)?;
        let (furthest, passed) = (reader.optional()?, reader.optional()?);
        reader.end()?;
        if !usize::try_from(source).is_ok_and(|source| source < self.n_sources) {
            return Err(StateError::Damaged);
        }
        self.sources.insert(source, Source { time, is_idle, furthest, passed });
        Ok(())
    }

    fn restoring_bytes(&self) -> usize {
        self.sources.len() * size_of::<(i32, Source)>()
    }

    fn take_changes(&mut self, _: &Pipeline, changes: &mut Changes) {
        let sources = &self.sources;
        let of = |number: i32| Some(state(number, sources.get(&number)?));
        changes.records.extend(self.changed.drain(..).filter_map(of));
    }

    fn snapshot(&self, _: &Pipeline, _: Timestamp, put: &mut dyn FnMut(StateRecord)) {
        self.sources.iter().for_each(|(&number, source)| put(state(number, source)));
    }
}

fn state(number: i32, source: &Source) -> StateRecord {
    let &Source { time, is_idle, furthest, passed } = source;
    let mut key = vec![SourceClocks::KIND];
    key.extend_from_slice(&number.to_be_bytes());
    let mut value = vec![VERSION];
    Watermark { time, is_idle }.encode(&mut value);
    put_optional(&mut value, furthest);
    put_optional(&mut value, passed);
    StateRecord { key, value: Some(value) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(time: Timestamp) -> Watermark {
        Watermark { time: Some(time), is_idle: false }
    }

    fn idle(time: Option<Timestamp>) -> Watermark {
        Watermark { time, is_idle: true }
    }

    #[test]
    fn the_clock_is_that_of_the_slowest_once_all_have_spoken() {
        for lateness in [0, 10_000] {
            let mut clocks = SourceClocks::new(3, lateness);
            clocks.take(0, at(10));
            clocks.take(1, at(30));
            assert_eq!(clocks.clock(), None, "2 has not spoken");
            clocks.take(2, at(20));
            assert_eq!(clocks.clock(), Some(10));
            clocks.take(0, at(5));
            assert_eq!(clocks.clock(), Some(10), "no clock goes back");
            clocks.take(0, at(25));
            assert_eq!(clocks.clock(), Some(20));
        }
    }

    #[test]
    fn an_idle_partition_is_not_waited_for_where_records_are_judged_as_they_come() {
        let mut clocks = SourceClocks::new(2, 0);
        clocks.take(0, idle(None));
        assert_eq!(clocks.clock(), None);
        clocks.take(1, at(40));
        assert_eq!(clocks.clock(), Some(40));
        clocks.take(1, idle(Some(50)));
        assert_eq!(clocks.clock(), Some(50), "that of the furthest");
        clocks.take(0, at(7));
        assert_eq!(clocks.clock(), Some(7));
    }

    #[test]
    fn the_second_word_after_a_watermark_proves_that_nothing_was_on_its_way() {
        let mut clocks = SourceClocks::new(2, 10_000);
        clocks.take(0, idle(None));
        clocks.take(0, idle(None));
        clocks.take(1, at(40));
        assert_eq!(clocks.clock(), None, "nothing is proven of the time after its words");
        clocks.take(0, idle(None));
        assert_eq!(clocks.clock(), None, "that may have been asked before");
        clocks.take(1, at(60));
        clocks.take(0, idle(None));
        assert_eq!(clocks.clock(), Some(40));
        // It has read a record: what it proved by then still holds.
        clocks.take(0, at(45));
        assert_eq!(clocks.clock(), Some(45));
        clocks.take(0, idle(Some(46)));
        assert_eq!(clocks.clock(), Some(46), "its words begin anew");
        clocks.take(0, idle(Some(47)));
        assert_eq!(clocks.clock(), Some(60));
    }

    #[test]
    fn a_partition_says_that_it_is_idle_as_soon_as_that_is_of_use() {
        assert_eq!([0, 10_000, 1, 86_400_000].map(idle_after), [5_000, 2_500, 1_000, 60_000]);
    }
}
