//! Reports for notebooks and people: what the training saw and made of it, as Parquet, and `training.json`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::Path;

use polars::prelude::*;
use serde::Serialize;
use shared::detectors::clusters::Cluster;
use shared::device::ChosenDevice;
use shared::evaluation::Overlap;
use shared::model::Model;
use shared::pipeline::Pipeline;
use shared::time::{Timestamp, format_timestamp};

use crate::cost::CostReport;
use crate::entities::Entities;
use crate::fit::{Trained, TrainingScore};
use crate::load::Loaded;
use crate::output::Output;
use crate::realised_rate::RealisedRate;
use crate::timings::Timings;

/// Rows of a row group of the report of all entities.
const ROWS_A_GROUP: usize = 1 << 17;

/// What the Parquet reports are made of.
#[derive(Debug, Clone, Copy)]
pub struct Findings<'a> {
    /// The pipeline.
    pub pipeline: &'a Pipeline,
    /// The training entities.
    pub entities: &'a Entities,
    /// The detectors.
    pub trained: &'a [Trained],
}

impl<'a> Findings<'a> {
    /// Adds the Parquet reports to `output`, under `folder`.
    ///
    /// # Errors
    /// When Polars cannot make a report.
    pub fn add_reports(self, folder: &Path, output: &mut Output<'a>) -> PolarsResult<()> {
        output
            .add_written(folder.join("scores.parquet"), move |file| self.write_scores(file).map_err(io::Error::other));
        output.add(folder.join("elbow.parquet"), parquet(self.elbow()?)?);
        output.add(folder.join("centroids.parquet"), parquet(self.centroids()?)?);
        output.add(folder.join("agreement.parquet"), parquet(self.agreement()?)?);
        Ok(())
    }

    /// One row an entity: key, features, label where there are some, and every detector's score, threshold, verdict and cluster. There may be very many,
    /// so one row group is made at a time.
    fn write_scores(self, file: &mut File) -> PolarsResult<()> {
        let schema = self.scores(0..0)?.schema().as_ref().clone();
        let mut writer = ParquetWriter::new(file).batched(&schema)?;
        let n_samples = self.entities.keys.len();
        for start in (0..n_samples).step_by(ROWS_A_GROUP) {
            writer.write_batch(&self.scores(start..n_samples.min(start + ROWS_A_GROUP))?)?;
        }
        writer.finish().map(|_| ())
    }

    /// The rows of some entities.
    fn scores(self, of: Range<usize>) -> PolarsResult<DataFrame> {
        let Entities { keys, features, labels, .. } = self.entities;
        let mut columns =
            vec![Column::new("key".into(), of.clone().map(|index| keys.get(index)).collect::<Vec<&str>>())];
        for (index, feature) in self.pipeline.feature_names().into_iter().enumerate() {
            let values: Vec<f64> = features.column(index).skip(of.start).take(of.len()).collect();
            columns.push(Column::new(feature.into(), values));
        }
        if let Some(labels) = labels {
            let labels = of.clone().map(|index| labels.get(index)).collect::<Vec<Option<&str>>>();
            columns.push(Column::new("label".into(), labels));
        }
        for Trained { model, scores, .. } in self.trained {
            let named = |what: &str| PlSmallStr::from_string(format!("{}_{what}", model.detector));
            let scores = &scores[of.clone()];
            columns.push(Column::new(named("score"), scores.iter().map(|score| score.score).collect::<Vec<f32>>()));
            columns.push(Column::new(
                named("threshold"),
                scores.iter().map(|score| model.threshold.of_cluster(score.cluster)).collect::<Vec<f32>>(),
            ));
            columns.push(Column::new(named("anomalous"), anomalous(model, scores)));
            if model.learned.clusters().is_some() {
                let clusters = scores.iter().map(|score| score.cluster).collect::<Vec<Option<i32>>>();
                columns.push(Column::new(named("cluster"), clusters));
            }
        }
        DataFrame::new_infer_height(columns)
    }

    /// One row a detector and k: inertia, its ratio to that of k - 1, and whether the k was chosen.
    fn elbow(self) -> PolarsResult<DataFrame> {
        let rows: Vec<ElbowRow<'_>> = self.trained.iter().flat_map(|trained| elbow_rows(&trained.model)).collect();
        DataFrame::new_infer_height(vec![
            Column::new("detector".into(), rows.iter().map(|row| row.detector).collect::<Vec<_>>()),
            Column::new("k".into(), rows.iter().map(|row| row.k as u32).collect::<Vec<_>>()),
            Column::new("inertia".into(), rows.iter().map(|row| row.inertia).collect::<Vec<_>>()),
            Column::new("ratio".into(), rows.iter().map(|row| row.ratio).collect::<Vec<_>>()),
            Column::new("chosen".into(), rows.iter().map(|row| row.chosen).collect::<Vec<_>>()),
        ])
    }

