//! What a consumer group has committed of its topic.

use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::KafkaResult;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use crate::wait_for;

/// How long one question to the broker may take.
const ANSWER: Duration = Duration::from_secs(5);

/// How long a group may take to come back to work after whatever happened to it.
const PATIENCE: Duration = Duration::from_secs(120);

/// Looks on at a consumer group without being in it.
pub struct Group {
    consumer: BaseConsumer,
    topic: String,
    partitions: i32,
}

impl Group {
    /// Looks on at `group` reading `topic`.
    pub fn new(brokers: &str, group: &str, topic: &str, partitions: u32) -> Self {
        let mut config = ClientConfig::new();
        // Offsets of a transaction that is not committed are not waited for.
        config.set("bootstrap.servers", brokers).set("group.id", group).set("isolation.level", "read_uncommitted");
        Self { consumer: config.create().unwrap(), topic: topic.to_owned(), partitions: partitions as i32 }
    }

    /// The committed offset of each partition.
    ///
    /// # Errors
    /// When the coordinator is away.
    pub fn committed(&self) -> KafkaResult<Vec<Option<i64>>> {
        let mut asked = TopicPartitionList::new();
        asked.add_partition_range(&self.topic, 0, self.partitions - 1);
        let committed = self.consumer.committed_offsets(asked, ANSWER)?;
        let offset = |partition| -> KafkaResult<Option<i64>> {
            let found = committed.find_partition(&self.topic, partition);
            let Some(found) = found else { return Ok(None) };
            found.error()?;
            Ok(found.offset().to_raw().filter(|offset| *offset >= 0))
        };
        (0..self.partitions).map(offset).collect()
    }

    /// The end of each partition.
    ///
    /// # Errors
    /// When a leader is away.
    pub fn ends(&self) -> KafkaResult<Vec<i64>> {
        let watermarks = |partition| self.consumer.fetch_watermarks(&self.topic, partition, ANSWER);
        (0..self.partitions).map(|partition| Ok(watermarks(partition)?.1)).collect()
    }

    /// What is committed, with what stands beside each offset.
    pub fn positions(&self) -> TopicPartitionList {
        wait_for("the committed offsets", PATIENCE, || {
            let mut asked = TopicPartitionList::new();
            asked.add_partition_range(&self.topic, 0, self.partitions - 1);
            self.consumer.committed_offsets(asked, ANSWER).ok()
        })
    }

    /// Commits each offset moved by so much, with what stands beside it, once the group has no members any more; what is
    /// committed then.
    pub fn move_to(&self, positions: &TopicPartitionList, by: i64) -> Vec<Option<i64>> {
        let mut moved = TopicPartitionList::new();
        for element in positions.elements() {
            let offset = Offset::Offset(element.offset().to_raw().unwrap() + by);
            moved.add_partition_offset(&self.topic, element.partition(), offset).unwrap();
            moved.find_partition(&self.topic, element.partition()).unwrap().set_metadata(element.metadata());
        }
        wait_for("the group to be without members", PATIENCE, || self.consumer.commit(&moved, CommitMode::Sync).ok());
        moved.elements().iter().map(|element| element.offset().to_raw()).collect()
    }

    /// How many records have been committed, while the coordinator answers.
    pub fn total(&self) -> Option<i64> {
        Some(self.committed().ok()?.into_iter().flatten().sum())
    }

    /// Waits until every partition has been committed further: whoever owns them works. There has to be load.
    pub fn wait_until_all_move(&self) {
        let before = wait_for("the committed offsets", PATIENCE, || self.committed().ok());
        wait_for("every partition to be committed further", PATIENCE, || {
            let now = self.committed().ok()?;
            now.iter().zip(&before).all(|(now, before)| now > before).then_some(())
        });
    }

    /// Waits until everything in the topic is committed; as long as it goes on.
    pub fn wait_until_consumed(&self) {
        let ends = wait_for("the ends of the partitions", PATIENCE, || self.ends().ok());
        let (mut total, mut since) = (None, Instant::now());
        loop {
            let committed = self.committed().ok();
            let is_at_end = |(committed, end): (&Option<i64>, &i64)| committed.unwrap_or(0) == *end;
            if committed.as_ref().is_some_and(|offsets| offsets.iter().zip(&ends).all(is_at_end)) {
                return;
            }
            let now: Option<i64> = committed.as_ref().map(|offsets| offsets.iter().flatten().sum());
            if now > total {
                (total, since) = (now, Instant::now());
            }
            assert!(since.elapsed() < PATIENCE, "the group stopped at {committed:?} of {ends:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}
