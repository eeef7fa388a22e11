//! `trainer compare --prequential`: a pipeline's detectors in the order of time. Each is trained on the past as it was known, judged on
//! the days that came next, and trained again for the days after these.
//!
//! Detectors that learn from labels are trained as all others are: on what was known `delay` before. Labels of later records were
//! not known then, so these records are left out.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::bail;
use serde::Serialize;
use shared::detectors::Context;
use shared::device::{self, ChosenDevice, Devices, cache_folder};
use shared::evaluation::{DailyPrecision, DailyRow, Fold, Prequential, Ranking, statistics};
use shared::matrix::FeatureMatrix;
use shared::pipeline::{DetectorSpec, Pipeline};
use shared::scaler::Scaler;
use shared::time::{format_span, format_timestamp};

use super::args::{CompareArgs, PrequentialArgs};
use super::measures::mean;
use crate::console;
use crate::entities::{Entities, Labels, Moments};
use crate::fit::job;
use crate::labels;
use crate::memory::Budget;
use crate::numbers::grouped;
use crate::output::Output;
use crate::progress::Progress;
use crate::table::TextTable;
use crate::timings::Timings;
use crate::train;

const DAY: i64 = 86_400_000;

/// Rows that are scored at a time.
const ROWS_A_BATCH: usize = 1 << 16;

/// What was measured, as the file has it.
#[derive(Debug, Serialize)]
struct Report {
    pipeline: String,
    train: String,
    delay: String,
    test: String,
    cards_a_day: u32,
    detectors: Vec<DetectorReport>,
}

/// A detector, part by part.
#[derive(Debug, Serialize)]
struct DetectorReport {
    name: String,
    algorithm: &'static str,
    folds: Vec<FoldReport>,
}

/// What a detector did in one part of the history.
#[derive(Debug, Serialize)]
struct FoldReport {
    trained_from: String,
    trained_until: String,
    judged_from: String,
    judged_until: String,
    /// Why there is nothing to measure.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
    #[serde(flatten)]
    measures: Option<FoldMeasures>,
}

/// What was measured of a part.
#[derive(Debug, Clone, Copy, Serialize)]
struct FoldMeasures {
    trained_on: usize,
    judged: usize,
    anomalies: u64,
    roc_auc: f64,
    average_precision: f64,
    /// The share of the cards looked at each day that were compromised; none where records have no customer.
    #[serde(skip_serializing_if = "Option::is_none")]
    card_precision: Option<f64>,
    /// The same of someone who knew.
    #[serde(skip_serializing_if = "Option::is_none")]
    best_card_precision: Option<f64>,
}

/// A history that is gone through.
struct History<'a> {
    features: &'a FeatureMatrix,
    labels: &'a Labels,
    moments: &'a Moments,
    device: &'a ChosenDevice,
    seed: u64,
    cards_a_day: u32,
}

/// Goes through the history as the command line asks for, writes the report and prints its means.
///
/// # Errors
/// The first that occurs, as one sentence; no file was changed then. What a detector cannot do in a part is in the report.
pub(super) fn compare_and_report(args: &CompareArgs, test: i64) -> anyhow::Result<()> {
    let settings = settings(args)?;
    let pipeline = &settings.pipeline;
    let specs = specs(pipeline, &args.detectors)?;
    let PrequentialArgs { delay, train_span, cards_a_day, .. } = args.prequential;
    let progress = Progress { quiet: args.quiet };
    let (_, Entities { features, labels, moments, .. }) = train::read(&settings, progress, &mut Timings::default())?;
    let (Some(labels), Some(moments)) = (&labels, &moments) else { return Err(no_labels(pipeline)) };
    let (first, last) = moments.first_and_last().unwrap_or_default();
    let spans = Prequential { train: train_span, delay, test };
    let folds = spans.folds(first, last.saturating_add(1));
    if folds.is_empty() {
        bail!(
            "the history of pipeline `{}` goes from {} to {}, which is too short to train for {}, wait for {} and judge {}: use \
             more history or shorter spans",
            pipeline.name,
            format_timestamp(first),
            format_timestamp(last),
            format_span(train_span.unwrap_or(test)),
            format_span(delay),
            format_span(test)
        );
    }
    let device = Devices::find(args.device, cache_folder())?.for_job(&job(
        specs.iter().copied(),
        features.n_samples(),
        features.n_features(),
    ));
    let history = History { features: &features, labels, moments, device: &device, seed: args.seed, cards_a_day };
    let bar = progress.steps("comparing", (specs.len() * folds.len()) as u64);
    let detectors: Vec<DetectorReport> = specs
        .iter()
        .map(|spec| DetectorReport {
            name: spec.name.clone(),
            algorithm: spec.algorithm.name(),
            folds: folds.iter().map(|fold| history.report(spec, fold)).inspect(|_| bar.inc(1)).collect(),
        })
        .collect();
    bar.finish_and_clear();
    let report = Report {
        pipeline: pipeline.name.clone(),
        train: train_span.map_or_else(|| "all before".to_owned(), format_span),
        delay: format_span(delay),
        test: format_span(test),
        cards_a_day,
        detectors,
    };
    let folder = args.output.clone().unwrap_or_else(|| settings.models.join(&pipeline.name).join("reports"));
    write(&report, folder.join("prequential.json"))?;
    if !args.quiet {
        console::print(&format!("\n{} the parts one by one are in {}\n", table(&report), folder.display()))?;
    }
    Ok(())
}

