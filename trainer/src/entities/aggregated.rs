//! What Polars makes of the lines of a chunk: one row a key, with the state of its features and what they keep.

use polars::prelude::*;
use shared::features::{Accumulators, Aggregate, Feature, Kept, KeptValue, Operand, Operator};
use shared::pipeline::{ColumnType, Pipeline};

const KEY: &str = "key";

/// The aggregated frame of a chunk, column by column.
pub(super) struct Aggregated {
    pub(super) keys: StringChunked,
    /// One column a number of the accumulators' state.
    states: Vec<Vec<f64>>,
    /// One column a feature that keeps values: those of the entity's lines.
    kept: Vec<ListChunked>,
    /// One column a required column of the pipeline: whether any of the entity's lines has it.
    pub(super) present: Vec<Vec<bool>>,
}

impl Aggregated {
    /// Of lines whose columns are called as in the pipeline.
    pub(super) fn of(pipeline: &Pipeline, lines: DataFrame) -> PolarsResult<Self> {
        Self::new(pipeline, &aggregate(pipeline, lines)?)
    }

    fn new(pipeline: &Pipeline, frame: &DataFrame) -> PolarsResult<Self> {
        let state = |index: usize| {
            let column = frame.column(&state_name(index))?.cast(&DataType::Float64)?;
            Ok(column.f64()?.iter().map(|value| value.unwrap_or(f64::NAN)).collect())
        };
        let kept = |index: usize| Ok(frame.column(&kept_name(index))?.list()?.rechunk().into_owned());
        let present = |&index: &usize| {
            let column = frame.column(&required_name(&pipeline.schema.columns[index].name))?.cast(&DataType::UInt32)?;
            Ok(column.u32()?.iter().map(|count| count.unwrap_or(0) > 0).collect())
        };
        Ok(Self {
            keys: frame.column(KEY)?.str()?.rechunk().into_owned(),
            states: (0..Accumulators::state_len(pipeline.session_features()))
                .map(state)
                .collect::<PolarsResult<_>>()?,
            kept: (0..keeping(pipeline).count()).map(kept).collect::<PolarsResult<_>>()?,
            present: pipeline.entity.required.iter().map(present).collect::<PolarsResult<_>>()?,
        })
    }

    pub(super) fn fill_state(&self, row: usize, state: &mut [f64]) {
        for (value, column) in state.iter_mut().zip(&self.states) {
            *value = column[row];
        }
    }

    /// Whether features keep values.
    pub(super) fn keeps_values(&self) -> bool {
        !self.kept.is_empty()
    }

    /// Adds to `kept` what features keep of the lines of a row.
    pub(super) fn keep(&self, row: usize, kept: &mut Kept) -> PolarsResult<()> {
        for (place, column) in self.kept.iter().enumerate() {
            if let Some(values) = column.get_as_series(row) {
                keep_all(kept, place, &values)?;
            }
        }
        Ok(())
    }
}

/// One row an entity: `key`, `state:N` (float64, one a number of the accumulators' state), `kept:N` (a list of values, one a
/// feature that keeps them) and `required:NAME` (how many lines have the column).
fn aggregate(pipeline: &Pipeline, lines: DataFrame) -> PolarsResult<DataFrame> {
    let name = |index: usize| pipeline.schema.columns[index].name.as_str();
    let states = pipeline.session_features().iter().flat_map(|feature| state_of(pipeline, feature));
    let states = states.enumerate().map(|(index, expression)| expression.alias(state_name(index)));
    let kept = keeping(pipeline).map(|feature| kept_of(pipeline, feature));
    let kept = kept.enumerate().map(|(index, expression)| expression.alias(kept_name(index)));
    let required = &pipeline.entity.required;
    let required = required.iter().map(|&index| col(name(index)).count().alias(required_name(name(index))));
    // Stable: groups in order of appearance and lines in order within them, so that the first line is the first.
    lines
        .lazy()
        .group_by_stable([col(name(pipeline.entity.key)).alias(KEY)])
        .agg(states.chain(kept).chain(required).collect::<Vec<_>>())
        .collect()
}

fn state_name(index: usize) -> String {
    format!("state:{index}")
}

fn kept_name(index: usize) -> String {
    format!("kept:{index}")
}

fn required_name(column: &str) -> String {
    format!("required:{column}")
}

