//! From lines to entities: the lines of one key together, their features as Polars expressions.
//!
//! The scorer computes the same features line by line, with [`shared::features::Accumulators`]; a test holds the two
//! together on real data.

use polars::prelude::*;
use shared::features::{Aggregate, Feature, Operand};
use shared::matrix::FeatureMatrix;
use shared::pipeline::Pipeline;
use shared::reason::Reason;
use thiserror::Error;

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
}

/// Why an entity is not trained on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeftOut {
    /// It is a cancellation.
    Cancellation,
    /// It breaks a rule.
    Broken(Reason),
}

impl std::fmt::Display for LeftOut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Cancellation => f.write_str("cancellation"),
            Self::Broken(reason) => reason.fmt(f),
        }
    }
}

/// The entities to train on, in the order in which they first appear in the history.
#[derive(Debug, Clone)]
pub struct Entities {
    /// Keys: `(n_samples)`.
    pub keys: Vec<String>,
    /// Features: `(n_samples, n_features)`.
    pub features: FeatureMatrix,
    /// How many entities were left out, by reason; one with several reasons counts once, for the first.
    pub left_out: Vec<(LeftOut, usize)>,
}

impl Entities {
    /// How many entities the history has.
    pub fn total(&self) -> usize {
        self.keys.len() + self.left_out.iter().map(|(_, count)| count).sum::<usize>()
    }
}

/// Groups `lines`, whose columns are called as in the pipeline, into entities.
///
/// # Errors
/// [`EntityError`] when no entity is left.
pub fn group(pipeline: &Pipeline, lines: DataFrame) -> Result<Entities, EntityError> {
    let grouped = aggregate(pipeline, lines)?;
    let grouped = Grouped::new(pipeline, &grouped)?;
    let mut entities =
        Entities { keys: Vec::new(), features: FeatureMatrix::new(pipeline.features.len()), left_out: Vec::new() };
    let mut row = vec![0.0; pipeline.features.len()];
    for index in 0..grouped.keys.len() {
        let key = grouped.keys.get(index).unwrap_or_default();
        grouped.fill_row(index, &mut row);
        match grouped.problem(pipeline, index, key, &row) {
            Some(reason) => count(&mut entities.left_out, reason),
            None => {
                entities.keys.push(key.to_owned());
                entities.features.push(&row);
            }
        }
    }
    entities.left_out.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    if entities.keys.is_empty() {
        let reasons = entities.left_out.iter().map(|(reason, count)| format!("{reason} ({count})"));
        let reasons = reasons.collect::<Vec<_>>().join(", ");
        return Err(EntityError::NoneLeft { total: entities.total(), reasons });
    }
    Ok(entities)
}

fn count(counts: &mut Vec<(LeftOut, usize)>, reason: LeftOut) {
    match counts.iter_mut().find(|(known, _)| *known == reason) {
        Some((_, count)) => *count += 1,
        None => counts.push((reason, 1)),
    }
}

const KEY: &str = "key";

/// One row an entity: `key`, `feature:NAME` (float64) and `required:NAME` (how many lines have the column).
fn aggregate(pipeline: &Pipeline, lines: DataFrame) -> PolarsResult<DataFrame> {
    let columns = &pipeline.columns;
    let name = |index: usize| columns[index].name.as_str();
    let features = pipeline.features.iter().map(|feature| expression(feature, name).alias(feature_name(feature)));
    let required = &pipeline.entity.required;
    let required = required.iter().map(|&index| col(name(index)).count().alias(required_name(name(index))));
    // Stable: groups in order of appearance and lines in order within them, so that the first line is the first.
    lines
        .lazy()
        .group_by_stable([col(name(pipeline.entity.key)).alias(KEY)])
        .agg(features.chain(required).collect::<Vec<_>>())
        .collect()
}

fn feature_name(feature: &Feature) -> String {
    format!("feature:{}", feature.name)
}

fn required_name(column: &str) -> String {
    format!("required:{column}")
}