/// What is read: records with their times and customers.
fn settings(args: &CompareArgs) -> anyhow::Result<train::Settings> {
    let Some(name) = &args.pipeline else {
        bail!("--prequential goes through the history of a pipeline: name it with --pipeline")
    };
    let mut settings = super::of_pipeline(name, args, Budget::new(args.max_memory))?;
    let pipeline = Arc::make_mut(&mut settings.pipeline);
    // Otherwise, nothing of a training asks for it.
    pipeline.entity.required.extend(pipeline.entity.customer);
    if pipeline.label.as_ref().is_none_or(|label| label.column.is_none()) {
        return Err(no_labels(pipeline));
    }
    settings.moments = true;
    Ok(settings)
}

fn no_labels(pipeline: &Pipeline) -> anyhow::Error {
    anyhow::anyhow!(
        "--prequential judges detectors by the labels of single records, and pipeline `{}` has none: name their column with \
         --label or in [label]; entities of several lines have no label of their own",
        pipeline.name
    )
}

/// The detectors of the pipeline with these names, or all of them.
fn specs<'a>(pipeline: &'a Pipeline, named: &[String]) -> anyhow::Result<Vec<&'a DetectorSpec>> {
    let known: Vec<&str> = pipeline.detectors.iter().map(|spec| spec.name.as_str()).collect();
    if known.is_empty() {
        bail!("pipeline `{}` has no detector that is trained: there is nothing to compare", pipeline.name);
    }
    if let Some(unknown) = named.iter().find(|name| !known.contains(&name.as_str())) {
        bail!(
            "pipeline `{}` has no detector `{unknown}` to compare; --prequential compares those of the pipeline: {}",
            pipeline.name,
            known.join(", ")
        );
    }
    let specs: Vec<&DetectorSpec> =
        pipeline.detectors.iter().filter(|spec| named.is_empty() || named.contains(&spec.name)).collect();
    for spec in &specs {
        labels::check(pipeline, spec).map_err(|problem| anyhow::anyhow!("detector `{}`: {problem}", spec.name))?;
    }
    Ok(specs)
}

