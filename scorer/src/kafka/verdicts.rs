//! What topics hold at this moment, for somebody who only looks: no consumer group is joined, and nothing is committed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError as ClientError;
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use shared::line::LineParser;
use shared::pipeline::Pipeline;
use shared::time::Timestamp;

use super::client::error::KafkaError;
use super::client::settings::{KafkaSettings, QuietContext};
use super::wire::headers::label_of;
use crate::agreement::{Intake, Labels};

/// How long one call may take, and how long a broker may say nothing.
const TIMEOUT: Duration = Duration::from_secs(30);

const DOING: &str = "reading a topic to its end";

/// What was published to the topics of two detectors by a moment: neither is read further than it went then.
pub struct VerdictTopics([Look; 2]);

impl VerdictTopics {
    /// Notes where `topics` end now, and where they begin, or what comes since a moment does.
    ///
    /// # Errors
    /// [`KafkaError`] when no broker answers, or a topic is missing.
    pub fn until_now(
        settings: &KafkaSettings,
        topics: [&str; 2],
        since: Option<Timestamp>,
    ) -> Result<Self, KafkaError> {
        let [first, second] = topics.map(|topic| Look::new(settings, topic, since));
        Ok(Self([first?, second?]))
    }

    /// Reads the verdicts.
    ///
    /// # Errors
    /// [`KafkaError`] when the brokers fall silent.
    pub fn read(self, intake: &mut Intake<'_>) -> Result<(), KafkaError> {
        let read = |look: Look| look.read(|message| intake.message(message.payload().unwrap_or_default()));
        self.0.into_iter().try_for_each(read)
    }
}

/// Reads the labels of all records in the pipeline's topic, up to its present end; by the records' keys, as the pipeline
/// takes them out of the records.
///
/// # Errors
/// As [`VerdictTopics::until_now`] and [`VerdictTopics::read`].
pub fn read_topic_labels(settings: &KafkaSettings, pipeline: &Arc<Pipeline>) -> Result<Labels, KafkaError> {
    let mut labels = Labels::default();
    let Some(label) = &pipeline.label else { return Ok(labels) };
    let mut parser = LineParser::new(pipeline.clone());
    Look::new(settings, &pipeline.topic, None)?.read(|message| {
        let header = label_of(message, pipeline);
        // What cannot be parsed has no verdict either.
        let _ = parser.parse(message.payload().unwrap_or_default(), |line| {
            let text = header.or_else(|| line[label.column?].text());
            if let Some(key) = line[pipeline.entity.key].text() {
                labels.add(key, label.scenario(text).is_some());
            }
        });
    })?;
    Ok(labels)
}

/// A topic between two moments.
struct Look {
    topic: String,
    consumer: BaseConsumer<QuietContext>,
    /// Partitions with the first offset to read and the one after the last, where there is any between.
    ranges: Vec<(i32, i64, i64)>,
}

impl Look {
    fn new(settings: &KafkaSettings, topic: &str, since: Option<Timestamp>) -> Result<Self, KafkaError> {
        let partitions = settings.partitions_of(topic)?;
        // The client wants a name for a group, though it joins none.
        let consumer = settings.reader(&format!("{topic}-look"))?;
        let failed = KafkaError::failed(DOING);
        let starts = since.map(|since| starts_at(&consumer, (topic, partitions), since)).transpose()?;
        let mut ranges = Vec::new();
        for partition in 0..partitions {
            let (low, high) = consumer.fetch_watermarks(topic, partition, TIMEOUT).map_err(&failed)?;
            let found = starts.as_ref().and_then(|starts| starts.find_partition(topic, partition));
            let start = match found.map(|found| found.offset()) {
                Some(Offset::Offset(offset)) => low.max(offset),
                // No record is that late.
                Some(_) => high,
                None => low,
            };
            if start < high {
                ranges.push((partition, start, high));
            }
        }
        Ok(Self { topic: topic.to_owned(), consumer, ranges })
    }

    fn read(self, mut take: impl FnMut(&BorrowedMessage<'_>)) -> Result<(), KafkaError> {
        let Self { topic, consumer, mut ranges } = self;
        let failed = KafkaError::failed(DOING);
        let mut assignment = TopicPartitionList::new();
        for &(partition, start, _) in &ranges {
            assignment.add_partition_offset(&topic, partition, Offset::Offset(start)).map_err(&failed)?;
        }
        consumer.assign(&assignment).map_err(&failed)?;
        let mut heard = Instant::now();
        while !ranges.is_empty() {
            match consumer.poll(Duration::from_millis(100)) {
                Some(Ok(message)) => {
                    heard = Instant::now();
                    let Some(at) = ranges.iter().position(|range| range.0 == message.partition()) else { continue };
                    let end = ranges[at].2;
                    if message.offset() < end {
                        take(&message);
                    }
                    // What a transaction ends with has an offset and is no message: the end may come without its last.
                    if message.offset() + 1 >= end {
                        ranges.swap_remove(at);
                    }
                }
                Some(Err(ClientError::PartitionEOF(partition))) => ranges.retain(|range| range.0 != partition),
                Some(Err(error)) if heard.elapsed() >= TIMEOUT => return Err(failed(error)),
                None if heard.elapsed() >= TIMEOUT => {
                    return Err(KafkaError::Failed { action: DOING, cause: format!("`{topic}` says nothing") });
                }
                Some(Err(_)) | None => {}
            }
        }
        Ok(())
    }
}

/// The first offset of each partition at that moment or later.
fn starts_at(
    consumer: &BaseConsumer<QuietContext>,
    (topic, partitions): (&str, i32),
    since: Timestamp,
) -> Result<TopicPartitionList, KafkaError> {
    let failed = KafkaError::failed("looking for a time");
    let mut asked = TopicPartitionList::new();
    for partition in 0..partitions {
        asked.add_partition_offset(topic, partition, Offset::Offset(since)).map_err(&failed)?;
    }
    consumer.offsets_for_times(asked, TIMEOUT).map_err(failed)
}
