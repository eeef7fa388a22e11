//! From features to a model: scale, fit; then score the training entities as the scorer would and set the threshold on
//! exactly those scores, or on those of the entities that were held out.

mod thresholds;

use std::io;

use shared::detector::Detector;
use shared::detectors::drift::Reference;
use shared::detectors::{self, Algorithm, AnyLearned, Context};
use shared::device::{ChosenDevice, Job};
use shared::evaluation::statistics::place;
use shared::matrix::FeatureMatrix;
use shared::model::{FORMAT_VERSION, Model, Profile, TrainingSummary, fingerprint_of_numbers};
use shared::pipeline::{DetectorSpec, KSelection, Pipeline, Scaling, ThresholdPolicy};
use shared::rows::{RowStore, RowStoreBuilder};
use shared::scaler::Scaler;
use shared::threshold::{Calibration, Threshold, TooFewScores};
use thiserror::Error;

use crate::cost::CostReport;
use crate::entities::Labels;
use crate::labels;
use crate::memory::Plan;
use crate::realised_rate::RealisedRate;
use thresholds::{with_cost, with_threshold};

/// Entities that are scored at a time.
const ROWS_A_BATCH: usize = 1 << 16;

/// Entities that are scaled at a time, by all threads.
const ROWS_TO_SCALE: usize = 1 << 15;

/// Why a detector cannot be trained.
#[derive(Debug, Error)]
pub enum FitError {
    /// The entities cannot be learned from.
    #[error("detector `{detector}`: {source}")]
    Learning {
        /// The detector.
        detector: String,
        /// The cause.
        source: detectors::FitError,
    },
    /// There is no room for the scaled features.
    #[error("detector `{detector}`: {source}")]
    Rows {
        /// The detector.
        detector: String,
        /// The cause.
        source: io::Error,
    },
    /// It cannot learn from these labels, or there are none.
    #[error("detector `{detector}`: {problem}")]
    Labels {
        /// The detector.
        detector: String,
        /// What needs labels, and what would be right.
        problem: String,
    },
    /// There is no threshold to find.
    #[error("detector `{detector}`: {source}")]
    Threshold {
        /// The detector.
        detector: String,
        /// The cause.
        source: TooFewScores,
    },
    /// What was learned cannot be used.
    #[error(
        "detector `{detector}` cannot be trained on this history: {problem}; the value furthest from 0 is {feature} = \
         {value:e}, so look for wrong numbers there, or use scaling = \"robust\""
    )]
    Unusable {
        /// The detector.
        detector: String,
        /// What is wrong with its model.
        problem: String,
        /// The feature with the value that is furthest from 0.
        feature: String,
        /// That value.
        value: f64,
    },
}

/// What detectors are trained on.
#[derive(Debug)]
pub struct TrainingSet<'a> {
    pipeline: &'a Pipeline,
    features: &'a FeatureMatrix,
    /// What is known of the entities, where anything is.
    labels: Option<&'a Labels>,
    device: &'a ChosenDevice,
    seed: u64,
    plan: Plan,
    fingerprint: String,
    typical: Vec<f64>,
    usual: Vec<[f64; 2]>,
    /// The distribution of each feature: `(n_features)`.
    distributions: Vec<Reference>,
}

/// What a detector learned, before anything was scored by it.
#[derive(Debug, Clone)]
pub struct Fitted {
    spec: DetectorSpec,
    scaler: Scaler,
    learned: AnyLearned,
    /// Whether each entity was held out; empty where none was.
    held_out: Vec<bool>,
}

/// A trained detector and its scores of the training entities.
#[derive(Debug, Clone)]
pub struct Trained {
    /// The model.
    pub model: Model,
    /// Scores: `(n_samples)`.
    pub scores: Vec<TrainingScore>,
    /// Whether the rate of false alarms that was asked for holds in time, where one was.
    pub realised_rate: Option<RealisedRate>,
    /// What its threshold and others would have cost, where it was chosen by that.
    pub cost: Option<CostReport>,
}

