//! A row of the list: an entity with what analysts say of it.

use serde::Serialize;
use serde_json::Value;

use super::entity::Entity;
use super::labels::{Kept, Label, Labels, State, Word};
use super::severity::Severity;

/// An entity with what analysts say of it. It serializes as `/api/v1/anomalies` gives it.
#[derive(Debug, Serialize)]
pub struct Row<'a> {
    #[serde(flatten)]
    entity: &'a Entity,
    state: State,
    label: Option<&'a Kept<Label>>,
}

/// What a detector says that calls the entity an anomaly.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FlaggedBy<'a> {
    /// Its name.
    pub detector: &'a str,
    /// How bad it says that this is.
    pub severity: Option<Severity>,
    /// The score, in the detector's own units.
    pub score: f64,
    /// The score that an anomaly exceeds.
    pub threshold: f64,
}

impl<'a> Row<'a> {
    pub(crate) fn of(entity: &'a Entity, labels: &'a Labels) -> Self {
        Self { entity, state: labels.state(entity), label: labels.get(&entity.id) }
    }

    /// The entity's name, the same whenever it is judged again.
    pub fn id(&self) -> &'a str {
        &self.entity.id
    }

    /// The entity's key.
    pub fn key(&self) -> &'a str {
        &self.entity.key
    }

    /// Its customer.
    pub fn customer(&self) -> Option<&'a str> {
        self.entity.customer.as_deref()
    }

    /// When it was scored, in milliseconds since 1970.
    pub fn at(&self) -> i64 {
        self.entity.at
    }

    /// When it was complete, by the clock of the pipeline.
    pub fn event_time(&self) -> &'a str {
        &self.entity.event_time
    }

    /// The worst that a detector says.
    pub fn severity(&self) -> Option<Severity> {
        self.entity.severity
    }

    /// The detector that says so.
    pub fn worst_detector(&self) -> &'a str {
        &self.entity.worst_detector
    }

    /// Why, in its words.
    pub fn reason(&self) -> Option<&'a str> {
        self.entity.reason.as_deref()
    }

    /// The detectors that call it an anomaly.
    pub fn opinions(&self) -> impl Iterator<Item = FlaggedBy<'a>> + use<'a> {
        let anomalous = self.entity.opinions.iter().filter(|opinion| opinion.anomalous);
        anomalous.map(|it| FlaggedBy {
            detector: &it.detector,
            severity: it.severity,
            score: it.score,
            threshold: it.threshold,
        })
    }

    /// What the worst detector's message says of this name.
    pub fn said_by_worst(&self, name: &str) -> Option<Value> {
        let Entity { opinions, messages, worst_detector, .. } = self.entity;
        let worst = opinions.iter().position(|opinion| opinion.detector == *worst_detector)?;
        let mut message: Value = serde_json::from_str(messages.get(worst)?).ok()?;
        message.get_mut(name).map(Value::take)
    }

    /// How far somebody has come with it.
    pub fn state(&self) -> State {
        self.state
    }

    /// What an analyst says that it is.
    pub fn word(&self) -> Option<Word> {
        self.label?.entry.label
    }

    /// Who deals with it.
    pub fn owner(&self) -> Option<&'a str> {
        self.label.map(|label| label.entry.owner.as_str()).filter(|owner| !owner.is_empty())
    }
}
