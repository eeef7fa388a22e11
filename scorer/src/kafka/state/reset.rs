//! Looking at a group's state, and beginning anew: offsets and state together, in one transaction.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError as ClientError;
use rdkafka::message::Message as _;
use rdkafka::producer::Producer;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use shared::pipeline::Pipeline;
use shared::time::Timestamp;

use super::restore::Restorer;
use crate::core::{LiveKeys, Origin, Restored, StateRecord};
use crate::kafka::client::consumer::{InputConsumer, InputContext};
use crate::kafka::client::error::KafkaError;
use crate::kafka::client::producer::{Outgoing, Sender};
use crate::kafka::client::settings::KafkaSettings;
use crate::kafka::client::watchdog::Watchdog;
use crate::kafka::clock::now_since_epoch;
use crate::kafka::options::Delivery;
use crate::kafka::stop::StopHandle;
use crate::kafka::topics::admin::extend_topic;
use crate::kafka::topics::names::{Topics, router_group};
use crate::kafka::wire::offset_metadata::Tag;

const TIMEOUT: Duration = Duration::from_secs(30);

/// Where a group is to begin anew.
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
    /// The first record that is not in the state.
    pub offset: Option<i64>,
    /// The input's records after that.
    pub lag: i64,
    /// Records of the changelog, with those that compaction will remove.
    pub changelog_records: i64,
    /// Records that were read to restore it.
    pub records_read: u64,
    /// The state as records: what a fresh restore gives.
    pub snapshot: Vec<StateRecord>,
}

struct Access {
    settings: KafkaSettings,
    pipeline: Arc<Pipeline>,
    topics: Topics,
    group: String,
    partitions: i32,
    consumer: InputConsumer,
}

impl Access {
    fn new(settings: &KafkaSettings, pipeline: &Arc<Pipeline>, group: &str) -> Result<Self, KafkaError> {
        let topics = Topics::of_group(settings, pipeline, group)?;
        let partitions = settings.partitions_of(&topics.input)?;
        let consumer = consumer_of(settings, group)?;
        let (settings, pipeline, group) = (settings.clone(), pipeline.clone(), group.to_owned());
        Ok(Self { settings, pipeline, topics, group, partitions, consumer })
    }

    fn restorer(&self) -> Restorer {
        Restorer {
            settings: self.settings.clone(),
            pipeline: self.pipeline.clone(),
            topics: self.topics.clone(),
            group: self.group.clone(),
            origin: Origin {
                topic: self.topics.input.clone(),
                partitions: self.partitions,
                layout: self.pipeline.state_layout(),
            },
            delivery: Delivery::ExactlyOnce,
            snapshots: None,
            watchdog: Watchdog::new(),
            trust_offsets: true,
        }
    }

    fn all(&self) -> Vec<i32> {
        (0..self.partitions).collect()
    }

    /// The state at the end of each changelog.
    fn restored(&self) -> Result<BTreeMap<i32, Restored>, KafkaError> {
        let wanted: Vec<_> = self.all().into_iter().map(|partition| (partition, None)).collect();
        Ok(self.restorer().read(&wanted, &StopHandle::default())?.unwrap_or_default())
    }

    fn watermarks(&self, topic: &str, partition: i32) -> Result<(i64, i64), KafkaError> {
        let ends = self.consumer.fetch_watermarks(topic, partition, TIMEOUT);
        ends.map_err(KafkaError::failed("asking for the ends of a partition"))
    }
}

/// The state of every partition of `group`, as its changelog has it.
///
/// # Errors
/// [`KafkaError`] when no broker answers, a topic is missing or the state cannot be read.
pub fn states(
    settings: &KafkaSettings,
    pipeline: &Arc<Pipeline>,
    group: &str,
) -> Result<Vec<PartitionState>, KafkaError> {
    let access = Access::new(settings, pipeline, group)?;
    let mut states = Vec::new();
    for (partition, restored) in access.restored()? {
        let (low, high) = access.watermarks(&access.topics.input, partition)?;
        let (first, end) = access.watermarks(&access.topics.state, partition)?;
        let offset = restored.head().map(|head| head.next_offset);
        states.push(PartitionState {
            partition,
            open: restored.open_entities(),
            keys: restored.keys_with_a_past(),
            closed: restored.closed_keys(),
            cancelled: restored.cancelled_keys(),
            offset,
            lag: (high - offset.unwrap_or(low)).max(0),
            changelog_records: end - first,
            records_read: restored.records(),
            snapshot: restored.snapshot(&access.pipeline),
        });
    }
    Ok(states)
}

