//! Detectors: what they have in common, and a module for each.
//!
//! A detector is three things. Its *parameters* ([`Fit`]) say how it is trained and are what a pipeline file holds. What it
//! *learned* ([`Learned`]) is plain data and is what a model file holds. On a device it *scores* ([`Score`]) batches of
//! rows. Rows are scaled features, finite float32; whatever the algorithm, a higher score is more anomalous.
//!
//! Most learn from rows alone. Some learn from labels too, and their score is the probability of an anomaly.

mod array;
pub mod autoencoder;
pub mod clusters;
mod columns;
#[cfg(test)]
mod conformance;
mod defaults;
mod dense;
pub mod drift;
pub mod ecod;
pub mod ensemble;
mod explanation;
mod fields;
pub mod gaussian_mixture;
pub mod gradient_boosting;
pub mod hbos;
pub mod isolation_forest;
pub mod knn;
pub mod lesinn;
pub mod lof;
pub mod logistic_regression;
pub mod mcd;
mod neighborhood;
pub mod one_class_svm;
pub mod pca;
mod random;
mod registry;
pub mod scaler;
mod supervised;
mod tail_depth;
pub mod threshold;

use std::fmt::Debug;

use burn::tensor::Device;
use clustering::kmeans::KMeansError;
use clustering::matrix::{FeatureMatrix, Matrix};
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

pub use array::{Array, ArrayMut, Element};
pub use clusters::KSelection;
pub use defaults::{DefaultDetector, defaults};
pub use explanation::{Explanation, leave_one_feature_out};
pub use fields::field_names;
pub use registry::{Algorithm, AnyLearned};
pub use supervised::{ClassWeight, EachWeight, NamedWeight};

/// What a fit has beside rows and parameters.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// What computes.
    pub device: &'a Device,
    /// Seed of all randomness: the same seed, rows and device give the same model, to the bit.
    pub seed: u64,
    /// Most bytes to remember between rounds beside the rows, where an algorithm has a choice.
    pub max_state_bytes: Option<usize>,
    /// Called after each of [`Fit::n_steps`].
    pub on_step: &'a (dyn Fn() + Sync),
}

/// An algorithm with its parameters: they serialize to what a pipeline file says of them, and every one has a default.
pub trait Fit: Debug + Clone + PartialEq + Default + Serialize + DeserializeOwned {
    /// What it learns.
    type Learned: Learned;

    /// Checks what can be checked without data.
    ///
    /// # Errors
    /// The parameter's name, and what is wrong and would be right: `n_trees must be between 1 and 10000`.
    fn check(&self) -> Result<(), String>;

    /// Learns from rows `(n_samples, n_features)`, some of which are anomalies, as is usual.
    ///
    /// # Errors
    /// [`FitError`] when these rows cannot be learned from.
    fn fit(&self, x: &Matrix, context: &Context<'_>) -> Result<Self::Learned, FitError>;

    /// Learns from rows `(n_samples, n_features)` in the order of time, and what they are known to be, `(n_samples)`: an anomaly,
    /// normal, or unknown. A detector that learns from rows alone heeds no labels.
    ///
    /// # Errors
    /// As [`fit`](Fit::fit), and when a class is missing or too small.
    ///
    /// # Panics
    /// When there is not a label a row.
    fn fit_labelled(
        &self,
        x: &Matrix,
        labels: &[Option<bool>],
        context: &Context<'_>,
    ) -> Result<Self::Learned, FitError> {
        let _ = labels;
        self.fit(x, context)
    }

    /// How often [`fit`](Fit::fit) calls [`Context::on_step`].
    fn n_steps(&self) -> u64 {
        1
    }

    /// With more rows than this it learns in another way, if any. How long a fit takes tells nothing of fits on the other side.
    fn changes_after(&self) -> usize {
        0
    }
}

/// What was learned: plain data, without a device.
pub trait Learned: Debug + Clone + PartialEq + Send + Sync + Serialize + DeserializeOwned {
    /// Checks what was read from a file: shapes, finiteness, indices within bounds. Afterwards nothing of it can make
    /// [`Score`] panic.
    ///
    /// # Errors
    /// What is wrong, as in `its trees are not 5 features wide`.
    fn check(&self, n_features: usize) -> Result<(), String>;

