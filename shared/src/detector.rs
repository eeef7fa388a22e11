//! A trained detector on a device: batches of features in, scores out.

use burn::tensor::{Device, Tensor};

use crate::kmeans;
use crate::matrix::{FeatureMatrix, Matrix};
use crate::model::{Clusters, Model};
use crate::ops;
use crate::ops::TreeLinks;

/// How unusual an entity is; what is made of it is the threshold's business.
#[derive(Debug, Clone, PartialEq)]
pub struct Score {
    /// Squared Euclidean distance to the predicted centre, in scaled features; higher is more anomalous.
    pub score: f32,
    /// The predicted cluster.
    pub cluster: i32,
    /// The share of each feature in the score: `(n_features)`, adding up to 1, or all 0 for a score of 0.
    pub contributions: Vec<f64>,
}

/// A model whose arrays lie on a device.
#[derive(Debug)]
pub struct Detector {
    model: Model,
    version: String,
    device: Device,
    /// Centroids `(n_clusters, n_features)`, or the centres of all nodes `(n_nodes, n_features)`.
    centers: Matrix,
    tensor: Tensor<2>,
    tree: Option<TreeParts>,
}

#[derive(Debug)]
struct TreeParts {
    links: TreeLinks,
    cluster_of_node: Vec<i32>,
}

impl Detector {
    /// Puts a model on a device.
    pub fn new(model: Model, device: &Device) -> Self {
        let n_features = model.features.len();
        let (centers, tree) = match &model.clusters {
            Clusters::Centroids(clusters) => {
                let values = clusters.iter().flat_map(|cluster| cluster.center.iter().copied()).collect();
                (Matrix::from_values(n_features, values), None)
            }
            Clusters::Tree(tree) => {
                let parts = TreeParts { links: tree.links(), cluster_of_node: tree.cluster_of_node() };
                (tree.centers(), Some(parts))
            }
        };
        let (version, tensor) = (model.version(), centers.to_tensor(device));
        Self { model, version, device: device.clone(), centers, tensor, tree }
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// The model's version.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Scores a batch of features `(n_samples, n_features)`, which are finite.
    pub fn score(&self, features: &FeatureMatrix) -> Vec<Score> {
        if features.n_samples() == 0 {
            return Vec::new();
        }
        let scaled = self.model.scaler.transform(features); // (n_samples, n_features)
        let x = scaled.to_tensor(&self.device); // (n_samples, n_features)
        let (centers, squared_distances) = self.predict(&x); // (n_samples), (n_samples)
        let score = |((row, &center), score): ((&[f32], &i32), f32)| Score {
            score,
            cluster: self.tree.as_ref().map_or(center, |tree| tree.cluster_of_node[center as usize]),
            contributions: contributions(row, self.centers.row(center as usize)),
        };
        scaled.rows().zip(&centers).zip(squared_distances).map(score).collect()
    }

    fn predict(&self, x: &Tensor<2>) -> (Vec<i32>, Vec<f32>) {
        match &self.tree {
            None => kmeans::predict(x, &self.tensor),
            Some(tree) => {
                let descent = ops::descend(x, &self.tensor, &tree.links);
                let nodes = descent.nodes.into_data().iter::<i32>().collect();
                (nodes, descent.squared_distances.into_data().iter::<f32>().collect())
            }
        }
    }
}

fn contributions(row: &[f32], center: &[f32]) -> Vec<f64> {
    let squares: Vec<f64> = row.iter().zip(center).map(|(x, c)| (f64::from(*x) - f64::from(*c)).powi(2)).collect();
    let total: f64 = squares.iter().sum();
    squares.iter().map(|square| if total > 0.0 { square / total } else { 0.0 }).collect()
}
