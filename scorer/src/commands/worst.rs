//! The worst anomalies of a run, one line an entity.

use std::cmp::Ordering;

use shared::text::printable;
use shared::verdict::{Severity, Verdict};

use super::columns::{WIDTH, cut};
use super::words::beside_threshold;
use crate::agreement::Cause;

/// Entities that are named.
const MOST: usize = 5;

/// The worst anomalies so far, each entity once.
#[derive(Debug, Default)]
pub(super) struct Worst {
    /// The worst first.
    anomalies: Vec<Anomaly>,
}

#[derive(Debug)]
struct Anomaly {
    key: String,
    first_timestamp: String,
    severity: Option<Severity>,
    ratio: f64,
    line: String,
}

impl Worst {
    /// Takes a verdict.
    pub fn add(&mut self, verdict: &Verdict) {
        if !verdict.anomalous {
            return;
        }
        let anomaly = Anomaly {
            key: verdict.key.clone(),
            first_timestamp: verdict.first_timestamp.clone(),
            severity: verdict.severity,
            ratio: verdict.ratio.unwrap_or_default(),
            line: String::new(),
        };
        let is_same = |known: &Anomaly| known.key == anomaly.key && known.first_timestamp == anomaly.first_timestamp;
        match self.anomalies.iter().position(is_same) {
            Some(known) if self.anomalies[known].compare(&anomaly) != Ordering::Greater => return,
            Some(known) => drop(self.anomalies.remove(known)),
            None => {}
        }
        // Of equal ones, the first stays first.
        let place = self.anomalies.partition_point(|known| known.compare(&anomaly) != Ordering::Greater);
        if place < MOST {
            self.anomalies.insert(place, Anomaly { line: line(verdict), ..anomaly });
            self.anomalies.truncate(MOST);
        }
    }

    /// A line each; nothing where there is no anomaly.
    pub fn text(&self) -> Option<String> {
        let lines: Vec<&str> = self.anomalies.iter().map(|anomaly| anomaly.line.as_str()).collect();
        (!lines.is_empty()).then(|| format!("The worst anomalies:\n{}", lines.join("\n")))
    }
}

impl Anomaly {
    /// The worse one is less.
    fn compare(&self, other: &Self) -> Ordering {
        other.severity.cmp(&self.severity).then(other.ratio.total_cmp(&self.ratio))
    }
}

fn line(verdict: &Verdict) -> String {
    let why = Cause::of(verdict).map_or_else(String::new, |cause| cause.to_string());
    cut(&format!("  {}  {}  {why}", how_bad(verdict), printable(&verdict.key)), WIDTH)
}

/// The severity of an anomaly; in version 1, which has none, its score beside the threshold.
fn how_bad(verdict: &Verdict) -> String {
    match verdict.severity {
        Some(severity) => format!("{:<8}", severity.name()),
        None => beside_threshold(verdict.score, verdict.threshold),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn verdict(key: &str, severity: &str, ratio: f64) -> Verdict {
        serde_json::from_value(json!({
            "schema": 2, "pipeline": "p", "key": key, "detector": "d", "model_version": "v", "anomalous": true, "score": 2.0,
            "severity": severity, "reason": format!("{ratio} times"), "ratio": ratio, "threshold": 1.0, "features": { "x": 1 },
            "contributions": { "x": 1 }, "lines": 1, "first_timestamp": "a", "last_timestamp": "b",
        }))
        .unwrap()
    }

    #[test]
    fn the_worst_come_first_and_each_entity_once() {
        let mut worst = Worst::default();
        assert_eq!(worst.text(), None);
        let all = [
            ("a", "low", 1.5),
            ("b", "high", 3.0),
            ("a", "high", 2.0),
            ("c", "low", 1.9),
            ("d", "critical", 11.0),
            ("e", "medium", 2.0),
            ("f", "low", 1.1),
            ("b", "medium", 90.0),
            ("e", "medium", 3.0),
        ];
        all.into_iter().for_each(|(key, severity, ratio)| worst.add(&verdict(key, severity, ratio)));
        insta::assert_snapshot!(worst.text().unwrap(), @r"
        The worst anomalies:
          critical  d  11 times
          high      b  3 times
          high      a  2 times
          medium    e  3 times
          low       c  1.9 times
        ");
    }
}
