//! Verdicts that were written to a file.

use std::fs::File;
use std::path::Path;

use serde::Deserialize;
use serde::de::IgnoredAny;
use shared::json_lines::JsonLines;
use tables::{Column, ParquetError, ParquetReader, Texts, Values};

use super::row_columns::{CONTRIBUTION, EXPECTED, FIELD};
use super::{FileError, InputFile};
use crate::agreement::{Cause, EntityId, Intake, Judged};

/// Most rows that are read at a time.
const ROWS_A_SLICE: usize = 1 << 17;

/// What verdicts are read from, beside the columns of features.
const COLUMNS: [&str; 8] =
    ["key", "detector", "model_version", "anomalous", "score", "threshold", "first_timestamp", "last_timestamp"];

/// The column of reasons, which files of earlier programs lack.
const REASON: &str = "reason";

/// What tells a message of ours from a record of somebody else's.
#[derive(Deserialize)]
struct Marks {
    pipeline: String,
    detector: Option<IgnoredAny>,
    kind: Option<IgnoredAny>,
    cancellations: Option<IgnoredAny>,
    detectors: Option<IgnoredAny>,
}

/// The pipeline whose messages are in a file that begins with the line `first`, as `scorer score` writes them in JSON lines;
/// `None` where records are.
pub fn pipeline_of_messages(first: &[u8]) -> Option<String> {
    let marks: Marks = serde_json::from_slice(first).ok()?;
    let is_ours =
        marks.detector.is_some() || marks.kind.is_some() || marks.cancellations.is_some() || marks.detectors.is_some();
    is_ours.then_some(marks.pipeline)
}

/// Reads the verdicts in JSON lines.
///
/// # Errors
/// [`FileError::Read`] when the file cannot be read to its end.
pub fn read_messages(file: InputFile, intake: &mut Intake<'_>) -> Result<(), FileError> {
    let path = file.path().to_owned();
    let mut lines = JsonLines::new(file, usize::MAX);
    while let Some(line) = lines.next_line().map_err(|source| FileError::Read { path: path.clone(), source })? {
        intake.message(line.raw);
    }
    Ok(())
}

/// Reads the verdicts in a Parquet file, some rows at a time.
///
/// # Errors
/// [`FileError`] when it cannot be read, or holds something else.
pub fn read_verdicts(path: &Path, intake: &mut Intake<'_>) -> Result<(), FileError> {
    let damaged = |error: ParquetError| FileError::Parquet { path: path.to_owned(), problem: first_line(&error) };
    let file = File::open(path).map_err(|source| FileError::Read { path: path.to_owned(), source })?;
    let reader = ParquetReader::new(file).map_err(damaged)?;
    let schema = reader.columns();
    let has = |name: &str| schema.iter().any(|column| column.name == name);
    let missing: Vec<&str> = COLUMNS.into_iter().filter(|name| !has(name)).collect();
    if !missing.is_empty() {
        return Err(FileError::NoVerdicts { path: path.to_owned(), missing: missing.join(", ") });
    }
    let features = features_of(&schema);
    let of_features = features.iter().flat_map(|name| ["", CONTRIBUTION, EXPECTED].map(|more| format!("{name}{more}")));
    let of_features = of_features.chain([REASON.to_owned()]).filter(|name| has(name));
    let names: Vec<String> = COLUMNS.map(str::to_owned).into_iter().chain(of_features).collect();
    let wanted: Vec<&str> = names.iter().map(String::as_str).collect();
    let take = |columns: &[Values]| take_rows(&Rows { names: &wanted, columns }, &features, intake);
    reader.read(&wanted, ROWS_A_SLICE, take).map_err(damaged)
}

/// The features that verdicts tell the shares of.
fn features_of(schema: &[Column]) -> Vec<String> {
    let numbers = schema.iter().filter(|column| matches!(column.values, Values::Doubles(_)));
    let numbers = numbers.filter(|column| !column.name.starts_with(FIELD));
    numbers.filter_map(|column| column.name.strip_suffix(CONTRIBUTION)).map(str::to_owned).collect()
}

/// Some rows of a file.
struct Rows<'a> {
    names: &'a [&'a str],
    columns: &'a [Values],
}

impl<'a> Rows<'a> {
    fn len(&self) -> usize {
        self.columns.first().map_or(0, Values::len)
    }

