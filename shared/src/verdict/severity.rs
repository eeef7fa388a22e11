//! How bad an anomaly is, in four levels.

use serde::{Deserialize, Serialize};

/// How bad an anomaly is.
///
/// Two things are known of an anomaly: how rare its score is (the p-value) and how far the score is beyond the threshold (the
/// ratio of the two). Three conditions are asked, and the level is how many of them hold, from `Low` for none:
///
/// | what is known | the conditions |
/// | --- | --- |
/// | p-value and ratio | ratio at least 2; ratio at least 10; p-value at most 0.001 |
/// | ratio alone (`zscore-window`, and models that were imported without a history) | ratio at least 2; at least 5; at least 10 |
/// | p-value alone (a threshold of 0 or less has no ratio) | p-value at most 0.005; at most 0.001; at most 0.0001 |
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Just beyond the threshold.
    Low,
    /// One condition holds.
    Medium,
    /// Two conditions hold.
    High,
    /// All conditions hold.
    Critical,
}

impl Severity {
    /// Every level, the lowest first.
    pub const ALL: [Self; 4] = [Self::Low, Self::Medium, Self::High, Self::Critical];

    /// The level of an anomaly with this p-value and this ratio of score to threshold, as far as they are known.
    pub fn of(p_value: Option<f64>, ratio: Option<f64>) -> Self {
        let conditions = match (p_value, ratio) {
            (Some(p_value), Some(ratio)) => [ratio >= 2.0, ratio >= 10.0, p_value <= 0.001],
            (None, Some(ratio)) => [ratio >= 2.0, ratio >= 5.0, ratio >= 10.0],
            (Some(p_value), None) => [p_value <= 0.005, p_value <= 0.001, p_value <= 0.0001],
            (None, None) => [false; 3],
        };
        Self::ALL[conditions.into_iter().filter(|holds| *holds).count()]
    }

    /// Its name, in messages and headers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_level_is_how_many_conditions_hold() {
        let of = |p_value, ratio| Severity::of(p_value, ratio).name();
        assert_eq!(of(Some(0.008), Some(1.2)), "low");
        assert_eq!(of(Some(0.008), Some(3.0)), "medium");
        assert_eq!(of(Some(0.0005), Some(1.2)), "medium");
        assert_eq!(of(Some(0.0005), Some(3.0)), "high");
        assert_eq!(of(Some(0.008), Some(30.0)), "high");
        assert_eq!(of(Some(0.0005), Some(30.0)), "critical");
        assert_eq!([1.1, 2.0, 5.0, 10.0].map(|ratio| of(None, Some(ratio))), ["low", "medium", "high", "critical"]);
        assert_eq!([0.01, 0.005, 0.001, 1e-4].map(|p| of(Some(p), None)), ["low", "medium", "high", "critical"]);
        assert_eq!(of(None, None), "low");
    }

    proptest! {
        #[test]
        fn a_rarer_or_larger_score_is_never_less_severe(
            p in 1e-6f64..1.0, ratio in 1.0f64..1e3, less in 0.0f64..1.0, more in 1.0f64..100.0,
        ) {
            prop_assert!(Severity::of(Some(p * less), Some(ratio * more)) >= Severity::of(Some(p), Some(ratio)));
            prop_assert!(Severity::of(None, Some(ratio * more)) >= Severity::of(None, Some(ratio)));
            prop_assert!(Severity::of(Some(p * less), None) >= Severity::of(Some(p), None));
        }
    }
}
