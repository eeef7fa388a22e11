//! What a group has committed, and whether it still is that.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::topic_partition_list::TopicPartitionList;

use super::DOING;
use crate::kafka::client::error::KafkaError;
use crate::kafka::client::offsets::{committed_offsets, partitions_of};
use crate::kafka::client::settings::{KafkaSettings, QuietContext, create_consumer};
use crate::kafka::client::watchdog::Watchdog;

const TIMEOUT: Duration = Duration::from_secs(30);

/// What a group has committed for the first partitions of a topic.
#[derive(Debug)]
pub(super) struct Committed {
    group: String,
    topic: String,
    /// By partition: the offset, if there is one, and what stands beside it.
    pub offsets: Vec<(Option<i64>, String)>,
}

impl Committed {
    /// Asks for the first `partitions` of a topic, once no transaction on them is open.
    pub(super) fn ask(
        settings: &KafkaSettings,
        group: &str,
        topic: &str,
        partitions: i32,
        watchdog: &Watchdog,
    ) -> Result<Self, KafkaError> {
        let consumer = settings.reader(group)?;
        let all: Vec<i32> = (0..partitions).collect();
        let found = committed_offsets(&consumer, topic, &all, watchdog, || false)?;
        let found = found.unwrap_or_else(TopicPartitionList::new);
        let offsets = all.iter().map(|partition| offset_in(&found, topic, *partition)).collect();
        Ok(Self { group: group.to_owned(), topic: topic.to_owned(), offsets })
    }

    /// Refuses to go on where the group has committed anything since. What a transaction that is open has of these offsets,
    /// as our own one has, is not looked at.
    pub(super) fn refuse_changed(&self, settings: &KafkaSettings) -> Result<(), KafkaError> {
        let config = settings.client(&[("group.id", &self.group), ("isolation.level", "read_uncommitted")]);
        let consumer: BaseConsumer<QuietContext> = create_consumer(&config, QuietContext)?;
        let all: Vec<i32> = (0..).take(self.offsets.len()).collect();
        let found = consumer.committed_offsets(partitions_of(&self.topic, &all), TIMEOUT);
        let found = found.map_err(KafkaError::failed(DOING))?;
        let is_same = all.iter().zip(&self.offsets).all(|(partition, before)| {
            let now = offset_in(&found, &self.topic, *partition);
            now == *before
        });
        if is_same {
            return Ok(());
        }
        let cause = format!("group `{}` has gone on meanwhile: stop its scorers, and try again", self.group);
        Err(KafkaError::Failed { action: DOING, cause })
    }
}

fn offset_in(list: &TopicPartitionList, topic: &str, partition: i32) -> (Option<i64>, String) {
    let found = list.find_partition(topic, partition);
    let offset = found.as_ref().and_then(|found| found.offset().to_raw()).filter(|offset| *offset >= 0);
    (offset, found.as_ref().map_or("", |found| found.metadata()).to_owned())
}
