//! The state of one input partition: how far it has been read, its clock, the keys that are done with, and what is being
//! made of its records.

mod carry;
mod hops;

use shared::history::History;
use shared::line::{LineParser, Part, Piece, Value, odd_date};
use shared::pipeline::{Clock, Pipeline};
use shared::reason::Reason;
use shared::time::{Millis, Timestamp};

use crate::aggregation::Aggregation;
use crate::cancellations::windows::Windows;
use crate::changelog::head::{Head, Origin};
use crate::changelog::record::{ChangelogKind, Changes, StateError, StateRecord};
use crate::clock::{Inherited, PartitionClock, WallMillis};
use crate::known_keys::KnownKeys;
use crate::output::{Erroneous, Output, Report};
use crate::progress::{LineOutcome, PartitionProgress};
use crate::record::Record;
use crate::resume::{Recovery, Resume};
use crate::step::{Checks, Step};
use crate::watermarks::SourceClocks;
use hops::Told;

/// While a partition with something open is idle, the next change has its head again once the idle time has grown by this:
/// an heir goes on with it.
const IDLE_STEP: Millis = 10_000;

#[derive(Debug)]
pub(crate) struct Partition {
    progress: PartitionProgress,
    aggregation: Aggregation,
    next_offset: Option<i64>,
    changelog: ChangelogPosition,
    /// Set while records are read again whose outcome an earlier owner published, where there is no changelog.
    rereading: Option<Resume>,
    /// The clocks of those who write into it, where that is a hop before.
    sources: Option<SourceClocks>,
    /// What the next hop was told of this partition's clock.
    told: Told,
}

/// How far the partition's changelog is.
#[derive(Debug, Default)]
struct ChangelogPosition {
    next_list: u64,
    sequence: u64,
    birth: i64,
    /// The idle time that the last head has.
    idle_for: Millis,
}

impl Partition {
    pub fn new(pipeline: &Pipeline, number: i32, recovery: Recovery, resume: Option<Resume>) -> Self {
        Self {
            progress: PartitionProgress {
                number,
                clock: PartitionClock::default(),
                closed_through: Timestamp::MIN,
                keys: KnownKeys::new(pipeline),
                has_changed: false,
            },
            aggregation: Aggregation::new(pipeline, recovery),
            next_offset: resume.map(|resume| resume.offset),
            changelog: ChangelogPosition::default(),
            rereading: resume.filter(|resume| resume.offset < resume.published_to),
            sources: hops::sources(pipeline),
            told: Told::default(),
        }
    }

    /// The partition from `offset` on.
    pub fn at(self, offset: i64) -> Self {
        Self { next_offset: Some(offset), ..self }
    }

    /// The same with a past that is remembered, where records have one.
    pub fn remembering(self, past: History) -> Self {
        Self { aggregation: self.aggregation.remembering(past), ..self }
    }

    /// A copy of what is remembered of these keys, and whether any of them is known; `None` where nothing has a past.
    pub fn past_of(&self, keys: &[Option<String>]) -> Option<(History, bool)> {
        self.aggregation.past_of(keys)
    }

    /// The same state as that of the partition `number`.
    pub fn numbered(mut self, number: i32) -> Self {
        self.progress.number = number;
        self
    }

    /// The kinds of state that its changelog has, in the order in which it has them.
    fn kinds(&self) -> impl Iterator<Item = &dyn ChangelogKind> {
        let KnownKeys { seen, cancelled } = &self.progress.keys;
        let keys: [&dyn ChangelogKind; 2] = [seen, cancelled];
        let sources = self.sources.as_ref().map(|sources| sources as &dyn ChangelogKind);
        self.aggregation.kinds().into_iter().flatten().chain(keys).chain(sources)
    }

    fn kinds_mut(&mut self) -> impl Iterator<Item = &mut dyn ChangelogKind> {
        let KnownKeys { seen, cancelled } = &mut self.progress.keys;
        let keys: [&mut dyn ChangelogKind; 2] = [seen, cancelled];
        let sources = self.sources.as_mut().map(|sources| sources as &mut dyn ChangelogKind);
        self.aggregation.kinds_mut().into_iter().flatten().chain(keys).chain(sources)
    }

