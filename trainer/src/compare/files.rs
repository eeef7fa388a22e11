//! The comparison as files: Parquet for notebooks, JSON for programs.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::Path;

use polars::prelude::*;
use serde_json::{Map, Value, json};

use super::Comparison;
use super::measures::{Entry, Measured, Pair};
use crate::output::Output;
use crate::reports::parquet;

/// Rows of a row group of the scores.
const ROWS_A_GROUP: usize = 1 << 17;

/// A number of a detector that took part, and what it is called in files; none where it could not be measured.
type Field = (&'static str, fn(&Measured) -> Option<f64>);

/// All numbers, in order.
const FIELDS: [Field; 34] = [
    ("roc_auc", |m| Some(m.labelled?.roc_auc)),
    ("roc_auc_low", |m| Some(m.labelled?.intervals.roc_auc.low)),
    ("roc_auc_high", |m| Some(m.labelled?.intervals.roc_auc.high)),
    ("average_precision", |m| Some(m.labelled?.average_precision)),
    ("average_precision_low", |m| Some(m.labelled?.intervals.average_precision.low)),
    ("average_precision_high", |m| Some(m.labelled?.intervals.average_precision.high)),
    ("precision", |m| Some(m.labelled?.at_threshold.precision())),
    ("precision_low", |m| Some(m.labelled?.intervals.precision.low)),
    ("precision_high", |m| Some(m.labelled?.intervals.precision.high)),
    ("recall", |m| Some(m.labelled?.at_threshold.recall())),
    ("recall_low", |m| Some(m.labelled?.intervals.recall.low)),
    ("recall_high", |m| Some(m.labelled?.intervals.recall.high)),
    ("f1", |m| Some(m.labelled?.at_threshold.f1())),
    ("f1_low", |m| Some(m.labelled?.intervals.f1.low)),
    ("f1_high", |m| Some(m.labelled?.intervals.f1.high)),
    ("precision_at_n", |m| Some(m.labelled?.precision_at_n)),
    ("false_alarm_rate", |m| Some(m.labelled?.at_threshold.false_alarm_rate())),
    ("threshold", |m| Some(f64::from(m.threshold.value))),
    ("reported", |m| Some(m.n_reported() as f64)),
    ("agreement", |m| m.agreement),
    ("overlap", |m| m.overlap),
    ("stability", |m| m.stability),
    ("synthetic_roc_auc", |m| Some(m.synthetic.as_ref()?.all.roc_auc)),
    ("synthetic_average_precision", |m| Some(m.synthetic.as_ref()?.all.average_precision)),
    ("synthetic_roc_auc_global", |m| Some(m.synthetic.as_ref()?.by_kind[0].1.roc_auc)),
    ("synthetic_roc_auc_dependency", |m| Some(m.synthetic.as_ref()?.by_kind[1].1.roc_auc)),
    ("synthetic_roc_auc_clustered", |m| Some(m.synthetic.as_ref()?.by_kind[2].1.roc_auc)),
    ("synthetic_average_precision_global", |m| Some(m.synthetic.as_ref()?.by_kind[0].1.average_precision)),
    ("synthetic_average_precision_dependency", |m| Some(m.synthetic.as_ref()?.by_kind[1].1.average_precision)),
    ("synthetic_average_precision_clustered", |m| Some(m.synthetic.as_ref()?.by_kind[2].1.average_precision)),
    ("fit_seconds", |m| Some(m.fit_seconds)),
    ("score_seconds", |m| Some(m.score_seconds)),
    ("score_rows_per_second", |m| Some(m.score_rows_per_second())),
    ("model_bytes", |m| Some(m.model_bytes as f64)),
];

impl Comparison {
    /// Adds all files to `output`, under `folder`.
    ///
    /// # Errors
    /// When Polars or JSON cannot make one.
    pub fn add_files<'a>(&'a self, folder: &Path, output: &mut Output<'a>) -> anyhow::Result<()> {
        output.add_written(folder.join("comparison_scores.parquet"), move |file| {
            self.write_scores(file).map_err(io::Error::other)
        });
        output.add(folder.join("comparison_agreement.parquet"), parquet(self.agreement()?)?);
        if !self.false_alarms.is_empty() {
            output.add(folder.join("comparison_false_alarms.parquet"), parquet(self.false_alarms_frame()?)?);
        }
        output.add(folder.join("comparison.parquet"), parquet(self.frame()?)?);
        let mut text = serde_json::to_vec_pretty(&self.objects())?;
        text.push(b'\n');
        output.add(folder.join("comparison.json"), text);
        Ok(())
    }

    /// One object a detector, in the order of the table.
    fn objects(&self) -> Vec<Value> {
        self.entries.iter().map(|entry| self.object(entry)).collect()
    }

    fn object(&self, entry: &Entry) -> Value {
        let mut object = Map::new();
        object.insert("detector".into(), json!(entry.name));
        let measured = entry.outcome.as_ref().ok();
        for (name, value) in FIELDS {
            let value = measured.and_then(value);
            // Counts are whole numbers, as they are read by programs that know the difference.
            let is_count = ["reported", "model_bytes"].contains(&name);
            let count = value.filter(|_| is_count).map(|value| value as u64);
            object.insert(name.into(), if is_count { json!(count) } else { json!(value) });
        }
        if entry.variant_of.is_some() {
            object.insert("variant_of".into(), json!(entry.variant_of));
        }
        object.insert("rows_fitted".into(), json!(self.n_fit));
        object.insert("rows_scored".into(), json!(self.rows.len()));
        object.insert("skipped".into(), json!(entry.outcome.as_ref().err()));
        if let Some(alarms) = self.false_alarms.iter().find(|alarms| alarms.name == entry.name) {
            let realised = |one: &super::false_alarms::Realised| {
                json!({
                    "asked": one.asked,
                    "realised": one.rate(),
                    "false_alarms": one.false_alarms,
                    "normal_rows": one.n_normal,
                    "threshold": one.threshold,
                })
            };
            let rates: Option<Vec<Value>> = alarms.outcome.as_ref().ok().map(|all| all.iter().map(realised).collect());
            object.insert("false_alarm_rates".into(), json!(rates));
        }
        Value::Object(object)
    }

    /// One row a detector, in the order of the table.
    fn frame(&self) -> PolarsResult<DataFrame> {
        let names: Vec<&str> = self.entries.iter().map(|entry| entry.name.as_str()).collect();
        let mut columns = vec![Column::new("detector".into(), names)];
        for (name, value) in FIELDS {
            let of_entry = |entry: &Entry| entry.outcome.as_ref().ok().and_then(value);
            columns.push(Column::new(name.into(), self.entries.iter().map(of_entry).collect::<Vec<Option<f64>>>()));
        }
        let skipped: Vec<Option<&str>> =
            self.entries.iter().map(|entry| entry.outcome.as_ref().err().map(String::as_str)).collect();
        columns.push(Column::new("skipped".into(), skipped));
        if self.entries.iter().any(|entry| entry.variant_of.is_some()) {
            let of_entry = |entry: &'_ Entry| entry.variant_of.clone();
            columns.push(Column::new(
                "variant_of".into(),
                self.entries.iter().map(of_entry).collect::<Vec<Option<String>>>(),
            ));
        }
        DataFrame::new_infer_height(columns)
    }

    /// One row a pair of detectors.
    fn agreement(&self) -> PolarsResult<DataFrame> {
        let pairs = &self.pairs;
        let counts = |count: fn(&Pair) -> u64| pairs.iter().map(count).collect::<Vec<u64>>();
        let tests = |value: fn(&shared::evaluation::McNemar) -> f64| {
            pairs.iter().map(|pair| pair.mcnemar.as_ref().map(value)).collect::<Vec<Option<f64>>>()
        };
        DataFrame::new_infer_height(vec![
            Column::new("a".into(), pairs.iter().map(|pair| pair.a.as_str()).collect::<Vec<_>>()),
            Column::new("b".into(), pairs.iter().map(|pair| pair.b.as_str()).collect::<Vec<_>>()),
            Column::new("spearman".into(), pairs.iter().map(|pair| pair.spearman).collect::<Vec<Option<f64>>>()),
            Column::new("jaccard".into(), pairs.iter().map(|pair| pair.overlap.jaccard()).collect::<Vec<_>>()),
            Column::new("both".into(), counts(|pair| pair.overlap.both)),
            Column::new("only_a".into(), counts(|pair| pair.overlap.only_first)),
            Column::new("only_b".into(), counts(|pair| pair.overlap.only_second)),
            Column::new("only_a_is_right".into(), tests(|test| test.only_first as f64)),
            Column::new("only_b_is_right".into(), tests(|test| test.only_second as f64)),
            Column::new("mcnemar_p_value".into(), tests(|test| test.p_value)),
        ])
    }

    /// One row a detector and share that was asked for.
    fn false_alarms_frame(&self) -> PolarsResult<DataFrame> {
        let of_detector = |alarms: &'_ super::false_alarms::FalseAlarms| {
            let name = alarms.name.clone();
            alarms.outcome.clone().unwrap_or_default().into_iter().map(move |one| (name.clone(), one))
        };
        let rows: Vec<_> = self.false_alarms.iter().flat_map(of_detector).collect();
        DataFrame::new_infer_height(vec![
            Column::new("detector".into(), rows.iter().map(|row| row.0.as_str()).collect::<Vec<_>>()),
            Column::new("asked".into(), rows.iter().map(|row| row.1.asked).collect::<Vec<_>>()),
            Column::new("realised".into(), rows.iter().map(|row| row.1.rate()).collect::<Vec<Option<f64>>>()),
            Column::new("false_alarms".into(), rows.iter().map(|row| row.1.false_alarms).collect::<Vec<_>>()),
            Column::new("normal_rows".into(), rows.iter().map(|row| row.1.n_normal).collect::<Vec<_>>()),
            Column::new("threshold".into(), rows.iter().map(|row| row.1.threshold).collect::<Vec<Option<f32>>>()),
        ])
    }

    /// One row a scored row, a group of them at a time, because there may be very many.
    fn write_scores(&self, file: &mut File) -> PolarsResult<()> {
        let schema = self.scores(0..0)?.schema().as_ref().clone();
        let mut writer = ParquetWriter::new(file).batched(&schema)?;
        let n_rows = self.rows.len();
        for start in (0..n_rows).step_by(ROWS_A_GROUP) {
            writer.write_batch(&self.scores(start..n_rows.min(start + ROWS_A_GROUP))?)?;
        }
        writer.finish().map(|_| ())
    }

    fn scores(&self, of: Range<usize>) -> PolarsResult<DataFrame> {
        let rows = &self.rows[of.clone()];
        let mut columns = vec![match &self.keys {
            Some(keys) => {
                Column::new("key".into(), rows.iter().map(|row| keys.get(*row as usize)).collect::<Vec<&str>>())
            }
            None => Column::new("row".into(), rows),
        }];
        if let Some(labels) = &self.labels {
            columns.push(Column::new("label".into(), &labels[of.clone()]));
        }
        for entry in &self.entries {
            let Ok(measured) = &entry.outcome else { continue };
            let named = |what: &str| PlSmallStr::from_string(format!("{}_{what}", entry.name));
            let scores = &measured.scores[of.clone()];
            let thresholds: Vec<f32> = of.clone().map(|row| measured.threshold_of(row)).collect();
            let reported: Vec<bool> = scores.iter().zip(&thresholds).map(|(score, limit)| score > limit).collect();
            columns.push(Column::new(named("score"), scores));
            columns.push(Column::new(named("threshold"), thresholds));
            columns.push(Column::new(named("anomalous"), reported));
        }
        DataFrame::new_infer_height(columns)
    }
}
