//! What somebody is told.

use ring::digest::{Context, SHA256};
use serde::Serialize;

use crate::anomaly::{Anomaly, Severity};

/// What anomalies of an alert have in common, by name.
pub type Group = Vec<(String, String)>;

/// Whether it is so, or no longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It is so.
    Firing,
    /// It is no longer so.
    Resolved,
    /// It was not so at all: somebody tests a channel.
    Test,
}

impl Status {
    /// Its name, as in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Firing => "firing",
            Self::Resolved => "resolved",
            Self::Test => "test",
        }
    }
}

/// A message to be sent.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Alert {
    /// The same for the same alert, whenever it is decided and however often it is sent: a receiver drops what it has seen.
    pub id: String,
    /// The same for all messages of a rule about a group.
    pub group_id: String,
    /// The pipeline.
    pub pipeline: String,
    /// The rule.
    pub rule: String,
    /// Whether it is so.
    pub status: Status,
    /// The worst severity; of rules about the stream there is none.
    pub severity: Option<Severity>,
    /// What the anomalies have in common.
    #[serde(serialize_with = "as_map")]
    pub group: Group,
    /// What it is about, in one sentence.
    pub summary: String,
    /// Since when it is so, in milliseconds since 1970.
    pub since: i64,
    /// When this was decided, in milliseconds since 1970.
    pub at: i64,
    /// Anomalous entities since it began.
    pub count: u64,
    /// Those of them that no earlier message counted.
    pub new: u64,
    /// How often it was sent again since something new came.
    pub repeats: u32,
    /// The share, the records, the milliseconds or the drifting detectors that a rule about the stream is about.
    pub value: Option<f64>,
    /// The newest of the anomalies.
    pub anomalies: Vec<Anomaly>,
}

fn as_map<S: serde::Serializer>(group: &Group, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(group.iter().map(|(name, value)| (name, value)))
}

impl Alert {
    /// One that says that a channel works.
    pub fn test(pipeline: &str, rule: &str, at: i64) -> Self {
        let anomaly = Anomaly {
            entity: format!("{pipeline}/0/0/test"),
            key: "test".to_owned(),
            detector: "test".to_owned(),
            severity: Severity::Low,
            reason: "this is a test: nothing was found".to_owned(),
            customer: None,
            fields: Vec::new(),
            at,
        };
        Self {
            id: digest(&["test", pipeline, rule, &at.to_string()]),
            group_id: digest(&["test", pipeline, rule]),
            pipeline: pipeline.to_owned(),
            rule: rule.to_owned(),
            status: Status::Test,
            severity: Some(Severity::Low),
            group: Vec::new(),
            summary: format!("a test of the alert `{rule}` of pipeline `{pipeline}`"),
            since: at,
            at,
            count: 1,
            new: 1,
            repeats: 0,
            value: None,
            anomalies: vec![anomaly],
        }
    }
}

/// Names what these parts make, in 32 hexadecimal digits. Where a part ends is part of what is hashed.
pub(crate) fn digest(parts: &[&str]) -> String {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_le_bytes());
        context.update(part.as_bytes());
    }
    context.finish().as_ref().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_depend_on_where_parts_end() {
        assert_ne!(digest(&["ab", "c"]), digest(&["a", "bc"]));
        assert_eq!(digest(&["ab", "c"]), digest(&["ab", "c"]));
        assert_eq!(digest(&[]).len(), 32);
    }
}
