//! The state of one input partition: its clock, its open entities, the keys that closed a while ago.

use std::collections::VecDeque;
use std::sync::Arc;

use shared::line::{LineParser, Value};
use shared::pipeline::{Clock, Pipeline};
use shared::reason::Reason;
use shared::time::{Millis, Timestamp};

use super::cancellations::Cancelled;
use super::clock::PartitionClock;
use super::entity::OpenEntity;
use super::expiry::ExpiryMap;
use super::{Counters, Erroneous, GRACE, Monotonic, Output, Record, Resume};

#[derive(Debug)]
pub(super) struct Partition {
    number: i32,
    clock: PartitionClock,
    open: ExpiryMap<Open>,
    /// First offsets of open entities, oldest first; entities that closed are skipped when they reach the front.
    first_offsets: VecDeque<(i64, Arc<str>)>,
    closed: ExpiryMap<()>,
    pub(super) cancelled: Cancelled,
    next_offset: Option<i64>,
    closed_through: Timestamp,
    /// Set while records are read again whose outcome an earlier owner published.
    restoring: Option<Resume>,
}

#[derive(Debug)]
struct Open {
    first_offset: i64,
    entity: OpenEntity,
}

/// What a line is, as far as the parser can tell.
enum Line {
    Cancellation(Arc<str>, Timestamp),
    Late,
    Taken,
}

impl Partition {
    pub(super) fn new(pipeline: &Pipeline, number: i32, resume: Option<Resume>) -> Self {
        Self {
            number,
            clock: PartitionClock::default(),
            open: ExpiryMap::default(),
            first_offsets: VecDeque::new(),
            closed: ExpiryMap::default(),
            cancelled: Cancelled::new(pipeline),
            next_offset: resume.map(|resume| resume.offset),
            closed_through: Timestamp::MIN,
            restoring: resume.filter(|resume| resume.offset < resume.published_to),
        }
    }

    pub(super) fn watermark(&self) -> Option<Timestamp> {
        self.clock.watermark()
    }

    pub(super) fn clock_at(&self, now: Option<Monotonic>) -> Option<Timestamp> {
        self.clock.at(now)
    }

    pub(super) fn is_idle_for(&self, span: Millis, now: Option<Monotonic>) -> bool {
        now.and_then(|now| self.clock.idle_for(now)).is_some_and(|idle| idle >= span)
    }

    /// Open entities and their lines.
    pub(super) fn open_size(&self) -> (u64, u64) {
        (self.open.len() as u64, self.open.values().map(|open| open.entity.lines()).sum())
    }

    pub(super) fn resume_point(&self, windows_through: Timestamp) -> Option<Resume> {
        let next = self.next_offset?;
        // While restoring, what the earlier owner committed is still what holds.
        let published_to = self.restoring.map_or(next, |resume| resume.published_to.max(next));
        let closed_through = self.restoring.map_or(self.closed_through, |resume| resume.closed_through);
        let oldest = self.first_offsets.iter().find(|(offset, key)| self.is_open_since(key, *offset));
        let offset = oldest.map_or(next, |(offset, _)| *offset);
        Some(Resume { offset, published_to, closed_through, windows_through })
    }

    pub(super) fn next_deadline(&self) -> Option<Monotonic> {
        self.clock.when(self.open.next_deadline()?.saturating_add(GRACE))
    }

    pub(super) fn record(
        &mut self,
        pipeline: &Pipeline,
        parser: &mut LineParser,
        record: &Record<'_>,
        counters: &mut Counters,
        out: &mut Vec<Output>,
    ) {
        if self.restoring.is_some_and(|resume| record.offset >= resume.published_to) {
            self.finish_restoring(pipeline, counters);
        }
        // While restoring, consequences are worked out again but not published again.
        let mut unpublished = Vec::new();
        let restoring = self.restoring.is_some();
        let sink = if restoring { &mut unpublished } else { out };
        let before = counters.clone_if(restoring);
        self.take(pipeline, parser, record, counters, sink);
        self.next_offset = Some(record.offset + 1);
        if let Some(before) = before {
            counters.count_as_published(before);
        }
    }

