//! A trained detector on a device: batches of features in, scores out, and where they come from.

use std::sync::Arc;

use burn::tensor::Device;
use clustering::matrix::{FeatureMatrix, Matrix};
use detectors::{Explanation, Score, Scores, leave_one_feature_out};

use crate::model::Model;

/// A model whose arrays lie on a device.
#[derive(Debug)]
pub struct Detector {
    model: Model,
    version: String,
    /// The names of the features, in order, for verdicts to share.
    names: Vec<Arc<str>>,
    scorer: Box<dyn Score>,
    /// The features' typical values, scaled: `(n_features)`.
    typical: Vec<f32>,
}

/// A batch that was scored.
#[derive(Debug, Clone, PartialEq)]
pub struct ScoredBatch {
    /// The scaled rows: `(n_samples, n_features)`.
    pub rows: Matrix,
    /// Their scores.
    pub scores: Scores,
}

/// What a detector says of an entity, and why; what is made of it is the threshold's business.
#[derive(Debug, Clone, PartialEq)]
pub struct ExplainedScore {
    /// Higher is more anomalous.
    pub score: f32,
    /// The predicted cluster, where the detector has any.
    pub cluster: Option<i32>,
    /// The share of each feature in the score: `(n_features)`, adding up to 1, or all 0 for a score of 0. A share may be
    /// negative, where a feature speaks for the entity.
    pub shares: Vec<f64>,
    /// The value that would have been normal, in the features' own units: `(n_features)`.
    pub expected: Vec<f64>,
    /// Whether the shares are only an approximation.
    pub is_approximate: bool,
}

impl ScoredBatch {
    /// The score and the cluster of each row.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (f32, Option<i32>)> + '_ {
        let cluster = |index: usize| self.scores.clusters.as_ref().map(|clusters| clusters[index]);
        self.scores.values.iter().enumerate().map(move |(index, &score)| (score, cluster(index)))
    }

    /// Some of the rows, in this order.
    fn select(&self, indices: &[usize]) -> Self {
        let values = indices.iter().flat_map(|&index| self.rows.row(index).iter().copied()).collect();
        let clusters = self.scores.clusters.as_ref();
        Self {
            rows: Matrix::from_values(self.rows.n_features(), values),
            scores: Scores {
                values: indices.iter().map(|&index| self.scores.values[index]).collect(),
                clusters: clusters.map(|clusters| indices.iter().map(|&index| clusters[index]).collect()),
            },
        }
    }
}

impl Detector {
    /// Puts a model on a device.
    pub fn new(model: Model, device: &Device) -> Self {
        let typical = model.scaler.transform_row(&model.typical).collect();
        let names = model.features.iter().map(|name| name.as_str().into()).collect();
        Self { version: model.version(), names, scorer: model.learned.on_device(device), model, typical }
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// The model's version.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The names of its features, in order: those of its model.
    pub fn names(&self) -> &[Arc<str>] {
        &self.names
    }

    /// Scores a batch of features `(n_samples, n_features)`, which are finite.
    pub fn score(&self, features: &FeatureMatrix) -> ScoredBatch {
        self.score_by(features, |rows| self.scorer.score(rows))
    }

    /// Scores a batch of the history, each row as if it had not been there: `places` are those that the rows had in the fit,
    /// none for a row that had no part in it: `(n_samples)`.
    pub fn score_training(&self, features: &FeatureMatrix, places: &[Option<usize>]) -> ScoredBatch {
        self.score_by(features, |rows| self.scorer.score_training(rows, places))
    }

    fn score_by(&self, features: &FeatureMatrix, scores_of: impl Fn(&Matrix) -> Scores) -> ScoredBatch {
        let rows = self.model.scaler.transform(features); // (n_samples, n_features)
        let mut scores = match rows.n_samples() {
            0 => Scores::default(),
            _ => self.scorer.score_unscaled(features).unwrap_or_else(|| scores_of(&rows)),
        };
        scores.values.iter_mut().for_each(|score| *score = finite(*score));
        ScoredBatch { rows, scores }
    }

    /// Whether a score is anomalous.
    pub fn is_anomalous(&self, (score, cluster): (f32, Option<i32>)) -> bool {
        self.model.threshold.is_exceeded(score, cluster)
    }

    /// A value of feature `index` that is normal: `expected`, where that is within the usual range, and else the median of the
    /// history; also where the model knows no ranges. What a detector learned from outliers is never called usual.
    pub fn usual(&self, index: usize, expected: f64) -> f64 {
        match self.model.usual.get(index) {
            Some(&[low, high]) if (low..=high).contains(&expected) => expected,
            _ => self.model.typical[index],
        }
    }

    /// Where the scores of some rows of a batch come from: by the detector's own arithmetic, or else by what is left of a
    /// score when a feature is typical.
    pub fn explain(&self, batch: &ScoredBatch, indices: &[usize]) -> Vec<ExplainedScore> {
        if indices.is_empty() {
            return Vec::new();
        }
        let selected = batch.select(indices);
        let ScoredBatch { rows, scores } = &selected;
        let explanations = self.scorer.explain(rows, scores);
        let explanations =
            explanations.unwrap_or_else(|| leave_one_feature_out(&*self.scorer, rows, scores, &self.typical));
        let explained = |(explanation, (score, cluster)): (Explanation, _)| ExplainedScore {
            score,
            cluster,
            shares: shares(&explanation.contributions),
            expected: self.model.scaler.inverse(&explanation.expected),
            is_approximate: explanation.is_approximate,
        };
        explanations.into_iter().zip(selected.iter()).map(explained).collect()
    }
}

/// The score, or the largest number of float32 in the place of one that leaves it: JSON has no other numbers, and what is
/// further away than float32 can tell is anomalous.
fn finite(score: f32) -> f32 {
    if score.is_nan() { f32::MAX } else { score.clamp(f32::MIN, f32::MAX) }
}

/// Contributions as shares of their sum.
fn shares(contributions: &[f32]) -> Vec<f64> {
    let parts = || contributions.iter().map(|&part| f64::from(finite(part)));
    let total: f64 = parts().sum();
    parts().map(|part| if total > 0.0 { part / total } else { 0.0 }).collect()
}
