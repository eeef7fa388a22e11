//! Where work on a partition goes on: its committed offset, and its state from the changelog.
//!
//! The offset is asked for first, and the broker answers when no transaction on it is open: the partition's earlier owner
//! can commit nothing more. The tag beside the offset names the commit of the state that it belongs to. The changelog is
//! read until that commit has been seen, so a transaction that is just being completed is waited for, and an offset that was
//! moved by hand is noticed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::topic_partition_list::Offset;
use shared::pipeline::Pipeline;

use crate::clock::now_since_epoch;
use crate::core::{Origin, Restored, Resume, Start, StateError, StateReader};
use crate::kafka::client::consumer::GroupConsumer;
use crate::kafka::client::error::KafkaError;
use crate::kafka::client::offsets::{STABLE_TIMEOUT, committed_offsets, ends_of, ends_once, first_offset};
use crate::kafka::client::read_to_end::{Ended, Next, Part, ReadToEnd, Silence};
use crate::kafka::client::settings::{KafkaSettings, QuietContext};
use crate::kafka::client::watchdog::Watchdog;
use crate::kafka::options::Delivery;
use crate::kafka::stop::StopHandle;
use crate::kafka::topics::input::InputTopic;
use crate::kafka::topics::names::Topics;
use crate::kafka::wire::offset_metadata::{StateTag, decode_resume};
use crate::snapshot::{SnapshotFile, Stamp};

/// How long a changelog may bring nothing while the commit that is waited for has not come. A transaction that a dead
/// instance left open holds back everything that was written after it, until the broker ends it: this may take as long as
/// for an offset.
const SILENCE_TIMEOUT: Duration = STABLE_TIMEOUT;

/// Finds out where work on partitions goes on.
pub(crate) trait Restore {
    /// Where work on `partitions` goes on. `None` when a stop was requested meanwhile.
    ///
    /// # Errors
    /// When it cannot be found out, or offset and state do not belong together.
    fn start_positions(&self, partitions: &[i32]) -> Result<Option<Vec<StartPosition>>, KafkaError>;
}

/// A partition and where work on it begins.
#[derive(Debug)]
pub(crate) struct StartPosition {
    pub partition: i32,
    /// The first record to read.
    pub offset: i64,
    pub start: Start,
}

/// Restores partitions from committed offsets, changelogs and local snapshots.
pub(crate) struct StateRestorer {
    pub consumer: Arc<GroupConsumer>,
    pub delivery: Delivery,
    pub stop: StopHandle,
    pub changelogs: Changelogs,
}

/// The changelogs of a group.
pub(crate) struct Changelogs {
    pub settings: KafkaSettings,
    pub pipeline: Arc<Pipeline>,
    pub topics: Topics,
    pub group: String,
    /// The topic that the state is of.
    pub input: InputTopic,
    pub origin: Origin,
    /// The folder of local snapshots.
    pub snapshots: Option<PathBuf>,
    pub watchdog: Watchdog,
    #[cfg(feature = "fault-injection")]
    pub faults: crate::kafka::stages::faults::FaultInjection,
}

/// What is committed for a partition.
enum Committed {
    Nothing,
    /// An offset with nothing of ours beside it.
    Offset(i64),
    Resume(Resume),
    Tagged(i64, StateTag),
}

impl Restore for StateRestorer {
    fn start_positions(&self, partitions: &[i32]) -> Result<Option<Vec<StartPosition>>, KafkaError> {
        // A rebalance that brought nothing needs no question.
        if partitions.is_empty() {
            return Ok(Some(Vec::new()));
        }
        // A group may be assigned a topic again that was made anew meanwhile, and whose offsets are gone.
        self.changelogs.input.refuse_recreated(self.consumer.client())?;
        self.refuse_new_partitions(partitions)?;
        let Some(committed) = self.committed(partitions)? else { return Ok(None) };
        match self.delivery {
            Delivery::ExactlyOnce => self.restore(committed),
            Delivery::AtLeastOnce => {
                let start = |(partition, committed)| self.reread(partition, committed);
                committed.into_iter().map(start).collect::<Result<_, _>>().map(Some)
            }
        }
    }
}

