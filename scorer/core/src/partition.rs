//! The state of one input partition: how far it has been read, its clock, the keys that are done with, and what is being
//! made of its records.

use shared::line::{LineParser, Value};
use shared::pipeline::{Clock, Pipeline};
use shared::reason::Reason;
use shared::time::Timestamp;

use super::cancellations::{Cancelled, Report};
use super::clock::PartitionClock;
use super::lists::Lists;
use super::remembered::Remembered;
use super::restored::Restored;
use super::state::{Head, Origin, StateRecord};
use super::work::Work;
use super::{Checks, Counters, Erroneous, GRACE, Monotonic, Output, Record, Recovery, Resume, Step};

#[derive(Debug)]
pub(super) struct Partition {
    standing: Standing,
    work: Work,
    cancelled: Cancelled,
    next_offset: Option<i64>,
    changelog: Changelog,
    /// Set while records are read again whose outcome an earlier owner published, where there is no changelog.
    rereading: Option<Resume>,
}

/// Where a partition stands, whatever is made of its records.
#[derive(Debug)]
pub(super) struct Standing {
    pub(super) number: i32,
    pub(super) clock: PartitionClock,
    /// What is due by this clock is done.
    pub(super) closed_through: Timestamp,
    pub(super) remembered: Remembered,
    /// Whether anything changed since the last commit.
    pub(super) has_changed: bool,
}

impl Standing {
    /// The largest timestamp; before the first there is no time.
    pub(super) fn now(&self) -> Timestamp {
        self.clock.watermark().unwrap_or(Timestamp::MIN)
    }
}

/// What the partition's changelog holds beside the work itself.
#[derive(Debug)]
struct Changelog {
    cancelled_lists: Lists,
    next_list: u64,
    sequence: u64,
    birth: i64,
}

/// What became of a line at once.
pub(super) enum Line {
    /// It is part of something.
    Taken,
    /// It is of a cancelled key.
    Cancellation {
        /// Whether that is the key's first line.
        is_new: bool,
    },
    /// It is erroneous.
    Refused(Reason),
}

impl Partition {
    pub(super) fn new(pipeline: &Pipeline, number: i32, recovery: Recovery, resume: Option<Resume>) -> Self {
        let remembered = Remembered::new(recovery == Recovery::Changelog);
        Self {
            standing: Standing {
                number,
                clock: PartitionClock::default(),
                closed_through: Timestamp::MIN,
                remembered,
                has_changed: false,
            },
            work: Work::new(pipeline, recovery == Recovery::Reread),
            cancelled: Cancelled::new(pipeline),
            next_offset: resume.map(|resume| resume.offset),
            changelog: Changelog { cancelled_lists: Lists::cancelled(), next_list: 0, sequence: 0, birth: 0 },
            rereading: resume.filter(|resume| resume.offset < resume.published_to),
        }
    }

    /// The partition from `offset` on.
    pub(super) fn at(self, offset: i64) -> Self {
        Self { next_offset: Some(offset), ..self }
    }

    /// The partition as its changelog has it.
    pub(super) fn restored(pipeline: &Pipeline, number: i32, mut restored: Restored) -> Self {
        let mut partition = Self::new(pipeline, number, Recovery::Changelog, None);
        partition.standing.clock = restored.clock();
        if let Some(head) = restored.head() {
            partition.next_offset = Some(head.next_offset);
            partition.standing.closed_through = head.closed_through;
            let Changelog { next_list, sequence, birth, .. } = &mut partition.changelog;
            (*next_list, *sequence, *birth) = (head.next_list, head.sequence, head.birth);
        }
        partition.work = Work::restored(pipeline, &mut restored);
        partition.standing.remembered = Remembered::restored(restored.closed, restored.closed_lists);
        partition.cancelled = restored.cancelled;
        partition.changelog.cancelled_lists = restored.cancelled_lists;
        partition
    }

    /// Whether the record at `offset` is in the state.
    pub(super) fn has_read(&self, offset: i64) -> bool {
        self.next_offset.is_some_and(|next| offset < next)
    }

    /// Open entities and their lines; of records, those that wait.
    pub(super) fn open_size(&self) -> (u64, u64) {
        self.work.size()
    }

    /// How many records the changelog holds, about.
    pub(super) fn state_records(&self) -> u64 {
        self.work.state_records()
    }

    /// What to tell the windows, when there is news.
    pub(super) fn report(&mut self, now: Option<Monotonic>) -> Option<Report> {
        let report = self.cancelled.report(self.standing.number, &self.standing.clock, now);
        // Committed with the input's offset, so that one who no longer owns the partition cannot say anything of it.
        self.standing.has_changed |= report.is_some();
        report
    }

