//! Records that are scored one by one, each in the light of what came before it for its keys.
//!
//! Where records come out of order, each waits until the clock has passed its own time by the pipeline's lateness, so
//! that they are judged in the order of their times (and keys, where times are the same) whatever order they came in.
//! A record that comes later than that is judged at once, as of its time.
//!
//! Where a topic has several partitions and records are looked at by several columns, this is one hop: records go on with
//! what it has found, or come from the hop before with what that knew. Those that come always wait for their turn, because
//! several partitions write into the one that they come from.

mod carry;
pub(crate) mod forward;
mod past;
mod reorder_buffer;
mod zscore;

use std::sync::Arc;

use shared::codec::Damaged;
use shared::history::{History, RecordFeatures};
use shared::line::Value;
use shared::pipeline::{Hop, Pipeline, Records, ZScoreSpec};
use shared::reason::Reason;
use shared::time::{Millis, Timestamp};
use shared::verdict::EntitySummary;

use crate::changelog::record::ChangelogKind;
use crate::growth::CameFrom;
use crate::output::{ClosedEntity, Erroneous, Output};
use crate::progress::{LineOutcome, PartitionProgress};
use crate::record::Record;
use crate::resume::Recovery;
use crate::step::Step;
use crate::text::to_text;
use crate::watermarks::Watermark;
use forward::{Arrival, Arrived, Leaving, forwarded};
use past::Past;
use reorder_buffer::{BufferedRecord, Incoming, RecordSource, ReorderBuffer, encode_values};
use zscore::ZScores;

/// Bytes in memory that make one record of the changelog, about: a pane, and its share of a key.
const BYTES_A_RECORD: usize = 96;

/// Windows may take one part in so many of what a partition may keep.
const SHARE_OF_WINDOWS: usize = 2;

/// What is remembered of the records of a partition, and those that wait.
#[derive(Debug)]
pub(crate) struct RecordScoring {
    records: Records,
    lateness: Millis,
    max_bytes: usize,
    past: Past,
    buffer: ReorderBuffer,
    zscores: ZScores,
}

/// A record whose turn it is.
struct Turn<'a> {
    key: Arc<str>,
    line: &'a [Value<'a>],
    time: Timestamp,
    /// Where it was first.
    source: RecordSource,
    truth: Option<&'a str>,
    /// The features that hops before have found.
    known: &'a [f64],
}

impl RecordScoring {
    /// The kinds of its state in the changelog.
    pub const KINDS: [u8; 4] = [ReorderBuffer::KIND, Past::PART, Past::CLOCK, ZScores::KIND];

    /// Nothing is remembered yet.
    pub fn new(pipeline: &Pipeline, records: &Records, recovery: Recovery) -> Self {
        Self {
            lateness: records.features.lateness(),
            records: records.clone(),
            max_bytes: pipeline.entity.max_state_bytes,
            past: Past::new(records.own(), recovery),
            buffer: ReorderBuffer::new(
                pipeline.kept_columns(records),
                records.hop.as_ref().filter(|hop| hop.has_before()).map(Hop::n_known),
                recovery,
            ),
            zscores: ZScores::new(pipeline, recovery),
        }
    }

    /// The same with a past that is remembered.
    pub fn remembering(mut self, past: History) -> Self {
        self.past.history = past;
        self
    }

    /// What is remembered of the past of keys.
    pub fn past(&self) -> &History {
        &self.past.history
    }

    /// What features look at of that.
    pub fn features(&self) -> &RecordFeatures {
        self.records.own()
    }

    /// Whether this is one hop of several, which knows a part of what there is to know of a record.
    pub fn is_hop(&self) -> bool {
        self.records.hop.is_some()
    }

    /// How long records wait for those that may come before them.
    pub fn lateness(&self) -> Millis {
        self.lateness
    }

    /// The clock from which on every record that went on is due in the next hop, too.
    pub fn all_due_at(&self) -> Option<Timestamp> {
        self.past.history.clock().map(|latest| self.due_at(latest))
    }

