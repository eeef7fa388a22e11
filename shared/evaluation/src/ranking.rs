//! Rows from the highest score to the lowest, in short: what every measure of a ranking is made of.

use rayon::prelude::*;

use super::EvaluationError;

/// The distinct scores of anomalies, falling, and where the normal rows are between them.
///
/// Measures of a ranking change only where an anomaly is met, so this is all they need: two numbers an anomaly, however
/// many normal rows there are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ranking {
    pub(super) steps: Vec<Step>,
    /// Normal rows below the last anomaly.
    pub(super) below: u64,
    pub(super) n_anomalies: u64,
    pub(super) n_normal: u64,
}

/// A score that anomalies have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Step {
    /// Normal rows above it, and below the score before.
    pub above: u64,
    /// Normal rows with this very score.
    pub tied: u64,
    /// Anomalies with it.
    pub anomalies: u64,
}

impl Ranking {
    /// Ranks rows by their `scores` `(n_samples)`, of which `is_anomaly` `(n_samples)` tells what they are.
    ///
    /// # Errors
    /// [`EvaluationError`] unless there are rows of both kinds and a label a score.
    pub fn new(scores: &[f32], is_anomaly: &[bool]) -> Result<Self, EvaluationError> {
        let n_samples = scores.len();
        if n_samples != is_anomaly.len() {
            return Err(EvaluationError::Lengths { n_scores: n_samples, n_labels: is_anomaly.len() });
        }
        let mut rows: Vec<(f32, bool)> = scores.iter().copied().zip(is_anomaly.iter().copied()).collect();
        // Rows with one score are counted together, so their order among themselves does not matter.
        rows.par_sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
        let (mut steps, mut passed) = (Vec::new(), 0);
        for tied in rows.chunk_by(|a, b| a.0 == b.0) {
            let anomalies = tied.iter().filter(|row| row.1).count() as u64;
            let normal = tied.len() as u64 - anomalies;
            if anomalies == 0 {
                passed += normal;
            } else {
                steps.push(Step { above: std::mem::take(&mut passed), tied: normal, anomalies });
            }
        }
        let n_anomalies = steps.iter().map(|step| step.anomalies).sum();
        match (n_anomalies, n_samples as u64 - n_anomalies) {
            (0, _) => Err(EvaluationError::NoAnomaly { n_samples }),
            (_, 0) => Err(EvaluationError::NothingNormal { n_samples }),
            (_, n_normal) => Ok(Self { steps, below: passed, n_anomalies, n_normal }),
        }
    }

    /// How many anomalies there are.
    pub fn n_anomalies(&self) -> u64 {
        self.n_anomalies
    }

    /// How many normal rows there are.
    pub fn n_normal(&self) -> u64 {
        self.n_normal
    }

    /// The area under the receiver operating characteristic: the probability that an anomaly scores higher than a normal
    /// row does, a tie counted half. It is the statistic of Mann and Whitney (Annals of Mathematical Statistics 18, 1947)
    /// by the number of pairs; Hanley and McNeil, Radiology 143, 1982.
    pub fn roc_auc(&self) -> f64 {
        let (mut higher, mut doubled) = (0, 0u128);
        for step in &self.steps {
            higher += step.above;
            // Twice the pairs that this score wins: the normal rows below it, and half of those it ties with.
            let below = self.n_normal - higher - step.tied;
            doubled += u128::from(step.anomalies) * u128::from(2 * below + step.tied);
            higher += step.tied;
        }
        let pairs = u128::from(self.n_anomalies) * u128::from(self.n_normal);
        doubled as f64 / (2.0 * pairs as f64)
    }

    /// Average precision, as scikit-learn defines it: the sum over thresholds, each distinct score one, of the precision
    /// there times what recall gains. There is no interpolation, which would be too optimistic (Davis and Goadrich, ICML
    /// 2006).
    pub fn average_precision(&self) -> f64 {
        let (mut anomalies, mut normal, mut sum) = (0, 0, 0.0);
        // A resampled step may have lost its anomalies, and then recall gains nothing there.
        for step in &self.steps {
            anomalies += step.anomalies;
            normal += step.above + step.tied;
            if step.anomalies == 0 {
                continue;
            }
            sum += step.anomalies as f64 * (anomalies as f64 / (anomalies + normal) as f64);
        }
        sum / self.n_anomalies as f64
    }

    /// How many anomalies are among the `n` rows with the highest scores. Of rows that tie for the last places, the share
    /// counts that a draw among them would give on average.
    pub fn anomalies_among_first(&self, n: u64) -> f64 {
        let (mut found, mut rows) = (0, 0);
        for step in &self.steps {
            rows += step.above;
            let tied = step.tied + step.anomalies;
            if rows + tied >= n && tied > 0 {
                let places = n.saturating_sub(rows);
                return found as f64 + places as f64 * step.anomalies as f64 / tied as f64;
            }
            rows += tied;
            found += step.anomalies;
        }
        found as f64
    }

