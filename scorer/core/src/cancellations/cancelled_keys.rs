//! Cancellations of one partition: distinct cancelled keys by the time of their first line, in panes of one slide.
//!
//! What a partition knows goes to the [windows](super::windows) as a [`Report`], so that the number that is published is
//! one for all partitions, wherever they are. A key that is forgotten before its time is still counted in its pane.

use std::collections::{BTreeMap, BTreeSet};

use shared::codec::{Reader, put_signed, put_unsigned};
use shared::pipeline::Pipeline;
use shared::time::{Millis, Timestamp};

use super::pane::floor;
use crate::changelog::lists::{Going, Mark};
use crate::changelog::record::{ChangelogKind, Changes, StateError, StateRecord, VERSION, versioned};
use crate::clock::{PartitionClock, WallMillis};
use crate::listed_keys::ListedKeys;
use crate::output::Report;

/// The cancelled keys of one partition.
#[derive(Debug)]
pub(crate) struct CancelledKeys {
    window: Millis,
    slide: Millis,
    idle_timeout: Millis,
    grace: Millis,
    /// How long a key is known, so that its further lines are not counted again.
    remember: Millis,
    /// By the time of the first line.
    keys: ListedKeys,
    /// Keys by the start of the pane their first line lies in, without those that were forgotten before their time.
    panes: BTreeMap<Timestamp, u64>,
    forgotten: Forgotten,
    persisted: Forgotten,
    reported: Option<Reported>,
    /// The idle time of the last report.
    reported_idle: Millis,
    changed: BTreeSet<Timestamp>,
}

/// Keys that were forgotten before their time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Forgotten {
    /// What of the lists is left.
    mark: Option<Mark>,
    /// How many they were, by pane.
    panes: BTreeMap<Timestamp, u64>,
}

/// What the last report said, as far as it decides whether another one is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Reported {
    minute: Option<Timestamp>,
    idle: bool,
}

/// How often a partition reports again that it is idle: an owner of the windows that has just begun waits for that, and
/// one that hears nothing more takes it for idle no longer.
pub(super) const REPEAT: Millis = 10_000;

impl CancelledKeys {
    /// The first byte of the keys of its lists.
    pub const KIND: u8 = b'x';
    /// The key of what is said of keys that had to go before their time.
    pub const FORGOTTEN: u8 = b'g';

    pub fn new(pipeline: &Pipeline) -> Self {
        let settings = pipeline.cancellations.as_ref();
        Self {
            window: settings.map_or(0, |settings| settings.window),
            slide: settings.map_or(1, |settings| settings.slide),
            idle_timeout: settings.map_or(0, |settings| settings.idle_timeout),
            grace: pipeline.entity.grace,
            remember: settings.map_or(0, |settings| settings.window.max(pipeline.entity.remember)),
            keys: ListedKeys::new(Self::KIND),
            panes: BTreeMap::new(),
            forgotten: Forgotten::default(),
            persisted: Forgotten::default(),
            reported: None,
            reported_idle: 0,
            changed: BTreeSet::new(),
        }
    }

    /// Notes a cancelled key when the partition's clock shows `now`; whether it is new.
    pub fn add(&mut self, key: &str, now: Timestamp) -> bool {
        self.forget_expired(now);
        if self.keys.contains(key) {
            return false;
        }
        // The clock of a partition does not go back; before its first time, records have times of their own.
        let now = self.keys.last_time().map_or(now, |last| last.max(now));
        self.keys.push(key, now);
        self.count(now);
        true
    }

    /// Counts a key whose first line came at `first`.
    fn count(&mut self, first: Timestamp) {
        let pane = floor(first, self.slide);
        *self.panes.entry(pane).or_default() += 1;
        self.changed.insert(pane);
    }

    /// Forgets keys that were remembered for long enough when the clock shows `now`.
    pub fn forget_expired(&mut self, now: Timestamp) {
        while self.keys.first_time().is_some_and(|first| first.saturating_add(self.remember) <= now) {
            self.keys.pop(Going::InTime);
        }
    }

