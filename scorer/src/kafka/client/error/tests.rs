//! What kind an error is of.

use super::*;

#[test]
fn what_a_broker_refuses_is_told_apart_from_what_it_cannot_do_now() {
    let kind = |code| KafkaError::of("asking", &ClientError::Global(code)).kind();
    assert_eq!(kind(RDKafkaErrorCode::TopicAuthorizationFailed), ErrorKind::Permission);
    assert_eq!(kind(RDKafkaErrorCode::TransactionalIdAuthorizationFailed), ErrorKind::Permission);
    let said = KafkaError::of("asking", &ClientError::Global(RDKafkaErrorCode::GroupAuthorizationFailed)).to_string();
    assert!(said.contains("go on: asking: it may not use the consumer group"), "{said}");
    assert_eq!(kind(RDKafkaErrorCode::InvalidTransactionTimeout), ErrorKind::Configuration);
    assert_eq!(kind(RDKafkaErrorCode::OperationTimedOut), ErrorKind::Unavailable);
    assert_eq!(kind(RDKafkaErrorCode::NotLeaderForPartition), ErrorKind::Unavailable);
}
