//! Not again for this customer and this reason, until a day.

use serde::{Deserialize, Serialize};

use super::moment;
use crate::store::Entity;

/// An exception, as it is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Exception {
    pub schema: u32,
    pub kind: ExceptionKind,
    /// Its name, which is its key.
    pub id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pipeline: Option<String>,
    pub customer_id: String,
    /// Features: a detector may call an anomaly what has the largest share of its score from one of these.
    pub features: Vec<String>,
    /// The anomaly that it was written at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<String>,
    /// Anomalies that were scored before this moment are covered.
    #[serde(with = "moment")]
    pub until: i64,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub by: String,
    #[serde(with = "moment")]
    pub at: i64,
    /// What it would have hidden when it was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preview: Option<Preview>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub withdrawn: Option<Withdrawn>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
}

/// Tells this kind of entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ExceptionKind {
    Exception,
}

/// What an exception would have hidden.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Preview {
    /// So many days back.
    pub days: u32,
    pub anomalies: usize,
    /// Those of them that analysts have confirmed.
    pub confirmed: usize,
}

/// Who took it back, and when.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Withdrawn {
    #[serde(default)]
    pub by: String,
    #[serde(with = "moment")]
    pub at: i64,
}

impl Exception {
    /// Whether it hides what it covers, and what was scored before its end. One that has run out still covers what came before;
    /// one that was taken back covers nothing.
    pub(super) fn covers(&self, customer: &str, features: &[&str], scored_at: i64) -> bool {
        self.withdrawn.is_none()
            && self.customer_id == customer
            && scored_at < self.until
            && features.iter().all(|feature| self.features.iter().any(|of| of == feature))
    }
}

/// The features by which each detector that says so calls an entity an anomaly, and its customer; `None` where it has no
/// customer, or a detector gives no feature: nothing covers it then.
pub(crate) fn reasons_of(entity: &Entity) -> Option<(&str, Vec<&str>)> {
    let customer = entity.customer.as_deref()?;
    let anomalous = entity.opinions.iter().filter(|opinion| opinion.anomalous);
    let features: Option<Vec<&str>> = anomalous.map(|opinion| opinion.feature.as_deref()).collect();
    features.filter(|features| !features.is_empty()).map(|features| (customer, features))
}
