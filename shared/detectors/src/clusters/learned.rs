//! Clusters as a model file has them.

use burn::tensor::Device;
use clustering::kmeans::{BisectingTree, Points, TreeNode};
use clustering::matrix::Matrix;
use serde::{Deserialize, Serialize};

use super::correction::{Corrected, Rules, are_small};
use super::exact::{Exact, ExactDistances};
use super::scorer::{CorrectedDistances, Distances};
use crate::scaler::are_scaled;
use crate::{FitError, Learned, Score};

/// What k-means learned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Clusters {
    /// The clusters, in scaled features.
    pub partition: Partition,
    /// Inertia for k = 1, 2, ...; for a fixed k, of that k alone.
    pub inertia_by_k: Vec<(usize, f64)>,
    /// How distances are corrected, where they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub corrected: Option<Corrected>,
    /// What it takes to compute distances in float64, where the clusters are those of another program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exact: Option<Exact>,
}

/// Which rows belong together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Partition {
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

impl Partition {
    /// The centres of the clusters, or those of all nodes of the tree.
    pub fn centers(&self) -> Vec<&[f32]> {
        match self {
            Self::Centroids(clusters) => clusters.iter().map(|cluster| cluster.center.as_slice()).collect(),
            Self::Tree(tree) => tree.nodes.iter().map(|node| node.center.as_slice()).collect(),
        }
    }
}

impl Clusters {
    /// The same clusters with their distances corrected, as far as that is asked for, by the rows they come from.
    pub(super) fn corrected(self, rules: Rules, points: &Points) -> Result<Self, FitError> {
        let scorer = Distances::new(&self, points.device());
        let corrected = Corrected::fit(rules, &self.clusters(), &scorer, points.rows())?;
        Ok(Self { corrected, ..self })
    }

    /// The clusters as they are computed in float64, where they are.
    pub fn exact_distances(&self) -> Option<ExactDistances> {
        self.exact.as_ref().map(|exact| ExactDistances::new(self, exact))
    }

    /// How many clusters.
    pub fn n_clusters(&self) -> usize {
        match &self.partition {
            Partition::Centroids(clusters) => clusters.len(),
            Partition::Tree(tree) => tree.n_leaves(),
        }
    }

    /// Whether each row of `x` `(n_samples, n_features)` is in a cluster that is smaller than `min_share` of the training rows:
    /// what the fit itself took for unusual. None where no cluster is.
    pub fn in_small_clusters(&self, min_share: f64, x: &Matrix, device: &Device) -> Option<Vec<bool>> {
        let is_small = are_small(&self.clusters(), min_share);
        if !is_small.contains(&true) {
            return None;
        }
        let clusters = Distances::new(self, device).score(x).clusters.unwrap_or_default();
        Some(clusters.into_iter().map(|cluster| is_small[cluster as usize]).collect())
    }

    /// The clusters, in the order of their numbers in verdicts.
    pub fn clusters(&self) -> Vec<Cluster> {
        match &self.partition {
            Partition::Centroids(clusters) => clusters.clone(),
            Partition::Tree(tree) => {
                let leaves = tree.nodes.iter().filter(|node| node.children.is_none());
                leaves.map(|leaf| Cluster { center: leaf.center.clone(), size: leaf.size }).collect()
            }
        }
    }
}

impl Learned for Clusters {
    fn check(&self, n_features: usize) -> Result<(), String> {
        let centers = self.partition.centers();
        if centers.is_empty() || centers.iter().any(|center| center.len() != n_features) {
            return Err(format!("its clusters are not {n_features} features wide"));
        }
        if !centers.iter().all(|center| are_scaled(center)) {
            return Err("a centre is not the mean of scaled rows: it is not finite, or too large".into());
        }
        if let Partition::Tree(tree) = &self.partition {
            check_tree(tree)?;
        }
        match (&self.exact, &self.corrected) {
            (None, None) => Ok(()),
            (None, Some(corrected)) => corrected.check(n_features, self.n_clusters()),
            (Some(exact), None) => exact.check(n_features, centers.len()),
            (Some(_), Some(_)) => Err("its exact distances cannot be corrected".into()),
        }
    }

    fn on_device(&self, device: &Device) -> Box<dyn Score> {
        match (&self.exact, &self.corrected) {
            (Some(exact), _) => Box::new(ExactDistances::new(self, exact)),
            (None, None) => Box::new(Distances::new(self, device)),
            (None, Some(corrected)) => Box::new(CorrectedDistances::new(self, corrected, device)),
        }
    }
}

/// Children come after their parents, so every descent ends at a leaf.
fn check_tree(tree: &BisectingTree) -> Result<(), String> {
    let sound = |(index, node): (usize, &TreeNode)| {
        node.children.is_none_or(|(left, right)| left > index && right > left && right < tree.nodes.len())
    };
    if tree.nodes.iter().enumerate().all(sound) { Ok(()) } else { Err("its tree has a link that leads nowhere".into()) }
}
