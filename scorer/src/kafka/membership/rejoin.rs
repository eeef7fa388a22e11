//! A round of a rebalance that a former self left undone.
//!
//! A partition moves in two rounds (KIP-429): after the first it is nobody's, and the second, which gives it to its new
//! owner, begins when the old one has given it up and joins again. If that one dies in between, without a name, the
//! group goes on when its session is over. If it comes back under its name, nobody would begin the second round: in a
//! stable group a name is handed what it had in the last round, and there is no rebalance (KIP-345; in the broker,
//! `GroupMetadataManager.updateStaticMemberThenRebalanceOrCompleteJoin`). The partition would stay nobody's until
//! something else happens to the group. So whoever comes to a group under a name looks, before it begins to read,
//! whether every partition is somebody's, and otherwise begins a round.

use std::collections::BTreeSet;
use std::time::Duration;

use rdkafka::consumer::Consumer;
use rdkafka::error::KafkaResult;
use rdkafka::topic_partition_list::TopicPartitionList;

use crate::kafka::client::consumer::InputConsumer;
use crate::kafka::client::watchdog::Watchdog;

/// How long to look: a round that nobody needed costs less than a long wait for a broker that is away.
const LOOK_TIMEOUT: Duration = Duration::from_secs(2);

/// Reads partitions of `topic` that became ours, which answers the group's word that they did.
///
/// # Errors
/// When librdkafka refuses.
pub(crate) fn read_on(
    consumer: &InputConsumer,
    group: &str,
    topic: &str,
    partitions: &TopicPartitionList,
    watchdog: &Watchdog,
) -> KafkaResult<()> {
    if consumer.context().has_come_under_a_name() {
        let watched = watchdog.watch("looking at the group", LOOK_TIMEOUT * 12);
        let is_shared_out = is_shared_out(consumer, group, topic);
        drop(watched);
        if !matches!(is_shared_out, Ok(true)) {
            tracing::info!(group, ?is_shared_out, "joining once more: there may be partitions that are nobody's");
            // While an assignment waits for its answer, librdkafka puts a subscription off, be it the same, and joins
            // again afterwards to apply it (`rd_kafka_trigger_waiting_subscribe_maybe`). The broker then begins a
            // round, because what a member of `cooperative-sticky` says of itself names the generation of its last
            // one, and so has changed. What has an owner stays with it.
            consumer.subscribe(&[topic])?;
        }
    }
    consumer.incremental_assign(partitions)
}

/// Whether every partition is somebody's. While the group rebalances none is: to join is right then, too.
fn is_shared_out(consumer: &InputConsumer, group: &str, topic: &str) -> KafkaResult<bool> {
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
