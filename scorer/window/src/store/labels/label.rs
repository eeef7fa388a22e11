//! What an analyst says of an anomaly: `docs/labels.md`.

use serde::{Deserialize, Serialize};

use super::moment;
use crate::store::Entity;
use crate::store::severity::Severity;

/// What it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Word {
    /// It is one.
    Anomaly,
    /// It is none.
    FalseAlarm,
    /// Whoever looked at it cannot tell.
    Unsure,
}

impl Word {
    /// It in words.
    pub fn name(self) -> &'static str {
        match self {
            Self::Anomaly => "anomaly",
            Self::FalseAlarm => "false alarm",
            Self::Unsure => "unsure",
        }
    }
}

/// How far somebody has come with an anomaly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Nobody has taken it.
    Open,
    /// Somebody has, or is unsure.
    InReview,
    /// It is known what it is.
    Closed,
    /// It is open, and an exception covers it.
    Hidden,
}

/// An analyst's word, as it is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Label {
    pub schema: u32,
    pub kind: LabelKind,
    /// The entity: the id of its verdicts without the detector.
    pub id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pipeline: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub customer_id: Option<String>,
    #[serde(default)]
    pub label: Option<Word>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub owner: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub by: String,
    #[serde(with = "moment")]
    pub at: i64,
    #[serde(default, with = "moment::maybe", skip_serializing_if = "Option::is_none")]
    pub scored_at: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_time: Option<String>,
    /// The verdicts that called it an anomaly.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub verdicts: Vec<Of>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
}

/// Tells this kind of entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LabelKind {
    Label,
}

/// A verdict that a label is about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Of {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    pub detector: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_version: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity: Option<Severity>,
    /// The feature with the largest share of the score.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub feature: Option<String>,
}

impl Label {
    /// Of an entity, with nothing said yet.
    pub(crate) fn of(entity: &Entity, pipeline: &str, at: i64) -> Self {
        let verdicts = entity.opinions.iter().filter(|opinion| opinion.anomalous).map(|opinion| Of {
            id: opinion.id.clone(),
            detector: opinion.detector.clone(),
            model_version: opinion.model_version.clone(),
            severity: opinion.severity,
            feature: opinion.feature.clone(),
        });
        Self {
            schema: 1,
            kind: LabelKind::Label,
            id: entity.id.clone(),
            pipeline: Some(pipeline.to_owned()),
            key: Some(entity.key.clone()),
            customer_id: entity.customer.clone(),
            label: None,
            reason: String::new(),
            note: String::new(),
            owner: String::new(),
            by: String::new(),
            at,
            scored_at: Some(entity.at),
            event_time: Some(entity.event_time.clone()),
            verdicts: verdicts.collect(),
            request: None,
        }
    }

    pub(crate) fn state(&self) -> State {
        match self.label {
            Some(Word::Anomaly | Word::FalseAlarm) => State::Closed,
            Some(Word::Unsure) => State::InReview,
            None if !self.owner.is_empty() => State::InReview,
            None => State::Open,
        }
    }

    /// When its anomaly was scored; where nobody wrote that down, when it was said.
    pub(super) fn scored_or_said_at(&self) -> i64 {
        self.scored_at.unwrap_or(self.at)
    }

    /// Bytes that it takes, about.
    pub(super) fn bytes(&self) -> usize {
        let texts = [&self.id, &self.reason, &self.note, &self.owner, &self.by].map(|text| text.len());
        let key = self.key.as_ref().map_or(0, String::len) + self.customer_id.as_ref().map_or(0, String::len);
        400 + texts.iter().sum::<usize>() + key + self.verdicts.len() * 160
    }
}
