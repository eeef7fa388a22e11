//! Where a score comes from.

use clustering::matrix::Matrix;

use super::{Score, Scores};

/// What each feature has to do with a row's score.
#[derive(Debug, Clone, PartialEq)]
pub struct Explanation {
    /// What each feature adds to the score: `(n_features)`. An exact explanation adds up to the score; a part may be
    /// negative, where a feature speaks for the row.
    pub contributions: Vec<f32>,
    /// The scaled value that would have been normal: `(n_features)`.
    pub expected: Vec<f32>,
    /// Whether the contributions are only an approximation.
    pub is_approximate: bool,
}

/// By how much each row's score falls when one feature is `typical`, feature by feature; what is below 0 counts as 0.
///
/// All rows with all features left out are scored in batches. Nothing is known of how features work together, so the
/// explanation is approximate, and does not add up to the score.
pub fn leave_one_feature_out(detector: &dyn Score, x: &Matrix, scores: &Scores, typical: &[f32]) -> Vec<Explanation> {
    /// Rows that are scored at a time.
    const ROWS_A_BATCH: usize = 1 << 14;
    let n_features = x.n_features();
    let mut explanations = Vec::with_capacity(x.n_samples());
    let rows_a_batch = (ROWS_A_BATCH / n_features).max(1);
    for (chunk, scores) in x.values().chunks(rows_a_batch * n_features).zip(scores.values.chunks(rows_a_batch)) {
        let mut altered = Vec::with_capacity(chunk.len() * n_features); // (n_rows * n_features, n_features)
        for row in chunk.chunks_exact(n_features) {
            for (index, &value) in typical.iter().enumerate() {
                altered.extend_from_slice(row);
                let last_row = altered.len() - n_features;
                altered[last_row + index] = value;
            }
        }
        let without = detector.score(&Matrix::from_values(n_features, altered)).values; // (n_rows * n_features)
        for (without, &score) in without.chunks_exact(n_features).zip(scores) {
            explanations.push(Explanation {
                contributions: without.iter().map(|without| (score - without).max(0.0)).collect(),
                expected: typical.to_vec(),
                is_approximate: true,
            });
        }
    }
    explanations
}