    fn take(
        &mut self,
        pipeline: &Pipeline,
        parser: &mut LineParser,
        record: &Record<'_>,
        counters: &mut Counters,
        out: &mut Vec<Output>,
    ) {
        let parsed = parser.parse(record.payload, |line| {
            let timestamp = match pipeline.entity.clock {
                Clock::Record => Some(record.timestamp),
                Clock::Column(column) => line[column].datetime(),
            };
            self.clock.observe(timestamp);
            self.close_due(pipeline, self.clock.watermark().unwrap_or(Timestamp::MIN), counters, out);
            let timestamp = timestamp.or(self.clock.watermark()).unwrap_or(record.timestamp);
            self.line(pipeline, line, timestamp, record.offset)
        });
        match parsed {
            Ok(Line::Taken) => {}
            Ok(Line::Cancellation(key, timestamp)) => {
                counters.cancellation_lines += 1;
                counters.cancellations += u64::from(self.cancelled.add(key, timestamp));
            }
            Ok(Line::Late) => {
                counters.late_lines += 1;
                self.erroneous(vec![Reason::LateLine], record, counters, out);
            }
            Err(reasons) => {
                // Kafka's timestamp is good even where the line is not.
                let timestamp = (pipeline.entity.clock == Clock::Record).then_some(record.timestamp);
                self.clock.observe(timestamp);
                self.close_due(pipeline, self.clock.watermark().unwrap_or(Timestamp::MIN), counters, out);
                counters.malformed_lines += 1;
                self.erroneous(reasons, record, counters, out);
            }
        }
    }

    fn line(&mut self, pipeline: &Pipeline, line: &[Value<'_>], timestamp: Timestamp, offset: i64) -> Line {
        let key = line[pipeline.entity.key].text().unwrap_or_default();
        if pipeline.is_cancellation(key) {
            return Line::Cancellation(key.into(), timestamp);
        }
        // Before the first dated line there is no time: such an entity closes as soon as there is one.
        let clock = self.clock.watermark().unwrap_or(Timestamp::MIN);
        let deadline = clock.saturating_add(pipeline.entity.session_gap);
        if let Some(open) = self.open.touch(key, deadline) {
            open.entity.add(pipeline, line, timestamp, offset);
            return Line::Taken;
        }
        while self.closed.pop_expired(clock).is_some() {}
        if self.closed.get(key).is_some() {
            return Line::Late;
        }
        let mut entity = OpenEntity::new(pipeline, timestamp);
        entity.add(pipeline, line, timestamp, offset);
        let key: Arc<str> = key.into();
        self.first_offsets.push_back((offset, key.clone()));
        self.open.insert(key, deadline, Open { first_offset: offset, entity });
        Line::Taken
    }

    fn erroneous(&self, reasons: Vec<Reason>, record: &Record<'_>, counters: &mut Counters, out: &mut Vec<Output>) {
        counters.add_reasons(&reasons);
        let source = (self.number, record.offset);
        out.push(Output::Erroneous(Erroneous::Line { reasons, source, raw: record.payload.to_vec() }));
    }

    pub(super) fn caught_up(
        &mut self,
        pipeline: &Pipeline,
        now: Monotonic,
        counters: &mut Counters,
        out: &mut Vec<Output>,
    ) {
        // Whatever was published for records that are gone by now (compaction, retention) will not come again.
        self.finish_restoring(pipeline, counters);
        self.clock.caught_up(now);
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
        self.finish_restoring(pipeline, counters);
        self.close_due(pipeline, Timestamp::MAX, counters, out);
    }

    fn finish_restoring(&mut self, pipeline: &Pipeline, counters: &mut Counters) {
        if let Some(resume) = self.restoring.take() {
            let before = counters.clone();
            self.close_due(pipeline, resume.closed_through, counters, &mut Vec::new());
            counters.count_as_published(before);
        }
    }

    fn close_due(&mut self, pipeline: &Pipeline, clock: Timestamp, counters: &mut Counters, out: &mut Vec<Output>) {
        self.closed_through = self.closed_through.max(clock);
        while let Some((key, deadline, open)) = self.open.pop_expired(clock) {
            self.closed.insert(key.clone(), deadline.saturating_add(pipeline.entity.remember), ());
            let lines = open.entity.lines();
            let output = open.entity.close(pipeline, key, self.number);
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
            out.push(output);
        }
        self.forget_first_offsets();
    }

    fn forget_first_offsets(&mut self) {
        while self.first_offsets.front().is_some_and(|(offset, key)| !self.is_open_since(key, *offset)) {
            self.first_offsets.pop_front();
        }
    }

    /// Whether the open entity with this key is the one that began at `offset`, and not a later one.
    fn is_open_since(&self, key: &str, offset: i64) -> bool {
        self.open.get(key).is_some_and(|open| open.first_offset == offset)
    }
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
