//! The scorer's pure heart: a state machine from records and time to closed entities, erroneous records and
//! cancellation counts.
//!
//! It does no I/O and reads no clock: the time that passed is part of its inputs. Everything that can reach it is
//! one closed enum, [`Input`], so that Kafka, a file and a test drive the same code.

mod cancellations;
mod clock;
mod counters;
mod entity;
mod held;
mod judging;
mod lists;
mod output;
mod partition;
mod remembered;
mod restored;
mod sessions;
mod state;
mod windows;
mod work;
mod zscore;

use std::collections::BTreeMap;
use std::sync::Arc;

use shared::line::LineParser;
use shared::pipeline::{Clock, Pipeline};
use shared::time::{Millis, Timestamp};

pub use cancellations::Report;
pub use counters::Counters;
pub use output::{ClosedEntity, Erroneous, Output, WindowVerdict};
pub use restored::{Restored, StateReader};
pub use shared::codec::Damaged;
pub use state::{Head, LiveKeys, Origin, StateError, StateRecord};
pub use windows::CancellationCount;

use partition::Partition;
use windows::Windows;

/// A reading of a clock that only moves forward: milliseconds since a start of the driver's choice. Where state outlives
/// the driver, the start is the epoch, so that readings of different runs can be compared.
pub type Monotonic = i64;

/// Everything that can happen to the state machine.
#[derive(Debug)]
pub enum Input<'a> {
    /// A partition is ours from here on.
    Assigned {
        /// The partition.
        partition: i32,
        /// Where an earlier owner stopped.
        start: Start,
    },
    /// A partition is no longer ours: its state goes.
    Revoked {
        /// The partition.
        partition: i32,
    },
    /// A record, in the order of its partition.
    Record(Record<'a>),
    /// What a partition, ours or not, tells the windows that we own.
    Report {
        /// What it tells.
        report: Report,
        /// The report's offset.
        offset: i64,
    },
    /// Every record of the partition so far has been read.
    CaughtUp {
        /// The partition.
        partition: i32,
        /// Since when that is so.
        now: Monotonic,
    },
    /// Time has passed.
    Time {
        /// The time it is.
        now: Monotonic,
    },
    /// No record will ever come: what is open is complete.
    End,
}

/// Where work on a partition begins.
#[derive(Debug)]
pub enum Start {
    /// At its beginning.
    Fresh,
    /// At this offset, with nothing known of what was before.
    At(i64),
    /// At a line that was read before, whose invoice was still open.
    Reread(Resume),
    /// With the state that an earlier owner left.
    Restored(Box<Restored>),
    /// With the state of the last commit, after this owner's changes since then came to nothing.
    RolledBack(Box<Restored>),
}

/// How a partition that changes hands gets its state back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recovery {
    /// From its changelog.
    Changelog,
    /// By reading the lines of open invoices again: what closed before is forgotten.
    Reread,
}

/// What is to be written down of a partition at a commit.
#[derive(Debug)]
pub struct PartitionChanges {
    /// The partition.
    pub partition: i32,
    /// The head, which is also the last record.
    pub head: Head,
    /// The records, in order.
    pub records: Vec<StateRecord>,
}

/// A record of the input topic or of a file.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// The timestamp that Kafka keeps with it.
    pub timestamp: Timestamp,
    /// The key that Kafka keeps with it.
    pub key: Option<&'a [u8]>,
    /// What a header says it is.
    pub label: Option<&'a str>,
    /// Its bytes.
    pub payload: &'a [u8],
    /// The partition and offset where it was first, named when it is erroneous.
    pub source: (i32, i64),
}

impl<'a> Record<'a> {
    /// A record without a key that is where it was first.
    pub fn new(partition: i32, offset: i64, timestamp: Timestamp, payload: &'a [u8]) -> Self {
        Self { partition, offset, timestamp, key: None, label: None, payload, source: (partition, offset) }
    }
}