impl StateRestorer {
    /// A key's partition depends on how many there are: lines of an open invoice would go elsewhere from now on.
    fn refuse_new_partitions(&self, partitions: &[i32]) -> Result<(), KafkaError> {
        let Changelogs { origin, topics, group, .. } = &self.changelogs;
        match partitions.iter().max() {
            Some(&largest) if largest >= origin.partitions => Err(KafkaError::PartitionsChanged {
                topic: topics.input.clone(),
                before: origin.partitions,
                now: largest + 1,
                group: group.clone(),
            }),
            _ => Ok(()),
        }
    }

    fn committed(&self, partitions: &[i32]) -> Result<Option<Vec<(i32, Committed)>>, KafkaError> {
        let Changelogs { topics, watchdog, .. } = &self.changelogs;
        let committed = committed_offsets(&self.consumer, &topics.input, partitions, watchdog, &self.stop)?;
        let Some(committed) = committed else { return Ok(None) };
        let of = |&partition: &i32| {
            let found = committed.find_partition(&topics.input, partition);
            let offset = found.as_ref().and_then(|found| found.offset().to_raw()).filter(|offset| *offset >= 0);
            let metadata = found.as_ref().map_or("", |found| found.metadata());
            self.changelogs.input.refuse_foreign(metadata)?;
            let committed = match (offset, StateTag::decode(metadata), decode_resume(metadata)) {
                (None, ..) => Committed::Nothing,
                (Some(offset), Some(tag), _) => Committed::Tagged(offset, tag),
                (Some(_), None, Some(resume)) => Committed::Resume(resume),
                (Some(offset), None, None) => Committed::Offset(offset),
            };
            Ok((partition, committed))
        };
        partitions.iter().map(of).collect::<Result<_, KafkaError>>().map(Some)
    }

    /// At least once: what was open is read again.
    fn reread(&self, partition: i32, committed: Committed) -> Result<StartPosition, KafkaError> {
        match committed {
            Committed::Tagged(..) => Err(KafkaError::OtherDelivery { group: self.changelogs.group.clone() }),
            committed => self.without_state(partition, committed),
        }
    }

    fn without_state(&self, partition: i32, committed: Committed) -> Result<StartPosition, KafkaError> {
        let (offset, start) = match committed {
            Committed::Resume(resume) => (resume.offset, Start::Reread(resume)),
            Committed::Offset(offset) | Committed::Tagged(offset, _) => (offset, Start::At(offset)),
            Committed::Nothing => {
                let Changelogs { settings, topics, watchdog, .. } = &self.changelogs;
                let offset = first_offset(&self.consumer, &topics.input, partition, settings, watchdog)?;
                (offset, Start::At(offset))
            }
        };
        tracing::info!(partition, offset, "assigned");
        Ok(StartPosition { partition, offset, start })
    }

    /// Exactly once: the state as it was when the offset was committed.
    fn restore(&self, committed: Vec<(i32, Committed)>) -> Result<Option<Vec<StartPosition>>, KafkaError> {
        let wanted: Vec<(i32, Option<StateTag>)> = committed
            .iter()
            .map(|(partition, committed)| match committed {
                #[cfg(feature = "fault-injection")]
                Committed::Tagged(..) if self.changelogs.faults.is_tag_ignored() => (*partition, None),
                Committed::Tagged(_, tag) => (*partition, Some(*tag)),
                _ => (*partition, None),
            })
            .collect();
        let Some(mut restored) = self.changelogs.read(&wanted, &self.stop)? else { return Ok(None) };
        let start = |(partition, committed): (i32, Committed)| {
            let restored = restored.remove(&partition).filter(|restored| restored.head().is_some());
            match (restored, committed) {
                (Some(restored), committed) => {
                    let start = self.with_state(partition, restored, committed)?;
                    self.refuse_shorter_topic(&start)?;
                    Ok(start)
                }
                (None, Committed::Tagged(..)) => Err(self.changelogs.torn(partition, "there is no state")),
                (None, committed) => self.without_state(partition, committed),
            }
        };
        committed.into_iter().map(start).collect::<Result<_, _>>().map(Some)
    }