    /// One row a cluster: its size and its centre in the features' own units.
    fn centroids(self) -> PolarsResult<DataFrame> {
        let clusters: Vec<(&Model, usize, ClusterSummary)> = self
            .trained
            .iter()
            .flat_map(|trained| clusters(&trained.model).into_iter().enumerate().map(|(n, c)| (&trained.model, n, c)))
            .collect();
        let mut columns = vec![
            Column::new("detector".into(), clusters.iter().map(|row| row.0.detector.as_str()).collect::<Vec<_>>()),
            Column::new("cluster".into(), clusters.iter().map(|row| row.1 as i32).collect::<Vec<_>>()),
            Column::new("size".into(), clusters.iter().map(|row| row.2.size).collect::<Vec<_>>()),
        ];
        for (index, feature) in self.pipeline.feature_names().into_iter().enumerate() {
            let values: Vec<f64> = clusters.iter().map(|row| row.2.center[index]).collect();
            columns.push(Column::new(feature.into(), values));
        }
        DataFrame::new_infer_height(columns)
    }

    /// One row a pair of detectors: what each finds, both find, and only one finds.
    fn agreement(self) -> PolarsResult<DataFrame> {
        let rows = comparisons(self.trained);
        let count = |name: &str, of: fn(&Overlap) -> u64| {
            Column::new(name.into(), rows.iter().map(|row| of(&row.overlap) as u32).collect::<Vec<_>>())
        };
        DataFrame::new_infer_height(vec![
            Column::new("a".into(), rows.iter().map(|row| row.a).collect::<Vec<_>>()),
            Column::new("b".into(), rows.iter().map(|row| row.b).collect::<Vec<_>>()),
            count("anomalies_a", |overlap| overlap.both + overlap.only_first),
            count("anomalies_b", |overlap| overlap.both + overlap.only_second),
            count("both", |overlap| overlap.both),
            count("only_a", |overlap| overlap.only_first),
            count("only_b", |overlap| overlap.only_second),
            Column::new("jaccard".into(), rows.iter().map(|row| row.overlap.jaccard()).collect::<Vec<_>>()),
        ])
    }
}

/// A frame as the content of a file.
pub(crate) fn parquet(mut frame: DataFrame) -> PolarsResult<Vec<u8>> {
    let mut bytes = Vec::new();
    ParquetWriter::new(&mut bytes).finish(&mut frame)?;
    Ok(bytes)
}

fn anomalous(model: &Model, scores: &[TrainingScore]) -> Vec<bool> {
    scores.iter().map(|score| model.threshold.is_exceeded(score.score, score.cluster)).collect()
}

/// How one k did.
#[derive(Debug, Clone, Copy)]
pub struct ElbowRow<'a> {
    detector: &'a str,
    /// Number of clusters.
    pub k: usize,
    /// Sum of squared distances.
    pub inertia: f64,
    /// Inertia by that of k - 1; none for the smallest k, nor where that is 0.
    pub ratio: Option<f64>,
    /// Whether the elbow rule took it.
    pub chosen: bool,
}

/// How every k did that was tried; none where the detector has no clusters.
pub fn elbow_rows(model: &Model) -> Vec<ElbowRow<'_>> {
    let Some(clusters) = model.learned.clusters() else { return Vec::new() };
    let (by_k, chosen_k) = (&clusters.inertia_by_k, clusters.n_clusters());
    let ratio = |index: usize| {
        let before = by_k[index.checked_sub(1)?].1;
        (before > 0.0).then(|| by_k[index].1 / before)
    };
    let row = |(index, &(k, inertia)): (usize, &(usize, f64))| ElbowRow {
        detector: &model.detector,
        k,
        inertia,
        ratio: ratio(index),
        chosen: k == chosen_k,
    };
    by_k.iter().enumerate().map(row).collect()
}

/// A cluster in the features' own units.
#[derive(Debug, Clone, PartialEq)]
pub struct ClusterSummary {
    /// How many training entities it has.
    pub size: u64,
    /// Its centre: `(n_features)`.
    pub center: Vec<f64>,
}

