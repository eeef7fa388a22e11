//! `[[alerts]]` and `[[channels]]`: when somebody is told, and how.

mod channel;
mod keys;
mod rule;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use records::time::Millis;

pub(super) use channel::channels;
pub(super) use rule::{Names, alerts};

/// When somebody is told.
#[derive(Debug, Clone, PartialEq)]
pub struct AlertSpec {
    /// Its name.
    pub name: String,
    /// What has to be so.
    pub condition: AlertCondition,
    /// What anomalies have to have in common to be one alert.
    pub group_by: Vec<AlertBy>,
    /// The least time between two messages of a group.
    pub throttle: Millis,
    /// After which time a message is sent again while it is still so.
    pub repeat: Option<Millis>,
    /// How long it has to be otherwise until it is resolved.
    pub resolve_after: Millis,
    /// The names of its channels.
    pub channels: Vec<String>,
}

/// What has to be so.
#[derive(Debug, Clone, PartialEq)]
pub enum AlertCondition {
    /// So many entities are anomalous within a span.
    Anomaly {
        /// The least severity.
        severity: &'static str,
        /// By these detectors; any, where there are none.
        detectors: Vec<String>,
        /// So many.
        count: u32,
        /// Within this span.
        window: Millis,
    },
    /// More than this share of the records of a span is erroneous.
    ErroneousRate {
        /// The share.
        above: f64,
        /// The span.
        window: Millis,
        /// Of fewer records nothing is said.
        min_records: u64,
    },
    /// The stream is behind by more than this, for so long.
    Lag {
        /// Records.
        records: Option<u64>,
        /// The age of the record that was read last.
        age: Option<Millis>,
        /// For so long.
        lasting: Millis,
    },
    /// No records come for so long.
    Silence {
        /// For so long.
        lasting: Millis,
    },
    /// The stream is no longer like the training.
    Drift,
}

/// What anomalies have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AlertBy {
    /// The entity's key.
    Key,
    /// The customer.
    Customer,
    /// The detector.
    Detector,
    /// One of `[outputs] fields`.
    Field(String),
}

/// A way to tell somebody.
#[derive(Debug, Clone, PartialEq)]
pub struct ChannelSpec {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: ChannelKind,
    /// The template of the title, where the kind has one.
    pub title: Option<String>,
    /// The template of the text.
    pub text: Option<String>,
    /// How long an answer may take.
    pub timeout: Millis,
}

/// What a channel is.
#[derive(Debug, Clone, PartialEq)]
pub enum ChannelKind {
    /// JSON to an address, signed where there is a secret.
    Webhook {
        /// The address.
        url: Reference,
        /// What signs.
        secret: Option<Reference>,
    },
    /// A text to an address of Slack, or of what takes the same.
    Slack {
        /// The address.
        url: Reference,
    },
    /// E-mail.
    Email {
        /// The server's name.
        host: String,
        /// Its port.
        port: u16,
        /// How the connection is encrypted.
        security: MailSecurity,
        /// Name and password.
        login: Option<(Reference, Reference)>,
        /// The sender.
        from: String,
        /// The receivers.
        to: Vec<String>,
    },
    /// Prometheus' Alertmanager.
    Alertmanager {
        /// The address.
        url: Reference,
    },
    /// A topic of the same Kafka.
    Kafka {
        /// The topic.
        topic: String,
    },
}

/// How the connection to a mail server is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailSecurity {
    /// Not at all.
    None,
    /// After a greeting.
    StartTls,
    /// From the first byte on.
    Tls,
}

/// Where a value stands that the file should not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reference {
    /// In the file itself: it is no secret.
    Plain(String),
    /// In an environment variable.
    Env(String),
    /// In a file, on one line.
    File(PathBuf),
}

impl ChannelSpec {
    /// The topic of a channel that is one.
    pub fn topic(&self) -> Option<&str> {
        match &self.kind {
            ChannelKind::Kafka { topic } => Some(topic),
            _ => None,
        }
    }
}

impl ChannelKind {
    /// Its name in the file.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Webhook { .. } => "webhook",
            Self::Slack { .. } => "slack",
            Self::Email { .. } => "email",
            Self::Alertmanager { .. } => "alertmanager",
            Self::Kafka { .. } => "kafka",
        }
    }
}
