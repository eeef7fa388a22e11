//! Verdicts that were written to a file.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use polars::prelude::{
    ArrowDataType, BooleanChunked, Column, DataFrame, DataType, Float32Chunked, Float64Chunked, ParquetReader,
    PolarsError, PolarsResult, SerReader, StringChunked,
};
use serde::Deserialize;
use serde::de::IgnoredAny;
use shared::json_lines::JsonLines;

use super::FileError;
use crate::agreement::{Cause, EntityId, Intake, Judged};

/// Most rows that are read at a time.
const ROWS_A_SLICE: usize = 1 << 17;

/// What verdicts are read from, beside the columns of features.
const COLUMNS: [&str; 8] =
    ["key", "detector", "model_version", "anomalous", "score", "threshold", "first_timestamp", "last_timestamp"];

/// What tells a message of ours from a record of somebody else's.
#[derive(Deserialize)]
struct Marks {
    pipeline: String,
    detector: Option<IgnoredAny>,
    kind: Option<IgnoredAny>,
    cancellations: Option<IgnoredAny>,
}

/// The pipeline whose messages are in `bytes`, as `scorer score` writes them in JSON lines; `None` where records are.
pub fn pipeline_of_messages(bytes: &[u8]) -> Option<String> {
    let first = bytes.split(|&byte| byte == b'\n').find(|line| !line.trim_ascii().is_empty())?;
    let marks: Marks = serde_json::from_slice(first).ok()?;
    let is_ours = marks.detector.is_some() || marks.kind.is_some() || marks.cancellations.is_some();
    is_ours.then_some(marks.pipeline)
}

/// Reads the verdicts in JSON lines.
///
/// # Errors
/// None, but for those of memory.
pub fn read_messages(bytes: &[u8], intake: &mut Intake<'_>) -> std::io::Result<()> {
    let mut lines = JsonLines::new(bytes, usize::MAX);
    while let Some(line) = lines.next_line()? {
        intake.message(line.raw);
    }
    Ok(())
}

/// Reads the verdicts in a Parquet file, some rows at a time.
///
/// # Errors
/// [`FileError`] when it cannot be read, or holds something else.
pub fn read_verdicts(path: &Path, intake: &mut Intake<'_>) -> Result<(), FileError> {
    let read = |source| FileError::Read { path: path.to_owned(), source };
    let damaged = |error: PolarsError| FileError::Parquet { path: path.to_owned(), problem: first_line(&error) };
    let file = File::open(path).map_err(read)?;
    let mut reader = ParquetReader::new(file.try_clone().map_err(read)?);
    let schema = reader.schema().map_err(damaged)?;
    let metadata = Arc::clone(reader.get_metadata().map_err(damaged)?);
    let has = |name: &str| schema.get(name).is_some();
    let missing: Vec<&str> = COLUMNS.into_iter().filter(|name| !has(name)).collect();
    if !missing.is_empty() {
        return Err(FileError::NoVerdicts { path: path.to_owned(), missing: missing.join(", ") });
    }
    let is_number = |name: &str| schema.get(name).is_some_and(|field| *field.dtype() == ArrowDataType::Float64);
    let features: Vec<String> = schema
        .iter_names()
        .filter_map(|name| name.strip_suffix(CONTRIBUTION))
        .filter(|name| is_number(name))
        .map(str::to_owned)
        .collect();
    let of_features = features.iter().flat_map(|name| ["", CONTRIBUTION, EXPECTED].map(|more| format!("{name}{more}")));
    let columns: Vec<String> = COLUMNS.map(str::to_owned).into_iter().chain(of_features.filter(|it| has(it))).collect();
    for first_row in (0..metadata.num_rows).step_by(ROWS_A_SLICE) {
        let mut reader = ParquetReader::new(file.try_clone().map_err(read)?);
        reader.set_metadata(Arc::clone(&metadata));
        let reader = reader.with_columns(Some(columns.clone())).with_slice(Some((first_row, ROWS_A_SLICE)));
        let frame = reader.finish().map_err(damaged)?;
        take_rows(&frame, &features, intake).map_err(damaged)?;
    }
    Ok(())
}

