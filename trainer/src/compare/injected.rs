//! Anomalies that are made, to have something to find where nobody knows the real ones.
//!
//! Kinds are those of the literature on synthetic anomalies (Steinbuss and Böhm, "Benchmarking Unsupervised Outlier
//! Detection with Realistic Synthetic Data", ACM TKDD 15, 2021; Han et al., "ADBench", NeurIPS 2022): some are too large, some
//! combine what does not belong together, some come in a bunch. How well a detector finds them says what kinds it sees, and
//! not how many real anomalies it would find.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use shared::evaluation::{EvaluationError, Ranking};
use shared::matrix::FeatureMatrix;

/// The share of the scored rows that is made of each kind, and least and most of them.
const SHARE: f64 = 0.01;
const LEAST: usize = 20;
const MOST: usize = 2000;

/// Rows that spreads are taken of, at most.
const ROWS_TO_LOOK_AT: usize = 100_000;

/// A kind of anomaly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InjectedKind {
    /// A row of which one feature is 3 to 10 spreads beyond where it was, away from the middle.
    Global,
    /// A row each feature of which is another row's: usual values that do not belong together.
    Dependency,
    /// Rows close to each other and 3 spreads from the middle.
    Clustered,
}

impl InjectedKind {
    /// All of them, in order.
    pub const ALL: [Self; 3] = [Self::Global, Self::Dependency, Self::Clustered];

    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Global => "global",
            Self::Dependency => "dependency",
            Self::Clustered => "clustered",
        }
    }
}

/// Anomalies that were made, so many of each kind, one kind after the other.
#[derive(Debug, Clone)]
pub struct Synthetic {
    /// The rows: `(3 * n_of_each, n_features)`.
    pub rows: FeatureMatrix,
    /// How many of each kind.
    pub n_of_each: usize,
}

/// How well anomalies are found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Found {
    /// Area under the ROC curve.
    pub roc_auc: f64,
    /// Average precision.
    pub average_precision: f64,
}

/// How well anomalies that were made are found among rows that are taken for normal.
#[derive(Debug, Clone, PartialEq)]
pub struct SyntheticMeasures {
    /// All kinds together.
    pub all: Found,
    /// Each kind by itself.
    pub by_kind: [(InjectedKind, Found); 3],
}

impl Synthetic {
    /// Makes anomalies of `rows`, which are whole and at least one; the same seed makes the same.
    pub fn new(rows: &FeatureMatrix, seed: u64) -> Self {
        let n_of_each = ((rows.n_samples() as f64 * SHARE) as usize).clamp(LEAST, MOST);
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let features: Vec<Spread> = (0..rows.n_features()).map(|index| Spread::of(rows, index)).collect();
        let mut made = FeatureMatrix::new(rows.n_features());
        for kind in InjectedKind::ALL {
            let mut maker = Maker { rows, features: &features, rng: &mut rng };
            let center = maker.far_point();
            for _ in 0..n_of_each {
                let row = match kind {
                    InjectedKind::Global => maker.global(),
                    InjectedKind::Dependency => maker.mixed(),
                    InjectedKind::Clustered => maker.near(&center),
                };
                made.push(&row);
            }
        }
        Self { rows: made, n_of_each }
    }

    /// Measures scores of the rows that are taken for normal, and of those that were made.
    ///
    /// # Errors
    /// When there is no row that is taken for normal.
    pub fn measure(&self, normal: &[f32], made: &[f32]) -> Result<SyntheticMeasures, EvaluationError> {
        let found = |made: &[f32]| {
            let scores = [normal, made].concat();
            let labels: Vec<bool> = (0..scores.len()).map(|row| row >= normal.len()).collect();
            let ranking = Ranking::new(&scores, &labels)?;
            Ok(Found { roc_auc: ranking.roc_auc(), average_precision: ranking.average_precision() })
        };
        let of_kind = |index: usize| found(&made[index * self.n_of_each..][..self.n_of_each]);
        Ok(SyntheticMeasures {
            all: found(made)?,
            by_kind: [
                (InjectedKind::ALL[0], of_kind(0)?),
                (InjectedKind::ALL[1], of_kind(1)?),
                (InjectedKind::ALL[2], of_kind(2)?),
            ],
        })
    }
}

/// Where a feature's values are.
struct Spread {
    middle: f64,
    /// Above 0, unless the feature is constant.
    spread: f64,
}

