//! ECOD: how far out in the tails of the training rows each of a row's values lies (Li, Zhao, Hu, Botta, Ionescu and Chen,
//! "ECOD: Unsupervised Outlier Detection Using Empirical Cumulative Distribution Functions", TKDE 2022).
//!
//! For each feature, with the training values `t`, a value `x` lies in a left tail of probability `P(t <= x)` and a right
//! one of `P(t >= x)`. A row's score is the sum over its features of `-ln` of the smaller tail: in nats, 0 for a value that
//! leaves nothing beyond it on either side, `ln(n)` for the least and the greatest of `n` values.
//!
//! The paper takes the largest of three sums: of left tails, of right tails, and of the tail that the sign of each
//! feature's skewness points to. Its authors' own implementation (PyOD) takes the largest of the three feature by feature
//! and sums afterwards, and so does this one: on 21 public tables it finds more. As the third is one of the other two, it
//! never decides then (but where the skewness is exactly 0, for which PyOD adds both), and is left out here.
//!
//! A value of the training rows has its score to the rounding of float32 as long as a feature has no more than
//! [`max_values`](Ecod::max_values) different ones. Of more, those are kept that divide both tails evenly in the logarithm:
//! all of the outermost, ever fewer towards the median. Between two of them the score is interpolated, and is wrong by no
//! more than the step from one to the other, below `4 ln(n) / max_values`: 0.008 nats a feature for five million rows.

mod score;
mod steps;

use burn::tensor::Device;
use clustering::matrix::Matrix;
use serde::{Deserialize, Serialize};

use super::columns::map_columns;
use super::{Array, ArrayMut, Context, Fit, FitError, Learned, Score};
use steps::Steps;

/// Most values that may be kept of a feature.
const MAX_VALUES: usize = 1 << 20;

/// Parameters of ECOD.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ecod {
    /// Most values that are kept of each feature, at 12 bytes each: from 16 to 1,048,576.
    pub max_values: usize,
}

impl Default for Ecod {
    fn default() -> Self {
        Self { max_values: 1 << 13 }
    }
}

impl Fit for Ecod {
    type Learned = Tails;

    fn check(&self) -> Result<(), String> {
        if !(16..=MAX_VALUES).contains(&self.max_values) {
            return Err(format!("max_values must be between 16 and {MAX_VALUES}"));
        }
        Ok(())
    }

    fn fit(&self, x: &Matrix, context: &Context<'_>) -> Result<Tails, FitError> {
        let (n_samples, n_features) = (x.n_samples(), x.n_features());
        if n_samples < 2 {
            return Err(FitError::TooFewRows { n_samples, needed: 2, why: "a distribution".into() });
        }
        if i32::try_from(n_samples).is_err() {
            let why = format!("at most {} rows can be counted; train on a sample of them", i32::MAX);
            return Err(FitError::TooLarge { n_samples, n_features, why });
        }
        if x.is_constant() {
            return Err(FitError::AllEqual { n_samples });
        }
        let features = map_columns(x, |values| Steps::of(values, self.max_values));
        (context.on_step)();
        Ok(Tails::of(n_samples, &features))
    }
}

/// The steps of each feature's empirical distribution, those of all features one after the other.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tails {
    /// How many rows there were.
    n_samples: usize,
    /// How many values are kept of each feature: `(n_features)`.
    n_values: Vec<usize>,
    /// Each feature's median: `(n_features)`.
    medians: Vec<f32>,
    /// Different values of each feature, rising: `(sum of n_values)`.
    values: Array<f32>,
    /// How many rows lie below each value: `(sum of n_values)`.
    below: Array<i32>,
    /// How many rows lie below it, or at it: `(sum of n_values)`.
    up_to: Array<i32>,
}

impl Tails {
    fn of(n_samples: usize, features: &[Steps]) -> Self {
        let values: Vec<f32> = features.iter().flat_map(|steps| steps.values.iter().copied()).collect();
        let below: Vec<i32> = features.iter().flat_map(|steps| steps.below.iter().copied()).collect();
        let up_to: Vec<i32> = features.iter().flat_map(|steps| steps.up_to.iter().copied()).collect();
        Self {
            n_samples,
            n_values: features.iter().map(|steps| steps.values.len()).collect(),
            medians: features.iter().map(|steps| steps.median).collect(),
            values: Array::new([values.len()], values),
            below: Array::new([below.len()], below),
            up_to: Array::new([up_to.len()], up_to),
        }
    }

    /// Each feature's values, and how many rows lie below them and up to them.
    fn features(&self) -> impl Iterator<Item = (&[f32], &[i32], &[i32])> {
        let mut start = 0;
        self.n_values.iter().map(move |&n_values| {
            let steps = start..start + n_values;
            start = steps.end;
            (&self.values.values()[steps.clone()], &self.below.values()[steps.clone()], &self.up_to.values()[steps])
        })
    }
}

impl Learned for Tails {
    fn check(&self, n_features: usize) -> Result<(), String> {
        let Some(n_samples) = i32::try_from(self.n_samples).ok().filter(|&n_samples| n_samples >= 2) else {
            return Err(format!("it cannot be of {} rows", self.n_samples));
        };
        if self.n_values.len() != n_features || self.medians.len() != n_features {
            return Err(format!("its distributions are not those of {n_features} features"));
        }
        if !self.medians.iter().all(|median| median.is_finite()) {
            return Err("a median is not finite".into());
        }
        let n_values = self.n_values.iter().try_fold(0usize, |sum, &n_values| sum.checked_add(n_values));
        let shape = [n_values.ok_or("its distributions have too many values")?];
        if !self.values.has_shape(&shape) || !self.below.has_shape(&shape) || !self.up_to.has_shape(&shape) {
            return Err(format!("its distributions do not have {} values with their counts", shape[0]));
        }
        if !self.features().all(|(values, below, up_to)| is_distribution(values, below, up_to, n_samples)) {
            return Err(format!("a distribution does not rise from value to value, up to {n_samples} rows"));
        }
        Ok(())
    }

    fn arrays(&mut self) -> Vec<(&'static str, ArrayMut<'_>)> {
        vec![
            ("values", ArrayMut::F32(&mut self.values)),
            ("below", ArrayMut::I32(&mut self.below)),
            ("up_to", ArrayMut::I32(&mut self.up_to)),
        ]
    }

    /// Two searches and a sum are less work than the way to a GPU, so every device scores on the CPU.
    fn on_device(&self, _device: &Device) -> Box<dyn Score> {
        Box::new(score::TailScores::new(self))
    }
}

/// Whether finite values rise, from the first row to the last, and with them the counts.
fn is_distribution(values: &[f32], below: &[i32], up_to: &[i32], n_samples: i32) -> bool {
    values.iter().all(|value| value.is_finite())
        && values.windows(2).all(|pair| pair[0] < pair[1])
        && below.first() == Some(&0)
        && up_to.last() == Some(&n_samples)
        && below.iter().zip(up_to).all(|(below, up_to)| below < up_to)
        && below.iter().skip(1).zip(up_to).all(|(below, before)| before <= below)
}

#[cfg(test)]
mod tests;
