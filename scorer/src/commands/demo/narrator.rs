//! What the demo says while the stream runs: the first anomaly in full, the others on a line each.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use shared::pipeline::Pipeline;
use shared::verdict::EntityVerdict;

use super::explained::explained;
use crate::commands::rows::Rows;
use crate::truth::Truth;

/// What was found so far, and how it is told.
pub(super) struct Narrator {
    pipeline: Arc<Pipeline>,
    rows: Rows,
    width: usize,
    /// The detectors to which each entity is an anomaly, by its key.
    found: BTreeMap<String, BTreeSet<String>>,
}

impl Narrator {
    /// One that has told nothing yet, in lines of at most `width` columns.
    pub fn new(pipeline: Arc<Pipeline>, width: usize) -> Self {
        let rows = Rows::new(&pipeline, width);
        Self { pipeline, rows, width, found: BTreeMap::new() }
    }

    /// What to say of an entity: nothing where it is normal, or was told before and another detector finds it now.
    pub fn tell(&mut self, verdict: &EntityVerdict) -> Option<String> {
        if !verdict.anomalous {
            return None;
        }
        let is_first = self.found.is_empty();
        let is_told = self.found.contains_key(&verdict.key);
        self.found.entry(verdict.key.clone()).or_default().extend(verdict.anomalous_to.iter().cloned());
        if is_told {
            return None;
        }
        let row = self.rows.row(verdict);
        Some(if is_first {
            let full = explained(verdict, &self.pipeline, self.width);
            format!("The first anomaly in full:\n\n{full}\n\nEach on one line:\n\n{}\n{row}", self.rows.head())
        } else {
            row
        })
    }

    /// What was found of the kinds that entities are known to be, among so many that were judged.
    pub fn truth(&self, scenarios: &BTreeMap<String, String>, judged: u64) -> Truth {
        let none = BTreeSet::new();
        let mut truth = Truth::default();
        let found = |key: &String| self.found.get(key).unwrap_or(&none).iter().map(String::as_str);
        scenarios.iter().for_each(|(key, scenario)| truth.add(Some(scenario), found(key)));
        let mut normal = judged.saturating_sub(scenarios.len() as u64);
        for key in self.found.keys().filter(|key| !scenarios.contains_key(*key)) {
            truth.add(None, found(key));
            normal = normal.saturating_sub(1);
        }
        (0..normal).for_each(|_| truth.add(None, []));
        truth
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn verdict(key: &str, anomalous_to: &[&str]) -> EntityVerdict {
        serde_json::from_value(json!({
            "schema": 2, "pipeline": "p", "key": key, "anomalous": !anomalous_to.is_empty(), "severity": "low",
            "reason": "odd", "anomalous_to": anomalous_to, "features": {}, "lines": 1, "detectors": {},
            "first_timestamp": "2010-03-15T10:28:00Z", "last_timestamp": "2010-03-15T10:28:00Z",
        }))
        .unwrap()
    }

    #[test]
    fn each_entity_is_told_once_and_the_first_in_full() {
        let mut narrator = Narrator::new(Arc::new(Pipeline::load("transactions").unwrap()), 100);
        assert_eq!(narrator.tell(&verdict("0", &[])), None);
        let first = narrator.tell(&verdict("1", &["kmeans"])).unwrap();
        assert!(first.starts_with("The first anomaly in full:") && first.lines().count() > 8, "{first}");
        let second = narrator.tell(&verdict("2", &["kmeans", "bisecting-kmeans"])).unwrap();
        assert_eq!(second.lines().count(), 1, "{second}");
        // A window ends later than its record is judged.
        assert_eq!(narrator.tell(&verdict("2", &["zscore"])), None);

        let scenarios = [("2", "odd"), ("3", "odd")].map(|(key, scenario)| (key.to_owned(), scenario.to_owned()));
        let truth = narrator.truth(&BTreeMap::from(scenarios), 10);
        assert_eq!(truth.scenarios().collect::<Vec<_>>(), [("odd", 2)]);
        assert_eq!((truth.found("zscore", "odd"), truth.found("kmeans", "odd")), (1, 1));
        assert_eq!((truth.normal(), truth.false_alarms("kmeans"), truth.false_alarms("zscore")), (8, 1, 0));
    }
}
