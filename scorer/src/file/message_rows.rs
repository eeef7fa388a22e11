//! Messages as rows of a table: of a verdict everything that it says, with its features and their shares as columns; of any
//! other message what it is about, and its JSON.
//!
//! Which columns there are is known only once the last message has come, and they stand at the beginning of the file. So rows
//! wait in an unnamed temporary file, and memory holds one row group.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Seek, SeekFrom, Write};
use std::path::Path;

use serde_json::Value;
use shared::codec::{put_bytes, put_optional, put_unsigned};
use shared::verdict::{EntityVerdict, Named, Severity, Verdict};
use tables::ParquetWriter;
use tables::csv::write_record;

use super::row_columns::{Columns, FIELD_NUMBER, FIELD_TEXT, N_NUMBERS, N_TEXTS, Rows};
use crate::messages::{Content, Message};

/// Most rows of a row group.
const ROWS_A_GROUP: usize = 1 << 18;

/// Rows that wait to be written.
#[derive(Debug)]
pub(super) struct MessageRows {
    waiting: BufWriter<File>,
    n_rows: u64,
    columns: Columns,
    row: Vec<u8>,
}

/// What a row says in the columns that all have.
#[derive(Default)]
struct Fixed<'a> {
    texts: [Option<&'a str>; N_TEXTS],
    anomalous: Option<bool>,
    /// Score, threshold, ratio and p-value.
    numbers: [Option<f64>; N_NUMBERS],
    cluster: Option<i32>,
    lines: Option<u64>,
}

impl MessageRows {
    /// None yet; those that come wait in `folder`.
    pub fn new(folder: &Path) -> io::Result<Self> {
        let waiting = BufWriter::with_capacity(1 << 18, tempfile::tempfile_in(folder)?);
        Ok(Self { waiting, n_rows: 0, columns: Columns::default(), row: Vec::new() })
    }

    /// Takes a message; one of no use to others is passed over.
    pub fn push(&mut self, message: &Message) -> io::Result<()> {
        match &message.content {
            Content::Verdict(verdict) => self.push_verdict(verdict, &message.topic),
            Content::Entity(verdict) => self.push_entity(verdict, message),
            Content::Erroneous(value) => self.push_json("erroneous", value, message),
            Content::Cancellations(value) => self.push_json("cancellations", value, message),
            Content::Report(_) | Content::ForNextHop { .. } => Ok(()),
        }
    }

    fn push_verdict(&mut self, verdict: &Verdict, topic: &str) -> io::Result<()> {
        let source = json_of(verdict.source.as_ref());
        let detector = self.columns.detector(verdict);
        self.put_fixed(
            detector + 1,
            &Fixed {
                texts: [
                    Some(&verdict.key),
                    Some(&verdict.model_version),
                    verdict.customer_id.as_deref(),
                    Some(&verdict.first_timestamp),
                    Some(&verdict.last_timestamp),
                    Some("verdict"),
                    Some(topic),
                    verdict.id.as_deref(),
                    verdict.severity.map(Severity::name),
                    verdict.reason.as_deref(),
                    verdict.event_time.as_deref(),
                    source.as_deref(),
                    None,
                    None,
                ],
                anomalous: Some(verdict.anomalous),
                numbers: [Some(verdict.score.into()), Some(verdict.threshold.into()), verdict.ratio, verdict.p_value],
                cluster: verdict.cluster,
                lines: Some(verdict.lines),
            },
        );
        let out = &mut self.row;
        for name in self.columns.features_of(detector) {
            let number = |of: &Named| of.get(name).and_then(Value::as_f64);
            [&verdict.features, &verdict.contributions, &verdict.expected].into_iter().for_each(|of| {
                put_float(out, number(of));
            });
        }
        for name in self.columns.fields_of(detector) {
            put_field(out, verdict.fields.get(name));
        }
        self.write_row()
    }

    fn push_entity(&mut self, verdict: &EntityVerdict, message: &Message) -> io::Result<()> {
        let (source, whole) = (json_of(verdict.source.as_ref()), message.payload());
        let mut fixed = Fixed { anomalous: Some(verdict.anomalous), lines: Some(verdict.lines), ..Fixed::default() };
        fixed.texts = [
            Some(&verdict.key),
            None,
            verdict.customer_id.as_deref(),
            Some(&verdict.first_timestamp),
            Some(&verdict.last_timestamp),
            Some("entity"),
            Some(&message.topic),
            verdict.id.as_deref(),
            verdict.severity.map(Severity::name),
            verdict.reason.as_deref(),
            verdict.event_time.as_deref(),
            source.as_deref(),
            None,
            std::str::from_utf8(&whole).ok(),
        ];
        self.put_fixed(0, &fixed);
        self.write_row()
    }

