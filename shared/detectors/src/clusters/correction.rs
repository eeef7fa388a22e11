//! What makes distances to clusters better scores: clusters that are too small to be normal do not count, and distances
//! are measured in what is usual within clusters.

use clustering::matrix::Matrix;
use clustering::rows::RowStore;
use serde::{Deserialize, Serialize};

use super::Cluster;
use crate::{FitError, Score};

/// How distances are corrected.
///
/// k-means gives anomalies that are alike a cluster of their own, in whose centre they look normal; and it takes the width of
/// every feature within clusters for the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Correction {
    /// Squared distances to the predicted centre, as they are.
    #[default]
    None,
    /// Only large clusters count, in the manner of CBLOF (He, Xu and Deng 2003): the largest ones that together have
    /// `large_share` of the rows.
    Size,
    /// Distances are measured in the variance of each feature within clusters, in the manner of LDCOF (Amer and Goldstein
    /// 2012), and `-2 ln` of the cluster's share of the rows is added: up to a constant `-2 ln` of the density of a mixture of
    /// normal distributions.
    Spread,
    /// Both.
    Both,
}

/// Which clusters count, and how distances to them are measured.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    pub correction: Correction,
    /// Of all rows, the share that large clusters have together.
    pub large_share: f64,
    /// Of all rows, the share that a cluster needs to count.
    pub min_share: f64,
}

/// Rows that are looked at a time.
const ROWS_A_BATCH: usize = 1 << 14;

/// The correction of some clusters: a score is the smallest, over the clusters that count, of the sum over the features of
/// `weight * (x - center)²`, plus the cluster's penalty.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Corrected {
    /// The weight of each feature: `(n_features)`.
    pub weights: Vec<f32>,
    /// What is added for each cluster, not negative; none where the cluster does not count. `(n_clusters)`
    pub penalties: Vec<Option<f32>>,
}

impl Corrected {
    /// The correction by the clusters' own rows; none where none is asked for and no cluster is too small to count.
    pub(super) fn fit(
        rules: Rules,
        clusters: &[Cluster],
        scorer: &dyn Score,
        rows: &RowStore,
    ) -> Result<Option<Self>, FitError> {
        let is_small = are_small(clusters, rules.min_share);
        let (by_size, by_spread) = match rules.correction {
            Correction::None if is_small.contains(&true) => {
                return Ok(Some(Self::without(&is_small, rows.n_features())));
            }
            Correction::None => return Ok(None),
            Correction::Size => (true, false),
            Correction::Spread => (false, true),
            Correction::Both => (true, true),
        };
        let spreads = Spreads::of(clusters, scorer, rows)?;
        let is_large = if by_size { large(&spreads.sizes, rules.large_share) } else { vec![true; clusters.len()] };
        let counts = |index: usize| is_large[index] && spreads.sizes[index] > 0 && !is_small[index];
        let counts: Vec<bool> = (0..clusters.len()).map(counts).collect();
        let total: u64 = spreads.sizes.iter().zip(&counts).filter(|(_, counts)| **counts).map(|(size, _)| size).sum();
        let penalty = |(&size, &counts): (&u64, &bool)| {
            let share = size as f64 / total as f64;
            counts.then_some(if by_spread { (-2.0 * share.ln()).max(0.0) as f32 } else { 0.0 })
        };
        let penalties = spreads.sizes.iter().zip(&counts).map(penalty).collect();
        let n_features = rows.n_features();
        let weights = if by_spread { spreads.weights(&counts) } else { vec![1.0; n_features] };
        Ok(Some(Self { weights, penalties }))
    }

    /// Plain distances, to the clusters that are not small.
    fn without(is_small: &[bool], n_features: usize) -> Self {
        let penalties = is_small.iter().map(|&is_small| (!is_small).then_some(0.0)).collect();
        Self { weights: vec![1.0; n_features], penalties }
    }

