//! The consumer group: which partitions are ours.
//!
//! librdkafka says that partitions come or go while it is polled. What that asks of us (to restore state, to commit
//! first) is too much for a callback: it is noted here, and the loop that polls answers it before it polls again.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError as ClientError, KafkaResult};
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka::types::{RDKafkaErrorCode, RDKafkaRespErr};
use rdkafka::{ClientContext, Statistics};

use super::settings::log_client;

/// A change of what is ours, in the order in which the group said so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ownership {
    /// These are to become ours.
    Assigned(Vec<i32>),
    /// These are to be given up.
    Revoked {
        /// Which.
        partitions: Vec<i32>,
        /// Whether they are somebody else's already, so that nothing may be committed for them.
        lost: bool,
    },
    /// The group could not share out partitions.
    Failed(RDKafkaErrorCode),
}

/// A member of the consumer group.
pub(crate) type InputConsumer = BaseConsumer<InputContext>;

/// Follows the consumer group: which partitions are ours, and how far behind we are.
#[derive(Debug, Default)]
pub(crate) struct InputContext {
    shared: Mutex<Shared>,
    closing: AtomicBool,
    has_changed: AtomicBool,
    /// Counts the times that partitions were given up: a commit that began before is not for us to make any more.
    given_up: AtomicU64,
    /// Whether we came under a name, which a former self may have had, and nobody has asked yet.
    has_come_under_a_name: AtomicBool,
}

#[derive(Debug, Default)]
struct Shared {
    owned: BTreeSet<i32>,
    changes: Vec<Ownership>,
    lag: Option<i64>,
}

impl InputContext {
    /// Of a member with a name that stays, or without.
    pub(crate) fn new(name: Option<&str>) -> Self {
        Self { has_come_under_a_name: AtomicBool::new(name.is_some()), ..Self::default() }
    }

    /// Whether a former self may have left a rebalance half done. True at most once.
    pub(crate) fn has_come_under_a_name(&self) -> bool {
        self.has_come_under_a_name.swap(false, Ordering::SeqCst)
    }

    fn with<T>(&self, read: impl FnOnce(&mut Shared) -> T) -> T {
        read(&mut self.shared.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn owns(&self, partition: i32) -> bool {
        self.with(|shared| shared.owned.contains(&partition))
    }

    pub(crate) fn take_changes(&self) -> Vec<Ownership> {
        // Asked after every record, and almost never is there anything.
        if !self.has_changed.swap(false, Ordering::SeqCst) {
            return Vec::new();
        }
        self.with(|shared| std::mem::take(&mut shared.changes))
    }

    pub(crate) fn lag(&self) -> Option<i64> {
        self.with(|shared| shared.lag)
    }

    pub(crate) fn times_given_up(&self) -> u64 {
        self.given_up.load(Ordering::SeqCst)
    }

    /// Notes partitions that are ours from now on.
    pub(crate) fn take_on(&self, partitions: &[i32]) {
        self.with(|shared| shared.owned.extend(partitions));
    }

    /// Notes partitions that are no longer ours: before the group hears of it.
    pub(crate) fn give_up(&self, partitions: &[i32]) {
        self.given_up.fetch_add(1, Ordering::SeqCst);
        self.with(|shared| shared.owned.retain(|owned| !partitions.contains(owned)));
    }

    /// From now on the group's wishes are answered at once: nobody will poll and answer any more.
    pub(crate) fn close(&self) {
        self.closing.store(true, Ordering::SeqCst);
    }
}

impl ClientContext for InputContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log_client(level, facility, message);
    }

    fn error(&self, error: ClientError, reason: &str) {
        tracing::debug!(%error, reason, "kafka consumer");
    }

    fn stats(&self, statistics: Statistics) {
        let partitions = statistics.topics.values().flat_map(|topic| topic.partitions.values());
        let lags = partitions.map(|partition| partition.consumer_lag).filter(|lag| *lag >= 0);
        let lag = lags.reduce(|a, b| a + b);
        self.with(|shared| shared.lag = lag);
    }
}

impl ConsumerContext for InputContext {
    // The library's own answer ignores the errors of incremental (un)assign, and answers before state is there.
    fn rebalance(&self, consumer: &BaseConsumer<Self>, error: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let partitions: Vec<i32> = list.elements().iter().map(|element| element.partition()).collect();
        let change = match error {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => Ownership::Assigned(partitions),
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS => {
                Ownership::Revoked { partitions, lost: consumer.assignment_lost() }
            }
            other => Ownership::Failed(other.into()),
        };
        tracing::debug!(?change, "rebalance");
        if self.closing.load(Ordering::SeqCst) {
            if let Err(error) = consumer.incremental_unassign(list) {
                tracing::debug!(%error, "leaving the group");
            }
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
