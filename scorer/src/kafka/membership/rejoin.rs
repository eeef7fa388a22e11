//! A rebalance that a predecessor left half done.
//!
//! A partition moves in two rebalances (KIP-429): after the first it has no owner, and the second, which gives it to its
//! new owner, begins when the old one has let go of it and joins again. If that one dies in between, as a dynamic member,
//! the group goes on when its session is over. If it comes back as a static member, nothing begins the second rebalance:
//! in a stable group a static member is handed the assignment that it had, and there is no rebalance (KIP-345; in the
//! broker, `GroupMetadataManager.updateStaticMemberThenRebalanceOrCompleteJoin`). The partition would stay without an
//! owner until something else happens to the group. So a static member checks, before it begins to read, whether every
//! partition has an owner, and otherwise begins a rebalance.
//!
//! Where the broker hands out partitions (KIP-848), there is nothing to check: it gives a partition to its new owner once the
//! old one has let go of it, has left, or is not heard of any more.

use std::collections::BTreeSet;
use std::time::Duration;

use rdkafka::consumer::Consumer;
use rdkafka::error::KafkaResult;

use crate::kafka::client::consumer::GroupConsumer;
use crate::kafka::client::watchdog::Watchdog;

/// How long to look: an unnecessary rebalance costs less than a long wait for a broker that is away.
const LOOK_TIMEOUT: Duration = Duration::from_secs(2);

/// Before the group gets its answer to an assignment: a static member checks, once, whether its predecessor left partitions
/// without an owner, and then joins again.
///
/// # Errors
/// When librdkafka refuses.
pub(crate) fn rejoin_if_orphans(
    consumer: &GroupConsumer,
    group: &str,
    topic: &str,
    watchdog: &Watchdog,
) -> KafkaResult<()> {
    if consumer.context().take_predecessor() {
        let watched = watchdog.watch("looking at the group", LOOK_TIMEOUT * 12);
        let have_owners = have_owners(consumer, group, topic);
        drop(watched);
        if !matches!(have_owners, Ok(true)) {
            tracing::info!(group, ?have_owners, "rejoining the group: there may be partitions without an owner");
            // While an assignment waits for its answer, librdkafka puts a subscription off, even the same one, and joins
            // again afterwards to apply it (`rd_kafka_trigger_waiting_subscribe_maybe`). The broker then begins a
            // rebalance, because the user data of a member of `cooperative-sticky` names the generation of its last
            // assignment, and so has changed. What has an owner stays with it.
            consumer.subscribe(&[topic])?;
        }
    }
    Ok(())
}

/// Whether every partition has an owner. While the group rebalances none has: to join is right then, too.
fn have_owners(consumer: &GroupConsumer, group: &str, topic: &str) -> KafkaResult<bool> {
    let metadata = consumer.fetch_metadata(Some(topic), LOOK_TIMEOUT)?;
    let groups = consumer.fetch_group_list(Some(group), LOOK_TIMEOUT)?;
    let members = groups.groups().iter().flat_map(|group| group.members());
    let assigned = members.filter_map(|member| assigned_of(topic, member.assignment()?));
    let assigned: BTreeSet<i32> = assigned.flatten().collect();
    let mut partitions = metadata.topics().iter().flat_map(|topic| topic.partitions());
    Ok(!assigned.is_empty() && partitions.all(|partition| assigned.contains(&partition.id())))
}

/// The partitions of `topic` in a member's assignment, as every client writes it (Kafka's
/// `ConsumerProtocolAssignment`): a version, topics with their partitions, and whatever the assignor adds.
fn assigned_of(topic: &str, mut assignment: &[u8]) -> Option<Vec<i32>> {
    let bytes = &mut assignment;
    take(bytes).map(i16::from_be_bytes)?;
    let mut found = Vec::new();
    for _ in 0..take(bytes).map(i32::from_be_bytes)? {
        let length = take(bytes).map(i16::from_be_bytes)?;
        let (name, rest) = bytes.split_at_checked(usize::try_from(length).ok()?)?;
        *bytes = rest;
        for _ in 0..take(bytes).map(i32::from_be_bytes)? {
            let partition = take(bytes).map(i32::from_be_bytes)?;
            if name == topic.as_bytes() {
                found.push(partition);
            }
        }
    }
    Some(found)
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*taken)
}

#[cfg(test)]
mod tests {
    use super::assigned_of;

    /// Version 3: `b` with partition 7, `ab` with 1 and 258, and no user data.
    const ASSIGNMENT: &[u8] =
        b"\0\x03\0\0\0\x02\0\x01b\0\0\0\x01\0\0\0\x07\0\x02ab\0\0\0\x02\0\0\0\x01\0\0\x01\x02\0\0\0\0";

    #[test]
    fn an_assignment_is_read_topic_by_topic() {
        assert_eq!(assigned_of("ab", ASSIGNMENT), Some(vec![1, 258]));
        assert_eq!(assigned_of("b", ASSIGNMENT), Some(vec![7]));
        assert_eq!(assigned_of("a", ASSIGNMENT), Some(vec![]));
    }

    #[test]
    fn what_is_cut_short_is_no_assignment() {
        // The user data at the end are not looked at.
        for length in 0..ASSIGNMENT.len() - 4 {
            assert_eq!(assigned_of("ab", &ASSIGNMENT[..length]), None, "{length} bytes");
        }
    }
}
