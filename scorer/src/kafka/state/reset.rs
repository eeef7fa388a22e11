//! A group's state, looked at and reset: offsets and state together, in one transaction.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::Consumer;
use rdkafka::message::Message as _;
use rdkafka::producer::Producer as _;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use shared::pipeline::Pipeline;
use shared::time::Timestamp;

use super::changelogs::{Changelogs, Wanted};
use crate::clock::now_since_epoch;
use crate::core::{LiveKeys, Origin};
use crate::kafka::client::blocking::blocking;
use crate::kafka::client::consumer::{GroupConsumer, GroupContext};
use crate::kafka::client::error::KafkaError;
use crate::kafka::client::group_members::members_of;
use crate::kafka::client::group_protocol::GroupProtocol;
use crate::kafka::client::named_for::named_for;
use crate::kafka::client::offsets::{ends_once, offsets_at, positions_of};
use crate::kafka::client::producer::{ProduceRecord, Producer};
use crate::kafka::client::read_to_end::{Next, Part, ReadToEnd};
use crate::kafka::client::settings::{KafkaSettings, create_consumer};
use crate::kafka::client::watchdog::Watchdog;
use crate::kafka::topics::admin::{TopicSettings, create_topics, existing_topics, extend_topic};
use crate::kafka::topics::input::InputTopic;
use crate::kafka::topics::names::{HopTopics, Topics, repartition_group};
use crate::kafka::topics::way::{Hop, hops_of};
use crate::kafka::wire::offset_metadata::StateTag;

const TIMEOUT: Duration = Duration::from_secs(30);

const DOING: &str = "resetting";

/// Where a group starts after a reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResetTo {
    /// At the first record that there is.
    Earliest,
    /// After the last.
    Latest,
    /// At the first record with this timestamp or a later one.
    Time(Timestamp),
}

/// The state of one partition of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionState {
    /// The topic that is read: of a hop after the first, its own.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// Open entities, or records that wait.
    pub open: usize,
    /// Keys whose past is remembered.
    pub keys: usize,
    /// Closed keys that are remembered.
    pub closed: usize,
    /// Cancelled keys that are remembered.
    pub cancelled: usize,
    /// The largest timestamp seen.
    pub watermark: Option<Timestamp>,
    /// The first record that is not in the state.
    pub offset: Option<i64>,
    /// The input's records after that.
    pub lag: i64,
    /// Records of the changelog, with those that compaction will remove.
    pub changelog_records: i64,
    /// Records that were read to restore it.
    pub records_read: u64,
    /// The state as records: what a fresh restore gives.
    #[cfg(feature = "fault-injection")]
    pub snapshot: Vec<crate::core::StateRecord>,
}

/// What is asked of a group from outside: no member of it.
pub(crate) struct Access {
    pub changelogs: Changelogs,
    pub consumer: GroupConsumer,
}

impl Access {
    /// One for each hop, the first one first.
    ///
    /// # Errors
    /// When no broker answers, a topic is missing, or the group is another pipeline's.
    pub(super) fn of_hops(
        settings: &KafkaSettings,
        pipeline: &Arc<Pipeline>,
        group: &str,
    ) -> Result<Vec<Self>, KafkaError> {
        let topics = Topics::of_group(settings, pipeline, group)?;
        let partitions = settings.partitions_of(&topics.input)?;
        let hops = hops_of(pipeline, group, &topics, partitions);
        let access = |hop: Hop| Self::new(&hop.settings(settings), hop, partitions);
        hops.into_iter().map(access).collect::<Result<_, _>>().map_err(|error| named_for(error, group))
    }

    /// That of the first hop, or of the only one.
    ///
    /// # Errors
    /// As [`Access::of_hops`].
    pub(crate) fn of_first(
        settings: &KafkaSettings,
        pipeline: &Arc<Pipeline>,
        group: &str,
    ) -> Result<Self, KafkaError> {
        let topics = Topics::of_group(settings, pipeline, group)?;
        let partitions = settings.partitions_of(&topics.input)?;
        let first = hops_of(pipeline, group, &topics, partitions).into_iter().next().ok_or_else(no_group)?;
        Self::new(settings, first, partitions)
    }