    /// The arrays that may be large, each with a name of its own; they may be kept in a file beside the model's.
    fn arrays(&mut self) -> Vec<(&'static str, ArrayMut<'_>)> {
        Vec::new()
    }

    /// Puts it on a device to score with.
    fn on_device(&self, device: &Device) -> Box<dyn Score>;
}

/// A trained detector on a device.
pub trait Score: Debug + Send + Sync {
    /// Scores rows `(n_samples, n_features)`: a row's score depends on that row alone, not on its batch.
    fn score(&self, x: &Matrix) -> Scores;

    /// Scores rows `(n_samples, n_features)` as [`score`](Self::score) does, but no row is compared with itself: `places` are
    /// those that the rows had in the fit, none for a row that had no part in it: `(n_samples)`.
    fn score_training(&self, x: &Matrix, places: &[Option<usize>]) -> Scores {
        let _ = places;
        self.score(x)
    }

    /// The scores of rows in the features' own units `(n_samples, n_features)`, when the detector computes in float64. Then they
    /// count, and not those of the scaled rows.
    fn score_unscaled(&self, features: &FeatureMatrix) -> Option<Scores> {
        let _ = features;
        None
    }

    /// Where the scores of these rows come from, when the algorithm's own arithmetic tells exactly; otherwise none, and
    /// [`leave_one_feature_out`] has an approximate answer.
    fn explain(&self, x: &Matrix, scores: &Scores) -> Option<Vec<Explanation>> {
        let _ = (x, scores);
        None
    }
}

/// What a detector says of a batch.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Scores {
    /// How unusual each row is, finite: `(n_samples)`.
    pub values: Vec<f32>,
    /// Each row's cluster, where there are any: `(n_samples)`.
    pub clusters: Option<Vec<i32>>,
}

impl Scores {
    /// Scores of a detector without clusters.
    pub fn new(values: Vec<f32>) -> Self {
        Self { values, clusters: None }
    }
}

/// Why a detector cannot learn from some rows.
#[derive(Debug, Error, PartialEq)]
pub enum FitError {
    /// Too few rows.
    #[error("{n_samples} rows are too few: {why} needs at least {needed}")]
    TooFewRows {
        /// How many there are.
        n_samples: usize,
        /// How many there would have to be.
        needed: usize,
        /// What needs them, as in `k = 5 neighbours`.
        why: String,
    },
    /// Every row is the same.
    #[error("all {n_samples} rows have the same features: there is nothing to tell apart, so train on other data")]
    AllEqual {
        /// How many there are.
        n_samples: usize,
    },
    /// More than the algorithm can do.
    #[error("{n_samples} rows of {n_features} features are too much: {why}")]
    TooLarge {
        /// Rows.
        n_samples: usize,
        /// Features.
        n_features: usize,
        /// Why, and what to do.
        why: String,
    },
    /// Nobody says which rows are anomalies.
    #[error(
        "it learns from labels and these rows have none: name the column of labels, or use a detector that needs none, such as \
         isolation-forest"
    )]
    NoLabels,
    /// A class is missing, or too small.
    #[error(
        "{n_class} of the {n_labelled} labelled rows are {class}: to learn from labels it takes at least {} anomalies and as many \
         normal rows, {} of either before the newest ones; label more rows, or use a detector that needs no labels, such as \
         isolation-forest",
        supervised::LEAST_OLDER + supervised::LEAST_NEWEST,
        supervised::LEAST_OLDER
    )]
    TooFewLabels {
        /// What they are: `anomalies` or `normal`.
        class: &'static str,
        /// How many there are.
        n_class: usize,
        /// How many rows have a label.
        n_labelled: usize,
    },
    /// The clusters cannot be found.
    #[error(transparent)]
    Clusters(#[from] KMeansError),
    /// Rows in a file that cannot be read.
    #[error("{0}")]
    Rows(String),
    /// The arithmetic came to an end without a usable result.
    #[error("{0}")]
    Numeric(String),
}

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
