//! One tree: leaves are split, the one with the largest gain first (Shi 2007, "Best-first decision tree learning"), where the second
//! order of the loss says that it falls the most (Chen and Guestrin 2016, "XGBoost", equation 7).
//!
//! The sums of a bin are added up row by row on one thread, and of the features that a split may take, the first with the largest
//! gain is taken: the tree has the same bits on any number of threads.

use std::ops::Range;

use rayon::prelude::*;

use super::GradientBoosting;
use super::bins::Binned;
use super::trees::Node;

/// A split has to gain more than rounding does.
const LEAST_GAIN: f64 = 1e-10;

/// First and second derivative of the loss by a row's log-odds.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Slope {
    pub gradient: f64,
    pub hessian: f64,
}

/// The slopes of some rows together.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Sum {
    gradient: f64,
    hessian: f64,
    count: u32,
}

impl Sum {
    fn add(&mut self, slope: Slope) {
        self.gradient += slope.gradient;
        self.hessian += slope.hessian;
        self.count += 1;
    }

    fn plus(self, other: Self) -> Self {
        Self {
            gradient: self.gradient + other.gradient,
            hessian: self.hessian + other.hessian,
            count: self.count + other.count,
        }
    }

    fn minus(self, other: Self) -> Self {
        Self {
            gradient: self.gradient - other.gradient,
            // What should be nothing is not to become less by rounding.
            hessian: (self.hessian - other.hessian).max(0.0),
            count: self.count - other.count,
        }
    }
}

/// How a leaf would be split: rows up to a bin of a feature go to the left.
#[derive(Debug, Clone, Copy)]
struct Split {
    gain: f64,
    feature: usize,
    bin: u8,
    left: Sum,
}

/// A leaf that may be split.
#[derive(Debug)]
struct Leaf {
    node: usize,
    depth: usize,
    /// Where its rows are in the order of rows.
    rows: Range<usize>,
    total: Sum,
    /// The sums of each bin of each feature: nothing where it cannot be split.
    histogram: Vec<Vec<Sum>>,
    split: Option<Split>,
}

/// A tree and which rows are in its leaves.
#[derive(Debug)]
pub(super) struct Grown {
    /// In the order in which they came about, the root first.
    pub nodes: Vec<Node>,
    /// All rows, leaf by leaf.
    pub order: Vec<u32>,
    /// The node of each leaf, and where its rows are.
    pub leaves: Vec<(usize, Range<usize>)>,
}

/// Grows a tree on all rows.
pub(super) fn grow(params: &GradientBoosting, binned: &Binned, slopes: &[Slope]) -> Grown {
    let mut grower = Grower { params, binned, slopes, order: (0..slopes.len() as u32).collect(), nodes: Vec::new() };
    let mut total = Sum::default();
    slopes.iter().for_each(|slope| total.add(*slope));
    let node = grower.new_node(total);
    let mut leaves = vec![grower.leaf(node, 0, 0..slopes.len(), total, None)];
    while leaves.len() < params.max_leaf_nodes {
        let gain = |leaf: &Leaf| leaf.split.map_or(0.0, |split| split.gain);
        // The first of those with the largest gain.
        let best = (0..leaves.len()).reduce(|a, b| if gain(&leaves[b]) > gain(&leaves[a]) { b } else { a });
        let Some((index, split)) = best.and_then(|index| Some((index, leaves[index].split?))) else { break };
        let leaf = leaves.swap_remove(index);
        leaves.extend(grower.split(leaf, split));
    }
    let leaves = leaves.into_iter().map(|leaf| (leaf.node, leaf.rows)).collect();
    Grown { nodes: grower.nodes, order: grower.order, leaves }
}

struct Grower<'a> {
    params: &'a GradientBoosting,
    binned: &'a Binned,
    slopes: &'a [Slope],
    order: Vec<u32>,
    nodes: Vec<Node>,
}

