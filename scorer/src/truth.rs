//! What detectors found, beside what records are known to be: precision and recall as they accrue.
//!
//! A detector says that a record is odd, not in which way; so recall is told scenario by scenario, and precision is one
//! number: the share of anomalies that belong to any scenario. Only records that were judged count.

use std::collections::BTreeMap;

/// Scenarios that are told apart; records of more are counted as of [`OTHERS`]: labels are free text, and may be a number a
/// record.
const MOST_SCENARIOS: usize = 50;

/// The scenarios beyond those that are told apart.
const OTHERS: &str = "(others)";

/// How many judged records there were of each scenario, and which of them each detector found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Truth {
    normal: u64,
    scenarios: BTreeMap<String, u64>,
    detectors: BTreeMap<String, Found>,
}

/// What a detector found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Found {
    normal: u64,
    scenarios: BTreeMap<String, u64>,
}

impl Truth {
    /// Adds a record that is of `scenario`, or normal, and is anomalous to these detectors.
    pub fn add<'a>(&mut self, scenario: Option<&str>, anomalous_to: impl IntoIterator<Item = &'a str>) {
        let Some(scenario) = scenario else {
            self.normal += 1;
            anomalous_to.into_iter().for_each(|detector| self.of(detector).normal += 1);
            return;
        };
        let scenario = self.told_apart(scenario);
        for detector in anomalous_to {
            *self.of(detector).scenarios.entry(scenario.clone()).or_default() += 1;
        }
        *self.scenarios.entry(scenario).or_default() += 1;
    }

    /// Adds that a record of `scenario`, or a normal one, which was added before, turned out to be anomalous to a detector
    /// that takes its time.
    pub fn add_found(&mut self, scenario: Option<&str>, detector: &str) {
        match scenario.map(|scenario| self.told_apart(scenario)) {
            None => self.of(detector).normal += 1,
            Some(scenario) => *self.of(detector).scenarios.entry(scenario).or_default() += 1,
        }
    }

    /// Adds what was counted of other records.
    pub fn merge(&mut self, other: Self) {
        self.normal += other.normal;
        for (scenario, count) in other.scenarios {
            let scenario = self.told_apart(&scenario);
            *self.scenarios.entry(scenario).or_default() += count;
        }
        for (detector, found) in other.detectors {
            self.of(&detector).normal += found.normal;
            for (scenario, count) in found.scenarios {
                let scenario = self.told_apart(&scenario);
                *self.of(&detector).scenarios.entry(scenario).or_default() += count;
            }
        }
    }

    /// Whether no record was of any scenario: then there is nothing to tell.
    pub fn is_empty(&self) -> bool {
        self.scenarios.is_empty()
    }

    /// The scenarios, and how many records were judged of each.
    pub fn scenarios(&self) -> impl Iterator<Item = (&str, u64)> {
        self.scenarios.iter().map(|(scenario, count)| (scenario.as_str(), *count))
    }

    /// Records of no scenario.
    pub fn normal(&self) -> u64 {
        self.normal
    }

    /// Records of `scenario` that are anomalous to `detector`.
    pub fn found(&self, detector: &str, scenario: &str) -> u64 {
        self.detectors.get(detector).and_then(|found| found.scenarios.get(scenario)).copied().unwrap_or(0)
    }

    /// Records of no scenario that are anomalous to `detector`.
    pub fn false_alarms(&self, detector: &str) -> u64 {
        self.detectors.get(detector).map_or(0, |found| found.normal)
    }

    /// The share of the records of all scenarios that are anomalous to `detector`; `None` where there is none.
    pub fn recall(&self, detector: &str) -> Option<f64> {
        share(self.all_found(detector), self.scenarios.values().sum())
    }

    /// The share of what is anomalous to `detector` that is of any scenario; `None` where nothing is.
    pub fn precision(&self, detector: &str) -> Option<f64> {
        let found = self.all_found(detector);
        share(found, found + self.false_alarms(detector))
    }

    fn all_found(&self, detector: &str) -> u64 {
        self.detectors.get(detector).map_or(0, |found| found.scenarios.values().sum())
    }

    fn of(&mut self, detector: &str) -> &mut Found {
        self.detectors.entry(detector.to_owned()).or_default()
    }

    fn told_apart(&self, scenario: &str) -> String {
        let is_known = self.scenarios.contains_key(scenario) || self.scenarios.len() < MOST_SCENARIOS;
        if is_known { scenario.to_owned() } else { OTHERS.to_owned() }
    }
}

/// A part as a share of the whole; `None` where there is no whole.
pub fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn precision_and_recall_are_what_their_names_say() {
        let mut truth = Truth::default();
        assert!(truth.is_empty());
        for (scenario, anomalous_to) in
            [(Some("a"), &["x"][..]), (Some("a"), &[]), (Some("b"), &["x", "y"]), (None, &["x"]), (None, &[])]
        {
            truth.add(scenario, anomalous_to.iter().copied());
        }
        assert_eq!(truth.scenarios().collect::<Vec<_>>(), [("a", 2), ("b", 1)]);
        assert_eq!((truth.normal(), truth.found("x", "a"), truth.found("y", "a")), (2, 1, 0));
        assert_eq!((truth.precision("x"), truth.recall("x")), (Some(2.0 / 3.0), Some(2.0 / 3.0)));
        assert_eq!((truth.precision("y"), truth.recall("y")), (Some(1.0), Some(1.0 / 3.0)));
        assert_eq!((truth.precision("z"), truth.recall("z")), (None, Some(0.0)));
        // A detector that takes its time.
        truth.add_found(Some("b"), "z");
        truth.add_found(None, "z");
        assert_eq!((truth.precision("z"), truth.recall("z")), (Some(0.5), Some(1.0 / 3.0)));
    }

    proptest! {
        /// However many labels there are, few are kept, no record is lost, and parts add up to the whole.
        #[test]
        fn nothing_is_lost(labels in proptest::collection::vec(proptest::option::of(0u8..80), 0..300), cut in 0usize..300) {
            let add = |truth: &mut Truth, label: &Option<u8>| {
                let name = label.map(|label| format!("s{label}"));
                truth.add(name.as_deref(), (label.unwrap_or(1) % 2 == 1).then_some("odd"));
            };
            let mut whole = Truth::default();
            labels.iter().for_each(|label| add(&mut whole, label));
            let (mut first, mut second) = (Truth::default(), Truth::default());
            let cut = cut.min(labels.len());
            labels[..cut].iter().for_each(|label| add(&mut first, label));
            labels[cut..].iter().for_each(|label| add(&mut second, label));
            first.merge(second);
            for truth in [&whole, &first] {
                let of_scenarios: u64 = truth.scenarios().map(|(_, count)| count).sum();
                prop_assert_eq!(of_scenarios + truth.normal(), labels.len() as u64);
                prop_assert!(truth.scenarios().count() <= MOST_SCENARIOS + 1);
                let odd = labels.iter().filter(|label| label.unwrap_or(1) % 2 == 1).count() as u64;
                prop_assert_eq!(truth.all_found("odd") + truth.false_alarms("odd"), odd);
            }
        }
    }
}
