//! Cancellations of one partition: distinct cancelled keys by the time of their first line, in panes of one slide.
//!
//! What a partition knows goes to the [windows](super::windows) as a [`Report`], so that the number that is published is
//! one for all partitions, wherever they are.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::sync::Arc;

use shared::codec::{Damaged, Reader, put_optional, put_signed, put_unsigned};
use shared::pipeline::Pipeline;
use shared::time::{Millis, Timestamp};

use super::Monotonic;
use super::clock::PartitionClock;

/// The cancelled keys of one partition.
#[derive(Debug, Clone)]
pub(super) struct Cancelled {
    window: Millis,
    slide: Millis,
    idle_timeout: Millis,
    /// How long a key is known, so that its further lines are not counted again.
    remember: Millis,
    seen: HashSet<Arc<str>>,
    order: VecDeque<(Timestamp, Arc<str>)>,
    /// Keys by the start of the pane their first line lies in.
    panes: BTreeMap<Timestamp, u64>,
    /// Keys since the last [`Cancelled::take_added`].
    added: usize,
    reported: Option<Reported>,
    reported_at: Option<Monotonic>,
    changed: BTreeSet<Timestamp>,
}

/// What the last report said, as far as it decides whether another one is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Reported {
    minute: Option<Timestamp>,
    idle: bool,
}

/// How often a partition says again that it is idle: an owner of the windows that has just begun waits to hear it.
const REPEAT: Millis = 10_000;

/// What one partition tells the windows. Its numbers are absolute: to hear it twice changes nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The partition.
    pub partition: i32,
    /// The largest timestamp it has seen: panes before it are complete.
    pub watermark: Option<Timestamp>,
    /// Since when it has had nothing to read, once that is long enough not to wait for it.
    pub idle_since: Option<Monotonic>,
    /// Cancelled keys by the start of their pane: those that changed, and those of the last window.
    pub panes: Vec<(Timestamp, u64)>,
}

const VERSION: u8 = 1;

impl Report {
    /// The report as bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        put_signed(&mut out, i64::from(self.partition));
        put_optional(&mut out, self.watermark);
        put_optional(&mut out, self.idle_since);
        put_unsigned(&mut out, self.panes.len() as u64);
        for (start, count) in &self.panes {
            put_signed(&mut out, *start);
            put_unsigned(&mut out, *count);
        }
        out
    }

    /// Reads what [`Report::encode`] wrote.
    ///
    /// # Errors
    /// [`Damaged`] for anything else.
    pub fn decode(bytes: &[u8]) -> Result<Self, Damaged> {
        let mut reader = Reader(bytes);
        if reader.byte()? != VERSION {
            return Err(Damaged);
        }
        let partition = i32::try_from(reader.signed()?).map_err(|_| Damaged)?;
        let (watermark, idle_since) = (reader.optional()?, reader.optional()?);
        let count = reader.count()?;
        let panes = (0..count).map(|_| Ok((reader.signed()?, reader.unsigned()?))).collect::<Result<_, Damaged>>()?;
        reader.end()?;
        Ok(Self { partition, watermark, idle_since, panes })
    }
}

impl Cancelled {
    pub(super) fn new(pipeline: &Pipeline) -> Self {
        let settings = pipeline.cancellations.as_ref();
        Self {
            window: settings.map_or(0, |settings| settings.window),
            slide: settings.map_or(1, |settings| settings.slide),
            idle_timeout: settings.map_or(0, |settings| settings.idle_timeout),
            remember: settings.map_or(0, |settings| settings.window.max(pipeline.entity.remember)),
            seen: HashSet::new(),
            order: VecDeque::new(),
            panes: BTreeMap::new(),
            added: 0,
            reported: None,
            reported_at: None,
            changed: BTreeSet::new(),
        }
    }

    /// Notes a cancelled key when the partition's clock shows `now`; whether it is new.
    pub(super) fn add(&mut self, key: &str, now: Timestamp) -> bool {
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
    pub(super) fn forget_before(&mut self, now: Timestamp) {
        while self.order.front().is_some_and(|(first, _)| first.saturating_add(self.remember) <= now) {
            if let Some((_, key)) = self.order.pop_front() {
                self.seen.remove(&key);
                self.added = self.added.min(self.order.len());
            }
        }
    }

    /// Forgets every key and its pane.
    pub(super) fn forget_all(&mut self) {
        self.seen.clear();
        self.order.clear();
        self.panes.clear();
        self.changed.clear();
        self.added = 0;
    }

    /// How long after its time a key is remembered.
    pub(super) fn remember(&self) -> Millis {
        self.remember
    }

    /// Every key that is remembered, with its time, the oldest first.
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = (Timestamp, &str)> + ExactSizeIterator {
        self.order.iter().map(|(first, key)| (*first, &**key))
    }

    /// The keys that came since the last time.
    pub(super) fn take_added(&mut self) -> Vec<(Timestamp, Arc<str>)> {
        let start = self.order.len() - std::mem::take(&mut self.added);
        self.order.range(start..).cloned().collect()
    }

    /// That what was added is written down already.
    pub(super) fn forget_added(&mut self) {
        self.added = 0;
    }

    /// What to tell the windows, when there is news.
    pub(super) fn report(&mut self, partition: i32, clock: &PartitionClock, now: Option<Monotonic>) -> Option<Report> {
        let watermark = clock.watermark();
        let idle_for = now.and_then(|now| clock.idle_for(now));
        let idle_since = clock.idle_since().filter(|_| idle_for.is_some_and(|idle| idle >= self.idle_timeout));
        let saying =
            Reported { minute: watermark.map(|watermark| floor(watermark, self.slide)), idle: idle_since.is_some() };
        let is_stale = saying.idle && self.reported_at.zip(now).is_some_and(|(at, now)| now - at >= REPEAT);
        if self.changed.is_empty() && self.reported == Some(saying) && !is_stale {
            return None;
        }
        self.reported = Some(saying);
        self.reported_at = now;
        let recent = watermark.unwrap_or(Timestamp::MIN).saturating_sub(self.window + self.slide);
        let changed = std::mem::take(&mut self.changed);
        let told = |start: &Timestamp| *start >= recent || changed.contains(start);
        let panes = self.panes.iter().filter(|(start, _)| told(start)).map(|(start, count)| (*start, *count)).collect();
        self.panes = self.panes.split_off(&recent);
        Some(Report { partition, watermark, idle_since, panes })
    }
}

pub(super) fn floor(timestamp: Timestamp, step: Millis) -> Timestamp {
    timestamp.saturating_sub(timestamp.rem_euclid(step))
}
