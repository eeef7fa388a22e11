//! The numbers of a run in its log: a line at an interval, for those who read logs and ask for no metrics.

use std::io::{Write, stderr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use shared::pipeline::Pipeline;
use shared::time::Timestamp;
use window::Snapshot;

use super::console::json_line;
use crate::clock::now_since_epoch;
use crate::status::StatusCell;
use crate::window_snapshot::snapshot;

/// What the line is of, for `RUST_LOG` and for those who choose among lines.
const TARGET: &str = "scorer::status";

/// Writes a line whenever it is asked to.
pub(super) struct StatusLog {
    pipeline: Arc<Pipeline>,
    every: Duration,
    /// How many records had been read, and when.
    last: (Instant, u64),
}

impl StatusLog {
    /// One that is to write at this interval.
    pub(super) fn new(pipeline: Arc<Pipeline>, every: Duration) -> Self {
        Self { pipeline, every, last: (Instant::now(), 0) }
    }

    /// How often it is to write.
    pub(super) fn every(&self) -> Duration {
        self.every
    }

    /// Writes how the stream is now.
    pub(super) fn write(&mut self, status: &StatusCell) {
        let (now, snapshot) = (Instant::now(), snapshot(&status.get(), &self.pipeline));
        let (before, records) = std::mem::replace(&mut self.last, (now, snapshot.records));
        let rate = rate(snapshot.records, records, now - before);
        // Its fields have names that are known only now, so it is no event of `tracing`; it looks like one.
        if tracing::enabled!(target: TARGET, tracing::Level::INFO) {
            // Where nobody reads the log there is nobody to tell.
            let _ = writeln!(stderr(), "{}", json_line(&line(&snapshot, rate, now_since_epoch())));
        }
    }
}

/// Records a second. A rollback takes records back, and they are read again.
fn rate(records: u64, before: u64, took: Duration) -> f64 {
    let rate = records.saturating_sub(before) as f64 / took.as_secs_f64().max(0.001);
    (rate * 10.0).round() / 10.0
}

fn line(snapshot: &Snapshot, rate: f64, at: Timestamp) -> Value {
    let mut fields = Map::new();
    fields.insert("message".to_owned(), "status".into());
    fields.insert("records_per_second".to_owned(), rate.into());
    fields.extend(snapshot.numbers());
    let at = chrono::DateTime::from_timestamp_millis(at).unwrap_or_default();
    let at = at.to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
    json!({ "timestamp": at, "level": "INFO", "fields": fields, "target": TARGET })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_is_like_others_of_the_log_and_has_the_names_of_the_metrics() {
        let snapshot =
            Snapshot { records: 1500, anomalies: vec![("kmeans".to_owned(), 7)], lag: Some(5), ..Snapshot::default() };
        let line = line(&snapshot, rate(1500, 500, Duration::from_secs(3)), 1_785_225_841_000);
        assert_eq!(line["timestamp"], "2026-07-28T08:04:01.000000Z");
        assert_eq!((&line["level"], &line["target"]), (&json!("INFO"), &json!(TARGET)));
        let fields = &line["fields"];
        assert_eq!((&fields["message"], &fields["records_per_second"]), (&json!("status"), &json!(333.3)));
        assert_eq!(fields["atalaya_records_read_total"], 1500);
        assert_eq!(fields["atalaya_anomalies_total"], json!({ "kmeans": 7 }));
        assert_eq!((&fields["atalaya_lag_records"], &fields["atalaya_lag_seconds"]), (&json!(5), &Value::Null));
        assert!(!json_line(&line).contains('\n'));
    }

    #[test]
    fn records_that_come_back_are_no_negative_rate() {
        assert_eq!([rate(3, 5, Duration::from_secs(1)), rate(5, 3, Duration::ZERO)], [0.0, 2000.0]);
    }
}