    /// Takes in a record of the changelog whose key is `kind` and `key`.
    pub fn restore(
        &mut self,
        pipeline: &Pipeline,
        kind: u8,
        key: &[u8],
        value: Option<&[u8]>,
    ) -> Result<(), StateError> {
        match self.kinds_mut().find(|room| room.kinds().contains(&kind)) {
            Some(room) => room.restore(pipeline, kind, key, value),
            // State of another pipeline: the head will tell of which.
            None if Aggregation::is_kind(kind) => Ok(()),
            None => Err(StateError::Damaged),
        }
    }

    /// A change has been read to its end, which is `head`.
    pub fn restore_head(&mut self, head: &Head) {
        let inherited = head.idle_for.map(Inherited::For).or(head.idle_since.map(Inherited::Since));
        self.progress.clock = PartitionClock::resumed(head.watermark, inherited);
        self.progress.closed_through = head.closed_through;
        self.next_offset = Some(head.next_offset);
        self.changelog = ChangelogPosition {
            next_list: head.next_list,
            sequence: head.sequence,
            birth: head.birth,
            idle_for: head.idle_for.unwrap_or(0),
        };
        let clock = self.progress.now();
        self.kinds_mut().for_each(|kind| kind.forget_restored(clock));
    }

    /// Bytes that what was taken in takes, about, before its parts are put together. It looks at every key.
    pub fn restoring_bytes(&self) -> usize {
        self.kinds().map(|kind| kind.restoring_bytes()).sum()
    }

    /// The state is whole: its parts are put together.
    pub fn finish_restoring(&mut self, pipeline: &Pipeline) -> Result<(), StateError> {
        self.kinds_mut().try_for_each(|kind| kind.finish_restoring(pipeline))
    }

    /// The largest timestamp seen.
    pub fn watermark(&self) -> Option<Timestamp> {
        self.progress.clock.watermark()
    }

    /// Sets the clock back to `time`, and with it everything that was to happen by a later one; says up to when records
    /// that were scored one by one are remembered, if that is later.
    pub fn set_back(&mut self, pipeline: &Pipeline, time: Timestamp) -> Result<(), Timestamp> {
        let mut latest_close = time;
        match &mut self.aggregation {
            Aggregation::Sessions(sessions) => {
                sessions.set_back(time);
                latest_close = sessions.deadline_after(time);
            }
            Aggregation::Records(scoring) => match scoring.latest() {
                Some(latest) if latest > time => return Err(latest),
                _ => {}
            },
        }
        self.progress.keys.seen.set_back(latest_close.saturating_add(pipeline.entity.remember));
        self.progress.keys.cancelled.set_back(time);
        self.progress.clock = PartitionClock::resumed(Some(time), None);
        self.progress.closed_through = self.progress.closed_through.min(time);
        Ok(())
    }

    /// Counts one more change that nobody but the changelog knows of.
    pub fn next_change(&mut self) {
        self.changelog.sequence += 1;
    }

    /// Whether the record at `offset` is in the state.
    pub fn has_read(&self, offset: i64) -> bool {
        self.next_offset.is_some_and(|next| offset < next)
    }

    /// Open entities and their lines; of records, those that wait.
    pub fn open_size(&self) -> (u64, u64) {
        self.aggregation.size()
    }

    /// Keys whose past is remembered.
    pub fn keys_with_a_past(&self) -> usize {
        self.aggregation.keys_with_a_past()
    }

    /// Bytes that the state takes, about: by what it holds alone, so that what was read back takes as many.
    pub fn state_bytes(&self) -> usize {
        self.aggregation.bytes() + self.progress.keys.bytes()
    }

    /// Closed keys that are remembered.
    pub fn closed_keys(&self) -> usize {
        self.progress.keys.seen.len()
    }

    /// Cancelled keys that are remembered.
    pub fn cancelled_keys(&self) -> usize {
        self.progress.keys.cancelled.len()
    }

