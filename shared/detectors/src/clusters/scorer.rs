//! Clusters on a device.

use burn::tensor::Device;
use clustering::matrix::Matrix;
use clustering::ops::{Centers, TreeLinks};

use super::{Clusters, Corrected, Partition};
use crate::scaler::limit;
use crate::{Explanation, Score, Scores};

/// Squared distances to the predicted centre.
#[derive(Debug)]
pub(super) struct Distances {
    /// Centroids `(n_clusters, n_features)`, or the centres of all nodes `(n_nodes, n_features)`.
    centers: Centers,
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
        Self { centers: Centers::new(centers, device), tree }
    }

    fn center(&self, cluster: i32) -> &[f32] {
        let cluster = cluster as usize;
        self.centers.row(self.tree.as_ref().map_or(cluster, |tree| tree.node_of_cluster[cluster]))
    }
}

impl Score for Distances {
    fn score(&self, x: &Matrix) -> Scores {
        let (clusters, values) = match &self.tree {
            None => self.centers.nearest(x), // (n_samples), (n_samples)
            Some(tree) => {
                let (nodes, values) = self.centers.descend(x, &tree.links); // (n_samples), (n_samples)
                (nodes.into_iter().map(|node| tree.cluster_of_node[node as usize]).collect(), values)
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

/// Corrected distances, by the same arithmetic: features are multiplied by the roots of their weights, and the root of a
/// cluster's penalty is one more feature of its centre, which rows have as 0.
#[derive(Debug)]
pub(super) struct CorrectedDistances {
    /// The root of the weight of each feature: `(n_features)`.
    roots: Vec<f32>,
    /// The centres of the clusters that count, in their own units: `(n_counting, n_features)`.
    centers: Matrix,
    /// The same, weighted and with the penalty: `(n_counting, n_features + 1)`.
    weighted: Centers,
    /// The numbers of the clusters that count: `(n_counting)`.
    numbers: Vec<i32>,
}

impl CorrectedDistances {
    pub(super) fn new(learned: &Clusters, corrected: &Corrected, device: &Device) -> Self {
        let roots: Vec<f32> = corrected.weights.iter().map(|weight| weight.sqrt()).collect();
        let (mut centers, mut weighted) = (Vec::new(), Vec::new());
        let mut numbers = Vec::new();
        for (number, (cluster, penalty)) in learned.clusters().iter().zip(&corrected.penalties).enumerate() {
            let Some(penalty) = penalty else { continue };
            centers.extend_from_slice(&cluster.center);
            weighted.extend(weigh(&cluster.center, &roots));
            weighted.push(penalty.sqrt());
            numbers.push(number as i32);
        }
        let n_features = roots.len();
        let weighted = Centers::new(Matrix::from_values(n_features + 1, weighted), device);
        let centers = Matrix::from_values(n_features, centers);
        Self { roots, centers, weighted, numbers }
    }
}

/// The values of a row or a centre multiplied by the roots of the weights, within the bounds of scaled values, so that no
/// distance leaves float32.
fn weigh<'a>(values: &'a [f32], roots: &'a [f32]) -> impl Iterator<Item = f32> + 'a {
    let limit = limit(values.len()) as f32;
    values.iter().zip(roots).map(move |(value, root)| (value * root).clamp(-limit, limit))
}

impl Score for CorrectedDistances {
    fn score(&self, x: &Matrix) -> Scores {
        let weighted = x.rows().flat_map(|row| weigh(row, &self.roots).chain(std::iter::once(0.0)));
        let x = Matrix::from_values(self.roots.len() + 1, weighted.collect());
        let (nearest, values) = self.weighted.nearest(&x); // (n_samples), (n_samples)
        Scores { values, clusters: Some(nearest.into_iter().map(|index| self.numbers[index as usize]).collect()) }
    }

    /// A corrected distance is a sum over the features; what the cluster's size adds is shared out in proportion.
    fn explain(&self, x: &Matrix, scores: &Scores) -> Option<Vec<Explanation>> {
        let clusters = scores.clusters.as_ref()?;
        let explain = |((row, cluster), &score): ((&[f32], &i32), &f32)| {
            let index = self.numbers.iter().position(|number| number == cluster).unwrap_or_default();
            let center = self.centers.row(index);
            let both = weigh(row, &self.roots).zip(weigh(center, &self.roots));
            let parts: Vec<f32> = both.map(|(x, c)| (x - c).powi(2)).collect();
            let total: f32 = parts.iter().sum();
            let share = |part: f32| if total > 0.0 { part / total * score } else { score / parts.len() as f32 };
            Explanation {
                contributions: parts.iter().map(|&part| share(part)).collect(),
                expected: center.to_vec(),
                is_approximate: false,
            }
        };
        Some(x.rows().zip(clusters).zip(&scores.values).map(explain).collect())
    }
}
