//! From a file to what it seems to hold.

use std::fs::File;
use std::io::{self, Cursor, Read};
use std::path::Path;

use anyhow::{Context, bail};
use polars::prelude::*;
use shared::draft::sample::{Cell, Sample};
use shared::draft::{Findings, Writing, avro, csv, json, study};
use shared::pipeline::InputFormat;
use shared::schema::MessageShape;

use crate::load::{self, LoadError, TextFile};
use crate::progress::Progress;

/// Rows of a table that are looked at: so many from its beginning, and as many from all over it.
const FIRST_ROWS: usize = 5_000;
const SPREAD_ROWS: usize = 10_000;
const ROWS_A_PLACE: usize = 1_000;

/// Finds out what a file holds.
///
/// # Errors
/// It cannot be read, or no pipeline can be made of it: one sentence that says what would be right.
pub fn findings(path: &Path) -> anyhow::Result<Findings> {
    let path = &load::resolve_one(path)?;
    let name = path.display();
    let is_parquet =
        path.extension().is_some_and(|name| ["parquet", "pq"].iter().any(|known| name.eq_ignore_ascii_case(known)));
    let found = if is_parquet {
        study(Writing::Table, &table(path)?, Vec::new())
    } else {
        let TextFile { mut source, is_gzip, .. } = TextFile::open(path, Progress { quiet: true })?;
        let failed = |source: io::Error| load::failed(path, is_gzip, source);
        let mut head = Vec::new();
        source.by_ref().take(csv::HEAD_BYTES as u64).read_to_end(&mut head).map_err(failed)?;
        let is_whole = head.len() < csv::HEAD_BYTES;
        let format = InputFormat::of_file(path).unwrap_or_else(|| format_of(&head));
        let mut doubts = Vec::new();
        match format {
            InputFormat::Json => {
                let (sample, shape) = json::sample(Cursor::new(head).chain(source)).map_err(failed)?;
                if sample.rows.is_empty() && sample.n_torn > 0 {
                    bail!(
                        "{name}: none of its {} records is a JSON object: one object per line, or an array of objects, would be \
                         right",
                        sample.n_torn
                    );
                }
                study(Writing::Json(shape), &sample, doubts)
            }
            InputFormat::Avro => {
                let sample = avro::sample(Cursor::new(head).chain(source));
                let sample = sample.map_err(|error| load::failed_avro(path, is_gzip, error))?;
                // On the topic, the same columns stand at the same paths.
                study(Writing::Json(MessageShape::default()), &sample, doubts)
            }
            InputFormat::Protobuf => return Err(LoadError::NoFiles { path: path.clone() }.into()),
            InputFormat::Csv => {
                let dialect = csv::layout(&head, is_whole, None, &mut doubts).with_context(|| name.to_string())?;
                let sample = csv::sample(Cursor::new(head).chain(source), &dialect).map_err(failed)?;
                study(Writing::Csv(Box::new(dialect)), &sample, doubts)
            }
        }
    };
    found.with_context(|| name.to_string())
}

/// What a text seems to be that no name tells of.
fn format_of(head: &[u8]) -> InputFormat {
    let head = head.trim_ascii_start();
    let is_array = head.strip_prefix(b"[").is_some_and(|rest| rest.trim_ascii_start().starts_with(b"{"));
    if head.starts_with(b"{") || is_array { InputFormat::Json } else { InputFormat::Csv }
}