/// What is committed for a partition, so that a later owner goes on where this one stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resume {
    /// Read from here: the first line of the oldest open entity, or the next record.
    pub offset: i64,
    /// Everything that records before this offset led to has been published.
    pub published_to: i64,
    /// Entities whose deadline is not after this clock have been closed.
    pub closed_through: Timestamp,
    /// Windows up to this moment have been published.
    pub windows_through: Timestamp,
}

/// How long after its deadline an entity is closed while a partition is quiet: a line stamped in time may still be on
/// its way.
const GRACE: Millis = 25;

/// The partition whose owner merges the cancellations of all.
const WINDOWS_PARTITION: i32 = 0;

/// What is looked at beside a record's own bytes.
#[derive(Debug, Clone, Copy)]
struct Checks {
    /// The column whose value has to be the record's key, where that decides who gets it.
    key: Option<usize>,
    /// Whether there is a second clock, Kafka's, beside the records' own times.
    ahead: bool,
}

/// What every step of a partition reads and writes beside the partition.
struct Step<'a> {
    pipeline: &'a Pipeline,
    counters: &'a mut Counters,
    out: &'a mut Vec<Output>,
}

/// The state machine.
#[derive(Debug)]
pub struct Core {
    pipeline: Arc<Pipeline>,
    parser: LineParser,
    partitions: BTreeMap<i32, Partition>,
    windows: Option<Windows>,
    sharing: Option<Sharing>,
    checks: Checks,
    counters: Counters,
    last_now: Option<Monotonic>,
}

/// That other instances may own partitions too.
#[derive(Debug)]
struct Sharing {
    recovery: Recovery,
    origin: Origin,
}

impl Core {
    /// A state machine for `pipeline` that is alone with all partitions.
    pub fn new(pipeline: Arc<Pipeline>) -> Self {
        Self {
            parser: LineParser::new(pipeline.clone()),
            windows: pipeline.cancellations.as_ref().map(Windows::new),
            partitions: BTreeMap::new(),
            sharing: None,
            checks: Checks { key: None, ahead: pipeline.entity.clock == Clock::Record },
            counters: Counters::default(),
            last_now: None,
            pipeline,
        }
    }

    /// A state machine that shares the partitions of `origin` with others: what it knows of cancellations goes out as
    /// [`Output::Report`], and comes back as [`Input::Report`] to the owner of partition 0.
    pub fn sharing(pipeline: Arc<Pipeline>, recovery: Recovery, origin: Origin) -> Self {
        // What came through another topic than the pipeline's was sent there by its key.
        let is_shared_out = origin.partitions > 1 && origin.topic == pipeline.topic;
        let checks = Checks { key: pipeline.placed_by().first().copied().filter(|_| is_shared_out), ahead: true };
        Self { windows: None, sharing: Some(Sharing { recovery, origin }), checks, ..Self::new(pipeline) }
    }

    /// Takes one input and adds what follows from it to `out`.
    pub fn apply(&mut self, input: Input<'_>, out: &mut Vec<Output>) {
        match input {
            Input::Assigned { partition, start } => self.assign(partition, start),
            Input::Revoked { partition } => self.revoke(partition),
            Input::Record(record) => self.record(record, out),
            Input::Report { report, offset } => self.hear(&report, offset, out),
            Input::CaughtUp { partition, now } => self.caught_up(partition, now, out),
            Input::Time { now } => self.time(now, out),
            Input::End => self.end(out),
        }
    }

    /// What was counted so far.
    pub fn counters(&self) -> Counters {
        let (open_entities, open_lines) = self
            .partitions
            .values()
            .map(Partition::open_size)
            .fold((0, 0), |sum, size| (sum.0 + size.0, sum.1 + size.1));
        Counters { open_entities, open_lines, ..self.counters.clone() }
    }

    /// Lines so far whose key is missing or is not their entity's.
    pub fn misplaced_lines(&self) -> u64 {
        self.counters.misplaced_lines
    }

    /// What to commit for each partition once every output so far is published, where there is no changelog.
    pub fn resume_points(&self) -> Vec<(i32, Resume)> {
        let windows_through = self.windows.as_ref().map_or(Timestamp::MIN, Windows::published_through);
        let point = |(&number, partition): (&i32, &Partition)| Some((number, partition.resume_point(windows_through)?));
        self.partitions.iter().filter_map(point).collect()
    }