impl History<'_> {
    fn report(&self, spec: &DetectorSpec, fold: &Fold) -> FoldReport {
        let measured = device::guarded(self.device, || self.measure(spec, fold))
            .unwrap_or_else(|failure| Err(failure.to_string()));
        FoldReport {
            trained_from: format_timestamp(fold.train.start),
            trained_until: format_timestamp(fold.train.end),
            judged_from: format_timestamp(fold.test.start),
            judged_until: format_timestamp(fold.test.end),
            problem: measured.as_ref().err().cloned(),
            measures: measured.ok(),
        }
    }

    /// Trains on one part and judges by the other.
    fn measure(&self, spec: &DetectorSpec, fold: &Fold) -> Result<FoldMeasures, String> {
        let (train, test) = (self.moments.within(&fold.train), self.moments.within(&fold.test));
        if train.is_empty() || test.is_empty() {
            return Err("there are no records to train on, or none to judge by".to_owned());
        }
        let scores = self.scores(spec, &train, &test)?;
        let is_anomaly: Vec<bool> = test.clone().map(|index| self.labels.get(index).is_some()).collect();
        let ranking = Ranking::new(&scores, &is_anomaly).map_err(|error| error.to_string())?;
        let daily: Vec<DailyRow> = test
            .clone()
            .zip(scores.iter().zip(&is_anomaly))
            .filter_map(|(index, (&score, &is_anomaly))| {
                let (day, key) = (self.moments.time(index).div_euclid(DAY), self.moments.customer(index)?);
                Some(DailyRow { day, key, score, is_anomaly })
            })
            .collect();
        let daily = DailyPrecision::new(&daily, u64::from(self.cards_a_day));
        Ok(FoldMeasures {
            trained_on: train.len(),
            judged: test.len(),
            anomalies: ranking.n_anomalies(),
            roc_auc: ranking.roc_auc(),
            average_precision: ranking.average_precision(),
            card_precision: daily.mean(),
            best_card_precision: daily.best(),
        })
    }

    /// The scores of some records by a detector that was trained on others.
    fn scores(&self, spec: &DetectorSpec, train: &Range<usize>, test: &Range<usize>) -> Result<Vec<f32>, String> {
        let rows = self.rows(train);
        let scaler = Scaler::fit(spec.scaling, &rows);
        scaler.check(rows.n_features())?;
        let x = scaler.transform(&rows);
        let context = Context { device: &self.device.device, seed: self.seed, max_state_bytes: None, on_step: &|| {} };
        let learned = if spec.algorithm.needs_labels() {
            let known: Vec<Option<bool>> = train.clone().map(|index| self.labels.known(index)).collect();
            spec.algorithm.fit_labelled(&x, &known, &context)
        } else {
            spec.algorithm.fit(&x, &context)
        };
        let scorer = learned.map_err(|error| error.to_string())?.on_device(&self.device.device);
        let mut scores = Vec::with_capacity(test.len());
        for start in test.clone().step_by(ROWS_A_BATCH) {
            let batch = start..test.end.min(start + ROWS_A_BATCH);
            scores.extend(scorer.score(&scaler.transform(&self.rows(&batch))).values);
        }
        if scores.iter().all(|score| score.is_finite()) { Ok(scores) } else { Err("a score is not finite".to_owned()) }
    }

    fn rows(&self, of: &Range<usize>) -> FeatureMatrix {
        let n_features = self.features.n_features();
        let values = self.features.values()[of.start * n_features..of.end * n_features].to_vec();
        FeatureMatrix::from_values(n_features, values)
    }
}

fn write(report: &Report, path: PathBuf) -> anyhow::Result<()> {
    let mut text = serde_json::to_vec_pretty(report)?;
    text.push(b'\n');
    let mut output = Output::default();
    output.add(path, text);
    Ok(output.write()?)
}

/// The means over the parts, each with its standard deviation; the best average precision first.
fn table(report: &Report) -> String {
    let cards = format!("cards at {}", grouped(u64::from(report.cards_a_day)));
    let mut table = TextTable::new(1, &["detector", "parts", "ROC AUC", "avg prec", &cards, "at best"]);
    let of = |detector: &DetectorReport, value: fn(&FoldMeasures) -> Option<f64>| -> Vec<f64> {
        detector.folds.iter().filter_map(|fold| value(fold.measures.as_ref()?)).collect()
    };
    let average_precision = |detector: &DetectorReport| mean(&of(detector, |it| Some(it.average_precision)));
    let mut detectors: Vec<&DetectorReport> = report.detectors.iter().collect();
    detectors.sort_by(|a, b| average_precision(b).unwrap_or(-1.0).total_cmp(&average_precision(a).unwrap_or(-1.0)));
    let mut problems = String::new();
    for detector in detectors {
        let measured = detector.folds.iter().filter(|fold| fold.measures.is_some()).count();
        table.row([
            detector.name.clone(),
            format!("{measured}/{}", detector.folds.len()),
            with_deviation(&of(detector, |it| Some(it.roc_auc))),
            with_deviation(&of(detector, |it| Some(it.average_precision))),
            with_deviation(&of(detector, |it| it.card_precision)),
            with_deviation(&of(detector, |it| it.best_card_precision)),
        ]);
        if let Some(problem) = detector.folds.iter().find_map(|fold| fold.problem.as_ref()) {
            problems += &format!(" {}: {problem}\n", detector.name);
        }
    }
    format!(
        " {}: trained on {}, judged on the {} after the next {}\n\n{}{problems}",
        report.pipeline,
        report.train,
        report.test,
        report.delay,
        table.render()
    )
}

fn with_deviation(values: &[f64]) -> String {
    match mean(values) {
        Some(mean) => format!("{mean:.3} ± {:.3}", statistics::deviation(values, mean)),
        None => "-".to_owned(),
    }
}
