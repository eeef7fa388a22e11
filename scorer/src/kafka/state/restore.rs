//! Where work on a partition goes on: its committed offset, and its state from the changelog.
//!
//! The offset is asked for first, and the broker answers when no transaction on it is open: whoever owned the partition
//! before can commit nothing more. The tag beside the offset names the change of the state that was committed with it,
//! and the changelog is read until that change has been seen, so that neither a transaction that is just being completed
//! nor an offset that somebody moved by hand can go unnoticed.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode};
use rdkafka::message::Message as _;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use shared::pipeline::Pipeline;

use crate::core::{Origin, Restored, Resume, Start, StateError, StateReader};
use crate::kafka::client::consumer::InputConsumer;
use crate::kafka::client::error::KafkaError;
use crate::kafka::client::offsets::{STABLE_TIMEOUT, committed_offsets, ends_of, first_offset};
use crate::kafka::client::settings::{KafkaSettings, QuietContext};
use crate::kafka::client::watchdog::Watchdog;
use crate::kafka::options::Delivery;
use crate::kafka::stop::StopHandle;
use crate::kafka::topics::names::Topics;
use crate::kafka::wire::offset_metadata::{Tag, decode_resume};
use crate::snapshot::SnapshotFile;

/// How long a changelog may say nothing while the change that is waited for has not come. A transaction that a dead
/// instance left open holds back all that was written after it, until the broker ends it: as long as an offset may be
/// awaited.
const SILENCE_TIMEOUT: Duration = STABLE_TIMEOUT;

/// Brings partitions back.
pub(crate) struct Restorer {
    pub settings: KafkaSettings,
    pub pipeline: Arc<Pipeline>,
    pub topics: Topics,
    pub group: String,
    pub origin: Origin,
    pub delivery: Delivery,
    pub snapshots: Option<PathBuf>,
    pub watchdog: Watchdog,
    /// Takes a committed offset at its word, as a program would that commits offsets on their own: for the test that
    /// has to notice.
    pub trust_offsets: bool,
}

/// A partition and where its work begins.
pub(crate) struct Begin {
    pub partition: i32,
    /// The first record to read.
    pub offset: i64,
    pub start: Start,
}

/// What is committed for a partition.
enum Committed {
    Nothing,
    /// An offset without a word of ours.
    Offset(i64),
    Resume(Resume),
    Tagged(i64, Tag),
}

/// A partition whose changelog is being read.
struct Reading {
    state: StateReader,
    wanted: Option<Tag>,
    offset: i64,
    source: &'static str,
    done: bool,
}

impl Restorer {
    /// Finds out where `partitions` go on. `None` when a stop was asked for meanwhile.
    pub(crate) fn begin(
        &self,
        consumer: &InputConsumer,
        partitions: &[i32],
        stop: &StopHandle,
    ) -> Result<Option<Vec<Begin>>, KafkaError> {
        // A round in which nothing came is no reason to ask anybody.
        if partitions.is_empty() {
            return Ok(Some(Vec::new()));
        }
        let Some(committed) = self.committed(consumer, partitions, stop)? else { return Ok(None) };
        match self.delivery {
            Delivery::ExactlyOnce => self.restore(consumer, committed, stop),
            Delivery::AtLeastOnce => {
                let begin = |(partition, committed)| self.reread(consumer, partition, committed);
                committed.into_iter().map(begin).collect::<Result<_, _>>().map(Some)
            }
        }
    }

    fn committed(
        &self,
        consumer: &InputConsumer,
        partitions: &[i32],
        stop: &StopHandle,
    ) -> Result<Option<Vec<(i32, Committed)>>, KafkaError> {
        let Some(committed) = committed_offsets(consumer, &self.topics.input, partitions, &self.watchdog, stop)? else {
            return Ok(None);
        };
        let of = |&partition: &i32| {
            let found = committed.find_partition(&self.topics.input, partition);
            let offset = found.as_ref().and_then(|found| found.offset().to_raw()).filter(|offset| *offset >= 0);
            let metadata = found.as_ref().map_or("", |found| found.metadata());
            let committed = match (offset, Tag::decode(metadata), decode_resume(metadata)) {
                (None, ..) => Committed::Nothing,
                (Some(offset), Some(tag), _) => Committed::Tagged(offset, tag),
                (Some(_), None, Some(resume)) => Committed::Resume(resume),
                (Some(offset), None, None) => Committed::Offset(offset),
            };
            (partition, committed)
        };
        Ok(Some(partitions.iter().map(of).collect()))
    }

    /// At least once: what was open is read again.
    fn reread(&self, consumer: &InputConsumer, partition: i32, committed: Committed) -> Result<Begin, KafkaError> {
        match committed {
            Committed::Tagged(..) => Err(KafkaError::OtherDelivery { group: self.group.clone() }),
            committed => self.without_state(consumer, partition, committed),
        }
    }

