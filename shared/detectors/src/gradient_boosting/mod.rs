//! Gradient-boosted trees: the log-odds of an anomaly are a sum over trees, each of which corrects those before it (Friedman 2001;
//! by the second order of the loss as in Chen and Guestrin 2016, "XGBoost"; over histograms and leaf by leaf as in Ke et al. 2017,
//! "LightGBM").
//!
//! Parameters are called as those of scikit-learn's `HistGradientBoostingClassifier`, and mean the same; `min_child_weight` is
//! XGBoost's. Trees are added until the newest labelled rows, which no tree is grown on, are no longer told better. Splits depend on
//! the order of a feature's values and not on their distances, so scaling hardly matters.

mod bins;
mod boost;
mod grow;
mod shap;
mod trees;

use burn::tensor::Device;
use clustering::matrix::Matrix;
use serde::{Deserialize, Serialize};

use super::supervised::{ClassWeight, LogOdds, Parts, Platt, Probabilities, check_validation_fraction};
use super::{Array, ArrayMut, Context, Fit, FitError, Learned, Score};
use bins::MAX_BINS;
use trees::{Tree, Trees};

/// Deepest trees: beyond, explanations lose digits.
const MAX_DEPTH: usize = 16;

/// Parameters of gradient boosting.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GradientBoosting {
    /// Most trees.
    pub max_iter: usize,
    /// How much of its correction a tree makes.
    pub learning_rate: f64,
    /// Most leaves of a tree.
    pub max_leaf_nodes: usize,
    /// Most splits on the way to a leaf.
    pub max_depth: usize,
    /// Fewest rows of a leaf.
    pub min_samples_leaf: usize,
    /// Least sum of second derivatives in a leaf.
    pub min_child_weight: f64,
    /// What is added to the second derivatives of a leaf: its value is drawn to 0.
    pub l2_regularization: f64,
    /// Most bins of a feature.
    pub max_bins: usize,
    /// How much a row of each class counts; `"balanced"`, or numbers.
    pub class_weight: Option<ClassWeight>,
    /// The share of the labelled rows, the newest ones, that tell when to stop and that probabilities are calibrated by.
    pub validation_fraction: f64,
    /// After so many trees that did not help, no more are grown.
    pub n_iter_no_change: usize,
    /// A tree helps if it lowers the mean loss of the newest rows by more than this.
    pub tol: f64,
}

impl Default for GradientBoosting {
    fn default() -> Self {
        Self {
            max_iter: 200,
            learning_rate: 0.1,
            max_leaf_nodes: 31,
            max_depth: 8,
            min_samples_leaf: 20,
            min_child_weight: 1e-3,
            l2_regularization: 1.0,
            max_bins: MAX_BINS,
            class_weight: None,
            validation_fraction: 0.2,
            n_iter_no_change: 10,
            tol: 1e-7,
        }
    }
}

impl Fit for GradientBoosting {
    type Learned = BoostedTrees;

    fn check(&self) -> Result<(), String> {
        let counts = [
            ("max_iter", self.max_iter, 1, 2000),
            ("max_leaf_nodes", self.max_leaf_nodes, 2, 255),
            ("max_depth", self.max_depth, 1, MAX_DEPTH),
            ("min_samples_leaf", self.min_samples_leaf, 1, 1_000_000),
            ("max_bins", self.max_bins, 2, MAX_BINS),
            ("n_iter_no_change", self.n_iter_no_change, 1, 2000),
        ];
        if let Some((name, _, least, most)) = counts.iter().find(|(_, n, least, most)| !(least..=most).contains(&n)) {
            return Err(format!("{name} must be between {least} and {most}"));
        }
        let numbers = [
            ("learning_rate", self.learning_rate, 1e-4, 1.0),
            ("min_child_weight", self.min_child_weight, 1e-9, 1e9),
            ("l2_regularization", self.l2_regularization, 0.0, 1e9),
            ("tol", self.tol, 0.0, 1.0),
        ];
        if let Some((name, _, least, most)) = numbers.iter().find(|(_, n, least, most)| !(least..=most).contains(&n)) {
            return Err(format!("{name} must be between {least} and {most}"));
        }
        check_validation_fraction(self.validation_fraction)?;
        self.class_weight.map_or(Ok(()), ClassWeight::check)
    }

