//! Distances in float64 of features in their own units, for clusters that another program found: the verdicts have to be
//! those of that program, also where a distance is close to the threshold.
//!
//! They are computed as `Vectors.sqdist` of Spark does it, term by term in the order of the features, and on the CPU, whatever
//! else the device does: a GPU need not have float64.

use burn::tensor::Device;
use clustering::matrix::{FeatureMatrix, Matrix};
use serde::{Deserialize, Serialize};

use super::scorer::Distances;
use super::{Clusters, Partition};
use crate::{Explanation, Score, Scores};

/// What a score is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Distance {
    /// The squared Euclidean distance.
    #[default]
    Squared,
    /// The Euclidean distance.
    Euclidean,
}

/// What is needed beside the clusters to compute in float64.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exact {
    /// The centres in the features' own units, in the order of the partition: of the clusters `(n_clusters, n_features)`, or
    /// of all nodes of the tree `(n_nodes, n_features)`.
    pub centers: Vec<Vec<f64>>,
    /// What a score is.
    pub distance: Distance,
    /// The threshold. A score that is beyond it is so as well when both are rounded to float32.
    pub threshold: f64,
}

impl Exact {
    pub(super) fn check(&self, n_features: usize, n_centers: usize) -> Result<(), String> {
        let is_center = |center: &Vec<f64>| center.len() == n_features && center.iter().all(|value| value.is_finite());
        if self.centers.len() != n_centers || !self.centers.iter().all(is_center) {
            return Err(format!("its exact centres are not {n_centers} rows of {n_features} finite numbers"));
        }
        if (0.0..f64::from(f32::MAX)).contains(&self.threshold) {
            Ok(())
        } else {
            Err("its exact threshold is no distance".into())
        }
    }
}

/// Clusters that are computed in float64.
#[derive(Debug)]
pub struct ExactDistances {
    /// `(n_clusters, n_features)` or `(n_nodes, n_features)`.
    centers: Vec<Vec<f64>>,
    /// Of each node, where the clusters are the leaves of a tree.
    children: Option<Vec<Option<(usize, usize)>>>,
    /// The number of each centre's cluster.
    cluster_of_center: Vec<i32>,
    distance: Distance,
    threshold: f64,
    /// The same clusters in float32, for explanations.
    rounded: Distances,
}

impl ExactDistances {
    pub(super) fn new(learned: &Clusters, exact: &Exact) -> Self {
        let (children, cluster_of_center) = match &learned.partition {
            Partition::Centroids(clusters) => (None, (0..).take(clusters.len()).collect()),
            Partition::Tree(tree) => {
                (Some(tree.nodes.iter().map(|node| node.children).collect()), tree.cluster_of_node())
            }
        };
        Self {
            centers: exact.centers.clone(),
            children,
            cluster_of_center,
            distance: exact.distance,
            threshold: exact.threshold,
            rounded: Distances::new(learned, &Device::flex()),
        }
    }

    /// The cluster of a row `(n_features)` in the features' own units, and its score. Of centres that are equally near, the
    /// first counts.
    pub fn predict(&self, row: &[f64]) -> (i32, f64) {
        let (center, squared) = match &self.children {
            None => self.nearest(row),
            Some(children) => self.descend(row, children),
        };
        let score = match self.distance {
            Distance::Squared => squared,
            Distance::Euclidean => squared.sqrt(),
        };
        (self.cluster_of_center[center], score)
    }

    fn nearest(&self, row: &[f64]) -> (usize, f64) {
        let all = self.centers.iter().map(|center| squared_distance(row, center)).enumerate();
        all.reduce(|best, next| if next.1 < best.1 { next } else { best }).unwrap_or_default()
    }

    /// From the root to the nearer child, as far as there are children.
    fn descend(&self, row: &[f64], children: &[Option<(usize, usize)>]) -> (usize, f64) {
        let squared = |node: usize| squared_distance(row, &self.centers[node]);
        let (mut node, mut found) = (0, squared(0));
        while let Some((left, right)) = children[node] {
            let (to_left, to_right) = (squared(left), squared(right));
            (node, found) = if to_right < to_left { (right, to_right) } else { (left, to_left) };
        }
        (node, found)
    }

    /// The score in float32: beyond the rounded threshold exactly where it is beyond the threshold.
    fn rounded(&self, score: f64) -> f32 {
        let (rounded, threshold) = (score as f32, self.threshold as f32);
        if score > self.threshold && rounded <= threshold { threshold.next_up() } else { rounded }
    }
}

/// Term by term, in the order of the features.
fn squared_distance(row: &[f64], center: &[f64]) -> f64 {
    row.iter().zip(center).fold(0.0, |sum, (x, c)| {
        let difference = x - c;
        sum + difference * difference
    })
}

impl Score for ExactDistances {
    /// Of rows that were rounded before: close to [`score_unscaled`](Score::score_unscaled), which counts.
    fn score(&self, x: &Matrix) -> Scores {
        let mut scores = self.rounded.score(x);
        if self.distance == Distance::Euclidean {
            scores.values.iter_mut().for_each(|value| *value = value.sqrt());
        }
        scores
    }