    fn without_state(
        &self,
        consumer: &InputConsumer,
        partition: i32,
        committed: Committed,
    ) -> Result<Begin, KafkaError> {
        let (offset, start) = match committed {
            Committed::Resume(resume) => (resume.offset, Start::Reread(resume)),
            Committed::Offset(offset) | Committed::Tagged(offset, _) => (offset, Start::At(offset)),
            Committed::Nothing => {
                let offset = self.first_offset(consumer, partition)?;
                (offset, Start::At(offset))
            }
        };
        tracing::info!(partition, offset, "assigned");
        Ok(Begin { partition, offset, start })
    }

    /// Where a group begins that has read nothing yet.
    fn first_offset(&self, consumer: &InputConsumer, partition: i32) -> Result<i64, KafkaError> {
        first_offset(consumer, &self.topics.input, partition, &self.settings, &self.watchdog)
    }

    /// Exactly once: the state as it was when the offset was committed.
    fn restore(
        &self,
        consumer: &InputConsumer,
        committed: Vec<(i32, Committed)>,
        stop: &StopHandle,
    ) -> Result<Option<Vec<Begin>>, KafkaError> {
        let wanted: Vec<(i32, Option<Tag>)> = committed
            .iter()
            .map(|(partition, committed)| match committed {
                Committed::Tagged(_, tag) => (*partition, Some(*tag)),
                _ => (*partition, None),
            })
            .collect();
        let Some(mut restored) = self.read(&wanted, stop)? else { return Ok(None) };
        let begin = |(partition, committed): (i32, Committed)| {
            let restored = restored.remove(&partition).filter(|restored| restored.head().is_some());
            match (restored, committed) {
                (Some(restored), committed) => {
                    let begin = self.with_state(partition, restored, committed)?;
                    self.refuse_shorter_topic(consumer, &begin)?;
                    Ok(begin)
                }
                (None, Committed::Tagged(..)) => Err(self.torn(partition, "there is no state")),
                (None, committed) => self.without_state(consumer, partition, committed),
            }
        };
        committed.into_iter().map(begin).collect::<Result<_, _>>().map(Some)
    }

    fn with_state(&self, partition: i32, restored: Restored, committed: Committed) -> Result<Begin, KafkaError> {
        let state_at = restored.head().map_or(0, |head| head.next_offset);
        let offset = match committed {
            Committed::Tagged(offset, _) | Committed::Offset(offset) if self.trust_offsets => offset,
            // Groups are forgotten after days without members; the state says where they were.
            Committed::Nothing => state_at,
            Committed::Tagged(offset, _) if offset == state_at => offset,
            Committed::Tagged(offset, _) | Committed::Offset(offset) => {
                return Err(self.torn(partition, &format!("the state is at offset {state_at}, the group at {offset}")));
            }
            Committed::Resume(_) => return Err(KafkaError::OtherDelivery { group: self.group.clone() }),
        };
        Ok(Begin { partition, offset, start: Start::Restored(Box::new(restored)) })
    }

    /// A topic that ends before the state is not the one that the state is of.
    fn refuse_shorter_topic(&self, consumer: &InputConsumer, begin: &Begin) -> Result<(), KafkaError> {
        let (_, high) = self.ends(consumer, begin.partition)?;
        if begin.offset > high {
            let how = format!("the state is at offset {}, the topic ends at {high}: it was made anew", begin.offset);
            return Err(self.torn(begin.partition, &how));
        }
        Ok(())
    }

    fn ends(&self, consumer: &InputConsumer, partition: i32) -> Result<(i64, i64), KafkaError> {
        ends_of(consumer, &self.topics.input, partition, "asking for the ends of a partition", &self.watchdog)
    }

    fn torn(&self, partition: i32, how: &str) -> KafkaError {
        KafkaError::TornState {
            group: self.group.clone(),
            topic: self.topics.input.clone(),
            partition,
            how: how.to_owned(),
        }
    }

