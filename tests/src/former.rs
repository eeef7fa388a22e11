//! An instance that died in the middle of a rebalance, as the group sees it.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientConfig, ClientContext};

use crate::{Trial, wait_for};

/// How long the group may take for a round.
const PATIENCE: Duration = Duration::from_secs(60);

/// A member of a trial's group that has a name, and no scorer behind it. Its threads end when this is dropped.
pub struct Former {
    consumer: BaseConsumer<Rounds>,
}

/// What the group has asked of it.
#[derive(Default)]
struct Rounds {
    assigned: AtomicUsize,
    to_give_up: Mutex<Option<TopicPartitionList>>,
    is_over: AtomicBool,
}

impl ClientContext for Rounds {}

impl ConsumerContext for Rounds {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, error: RDKafkaRespErr, list: &mut TopicPartitionList) {
        match error {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => {
                consumer.incremental_assign(list).unwrap();
                self.assigned.fetch_add(list.count(), Ordering::SeqCst);
            }
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS if self.is_over.load(Ordering::SeqCst) => {
                let _ = consumer.incremental_unassign(list);
            }
            // Not answered: an answer would begin the second round.
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS => {
                *self.to_give_up.lock().unwrap() = Some(list.clone());
            }
            _ => {}
        }
    }
}

impl Former {
    /// Joins a trial's group under this name and waits until every partition is its own. Nothing may be in the topic.
    pub fn join(trial: &Trial, name: &str, partitions: usize) -> Self {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &trial.kafka.brokers).set("group.id", trial.group_name());
        config.set("group.instance.id", name).set("partition.assignment.strategy", "cooperative-sticky");
        config.set("enable.auto.commit", "false").set("enable.auto.offset.store", "false");
        let consumer: BaseConsumer<Rounds> = config.create_with_context(Rounds::default()).unwrap();
        consumer.subscribe(&[trial.topic()]).unwrap();
        let former = Self { consumer };
        former.poll_until("every partition", |rounds| rounds.assigned.load(Ordering::SeqCst) == partitions);
        former
    }

    /// Waits until the group has taken partitions away from it that nobody else has yet, and dies then: after the
    /// first round of a rebalance, before the second, which is for it to begin. One that is killed neither leaves nor
    /// gives back. Its threads are there until it is dropped, but the group does not listen to them once its name is
    /// another's.
    pub fn die_between_two_rounds(&self) {
        self.poll_until("the first round", |rounds| rounds.to_give_up.lock().unwrap().is_some());
    }

    fn poll_until(&self, what: &str, is_so: impl Fn(&Rounds) -> bool) {
        wait_for(what, PATIENCE, || {
            let polled = self.consumer.poll(Duration::from_millis(20));
            assert!(!matches!(polled, Some(Ok(_))), "nothing is in the topic");
            is_so(self.consumer.context()).then_some(())
        });
    }
}

impl Drop for Former {
    /// Gives the answers that the client waits for before it ends.
    fn drop(&mut self) {
        let rounds = self.consumer.context();
        rounds.is_over.store(true, Ordering::SeqCst);
        let to_give_up = rounds.to_give_up.lock().unwrap().take();
        if let Some(partitions) = to_give_up {
            let _ = self.consumer.incremental_unassign(&partitions);
        }
    }
}
