//! What is told of a comparison.

use crate::agreement::Comparison;

/// What is told of a comparison.
pub(super) struct ComparisonReport {
    pub pipeline: String,
    /// Of A and of B.
    pub names: [String; 2],
    /// Versions of their models, each with how many verdicts it made.
    pub versions: [Vec<(String, u64)>; 2],
    /// What is scored, in the plural.
    pub entities: &'static str,
    /// Where the verdicts are from.
    pub source: String,
    pub found: Comparison,
    pub labels: Option<Labelled>,
}

/// Where labels are from.
pub(super) struct Labelled {
    pub source: String,
    /// How many anomalies they name, where they came by themselves and are of the same time as the verdicts.
    pub anomalies: Option<u64>,
}

impl Labelled {
    /// How many anomalies there were to find: of what both have judged, or, where only anomalies are told, all that labels
    /// name. Not known where those are of another time.
    pub fn n_anomalies(&self, found: &Comparison) -> Option<u64> {
        if found.is_complete { Some(found.agreement.labelled.total()) } else { self.anomalies }
    }
}
