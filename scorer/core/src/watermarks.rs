//! The clock of a partition whose records come from a hop before: several partitions write into it, each at its own speed.
//!
//! No record says how far the others are. So each partition of the hop before says how far its own clock is, in a watermark to
//! every partition of the next topic, behind the records that it has judged by then. The clock here is that of the slowest.
//! A partition that was proven to have nothing to read for a while is not waited for, until it speaks again; when none has
//! anything to read, the clock is that of the furthest, as it would be in one partition.

use std::collections::BTreeMap;

use shared::codec::{Damaged, Reader, put_optional};
use shared::pipeline::Pipeline;
use shared::time::{Millis, Timestamp};

use crate::changelog::record::{ChangelogKind, Changes, StateError, StateRecord, VERSION, versioned};

/// How long a partition has nothing to read until it is not waited for.
pub(crate) const IDLE_AFTER: Millis = 5_000;

/// How far the clock of an idle partition goes on until that is told, while it is waited for.
pub(crate) const IDLE_PACE: Millis = 100;

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

/// How far each partition of the hop before is, by what it has said here.
#[derive(Debug)]
pub(crate) struct SourceClocks {
    /// How many there are; those that have not spoken yet hold the clock.
    n_sources: usize,
    told: BTreeMap<i32, Watermark>,
    /// Those that have spoken since the last commit.
    changed: Vec<i32>,
}

impl SourceClocks {
    /// The first byte of the keys of watermarks in the changelog.
    pub const KIND: u8 = b's';

    /// Where none of so many has spoken yet.
    pub fn new(n_sources: i32) -> Self {
        let n_sources = usize::try_from(n_sources).unwrap_or(0);
        Self { n_sources, told: BTreeMap::new(), changed: Vec::new() }
    }

    /// Whether there is a partition of this number.
    pub fn knows(&self, source: i32) -> bool {
        usize::try_from(source).is_ok_and(|source| source < self.n_sources)
    }

    /// Takes what a partition says. Its clock does not go back.
    pub fn take(&mut self, source: i32, watermark: Watermark) {
        let before = self.told.get(&source).and_then(|before| before.time);
        let now = Watermark { time: watermark.time.max(before), ..watermark };
        if self.told.insert(source, now) != Some(now) && !self.changed.contains(&source) {
            self.changed.push(source);
        }
    }

    /// The clock; `None` as long as a partition that is waited for has not spoken.
    pub fn clock(&self) -> Option<Timestamp> {
        if self.told.len() < self.n_sources {
            return None;
        }
        let waited_for = self.told.values().filter(|watermark| !watermark.is_idle).map(|watermark| watermark.time);
        // `None` is before every time.
        waited_for.min().unwrap_or_else(|| self.told.values().map(|watermark| watermark.time).max().flatten())
    }

    /// Whether none of them has anything to read.
    pub fn are_idle(&self) -> bool {
        self.told.len() == self.n_sources && self.told.values().all(|watermark| watermark.is_idle)
    }
}

impl ChangelogKind for SourceClocks {
    fn kinds(&self) -> &'static [u8] {
        &[Self::KIND]
    }

    fn restore(&mut self, _: &Pipeline, _: u8, key: &[u8], value: Option<&[u8]>) -> Result<(), StateError> {
        let source = i32::from_be_bytes(key.try_into().map_err(|_| Damaged)?);
        let Some(value) = value else {
            self.told.remove(&source);
            return Ok(());
        };
        let mut reader = versioned(value)?;
        let watermark = Watermark::decode(&mut reader)?;
        reader.end()?;
        if !self.knows(source) {
            return Err(StateError::Damaged);
        }
        self.told.insert(source, watermark);
        Ok(())
    }

    fn take_changes(&mut self, _: &Pipeline, changes: &mut Changes) {
        let told = &self.told;
        let of = |source: i32| Some(state(source, *told.get(&source)?));
        changes.records.extend(self.changed.drain(..).filter_map(of));
    }

    fn snapshot(&self, _: &Pipeline, _: Timestamp, put: &mut dyn FnMut(StateRecord)) {
        self.told.iter().for_each(|(&source, &watermark)| put(state(source, watermark)));
    }
}

fn state(source: i32, watermark: Watermark) -> StateRecord {
    let mut key = vec![SourceClocks::KIND];
    key.extend_from_slice(&source.to_be_bytes());
    let mut value = vec![VERSION];
    watermark.encode(&mut value);
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
        let mut clocks = SourceClocks::new(3);
        clocks.take(0, at(10));
        clocks.take(1, at(30));
        assert_eq!(clocks.clock(), None, "2 has not spoken");
        clocks.take(2, at(20));
        assert_eq!(clocks.clock(), Some(10));
        clocks.take(0, at(5));
        assert_eq!(clocks.clock(), Some(10), "no clock goes back");
        clocks.take(0, at(25));
        assert_eq!(clocks.clock(), Some(20));
        assert!(clocks.knows(2) && !clocks.knows(3) && !clocks.knows(-1));
    }

    #[test]
    fn an_idle_partition_is_not_waited_for_until_it_speaks_again() {
        let mut clocks = SourceClocks::new(2);
        clocks.take(0, idle(None));
        assert_eq!((clocks.clock(), clocks.are_idle()), (None, false));
        clocks.take(1, at(40));
        assert_eq!((clocks.clock(), clocks.are_idle()), (Some(40), false));
        clocks.take(1, idle(Some(50)));
        assert_eq!((clocks.clock(), clocks.are_idle()), (Some(50), true), "that of the furthest");
        clocks.take(0, at(7));
        assert_eq!((clocks.clock(), clocks.are_idle()), (Some(7), false));
    }
}
