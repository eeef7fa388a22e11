//! Parquet files: columns by name or alias, read some rows at a time, their values under the same rules as those of a CSV
//! file.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use polars::io::parquet::read::FileMetadata;
use polars::prelude::*;
use shared::line::{LineParser, Value, admit, convert, make_key};
use shared::pipeline::{self, ColumnType, Pipeline};
use shared::reason::Reason;

use super::csv::pipeline_columns;
use super::lines::{Lines, used_columns};
use super::physical::{Stored, with_halves, without_meaning};
use super::whole_parquet::{DAMAGED, check_ends, check_sizes, reading};
use super::{LoadError, RowLocation};
use crate::progress::Progress;

/// Most rows that are read at a time; row groups may be larger.
const ROWS_A_SLICE: usize = 1 << 17;

/// The largest whole number up to which every whole number is a float64.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// The values of a column, as the file's type has them.
enum ColumnSource {
    /// The file lacks it, as it may lack an optional column or a text that nothing reads, or has no value in it.
    Absent,
    /// Read as a field of a CSV file is.
    Text(StringChunked),
    /// Whole numbers.
    Integer(Int64Chunked),
    /// Numbers.
    Float(Float64Chunked),
    /// Moments: so many to a millisecond, or a negative number of milliseconds to each.
    Datetime(Int64Chunked, Unit),
}

#[derive(Clone, Copy)]
enum Unit {
    PerMillisecond(i64),
    Milliseconds(i64),
}

pub(super) fn read(
    path: &Path,
    pipeline: &Arc<Pipeline>,
    lines: &mut Lines<'_>,
    progress: Progress,
) -> Result<(), LoadError> {
    let rows = Rows::open(path, pipeline)?;
    let bar = progress.steps("reading", rows.total() as u64);
    let mut parser = LineParser::new(Arc::clone(&pipeline.schema));
    let before = lines.bytes_read();
    for (first_row, n_rows) in rows.slices() {
        let frame = rows.read(first_row, n_rows)?;
        bar.set_position((first_row + n_rows) as u64);
        let share = (first_row + n_rows) as f64 / rows.total().max(1) as f64;
        lines.set_bytes_read(before + (share * rows.bytes as f64) as u64);
        push_rows(path, pipeline, first_row, &frame, &mut parser, lines)?;
    }
    bar.finish_and_clear();
    Ok(())
}

/// Adds the rows of `frame`, of which the first is `first_row` of the file, from 0.
fn push_rows(
    path: &Path,
    pipeline: &Pipeline,
    first_row: usize,
    frame: &DataFrame,
    parser: &mut LineParser,
    lines: &mut Lines<'_>,
) -> Result<(), LoadError> {
    let sources: Vec<ColumnSource> = pipeline
        .schema
        .columns
        .iter()
        .enumerate()
        .map(|(index, column)| {
            let takes_numbers = pipeline.schema.datetime_formats.take_numbers();
            source(path, frame, column, (is_of_key(pipeline, index), takes_numbers))
        })
        .collect::<Result<_, _>>()?;
    let (mut line, mut made) = (vec![Value::Missing; sources.len()], String::new());
    for row in 0..frame.height() {
        let mut reasons = Vec::new();
        for (index, source) in sources.iter().enumerate() {
            match source.value(row, index, &pipeline.schema.columns[index], parser) {
                Ok(value) => line[index] = value,
                Err(reason) => {
                    line[index] = Value::Missing;
                    reasons.push(reason);
                }
            }
        }
        if let Err(reason) = convert(&pipeline.schema, &mut line) {
            reasons.push(reason);
        }
        let number = (first_row + row) as u64 + 1;
        let key = match make_key(&pipeline.schema, &line, &mut made) {
            Ok(key) => key,
            Err(reason) => {
                reasons.push(reason);
                None
            }
        };
        let outcome = if reasons.is_empty() {
            let place = lines.key_of_place(path, number, None);
            lines.push(&line, place.as_deref().or(key));
            Ok(())
        } else {
            Err(reasons)
        };
        lines.count(outcome, || RowLocation::row(path.to_owned(), number))?;
    }
    Ok(())
}

/// A file's rows, in the columns that the pipeline knows.
struct Rows<'a> {
    path: &'a Path,
    file: File,
    bytes: u64,
    metadata: Arc<FileMetadata>,
    columns: Vec<String>,
}

