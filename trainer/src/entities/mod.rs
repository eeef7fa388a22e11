//! From lines to entities: the lines of one key together, their features as Polars expressions; or, in [`RecordFeaturizer`], each
//! record by itself.
//!
//! The scorer computes the same features line by line, with [`shared::features::Accumulators`]; a test holds the two
//! together on real data. Between chunks of lines, what Polars computed is in the form of those accumulators, and they say
//! how it is merged and what it comes to.

mod aggregated;
mod aggregator;
mod featurizer;
mod keys;
mod labels;
mod moments;
mod recent_keys;

use polars::prelude::*;
use shared::features::{Accumulators, Kept, merge, values_of};
use shared::matrix::FeatureMatrix;
use shared::pipeline::Pipeline;
use shared::reason::Reason;
use thiserror::Error;

use crate::load::ChunkError;

pub use aggregator::EntityAggregator;
pub use featurizer::RecordFeaturizer;
pub use keys::Keys;
pub use labels::Labels;
pub use moments::Moments;

use aggregated::Aggregated;
use keys::KeyTable;

/// Why there is nothing to train on.
#[derive(Debug, Error)]
pub enum EntityError {
    /// Every entity was left out.
    #[error("none of the {total} entities in the history can be trained on: {reasons}")]
    NoneLeft {
        /// How many there are.
        total: usize,
        /// Why they were left out, with counts.
        reasons: String,
    },
    /// Polars refuses the query, which is no fault of the data.
    #[error("cannot group the lines: {0}")]
    Polars(#[from] PolarsError),
    /// Records cannot be taken.
    #[error(transparent)]
    Chunk(#[from] ChunkError),
}

/// Why an entity is not trained on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeftOut {
    /// It is a cancellation.
    Cancellation,
    /// Its key was that of another record a while ago, for as long as the pipeline remembers keys.
    Duplicate,
    /// Its features keep more values than are kept of an entity: the scorer closes such a one early.
    TooManyValues,
    /// It breaks a rule.
    Broken(Reason),
    /// Analysts say that it is an anomaly.
    Confirmed,
}

impl std::fmt::Display for LeftOut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Cancellation => f.write_str("cancellation"),
            Self::Duplicate => f.write_str("duplicate_key"),
            Self::TooManyValues => f.write_str("too_many_values"),
            Self::Broken(reason) => reason.fmt(f),
            Self::Confirmed => f.write_str("confirmed_anomaly"),
        }
    }
}

/// The entities to train on, in the order in which they first appear in the history.
#[derive(Debug, Clone)]
pub struct Entities {
    /// Keys: `(n_samples)`.
    pub keys: Keys,
    /// Features: `(n_samples, n_features)`.
    pub features: FeatureMatrix,
    /// What each is known to be, where the pipeline has labels: `(n_samples)`. Only detectors that learn from labels learn from it.
    pub labels: Option<Labels>,
    /// When and whose they are, where somebody asked for it and each is a record: `(n_samples)`.
    pub moments: Option<Moments>,
    /// How many entities were left out, by reason; one with several reasons counts once, for the first.
    pub left_out: Vec<(LeftOut, usize)>,
}

impl Entities {
    /// How many entities the history has.
    pub fn total(&self) -> usize {
        self.keys.len() + self.left_out.iter().map(|(_, count)| count).sum::<usize>()
    }

    /// Leaves out those that analysts have confirmed as anomalies, by their keys; how many those are.
    ///
    /// # Errors
    /// [`EntityError::NoneLeft`].
    pub fn leave_out_confirmed(&mut self, is_confirmed: impl Fn(&str) -> bool) -> Result<usize, EntityError> {
        let (total, n_entities, n_features) = (self.total(), self.keys.len(), self.features.n_features());
        let is_kept: Vec<bool> = self.keys.iter().map(|key| !is_confirmed(key)).collect();
        let n_confirmed = is_kept.iter().filter(|is_kept| !**is_kept).count();
        if n_confirmed == 0 {
            return Ok(0);
        }
        self.left_out.push((LeftOut::Confirmed, n_confirmed));
        self.left_out.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        if n_confirmed == n_entities {
            return Err(none_left(total, &self.left_out));
        }
        let mut values = std::mem::replace(&mut self.features, FeatureMatrix::new(n_features)).into_values();
        let mut kept = 0;
        for entity in (0..n_entities).filter(|&entity| is_kept[entity]) {
            self.keys.move_down(entity, kept);
            values.copy_within(entity * n_features..(entity + 1) * n_features, kept * n_features);
            kept += 1;
        }
        self.keys.truncate(kept);
        values.truncate(kept * n_features);
        self.features = FeatureMatrix::from_values(n_features, values);
        if let Some(labels) = &self.labels {
            self.labels = Some(labels.retained(&is_kept));
        }
        self.moments = self.moments.as_ref().map(|moments| moments.retained(&is_kept));
        Ok(n_confirmed)
    }
}

