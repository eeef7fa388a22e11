//! Trees are grown side by side, each with a stream of random numbers of its own.

use std::ops::Range;

use clustering::matrix::Matrix;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::{Forest, IsolationForest, depth, unsuccessful_search};
use crate::random::Stream;
use crate::{Array, Context};

/// The largest sum of multiples of 1 that is exact in float32 with room to round each of them.
const EXACT: f64 = (1u32 << 23) as f64;

/// Grows all trees on rows `(n_samples, n_features)`, of which there are at least two.
pub(super) fn forest(x: &Matrix, params: &IsolationForest, context: &Context<'_>) -> Forest {
    let (n_trees, sample) = (params.n_trees, params.sample.min(x.n_samples()));
    let n_leaves = 1usize << depth(sample);
    let n_nodes = n_leaves - 1;
    let mut features = vec![0; n_trees * n_nodes]; // (n_trees, n_nodes)
    // What no cut is made of leads every finite value to the left.
    let mut thresholds = vec![f32::MAX; n_trees * n_nodes]; // (n_trees, n_nodes)
    let mut path_lengths = vec![0.0; n_trees * n_leaves]; // (n_trees, n_leaves)
    let leaf_lengths = LeafLengths::new(n_trees, sample);
    let trees = features.par_chunks_mut(n_nodes).zip(thresholds.par_chunks_mut(n_nodes));
    let trees = trees.zip(path_lengths.par_chunks_mut(n_leaves)).enumerate();
    trees.for_each(|(tree, ((features, thresholds), path_lengths))| {
        let mut rng = Stream::Tree.nth(context.seed, tree);
        let rows = rand::seq::index::sample(&mut rng, x.n_samples(), sample).into_vec();
        let candidates = (0..x.n_features()).collect();
        let mut tree =
            Tree { x, rng, rows, candidates, leaf_lengths: &leaf_lengths, features, thresholds, path_lengths };
        tree.grow(Node { index: 0, level: 0, rows: 0..sample, n_candidates: x.n_features() });
        (context.on_step)();
    });
    Forest {
        sample,
        features: Array::new([n_trees, n_nodes], features),
        thresholds: Array::new([n_trees, n_nodes], thresholds),
        path_lengths: Array::new([n_trees, n_leaves], path_lengths),
    }
}

/// Path lengths that add up exactly in float32.
struct LeafLengths {
    depth: usize,
    /// What every length is a multiple of, a power of two.
    quantum: f64,
    /// `c(n)` of a leaf with `n` rows: `(sample + 1)`.
    beneath: Vec<f64>,
}

impl LeafLengths {
    fn new(n_trees: usize, sample: usize) -> Self {
        let longest = depth(sample) as f64 + unsuccessful_search(sample);
        let quantum = (n_trees as f64 * longest / EXACT).log2().ceil().exp2();
        Self { depth: depth(sample), quantum, beneath: (0..=sample).map(unsuccessful_search).collect() }
    }

    fn of_leaf(&self, level: usize, n_rows: usize) -> f32 {
        let length = level as f64 + self.beneath[n_rows];
        ((length / self.quantum).round() * self.quantum) as f32
    }
}

/// A tree that is being grown.
struct Tree<'a> {
    x: &'a Matrix,
    rng: ChaCha8Rng,
    /// The sub-sample, by node: `(sample)`.
    rows: Vec<usize>,
    /// All features; those that may vary in the present node come first: `(n_features)`.
    candidates: Vec<usize>,
    leaf_lengths: &'a LeafLengths,
    features: &'a mut [i32],
    thresholds: &'a mut [f32],
    path_lengths: &'a mut [f32],
}

/// A node that is about to be cut.
struct Node {
    /// Its place in the heap.
    index: usize,
    level: usize,
    /// Its part of the tree's rows.
    rows: Range<usize>,
    /// How many features were not found to be constant above it.
    n_candidates: usize,
}

/// A cut that leaves rows on both sides.
struct Split {
    feature: usize,
    threshold: f32,
}

impl Tree<'_> {
    /// Grows what is beneath a node. Trees are at most 16 levels deep.
    fn grow(&mut self, mut node: Node) {
        let can_be_cut = node.rows.len() > 1 && node.level < self.leaf_lengths.depth;
        let Some(split) = can_be_cut.then(|| self.draw(&mut node)).flatten() else { return self.end(&node) };
        self.features[node.index] = split.feature as i32;
        self.thresholds[node.index] = split.threshold;
        let middle = node.rows.start + self.part(&node, &split);
        let (level, n_candidates) = (node.level + 1, node.n_candidates);
        self.grow(Node { index: 2 * node.index + 1, level, rows: node.rows.start..middle, n_candidates });
        self.grow(Node { index: 2 * node.index + 2, level, rows: middle..node.rows.end, n_candidates });
    }

    /// Draws a feature among those that vary in the node, and a threshold between its least and its greatest value; none
    /// when all rows of the node are the same.
    fn draw(&mut self, node: &mut Node) -> Option<Split> {
        while node.n_candidates > 0 {
            let drawn = self.rng.random_range(0..node.n_candidates);
            let feature = self.candidates[drawn];
            let (min, max) = self.range(node, feature);
            if min < max {
                let (low, high) = (f64::from(min), f64::from(max));
                let threshold = (low + self.rng.random::<f64>() * (high - low)) as f32;
                return Some(Split { feature, threshold: if threshold < max { threshold } else { min } });
            }
            // What is constant here is constant beneath, too. The features in front stay the same ones for every node
            // that was given this number of them, whatever their order.
            node.n_candidates -= 1;
            self.candidates.swap(drawn, node.n_candidates);
        }
        None
    }

    fn range(&self, node: &Node, feature: usize) -> (f32, f32) {
        let (values, n_features) = (self.x.values(), self.x.n_features());
        let rows = self.rows[node.rows.clone()].iter();
        rows.fold((f32::INFINITY, f32::NEG_INFINITY), |(min, max), row| {
            let value = values[row * n_features + feature];
            (if value < min { value } else { min }, if value > max { value } else { max })
        })
    }

    /// Orders the node's rows by the side that they go to, and says how many go to the left.
    fn part(&mut self, node: &Node, split: &Split) -> usize {
        let (values, n_features) = (self.x.values(), self.x.n_features());
        let rows = &mut self.rows[node.rows.clone()];
        let mut n_left = 0;
        for next in 0..rows.len() {
            let goes_left = values[rows[next] * n_features + split.feature] <= split.threshold;
            rows.swap(n_left, next);
            n_left += usize::from(goes_left);
        }
        n_left
    }

    /// Makes the node a leaf: it is every leaf of the heap beneath it.
    fn end(&mut self, node: &Node) {
        let levels_beneath = self.leaf_lengths.depth - node.level;
        let first = ((node.index + 1) << levels_beneath) - self.path_lengths.len();
        let length = self.leaf_lengths.of_leaf(node.level, node.rows.len());
        self.path_lengths[first..first + (1 << levels_beneath)].fill(length);
    }
}