impl<'a> Rows<'a> {
    /// Looks at what the file has.
    fn open(path: &'a Path, pipeline: &Pipeline) -> Result<Self, LoadError> {
        let file = open(path, pipeline)?;
        let (schema, metadata) = contents(path, &file)?;
        let columns = columns_of(path, &schema, pipeline)?;
        let bytes = file.metadata().map_or(0, |found| found.len());
        Ok(Self { path, file, bytes, metadata, columns })
    }

    fn total(&self) -> usize {
        self.metadata.num_rows
    }

    /// First row and number of rows of what is read at a time: no more than a row group, of which one is in memory. A file
    /// without rows has one slice, in which its types are looked at.
    fn slices(&self) -> Vec<(usize, usize)> {
        let mut slices = Vec::new();
        let mut start = 0;
        for group in &self.metadata.row_groups {
            let end = start + group.num_rows();
            slices.extend((start..end).step_by(ROWS_A_SLICE).map(|first| (first, ROWS_A_SLICE.min(end - first))));
            start = end;
        }
        if slices.is_empty() { vec![(0, 0)] } else { slices }
    }

    fn read(&self, first_row: usize, n_rows: usize) -> Result<DataFrame, LoadError> {
        rows(self.path, &self.file, &self.metadata, &self.columns, (first_row, n_rows))
    }
}

fn open(path: &Path, pipeline: &Pipeline) -> Result<File, LoadError> {
    let file = File::open(path).map_err(|source| LoadError::Read { path: path.to_owned(), source })?;
    if file.metadata().is_ok_and(|found| found.len() == 0) {
        return Err(LoadError::Empty { path: path.to_owned(), columns: pipeline_columns(pipeline) });
    }
    Ok(file)
}

fn try_clone(path: &Path, file: &File) -> Result<File, LoadError> {
    file.try_clone().map_err(|source| LoadError::Read { path: path.to_owned(), source })
}

/// What a file says it has: the types of its columns, and where they are.
///
/// # Errors
/// [`LoadError::Parquet`] when it cannot be true.
pub(crate) fn contents(path: &Path, file: &File) -> Result<(Arc<ArrowSchema>, Arc<FileMetadata>), LoadError> {
    let damaged = |problem| LoadError::Parquet { path: path.to_owned(), problem };
    check_ends(file).map_err(damaged)?;
    let mut reader = ParquetReader::new(try_clone(path, file)?);
    let (schema, metadata) = reading(|| Ok((reader.schema()?, Arc::clone(reader.get_metadata()?)))).map_err(damaged)?;
    check_sizes(&metadata, file).map_err(damaged)?;
    Ok((Arc::new(with_halves(&schema, &metadata)), metadata))
}

/// Some rows of a file, in these columns; the first, and how many.
///
/// # Errors
/// [`LoadError::Parquet`] when they are damaged.
pub(crate) fn rows(
    path: &Path,
    file: &File,
    metadata: &Arc<FileMetadata>,
    columns: &[String],
    slice: (usize, usize),
) -> Result<DataFrame, LoadError> {
    let damaged = |problem| LoadError::Parquet { path: path.to_owned(), problem };
    let mut reader = ParquetReader::new(try_clone(path, file)?);
    reader.set_metadata(Arc::clone(metadata));
    let schema = with_halves(&*reading(|| reader.schema()).map_err(damaged)?, metadata);
    let stored = |name: &String| Stored::of(schema.get(name)?.dtype());
    let (own, others): (Vec<String>, Vec<String>) = columns.iter().cloned().partition(|name| stored(name).is_none());
    let mut frame = if own.is_empty() && !others.is_empty() {
        DataFrame::empty_with_height(slice.1)
    } else {
        reading(|| reader.with_columns(Some(own)).with_slice(Some(slice)).finish()).map_err(damaged)?
    };
    if !others.is_empty() {
        let mut reader = ParquetReader::new(try_clone(path, file)?);
        reader.set_metadata(without_meaning(metadata, |name| others.iter().any(|other| other == name)));
        let raw = reading(|| reader.with_columns(Some(others)).with_slice(Some(slice)).finish()).map_err(damaged)?;
        let made = raw.columns().iter().map(|column| {
            let name = column.name().clone();
            let numbers = match stored(&name.to_string()) {
                Some(stored) => stored.numbers(column.as_materialized_series())?,
                None => column.as_materialized_series().clone(),
            };
            Ok(numbers.with_name(name).into_column())
        });
        let made: Vec<Column> = reading(|| made.collect::<PolarsResult<_>>()).map_err(damaged)?;
        frame = reading(|| frame.hstack(&made)).map_err(damaged)?;
    }
    // A column may be shorter than the file says that it is.
    let is_whole = frame.height() == slice.1 && frame.columns().iter().all(|column| column.len() == slice.1);
    if columns.is_empty() || is_whole { Ok(frame) } else { Err(damaged(DAMAGED.to_owned())) }
}

