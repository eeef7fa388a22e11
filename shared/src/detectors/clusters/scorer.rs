//! Clusters on a device.

use burn::tensor::{Device, Tensor};

use super::{Clusters, Partition};
use crate::detectors::{Explanation, Score, Scores};
use crate::kmeans;
use crate::matrix::Matrix;
use crate::ops::{self, TreeLinks};

/// Squared distances to the predicted centre.
#[derive(Debug)]
pub(super) struct Distances {
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
    /// The leaf of each cluster.
    node_of_cluster: Vec<usize>,
}

impl Distances {
    pub(super) fn new(learned: &Clusters, device: &Device) -> Self {
        let (centers, tree) = match &learned.partition {
            Partition::Centroids(clusters) => {
                let n_features = clusters[0].center.len();
                let values = clusters.iter().flat_map(|cluster| cluster.center.iter().copied()).collect();
                (Matrix::from_values(n_features, values), None)
            }
            Partition::Tree(tree) => {
                let leaves = tree.nodes.iter().enumerate().filter(|(_, node)| node.children.is_none());
                let parts = TreeParts {
                    links: tree.links(),
                    cluster_of_node: tree.cluster_of_node(),
                    node_of_cluster: leaves.map(|(index, _)| index).collect(),
                };
                (tree.centers(), Some(parts))
            }
        };
        Self { device: device.clone(), tensor: centers.to_tensor(device), centers, tree }
    }

    fn center(&self, cluster: i32) -> &[f32] {
        let cluster = cluster as usize;
        self.centers.row(self.tree.as_ref().map_or(cluster, |tree| tree.node_of_cluster[cluster]))
    }
}

impl Score for Distances {
    fn score(&self, x: &Matrix) -> Scores {
        let x = x.to_tensor(&self.device); // (n_samples, n_features)
        let (clusters, values) = match &self.tree {
            None => kmeans::predict(&x, &self.tensor), // (n_samples), (n_samples)
            Some(tree) => {
                let descent = ops::descend(&x, &self.tensor, &tree.links);
                let cluster = |node: i32| tree.cluster_of_node[node as usize];
                let clusters = descent.nodes.into_data().iter::<i32>().map(cluster).collect();
                (clusters, descent.squared_distances.into_data().iter::<f32>().collect())
            }
        };
        Scores { values, clusters: Some(clusters) }
    }

    /// A squared distance is a sum over the features.
    fn explain(&self, x: &Matrix, scores: &Scores) -> Option<Vec<Explanation>> {
        let clusters = scores.clusters.as_ref()?;
        let explain = |(row, &cluster): (&[f32], &i32)| {
            let center = self.center(cluster);
            Explanation {
                contributions: row.iter().zip(center).map(|(x, c)| (x - c) * (x - c)).collect(),
                expected: center.to_vec(),
                is_approximate: false,
            }
        };
        Some(x.rows().zip(clusters).map(explain).collect())
    }
}
