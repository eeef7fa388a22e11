//! From features to a model: scale, fit for every k, choose k; then score the training entities as the scorer would
//! and set the threshold on exactly those scores.

use std::io;

use shared::detector::Detector;
use shared::device::ChosenDevice;
use shared::kmeans::{BisectingTree, KMeansError, KMeansFit, KMeansParams, Points, elbow, fit_sweep, fit_tree};
use shared::matrix::FeatureMatrix;
use shared::model::{Cluster, Clusters, FORMAT_VERSION, Model, Parameters, TrainingSummary, fingerprint_of_numbers};
use shared::pipeline::{Algorithm, DetectorSpec, KSelection, Pipeline, Scaling};
use shared::rows::{RowStore, RowStoreBuilder};
use shared::scaler::Scaler;
use shared::threshold::{Calibration, Threshold, TooFewScores};
use thiserror::Error;

use crate::memory::Plan;

/// Entities that are scored at a time.
const ROWS_A_BATCH: usize = 1 << 16;

/// Why a detector cannot be trained.
#[derive(Debug, Error)]
pub enum FitError {
    /// There are no clusters to find.
    #[error("detector `{detector}`: {source}")]
    Clusters {
        /// The detector.
        detector: String,
        /// The cause.
        source: KMeansError,
    },
    /// There is no room for the scaled features.
    #[error("detector `{detector}`: {source}")]
    Rows {
        /// The detector.
        detector: String,
        /// The cause.
        source: io::Error,
    },
    /// There is no threshold to find.
    #[error("detector `{detector}`: {source}")]
    Threshold {
        /// The detector.
        detector: String,
        /// The cause.
        source: TooFewScores,
    },
}

/// What detectors are trained on.
#[derive(Debug)]
pub struct TrainingSet<'a> {
    pipeline: &'a Pipeline,
    features: &'a FeatureMatrix,
    device: &'a ChosenDevice,
    seed: u64,
    plan: Plan,
    fingerprint: String,
}

/// Clusters for the chosen k, and how the others did.
#[derive(Debug, Clone)]
pub struct Fitted {
    spec: DetectorSpec,
    scaler: Scaler,
    clusters: Clusters,
    inertia_by_k: Vec<(usize, f64)>,
    chosen_k: usize,
}

/// A trained detector and its scores of the training entities.
#[derive(Debug, Clone)]
pub struct Trained {
    /// The model.
    pub model: Model,
    /// Scores: `(n_samples)`.
    pub scores: Vec<TrainingScore>,
}

/// What a detector says of a training entity.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TrainingScore {
    /// How unusual it is, as on the stream.
    pub score: f32,
    /// The predicted cluster.
    pub cluster: i32,
}

impl<'a> TrainingSet<'a> {
    /// Entities with these features, to be computed on `device` within the memory of `plan`.
    pub fn new(
        pipeline: &'a Pipeline,
        features: &'a FeatureMatrix,
        device: &'a ChosenDevice,
        seed: u64,
        plan: Plan,
    ) -> Self {
        Self { pipeline, features, device, seed, plan, fingerprint: fingerprint_of_numbers(features.values()) }
    }

    /// Finds the clusters of a detector. `on_step` is called after each of [`n_steps`].
    ///
    /// # Errors
    /// [`FitError::Clusters`] when there are too few entities or all are equal.
    pub fn fit(&self, spec: &DetectorSpec, on_step: &(dyn Fn() + Sync)) -> Result<Fitted, FitError> {
        let (scaler, rows) =
            self.scale(spec.scaling).map_err(|source| FitError::Rows { detector: spec.name.clone(), source })?;
        let clusters = |source| FitError::Clusters { detector: spec.name.clone(), source };
        let max_k = spec.k.largest();
        let points = Points::from_rows(rows, max_k, &self.device.device).map_err(clusters)?;
        let params = KMeansParams {
            n_init: spec.n_init,
            max_iter: spec.max_iter,
            tol: spec.tol,
            seed: self.seed,
            max_state_bytes: self.plan.state_bytes,
        };
        let mut candidates = match spec.algorithm {
            Algorithm::KMeans => Candidates::Sweep(fit_sweep(&points, max_k, &params, on_step).map_err(clusters)?),
            Algorithm::BisectingKmeans => {
                Candidates::Tree(fit_tree(&points, max_k, &params, on_step).map_err(clusters)?)
            }
        };
        let inertia = candidates.inertia_by_k();
        let chosen_k = match spec.k {
            KSelection::Fixed(_) => inertia.len(),
            KSelection::Elbow { elbow: ratio, .. } => elbow(&inertia, ratio),
        };
        let by_k = inertia.into_iter().enumerate().map(|(index, inertia)| (index + 1, inertia));
        let inertia_by_k = match spec.k {
            KSelection::Fixed(_) => by_k.filter(|(k, _)| *k == chosen_k).collect(),
            KSelection::Elbow { .. } => by_k.collect(),
        };
        Ok(Fitted { spec: spec.clone(), scaler, clusters: candidates.take(chosen_k), inertia_by_k, chosen_k })
    }

