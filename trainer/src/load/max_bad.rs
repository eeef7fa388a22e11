//! How much of a file may be dropped before it is more likely that the pipeline file is wrong than the rows.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use shared::draft::{avro, csv, json, number_settings, sample::Sample, sniffed_dates};
use shared::pipeline::{InputFormat, Pipeline};
use shared::reason::Reason;

use super::inputs::{self, Format};
use super::text_file::TextFile;
use super::{BadRow, FileRows, LoadError, TooManyBad};
use crate::numbers::grouped;
use crate::progress::Progress;

/// So few rows say nothing.
const LEAST_ROWS: u64 = 10;

/// The largest share of a file's rows that may be dropped for one reason.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MaxBad(f64);

impl Default for MaxBad {
    fn default() -> Self {
        Self(0.05)
    }
}

impl MaxBad {
    /// Any share.
    pub const ANY: Self = Self(1.0);
}

impl FromStr for MaxBad {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (number, factor) = text.trim().strip_suffix('%').map_or((text, 1.0), |number| (number, 100.0));
        let share = number.trim().parse().map(|number: f64| number / factor);
        share
            .ok()
            .filter(|share| (0.0..=1.0).contains(share))
            .map(Self)
            .ok_or("use a share such as 5% or 0.05, at most 100%")
    }
}

impl fmt::Display for MaxBad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&share_text(self.0))
    }
}

/// A share in percent, without digits that say nothing: `5%`, `56.1%`.
fn share_text(share: f64) -> String {
    let text = format!("{:.1}", share * 100.0);
    format!("{}%", text.strip_suffix(".0").unwrap_or(&text))
}

/// Fails where more rows of a file than `most` were dropped for one reason.
pub(super) fn check(pipeline: &Pipeline, file: &FileRows, most: MaxBad) -> Result<(), LoadError> {
    let Some((reason, bad)) = file.bad_rows.most_frequent() else { return Ok(()) };
    let share = bad.count as f64 / file.rows.max(1) as f64;
    if bad.count < LEAST_ROWS || share <= most.0 {
        return Ok(());
    }
    let hint = hint(pipeline, &file.path, reason)
        .unwrap_or_else(|| "mend the file or the pipeline file, or allow it with --max-bad 100%".to_owned());
    let BadRow { count, first } = bad;
    Err(Box::new(TooManyBad {
        path: file.path.clone(),
        count: grouped(*count),
        rows: grouped(file.rows),
        share: share_text(share),
        reason: reason.to_string(),
        first: format!("{} {}", first.unit, grouped(first.number)),
        most: most.to_string(),
        hint,
    })
    .into())
}

/// What would be right instead, where the file shows it: the formats of its dates, or how its numbers look.
pub(super) fn hint(pipeline: &Pipeline, path: &Path, reason: &Reason) -> Option<String> {
    let (Reason::NotADatetime(name) | Reason::NotANumber(name) | Reason::NotAnInteger(name)) = reason else {
        return None;
    };
    let index = pipeline.schema.columns.iter().position(|column| column.place() == *name)?;
    let (sample, place) = sample(pipeline, path, index)?;
    let texts: Vec<&str> = sample.column(place).filter_map(|cell| cell.text()).collect();
    if matches!(reason, Reason::NotADatetime(_)) {
        return date_hint(&sample.names[place], &texts);
    }
    let is_csv = inputs::format(path, pipeline.schema.format) == Format::Records(InputFormat::Csv);
    let settings = is_csv.then(|| number_settings(&texts, pipeline.schema.csv.delimiter)).flatten()?;
    Some(format!("{settings} under [input.csv] in the pipeline file would read its numbers"))
}

fn date_hint(name: &str, texts: &[&str]) -> Option<String> {
    let guess = sniffed_dates(name, texts)?;
    let formats = guess.formats.iter().map(|format| format!("\"{format}\"")).collect::<Vec<_>>().join(", ");
    let share = guess.read as f64 / guess.of as f64;
    let all = if guess.read == guess.of { "all".to_owned() } else { share_text(share) };
    Some(format!("datetime_formats = [{formats}] in the pipeline file would read {all} of its dates"))
}

/// Some records of a file, and where among their columns the pipeline's column stands.
fn sample(pipeline: &Pipeline, path: &Path, column: usize) -> Option<(Sample, usize)> {
    let schema = &pipeline.schema;
    let open = || TextFile::open(path, Progress { quiet: true }).ok().map(|file| file.source);
    let sample = match inputs::format(path, schema.format) {
        Format::Records(InputFormat::Csv) => csv::sample(open()?, &schema.csv).ok()?,
        Format::Records(InputFormat::Json) => json::sample(open()?).ok()?.0,
        Format::Records(InputFormat::Avro) => avro::sample(open()?).ok()?,
        Format::Records(InputFormat::Protobuf) | Format::Parquet => return None,
    };
    let is_by_place = inputs::format(path, schema.format) == Format::Records(InputFormat::Csv) && !schema.csv.header;
    let column_here = &schema.columns[column];
    let called = |name: &String| column_here.is_called(name) || column_here.place() == *name;
    let place = if is_by_place { Some(column) } else { sample.names.iter().position(called) };
    Some((sample, place?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_read_and_written() {
        for (text, share) in
            [("5%", Some(0.05)), ("0.05", Some(0.05)), ("100%", Some(1.0)), ("0", Some(0.0)), (" 12.5 %", Some(0.125))]
        {
            assert_eq!(text.parse().ok(), share.map(MaxBad), "{text}");
        }
        for bad in ["", "%", "5", "101%", "-1%", "NaN", "many"] {
            assert!(bad.parse::<MaxBad>().is_err(), "{bad}");
        }
        assert_eq!([0.05, 0.561_4, 1.0].map(|share| MaxBad(share).to_string()), ["5%", "56.1%", "100%"]);
    }
}
