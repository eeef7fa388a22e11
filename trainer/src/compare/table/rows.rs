//! The rows of files, whatever their format, as cells.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, Cursor, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use polars::prelude::*;
use shared::avro::AvroFile;
use shared::dialect::{Dialect, NULLS, Nulls, likely_delimiter};
use shared::draft::sample::{Cell as JsonCell, Found};
use shared::draft::{avro, json};
use shared::json_file::JsonFile;
use shared::pipeline::InputFormat;
use shared::records::{Fields, FileRecords};

use super::error::{TableError, listed};
use crate::load::{self, LoadError, RowLocation, TextFile};
use crate::progress::Progress;

/// Bytes of a CSV record; a longer one is no row of numbers.
const MAX_RECORD_BYTES: usize = 64 << 20;

/// Most cells of a Parquet file that are in memory at a time, unless a row group has more.
const CELLS_A_SLICE: usize = 1 << 21;

/// What stands in a row, at a column.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Cell<'a> {
    /// Nothing, or what people write for it, or a number that is not finite.
    Missing,
    /// A number; also a boolean, as 0 or 1, or a moment, in seconds since 1970.
    Number(f64),
    /// A text that may be a number, trimmed.
    Text(Cow<'a, str>),
    /// Something of this type, which is no number.
    Other(&'a str),
}

/// A row of the first file's columns, in their order.
pub(super) enum Row<'a> {
    Csv { fields: &'a Fields, order: &'a [usize] },
    Named(&'a [JsonCell]),
    Frame { columns: &'a [Values], row: usize },
}

/// A column of a slice of a Parquet file.
pub(super) enum Values {
    /// Not a number where missing.
    Numbers(Vec<f64>),
    Texts(StringChunked),
    /// Of this type, which is no feature.
    Other(String),
}

impl Row<'_> {
    /// The cell of a column.
    pub(super) fn cell(&self, column: usize) -> Cell<'_> {
        match self {
            Self::Csv { fields, order } => Cell::of_text(String::from_utf8_lossy(fields.get(order[column]))),
            Self::Frame { columns, row } => match &columns[column] {
                Values::Numbers(numbers) => Cell::of_number(numbers[*row]),
                Values::Texts(texts) => texts.get(*row).map_or(Cell::Missing, |text| Cell::of_text(text.into())),
                Values::Other(dtype) => Cell::Other(dtype),
            },
            Self::Named(cells) => match &cells[column] {
                JsonCell::Missing => Cell::Missing,
                JsonCell::Flag(flag) => Cell::Number(f64::from(u8::from(*flag))),
                JsonCell::Text(text) | JsonCell::Number(text) => Cell::of_text(text.as_str().into()),
                JsonCell::Moment(moment) => Cell::Number(*moment as f64 / 1e3),
                JsonCell::Nested => Cell::Other("a list or an object"),
            },
        }
    }
}

impl<'a> Cell<'a> {
    fn of_number(number: f64) -> Self {
        if number.is_finite() { Self::Number(number) } else { Self::Missing }
    }

    fn of_text(text: Cow<'a, str>) -> Self {
        let text = match text {
            Cow::Borrowed(text) => Cow::Borrowed(text.trim()),
            Cow::Owned(text) => Cow::Owned(text.trim().to_owned()),
        };
        if MISSING.contains(&text) { Self::Missing } else { Self::Text(text) }
    }
}

/// What stands for nothing in tables: as in every CSV file, and what R, Ruby and old data sets write.
static MISSING: LazyLock<Nulls> = LazyLock::new(|| Nulls::new(&[&NULLS[..], &["NA", "nil", "?"]].concat()));

/// Bytes at the beginning of a file in which its header is looked for.
const HEAD_BYTES: u64 = 64 << 10;