/// Puts the lines of each key together, chunk by chunk.
///
/// Polars aggregates a chunk, and what it made of the lines of a key is merged with what chunks before it made of theirs.
/// So memory grows with the number of entities, not of lines. Only the sums of an entity whose lines stand in several
/// chunks may differ, in their last bits, from sums that were taken line by line.
#[derive(Debug)]
pub struct Grouping<'a> {
    pipeline: &'a Pipeline,
    table: KeyTable,
    /// The state of every feature's accumulator: `(n_entities, state_len)`.
    states: Vec<f64>,
    state_len: usize,
    /// What features keep beside it: `(n_entities)`, or none where no feature keeps values.
    kept: Vec<Kept>,
    /// Bytes that this takes.
    kept_bytes: usize,
    /// Whether any line had each of the required columns: `(n_entities, n_required)`.
    present: Vec<bool>,
}

impl<'a> Grouping<'a> {
    /// No line yet.
    pub fn new(pipeline: &'a Pipeline) -> Self {
        let state_len = Accumulators::state_len(pipeline.session_features());
        let (states, kept, present) = (Vec::new(), Vec::new(), Vec::new());
        Self { pipeline, table: KeyTable::default(), states, state_len, kept, kept_bytes: 0, present }
    }

    /// How many entities there are so far.
    pub fn n_entities(&self) -> usize {
        self.table.keys.len()
    }

    /// Bytes that are held of them.
    pub fn memory(&self) -> u64 {
        let kept = self.kept_bytes + size_of_val(&self.kept[..]);
        (self.table.memory() + size_of_val(&self.states[..]) + kept + self.present.len()) as u64
    }

    /// Bytes of their keys' texts.
    pub fn key_bytes(&self) -> usize {
        self.table.keys.text_bytes()
    }

    /// Adds lines that come after all that were added before; their columns are called as in the pipeline.
    ///
    /// # Errors
    /// When Polars refuses them.
    pub fn add(&mut self, lines: DataFrame) -> PolarsResult<()> {
        let chunk = Aggregated::of(self.pipeline, lines)?;
        let (state_len, n_required) = (self.state_len, self.pipeline.entity.required.len());
        let mut state = vec![0.0; state_len];
        for row in 0..chunk.keys.len() {
            chunk.fill_state(row, &mut state);
            let (entity, is_new) = self.table.index_of(chunk.keys.get(row).unwrap_or_default());
            self.keep(&chunk, row, entity)?;
            if is_new {
                self.states.extend_from_slice(&state);
                self.present.extend(chunk.present.iter().map(|column| column[row]));
                continue;
            }
            merge(self.pipeline.session_features(), &mut self.states[entity * state_len..][..state_len], &state);
            let present = &mut self.present[entity * n_required..][..n_required];
            present.iter_mut().zip(&chunk.present).for_each(|(present, column)| *present |= column[row]);
        }
        Ok(())
    }

    /// Adds what features keep of the lines of a chunk; of an entity that is full, no more.
    fn keep(&mut self, chunk: &Aggregated, row: usize, entity: usize) -> PolarsResult<()> {
        if !chunk.keeps_values() {
            return Ok(());
        }
        if entity == self.kept.len() {
            self.kept.extend(Kept::new(self.pipeline.session_features()));
        }
        let Some(kept) = self.kept.get_mut(entity).filter(|kept| !kept.is_full()) else { return Ok(()) };
        let before = kept.heap_bytes();
        chunk.keep(row, kept)?;
        self.kept_bytes = self.kept_bytes + kept.heap_bytes() - before;
        Ok(())
    }

    /// The entities that can be trained on.
    ///
    /// # Errors
    /// [`EntityError`] when none is left.
    pub fn finish(self) -> Result<Entities, EntityError> {
        let Self { pipeline, table, mut states, state_len, kept, present, .. } = self;
        // What features keep of each is let go as soon as they are made.
        let mut kept_of = kept.into_iter();
        let (mut keys, n_entities) = (table.into_keys(), states.len() / state_len);
        let (n_features, n_required) = (pipeline.session_features().len(), pipeline.entity.required.len());
        let mut left_out = Vec::new();
        let mut features = vec![0.0; n_features];
        let mut kept = 0;
        // In place: features take no more room than the state that they are made of.
        for entity in 0..n_entities {
            let state = &states[entity * state_len..][..state_len];
            let values = kept_of.next();
            let made = values_of(pipeline.session_features(), state, values.as_ref());
            features.iter_mut().zip(made).for_each(|(to, value)| *to = value);
            let present = &present[entity * n_required..][..n_required];
            let is_full = values.as_ref().is_some_and(Kept::is_full);
            match problem(pipeline, keys.get(entity), (present, is_full), &features) {
                Some(reason) => count(&mut left_out, reason),
                None => {
                    keys.move_down(entity, kept);
                    states[kept * n_features..][..n_features].copy_from_slice(&features);
                    kept += 1;
                }
            }
        }
        left_out.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        if kept == 0 {
            return Err(none_left(n_entities, &left_out));
        }
        keys.truncate(kept);
        states.truncate(kept * n_features);
        states.shrink_to_fit();
        let features = FeatureMatrix::from_values(n_features, states);
        Ok(Entities { keys, features, labels: None, moments: None, left_out })
    }
}

