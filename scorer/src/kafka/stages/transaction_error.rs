//! Why a transaction failed, in Kafka's terms.

use std::fmt;

use rdkafka::error::RDKafkaErrorCode;

use crate::kafka::client::error::KafkaError;

/// Why a transaction failed.
#[derive(Debug)]
pub(crate) enum TransactionError {
    /// The transaction is aborted; the producer can be used again.
    Abortable(String),
    /// The producer cannot be used any more, or it is not known whether the transaction was committed.
    FatalProducer(String),
    /// Trying again would not help.
    Undeliverable(KafkaError),
}

impl TransactionError {
    /// What a record that was not accepted means for its transaction.
    pub(crate) fn undelivered(topic: String, code: RDKafkaErrorCode) -> Self {
        match code {
            // The same record would be refused again.
            RDKafkaErrorCode::MessageSizeTooLarge
            | RDKafkaErrorCode::InvalidMessage
            | RDKafkaErrorCode::InvalidMessageSize
            | RDKafkaErrorCode::TopicAuthorizationFailed
            | RDKafkaErrorCode::UnknownTopicOrPartition
            | RDKafkaErrorCode::UnknownTopic
            | RDKafkaErrorCode::UnknownPartition => {
                Self::Undeliverable(KafkaError::NotDelivered { topic, cause: code.to_string() })
            }
            _ => Self::Abortable(format!("a message to `{topic}`: {code}")),
        }
    }
}

impl fmt::Display for TransactionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Abortable(reason) | Self::FatalProducer(reason) => f.write_str(reason),
            Self::Undeliverable(error) => error.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_that_would_be_refused_again_is_not_tried_again() {
        let undelivered = |code| TransactionError::undelivered("out".to_owned(), code);
        assert!(matches!(
            undelivered(RDKafkaErrorCode::MessageSizeTooLarge),
            TransactionError::Undeliverable(KafkaError::NotDelivered { .. })
        ));
        assert!(matches!(undelivered(RDKafkaErrorCode::NotLeaderForPartition), TransactionError::Abortable(_)));
    }
}