    /// Forgets the oldest key before its time; whether there was one. It stays counted.
    pub fn forget_oldest(&mut self) -> bool {
        let Some(first) = self.keys.pop(Going::Early) else { return false };
        let pane = floor(first, self.slide);
        self.uncount(pane);
        let count = self.forgotten.panes.entry(pane).or_default();
        *count = count.saturating_add(1);
        true
    }

    fn uncount(&mut self, pane: Timestamp) {
        if let Some(count) = self.panes.get_mut(&pane) {
            *count -= 1;
            if *count == 0 {
                self.panes.remove(&pane);
            }
        }
    }

    /// Every key with the time of its first line, in the order of these.
    pub fn iter(&self) -> impl Iterator<Item = (Timestamp, &str)> {
        self.keys.iter()
    }

    /// Takes in a key of another partition, whose first line is not before that of any other.
    pub fn carry_in(&mut self, key: &str, first: Timestamp) {
        self.keys.push(key, first);
        self.count(first);
    }

    /// Counts the keys that `other` forgot before their time: nobody knows any more where they would go.
    pub fn carry_forgotten(&mut self, other: &Self) {
        self.forgotten.panes.clone_from(&other.forgotten.panes);
    }

    /// Keys by the start of their pane, those too that were forgotten before their time.
    pub fn counts(&self) -> BTreeMap<Timestamp, u64> {
        let mut counts = self.panes.clone();
        for (pane, count) in &self.forgotten.panes {
            let sum = counts.entry(*pane).or_default();
            *sum = u64::saturating_add(*sum, *count);
        }
        counts
    }

    /// No key was cancelled later than `time` from now on.
    pub fn set_back(&mut self, time: Timestamp) {
        self.keys.set_back(time);
        let latest = floor(time, self.slide);
        for panes in [&mut self.panes, &mut self.forgotten.panes] {
            let later = panes.split_off(&latest).into_values().fold(0, u64::saturating_add);
            if later > 0 {
                panes.insert(latest, later);
            }
        }
        self.changed = self.panes.keys().copied().collect();
        self.persisted = self.forgotten.clone();
    }

    /// How many keys are remembered.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Bytes that they take.
    pub fn bytes(&self) -> usize {
        self.keys.bytes()
    }

    /// What to tell the windows, when there is news.
    pub fn report(&mut self, partition: i32, clock: &PartitionClock) -> Option<Report> {
        let watermark = clock.watermark();
        // What was stamped within the idle time may still be on its way.
        let idle_for = clock.idle_for().map(|idle| idle.saturating_sub(self.grace));
        let idle_for = idle_for.filter(|idle| *idle >= self.idle_timeout);
        let idle_since = clock.idle_since().filter(|_| idle_for.is_some());
        let saying =
            Reported { minute: watermark.map(|watermark| floor(watermark, self.slide)), idle: idle_for.is_some() };
        let is_stale = idle_for.is_some_and(|idle| idle.saturating_sub(self.reported_idle) >= REPEAT);
        if self.changed.is_empty() && self.reported == Some(saying) && !is_stale {
            return None;
        }
        self.reported = Some(saying);
        self.reported_idle = idle_for.unwrap_or(0);
        let recent = watermark.unwrap_or(Timestamp::MIN).saturating_sub(self.window.saturating_add(self.slide));
        let changed = std::mem::take(&mut self.changed);
        let is_reported = |start: &Timestamp| *start >= recent || changed.contains(start);
        let panes = self.counts().into_iter().filter(|(start, _)| is_reported(start)).collect();
        self.panes = self.panes.split_off(&recent);
        self.forgotten.panes = self.forgotten.panes.split_off(&recent);
        Some(Report { partition, watermark, idle_since, idle_for, panes })
    }

