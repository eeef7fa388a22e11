//! The switch: state of another life and the offsets that name it, in one transaction.

use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer as _;
use rdkafka::producer::Producer as _;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::DOING;
use super::plan::Plan;
use crate::core::Restored;
use crate::kafka::client::error::KafkaError;
use crate::kafka::client::offsets::positions_of;
use crate::kafka::client::producer::{ProduceRecord, Producer};
use crate::kafka::stages::faults::Step;
use crate::kafka::wire::offset_metadata::StateTag;

const TIMEOUT: Duration = Duration::from_secs(30);

/// How long brokers may take until all of them know of new partitions.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long they are left alone before they are asked again.
const PAUSE: Duration = Duration::from_millis(50);

impl Plan {
    /// Waits until brokers tell of the new partitions. A client that knew the topic before may not hear of them for minutes: each
    /// question is one of a new client.
    pub(super) fn wait_for_partitions(&self) -> Result<(), KafkaError> {
        let start = Instant::now();
        for topic in self.topics() {
            while self.access.changelogs.settings.partitions_of(&topic)? < self.states.len() as i32 {
                if start.elapsed() >= PATIENCE {
                    let cause = format!("the brokers do not tell of the new partitions of `{topic}`: try again");
                    return Err(KafkaError::Failed { action: DOING, cause });
                }
                std::thread::sleep(PAUSE);
            }
        }
        Ok(())
    }

    /// Writes the states and the offsets that name them. A crash leaves all of it or nothing.
    pub(super) fn write(&self) -> Result<(), KafkaError> {
        let failed = KafkaError::failed(DOING);
        let unplanned = || KafkaError::Failed { action: DOING, cause: "it was only to be looked at".to_owned() };
        let producer = self.producer.as_ref().ok_or_else(unplanned)?;
        producer.client.begin_transaction().map_err(&failed)?;
        self.write_within(producer).inspect_err(|_| {
            // Otherwise whoever reads what it wrote would wait until the broker aborts it.
            if let Err(error) = producer.client.abort_transaction(TIMEOUT) {
                tracing::debug!(%error, "aborting a growth");
            }
        })
    }

    fn write_within(&self, producer: &Producer) -> Result<(), KafkaError> {
        let failed = KafkaError::failed(DOING);
        let (settings, input) = (&self.access.changelogs.settings, &self.access.changelogs.topics.input);
        let offset = |state: &Restored| Offset::Offset(state.head().map_or(0, |head| head.next_offset));
        let offsets = (0..).zip(self.states.iter().map(offset));
        let list = positions_of(input, offsets).map_err(&failed)?;
        for (partition, state) in (0..).zip(&self.states) {
            self.write_state(producer, partition, state, &list)?;
        }
        producer.flush()?;
        self.faults.pass(Step::Offsets);
        // A group without members has no generation: the broker takes the offsets from anybody.
        let unknown = || KafkaError::Failed { action: DOING, cause: "the client knows no group".to_owned() };
        let metadata = self.access.consumer.group_metadata().ok_or_else(unknown)?;
        producer.client.send_offsets_to_transaction(&list, &metadata, TIMEOUT).map_err(&failed)?;
        // From here on, whoever joins the group waits for the end of this transaction before it reads anything. Whoever was in
        // it before is a member still, has committed something, or has done nothing.
        self.access.refuse_all_members()?;
        self.committed.iter().try_for_each(|committed| committed.refuse_changed(settings))?;
        self.faults.pass(Step::Commit);
        producer.client.commit_transaction(TIMEOUT).map_err(failed)
    }

    /// Writes the state of a partition and notes its tag beside the offset.
    fn write_state(
        &self,
        producer: &Producer,
        partition: i32,
        state: &Restored,
        list: &TopicPartitionList,
    ) -> Result<(), KafkaError> {
        let changelogs = &self.access.changelogs;
        let (live, topic) = (self.access.live_keys(partition)?, &changelogs.topics.state);
        let mut queued = Ok(());
        state.put_anew(&changelogs.pipeline, &live, |record| {
            if queued.is_ok() {
                queued = producer.queue(ProduceRecord::state(topic, partition, &record));
            }
        });
        queued.map_err(KafkaError::failed(DOING))?;
        if let Some((mut element, head)) = list.find_partition(&changelogs.topics.input, partition).zip(state.head()) {
            element.set_metadata(StateTag::of(head).encode(&changelogs.input.owner()));
        }
        Ok(())
    }
}
