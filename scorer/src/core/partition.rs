//! The state of one input partition: its clock, its open entities, the keys that closed a while ago.

use std::collections::VecDeque;

use shared::expiry::ExpiryMap;
use shared::line::{LineParser, Value};
use shared::pipeline::{Clock, Pipeline, Scored, Sessions};
use shared::reason::Reason;
use shared::time::Timestamp;

use super::cancellations::{Cancelled, Report};
use super::clock::PartitionClock;
use super::entity::OpenEntity;
use super::state::{Head, Lists, Origin, Restored, StateRecord, entity_gone, entity_record};
use super::{Counters, Erroneous, GRACE, Monotonic, Output, Record, Recovery, Resume};

#[derive(Debug)]
pub(super) struct Partition {
    number: i32,
    clock: PartitionClock,
    open: ExpiryMap<Open>,
    open_lines: u64,
    /// What open entities take, keys and all.
    open_bytes: usize,
    closed: ExpiryMap<()>,
    cancelled: Cancelled,
    next_offset: Option<i64>,
    closed_through: Timestamp,
    changes: Changes,
    rereading: Rereading,
}

/// An open entity, and how the changelog has it.
#[derive(Debug, Clone)]
pub(super) struct Open {
    entity: OpenEntity,
    /// Whether the changelog has any version of it: then closing it has to delete that.
    is_written: bool,
    /// Whether it changed since it was last written down.
    has_changed: bool,
}

impl Open {
    /// An entity as the changelog has it.
    pub(super) fn written_down(entity: OpenEntity) -> Self {
        Self { entity, is_written: true, has_changed: false }
    }

    pub(super) fn entity(&self) -> &OpenEntity {
        &self.entity
    }
}

/// What has to be written down at the next commit, beside the open entities that changed.
#[derive(Debug)]
struct Changes {
    /// Whether changes are collected at all.
    wanted: bool,
    any: bool,
    gone: Vec<Box<str>>,
    closed: Vec<(Timestamp, Box<str>)>,
    closed_lists: Lists,
    cancelled_lists: Lists,
    next_list: u64,
    sequence: u64,
    birth: i64,
}

/// How a partition without a changelog finds its way back: by reading its open entities' lines again.
#[derive(Debug)]
struct Rereading {
    wanted: bool,
    /// First offsets of open entities, oldest first; entities that closed are skipped when they reach the front.
    first_offsets: VecDeque<(i64, Box<str>)>,
    /// Set while records are read again whose outcome an earlier owner published.
    resume: Option<Resume>,
}

/// What a line is, as far as the parser can tell.
enum Line {
    Cancellation { is_new: bool },
    Late,
    Taken,
}

impl Partition {
    pub(super) fn new(pipeline: &Pipeline, number: i32, recovery: Recovery, resume: Option<Resume>) -> Self {
        Self {
            number,
            clock: PartitionClock::default(),
            open: ExpiryMap::default(),
            open_lines: 0,
            open_bytes: 0,
            closed: ExpiryMap::default(),
            cancelled: Cancelled::new(pipeline),
            next_offset: resume.map(|resume| resume.offset),
            closed_through: Timestamp::MIN,
            changes: Changes {
                wanted: recovery == Recovery::Changelog,
                any: false,
                gone: Vec::new(),
                closed: Vec::new(),
                closed_lists: Lists::closed(),
                cancelled_lists: Lists::cancelled(),
                next_list: 0,
                sequence: 0,
                birth: 0,
            },
            rereading: Rereading {
                wanted: recovery == Recovery::Reread,
                first_offsets: VecDeque::new(),
                resume: resume.filter(|resume| resume.offset < resume.published_to),
            },
        }
    }

    /// The partition from `offset` on.
    pub(super) fn at(self, offset: i64) -> Self {
        Self { next_offset: Some(offset), ..self }
    }

