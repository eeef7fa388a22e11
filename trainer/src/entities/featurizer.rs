//! Records that are scored one by one: put into the order of their time, and seen in the light of what came before.
//!
//! The features are those of the scorer, by the same code ([`shared::history`]); a test holds them to Polars' own windows
//! on real data.

use polars::prelude::*;
use shared::history::{History, RecordFeatures};
use shared::line::Value;
use shared::matrix::FeatureMatrix;
use shared::pipeline::{ColumnType, Label, Pipeline};
use shared::reason::Reason;

use super::recent_keys::RecentKeys;
use super::{Entities, EntityError, Keys, Labels, LeftOut, Moments, count, none_left};
use crate::load::{ChunkError, OutOfOrder};

/// Makes features of the records of a history.
///
/// Files are nearly always in the order of time, and then features are made as records come, and what is held is their
/// features. Where they are not, all records have to be there first: who finds that out begins anew, with
/// [`RecordFeaturizer::holding`].
#[derive(Debug)]
pub struct RecordFeaturizer<'a> {
    pipeline: &'a Pipeline,
    features: &'a RecordFeatures,
    featurized: Featurized,
    /// The records so far, where they wait for the last.
    held: Option<DataFrame>,
    holds: bool,
}

/// What records came to.
#[derive(Debug)]
struct Featurized {
    history: History,
    last_time: i64,
    keys: Keys,
    recent: RecentKeys,
    matrix: FeatureMatrix,
    labels: Option<Labels>,
    /// When and whose records are, where somebody asked for it.
    moments: Option<Moments>,
    left_out: Vec<(LeftOut, usize)>,
    n_records: usize,
}

impl<'a> RecordFeaturizer<'a> {
    /// No record yet; they have to come in the order of time, but for those of one chunk.
    pub fn new(pipeline: &'a Pipeline, features: &'a RecordFeatures) -> Self {
        Self { pipeline, features, featurized: Featurized::new(pipeline, features), held: None, holds: false }
    }

    /// No record yet; they may come in any order.
    pub fn holding(pipeline: &'a Pipeline, features: &'a RecordFeatures) -> Self {
        Self { holds: true, ..Self::new(pipeline, features) }
    }

    /// The same, and it is kept when and whose records are.
    pub fn with_moments(mut self) -> Self {
        self.featurized.moments = Some(Moments::default());
        self
    }

    /// How many records there are so far.
    pub fn n_entities(&self) -> usize {
        self.featurized.n_records + self.held.as_ref().map_or(0, DataFrame::height)
    }

    /// Bytes that are held of them.
    pub fn memory(&self) -> u64 {
        let held = self.held.as_ref().map_or(0, DataFrame::estimated_size);
        let Featurized { history, keys, recent, matrix, moments, .. } = &self.featurized;
        let held = held + moments.as_ref().map_or(0, Moments::memory);
        (held + history.bytes() + keys.memory() + recent.memory() + size_of_val(matrix.values())) as u64
    }

    /// Bytes of their keys' texts.
    pub fn key_bytes(&self) -> usize {
        let held = self.held.as_ref().and_then(|held| held.column(self.key_name()).ok()?.str().ok());
        self.featurized.keys.text_bytes() + held.map_or(0, |keys| keys.iter().flatten().map(str::len).sum())
    }

    /// Adds records; their columns are called as in the pipeline.
    ///
    /// # Errors
    /// [`ChunkError`] when one is older than those of earlier chunks and they are not held, or when Polars refuses them.
    pub fn add(&mut self, records: DataFrame) -> Result<(), ChunkError> {
        match &mut self.held {
            _ if !self.holds => self.featurized.take(self.pipeline, self.features, records)?,
            Some(before) => {
                before.vstack_mut_owned_unchecked(records);
            }
            None => self.held = Some(records),
        }
        Ok(())
    }

    /// The records that can be trained on, in the order of their time; of equal times as they came.
    ///
    /// # Errors
    /// [`EntityError`] when none is left.
    pub fn finish(self) -> Result<Entities, EntityError> {
        let Self { pipeline, features, mut featurized, held, .. } = self;
        if let Some(mut records) = held {
            records.rechunk_mut();
            featurized.take(pipeline, features, records)?;
        }
        let Featurized { keys, matrix, labels, moments, mut left_out, n_records, .. } = featurized;
        left_out.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        if matrix.n_samples() == 0 {
            return Err(none_left(n_records, &left_out));
        }
        Ok(Entities { keys, features: matrix, labels, moments, left_out })
    }

