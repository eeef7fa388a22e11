//! A model file: `models/<pipeline>/<detector>/model.json`, written by the trainer and read by the scorer; arrays that are
//! large are in a `weights-<hash>.safetensors` beside it.
//!
//! It holds nothing that differs from run to run, so a model's version is the hash of its content. Writing is
//! atomic: a crash leaves the old file or the new one.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use detectors::clusters::Clusters;
use detectors::scaler::Scaler;
use detectors::threshold::{Calibration, Threshold};
use detectors::{Algorithm, AnyLearned};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use whole_files::{folder_of, remove_abandoned};

use crate::pipeline::{Definition, Pipeline};

mod imported;
mod last_training;
mod profile;
mod weights;

pub use crate::fingerprint::{fingerprint, fingerprint_of_numbers};
pub use imported::Imported;
pub use last_training::{LastTraining, of_another_training, training_report};
pub use profile::Profile;
pub use weights::WeightsFile;
pub use whole_files::{StagedFile, write_atomically, write_atomically_with};

/// The version of the format that this program writes and reads.
pub const FORMAT_VERSION: u32 = 2;

/// Why a model file cannot be used.
#[derive(Debug, Error)]
pub enum ModelError {
    /// It is not there.
    #[error("no model at {}: train it first with `trainer --pipeline {pipeline} --models {}`", path.display(), models.display())]
    Missing {
        /// The file.
        path: PathBuf,
        /// The pipeline.
        pipeline: String,
        /// The folder of all models.
        models: PathBuf,
    },
    /// It cannot be read.
    #[error("cannot read model {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// It cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// It is not a whole model.
    #[error("model {} is damaged: {problem}; train it again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// It was made for something else.
    #[error("model {} does not fit: {problem}", path.display())]
    Unfit {
        /// The file.
        path: PathBuf,
        /// What differs and what to do.
        problem: String,
    },
}

impl ModelError {
    pub(crate) fn missing(models: &Path, pipeline: &Pipeline, detector: &str) -> Self {
        let path = Model::path(models, &pipeline.name, detector);
        Self::Missing { path, pipeline: pipeline.name.clone(), models: models.to_owned() }
    }
}

/// What the training was like.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainingSummary {
    /// Training rows; 0 where nobody knows.
    pub rows: usize,
    /// How many of them were held out, to set the threshold by.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub held_out: usize,
    /// Seed of all randomness.
    pub seed: u64,
    /// What computed.
    pub device: String,
    /// Training rows whose score exceeds the threshold.
    pub anomalies: usize,
    /// SHA-256 of the training features.
    pub data_fingerprint: String,
}

/// A trained detector.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// See [`FORMAT_VERSION`].
    pub format_version: u32,
    /// The pipeline it was trained for.
    pub pipeline: String,
    /// The detector's name.
    pub detector: String,
    /// How it was trained.
    pub parameters: Algorithm,
    /// Whether it took the place of what the pipeline file asks for, because it was the better one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub promoted: bool,
    /// Where it comes from, where another program trained it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub imported: Option<Imported>,
    /// Names of the features, in order.
    pub features: Vec<String>,
    /// What it was trained for; `None` in models of trainers that did not write it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub definition: Option<Definition>,
    /// How features are scaled.
    pub scaler: Scaler,
    /// The median of each feature: a value that is normal, as far as one can say without the others.
    pub typical: Vec<f64>,
    /// The 5th and the 95th percentile of each feature; empty in models of trainers that did not write them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub usual: Vec<[f64; 2]>,
    /// What it learned.
    pub learned: AnyLearned,
    /// Where its large arrays are, when they are in a file beside this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights: Option<WeightsFile>,
    /// From which score on an entity is anomalous.
    pub threshold: Threshold,
    /// From scores to p-values.
    pub calibration: Calibration,
    /// From scores to p-values, for each cluster, where each has a threshold of its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub calibration_by_cluster: Vec<Calibration>,
    /// The distributions of scores and features; `None` in models of trainers that did not write them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<Profile>,
    /// What the training was like.
    pub training: TrainingSummary,
}

/// What is written of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelFiles {
    /// `model.json`.
    pub json: String,
    /// The file beside it, by name, where there are large arrays.
    pub weights: Option<(String, Vec<u8>)>,
}

impl ModelFiles {
    /// The first 8 hexadecimal digits of the SHA-256 of the content; the weights count by the hash that `model.json` has
    /// of them.
    pub fn version(&self) -> String {
        fingerprint(self.json.as_bytes())[..8].to_owned()
    }

    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        (self.json.len() + self.weights.as_ref().map_or(0, |(_, bytes)| bytes.len())) as u64
    }
}