    fn with_state(
        &self,
        partition: i32,
        restored: Restored,
        committed: Committed,
    ) -> Result<StartPosition, KafkaError> {
        let state_at = restored.head().map_or(0, |head| head.next_offset);
        let offset = match committed {
            #[cfg(feature = "fault-injection")]
            Committed::Tagged(offset, _) | Committed::Offset(offset) if self.changelogs.faults.believes_offsets() => {
                offset
            }
            // Groups are forgotten after days without members; the state says where they were.
            Committed::Nothing => state_at,
            Committed::Tagged(offset, _) if offset == state_at => offset,
            Committed::Tagged(offset, _) | Committed::Offset(offset) => {
                let how = format!("the state is at offset {state_at}, the group at {offset}");
                return Err(self.changelogs.torn(partition, &how));
            }
            Committed::Resume(_) => {
                return Err(KafkaError::OtherDelivery { group: self.changelogs.group.clone() });
            }
        };
        Ok(StartPosition { partition, offset, start: Start::Restored(Box::new(restored)) })
    }

    /// A topic that ends before the state is not the one that the state is of.
    fn refuse_shorter_topic(&self, start: &StartPosition) -> Result<(), KafkaError> {
        let Changelogs { topics, watchdog, group, .. } = &self.changelogs;
        let &StartPosition { partition, offset, .. } = start;
        const DOING: &str = "asking for the ends of a partition";
        let (_, end) = ends_of(&*self.consumer, &topics.input, partition, DOING, watchdog)?;
        if offset > end {
            let (topic, group) = (topics.input.clone(), group.clone());
            return Err(KafkaError::TopicShortened { topic, partition, end, next: offset, group });
        }
        Ok(())
    }
}

/// A partition whose changelog is being read.
struct Reading {
    state: StateReader,
    wanted: Option<StateTag>,
    /// The first record that is not in the snapshot.
    offset: i64,
    /// What the snapshot stands for, where it began with one.
    snapshot: Option<Stamp>,
    /// Kafka's timestamp of the last head that was read.
    head_time: Option<i64>,
    is_done: bool,
}

impl Reading {
    /// Whether the snapshot turned out to be so old that deletions since may be gone from the changelog.
    fn is_stale(&self) -> bool {
        // Heads that come a moment before it are of a clock that is a little behind.
        let later =
            self.snapshot.zip(self.head_time).filter(|(stamp, time)| stamp.time.is_some_and(|since| since < *time));
        later.is_some_and(|(stamp, time)| stamp.is_stale_at(time))
    }
}

impl Changelogs {
    /// Reads the changelogs of partitions, each until the commit that is wanted, or without one to its end. `None` when a
    /// stop was requested meanwhile.
    ///
    /// # Errors
    /// When the state cannot be read or is not what is wanted.
    pub(crate) fn read(
        &self,
        wanted: &[(i32, Option<StateTag>)],
        stop: &StopHandle,
    ) -> Result<Option<BTreeMap<i32, Restored>>, KafkaError> {
        let begun = Instant::now();
        let Some(mut readings) = self.read_from(wanted, self.snapshots.as_deref(), stop)? else { return Ok(None) };
        let stale = readings.iter().filter(|(_, reading)| reading.is_stale());
        let stale: Vec<(i32, Option<StateTag>)> =
            stale.map(|(&partition, reading)| (partition, reading.wanted)).collect();
        if !stale.is_empty() {
            tracing::info!(partitions = ?stale, "snapshots are too old: reading the whole changelog");
            let Some(again) = self.read_from(&stale, None, stop)? else { return Ok(None) };
            readings.extend(again);
        }
        self.finish(readings, begun).map(Some)
    }

