//! Records that are scored one by one, each in the light of what came before it for its keys.
//!
//! Where records come out of order, each waits until the clock has passed its own time by the pipeline's lateness, so
//! that they are judged in the order of their times (and keys, where times are the same) whatever order they came in.
//! A record that comes later than that is judged at once, as of its time.

mod carry;
mod past;
mod reorder_buffer;
mod zscore;

use std::sync::Arc;

use shared::history::{History, RecordFeatures};
use shared::line::Value;
use shared::pipeline::{Pipeline, Records, ZScoreSpec};
use shared::reason::Reason;
use shared::time::{Millis, Timestamp};
use shared::verdict::EntitySummary;

use crate::changelog::record::ChangelogKind;
use crate::output::{ClosedEntity, Erroneous, Output};
use crate::progress::{LineOutcome, PartitionProgress};
use crate::record::Record;
use crate::resume::Recovery;
use crate::step::Step;
use crate::text::to_text;
use past::Past;
use reorder_buffer::ReorderBuffer;
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

/// The columns that features and verdict read.
fn kept_columns(pipeline: &Pipeline, records: &Records) -> Vec<usize> {
    let mut columns = records.features.columns();
    columns.extend(records.features.places());
    columns.extend(pipeline.entity.customer);
    columns.extend(zscore::columns(pipeline));
    columns.extend(pipeline.fields.columns());
    columns.sort_unstable();
    columns.dedup();
    columns
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
            past: Past::new(&records.features, recovery),
            buffer: ReorderBuffer::new(kept_columns(pipeline, records), recovery),
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
        &self.records.features
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
        let buffered = self.buffer.first().map(|first| first.saturating_add(self.lateness).saturating_add(1));
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
        if self.lateness == 0 {
            let place = (progress.number, record.offset);
            self.judge(key.into(), line, (time, place), truth, progress, step);
        } else if !self.buffer.push((time, key), record.offset, line, truth) {
            return LineOutcome::Refused(Reason::DuplicateKey);
        }
        if !is_keyless {
            progress.keys.seen.add(key, now.saturating_add(step.pipeline.entity.remember));
        }
        self.judge_due(progress.closed_through, progress, step);
        self.keep_within_limits(progress, step);
        LineOutcome::Taken
    }

    /// Judges the records that have waited long enough when the clock shows `clock`, in their order; then the windows whose
    /// time has come, which no record is still on its way to.
    pub fn judge_due(&mut self, clock: Timestamp, progress: &mut PartitionProgress, step: &mut Step<'_>) {
        let before = clock.saturating_sub(self.lateness);
        while let Some((time, key, buffered)) = self.buffer.pop_before(before) {
            let line = self.buffer.line(&buffered, step.pipeline.schema.columns.len());
            let place = buffered.place(progress.number);
            self.judge(key, &line, (time, place), buffered.truth.as_deref(), progress, step);
            progress.has_changed = true;
        }
        progress.has_changed |= self.zscores.judge_due(clock, progress.number, step.out);
    }

    /// While there is more than the pipeline allows, forgets keys that are done with, then the keys that were met the longest
    /// ago, and then judges the records that would be next.
    pub fn keep_within_limits(&mut self, progress: &mut PartitionProgress, step: &mut Step<'_>) {
        self.make_room(progress, step);
        while self.buffer.bytes() > self.max_bytes.saturating_sub(self.zscores.bytes() + progress.keys.bytes()) {
            let Some((time, key, buffered)) = self.buffer.pop_first() else { return };
            let line = self.buffer.line(&buffered, step.pipeline.schema.columns.len());
            step.counters.closed_early += 1;
            let place = buffered.place(progress.number);
            self.judge(key, &line, (time, place), buffered.truth.as_deref(), progress, step);
        }
    }

    /// Forgets keys, those first that are done with, while there is more than the pipeline allows.
    fn make_room(&mut self, progress: &mut PartitionProgress, step: &mut Step<'_>) {
        progress.keys.make_room(self.max_bytes, self.bytes(), step.counters);
        let others = self.buffer.bytes() + self.zscores.bytes() + progress.keys.bytes();
        step.counters.forgotten_keys += self.past.history.shrink_to(self.max_bytes.saturating_sub(others));
    }

    fn judge(
        &mut self,
        key: Arc<str>,
        line: &[Value<'_>],
        (time, (partition, offset)): (Timestamp, (i32, i64)),
        truth: Option<&str>,
        progress: &mut PartitionProgress,
        step: &mut Step<'_>,
    ) {
        let (records, history) = (&self.records, &mut self.past.history);
        let is_out_of_order = history.clock().is_some_and(|clock| time < clock);
        let mut features = Vec::with_capacity(records.features.features().len());
        history.featurize(&records.features, line, time, &mut features);
        step.counters.out_of_order += u64::from(is_out_of_order);
        self.make_room(progress, step);
        let summary = EntitySummary {
            key,
            lines: 1,
            customer: step.pipeline.entity.customer.and_then(|customer| to_text(line[customer])).map(Into::into),
            first_timestamp: time,
            last_timestamp: time,
            closed_early: false,
            fields: step.pipeline.fields.of_record(line),
        };
        let named = self.records.features.features().iter().zip(&features);
        let reasons: Vec<Reason> = named
            .filter(|(_, value)| !value.is_finite())
            .map(|(feature, _)| Reason::NotFinite(feature.name.clone()))
            .collect();
        step.out.push(if reasons.is_empty() {
            step.counters.scored_entities += 1;
            step.counters.scored_lines += 1;
            let of = |spec: &ZScoreSpec| {
                (number(line[spec.value]), spec.by.and_then(|by| line[by].text()).unwrap_or_default())
            };
            // Verdicts of windows name this partition, and no offset of another one.
            let offset_here = (partition == progress.number).then_some(offset);
            step.counters.too_late_for_windows += self.zscores.add(&summary, truth, offset_here, of);
            let offsets = vec![(offset, offset)];
            Output::Closed(ClosedEntity { summary, features, truth: truth.map(Into::into), partition, offsets })
        } else {
            step.counters.erroneous_entities += 1;
            step.counters.erroneous_entity_lines += 1;
            step.counters.add_reasons(&reasons);
            let (known, offsets) = (Vec::new(), vec![(offset, offset)]);
            Output::Erroneous(Erroneous::Entity { reasons, summary, known, features, partition, offsets })
        });
        let most = self.max_bytes / SHARE_OF_WINDOWS;
        step.counters.windows_judged_early += self.zscores.shrink_to(most, progress.number, step.out);
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

/// The value of a column that is never missing.
fn number(value: Value<'_>) -> f64 {
    match value {
        Value::Integer(number) => number as f64,
        Value::Float(number) => number,
        _ => 0.0,
    }
}
