//! What thresholds would have cost on the entities that were held out: the report of a threshold that was chosen by cost.

use serde::Serialize;
use shared::threshold::{Cost, CostPoint, thinned};

/// What the chosen threshold would have cost, and others.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CostReport {
    /// What mistakes cost.
    pub costs: Cost,
    /// What the chosen threshold would have done.
    pub chosen: CostPoint,
    /// The same of other thresholds, from one that reports nothing to one that reports all: those where the alerts have grown by a
    /// twelfth.
    pub curve: Vec<CostPoint>,
}

impl CostReport {
    /// Of a curve that is not empty, with a point of the chosen threshold.
    pub(crate) fn new(costs: Cost, threshold: f32, curve: &[CostPoint]) -> Self {
        let nothing = CostPoint { threshold, alerts: 0, caught: 0, missed: 0, cost: 0.0 };
        let chosen = curve.iter().copied().find(|point| point.threshold == threshold).unwrap_or(nothing);
        Self { costs, chosen, curve: thinned(curve, threshold) }
    }
}
