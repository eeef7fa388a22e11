//! What a threshold makes of labelled rows.

/// How many rows of each kind were reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Confusion {
    /// Anomalies that were reported.
    pub true_positives: u64,
    /// Normal rows that were reported: false alarms.
    pub false_positives: u64,
    /// Anomalies that were not.
    pub false_negatives: u64,
    /// Normal rows that were not.
    pub true_negatives: u64,
}

impl Confusion {
    /// Counts rows, of which each comes as whether it was reported and whether it is an anomaly.
    pub fn of(rows: impl IntoIterator<Item = (bool, bool)>) -> Self {
        let mut counts = Self::default();
        for (is_reported, is_anomaly) in rows {
            *match (is_reported, is_anomaly) {
                (true, true) => &mut counts.true_positives,
                (true, false) => &mut counts.false_positives,
                (false, true) => &mut counts.false_negatives,
                (false, false) => &mut counts.true_negatives,
            } += 1;
        }
        counts
    }

    /// The share of what was reported that is an anomaly; 0 when nothing was reported.
    pub fn precision(self) -> f64 {
        share(self.true_positives, self.false_positives)
    }

    /// The share of anomalies that were reported; 0 when there is none.
    pub fn recall(self) -> f64 {
        share(self.true_positives, self.false_negatives)
    }

    /// The harmonic mean of precision and recall; 0 when no anomaly was reported.
    pub fn f1(self) -> f64 {
        share(2 * self.true_positives, self.false_positives + self.false_negatives)
    }

    /// The share of normal rows that were reported; 0 when there is none.
    pub fn false_alarm_rate(self) -> f64 {
        share(self.false_positives, self.true_negatives)
    }
}

/// `part` of `part + rest`.
fn share(part: u64, rest: u64) -> f64 {
    if part == 0 { 0.0 } else { part as f64 / (part + rest) as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn nothing_reported_is_no_division_by_zero() {
        let counts = Confusion::of([(false, true), (false, false)]);
        assert_eq!((counts.precision(), counts.recall(), counts.f1(), counts.false_alarm_rate()), (0.0, 0.0, 0.0, 0.0));
    }

    proptest! {
        #[test]
        fn f1_is_the_harmonic_mean(rows in proptest::collection::vec(any::<(bool, bool)>(), 0..80)) {
            let counts = Confusion::of(rows.iter().copied());
            let (precision, recall) = (counts.precision(), counts.recall());
            let expected = if precision + recall > 0.0 { 2.0 * precision * recall / (precision + recall) } else { 0.0 };
            prop_assert!((counts.f1() - expected).abs() < 1e-12);
            let total = counts.true_positives + counts.false_positives + counts.false_negatives + counts.true_negatives;
            prop_assert_eq!(total, rows.len() as u64);
        }
    }
}