    pub(super) fn resume_point(&self, windows_through: Timestamp) -> Option<Resume> {
        let next = self.next_offset?;
        // While rereading, what the earlier owner committed is still what holds.
        let resume = self.rereading;
        let published_to = resume.map_or(next, |resume| resume.published_to.max(next));
        let closed_through = resume.map_or(self.standing.closed_through, |resume| resume.closed_through);
        let offset = self.work.oldest_offset().unwrap_or(next);
        Some(Resume { offset, published_to, closed_through, windows_through })
    }

    pub(super) fn next_deadline(&self) -> Option<Monotonic> {
        self.standing.clock.when(self.work.next_deadline()?.saturating_add(GRACE))
    }

    /// The records that bring the changelog to this moment, the head last; nothing when nothing changed.
    pub(super) fn take_changes(
        &mut self,
        origin: &Origin,
        now: Option<Monotonic>,
        windows: Option<StateRecord>,
    ) -> Option<(Head, Vec<StateRecord>)> {
        if !std::mem::take(&mut self.standing.has_changed) && windows.is_none() {
            return None;
        }
        let mut out = Vec::new();
        self.work.take_changes(&mut out);
        let Changelog { cancelled_lists, next_list, .. } = &mut self.changelog;
        let watermark = self.standing.clock.watermark();
        self.standing.remembered.take_changes(watermark, next_list, &mut out);
        cancelled_lists.add(&self.cancelled.take_added(), next_list, &mut out);
        if let Some(clock) = watermark {
            cancelled_lists.forget(clock.saturating_sub(self.cancelled.remember()), &mut out);
        }
        out.extend(windows);
        if self.changelog.sequence == 0 {
            self.changelog.birth = now.unwrap_or(0);
        }
        self.changelog.sequence += 1;
        let head = self.head(origin);
        out.push(head.record());
        Some((head, out))
    }

    /// The whole state as records, the head last, as the changelog has it after [`Partition::take_changes`].
    pub(super) fn snapshot(&self, origin: &Origin, windows: Option<StateRecord>, mut put: impl FnMut(StateRecord)) {
        let clock = self.standing.now();
        self.work.snapshot(&mut put);
        self.standing.remembered.snapshot(clock, &mut put);
        let live = |first: Timestamp| first.saturating_add(self.cancelled.remember()) > clock;
        let cancelled = self.cancelled.iter().filter(|(first, _)| live(*first));
        self.changelog.cancelled_lists.snapshot(cancelled, &mut put);
        windows.into_iter().for_each(&mut put);
        put(self.head(origin).record());
    }

    fn head(&self, origin: &Origin) -> Head {
        Head {
            origin: origin.clone(),
            birth: self.changelog.birth,
            sequence: self.changelog.sequence,
            next_offset: self.next_offset.unwrap_or(0),
            watermark: self.standing.clock.watermark(),
            idle_since: self.standing.clock.idle_since(),
            closed_through: self.standing.closed_through,
            next_list: self.changelog.next_list,
        }
    }

    pub(super) fn record(&mut self, parser: &mut LineParser, record: &Record<'_>, checks: Checks, step: &mut Step<'_>) {
        if self.rereading.is_some_and(|resume| record.offset >= resume.published_to) {
            self.finish_rereading(step);
        }
        if self.rereading.is_some() {
            // Consequences are worked out again but not published again.
            let before = step.counters.clone();
            let mut unpublished = Vec::new();
            let step = &mut Step { pipeline: step.pipeline, counters: step.counters, out: &mut unpublished };
            self.take(parser, record, checks, step);
            step.counters.count_as_published(before);
        } else {
            self.take(parser, record, checks, step);
        }
        self.next_offset = Some(record.offset + 1);
        self.standing.has_changed = true;
    }

    fn take(&mut self, parser: &mut LineParser, record: &Record<'_>, checks: Checks, step: &mut Step<'_>) {
        match parser.parse(record.payload, |line| self.line(line, record, checks, step)) {
            Ok(Line::Taken) => {}
            Ok(Line::Cancellation { is_new }) => {
                step.counters.cancellation_lines += 1;
                step.counters.cancellations += u64::from(is_new);
            }
            Ok(Line::Refused(reason)) => erroneous(vec![reason], record, step),
            Err(reasons) => {
                self.observe_kafkas(record, step);
                erroneous(reasons, record, step);
            }
        }
    }

