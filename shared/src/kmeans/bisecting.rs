//! Bisecting k-means (Steinbach, Karypis and Kumar 2000): split the leaf with the largest inertia in two, again and
//! again.
//!
//! The order of splits does not depend on how many are wanted, so one tree of 20 leaves holds the tree for every
//! smaller number: its first splits. A point is predicted by descending from the root to the nearer child.

use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::init::gather_matrix;
use super::{KMeansParams, Points, fit_sweep, mean_variance};
use crate::matrix::Matrix;
use crate::model::storable;
use crate::ops::{self, TreeLinks};

/// A node of the tree.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TreeNode {
    /// Mean of the node's training points, scaled: `(n_features)`.
    pub center: Vec<f32>,
    /// How many training points it has.
    pub size: u64,
    /// Sum of their squared distances to `center`.
    pub inertia: f64,
    /// Indices of the left and the right child; a leaf has none.
    pub children: Option<(usize, usize)>,
}

/// A tree whose node 0 is the root and whose n-th split made the nodes 2n + 1 and 2n + 2.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BisectingTree {
    /// The nodes; children come after their parents.
    pub nodes: Vec<TreeNode>,
}

impl BisectingTree {
    /// How many leaves.
    pub fn n_leaves(&self) -> usize {
        self.nodes.iter().filter(|node| node.children.is_none()).count()
    }

    /// Sum of the leaves' inertia.
    pub fn inertia(&self) -> f64 {
        self.nodes.iter().filter(|node| node.children.is_none()).map(|node| node.inertia).sum()
    }

    /// The tree as it was when it had `n_leaves` leaves, or whole when it never had more.
    pub fn prefix(&self, n_leaves: usize) -> Self {
        let keep = (2 * n_leaves.max(1) - 1).min(self.nodes.len());
        let prune =
            |node: &TreeNode| TreeNode { children: node.children.filter(|&(_, right)| right < keep), ..node.clone() };
        Self { nodes: self.nodes[..keep].iter().map(prune).collect() }
    }

    /// The number of each node among the leaves, from 0; what a verdict calls its cluster.
    pub fn cluster_of_node(&self) -> Vec<i32> {
        let mut next = 0;
        let number = |node: &TreeNode| {
            let cluster = next;
            next += i32::from(node.children.is_none());
            cluster
        };
        self.nodes.iter().map(number).collect()
    }

    /// The nodes' centres `(n_nodes, n_features)` on the host.
    pub fn centers(&self) -> Matrix {
        let n_features = self.nodes[0].center.len();
        Matrix::from_values(n_features, self.nodes.iter().flat_map(|node| node.center.iter().copied()).collect())
    }

    /// The links as the tensor operation wants them.
    pub fn links(&self) -> TreeLinks {
        let child = |side: fn((usize, usize)) -> usize| {
            let link = |(index, node): (usize, &TreeNode)| node.children.map_or(index, side) as i32;
            self.nodes.iter().enumerate().map(link).collect()
        };
        let mut depth = vec![0; self.nodes.len()];
        for (index, node) in self.nodes.iter().enumerate() {
            if let Some((left, right)) = node.children {
                depth[left] = depth[index] + 1;
                depth[right] = depth[index] + 1;
            }
        }
        TreeLinks {
            left: child(|(left, _)| left),
            right: child(|(_, right)| right),
            depth: depth.into_iter().max().unwrap_or(0),
        }
    }

    /// The leaf's node that each point of `x` comes to, `(n_samples)`, and the squared distance to its centre.
    pub fn predict(&self, x: &Tensor<2>, device: &Device) -> (Vec<i32>, Vec<f32>) {
        let descent = ops::descend(x, &self.centers().to_tensor(device), &self.links());
        let nodes = descent.nodes.into_data().iter::<i32>().collect();
        (nodes, descent.squared_distances.into_data().iter::<f32>().collect())
    }
}

/// Grows a tree of `max_leaves` leaves, or of as many as there are distinct points. `on_split` is called after each.
pub fn fit_tree(
    points: &Points,
    max_leaves: usize,
    params: &KMeansParams,
    on_split: &(dyn Fn() + Sync),
) -> BisectingTree {
    let root = &fit_sweep(points, 1, params, &|| {})[0];
    let mut nodes = vec![leaf(root.centroids.row(0), root.counts[0], root.inertia)];
    let mut members: Vec<Vec<usize>> = vec![(0..points.n_samples()).collect()];
    while nodes.len() < 2 * max_leaves - 1 {
        let Some(parent) = largest_divisible(&nodes) else { break };
        let children = (nodes.len(), nodes.len() + 1);
        let split = split(points, &members[parent], params, parent as u64);
        nodes[parent].children = Some(children);
        for (child, members_of_child) in split {
            nodes.push(child);
            members.push(members_of_child);
        }
        members[parent] = Vec::new();
        on_split();
    }
    BisectingTree { nodes }
}

/// The leaf with the largest inertia that has any, which means that its points differ.
fn largest_divisible(nodes: &[TreeNode]) -> Option<usize> {
    let divisible =
        |&index: &usize| nodes[index].children.is_none() && nodes[index].inertia > 0.0 && nodes[index].size > 1;
    (0..nodes.len()).filter(divisible).max_by(|&a, &b| nodes[a].inertia.total_cmp(&nodes[b].inertia).then(b.cmp(&a)))
}

/// Splits the points of a leaf by 2-means: the two children and their points.
fn split(points: &Points, members: &[usize], params: &KMeansParams, leaf_index: u64) -> [(TreeNode, Vec<usize>); 2] {
    let matrix = gather_matrix(&points.matrix, members);
    let tensor = matrix.to_tensor(&points.tensor.device()); // (members, n_features)
    let part = Points { mean_variance: mean_variance(&matrix), matrix, tensor };
    let params = KMeansParams { seed: params.seed.wrapping_add(leaf_index), ..*params };
    let fit = fit_sweep(&part, 2, &params, &|| {}).remove(1);
    [0, 1].map(|cluster| {
        let mine = |index: &usize| fit.labels[*index] == cluster as i32;
        let of_child: Vec<usize> = (0..members.len()).filter(mine).map(|index| members[index]).collect();
        let inertia = (0..members.len()).filter(mine).map(|index| f64::from(fit.squared_distances[index])).sum();
        (leaf(fit.centroids.row(cluster), fit.counts[cluster], inertia), of_child)
    })
}

fn leaf(center: &[f32], size: u64, inertia: f64) -> TreeNode {
    TreeNode { center: center.to_vec(), size, inertia: storable(inertia), children: None }
}
