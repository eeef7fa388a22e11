//! Records that are scored one by one: put into the order of their time, and judged by what came before.
//!
//! The features are those of the scorer, by the same code ([`shared::history`]); a test holds them to Polars' own windows
//! on real data.

use polars::prelude::*;
use shared::history::{History, RecordFeatures};
use shared::line::Value;
use shared::matrix::FeatureMatrix;
use shared::pipeline::{ColumnType, Pipeline};
use shared::reason::Reason;

use super::keys::KeyTable;
use super::{Entities, EntityError, Labels, LeftOut, count, none_left};

/// Collects the records of a history. They are held until all are there, because files need not be in the order of time.
#[derive(Debug)]
pub struct Judging<'a> {
    pipeline: &'a Pipeline,
    features: &'a RecordFeatures,
    records: Option<DataFrame>,
    n_records: usize,
    key_bytes: usize,
}

impl<'a> Judging<'a> {
    /// No record yet.
    pub fn new(pipeline: &'a Pipeline, features: &'a RecordFeatures) -> Self {
        Self { pipeline, features, records: None, n_records: 0, key_bytes: 0 }
    }

    /// How many records there are so far.
    pub fn n_entities(&self) -> usize {
        self.n_records
    }

    /// Bytes that are held of them.
    pub fn memory(&self) -> u64 {
        self.records.as_ref().map_or(0, |records| records.estimated_size() as u64)
    }

    /// Bytes of their keys' texts.
    pub fn key_bytes(&self) -> usize {
        self.key_bytes
    }

    /// Adds records; their columns are called as in the pipeline.
    pub fn add(&mut self, records: DataFrame) {
        self.n_records += records.height();
        if let Ok(keys) = records.column(self.key_name()).and_then(|keys| keys.str()) {
            self.key_bytes += keys.iter().flatten().map(str::len).sum::<usize>();
        }
        match &mut self.records {
            Some(before) => {
                before.vstack_mut_owned_unchecked(records);
            }
            None => self.records = Some(records),
        }
    }

    /// The records that can be trained on, in the order of their time; of equal times as they came.
    ///
    /// # Errors
    /// [`EntityError`] when none is left.
    pub fn finish(self) -> Result<Entities, EntityError> {
        let mut table = KeyTable::default();
        let (mut matrix, mut left_out) = (FeatureMatrix::new(self.features.features().len()), Vec::new());
        let label = self.pipeline.label.as_ref().and_then(|label| Some((label, label.column?)));
        let mut labels = label.map(|_| Labels::default());
        if let Some(mut records) = self.records {
            records.rechunk_mut();
            let columns = columns(self.pipeline, &records)?;
            let times: Vec<i64> = match &columns[self.features.time()] {
                Read::Datetime(times) => times.iter().map(|time| time.unwrap_or(i64::MIN)).collect(),
                _ => Vec::new(),
            };
            let mut order: Vec<u32> = (0..times.len() as u32).collect();
            if !times.is_sorted() {
                order.sort_by_key(|&row| times[row as usize]);
            }
            let mut history = History::new(self.features, false);
            let mut line = vec![Value::Missing; columns.len()];
            let mut values = Vec::with_capacity(matrix.n_features());
            for row in order.into_iter().map(|row| row as usize) {
                line.iter_mut().zip(&columns).for_each(|(value, column)| *value = column.value(row));
                let key = line[self.pipeline.entity.key].text().unwrap_or_default();
                if table.contains(key) {
                    count(&mut left_out, LeftOut::Duplicate);
                    continue;
                }
                values.clear();
                history.judge(self.features, &line, times[row], &mut values);
                match values.iter().position(|value| !value.is_finite()) {
                    Some(feature) => {
                        let name = self.features.features()[feature].name.clone();
                        count(&mut left_out, LeftOut::Broken(Reason::NotFinite(name)));
                    }
                    None => {
                        table.index_of(key);
                        matrix.push(&values);
                        if let (Some(labels), Some((label, column))) = (&mut labels, label) {
                            labels.push(label.scenario(line[column].text()));
                        }
                    }
                }
            }
        }
        left_out.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        if matrix.n_samples() == 0 {
            return Err(none_left(self.n_records, &left_out));
        }
        Ok(Entities { keys: table.into_keys(), features: matrix, labels, left_out })
    }

    fn key_name(&self) -> &str {
        &self.pipeline.columns[self.pipeline.entity.key].name
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
    pipeline.columns.iter().map(read).collect()
}
