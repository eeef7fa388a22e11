//! Which rows detectors are fitted on, and which they are judged by.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use shared::matrix::FeatureMatrix;

/// How rows are told apart.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Split {
    /// All rows are fitted on, and all are scored.
    AllRows,
    /// The last share of the rows is scored.
    Later(f64),
    /// A share of the rows is drawn and scored; of anomalies and normal rows alike, where they are known.
    Random(f64),
}

/// Indices of rows, rising.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parts {
    /// What is fitted on.
    pub fit: Vec<u32>,
    /// What is scored.
    pub test: Vec<u32>,
}

impl Split {
    /// Splits `n_samples` rows, whose labels may be known; the same seed gives the same parts.
    ///
    /// Where there are rows enough, both parts have some; of anomalies, the part that is scored has the first.
    pub fn parts(self, n_samples: usize, labels: Option<&[bool]>, seed: u64) -> Parts {
        let all = || 0..n_samples as u32;
        match self {
            Self::AllRows => Parts { fit: all().collect(), test: all().collect() },
            Self::Later(share) => {
                let cut = (n_samples - n_scored(n_samples, share)) as u32;
                Parts { fit: (0..cut).collect(), test: (cut..n_samples as u32).collect() }
            }
            Self::Random(share) => {
                let mut rng = ChaCha8Rng::seed_from_u64(seed);
                let (mut fit, mut test) = (Vec::new(), Vec::new());
                for kind in [false, true] {
                    let is_of_kind = |row: &u32| labels.is_some_and(|labels| labels[*row as usize]) == kind;
                    let mut rows: Vec<u32> = all().filter(is_of_kind).collect();
                    rows.shuffle(&mut rng);
                    let n_test = n_scored(rows.len(), share);
                    test.extend_from_slice(&rows[..n_test]);
                    fit.extend_from_slice(&rows[n_test..]);
                }
                fit.sort_unstable();
                test.sort_unstable();
                Parts { fit, test }
            }
        }
    }
}

/// How many of `n` rows are scored: the share, but at least one and, where there are two, not all.
fn n_scored(n: usize, share: f64) -> usize {
    ((n as f64 * share).round() as usize).clamp(1, n.saturating_sub(1).max(1)).min(n)
}

/// The rows with these indices.
pub fn gather(rows: &FeatureMatrix, indices: &[u32]) -> FeatureMatrix {
    let width = rows.n_features();
    let mut values = Vec::with_capacity(indices.len() * width);
    for &index in indices {
        values.extend_from_slice(&rows.values()[index as usize * width..][..width]);
    }
    FeatureMatrix::from_values(width, values)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_row_is_in_one_part_and_kinds_are_shared_out(
            labels in proptest::collection::vec(any::<bool>(), 4..200), share in 0.05..0.95f64, seed in any::<u64>()
        ) {
            let count = |rows: &[u32]| rows.iter().filter(|row| labels[**row as usize]).count();
            let total = labels.iter().filter(|label| **label).count();
            for split in [Split::Random(share), Split::Later(share)] {
                let parts = split.parts(labels.len(), Some(&labels), seed);
                let mut rows = [parts.fit.clone(), parts.test.clone()].concat();
                prop_assert!(parts.fit.is_sorted() && parts.test.is_sorted());
                rows.sort_unstable();
                prop_assert_eq!(rows, (0..labels.len() as u32).collect::<Vec<_>>());
                prop_assert_eq!(split.parts(labels.len(), Some(&labels), seed), parts.clone());
                if let Split::Random(_) = split {
                    let expected = (total as f64 * share).round().clamp(1.0, (total as f64 - 1.0).max(1.0));
                    prop_assert!(total == 0 || count(&parts.test) == expected as usize);
                } else {
                    prop_assert!(parts.fit.last() < parts.test.first());
                }
            }
        }
    }

    #[test]
    fn the_only_anomaly_is_scored() {
        let labels = [false, false, true, false, false];
        assert!(Split::Random(0.3).parts(5, Some(&labels), 1).test.contains(&2));
    }

    #[test]
    fn all_rows_are_both() {
        let parts = Split::AllRows.parts(3, None, 1);
        assert_eq!((parts.fit, parts.test), (vec![0, 1, 2], vec![0, 1, 2]));
    }

    #[test]
    fn another_seed_draws_others() {
        let split = |seed| Split::Random(0.5).parts(100, None, seed).test;
        assert_ne!(split(1), split(2));
    }
}