    /// The first clock at which a record of this time has waited long enough. What comes from several partitions is put in
    /// order even where nothing is to be late; of one partition it is not, and waits for nothing.
    fn due_at(&self, time: Timestamp) -> Timestamp {
        let own = i64::from(self.lateness > 0);
        time.saturating_add(self.lateness).saturating_add(own)
    }

    /// The first time of a record that has not waited long enough when the clock shows `clock`.
    fn due_before(&self, clock: Timestamp) -> Timestamp {
        if self.lateness > 0 { clock.saturating_sub(self.lateness) } else { clock.saturating_add(1) }
    }

    /// The latest time in what is remembered of records.
    pub fn latest(&self) -> Option<Timestamp> {
        self.past.history.clock().max(self.zscores.judged_through())
    }

    /// Records that wait.
    pub fn size(&self) -> u64 {
        self.buffer.len()
    }

    /// Bytes of what is remembered and of what waits, about.
    pub fn bytes(&self) -> usize {
        self.past.history.bytes() + self.buffer.bytes() + self.zscores.bytes()
    }

    /// How many records the changelog holds of this, about.
    pub fn state_records(&self) -> u64 {
        self.buffer.len() + (self.past.history.bytes() / BYTES_A_RECORD) as u64 + self.zscores.state_records()
    }

