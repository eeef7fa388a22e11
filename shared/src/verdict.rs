//! A verdict: what a detector says of an entity, as it goes over the wire.

use std::cmp::Ordering;

use features::zscore::WindowSummary;
use records::time::{Timestamp, format_timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::detector::{Detector, ExplainedScore};
use crate::pipeline::ZScoreSpec;

/// What is known of an entity beside its features.
#[derive(Debug, Clone, PartialEq)]
pub struct EntitySummary {
    /// Its key.
    pub key: String,
    /// How many lines it has.
    pub lines: u64,
    /// Its customer, when the pipeline names one and a line had it.
    pub customer: Option<String>,
    /// The clock's time of its first line.
    pub first_timestamp: Timestamp,
    /// The clock's time of its last line.
    pub last_timestamp: Timestamp,
    /// Whether it was closed before its time, at a limit of the pipeline: lines of it may have come later.
    pub closed_early: bool,
}

/// A verdict; its JSON is the message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// The pipeline.
    pub pipeline: String,
    /// The entity's key, and the message's.
    pub key: String,
    /// The detector.
    pub detector: String,
    /// Version of its model.
    pub model_version: String,
    /// Whether the score exceeds the threshold.
    pub anomalous: bool,
    /// Higher is more anomalous.
    pub score: f32,
    /// The score that an anomaly exceeds.
    pub threshold: f32,
    /// The share of training scores at least as large, or of those that were held out; absent where nothing was trained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p_value: Option<f64>,
    /// The predicted cluster; absent where there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<i32>,
    /// The features, by name, in order.
    pub features: Map<String, Value>,
    /// Each feature's share of the score, the largest first; one below 0 speaks for the entity.
    pub contributions: Map<String, Value>,
    /// Whether the shares are only an approximation: by how much the score falls when a feature is typical. Absent where
    /// they are exact.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub approximate: bool,
    /// For each feature of a share, in the same order, the value that would have been normal.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub expected: Map<String, Value>,
    /// Whether the feature is `above` or `below` that; absent where it is neither.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub direction: Map<String, Value>,
    /// How many lines the entity has.
    pub lines: u64,
    /// Its customer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub customer_id: Option<String>,
    /// The clock's time of its first line, RFC 3339.
    pub first_timestamp: String,
    /// The clock's time of its last line, RFC 3339.
    pub last_timestamp: String,
    /// Whether it was closed before its time, at a limit of the pipeline; absent where it was not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub closed_early: bool,
}

impl Verdict {
    /// The verdict of `detector` on an entity with these features and this score.
    pub fn new(detector: &Detector, entity: &EntitySummary, features: &[f64], score: &ExplainedScore) -> Self {
        let model = detector.model();
        let names = &model.features;
        let order = by_share(&score.shares);
        let in_order = |value: &dyn Fn(usize) -> Option<Value>| {
            order.iter().filter_map(|&index| Some((names[index].clone(), value(index)?))).collect()
        };
        let expected: Vec<f64> = score.expected.iter().map(|&value| significant(value, 6)).collect();
        let side = |index: usize| {
            // What differs only by the rounding of float32 does not differ.
            let (value, usual) = (features[index], expected[index]);
            let differs = (value - usual).abs() > 1e-5 * value.abs().max(usual.abs());
            differs.then(|| if value > usual { "above".into() } else { "below".into() })
        };
        Self {
            pipeline: model.pipeline.clone(),
            key: entity.key.clone(),
            detector: model.detector.clone(),
            model_version: detector.version().to_owned(),
            anomalous: detector.is_anomalous((score.score, score.cluster)),
            score: score.score,
            threshold: model.threshold.of_cluster(score.cluster),
            p_value: Some(significant(model.p_value(score.score, score.cluster), 4)),
            cluster: score.cluster,
            features: names.iter().cloned().zip(features.iter().map(|&value| value.into())).collect(),
            contributions: in_order(&|index| Some(significant(score.shares[index], 4).into())),
            approximate: score.is_approximate,
            expected: in_order(&|index| Some(expected[index].into())),
            direction: in_order(&side),
            lines: entity.lines,
            customer_id: entity.customer.clone(),
            first_timestamp: format_timestamp(entity.first_timestamp),
            last_timestamp: format_timestamp(entity.last_timestamp),
            closed_early: entity.closed_early,
        }
    }

    /// The verdict of a detector of `pipeline` that compares the records of a window: on a record with this value, of which
    /// `window` said the most and, unless it holds too few records, gave it this score.
    pub fn of_window(
        pipeline: &str,
        spec: &ZScoreSpec,
        entity: &EntitySummary,
        value: f64,
        (score, window): (f64, &WindowSummary),
    ) -> Self {
        let names = if window.is_robust { ["median", "mad"] } else { ["mean", "std"] };
        let mut features = Map::new();
        features.insert("value".to_owned(), value.into());
        features.insert(names[0].to_owned(), window.center.into());
        features.insert(names[1].to_owned(), window.spread.into());
        features.insert("count".to_owned(), window.count.into());
        // JSON has no infinity.
        let score = score.min(f64::from(f32::MAX)) as f32;
        Self {
            pipeline: pipeline.to_owned(),
            key: entity.key.clone(),
            detector: spec.name.clone(),
            model_version: spec.version.clone(),
            anomalous: score > spec.threshold,
            score,
            threshold: spec.threshold,
            p_value: None,
            cluster: None,
            features,
            contributions: std::iter::once(("value".to_owned(), 1.0.into())).collect(),
            approximate: false,
            expected: std::iter::once(("value".to_owned(), window.center.into())).collect(),
            direction: match value.partial_cmp(&window.center) {
                Some(Ordering::Greater) => std::iter::once(("value".to_owned(), "above".into())).collect(),
                Some(Ordering::Less) => std::iter::once(("value".to_owned(), "below".into())).collect(),
                _ => Map::new(),
            },
            lines: entity.lines,
            customer_id: entity.customer.clone(),
            first_timestamp: format_timestamp(entity.first_timestamp),
            last_timestamp: format_timestamp(entity.last_timestamp),
            closed_early: entity.closed_early,
        }
    }

    /// The feature that gave the entity away, and its share.
    pub fn main_contribution(&self) -> Option<(&str, f64)> {
        self.contributions.iter().next().and_then(|(name, share)| Some((name.as_str(), share.as_f64()?)))
    }
}

/// The features' indices, the largest share first.
fn by_share(shares: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..shares.len()).collect();
    order.sort_by(|&a, &b| shares[b].total_cmp(&shares[a]));
    order
}

/// Rounded to so many significant digits: more would only be noise to a reader.
fn significant(value: f64, digits: i32) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return value;
    }
    let factor = 10f64.powi(digits - 1 - value.abs().log10().floor() as i32);
    if factor.is_finite() { (value * factor).round() / factor } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_for_readers_have_few_digits() {
        assert_eq!(significant(0.003_123_456, 4), 0.003_123);
        assert_eq!(significant(0.999_96, 4), 1.0);
        assert_eq!(significant(0.0, 4), 0.0);
    }

    #[test]
    fn the_largest_contribution_comes_first() {
        assert_eq!(by_share(&[0.1, 0.9, -0.2, 0.1]), [1, 0, 3, 2]);
    }
}