/// The clusters of a model, in the order of their numbers; none where the detector has none.
pub fn clusters(model: &Model) -> Vec<ClusterSummary> {
    let clusters = model.learned.clusters().map(|clusters| clusters.clusters()).unwrap_or_default();
    let summary =
        |cluster: &Cluster| ClusterSummary { size: cluster.size, center: model.scaler.inverse(&cluster.center) };
    clusters.iter().map(summary).collect()
}

/// How far two detectors agree on the training entities.
#[derive(Debug, Clone, PartialEq)]
pub struct PairOverlap<'a> {
    /// A detector.
    pub a: &'a str,
    /// Another.
    pub b: &'a str,
    /// Anomalies of both, of `a` alone and of `b` alone.
    pub overlap: Overlap,
}

/// Every pair of detectors.
pub fn comparisons(trained: &[Trained]) -> Vec<PairOverlap<'_>> {
    let verdicts: Vec<Vec<bool>> = trained.iter().map(|trained| anomalous(&trained.model, &trained.scores)).collect();
    let pairs = (0..trained.len()).flat_map(|a| (a + 1..trained.len()).map(move |b| (a, b)));
    let compare = |(a, b): (usize, usize)| PairOverlap {
        a: &trained[a].model.detector,
        b: &trained[b].model.detector,
        overlap: Overlap::of(verdicts[a].iter().copied().zip(verdicts[b].iter().copied())),
    };
    pairs.map(compare).collect()
}

/// `training.json`: what differs from run to run, and the counts.
#[derive(Debug, Serialize)]
pub struct TrainingReport {
    pipeline: String,
    trained_at: String,
    seed: u64,
    device: String,
    inputs: Vec<String>,
    rows_read: u64,
    rows_dropped: BTreeMap<String, DroppedRows>,
    entities: usize,
    entities_left_out: BTreeMap<String, usize>,
    entities_trained_on: usize,
    detectors: BTreeMap<String, DetectorReport>,
    seconds: serde_json::Map<String, serde_json::Value>,
    seconds_total: f64,
}

#[derive(Debug, Serialize)]
struct DroppedRows {
    rows: u64,
    first: String,
}

#[derive(Debug, Serialize)]
struct DetectorReport {
    model_version: String,
    algorithm: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    k: Option<usize>,
    threshold: f32,
    anomalies: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    false_alarm_rate: Option<RealisedRate>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cost: Option<CostReport>,
}

impl TrainingReport {
    /// The report of a training that ended at `now`.
    pub fn new(
        findings: Findings<'_>,
        loaded: &Loaded,
        device: &ChosenDevice,
        inputs: &[impl ToString],
        timings: &Timings,
        now: Timestamp,
    ) -> Self {
        let dropped = |(reason, bad): (&shared::reason::Reason, &crate::load::BadRow)| {
            (reason.to_string(), DroppedRows { rows: bad.count, first: bad.first.to_string() })
        };
        let entities = findings.entities;
        Self {
            pipeline: findings.pipeline.name.clone(),
            trained_at: format_timestamp(now),
            seed: findings.trained.first().map_or(0, |trained| trained.model.training.seed),
            device: device.to_string(),
            inputs: inputs.iter().map(ToString::to_string).collect(),
            rows_read: loaded.rows_read,
            rows_dropped: loaded.bad_rows.by_frequency().into_iter().map(dropped).collect(),
            entities: entities.total(),
            entities_left_out: entities.left_out.iter().map(|(reason, count)| (reason.to_string(), *count)).collect(),
            entities_trained_on: entities.keys.len(),
            detectors: findings.trained.iter().map(detector_report).collect(),
            seconds: timings.steps().iter().map(|(step, seconds)| (step.clone(), (*seconds).into())).collect(),
            seconds_total: timings.total(),
        }
    }

    /// The content of the file.
    ///
    /// # Errors
    /// When it cannot be written as JSON.
    pub fn to_json(&self) -> serde_json::Result<Vec<u8>> {
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        Ok(text)
    }
}

fn detector_report(trained: &Trained) -> (String, DetectorReport) {
    let model = &trained.model;
    let report = DetectorReport {
        model_version: model.version(),
        algorithm: model.parameters.name(),
        k: model.learned.clusters().map(|clusters| clusters.n_clusters()),
        threshold: model.threshold.value,
        anomalies: model.training.anomalies,
        false_alarm_rate: trained.realised_rate.clone(),
        cost: trained.cost.clone(),
    };
    (model.detector.clone(), report)
}