/// A feature as an aggregation; null where no line has a value.
fn expression<'a>(feature: &Feature, name: impl Fn(usize) -> &'a str) -> Expr {
    let values = match feature.operand {
        Operand::Lines => return len().cast(DataType::Float64),
        Operand::Number(index) => col(name(index)),
        Operand::Hour(index) => col(name(index)).dt().hour().cast(DataType::Float64),
    };
    match feature.aggregate {
        Aggregate::Mean => values.mean(),
        Aggregate::Min => values.min(),
        Aggregate::Max => values.max(),
        // Polars' sum of nothing is 0; a feature of nothing is no number.
        Aggregate::Sum => when(values.clone().count().gt(lit(0))).then(values.sum()).otherwise(lit(NULL)),
        Aggregate::First => values.first_non_null(),
        Aggregate::Last => values.last_non_null(),
        Aggregate::Count => values.count().cast(DataType::Float64),
    }
}

/// The grouped frame, column by column.
struct Grouped {
    keys: StringChunked,
    features: Vec<Vec<f64>>,
    /// Index of a required column, and how many lines of each entity have it.
    required: Vec<(usize, Vec<u32>)>,
}

impl Grouped {
    fn new(pipeline: &Pipeline, frame: &DataFrame) -> PolarsResult<Self> {
        let feature = |feature: &Feature| {
            let column = frame.column(&feature_name(feature))?.cast(&DataType::Float64)?;
            Ok(column.f64()?.iter().map(|value| value.unwrap_or(f64::NAN)).collect())
        };
        let required = |&index: &usize| {
            let column = frame.column(&required_name(&pipeline.columns[index].name))?.cast(&DataType::UInt32)?;
            Ok((index, column.u32()?.iter().map(|count| count.unwrap_or(0)).collect()))
        };
        Ok(Self {
            keys: frame.column(KEY)?.str()?.rechunk().into_owned(),
            features: pipeline.features.iter().map(feature).collect::<PolarsResult<_>>()?,
            required: pipeline.entity.required.iter().map(required).collect::<PolarsResult<_>>()?,
        })
    }

    fn fill_row(&self, index: usize, row: &mut [f64]) {
        for (value, column) in row.iter_mut().zip(&self.features) {
            *value = column[index];
        }
    }

    /// Why the entity is left out: a cancellation before all, then rules in the order of the pipeline file.
    fn problem(&self, pipeline: &Pipeline, index: usize, key: &str, row: &[f64]) -> Option<LeftOut> {
        if pipeline.is_cancellation(key) {
            return Some(LeftOut::Cancellation);
        }
        let name = |column: usize| pipeline.columns[column].name.clone();
        let missing = self.required.iter().find(|(_, counts)| counts[index] == 0);
        let missing = missing.map(|(column, _)| Reason::MissingRequired(name(*column)));
        let not_finite = || {
            let feature = row.iter().position(|value| !value.is_finite())?;
            Some(Reason::NotFinite(pipeline.features[feature].name.clone()))
        };
        missing.or_else(not_finite).map(LeftOut::Broken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        features = { Mean = "mean(Amount)", Total = "sum(Amount)", Lines = "count()", First = "first(hour(At))", Last = "last(hour(At))", Hours = "sum(hour(At))", Low = "min(Amount)", High = "max(Amount)" }
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
        assert_eq!(entities.keys, ["b", "a"]);
        let rows: Vec<&[f64]> = entities.features.rows().collect();
        assert_eq!(rows[0], [2.0, 6.0, 3.0, 6.0, 23.0, 29.0, 1.0, 3.0]);
        assert_eq!(rows[1], [5.0, 5.0, 1.0, 7.0, 7.0, 7.0, 5.0, 5.0]);
        assert!(entities.left_out.is_empty());
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
        assert_eq!(entities.keys, ["4"]);
        let left_out: Vec<String> = entities.left_out.iter().map(|(reason, n)| format!("{reason} {n}")).collect();
        assert_eq!(left_out, ["cancellation 1", "missing_required:Who 1", "not_finite:First 1", "not_finite:Mean 1"]);
        assert_eq!(entities.total(), 5);
    }

    #[test]
    fn nothing_left_is_an_error_with_the_reasons() {
        let error = grouped(&[("C1", 1.0, Some(1), true), ("C2", 1.0, Some(1), true)]).unwrap_err().to_string();
        assert_eq!(error, "none of the 2 entities in the history can be trained on: cancellation (2)");
    }
}
