//! Whether a topic is keyed as it has to be: a look at its newest records.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::topic_partition_list::Offset;
use shared::line::LineParser;
use shared::pipeline::Pipeline;
use shared::text::printable;

use super::place::place_key;
use crate::kafka::client::error::KafkaError;
use crate::kafka::client::offsets::ends_once;
use crate::kafka::client::read_to_end::{Next, Part, Read, ReadToEnd};
use crate::kafka::client::settings::KafkaSettings;
use crate::kafka::schemas::SchemaSource;
use crate::kafka::topics::names::Topics;
use crate::kafka::wire::headers::schema_of;

/// Records of each partition that are looked at: the newest.
const LOOKED_AT: i64 = 100;

/// How long to wait for records that are to be looked at.
const SILENCE: Duration = Duration::from_secs(5);

/// A record whose key may send it to another partition than the rest of its entity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misplaced {
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Its key.
    pub key: Option<String>,
    /// The key of its entity, or that of the history it is looked at with.
    pub entity: String,
}

impl fmt::Display for Misplaced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { partition, offset, key, entity } = self;
        write!(f, "the line of `{}` at partition {partition}, offset {offset} has ", printable(entity))?;
        match key {
            None => f.write_str("no key"),
            Some(key) => write!(f, "the key `{}`", printable(key)),
        }
    }
}

/// Looks at the newest records of each partition for one whose key is not that of its entity. There is none where the
/// topic has one partition, does not exist yet, or has records that need no others. Blocks.
///
/// # Errors
/// [`KafkaError`] when no broker answers.
pub fn find_misplaced(settings: &KafkaSettings, pipeline: &Arc<Pipeline>) -> Result<Option<Misplaced>, KafkaError> {
    // By several columns, one hop after the other: the topic itself is keyed by the first.
    let is_keyed = !pipeline.placed_by().is_empty();
    match settings.partitions_of(&pipeline.topic) {
        Ok(partitions) if partitions > 1 && is_keyed => find_misplaced_among(settings, pipeline, partitions),
        Ok(_) | Err(KafkaError::MissingTopic(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Looks at the newest records of the first `partitions` of the pipeline's topic for one whose key is not that of its entity,
/// of which there is one. Blocks.
///
/// # Errors
/// As [`find_misplaced`].
pub(crate) fn find_misplaced_among(
    settings: &KafkaSettings,
    pipeline: &Arc<Pipeline>,
    partitions: i32,
) -> Result<Option<Misplaced>, KafkaError> {
    const DOING: &str = "looking at the newest records";
    let consumer = settings.reader(&format!("{}-look", pipeline.topic))?;
    let mut parts = Vec::new();
    for partition in 0..partitions {
        let (low, high) = ends_once(&consumer, &pipeline.topic, partition, DOING)?;
        if low < high {
            parts.push(Part { partition, from: Offset::Offset(low.max(high - LOOKED_AT)), ends_at_end: true });
        }
    }
    let schemas = SchemaSource::new(pipeline)?;
    let (mut parser, mut found) = (LineParser::new(pipeline.schema.clone()), None);
    let reader = ReadToEnd { consumer: &consumer, topic: &pipeline.topic, doing: DOING, silence: SILENCE };
    // Records that do not come in time are not looked at.
    reader.read(
        &parts,
        |_| true,
        |read| {
            if let Read::Record(message) = read {
                schemas.wait_for(message.payload().unwrap_or_default(), schema_of(message, &pipeline.schema))?;
                found = misplaced(&mut parser, pipeline, message);
            }
            Ok(if found.is_some() { Next::Stop } else { Next::ReadOn })
        },
    )?;
    Ok(found)
}

/// Whether `group` has state of lines that were not repartitioned. Blocks.
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
        let (low, high) = ends_once(&consumer, &topics.state, partition, "looking for state")?;
        if low < high {
            return Ok(true);
        }
    }
    Ok(false)
}

fn misplaced(parser: &mut LineParser, pipeline: &Pipeline, message: &BorrowedMessage<'_>) -> Option<Misplaced> {
    let schema = schema_of(message, &pipeline.schema);
    let entity = place_key(parser, pipeline, (message.payload().unwrap_or_default(), schema))?;
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