    fn key_name(&self) -> &str {
        &self.pipeline.schema.columns[self.pipeline.entity.key].name
    }
}

impl Featurized {
    fn new(pipeline: &Pipeline, features: &RecordFeatures) -> Self {
        Self {
            history: History::new(features, false),
            last_time: i64::MIN,
            keys: Keys::default(),
            recent: RecentKeys::default(),
            matrix: FeatureMatrix::new(features.features().len()),
            labels: pipeline.label.as_ref().and_then(|label| label.column).map(|_| Labels::default()),
            moments: None,
            left_out: Vec::new(),
            n_records: 0,
        }
    }

    /// Takes records that are not older than those before.
    fn take(&mut self, pipeline: &Pipeline, features: &RecordFeatures, records: DataFrame) -> Result<(), ChunkError> {
        let columns = columns(pipeline, &records)?;
        let times: Vec<i64> = match &columns[features.time()] {
            Read::Datetime(times) => times.iter().map(|time| time.unwrap_or(i64::MIN)).collect(),
            _ => Vec::new(),
        };
        let mut order: Vec<u32> = (0..times.len() as u32).collect();
        if !times.is_sorted() {
            order.sort_by_key(|&row| times[row as usize]);
        }
        let time = |row: Option<&u32>| row.map(|&row| times[row as usize]);
        if time(order.first()).is_some_and(|first| first < self.last_time) {
            return Err(OutOfOrder.into());
        }
        self.last_time = time(order.last()).unwrap_or(self.last_time);
        self.n_records += times.len();
        let label = pipeline.label.as_ref().and_then(|label| Some((label, label.column?)));
        let mut line = vec![Value::Missing; columns.len()];
        let mut values = Vec::with_capacity(self.matrix.n_features());
        for row in order.into_iter().map(|row| row as usize) {
            line.iter_mut().zip(&columns).for_each(|(value, column)| *value = column.value(row));
            let key = line[pipeline.entity.key].text().unwrap_or_default();
            if !pipeline.is_keyless() && !self.recent.is_new(key, times[row], pipeline.entity.remember) {
                count(&mut self.left_out, LeftOut::Duplicate);
                continue;
            }
            values.clear();
            self.history.featurize(features, &line, times[row], &mut values);
            if let Some(feature) = values.iter().position(|value| !value.is_finite()) {
                let name = features.features()[feature].name.clone();
                count(&mut self.left_out, LeftOut::Broken(Reason::NotFinite(name)));
                continue;
            }
            self.keys.push(key);
            self.matrix.push(&values);
            if let Some(moments) = &mut self.moments {
                let customer = pipeline.entity.customer.and_then(|column| line[column].text());
                moments.push(times[row], customer);
            }
            if let (Some(labels), Some((label, column))) = (&mut self.labels, label) {
                match line[column].text() {
                    text if Label::is_unknown(text) => labels.push_unknown(),
                    text => labels.push(label.scenario(text)),
                }
            }
        }
        Ok(())
    }
}

/// A column of the records, or nothing where the pipeline does not read it.
enum Read {
    Text(StringChunked),
    Number(Float64Chunked),
    Datetime(Int64Chunked),
    Nothing,
}

impl Read {
    fn value(&self, row: usize) -> Value<'_> {
        match self {
            Self::Text(column) => column.get(row).map_or(Value::Missing, Value::Text),
            Self::Number(column) => column.get(row).map_or(Value::Missing, Value::Float),
            Self::Datetime(column) => column.get(row).map_or(Value::Missing, Value::Datetime),
            Self::Nothing => Value::Missing,
        }
    }
}

/// The columns of the pipeline, in its order.
fn columns(pipeline: &Pipeline, records: &DataFrame) -> PolarsResult<Vec<Read>> {
    let read = |column: &shared::pipeline::Column| {
        let Ok(found) = records.column(&column.name) else { return Ok(Read::Nothing) };
        Ok(match column.kind {
            ColumnType::Text => Read::Text(found.str()?.clone()),
            ColumnType::Integer | ColumnType::Float => Read::Number(found.f64()?.clone()),
            ColumnType::Datetime => Read::Datetime(found.datetime()?.physical().clone()),
        })
    };
    pipeline.schema.columns.iter().map(read).collect()
}
