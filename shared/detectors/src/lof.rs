//! Local outlier factor (Breunig, Kriegel, Ng and Sander, *LOF: identifying density-based local outliers*, SIGMOD 2000).
//!
//! A row is unusual where its neighbours stand closer together than it stands to them. With the *k-distance* of a
//! training row being the distance to its `k`-th nearest other one:
//!
//! 1. The *reachability distance* from a row to a neighbour is their distance, or the neighbour's k-distance where that is
//!    larger.
//! 2. A row's *local reachability density* is 1 over the mean reachability distance to its `k` nearest neighbours.
//! 3. Its score is the mean of its neighbours' densities over its own: about 1 inside a cluster of any density.
//!
//! The densities of the training rows are computed in the fit and kept. A row that is scored is compared with them, and
//! does not change them.
//!
//! Where more than `k` rows are equal, the mean reachability distance among them is 0, and what lies beside them would have a
//! score as large as float32 allows. A mean is therefore not taken below a tenth of the median mean of the training rows that
//! have one: equal rows are at most ten times as dense as is usual. (On the 21 tables that detectors are compared on, the
//! order of scores is the same with and without this bound, but for one table, where it is a little better with it.)

use burn::tensor::Device;
use clustering::matrix::Matrix;
use evaluation::statistics::{mean, median};
use serde::{Deserialize, Serialize};

use super::neighborhood::{self, Neighborhood, Neighbors, Reference, check_reference};
use super::{Array, ArrayMut, Context, Fit, FitError, Learned, Score, Scores};

/// Added to the mean reachability distance, so that no density is infinite. The same as scikit-learn's.
const SMALLEST_MEAN: f64 = 1e-10;

/// The share of the median of all positive mean reachability distances that no mean is taken below.
const SMALLEST_SHARE: f64 = 0.1;

/// Parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Lof {
    /// How many neighbours.
    pub k: usize,
    /// Most training rows that are kept to be compared with; of more, a sample of as many.
    pub max_rows: usize,
}

impl Default for Lof {
    fn default() -> Self {
        Self { k: 50, max_rows: 1 << 16 }
    }
}

impl Fit for Lof {
    type Learned = LofModel;

    fn check(&self) -> Result<(), String> {
        neighborhood::check_parameters(self.k, self.max_rows)
    }

    fn fit(&self, x: &Matrix, context: &Context<'_>) -> Result<LofModel, FitError> {
        let Reference { rows: reference, places } = neighborhood::reference(x, self.k, self.max_rows, context)?;
        let rows = Matrix::from_values(x.n_features(), reference.values().to_vec());
        let themselves: Vec<Option<usize>> = (0..rows.n_samples()).map(Some).collect();
        let found = Neighborhood::new(&reference, None, self.k, context.device).of_training(&rows, &themselves);
        if !found.are_rows_of(reference.shape()[0]) {
            return Err(FitError::Numeric("the distances between the rows leave float32: use other scaling".into()));
        }
        let k_distances: Vec<f32> = found.rows().map(|(distances, _)| distances[self.k - 1]).collect();
        let means: Vec<f64> = found.rows().map(|neighbors| mean_reachability(neighbors, &k_distances)).collect();
        let mut positive: Vec<f64> = means.iter().copied().filter(|&mean| mean > 0.0).collect();
        let smallest_mean = (SMALLEST_SHARE * median(&mut positive)) as f32;
        let densities: Vec<f32> = means.into_iter().map(|mean| density(mean, smallest_mean) as f32).collect();
        (context.on_step)();
        let n_reference = k_distances.len();
        Ok(LofModel {
            k: self.k,
            reference,
            places,
            k_distances: Array::new([n_reference], k_distances),
            densities: Array::new([n_reference], densities),
            smallest_mean,
        })
    }
}

/// The mean reachability distance of a row to these neighbours: their distances `(k)` and indices `(k)`.
fn mean_reachability((distances, indices): (&[f32], &[i32]), k_distances: &[f32]) -> f64 {
    let reachability = |(distance, index): (&f32, &i32)| f64::from(distance.max(k_distances[*index as usize]));
    mean(distances.iter().zip(indices).map(reachability))
}

