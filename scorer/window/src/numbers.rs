//! The numbers of a stream by the names that they have among the metrics, for logs.

use serde_json::{Map, Value, json};

use crate::snapshot::{DetectorDrift, Snapshot};

impl Snapshot {
    /// The numbers of this moment, each by the name of its metric; those that a metric has by label are an object by the values of
    /// the label. What is not known is null.
    pub fn numbers(&self) -> Map<String, Value> {
        let partitions = &self.partitions;
        let reading = partitions.owned.saturating_sub(partitions.restoring + partitions.failed);
        let numbers = json!({
            "records_read_total": self.records,
            "records_total": by_label(&self.outcomes),
            "open_entities": self.open,
            "entities_scored_total": self.scored,
            "anomalies_total": by_label(&self.anomalies),
            "erroneous_messages_total": self.erroneous,
            "broken_rules_total": by_label(&self.reasons),
            "messages_published_total": self.published,
            "messages_undeliverable_total": self.undeliverable,
            "messages_skipped_total": self.skipped,
            "limits_reached_total": self.at_limits,
            "odd_dates_total": by_label(&self.odd_dates),
            "batches_sent_again_total": self.sent_again,
            "rollbacks_total": self.rolled_back,
            "commit_duration_seconds_count": self.commits.count(),
            "commit_duration_seconds_sum": self.commits.sum,
            "last_commit_age_seconds": self.seconds_since_commit,
            "lag_records": self.lag,
            "lag_seconds": self.lag_seconds,
            "partitions": { "reading": reading, "restoring": partitions.restoring, "failed": partitions.failed },
            "partitions_waiting": partitions.waiting,
            "standby_partitions": partitions.standby,
            "standby_lag_records": partitions.standby_lag,
            "state_bytes": self.state_bytes,
            "resident_memory_bytes": self.resident_bytes,
        });
        let numbers = numbers.as_object().into_iter().flatten();
        let mut numbers: Map<String, Value> =
            numbers.map(|(name, value)| (format!("atalaya_{name}"), value.clone())).collect();
        if let Some(cancellations) = self.cancellations {
            numbers.insert("atalaya_cancellations_total".to_owned(), cancellations.into());
            numbers.insert("atalaya_cancellation_windows_total".to_owned(), self.cancellation_windows.into());
        }
        if let Some(drift) = &self.drift {
            for (name, of) in [
                ("drift_martingale_log10", drift.by_detector(|it| it.evidence)),
                ("drift_alarm", drift.by_detector(DetectorDrift::alarm)),
                ("score_psi", drift.by_detector(|it| it.stability)),
                ("feature_psi", drift.by_feature(|it| it.stability)),
            ] {
                let of: Map<String, Value> = of.into_iter().map(|(label, it)| (label.to_owned(), it.into())).collect();
                numbers.insert(format!("atalaya_{name}"), of.into());
            }
        }
        numbers
    }
}

fn by_label(of: &[(impl AsRef<str>, u64)]) -> Map<String, Value> {
    of.iter().map(|(label, count)| (label.as_ref().to_owned(), Value::from(*count))).collect()
}