    /// About how many records the changelog holds.
    pub fn state_records(&self) -> u64 {
        self.aggregation.state_records()
    }

    /// What to tell the windows, when there is news.
    pub fn report(&mut self) -> Option<Report> {
        let PartitionProgress { number, clock, keys, .. } = &mut self.progress;
        let report = keys.cancelled.report(*number, clock);
        // Committed with the input's offset, so that one who no longer owns the partition cannot say anything of it.
        self.progress.has_changed |= report.is_some();
        report
    }

    pub fn resume_point(&self, windows_through: Timestamp) -> Option<Resume> {
        let next = self.next_offset?;
        // While rereading, what the earlier owner committed is still what holds.
        let resume = self.rereading;
        let published_to = resume.map_or(next, |resume| resume.published_to.max(next));
        let closed_through = resume.map_or(self.progress.closed_through, |resume| resume.closed_through);
        let offset = self.aggregation.oldest_offset().unwrap_or(next);
        Some(Resume { offset, published_to, closed_through, windows_through })
    }

    /// When something is due if nothing comes: an entity, a report of the partition's being idle, or a word to the next hop. The
    /// clock of a partition that a hop before writes into goes by what that says alone.
    pub fn next_deadline(&self, pipeline: &Pipeline) -> Option<WallMillis> {
        if self.sources.is_some() {
            return None;
        }
        let clock = &self.progress.clock;
        let entity = self.aggregation.next_deadline();
        let entity = entity.and_then(|deadline| clock.when(deadline.saturating_add(pipeline.entity.grace)));
        let others = self.progress.keys.cancelled.next_report(clock).into_iter().chain(self.next_watermark(pipeline));
        entity.into_iter().chain(others).min()
    }

    /// The records that bring the changelog to this moment, the head last; nothing when nothing changed.
    pub fn take_changes(
        &mut self,
        pipeline: &Pipeline,
        origin: &Origin,
        now: Option<WallMillis>,
        windows: Option<StateRecord>,
    ) -> Option<(Head, Vec<StateRecord>)> {
        if !std::mem::take(&mut self.progress.has_changed) && windows.is_none() {
            return None;
        }
        let (clock, next_list) = (self.progress.clock.watermark(), self.changelog.next_list);
        let mut changes = Changes { clock, next_list, records: Vec::new() };
        self.kinds_mut().for_each(|kind| kind.take_changes(pipeline, &mut changes));
        let Changes { next_list, mut records, .. } = changes;
        records.extend(windows);
        if self.changelog.sequence == 0 {
            self.changelog.birth = now.unwrap_or(0);
        }
        self.changelog.sequence += 1;
        self.changelog.next_list = next_list;
        self.changelog.idle_for = self.progress.clock.idle_to_inherit().unwrap_or(0);
        let head = self.head(origin);
        records.push(head.record());
        Some((head, records))
    }

    /// The whole state as records, the head last, as the changelog has it after [`Partition::take_changes`].
    pub fn snapshot(
        &self,
        pipeline: &Pipeline,
        windows: Option<&Windows>,
        head: Option<&Head>,
        put: &mut dyn FnMut(StateRecord),
    ) {
        let clock = self.progress.now();
        self.kinds().for_each(|kind| kind.snapshot(pipeline, clock, put));
        windows.map(Windows::record).into_iter().chain(head.map(Head::record)).for_each(put);
    }

    /// The head of the changelog's next change, or of the one that was just taken.
    pub fn head(&self, origin: &Origin) -> Head {
        Head {
            origin: origin.clone(),
            birth: self.changelog.birth,
            sequence: self.changelog.sequence,
            next_offset: self.next_offset.unwrap_or(0),
            watermark: self.progress.clock.watermark(),
            idle_since: self.progress.clock.idle_since(),
            idle_for: self.progress.clock.idle_to_inherit(),
            closed_through: self.progress.closed_through,
            next_list: self.changelog.next_list,
        }
    }