impl Grower<'_> {
    /// A node that is a leaf so far.
    fn new_node(&mut self, total: Sum) -> usize {
        let value = -self.params.learning_rate * total.gradient / (total.hessian + self.params.l2_regularization);
        let value = if value.is_finite() { value as f32 } else { 0.0 };
        self.nodes.push(Node::leaf(value, total.count));
        self.nodes.len() - 1
    }

    /// A leaf with its best split; `histogram` is that of its rows, where it is known.
    fn leaf(
        &self,
        node: usize,
        depth: usize,
        rows: Range<usize>,
        total: Sum,
        histogram: Option<Vec<Vec<Sum>>>,
    ) -> Leaf {
        let mut leaf = Leaf { node, depth, rows, total, histogram: Vec::new(), split: None };
        if self.may_be_split(&leaf) {
            leaf.histogram = histogram.unwrap_or_else(|| self.histogram(leaf.rows.clone()));
            leaf.split = self.best_split(&leaf);
            if leaf.split.is_none() {
                leaf.histogram = Vec::new();
            }
        }
        leaf
    }

    fn may_be_split(&self, leaf: &Leaf) -> bool {
        leaf.depth < self.params.max_depth && leaf.total.count as usize >= 2 * self.params.min_samples_leaf
    }

    /// The sums of each bin.
    fn histogram(&self, rows: Range<usize>) -> Vec<Vec<Sum>> {
        let rows = &self.order[rows];
        let of_feature = |feature: usize| {
            let mut sums = vec![Sum::default(); self.binned.n_bins(feature)];
            let bins = &self.binned.bins[feature];
            rows.iter().for_each(|&row| sums[usize::from(bins[row as usize])].add(self.slopes[row as usize]));
            sums
        };
        (0..self.binned.bins.len()).into_par_iter().map(of_feature).collect()
    }

    fn best_split(&self, leaf: &Leaf) -> Option<Split> {
        let splits: Vec<Option<Split>> = leaf
            .histogram
            .par_iter()
            .enumerate()
            .map(|(feature, sums)| self.best_of(feature, sums, leaf.total))
            .collect();
        splits.into_iter().flatten().reduce(|a, b| if b.gain > a.gain { b } else { a })
    }

    /// The best split by a feature.
    fn best_of(&self, feature: usize, sums: &[Sum], total: Sum) -> Option<Split> {
        let params = self.params;
        let has_enough =
            |part: Sum| part.count as usize >= params.min_samples_leaf && part.hessian >= params.min_child_weight;
        let whole = self.quality(total);
        let mut best: Option<Split> = None;
        let mut left = Sum::default();
        for (bin, &sum) in sums.iter().enumerate().take(sums.len() - 1) {
            left = left.plus(sum);
            let right = total.minus(left);
            if sum.count == 0 || !has_enough(left) || !has_enough(right) {
                continue;
            }
            let gain = 0.5 * (self.quality(left) + self.quality(right) - whole);
            if gain > best.map_or(LEAST_GAIN, |best| best.gain) {
                best = Some(Split { gain, feature, bin: bin as u8, left });
            }
        }
        best
    }

    /// Twice how much the best value of a leaf lowers the loss.
    fn quality(&self, sum: Sum) -> f64 {
        sum.gradient * sum.gradient / (sum.hessian + self.params.l2_regularization)
    }

    /// The two leaves that a leaf becomes.
    fn split(&mut self, leaf: Leaf, split: Split) -> [Leaf; 2] {
        let Leaf { node, depth, rows, total, histogram, .. } = leaf;
        let bins = &self.binned.bins[split.feature];
        let (left, right): (Vec<u32>, Vec<u32>) =
            self.order[rows.clone()].iter().partition(|&&row| bins[row as usize] <= split.bin);
        let middle = rows.start + left.len();
        self.order[rows.start..middle].copy_from_slice(&left);
        self.order[middle..rows.end].copy_from_slice(&right);
        let sums = [split.left, total.minus(split.left)];
        let nodes = sums.map(|sum| self.new_node(sum));
        let edge = self.binned.edges[split.feature][usize::from(split.bin)];
        self.nodes[node] = Node::inner(split.feature, edge, nodes, total.count);
        let parts = [rows.start..middle, middle..rows.end];
        // The sums of the larger leaf are what those of the smaller one leave.
        let smaller = usize::from(left.len() > right.len());
        let of_smaller = self.histogram(parts[smaller].clone());
        let minus = |(whole, part): (Vec<Sum>, &Vec<Sum>)| {
            whole.into_iter().zip(part).map(|(whole, part)| whole.minus(*part)).collect()
        };
        let of_larger: Vec<Vec<Sum>> = histogram.into_iter().zip(&of_smaller).map(minus).collect();
        let [first, second] = if smaller == 0 { [of_smaller, of_larger] } else { [of_larger, of_smaller] };
        let [left_rows, right_rows] = parts;
        [
            self.leaf(nodes[0], depth + 1, left_rows, sums[0], Some(first)),
            self.leaf(nodes[1], depth + 1, right_rows, sums[1], Some(second)),
        ]
    }
}
