//! The state machine: its partitions, the windows over them, and what is counted.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use shared::history::History;
use shared::line::LineParser;
use shared::pipeline::Pipeline;
use shared::time::Timestamp;

use crate::cancellations::windows::Windows;
use crate::changelog::head::{Head, Origin};
use crate::changelog::record::StateRecord;
use crate::clock::WallMillis;
use crate::counters::Counters;
use crate::input::{Input, Start};
use crate::output::{Output, Report};
use crate::partition::Partition;
use crate::record::Record;
use crate::resume::{Recovery, Resume};
use crate::step::{Checks, Step};

/// The partition whose owner merges the cancellations of all.
const WINDOWS_PARTITION: i32 = 0;

/// The state machine.
#[derive(Debug)]
pub struct Core {
    pipeline: Arc<Pipeline>,
    parser: LineParser,
    partitions: BTreeMap<i32, Partition>,
    /// Partitions whose state is on its way.
    restoring: BTreeSet<i32>,
    windows: Option<Windows>,
    sharing: Option<Sharing>,
    checks: Checks,
    counters: Counters,
    last_now: Option<WallMillis>,
}

/// That other instances may own partitions too.
#[derive(Debug)]
struct Sharing {
    recovery: Recovery,
    origin: Origin,
}

/// What a state machine remembers of keys.
#[derive(Debug, Clone)]
pub enum Remembered {
    /// One of its partitions knows them.
    Known(History),
    /// None does.
    Unknown {
        /// The past of keys that never came; `None` where no partition keeps any past.
        past: Option<History>,
        /// How many partitions were asked.
        partitions: usize,
    },
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

impl Core {
    /// A state machine for `pipeline` that is alone with all partitions.
    pub fn new(pipeline: Arc<Pipeline>) -> Self {
        Self {
            parser: LineParser::new(pipeline.schema.clone()),
            windows: pipeline.cancellations.as_ref().map(Windows::new),
            partitions: BTreeMap::new(),
            restoring: BTreeSet::new(),
            sharing: None,
            checks: Checks { key: None },
            counters: Counters::default(),
            last_now: None,
            pipeline,
        }
    }

    /// A state machine that is alone, and remembers this past of the keys of its partition 0: a look at a record that another
    /// one would judge by [`Core::past_of`].
    pub fn remembering(pipeline: Arc<Pipeline>, past: History) -> Self {
        let mut core = Self::new(pipeline);
        let partition = core.fresh(0, None).remembering(past);
        core.partitions.insert(0, partition);
        core.assign_windows(0, None, Timestamp::MIN);
        core
    }

    /// A state machine that shares the partitions of `origin` with others: what it knows of cancellations goes out as
    /// [`Output::Report`], and comes back as [`Input::Report`] to the owner of partition 0.
    pub fn sharing(pipeline: Arc<Pipeline>, recovery: Recovery, origin: Origin) -> Self {
        // What came through another topic than the pipeline's was sent there by its key.
        let is_shared_out = origin.partitions > 1 && origin.topic == pipeline.topic;
        let checks = Checks { key: pipeline.placed_by().first().copied().filter(|_| is_shared_out) };
        Self { windows: None, sharing: Some(Sharing { recovery, origin }), checks, ..Self::new(pipeline) }
    }