    /// The partition as its changelog has it.
    pub(super) fn restored(pipeline: &Pipeline, number: i32, restored: Restored) -> Self {
        let mut partition = Self::new(pipeline, number, Recovery::Changelog, None);
        partition.clock = restored.clock();
        if let Some(head) = restored.head() {
            partition.next_offset = Some(head.next_offset);
            partition.closed_through = head.closed_through;
            partition.changes.next_list = head.next_list;
            partition.changes.sequence = head.sequence;
            partition.changes.birth = head.birth;
        }
        let sizes = |(lines, bytes), (key, _, open): (&str, Timestamp, &Open)| {
            (lines + open.entity.lines(), bytes + open_bytes(key, &open.entity))
        };
        (partition.open_lines, partition.open_bytes) = restored.open.iter().fold((0, 0), sizes);
        partition.open = restored.open;
        partition.closed = restored.closed;
        partition.changes.closed_lists = restored.closed_lists;
        partition.cancelled = restored.cancelled;
        partition.changes.cancelled_lists = restored.cancelled_lists;
        partition
    }

    /// Whether the record at `offset` is in the state.
    pub(super) fn has_read(&self, offset: i64) -> bool {
        self.next_offset.is_some_and(|next| offset < next)
    }

    /// Open entities and their lines.
    pub(super) fn open_size(&self) -> (u64, u64) {
        (self.open.len() as u64, self.open_lines)
    }

    /// What to tell the windows, when there is news.
    pub(super) fn report(&mut self, now: Option<Monotonic>) -> Option<Report> {
        let report = self.cancelled.report(self.number, &self.clock, now);
        // Committed with the input's offset, so that one who no longer owns the partition cannot say anything of it.
        self.changes.any |= report.is_some();
        report
    }

    pub(super) fn resume_point(&self, windows_through: Timestamp) -> Option<Resume> {
        let next = self.next_offset?;
        // While rereading, what the earlier owner committed is still what holds.
        let resume = self.rereading.resume;
        let published_to = resume.map_or(next, |resume| resume.published_to.max(next));
        let closed_through = resume.map_or(self.closed_through, |resume| resume.closed_through);
        let mut first_offsets = self.rereading.first_offsets.iter();
        let oldest = first_offsets.find(|(offset, key)| self.is_open_since(key, *offset));
        let offset = oldest.map_or(next, |(offset, _)| *offset);
        Some(Resume { offset, published_to, closed_through, windows_through })
    }

    pub(super) fn next_deadline(&self) -> Option<Monotonic> {
        self.clock.when(self.open.next_deadline()?.saturating_add(GRACE))
    }

    /// The records that bring the changelog to this moment, the head last; nothing when nothing changed.
    pub(super) fn take_changes(
        &mut self,
        origin: &Origin,
        now: Option<Monotonic>,
        windows: Option<StateRecord>,
    ) -> Option<(Head, Vec<StateRecord>)> {
        if !std::mem::take(&mut self.changes.any) && windows.is_none() {
            return None;
        }
        let mut out: Vec<StateRecord> = self.changes.gone.drain(..).map(|key| entity_gone(&key)).collect();
        // What changed is what was touched since: the newest of the list. The changelog keeps the order of deadlines.
        let start = out.len();
        for (key, deadline, open) in self.open.newest_first().take_while(|(_, _, open)| open.has_changed) {
            out.push(entity_record(key, deadline, &open.entity));
        }
        out[start..].reverse();
        self.open.change_newest(|open| {
            open.is_written = true;
            std::mem::take(&mut open.has_changed)
        });
        let Changes { closed, closed_lists, cancelled_lists, next_list, .. } = &mut self.changes;
        closed_lists.add(&std::mem::take(closed), next_list, &mut out);
        cancelled_lists.add(&self.cancelled.take_added(), next_list, &mut out);
        if let Some(clock) = self.clock.watermark() {
            closed_lists.forget(clock, &mut out);
            cancelled_lists.forget(clock.saturating_sub(self.cancelled.remember()), &mut out);
        }
        out.extend(windows);
        if self.changes.sequence == 0 {
            self.changes.birth = now.unwrap_or(0);
        }
        self.changes.sequence += 1;
        let head = self.head(origin);
        out.push(head.record());
        Some((head, out))
    }

