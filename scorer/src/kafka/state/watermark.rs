//! A watermark that is too late, set back: offsets stay, and the state is written again, in one transaction.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::Consumer;
use rdkafka::producer::Producer as _;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use shared::pipeline::Pipeline;
use shared::time::Timestamp;

use super::changelogs::{Changelogs, Wanted};
use super::reset::{Access, no_group};
use crate::core::{Head, Restored, StateRecord};
use crate::kafka::client::error::KafkaError;
use crate::kafka::client::offsets::{committed_offsets, positions_of};
use crate::kafka::client::producer::{ProduceRecord, Producer};
use crate::kafka::client::settings::KafkaSettings;
use crate::kafka::topics::input::InputTopic;
use crate::kafka::wire::offset_metadata::StateTag;

const TIMEOUT: Duration = Duration::from_secs(30);

const DOING: &str = "setting a watermark";

/// A partition whose watermark was set back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SetBack {
    /// The partition.
    pub partition: i32,
    /// What its watermark was.
    pub before: Option<Timestamp>,
}

/// Sets back every watermark of `group` that is later than `time`, or that of one partition: open entities then close as if
/// their last lines had come at `time` at the latest. Returns the partitions that had a later one. Blocks.
///
/// # Errors
/// When the group is in use, has no state, or remembers records beyond that time.
pub fn set_watermark(
    settings: &KafkaSettings,
    pipeline: &Arc<Pipeline>,
    group: &str,
    partition: Option<i32>,
    time: Timestamp,
) -> Result<Vec<SetBack>, KafkaError> {
    let mut hops = Access::of_hops(settings, pipeline, group)?;
    if hops.len() > 1 {
        let cause = format!(
            "records of `{}` take {} hops, each of which remembers what came until then: `scorer reset` starts again",
            pipeline.topic,
            hops.len()
        );
        return Err(KafkaError::Failed { action: DOING, cause });
    }
    let access = hops.remove(0);
    access.refuse_all_members()?;
    let partitions: Vec<i32> = access.partitions().filter(|known| partition.is_none_or(|it| it == *known)).collect();
    if partitions.is_empty() {
        let cause = format!("`{}` has {} partitions, from 0", pipeline.topic, access.changelogs.origin.partitions);
        return Err(KafkaError::Failed { action: DOING, cause });
    }
    let mut later = later_states(&access, &partitions, time)?;
    if later.is_empty() {
        return Ok(Vec::new());
    }
    let set_back = later.iter().map(|(partition, _, restored)| (*partition, restored.watermark()));
    let set_back = set_back.map(|(partition, before)| SetBack { partition, before }).collect();
    write(&access, &mut later, time)?;
    Ok(set_back)
}

/// The states with a later clock, each with the offset that is committed with it.
fn later_states(access: &Access, partitions: &[i32], time: Timestamp) -> Result<Vec<(i32, i64, Restored)>, KafkaError> {
    let Changelogs { topics, watchdog, group, .. } = &access.changelogs;
    let committed = committed_offsets(&access.consumer, &topics.input, partitions, watchdog, || false)?;
    let mut wanted = Vec::new();
    for &partition in partitions {
        let found = committed.as_ref().and_then(|committed| committed.find_partition(&topics.input, partition));
        let offset = found.as_ref().and_then(|found| found.offset().to_raw()).filter(|offset| *offset >= 0);
        match (offset, found.as_ref().and_then(|found| StateTag::decode(found.metadata()))) {
            (Some(offset), Some(tag)) => wanted.push((partition, offset, tag)),
            (None, _) => {}
            (Some(_), None) => {
                let cause = format!("group `{group}` keeps no state on Kafka: it has no watermark to be set");
                return Err(KafkaError::Failed { action: DOING, cause });
            }
        }
    }
    let tags: Vec<_> = wanted.iter().map(|(partition, _, tag)| (*partition, Wanted::Last(*tag))).collect();
    let mut restored = access.changelogs.read(&tags)?;
    let later = |(partition, offset, _): (i32, i64, StateTag)| {
        let state = restored.remove(&partition)?;
        state.is_later_than(time).then_some((partition, offset, state))
    };
    Ok(wanted.into_iter().filter_map(later).collect())
}

/// Writes the states again, and the offsets with the tags that belong to them.
fn write(access: &Access, later: &mut [(i32, i64, Restored)], time: Timestamp) -> Result<(), KafkaError> {
    let failed = KafkaError::failed(DOING);
    let Changelogs { settings, topics, .. } = &access.changelogs;
    let offsets = later.iter().map(|(partition, offset, _)| (*partition, Offset::Offset(*offset)));
    let list = positions_of(&topics.input, offsets).map_err(&failed)?;
    let mut records = Vec::new();
    for (partition, _, restored) in later.iter_mut() {
        let (changes, head) = set_back(access, *partition, restored, time)?;
        tag(&list, &access.changelogs.input, *partition, &head);
        records.extend(changes.into_iter().map(|record| (*partition, record)));
    }
    let id = format!("{}-reset", topics.state);
    let producer = Producer::create(&settings.transactional_producer(&id), Vec::new())?;
    producer.client.init_transactions(TIMEOUT).map_err(&failed)?;
    producer.client.begin_transaction().map_err(&failed)?;
    for (partition, record) in &records {
        producer.queue(ProduceRecord::state(&topics.state, *partition, record)).map_err(&failed)?;
    }
    // A group without members has no generation: the broker takes the offsets from anybody.
    let metadata = access.consumer.group_metadata().ok_or_else(no_group)?;
    producer.client.send_offsets_to_transaction(&list, &metadata, TIMEOUT).map_err(&failed)?;
    producer.flush()?;
    producer.client.commit_transaction(TIMEOUT).map_err(&failed)
}

/// The changes that set a partition's state back, and their head.
fn set_back(
    access: &Access,
    partition: i32,
    restored: &mut Restored,
    time: Timestamp,
) -> Result<(Vec<StateRecord>, Head), KafkaError> {
    let changelogs = &access.changelogs;
    let pipeline = &changelogs.pipeline;
    restored.set_back(pipeline, partition, time).map_err(|error| changelogs.unusable(partition, &error))?;
    let live = access.live_keys(partition)?;
    let nothing = || KafkaError::Failed { action: DOING, cause: format!("partition {partition} has no state") };
    restored.rewrite(pipeline, &live).ok_or_else(nothing)
}

fn tag(list: &TopicPartitionList, input: &InputTopic, partition: i32, head: &Head) {
    if let Some(mut element) = list.find_partition(&input.name, partition) {
        element.set_metadata(StateTag::of(head).encode(&input.owner()));
    }
}