impl Spread {
    /// Median and interquartile range; standard deviation where that is 0.
    fn of(rows: &FeatureMatrix, index: usize) -> Self {
        let step = rows.n_samples().div_ceil(ROWS_TO_LOOK_AT).max(1);
        let mut values: Vec<f64> = rows.column(index).step_by(step).collect();
        values.sort_by(f64::total_cmp);
        let at = |share: f64| values[((values.len() - 1) as f64 * share).round() as usize];
        let (middle, range) = (at(0.5), at(0.75) - at(0.25));
        if values.first() == values.last() {
            // What rounding would make of it is no spread.
            return Self { middle, spread: 0.0 };
        }
        let n = values.len() as f64;
        let mean = values.iter().map(|value| value / n).sum::<f64>();
        let deviation = values.iter().map(|value| (value - mean) * (value - mean) / n).sum::<f64>().sqrt();
        let spread = if range > 0.0 { range } else { deviation };
        Self { middle, spread: if spread.is_finite() { spread } else { 0.0 } }
    }
}

struct Maker<'a> {
    rows: &'a FeatureMatrix,
    features: &'a [Spread],
    rng: &'a mut ChaCha8Rng,
}

impl Maker<'_> {
    fn some_row(&mut self) -> &[f64] {
        let (index, width) = (self.rng.random_range(0..self.rows.n_samples()), self.rows.n_features());
        &self.rows.values()[index * width..][..width]
    }

    fn global(&mut self) -> Vec<f64> {
        let mut row = self.some_row().to_vec();
        let feature = self.varying_feature();
        let (Spread { middle, spread }, far) = (&self.features[feature], 3.0 + 7.0 * self.rng.random::<f64>());
        let side = match row[feature] - middle {
            distance if distance < 0.0 => -1.0,
            distance if distance > 0.0 => 1.0,
            _ => self.sign(),
        };
        row[feature] += side * far * spread;
        row
    }

    /// A feature that varies, where one does.
    fn varying_feature(&mut self) -> usize {
        let varying: Vec<usize> = (0..self.features.len()).filter(|&index| self.features[index].spread > 0.0).collect();
        if varying.is_empty() { 0 } else { varying[self.rng.random_range(0..varying.len())] }
    }

    fn mixed(&mut self) -> Vec<f64> {
        (0..self.features.len()).map(|index| self.some_row()[index]).collect()
    }

    fn far_point(&mut self) -> Vec<f64> {
        let features = self.features;
        features.iter().map(|feature| feature.middle + self.sign() * 3.0 * feature.spread).collect()
    }

    fn near(&mut self, center: &[f64]) -> Vec<f64> {
        let features = self.features;
        let around =
            |(center, feature): (&f64, &Spread)| center + 0.1 * feature.spread * (2.0 * self.rng.random::<f64>() - 1.0);
        center.iter().zip(features).map(around).collect()
    }

    fn sign(&mut self) -> f64 {
        if self.rng.random::<bool>() { 1.0 } else { -1.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> FeatureMatrix {
        // Two features that go together, and one that never changes.
        FeatureMatrix::from_values(3, (0..600).flat_map(|row| [f64::from(row), f64::from(2 * row), 5.0]).collect())
    }

    #[test]
    fn each_kind_is_what_it_is_called() {
        let made = Synthetic::new(&rows(), 1);
        assert_eq!((made.n_of_each, made.rows.n_samples()), (20, 60));
        let rows: Vec<&[f64]> = made.rows.rows().collect();
        let goes_together = |row: &[f64]| (row[1] - 2.0 * row[0]).abs() < 1e-9;
        let is_usual = |row: &[f64]| (0.0..600.0).contains(&row[0]) && (0.0..1200.0).contains(&row[1]);
        assert!(rows[..20].iter().all(|row| !is_usual(row) && !goes_together(row)));
        assert!(rows[20..40].iter().all(|row| is_usual(row)));
        assert!(rows[20..40].iter().filter(|row| !goes_together(row)).count() >= 18);
        assert!(rows[40..].iter().all(|row| !is_usual(row) && (row[0] - rows[40][0]).abs() <= 0.2 * 300.0));
        assert!(rows.iter().all(|row| row[2] == 5.0), "what never changes is left as it is");
    }

    #[test]
    fn the_same_seed_makes_the_same() {
        let of = |seed| Synthetic::new(&rows(), seed).rows;
        assert_eq!(of(1), of(1));
        assert_ne!(of(1), of(2));
    }

    #[test]
    fn rows_that_are_all_equal_are_no_fault() {
        let made = Synthetic::new(&FeatureMatrix::from_values(2, vec![1.0; 10]), 1);
        assert!(made.rows.values().iter().all(|value| *value == 1.0));
    }

    #[test]
    fn kinds_are_measured_by_themselves() {
        let made = Synthetic { rows: FeatureMatrix::from_values(1, vec![0.0; 3]), n_of_each: 1 };
        let measures = made.measure(&[0.0, 1.0], &[2.0, 0.5, -1.0]).unwrap();
        assert_eq!(measures.by_kind.map(|(_, found)| found.roc_auc), [1.0, 0.5, 0.0]);
        assert_eq!(measures.all.roc_auc, 0.5);
        assert!(made.measure(&[], &[0.0; 3]).is_err());
    }
}