    pub fn record(&mut self, parser: &mut LineParser, record: &Record<'_>, checks: Checks, step: &mut Step<'_>) {
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
        self.progress.has_changed = true;
    }

    /// Records from `first` to `last` were deleted before they were read; those that are in the state already are not lost.
    pub fn lost(&mut self, (first, last): (i64, i64), step: &mut Step<'_>) {
        let first = self.next_offset.map_or(first, |next| first.max(next));
        if first > last {
            return;
        }
        step.counters.lost_to_retention += first.abs_diff(last).saturating_add(1);
        step.out.push(Output::Erroneous(Erroneous::Lost { partition: self.progress.number, first, last }));
        self.passed(last.saturating_add(1));
    }

    /// No record is left before `next`. Written down with the next change: by itself it is worth no commit.
    pub fn passed(&mut self, next: i64) {
        if self.next_offset.is_none_or(|at| at < next) {
            self.next_offset = Some(next);
            self.progress.has_changed = true;
        }
    }

    fn take(&mut self, parser: &mut LineParser, record: &Record<'_>, checks: Checks, step: &mut Step<'_>) {
        parser.each_with(record.payload, record.schema, |piece, part| {
            // The message has been counted as one.
            step.counters.records += u64::from(piece.index().is_some_and(|index| index > 0));
            let record = Record { item: record.item.or(piece.index()), ..*record };
            match part {
                Part::Line(line) => match self.line(line, &record, checks, step) {
                    LineOutcome::Taken => {}
                    LineOutcome::Cancellation { is_new } => {
                        step.counters.cancellation_lines += 1;
                        step.counters.cancellations += u64::from(is_new);
                    }
                    LineOutcome::Refused(reason) => erroneous(vec![reason], piece, &record, step),
                },
                // No clock goes by a record that is not what it should be.
                Part::Erroneous(reasons) => erroneous(reasons, piece, &record, step),
                Part::Deletion => step.counters.deletions += 1,
                Part::Nothing => step.counters.tombstones += 1,
            }
        });
    }

