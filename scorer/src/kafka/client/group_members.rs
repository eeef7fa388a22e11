//! The members of a group and their partitions, whoever hands these out.
//!
//! The library's Rust wrapper asks in a way that knows only groups of the classic protocol: of others, the broker says
//! there that they have no members. The library itself has a question for both.

use std::ffi::{CStr, CString, c_char};
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::bindings as native;
use rdkafka::client::Client;
use rdkafka::error::{KafkaError as ClientError, KafkaResult};
use rdkafka::types::RDKafkaRespErr;

/// A member of a group, and what the group has given it of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GroupMember {
    /// What the broker calls it.
    pub id: String,
    /// In rising order.
    pub partitions: Vec<i32>,
}

/// How many members `group` has; none where there is no such group. Each question to a broker may take `wait`.
///
/// # Errors
/// When the group's coordinator does not tell.
pub(crate) fn members_of<C: ClientContext>(client: &Client<C>, group: &str, wait: Duration) -> KafkaResult<usize> {
    // SAFETY: the description is alive as long as it is read.
    let count = |description| unsafe { native::rd_kafka_ConsumerGroupDescription_member_count(description) };
    Ok(describe(client, group, wait, count)?.unwrap_or(0))
}

/// The members of `group`, each with its partitions of `topic`; none where there is no such group. While a group is being
/// rebalanced, they have none. Each question to a broker may take `wait`.
///
/// # Errors
/// When the group's coordinator does not tell.
pub(crate) fn owners_of<C: ClientContext>(
    client: &Client<C>,
    (group, topic): (&str, &str),
    wait: Duration,
) -> KafkaResult<Vec<GroupMember>> {
    // SAFETY: the description is alive as long as it is read.
    let members = |description| unsafe { owners(description, topic) };
    Ok(describe(client, group, wait, members)?.unwrap_or_default())
}

/// What the group knows a member by, once it is one.
pub(crate) fn member_id<C: ClientContext>(client: &Client<C>) -> Option<String> {
    // SAFETY: the client is alive; the text is a copy of its own, and is given back.
    unsafe {
        let client = client.native_ptr();
        let id = native::rd_kafka_memberid(client);
        if id.is_null() {
            return None;
        }
        let copied = text(id);
        native::rd_kafka_mem_free(client, id.cast());
        Some(copied).filter(|id| !id.is_empty())
    }
}

/// Reads the description of a group; `None` where there is no such group.
fn describe<C: ClientContext, T>(
    client: &Client<C>,
    group: &str,
    wait: Duration,
    of: impl FnOnce(Description) -> T,
) -> KafkaResult<Option<T>> {
    let Ok(group) = CString::new(group) else {
        return failed(RDKafkaRespErr::RD_KAFKA_RESP_ERR_INVALID_GROUP_ID);
    };
    let mut groups = [group.as_ptr()];
    let millis = i32::try_from(wait.as_millis()).unwrap_or(i32::MAX);
    // A broker that knows only groups of the classic protocol is asked twice.
    let both = millis.saturating_mul(2).saturating_add(1_000);
    // SAFETY: the client is alive, and the queue that is made here is destroyed before it. The library copies the names and
    // the options, which are freed here. What is read of the event is copied before it is destroyed; an event that is null
    // is looked at by nobody.
    unsafe {
        let client = client.native_ptr();
        let queue = native::rd_kafka_queue_new(client);
        if queue.is_null() {
            return failed(RDKafkaRespErr::RD_KAFKA_RESP_ERR__FAIL);
        }
        let what = native::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS;
        let options = native::rd_kafka_AdminOptions_new(client, what);
        native::rd_kafka_AdminOptions_set_request_timeout(options, millis, std::ptr::null_mut(), 0);
        native::rd_kafka_DescribeConsumerGroups(client, groups.as_mut_ptr(), groups.len(), options, queue);
        native::rd_kafka_AdminOptions_destroy(options);
        let event = native::rd_kafka_queue_poll(queue, both);
        let found =
            if event.is_null() { failed(RDKafkaRespErr::RD_KAFKA_RESP_ERR__TIMED_OUT) } else { read(event, of) };
        native::rd_kafka_event_destroy(event);
        native::rd_kafka_queue_destroy(queue);
        found
    }
}

