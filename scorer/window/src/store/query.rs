//! What is asked of the anomalies.

use serde::Deserialize;

use super::entity::Entity;
use super::labels::{Labels, State};
use super::severity::Severity;

/// Which entities, in which order.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Query {
    /// Those that this detector calls anomalous.
    pub detector: Option<String>,
    /// Those of this severity, and worse ones.
    pub severity: Option<Severity>,
    /// Those of this customer.
    pub customer: Option<String>,
    /// Those with this text in their key, customer, fields or reasons; case does not matter.
    pub q: Option<String>,
    /// Those that were scored at this moment or later, in milliseconds since 1970.
    pub since: Option<i64>,
    /// Those that were scored before this moment.
    pub until: Option<i64>,
    /// Those that somebody has come so far with; without it, all but those that an exception hides.
    pub state: Option<State>,
    /// In which order.
    pub sort: Sort,
    /// How many to leave out.
    pub skip: usize,
    /// How many to give.
    pub limit: Option<usize>,
}

/// An order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Sort {
    /// What was scored last comes first.
    #[default]
    Newest,
    /// What is worst comes first.
    Worst,
}

/// A part of what was found.
#[derive(Debug)]
pub(crate) struct Page<'a> {
    /// How many there are in all.
    pub matching: usize,
    pub entities: Vec<&'a Entity>,
}

impl Query {
    /// The conditions, prepared to be asked of many.
    pub(crate) fn filter(&self, labels: &Labels) -> impl Fn(&Entity) -> bool {
        let text = self.q.as_deref().map(str::trim).filter(|text| !text.is_empty()).map(str::to_lowercase);
        move |entity| {
            let is_of_detector =
                |name: &String| entity.opinions.iter().any(|opinion| opinion.anomalous && opinion.detector == *name);
            self.detector.as_ref().is_none_or(is_of_detector)
                && (self.severity.is_none() || entity.severity >= self.severity)
                && (self.customer.is_none() || entity.customer == self.customer)
                && self.since.is_none_or(|since| entity.at >= since)
                && self.until.is_none_or(|until| entity.at < until)
                && match (labels.state(entity), self.state) {
                    (state, None) => state != State::Hidden,
                    (state, Some(wanted)) => state == wanted,
                }
                && text.as_ref().is_none_or(|text| entity.texts().any(|it| it.to_lowercase().contains(text)))
        }
    }
}