    fn new(settings: &KafkaSettings, hop: Hop, partitions: i32) -> Result<Self, KafkaError> {
        let Hop { pipeline, topics, group, .. } = hop;
        let input = InputTopic::look_up(settings, &topics.input, &group, &pipeline.name)?;
        input.refuse_group_of_other_pipeline(settings, partitions)?;
        let consumer = consumer_of(settings, &group)?;
        let (topic, layout, topic_id) = (topics.input.clone(), pipeline.state_layout(), input.id.clone());
        let origin = Origin { topic, partitions, layout, topic_id };
        let changelogs = Changelogs {
            settings: settings.clone(),
            pipeline,
            topics,
            group,
            input,
            origin,
            snapshots: None,
            watchdog: Watchdog::new(),
            #[cfg(feature = "fault-injection")]
            faults: crate::kafka::stages::faults::FaultInjection::default(),
        };
        Ok(Self { changelogs, consumer })
    }

    pub(super) fn partitions(&self) -> impl Iterator<Item = i32> {
        0..self.changelogs.origin.partitions
    }

    /// Where a partition begins and ends, for those who read what is committed.
    pub(crate) fn ends_of(&self, topic: &str, partition: i32) -> Result<(i64, i64), KafkaError> {
        ends_once(&self.consumer, topic, partition, "asking for the ends of a partition")
    }
}

/// The state of every partition of `group`, as its changelog has it: of the first hop first, where there are several.
///
/// # Errors
/// [`KafkaError`] when no broker answers, a topic is missing or the state cannot be read.
pub fn states(
    settings: &KafkaSettings,
    pipeline: &Arc<Pipeline>,
    group: &str,
) -> Result<Vec<PartitionState>, KafkaError> {
    let hops = Access::of_hops(settings, pipeline, group)?;
    let states = hops.iter().map(states_of_hop).collect::<Result<Vec<_>, KafkaError>>()?;
    Ok(states.into_iter().flatten().collect())
}

fn states_of_hop(access: &Access) -> Result<Vec<PartitionState>, KafkaError> {
    let Changelogs { topics, settings, .. } = &access.changelogs;
    // A group that has never run has no changelog.
    settings.partitions_of(&topics.state)?;
    let wanted: Vec<_> = access.partitions().map(|partition| (partition, Wanted::Everything)).collect();
    let restored = access.changelogs.read(&wanted)?;
    let mut states = Vec::new();
    for (partition, restored) in restored {
        let (low, high) = access.ends_of(&topics.input, partition)?;
        let (first, end) = access.ends_of(&topics.state, partition)?;
        let offset = restored.head().map(|head| head.next_offset);
        states.push(PartitionState {
            topic: topics.input.clone(),
            partition,
            open: restored.open_entities(),
            keys: restored.keys_with_a_past(),
            closed: restored.closed_keys(),
            cancelled: restored.cancelled_keys(),
            watermark: restored.watermark(),
            offset,
            lag: (high - offset.unwrap_or(low)).max(0),
            changelog_records: end - first,
            records_read: restored.records(),
            #[cfg(feature = "fault-injection")]
            snapshot: restored.snapshot(&access.changelogs.pipeline),
        });
    }
    Ok(states)
}

/// Resets `group`: deletes its state, whatever wrote it, and moves its offsets, in one transaction: of all hops, where there
/// are several. Returns the new offsets. A changelog, or a topic between two hops, with fewer partitions than the input gets as
/// many.
///
/// # Errors
/// [`KafkaError`] when the group has members, or Kafka refuses: then offsets and state are as they were.
pub async fn reset(
    settings: &KafkaSettings,
    pipeline: &Arc<Pipeline>,
    group: &str,
    to: ResetTo,
) -> Result<Vec<(i32, i64)>, KafkaError> {
    let (asked, of, name) = (settings.clone(), pipeline.clone(), group.to_owned());
    let first = blocking(DOING, move || {
        let access = Access::of_first(&asked, &of, &name)?;
        access.refuse_all_members()?;
        Ok(access)
    })
    .await?;
    let Changelogs { topics, origin, .. } = &first.changelogs;
    extend_topic(settings, &topics.state, origin.partitions).await?;
    if pipeline.takes_hops(origin.partitions) {
        complete_hops(settings, pipeline, topics, origin.partitions).await?;
    }
    let (asked, of, name) = (settings.clone(), pipeline.clone(), group.to_owned());
    blocking(DOING, move || {
        let hops = Access::of_hops(&asked, &of, &name)?;
        first.reset(to, hops.get(1..).unwrap_or_default())
    })
    .await
}

