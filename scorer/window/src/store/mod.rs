//! The newest anomalies and erroneous messages, within bounds.

mod anomalies;
mod entity;
mod errors;
pub(crate) mod labels;
mod opinion;
mod query;
mod row;
mod severity;
mod timeline;
mod verdict;

pub(crate) use anomalies::{Anomalies, Group};
pub(crate) use entity::Entity;
pub(crate) use errors::{DeadLetter, Errors};
pub(crate) use labels::Labels;
pub(crate) use query::{Query, Sort};
pub use row::{FlaggedBy, Row};
pub use severity::Severity;

use crate::intake::{Committed, Kind};
use verdict::verdicts_of;

/// How much the window keeps. What is beyond that goes, the oldest first.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Entities with anomalies.
    pub entities: usize,
    /// Their bytes, about.
    pub entity_bytes: usize,
    /// Erroneous messages.
    pub errors: usize,
    /// Their bytes, about.
    pub error_bytes: usize,
}

impl Limits {
    /// The most bytes that the window takes, about: what it keeps, the labels among it, what waits to be taken in or to
    /// be scored, and its connections.
    pub const fn bytes(&self) -> usize {
        self.entity_bytes + self.error_bytes + (64 << 20)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self { entities: 20_000, entity_bytes: 48 << 20, errors: 2_000, error_bytes: 8 << 20 }
    }
}

/// Everything that is kept of messages.
#[derive(Debug)]
pub(crate) struct Store {
    pub anomalies: Anomalies,
    pub errors: Errors,
    pub labels: Labels,
    /// Messages that could not be read: none that this program writes.
    pub unreadable: u64,
}

impl Store {
    pub(crate) fn new(limits: Limits) -> Self {
        let anomalies = Anomalies::new(limits.entities, limits.entity_bytes);
        let errors = Errors::new(limits.errors, limits.error_bytes);
        Self { anomalies, errors, labels: Labels::new(), unreadable: 0 }
    }

    /// Takes a message in, and gives the names of the entities that it says something new of. One that is there already
    /// changes nothing.
    pub(crate) fn take(&mut self, Committed { kind, payload, at }: &Committed) -> Vec<String> {
        let mut news = Vec::new();
        let is_readable = match kind {
            Kind::Verdict => match verdicts_of(payload) {
                Some(verdicts) => {
                    let is_anomaly = verdicts.iter().any(|verdict| verdict.opinion.anomalous);
                    let changed =
                        verdicts.into_iter().filter_map(|verdict| self.anomalies.add(verdict, *at, is_anomaly));
                    news.extend(changed);
                    true
                }
                None => false,
            },
            Kind::DeadLetter => match DeadLetter::read(payload, *at) {
                Some(letter) => {
                    self.errors.add(letter);
                    true
                }
                None => false,
            },
        };
        self.unreadable += u64::from(!is_readable);
        news
    }
}

#[cfg(test)]
pub(crate) mod tests;