/// Begins anew: deletes the state of `group`, whatever wrote it, and moves its offsets, in one transaction. Returns the
/// new offsets. A changelog with fewer partitions than the input gets as many.
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
    let access = blocking(move || {
        let access = Access::new(&asked, &of, &name)?;
        refuse_members(&access, &name)?;
        refuse_members(&access, &router_group(&name))?;
        Ok(access)
    })
    .await?;
    extend_topic(settings, &access.topics.state, access.partitions).await?;
    blocking(move || access.begin_anew(to)).await
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, KafkaError> + Send + 'static,
) -> Result<T, KafkaError> {
    let failed = |error: tokio::task::JoinError| KafkaError::Failed { action: "resetting", cause: error.to_string() };
    tokio::task::spawn_blocking(work).await.map_err(failed)?
}

impl Access {
    fn begin_anew(&self, to: ResetTo) -> Result<Vec<(i32, i64)>, KafkaError> {
        let failed = KafkaError::failed("resetting");
        let targets = self.targets(to)?;
        // Lines that were sent on before are not assembled any more: those from the target on are sent on again.
        let offsets = if self.topics.is_repartitioned() { self.ends()? } else { targets.clone() };
        let reports_from = match &self.pipeline.cancellations {
            Some(_) => Some(self.watermarks(&self.topics.reports, 0)?.1),
            None => None,
        };
        let id = format!("{}-reset", self.topics.state);
        let sender = Sender::create(&self.settings.transactional_producer(&id), Vec::new())?;
        sender.producer.init_transactions(TIMEOUT).map_err(&failed)?;
        sender.producer.begin_transaction().map_err(&failed)?;
        let mut list = TopicPartitionList::new();
        let origin = self.restorer().origin;
        for &(partition, offset) in &offsets {
            let reports_from = reports_from.filter(|_| partition == 0);
            let live = self.live_keys(partition)?;
            let (records, head) = live.reset(&self.pipeline, origin.clone(), now_since_epoch(), offset, reports_from);
            list.add_partition_offset(&self.topics.input, partition, Offset::Offset(offset)).map_err(&failed)?;
            if let Some(mut element) = list.find_partition(&self.topics.input, partition) {
                element.set_metadata(Tag::of(&head).encode());
            }
            for record in &records {
                let (key, payload) = (Some(record.key.as_slice()), record.value.as_deref());
                let message = Outgoing { partition: Some(partition), key, payload, ..Outgoing::to(&self.topics.state) };
                sender.queue(message).map_err(&failed)?;
            }
        }
        // A group without members has no generation: the broker takes the offsets from anybody.
        let metadata = self.consumer.group_metadata().ok_or_else(no_group)?;
        sender.producer.send_offsets_to_transaction(&list, &metadata, TIMEOUT).map_err(&failed)?;
        if self.topics.is_repartitioned() {
            self.move_router(&sender, &targets)?;
        }
        sender.flush()?;
        sender.producer.commit_transaction(TIMEOUT).map_err(&failed)?;
        Ok(targets)
    }

    /// Moves the offsets of those who send lines on, in the sender's transaction.
    fn move_router(&self, sender: &Sender, targets: &[(i32, i64)]) -> Result<(), KafkaError> {
        let failed = KafkaError::failed("resetting");
        let consumer = consumer_of(&self.settings, &router_group(&self.group))?;
        let mut list = TopicPartitionList::new();
        for &(partition, offset) in targets {
            list.add_partition_offset(&self.topics.source, partition, Offset::Offset(offset)).map_err(&failed)?;
        }
        let metadata = consumer.group_metadata().ok_or_else(no_group)?;
        sender.producer.send_offsets_to_transaction(&list, &metadata, TIMEOUT).map_err(failed)
    }

