//! The sliding window over all partitions: their reports in, one count per slide out.
//!
//! One owner merges: that of partition 0. A window is published once every partition's clock has passed its end;
//! a partition that has had nothing to read for a while does not hold it back.

use std::collections::BTreeMap;

use shared::codec::{Damaged, put_optional, put_signed, put_unsigned};
use shared::pipeline::Cancellations;
use shared::time::{Millis, Timestamp};

use super::cancelled_keys::REPEAT;
use super::pane::floor;
use crate::changelog::record::{StateRecord, VERSION, versioned};
use crate::clock::WallMillis;
use crate::output::{CancellationCount, Output, Report};

/// How long a partition is taken for idle that has said so: longer than it takes to say so again.
const HOLD: Millis = 3 * REPEAT;

/// Counts of all partitions, and how far they have been published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Windows {
    window: Millis,
    slide: Millis,
    partitions: BTreeMap<i32, PartitionReport>,
    /// What partitions had reported before their topic grew, and no longer hold themselves, by pane.
    carried: BTreeMap<Timestamp, u64>,
    /// The end of the last window that was dealt with.
    through: Option<Timestamp>,
    last_count: u64,
    /// Reports before this offset of their topic are in here.
    position: i64,
    /// Whether something changed since it was last written down.
    changed: bool,
}

/// What a partition has reported so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct PartitionReport {
    watermark: Option<Timestamp>,
    /// Since when it was idle, by our own clock.
    idle_since: Option<WallMillis>,
    /// When it said so, by our own clock: it is known to be idle until then, and nothing of the time after.
    heard_at: Option<WallMillis>,
    panes: BTreeMap<Timestamp, u64>,
}

impl PartitionReport {
    /// How long the partition was known to be idle when it last said so.
    fn idle_for(&self) -> Option<Millis> {
        Some(self.heard_at?.saturating_sub(self.idle_since?).max(0))
    }

    /// Whether it is not to be waited for.
    fn is_idle(&self, now: Option<WallMillis>, idle_timeout: Millis) -> bool {
        let is_recent = now.zip(self.heard_at).is_some_and(|(now, at)| now.saturating_sub(at) < HOLD);
        is_recent && self.idle_for().is_some_and(|idle| idle >= idle_timeout)
    }
}

impl Windows {
    /// The key of their record.
    pub const KEY: &'static [u8] = b"w";

    pub fn new(settings: &Cancellations) -> Self {
        Self {
            window: settings.window,
            slide: settings.slide,
            partitions: BTreeMap::new(),
            carried: BTreeMap::new(),
            through: None,
            last_count: 0,
            position: 0,
            changed: false,
        }
    }

    /// No report yet; those before `position` belong to an earlier life of the group.
    pub fn starting_at(settings: &Cancellations, position: i64) -> Self {
        Self { position, ..Self::new(settings) }
    }

    /// The same windows over the partitions of a topic that has grown, which know of cancellations what these `reports` say.
    /// Those before `position` of the topic of reports are of the partitions of before. What is in none of these reports, because
    /// its partition was done with it, stays counted.
    pub fn carried_over(self, reports: &[Report], position: i64) -> Self {
        let before = self.counts();
        let mut windows = Self { partitions: BTreeMap::new(), carried: BTreeMap::new(), ..self };
        for report in reports {
            windows.on_report(report, position, None);
        }
        let now = windows.counts();
        let gone = |(start, count): (Timestamp, u64)| {
            let left = count.saturating_sub(now.get(&start).copied().unwrap_or(0));
            (left > 0).then_some((start, left))
        };
        windows.carried = before.into_iter().filter_map(gone).collect();
        Self { position, ..windows }
    }

    /// The cancellations of all partitions, by pane.
    fn counts(&self) -> BTreeMap<Timestamp, u64> {
        let mut counts = self.carried.clone();
        for (&start, &count) in self.partitions.values().flat_map(|last| &last.panes) {
            let sum = counts.entry(start).or_default();
            *sum = sum.saturating_add(count);
        }
        counts
    }

    /// The panes that are known, of each partition and of those before them.
    fn panes(&self) -> impl Iterator<Item = &BTreeMap<Timestamp, u64>> {
        self.partitions.values().map(|last| &last.panes).chain([&self.carried])
    }

    /// Waits for this partition: until its first report it may hold anything.
    pub fn expect(&mut self, partition: i32) {
        self.partitions.entry(partition).or_default();
    }

