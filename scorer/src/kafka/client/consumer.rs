//! The consumer of a group, and what its callbacks note.
//!
//! librdkafka says that partitions come or go while it is polled. What that asks of us (to restore state, to commit
//! first) is too much for a callback: the callback only notes it, and the loop that polls answers it.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{CStr, CString};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use rdkafka::bindings as native;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError as ClientError, KafkaResult};
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, Statistics};

use super::error::KafkaError;
use super::group_protocol::GroupProtocol;
use super::settings::{KafkaSettings, create_consumer, log_client};
use super::token;

/// A consumer that is in a group.
pub(crate) type GroupConsumer = BaseConsumer<GroupContext>;

/// A change of the assignment, in the order in which the group said so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum GroupChange {
    /// The group assigns these partitions to us.
    Assigned(Vec<i32>),
    /// The group revokes these partitions.
    Revoked {
        /// Which.
        partitions: Vec<i32>,
        /// Whether other instances own them already, so that nothing may be committed for them.
        lost: bool,
    },
}

/// What the callbacks of a [`GroupConsumer`] note, and what other threads may ask about its assignment.
#[derive(Debug, Default)]
pub(crate) struct GroupContext {
    shared: Mutex<Shared>,
    is_closed: AtomicBool,
    has_changed: AtomicBool,
    /// Counts the revocations: a commit that was prepared before one is no longer ours to make.
    revocations: AtomicU64,
    /// Whether this is a static member that has not checked yet whether its predecessor left a rebalance half done.
    has_predecessor: AtomicBool,
}

#[derive(Debug, Default)]
struct Shared {
    owned: BTreeSet<i32>,
    changes: Vec<GroupChange>,
    /// The end of each partition that was last seen.
    ends_seen: BTreeMap<i32, i64>,
}

impl GroupContext {
    /// Of a static member whose predecessor of this name may have left a rebalance half done, or of any other.
    pub(crate) fn new(predecessor: Option<&str>) -> Self {
        Self { has_predecessor: AtomicBool::new(predecessor.is_some()), ..Self::default() }
    }

    /// Whether a predecessor of the same name may have left a rebalance half done. True at most once.
    pub(crate) fn take_predecessor(&self) -> bool {
        self.has_predecessor.swap(false, Ordering::SeqCst)
    }