/// The names of the file's columns that the pipeline knows.
fn columns_of(path: &Path, schema: &ArrowSchema, pipeline: &Pipeline) -> Result<Vec<String>, LoadError> {
    let found: Vec<&str> = schema.iter_names().map(PlSmallStr::as_str).collect();
    let name_of = |column: &pipeline::Column| found.iter().find(|name| column.is_called(name)).copied();
    let used = used_columns(pipeline);
    let currency = pipeline.schema.currency.as_ref().map(|currency| currency.column);
    let label = pipeline.label.as_ref().and_then(|label| label.column);
    let needed = |index: usize| {
        let column = &pipeline.schema.columns[index];
        (column.is_read && column.kind != ColumnType::Text)
            || used.contains(&index)
            || [currency, label].contains(&Some(index))
            || is_of_key(pipeline, index)
    };
    let needed = |index: usize| needed(index) && !pipeline.schema.columns[index].is_derived;
    let missing: Vec<String> = (0..pipeline.schema.columns.len())
        .filter(|&index| {
            needed(index)
                && !pipeline.schema.columns[index].optional
                && name_of(&pipeline.schema.columns[index]).is_none()
        })
        .map(|index| pipeline.schema.columns[index].name.clone())
        .collect();
    if !missing.is_empty() {
        return Err(LoadError::missing_columns(path, "", &missing, &found));
    }
    let wanted = (0..pipeline.schema.columns.len()).filter(|&index| needed(index));
    let wanted: Vec<_> = wanted.filter_map(|index| Some((index, name_of(&pipeline.schema.columns[index])?))).collect();
    for &(index, name) in &wanted {
        let dtype = schema.get(name).map(|field| field.dtype());
        if let Some(dtype) = dtype.filter(|dtype| !is_readable(dtype)) {
            let is_key = is_of_key(pipeline, index);
            return Err(wrong_type(path, name, format!("{dtype:?}"), pipeline.schema.columns[index].kind, is_key));
        }
    }
    Ok(wanted.into_iter().map(|(_, name)| name.to_owned()).collect())
}

/// Whether the key is this column, or is made of it among others.
fn is_of_key(pipeline: &Pipeline, column: usize) -> bool {
    column == pipeline.entity.key || pipeline.schema.key.as_ref().is_some_and(|key| key.parts.contains(&column))
}

/// Whether columns of this type are read: Polars panics at those that it was built without, unless their numbers are made
/// of how they are stored.
pub(crate) fn is_readable(dtype: &ArrowDataType) -> bool {
    use ArrowDataType as T;
    match dtype {
        dtype if Stored::of(dtype).is_some() => true,
        T::Null | T::Boolean | T::Float32 | T::Float64 | T::Timestamp(..) | T::Date32 | T::Date64 => true,
        T::Int8 | T::Int16 | T::Int32 | T::Int64 | T::UInt32 | T::UInt64 => true,
        T::Utf8 | T::LargeUtf8 | T::Utf8View => true,
        T::Dictionary(_, values, _) => is_readable(values),
        _ => false,
    }
}

