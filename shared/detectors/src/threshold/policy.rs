//! How a threshold is asked for, and which rank among scores that is.

use serde::{Deserialize, Serialize};

/// From which score on an entity is anomalous.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ThresholdPolicy {
    /// The score that this share of the training entities does not exceed.
    Quantile(f64),
    /// The n-th largest training score.
    Top(usize),
    /// The score that a normal entity exceeds with at most this probability, by entities that were held out.
    FalseAlarmRate(f64),
    /// The same, without the largest of their scores.
    TrimmedRate(Trimmed),
    /// The score beyond which reporting costs the least, by entities that were held out and of which it is known what they are.
    Cost(Cost),
}

/// A false-alarm rate by held-out entities some of which may be anomalies.
///
/// Of `n` scores, the `m = floor(trim n)` largest are left out, and the threshold is the `k`-th largest of the others, with
/// `k = floor(rate (n - m + 1))`. Let `a <= m` of the entities be anomalies, and the others exchangeable with a normal one to
/// come. At most `m + k` normal entities, that one among them, are above the threshold, so it is with probability at most
/// `(m + k) / (n - a + 1)`; and at most `k - (m - a)` are not left out where the anomalies have the largest scores, which for
/// `a = m` is `k / (n - m + 1) <= rate`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trimmed {
    /// The probability that is asked for.
    pub false_alarm_rate: f64,
    /// The share of the largest scores that is left out.
    pub trim: f64,
}

/// What mistakes cost, in any one unit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cost {
    /// An anomaly that is not reported.
    pub missed: f64,
    /// Looking at a report.
    pub review: f64,
}

impl Cost {
    fn check(self) -> Result<(), String> {
        /// More than anything costs.
        const MOST: f64 = 1e12;
        let is_cost = |cost: f64| cost > 0.0 && cost <= MOST;
        if !(is_cost(self.missed) && is_cost(self.review)) {
            return Err("cost: missed and review must be above 0 and at most 1e12, such as 120 and 4".into());
        }
        if self.missed <= self.review {
            return Err(
                "cost: missed must be above review: where looking costs as much as missing, nothing is worth a look"
                    .into(),
            );
        }
        Ok(())
    }
}

impl Trimmed {
    /// How many of so many scores are left out.
    pub(super) fn n_out(self, n_samples: usize) -> usize {
        (self.trim * n_samples as f64 * (1.0 + 1e-12)).floor() as usize
    }
}

impl ThresholdPolicy {
    /// Checks what can be checked without data.
    ///
    /// # Errors
    /// The problem, and a suggestion.
    pub fn check(self) -> Result<(), String> {
        match self {
            Self::Quantile(q) if !(q > 0.0 && q < 1.0) => Err("quantile must be between 0 and 1, such as 0.99".into()),
            Self::FalseAlarmRate(rate) if !(rate > 0.0 && rate < 1.0) => {
                Err("false_alarm_rate must be between 0 and 1, such as 0.001".into())
            }
            Self::TrimmedRate(Trimmed { false_alarm_rate: rate, .. }) if !(rate > 0.0 && rate < 1.0) => {
                Err("trimmed_rate: false_alarm_rate must be between 0 and 1, such as 0.001".into())
            }
            Self::TrimmedRate(Trimmed { trim, .. }) if !(trim > 0.0 && trim <= 0.5) => {
                Err("trimmed_rate: trim must be above 0 and at most 0.5, such as 0.01".into())
            }
            Self::Top(0) => Err("top must be above 0".into()),
            Self::Cost(cost) => cost.check(),
            _ => Ok(()),
        }
    }

    /// Whether only the scores of usual entities count, where the detector knows which are: then anomalies in the history, which
    /// have a cluster of their own, do not raise the threshold. A promise of [`FalseAlarmRate`](Self::FalseAlarmRate) is one to
    /// the entities in usual clusters: they are a category of their own, with its own exchangeable scores.
    pub fn is_of_usual(self) -> bool {
        !matches!(self, Self::Top(_) | Self::Cost(_))
    }

    /// Whether the scores have to be of entities that were held out of the training.
    pub fn needs_calibration(self) -> bool {
        self.rate().is_some() || self.needs_labels()
    }

    /// Whether it has to be known which of those entities are anomalies.
    pub fn needs_labels(self) -> bool {
        matches!(self, Self::Cost(_))
    }

    /// The false-alarm rate that was asked for, where it is one.
    pub fn rate(self) -> Option<f64> {
        match self {
            Self::FalseAlarmRate(rate) | Self::TrimmedRate(Trimmed { false_alarm_rate: rate, .. }) => Some(rate),
            Self::Quantile(_) | Self::Top(_) | Self::Cost(_) => None,
        }
    }

    /// How many of so many scores are left out, the largest ones.
    pub(super) fn n_out(self, n_samples: usize) -> usize {
        if let Self::TrimmedRate(trimmed) = self { trimmed.n_out(n_samples) } else { 0 }
    }

    /// How many scores it takes at least.
    pub(super) fn needed(self) -> usize {
        match self {
            Self::Top(top) => top,
            Self::Cost(_) => 1,
            Self::Quantile(q) => (1.0 / (1.0 - q) - 1e-9).ceil() as usize,
            Self::FalseAlarmRate(rate) => (1.0 / rate - 1e-9).ceil() as usize - 1,
            // So many that enough are left when the largest are out.
            Self::TrimmedRate(trimmed) => {
                let left = Self::FalseAlarmRate(trimmed.false_alarm_rate).needed();
                (left..).find(|&n| n - trimmed.n_out(n) >= left).unwrap_or(usize::MAX)
            }
        }
    }

    /// The rank of the threshold among `n_samples` scores, the largest being the first; 0 where there are too few, or where scores
    /// alone do not tell.
    pub(super) fn rank(self, n_samples: usize) -> usize {
        match self {
            Self::Cost(_) => 0,
            Self::Top(top) if top > n_samples => 0,
            Self::Top(top) => top,
            // The smallest score that at least this share does not exceed.
            Self::Quantile(_) if n_samples == 0 => 0,
            Self::Quantile(q) => n_samples + 1 - ((q * n_samples as f64).ceil() as usize).clamp(1, n_samples),
            Self::FalseAlarmRate(rate) => rank_for(rate, n_samples),
            Self::TrimmedRate(Trimmed { false_alarm_rate: rate, .. }) => {
                let n_out = self.n_out(n_samples);
                match rank_for(rate, n_samples - n_out) {
                    0 => 0,
                    rank => n_out + rank,
                }
            }
        }
    }
}

/// With k = floor(rate (n + 1)): the next score is above the k-th largest with probability k / (n + 1).
fn rank_for(rate: f64, n_samples: usize) -> usize {
    ((rate * (n_samples + 1) as f64 * (1.0 + 1e-12)).floor() as usize).min(n_samples)
}

impl std::fmt::Display for ThresholdPolicy {
    /// As the pipeline file has it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Quantile(quantile) => write!(f, "quantile = {quantile}"),
            Self::Top(top) => write!(f, "top = {top}"),
            Self::FalseAlarmRate(rate) => write!(f, "false_alarm_rate = {rate}"),
            Self::TrimmedRate(Trimmed { false_alarm_rate, trim }) => {
                write!(f, "trimmed_rate = {{ false_alarm_rate = {false_alarm_rate}, trim = {trim} }}")
            }
            Self::Cost(Cost { missed, review }) => {
                write!(f, "cost = {{ missed = {missed}, review = {review} }}")
            }
        }
    }
}
