//! k-means and bisecting k-means as detectors: how far a row is from the centre of its cluster.

mod correction;
mod exact;
mod learned;
mod scorer;
#[cfg(test)]
mod tests;

use clustering::kmeans::{KMeansFit, KMeansParams, Points, elbow, fit_k, fit_sweep, fit_tree};
use clustering::matrix::Matrix;
use clustering::rows::RowStore;
use serde::{Deserialize, Serialize};

use super::{Context, Fit, FitError};

use correction::Rules;
pub use correction::{Corrected, Correction, are_small};
pub use exact::{Distance, Exact, ExactDistances};
pub use learned::{Cluster, Clusters, Partition};

/// How many clusters.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(untagged, deny_unknown_fields, expecting = "must be a number of clusters, or { elbow = 0.7, max = 20 }")]
pub enum KSelection {
    /// This many.
    Fixed(usize),
    /// The first k whose cost is more than `elbow` times the cost of k - 1, else `max`.
    Elbow {
        /// The ratio, between 0 and 1.
        elbow: f64,
        /// The largest k that is tried.
        max: usize,
    },
}

impl KSelection {
    /// The largest number of clusters that is tried.
    pub fn largest(self) -> usize {
        match self {
            Self::Fixed(k) => k,
            Self::Elbow { max, .. } => max,
        }
    }
}

impl std::fmt::Display for KSelection {
    /// As the pipeline file has it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Fixed(k) => write!(f, "{k}"),
            Self::Elbow { elbow, max } => write!(f, "{{ elbow = {elbow}, max = {max} }}"),
        }
    }
}

/// Most clusters that can be looked for.
const MOST_CLUSTERS: usize = 10_000;

/// Most clusters of all restarts together, which are in memory at a time.
const MOST_CLUSTERS_OF_ALL: usize = 1_000_000;

/// What k-means and bisecting k-means have in common.
macro_rules! clustering {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub struct $name {
            /// How many clusters.
            pub k: KSelection,
            /// Restarts from different seedings, of which the best is kept.
            pub n_init: usize,
            /// Most iterations of a restart.
            pub max_iter: usize,
            /// A restart has converged when its centroids moved less than this, relative to the mean variance of the
            /// features.
            pub tol: f64,
            /// What makes of distances better scores.
            pub correction: Correction,
            /// Of all rows, the share that large clusters have together, where `correction` looks at their size.
            pub large_share: f64,
            /// Of all rows, the share that a cluster needs to be usual: a smaller one does not count, and its rows are scored
            /// against the others. Without it, or with 0, every cluster counts.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub min_share: Option<f64>,
        }

        impl Default for $name {
            fn default() -> Self {
                Self {
                    k: KSelection::Elbow { elbow: 0.7, max: 20 },
                    n_init: 10,
                    max_iter: 300,
                    tol: 1e-4,
                    correction: Correction::None,
                    large_share: 0.8,
                    min_share: None,
                }
            }
        }

        impl $name {
            fn check_common(&self) -> Result<(), String> {
                match self.k {
                    KSelection::Fixed(0) => return Err("k must be above 0".into()),
                    KSelection::Elbow { elbow, max } if !(elbow > 0.0 && elbow < 1.0) || max == 0 => {
                        return Err("k: elbow must be between 0 and 1 and max above 0".into());
                    }
                    k if k.largest() > MOST_CLUSTERS => {
                        return Err(format!("k, or its max, must be at most {MOST_CLUSTERS}"));
                    }
                    _ => {}
                }
                if self.n_init == 0 || self.max_iter == 0 || !(self.tol >= 0.0 && self.tol.is_finite()) {
                    return Err("n_init and max_iter must be above 0, and tol not negative".into());
                }
                if self.n_init > MOST_CLUSTERS_OF_ALL / self.k.largest() {
                    return Err(format!("n_init times k, or its max, must be at most {MOST_CLUSTERS_OF_ALL}"));
                }
                if !(self.large_share > 0.0 && self.large_share <= 1.0) {
                    return Err("large_share must be above 0 and at most 1, such as 0.8".into());
                }
                if self.min_share.is_some_and(|share| !(0.0..=0.5).contains(&share)) {
                    return Err("min_share must be between 0 and 0.5, such as 0.005".into());
                }
                Ok(())
            }

            fn rules(&self) -> Rules {
                Rules { correction: self.correction, large_share: self.large_share, min_share: self.min_share.unwrap_or(0.0) }
            }

            fn params(&self, context: &Context<'_>) -> KMeansParams {
                KMeansParams {
                    n_init: self.n_init,
                    max_iter: self.max_iter,
                    tol: self.tol,
                    seed: context.seed,
                    max_state_bytes: context.max_state_bytes,
                }
            }
        }
    };
}