/// Gives every topic of a hop after the first what it needs: those that are missing are created, with as many copies as the
/// broker chooses.
async fn complete_hops(
    settings: &KafkaSettings,
    pipeline: &Pipeline,
    topics: &Topics,
    partitions: i32,
) -> Result<(), KafkaError> {
    let existing = existing_topics(settings).await?;
    let all = topics.hops.iter().flat_map(|HopTopics { input, state }| [input, state]);
    let (there, missing): (Vec<&String>, Vec<&String>) =
        all.partition(|name| existing.iter().any(|(known, _)| known == *name));
    for name in there {
        extend_topic(settings, name, partitions).await?;
    }
    let missing: Vec<String> = missing.into_iter().cloned().collect();
    if missing.is_empty() {
        return Ok(());
    }
    let create_as = TopicSettings { partitions, replication_factor: -1 };
    create_topics(settings, &missing, pipeline, topics, partitions, create_as).await
}

impl Access {
    /// Refuses a group that works, and that of a repartitioner or of a later hop that does.
    pub(crate) fn refuse_all_members(&self) -> Result<(), KafkaError> {
        let Changelogs { group, topics, pipeline, .. } = &self.changelogs;
        self.refuse_members(group)?;
        self.refuse_members(&repartition_group(group))?;
        let mut later = topics.hops.iter().filter(|_| pipeline.hop().is_some());
        later.try_for_each(|hop| self.refuse_members(&hop.input))
    }

    fn refuse_members(&self, group: &str) -> Result<(), KafkaError> {
        let members = members_of(self.consumer.client(), group, TIMEOUT);
        let members = members.map_err(KafkaError::failed("looking at the group"))?;
        if members > 0 {
            return Err(KafkaError::GroupInUse { group: group.to_owned(), members });
        }
        Ok(())
    }

    /// Resets this hop, which is the first one, and the others with it.
    fn reset(&self, to: ResetTo, others: &[Self]) -> Result<Vec<(i32, i64)>, KafkaError> {
        let failed = KafkaError::failed(DOING);
        let Changelogs { settings, topics, .. } = &self.changelogs;
        let targets = self.targets(to)?;
        let id = format!("{}-reset", topics.state);
        let producer = Producer::create(&settings.transactional_producer(&id), Vec::new())?;
        producer.client.init_transactions(TIMEOUT).map_err(&failed)?;
        producer.client.begin_transaction().map_err(&failed)?;
        self.reset_within(&producer, &targets, others).inspect_err(|_| {
            // Otherwise readers of what it wrote would wait until the broker aborts it.
            if let Err(error) = producer.client.abort_transaction(TIMEOUT) {
                tracing::debug!(%error, "aborting a reset");
            }
        })?;
        Ok(targets)
    }

    /// Deletes the state and moves the offsets, in a transaction that has begun, and commits it.
    fn reset_within(&self, producer: &Producer, targets: &[(i32, i64)], others: &[Self]) -> Result<(), KafkaError> {
        let failed = KafkaError::failed(DOING);
        let topics = &self.changelogs.topics;
        // Copies of before are not assembled any more: the repartitioner copies the lines from the target on again.
        let offsets = if topics.is_repartitioned() { self.ends()? } else { targets.to_vec() };
        self.begin_at(producer, &offsets)?;
        // What went on before is not judged any more: the first hop sends everything on again.
        others.iter().try_for_each(|hop| hop.begin_at(producer, &hop.ends()?))?;
        if topics.is_repartitioned() {
            self.move_repartitioner(producer, targets)?;
        }
        producer.flush()?;
        // Reading the state may have taken minutes, and the broker takes these offsets whoever has joined meanwhile.
        self.refuse_all_members()?;
        producer.client.commit_transaction(TIMEOUT).map_err(&failed)
    }

    /// Deletes the state and moves the offsets of this hop, in the producer's transaction.
    fn begin_at(&self, producer: &Producer, offsets: &[(i32, i64)]) -> Result<(), KafkaError> {
        let list = self.delete_state(producer, offsets)?;
        // A group without members has no generation: the broker takes the offsets from anybody.
        let metadata = self.consumer.group_metadata().ok_or_else(no_group)?;
        producer.client.send_offsets_to_transaction(&list, &metadata, TIMEOUT).map_err(KafkaError::failed(DOING))
    }