    pub(super) fn check(&self, n_features: usize, n_clusters: usize) -> Result<(), String> {
        // One over a variance that is kept above a billionth, and `-2 ln` of a share of at most 2^64 rows.
        let is_weight = |value: &f32| *value >= 0.0 && *value <= 1.01e9;
        let is_penalty = |value: &f32| *value >= 0.0 && *value <= 100.0;
        if self.weights.len() != n_features || self.penalties.len() != n_clusters {
            return Err(format!("its correction is not for {n_features} features and {n_clusters} clusters"));
        }
        if !self.weights.iter().all(is_weight) || !self.penalties.iter().flatten().all(is_penalty) {
            return Err("its correction holds a number that is negative or not finite, or too large".into());
        }
        if self.penalties.iter().all(Option::is_none) {
            return Err("by its correction no cluster counts".into());
        }
        Ok(())
    }
}

/// Which clusters are too small to be usual: those with less than `min_share` of all rows, but none with half as many rows as
/// the clusters have on average, so that many clusters may be small without all being so.
pub fn are_small(clusters: &[Cluster], min_share: f64) -> Vec<bool> {
    let total: u64 = clusters.iter().map(|cluster| cluster.size).sum();
    let least = (min_share * total as f64).min(0.5 * total as f64 / clusters.len().max(1) as f64);
    clusters.iter().map(|cluster| (cluster.size as f64) < least).collect()
}

/// Which clusters are large: the fewest that together have `large_share` of the rows.
fn large(sizes: &[u64], large_share: f64) -> Vec<bool> {
    let mut order: Vec<usize> = (0..sizes.len()).collect();
    order.sort_by(|&a, &b| sizes[b].cmp(&sizes[a]).then(a.cmp(&b)));
    let wanted = large_share * sizes.iter().sum::<u64>() as f64;
    let (mut is_large, mut so_far) = (vec![false; sizes.len()], 0);
    for index in order {
        if so_far as f64 >= wanted * (1.0 - 1e-12) && so_far > 0 {
            break;
        }
        is_large[index] = true;
        so_far += sizes[index];
    }
    is_large
}

/// The rows of each cluster, summed up.
struct Spreads {
    /// How many there are: `(n_clusters)`.
    sizes: Vec<u64>,
    /// Sums of squared differences to the centre: `(n_clusters, n_features)`.
    squares: Vec<Vec<f64>>,
}

impl Spreads {
    fn of(clusters: &[Cluster], scorer: &dyn Score, rows: &RowStore) -> Result<Self, FitError> {
        let n_features = rows.n_features();
        let mut spreads = Self { sizes: vec![0; clusters.len()], squares: vec![vec![0.0; n_features]; clusters.len()] };
        rows.for_each_block(|_, block| -> std::io::Result<()> {
            for rows in block.chunks(ROWS_A_BATCH * n_features) {
                let batch = Matrix::from_values(n_features, rows.to_vec());
                let labels = scorer.score(&batch).clusters.unwrap_or_default();
                batch.rows().zip(labels).for_each(|(row, label)| spreads.add(label as usize, row, clusters));
            }
            Ok(())
        })
        .map_err(|error| FitError::Rows(error.to_string()))?;
        Ok(spreads)
    }

    fn add(&mut self, cluster: usize, row: &[f32], clusters: &[Cluster]) {
        self.sizes[cluster] += 1;
        let values = row.iter().zip(&clusters[cluster].center);
        self.squares[cluster].iter_mut().zip(values).for_each(|(sum, (x, c))| {
            let difference = f64::from(*x) - f64::from(*c);
            *sum += difference * difference;
        });
    }

    /// One by the variance of each feature within the clusters that count, which is kept above a thousandth of the mean.
    fn weights(&self, counts: &[bool]) -> Vec<f32> {
        let total: u64 = self.sizes.iter().zip(counts).filter(|(_, counts)| **counts).map(|(size, _)| size).sum();
        let n_features = self.squares.first().map_or(0, Vec::len);
        let variance = |feature: usize| {
            let sums = self.squares.iter().zip(counts).filter(|(_, counts)| **counts);
            sums.map(|(squares, _)| squares[feature]).sum::<f64>() / total.max(1) as f64
        };
        let variances: Vec<f64> = (0..n_features).map(variance).collect();
        let mean = variances.iter().sum::<f64>() / n_features.max(1) as f64;
        variances.iter().map(|variance| (1.0 / (variance + 1e-3 * mean + 1e-9)) as f32).collect()
    }
}