/// Removes weights that the model at `path` no longer uses, and those that a killed process left half-written. That they
/// are gone matters to nobody, so neither does a failure.
pub fn remove_other_weights(path: &Path, keep: Option<&str>) {
    remove_abandoned(folder_of(path), weights::is_name);
    let Ok(entries) = fs::read_dir(folder_of(path)) else { return };
    for entry in entries.filter_map(Result::ok) {
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        if weights::is_name(name) && Some(name) != keep {
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn is_zero(n: &usize) -> bool {
    *n == 0
}

/// Only the version: read first, because a later format may have any other shape.
#[derive(Deserialize)]
struct Versioned {
    format_version: u32,
}

impl Model {
    /// Where the model of a detector lies under `models`.
    pub fn path(models: &Path, pipeline: &str, detector: &str) -> PathBuf {
        models.join(pipeline).join(detector).join("model.json")
    }

    /// The first 8 hexadecimal digits of the SHA-256 of the model's content.
    pub fn version(&self) -> String {
        self.files().version()
    }

    /// Whether there are scores of a history to compare a score with; not in a model that was imported without one.
    pub fn is_calibrated(&self) -> bool {
        self.calibration.n_samples > 0 || !self.calibration_by_cluster.is_empty()
    }

    /// The share of calibration scores that are at least `score`, of the entity's cluster where each has its own threshold.
    pub fn p_value(&self, score: f32, cluster: Option<i32>) -> f64 {
        let own = cluster.and_then(|cluster| self.calibration_by_cluster.get(usize::try_from(cluster).ok()?));
        own.unwrap_or(&self.calibration).p_value(score)
    }

    /// The content of the model's files.
    pub fn files(&self) -> ModelFiles {
        let mut model = self.clone();
        let weights = weights::take(&mut model.learned);
        model.weights = weights.as_ref().map(|(file, _)| file.clone());
        let mut json = serde_json::to_string_pretty(&model).expect("a model is plain data with text keys");
        json.push('\n');
        ModelFiles { json, weights: weights.map(|(file, bytes)| (file.file, bytes)) }
    }

    /// Writes the model under `models` and returns the path of its `model.json`.
    ///
    /// # Errors
    /// [`ModelError::Write`]; the old model, if any, is then still whole.
    pub fn save(&self, models: &Path) -> Result<PathBuf, ModelError> {
        let path = Self::path(models, &self.pipeline, &self.detector);
        let ModelFiles { json, weights } = self.files();
        let write = |path: &Path, bytes: &[u8]| {
            write_atomically(path, bytes).map_err(|source| ModelError::Write { path: path.to_owned(), source })
        };
        // The weights' file has a name of its own, so until model.json is replaced the old model is whole.
        if let Some((name, bytes)) = &weights {
            write(&path.with_file_name(name), bytes)?;
        }
        write(&path, json.as_bytes())?;
        remove_other_weights(&path, weights.as_ref().map(|(name, _)| name.as_str()));
        Ok(path)
    }

    /// Reads a model file, with the weights beside it, and checks that it is whole.
    ///
    /// # Errors
    /// [`ModelError`] when it is absent, cut short, of another version, or holds values that are not finite.
    pub fn read(path: &Path) -> Result<Self, ModelError> {
        let bytes = fs::read(path).map_err(|source| ModelError::Read { path: path.to_owned(), source })?;
        Self::parse(&bytes, path)
    }

    /// The model in what the file at `path` holds.
    pub(crate) fn parse(bytes: &[u8], path: &Path) -> Result<Self, ModelError> {
        let damaged = |problem: String| ModelError::Damaged { path: path.to_owned(), problem };
        let version: Versioned = serde_json::from_slice(bytes).map_err(|error| damaged(error.to_string()))?;
        if version.format_version != FORMAT_VERSION {
            let found = version.format_version;
            let problem =
                format!("its format version is {found} and this program reads {FORMAT_VERSION}; train it again");
            return Err(ModelError::Unfit { path: path.to_owned(), problem });
        }
        let mut model: Self = serde_json::from_slice(bytes).map_err(|error| damaged(error.to_string()))?;
        if let Some(file) = model.weights.take() {
            weights::give_back(&mut model.learned, &file, path).map_err(damaged)?;
        }
        model.check().map_err(damaged)?;
        Ok(model)
    }

    /// Reads the model of a pipeline's detector, checked against the pipeline.
    ///
    /// # Errors
    /// As [`Model::read`], and when it was trained for other features or another algorithm.
    pub fn load(models: &Path, pipeline: &Pipeline, detector: &str) -> Result<Self, ModelError> {
        let path = Self::path(models, &pipeline.name, detector);
        if !path.exists() {
            return Err(ModelError::missing(models, pipeline, detector));
        }
        Self::read(&path)?.fitting(pipeline, detector, &path)
    }

    /// The model, read from `path`, if it was trained for this detector.
    pub(crate) fn fitting(self, pipeline: &Pipeline, detector: &str, path: &Path) -> Result<Self, ModelError> {
        let unfit = |problem| ModelError::Unfit { path: path.to_owned(), problem };
        self.fits(pipeline, detector).map_err(unfit)?;
        Ok(self)
    }

    fn fits(&self, pipeline: &Pipeline, detector: &str) -> Result<(), String> {
        let expected = pipeline.feature_names();
        if self.features != expected {
            return Err(format!(
                "it was trained on the features {} and pipeline `{}` has {}; train it again",
                self.features.join(", "),
                pipeline.name,
                expected.join(", ")
            ));
        }
        if let Some(definition) = &self.definition {
            definition.check(&pipeline.meaning)?;
        }
        if self.pipeline != pipeline.name || self.detector != detector {
            return Err(format!(
                "it is `{}` of pipeline `{}`, not `{detector}` of `{}`; train it again",
                self.detector, self.pipeline, pipeline.name
            ));
        }
        match pipeline.detectors.iter().find(|spec| spec.name == detector) {
            Some(_) if self.promoted => Ok(()),
            Some(spec) if spec.algorithm.name() == self.parameters.name() => Ok(()),
            _ => Err(format!("pipeline `{}` asks `{detector}` for another algorithm; train it again", pipeline.name)),
        }
    }

    /// Why it may not fit a pipeline that it was loaded for, each in a few words: a rule that changed, or that nobody knows what
    /// its features meant.
    pub fn doubts(&self, pipeline: &Pipeline) -> Vec<String> {
        match &self.definition {
            Some(definition) => definition.doubts(&pipeline.meaning),
            None => {
                vec!["it does not say for which feature definitions it was trained: an earlier trainer wrote it".into()]
            }
        }
    }

    /// Checks what was learned or read from a file: whole, consistent and finite, so that every score is.
    ///
    /// # Errors
    /// What is wrong.
    pub fn check(&self) -> Result<(), String> {
        let n_features = self.features.len();
        let finite = |values: &[f64]| values.iter().all(|value| value.is_finite());
        self.scaler.check(n_features)?;
        if self.typical.len() != n_features || !finite(&self.typical) {
            return Err(format!("its typical values are not {n_features} finite numbers"));
        }
        let is_range = |range: &[f64; 2]| finite(range) && range[0] <= range[1];
        if !(self.usual.is_empty() || self.usual.len() == n_features && self.usual.iter().all(is_range)) {
            return Err(format!("its usual ranges are not {n_features} pairs of rising finite numbers"));
        }
        self.profile.as_ref().map_or(Ok(()), |profile| profile.check(n_features))?;
        if self.learned.algorithm() != self.parameters.name() {
            return Err("what it learned is another algorithm's".into());
        }
        self.learned.check(n_features)?;
        imported::check_exact(self)?;
        let thresholds = std::iter::once(self.threshold.value).chain(self.threshold.by_cluster.iter().copied());
        if !thresholds.into_iter().all(f32::is_finite) {
            return Err("a threshold is not finite".into());
        }
        let n_clusters = self.learned.clusters().map_or(0, Clusters::n_clusters);
        let by_cluster = [self.threshold.by_cluster.len(), self.calibration_by_cluster.len()];
        if by_cluster != [0, 0] && by_cluster != [n_clusters, n_clusters] {
            return Err(format!("its thresholds by cluster are not for {n_clusters} clusters"));
        }
        std::iter::once(&self.calibration).chain(&self.calibration_by_cluster).try_for_each(check_calibration)
    }
}

fn check_calibration(calibration: &Calibration) -> Result<(), String> {
    let rising = calibration.scores.is_sorted() && calibration.at_least.is_sorted_by(|a, b| a > b);
    if calibration.scores.len() != calibration.at_least.len()
        || !rising
        || !calibration.scores.iter().all(|score| score.is_finite())
        || calibration.at_least.last().is_some_and(|&n| n == 0)
    {
        return Err("its calibration is not a list of rising scores".into());
    }
    // The lowest score that is kept is the lowest of all.
    if calibration.at_least.first().copied().unwrap_or(0) != calibration.n_samples {
        return Err(format!("its calibration is not that of {} scores", calibration.n_samples));
    }
    Ok(())
}