clustering! {
    /// k-means (Lloyd 1982, with the seeding of Arthur and Vassilvitskii 2007): a score is the squared distance to the
    /// nearest centroid of a cluster that counts, or what [`Correction`] makes of it.
    KMeans
}

clustering! {
    /// Bisecting k-means (Steinbach, Karypis and Kumar 2000): a score is the squared distance to the centre of the leaf
    /// that the row comes to, from the root to the nearer child; with a [`Correction`], or where a leaf is smaller than
    /// `min_share`, to the nearest leaf that counts.
    BisectingKMeans
}

impl KMeans {
    /// As [`Fit::fit`], from rows that may be in a file.
    ///
    /// # Errors
    /// As [`Fit::fit`].
    pub fn fit_store(&self, rows: RowStore, context: &Context<'_>) -> Result<Clusters, FitError> {
        let max_k = self.k.largest();
        let points = Points::from_rows(rows, max_k, context.device)?;
        let (fit, inertia_by_k) = match self.k {
            KSelection::Fixed(k) => {
                let fit = fit_k(&points, k, &self.params(context), context.on_step)?;
                let inertia = vec![(k, fit.inertia)];
                (fit, inertia)
            }
            KSelection::Elbow { elbow: ratio, .. } => {
                let mut fits = fit_sweep(&points, max_k, &self.params(context), context.on_step)?;
                let inertia: Vec<f64> = fits.iter().map(|fit| fit.inertia).collect();
                (fits.swap_remove(elbow(&inertia, ratio) - 1), (1..).zip(inertia).collect())
            }
        };
        let partition = Partition::Centroids(clusters_of(&fit));
        let clusters = Clusters { partition, inertia_by_k, corrected: None, exact: None };
        clusters.corrected(self.rules(), &points)
    }
}

impl BisectingKMeans {
    /// As [`Fit::fit`], from rows that may be in a file.
    ///
    /// # Errors
    /// As [`Fit::fit`].
    pub fn fit_store(&self, rows: RowStore, context: &Context<'_>) -> Result<Clusters, FitError> {
        let max_k = self.k.largest();
        let points = Points::from_rows(rows, max_k, context.device)?;
        let tree = fit_tree(&points, max_k, &self.params(context), context.on_step)?;
        // One tree, whose first splits are the trees for smaller k.
        let inertia: Vec<f64> = (1..=tree.n_leaves()).map(|k| tree.prefix(k).inertia()).collect();
        let chosen_k = choose(self.k, &inertia);
        let partition = Partition::Tree(tree.prefix(chosen_k));
        let inertia_by_k = inertia_by_k(self.k, &inertia);
        let clusters = Clusters { partition, inertia_by_k, corrected: None, exact: None };
        clusters.corrected(self.rules(), &points)
    }
}

impl Fit for KMeans {
    type Learned = Clusters;

    fn check(&self) -> Result<(), String> {
        self.check_common()
    }

    fn fit(&self, x: &Matrix, context: &Context<'_>) -> Result<Clusters, FitError> {
        self.fit_store(RowStore::from_matrix(x.clone()), context)
    }

    fn n_steps(&self) -> u64 {
        let steps = match self.k {
            KSelection::Fixed(1) => 1,
            KSelection::Fixed(_) => self.n_init,
            KSelection::Elbow { max, .. } => 1 + self.n_init * (max - 1),
        };
        steps as u64
    }
}

impl Fit for BisectingKMeans {
    type Learned = Clusters;

    fn check(&self) -> Result<(), String> {
        self.check_common()
    }

    fn fit(&self, x: &Matrix, context: &Context<'_>) -> Result<Clusters, FitError> {
        self.fit_store(RowStore::from_matrix(x.clone()), context)
    }

    fn n_steps(&self) -> u64 {
        (self.k.largest() - 1) as u64
    }
}

fn choose(k: KSelection, inertia: &[f64]) -> usize {
    match k {
        KSelection::Fixed(_) => inertia.len(),
        KSelection::Elbow { elbow: ratio, .. } => elbow(inertia, ratio),
    }
}

/// Inertia for every k that was compared; of a fixed k, its own alone.
fn inertia_by_k(k: KSelection, inertia: &[f64]) -> Vec<(usize, f64)> {
    let mut by_k = inertia.iter().enumerate().map(|(index, inertia)| (index + 1, *inertia));
    match k {
        KSelection::Fixed(_) => by_k.next_back().into_iter().collect(),
        KSelection::Elbow { .. } => by_k.collect(),
    }
}

fn clusters_of(fit: &KMeansFit) -> Vec<Cluster> {
    let clusters = fit.centroids.rows().zip(&fit.counts);
    clusters.map(|(center, &size)| Cluster { center: center.to_vec(), size }).collect()
}