    /// What to write down of each partition that changed since the last time.
    pub fn take_changes(&mut self) -> Vec<PartitionChanges> {
        let Self { partitions, windows, sharing: Some(Sharing { origin, .. }), last_now, .. } = self else {
            return Vec::new();
        };
        let mut changes = Vec::new();
        for (&partition, state) in partitions {
            let of_windows = windows.as_mut().filter(|_| partition == WINDOWS_PARTITION);
            let windows = of_windows.and_then(Windows::take_changed).map(state::windows_record);
            if let Some((head, records)) = state.take_changes(origin, *last_now, windows) {
                changes.push(PartitionChanges { partition, head, records });
            }
        }
        changes
    }

    /// How many records the changelog of a partition would hold if it held each key once, about.
    pub fn state_records(&self, partition: i32) -> u64 {
        self.partitions.get(&partition).map_or(0, Partition::state_records)
    }

    /// The whole state of a partition, after [`Core::take_changes`].
    pub fn snapshot(&self, partition: i32, put: impl FnMut(StateRecord)) {
        let (Some(state), Some(sharing)) = (self.partitions.get(&partition), &self.sharing) else { return };
        let windows = self.windows.as_ref().filter(|_| partition == WINDOWS_PARTITION);
        state.snapshot(&sharing.origin, windows.map(|windows| state::windows_record(windows.encode())), put);
    }

    /// Whether the windows of all partitions are merged here, and from which report on.
    pub fn reports_from(&self) -> Option<i64> {
        self.windows.as_ref().filter(|_| self.sharing.is_some()).map(Windows::position)
    }

    /// Says what there is to say of cancellations before a commit.
    pub fn report(&mut self, out: &mut Vec<Output>) {
        if self.sharing.is_some() && self.pipeline.cancellations.is_some() {
            let now = self.last_now;
            out.extend(self.partitions.values_mut().filter_map(|partition| partition.report(now)).map(Output::Report));
        }
    }

    /// Publishes the windows that are left, as if time went on: for when no record will ever come.
    pub fn finish_windows(&mut self, out: &mut Vec<Output>) {
        if let Some(windows) = &mut self.windows {
            windows.finish(out);
        }
    }

    /// Drops all partitions and goes back to what was counted at the last commit; each partition that is still ours is
    /// to come back as [`Start::RolledBack`].
    pub fn roll_back(&mut self, counters: Counters) {
        self.counters = counters;
        self.partitions.clear();
        if self.sharing.is_some() {
            self.windows = None;
        }
    }

    /// When the next [`Input::Time`] would close an entity, if no record comes before.
    pub fn next_deadline(&self) -> Option<Monotonic> {
        self.partitions.values().filter_map(|partition| partition.next_deadline()).min()
    }

    fn assign(&mut self, number: i32, start: Start) {
        let is_taken_over = matches!(start, Start::Restored(_));
        let (partition, windows, through) = match start {
            Start::Fresh => (self.fresh(number, None), None, Timestamp::MIN),
            Start::At(offset) => (self.fresh(number, None).at(offset), None, Timestamp::MIN),
            Start::Reread(resume) => (self.fresh(number, Some(resume)), None, resume.windows_through),
            Start::Restored(mut restored) | Start::RolledBack(mut restored) => {
                let windows = restored.windows.take();
                (Partition::restored(&self.pipeline, number, *restored), windows, Timestamp::MIN)
            }
        };
        if is_taken_over {
            self.counters.taken_over_lines += partition.open_size().1;
        }
        self.partitions.insert(number, partition);
        self.assign_windows(number, windows, through);
    }

    fn assign_windows(&mut self, number: i32, windows: Option<Windows>, through: Timestamp) {
        let Some(settings) = &self.pipeline.cancellations else { return };
        if let Some(sharing) = &self.sharing {
            if number != WINDOWS_PARTITION {
                return;
            }
            let mut windows = windows.unwrap_or_else(|| Windows::new(settings));
            windows.expect_anew();
            (0..sharing.origin.partitions).for_each(|partition| windows.expect(partition));
            self.windows = Some(windows);
        }
        if let Some(windows) = &mut self.windows {
            windows.resume(through);
            windows.expect(number);
        }
    }