    /// Reads changelogs, each until the change that is wanted, or without one to its end.
    pub(crate) fn read(
        &self,
        wanted: &[(i32, Option<Tag>)],
        stop: &StopHandle,
    ) -> Result<Option<BTreeMap<i32, Restored>>, KafkaError> {
        let begun = Instant::now();
        let consumer = self.changelog_consumer()?;
        let mut readings = BTreeMap::new();
        let mut assignment = TopicPartitionList::new();
        for &(partition, wanted) in wanted {
            let reading = self.open(&consumer, partition, wanted)?;
            if !reading.done {
                assignment
                    .add_partition_offset(&self.topics.state, partition, Offset::Offset(reading.offset))
                    .map_err(KafkaError::failed("reading state"))?;
            }
            readings.insert(partition, reading);
        }
        consumer.assign(&assignment).map_err(KafkaError::failed("reading state"))?;
        let mut heard = Instant::now();
        while readings.values().any(|reading| !reading.done) {
            if stop.is_requested() {
                return Ok(None);
            }
            match consumer.poll(Duration::from_millis(100)) {
                None if heard.elapsed() >= SILENCE_TIMEOUT => return Err(self.silence(&readings)),
                None => {}
                Some(Ok(message)) => {
                    heard = Instant::now();
                    let partition = message.partition();
                    if let Some(reading) = readings.get_mut(&partition).filter(|reading| !reading.done) {
                        let key = message.key().unwrap_or_default();
                        self.take(partition, reading, key, message.payload())?;
                    }
                }
                Some(Err(ClientError::PartitionEOF(partition))) => {
                    if let Some(reading) = readings.get_mut(&partition) {
                        reading.done |= reading.wanted.is_none();
                    }
                }
                Some(Err(ClientError::MessageConsumption(RDKafkaErrorCode::UnknownTopicOrPartition))) => {
                    return Err(KafkaError::MissingTopic(self.topics.state.clone()));
                }
                Some(Err(error)) => tracing::debug!(%error, "reading state"),
            }
        }
        let mut restored = BTreeMap::new();
        for (partition, Reading { state, source, .. }) in readings {
            let state = state.finish(&self.pipeline).map_err(|error| self.unusable(partition, error))?;
            let (open, keys, records) = (state.open_entities(), state.keys_with_a_past(), state.records());
            let millis = begun.elapsed().as_millis() as u64;
            tracing::info!(partition, open, keys, records, source, millis, "restored");
            restored.insert(partition, state);
        }
        Ok(Some(restored))
    }

    /// Begins with the snapshot where there is one to be trusted.
    fn open(
        &self,
        consumer: &BaseConsumer<QuietContext>,
        partition: i32,
        wanted: Option<Tag>,
    ) -> Result<Reading, KafkaError> {
        let (low, high) =
            ends_of(consumer, &self.topics.state, partition, "asking for the ends of a changelog", &self.watchdog)?;
        if let (Some(wanted), Some(folder)) = (wanted, &self.snapshots) {
            let mut state = StateReader::new(&self.pipeline, self.origin.clone());
            let snapshot = SnapshotFile::new(folder, partition);
            let take = |key: &[u8], value: &[u8]| state.take(&self.pipeline, key, Some(value)).is_ok();
            if let Some(stamp) = snapshot.read(take)
                && stamp.birth == wanted.birth
                && stamp.sequence <= wanted.sequence
                && (low..=high).contains(&stamp.offset)
                && state.head().is_some_and(|head| (head.birth, head.sequence) == (stamp.birth, stamp.sequence))
            {
                let done = stamp.sequence == wanted.sequence;
                return Ok(Reading { state, wanted: Some(wanted), offset: stamp.offset, source: "snapshot", done });
            }
        }
        let state = StateReader::new(&self.pipeline, self.origin.clone());
        let done = wanted.is_none() && low == high;
        Ok(Reading { state, wanted, offset: low, source: "changelog", done })
    }

    fn take(&self, partition: i32, reading: &mut Reading, key: &[u8], value: Option<&[u8]>) -> Result<(), KafkaError> {
        reading.state.take(&self.pipeline, key, value).map_err(|error| self.unusable(partition, error))?;
        let (Some(wanted), Some(head)) = (reading.wanted, reading.state.head()) else { return Ok(()) };
        if key == StateReader::HEAD_KEY {
            // Heads of another birth are of before a reset.
            let is_of_this_life = head.birth == wanted.birth;
            if is_of_this_life && head.sequence > wanted.sequence {
                return Err(self.torn(partition, "the state is of a later change than the offset"));
            }
            reading.done = is_of_this_life && head.sequence == wanted.sequence;
        }
        Ok(())
    }

    fn unusable(&self, partition: i32, error: StateError) -> KafkaError {
        KafkaError::UnusableState {
            group: self.group.clone(),
            topic: self.topics.state.clone(),
            partition,
            cause: error.to_string(),
        }
    }

    fn silence(&self, readings: &BTreeMap<i32, Reading>) -> KafkaError {
        let partition = readings.iter().find(|(_, reading)| !reading.done).map_or(0, |(partition, _)| *partition);
        self.torn(partition, "the change that was committed with the offset is missing from the state")
    }

    fn changelog_consumer(&self) -> Result<BaseConsumer<QuietContext>, KafkaError> {
        self.settings.reader(&format!("{}-restore", self.group))
    }
}