    /// The whole state as records, the head last, as the changelog has it after [`Partition::take_changes`].
    pub(super) fn snapshot(&self, origin: &Origin, windows: Option<StateRecord>, mut put: impl FnMut(StateRecord)) {
        let clock = self.clock.watermark().unwrap_or(Timestamp::MIN);
        self.open.iter().for_each(|(key, deadline, open)| put(entity_record(key, deadline, &open.entity)));
        let closed = self.closed.iter().map(|(key, until, ())| (until, key)).filter(|(until, _)| *until > clock);
        self.changes.closed_lists.snapshot(closed, &mut put);
        let live = |first: Timestamp| first.saturating_add(self.cancelled.remember()) > clock;
        let cancelled = self.cancelled.iter().filter(|(first, _)| live(*first));
        self.changes.cancelled_lists.snapshot(cancelled, &mut put);
        windows.into_iter().for_each(&mut put);
        put(self.head(origin).record());
    }

    fn head(&self, origin: &Origin) -> Head {
        Head {
            origin: origin.clone(),
            birth: self.changes.birth,
            sequence: self.changes.sequence,
            next_offset: self.next_offset.unwrap_or(0),
            watermark: self.clock.watermark(),
            idle_since: self.clock.idle_since(),
            closed_through: self.closed_through,
            next_list: self.changes.next_list,
        }
    }

    pub(super) fn record(
        &mut self,
        pipeline: &Pipeline,
        parser: &mut LineParser,
        record: &Record<'_>,
        checks_key: bool,
        counters: &mut Counters,
        out: &mut Vec<Output>,
    ) {
        if self.rereading.resume.is_some_and(|resume| record.offset >= resume.published_to) {
            self.finish_rereading(pipeline, counters);
        }
        // While rereading, consequences are worked out again but not published again.
        let mut unpublished = Vec::new();
        let rereading = self.rereading.resume.is_some();
        let sink = if rereading { &mut unpublished } else { out };
        let before = counters.clone_if(rereading);
        self.take(pipeline, parser, record, checks_key, counters, sink);
        self.next_offset = Some(record.offset + 1);
        self.changes.any = true;
        if let Some(before) = before {
            counters.count_as_published(before);
        }
    }

    fn take(
        &mut self,
        pipeline: &Pipeline,
        parser: &mut LineParser,
        record: &Record<'_>,
        checks_key: bool,
        counters: &mut Counters,
        out: &mut Vec<Output>,
    ) {
        let parsed = parser.parse(record.payload, |line| {
            counters.misplaced_lines += u64::from(checks_key && is_misplaced(record, line[pipeline.entity.key]));
            let timestamp = match pipeline.entity.clock {
                Clock::Record => Some(record.timestamp),
                Clock::Column(column) => line[column].datetime(),
            };
            self.clock.observe(timestamp);
            self.close_due(pipeline, self.clock.watermark().unwrap_or(Timestamp::MIN), counters, out);
            let timestamp = timestamp.or(self.clock.watermark()).unwrap_or(record.timestamp);
            self.line(pipeline, line, timestamp, record.offset, counters, out)
        });
        match parsed {
            Ok(Line::Taken) => {}
            Ok(Line::Cancellation { is_new }) => {
                counters.cancellation_lines += 1;
                counters.cancellations += u64::from(is_new);
            }
            Ok(Line::Late) => {
                counters.late_lines += 1;
                erroneous(vec![Reason::LateLine], record, counters, out);
            }
            Err(reasons) => {
                // Kafka's timestamp is good even where the line is not.
                let timestamp = (pipeline.entity.clock == Clock::Record).then_some(record.timestamp);
                self.clock.observe(timestamp);
                self.close_due(pipeline, self.clock.watermark().unwrap_or(Timestamp::MIN), counters, out);
                counters.malformed_lines += 1;
                erroneous(reasons, record, counters, out);
            }
        }
    }

