//! What is said of drift.

use shared::detectors::drift::Alarm;
use shared::pipeline::DriftSpec;
use shared::time::format_timestamp;

/// From which index on a change is large enough for an alarm, and a feature is named.
pub(super) const LEAST_CHANGE: f64 = 0.1;

/// Features that are named.
const MOST_NAMED: usize = 3;

/// Whether a stream is still like the training.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Report {
    /// How it was watched.
    pub spec: DriftSpec,
    /// Entities that were counted.
    pub n: u64,
    /// The trained detectors, in their order.
    pub detectors: Vec<DetectorReport>,
    /// The features, in their order.
    pub features: Vec<FeatureReport>,
}

/// The scores of a detector.
#[derive(Debug, Clone, PartialEq)]
pub struct DetectorReport {
    /// The detector.
    pub name: String,
    /// Whether the scores of the training are of entities that the detector had not seen: else the error probability is an
    /// approximation.
    pub is_exact: bool,
    /// Scores that were counted.
    pub scores: u64,
    /// The decimal logarithm of the test martingale; `None` where the model does not say how scores were.
    pub evidence: Option<f64>,
    /// When the test found a change, however small.
    pub changed: Option<Alarm>,
    /// The alarm, once it is raised: the change is certain, and large.
    pub alarm: Option<Alarm>,
    /// The population stability index of the newest scores.
    pub stability: Option<f64>,
}

/// A feature.
#[derive(Debug, Clone, PartialEq)]
pub struct FeatureReport {
    /// The feature.
    pub name: String,
    /// The population stability index of the newest values; `None` of too few.
    pub stability: Option<f64>,
    /// The share of the newest values outside the range of the training.
    pub outside: f64,
    /// The share of the newest records that have no number there.
    pub missing: f64,
}

impl Report {
    /// Whether any detector has raised an alarm.
    pub fn is_alarm(&self) -> bool {
        self.detectors.iter().any(|detector| detector.alarm.is_some())
    }

    /// The alarms in one sentence; `None` where there is none.
    pub fn alarm(&self) -> Option<String> {
        let raised = self.detectors.iter().filter_map(|detector| Some((&detector.name, detector.alarm?)));
        let raised: Vec<String> =
            raised.map(|(name, alarm)| format!("{name} since {}", format_timestamp(alarm.since))).collect();
        if raised.is_empty() {
            return None;
        }
        Some(format!("the stream is no longer like the training: {}; {}", raised.join(", "), self.drifted()))
    }

    /// What is said of each detector, in a sentence.
    pub fn sentences(&self) -> impl Iterator<Item = String> + '_ {
        self.detectors.iter().map(|detector| self.said(detector))
    }

    /// What is said of one of its detectors.
    pub fn said(&self, of: &DetectorReport) -> String {
        let DetectorReport { name, is_exact, scores, evidence, changed, alarm, .. } = of;
        let Some(evidence) = evidence else {
            return format!(
                "{name}: drift is not watched, because an earlier trainer wrote its model; train it again."
            );
        };
        let about = if *is_exact { "at most" } else { "about" };
        let alpha = self.spec.alpha;
        match (alarm, changed) {
            (Some(alarm), _) => format!(
                "{name}: the stream is no longer like the training since {} (record {} of this run, told at record {}; the \
                 probability that this is chance is {about} {alpha}); {}.",
                format_timestamp(alarm.since),
                alarm.unchanged + 1,
                alarm.after,
                self.drifted()
            ),
            (None, Some(changed)) => format!(
                "{name}: something small has changed since {}; no feature and no score differs enough for an alarm (PSI \
                 {LEAST_CHANGE}).",
                format_timestamp(changed.since)
            ),
            (None, None) => format!(
                "{name}: no drift told in {scores} records (evidence 10^{evidence:.1}; it is told at 10^{:.1}, with a \
                 probability of {about} {alpha} by chance).",
                -alpha.log10()
            ),
        }
    }

    /// Which features differ most now, in words.
    fn drifted(&self) -> String {
        let mut features: Vec<(&str, f64)> = self
            .features
            .iter()
            .filter_map(|feature| Some((feature.name.as_str(), feature.stability?)))
            .filter(|(_, stability)| *stability >= LEAST_CHANGE)
            .collect();
        features.sort_by(|a, b| b.1.total_cmp(&a.1));
        let named: Vec<String> =
            features.iter().take(MOST_NAMED).map(|(name, stability)| format!("{name} (PSI {stability:.2})")).collect();
        match named.as_slice() {
            [] => "no single feature stands out".to_owned(),
            named => format!("the features that differ most are {}", named.join(", ")),
        }
    }
}
