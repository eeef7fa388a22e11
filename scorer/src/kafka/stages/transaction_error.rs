//! Why a transaction failed, in Kafka's terms.

use std::fmt;

use rdkafka::error::RDKafkaErrorCode;

use crate::kafka::client::error::KafkaError;
use crate::kafka::client::producer::{Failures, ProducedOffsets, RefusedRecord, is_refusal};

/// Why a transaction failed. Whatever the reason, it is over.
#[derive(Debug)]
pub(crate) enum TransactionError {
    /// Nothing of it is committed; the same may be tried again.
    Abortable(String),
    /// The same, and the producer cannot be used any more.
    FatalProducer(String),
    /// The commit was asked for, and it is not known whether it happened. If it did, these are the offsets of its records.
    Unknown(String, ProducedOffsets),
    /// Topics do not take these records; without them the rest may be tried again. There are none where a batch was refused
    /// and it is not known which of its records is meant: the next attempt sends each one alone.
    Refused(Vec<RefusedRecord>),
    /// Trying again would not help.
    Undeliverable(KafkaError),
}

impl TransactionError {
    /// What a record that was not accepted means for its transaction.
    pub(crate) fn undelivered(tag: usize, topic: String, code: RDKafkaErrorCode) -> Self {
        match code {
            code if is_refusal(code) => Self::Refused(vec![RefusedRecord { tag, topic, code }]),
            // The topic refuses, whatever the record.
            RDKafkaErrorCode::TopicAuthorizationFailed
            | RDKafkaErrorCode::UnknownTopicOrPartition
            | RDKafkaErrorCode::UnknownTopic
            | RDKafkaErrorCode::UnknownPartition => {
                let denied = KafkaError::denied(code, || format!("writing to topic `{topic}`"));
                let cause = code.to_string();
                Self::Undeliverable(denied.unwrap_or(KafkaError::NotDelivered { topic, cause }))
            }
            _ => Self::Abortable(format!("a message to `{topic}`: {code}")),
        }
    }

    /// The same, once it is known what became of the records. A record that was not accepted fails the calls that follow,
    /// with errors that do not say so.
    pub(crate) fn because_of(self, failures: Failures) -> Self {
        let Failures { mut refused, other, .. } = failures;
        match (self, other) {
            (Self::Unknown(reason, produced), _) => Self::Unknown(reason, produced),
            (Self::Undeliverable(error), _) => Self::Undeliverable(error),
            (Self::Refused(more), _) => {
                refused.extend(more);
                Self::Refused(refused)
            }
            (_, _) if !refused.is_empty() => Self::Refused(refused),
            (error @ Self::FatalProducer(_), Some((topic, code))) => match Self::undelivered(0, topic, code) {
                Self::Abortable(_) => error,
                clearer => clearer,
            },
            (_, Some((topic, code))) => Self::undelivered(0, topic, code),
            (error, None) => error,
        }
    }
}

impl fmt::Display for TransactionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Abortable(reason) | Self::FatalProducer(reason) | Self::Unknown(reason, _) => f.write_str(reason),
            Self::Refused(records) => match records.first() {
                Some(RefusedRecord { topic, code, .. }) => write!(f, "a message to `{topic}` was refused: {code}"),
                None => f.write_str("a batch of messages was refused"),
            },
            Self::Undeliverable(error) => error.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn undelivered(code: RDKafkaErrorCode) -> TransactionError {
        TransactionError::undelivered(7, "out".to_owned(), code)
    }

    #[test]
    fn a_record_is_refused_a_topic_ends_the_process_and_a_broker_is_tried_again() {
        let TransactionError::Refused(refused) = undelivered(RDKafkaErrorCode::MessageSizeTooLarge) else { panic!() };
        assert_eq!((refused[0].tag, refused[0].topic.as_str()), (7, "out"));
        assert!(matches!(undelivered(RDKafkaErrorCode::InvalidTimestamp), TransactionError::Refused(_)));
        assert!(matches!(
            undelivered(RDKafkaErrorCode::TopicAuthorizationFailed),
            TransactionError::Undeliverable(KafkaError::Forbidden { action, .. }) if action == "writing to topic `out`"
        ));
        assert!(matches!(
            undelivered(RDKafkaErrorCode::UnknownTopicOrPartition),
            TransactionError::Undeliverable(KafkaError::NotDelivered { .. })
        ));
        assert!(matches!(undelivered(RDKafkaErrorCode::NotLeaderForPartition), TransactionError::Abortable(_)));
    }

    #[test]
    fn the_record_that_was_refused_is_the_cause_of_the_calls_that_fail_after_it() {
        let failures = || Failures {
            refused: vec![RefusedRecord {
                tag: 3,
                topic: "out".to_owned(),
                code: RDKafkaErrorCode::MessageSizeTooLarge,
            }],
            ..Failures::default()
        };
        let state = || "send_offsets_to_transaction: Erroneous state".to_owned();
        for masked in [TransactionError::Abortable(state()), TransactionError::FatalProducer(state())] {
            assert!(matches!(masked.because_of(failures()), TransactionError::Refused(refused) if refused[0].tag == 3));
        }
        // What may have been committed has to be looked up first.
        let unknown = TransactionError::Unknown(state(), ProducedOffsets::new());
        assert!(matches!(unknown.because_of(failures()), TransactionError::Unknown(..)));
        let nothing = TransactionError::Abortable(state()).because_of(Failures::default());
        assert!(matches!(nothing, TransactionError::Abortable(reason) if reason == state()));
    }
}