    fn line(
        &mut self,
        pipeline: &Pipeline,
        line: &[Value<'_>],
        timestamp: Timestamp,
        offset: i64,
        counters: &mut Counters,
        out: &mut Vec<Output>,
    ) -> Line {
        let key = line[pipeline.entity.key].text().unwrap_or_default();
        // Before the first dated line there is no time: such an entity closes as soon as there is one.
        let clock = self.clock.watermark().unwrap_or(Timestamp::MIN);
        if pipeline.is_cancellation(key) {
            // By the partition's clock, which never goes back: a pane that was reported as complete stays as it is.
            return Line::Cancellation { is_new: self.cancelled.add(key, self.clock.watermark().unwrap_or(timestamp)) };
        }
        let Scored::Sessions(Sessions { gap, max_lines, .. }) = &pipeline.scored else { return Line::Taken };
        let deadline = clock.saturating_add(*gap);
        if let Some(open) = self.open.touch(key, deadline) {
            let before = open.entity.heap_bytes();
            open.entity.add(pipeline, line, timestamp, offset);
            open.has_changed = true;
            self.open_bytes = self.open_bytes + open.entity.heap_bytes() - before;
            self.open_lines += 1;
            if open.entity.lines() >= *max_lines
                && let Some((key, _, open)) = self.open.remove(key)
            {
                self.close_early(pipeline, key, open, counters, out);
            }
        } else {
            while self.closed.pop_expired(clock).is_some() {}
            if self.closed.get(key).is_some() {
                return Line::Late;
            }
            let mut entity = OpenEntity::new(pipeline, timestamp, offset);
            entity.add(pipeline, line, timestamp, offset);
            if self.rereading.wanted {
                self.rereading.first_offsets.push_back((offset, key.into()));
            }
            self.open_bytes += open_bytes(key, &entity);
            self.open_lines += 1;
            self.open.insert(key, deadline, Open { entity, is_written: false, has_changed: true });
        }
        self.hold_limits(pipeline, counters, out);
        Line::Taken
    }

    pub(super) fn caught_up(
        &mut self,
        pipeline: &Pipeline,
        now: Monotonic,
        counters: &mut Counters,
        out: &mut Vec<Output>,
    ) {
        // Whatever was published for records that are gone by now (compaction, retention) will not come again.
        self.finish_rereading(pipeline, counters);
        // Written down, so that time that passes while nobody runs counts too.
        self.changes.any |= self.clock.caught_up(now) && self.open.len() > 0;
        self.time(pipeline, now, counters, out);
    }

    /// Closes what is due by the time that passed since everything was read.
    pub(super) fn time(&mut self, pipeline: &Pipeline, now: Monotonic, counters: &mut Counters, out: &mut Vec<Output>) {
        let quiet = self.clock.idle_for(now).is_some_and(|idle| idle >= GRACE);
        if let Some(clock) = self.clock.at(Some(now)).filter(|_| quiet) {
            self.close_due(pipeline, clock - GRACE, counters, out);
        }
    }

    /// Closes everything, in the order of deadlines.
    pub(super) fn end(&mut self, pipeline: &Pipeline, counters: &mut Counters, out: &mut Vec<Output>) {
        self.finish_rereading(pipeline, counters);
        let through = self.closed_through;
        self.close_due(pipeline, Timestamp::MAX, counters, out);
        // No clock has shown that time: what comes after all is to be read as ever.
        self.closed_through = through;
    }

    fn finish_rereading(&mut self, pipeline: &Pipeline, counters: &mut Counters) {
        if let Some(resume) = self.rereading.resume.take() {
            let before = counters.clone();
            self.close_due(pipeline, resume.closed_through, counters, &mut Vec::new());
            counters.count_as_published(before);
        }
    }

    fn close_due(&mut self, pipeline: &Pipeline, clock: Timestamp, counters: &mut Counters, out: &mut Vec<Output>) {
        self.closed_through = self.closed_through.max(clock);
        while let Some((key, deadline, open)) = self.open.pop_expired(clock) {
            let until = deadline.saturating_add(pipeline.entity.remember);
            self.close(pipeline, key, open, until, false, counters, out);
        }
        self.forget_first_offsets();
    }

    /// Closes the oldest entities while there are more than the pipeline allows.
    fn hold_limits(&mut self, pipeline: &Pipeline, counters: &mut Counters, out: &mut Vec<Output>) {
        let Scored::Sessions(Sessions { max_open, .. }) = &pipeline.scored else { return };
        let max_bytes = pipeline.entity.max_state_bytes;
        while self.open.len() > *max_open || (self.open_bytes > max_bytes && self.open.len() > 1) {
            let Some((key, _, open)) = self.open.pop_oldest() else { return };
            self.close_early(pipeline, key, open, counters, out);
        }
    }

    fn close_early(
        &mut self,
        pipeline: &Pipeline,
        key: Box<str>,
        open: Open,
        counters: &mut Counters,
        out: &mut Vec<Output>,
    ) {
        counters.closed_early += 1;
        let clock = self.clock.watermark().unwrap_or(Timestamp::MIN).max(self.closed_through);
        self.close(pipeline, key, open, clock.saturating_add(pipeline.entity.remember), true, counters, out);
        self.forget_first_offsets();
    }

    #[expect(clippy::too_many_arguments, reason = "one place where an entity ends")]
    fn close(
        &mut self,
        pipeline: &Pipeline,
        key: Box<str>,
        open: Open,
        remembered_until: Timestamp,
        early: bool,
        counters: &mut Counters,
        out: &mut Vec<Output>,
    ) {
        let lines = open.entity.lines();
        self.open_lines -= lines;
        self.open_bytes -= open_bytes(&key, &open.entity);
        // Times of remembering stay in order, whatever made entities close.
        let remembered_until = self.closed.last_deadline().map_or(remembered_until, |last| last.max(remembered_until));
        self.closed.insert(&key, remembered_until, ());
        let output = open.entity.close(pipeline, &key, self.number, early);
        match &output {
            Output::Erroneous(Erroneous::Entity { reasons, .. }) => {
                counters.erroneous_entities += 1;
                counters.erroneous_entity_lines += lines;
                counters.add_reasons(reasons);
            }
            _ => {
                counters.scored_entities += 1;
                counters.scored_lines += lines;
            }
        }
        if self.changes.wanted {
            self.changes.any = true;
            if open.is_written {
                self.changes.gone.push(key.clone());
            }
            self.changes.closed.push((remembered_until, key));
        }
        out.push(output);
    }

    fn forget_first_offsets(&mut self) {
        while let Some((offset, key)) = self.rereading.first_offsets.front() {
            if self.is_open_since(key, *offset) {
                return;
            }
            self.rereading.first_offsets.pop_front();
        }
    }

    /// Whether the open entity with this key is the one that began at `offset`, and not a later one.
    fn is_open_since(&self, key: &str, offset: i64) -> bool {
        self.open.get(key).is_some_and(|open| open.entity.first_offset() == offset)
    }
}

fn erroneous(reasons: Vec<Reason>, record: &Record<'_>, counters: &mut Counters, out: &mut Vec<Output>) {
    counters.add_reasons(&reasons);
    let (source, raw) = (record.source, record.payload.to_vec());
    out.push(Output::Erroneous(Erroneous::Line { reasons, source, raw }));
}

/// Whether the record's key is missing or is not its entity's.
fn is_misplaced(record: &Record<'_>, entity: Value<'_>) -> bool {
    let entity = entity.text().unwrap_or_default().as_bytes();
    record.key.is_none_or(|key| key.trim_ascii() != entity)
}

fn open_bytes(key: &str, entity: &OpenEntity) -> usize {
    ExpiryMap::<Open>::ENTRY_BYTES + key.len() + entity.heap_bytes()
}

impl Counters {
    fn clone_if(&self, condition: bool) -> Option<Self> {
        condition.then(|| self.clone())
    }

    /// Turns what was counted since `before` into lines whose outcome had been published.
    fn count_as_published(&mut self, before: Self) {
        let lines = self.outcomes() - before.outcomes();
        let (records, already) = (self.records, before.already_published_lines + lines);
        *self = Self { records, already_published_lines: already, ..before };
    }
}
