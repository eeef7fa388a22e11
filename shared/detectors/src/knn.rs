//! Distance to the nearest neighbours.
//!
//! A row is as unusual as its `k`-th nearest training row is far away (Ramaswamy, Rastogi and Shim, *Efficient algorithms
//! for mining outliers from large data sets*, SIGMOD 2000), or as its `k` nearest are on average (Angiulli and Pizzuti,
//! *Fast outlier detection in high dimensional spaces*, PKDD 2002, who take the sum).

use burn::tensor::Device;
use clustering::matrix::Matrix;
use evaluation::statistics;
use serde::{Deserialize, Serialize};

use super::neighborhood::{self, Neighborhood, Neighbors, Reference, check_reference};
use super::{Array, ArrayMut, Context, Explanation, Fit, FitError, Learned, Score, Scores};

/// Parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Knn {
    /// How many neighbours.
    pub k: usize,
    /// What the score is made of.
    pub method: KnnMethod,
    /// Most training rows that are kept to be compared with; of more, a sample of as many.
    pub max_rows: usize,
}

/// Which distance is the score.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KnnMethod {
    /// The largest one: that to the `k`-th neighbour.
    #[default]
    Largest,
    /// The mean of the distances to all `k`.
    Mean,
}

impl Default for Knn {
    fn default() -> Self {
        Self { k: 10, method: KnnMethod::Largest, max_rows: 1 << 16 }
    }
}

impl Fit for Knn {
    type Learned = KnnModel;

    fn check(&self) -> Result<(), String> {
        neighborhood::check_parameters(self.k, self.max_rows)
    }

    fn fit(&self, x: &Matrix, context: &Context<'_>) -> Result<KnnModel, FitError> {
        let Reference { rows, places } = neighborhood::reference(x, self.k, self.max_rows, context)?;
        (context.on_step)();
        Ok(KnnModel { k: self.k, method: self.method, reference: rows, places })
    }
}

/// Training rows, and what is asked about them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KnnModel {
    k: usize,
    method: KnnMethod,
    /// `(n_reference, n_features)`
    reference: Array<f32>,
    /// The places that these rows had in the fit: `(n_reference)`; none where all rows are there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    places: Option<Array<i32>>,
}

impl Learned for KnnModel {
    fn check(&self, n_features: usize) -> Result<(), String> {
        check_reference(&self.reference, self.places.as_ref(), self.k, n_features)
    }

    fn arrays(&mut self) -> Vec<(&'static str, ArrayMut<'_>)> {
        let places = self.places.as_mut().map(|places| ("places", ArrayMut::I32(places)));
        std::iter::once(("reference", ArrayMut::F32(&mut self.reference))).chain(places).collect()
    }

    fn on_device(&self, device: &Device) -> Box<dyn Score> {
        Box::new(KnnScore {
            method: self.method,
            neighborhood: Neighborhood::new(&self.reference, self.places.as_ref(), self.k, device),
            reference: self.reference.clone(),
        })
    }
}

/// A [`KnnModel`] on a device.
#[derive(Debug)]
struct KnnScore {
    method: KnnMethod,
    neighborhood: Neighborhood,
    reference: Array<f32>,
}

impl KnnScore {
    fn scores(&self, found: &Neighbors) -> Scores {
        let mean = |distances: &[f32]| statistics::mean(distances.iter().map(|&distance| f64::from(distance))) as f32;
        Scores::new(found.rows().map(|neighbors| mean(self.counted(neighbors).0)).collect())
    }

    /// Those of a row's neighbours whose distances make the score.
    fn counted<'a>(&self, (distances, indices): (&'a [f32], &'a [i32])) -> (&'a [f32], &'a [i32]) {
        let first = match self.method {
            KnnMethod::Largest => distances.len() - 1,
            KnnMethod::Mean => 0,
        };
        (&distances[first..], &indices[first..])
    }

    /// What each feature adds to the mean distance between a row and `neighbors`: of each distance the share that it has
    /// in the square.
    fn explain_row(&self, row: &[f32], neighbors: &[i32], score: f32) -> Explanation {
        let (mut contributions, mut expected) = (vec![0f64; row.len()], vec![0f64; row.len()]);
        for &neighbor in neighbors {
            let neighbor = self.reference.row(neighbor as usize);
            let square = |(x, y): (&f32, &f32)| (f64::from(*x) - f64::from(*y)).powi(2);
            let distance = row.iter().zip(neighbor).map(square).sum::<f64>().sqrt();
            for (feature, pair) in row.iter().zip(neighbor).enumerate() {
                contributions[feature] += if distance > 0.0 { square(pair) / distance } else { 0.0 };
                expected[feature] += f64::from(*pair.1) / neighbors.len() as f64;
            }
        }
        // To the score as it is, which is rounded to float32.
        let total: f64 = contributions.iter().sum();
        let factor = if total > 0.0 { f64::from(score) / total } else { 0.0 };
        Explanation {
            contributions: contributions.iter().map(|part| (part * factor) as f32).collect(),
            expected: expected.iter().map(|value| *value as f32).collect(),
            is_approximate: false,
        }
    }
}

impl Score for KnnScore {
    fn score(&self, x: &Matrix) -> Scores {
        self.scores(&self.neighborhood.of(x))
    }

    fn score_training(&self, x: &Matrix, places: &[Option<usize>]) -> Scores {
        self.scores(&self.neighborhood.of_training(x, places))
    }

    fn explain(&self, x: &Matrix, scores: &Scores) -> Option<Vec<Explanation>> {
        let found = self.neighborhood.of(x);
        let rows = x.rows().zip(found.rows()).zip(&scores.values);
        Some(rows.map(|((row, neighbors), &score)| self.explain_row(row, self.counted(neighbors).1, score)).collect())
    }
}

#[cfg(test)]
mod tests;
