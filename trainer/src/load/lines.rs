//! Valid lines as they come, in chunks of the columns that training needs.

use std::path::Path;

use polars::prelude::*;
use shared::features::Feature;
use shared::line::{Part, Value, odd_date};
use shared::pipeline::{ColumnType, Pipeline, Scored, key_in_file};
use shared::reason::Reason;
use shared::time::Timestamp;

use super::kept::{Keeping, Records};
use super::{BadRows, ChunkError, FileRows, LoadError, Loaded, OddDates, RowLocation};
use crate::clock::now;

/// Lines of a chunk.
///
/// Where chunks end depends on how many valid lines there were and on nothing else: not on files, on their formats or on
/// the memory that there is. So the same lines give the same sums, to the last bit.
pub const LINES_A_CHUNK: usize = 1 << 17;

/// Takes chunks of lines, whose columns are called as in the pipeline, and how much of the history they end: 0 to 1.
pub type TakeChunk<'a> = &'a mut dyn FnMut(DataFrame, f64) -> Result<(), ChunkError>;

/// What is kept of a column.
enum Builder {
    /// Its text: the key.
    Text(StringChunkedBuilder),
    /// Its number, as features read it.
    Number(PrimitiveChunkedBuilder<Float64Type>),
    /// Its whole number with all its digits, which are told apart.
    Integer(PrimitiveChunkedBuilder<Int64Type>),
    /// Its moment, in milliseconds.
    Datetime(PrimitiveChunkedBuilder<Int64Type>),
    /// Only whether it is there: a text that rules ask for and nothing reads.
    Presence(BooleanChunkedBuilder),
}

/// The lines of the chunk under way, and the count of all rows.
pub(super) struct Lines<'a> {
    pipeline: &'a Pipeline,
    /// Index of a column in the pipeline, and what is kept of it.
    columns: Vec<(usize, Builder)>,
    in_chunk: usize,
    n_lines: u64,
    /// Messages without one.
    without_record: u64,
    /// The present: dates in a file are of before.
    now: Timestamp,
    /// The column and the date of the row under way, where that is odd.
    odd_in_row: Option<(usize, Timestamp)>,
    odd_dates: Option<OddDates>,
    /// Of all files that have ended.
    bad_rows: BadRows,
    files: Vec<FileRows>,
    /// Of the file under way: bad rows, and lines before it.
    in_file: BadRows,
    lines_before: u64,
    /// Bytes of all files, and of those that were read.
    total_bytes: u64,
    bytes_read: u64,
    take: TakeChunk<'a>,
}

impl<'a> Lines<'a> {
    /// No line yet, of files that have `total_bytes`; chunks go to `take`.
    pub(super) fn new(pipeline: &'a Pipeline, total_bytes: u64, take: TakeChunk<'a>) -> Self {
        Self {
            pipeline,
            columns: builders(pipeline),
            in_chunk: 0,
            n_lines: 0,
            without_record: 0,
            now: now(),
            odd_in_row: None,
            odd_dates: None,
            bad_rows: BadRows::default(),
            files: Vec::new(),
            in_file: BadRows::default(),
            lines_before: 0,
            total_bytes,
            bytes_read: 0,
            take,
        }
    }

    /// Notes that of all files so many bytes were read.
    pub(super) fn set_bytes_read(&mut self, bytes: u64) {
        self.bytes_read = bytes;
    }

    pub(super) fn bytes_read(&self) -> u64 {
        self.bytes_read
    }