/// Rows of a Parquet file.
fn table(path: &Path) -> Result<Sample, LoadError> {
    let file = File::open(path).map_err(|source| LoadError::Read { path: path.to_owned(), source })?;
    let (schema, metadata) = load::contents(path, &file)?;
    let names: Vec<String> = schema.iter_names().map(|name| name.to_string()).collect();
    let readable: Vec<String> =
        schema.iter().filter(|(_, field)| load::is_readable(field.dtype())).map(|(name, _)| name.to_string()).collect();
    let total = metadata.num_rows;
    let mut sample = Sample { n_records: total as u64, n_first: total.min(FIRST_ROWS), names, ..Sample::default() };
    for (first, count) in places(total) {
        let frame = load::rows(path, &file, &metadata, &readable, (first, count))?;
        let columns: Vec<Vec<Cell>> = sample.names.iter().map(|name| cells(&frame, name, count)).collect();
        let mut columns: Vec<_> = columns.into_iter().map(Vec::into_iter).collect();
        let rows =
            (0..count).map(|_| columns.iter_mut().map(|column| column.next().unwrap_or(Cell::Missing)).collect());
        sample.rows.extend(rows);
    }
    Ok(sample)
}

/// First row and number of rows of what is read: the beginning, and places at equal distances after it.
fn places(total: usize) -> Vec<(usize, usize)> {
    let mut places = vec![(0, total.min(FIRST_ROWS))];
    let rest = total - total.min(FIRST_ROWS);
    if rest <= SPREAD_ROWS {
        places.push((FIRST_ROWS.min(total), rest));
    } else {
        let n_places = SPREAD_ROWS / ROWS_A_PLACE;
        places.extend((0..n_places).map(|place| {
            let first = FIRST_ROWS + (rest - ROWS_A_PLACE) * place / (n_places - 1);
            (first, ROWS_A_PLACE)
        }));
    }
    places.retain(|(_, count)| *count > 0);
    places
}

/// The cells of a column; of one whose type is not read, that there is something.
fn cells(frame: &DataFrame, name: &str, count: usize) -> Vec<Cell> {
    let Ok(column) = frame.column(name) else { return vec![Cell::Nested; count] };
    let cell = |value: AnyValue<'_>| match value {
        AnyValue::Null => Cell::Missing,
        AnyValue::Boolean(flag) => Cell::Flag(flag),
        AnyValue::String(text) => text_cell(text),
        AnyValue::StringOwned(text) => text_cell(text.as_str()),
        AnyValue::Float32(number) if number.is_nan() => Cell::Missing,
        AnyValue::Float64(number) if number.is_nan() => Cell::Missing,
        AnyValue::Float32(number) => Cell::Number(format!("{number:?}")),
        AnyValue::Float64(number) => Cell::Number(format!("{number:?}")),
        AnyValue::Date(days) => Cell::Moment(i64::from(days) * 86_400_000),
        AnyValue::Datetime(moment, unit, _) => Cell::Moment(milliseconds(moment, unit)),
        AnyValue::DatetimeOwned(moment, unit, _) => Cell::Moment(milliseconds(moment, unit)),
        value if value.is_integer() => Cell::Number(value.to_string()),
        AnyValue::Categorical(..) | AnyValue::CategoricalOwned(..) => text_cell(&value.str_value()),
        _ => Cell::Nested,
    };
    let series = column.as_materialized_series();
    series.iter().map(cell).collect()
}

fn text_cell(text: &str) -> Cell {
    let text = text.trim();
    if text.is_empty() { Cell::Missing } else { Cell::Text(text.to_owned()) }
}

fn milliseconds(moment: i64, unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Nanoseconds => moment.div_euclid(1_000_000),
        TimeUnit::Microseconds => moment.div_euclid(1_000),
        TimeUnit::Milliseconds => moment,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_all_over_a_table_and_do_not_overlap() {
        for total in [0, 1, 4_999, 5_000, 5_001, 15_000, 15_001, 1_000_000] {
            let places = places(total);
            let counted: usize = places.iter().map(|(_, count)| count).sum();
            assert_eq!(counted, total.min(FIRST_ROWS + SPREAD_ROWS), "{total}");
            assert!(places.windows(2).all(|pair| pair[0].0 + pair[0].1 <= pair[1].0), "{places:?}");
            assert_eq!(places.last().map_or(0, |(first, count)| first + count), total);
        }
    }
}