    /// The keys that a changelog holds, read without looking into its records.
    fn live_keys(&self, partition: i32) -> Result<LiveKeys, KafkaError> {
        let failed = KafkaError::failed("reading state");
        let consumer = self.settings.reader(&format!("{}-reset", self.group))?;
        let mut assignment = TopicPartitionList::new();
        assignment
            .add_partition_offset(&self.topics.state, partition, Offset::Beginning)
            .and_then(|()| consumer.assign(&assignment))
            .map_err(&failed)?;
        let mut keys = LiveKeys::default();
        let mut heard = Instant::now();
        loop {
            match consumer.poll(Duration::from_millis(100)) {
                Some(Ok(message)) => {
                    heard = Instant::now();
                    keys.take(message.key().unwrap_or_default(), message.payload());
                }
                Some(Err(ClientError::PartitionEOF(_))) => return Ok(keys),
                Some(Err(error)) if heard.elapsed() >= TIMEOUT => return Err(failed(error)),
                None if heard.elapsed() >= TIMEOUT => {
                    let cause = format!("`{}` says nothing", self.topics.state);
                    return Err(KafkaError::Failed { action: "reading state", cause });
                }
                Some(Err(_)) | None => {}
            }
        }
    }
}

impl Access {
    /// The ends of the topic that entities are assembled from.
    fn ends(&self) -> Result<Vec<(i32, i64)>, KafkaError> {
        self.all().into_iter().map(|p| Ok((p, self.watermarks(&self.topics.input, p)?.1))).collect()
    }

    /// Where each partition of the pipeline's topic is to begin.
    fn targets(&self, to: ResetTo) -> Result<Vec<(i32, i64)>, KafkaError> {
        let topic = &self.topics.source;
        let all: Vec<i32> = (0..self.settings.partitions_of(topic)?).collect();
        let ends = |partition| self.watermarks(topic, partition);
        match to {
            ResetTo::Earliest => all.into_iter().map(|p| Ok((p, ends(p)?.0))).collect(),
            ResetTo::Latest => all.into_iter().map(|p| Ok((p, ends(p)?.1))).collect(),
            ResetTo::Time(time) => {
                let mut asked = TopicPartitionList::new();
                for &partition in &all {
                    asked
                        .add_partition_offset(topic, partition, Offset::Offset(time))
                        .map_err(KafkaError::failed("looking for a time"))?;
                }
                let found = self
                    .consumer
                    .offsets_for_times(asked, TIMEOUT)
                    .map_err(KafkaError::failed("looking for a time"))?;
                let of = |partition| match found.find_partition(topic, partition).map(|e| e.offset()) {
                    Some(Offset::Offset(offset)) => Ok((partition, offset)),
                    // No record is that late.
                    _ => Ok((partition, ends(partition)?.1)),
                };
                all.into_iter().map(of).collect()
            }
        }
    }
}

fn no_group() -> KafkaError {
    KafkaError::Failed { action: "resetting", cause: "the client knows no group".to_owned() }
}

fn consumer_of(settings: &KafkaSettings, group: &str) -> Result<InputConsumer, KafkaError> {
    let context = InputContext::default();
    context.close();
    settings.consumer(group, None).create_with_context(context).map_err(|error| KafkaError::Settings(error.to_string()))
}

fn refuse_members(access: &Access, group: &str) -> Result<(), KafkaError> {
    let consumer: &BaseConsumer<InputContext> = &access.consumer;
    let groups = consumer.fetch_group_list(Some(group), TIMEOUT).map_err(KafkaError::failed("looking at the group"))?;
    let members: usize = groups.groups().iter().map(|group| group.members().len()).sum();
    if members > 0 {
        return Err(KafkaError::GroupInUse { group: group.to_owned(), members });
    }
    Ok(())
}