    /// As [`read`](Self::read), beginning with snapshots where there are some in `snapshots`.
    fn read_from(
        &self,
        wanted: &[(i32, Option<StateTag>)],
        snapshots: Option<&Path>,
        stop: &StopHandle,
    ) -> Result<Option<BTreeMap<i32, Reading>>, KafkaError> {
        let consumer = self.settings.reader(&format!("{}-restore", self.group))?;
        let mut readings = BTreeMap::new();
        for &(partition, wanted) in wanted {
            readings.insert(partition, self.open(&consumer, partition, wanted, snapshots)?);
        }
        let part = |(&partition, reading): (&i32, &Reading)| {
            let (from, ends_at_end) = (Offset::Offset(reading.offset), reading.wanted.is_none());
            (!reading.is_done).then_some(Part { partition, from, ends_at_end })
        };
        let parts: Vec<Part> = readings.iter().filter_map(part).collect();
        let reader = ReadToEnd {
            consumer: &consumer,
            topic: &self.topics.state,
            doing: "reading state",
            silence: SILENCE_TIMEOUT,
        };
        let ended = reader.read(
            &parts,
            || stop.is_requested(),
            |message| match readings.get_mut(&message.partition()) {
                Some(reading) => self.take(message, reading),
                None => Ok(Next::ReadOn),
            },
        )?;
        match ended {
            Ended::AtEnd => Ok(Some(readings)),
            Ended::Stopped => Ok(None),
            Ended::Silent(silence) => Err(self.silent(&silence, readings.get(&silence.partition))),
        }
    }

    /// Why nothing came for so long. Only where everything there is has been read is the state known to be bad.
    fn silent(&self, silence: &Silence, reading: Option<&Reading>) -> KafkaError {
        let &Silence { partition, is_at_end, ref error } = silence;
        let topic = &self.topics.state;
        let no_answer = || KafkaError::no_answer(topic, partition, SILENCE_TIMEOUT, error.as_ref());
        if !is_at_end {
            return no_answer();
        }
        match self.has_open_transaction(partition) {
            Err(_) => no_answer(),
            Ok(true) => {
                KafkaError::OpenTransaction { topic: topic.clone(), partition, seconds: SILENCE_TIMEOUT.as_secs() }
            }
            Ok(false) => match reading.and_then(|reading| reading.state.refused()) {
                Some(refused) => self.unusable(partition, refused),
                None => self.torn(partition, "the change that was committed with the offset is missing from the state"),
            },
        }
    }

    /// Whether something in a changelog waits for the end of its transaction.
    fn has_open_transaction(&self, partition: i32) -> Result<bool, KafkaError> {
        const DOING: &str = "asking for the ends of a changelog";
        let topic = &self.topics.state;
        let committed = self.settings.reader(&format!("{}-restore", self.group))?;
        let all: BaseConsumer<QuietContext> = self
            .settings
            .client(&[("isolation.level", "read_uncommitted")])
            .create_with_context(QuietContext)
            .map_err(KafkaError::settings)?;
        let end = ends_once(&all, topic, partition, DOING)?.1;
        Ok(ends_once(&committed, topic, partition, DOING)?.1 < end)
    }