    fn score_unscaled(&self, features: &FeatureMatrix) -> Option<Scores> {
        let of_row = |row: &[f64]| {
            let (cluster, score) = self.predict(row);
            (cluster, self.rounded(score))
        };
        let (clusters, values): (Vec<i32>, Vec<f32>) = features.rows().map(of_row).unzip();
        Some(Scores { values, clusters: Some(clusters) })
    }

    /// A squared distance is a sum over the features; a distance is shared out in proportion.
    fn explain(&self, x: &Matrix, scores: &Scores) -> Option<Vec<Explanation>> {
        let mut explanations = self.rounded.explain(x, scores)?;
        if self.distance == Distance::Euclidean {
            for (explanation, score) in explanations.iter_mut().zip(&scores.values) {
                let total: f32 = explanation.contributions.iter().sum();
                if total > 0.0 && total.is_finite() {
                    explanation.contributions.iter_mut().for_each(|part| *part = *part / total * score);
                }
            }
        }
        Some(explanations)
    }
}

#[cfg(test)]
mod tests {
    use clustering::kmeans::{BisectingTree, TreeNode};
    use proptest::prelude::*;

    use super::super::Cluster;
    use super::*;
    use crate::Learned;

    fn rounded(center: &[f64]) -> Vec<f32> {
        center.iter().map(|&value| value as f32).collect()
    }

    fn clusters(partition: Partition, centers: Vec<Vec<f64>>, distance: Distance, threshold: f64) -> Clusters {
        let exact = Some(Exact { centers, distance, threshold });
        let learned = Clusters { partition, inertia_by_k: Vec::new(), corrected: None, exact };
        assert_eq!(learned.check(2), Ok(()));
        learned
    }

    fn centroids(centers: &[[f64; 2]], distance: Distance, threshold: f64) -> Clusters {
        let of = |center: &[f64; 2]| Cluster { center: rounded(center), size: 0 };
        let partition = Partition::Centroids(centers.iter().map(of).collect());
        clusters(partition, centers.iter().map(|center| center.to_vec()).collect(), distance, threshold)
    }

    /// A tree in memory, as its definition has it.
    #[derive(Debug, Clone)]
    struct Node {
        center: [f64; 2],
        children: Option<Box<[Node; 2]>>,
    }

    impl Node {
        /// Appends the node and what is below it, the left side first.
        fn list(&self, nodes: &mut Vec<TreeNode>, centers: &mut Vec<Vec<f64>>) {
            let own = nodes.len();
            nodes.push(TreeNode { center: rounded(&self.center), size: 1, inertia: 0.0, children: None });
            centers.push(self.center.to_vec());
            if let Some(children) = &self.children {
                children[0].list(nodes, centers);
                let right = nodes.len();
                children[1].list(nodes, centers);
                nodes[own].children = Some((own + 1, right));
            }
        }

        fn n_leaves(&self) -> i32 {
            self.children.as_ref().map_or(1, |children| children[0].n_leaves() + children[1].n_leaves())
        }

        /// The definition of the prediction: the number of the leaf, and the squared distance to it.
        fn predict(&self, row: [f64; 2], first_leaf: i32) -> (i32, f64) {
            let Some(children) = &self.children else { return (first_leaf, self.squared(row)) };
            let [left, right] = &**children;
            if left.squared(row) <= right.squared(row) {
                left.predict(row, first_leaf)
            } else {
                right.predict(row, first_leaf + left.n_leaves())
            }
        }

        fn squared(&self, row: [f64; 2]) -> f64 {
            let [x, y] = [row[0] - self.center[0], row[1] - self.center[1]];
            x * x + y * y
        }
    }

    /// Centres on a grid, so that some are equally near.
    fn center() -> impl Strategy<Value = [f64; 2]> {
        (-4i32..5, -4i32..5).prop_map(|(x, y)| [f64::from(x) / 3.0, f64::from(y) / 3.0])
    }

    fn tree() -> impl Strategy<Value = Node> {
        let leaf = center().prop_map(|center| Node { center, children: None });
        leaf.prop_recursive(6, 64, 2, |node| {
            (center(), node.clone(), node)
                .prop_map(|(center, left, right)| Node { center, children: Some(Box::new([left, right])) })
        })
    }

