//! The verdicts of all detectors on one entity, in one message.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::severity::Severity;
use super::source::VerdictSource;
use super::{SCHEMA, Verdict};

/// What all detectors say of an entity; its JSON is the message. What each of them says has the form of [`Verdict`], without
/// what is the same for all.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EntityVerdict {
    /// The version of the form.
    pub schema: u32,
    /// The entity's name: pipeline, partition and offset of its first record, and key, with `/` between them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The pipeline.
    pub pipeline: String,
    /// The entity's key, and the message's.
    pub key: String,
    /// What the features of an entity depend on, as a hash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub definition: Option<String>,
    /// Whether it is an anomaly to any detector.
    pub anomalous: bool,
    /// The worst of the detectors' severities.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity: Option<Severity>,
    /// Why, by the detector with the worst severity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The detectors to which it is an anomaly.
    pub anomalous_to: Vec<String>,
    /// The features, by name, in order; of a detector that compares the records of a window, what it compared.
    pub features: Map<String, Value>,
    /// What the pipeline file wants to be repeated of the entity.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub fields: Map<String, Value>,
    /// How many lines it has.
    pub lines: u64,
    /// Its customer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub customer_id: Option<String>,
    /// The clock's time of its last line, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_time: Option<String>,
    /// The clock's time of its first line, RFC 3339.
    pub first_timestamp: String,
    /// The clock's time of its last line, RFC 3339.
    pub last_timestamp: String,
    /// Whether it was closed before its time.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub closed_early: bool,
    /// Where its records are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<VerdictSource>,
    /// What each detector says, by its name.
    pub detectors: Map<String, Value>,
}

/// What of a verdict is the detector's own.
const OWN: [&str; 14] = [
    "model_version",
    "anomalous",
    "severity",
    "reason",
    "score",
    "threshold",
    "ratio",
    "p_value",
    "cluster",
    "contributions",
    "approximate",
    "expected",
    "direction",
    "explanation",
];

impl EntityVerdict {
    /// Puts the verdicts of several detectors on one entity together, which were made in version 2; `None` of no verdict.
    pub fn of(verdicts: &[&Verdict]) -> Option<Self> {
        let first = verdicts.first()?;
        let anomalous = || verdicts.iter().copied().filter(|verdict| verdict.anomalous);
        // Of equal severities, the first detector's.
        let worst = anomalous().reduce(|worst, next| if next.severity > worst.severity { next } else { worst });
        let source = first.source.clone();
        let id = source.as_ref().and_then(VerdictSource::first);
        Some(Self {
            schema: SCHEMA,
            id: id.map(|(partition, offset)| format!("{}/{partition}/{offset}/{}", first.pipeline, first.key)),
            pipeline: first.pipeline.clone(),
            key: first.key.clone(),
            definition: first.definition.clone(),
            anomalous: worst.is_some(),
            severity: worst.and_then(|worst| worst.severity),
            reason: worst.unwrap_or(first).reason.clone(),
            anomalous_to: anomalous().map(|verdict| verdict.detector.clone()).collect(),
            features: first.features.to_map(),
            fields: first.fields.to_map(),
            lines: first.lines,
            customer_id: first.customer_id.clone(),
            event_time: first.event_time.clone(),
            first_timestamp: first.first_timestamp.clone(),
            last_timestamp: first.last_timestamp.clone(),
            closed_early: first.closed_early,
            source,
            detectors: verdicts.iter().map(|verdict| (verdict.detector.clone(), own(verdict))).collect(),
        })
    }
}

fn own(verdict: &Verdict) -> Value {
    match serde_json::to_value(verdict) {
        Ok(Value::Object(all)) => all.into_iter().filter(|(name, _)| OWN.contains(&name.as_str())).collect(),
        _ => Value::Null,
    }
}
