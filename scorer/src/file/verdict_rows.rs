//! Verdicts as rows of a Parquet file: a row each, features and their shares as columns.
//!
//! Which features there are is known only once the last verdict has come, and the columns stand at the beginning of the file.
//! So rows wait in an unnamed temporary file, and memory holds one row group.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;

use serde_json::{Map, Value};
use shared::codec::{Damaged, Reader, put_bytes, put_optional, put_unsigned};
use shared::verdict::Verdict;
use tables::{Column, ParquetWriter, Texts, Values};

/// Most rows of a row group.
const ROWS_A_GROUP: usize = 1 << 18;

/// What follows a feature's name in the name of the column of its shares, and in that of usual values.
pub(super) const CONTRIBUTION: &str = "_contribution";
pub(super) const EXPECTED: &str = "_expected";

/// Rows that wait to be written.
#[derive(Debug)]
pub(super) struct VerdictRows {
    waiting: BufWriter<File>,
    n_rows: u64,
    /// The names of all features, in the order in which they came.
    features: Vec<String>,
    /// Each detector, and where its features stand among them: they are the same in all its verdicts.
    detectors: Vec<(String, Vec<usize>)>,
    row: Vec<u8>,
}

impl VerdictRows {
    /// None yet; those that come wait in `folder`.
    pub fn new(folder: &Path) -> io::Result<Self> {
        let waiting = BufWriter::with_capacity(1 << 18, tempfile::tempfile_in(folder)?);
        Ok(Self { waiting, n_rows: 0, features: Vec::new(), detectors: Vec::new(), row: Vec::new() })
    }

    /// Takes a verdict.
    pub fn push(&mut self, verdict: &Verdict) -> io::Result<()> {
        let detector = self.detector(verdict);
        let out = &mut self.row;
        out.clear();
        put_unsigned(out, detector as u64);
        let texts = [&verdict.key, &verdict.model_version, &verdict.first_timestamp, &verdict.last_timestamp];
        texts.into_iter().for_each(|text| put_bytes(out, text.as_bytes()));
        put_text(out, verdict.customer_id.as_deref());
        out.push(u8::from(verdict.anomalous));
        put_float(out, Some(verdict.score.into()));
        put_float(out, Some(verdict.threshold.into()));
        put_float(out, verdict.p_value);
        put_optional(out, verdict.cluster.map(i64::from));
        put_unsigned(out, verdict.lines);
        for &place in &self.detectors[detector].1 {
            let name = &self.features[place];
            let number = |of: &Map<String, Value>| of.get(name).and_then(Value::as_f64);
            [&verdict.features, &verdict.contributions, &verdict.expected].into_iter().for_each(|of| {
                put_float(out, number(of));
            });
        }
        self.n_rows += 1;
        self.waiting.write_all(&(self.row.len() as u64).to_le_bytes())?;
        self.waiting.write_all(&self.row)
    }

    /// The number of a verdict's detector; with the first verdict of each come its features.
    fn detector(&mut self, verdict: &Verdict) -> usize {
        if let Some(known) = self.detectors.iter().position(|(name, _)| *name == verdict.detector) {
            return known;
        }
        let features = &mut self.features;
        let mut place = |name: &String| {
            features.iter().position(|known| known == name).unwrap_or_else(|| {
                features.push(name.clone());
                features.len() - 1
            })
        };
        let places = verdict.features.keys().map(&mut place).collect();
        self.detectors.push((verdict.detector.clone(), places));
        self.detectors.len() - 1
    }

    /// Writes all rows as a Parquet file.
    pub fn write(self, out: impl Write + Send) -> io::Result<()> {
        let Self { waiting, n_rows, features, detectors, .. } = self;
        let mut waiting = waiting.into_inner().map_err(io::IntoInnerError::into_error)?;
        waiting.seek(SeekFrom::Start(0))?;
        let mut waiting = BufReader::with_capacity(1 << 18, waiting);
        let mut writer = ParquetWriter::new(BufWriter::new(out), &Rows::new(features.len()).into_columns(&features))?;
        let mut rows = Rows::new(features.len());
        for number in 1..=n_rows {
            rows.read(&mut waiting, &detectors)?;
            if rows.len() == ROWS_A_GROUP || number == n_rows {
                let group = std::mem::replace(&mut rows, Rows::new(features.len()));
                writer.write(group.into_columns(&features))?;
            }
        }
        writer.finish()?.flush()
    }
}

