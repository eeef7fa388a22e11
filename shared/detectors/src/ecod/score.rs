//! Scores by binary search in each feature's values.

use std::hint::select_unpredictable;

use clustering::matrix::Matrix;
use rayon::prelude::*;

use super::Tails;
use crate::{Explanation, Score, Scores};

/// Rows a task: a feature's values are searched by all of them while they are in the second-level cache.
const CHUNK: usize = 2048;

/// Rows that are searched for side by side: each step waits for memory, and the next row's does not depend on it.
const LANES: usize = 8;

#[derive(Debug)]
pub(super) struct TailScores {
    features: Vec<FeatureTails>,
    medians: Vec<f32>,
}

impl TailScores {
    /// Of tails that [`check`](crate::Learned::check) accepts.
    pub(super) fn new(tails: &Tails) -> Self {
        let n_samples = tails.n_samples as f64;
        let feature = |(values, below, up_to)| FeatureTails::new(values, below, up_to, n_samples);
        Self { features: tails.features().map(feature).collect(), medians: tails.medians.clone() }
    }

    fn score_chunk(&self, rows: &[f32], scores: &mut [f32]) {
        let n_features = self.features.len();
        let mut sums = [0.0f64; CHUNK];
        for (index, feature) in self.features.iter().enumerate() {
            for (rows, sums) in rows.chunks(LANES * n_features).zip(sums.chunks_mut(LANES)) {
                let mut values = [0.0; LANES];
                values.iter_mut().zip(rows.chunks_exact(n_features)).for_each(|(value, row)| *value = row[index]);
                for (sum, tail) in sums.iter_mut().zip(feature.smaller_tails(values)) {
                    *sum += f64::from(tail);
                }
            }
        }
        scores.iter_mut().zip(sums).for_each(|(score, sum)| *score = sum as f32);
    }
}

impl Score for TailScores {
    fn score(&self, x: &Matrix) -> Scores {
        let mut scores = vec![0.0; x.n_samples()];
        let chunks = scores.par_chunks_mut(CHUNK).zip(x.values().par_chunks(CHUNK * x.n_features()));
        chunks.for_each(|(scores, rows)| self.score_chunk(rows, scores));
        Scores::new(scores)
    }

    fn explain(&self, x: &Matrix, _scores: &Scores) -> Option<Vec<Explanation>> {
        let explain = |row: &[f32]| Explanation {
            contributions: row.iter().zip(&self.features).map(|(&x, feature)| feature.smaller_tail(x)).collect(),
            expected: self.medians.clone(),
            is_approximate: false,
        };
        Some(x.rows().map(explain).collect())
    }
}

/// `-ln` of the smaller tail, as a function of a feature's value.
#[derive(Debug)]
struct FeatureTails {
    /// As many as a power of two, so that they are searched without a branch: nothing is up to a NaN.
    values: Vec<f32>,
    /// `(n_values + 1)`: what holds up to the first value, and from each value to the next.
    pieces: Vec<Piece>,
}

/// What holds at a value, and from it to the next one.
#[derive(Debug, Clone, Copy)]
struct Piece {
    value: f32,
    /// The smaller tail at the value itself.
    at: f32,
    /// The smaller tail beyond it.
    beyond: f32,
    /// By how much it changes on the way to the next value: not at all where no row lies between them.
    slope: f32,
}

impl FeatureTails {
    fn new(values: &[f32], below: &[i32], up_to: &[i32], n_samples: f64) -> Self {
        // What no training row has is as rare as one among one row more.
        let tail = |n_rows: f64| -(n_rows.max(n_samples / (n_samples + 1.0)) / n_samples).ln();
        let smaller = |left: i32, right: i32| tail(f64::from(left)).max(tail(n_samples - f64::from(right)));
        let unseen = tail(0.0) as f32;
        let mut pieces = vec![Piece { value: f32::MIN, at: unseen, beyond: unseen, slope: 0.0 }];
        for (index, (&value, (&below_it, &up_to_it))) in values.iter().zip(below.iter().zip(up_to)).enumerate() {
            let beyond = smaller(up_to_it, up_to_it);
            let slope = match (values.get(index + 1), below.get(index + 1)) {
                (Some(&next), Some(&below_next)) => {
                    let rise = smaller(below_next, below_next) - beyond;
                    rise / (f64::from(next) - f64::from(value))
                }
                _ => 0.0,
            };
            let slope = slope.clamp(f64::from(f32::MIN), f64::from(f32::MAX)) as f32;
            pieces.push(Piece { value, at: smaller(up_to_it, below_it) as f32, beyond: beyond as f32, slope });
        }
        let mut padded = values.to_vec();
        padded.resize((values.len() + 1).next_power_of_two(), f32::NAN);
        Self { values: padded, pieces }
    }

    fn smaller_tail(&self, x: f32) -> f32 {
        let [tail, ..] = self.smaller_tails([x; LANES]);
        tail
    }

    fn smaller_tails(&self, x: [f32; LANES]) -> [f32; LANES] {
        // How many values are not greater than each x.
        let mut up_to = [0; LANES];
        let mut half = self.values.len() / 2;
        while half > 0 {
            for (up_to, x) in up_to.iter_mut().zip(x) {
                *up_to += select_unpredictable(self.values[*up_to + half - 1] <= x, half, 0);
            }
            half /= 2;
        }
        std::array::from_fn(|lane| self.pieces[up_to[lane]].smaller_tail(x[lane]))
    }
}

impl Piece {
    fn smaller_tail(&self, x: f32) -> f32 {
        if x == self.value {
            return self.at;
        }
        let rise = f64::from(self.slope) * (f64::from(x) - f64::from(self.value));
        (f64::from(self.beyond) + rise).max(0.0) as f32
    }
}