    fn fresh(&self, number: i32, resume: Option<Resume>) -> Partition {
        let recovery = self.sharing.as_ref().map_or(Recovery::Reread, |sharing| sharing.recovery);
        Partition::new(&self.pipeline, number, recovery, resume)
    }

    /// Lines of entities that were open here are somebody else's to count now.
    fn revoke(&mut self, number: i32) {
        if let Some(partition) = self.partitions.remove(&number) {
            self.counters.given_up_lines += partition.open_size().1;
        }
        match (&self.sharing, &mut self.windows) {
            (Some(_), windows) if number == WINDOWS_PARTITION => *windows = None,
            (None, Some(windows)) => windows.forget(number),
            _ => {}
        }
    }

    fn record(&mut self, record: Record<'_>, out: &mut Vec<Output>) {
        if !self.partitions.contains_key(&record.partition) {
            self.assign(record.partition, Start::Fresh);
        }
        let Self { pipeline, parser, partitions, counters, checks, .. } = self;
        let Some(partition) = partitions.get_mut(&record.partition) else { return };
        // What is in the state already does not count twice, whoever reads it again.
        if partition.has_read(record.offset) {
            return;
        }
        counters.records += 1;
        partition.record(parser, &record, *checks, &mut Step { pipeline, counters, out });
        if self.sharing.is_none() {
            self.merge_own(Some(record.partition), out);
        }
    }

    fn hear(&mut self, report: &Report, offset: i64, out: &mut Vec<Output>) {
        let (Some(windows), Some(settings)) = (&mut self.windows, &self.pipeline.cancellations) else { return };
        windows.hear(report, offset);
        windows.advance(self.last_now, settings.idle_timeout, out);
    }

    fn caught_up(&mut self, partition: i32, now: Monotonic, out: &mut Vec<Output>) {
        self.last_now = self.last_now.max(Some(now));
        let Self { pipeline, counters, partitions, .. } = self;
        if let Some(partition) = partitions.get_mut(&partition) {
            partition.caught_up(now, &mut Step { pipeline, counters, out });
        }
    }

    fn time(&mut self, now: Monotonic, out: &mut Vec<Output>) {
        self.last_now = Some(now);
        let Self { pipeline, counters, partitions, .. } = self;
        partitions.values_mut().for_each(|partition| partition.time(now, &mut Step { pipeline, counters, out }));
        if self.sharing.is_some() {
            self.report(out);
            self.advance_windows(out);
        } else {
            self.merge_own(None, out);
        }
    }

    fn end(&mut self, out: &mut Vec<Output>) {
        let Self { pipeline, counters, partitions, .. } = self;
        partitions.values_mut().for_each(|partition| partition.end(&mut Step { pipeline, counters, out }));
        if self.sharing.is_none() {
            self.merge_own(None, out);
            self.finish_windows(out);
        }
    }

    /// Alone, a partition's news need not leave the house: that of one partition, or of all.
    fn merge_own(&mut self, of: Option<i32>, out: &mut Vec<Output>) {
        let Some(windows) = &mut self.windows else { return };
        let now = self.last_now;
        let is_asked = |number: &i32| of.is_none_or(|of| of == *number);
        let mut news = of.is_none();
        for (_, partition) in self.partitions.iter_mut().filter(|(number, _)| is_asked(number)) {
            if let Some(report) = partition.report(now) {
                windows.hear(&report, 0);
                news = true;
            }
        }
        if news {
            self.advance_windows(out);
        }
    }

    fn advance_windows(&mut self, out: &mut Vec<Output>) {
        if let (Some(windows), Some(settings)) = (&mut self.windows, &self.pipeline.cancellations) {
            windows.advance(self.last_now, settings.idle_timeout, out);
        }
    }
}

#[cfg(test)]
mod tests;