    /// The first clock at which a record or a window is judged.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let buffered = self.buffer.first().map(|first| self.due_at(first));
        buffered.into_iter().chain(self.zscores.next_deadline()).min()
    }

    /// The first record that waits, to be judged or for its windows.
    pub fn oldest_offset(&self) -> Option<i64> {
        self.buffer.oldest_offset().into_iter().chain(self.zscores.oldest_offset()).min()
    }

    /// A record's own time. Its column is needed, so that no line is without it.
    fn time(&self, line: &[Value<'_>], record: &Record<'_>) -> Timestamp {
        line[self.records.features.time()].datetime().unwrap_or(record.timestamp)
    }

    fn time_column(&self, pipeline: &Pipeline) -> String {
        pipeline.schema.columns[self.records.features.time()].name.clone()
    }

    /// Why a record's own time cannot be, when it is further ahead of Kafka's, or of the present, than it may be.
    pub fn too_far_ahead(&self, line: &[Value<'_>], record: &Record<'_>, pipeline: &Pipeline) -> Option<Reason> {
        let latest = record.latest()?.saturating_add(self.records.ahead);
        let is_ahead = self.time(line, record) > latest;
        is_ahead.then(|| Reason::FromTheFuture(Some(self.time_column(pipeline))))
    }

    /// Takes a record, or says why not.
    pub fn line(
        &mut self,
        key: &str,
        line: &[Value<'_>],
        record: &Record<'_>,
        progress: &mut PartitionProgress,
        step: &mut Step<'_>,
    ) -> LineOutcome {
        let (time, now) = (self.time(line, record), progress.now());
        // No two records stand in one place: there is nothing to remember.
        let is_keyless = step.pipeline.is_keyless();
        if !is_keyless && progress.keys.seen.knows(key) {
            return LineOutcome::Refused(Reason::DuplicateKey);
        }
        if self.past.history.is_too_old(&self.records.features, time) {
            return LineOutcome::Refused(Reason::TooOld(self.time_column(step.pipeline)));
        }
        let label = step.pipeline.label.as_ref();
        let truth = label.and_then(|label| label.scenario(record.label.or_else(|| line[label.column?].text())));
        let (source, known): (_, &[f64]) = (RecordSource { partition: progress.number, offset: record.offset }, &[]);
        if self.lateness == 0 {
            self.judge(&Turn { key: key.into(), line, time, source, truth, known }, progress, step);
        } else {
            let values = encode_values(self.buffer.columns(), line);
            if !self.buffer.push(Incoming { time, key, source, truth, known, values }) {
                return LineOutcome::Refused(Reason::DuplicateKey);
            }
        }
        if !is_keyless {
            progress.keys.seen.add(key, now.saturating_add(step.pipeline.entity.remember));
        }
        self.judge_due(progress.closed_through, progress, step);
        self.keep_within_limits(progress, step);
        LineOutcome::Taken
    }

    /// Takes what came from the hop before: how far one of its partitions is, or a record, which then waits for its turn.
    ///
    /// # Errors
    /// [`Damaged`] where no hop of this pipeline wrote that.
    pub fn arrived(
        &mut self,
        bytes: &[u8],
        progress: &mut PartitionProgress,
        step: &mut Step<'_>,
    ) -> Result<Option<(i32, Watermark)>, Damaged> {
        let hop = step.pipeline.hop().ok_or(Damaged)?;
        let time = self.records.features.time();
        let arrived = match forward::read(step.pipeline, (hop, time), self.buffer.columns(), bytes)? {
            Arrival::Watermark { source, watermark } => return Ok(Some((source, watermark))),
            Arrival::Record(arrived) => arrived,
        };
        let Arrived { source, time, key, truth, known, values } = arrived;
        let incoming = Incoming { time, key, source, truth, known: &known, values: values.into() };
        if !self.buffer.push(incoming) {
            // The hop before sends each record once.
            return Err(Damaged);
        }
        step.counters.received_lines += 1;
        self.judge_due(progress.closed_through, progress, step);
        self.keep_within_limits(progress, step);
        Ok(None)
    }

    /// Judges the records that have waited long enough when the clock shows `clock`, in their order; then the windows whose
    /// time has come, which no record is still on its way to.
    pub fn judge_due(&mut self, clock: Timestamp, progress: &mut PartitionProgress, step: &mut Step<'_>) {
        let before = self.due_before(clock);
        while let Some((time, key, buffered)) = self.buffer.pop_before(before) {
            self.judge_buffered((time, key, &buffered), progress, step);
            progress.has_changed = true;
        }
        progress.has_changed |= self.zscores.judge_due(clock, progress.number, step.out);
    }

    fn judge_buffered(
        &mut self,
        (time, key, buffered): (Timestamp, Arc<str>, &BufferedRecord),
        progress: &mut PartitionProgress,
        step: &mut Step<'_>,
    ) {
        let line = self.buffer.line(buffered, step.pipeline.schema.columns.len());
        let source = buffered.source(progress.number);
        let (truth, known) = (buffered.truth.as_deref(), &*buffered.known);
        self.judge(&Turn { key, line: &line, time, source, truth, known }, progress, step);
    }

    /// While there is more than the pipeline allows, forgets keys that are done with, then the keys that were met the longest
    /// ago, and then judges the records that would be next.
    pub fn keep_within_limits(&mut self, progress: &mut PartitionProgress, step: &mut Step<'_>) {
        self.make_room(progress, step);
        while self.buffer.bytes() > self.max_bytes.saturating_sub(self.zscores.bytes() + progress.keys.bytes()) {
            let Some((time, key, buffered)) = self.buffer.pop_first() else { return };
            step.counters.closed_early += 1;
            self.judge_buffered((time, key, &buffered), progress, step);
        }
    }

    /// Forgets keys, those first that are done with, while there is more than the pipeline allows.
    fn make_room(&mut self, progress: &mut PartitionProgress, step: &mut Step<'_>) {
        progress.keys.make_room(self.max_bytes, self.bytes(), step.counters);
        let others = self.buffer.bytes() + self.zscores.bytes() + progress.keys.bytes();
        step.counters.forgotten_keys += self.past.history.shrink_to(self.max_bytes.saturating_sub(others));
    }

    fn judge(&mut self, turn: &Turn<'_>, progress: &mut PartitionProgress, step: &mut Step<'_>) {
        let number = progress.number;
        let (own, history) = (self.records.own(), &mut self.past.history);
        let is_out_of_order = history.clock().is_some_and(|clock| turn.time < clock);
        let mut features = Vec::with_capacity(self.records.features.features().len());
        history.featurize(own, turn.line, turn.time, &mut features);
        step.counters.out_of_order += u64::from(is_out_of_order);
        self.make_room(progress, step);
        match step.pipeline.hop() {
            Some(hop) => {
                let features = hop.join(turn.known, &features);
                match hop.next_column() {
                    Some(next) => self.pass_on((hop, next), turn, &features, number, step),
                    None => self.finish(turn, features, number, step),
                }
            }
            None => self.finish(turn, features, number, step),
        }
        let most = self.max_bytes / SHARE_OF_WINDOWS;
        step.counters.windows_judged_early += self.zscores.shrink_to(most, number, step.out);
    }

    /// Everything is known of a record: what there is to say of it. `number` is the partition here.
    fn finish(&mut self, turn: &Turn<'_>, features: Vec<f64>, number: i32, step: &mut Step<'_>) {
        let (summary, RecordSource { partition, offset }) = (summary_of(turn, step.pipeline), turn.source);
        let named = self.records.features.features().iter().zip(&features);
        let reasons: Vec<Reason> = named
            .filter(|(_, value)| !value.is_finite())
            .map(|(feature, _)| Reason::NotFinite(feature.name.clone()))
            .collect();
        step.out.push(if reasons.is_empty() {
            step.counters.scored_entities += 1;
            step.counters.scored_lines += 1;
            step.counters.too_late_for_windows += self.join_windows(&summary, turn, number);
            let offsets = vec![(offset, offset)];
            Output::Closed(ClosedEntity { summary, features, truth: turn.truth.map(Into::into), partition, offsets })
        } else {
            step.counters.erroneous_entities += 1;
            step.counters.erroneous_entity_lines += 1;
            step.counters.add_reasons(&reasons);
            let (known, offsets) = (Vec::new(), vec![(offset, offset)]);
            Output::Erroneous(Erroneous::Entity { reasons, summary, known, features, partition, offsets })
        });
    }

    /// Another hop knows more: the record goes on, keyed by the column `next`. Windows of this hop's column are made here,
    /// where all records of its keys are; whether a later feature is a number is not known yet.
    fn pass_on(
        &mut self,
        (hop, next): (&Hop, usize),
        turn: &Turn<'_>,
        features: &[f64],
        number: i32,
        step: &mut Step<'_>,
    ) {
        if !self.zscores.is_empty() && features.iter().all(|value| value.is_finite()) {
            let summary = summary_of(turn, step.pipeline);
            step.counters.too_late_for_windows += self.join_windows(&summary, turn, number);
        }
        let Turn { key, line, source, truth, .. } = turn;
        let values = encode_values(self.buffer.columns(), line);
        let to = line[next].text().unwrap_or_default();
        let leaving = Leaving { source: *source, key, truth: *truth, features, values: &values };
        step.counters.forwarded_lines += 1;
        step.out.push(Output::Forwarded(forwarded(hop, to, &leaving)));
    }

    /// Lets a record wait for its windows in the partition `number`; for how many it comes too late.
    fn join_windows(&mut self, summary: &EntitySummary, turn: &Turn<'_>, number: i32) -> u64 {
        let Turn { line, source: RecordSource { partition, offset }, truth, .. } = *turn;
        let of = |spec: &ZScoreSpec| {
            (number_of(line[spec.value]), spec.by.and_then(|by| line[by].text()).unwrap_or_default())
        };
        self.zscores.add(summary, truth, (CameFrom::HERE.moved(partition, number), offset), of)
    }

    /// Keys whose past is remembered.
    pub fn keys_with_a_past(&self) -> usize {
        self.past.history.len()
    }

    /// The kinds of its state, in the order in which the changelog has them.
    pub fn kinds(&self) -> [&dyn ChangelogKind; 3] {
        [&self.buffer, &self.past, &self.zscores]
    }

    /// The same, to be changed.
    pub fn kinds_mut(&mut self) -> [&mut dyn ChangelogKind; 3] {
        [&mut self.buffer, &mut self.past, &mut self.zscores]
    }
}

/// What a verdict tells of a record.
fn summary_of(turn: &Turn<'_>, pipeline: &Pipeline) -> EntitySummary {
    EntitySummary {
        key: turn.key.clone(),
        lines: 1,
        customer: pipeline.entity.customer.and_then(|customer| to_text(turn.line[customer])).map(Into::into),
        first_timestamp: turn.time,
        last_timestamp: turn.time,
        closed_early: false,
        fields: pipeline.fields.of_record(turn.line),
    }
}

/// The value of a column that is never missing.
fn number_of(value: Value<'_>) -> f64 {
    match value {
        Value::Integer(number) => number as f64,
        Value::Float(number) => number,
        _ => 0.0,
    }
}