    /// Deletes what each changelog holds and begins a new incarnation at `offsets`, in the producer's transaction;
    /// returns the offsets with their tags.
    fn delete_state(&self, producer: &Producer, offsets: &[(i32, i64)]) -> Result<TopicPartitionList, KafkaError> {
        let failed = KafkaError::failed(DOING);
        let Changelogs { pipeline, topics, origin, input, .. } = &self.changelogs;
        let reports_from = match &pipeline.cancellations {
            Some(_) => Some(self.ends_of(&topics.reports, 0)?.1),
            None => None,
        };
        let positions = offsets.iter().map(|&(partition, offset)| (partition, Offset::Offset(offset)));
        let list = positions_of(&topics.input, positions).map_err(&failed)?;
        for &(partition, offset) in offsets {
            let reports_from = reports_from.filter(|_| partition == 0);
            let live = self.live_keys(partition)?;
            let (records, head) = live.reset(pipeline, origin.clone(), now_since_epoch(), offset, reports_from);
            if let Some(mut element) = list.find_partition(&topics.input, partition) {
                element.set_metadata(StateTag::of(&head).encode(&input.owner()));
            }
            for record in &records {
                producer.queue(ProduceRecord::state(&topics.state, partition, record)).map_err(&failed)?;
            }
        }
        Ok(list)
    }

    /// Moves the offsets of the repartitioner's group, in the producer's transaction.
    fn move_repartitioner(&self, producer: &Producer, targets: &[(i32, i64)]) -> Result<(), KafkaError> {
        let failed = KafkaError::failed(DOING);
        let Changelogs { settings, topics, group, pipeline, .. } = &self.changelogs;
        let group = repartition_group(group);
        let source = InputTopic::look_up(settings, &topics.source, &group, &pipeline.name)?;
        let consumer = consumer_of(settings, &group)?;
        let positions = targets.iter().map(|&(partition, offset)| (partition, Offset::Offset(offset)));
        let list = positions_of(&topics.source, positions).map_err(&failed)?;
        for &(partition, _) in targets {
            if let Some(mut element) = list.find_partition(&topics.source, partition) {
                element.set_metadata(source.owner().encode());
            }
        }
        let metadata = consumer.group_metadata().ok_or_else(no_group)?;
        producer.client.send_offsets_to_transaction(&list, &metadata, TIMEOUT).map_err(failed)
    }

    /// The keys that a changelog holds, read without looking into its records.
    pub(crate) fn live_keys(&self, partition: i32) -> Result<LiveKeys, KafkaError> {
        let Changelogs { settings, topics, group, .. } = &self.changelogs;
        let consumer = settings.reader(&format!("{group}-reset"))?;
        let reader = ReadToEnd { consumer: &consumer, topic: &topics.state, doing: "reading state", silence: TIMEOUT };
        let mut keys = LiveKeys::default();
        reader.read_all(&[Part { partition, from: Offset::Beginning, ends_at_end: true }], |message| {
            keys.take(message.key().unwrap_or_default(), message.payload());
            Ok(Next::ReadOn)
        })?;
        Ok(keys)
    }

    /// The ends of the topic that entities are assembled from.
    fn ends(&self) -> Result<Vec<(i32, i64)>, KafkaError> {
        let input = &self.changelogs.topics.input;
        self.partitions().map(|partition| Ok((partition, self.ends_of(input, partition)?.1))).collect()
    }

    /// Where each partition of the pipeline's topic is to begin.
    fn targets(&self, to: ResetTo) -> Result<Vec<(i32, i64)>, KafkaError> {
        let Changelogs { settings, topics, .. } = &self.changelogs;
        let partitions = settings.partitions_of(&topics.source)?;
        let found = match to {
            ResetTo::Time(time) => Some(offsets_at(&self.consumer, &topics.source, partitions, time)?),
            ResetTo::Earliest | ResetTo::Latest => None,
        };
        let target = |partition| {
            let (low, high) = self.ends_of(&topics.source, partition)?;
            let found = found.as_ref().and_then(|found| found.find_partition(&topics.source, partition));
            let offset = match (to, found.map(|found| found.offset())) {
                (ResetTo::Earliest, _) => low,
                (ResetTo::Time(_), Some(Offset::Offset(offset))) => offset,
                // No record is that late.
                (ResetTo::Time(_), _) | (ResetTo::Latest, _) => high,
            };
            Ok((partition, offset))
        };
        (0..partitions).map(target).collect()
    }
}

pub(super) fn no_group() -> KafkaError {
    KafkaError::Failed { action: DOING, cause: "the client knows no group".to_owned() }
}

/// A client that knows a group and never joins it. As one of the classic protocol it has no name there, whoever hands out
/// the partitions; with the other it would have one that the broker does not know.
fn consumer_of(settings: &KafkaSettings, group: &str) -> Result<GroupConsumer, KafkaError> {
    let context = GroupContext::default();
    context.close();
    let settings = KafkaSettings { group_protocol: GroupProtocol::Classic, ..settings.clone() };
    create_consumer(&settings.consumer(group, None), context)
}
