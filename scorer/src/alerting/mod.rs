//! Alerts, as a pipeline file asks for them: rules, channels with their secrets, and what a verdict is to them.

mod channels;
mod secrets;

use alerts::{Anomaly, By, Condition, Reading, Rule, Severity};
use shared::pipeline::{AlertBy, AlertCondition, AlertSpec, Pipeline};
use shared::verdict::{self, Verdict};

use crate::status::Status;

pub use channels::{ChannelsError, channel, kind};
pub use secrets::SecretError;

/// The rules of a pipeline file.
pub fn rules(pipeline: &Pipeline) -> Vec<Rule> {
    pipeline.alerts.iter().map(rule).collect()
}

fn rule(spec: &AlertSpec) -> Rule {
    Rule {
        name: spec.name.clone(),
        condition: condition(&spec.condition),
        group_by: spec.group_by.iter().map(by).collect(),
        throttle: spec.throttle,
        repeat: spec.repeat,
        resolve_after: spec.resolve_after,
        channels: spec.channels.clone(),
    }
}

fn condition(spec: &AlertCondition) -> Condition {
    match spec {
        AlertCondition::Anomaly { severity, detectors, count, window } => Condition::Anomalies {
            severity: Severity::of(severity).unwrap_or(Severity::Low),
            detectors: detectors.clone(),
            count: *count as usize,
            window: *window,
        },
        AlertCondition::ErroneousRate { above, window, min_records } => {
            Condition::ErroneousRate { above: *above, window: *window, min_records: *min_records }
        }
        AlertCondition::Lag { records, age, lasting } => {
            Condition::Lag { records: *records, age: *age, lasting: *lasting }
        }
        AlertCondition::Silence { lasting } => Condition::Silence { lasting: *lasting },
        AlertCondition::Drift => Condition::Drift,
    }
}

fn by(spec: &AlertBy) -> By {
    match spec {
        AlertBy::Key => By::Key,
        AlertBy::Customer => By::Customer,
        AlertBy::Detector => By::Detector,
        AlertBy::Field(name) => By::Field(name.clone()),
    }
}

/// How bad an anomaly is. A verdict in version 1 does not say it, and has all that it follows from.
pub fn severity(of: &Verdict) -> Severity {
    let ratio = (of.threshold > 0.0).then(|| f64::from(of.score) / f64::from(of.threshold));
    let level = of.severity.unwrap_or_else(|| verdict::Severity::of(of.p_value, of.ratio.or(ratio)));
    Severity::of(level.name()).unwrap_or(Severity::Low)
}

/// A verdict on an anomaly that was published at this moment.
pub fn anomaly(of: &Verdict, at: i64) -> Anomaly {
    // The name of a verdict is that of its entity with the detector in it.
    let named = |id: &String| id.replacen(&format!("/{}/", of.detector), "/", 1);
    let text = |value: &serde_json::Value| match value {
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Null => String::new(),
        other => other.to_string(),
    };
    Anomaly {
        entity: of.id.as_ref().map_or_else(|| of.key.clone(), named),
        key: of.key.clone(),
        detector: of.detector.clone(),
        severity: severity(of),
        reason: of.reason.clone().unwrap_or_else(|| format!("score {}, threshold {}", of.score, of.threshold)),
        customer: of.customer_id.clone(),
        fields: of.fields.iter().map(|(name, value)| (name.to_owned(), text(value))).collect(),
        at,
    }
}

/// The numbers of the stream, as rules look at them.
pub fn reading(status: &Status) -> Reading {
    let drift = status.drift.report().unwrap_or_default();
    Reading {
        records: status.counters.records,
        erroneous: status.counters.erroneous(),
        lag: status.lag.map(|lag| u64::try_from(lag).unwrap_or(0)),
        lag_age: status.lag_seconds.map(|seconds| (seconds * 1000.0) as i64),
        is_reading: status.owned_partitions > status.restoring_partitions + status.failed_partitions,
        drifting: drift.detectors.iter().filter(|detector| detector.alarm.is_some()).count() as u64,
        drift: drift.alarm(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict() -> Verdict {
        serde_json::from_str(
            r#"{"schema": 2, "id": "invoices/kmeans/0/48211/a/kmeans/b", "pipeline": "invoices", "key": "a/kmeans/b",
                "detector": "kmeans", "model_version": "3f9a1c20", "anomalous": true, "severity": "high",
                "reason": "4,000 items", "score": 30.0, "threshold": 10.0, "p_value": 0.0003,
                "features": {}, "contributions": {}, "fields": {"Country": "France", "total": 8.5, "none": null},
                "lines": 12, "customer_id": "12415",
                "first_timestamp": "2011-07-19T17:04:00Z", "last_timestamp": "2011-07-19T17:04:00Z"}"#,
        )
        .unwrap()
    }

    #[test]
    fn the_name_of_an_entity_is_the_same_for_all_detectors() {
        let found = anomaly(&verdict(), 5);
        assert_eq!(found.entity, "invoices/0/48211/a/kmeans/b");
        let other =
            Verdict { id: Some("invoices/knn/0/48211/a/kmeans/b".to_owned()), detector: "knn".to_owned(), ..verdict() };
        assert_eq!(anomaly(&other, 5).entity, found.entity);
        let fields = [("Country", "France"), ("total", "8.5"), ("none", "")];
        assert_eq!(found.fields, fields.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn a_verdict_in_version_1_has_its_severity_too() {
        let first = Verdict { severity: None, reason: None, ratio: None, id: None, ..verdict() };
        // Ratio 3 and p-value 0.0003: two of three conditions.
        assert_eq!(severity(&first), Severity::High);
        assert_eq!(anomaly(&first, 5).entity, "a/kmeans/b");
        assert_eq!(anomaly(&first, 5).reason, "score 30, threshold 10");
    }
}