    fn line(&mut self, line: &[Value<'_>], record: &Record<'_>, checks: Checks, step: &mut Step<'_>) -> LineOutcome {
        let is_misplaced = checks.key.is_some_and(|column| is_misplaced(record, line[column]));
        step.counters.misplaced_lines += u64::from(is_misplaced);
        let timestamp = match step.pipeline.entity.clock {
            Clock::Record => Some(record.timestamp),
            Clock::Column(column) => line[column].datetime(),
        };
        if let Some(reason) = self.too_far_ahead(timestamp, line, record, step.pipeline) {
            return LineOutcome::Refused(reason);
        }
        if let Some((column, _)) = odd_date(line, record.latest()) {
            step.counters.add_odd_date(&step.pipeline.schema.columns[column].name);
        }
        self.observe(timestamp, step);
        let timestamp = timestamp.or(self.progress.clock.watermark()).unwrap_or(record.timestamp);
        let place = step.pipeline.is_keyless().then(|| record.key_of_place(step.pipeline));
        let key = place.as_deref().or(line[step.pipeline.entity.key].text()).unwrap_or_default();
        if step.pipeline.is_cancellation(key) {
            // By the partition's clock, which never goes back: a pane that was reported as complete stays as it is.
            let now = self.progress.clock.watermark().unwrap_or(timestamp);
            let is_new = self.progress.keys.cancelled.add(key, now);
            self.aggregation.keep_within_limits(&mut self.progress, step);
            return LineOutcome::Cancellation { is_new };
        }
        match &mut self.aggregation {
            Aggregation::Sessions(open) => open.line(key, line, (timestamp, record.offset), &mut self.progress, step),
            Aggregation::Records(scoring) => scoring.line(key, line, record, &mut self.progress, step),
        }
    }

    /// Why a record must not set a clock, when a time of it is further ahead than it may be: that of the partition's
    /// clock, or its own, by which it is put among the others.
    fn too_far_ahead(
        &self,
        timestamp: Option<Timestamp>,
        line: &[Value<'_>],
        record: &Record<'_>,
        pipeline: &Pipeline,
    ) -> Option<Reason> {
        if let Aggregation::Records(scoring) = &self.aggregation
            && let Some(reason) = scoring.too_far_ahead(line, record, pipeline)
        {
            return Some(reason);
        }
        let (column, latest) = match pipeline.entity.clock {
            Clock::Record => (None, record.written_by),
            // Of records that are scored one by one, that time has just been looked at.
            Clock::Column(_) if matches!(self.aggregation, Aggregation::Records(_)) => return None,
            Clock::Column(column) => (Some(column), record.latest()),
        };
        let latest = latest?.saturating_add(pipeline.clock_ahead());
        let name = |column: usize| pipeline.schema.columns[column].name.clone();
        timestamp.filter(|timestamp| *timestamp > latest).map(|_| Reason::FromTheFuture(column.map(name)))
    }

    /// A record came, with a timestamp unless it has none: what was due before it is done first.
    fn observe(&mut self, timestamp: Option<Timestamp>, step: &mut Step<'_>) {
        self.progress.clock.observe(timestamp);
        // Before anything is closed, which may go by how much is remembered: whoever takes over has forgotten them by then.
        self.progress.keys.forget_expired(self.progress.now());
        self.close_due(self.progress.now(), step);
        // What has just been closed may have been due for so long that its key is not to be known any more.
        self.progress.keys.forget_expired(self.progress.now());
    }

    pub fn caught_up(&mut self, now: WallMillis, step: &mut Step<'_>) {
        if self.sources.is_some() {
            return;
        }
        // Whatever was published for records that are gone by now (compaction, retention) will not come again.
        self.finish_rereading(step);
        // Written down, so that time that passes while nobody runs counts too.
        let is_news = self.progress.clock.caught_up(now);
        self.progress.has_changed |= is_news && self.aggregation.next_deadline().is_some();
        self.close_idle(step);
    }

    /// Everything that was there at `now` has been read.
    pub fn read_through(&mut self, now: WallMillis, step: &mut Step<'_>) {
        if self.sources.is_some() {
            return;
        }
        self.progress.clock.read_through(now);
        let idle_for = self.progress.clock.idle_for().unwrap_or(0);
        let is_step = idle_for.saturating_sub(self.changelog.idle_for) >= IDLE_STEP;
        self.progress.has_changed |= is_step && self.aggregation.next_deadline().is_some();
        self.close_idle(step);
    }

    /// Does what is due by the time in which nothing came, after the grace.
    fn close_idle(&mut self, step: &mut Step<'_>) {
        let (clock, grace) = (&self.progress.clock, step.pipeline.entity.grace);
        let is_quiet = clock.idle_for().is_some_and(|idle| idle >= grace);
        if let Some(now) = clock.now().filter(|_| is_quiet) {
            self.close_due(now.saturating_sub(grace), step);
        }
    }

    /// Does everything that is still to be done, in the order in which it would be due.
    pub fn end(&mut self, step: &mut Step<'_>) {
        self.finish_rereading(step);
        let through = self.progress.closed_through;
        self.close_due(Timestamp::MAX, step);
        // No clock has shown that time: what comes after all is to be read as ever.
        self.progress.closed_through = through;
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
        self.progress.closed_through = self.progress.closed_through.max(clock);
        self.aggregation.close_due(clock, &mut self.progress, step);
    }
}

fn erroneous(reasons: Vec<Reason>, piece: &Piece<'_>, record: &Record<'_>, step: &mut Step<'_>) {
    step.counters.add_refused(&reasons);
    let (source, item, raw) = (record.source, record.item, piece.alone().into_owned());
    step.out.push(Output::Erroneous(Erroneous::Line { reasons, source, item, raw }));
}

/// Whether the record's key is missing or is not its entity's.
fn is_misplaced(record: &Record<'_>, entity: Value<'_>) -> bool {
    let entity = entity.text().unwrap_or_default().as_bytes();
    record.key.is_none_or(|key| key.trim_ascii() != entity)
}
