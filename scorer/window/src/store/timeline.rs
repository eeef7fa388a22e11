//! How many anomalies there were when.

use std::collections::BTreeMap;

use serde::Serialize;

/// The length of a step.
const STEP: i64 = 60_000;

/// Steps that are kept: a day.
const STEPS: usize = 24 * 60;

/// Anomalies a minute, by detector.
#[derive(Debug, Default)]
pub(crate) struct Timeline {
    steps: BTreeMap<i64, BTreeMap<String, u32>>,
}

/// A minute of a timeline.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Step<'a> {
    /// Its beginning, in milliseconds since 1970.
    pub at: i64,
    pub anomalies: &'a BTreeMap<String, u32>,
}

impl Timeline {
    pub(crate) fn add(&mut self, at: i64, detector: &str) {
        let step = self.steps.entry(at.div_euclid(STEP)).or_default();
        match step.get_mut(detector) {
            Some(count) => *count += 1,
            None => {
                step.insert(detector.to_owned(), 1);
            }
        }
        while self.steps.len() > STEPS {
            self.steps.pop_first();
        }
    }

    /// The minutes that had any, in order.
    pub(crate) fn steps(&self) -> Vec<Step<'_>> {
        self.steps.iter().map(|(number, anomalies)| Step { at: number * STEP, anomalies }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_has_its_own_count_and_a_day_is_kept() {
        let mut timeline = Timeline::default();
        for minute in 0..2000 {
            timeline.add(minute * STEP, "a");
            timeline.add(minute * STEP + 59_999, "b");
            timeline.add(minute * STEP + 1, "b");
        }
        let steps = timeline.steps();
        assert_eq!((steps.len(), steps[0].at), (STEPS, (2000 - STEPS as i64) * STEP));
        assert!(steps.iter().all(|step| step.anomalies["a"] == 1 && step.anomalies["b"] == 2));
    }
}