/// The local reachability density by a mean reachability distance.
fn density(mean: f64, smallest_mean: f32) -> f64 {
    1.0 / (mean + SMALLEST_MEAN).max(f64::from(smallest_mean))
}

/// Training rows, and how dense they lie.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LofModel {
    k: usize,
    /// `(n_reference, n_features)`
    reference: Array<f32>,
    /// The places that these rows had in the fit: `(n_reference)`; none where all rows are there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    places: Option<Array<i32>>,
    /// Distance of each to its `k`-th nearest other one: `(n_reference)`.
    k_distances: Array<f32>,
    /// Local reachability density of each: `(n_reference)`.
    densities: Array<f32>,
    /// What no mean reachability distance is taken below; models of earlier builds have no such bound.
    #[serde(default)]
    smallest_mean: f32,
}

impl Learned for LofModel {
    fn check(&self, n_features: usize) -> Result<(), String> {
        check_reference(&self.reference, self.places.as_ref(), self.k, n_features)?;
        let n_reference = self.reference.shape()[0];
        if !self.k_distances.has_shape(&[n_reference]) || !self.densities.has_shape(&[n_reference]) {
            return Err(format!("it has not one distance and one density for each of {n_reference} reference rows"));
        }
        if !(self.smallest_mean >= 0.0 && self.smallest_mean.is_finite()) {
            return Err("its smallest mean distance is negative or not finite".to_owned());
        }
        // The root of a float32, and 1 over the sum of such a distance and a small number.
        let is_distance = |value: &f32| *value >= 0.0 && *value <= f32::MAX.sqrt();
        let is_density = |value: &f32| *value > 0.0 && f64::from(*value) <= 1.01 / SMALLEST_MEAN;
        if !self.k_distances.values().iter().all(is_distance) || !self.densities.values().iter().all(is_density) {
            return Err("its distances and densities are not those of rows".to_owned());
        }
        Ok(())
    }

    fn arrays(&mut self) -> Vec<(&'static str, ArrayMut<'_>)> {
        let mut arrays = vec![
            ("reference", ArrayMut::F32(&mut self.reference)),
            ("k_distances", ArrayMut::F32(&mut self.k_distances)),
            ("densities", ArrayMut::F32(&mut self.densities)),
        ];
        arrays.extend(self.places.as_mut().map(|places| ("places", ArrayMut::I32(places))));
        arrays
    }

    fn on_device(&self, device: &Device) -> Box<dyn Score> {
        Box::new(LofScore {
            neighborhood: Neighborhood::new(&self.reference, self.places.as_ref(), self.k, device),
            k_distances: self.k_distances.values().to_vec(),
            densities: self.densities.values().to_vec(),
            smallest_mean: self.smallest_mean,
        })
    }
}

/// A [`LofModel`] on a device.
#[derive(Debug)]
struct LofScore {
    neighborhood: Neighborhood,
    /// `(n_reference)`
    k_distances: Vec<f32>,
    /// `(n_reference)`
    densities: Vec<f32>,
    smallest_mean: f32,
}

impl LofScore {
    fn scores(&self, found: &Neighbors) -> Scores {
        let score = |neighbors: (&[f32], &[i32])| {
            let of_neighbors = mean(neighbors.1.iter().map(|&index| f64::from(self.densities[index as usize])));
            let own = density(mean_reachability(neighbors, &self.k_distances), self.smallest_mean);
            (of_neighbors / own) as f32
        };
        Scores::new(found.rows().map(score).collect())
    }
}

impl Score for LofScore {
    fn score(&self, x: &Matrix) -> Scores {
        self.scores(&self.neighborhood.of(x))
    }

    fn score_training(&self, x: &Matrix, places: &[Option<usize>]) -> Scores {
        self.scores(&self.neighborhood.of_training(x, places))
    }
}

#[cfg(test)]
mod tests;
