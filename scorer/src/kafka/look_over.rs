//! What can be known before a stream starts, without a member in its group and without writing anything.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::Offset;
use rdkafka::consumer::Consumer as _;
use shared::pipeline::Pipeline;

use super::client::blocking::blocking;
use super::client::error::KafkaError;
use super::client::offsets::{ends_once, partitions_of};
use super::client::settings::{KafkaSettings, QuietContext, create_consumer};
use super::options::Delivery;
use super::schemas;
use super::topics::admin::existing_topics;
use super::topics::check::{refuse_hops_at_least_once, refuse_split_past};
use super::topics::input::InputTopic;
use super::topics::names::Topics;

/// How long the group's coordinator is waited for.
const PATIENCE: Duration = Duration::from_secs(4);

/// How many topics the brokers have.
///
/// # Errors
/// As [`KafkaSettings::connect`].
pub async fn count_topics(settings: &KafkaSettings) -> Result<usize, KafkaError> {
    Ok(existing_topics(settings).await?.len())
}

/// Looks whether `group` may read the input for this pipeline; returns how many partitions that has. `None` where there is no input
/// yet.
///
/// # Errors
/// What the start of a stream would end with: another pipeline's group, a topic that does not fit, a right that is missing.
pub async fn look_at_group(
    settings: &KafkaSettings,
    pipeline: &Arc<Pipeline>,
    group: &str,
    topics: &Topics,
    delivery: Delivery,
) -> Result<Option<i32>, KafkaError> {
    const DOING: &str = "looking at the group";
    let (settings, pipeline, group, topic) =
        (settings.clone(), pipeline.clone(), group.to_owned(), topics.input.clone());
    blocking(DOING, move || {
        let partitions = match settings.partitions_of(&topic) {
            Ok(partitions) => partitions,
            Err(KafkaError::MissingTopic(_)) => return Ok(None),
            Err(error) => return Err(error),
        };
        refuse_split_past(&pipeline, &topic, usize::try_from(partitions).unwrap_or(1))?;
        if delivery == Delivery::AtLeastOnce {
            refuse_hops_at_least_once(&pipeline, &topic, partitions)?;
        }
        let input = InputTopic::look_up(&settings, &topic, &group, &pipeline.name)?;
        input.refuse_group_of_other_pipeline(&settings, partitions)?;
        let config = settings.client(&[("group.id", &group), ("isolation.level", "read_uncommitted")]);
        let consumer = create_consumer(&config, QuietContext)?;
        ends_once(&consumer, &topic, 0, "asking for the ends of a partition")?;
        // A coordinator that is not there yet is waited for by the stream; a right that is missing stays missing.
        let offsets = consumer.committed_offsets(partitions_of(&topic, &[0]), PATIENCE);
        let denied = offsets.err().and_then(|error| error.rdkafka_error_code());
        let denied =
            denied.and_then(|code| KafkaError::denied(code, || format!("reading the offsets of group `{group}`")));
        denied.map_or(Ok(Some(partitions)), Err)
    })
    .await
}

/// Asks the Schema Registry of a pipeline, where it has one; its address.
///
/// # Errors
/// When it does not answer as one, or lets nobody in.
pub async fn ask_registry(pipeline: &Arc<Pipeline>) -> Result<Option<String>, KafkaError> {
    let pipeline = pipeline.clone();
    blocking("asking the Schema Registry", move || schemas::ask_registry(&pipeline)).await
}

/// How far a group is in one partition of its input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionLag {
    /// The partition.
    pub partition: i32,
    /// The next record that it reads; `None` where it has committed nothing.
    pub committed: Option<i64>,
    /// The end of the partition.
    pub end: i64,
}

/// How far a group is in each partition of its input. Its state is not read.
///
/// # Errors
/// When no broker answers, or the input is missing.
pub async fn lag(settings: &KafkaSettings, group: &str, topics: &Topics) -> Result<Vec<PartitionLag>, KafkaError> {
    const DOING: &str = "asking how far the group is";
    let (settings, group, topic) = (settings.clone(), group.to_owned(), topics.input.clone());
    blocking(DOING, move || {
        let all: Vec<i32> = (0..settings.partitions_of(&topic)?).collect();
        let config = settings.client(&[("group.id", &group), ("isolation.level", "read_uncommitted")]);
        let consumer = create_consumer(&config, QuietContext)?;
        let committed = consumer.committed_offsets(partitions_of(&topic, &all), PATIENCE);
        let committed = committed.map_err(KafkaError::failed(DOING))?;
        let of = |partition| match committed.find_partition(&topic, partition)?.offset() {
            Offset::Offset(offset) => Some(offset),
            _ => None,
        };
        let look = |&partition: &i32| {
            let (_, end) = ends_once(&consumer, &topic, partition, DOING)?;
            Ok::<_, KafkaError>(PartitionLag { partition, committed: of(partition), end })
        };
        all.iter().map(look).collect()
    })
    .await
}