/// The features that keep values.
fn keeping(pipeline: &Pipeline) -> impl Iterator<Item = &Feature> {
    pipeline.session_features().iter().filter(|feature| feature.aggregate.keeps_values())
}

/// The values that a feature keeps; null where a line has none. What is told apart stays as it is.
fn kept_of(pipeline: &Pipeline, feature: &Feature) -> Expr {
    match feature.operand {
        Operand::Number(index) if feature.aggregate == Aggregate::CountDistinct => column(pipeline, index),
        Operand::Moment(index) => column(pipeline, index).cast(DataType::Int64),
        _ => values_of(pipeline, &feature.operand),
    }
}

/// Keeps what a list of one of those columns holds.
fn keep_all(kept: &mut Kept, place: usize, values: &Series) -> PolarsResult<()> {
    match values.dtype() {
        DataType::String => {
            values.str()?.iter().flatten().for_each(|text| kept.keep(place, KeptValue::Text(text)));
        }
        DataType::Int64 => {
            values.i64()?.iter().flatten().for_each(|number| kept.keep(place, KeptValue::Integer(number)));
        }
        _ => values.f64()?.iter().flatten().for_each(|number| kept.keep(place, KeptValue::Number(number))),
    }
    Ok(())
}

/// What an aggregate is taken of, line by line; null where a line has no value.
fn values_of(pipeline: &Pipeline, operand: &Operand) -> Expr {
    match *operand {
        Operand::Lines => lit(1.0),
        Operand::Number(index) => number(pipeline, index),
        Operand::Text(index) | Operand::Moment(index) => column(pipeline, index),
        Operand::Is(index, ref kind) => column(pipeline, index).eq(lit(kind.clone())),
        Operand::Hour(index) => column(pipeline, index).dt().hour().cast(DataType::Float64),
        // Of Polars, Monday is 1.
        Operand::DayOfWeek(index) => column(pipeline, index).dt().weekday().cast(DataType::Float64) - lit(1.0),
        Operand::Arithmetic(left, operator, right) => {
            arithmetic(column(pipeline, left), operator, column(pipeline, right))
        }
    }
}

fn column(pipeline: &Pipeline, index: usize) -> Expr {
    col(pipeline.schema.columns[index].name.as_str())
}

/// A number in float64. Whole numbers that are told apart come as they are.
fn number(pipeline: &Pipeline, index: usize) -> Expr {
    let is_told_apart = || keeping(pipeline).any(|feature| feature.distinct_column() == Some(index));
    match pipeline.schema.columns[index].kind {
        ColumnType::Integer if is_told_apart() => column(pipeline, index).cast(DataType::Float64),
        _ => column(pipeline, index),
    }
}

/// The state of a feature's accumulator as aggregations; null where no line has a value.
fn state_of(pipeline: &Pipeline, feature: &Feature) -> Vec<Expr> {
    if feature.operand == Operand::Lines {
        return vec![len().cast(DataType::Float64)];
    }
    let values = values_of(pipeline, &feature.operand);
    match feature.aggregate {
        // Polars' sum of nothing is 0, as a mean's state is.
        Aggregate::Mean => vec![values.clone().sum(), values.count().cast(DataType::Float64)],
        Aggregate::Min => vec![values.min()],
        Aggregate::Max => vec![values.max()],
        // A feature of nothing is NaN.
        Aggregate::Sum => vec![when(values.clone().count().gt(lit(0))).then(values.sum()).otherwise(lit(NULL))],
        Aggregate::First => vec![values.first_non_null()],
        Aggregate::Last => vec![values.last_non_null()],
        Aggregate::Count | Aggregate::Median | Aggregate::CountDistinct => vec![values.count().cast(DataType::Float64)],
        // A line without a text is of no kind, and a line all the same.
        Aggregate::Share => vec![values.sum().cast(DataType::Float64), len().cast(DataType::Float64)],
    }
}

/// In float64, as on the stream; null where one is missing or the result is no finite number.
fn arithmetic(left: Expr, operator: Operator, right: Expr) -> Expr {
    let (left, right) = (left.cast(DataType::Float64), right.cast(DataType::Float64));
    let value = match operator {
        Operator::Plus => left + right,
        Operator::Minus => left - right,
        Operator::Times => left * right,
        Operator::By => left / right,
    };
    when(value.clone().is_finite()).then(value).otherwise(lit(NULL))
}
