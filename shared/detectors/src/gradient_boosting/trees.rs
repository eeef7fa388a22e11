//! Trees as a model file holds them, and as rows go down in them.

use serde::{Deserialize, Serialize};

use super::MAX_DEPTH;
use crate::{Array, ArrayMut};

/// Most nodes of all trees together: more than any parameters give.
const MAX_NODES: usize = 1 << 21;

/// A node of a tree.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Node {
    /// The feature that tells left from right, or [`LEAF`].
    feature: i32,
    /// Of a leaf, what it adds to the log-odds. Of another node, the largest value that goes to the left.
    value: f32,
    /// The nodes to the left and to the right; 0 and 0 of a leaf.
    children: [u32; 2],
    /// How many rows of the fit there were.
    count: u32,
}

const LEAF: i32 = -1;

impl Node {
    pub fn leaf(value: f32, count: u32) -> Self {
        Self { feature: LEAF, value, children: [0; 2], count }
    }

    pub fn inner(feature: usize, edge: f32, children: [usize; 2], count: u32) -> Self {
        Self { feature: feature as i32, value: edge, children: children.map(|child| child as u32), count }
    }

    /// What a leaf adds to the log-odds.
    pub fn leaf_value(&self) -> f64 {
        f64::from(self.value)
    }

    /// The feature that tells left from right, where it is no leaf.
    pub fn feature(&self) -> Option<usize> {
        usize::try_from(self.feature).ok()
    }

    pub fn children(&self) -> [usize; 2] {
        self.children.map(|child| child as usize)
    }

    pub fn count(&self) -> f64 {
        f64::from(self.count)
    }

    /// Whether a value goes to the left.
    pub fn goes_left(&self, value: f32) -> bool {
        value <= self.value
    }
}

/// A tree; its root is node 0.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tree {
    pub nodes: Vec<Node>,
}

impl Tree {
    /// The nodes of each subtree one after the other, the left one first: a node to the left comes right after the one above it.
    pub fn in_order(nodes: &[Node]) -> Self {
        let mut ordered: Vec<Node> = Vec::with_capacity(nodes.len());
        // Nodes to come, and the place of the node above them where they are to its right.
        let mut open: Vec<(usize, Option<usize>)> = vec![(0, None)];
        while let Some((index, above)) = open.pop() {
            let (node, place): (Node, usize) = (nodes[index], ordered.len());
            if let Some(above) = above {
                ordered[above].children[1] = place as u32;
            }
            ordered.push(node);
            if node.feature().is_some() {
                let [left, right] = node.children();
                ordered[place].children[0] = place as u32 + 1;
                open.push((right, Some(place)));
                open.push((left, None));
            }
        }
        Self { nodes: ordered }
    }

    /// What it adds to the log-odds of a row.
    pub fn of_row(&self, row: &[f32]) -> f64 {
        let mut node = &self.nodes[0];
        while let Some(feature) = node.feature() {
            let [left, right] = node.children();
            node = &self.nodes[if node.goes_left(row[feature]) { left } else { right }];
        }
        node.leaf_value()
    }

    /// What it adds on average over the rows of the fit.
    pub fn mean(&self) -> f64 {
        let mut shares = vec![0.0; self.nodes.len()];
        shares[0] = 1.0;
        let mut mean = 0.0;
        for (index, node) in self.nodes.iter().enumerate() {
            match node.feature() {
                None => mean += shares[index] * node.leaf_value(),
                Some(_) => node.children().into_iter().for_each(|child| {
                    shares[child] = shares[index] * self.nodes[child].count() / node.count();
                }),
            }
        }
        mean
    }
}

/// All trees, the nodes of one after those of the other, in the order of [`Tree::in_order`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Trees {
    /// How many nodes each tree has: `(n_trees)`.
    n_nodes: Vec<usize>,
    /// The feature of each node; -1 of a leaf: `(sum of n_nodes)`.
    features: Array<i32>,
    /// Of a leaf, what it adds to the log-odds; of another node, the largest value that goes to the left: `(sum of n_nodes)`.
    values: Array<f32>,
    /// The place in its tree of the node to the right; 0 of a leaf. That to the left is the next one. `(sum of n_nodes)`
    rights: Array<i32>,
    /// How many rows of the fit went through each node: `(sum of n_nodes)`.
    counts: Array<i32>,
}