/// The column of the file that holds `column`, in a type that its values are taken from. Numbers are moments where a format
/// of the pipeline takes them.
fn source(
    path: &Path,
    frame: &DataFrame,
    column: &pipeline::Column,
    (is_key, takes_numbers): (bool, bool),
) -> Result<ColumnSource, LoadError> {
    let is_it = |found: &&Column| column.is_called(found.name()) && !column.is_derived;
    let Some(found) = frame.columns().iter().find(is_it) else {
        return Ok(ColumnSource::Absent);
    };
    let dtype = found.dtype().clone();
    let wrong_type = || wrong_type(path, found.name(), dtype.to_string(), column.kind, is_key);
    let series = found.as_materialized_series().rechunk();
    let source = match (column.kind, &dtype) {
        (_, DataType::Null) => Ok(ColumnSource::Absent),
        (_, DataType::String) => series.str().cloned().map(ColumnSource::Text),
        (_, DataType::Categorical(..)) => text(&series),
        // As JSON has true and false: 1 and 0, or texts.
        (ColumnType::Text, DataType::Boolean) => text(&series),
        (ColumnType::Integer | ColumnType::Float, DataType::Boolean) => {
            series.cast(&DataType::Float64).and_then(|series| series.f64().cloned()).map(ColumnSource::Float)
        }
        (ColumnType::Text, dtype) if dtype.is_integer() => text(&series),
        // Where a number may be missing, some writers make it a float: 13085.0 is the customer 13085.
        (ColumnType::Text, dtype) if dtype.is_float() && !is_key => {
            text(&without_nan(&series).map_err(|_| wrong_type())?)
        }
        (ColumnType::Integer, dtype) if dtype.is_integer() => {
            series.strict_cast(&DataType::Int64).and_then(|series| series.i64().cloned()).map(ColumnSource::Integer)
        }
        (ColumnType::Integer | ColumnType::Float, dtype) if dtype.is_primitive_numeric() => {
            series.cast(&DataType::Float64).and_then(|series| series.f64().cloned()).map(ColumnSource::Float)
        }
        (ColumnType::Datetime, DataType::Datetime(unit, _)) => {
            let unit = match unit {
                TimeUnit::Nanoseconds => Unit::PerMillisecond(1_000_000),
                TimeUnit::Microseconds => Unit::PerMillisecond(1_000),
                TimeUnit::Milliseconds => Unit::PerMillisecond(1),
            };
            moments(&series, unit)
        }
        (ColumnType::Datetime, dtype) if takes_numbers && dtype.is_primitive_numeric() => text(&series),
        (ColumnType::Datetime, DataType::Date) => moments(&series, Unit::Milliseconds(86_400_000)),
        _ => return Err(wrong_type()),
    };
    source.map_err(|_| wrong_type())
}

fn text(series: &Series) -> PolarsResult<ColumnSource> {
    series.cast(&DataType::String).and_then(|series| series.str().cloned()).map(ColumnSource::Text)
}

fn without_nan(series: &Series) -> PolarsResult<Series> {
    let numbers = series.cast(&DataType::Float64)?;
    let kept: Float64Chunked = numbers.f64()?.iter().map(|number| number.filter(|number| !number.is_nan())).collect();
    Ok(kept.into_series())
}

fn moments(series: &Series, unit: Unit) -> PolarsResult<ColumnSource> {
    let physical = series.to_physical_repr().cast(&DataType::Int64)?;
    physical.i64().cloned().map(|values| ColumnSource::Datetime(values, unit))
}

fn wrong_type(path: &Path, column: &str, found: String, kind: ColumnType, is_key: bool) -> LoadError {
    let (declared, allowed) = expected(kind, is_key);
    LoadError::WrongType { path: path.to_owned(), column: column.to_owned(), found, declared, allowed }
}

fn expected(kind: ColumnType, is_key: bool) -> (&'static str, &'static str) {
    match kind {
        ColumnType::Text if is_key => ("a text", "a text or a whole number"),
        ColumnType::Text => ("a text", "a text, a number or a boolean"),
        ColumnType::Integer => ("int", "a whole number, a decimal or a boolean"),
        ColumnType::Float => ("float", "a number, a decimal, a time of day or a boolean"),
        ColumnType::Datetime => (
            "datetime",
            "a date, a text in one of the pipeline's datetime_formats, or a number where they name unix_s, unix_ms or unix_us",
        ),
    }
}

impl ColumnSource {
    fn value<'a>(
        &'a self,
        row: usize,
        index: usize,
        column: &pipeline::Column,
        parser: &mut LineParser,
    ) -> Result<Value<'a>, Reason> {
        let value = match self {
            Self::Absent => None,
            Self::Text(texts) => return parser.parse_value(index, texts.get(row).unwrap_or("").as_bytes()),
            Self::Integer(numbers) => numbers.get(row).map(Value::Integer),
            Self::Float(numbers) if column.kind == ColumnType::Integer => match numbers.get(row) {
                Some(number) if number.fract() == 0.0 && number.abs() <= EXACT => Some(Value::Integer(number as i64)),
                Some(_) => return Err(Reason::NotAnInteger(column.name.clone())),
                None => None,
            },
            Self::Float(numbers) => numbers.get(row).map(Value::Float),
            Self::Datetime(moments, unit) => {
                moments.get(row).map(|moment| Value::Datetime(unit.to_milliseconds(moment)))
            }
        };
        admit(column, value.unwrap_or(Value::Missing))
    }
}

impl Unit {
    fn to_milliseconds(self, moment: i64) -> i64 {
        match self {
            Self::PerMillisecond(count) => moment.div_euclid(count),
            Self::Milliseconds(count) => moment.saturating_mul(count),
        }
    }
}
