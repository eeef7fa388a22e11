//! What topics hold at this moment, for a reader that joins no consumer group and commits nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::BaseConsumer;
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::topic_partition_list::Offset;
use shared::line::LineParser;
use shared::pipeline::Pipeline;
use shared::time::Timestamp;

use super::client::error::KafkaError;
use super::client::offsets::{ends_once, offsets_at};
use super::client::read_to_end::{Next, Part, ReadToEnd};
use super::client::settings::{KafkaSettings, QuietContext};
use super::wire::headers::label_of;
use crate::agreement::{Intake, Labels};

/// How long a broker may say nothing.
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
    let mut parser = LineParser::new(pipeline.schema.clone());
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
    parts: Vec<Part>,
    /// The offset after the last that is wanted, by partition.
    ends: BTreeMap<i32, i64>,
}

impl Look {
    fn new(settings: &KafkaSettings, topic: &str, since: Option<Timestamp>) -> Result<Self, KafkaError> {
        let partitions = settings.partitions_of(topic)?;
        // The client wants a name for a group, though it joins none.
        let consumer = settings.reader(&format!("{topic}-look"))?;
        let starts = since.map(|since| offsets_at(&consumer, topic, partitions, since)).transpose()?;
        let (mut parts, mut ends) = (Vec::new(), BTreeMap::new());
        for partition in 0..partitions {
            let (low, high) = ends_once(&consumer, topic, partition, DOING)?;
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
        Ok(Self { topic: topic.to_owned(), consumer, parts, ends })
    }

    fn read(self, mut take: impl FnMut(&BorrowedMessage<'_>)) -> Result<(), KafkaError> {
        let Self { topic, consumer, parts, ends } = self;
        let reader = ReadToEnd { consumer: &consumer, topic: &topic, doing: DOING, silence: TIMEOUT };
        reader.read_all(&parts, |message| {
            let end = ends.get(&message.partition()).copied().unwrap_or_default();
            if message.offset() < end {
                take(message);
            }
            // What a transaction ends with has an offset and is no message: the end may come without its last.
            Ok(if message.offset() + 1 >= end { Next::PartitionDone } else { Next::ReadOn })
        })
    }
}
