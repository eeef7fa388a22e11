//! What happens to topics beside records: they are made, get partitions, lose records, and are deleted and made anew.

use std::future::Future;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaResult;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use crate::{Kafka, wait_for};

const PATIENCE: Duration = Duration::from_secs(60);

/// Says to the brokers that they replicate a topic as they do by default.
const BY_DEFAULT: TopicReplication<'static> = TopicReplication::Fixed(-1);

impl Kafka {
    /// Creates a topic, and waits until the brokers know it.
    pub fn create_topic(&self, name: &str, partitions: u32, settings: &[(&str, &str)]) {
        let mut topic = NewTopic::new(name, partitions as i32, BY_DEFAULT);
        for (key, value) in settings {
            topic = topic.set(key, value);
        }
        let created = self.ask(|admin, options| admin.create_topics([&topic], options)).unwrap();
        created.into_iter().for_each(|created| assert!(created.is_ok(), "{created:?}"));
        self.wait_for_partitions(name, partitions);
    }

    /// Gives a topic more partitions, `partitions` in all, and waits until the brokers know them.
    pub fn extend_topic(&self, name: &str, partitions: u32) {
        let wanted = NewPartitions::new(name, partitions as usize);
        let extended = self.ask(|admin, options| admin.create_partitions([&wanted], options)).unwrap();
        extended.into_iter().for_each(|extended| assert!(extended.is_ok(), "{extended:?}"));
        self.wait_for_partitions(name, partitions);
    }

    /// Waits until every broker says that so many partitions have a leader.
    fn wait_for_partitions(&self, topic: &str, partitions: u32) {
        for broker in self.brokers.split(',') {
            let consumer: BaseConsumer = ClientConfig::new().set("bootstrap.servers", broker).create().unwrap();
            wait_for(&format!("{broker} to know {partitions} partitions of `{topic}`"), PATIENCE, || {
                let metadata = consumer.fetch_metadata(Some(topic), Duration::from_secs(5)).ok()?;
                let found = metadata.topics().first()?.partitions();
                (found.len() == partitions as usize && found.iter().all(|found| found.leader() >= 0)).then_some(())
            });
        }
    }

    /// Deletes what lies before `offset` in partition 0, as a topic's retention does.
    pub fn delete_records(&self, topic: &str, offset: i64) {
        let mut before = TopicPartitionList::new();
        before.add_partition_offset(topic, 0, Offset::Offset(offset)).unwrap();
        let deleted = self.ask(|admin, options| admin.delete_records(&before, options)).unwrap();
        deleted.elements().iter().for_each(|element| element.error().unwrap());
    }

    /// Deletes a topic and makes it anew, with one partition.
    pub fn recreate_topic(&self, topic: &str) {
        let names = [topic];
        let deleted = self.ask(|admin, options| admin.delete_topics(&names, options)).unwrap();
        deleted.into_iter().for_each(|deleted| assert!(deleted.is_ok(), "{deleted:?}"));
        let anew = [NewTopic::new(topic, 1, TopicReplication::Fixed(1))];
        // The old one may be there for a moment.
        wait_for("the topic to be made anew", PATIENCE, || {
            let created = self.ask(|admin, options| admin.create_topics(&anew, options)).unwrap();
            created.into_iter().all(|created| created.is_ok()).then_some(())
        });
    }

    fn ask<T, F: Future<Output = KafkaResult<T>>>(
        &self,
        question: impl FnOnce(&AdminClient<DefaultClientContext>, &AdminOptions) -> F,
    ) -> KafkaResult<T> {
        let admin: AdminClient<DefaultClientContext> =
            ClientConfig::new().set("bootstrap.servers", &self.brokers).create()?;
        let options = AdminOptions::new().operation_timeout(Some(PATIENCE)).request_timeout(Some(PATIENCE));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(question(&admin, &options))
    }
}