/// A group as the library describes it.
type Description = *const native::rd_kafka_ConsumerGroupDescription_t;

fn failed<T>(code: RDKafkaRespErr) -> KafkaResult<T> {
    Err(ClientError::GroupListFetch(code.into()))
}

/// SAFETY: the event must be alive.
unsafe fn read<T>(event: *mut native::rd_kafka_event_t, of: impl FnOnce(Description) -> T) -> KafkaResult<Option<T>> {
    // SAFETY: the results of these calls live as long as the event, and pointers that may be null are looked at first.
    unsafe {
        let code = native::rd_kafka_event_error(event);
        if code != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
            return failed(code);
        }
        let result = native::rd_kafka_event_DescribeConsumerGroups_result(event);
        let mut count = 0;
        let groups = if result.is_null() {
            std::ptr::null_mut()
        } else {
            native::rd_kafka_DescribeConsumerGroups_result_groups(result, &raw mut count)
        };
        if groups.is_null() || count == 0 {
            return failed(RDKafkaRespErr::RD_KAFKA_RESP_ERR__BAD_MSG);
        }
        let group = *groups;
        match native::rd_kafka_error_code(native::rd_kafka_ConsumerGroupDescription_error(group)) {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(Some(of(group))),
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_GROUP_ID_NOT_FOUND => Ok(None),
            code => failed(code),
        }
    }
}

/// SAFETY: the description must be alive.
unsafe fn owners(group: Description, topic: &str) -> Vec<GroupMember> {
    // SAFETY: what these calls give lives as long as the description; a list that is null is looked at by nobody.
    unsafe {
        let count = native::rd_kafka_ConsumerGroupDescription_member_count(group);
        let member = |index: usize| {
            let member = native::rd_kafka_ConsumerGroupDescription_member(group, index);
            let assignment = native::rd_kafka_MemberDescription_assignment(member);
            let list = native::rd_kafka_MemberAssignment_partitions(assignment);
            let mut partitions: Vec<i32> = match list.as_ref() {
                Some(list) => (0..usize::try_from(list.cnt).unwrap_or(0))
                    .map(|place| &*list.elems.add(place))
                    .filter(|element| text(element.topic) == topic)
                    .map(|element| element.partition)
                    .collect(),
                None => Vec::new(),
            };
            partitions.sort_unstable();
            GroupMember { id: text(native::rd_kafka_MemberDescription_consumer_id(member)), partitions }
        };
        (0..count).map(member).collect()
    }
}

/// A copy of a text of the library.
///
/// SAFETY: it must be null, or end with a zero.
unsafe fn text(text: *const c_char) -> String {
    // SAFETY: it is not null, and the caller says that it ends.
    if text.is_null() { String::new() } else { unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned() }
}

#[cfg(test)]
mod tests {
    use rdkafka::consumer::Consumer;
    use rdkafka::types::RDKafkaErrorCode;

    use super::*;
    use crate::kafka::client::settings::KafkaSettings;

    /// What brokers answer is a matter of the acceptance tests: a simulated cluster does not.
    #[test]
    fn a_broker_that_does_not_answer_and_a_name_of_no_group_are_errors() {
        let consumer = KafkaSettings::at("localhost:1").reader("test").unwrap();
        let asked = |group: &str| members_of(consumer.client(), group, Duration::from_millis(20));
        let code = |group: &str| asked(group).unwrap_err().rdkafka_error_code();
        assert_eq!(code("no\0name"), Some(RDKafkaErrorCode::InvalidGroupId));
        assert!(code("group").is_some(), "nobody answers at this address");
    }
}