/// What follows a feature's name in the name of the column of its shares, and in that of usual values.
const CONTRIBUTION: &str = "_contribution";
const EXPECTED: &str = "_expected";

fn take_rows(frame: &DataFrame, features: &[String], intake: &mut Intake<'_>) -> PolarsResult<()> {
    let texts = |name: &str| -> PolarsResult<StringChunked> { Ok(frame.column(name)?.str()?.rechunk().into_owned()) };
    let [key, detector, version] = ["key", "detector", "model_version"].map(texts);
    let [first, last] = ["first_timestamp", "last_timestamp"].map(texts);
    let (key, detector, version, first, last) = (key?, detector?, version?, first?, last?);
    let anomalous: BooleanChunked = frame.column("anomalous")?.bool()?.rechunk().into_owned();
    let [score, threshold] = ["score", "threshold"].map(|name| -> PolarsResult<Float32Chunked> {
        Ok(frame.column(name)?.cast(&DataType::Float32)?.f32()?.rechunk().into_owned())
    });
    let (score, threshold) = (score?, threshold?);
    let explained: Vec<Explained> =
        features.iter().map(|name| Explained::of(frame, name)).collect::<PolarsResult<_>>()?;
    for row in 0..frame.height() {
        let Some(side) = detector.get(row).and_then(|detector| intake.side(detector)) else { continue };
        let (Some(key), Some(is_anomalous), Some(score)) = (key.get(row), anomalous.get(row), score.get(row)) else {
            continue;
        };
        let judged = Judged {
            side,
            id: EntityId::new(key, first.get(row).unwrap_or_default(), last.get(row).unwrap_or_default()),
            key,
            score,
            threshold: threshold.get(row).unwrap_or(f32::NAN),
            is_anomalous,
            is_labelled: intake.is_labelled(key),
        };
        intake.take(&judged, version.get(row).unwrap_or_default(), || cause(features, &explained, row));
    }
    Ok(())
}

/// What verdicts say of a feature.
struct Explained {
    value: Float64Chunked,
    share: Float64Chunked,
    usual: Option<Float64Chunked>,
}

impl Explained {
    fn of(frame: &DataFrame, feature: &str) -> PolarsResult<Self> {
        let numbers = |column: &Column| -> PolarsResult<Float64Chunked> { Ok(column.f64()?.rechunk().into_owned()) };
        let usual = frame.column(&format!("{feature}{EXPECTED}")).ok();
        Ok(Self {
            value: numbers(frame.column(feature)?)?,
            share: numbers(frame.column(&format!("{feature}{CONTRIBUTION}"))?)?,
            usual: usual.map(numbers).transpose()?,
        })
    }
}

/// The feature with the largest share in a row; the first of equal ones, as in a verdict.
fn cause(features: &[String], explained: &[Explained], row: usize) -> Option<Cause> {
    let shares = features.iter().zip(explained).filter_map(|(name, of)| Some((name, of, of.share.get(row)?)));
    let (feature, of, share) = shares.reduce(|first, next| if next.2 > first.2 { next } else { first })?;
    let usual = of.usual.as_ref().and_then(|usual| usual.get(row));
    Some(Cause { feature: feature.clone(), value: of.value.get(row), usual, share })
}

fn first_line(error: &PolarsError) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_told_from_records() {
        let of = |text: &str| pipeline_of_messages(text.as_bytes());
        assert_eq!(of("\n{\"topic\":\"t\",\"pipeline\":\"p\",\"kind\":\"line\"}\n"), Some("p".to_owned()));
        assert_eq!(of("{\"pipeline\":\"p\",\"key\":\"1\",\"detector\":\"d\"}"), Some("p".to_owned()));
        assert_eq!(of("{\"pipeline\":\"p\",\"cancellations\":0}"), Some("p".to_owned()));
        for records in ["", "a,b\n1,2\n", "{\"InvoiceNo\":1}", "{\"pipeline\":\"p\"}", "{\"kind\":\"line\"}"] {
            assert_eq!(of(records), None, "{records}");
        }
    }
}
