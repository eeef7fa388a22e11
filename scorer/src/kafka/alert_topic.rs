//! A topic as a channel of alerts. It has a producer of its own and no part in the transactions of the stream: an alert is
//! published at least once, and its id tells whoever reads the topic what they have seen.

use std::borrow::Cow;

use alerts::{Alert, Channel, SendError};

use super::client::error::KafkaError;
use super::client::producer::{ProduceRecord, Producer};
use super::client::settings::KafkaSettings;

/// A topic that alerts are published to.
pub struct AlertTopic {
    producer: Producer,
    topic: String,
}

impl AlertTopic {
    /// A topic of these brokers.
    ///
    /// # Errors
    /// [`KafkaError::Settings`] when librdkafka refuses a setting.
    pub fn new(settings: &KafkaSettings, topic: &str) -> Result<Self, KafkaError> {
        Ok(Self { producer: Producer::new(settings)?, topic: topic.to_owned() })
    }
}

impl Channel for AlertTopic {
    fn send(&self, alert: &Alert) -> Result<(), SendError> {
        let payload = serde_json::to_vec(alert).map_err(|error| SendError::Refused(error.to_string()))?;
        let record = ProduceRecord {
            // All messages about a group are in one partition, in their order.
            key: Some(alert.group_id.as_bytes()),
            payload: Some(Cow::Owned(payload)),
            more_headers: vec![
                ("idempotency_key", alert.id.clone()),
                ("pipeline", alert.pipeline.clone()),
                ("alert", alert.rule.clone()),
                ("status", alert.status.name().to_owned()),
            ]
            .into(),
            ..ProduceRecord::to(&self.topic)
        };
        self.producer.queue(record).map_err(|error| SendError::later(error.to_string()))?;
        self.producer.flush().map_err(|error| SendError::later(error.to_string()))
    }
}