    /// Waits for this partition, whatever it has said of being idle: nobody reads it now.
    pub fn await_clock(&mut self, partition: i32) {
        let last = self.partitions.entry(partition).or_default();
        (last.idle_since, last.heard_at) = (None, None);
    }

    /// Forgets idle marks from before this instance owned the windows: there may be a backlog since.
    pub fn forget_idle(&mut self) {
        self.partitions.values_mut().for_each(|last| (last.idle_since, last.heard_at) = (None, None));
    }

    pub fn forget(&mut self, partition: i32) {
        self.partitions.remove(&partition);
    }

    pub fn published_through(&self) -> Timestamp {
        self.through.unwrap_or(Timestamp::MIN)
    }

    pub fn position(&self) -> i64 {
        self.position
    }

    /// Whether windows that end after `time` count as published.
    pub fn is_later_than(&self, time: Timestamp) -> bool {
        self.through.is_some_and(|through| through > time)
    }

    /// As if no window that ends after `time` had been published, and no clock of `partition` had shown more.
    pub fn set_back(&mut self, partition: i32, time: Timestamp) {
        self.through = self.through.map(|through| through.min(floor(time, self.slide)));
        if let Some(last) = self.partitions.get_mut(&partition) {
            last.watermark = last.watermark.map(|watermark| watermark.min(time));
            // What is not later than that is reported again.
            last.panes.retain(|start, _| *start <= time);
        }
    }

    /// Goes on after windows that an earlier owner published.
    pub fn resume(&mut self, through: Timestamp) {
        if through > Timestamp::MIN {
            self.through = self.through.max(Some(through));
        }
    }

    /// Goes past a report that is of no partition there is.
    pub fn skip_report(&mut self, offset: i64) {
        self.position = self.position.max(offset.saturating_add(1));
        self.changed = true;
    }

    /// Takes in the report of a partition, which is at `offset` of the topic of reports and is read `now`.
    pub fn on_report(&mut self, report: &Report, offset: i64, now: Option<WallMillis>) {
        let (through, slide, window) = (self.published_through(), self.slide, self.window);
        let last = self.partitions.entry(report.partition).or_default();
        last.watermark = report.watermark;
        // The clock of whoever reports may show anything: only a span of it counts.
        last.idle_since = match report.idle_for {
            Some(span) => now.map(|now| now.saturating_sub(span.max(0))),
            None => report.idle_since,
        };
        last.heard_at = now;
        // Panes whose windows have all been published are of no more use.
        let useful = |start: &Timestamp| start.saturating_add(window) > through.saturating_sub(slide);
        for (start, count) in report.panes.iter().filter(|(start, _)| useful(start)) {
            // A count only grows. (At least once, a partition that is read again may begin its count again.)
            let known = last.panes.entry(*start).or_default();
            *known = (*known).max(*count);
        }
        self.position = self.position.max(offset.saturating_add(1));
        self.changed = true;
    }

    /// Publishes every window that ends by the common clock. A zero that follows a zero is not repeated.
    pub fn advance(&mut self, now: Option<WallMillis>, idle_timeout: Millis, out: &mut Vec<Output>) {
        if let Some(clock) = self.common_clock(now, idle_timeout) {
            self.publish_through(clock, out);
        }
    }

    /// Publishes on until a zero, as if time went on: for when no record will ever come.
    pub fn finish(&mut self, out: &mut Vec<Output>) {
        let last_pane = self.panes().filter_map(|panes| panes.keys().next_back()).max().copied();
        let next = self.through.filter(|_| self.last_count > 0).map(|through| through.saturating_add(self.slide));
        let last = last_pane.map(|pane| pane.saturating_add(self.slide).saturating_add(self.window));
        if let Some(end) = last.or(next) {
            self.publish_through(end, out);
        }
    }

    /// The slowest clock of those that have something to read; when none has, the fastest.
    fn common_clock(&self, now: Option<WallMillis>, idle_timeout: Millis) -> Option<Timestamp> {
        let is_idle = |last: &&PartitionReport| last.is_idle(now, idle_timeout);
        if self.partitions.values().all(|last| is_idle(&last)) {
            let clock = |last: &PartitionReport| Some(last.watermark?.saturating_add(last.idle_for()?));
            return self.partitions.values().filter_map(clock).max();
        }
        // A partition without a report may hold anything: it holds the window back.
        self.partitions.values().filter(|last| !is_idle(last)).map(|last| last.watermark).min().flatten()
    }