/// What a detector says of a training entity.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TrainingScore {
    /// How unusual it is among all the others: on the stream, an entity that was in the history may be compared with itself.
    pub score: f32,
    /// The predicted cluster, where the detector has any.
    pub cluster: Option<i32>,
    /// Whether the fit has it in a cluster that is large enough to be usual; always, where there are no clusters.
    pub is_usual: bool,
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
        let fingerprint = fingerprint_of_numbers(features.values());
        let (mut typical, mut usual, mut distributions) = (Vec::new(), Vec::new(), Vec::new());
        for ((median, range), distribution) in features.map_columns(learned_of_column) {
            typical.push(median);
            usual.push(range);
            distributions.push(distribution);
        }
        let labels = None;
        Self { pipeline, features, labels, device, seed, plan, fingerprint, typical, usual, distributions }
    }

    /// The same with what is known of the entities.
    #[must_use]
    pub fn with_labels(self, labels: Option<&'a Labels>) -> Self {
        Self { labels, ..self }
    }

    /// What a detector learns. `on_step` is called after each of [`Algorithm::n_steps`].
    ///
    /// # Errors
    /// [`FitError::Learning`] when there are too few entities or all are equal, and [`FitError::Labels`] when it needs labels that
    /// are not there.
    pub fn fit(&self, spec: &DetectorSpec, on_step: &(dyn Fn() + Sync)) -> Result<Fitted, FitError> {
        let held_out = self.held_out(spec);
        let labels = self.labels(spec, |index| held_out.is_empty() || !held_out[index])?;
        let labels = labels.filter(|_| spec.algorithm.needs_labels());
        let (scaler, rows) = self
            .scale(spec.scaling, &held_out)
            .map_err(|source| FitError::Rows { detector: spec.name.clone(), source })?;
        scaler.check(self.features.n_features()).map_err(|problem| self.unusable(spec, problem))?;
        let context =
            Context { device: &self.device.device, seed: self.seed, max_state_bytes: self.plan.state_bytes, on_step };
        let learned = match labels {
            Some(labels) => {
                let unreadable = |source| FitError::Rows { detector: spec.name.clone(), source };
                spec.algorithm.fit_labelled(&rows.into_matrix().map_err(unreadable)?, &labels, &context)
            }
            None => spec.algorithm.fit_store(rows, &context),
        };
        let learned = learned.map_err(|source| FitError::Learning { detector: spec.name.clone(), source })?;
        Ok(Fitted { spec: spec.clone(), scaler, learned, held_out })
    }

    /// What is known of some entities, where the detector needs that.
    fn labels(
        &self,
        spec: &DetectorSpec,
        is_wanted: impl Fn(usize) -> bool,
    ) -> Result<Option<Vec<Option<bool>>>, FitError> {
        labels::of_entities(self.pipeline, spec, self.labels, is_wanted)
            .map_err(|problem| FitError::Labels { detector: spec.name.clone(), problem })
    }

    /// Which entities are held out, to set the threshold by, where it needs that.
    fn held_out(&self, spec: &DetectorSpec) -> Vec<bool> {
        if !spec.threshold.needs_calibration() {
            return Vec::new();
        }
        spec.calibration.choose(self.features.n_samples(), spec.calibration_share, self.seed)
    }

    /// Scores the training entities and sets the threshold.
    ///
    /// # Errors
    /// [`FitError::Threshold`] when the policy asks for more entities than there are, and [`FitError::Unusable`] when the
    /// scorer would refuse the model.
    pub fn score(&self, fitted: Fitted) -> Result<Trained, FitError> {
        let Fitted { spec, scaler, learned, held_out } = fitted;
        let unscored = self.model(&spec, scaler, learned, &held_out);
        unscored.check().map_err(|problem| self.unusable(&spec, problem))?;
        let scores = self.scores(&spec, &Detector::new(unscored.clone(), &self.device.device), &held_out);
        let is_counted = |index: &usize| {
            (held_out.is_empty() || held_out[*index]) && (scores[*index].is_usual || !spec.threshold.is_of_usual())
        };
        let counted: Vec<TrainingScore> = (0..scores.len()).filter(is_counted).map(|index| scores[index]).collect();
        // What comes has all scores, those of unusual entities among them; but none of it was in the fit.
        let new = (0..scores.len()).filter(|index| held_out.is_empty() || held_out[*index]);
        let scores_of_new = Profile::of_scores(new.map(|index| scores[index].score));
        let profile = Profile { scores: scores_of_new, features: self.distributions.clone() };
        let error = |source| FitError::Threshold { detector: spec.name.clone(), source };
        let (model, cost) = match spec.threshold {
            ThresholdPolicy::Cost(cost) => {
                let known = self.labels(&spec, |index| is_counted(&index))?.unwrap_or_default();
                let (model, cost) = with_cost(unscored, cost, &counted, &known).map_err(error)?;
                (model, Some(cost))
            }
            _ => (with_threshold(unscored, &spec, &counted).map_err(error)?, None),
        };
        model.check().map_err(|problem| self.unusable(&spec, problem))?;
        let is_anomalous = |score: &&TrainingScore| model.threshold.is_exceeded(score.score, score.cluster);
        let anomalies = scores.iter().filter(is_anomalous).count();
        let training = TrainingSummary { anomalies, ..model.training };
        let n_clusters = (!model.threshold.by_cluster.is_empty()).then_some(model.threshold.by_cluster.len());
        let held_out: Vec<(f32, Option<i32>)> = counted.iter().map(|score| (score.score, score.cluster)).collect();
        let realised_rate = RealisedRate::measure(spec.threshold, &held_out, n_clusters);
        Ok(Trained { model: Model { training, profile: Some(profile), ..model }, scores, realised_rate, cost })
    }

    /// The error of a model with this problem. Numbers that leave float64 come from numbers that are nearly that large.
    fn unusable(&self, spec: &DetectorSpec, problem: String) -> FitError {
        let names = self.pipeline.feature_names();
        let values = self.features.rows().flat_map(|row| row.iter().copied().enumerate());
        let (index, value) = values.max_by(|a, b| a.1.abs().total_cmp(&b.1.abs())).unwrap_or_default();
        let feature = names.get(index).cloned().unwrap_or_default();
        FitError::Unusable { detector: spec.name.clone(), problem, feature, value }
    }

    fn scores(&self, spec: &DetectorSpec, detector: &Detector, held_out: &[bool]) -> Vec<TrainingScore> {
        let n_features = self.features.n_features();
        let (clusters, min_share) = (detector.model().learned.clusters(), spec.algorithm.min_share().unwrap_or(0.0));
        let mut scores = Vec::with_capacity(self.features.n_samples());
        let mut places = places_in_fit(held_out);
        for rows in self.features.values().chunks(ROWS_A_BATCH * n_features) {
            let rows = FeatureMatrix::from_values(n_features, rows.to_vec());
            let places: Vec<Option<usize>> = places.by_ref().take(rows.n_samples()).collect();
            let batch = detector.score_training(&rows, &places);
            let is_small =
                clusters.and_then(|clusters| clusters.in_small_clusters(min_share, &batch.rows, &self.device.device));
            scores.extend(batch.iter().enumerate().map(|(row, (score, cluster))| {
                let is_usual = is_small.as_ref().is_none_or(|is_small| !is_small[row]);
                TrainingScore { score, cluster, is_usual }
            }));
        }
        scores
    }

    /// The scaler and what it makes of the entities that are not held out, `(n_samples, n_features)`, in memory or in a
    /// file. Those that are held out have no part in the scaler either.
    fn scale(&self, scaling: Scaling, held_out: &[bool]) -> io::Result<(Scaler, RowStore)> {
        let n_features = self.features.n_features();
        let is_learned_from = |index: usize| held_out.is_empty() || !held_out[index];
        let scaler = if held_out.is_empty() {
            Scaler::fit(scaling, self.features)
        } else {
            let rows = self.features.rows().enumerate().filter(|(index, _)| is_learned_from(*index));
            let values = rows.flat_map(|(_, row)| row.iter().copied()).collect();
            Scaler::fit(scaling, &FeatureMatrix::from_values(n_features, values))
        };
        let mut rows = RowStoreBuilder::new(n_features, self.plan.row_bytes);
        let batches = self.features.values().chunks(ROWS_TO_SCALE * n_features);
        for (batch, values) in batches.enumerate() {
            let learned_from = values
                .chunks_exact(n_features)
                .enumerate()
                .filter_map(|(index, row)| is_learned_from(batch * ROWS_TO_SCALE + index).then_some(row));
            let learned_from = FeatureMatrix::from_values(n_features, learned_from.flatten().copied().collect());
            rows.extend(scaler.transform(&learned_from).values())?;
        }
        Ok((scaler, rows.finish()?))
    }

    /// The model before anything was scored by it.
    fn model(&self, spec: &DetectorSpec, scaler: Scaler, learned: AnyLearned, held_out: &[bool]) -> Model {
        Model {
            format_version: FORMAT_VERSION,
            pipeline: self.pipeline.name.clone(),
            detector: spec.name.clone(),
            parameters: spec.algorithm.clone(),
            promoted: false,
            imported: None,
            features: self.pipeline.feature_names(),
            definition: Some(self.pipeline.meaning.clone()),
            scaler,
            typical: self.typical.clone(),
            usual: self.usual.clone(),
            learned,
            weights: None,
            threshold: Threshold { policy: spec.threshold, value: 0.0, by_cluster: Vec::new() },
            calibration: Calibration::fit(&[]),
            calibration_by_cluster: Vec::new(),
            profile: None,
            training: TrainingSummary {
                rows: self.features.n_samples(),
                held_out: held_out.iter().filter(|&&is_held_out| is_held_out).count(),
                seed: self.seed,
                device: self.device.short_name().to_owned(),
                anomalies: 0,
                data_fingerprint: self.fingerprint.clone(),
            },
        }
    }
}

