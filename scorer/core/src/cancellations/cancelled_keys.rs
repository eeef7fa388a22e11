//! Cancellations of one partition: distinct cancelled keys by the time of their first line, in panes of one slide.
//!
//! What a partition knows goes to the [windows](super::windows) as a [`Report`], so that the number that is published is
//! one for all partitions, wherever they are.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::sync::Arc;

use shared::pipeline::Pipeline;
use shared::time::{Millis, Timestamp};

use super::pane::floor;
use crate::changelog::lists::Lists;
use crate::changelog::record::{ChangelogKind, Changes, StateError, StateRecord};
use crate::clock::{PartitionClock, WallMillis};
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
    seen: HashSet<Arc<str>>,
    order: VecDeque<(Timestamp, Arc<str>)>,
    /// Keys by the start of the pane their first line lies in.
    panes: BTreeMap<Timestamp, u64>,
    /// Keys since the last commit.
    added: usize,
    reported: Option<Reported>,
    /// The idle time of the last report.
    reported_idle: Millis,
    changed: BTreeSet<Timestamp>,
    lists: Lists,
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

    pub fn new(pipeline: &Pipeline) -> Self {
        let settings = pipeline.cancellations.as_ref();
        Self {
            window: settings.map_or(0, |settings| settings.window),
            slide: settings.map_or(1, |settings| settings.slide),
            idle_timeout: settings.map_or(0, |settings| settings.idle_timeout),
            grace: pipeline.entity.grace,
            remember: settings.map_or(0, |settings| settings.window.max(pipeline.entity.remember)),
            seen: HashSet::new(),
            order: VecDeque::new(),
            panes: BTreeMap::new(),
            added: 0,
            reported: None,
            reported_idle: 0,
            changed: BTreeSet::new(),
            lists: Lists::new(Self::KIND),
        }
    }

    /// Notes a cancelled key when the partition's clock shows `now`; whether it is new.
    pub fn add(&mut self, key: &str, now: Timestamp) -> bool {
        self.forget_before(now);
        if self.seen.contains(key) {
            return false;
        }
        let key: Arc<str> = key.into();
        self.seen.insert(key.clone());
        self.order.push_back((now, key));
        self.added += 1;
        let pane = floor(now, self.slide);
        *self.panes.entry(pane).or_default() += 1;
        self.changed.insert(pane);
        true
    }

    /// Forgets keys that were remembered for long enough when the clock shows `now`.
    fn forget_before(&mut self, now: Timestamp) {
        while self.order.front().is_some_and(|(first, _)| first.saturating_add(self.remember) <= now) {
            if let Some((_, key)) = self.order.pop_front() {
                self.seen.remove(&key);
                self.added = self.added.min(self.order.len());
            }
        }
    }

    /// Forgets every key and its pane.
    fn forget_all(&mut self) {
        self.seen.clear();
        self.order.clear();
        self.panes.clear();
        self.changed.clear();
        self.added = 0;
    }

    /// No key was cancelled later than `time` from now on.
    pub fn set_back(&mut self, time: Timestamp) {
        let keys: Vec<Arc<str>> = self.order.iter().map(|(_, key)| key.clone()).collect();
        let times: Vec<Timestamp> = self.order.iter().map(|(first, _)| time.min(*first)).collect();
        self.forget_all();
        for (key, first) in keys.iter().zip(times) {
            self.add(key, first);
        }
        self.added = 0;
        self.lists.set_back(time);
    }

    /// How many keys are remembered.
    pub fn len(&self) -> usize {
        self.order.len()
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
        let panes =
            self.panes.iter().filter(|(start, _)| is_reported(start)).map(|(start, count)| (*start, *count)).collect();
        self.panes = self.panes.split_off(&recent);
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
        &[Self::KIND]
    }

    fn restore(&mut self, _: &Pipeline, _: u8, key: &[u8], value: Option<&[u8]>) -> Result<(), StateError> {
        let mut keys: Vec<(Timestamp, Box<str>)> = Vec::new();
        self.lists.restore(key, value, |first, key| keys.push((first, key.into())))?;
        keys.into_iter().for_each(|(first, key)| {
            self.add(&key, first);
        });
        // What was read is written down already.
        self.added = 0;
        Ok(())
    }

    fn forget_restored(&mut self, clock: Timestamp) {
        self.forget_before(clock);
        if self.lists.is_empty() {
            self.forget_all();
        }
    }

    fn take_changes(&mut self, _: &Pipeline, changes: &mut Changes) {
        let start = self.order.len() - std::mem::take(&mut self.added);
        let added: Vec<(Timestamp, Arc<str>)> = self.order.range(start..).cloned().collect();
        self.lists.add(&added, changes);
        if let Some(clock) = changes.clock {
            self.lists.forget(clock.saturating_sub(self.remember), changes);
        }
    }

    fn snapshot(&self, _: &Pipeline, clock: Timestamp, put: &mut dyn FnMut(StateRecord)) {
        let is_live = |first: Timestamp| first.saturating_add(self.remember) > clock;
        let live = self.order.iter().map(|(first, key)| (*first, &**key)).filter(|(first, _)| is_live(*first));
        self.lists.snapshot(live, put);
    }
}