    proptest! {
        /// Whatever the tree: the way down is that of the definition, ties included.
        #[test]
        fn a_descent_is_what_its_definition_says(tree in tree(), rows in proptest::collection::vec(center(), 1..30)) {
            let (mut nodes, mut centers) = (Vec::new(), Vec::new());
            tree.list(&mut nodes, &mut centers);
            let partition = Partition::Tree(BisectingTree { nodes });
            let learned = clusters(partition, centers, Distance::Squared, 1.0);
            let exact = learned.exact_distances().unwrap();
            for row in rows {
                prop_assert_eq!(exact.predict(&row), tree.predict(row, 0));
            }
        }

        /// Rounding never changes a verdict, however near a score is to the threshold.
        #[test]
        fn a_rounded_score_is_beyond_the_rounded_threshold_where_the_score_is(
            threshold in 0.0f64..1e9, steps in -40i64..40, far in 0.0f64..1e12,
        ) {
            let learned = centroids(&[[0.0, 0.0]], Distance::Squared, threshold);
            let exact = learned.exact_distances().unwrap();
            let near = f64::from_bits(threshold.to_bits().saturating_add_signed(steps));
            for score in [near, far, threshold] {
                prop_assert_eq!(exact.rounded(score) > threshold as f32, score > threshold, "{} {}", score, threshold);
                prop_assert!((f64::from(exact.rounded(score)) - score).abs() <= 2e-7 * score.max(1e-37));
            }
        }

        /// A batch is the same as one by one, and the root of a squared distance is the distance.
        #[test]
        fn scores_are_those_of_the_rows(centers in proptest::collection::vec(center(), 1..6), rows in proptest::collection::vec(center(), 1..20)) {
            let values: Vec<f64> = rows.iter().flatten().copied().collect();
            let features = FeatureMatrix::from_values(2, values);
            let of = |distance| centroids(&centers, distance, 0.5);
            let (squared, euclidean) = (of(Distance::Squared), of(Distance::Euclidean));
            let scores = squared.on_device(&Device::flex()).score_unscaled(&features).unwrap();
            let (squared, euclidean) = (squared.exact_distances().unwrap(), euclidean.exact_distances().unwrap());
            for ((row, value), cluster) in rows.iter().zip(&scores.values).zip(scores.clusters.unwrap()) {
                let (expected, score) = squared.predict(row);
                prop_assert_eq!((cluster, *value), (expected, squared.rounded(score)));
                prop_assert!(centers.iter().all(|center| squared_distance(row, center) >= score));
                prop_assert_eq!(euclidean.predict(row), (expected, score.sqrt()));
            }
        }
    }

    /// What float32 cannot tell apart is told apart.
    #[test]
    fn a_score_just_beyond_the_threshold_is_anomalous() {
        let threshold = 16_777_216.25;
        let learned = centroids(&[[0.0, 0.0]], Distance::Squared, threshold);
        let scorer = learned.on_device(&Device::flex());
        let row = |squared: f64| FeatureMatrix::from_values(2, vec![squared.sqrt(), 0.0]);
        let score = |squared: f64| scorer.score_unscaled(&row(squared)).unwrap().values[0];
        assert_eq!(16_777_216.4_f64 as f32, threshold as f32);
        assert!(score(16_777_216.4) > threshold as f32 && score(16_777_216.1) <= threshold as f32);
    }

    #[test]
    fn contributions_add_up_to_the_score() {
        let rows = FeatureMatrix::from_values(2, vec![3.0, 4.0, 0.0, 0.0]);
        let x = Matrix::from_values(2, vec![3.0, 4.0, 0.0, 0.0]);
        for (distance, expected) in [(Distance::Squared, [9.0, 16.0]), (Distance::Euclidean, [1.8, 3.2])] {
            let scorer = centroids(&[[0.0, 0.0]], distance, 1.0).on_device(&Device::flex());
            let scores = scorer.score_unscaled(&rows).unwrap();
            let explanations = scorer.explain(&x, &scores).unwrap();
            for (part, expected) in explanations[0].contributions.iter().zip(expected) {
                assert!((part - expected).abs() < 1e-6, "{distance:?} {part}");
            }
            assert_eq!((explanations[1].contributions.as_slice(), scores.values[1]), (&[0.0, 0.0][..], 0.0));
            assert_eq!(scorer.score(&x).values, scores.values);
        }
    }

    #[test]
    fn what_does_not_belong_to_the_clusters_is_refused() {
        let learned = centroids(&[[0.0, 1.0], [2.0, 3.0]], Distance::Squared, 1.0);
        let with = |change: fn(&mut Exact)| {
            let mut learned = learned.clone();
            change(learned.exact.as_mut().unwrap());
            learned.check(2).unwrap_err()
        };
        let centres = "its exact centres are not 2 rows of 2 finite numbers";
        assert_eq!(with(|exact| exact.centers.truncate(1)), centres);
        assert_eq!(with(|exact| exact.centers[1].truncate(1)), centres);
        assert_eq!(with(|exact| exact.centers[1][0] = f64::NAN), centres);
        for threshold in [f64::NAN, -1.0, f64::INFINITY, 1e39] {
            let mut learned = learned.clone();
            learned.exact.as_mut().unwrap().threshold = threshold;
            assert_eq!(learned.check(2).unwrap_err(), "its exact threshold is no distance");
        }
        let mut corrected = learned.clone();
        corrected.corrected = Some(super::super::Corrected { weights: vec![1.0; 2], penalties: vec![Some(0.0); 2] });
        assert_eq!(corrected.check(2).unwrap_err(), "its exact distances cannot be corrected");
    }
}
