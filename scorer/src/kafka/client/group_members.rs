//! The members of a group, whoever hands out its partitions.
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

/// What a group says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GroupView {
    /// Whether every member knows what is its own: the group does not rebalance at the moment.
    pub is_stable: bool,
    pub members: Vec<GroupMember>,
}

/// A member of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GroupMember {
    /// The id that the group knows it by, which is another one after a restart.
    pub id: String,
    /// What tells it from the others for longer: the name of a static member, or else its id.
    pub name: String,
    /// Its partitions, in rising order.
    pub partitions: Vec<i32>,
}

/// How many members `group` has; none where there is no such group. Each question to a broker may take `wait`.
///
/// # Errors
/// When the group's coordinator does not tell.
pub(crate) fn members_of<C: ClientContext>(client: &Client<C>, group: &str, wait: Duration) -> KafkaResult<usize> {
    // SAFETY: the description is alive while it is read.
    let count = |group| unsafe { native::rd_kafka_ConsumerGroupDescription_member_count(group) };
    Ok(described(client, group, wait, count)?.unwrap_or(0))
}

/// The members of `group`, and which partitions of `topic` each has. Each question to a broker may take `wait`.
///
/// # Errors
/// When the group's coordinator does not tell.
pub(crate) fn look_at<C: ClientContext>(
    client: &Client<C>,
    group: &str,
    topic: &str,
    wait: Duration,
) -> KafkaResult<GroupView> {
    // SAFETY: the description is alive while it is read.
    let view = described(client, group, wait, |group| unsafe { view_of(group, topic) })?;
    Ok(view.unwrap_or(GroupView { is_stable: false, members: Vec::new() }))
}

/// What `read` makes of the description of a group; `None` where there is no such group.
fn described<C: ClientContext, T>(
    client: &Client<C>,
    group: &str,
    wait: Duration,
    read: impl FnOnce(*const native::rd_kafka_ConsumerGroupDescription_t) -> T,
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
        let of = native::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS;
        let options = native::rd_kafka_AdminOptions_new(client, of);
        native::rd_kafka_AdminOptions_set_request_timeout(options, millis, std::ptr::null_mut(), 0);
        native::rd_kafka_DescribeConsumerGroups(client, groups.as_mut_ptr(), groups.len(), options, queue);
        native::rd_kafka_AdminOptions_destroy(options);
        let event = native::rd_kafka_queue_poll(queue, both);
        let group = if event.is_null() { failed(RDKafkaRespErr::RD_KAFKA_RESP_ERR__TIMED_OUT) } else { only(event) };
        let found = group.map(|group| group.map(read));
        native::rd_kafka_event_destroy(event);
        native::rd_kafka_queue_destroy(queue);
        found
    }
}

fn failed<T>(code: RDKafkaRespErr) -> KafkaResult<T> {
    Err(ClientError::GroupListFetch(code.into()))
}

/// The only group that was asked for; it lives as long as the event.
///
/// SAFETY: the event must be alive.
unsafe fn only(
    event: *mut native::rd_kafka_event_t,
) -> KafkaResult<Option<*const native::rd_kafka_ConsumerGroupDescription_t>> {
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
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(Some(group)),
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_GROUP_ID_NOT_FOUND => Ok(None),
            code => failed(code),
        }
    }
}

/// SAFETY: the description must be alive.
unsafe fn view_of(group: *const native::rd_kafka_ConsumerGroupDescription_t, topic: &str) -> GroupView {
    // SAFETY: what these calls return lives as long as the description, and pointers that may be null are looked at first.
    unsafe {
        let state = native::rd_kafka_ConsumerGroupDescription_state(group);
        let count = native::rd_kafka_ConsumerGroupDescription_member_count(group);
        let members = (0..count).map(|index| native::rd_kafka_ConsumerGroupDescription_member(group, index));
        let members = members.filter(|member| !member.is_null()).map(|member| {
            let id = copied(native::rd_kafka_MemberDescription_consumer_id(member));
            let name = copied(native::rd_kafka_MemberDescription_group_instance_id(member));
            let name = if name.is_empty() { id.clone() } else { name };
            GroupMember { id, name, partitions: partitions_of(member, topic) }
        });
        GroupView {
            is_stable: state == native::rd_kafka_consumer_group_state_t::RD_KAFKA_CONSUMER_GROUP_STATE_STABLE,
            members: members.collect(),
        }
    }
}

/// SAFETY: the description of the member must be alive.
unsafe fn partitions_of(member: *const native::rd_kafka_MemberDescription_t, topic: &str) -> Vec<i32> {
    // SAFETY: what these calls return lives as long as the description; the list has as many elements as it says.
    unsafe {
        let assignment = native::rd_kafka_MemberDescription_assignment(member);
        if assignment.is_null() {
            return Vec::new();
        }
        let list = native::rd_kafka_MemberAssignment_partitions(assignment);
        if list.is_null() || (*list).elems.is_null() {
            return Vec::new();
        }
        let elements = std::slice::from_raw_parts((*list).elems, usize::try_from((*list).cnt).unwrap_or(0));
        let of_topic = elements.iter().filter(|element| copied(element.topic) == topic);
        let mut partitions: Vec<i32> = of_topic.map(|element| element.partition).collect();
        partitions.sort_unstable();
        partitions
    }
}

/// SAFETY: the text must be alive, or null.
unsafe fn copied(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: the text is alive and ends with a zero.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
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
        let looked = look_at(consumer.client(), "group", "topic", Duration::from_millis(20));
        assert!(looked.unwrap_err().rdkafka_error_code().is_some());
    }
}
