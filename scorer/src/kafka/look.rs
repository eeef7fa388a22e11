//! What a topic holds at this moment, for a reader that joins no consumer group and commits nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::consumer::BaseConsumer;
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::topic_partition_list::Offset;
use shared::time::Timestamp;

use super::client::error::KafkaError;
use super::client::offsets::{ends_once, offsets_at};
use super::client::read_to_end::{Next, Part, ReadToEnd};
use super::client::settings::{KafkaSettings, QuietContext};

/// How long a broker may say nothing.
const TIMEOUT: Duration = Duration::from_secs(30);

const DOING: &str = "reading a topic to its end";

/// A topic between two moments.
pub(crate) struct Look {
    topic: String,
    consumer: BaseConsumer<QuietContext>,
    parts: Vec<Part>,
    /// The offset after the last that is wanted, by partition.
    ends: BTreeMap<i32, i64>,
    /// Where each partition ended, also those of which nothing is wanted.
    places: BTreeMap<i32, i64>,
}

impl Look {
    /// Notes where `topic` ends now, and where it begins, or what comes since a moment does.
    ///
    /// # Errors
    /// [`KafkaError`] when no broker answers, or the topic is missing.
    pub(crate) fn new(settings: &KafkaSettings, topic: &str, since: Option<Timestamp>) -> Result<Self, KafkaError> {
        let partitions = settings.partitions_of(topic)?;
        // The client wants a name for a group, though it joins none.
        let consumer = settings.reader(&format!("{topic}-look"))?;
        let starts = since.map(|since| offsets_at(&consumer, topic, partitions, since)).transpose()?;
        let (mut parts, mut ends, mut places) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
        for partition in 0..partitions {
            let (low, high) = ends_once(&consumer, topic, partition, DOING)?;
            places.insert(partition, high);
            let found = starts.as_ref().and_then(|starts| starts.find_partition(topic, partition));
            let start = match found.map(|found| found.offset()) {
                Some(Offset::Offset(offset)) => low.max(offset),
                // No record is that late.
                Some(_) => high,
                None => low,
            };
            if start < high {
                parts.push(Part { partition, from: Offset::Offset(start), ends_at_end: true });
                ends.insert(partition, high);
            }
        }
        Ok(Self { topic: topic.to_owned(), consumer, parts, ends, places })
    }

    /// The same with no more than so many records of each partition, the newest.
    pub(crate) fn newest(mut self, of_each: i64) -> Self {
        for part in &mut self.parts {
            if let Offset::Offset(start) = part.from {
                let end = self.ends.get(&part.partition).copied().unwrap_or(start);
                part.from = Offset::Offset(start.max(end.saturating_sub(of_each)));
            }
        }
        self
    }

    /// Where each partition ended when it was looked: what is behind that is read by nobody yet.
    pub(crate) fn places(&self) -> &BTreeMap<i32, i64> {
        &self.places
    }

    /// Reads what lies between.
    ///
    /// # Errors
    /// Those of `take`; [`KafkaError`] when the brokers fall silent.
    pub(crate) fn read(
        self,
        mut take: impl FnMut(&BorrowedMessage<'_>) -> Result<(), KafkaError>,
    ) -> Result<(), KafkaError> {
        let Self { topic, consumer, parts, ends, .. } = self;
        let reader = ReadToEnd { consumer: &consumer, topic: &topic, doing: DOING, silence: TIMEOUT };
        reader.read_all(&parts, |message| {
            let end = ends.get(&message.partition()).copied().unwrap_or_default();
            if message.offset() < end {
                take(message)?;
            }
            // What a transaction ends with has an offset and is no message: the end may come without its last.
            Ok(if message.offset() + 1 >= end { Next::PartitionDone } else { Next::ReadOn })
        })
    }
}

/// The newest records of a topic that have a value, at most about `most`, partition by partition in their order.
///
/// # Errors
/// [`KafkaError`] when no broker answers, or the topic is missing.
pub fn newest_records(settings: &KafkaSettings, topic: &str, most: usize) -> Result<Vec<Vec<u8>>, KafkaError> {
    let partitions = settings.partitions_of(topic)?;
    let of_each = most.div_ceil(usize::try_from(partitions).unwrap_or(1).max(1));
    let mut records: BTreeMap<i32, Vec<Vec<u8>>> = BTreeMap::new();
    Look::new(settings, topic, None)?.newest(i64::try_from(of_each).unwrap_or(i64::MAX)).read(|message| {
        if let Some(value) = message.payload() {
            records.entry(message.partition()).or_default().push(value.to_owned());
        }
        Ok(())
    })?;
    Ok(records.into_values().flatten().collect())
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use rdkafka::mocking::MockCluster;

    use super::*;
    use crate::kafka::client::producer::{ProduceRecord, Producer};

    #[test]
    fn the_newest_records_are_read_partition_by_partition() {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic("t", 2, 1).unwrap();
        let settings = KafkaSettings::at(cluster.bootstrap_servers());
        let producer = Producer::new(&settings).unwrap();
        for (partition, value) in [(0, "a"), (1, "x"), (0, "b"), (0, "c"), (1, "y")] {
            let payload = Some(Cow::Borrowed(value.as_bytes()));
            producer.queue(ProduceRecord { partition: Some(partition), payload, ..ProduceRecord::to("t") }).unwrap();
        }
        producer.flush().unwrap();
        let newest = |most| -> Vec<String> {
            let records = newest_records(&settings, "t", most).unwrap();
            records.into_iter().map(|record| String::from_utf8(record).unwrap()).collect()
        };
        assert_eq!(newest(100), ["a", "b", "c", "x", "y"]);
        assert_eq!(newest(4), ["b", "c", "x", "y"]);
        assert_eq!(newest(1), ["c", "y"]);
        assert!(matches!(newest_records(&settings, "none", 1), Err(KafkaError::MissingTopic(_))));
    }
}