impl Trees {
    pub fn of(trees: &[Tree]) -> Self {
        let nodes = || trees.iter().flat_map(|tree| &tree.nodes);
        let n = nodes().count();
        Self {
            n_nodes: trees.iter().map(|tree| tree.nodes.len()).collect(),
            features: Array::new([n], nodes().map(|node| node.feature).collect::<Vec<i32>>()),
            values: Array::new([n], nodes().map(|node| node.value).collect::<Vec<f32>>()),
            rights: Array::new([n], nodes().map(|node| node.children[1] as i32).collect::<Vec<i32>>()),
            counts: Array::new([n], nodes().map(|node| node.count as i32).collect::<Vec<i32>>()),
        }
    }

    pub fn arrays(&mut self) -> Vec<(&'static str, ArrayMut<'_>)> {
        vec![
            ("features", ArrayMut::I32(&mut self.features)),
            ("values", ArrayMut::F32(&mut self.values)),
            ("rights", ArrayMut::I32(&mut self.rights)),
            ("counts", ArrayMut::I32(&mut self.counts)),
        ]
    }

    /// Checks what was read from a file: every tree is one, and not too deep.
    pub fn check(&self, n_features: usize) -> Result<(), String> {
        let total = self.n_nodes.iter().try_fold(0usize, |sum, &n| sum.checked_add(n)).filter(|&n| n <= MAX_NODES);
        let Some(total) = total.filter(|_| !self.n_nodes.is_empty() && !self.n_nodes.contains(&0)) else {
            return Err(format!("it has no trees, one without nodes, or more than {MAX_NODES} nodes"));
        };
        let has_shapes = self.values.has_shape(&[total])
            && [&self.features, &self.rights, &self.counts].iter().all(|array| array.has_shape(&[total]));
        if !has_shapes {
            return Err(format!("its trees are not of {total} nodes"));
        }
        if !self.values.is_finite() {
            return Err("an edge or a leaf of its trees is not finite".into());
        }
        let mut first = 0;
        for (tree, &n) in self.n_nodes.iter().enumerate() {
            self.check_tree(first..first + n, n_features)
                .map_err(|problem| format!("in its tree {tree}, {problem}"))?;
            first += n;
        }
        Ok(())
    }

    fn check_tree(&self, nodes: std::ops::Range<usize>, n_features: usize) -> Result<(), String> {
        let features = &self.features.values()[nodes.clone()];
        let (rights, counts) = (&self.rights.values()[nodes.clone()], &self.counts.values()[nodes]);
        // A node is only met after the one above it, so nothing is met twice unless two nodes lead to it.
        let mut depths: Vec<Option<usize>> = vec![None; features.len()];
        depths[0] = Some(0);
        for (index, (&feature, &right)) in features.iter().zip(rights).enumerate() {
            let Some(depth) = depths[index] else { return Err(format!("nothing leads to node {index}")) };
            if counts[index] < 1 {
                return Err(format!("no row of the fit went through node {index}"));
            }
            if feature == LEAF {
                continue;
            }
            if !usize::try_from(feature).is_ok_and(|feature| feature < n_features) {
                return Err(format!("node {index} is not of one of {n_features} features"));
            }
            if depth >= MAX_DEPTH {
                return Err(format!("node {index} is deeper than {MAX_DEPTH}"));
            }
            let children = [index + 1, usize::try_from(right).unwrap_or(0)];
            if !(children[0] < children[1] && children[1] < features.len()) {
                return Err(format!("node {index} has a node to its right that does not come after it"));
            }
            for child in children {
                if depths[child].replace(depth + 1).is_some() {
                    return Err(format!("two nodes lead to node {child}"));
                }
            }
            let below: i64 = children.iter().map(|&child| i64::from(counts[child])).sum();
            if below != i64::from(counts[index]) {
                return Err(format!("the rows of node {index} are not those of the two below it"));
            }
        }
        Ok(())
    }

    /// The trees, which [`check`](Self::check) accepts.
    pub fn trees(&self) -> Vec<Tree> {
        let mut first = 0;
        let tree = |&n: &usize| {
            let node = |place: usize| {
                let at = first + place;
                let (feature, value) = (self.features.values()[at], self.values.values()[at]);
                let count = self.counts.values()[at] as u32;
                if feature == LEAF {
                    return Node::leaf(value, count);
                }
                Node { feature, value, children: [place as u32 + 1, self.rights.values()[at] as u32], count }
            };
            let nodes = (0..n).map(node).collect();
            first += n;
            Tree { nodes }
        };
        self.n_nodes.iter().map(tree).collect()
    }
}
