//! A model file: `models/<pipeline>/<detector>/model.json`, written by the trainer and read by the scorer.
//!
//! It holds nothing that differs from run to run, so a model's version is the hash of its content. Writing is
//! atomic: a crash leaves the old file or the new one.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::kmeans::BisectingTree;
use crate::pipeline::{Algorithm, KSelection, Pipeline};
use crate::scaler::Scaler;
use crate::threshold::{Calibration, Threshold};

/// The version of the format that this program writes and reads.
pub const FORMAT_VERSION: u32 = 1;

/// Why a model file cannot be used.
#[derive(Debug, Error)]
pub enum ModelError {
    /// It is not there.
    #[error("no model at {}: train it first with `cargo run -p trainer -- --pipeline {pipeline} --models {}`", path.display(), models.display())]
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

/// The clusters that a detector learned, in scaled features.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Clusters {
    /// k-means: a centroid a cluster.
    Centroids(Vec<Cluster>),
    /// Bisecting k-means: a tree whose leaves are the clusters.
    Tree(BisectingTree),
}

/// A cluster of k-means.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cluster {
    /// Mean of the cluster's training points, scaled: `(n_features)`.
    pub center: Vec<f32>,
    /// How many training points it has.
    pub size: u64,
}

/// The parameters a detector was trained with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameters {
    /// How k was chosen.
    pub k: KSelection,
    /// Restarts.
    pub n_init: usize,
    /// Most iterations a restart.
    pub max_iter: usize,
    /// Relative tolerance.
    pub tol: f64,
}

/// What the training was like.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainingSummary {
    /// Training rows.
    pub rows: usize,
    /// Inertia for k = 1, 2, ...; for a fixed k, of that k alone.
    pub inertia_by_k: Vec<(usize, f64)>,
    /// The k that was chosen.
    pub chosen_k: usize,
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
    pub algorithm: Algorithm,
    /// With which parameters.
    pub parameters: Parameters,
    /// Names of the features, in order.
    pub features: Vec<String>,
    /// How features are scaled.
    pub scaler: Scaler,
    /// What it learned.
    pub clusters: Clusters,
    /// From which score on an entity is anomalous.
    pub threshold: Threshold,
    /// From scores to p-values.
    pub calibration: Calibration,
    /// What the training was like.
    pub training: TrainingSummary,
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
        fingerprint(self.to_json().as_bytes())[..8].to_owned()
    }

    /// The content of the file.
    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("a model is plain data with text keys");
        text.push('\n');
        text
    }

    /// Writes the model under `models` and returns the file's path.
    ///
    /// # Errors
    /// [`ModelError::Write`]; the old file, if any, is then still whole.
    pub fn save(&self, models: &Path) -> Result<PathBuf, ModelError> {
        let path = Self::path(models, &self.pipeline, &self.detector);
        write_atomically(&path, self.to_json().as_bytes())
            .map_err(|source| ModelError::Write { path: path.clone(), source })?;
        Ok(path)
    }

    /// Reads a model file and checks that it is whole.
    ///
    /// # Errors
    /// [`ModelError`] when it is absent, cut short, of another version, or holds values that are not finite.
    pub fn read(path: &Path) -> Result<Self, ModelError> {
        let text = fs::read_to_string(path).map_err(|source| ModelError::Read { path: path.to_owned(), source })?;
        let damaged = |problem: String| ModelError::Damaged { path: path.to_owned(), problem };
        let version: Versioned = serde_json::from_str(&text).map_err(|error| damaged(error.to_string()))?;
        if version.format_version != FORMAT_VERSION {
            let found = version.format_version;
            let problem =
                format!("its format version is {found} and this program reads {FORMAT_VERSION}; train it again");
            return Err(ModelError::Unfit { path: path.to_owned(), problem });
        }
        let model: Self = serde_json::from_str(&text).map_err(|error| damaged(error.to_string()))?;
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
            return Err(ModelError::Missing { path, pipeline: pipeline.name.clone(), models: models.to_owned() });
        }
        let model = Self::read(&path)?;
        model.fits(pipeline, detector).map_err(|problem| ModelError::Unfit { path, problem })?;
        Ok(model)
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
        if self.pipeline != pipeline.name || self.detector != detector {
            return Err(format!(
                "it is `{}` of pipeline `{}`, not `{detector}` of `{}`; train it again",
                self.detector, self.pipeline, pipeline.name
            ));
        }
        match pipeline.detectors.iter().find(|spec| spec.name == detector) {
            Some(spec) if spec.algorithm == self.algorithm => Ok(()),
            _ => Err(format!("pipeline `{}` asks `{detector}` for another algorithm; train it again", pipeline.name)),
        }
    }

    fn check(&self) -> Result<(), String> {
        let n_features = self.features.len();
        let finite = |values: &[f64]| values.iter().all(|value| value.is_finite());
        let scaler = &self.scaler;
        if scaler.center.len() != n_features || scaler.scale.len() != n_features {
            return Err(format!("its scaler is not for {n_features} features"));
        }
        if !finite(&scaler.center) || !finite(&scaler.scale) || scaler.scale.iter().any(|&scale| scale <= 0.0) {
            return Err("its scaler holds a value that is not finite or a scale that is not above 0".into());
        }
        let centers: Vec<&[f32]> = match &self.clusters {
            Clusters::Centroids(clusters) => clusters.iter().map(|cluster| cluster.center.as_slice()).collect(),
            Clusters::Tree(tree) => tree.nodes.iter().map(|node| node.center.as_slice()).collect(),
        };
        if centers.is_empty() || centers.iter().any(|center| center.len() != n_features) {
            return Err(format!("its clusters are not {n_features} features wide"));
        }
        if centers.iter().any(|center| center.iter().any(|value| !value.is_finite()))
            || !self.threshold.value.is_finite()
        {
            return Err("a centre or the threshold is not finite".into());
        }
        if let Clusters::Tree(tree) = &self.clusters {
            check_tree(tree)?;
        }
        match (self.algorithm, &self.clusters) {
            (Algorithm::KMeans, Clusters::Centroids(_)) | (Algorithm::BisectingKmeans, Clusters::Tree(_)) => {}
            _ => return Err("its clusters are another algorithm's".into()),
        }
        let calibration = &self.calibration;
        let rising = calibration.scores.is_sorted() && calibration.at_least.is_sorted_by(|a, b| a > b);
        if calibration.scores.len() != calibration.at_least.len()
            || !rising
            || calibration.at_least.last().is_some_and(|&n| n == 0)
        {
            return Err("its calibration is not a list of rising scores".into());
        }
        Ok(())
    }
}