    /// Takes one input and adds what follows from it to `out`.
    pub fn apply(&mut self, input: Input<'_>, out: &mut Vec<Output>) {
        match input {
            Input::Restoring { partition } => self.restoring(partition),
            Input::Assigned { partition, start } => self.assign(partition, start),
            Input::Revoked { partition } => self.revoke(partition),
            Input::Record(record) => self.record(record, out),
            Input::Lost { partition, first, last } => self.lost(partition, (first, last), out),
            Input::Passed { partition, next } => self.passed(partition, next),
            Input::Report { report, offset } => self.on_report(&report, offset, out),
            Input::CaughtUp { partition, now } => self.caught_up(partition, now, out),
            Input::ReadThrough { partition, now } => self.read_through(partition, now, out),
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

    /// A copy of what is remembered of keys, as a record has them (see [`RecordFeatures::keys`]): that of the partition which
    /// knows one of them. `None` where none does and another instance may.
    ///
    /// [`RecordFeatures::keys`]: shared::history::RecordFeatures::keys
    pub fn past_of(&self, keys: &[Option<String>]) -> Option<History> {
        let all = self.sharing.as_ref().map_or(0, |sharing| usize::try_from(sharing.origin.partitions).unwrap_or(0));
        match self.remembered_of(keys) {
            Remembered::Known(past) => Some(past),
            Remembered::Unknown { past, partitions } => past.filter(|_| partitions >= all),
        }
    }

    /// As [`past_of`](Self::past_of), for whoever puts together what several state machines remember, each of partitions of its
    /// own.
    pub fn remembered_of(&self, keys: &[Option<String>]) -> Remembered {
        let mut unknown = None;
        for partition in self.partitions.values() {
            match partition.past_of(keys) {
                Some((past, true)) => return Remembered::Known(past),
                Some((past, false)) => unknown = Some(past),
                None => {}
            }
        }
        Remembered::Unknown { past: unknown, partitions: self.partitions.len() }
    }

    /// Whether a partition is ours.
    pub fn owns(&self, partition: i32) -> bool {
        self.partitions.contains_key(&partition)
    }

    /// Lines so far whose key is missing or is not their entity's.
    pub fn misplaced_lines(&self) -> u64 {
        self.counters.misplaced_lines
    }

    /// Records so far of an internal topic that nobody of this pipeline wrote there.
    pub fn foreign_records(&self) -> u64 {
        self.counters.foreign_records
    }

    /// Lines so far with an odd date, by column.
    pub fn odd_dates(&self) -> &BTreeMap<String, u64> {
        &self.counters.odd_dates
    }

    /// What to commit for each partition once every output so far is published, where there is no changelog.
    pub fn resume_points(&self) -> Vec<(i32, Resume)> {
        let windows_through = self.windows.as_ref().map_or(Timestamp::MIN, Windows::published_through);
        let point = |(&number, partition): (&i32, &Partition)| Some((number, partition.resume_point(windows_through)?));
        self.partitions.iter().filter_map(point).collect()
    }

    /// What to write down of each partition that changed since the last time.
    pub fn take_changes(&mut self) -> Vec<PartitionChanges> {
        let Self { pipeline, partitions, windows, sharing: Some(Sharing { origin, .. }), last_now, .. } = self else {
            return Vec::new();
        };
        let mut changes = Vec::new();
        for (&partition, state) in partitions {
            let of_windows = windows.as_mut().filter(|_| partition == WINDOWS_PARTITION);
            let windows = of_windows.and_then(Windows::take_change);
            if let Some((head, records)) = state.take_changes(pipeline, origin, *last_now, windows) {
                changes.push(PartitionChanges { partition, head, records });
            }
        }
        changes
    }

    /// How many records the changelog of a partition would hold if it held each key once, about.
    pub fn state_records(&self, partition: i32) -> u64 {
        self.partitions.get(&partition).map_or(0, Partition::state_records)
    }

    /// Bytes that the state of all partitions takes, about.
    pub fn state_bytes(&self) -> usize {
        self.partitions.values().map(Partition::state_bytes).sum()
    }

    /// The whole state of a partition, after [`Core::take_changes`].
    pub fn snapshot(&self, partition: i32, mut put: impl FnMut(StateRecord)) {
        let (Some(state), Some(sharing)) = (self.partitions.get(&partition), &self.sharing) else { return };
        let windows = self.windows.as_ref().filter(|_| partition == WINDOWS_PARTITION);
        state.snapshot(&self.pipeline, windows, Some(&state.head(&sharing.origin)), &mut put);
    }

    /// Whether the windows of all partitions are merged here, and from which report on.
    pub fn reports_from(&self) -> Option<i64> {
        self.windows.as_ref().filter(|_| self.sharing.is_some()).map(Windows::position)
    }

    /// Says what there is to say before a commit: of cancellations, and to the next hop.
    pub fn report(&mut self, out: &mut Vec<Output>) {
        self.report_cancellations(out);
        self.tell_next_hop(true, out);
    }

    fn tell_next_hop(&mut self, is_commit: bool, out: &mut Vec<Output>) {
        let (pipeline, now, partitions) = (&*self.pipeline, self.last_now, &mut self.partitions);
        out.extend(partitions.values_mut().filter_map(|partition| partition.tell(pipeline, now, is_commit)));
    }

    fn report_cancellations(&mut self, out: &mut Vec<Output>) {
        if self.sharing.is_some() && self.pipeline.cancellations.is_some() {
            out.extend(self.partitions.values_mut().filter_map(Partition::report).map(Output::Report));
        }
    }

    /// Publishes the windows that are left, as if time went on: for when no record will ever come.
    pub fn finish_windows(&mut self, out: &mut Vec<Output>) {
        if let Some(windows) = &mut self.windows {
            windows.finish(out);
        }
    }

    /// Drops all partitions and goes back to what was counted at the last commit. Lines that were open then count as given up
    /// until their partition comes back as [`Start::RolledBack`].
    pub fn roll_back(&mut self, counters: Counters) {
        let given_up_lines = counters.given_up_lines + counters.open_lines;
        self.counters = Counters { given_up_lines, open_entities: 0, open_lines: 0, ..counters };
        self.partitions.clear();
        if self.sharing.is_some() {
            self.windows = None;
        }
    }

    /// The first moment through which [`Input::ReadThrough`] would lead to something, if no record comes before.
    pub fn next_deadline(&self) -> Option<WallMillis> {
        self.partitions.values().filter_map(|partition| partition.next_deadline(&self.pipeline)).min()
    }

    fn restoring(&mut self, number: i32) {
        self.restoring.insert(number);
        if let Some(windows) = &mut self.windows {
            windows.await_clock(number);
        }
    }

    fn assign(&mut self, number: i32, start: Start) {
        self.restoring.remove(&number);
        let (is_taken_over, is_back) = (matches!(start, Start::Restored(_)), matches!(start, Start::RolledBack(_)));
        let (partition, windows, through) = match start {
            Start::Fresh => (self.fresh(number, None), None, Timestamp::MIN),
            Start::At(offset) => (self.fresh(number, None).at(offset), None, Timestamp::MIN),
            Start::Reread(resume) => (self.fresh(number, Some(resume)), None, resume.windows_through),
            Start::Restored(restored) | Start::RolledBack(restored) => {
                let (partition, windows) = restored.into_partition(number);
                (partition, windows, Timestamp::MIN)
            }
        };
        let open_lines = partition.open_size().1;
        if is_taken_over {
            self.counters.taken_over_lines += open_lines;
        } else if is_back {
            self.counters.given_up_lines = self.counters.given_up_lines.saturating_sub(open_lines);
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
            windows.forget_idle();
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
        self.restoring.remove(&number);
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
        // One that is alone has every partition. Where partitions are shared, their state comes with the assignment: a
        // record of another one is its owner's.
        if self.sharing.is_none() && !self.owns(record.partition) {
            self.assign(record.partition, Start::Fresh);
        }
        let Self { pipeline, parser, partitions, counters, checks, .. } = self;
        let Some(partition) = partitions.get_mut(&record.partition) else { return };
        // What is in the state already does not count twice, whoever reads it again; in a file, several records may begin on
        // a line.
        let is_on_same_line = record.file.is_some() && record.item.is_some_and(|item| item > 0);
        if partition.has_read(record.offset) && !is_on_same_line {
            return;
        }
        if partition.has_hop_before() {
            return partition.arrived(&record, &mut Step { pipeline, counters, out });
        }
        counters.records += 1;
        partition.record(parser, &record, *checks, &mut Step { pipeline, counters, out });
        if self.sharing.is_none() {
            self.merge_own(Some(record.partition), out);
        }
    }

    fn lost(&mut self, partition: i32, range: (i64, i64), out: &mut Vec<Output>) {
        let Self { pipeline, counters, partitions, .. } = self;
        if let Some(partition) = partitions.get_mut(&partition) {
            partition.lost(range, &mut Step { pipeline, counters, out });
        }
    }

    fn passed(&mut self, partition: i32, next: i64) {
        if let Some(partition) = self.partitions.get_mut(&partition) {
            partition.passed(next);
        }
    }

    fn on_report(&mut self, report: &Report, offset: i64, out: &mut Vec<Output>) {
        let (Some(windows), Some(settings)) = (&mut self.windows, &self.pipeline.cancellations) else { return };
        // The topic of reports is as good as whoever may write to it.
        let known = self.sharing.as_ref().map_or(i32::MAX, |sharing| sharing.origin.partitions);
        if !(0..known).contains(&report.partition) {
            windows.skip_report(offset);
            return;
        }
        windows.on_report(report, offset, self.last_now);
        // An earlier owner said it, and the partition may hold a backlog since.
        if self.restoring.contains(&report.partition) {
            windows.await_clock(report.partition);
        }
        windows.advance(self.last_now, settings.idle_timeout, out);
    }

    fn caught_up(&mut self, partition: i32, now: WallMillis, out: &mut Vec<Output>) {
        self.last_now = self.last_now.max(Some(now));
        let Self { pipeline, counters, partitions, .. } = self;
        if let Some(partition) = partitions.get_mut(&partition) {
            partition.caught_up(now, &mut Step { pipeline, counters, out });
        }
    }

    fn read_through(&mut self, number: i32, now: WallMillis, out: &mut Vec<Output>) {
        self.last_now = self.last_now.max(Some(now));
        let Self { pipeline, counters, partitions, .. } = self;
        if let Some(partition) = partitions.get_mut(&number) {
            partition.read_through(now, &mut Step { pipeline, counters, out });
        }
        if self.sharing.is_none() {
            self.merge_own(Some(number), out);
        }
    }

    fn time(&mut self, now: WallMillis, out: &mut Vec<Output>) {
        self.last_now = self.last_now.max(Some(now));
        if self.sharing.is_some() {
            self.report_cancellations(out);
            self.tell_next_hop(false, out);
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

    /// A core that owns all partitions merges their reports locally: that of one partition, or of all.
    fn merge_own(&mut self, of: Option<i32>, out: &mut Vec<Output>) {
        let Some(windows) = &mut self.windows else { return };
        let now = self.last_now;
        let is_asked = |number: &i32| of.is_none_or(|of| of == *number);
        let mut news = of.is_none();
        for (_, partition) in self.partitions.iter_mut().filter(|(number, _)| is_asked(number)) {
            if let Some(report) = partition.report() {
                windows.on_report(&report, 0, now);
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