    /// Adds a valid line, one value a column of the pipeline, and its key where that is not among them.
    pub(super) fn push(&mut self, line: &[Value<'_>], key: Option<&str>) {
        self.in_chunk += 1;
        self.n_lines += 1;
        self.odd_in_row = odd_date(line, Some(self.now));
        for (index, builder) in &mut self.columns {
            let key = key.filter(|_| *index == self.pipeline.entity.key);
            builder.push(key.map_or(line[*index], Value::Text));
        }
    }

    /// What has to be kept of lines that are pushed later.
    pub(super) fn keeping(&self) -> Keeping {
        let column = |(index, builder): &(usize, Builder)| (*index, matches!(builder, Builder::Text(_)));
        Keeping { columns: self.columns.iter().map(column).collect(), now: self.now }
    }

    /// As [`push`](Self::push), for line `index` of what was kept, with its odd date.
    pub(super) fn push_kept(
        &mut self,
        found: &Records,
        index: usize,
        odd: Option<(usize, Timestamp)>,
        key: Option<&str>,
    ) {
        self.in_chunk += 1;
        self.n_lines += 1;
        self.odd_in_row = odd;
        let values = found.values(index, self.columns.len());
        for ((column, builder), value) in self.columns.iter_mut().zip(values) {
            let key = key.filter(|_| *column == self.pipeline.entity.key);
            builder.push(key.map_or(value, Value::Text));
        }
    }

    /// The key of a line that is named by where it stands, if the pipeline's are.
    pub(super) fn key_of_place(&self, file: &Path, line: u64, item: Option<u32>) -> Option<String> {
        self.pipeline.is_keyless().then(|| key_in_file(&file.display().to_string(), line, item))
    }

    /// Adds what became of a row: the line was pushed, or there are reasons why it is none. A chunk that is full goes.
    pub(super) fn count(
        &mut self,
        outcome: Result<(), Vec<Reason>>,
        location: impl FnOnce() -> RowLocation,
    ) -> Result<(), LoadError> {
        match (outcome, self.odd_in_row.take()) {
            (Err(reasons), _) => self.in_file.add(reasons, location),
            (Ok(()), Some(odd)) => self.add_odd(odd, location),
            (Ok(()), None) => {}
        }
        if self.in_chunk == LINES_A_CHUNK { self.flush() } else { Ok(()) }
    }

    fn add_odd(&mut self, (column, date): (usize, Timestamp), location: impl FnOnce() -> RowLocation) {
        let column = || self.pipeline.schema.columns[column].name.clone();
        let odd = self.odd_dates.get_or_insert_with(|| OddDates { rows: 0, column: column(), date, first: location() });
        odd.rows += 1;
    }

    /// Adds what a message holds, of which it may hold more. A chunk that is full goes.
    pub(super) fn add(
        &mut self,
        part: Part<'_>,
        key: Option<&str>,
        location: impl FnOnce() -> RowLocation,
    ) -> Result<(), LoadError> {
        match part {
            Part::Line(line) => self.push(line, key),
            Part::Erroneous(reasons) => return self.count(Err(reasons), location),
            Part::Deletion | Part::Nothing => self.without_record += 1,
        }
        self.count(Ok(()), location)
    }

    /// Notes that a file has ended.
    pub(super) fn end_file(&mut self, path: &Path) {
        let bad_rows = std::mem::take(&mut self.in_file);
        self.bad_rows.add_all(&bad_rows);
        let rows = self.n_lines - self.lines_before + bad_rows.total();
        self.lines_before = self.n_lines;
        self.files.push(FileRows { path: path.to_owned(), rows, bad_rows });
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

    /// Hands the last chunk on.
    pub(super) fn finish(mut self) -> Result<Loaded, LoadError> {
        if self.in_chunk > 0 {
            self.flush()?;
        }
        let rows_read = self.rows_read();
        let Self { n_lines, without_record, odd_dates, bad_rows, files, .. } = self;
        Ok(Loaded { rows_read, n_lines, without_record, odd_dates, bad_rows, files })
    }

    fn flush(&mut self) -> Result<(), LoadError> {
        let columns = std::mem::replace(&mut self.columns, builders(self.pipeline));
        self.in_chunk = 0;
        let columns: Vec<Column> = columns.into_iter().map(|(_, builder)| builder.finish()).collect();
        let share = self.bytes_read as f64 / self.total_bytes.max(1) as f64;
        Ok((self.take)(DataFrame::new_infer_height(columns).map_err(ChunkError::Polars)?, share.min(1.0))?)
    }
}

fn builders(pipeline: &Pipeline) -> Vec<(usize, Builder)> {
    used_columns(pipeline).into_iter().map(|index| (index, builder(pipeline, index))).collect()
}

/// The key, what features read, and what rules ask for, or the past is made of: the other columns are checked and not kept.
pub(super) fn used_columns(pipeline: &Pipeline) -> Vec<usize> {
    let mut used: Vec<usize> = match &pipeline.scored {
        Scored::Sessions(sessions) => {
            let read = sessions.features.iter().flat_map(Feature::columns);
            read.chain(pipeline.entity.required.iter().copied()).collect()
        }
        Scored::Records(records) => {
            let required = pipeline.entity.required.clone();
            [records.features.columns(), records.features.places(), required].concat()
        }
    };
    used.push(pipeline.entity.key);
    used.extend(label_column(pipeline));
    used.sort_unstable();
    used.dedup();
    used
}

fn builder(pipeline: &Pipeline, index: usize) -> Builder {
    let column = &pipeline.schema.columns[index];
    let name = PlSmallStr::from_str(&column.name);
    match column.kind {
        ColumnType::Text if index == pipeline.entity.key || is_read(pipeline, index) => {
            Builder::Text(StringChunkedBuilder::new(name, 0))
        }
        ColumnType::Text => Builder::Presence(BooleanChunkedBuilder::new(name, 0)),
        ColumnType::Integer if is_told_apart(pipeline, index) => {
            Builder::Integer(PrimitiveChunkedBuilder::new(name, 0))
        }
        ColumnType::Integer | ColumnType::Float => Builder::Number(PrimitiveChunkedBuilder::new(name, 0)),
        ColumnType::Datetime => Builder::Datetime(PrimitiveChunkedBuilder::new(name, 0)),
    }
}

/// Whether the text of this column is read: by features, as a label, or because it is required of a record.
fn is_read(pipeline: &Pipeline, column: usize) -> bool {
    match &pipeline.scored {
        Scored::Sessions(sessions) => sessions.features.iter().flat_map(Feature::columns).any(|read| read == column),
        Scored::Records(records) => {
            label_column(pipeline) == Some(column)
                || records.features.columns().contains(&column)
                || pipeline.entity.required.contains(&column)
        }
    }
}

/// Whether a feature counts the distinct values of this column.
fn is_told_apart(pipeline: &Pipeline, column: usize) -> bool {
    pipeline.session_features().iter().any(|feature| feature.distinct_column() == Some(column))
}

/// The column of the label, where a record has a label of its own.
fn label_column(pipeline: &Pipeline) -> Option<usize> {
    matches!(pipeline.scored, Scored::Records(_)).then_some(pipeline.label.as_ref()?.column?)
}

impl Builder {
    fn push(&mut self, value: Value<'_>) {
        match self {
            Self::Text(builder) => builder.append_option(value.text()),
            Self::Number(builder) => builder.append_option(number(value)),
            Self::Integer(builder) => {
                builder.append_option(if let Value::Integer(number) = value { Some(number) } else { None });
            }
            Self::Datetime(builder) => builder.append_option(value.datetime()),
            Self::Presence(builder) => builder.append_option((!value.is_missing()).then_some(true)),
        }
    }

    fn finish(self) -> Column {
        match self {
            Self::Text(builder) => builder.finish().into_column(),
            Self::Number(builder) => builder.finish().into_column(),
            Self::Integer(builder) => builder.finish().into_column(),
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
