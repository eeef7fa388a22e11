//! What each feature did for a score, in the user's own units.

use serde::{Deserialize, Serialize};

use super::figures::significant;
use super::told::Told;
use crate::detector::{Detector, ExplainedScore};
use crate::pipeline::Pipeline;

/// What a feature did for a score. Value, usual value and range are in the units that people read: the transformation of the
/// feature is undone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExplainedFeature {
    /// Its name.
    pub feature: String,
    /// Its share of the score; one below 0 speaks for the entity.
    pub share: f64,
    /// Its value.
    pub value: f64,
    /// A value that is normal.
    pub usual: f64,
    /// The 5th percentile of the history; absent where the model does not know it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub low: Option<f64>,
    /// The 95th percentile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub high: Option<f64>,
    /// The unit of these numbers, where the pipeline file says one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// The value compared with what is usual, in words.
    pub text: String,
}

impl ExplainedFeature {
    /// Whether its value lies outside the usual range; where no range is known, whether it differs from the usual value.
    pub fn is_unusual(&self) -> bool {
        match self.low.zip(self.high) {
            Some((low, high)) => self.value < low || self.value > high,
            None => self.value != self.usual,
        }
    }

    pub(super) fn of(told: &Told<'_>, share: f64) -> Self {
        let number = |value: f64| finite(significant(value, 6));
        Self {
            feature: told.name.to_owned(),
            share: significant(share, 4),
            value: number(told.value),
            usual: number(told.usual),
            low: told.range.map(|(low, _)| number(low)),
            high: told.range.map(|(_, high)| number(high)),
            unit: told.reading.unit.clone(),
            text: told.phrase(),
        }
    }
}

/// What each feature did for a score, in this order of them; `expected` are the values that would have been normal.
pub(super) fn explain(
    pipeline: &Pipeline,
    detector: &Detector,
    features: &[f64],
    score: &ExplainedScore,
    (order, expected): (&[usize], &[f64]),
) -> Vec<ExplainedFeature> {
    let model = detector.model();
    let explained = |&index: &usize| {
        let reading = pipeline.readings.get(index)?;
        let told = Told {
            name: &model.features[index],
            reading,
            value: reading.read(features[index]),
            is_least: reading.is_at_least_value(features[index]),
            usual: reading.read(expected[index]),
            range: model.usual.get(index).map(|&[low, high]| (reading.read(low), reading.read(high))),
        };
        Some(ExplainedFeature::of(&told, score.shares[index]))
    };
    order.iter().filter_map(explained).collect()
}

/// JSON has no infinity, which the inverse of a logarithm may reach.
fn finite(value: f64) -> f64 {
    value.clamp(f64::MIN, f64::MAX)
}