/// Children come after their parents, so every descent ends at a leaf.
fn check_tree(tree: &BisectingTree) -> Result<(), String> {
    let sound = |(index, node): (usize, &crate::kmeans::TreeNode)| {
        node.children.is_none_or(|(left, right)| left > index && right > left && right < tree.nodes.len())
    };
    if tree.nodes.iter().enumerate().all(sound) { Ok(()) } else { Err("its tree has a link that leads nowhere".into()) }
}

/// SHA-256 in hexadecimal.
pub fn fingerprint(bytes: &[u8]) -> String {
    hexadecimal(&Sha256::digest(bytes))
}

/// SHA-256 in hexadecimal of numbers, as their little-endian bytes one after the other.
pub fn fingerprint_of_numbers(numbers: &[f64]) -> String {
    let mut digest = Sha256::new();
    let mut bytes = Vec::new();
    for numbers in numbers.chunks(4096) {
        bytes.clear();
        bytes.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
        digest.update(&bytes);
    }
    hexadecimal(&digest.finalize())
}

fn hexadecimal(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Writes a file through a temporary one beside it, which is synced and then renamed; folders are made.
///
/// # Errors
/// The first that occurs; the temporary file is removed and an old file stays as it was.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write_atomically_with(path, |file| file.write_all(bytes))
}

/// As [`write_atomically`], for content that is produced as it is written.
///
/// # Errors
/// The first that occurs, of `write` too.
pub fn write_atomically_with(path: &Path, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    StagedFile::write(path, write)?.publish()
}

/// A file that is written and synced beside its place, and not there yet; dropped, it leaves no trace.
#[derive(Debug)]
pub struct StagedFile {
    temporary: PathBuf,
    path: PathBuf,
}

impl StagedFile {
    /// Writes the temporary file; folders are made.
    ///
    /// # Errors
    /// The first that occurs, of `write` too; the temporary file is then removed.
    pub fn write(path: &Path, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<Self> {
        let folder = folder_of(path);
        fs::create_dir_all(folder)?;
        let name =
            path.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "this is not a file's name"))?;
        let temporary = folder.join(format!(".{}.{}.tmp", name.to_string_lossy(), std::process::id()));
        let staged = Self { temporary, path: path.to_owned() };
        let mut file = File::create(&staged.temporary)?;
        write(&mut file)?;
        file.sync_all()?;
        Ok(staged)
    }

    /// Moves the file to its place, where an old one goes.
    ///
    /// # Errors
    /// The first that occurs; the old file then stays as it was.
    pub fn publish(self) -> io::Result<()> {
        fs::rename(&self.temporary, &self.path)?;
        // The rename itself is on disk only once the folder is.
        File::open(folder_of(&self.path))?.sync_all()
    }
}

impl Drop for StagedFile {
    fn drop(&mut self) {
        // Once it was moved there is nothing to remove, and that is as it should be.
        let _ = fs::remove_file(&self.temporary);
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