/// Groups `lines`, whose columns are called as in the pipeline, into entities.
///
/// # Errors
/// [`EntityError`] when no entity is left.
pub fn group(pipeline: &Pipeline, lines: DataFrame) -> Result<Entities, EntityError> {
    let mut grouping = Grouping::new(pipeline);
    grouping.add(lines)?;
    grouping.finish()
}

fn none_left(total: usize, left_out: &[(LeftOut, usize)]) -> EntityError {
    let reasons = left_out.iter().map(|(reason, count)| format!("{reason} ({count})"));
    EntityError::NoneLeft { total, reasons: reasons.collect::<Vec<_>>().join(", ") }
}

fn count(counts: &mut Vec<(LeftOut, usize)>, reason: LeftOut) {
    match counts.iter_mut().find(|(known, _)| *known == reason) {
        Some((_, count)) => *count += 1,
        None => counts.push((reason, 1)),
    }
}

/// Why an entity is left out: a cancellation before all, then one of which not all values were kept, then rules in the order
/// of the pipeline file.
fn problem(pipeline: &Pipeline, key: &str, (present, is_full): (&[bool], bool), features: &[f64]) -> Option<LeftOut> {
    if pipeline.is_cancellation(key) {
        return Some(LeftOut::Cancellation);
    }
    if is_full {
        return Some(LeftOut::TooManyValues);
    }
    let mut required = pipeline.entity.required.iter().zip(present);
    let missing = required.find(|(_, present)| !**present);
    let missing = missing.map(|(&column, _)| Reason::MissingRequired(pipeline.schema.columns[column].name.clone()));
    let not_finite = || {
        let feature = features.iter().position(|value| !value.is_finite())?;
        Some(Reason::NotFinite(pipeline.session_features()[feature].name.clone()))
    };
    missing.or_else(not_finite).map(LeftOut::Broken)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PIPELINE: &str = r#"
        name = "small"
        input.topic = "in"
        input.columns = ["Id", "Amount:float", "At:datetime", "Who"]
        input.datetime_formats = ["%Y-%m-%d %H:%M"]
        entity.key = "Id"
        entity.session_gap = "40s"
        entity.required = ["Who"]
        outputs.erroneous = "bad"
        cancellations = { key_prefix = "C", window = "8m", slide = "1m", topic = "gone" }
        features = { Mean = "mean(Amount)", Total = "sum(Amount)", Lines = "count()", First = "first(hour(At))", Last = "last(hour(At))", Hours = "sum(hour(At))", Day = "first(day_of_week(At))", Low = "min(Amount)", High = "max(Amount)", Middle = "median(Amount)", Amounts = "count_distinct(Amount)", Moments = "count_distinct(At)" }
        detectors = [{ name = "kmeans", algorithm = "kmeans", topic = "out" }]
    "#;

    const HOUR: i64 = 3_600_000;

    fn lines(rows: &[(&str, f64, Option<i64>, bool)]) -> DataFrame {
        let moments: Int64Chunked = rows.iter().map(|row| row.2.map(|hour| hour * HOUR)).collect();
        let columns = vec![
            Column::new("Id".into(), rows.iter().map(|row| row.0).collect::<Vec<_>>()),
            Column::new("Amount".into(), rows.iter().map(|row| row.1).collect::<Vec<_>>()),
            moments.with_name("At".into()).into_datetime(TimeUnit::Milliseconds, None).into_column(),
            Column::new("Who".into(), rows.iter().map(|row| row.3.then_some(true)).collect::<Vec<_>>()),
        ];
        DataFrame::new_infer_height(columns).unwrap()
    }

    fn grouped(rows: &[(&str, f64, Option<i64>, bool)]) -> Result<Entities, EntityError> {
        group(&Pipeline::parse(PIPELINE, "small.toml").unwrap(), lines(rows))
    }

    #[test]
    fn lines_of_a_key_belong_together_wherever_they_stand() {
        let rows = [
            ("b", 1.0, None, true),
            ("a", 5.0, Some(7), true),
            ("b", 3.0, Some(30), false),
            ("b", 2.0, Some(-1), true),
        ];
        let entities = grouped(&rows).unwrap();
        assert_eq!(entities.keys.iter().collect::<Vec<_>>(), ["b", "a"]);
        let rows: Vec<&[f64]> = entities.features.rows().collect();
        // 30 hours after the beginning of 1970 it was Friday.
        assert_eq!(rows[0], [2.0, 6.0, 3.0, 6.0, 23.0, 29.0, 4.0, 1.0, 3.0, 2.0, 3.0, 2.0]);
        assert_eq!(rows[1], [5.0, 5.0, 1.0, 7.0, 7.0, 7.0, 3.0, 5.0, 5.0, 5.0, 1.0, 1.0]);
        assert!(entities.left_out.is_empty());
    }

    proptest! {
        #[test]
        fn chunks_of_lines_are_one_history(
            rows in proptest::collection::vec((0..5usize, -9..9i32, proptest::option::of(-50..50i64), any::<bool>()), 1..60),
            cuts in proptest::collection::vec(0..60usize, 0..4),
        ) {
            let keys = ["a", "b", "C1", "d", "e"];
            // Whole numbers, whose sums are exact in any order.
            let rows: Vec<_> = rows.iter().map(|row| (keys[row.0], f64::from(row.1), row.2, row.3)).collect();
            let pipeline = Pipeline::parse(PIPELINE, "small.toml").unwrap();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(rows.len())).chain([0, rows.len()]).collect();
            cuts.sort_unstable();
            let mut grouping = Grouping::new(&pipeline);
            for cut in cuts.windows(2).filter(|cut| cut[0] < cut[1]) {
                grouping.add(lines(&rows[cut[0]..cut[1]])).unwrap();
            }
            match (grouping.finish(), group(&pipeline, lines(&rows))) {
                (Ok(chunks), Ok(whole)) => {
                    prop_assert_eq!(chunks.keys.iter().collect::<Vec<_>>(), whole.keys.iter().collect::<Vec<_>>());
                    prop_assert_eq!(&chunks.features, &whole.features);
                    prop_assert_eq!(&chunks.left_out, &whole.left_out);
                }
                (Err(chunks), Err(whole)) => prop_assert_eq!(chunks.to_string(), whole.to_string()),
                (chunks, whole) => prop_assert!(false, "{chunks:?} and {whole:?}"),
            }
        }
    }

    #[test]
    fn what_is_left_out_is_counted_once() {
        let rows = [
            ("C1", 1.0, None, false),
            ("1", 1.0, Some(1), false),
            ("2", 1.0, None, true),
            ("3", f64::MAX, Some(1), true),
            ("3", f64::MAX, Some(1), true),
            ("4", 1.0, Some(1), true),
        ];
        let entities = grouped(&rows).unwrap();
        assert_eq!(entities.keys.iter().collect::<Vec<_>>(), ["4"]);
        let left_out: Vec<String> = entities.left_out.iter().map(|(reason, n)| format!("{reason} {n}")).collect();
        assert_eq!(left_out, ["cancellation 1", "missing_required:Who 1", "not_finite:First 1", "not_finite:Mean 1"]);
        assert_eq!(entities.total(), 5);
    }

    #[test]
    fn an_entity_with_more_values_than_are_kept_is_left_out() {
        let n = shared::features::MAX_KEPT_BYTES / 8;
        let mut rows = vec![("large", 7.0, Some(1), true); n];
        rows.extend([("small", 9.0, Some(1), true), ("small", 1.0, Some(1), true), ("small", 2.0, Some(1), true)]);
        let pipeline = Pipeline::parse(PIPELINE, "small.toml").unwrap();
        let mut grouping = Grouping::new(&pipeline);
        for rows in rows.chunks(n / 2 + 1) {
            grouping.add(lines(rows)).unwrap();
            assert!(grouping.memory() > rows.len() as u64 * 8);
        }
        let entities = grouping.finish().unwrap();
        assert_eq!(entities.keys.iter().collect::<Vec<_>>(), ["small"]);
        assert_eq!(entities.left_out, [(LeftOut::TooManyValues, 1)]);
        assert_eq!(entities.features.rows().next().unwrap()[9..], [2.0, 3.0, 1.0]);
    }

    #[test]
    fn nothing_left_is_an_error_with_the_reasons() {
        let error = grouped(&[("C1", 1.0, Some(1), true), ("C2", 1.0, Some(1), true)]).unwrap_err().to_string();
        assert_eq!(error, "none of the 2 entities in the history can be trained on: cancellation (2)");
    }
}
