//! Bisecting k-means (Steinbach, Karypis and Kumar 2000): split the leaf with the largest inertia in two, again and
//! again.
//!
//! The order of splits does not depend on how many are wanted, so one tree of 20 leaves holds the tree for every
//! smaller number: its first splits. A point is predicted by descending from the root to the nearer child.

use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use super::fit::{KMeansFit, fit_from_unlabelled, fits, keep};
use super::lloyd::labels;
use super::run::Start;
use super::seeding::seedings;
use super::{KMeansError, KMeansParams, Members, Points};
use crate::matrix::Matrix;
use crate::ops::{Centers, TreeLinks};

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

/// A tree whose node 0 is the root. Of a tree that [`fit_tree`] grew, the n-th split made the nodes 2n + 1 and 2n + 2.
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

    /// The tree that was grown as it was when it had `n_leaves` leaves, or whole when it never had more.
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

    /// The leaf's node that each row of `x` `(n_samples, n_features)` comes to, and the squared distance to its centre; both
    /// `(n_samples)`.
    pub fn predict(&self, x: &Matrix, device: &Device) -> (Vec<i32>, Vec<f32>) {
        Centers::new(self.centers(), device).descend(x, &self.links())
    }
}

/// Grows a tree of `max_leaves` leaves, or of as many as there are distinct points. `on_split` is called after each.
///
/// All leaves that can still be split share their passes over the points; the splits are then taken in the order of the
/// leaves' inertia, as if they had been made one after the other.
///
/// # Errors
/// [`KMeansError`] when points in a file cannot be read, or the device fails.
pub fn fit_tree(
    points: &Points,
    max_leaves: usize,
    params: &KMeansParams,
    on_split: &(dyn Fn() + Sync),
) -> Result<BisectingTree, KMeansError> {
    let mut growth = Growth::new(points, params)?;
    while growth.n_leaves() < max_leaves {
        let Some(parent) = growth.largest_divisible() else { break };
        if growth.splits[parent].is_none() {
            growth.prepare_splits(points, max_leaves, params)?;
        }
        let Some(split) = growth.splits[parent].take() else { break };
        growth.take(parent, split);
        on_split();
    }
    Ok(BisectingTree { nodes: growth.nodes })
}

/// A leaf that a split makes: the node, its points, and the index of the farthest of them.
type Child = (TreeNode, Members, usize);

/// A tree in the making.
struct Growth {
    nodes: Vec<TreeNode>,
    /// The points of each leaf.
    members: Vec<Option<Members>>,
    /// The index of each node's point that is farthest from its centre.
    farthest: Vec<usize>,
    /// What each leaf would be split into, where that is known.
    splits: Vec<Option<[Child; 2]>>,
}

impl Growth {
    fn new(points: &Points, params: &KMeansParams) -> Result<Self, KMeansError> {
        let start = points.gather(&[0])?;
        let root = fit_from_unlabelled(points, start, params)?;
        let mut growth = Self { nodes: Vec::new(), members: Vec::new(), farthest: Vec::new(), splits: Vec::new() };
        growth.push((leaf(&root, 0), Members::all(points), root.farthest[0]));
        Ok(growth)
    }

    fn push(&mut self, (node, members, farthest): Child) {
        self.nodes.push(node);
        self.members.push(Some(members));
        self.farthest.push(farthest);
        self.splits.push(None);
    }

    fn n_leaves(&self) -> usize {
        self.nodes.len() / 2 + 1
    }

    /// Makes a split: the parent is no leaf any more.
    fn take(&mut self, parent: usize, split: [Child; 2]) {
        self.nodes[parent].children = Some((self.nodes.len(), self.nodes.len() + 1));
        self.members[parent] = None;
        split.into_iter().for_each(|child| self.push(child));
    }

    /// The leaf with the largest inertia that has any, which means that its points differ.
    fn largest_divisible(&self) -> Option<usize> {
        self.divisible().into_iter().next()
    }

    /// The leaves that can be split, the one with the largest inertia first; of equals, the older one.
    fn divisible(&self) -> Vec<usize> {
        let is_divisible = |&index: &usize| {
            let node = &self.nodes[index];
            node.children.is_none() && node.inertia > 0.0 && node.size > 1
        };
        let mut leaves: Vec<usize> = (0..self.nodes.len()).filter(is_divisible).collect();
        leaves.sort_by(|&a, &b| self.nodes[b].inertia.total_cmp(&self.nodes[a].inertia).then(a.cmp(&b)));
        leaves
    }

    /// Finds the split of every leaf that may come to be split before there are `max_leaves`.
    fn prepare_splits(&mut self, points: &Points, max_leaves: usize, params: &KMeansParams) -> Result<(), KMeansError> {
        let mut leaves = self.divisible();
        leaves.truncate(max_leaves - self.n_leaves());
        leaves.retain(|&leaf| self.splits[leaf].is_none());
        let members: Vec<&Members> = leaves.iter().filter_map(|&leaf| self.members[leaf].as_ref()).collect();
        let mut starts = Vec::new();
        let mut owners = Vec::new();
        for (&leaf, &members) in leaves.iter().zip(&members) {
            for centroids in self.starts(points, members, leaf, params)? {
                let mean_variance = self.nodes[leaf].inertia / members.len() as f64 / points.n_features() as f64;
                starts.push(Start {
                    centroids,
                    members: Some(members),
                    tolerance: params.tol * mean_variance,
                    keep_labels: false,
                });
                owners.push(leaf);
            }
        }
        let mut best: Vec<Option<KMeansFit>> = vec![None; self.nodes.len()];
        for (leaf, fit) in owners.into_iter().zip(fits(points, starts, params, &|| {})?) {
            keep(&mut best[leaf], fit);
        }
        let mut splits = Vec::with_capacity(leaves.len());
        for (&leaf, &members) in leaves.iter().zip(&members) {
            if let Some(fit) = best[leaf].take() {
                splits.push((leaf, divide(points, members, &fit)?));
            }
        }
        for (leaf, split) in splits {
            self.splits[leaf] = Some(split);
        }
        Ok(())
    }

    /// Where the 2-means of a leaf begin: `n_init` seedings, and its centre with the point farthest from it.
    fn starts(
        &self,
        points: &Points,
        members: &Members,
        leaf: usize,
        params: &KMeansParams,
    ) -> Result<Vec<Matrix>, KMeansError> {
        let params = KMeansParams { seed: params.seed.wrapping_add(leaf as u64), ..*params };
        let mut starts = seedings(points, Some(members), 2, &params)?;
        let farthest = points.gather(&[self.farthest[leaf]])?;
        let values = [self.nodes[leaf].center.as_slice(), farthest.row(0)].concat();
        starts.push(Matrix::from_values(points.n_features(), values));
        Ok(starts)
    }
}

/// The two children of a leaf.
fn divide(points: &Points, members: &Members, fit: &KMeansFit) -> Result<[Child; 2], KMeansError> {
    let labels = labels(points, &fit.centroids, members)?;
    Ok([0, 1].map(|cluster| (leaf(fit, cluster), members.with_label(&labels, cluster as u16), fit.farthest[cluster])))
}

fn leaf(fit: &KMeansFit, cluster: usize) -> TreeNode {
    let center = fit.centroids.row(cluster).to_vec();
    TreeNode { center, size: fit.counts[cluster], inertia: fit.cluster_inertia[cluster], children: None }
}
