//! What gave an entity away, in one line.

use std::fmt;

use serde_json::Value;
use shared::text::printable;
use shared::verdict::{Named, Verdict};

/// The feature with the largest share of a score.
#[derive(Debug, Clone, PartialEq)]
pub struct Cause {
    /// Its name.
    pub feature: String,
    /// Its value, where the verdict tells it.
    pub value: Option<f64>,
    /// The value that would have been normal, where the detector knows one.
    pub usual: Option<f64>,
    /// Its share of the score.
    pub share: f64,
    /// Why the entity is an anomaly, in a sentence, where the verdict has one.
    pub reason: Option<String>,
}

impl Cause {
    /// What a verdict names first; nothing where it names no feature.
    pub fn of(verdict: &Verdict) -> Option<Self> {
        let (feature, share) = verdict.main_contribution()?;
        let number = |of: &Named| of.get(feature).and_then(Value::as_f64);
        let (value, usual) = (number(&verdict.features), number(&verdict.expected));
        let reason = verdict.reason.clone();
        Some(Self { feature: feature.to_owned(), value, usual, share, reason })
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // It may have come from a file.
        if let Some(reason) = &self.reason {
            return write!(f, "{}", printable(reason));
        }
        write!(f, "{}", printable(&self.feature))?;
        if let Some(value) = self.value {
            write!(f, " = {value:.2}")?;
        }
        if let Some(usual) = self.usual {
            write!(f, ", usually {usual:.2}")?;
        }
        write!(f, " ({:.0}%)", self.share * 100.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_says_what_it_knows() {
        let mut cause = Cause {
            feature: "NumberItems".to_owned(),
            value: Some(3340.0),
            usual: Some(141.256),
            share: 0.998,
            reason: None,
        };
        insta::assert_snapshot!(cause, @"NumberItems = 3340.00, usually 141.26 (100%)");
        cause.usual = None;
        insta::assert_snapshot!(cause, @"NumberItems = 3340.00 (100%)");
        cause.value = None;
        insta::assert_snapshot!(cause, @"NumberItems (100%)");
        cause.reason = Some("4,000 items, 44 times the usual 91".to_owned());
        insta::assert_snapshot!(cause, @"4,000 items, 44 times the usual 91");
    }
}