    fn with<T>(&self, read: impl FnOnce(&mut Shared) -> T) -> T {
        read(&mut self.shared.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether a partition is ours: for threads that have no [`Assignment`] of their own.
    ///
    /// [`Assignment`]: crate::kafka::membership::assignment::Assignment
    pub(crate) fn owns(&self, partition: i32) -> bool {
        self.with(|shared| shared.owned.contains(&partition))
    }

    /// The changes since the last time.
    pub(crate) fn take_changes(&self) -> Vec<GroupChange> {
        // This is asked after every record, and almost always there are none: a look costs less than an exchange.
        if !self.has_changed.load(Ordering::SeqCst) || !self.has_changed.swap(false, Ordering::SeqCst) {
            return Vec::new();
        }
        self.with(|shared| std::mem::take(&mut shared.changes))
    }

    /// How far each partition has been read, as far as librdkafka has said so: where its end was last seen, past markers of
    /// transactions and other records that are not handed out.
    pub(crate) fn ends_seen(&self) -> BTreeMap<i32, i64> {
        self.with(|shared| shared.ends_seen.clone())
    }

    /// How often partitions have been revoked so far.
    pub(crate) fn revocations(&self) -> u64 {
        self.revocations.load(Ordering::SeqCst)
    }

    /// Notes that partitions are ours from now on.
    pub(crate) fn assign(&self, partitions: impl Iterator<Item = i32>) {
        self.with(|shared| shared.owned.extend(partitions));
    }

    /// Notes that partitions are no longer ours: before the group is told that we let go of them.
    pub(crate) fn revoke(&self, partitions: &[i32]) {
        self.revocations.fetch_add(1, Ordering::SeqCst);
        self.with(|shared| shared.owned.retain(|owned| !partitions.contains(owned)));
    }

    /// From now on nothing polls: the callback itself answers the group.
    pub(crate) fn close(&self) {
        self.is_closed.store(true, Ordering::SeqCst);
    }
}

/// Subscribes a new member of a group to a topic.
///
/// # Errors
/// When librdkafka refuses a setting or the subscription.
pub(crate) fn subscribed(
    settings: &KafkaSettings,
    (topic, group): (&str, &str),
    instance_id: Option<&str>,
) -> Result<GroupConsumer, KafkaError> {
    // Where the broker hands out partitions, no rebalance is left half done.
    let predecessor = instance_id.filter(|_| settings.group_protocol == GroupProtocol::Classic);
    let context = GroupContext::new(predecessor);
    let config = settings.consumer(group, instance_id);
    let consumer: GroupConsumer = create_consumer(&config, context)?;
    consumer.subscribe(&[topic]).map_err(KafkaError::failed("subscribing"))?;
    Ok(consumer)
}

/// Whether the group has taken the member in: whether it has a generation there, or an epoch.
pub(crate) fn is_member(consumer: &GroupConsumer) -> bool {
    // SAFETY: the client is alive; the metadata are a copy of its own, and are given back.
    unsafe {
        let metadata = native::rd_kafka_consumer_group_metadata(consumer.client().native_ptr());
        if metadata.is_null() {
            return false;
        }
        let generation = native::rd_kafka_consumer_group_metadata_generation_id(metadata);
        native::rd_kafka_consumer_group_metadata_destroy(metadata);
        // One that asks to be taken in says that it has 0.
        generation > 0
    }
}

/// The id by which the group knows the member; `None` before it has one.
pub(crate) fn member_id(consumer: &GroupConsumer) -> Option<String> {
    // SAFETY: the client is alive; the text is a copy of its own, which is copied once more and given back.
    unsafe {
        let client = consumer.client().native_ptr();
        let id = native::rd_kafka_memberid(client);
        if id.is_null() {
            return None;
        }
        let copied = CStr::from_ptr(id).to_string_lossy().into_owned();
        native::rd_kafka_mem_free(client, id.cast());
        Some(copied).filter(|id| !id.is_empty())
    }
}

/// Answers a revocation: reads nothing more of partitions. The client knows only those that are read, or were.
pub(crate) fn unassign(consumer: &GroupConsumer, partitions: &TopicPartitionList) {
    let known = consumer.assignment().unwrap_or_else(|_| partitions.clone());
    let mut read = TopicPartitionList::new();
    for element in partitions.elements() {
        if known.find_partition(element.topic(), element.partition()).is_some() {
            read.add_partition(element.topic(), element.partition());
        }
    }
    if let Err(error) = consumer.incremental_unassign(&read) {
        // A session that is over has nothing assigned any more.
        tracing::debug!(%error, "revoking partitions");
    }
}

/// How many events of a consumer wait to be polled: records, errors, ends.
pub(crate) fn queued_events(consumer: &GroupConsumer) -> usize {
    // SAFETY: the client is alive; the queue is one more reference to its own, and is given back.
    unsafe {
        let queue = native::rd_kafka_queue_get_consumer(consumer.client().native_ptr());
        if queue.is_null() {
            return 0;
        }
        let length = native::rd_kafka_queue_length(queue);
        native::rd_kafka_queue_destroy(queue);
        length
    }
}

/// The first offset of a partition and the one after its last, as the last answer of its leader had them. Waits for nothing.
/// `None` where the last answer had none.
pub(crate) fn last_seen_ends<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topic: &str,
    partition: i32,
) -> Option<(i64, i64)> {
    let topic = CString::new(topic).ok()?;
    let (mut low, mut high) = (-1, -1);
    let (to_low, to_high) = (&raw mut low, &raw mut high);
    // SAFETY: the client is alive, and the text and both numbers outlive the call.
    let code = unsafe {
        let client = consumer.client().native_ptr();
        native::rd_kafka_get_watermark_offsets(client, topic.as_ptr(), partition, to_low, to_high)
    };
    let is_known = code == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR && low >= 0 && high >= 0;
    is_known.then_some((low, high))
}

impl ClientContext for GroupContext {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log_client(level, facility, message);
    }

    fn error(&self, error: ClientError, reason: &str) {
        tracing::debug!(%error, reason, "kafka consumer");
    }

    fn stats(&self, statistics: Statistics) {
        let partitions = || statistics.topics.values().flat_map(|topic| topic.partitions.values());
        let ends = partitions().filter(|partition| partition.eof_offset >= 0);
        let ends_seen = ends.map(|partition| (partition.partition, partition.eof_offset)).collect();
        self.with(|shared| shared.ends_seen = ends_seen);
    }

    fn generate_oauth_token(&self, config: Option<&str>) -> token::Answer {
        token::of_config(config)
    }
}

impl ConsumerContext for GroupContext {
    // The library's own answer ignores the errors of incremental (un)assign, and answers before state is there.
    fn rebalance(&self, consumer: &BaseConsumer<Self>, code: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let partitions: Vec<i32> = list.elements().iter().map(|element| element.partition()).collect();
        // The library calls this for two codes only.
        let change = match code {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => GroupChange::Assigned(partitions),
            _ => GroupChange::Revoked { partitions, lost: consumer.assignment_lost() },
        };
        tracing::debug!(?change, "rebalance");
        if self.is_closed.load(Ordering::SeqCst) {
            unassign(consumer, list);
            return;
        }
        self.with(|shared| shared.changes.push(change));
        self.has_changed.store(true, Ordering::SeqCst);
    }

    fn commit_callback(&self, result: KafkaResult<()>, _: &TopicPartitionList) {
        if let Err(error) = result {
            tracing::warn!(%error, "offsets were not committed; their records may be read again");
        }
    }
}
