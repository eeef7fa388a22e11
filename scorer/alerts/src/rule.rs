//! When somebody is told.

use crate::anomaly::{Anomaly, Severity};

/// A rule of the pipeline file. Spans are in milliseconds.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// Its name.
    pub name: String,
    /// What has to be so.
    pub condition: Condition,
    /// What anomalies have to have in common to be one alert; nothing: all are.
    pub group_by: Vec<By>,
    /// The least time between two messages of a group.
    pub throttle: i64,
    /// How long after a message it is sent again, while it is still so and nobody has acknowledged it.
    pub repeat: Option<i64>,
    /// How long it has to be otherwise until it is resolved.
    pub resolve_after: i64,
    /// The channels, by name.
    pub channels: Vec<String>,
}

/// What has to be so.
#[derive(Debug, Clone, PartialEq)]
pub enum Condition {
    /// Enough entities are anomalous within a span.
    Anomalies {
        /// At least this bad.
        severity: Severity,
        /// To one of these detectors; to any, where there are none.
        detectors: Vec<String>,
        /// So many entities.
        count: usize,
        /// Within this span.
        window: i64,
    },
    /// Too large a share of the records is erroneous.
    ErroneousRate {
        /// The share that is too large: more than this.
        above: f64,
        /// Of the records of this span.
        window: i64,
        /// Of fewer records nothing is said.
        min_records: u64,
    },
    /// The stream is behind, for a while.
    Lag {
        /// By more records than this.
        records: Option<u64>,
        /// Or by more time.
        age: Option<i64>,
        /// For so long.
        lasting: i64,
    },
    /// Nothing was read for a while.
    Silence {
        /// For so long.
        lasting: i64,
    },
    /// The stream is no longer like the training.
    Drift,
}

/// What anomalies have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum By {
    /// The entity's key.
    Key,
    /// The customer.
    Customer,
    /// The detector.
    Detector,
    /// A field that verdicts repeat.
    Field(String),
}

impl By {
    /// Its name, as in the pipeline file.
    pub fn name(&self) -> &str {
        match self {
            Self::Key => "key",
            Self::Customer => "customer",
            Self::Detector => "detector",
            Self::Field(name) => name,
        }
    }

    fn of<'a>(&self, anomaly: &'a Anomaly) -> &'a str {
        match self {
            Self::Key => &anomaly.key,
            Self::Customer => anomaly.customer.as_deref().unwrap_or_default(),
            Self::Detector => &anomaly.detector,
            Self::Field(name) => {
                let field = anomaly.fields.iter().find(|(other, _)| other == name);
                field.map_or("", |(_, value)| value.as_str())
            }
        }
    }
}

impl Rule {
    /// Whether it is about an anomaly of this severity, by this detector.
    pub fn concerns(&self, severity: Severity, detector: &str) -> bool {
        match &self.condition {
            Condition::Anomalies { severity: least, detectors, .. } => {
                severity >= *least && (detectors.is_empty() || detectors.iter().any(|name| name == detector))
            }
            Condition::ErroneousRate { .. } | Condition::Lag { .. } | Condition::Silence { .. } | Condition::Drift => {
                false
            }
        }
    }

    /// For how long it matters to this rule what was found, in milliseconds.
    pub fn memory(&self) -> i64 {
        let window = if let Condition::Anomalies { window, .. } = self.condition { window } else { 0 };
        self.resolve_after.max(window)
    }

    /// What an anomaly has of what groups have in common. What it has not is empty.
    pub(crate) fn group_of(&self, anomaly: &Anomaly) -> Vec<String> {
        self.group_by.iter().map(|by| by.of(anomaly).to_owned()).collect()
    }
}