    /// Scores the training entities and sets the threshold.
    ///
    /// # Errors
    /// [`FitError::Threshold`] when the policy asks for more entities than there are.
    pub fn score(&self, fitted: Fitted) -> Result<Trained, FitError> {
        let detector = fitted.spec.name.clone();
        let policy = fitted.spec.threshold;
        let unscored = self.model(fitted, Threshold { policy, value: 0.0 });
        let scores = self.scores(&Detector::new(unscored.clone(), &self.device.device));
        let values: Vec<f32> = scores.iter().map(|score| score.score).collect();
        let threshold = Threshold::fit(policy, &values).map_err(|source| FitError::Threshold { detector, source })?;
        let anomalies = values.iter().filter(|&&score| threshold.is_exceeded(score)).count();
        let training = TrainingSummary { anomalies, ..unscored.training };
        let model = Model { threshold, calibration: Calibration::fit(&values), training, ..unscored };
        Ok(Trained { model, scores })
    }

    fn scores(&self, detector: &Detector) -> Vec<TrainingScore> {
        let n_features = self.features.n_features();
        let mut scores = Vec::with_capacity(self.features.n_samples());
        for rows in self.features.values().chunks(ROWS_A_BATCH * n_features) {
            let batch = detector.score(&FeatureMatrix::from_values(n_features, rows.to_vec()));
            scores.extend(batch.iter().map(|score| TrainingScore { score: score.score, cluster: score.cluster }));
        }
        scores
    }

    /// The scaler and what it makes of the features, `(n_samples, n_features)`, in memory or in a file.
    fn scale(&self, scaling: Scaling) -> io::Result<(Scaler, RowStore)> {
        let scaler = Scaler::fit(scaling, self.features);
        let mut rows = RowStoreBuilder::new(self.features.n_features(), self.plan.row_bytes);
        let mut scaled = vec![0.0; self.features.n_features()];
        for row in self.features.rows() {
            scaled.iter_mut().zip(scaler.transform_row(row)).for_each(|(to, value)| *to = value);
            rows.push(&scaled)?;
        }
        Ok((scaler, rows.finish()?))
    }

    /// The model before anything was scored by it.
    fn model(&self, fitted: Fitted, threshold: Threshold) -> Model {
        let Fitted { spec, scaler, clusters, inertia_by_k, chosen_k } = fitted;
        Model {
            format_version: FORMAT_VERSION,
            pipeline: self.pipeline.name.clone(),
            detector: spec.name,
            algorithm: spec.algorithm,
            parameters: Parameters { k: spec.k, n_init: spec.n_init, max_iter: spec.max_iter, tol: spec.tol },
            features: self.pipeline.feature_names(),
            scaler,
            clusters,
            threshold,
            calibration: Calibration::fit(&[]),
            training: TrainingSummary {
                rows: self.features.n_samples(),
                inertia_by_k,
                chosen_k,
                seed: self.seed,
                device: self.device.short_name().to_owned(),
                anomalies: 0,
                data_fingerprint: self.fingerprint.clone(),
            },
        }
    }
}

/// About how many passes over the rows a fit takes, and how many clusters are in all of them.
pub fn passes(spec: &DetectorSpec) -> (f64, f64) {
    /// Rounds until a run has converged, as is usual.
    const ROUNDS: f64 = 15.0;
    let (n_init, max_k) = (spec.n_init as f64, spec.k.largest() as f64);
    match spec.algorithm {
        Algorithm::KMeans => (ROUNDS * n_init * max_k, ROUNDS * n_init * max_k * (max_k + 1.0) / 2.0),
        // Each level of the tree splits all rows in two.
        Algorithm::BisectingKmeans => {
            let levels = max_k.log2().ceil().max(1.0);
            (ROUNDS * n_init * levels, ROUNDS * n_init * levels * 2.0)
        }
    }
}

/// How often [`TrainingSet::fit`] calls back: once a run of k-means, or once a split.
pub fn n_steps(spec: &DetectorSpec) -> u64 {
    let steps = match spec.algorithm {
        Algorithm::KMeans => 1 + spec.n_init * (spec.k.largest() - 1),
        Algorithm::BisectingKmeans => spec.k.largest() - 1,
    };
    steps as u64
}

/// The clusters for every k.
enum Candidates {
    /// One run for each k.
    Sweep(Vec<KMeansFit>),
    /// One tree, whose first splits are the trees for smaller k.
    Tree(BisectingTree),
}

impl Candidates {
    /// Inertia for k = 1, 2, ...
    fn inertia_by_k(&self) -> Vec<f64> {
        match self {
            Self::Sweep(fits) => fits.iter().map(|fit| fit.inertia).collect(),
            Self::Tree(tree) => (1..=tree.n_leaves()).map(|k| tree.prefix(k).inertia()).collect(),
        }
    }

    fn take(&mut self, k: usize) -> Clusters {
        match self {
            Self::Sweep(fits) => {
                let fit = fits.swap_remove(k - 1);
                let clusters = fit.centroids.rows().zip(&fit.counts);
                Clusters::Centroids(clusters.map(|(center, &size)| Cluster { center: center.to_vec(), size }).collect())
            }
            Self::Tree(tree) => Clusters::Tree(tree.prefix(k)),
        }
    }
}
