//! How often detectors are right, as far as analysts have said so.

use std::collections::BTreeMap;

use serde::Serialize;

use super::label::{Label, Word};

/// The length of a step.
const DAY: i64 = 86_400_000;

/// Days that are told of: the newest that have any.
const DAYS: usize = 120;

/// What analysts said of a detector's anomalies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Said {
    /// Those that are anomalies.
    pub anomaly: u64,
    /// Those that are none.
    pub false_alarm: u64,
    /// Those of which nobody can tell.
    pub unsure: u64,
}

impl Said {
    fn add(&mut self, word: Word) {
        match word {
            Word::Anomaly => self.anomaly += 1,
            Word::FalseAlarm => self.false_alarm += 1,
            Word::Unsure => self.unsure += 1,
        }
    }

    /// The share of anomalies among those of which it is known what they are.
    pub fn precision(&self) -> Option<f64> {
        let known = self.anomaly + self.false_alarm;
        (known > 0).then(|| self.anomaly as f64 / known as f64)
    }
}

/// What analysts said, in all, by detector and by the day on which the anomaly was scored.
#[derive(Debug, Default)]
pub(crate) struct Precision {
    pub all: Said,
    pub by_detector: BTreeMap<String, Said>,
    pub by_day: BTreeMap<i64, BTreeMap<String, Said>>,
}

impl Precision {
    /// Of these labels, each with the detectors that found its anomaly.
    pub(super) fn of<'a>(labels: impl Iterator<Item = (&'a Label, Vec<&'a str>)>) -> Self {
        let mut precision = Self::default();
        for (label, detectors) in labels {
            let Some(word) = label.label else { continue };
            precision.all.add(word);
            let day = label.scored_or_said_at().div_euclid(DAY) * DAY;
            for detector in detectors {
                precision.by_detector.entry(detector.to_owned()).or_default().add(word);
                precision.by_day.entry(day).or_default().entry(detector.to_owned()).or_default().add(word);
            }
        }
        while precision.by_day.len() > DAYS {
            precision.by_day.pop_first();
        }
        precision
    }
}