/// The records of a file that is separated as its header is.
fn csv_records(mut source: Box<dyn Read>) -> io::Result<FileRecords<impl Read>> {
    let mut head = Vec::new();
    source.by_ref().take(HEAD_BYTES).read_to_end(&mut head)?;
    let header = head.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let usual = Dialect::default();
    let dialect = Dialect { delimiter: likely_delimiter(header).unwrap_or(usual.delimiter), ..usual };
    FileRecords::new(Cursor::new(head).chain(source), &dialect, MAX_RECORD_BYTES)
}

/// Rows that are left out: how many there are, where the first is, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LeftOutRows {
    pub count: u64,
    first: String,
    why: String,
}

impl LeftOutRows {
    fn count(rows: &mut Option<Self>, first: &RowLocation<&Path>, why: impl FnOnce() -> String) {
        rows.get_or_insert_with(|| Self { count: 0, first: first.to_string(), why: why() }).count += 1;
    }

    /// What has to be said of them.
    pub(super) fn note(&self) -> String {
        let Self { count, first, why } = self;
        format!("{count} rows {why} and are left out, first {first}")
    }
}

/// Files with the same columns.
pub(super) struct Files {
    paths: Vec<PathBuf>,
    /// Of the first file.
    columns: Vec<String>,
}

/// Takes a row, and where it stands.
pub(super) type TakeRow<'a> = &'a mut dyn FnMut(&Row<'_>, &RowLocation<&Path>) -> Result<(), TableError>;

impl Files {
    /// Looks at the columns of the first of `paths`, of which there is at least one.
    pub(super) fn open(paths: &[PathBuf]) -> Result<Self, TableError> {
        let first = &paths[0];
        let columns = match first {
            first if is_parquet(first) => parquet_columns(first)?,
            first if has_names(first) => named_columns(first)?,
            first => csv_columns(first)?,
        };
        Ok(Self { paths: paths.to_vec(), columns })
    }

    /// The columns' names.
    pub(super) fn columns(&self) -> &[String] {
        &self.columns
    }

    /// The files' names, for messages.
    pub(super) fn name(&self) -> String {
        self.paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
    }

    /// Hands every row to `take`, in order. Rows of a CSV file that have another number of fields than its header are left
    /// out, and lines of JSON that are no objects.
    pub(super) fn for_each_row(
        &self,
        progress: Progress,
        take: TakeRow<'_>,
    ) -> Result<Option<LeftOutRows>, TableError> {
        let mut left_out = None;
        for path in &self.paths {
            match path {
                path if is_parquet(path) => self.parquet_rows(path, progress, take)?,
                path if has_names(path) => self.named_rows(path, progress, take, &mut left_out)?,
                path => self.csv_rows(path, progress, take, &mut left_out)?,
            }
        }
        Ok(left_out)
    }

    /// The objects of a file of JSON, or the records of one of Avro. A field that is missing is a missing value.
    fn named_rows(
        &self,
        path: &Path,
        progress: Progress,
        take: TakeRow<'_>,
        left_out: &mut Option<LeftOutRows>,
    ) -> Result<(), TableError> {
        let places: HashMap<&str, usize> =
            self.columns.iter().enumerate().map(|(place, name)| (name.as_str(), place)).collect();
        let mut cells = vec![JsonCell::Missing; self.columns.len()];
        each_record(path, progress, &mut |location, object| {
            let Some(object) = object else {
                LeftOutRows::count(left_out, location, || "are no JSON objects".to_owned());
                return Ok(());
            };
            cells.fill(JsonCell::Missing);
            for (found, cell) in object {
                // A column that the first file does not have is passed over.
                if let Some(&place) = places.get(found.name.as_str()) {
                    cells[place] = cell;
                }
            }
            take(&Row::Named(&cells), location)
        })
    }

    fn csv_rows(
        &self,
        path: &Path,
        progress: Progress,
        take: TakeRow<'_>,
        left_out: &mut Option<LeftOutRows>,
    ) -> Result<(), TableError> {
        let TextFile { source, bar, is_gzip } = TextFile::open(path, progress)?;
        let failed = |source| load::failed(path, is_gzip, source);
        let mut records = csv_records(source).map_err(failed)?;
        let header = names(records.next_record().map_err(failed)?.map(|record| record.fields));
        let order = self.order(path, &header)?;
        while let Some(record) = records.next_record().map_err(failed)? {
            let location = RowLocation::line(path, record.line);
            if record.fields.len() == header.len() {
                take(&Row::Csv { fields: record.fields, order: &order }, &location)?;
            } else {
                LeftOutRows::count(left_out, &location, || format!("do not have {} fields", header.len()));
            }
        }
        bar.finish_and_clear();
        Ok(())
    }

    fn parquet_rows(&self, path: &Path, progress: Progress, take: TakeRow<'_>) -> Result<(), TableError> {
        let file = parquet_file(path)?;
        let (schema, metadata) = load::contents(path, &file)?;
        self.order(path, &column_names(&schema))?;
        let is_readable = |name: &String| schema.get(name).is_some_and(|field| load::is_readable(field.dtype()));
        let readable: Vec<String> = self.columns.iter().filter(|name| is_readable(name)).cloned().collect();
        let bar = progress.steps("reading", metadata.num_rows as u64);
        let rows_a_slice = (CELLS_A_SLICE / self.columns.len().max(1)).max(1);
        let mut start = 0;
        for group in &metadata.row_groups {
            let end = start + group.num_rows();
            while start < end {
                let n_rows = rows_a_slice.min(end - start);
                let frame = load::rows(path, &file, &metadata, &readable, (start, n_rows))?;
                let dtype =
                    |name: &str| schema.get(name).map_or_else(String::new, |field| format!("{:?}", field.dtype()));
                let columns: Vec<Values> =
                    self.columns.iter().map(|name| values(&frame, name, || dtype(name))).collect();
                for row in 0..frame.height() {
                    let location = RowLocation::row(path, (start + row) as u64 + 1);
                    take(&Row::Frame { columns: &columns, row }, &location)?;
                }
                start += n_rows;
                bar.set_position(start as u64);
            }
        }
        bar.finish_and_clear();
        Ok(())
    }

    /// Where in a file that has the columns `found` each of ours stands.
    fn order(&self, path: &Path, found: &[String]) -> Result<Vec<usize>, TableError> {
        let place = |column: &String| {
            found.iter().position(|name| name == column).ok_or_else(|| TableError::NoColumn {
                file: path.display().to_string(),
                column: column.clone(),
                found: listed(found.iter()),
            })
        };
        self.columns.iter().map(place).collect()
    }
}

fn is_parquet(path: &Path) -> bool {
    let name = path.extension().and_then(|name| name.to_str());
    name.is_some_and(|name| name.eq_ignore_ascii_case("parquet") || name.eq_ignore_ascii_case("pq"))
}

fn is_avro(path: &Path) -> bool {
    InputFormat::of_file(path) == Some(InputFormat::Avro)
}

/// Whether each record of the file names its fields.
fn has_names(path: &Path) -> bool {
    is_avro(path) || InputFormat::of_file(path) == Some(InputFormat::Json)
}

/// Takes the fields of a record, or `None` for one that has none, and where it stands.
type TakeRecord<'a> = &'a mut dyn FnMut(&RowLocation<&Path>, Option<Vec<(Found, JsonCell)>>) -> Result<(), TableError>;

/// Hands every record of a file of JSON or of Avro to `take`.
fn each_record(path: &Path, progress: Progress, take: TakeRecord<'_>) -> Result<(), TableError> {
    let file = TextFile::open(path, progress)?;
    if is_avro(path) {
        let TextFile { source, bar, is_gzip } = file;
        let failed = |error| load::failed_avro(path, is_gzip, error);
        let mut records = AvroFile::new(source).map_err(failed)?;
        let schema = Arc::clone(records.schema());
        while let Some(record) = records.next_record().map_err(failed)? {
            take(&RowLocation::row(path, record.number), avro::fields(&schema, record.raw, usize::MAX))?;
        }
        bar.finish_and_clear();
        return Ok(());
    }
    let TextFile { source, bar, is_gzip } = file;
    let failed = |source| load::failed(path, is_gzip, source);
    let mut records = JsonFile::new(source, MAX_RECORD_BYTES, false).map_err(failed)?;
    while let Some(record) = records.next_record().map_err(failed)? {
        take(&RowLocation::line(path, record.line), json::fields(record.raw, usize::MAX))?;
    }
    bar.finish_and_clear();
    Ok(())
}

/// The names of all fields of the records of a file, in the order in which they come; those in objects are called by the paths to
/// them.
fn named_columns(path: &Path) -> Result<Vec<String>, TableError> {
    let (mut names, mut known) = (Vec::new(), HashSet::new());
    each_record(path, Progress { quiet: true }, &mut |_, object| {
        for (found, _) in object.into_iter().flatten() {
            if known.insert(found.name.clone()) {
                names.push(found.name);
            }
        }
        Ok(())
    })?;
    if names.is_empty() { Err(TableError::NoObject { file: path.display().to_string() }) } else { Ok(names) }
}

fn csv_columns(path: &Path) -> Result<Vec<String>, TableError> {
    let TextFile { source, is_gzip, .. } = TextFile::open(path, Progress { quiet: true })?;
    let failed = |source| load::failed(path, is_gzip, source);
    let mut records = csv_records(source).map_err(failed)?;
    let columns = names(records.next_record().map_err(failed)?.map(|record| record.fields));
    if columns.is_empty() { Err(TableError::Empty { file: path.display().to_string() }) } else { Ok(columns) }
}

/// The names that a header has; none when there is no header.
fn names(header: Option<&Fields>) -> Vec<String> {
    let fields = header.into_iter().flat_map(Fields::iter);
    fields.map(|name| String::from_utf8_lossy(name).trim().to_owned()).collect()
}

fn parquet_file(path: &Path) -> Result<File, TableError> {
    let file = File::open(path).map_err(|source| LoadError::Read { path: path.to_owned(), source })?;
    if file.metadata().is_ok_and(|found| found.len() == 0) {
        return Err(TableError::Empty { file: path.display().to_string() });
    }
    Ok(file)
}

fn parquet_columns(path: &Path) -> Result<Vec<String>, TableError> {
    let (schema, _) = load::contents(path, &parquet_file(path)?)?;
    Ok(column_names(&schema))
}

fn column_names(schema: &ArrowSchema) -> Vec<String> {
    schema.iter_names().map(|name| name.to_string()).collect()
}

/// The values of a column of a frame, which lacks it where it is of a type that is not read.
fn values(frame: &DataFrame, name: &str, dtype: impl Fn() -> String) -> Values {
    let Ok(column) = frame.column(name) else { return Values::Other(dtype()) };
    let series = column.as_materialized_series().rechunk();
    let read = match series.dtype() {
        DataType::String => series.str().cloned().map(Values::Texts),
        DataType::Categorical(..) => {
            series.cast(&DataType::String).and_then(|texts| texts.str().cloned()).map(Values::Texts)
        }
        DataType::Datetime(unit, _) => {
            let a_second = match unit {
                TimeUnit::Nanoseconds => 1e9,
                TimeUnit::Microseconds => 1e6,
                TimeUnit::Milliseconds => 1e3,
            };
            numbers(&series.to_physical_repr(), 1.0 / a_second)
        }
        DataType::Date => numbers(&series.to_physical_repr(), 86_400.0),
        DataType::Boolean => numbers(&series, 1.0),
        dtype if dtype.is_primitive_numeric() => numbers(&series, 1.0),
        DataType::Null => Ok(Values::Numbers(vec![f64::NAN; series.len()])),
        _ => return Values::Other(dtype()),
    };
    read.unwrap_or_else(|_| Values::Other(dtype()))
}

fn numbers(series: &Series, factor: f64) -> PolarsResult<Values> {
    let numbers = series.cast(&DataType::Float64)?;
    let numbers = numbers.f64()?.iter().map(|number| number.map_or(f64::NAN, |number| number * factor));
    Ok(Values::Numbers(numbers.collect()))
}