    fn line(&mut self, line: &[Value<'_>], record: &Record<'_>, checks: Checks, step: &mut Step<'_>) -> Line {
        let is_misplaced = checks.key.is_some_and(|column| is_misplaced(record, line[column]));
        step.counters.misplaced_lines += u64::from(is_misplaced);
        if checks.ahead
            && let Work::Records(judging) = &self.work
            && let Some(reason) = judging.too_far_ahead(line, record, step.pipeline)
        {
            // It must not set a clock that goes by the records' own times.
            self.observe_kafkas(record, step);
            return Line::Refused(reason);
        }
        let timestamp = match step.pipeline.entity.clock {
            Clock::Record => Some(record.timestamp),
            Clock::Column(column) => line[column].datetime(),
        };
        self.observe(timestamp, step);
        let timestamp = timestamp.or(self.standing.clock.watermark()).unwrap_or(record.timestamp);
        let key = line[step.pipeline.entity.key].text().unwrap_or_default();
        if step.pipeline.is_cancellation(key) {
            // By the partition's clock, which never goes back: a pane that was reported as complete stays as it is.
            let now = self.standing.clock.watermark().unwrap_or(timestamp);
            return Line::Cancellation { is_new: self.cancelled.add(key, now) };
        }
        match &mut self.work {
            Work::Sessions(open) => open.line(key, line, (timestamp, record.offset), &mut self.standing, step),
            Work::Records(judging) => judging.line(key, line, record, &mut self.standing, step),
        }
    }

    /// A record came of which nothing but Kafka's timestamp is good.
    fn observe_kafkas(&mut self, record: &Record<'_>, step: &mut Step<'_>) {
        let timestamp = (step.pipeline.entity.clock == Clock::Record).then_some(record.timestamp);
        self.observe(timestamp, step);
    }

    /// A record came, with a timestamp unless it has none: what was due before it is done first.
    fn observe(&mut self, timestamp: Option<Timestamp>, step: &mut Step<'_>) {
        self.standing.clock.observe(timestamp);
        self.close_due(self.standing.now(), step);
    }

    pub(super) fn caught_up(&mut self, now: Monotonic, step: &mut Step<'_>) {
        // Whatever was published for records that are gone by now (compaction, retention) will not come again.
        self.finish_rereading(step);
        // Written down, so that time that passes while nobody runs counts too.
        let is_news = self.standing.clock.caught_up(now);
        self.standing.has_changed |= is_news && self.work.next_deadline().is_some();
        self.time(now, step);
    }

    /// Does what is due by the time that passed since everything was read.
    pub(super) fn time(&mut self, now: Monotonic, step: &mut Step<'_>) {
        let clock = &self.standing.clock;
        let quiet = clock.idle_for(now).is_some_and(|idle| idle >= GRACE);
        if let Some(clock) = clock.at(Some(now)).filter(|_| quiet) {
            self.close_due(clock - GRACE, step);
        }
    }

    /// Does everything that is still to be done, in the order in which it would be due.
    pub(super) fn end(&mut self, step: &mut Step<'_>) {
        self.finish_rereading(step);
        let through = self.standing.closed_through;
        self.close_due(Timestamp::MAX, step);
        // No clock has shown that time: what comes after all is to be read as ever.
        self.standing.closed_through = through;
    }

    fn finish_rereading(&mut self, step: &mut Step<'_>) {
        if let Some(resume) = self.rereading.take() {
            let before = step.counters.clone();
            let (pipeline, counters) = (step.pipeline, &mut *step.counters);
            self.close_due(resume.closed_through, &mut Step { pipeline, counters, out: &mut Vec::new() });
            step.counters.count_as_published(before);
        }
    }

    fn close_due(&mut self, clock: Timestamp, step: &mut Step<'_>) {
        self.standing.closed_through = self.standing.closed_through.max(clock);
        self.work.close_due(clock, &mut self.standing, step);
    }
}

fn erroneous(reasons: Vec<Reason>, record: &Record<'_>, step: &mut Step<'_>) {
    step.counters.add_refused(&reasons);
    let (source, raw) = (record.source, record.payload.to_vec());
    step.out.push(Output::Erroneous(Erroneous::Line { reasons, source, raw }));
}

/// Whether the record's key is missing or is not its entity's.
fn is_misplaced(record: &Record<'_>, entity: Value<'_>) -> bool {
    let entity = entity.text().unwrap_or_default().as_bytes();
    record.key.is_none_or(|key| key.trim_ascii() != entity)
}

impl Counters {
    /// Turns what was counted since `before` into lines whose outcome had been published.
    fn count_as_published(&mut self, before: Self) {
        let lines = self.outcomes() - before.outcomes();
        let (records, already) = (self.records, before.already_published_lines + lines);
        *self = Self { records, already_published_lines: already, ..before };
    }
}