    /// When there will be a report of being idle if nothing comes; `None` where nothing is counted.
    pub fn next_report(&self, clock: &PartitionClock) -> Option<WallMillis> {
        let is_reported = self.reported.is_some_and(|last| last.idle);
        let span = if is_reported { self.reported_idle.saturating_add(REPEAT) } else { self.idle_timeout };
        clock.when_idle_for(span.saturating_add(self.grace)).filter(|_| self.window > 0)
    }
}

impl ChangelogKind for CancelledKeys {
    fn kinds(&self) -> &'static [u8] {
        &[Self::KIND, Self::FORGOTTEN]
    }

    fn restore(&mut self, _: &Pipeline, kind: u8, key: &[u8], value: Option<&[u8]>) -> Result<(), StateError> {
        if kind == Self::FORGOTTEN {
            self.forgotten = value.map(Forgotten::decode).transpose()?.unwrap_or_default();
            self.persisted = self.forgotten.clone();
            self.keys.restore_mark(self.forgotten.mark);
            return Ok(());
        }
        let mut times = Vec::new();
        self.keys.restore(key, value, |first| times.push(first))?;
        times.into_iter().for_each(|first| self.count(first));
        Ok(())
    }

    fn forget_restored(&mut self, clock: Timestamp) {
        self.forget_deleted();
        self.forget_expired(clock);
        // Panes that no key is remembered of are told of no more. Whoever follows a changelog would keep them for ever.
        let oldest = clock.saturating_sub(self.remember.saturating_add(self.slide));
        self.panes.retain(|start, _| *start >= oldest);
        self.changed.retain(|start| *start >= oldest);
    }

    fn restoring_bytes(&self) -> usize {
        self.keys.bytes()
    }

    fn finish_restoring(&mut self, _: &Pipeline) -> Result<(), StateError> {
        self.forget_deleted();
        Ok(())
    }

    fn take_changes(&mut self, _: &Pipeline, changes: &mut Changes) {
        if let Some(clock) = changes.clock {
            self.forget_expired(clock);
        }
        self.keys.take_changes(changes);
        self.forgotten.mark = self.keys.mark();
        if self.persisted != self.forgotten {
            self.persisted = self.forgotten.clone();
            changes.records.push(self.persisted.record());
        }
    }

    fn snapshot(&self, _: &Pipeline, clock: Timestamp, put: &mut dyn FnMut(StateRecord)) {
        self.keys.snapshot(|first| first.saturating_add(self.remember) > clock, put);
        if self.persisted != Forgotten::default() {
            put(self.persisted.record());
        }
    }
}

impl CancelledKeys {
    /// Keys that have gone by what was read are not counted twice: they are among those that were forgotten, or of panes
    /// that nobody asks for any more.
    fn forget_deleted(&mut self) {
        let (mut panes, slide) = (Vec::new(), self.slide);
        self.keys.forget_deleted(|first| panes.push(floor(first, slide)));
        for pane in panes {
            self.uncount(pane);
        }
    }
}

impl Forgotten {
    /// Without anything in it, it deletes what was written before.
    fn record(&self) -> StateRecord {
        let key = vec![CancelledKeys::FORGOTTEN];
        if *self == Self::default() {
            return StateRecord { key, value: None };
        }
        let mut out = vec![VERSION, u8::from(self.mark.is_some())];
        self.mark.into_iter().for_each(|mark| mark.encode(&mut out));
        put_unsigned(&mut out, self.panes.len() as u64);
        for (start, count) in &self.panes {
            put_signed(&mut out, *start);
            put_unsigned(&mut out, *count);
        }
        StateRecord { key, value: Some(out) }
    }

    fn decode(value: &[u8]) -> Result<Self, StateError> {
        let mut reader: Reader<'_> = versioned(value)?;
        let mark = if reader.byte()? == 0 { None } else { Some(Mark::decode(&mut reader)?) };
        let mut panes = BTreeMap::new();
        for _ in 0..reader.count()? {
            panes.insert(reader.signed()?, reader.unsigned()?);
        }
        reader.end()?;
        Ok(Self { mark, panes })
    }
}
