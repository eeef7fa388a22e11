//! Where work on a partition goes on: its committed offset, and its state from the changelog.
//!
//! The offset is asked for first, and the broker answers when no transaction on it is open: the partition's earlier owner
//! can commit nothing more. The tag beside the offset names the commit of the state that it belongs to. The changelog is
//! read until that commit has been seen, so a transaction that is just being completed is waited for, and an offset that was
//! moved by hand is noticed.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::BaseConsumer;
use rdkafka::message::Message as _;
use rdkafka::topic_partition_list::Offset;
use shared::pipeline::Pipeline;

use crate::core::{Origin, Restored, Resume, Start, StateError, StateReader};
use crate::kafka::client::consumer::GroupConsumer;
use crate::kafka::client::error::KafkaError;
use crate::kafka::client::offsets::{STABLE_TIMEOUT, committed_offsets, ends_of, first_offset};
use crate::kafka::client::read_to_end::{Ended, Next, Part, ReadToEnd};
use crate::kafka::client::settings::{KafkaSettings, QuietContext};
use crate::kafka::client::watchdog::Watchdog;
use crate::kafka::options::Delivery;
use crate::kafka::stop::StopHandle;
use crate::kafka::topics::names::Topics;
use crate::kafka::wire::offset_metadata::{StateTag, decode_resume};
use crate::snapshot::SnapshotFile;

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
    #[cfg(feature = "fault-injection")]
    pub faults: crate::kafka::stages::faults::FaultInjection,
}

/// The changelogs of a group.
pub(crate) struct Changelogs {
    pub settings: KafkaSettings,
    pub pipeline: Arc<Pipeline>,
    pub topics: Topics,
    pub group: String,
    pub origin: Origin,
    /// The folder of local snapshots.
    pub snapshots: Option<PathBuf>,
    pub watchdog: Watchdog,
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
            let committed = match (offset, StateTag::decode(metadata), decode_resume(metadata)) {
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
            Committed::Tagged(offset, _) | Committed::Offset(offset) if self.faults.are_offsets_outside() => offset,
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
        let Changelogs { topics, watchdog, .. } = &self.changelogs;
        let &StartPosition { partition, offset, .. } = start;
        const DOING: &str = "asking for the ends of a partition";
        let (_, high) = ends_of(&*self.consumer, &topics.input, partition, DOING, watchdog)?;
        if offset > high {
            let how = format!("the state is at offset {offset}, the topic ends at {high}: it was made anew");
            return Err(self.changelogs.torn(partition, &how));
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
    source: &'static str,
    is_done: bool,
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
        let consumer = self.settings.reader(&format!("{}-restore", self.group))?;
        let mut readings = BTreeMap::new();
        for &(partition, wanted) in wanted {
            readings.insert(partition, self.open(&consumer, partition, wanted)?);
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
            |message| {
                let partition = message.partition();
                let Some(reading) = readings.get_mut(&partition) else { return Ok(Next::ReadOn) };
                self.take(partition, reading, message.key().unwrap_or_default(), message.payload())
            },
        )?;
        match ended {
            Ended::AtEnd => self.finish(readings, begun).map(Some),
            Ended::Stopped => Ok(None),
            Ended::Silent(partition, _) => {
                Err(self.torn(partition, "the change that was committed with the offset is missing from the state"))
            }
        }
    }

    /// Begins with the snapshot where there is one to be trusted.
    fn open(
        &self,
        consumer: &BaseConsumer<QuietContext>,
        partition: i32,
        wanted: Option<StateTag>,
    ) -> Result<Reading, KafkaError> {
        const DOING: &str = "asking for the ends of a changelog";
        let (low, high) = ends_of(consumer, &self.topics.state, partition, DOING, &self.watchdog)?;
        if let (Some(wanted), Some(folder)) = (wanted, &self.snapshots) {
            let mut state = StateReader::new(&self.pipeline, self.origin.clone());
            let snapshot = SnapshotFile::new(folder, partition);
            let take = |key: &[u8], value: &[u8]| state.take(&self.pipeline, key, Some(value)).is_ok();
            if let Some(stamp) = snapshot.read(take)
                && stamp.birth == wanted.incarnation
                && stamp.sequence <= wanted.commit_number
                && (low..=high).contains(&stamp.offset)
                && state.head().is_some_and(|head| (head.birth, head.sequence) == (stamp.birth, stamp.sequence))
            {
                let is_done = stamp.sequence == wanted.commit_number;
                return Ok(Reading { state, wanted: Some(wanted), offset: stamp.offset, source: "snapshot", is_done });
            }
        }
        let state = StateReader::new(&self.pipeline, self.origin.clone());
        let is_done = wanted.is_none() && low == high;
        Ok(Reading { state, wanted, offset: low, source: "changelog", is_done })
    }

    fn take(
        &self,
        partition: i32,
        reading: &mut Reading,
        key: &[u8],
        value: Option<&[u8]>,
    ) -> Result<Next, KafkaError> {
        reading.state.take(&self.pipeline, key, value).map_err(|error| self.unusable(partition, error))?;
        let (Some(wanted), Some(head)) = (reading.wanted, reading.state.head()) else { return Ok(Next::ReadOn) };
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
        for (partition, Reading { state, source, .. }) in readings {
            let state = state.finish(&self.pipeline).map_err(|error| self.unusable(partition, error))?;
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

    pub(super) fn unusable(&self, partition: i32, error: StateError) -> KafkaError {
        KafkaError::UnusableState {
            group: self.group.clone(),
            topic: self.topics.state.clone(),
            partition,
            cause: error.to_string(),
        }
    }
}