fn put_text(out: &mut Vec<u8>, text: Option<&str>) {
    out.push(u8::from(text.is_some()));
    put_bytes(out, text.unwrap_or_default().as_bytes());
}

fn put_float(out: &mut Vec<u8>, value: Option<f64>) {
    out.push(u8::from(value.is_some()));
    if let Some(value) = value {
        out.extend_from_slice(&value.to_bits().to_le_bytes());
    }
}

fn text<'a>(row: &mut Reader<'a>) -> Result<Option<&'a str>, Damaged> {
    let is_there = row.byte()? == 1;
    let text = row.text()?;
    Ok(is_there.then_some(text))
}

fn float(row: &mut Reader<'_>) -> Result<Option<f64>, Damaged> {
    if row.byte()? == 1 { row.float().map(Some) } else { Ok(None) }
}

/// Rows, as columns.
#[derive(Default)]
struct Rows {
    row: Vec<u8>,
    /// `key`, `detector`, `model_version`, `customer_id`, `first_timestamp`, `last_timestamp`
    texts: [Texts; 6],
    anomalous: Vec<Option<bool>>,
    /// `score`, `threshold`
    scores: [Vec<Option<f32>>; 2],
    p_value: Vec<Option<f64>>,
    cluster: Vec<Option<i32>>,
    lines: Vec<Option<u64>>,
    /// Value, share and usual value of each feature.
    features: Vec<[Vec<Option<f64>>; 3]>,
}

impl Rows {
    fn new(n_features: usize) -> Self {
        Self { features: vec![Default::default(); n_features], ..Self::default() }
    }

    fn len(&self) -> usize {
        self.lines.len()
    }

    fn read(&mut self, waiting: &mut impl Read, detectors: &[(String, Vec<usize>)]) -> io::Result<()> {
        let mut length = [0; 8];
        waiting.read_exact(&mut length)?;
        let mut row = std::mem::take(&mut self.row);
        row.clear();
        waiting.take(u64::from_le_bytes(length)).read_to_end(&mut row)?;
        let taken = self.take(&mut Reader(&row), detectors);
        self.row = row;
        taken.map_err(io::Error::other)
    }

    fn take(&mut self, row: &mut Reader<'_>, detectors: &[(String, Vec<usize>)]) -> Result<(), Damaged> {
        let (detector, places) =
            usize::try_from(row.unsigned()?).ok().and_then(|number| detectors.get(number)).ok_or(Damaged)?;
        let [key, of_detector, version, customer, first, last] = &mut self.texts;
        key.push(Some(row.text()?));
        of_detector.push(Some(detector));
        version.push(Some(row.text()?));
        first.push(Some(row.text()?));
        last.push(Some(row.text()?));
        customer.push(text(row)?);
        self.anomalous.push(Some(row.byte()? == 1));
        for scores in &mut self.scores {
            scores.push(float(row)?.map(|score| score as f32));
        }
        self.p_value.push(float(row)?);
        self.cluster.push(row.optional()?.map(|cluster| cluster as i32));
        self.lines.push(Some(row.unsigned()?));
        for &place in places {
            for values in &mut self.features[place] {
                values.push(float(row)?);
            }
        }
        // Features of other detectors.
        let n_rows = self.lines.len();
        self.features.iter_mut().flatten().for_each(|values| values.resize(n_rows, None));
        row.end()
    }

