//! How bad an anomaly is.

use serde::{Deserialize, Serialize};

/// The levels of `docs/messages.md`, the lowest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Just beyond the threshold.
    Low,
    /// Worse.
    Medium,
    /// Much worse.
    High,
    /// As bad as it gets.
    Critical,
}

impl Severity {
    /// Every level, the lowest first.
    pub const ALL: [Self; 4] = [Self::Low, Self::Medium, Self::High, Self::Critical];

    /// The level of this name.
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.name() == name)
    }

    /// Its name, in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}
