//! Isolation Forest: an anomaly is separated from the other rows by few random cuts (Liu, Ting and Zhou, "Isolation
//! Forest", ICDM 2008).
//!
//! 1. Each tree is grown on a small sub-sample of the rows.
//! 2. A node is cut at a random value of a random feature, one of those that vary within it, until a row is alone, all
//!    rows of the node are the same, or the tree is as deep as a balanced one would be.
//! 3. A row's path length is the depth of its leaf plus `c(n)`, what a tree of the leaf's `n` rows would have added.
//! 4. With the mean path length `E[h]` over all trees, the score is `2^(-E[h] / c(sample))`: towards 1 for anomalies, well
//!    below 0.5 for what is common.
//!
//! All trees are complete binary heaps of one depth, so that the way down is arithmetic without a branch: from node `i` to
//! `2i + 1`, or `2i + 2` where the row's value lies above the threshold. A leaf that comes early is as wide as its level,
//! and the nodes beneath it lead everything to the left.
//!
//! Path lengths are multiples of a power of two, fine enough to be without weight and coarse enough for a sum over all
//! trees to be exact in float32: so every device has the same sum, whatever order it adds in.

mod cpu;
mod grow;
mod score;
mod tensors;

use burn::tensor::Device;
use clustering::matrix::Matrix;
use serde::{Deserialize, Serialize};

use super::{Array, ArrayMut, Context, Fit, FitError, Learned, Score};

/// Most trees.
const MAX_TREES: usize = 10_000;

/// Largest sub-sample.
const MAX_SAMPLE: usize = 1 << 16;

/// Most leaves of all trees together: 192 MiB of a model.
const MAX_LEAVES: usize = 1 << 24;

/// Parameters of an Isolation Forest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IsolationForest {
    /// How many trees: from 1 to 10,000.
    pub n_trees: usize,
    /// Rows that each tree is grown on, drawn without replacement; all rows where there are fewer: from 2 to 65,536.
    pub sample: usize,
}

/// The values of the paper.
impl Default for IsolationForest {
    fn default() -> Self {
        Self { n_trees: 100, sample: 256 }
    }
}

impl Fit for IsolationForest {
    type Learned = Forest;

    fn check(&self) -> Result<(), String> {
        if !(1..=MAX_TREES).contains(&self.n_trees) {
            return Err(format!("n_trees must be between 1 and {MAX_TREES}"));
        }
        if !(2..=MAX_SAMPLE).contains(&self.sample) {
            return Err(format!("sample must be between 2 and {MAX_SAMPLE}"));
        }
        if self.n_trees << depth(self.sample) > MAX_LEAVES {
            return Err(format!(
                "n_trees times sample, rounded up to a power of two, must be at most {MAX_LEAVES}: take fewer trees, or a \
                 smaller sample"
            ));
        }
        Ok(())
    }

    fn fit(&self, x: &Matrix, context: &Context<'_>) -> Result<Forest, FitError> {
        let n_samples = x.n_samples();
        if n_samples < 2 {
            return Err(FitError::TooFewRows { n_samples, needed: 2, why: "a forest".into() });
        }
        if x.is_constant() {
            return Err(FitError::AllEqual { n_samples });
        }
        Ok(grow::forest(x, self, context))
    }

    fn n_steps(&self) -> u64 {
        self.n_trees as u64
    }
}

/// Trees of one depth, `ceil(log2(sample))`, each a complete binary heap of `2^depth - 1` nodes above `2^depth` leaves.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Forest {
    /// How many rows each tree was grown on.
    sample: usize,
    /// The feature that each node looks at: `(n_trees, n_nodes)`.
    features: Array<i32>,
    /// Values up to this one go to the left, greater ones to the right: `(n_trees, n_nodes)`.
    thresholds: Array<f32>,
    /// Path length of each leaf, `c(n)` included: `(n_trees, n_leaves)`.
    path_lengths: Array<f32>,
}

impl Forest {
    /// How many trees.
    pub fn n_trees(&self) -> usize {
        self.path_lengths.shape().first().copied().unwrap_or(0)
    }

    /// How many rows each tree was grown on.
    pub fn sample(&self) -> usize {
        self.sample
    }

    fn depth(&self) -> usize {
        depth(self.sample)
    }

    fn check_shapes(&self) -> Result<(), String> {
        if !(2..=MAX_SAMPLE).contains(&self.sample) {
            return Err(format!("its sub-sample of {} rows is not between 2 and {MAX_SAMPLE}", self.sample));
        }
        let (n_trees, n_leaves) = (self.n_trees(), 1usize << self.depth());
        if !(1..=MAX_TREES).contains(&n_trees) {
            return Err(format!("it has {n_trees} trees, and not between 1 and {MAX_TREES}"));
        }
        let of_nodes = [n_trees, n_leaves - 1];
        if !self.features.has_shape(&of_nodes)
            || !self.thresholds.has_shape(&of_nodes)
            || !self.path_lengths.has_shape(&[n_trees, n_leaves])
        {
            return Err(format!("its {n_trees} trees do not all have {} nodes and {n_leaves} leaves", n_leaves - 1));
        }
        Ok(())
    }

    /// What a row's path lengths are divided by: the mean path length of a tree of `sample` rows, for all trees.
    fn normal_path_lengths(&self) -> f64 {
        self.n_trees() as f64 * unsuccessful_search(self.sample)
    }
}

impl Learned for Forest {
    fn check(&self, n_features: usize) -> Result<(), String> {
        self.check_shapes()?;
        if self.features.values().iter().any(|&feature| usize::try_from(feature).map_or(true, |f| f >= n_features)) {
            return Err(format!("its trees look at a feature that is not one of {n_features}"));
        }
        if !self.thresholds.is_finite() {
            return Err("a threshold of its trees is not finite".into());
        }
        if !self.path_lengths.values().iter().all(|length| length.is_finite() && *length >= 0.0) {
            return Err("a path length of its trees is not finite, or negative".into());
        }
        Ok(())
    }

    fn arrays(&mut self) -> Vec<(&'static str, ArrayMut<'_>)> {
        vec![
            ("features", ArrayMut::I32(&mut self.features)),
            ("thresholds", ArrayMut::F32(&mut self.thresholds)),
            ("path_lengths", ArrayMut::F32(&mut self.path_lengths)),
        ]
    }

    fn on_device(&self, device: &Device) -> Box<dyn Score> {
        Box::new(score::ForestScores::new(self, device))
    }
}

/// Levels of nodes of a tree that is grown on so many rows: `ceil(log2(sample))`.
fn depth(sample: usize) -> usize {
    sample.next_power_of_two().trailing_zeros() as usize
}

/// `c(n)`: the mean path length of an unsuccessful search in a binary search tree of `n` keys (equation 1).
fn unsuccessful_search(n: usize) -> f64 {
    const EULER_GAMMA: f64 = 0.577_215_664_901_532_9;
    match n {
        0 | 1 => 0.0,
        2 => 1.0,
        _ => {
            let before = (n - 1) as f64;
            2.0 * (before.ln() + EULER_GAMMA) - 2.0 * before / n as f64
        }
    }
}

#[cfg(test)]
mod tests;