/// The place in the fit of each entity of the history, one after the other: none for one that was held out.
pub fn places_in_fit(held_out: &[bool]) -> impl Iterator<Item = Option<usize>> {
    let mut fitted = 0..;
    (0..).map_while(move |index| {
        let is_held_out = !held_out.is_empty() && *held_out.get(index)?;
        Some(if is_held_out { None } else { fitted.next() })
    })
}

/// What is typical and usual of a feature, and its distribution.
fn learned_of_column(mut column: Vec<f64>) -> ((f64, [f64; 2]), Reference) {
    let typical_and_usual = typical_and_usual(&mut column);
    (typical_and_usual, Profile::of_feature(column))
}

/// The median of a feature, the lower one of two, and its 5th and its 95th percentile: values that there were. Nine of ten
/// entities lie between the percentiles.
pub(crate) fn typical_and_usual(column: &mut [f64]) -> (f64, [f64; 2]) {
    let Some(last) = column.len().checked_sub(1) else { return (0.0, [0.0; 2]) };
    let (low, middle) = ((last as f64 * 0.05).floor() as usize, last / 2);
    let high = (last as f64 * 0.95).ceil() as usize;
    let mut places = vec![low, middle, high];
    places.dedup();
    place(column, &places, f64::total_cmp);
    (column[middle], [column[low], column[high]])
}