    fn push_json(&mut self, kind: &str, value: &Value, message: &Message) -> io::Result<()> {
        let reasons = value["reasons"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let reasons = reasons.collect::<Vec<_>>().join(", ");
        let (source, whole) = (json_of(value.get("source")), message.payload());
        let text = |name: &str| value[name].as_str();
        let mut fixed = Fixed { lines: value["lines"].as_u64(), ..Fixed::default() };
        fixed.texts = [
            message.key.as_deref(),
            None,
            None,
            text("first_timestamp").or(text("window_start")),
            text("last_timestamp").or(text("window_end")),
            Some(kind),
            Some(&message.topic),
            None,
            None,
            None,
            None,
            source.as_deref(),
            Some(reasons.as_str()).filter(|reasons| !reasons.is_empty()),
            std::str::from_utf8(&whole).ok(),
        ];
        self.put_fixed(0, &fixed);
        self.write_row()
    }

    fn put_fixed(&mut self, detector: usize, fixed: &Fixed<'_>) {
        let out = &mut self.row;
        out.clear();
        put_unsigned(out, detector as u64);
        for text in fixed.texts {
            out.push(u8::from(text.is_some()));
            put_bytes(out, text.unwrap_or_default().as_bytes());
        }
        out.push(fixed.anomalous.map_or(0, |anomalous| 1 + u8::from(anomalous)));
        fixed.numbers.into_iter().for_each(|number| put_float(out, number));
        put_optional(out, fixed.cluster.map(i64::from));
        out.push(u8::from(fixed.lines.is_some()));
        put_unsigned(out, fixed.lines.unwrap_or_default());
    }

    fn write_row(&mut self) -> io::Result<()> {
        self.n_rows += 1;
        self.waiting.write_all(&(self.row.len() as u64).to_le_bytes())?;
        self.waiting.write_all(&self.row)
    }

    /// Writes all rows as a Parquet file.
    pub fn write_parquet(self, out: impl Write + Send) -> io::Result<()> {
        let columns = self.columns.clone();
        let mut writer = ParquetWriter::new(BufWriter::new(out), &Rows::new(&columns).into_columns(&columns))?;
        self.groups(&mut |rows| writer.write(rows.into_columns(&columns)))?;
        writer.finish()?.flush()
    }

    /// Writes all rows as CSV, with a header; what is missing is empty.
    pub fn write_csv(self, out: impl Write) -> io::Result<()> {
        let columns = self.columns.clone();
        let mut out = BufWriter::with_capacity(1 << 16, out);
        write_record(&mut out, Rows::new(&columns).into_columns(&columns).iter().map(|column| &column.name))?;
        self.groups(&mut |rows| {
            let n_rows = rows.len();
            let group = rows.into_columns(&columns);
            (0..n_rows).try_for_each(|row| write_record(&mut out, group.iter().map(|column| column.values.text(row))))
        })?;
        out.flush()
    }

    /// Reads the rows back, some at a time.
    fn groups(self, take: &mut dyn FnMut(Rows) -> io::Result<()>) -> io::Result<()> {
        let Self { waiting, n_rows, columns, .. } = self;
        let mut waiting = waiting.into_inner().map_err(io::IntoInnerError::into_error)?;
        waiting.seek(SeekFrom::Start(0))?;
        let mut waiting = BufReader::with_capacity(1 << 18, waiting);
        let mut rows = Rows::new(&columns);
        for number in 1..=n_rows {
            rows.read(&mut waiting, &columns)?;
            if rows.len() == ROWS_A_GROUP || number == n_rows {
                take(std::mem::replace(&mut rows, Rows::new(&columns)))?;
            }
        }
        Ok(())
    }
}

fn json_of<T: serde::Serialize>(value: Option<&T>) -> Option<String> {
    value.and_then(|value| serde_json::to_string(value).ok())
}

fn put_float(out: &mut Vec<u8>, value: Option<f64>) {
    out.push(u8::from(value.is_some()));
    if let Some(value) = value {
        out.extend_from_slice(&value.to_bits().to_le_bytes());
    }
}

fn put_field(out: &mut Vec<u8>, value: Option<&Value>) {
    match value {
        Some(Value::String(text)) => {
            out.push(FIELD_TEXT);
            put_bytes(out, text.as_bytes());
        }
        Some(Value::Number(number)) => {
            out.push(FIELD_NUMBER);
            out.extend_from_slice(&number.as_f64().unwrap_or(f64::NAN).to_bits().to_le_bytes());
        }
        _ => out.push(0),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tables::{ParquetError, ParquetReader, Values};

    use super::*;

    fn verdict(detector: &str, features: Value, more: &Value) -> Message {
        let mut written = json!({
            "pipeline": "p", "key": "k", "detector": detector, "model_version": "v", "anomalous": true, "score": 0.1,
            "threshold": 3.4e38, "features": features, "contributions": features, "lines": u64::MAX,
            "first_timestamp": "a", "last_timestamp": "b",
        });
        more.as_object().unwrap().iter().for_each(|(key, value)| written[key] = value.clone());
        let content = Content::Verdict(Box::new(serde_json::from_value(written).unwrap()));
        Message { topic: "out".into(), key: Some("k".to_owned()), content, source: None }
    }

    #[test]
    fn rows_are_what_verdicts_say_and_columns_are_the_features_of_all() {
        let folder = tempfile::tempdir().unwrap();
        let mut rows = MessageRows::new(folder.path()).unwrap();
        let more = json!({
            "p_value": 0.1, "cluster": -1, "customer_id": "", "expected": { "y": 1e-320 }, "severity": "high", "reason": "much",
            "fields": { "place": "Rome", "total": 2, "mixed": 3 },
        });
        let all = [
            verdict("one", json!({ "y": 0.1, "x": -1e308 }), &more),
            verdict("two", json!({ "z": 3 }), &json!({})),
            verdict(
                "one",
                json!({ "y": null, "x": 5e-324 }),
                &json!({ "anomalous": false, "fields": { "place": null, "total": 0.5, "mixed": "\"a\", b" } }),
            ),
        ];
        all.iter().for_each(|message| rows.push(message).unwrap());
        let path = folder.path().join("v.parquet");
        rows.write_parquet(File::create(&path).unwrap()).unwrap();
        let reader = ParquetReader::new(File::open(&path).unwrap()).unwrap();
        let names: Vec<String> = reader.columns().into_iter().map(|column| column.name).collect();
        let features = ["y", "x", "z"];
        assert_eq!(names[22..25], features);
        assert_eq!(names[25..28], features.map(|name| format!("{name}_contribution")));
        assert_eq!(names[28..31], features.map(|name| format!("{name}_expected")));
        assert_eq!(names[31..], ["field_place", "field_total", "field_mixed"]);
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

    /// Everything that is published is in the table, also what is no verdict; CSV and Parquet have the same columns.
    #[test]
    fn every_message_is_a_row() {
        let folder = tempfile::tempdir().unwrap();
        let json = |value: Value, key: Option<&str>, of: fn(Value) -> Content| Message {
            topic: "out".into(),
            key: key.map(str::to_owned),
            content: of(value),
            source: None,
        };
        let line = json!({ "kind": "line", "reasons": ["late_line", "key_too_long:x"], "source": { "file": "f", "line": 3 }, "raw": "a\nb" });
        let all = [
            verdict("one", json!({ "y": 0.5 }), &json!({ "fields": { "place": "a, b" }, "reason": "so" })),
            json(line, None, Content::Erroneous),
            json(
                json!({ "window_start": "s", "window_end": "e", "cancellations": 2 }),
                Some("p"),
                Content::Cancellations,
            ),
        ];
        let mut rows = MessageRows::new(folder.path()).unwrap();
        all.iter().for_each(|message| rows.push(message).unwrap());
        let mut csv = Vec::new();
        rows.write_csv(&mut csv).unwrap();
        let line = r#""{""kind"":""line"",""reasons"":[""late_line"",""key_too_long:x""],""source"":{""file"":""f"",""line"":3},""raw"":""a\nb""}""#;
        let head = "key,detector,model_version,anomalous,score,threshold,p_value,cluster,lines,customer_id,first_timestamp,\
            last_timestamp,kind,topic,id,severity,reason,ratio,event_time,source,reasons,message,y,y_contribution,y_expected,\
            field_place";
        let expected = [
            head.to_owned(),
            format!("k,one,v,true,0.1,{},,,{},,a,b,verdict,out,,,so,,,,,,0.5,0.5,,\"a, b\"", 3.4e38f32, u64::MAX),
            format!(r#",,,,,,,,,,,,erroneous,out,,,,,,"{{""file"":""f"",""line"":3}}","late_line, key_too_long:x",{line},,,,"#),
            r#"p,,,,,,,,,,s,e,cancellations,out,,,,,,,,"{""window_start"":""s"",""window_end"":""e"",""cancellations"":2}",,,,"#.to_owned(),
        ];
        assert_eq!(String::from_utf8(csv).unwrap().lines().collect::<Vec<_>>(), expected);
    }
}