    /// Begins with the snapshot where there is one to be trusted.
    fn open(
        &self,
        consumer: &BaseConsumer<QuietContext>,
        partition: i32,
        wanted: Option<StateTag>,
        snapshots: Option<&Path>,
    ) -> Result<Reading, KafkaError> {
        const DOING: &str = "asking for the ends of a changelog";
        let (low, high) = ends_of(consumer, &self.topics.state, partition, DOING, &self.watchdog)?;
        if let (Some(wanted), Some(folder)) = (wanted, snapshots) {
            let mut state = StateReader::new(&self.pipeline, self.origin.clone());
            let snapshot = SnapshotFile::new(folder, partition);
            let take = |key: &[u8], value: &[u8]| state.take(&self.pipeline, key, Some(value)).is_ok();
            #[cfg(feature = "fault-injection")]
            if self.faults.is_snapshot_trusted()
                && let Some(stamp) = snapshot.read(|_, _| true)
            {
                let mut take = take;
                snapshot.read(&mut take);
                let (wanted, snapshot) = (Some(wanted), Some(stamp));
                return Ok(Reading { state, wanted, offset: high, snapshot, head_time: None, is_done: true });
            }
            if let Some(stamp) = snapshot.read(take)
                && stamp.birth == wanted.incarnation
                && stamp.sequence <= wanted.commit_number
                // A snapshot of the commit itself has missed no deletion, however old it is.
                && (stamp.sequence == wanted.commit_number || !stamp.is_stale_at(now_since_epoch()))
                && (low..=high).contains(&stamp.offset)
                && state.head().is_some_and(|head| (head.birth, head.sequence) == (stamp.birth, stamp.sequence))
            {
                let is_done = stamp.sequence == wanted.commit_number;
                let (wanted, snapshot) = (Some(wanted), Some(stamp));
                return Ok(Reading { state, wanted, offset: stamp.offset, snapshot, head_time: None, is_done });
            }
        }
        let state = StateReader::new(&self.pipeline, self.origin.clone());
        let is_done = wanted.is_none() && low == high;
        Ok(Reading { state, wanted, offset: low, snapshot: None, head_time: None, is_done })
    }

    fn take(&self, message: &BorrowedMessage<'_>, reading: &mut Reading) -> Result<Next, KafkaError> {
        let (partition, key) = (message.partition(), message.key().unwrap_or_default());
        // What cannot be used may be of before a reset, which comes later: the end tells.
        let _ = reading.state.take(&self.pipeline, key, message.payload());
        let (Some(wanted), Some(head)) = (reading.wanted, reading.state.head()) else { return Ok(Next::ReadOn) };
        if key == StateReader::HEAD_KEY {
            reading.head_time = message.timestamp().to_millis();
        }
        // Heads of another incarnation are of before a reset.
        if key != StateReader::HEAD_KEY || head.birth != wanted.incarnation || head.sequence < wanted.commit_number {
            return Ok(Next::ReadOn);
        }
        if head.sequence > wanted.commit_number {
            return Err(self.torn(partition, "the state is of a later change than the offset"));
        }
        Ok(Next::PartitionDone)
    }

    fn finish(&self, readings: BTreeMap<i32, Reading>, begun: Instant) -> Result<BTreeMap<i32, Restored>, KafkaError> {
        let mut restored = BTreeMap::new();
        for (partition, Reading { state, snapshot, .. }) in readings {
            let state = state.finish(&self.pipeline).map_err(|error| self.unusable(partition, &error))?;
            let source = if snapshot.is_some() { "snapshot" } else { "changelog" };
            let (open, keys, records) = (state.open_entities(), state.keys_with_a_past(), state.records());
            let millis = begun.elapsed().as_millis() as u64;
            tracing::info!(partition, open, keys, records, source, millis, "restored");
            restored.insert(partition, state);
        }
        Ok(restored)
    }

    fn torn(&self, partition: i32, how: &str) -> KafkaError {
        KafkaError::TornState {
            group: self.group.clone(),
            topic: self.topics.input.clone(),
            partition,
            how: how.to_owned(),
        }
    }

    pub(super) fn unusable(&self, partition: i32, error: &StateError) -> KafkaError {
        if let StateError::OfEarlierTopic { .. } = error {
            return self.input.recreated();
        }
        KafkaError::UnusableState {
            group: self.group.clone(),
            topic: self.topics.state.clone(),
            partition,
            cause: error.to_string(),
        }
    }
}
