//! Whether a topic is keyed as it has to be: a look at its newest records.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer;
use rdkafka::error::KafkaError as ClientError;
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use shared::line::LineParser;
use shared::pipeline::Pipeline;

use super::place::place_key;
use crate::kafka::client::error::KafkaError;
use crate::kafka::client::settings::KafkaSettings;
use crate::kafka::topics::names::Topics;

/// How long one call may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// Records of each partition that are looked at: the newest.
const LOOKED_AT: i64 = 100;

/// How long to wait for records that are to be looked at.
const SILENCE: Duration = Duration::from_secs(5);

/// A record whose key may part it from its entity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misplaced {
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Its key.
    pub key: Option<String>,
    /// The key of its entity, or that whose past it is looked at with.
    pub entity: String,
}

impl fmt::Display for Misplaced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { partition, offset, key, entity } = self;
        write!(f, "the line of `{entity}` at partition {partition}, offset {offset} has ")?;
        match key {
            None => f.write_str("no key"),
            Some(key) => write!(f, "the key `{key}`"),
        }
    }
}

/// The first of the newest records of each partition whose key is not its entity's. With one partition no key can part
/// lines; a topic that is not there yet has none; nor has one whose records need no others. Blocks.
///
/// # Errors
/// [`KafkaError`] when no broker answers.
pub fn find_misplaced(settings: &KafkaSettings, pipeline: &Arc<Pipeline>) -> Result<Option<Misplaced>, KafkaError> {
    // By several columns at once no topic can be keyed, which is said elsewhere.
    let is_keyed = pipeline.placed_by().len() == 1;
    let partitions = match settings.partitions_of(&pipeline.topic) {
        Ok(partitions) if partitions > 1 && is_keyed => partitions,
        Ok(_) | Err(KafkaError::MissingTopic(_)) => return Ok(None),
        Err(error) => return Err(error),
    };
    let failed = KafkaError::failed("looking at the newest records");
    let consumer = settings.reader(&format!("{}-look", pipeline.topic))?;
    let (mut assignment, mut unread) = (TopicPartitionList::new(), BTreeSet::new());
    for partition in 0..partitions {
        let (low, high) = consumer.fetch_watermarks(&pipeline.topic, partition, CALL_TIMEOUT).map_err(&failed)?;
        if low < high {
            let from = Offset::Offset(low.max(high - LOOKED_AT));
            assignment.add_partition_offset(&pipeline.topic, partition, from).map_err(&failed)?;
            unread.insert(partition);
        }
    }
    consumer.assign(&assignment).map_err(&failed)?;
    let mut parser = LineParser::new(pipeline.clone());
    let mut heard = Instant::now();
    while !unread.is_empty() && heard.elapsed() < SILENCE {
        match consumer.poll(Duration::from_millis(100)) {
            None => {}
            Some(Ok(message)) => {
                heard = Instant::now();
                let found = misplaced(&mut parser, pipeline, &message);
                if found.is_some() {
                    return Ok(found);
                }
            }
            Some(Err(ClientError::PartitionEOF(partition))) => {
                unread.remove(&partition);
            }
            Some(Err(error)) => tracing::debug!(%error, "looking at the newest records"),
        }
    }
    Ok(None)
}

/// Whether `group` has state of lines that were taken as they lie. Blocks.
///
/// # Errors
/// [`KafkaError`] when no broker answers.
pub fn has_direct_state(settings: &KafkaSettings, pipeline: &Pipeline, group: &str) -> Result<bool, KafkaError> {
    let topics = Topics::of_group(settings, pipeline, group)?;
    let partitions = match settings.partitions_of(&topics.state) {
        Ok(partitions) if !topics.is_repartitioned() => partitions,
        Ok(_) | Err(KafkaError::MissingTopic(_)) => return Ok(false),
        Err(error) => return Err(error),
    };
    let consumer = settings.reader(&format!("{}-look", topics.state))?;
    for partition in 0..partitions {
        let (low, high) = consumer
            .fetch_watermarks(&topics.state, partition, CALL_TIMEOUT)
            .map_err(KafkaError::failed("looking for state"))?;
        if low < high {
            return Ok(true);
        }
    }
    Ok(false)
}

fn misplaced(parser: &mut LineParser, pipeline: &Pipeline, message: &BorrowedMessage<'_>) -> Option<Misplaced> {
    let entity = place_key(parser, pipeline, message.payload().unwrap_or_default())?;
    let key = message.key().map(|key| String::from_utf8_lossy(key).into_owned());
    let is_in_place = key.as_ref().is_some_and(|key| key.trim() == entity);
    let (partition, offset) = (message.partition(), message.offset());
    (!is_in_place).then_some(Misplaced { partition, offset, key, entity })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misplaced_line_is_described_in_one_sentence() {
        let mut found = Misplaced { partition: 2, offset: 17, key: None, entity: "536365".to_owned() };
        insta::assert_snapshot!(found, @"the line of `536365` at partition 2, offset 17 has no key");
        found.key = Some("12345".to_owned());
        insta::assert_snapshot!(found, @"the line of `536365` at partition 2, offset 17 has the key `12345`");
    }
}