    fn find(&self, name: &str) -> Option<&'a Values> {
        self.names.iter().position(|known| *known == name).map(|place| &self.columns[place])
    }

    fn column<T>(&self, name: &str, of: impl Fn(&'a Values) -> Option<T>) -> Result<T, ParquetError> {
        let wrong = || ParquetError::General(format!("the column {name} is of another type"));
        self.find(name).and_then(of).ok_or_else(wrong)
    }

    fn texts(&self, name: &str) -> Result<&'a Texts, ParquetError> {
        self.column(name, |values| if let Values::Texts(texts) = values { Some(texts) } else { None })
    }

    fn doubles(&self, name: &str) -> Result<&'a [Option<f64>], ParquetError> {
        self.column(name, |values| if let Values::Doubles(numbers) = values { Some(numbers.as_slice()) } else { None })
    }

    /// Scores, which others may have widened.
    fn floats(&self, name: &str) -> Result<Vec<Option<f32>>, ParquetError> {
        self.column(name, |values| match values {
            Values::Floats(numbers) => Some(numbers.clone()),
            Values::Doubles(numbers) => Some(numbers.iter().map(|number| number.map(|number| number as f32)).collect()),
            _ => None,
        })
    }
}

fn take_rows(rows: &Rows<'_>, features: &[String], intake: &mut Intake<'_>) -> Result<(), ParquetError> {
    let (key, detector, version) = (rows.texts("key")?, rows.texts("detector")?, rows.texts("model_version")?);
    let (first, last) = (rows.texts("first_timestamp")?, rows.texts("last_timestamp")?);
    let anomalous =
        rows.column("anomalous", |values| if let Values::Bools(bools) = values { Some(bools) } else { None })?;
    let (score, threshold) = (rows.floats("score")?, rows.floats("threshold")?);
    let reasons = rows.find(REASON).map(|_| rows.texts(REASON)).transpose()?;
    let explained: Vec<Explained> = features.iter().map(|name| Explained::of(rows, name)).collect::<Result<_, _>>()?;
    for row in 0..rows.len() {
        let Some(side) = detector.get(row).and_then(|detector| intake.side(detector)) else { continue };
        let (Some(key), Some(is_anomalous), Some(score)) = (key.get(row), anomalous[row], score[row]) else {
            continue;
        };
        let judged = Judged {
            side,
            id: EntityId::new(key, first.get(row).unwrap_or_default(), last.get(row).unwrap_or_default()),
            key,
            score,
            threshold: threshold[row].unwrap_or(f32::NAN),
            is_anomalous,
            is_labelled: intake.is_labelled(key),
        };
        let reason = reasons.and_then(|reasons| reasons.get(row));
        intake.take(&judged, version.get(row).unwrap_or_default(), || cause(features, &explained, row, reason));
    }
    Ok(())
}

/// What verdicts say of a feature.
struct Explained<'a> {
    value: &'a [Option<f64>],
    share: &'a [Option<f64>],
    usual: Option<&'a [Option<f64>]>,
}

impl<'a> Explained<'a> {
    fn of(rows: &Rows<'a>, feature: &str) -> Result<Self, ParquetError> {
        let usual = format!("{feature}{EXPECTED}");
        Ok(Self {
            value: rows.doubles(feature)?,
            share: rows.doubles(&format!("{feature}{CONTRIBUTION}"))?,
            usual: rows.find(&usual).map(|_| rows.doubles(&usual)).transpose()?,
        })
    }
}

/// The feature with the largest share in a row; the first of equal ones, as in a verdict.
fn cause(features: &[String], explained: &[Explained<'_>], row: usize, reason: Option<&str>) -> Option<Cause> {
    let shares = features.iter().zip(explained).filter_map(|(name, of)| Some((name, of, of.share[row]?)));
    let (feature, of, share) = shares.reduce(|first, next| if next.2 > first.2 { next } else { first })?;
    let usual = of.usual.and_then(|usual| usual[row]);
    let reason = reason.map(str::to_owned);
    Some(Cause { feature: feature.clone(), value: of.value[row], usual, share, reason })
}

fn first_line(error: &ParquetError) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_told_from_records() {
        let of = |text: &str| pipeline_of_messages(text.as_bytes());
        assert_eq!(of("{\"topic\":\"t\",\"pipeline\":\"p\",\"kind\":\"line\"}\n"), Some("p".to_owned()));
        assert_eq!(of("{\"pipeline\":\"p\",\"key\":\"1\",\"detector\":\"d\"}"), Some("p".to_owned()));
        assert_eq!(of("{\"pipeline\":\"p\",\"cancellations\":0}"), Some("p".to_owned()));
        for records in ["", "a,b\n1,2\n", "{\"InvoiceNo\":1}", "{\"pipeline\":\"p\"}", "{\"kind\":\"line\"}"] {
            assert_eq!(of(records), None, "{records}");
        }
    }
}
