//! LeSiNN: the distance to a neighbour among a few rows, on average over many small samples (Pang, Ting and Albrecht,
//! "LeSiNN: Detecting Anomalies by Identifying Least Similar Nearest Neighbours", ICDM workshops 2015).
//!
//! 1. Each sample is a few rows of the history, drawn without replacement.
//! 2. Within a sample, a row is as unusual as its `k`-th nearest row there is far away. While a row of the history is scored for
//!    the training, it is not a neighbour of its own.
//! 3. A row's score is the mean of these distances over all samples.
//!
//! A small sample holds hardly any anomaly, so that anomalies that are alike do not hide each other, as they do among all
//! rows ([`knn`](crate::knn)). The paper takes `k = 1` and samples of 8 rows. With the fifth of 256, one distance says more
//! and single odd rows of a sample do not count; how well that does on labelled tables is in docs/figures.md of the repository.

mod score;

use burn::tensor::Device;
use clustering::matrix::Matrix;
use rand::seq::index;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{Array, ArrayMut, Context, Fit, FitError, Learned, Score, neighborhood};
use crate::random::Stream;

/// Most samples.
const MAX_SAMPLES: usize = 10_000;

/// Largest sample.
const MAX_SAMPLE: usize = 1 << 16;

/// Most neighbours that can be asked for.
const MAX_NEIGHBORS: usize = 1000;

/// Most rows of all samples together.
const MAX_ROWS: usize = 1 << 22;

/// Parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Lesinn {
    /// Which neighbour within a sample: from 1 to 1,000.
    pub k: usize,
    /// How many samples: from 1 to 10,000.
    pub n_samples: usize,
    /// Rows of each sample, more than `k`, up to 65,536; half of the history where it is shorter than two samples.
    pub sample: usize,
}

impl Default for Lesinn {
    fn default() -> Self {
        Self { k: 5, n_samples: 100, sample: 256 }
    }
}

impl Lesinn {
    /// The rows that a sample of so many rows has: with more than half of them, samples would be alike, and alike to all.
    fn rows_of(&self, n_samples: usize) -> usize {
        self.sample.min(n_samples / 2).max(self.k + 1)
    }
}

impl Fit for Lesinn {
    type Learned = Samples;

    fn check(&self) -> Result<(), String> {
        if !(1..=MAX_NEIGHBORS).contains(&self.k) {
            return Err(format!("k must be between 1 and {MAX_NEIGHBORS}"));
        }
        if !(1..=MAX_SAMPLES).contains(&self.n_samples) {
            return Err(format!("n_samples must be between 1 and {MAX_SAMPLES}"));
        }
        if self.sample <= self.k || self.sample > MAX_SAMPLE {
            return Err(format!("sample must be larger than k, which is {}, and at most {MAX_SAMPLE}", self.k));
        }
        if self.n_samples * self.sample > MAX_ROWS {
            return Err(format!("n_samples times sample must be at most {MAX_ROWS}"));
        }
        Ok(())
    }

    fn fit(&self, x: &Matrix, context: &Context<'_>) -> Result<Samples, FitError> {
        let (n_samples, n_features) = (x.n_samples(), x.n_features());
        if n_samples <= self.k {
            let why = format!("k = {} neighbours", self.k);
            return Err(FitError::TooFewRows { n_samples, needed: self.k + 1, why });
        }
        if x.is_constant() {
            return Err(FitError::AllEqual { n_samples });
        }
        let rows = self.rows_of(n_samples);
        let mut values = vec![0.0; self.n_samples * rows * n_features]; // (n_samples, sample, n_features)
        let mut places = vec![0; self.n_samples * rows]; // (n_samples, sample)
        let samples = values.par_chunks_mut(rows * n_features).zip(places.par_chunks_mut(rows));
        samples.enumerate().for_each(|(number, (sample, places))| {
            let mut rng = Stream::Sample.nth(context.seed, number);
            let drawn = index::sample(&mut rng, n_samples, rows);
            for ((row, place), index) in sample.chunks_exact_mut(n_features).zip(places).zip(drawn) {
                row.copy_from_slice(x.row(index));
                *place = neighborhood::place(index);
            }
            (context.on_step)();
        });
        let rows_of_samples = Array::new([self.n_samples, rows, n_features], values);
        Ok(Samples { k: self.k, rows: rows_of_samples, places: Some(Array::new([self.n_samples, rows], places)) })
    }

    fn n_steps(&self) -> u64 {
        self.n_samples as u64
    }
}

/// Samples of the history, and which neighbour is looked at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Samples {
    k: usize,
    /// `(n_samples, sample, n_features)`
    rows: Array<f32>,
    /// The places that these rows had in the fit: `(n_samples, sample)`; models of earlier builds do not know them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    places: Option<Array<i32>>,
}

impl Learned for Samples {
    fn check(&self, n_features: usize) -> Result<(), String> {
        let &[n_samples, sample, _] = self.rows.shape() else {
            return Err("its samples do not have three dimensions".into());
        };
        if !(1..=MAX_SAMPLES).contains(&n_samples) || sample > MAX_SAMPLE || !(1..sample).contains(&self.k) {
            return Err(format!("it has {n_samples} samples of {sample} rows for k = {} neighbours", self.k));
        }
        if !self.rows.has_shape(&[n_samples, sample, n_features]) {
            return Err(format!("its samples are not {sample} rows of {n_features} features each"));
        }
        if !self.rows.is_finite() {
            return Err("its samples are not finite".into());
        }
        if self.places.as_ref().is_some_and(|places| !places.has_shape(&[n_samples, sample])) {
            return Err(format!("it has not one place in the fit for each of {sample} rows of {n_samples} samples"));
        }
        Ok(())
    }

    fn arrays(&mut self) -> Vec<(&'static str, ArrayMut<'_>)> {
        let places = self.places.as_mut().map(|places| ("places", ArrayMut::I32(places)));
        std::iter::once(("rows", ArrayMut::F32(&mut self.rows))).chain(places).collect()
    }

    /// Samples are so small that every device scores on the CPU.
    fn on_device(&self, _device: &Device) -> Box<dyn Score> {
        Box::new(score::SampleScore::new(self))
    }
}

#[cfg(test)]
mod tests;