    fn publish_through(&mut self, clock: Timestamp, out: &mut Vec<Output>) {
        let last_end = floor(clock, self.slide);
        if self.through.is_some_and(|through| last_end <= through) {
            return;
        }
        // The first windows are those that the first cancellation is in: before it there were zeros.
        while let Some(end) = self.next_end(last_end) {
            let start = end.saturating_sub(self.window);
            let panes = self.panes().flat_map(|panes| panes.range(start..end));
            let cancellations = panes.fold(0, |sum: u64, (_, count)| sum.saturating_add(*count));
            if cancellations > 0 || self.last_count > 0 {
                out.push(Output::Cancellations(CancellationCount {
                    window_start: start,
                    window_end: end,
                    cancellations,
                }));
            }
            self.last_count = cancellations;
            self.through = Some(end);
            // The next window begins one slide later.
            let next_start = start.saturating_add(self.slide);
            self.partitions.values_mut().for_each(|last| last.panes = last.panes.split_off(&next_start));
            self.carried = self.carried.split_off(&next_start);
        }
        self.through = Some(last_end);
        self.changed = true;
    }

    /// The end of the next window to deal with: the next one while counts go on, else the first that has a pane.
    fn next_end(&self, last_end: Timestamp) -> Option<Timestamp> {
        let first_pane = self.panes().filter_map(|panes| panes.keys().next()).min().copied();
        let after = |moment: Timestamp| moment.saturating_add(self.slide);
        let end = match (self.through, first_pane) {
            (Some(through), _) if self.last_count > 0 => after(through),
            (Some(through), Some(pane)) => after(pane).max(after(through)),
            (None, Some(pane)) => after(pane),
            (_, None) => return None,
        };
        // Where time ends, the next one would be the last again.
        let is_later = self.through.is_none_or(|through| end > through);
        (end <= last_end && is_later).then_some(end)
    }

    /// The record that has the state, when it changed since the last time.
    pub fn take_change(&mut self) -> Option<StateRecord> {
        std::mem::take(&mut self.changed).then(|| self.record())
    }

    /// The state as the one record that the changelog has of it.
    pub fn record(&self) -> StateRecord {
        StateRecord { key: Self::KEY.to_vec(), value: Some(self.encode()) }
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        put_optional(&mut out, self.through);
        put_unsigned(&mut out, self.last_count);
        put_signed(&mut out, self.position);
        put_unsigned(&mut out, self.partitions.len() as u64);
        for (&partition, last) in &self.partitions {
            put_signed(&mut out, i64::from(partition));
            put_optional(&mut out, last.watermark);
            put_optional(&mut out, last.idle_since);
            put_unsigned(&mut out, last.panes.len() as u64);
            for (&start, &count) in &last.panes {
                put_signed(&mut out, start);
                put_unsigned(&mut out, count);
            }
        }
        // What came later stands at the end: only topics that have grown have it.
        if !self.carried.is_empty() {
            put_unsigned(&mut out, self.carried.len() as u64);
            for (&start, &count) in &self.carried {
                put_signed(&mut out, start);
                put_unsigned(&mut out, count);
            }
        }
        out
    }

    pub fn decode(settings: &Cancellations, bytes: &[u8]) -> Result<Self, Damaged> {
        let mut reader = versioned(bytes)?;
        let mut windows = Self::new(settings);
        windows.through = reader.optional()?;
        windows.last_count = reader.unsigned()?;
        windows.position = reader.signed()?;
        for _ in 0..reader.count()? {
            let partition = i32::try_from(reader.signed()?).map_err(|_| Damaged)?;
            let (watermark, idle_since) = (reader.optional()?, reader.optional()?);
            let count = reader.count()?;
            let panes =
                (0..count).map(|_| Ok((reader.signed()?, reader.unsigned()?))).collect::<Result<_, Damaged>>()?;
            windows.partitions.insert(partition, PartitionReport { watermark, idle_since, heard_at: None, panes });
        }
        if !reader.0.is_empty() {
            for _ in 0..reader.count()? {
                windows.carried.insert(reader.signed()?, reader.unsigned()?);
            }
        }
        reader.end()?;
        Ok(windows)
    }
}
