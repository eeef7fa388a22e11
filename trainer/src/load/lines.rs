//! Valid lines as they come, kept in the columns that training needs.

use polars::prelude::*;
use shared::features::Operand;
use shared::line::Value;
use shared::pipeline::{ColumnType, Pipeline};
use shared::reason::Reason;

use super::{BadRows, LoadError, Loaded, Place};

/// What is kept of a column.
enum Builder {
    /// Its text: the key.
    Text(StringChunkedBuilder),
    /// Its number, as features read it.
    Number(PrimitiveChunkedBuilder<Float64Type>),
    /// Its moment, in milliseconds.
    Datetime(PrimitiveChunkedBuilder<Int64Type>),
    /// Only whether it is there: a text that rules ask for and nothing reads.
    Presence(BooleanChunkedBuilder),
}

/// The lines so far, and the count of the rows that are none.
pub(super) struct Lines {
    /// Index of a column in the pipeline, and what is kept of it.
    columns: Vec<(usize, Builder)>,
    n_lines: u64,
    bad_rows: BadRows,
}

impl Lines {
    /// No line yet.
    pub(super) fn new(pipeline: &Pipeline) -> Self {
        let builder = |&index: &usize| (index, builder(pipeline, index));
        Self { columns: used_columns(pipeline).iter().map(builder).collect(), n_lines: 0, bad_rows: BadRows::default() }
    }

    /// Adds a valid line, one value a column of the pipeline.
    pub(super) fn push(&mut self, line: &[Value<'_>]) {
        self.n_lines += 1;
        for (index, builder) in &mut self.columns {
            builder.push(line[*index]);
        }
    }

    /// Adds what became of a row: the line was pushed, or there are reasons why it is none.
    pub(super) fn count(&mut self, outcome: Result<(), Vec<Reason>>, place: impl FnOnce() -> Place) {
        if let Err(reasons) = outcome {
            self.bad_rows.add(reasons, place);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.n_lines == 0
    }

    pub(super) fn rows_read(&self) -> u64 {
        self.n_lines + self.bad_rows.total()
    }

    pub(super) fn bad_rows(&self) -> &BadRows {
        &self.bad_rows
    }

    /// All lines as a frame.
    pub(super) fn finish(self) -> Result<Loaded, LoadError> {
        let rows_read = self.rows_read();
        let columns: Vec<Column> = self.columns.into_iter().map(|(_, builder)| builder.finish()).collect();
        Ok(Loaded { lines: DataFrame::new_infer_height(columns)?, rows_read, bad_rows: self.bad_rows })
    }
}

/// The key, what features read, and what rules ask for: the other columns are checked and not kept.
pub(super) fn used_columns(pipeline: &Pipeline) -> Vec<usize> {
    let read = pipeline.features.iter().filter_map(|feature| match feature.operand {
        Operand::Number(index) | Operand::Hour(index) => Some(index),
        Operand::Lines => None,
    });
    let mut used: Vec<usize> =
        read.chain([pipeline.entity.key]).chain(pipeline.entity.required.iter().copied()).collect();
    used.sort_unstable();
    used.dedup();
    used
}

fn builder(pipeline: &Pipeline, index: usize) -> Builder {
    let column = &pipeline.columns[index];
    let name = PlSmallStr::from_str(&column.name);
    match column.kind {
        ColumnType::Text if index == pipeline.entity.key => Builder::Text(StringChunkedBuilder::new(name, 0)),
        ColumnType::Text => Builder::Presence(BooleanChunkedBuilder::new(name, 0)),
        ColumnType::Integer | ColumnType::Float => Builder::Number(PrimitiveChunkedBuilder::new(name, 0)),
        ColumnType::Datetime => Builder::Datetime(PrimitiveChunkedBuilder::new(name, 0)),
    }
}

impl Builder {
    fn push(&mut self, value: Value<'_>) {
        match self {
            Self::Text(builder) => builder.append_option(value.text()),
            Self::Number(builder) => builder.append_option(number(value)),
            Self::Datetime(builder) => builder.append_option(value.datetime()),
            Self::Presence(builder) => builder.append_option((!value.is_missing()).then_some(true)),
        }
    }

    fn finish(self) -> Column {
        match self {
            Self::Text(builder) => builder.finish().into_column(),
            Self::Number(builder) => builder.finish().into_column(),
            Self::Datetime(builder) => builder.finish().into_datetime(TimeUnit::Milliseconds, None).into_column(),
            Self::Presence(builder) => builder.finish().into_column(),
        }
    }
}

/// As the accumulators of the stream read it.
fn number(value: Value<'_>) -> Option<f64> {
    match value {
        Value::Integer(number) => Some(number as f64),
        Value::Float(number) => Some(number),
        _ => None,
    }
}