/// About what there is to compute for all of these detectors together, as far as GPUs have kernels for them.
pub fn job<'a>(specs: impl Iterator<Item = &'a DetectorSpec>, n_samples: usize, n_features: usize) -> Job {
    let with_kernels = specs.filter_map(|spec| passes(&spec.algorithm));
    let (passes, clusters) = with_kernels.fold((0.0, 0.0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    if passes == 0.0 {
        return Job::WithoutKernel;
    }
    Job::fit(n_samples, n_features, clusters / passes, passes)
}

/// About how many passes over the rows a fit takes, and how many clusters are in all of them; nothing where a GPU has no kernels.
fn passes(algorithm: &Algorithm) -> Option<(f64, f64)> {
    /// Rounds until a run has converged, as is usual.
    const ROUNDS: f64 = 15.0;
    match algorithm {
        Algorithm::KMeans(parameters) => {
            let n_init = parameters.n_init as f64;
            Some(match parameters.k {
                KSelection::Fixed(k) => (ROUNDS * n_init, ROUNDS * n_init * k as f64),
                KSelection::Elbow { max, .. } => {
                    let max_k = max as f64;
                    (ROUNDS * n_init * max_k, ROUNDS * n_init * max_k * (max_k + 1.0) / 2.0)
                }
            })
        }
        // Each level of the tree splits all rows in two.
        Algorithm::BisectingKMeans(parameters) => {
            let n_init = parameters.n_init as f64;
            let levels = (parameters.k.largest() as f64).log2().ceil().max(1.0);
            Some((ROUNDS * n_init * levels, ROUNDS * n_init * levels * 2.0))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use shared::detectors::autoencoder::Autoencoder;
    use shared::device::{DeviceRequest, choose};

    use super::*;

    /// Every algorithm, small where it could take long.
    fn algorithms() -> impl Iterator<Item = Algorithm> {
        Algorithm::NAMES.iter().filter_map(|name| match Algorithm::by_name(name)? {
            Algorithm::Autoencoder(_) => {
                let small = Autoencoder { hidden: vec![8], epochs: 2, ..Autoencoder::default() };
                Some(Algorithm::Autoencoder(small))
            }
            algorithm => Some(algorithm),
        })
    }

    /// Ordinary rows, and at their end some with these values in the first feature.
    fn features(n_features: usize, odd: &[f64]) -> FeatureMatrix {
        let ordinary =
            |row: usize, feature: usize| ((row * 7 + feature * 3) % (5 + feature)) as f64 + row as f64 / 100.0;
        let row = |row: usize| (0..n_features).map(move |feature| ordinary(row, feature));
        let odd = odd.iter().enumerate().flat_map(|(index, &value)| std::iter::once(value).chain(row(index).skip(1)));
        FeatureMatrix::from_values(n_features, (0..300).flat_map(row).chain(odd).collect())
    }

    /// Numbers that leave float64 when they are added or squared end in a model that the scorer takes, or in a sentence.
    #[test]
    fn no_history_of_numbers_gives_a_broken_model() {
        let device = choose(DeviceRequest::Cpu).expect("the CPU is there");
        let pipeline = Pipeline::load("invoices").expect("a pipeline that ships");
        let folder = tempfile::tempdir().expect("a temporary folder");
        for odd in [&[1e308, 1e308][..], &[f64::MIN, f64::MAX], &[1e-320, -1e200, 1e160], &[1e39; 60]] {
            let features = features(pipeline.n_features(), odd);
            let set = TrainingSet::new(&pipeline, &features, &device, 42, Plan { row_bytes: None, state_bytes: None });
            for (algorithm, scaling) in
                algorithms().flat_map(|algorithm| Scaling::ALL.map(|to| (algorithm.clone(), to)))
            {
                let what = format!("{} {scaling:?} {odd:?}", algorithm.name());
                let spec = DetectorSpec { algorithm, scaling, ..pipeline.detectors[0].clone() };
                match set.fit(&spec, &|| {}).and_then(|fitted| set.score(fitted)) {
                    Ok(Trained { model, scores, .. }) => {
                        assert_eq!(model.check(), Ok(()), "{what}");
                        let path = model.save(folder.path()).expect("it can be written");
                        assert_eq!(Model::read(&path).expect(&what), model, "{what}");
                        assert!(scores.iter().all(|score| score.score.is_finite()), "{what}");
                    }
                    Err(error) => assert!(error.to_string().contains("detector `kmeans`"), "{what}: {error}"),
                }
            }
        }
    }

    #[test]
    fn only_what_gpus_have_kernels_for_counts_as_work_for_them() {
        let pipeline = Pipeline::load("invoices").expect("a pipeline that ships");
        let specs: Vec<DetectorSpec> =
            algorithms().map(|algorithm| DetectorSpec { algorithm, ..pipeline.detectors[0].clone() }).collect();
        let work = |specs: &[DetectorSpec]| job(specs.iter(), 1000, 2).work();
        for spec in &specs {
            let has_work = work(std::slice::from_ref(spec)).is_some_and(|work| work > 0.0);
            assert_eq!(has_work, spec.algorithm.has_gpu_kernels(), "{}", spec.algorithm.name());
        }
        let (with, without): (Vec<_>, Vec<_>) =
            specs.iter().cloned().partition(|spec| spec.algorithm.has_gpu_kernels());
        assert!(work(&with).is_some() && work(&specs) == work(&with));
        assert_eq!(work(&without), None);
    }

    #[test]
    fn a_model_that_cannot_be_used_is_refused_by_the_value_that_is_to_blame() {
        let device = choose(DeviceRequest::Cpu).expect("the CPU is there");
        let pipeline = Pipeline::load("invoices").expect("a pipeline that ships");
        let features = features(pipeline.n_features(), &[-2.5e307]);
        let set = TrainingSet::new(&pipeline, &features, &device, 42, Plan { row_bytes: None, state_bytes: None });
        let spec = &pipeline.detectors[0];
        let fitted = set.fit(spec, &|| {}).expect("it can be learned from");
        let mut scaler = fitted.scaler.clone();
        scaler.center[1] = f64::INFINITY;
        let error = set.score(Fitted { scaler, ..fitted }).expect_err("no such scaler may reach a file").to_string();
        let expected = "detector `kmeans` cannot be trained on this history: its scaler holds a value that is not finite or a \
            scale that is not above 0; the value furthest from 0 is AvgUnitPrice = -2.5e307, so look for wrong numbers \
            there, or use scaling = \"robust\"";
        assert_eq!(error, expected);
    }
}