    fn into_columns(self, features: &[String]) -> Vec<Column> {
        let [key, detector, version, customer, first, last] = self.texts.map(Values::Texts);
        let [score, threshold] = self.scores.map(Values::Floats);
        let fixed = [
            ("key", key),
            ("detector", detector),
            ("model_version", version),
            ("anomalous", Values::Bools(self.anomalous)),
            ("score", score),
            ("threshold", threshold),
            ("p_value", Values::Doubles(self.p_value)),
            ("cluster", Values::Integers(self.cluster)),
            ("lines", Values::Counts(self.lines)),
            ("customer_id", customer),
            ("first_timestamp", first),
            ("last_timestamp", last),
        ];
        let mut columns: Vec<Column> = fixed.into_iter().map(|(name, values)| Column::new(name, values)).collect();
        let (mut shares, mut usual) = (Vec::new(), Vec::new());
        for (name, [value, share, expected]) in features.iter().zip(self.features) {
            columns.push(Column::new(name, Values::Doubles(value)));
            shares.push(Column::new(&format!("{name}{CONTRIBUTION}"), Values::Doubles(share)));
            usual.push(Column::new(&format!("{name}{EXPECTED}"), Values::Doubles(expected)));
        }
        columns.extend(shares);
        columns.extend(usual);
        columns
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tables::{ParquetError, ParquetReader};

    use super::*;

    fn verdict(detector: &str, features: Value, more: &Value) -> Verdict {
        let mut written = json!({
            "pipeline": "p", "key": "k", "detector": detector, "model_version": "v", "anomalous": true, "score": 0.1,
            "threshold": 3.4e38, "features": features, "contributions": features, "lines": u64::MAX,
            "first_timestamp": "a", "last_timestamp": "b",
        });
        more.as_object().unwrap().iter().for_each(|(key, value)| written[key] = value.clone());
        serde_json::from_value(written).unwrap()
    }

    #[test]
    fn rows_are_what_verdicts_say_and_columns_are_the_features_of_all() {
        let folder = tempfile::tempdir().unwrap();
        let mut rows = VerdictRows::new(folder.path()).unwrap();
        let more = json!({ "p_value": 0.1, "cluster": -1, "customer_id": "", "expected": { "y": 1e-320 } });
        let all = [
            verdict("one", json!({ "y": 0.1, "x": -1e308 }), &more),
            verdict("two", json!({ "z": 3 }), &json!({})),
            verdict("one", json!({ "y": null, "x": 5e-324 }), &json!({ "anomalous": false })),
        ];
        all.iter().for_each(|verdict| rows.push(verdict).unwrap());
        let path = folder.path().join("v.parquet");
        rows.write(File::create(&path).unwrap()).unwrap();
        let reader = ParquetReader::new(File::open(&path).unwrap()).unwrap();
        let names: Vec<String> = reader.columns().into_iter().map(|column| column.name).collect();
        let features = ["y", "x", "z"];
        assert_eq!(names[12..15], features);
        assert_eq!(names[15..18], features.map(|name| format!("{name}_contribution")));
        assert_eq!(names[18..], features.map(|name| format!("{name}_expected")));
        let wanted = ["score", "cluster", "lines", "p_value", "y", "x", "z", "y_expected", "customer_id", "anomalous"];
        let mut read = Vec::new();
        reader
            .read(&wanted, 10, |columns| {
                read = columns.to_vec();
                Ok::<(), ParquetError>(())
            })
            .unwrap();
        let doubles = |values: [Option<f64>; 3]| Values::Doubles(values.to_vec());
        let Values::Texts(customers) = &read[8] else { panic!("{:?}", read[8]) };
        assert_eq!([0, 1, 2].map(|row| customers.get(row)), [Some(""), None, None]);
        assert_eq!(read[0], Values::Floats(vec![Some(0.1); 3]));
        assert_eq!(read[1], Values::Integers(vec![Some(-1), None, None]));
        assert_eq!(read[2], Values::Counts(vec![Some(u64::MAX); 3]));
        assert_eq!(read[3], doubles([Some(0.1), None, None]));
        assert_eq!(read[4], doubles([Some(0.1), None, None]));
        assert_eq!(read[5], doubles([Some(-1e308), None, Some(5e-324)]));
        assert_eq!(read[6], doubles([None, Some(3.0), None]));
        assert_eq!(read[7], doubles([Some(1e-320), None, None]));
        assert_eq!(read[9], Values::Bools(vec![Some(true), Some(true), Some(false)]));
    }
}