    /// Precision where as many rows are reported as there are anomalies; recall is the same number there (R-precision).
    pub fn precision_at_n_anomalies(&self) -> f64 {
        self.anomalies_among_first(self.n_anomalies) / self.n_anomalies as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ranked() -> impl Strategy<Value = (Vec<f32>, Vec<bool>)> {
        proptest::collection::vec((0..12i32, any::<bool>()), 2..60)
            .prop_map(|rows| rows.into_iter().map(|(score, label)| (score as f32 / 4.0 - 1.0, label)).unzip())
            .prop_filter("both kinds", |(_, labels): &(Vec<f32>, Vec<bool>)| {
                labels.contains(&true) && labels.contains(&false)
            })
    }

    const SCORES: [f32; 12] = [0.9, 0.8, 0.8, 0.7, 0.55, 0.5, 0.5, 0.5, 0.3, 0.3, 0.2, 0.1];
    const LABELS: [u8; 12] = [1, 1, 0, 0, 1, 0, 1, 0, 0, 1, 0, 0];

    #[test]
    fn measures_are_those_of_scikit_learn() {
        // roc_auc_score and average_precision_score of scikit-learn 1.9.1.
        let ranking = Ranking::new(&SCORES, &LABELS.map(|label| label == 1)).unwrap();
        assert!((ranking.roc_auc() - 0.714_285_714_285_714_3).abs() < 1e-15);
        assert!((ranking.average_precision() - 0.653_333_333_333_333_3).abs() < 1e-15);
        // The first five rows hold three anomalies; of the sixth to eighth, which tie, one is an anomaly.
        assert_eq!(ranking.precision_at_n_anomalies(), 3.0 / 5.0);
        assert!((ranking.anomalies_among_first(6) - (3.0 + 1.0 / 3.0)).abs() < 1e-15);
    }

    #[test]
    fn both_kinds_of_rows_are_needed() {
        assert_eq!(Ranking::new(&[1.0, 2.0], &[false; 2]), Err(EvaluationError::NoAnomaly { n_samples: 2 }));
        assert_eq!(Ranking::new(&[1.0, 2.0], &[true; 2]), Err(EvaluationError::NothingNormal { n_samples: 2 }));
        assert_eq!(Ranking::new(&[], &[]), Err(EvaluationError::NoAnomaly { n_samples: 0 }));
        assert_eq!(Ranking::new(&[1.0], &[]), Err(EvaluationError::Lengths { n_scores: 1, n_labels: 0 }));
    }

    #[test]
    fn minus_zero_is_zero() {
        let ranking = Ranking::new(&[0.0, -0.0], &[true, false]).unwrap();
        assert_eq!(ranking.roc_auc(), 0.5);
    }

    proptest! {
        #[test]
        fn the_area_is_the_share_of_pairs_in_order((scores, labels) in ranked()) {
            let of = |wanted| scores.iter().zip(&labels).filter(move |row| *row.1 == wanted).map(|row| *row.0);
            let mut won = 0.0;
            for anomaly in of(true) {
                for normal in of(false) {
                    won += if anomaly > normal { 1.0 } else if anomaly == normal { 0.5 } else { 0.0 };
                }
            }
            let expected = won / (of(true).count() * of(false).count()) as f64;
            prop_assert!((Ranking::new(&scores, &labels).unwrap().roc_auc() - expected).abs() < 1e-12);
        }

        #[test]
        fn average_precision_is_its_definition((scores, labels) in ranked()) {
            let mut thresholds = scores.clone();
            thresholds.sort_by(|a, b| b.total_cmp(a));
            thresholds.dedup();
            let total = labels.iter().filter(|label| **label).count() as f64;
            let (mut recall_before, mut expected) = (0.0, 0.0);
            for threshold in thresholds {
                let reported: Vec<bool> =
                    scores.iter().zip(&labels).filter(|row| *row.0 >= threshold).map(|row| *row.1).collect();
                let found = reported.iter().filter(|label| **label).count() as f64;
                expected += (found / total - recall_before) * found / reported.len() as f64;
                recall_before = found / total;
            }
            prop_assert!((Ranking::new(&scores, &labels).unwrap().average_precision() - expected).abs() < 1e-12);
        }

        #[test]
        fn the_order_of_rows_does_not_matter((scores, labels) in ranked(), turn in 0..60usize) {
            let (mut turned_scores, mut turned_labels) = (scores.clone(), labels.clone());
            let turn = turn % scores.len();
            turned_scores.rotate_left(turn);
            turned_labels.rotate_left(turn);
            prop_assert_eq!(Ranking::new(&scores, &labels), Ranking::new(&turned_scores, &turned_labels));
        }

        #[test]
        fn among_the_first_is_the_mean_over_all_orders_of_ties((scores, labels) in ranked(), n in 0..70u64) {
            let ranking = Ranking::new(&scores, &labels).unwrap();
            let n = n.min(scores.len() as u64);
            let mut sorted = scores.clone();
            sorted.sort_by(|a, b| b.total_cmp(a));
            let Some(&last) = sorted.get((n as usize).wrapping_sub(1)) else {
                prop_assert_eq!(ranking.anomalies_among_first(0), 0.0);
                return Ok(());
            };
            let count = |keep: &dyn Fn(f32) -> bool| {
                let kept = scores.iter().zip(&labels).filter(|row| keep(*row.0));
                kept.fold((0.0, 0.0), |(rows, found), row| (rows + 1.0, found + f64::from(u8::from(*row.1))))
            };
            let (above, tied) = (count(&|score| score > last), count(&|score| score == last));
            let expected = above.1 + (n as f64 - above.0) * tied.1 / tied.0;
            prop_assert!((ranking.anomalies_among_first(n) - expected).abs() < 1e-9);
        }
    }
}
