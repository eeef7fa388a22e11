//! What happens to topics beside records: they lose some, and are deleted and made anew.

use std::future::Future;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::KafkaResult;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use crate::{Kafka, wait_for};

const PATIENCE: Duration = Duration::from_secs(60);

impl Kafka {
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