    fn fit(&self, x: &Matrix, _context: &Context<'_>) -> Result<BoostedTrees, FitError> {
        if x.is_constant() {
            return Err(FitError::AllEqual { n_samples: x.n_samples() });
        }
        Err(FitError::NoLabels)
    }

    fn fit_labelled(
        &self,
        x: &Matrix,
        labels: &[Option<bool>],
        context: &Context<'_>,
    ) -> Result<BoostedTrees, FitError> {
        let (n_samples, n_features) = (x.n_samples(), x.n_features());
        assert_eq!(labels.len(), n_samples, "a label a row");
        if i32::try_from(n_samples).is_err() {
            let why = format!("at most {} rows can be counted; train on a sample of them", i32::MAX);
            return Err(FitError::TooLarge { n_samples, n_features, why });
        }
        if x.is_constant() {
            return Err(FitError::AllEqual { n_samples });
        }
        let parts = Parts::split(labels, self.validation_fraction)?;
        let learned = boost::boost(self, x, &parts, context)?;
        learned.check(n_features).map_err(|problem| FitError::Numeric(format!("gradient boosting: {problem}")))?;
        Ok(learned)
    }

    fn n_steps(&self) -> u64 {
        self.max_iter as u64
    }
}

/// What gradient boosting learned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BoostedTrees {
    /// The log-odds before any tree.
    start: f64,
    trees: Trees,
    /// The median of each feature among normal rows: `(n_features)`.
    normal: Array<f32>,
    /// From the log-odds of the trees to those that are believed.
    calibration: Platt,
}

impl Learned for BoostedTrees {
    fn check(&self, n_features: usize) -> Result<(), String> {
        if self.start.is_nan() || self.start.abs() > 1e3 {
            return Err("its first log-odds are not between -1000 and 1000".into());
        }
        if !self.normal.has_shape(&[n_features]) || !self.normal.is_finite() {
            return Err(format!("its normal values are not {n_features} finite numbers"));
        }
        self.trees.check(n_features)?;
        self.calibration.check()
    }

    fn arrays(&mut self) -> Vec<(&'static str, ArrayMut<'_>)> {
        self.trees.arrays()
    }

    /// A row goes its own way through each tree, which is no work for a GPU, so every device scores on the CPU.
    fn on_device(&self, _device: &Device) -> Box<dyn Score> {
        Box::new(self.probabilities())
    }
}

impl BoostedTrees {
    fn probabilities(&self) -> Probabilities<Boosted> {
        let trees = self.trees.trees();
        let base = self.start + trees.iter().map(Tree::mean).sum::<f64>();
        let model = Boosted { start: self.start, base, trees, normal: self.normal.values().to_vec() };
        Probabilities { model, calibration: self.calibration }
    }
}

/// The trees as rows go down in them.
#[derive(Debug)]
struct Boosted {
    start: f64,
    /// The log-odds on average over the rows of the fit.
    base: f64,
    trees: Vec<Tree>,
    normal: Vec<f32>,
}

impl LogOdds for Boosted {
    fn log_odds(&self, row: &[f32]) -> f64 {
        self.trees.iter().fold(self.start, |sum, tree| sum + tree.of_row(row))
    }

    fn parts(&self, row: &[f32], parts: &mut [f64]) {
        self.trees.iter().for_each(|tree| shap::add_parts(tree, row, parts));
    }

    fn base(&self) -> f64 {
        self.base
    }

    fn expected(&self) -> Vec<f32> {
        self.normal.clone()
    }
}

#[cfg(test)]
mod tests;
