//! State of partitions, read back from their changelogs, and from local snapshots or standby copies where there are some.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::BaseConsumer;
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::topic_partition_list::Offset;
use shared::pipeline::Pipeline;

use super::standby::copy::StandbyCopy;
use crate::clock::now_since_epoch;
use crate::core::{Origin, Restored, StateError, StateReader};
use crate::kafka::client::error::KafkaError;
use crate::kafka::client::offsets::{STABLE_TIMEOUT, ends_once};
use crate::kafka::client::read_to_end::{Ended, Next, Part, Read, ReadToEnd, Silence};
use crate::kafka::client::settings::{KafkaSettings, QuietContext, create_consumer};
use crate::kafka::client::watchdog::Watchdog;
use crate::kafka::topics::input::InputTopic;
use crate::kafka::topics::names::Topics;
use crate::kafka::wire::offset_metadata::StateTag;
use crate::snapshot::{SnapshotFile, Stamp};

/// How long a changelog may bring nothing while the commit that is waited for has not come. A transaction that a dead
/// instance left open holds back everything that was written after it, until the broker ends it: this may take as long as
/// for an offset.
const SILENCE_TIMEOUT: Duration = STABLE_TIMEOUT;

const ENDS: &str = "asking for the ends of a changelog";

/// What a restore begins with, as the log names it.
const CHANGELOG: &str = "changelog";
const SNAPSHOT: &str = "snapshot";
pub(super) const STANDBY: &str = "standby";

/// The changelogs of a group.
#[derive(Clone)]
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

/// Which state of a partition is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// That of everything in the changelog.
    Everything,
    /// That of this commit, which has to be the last one: whoever finds a later one has an offset that was moved by hand.
    Last(StateTag),
    /// That of this commit, whatever comes after it.
    Passed(StateTag),
}

impl Wanted {
    fn tag(self) -> Option<StateTag> {
        match self {
            Self::Everything => None,
            Self::Last(tag) | Self::Passed(tag) => Some(tag),
        }
    }
}

/// What was read of a partition: the state that was wanted.
pub(crate) struct ReadState {
    pub state: StateReader,
    /// What it was read from, beside the end of the changelog.
    pub source: &'static str,
    wanted: Wanted,
    /// Records that were in the state before anything was read.
    before: u64,
    begun: Instant,
}

/// What was read of a partition, or why it cannot be had.
pub(crate) type Found = Result<ReadState, KafkaError>;

/// A partition whose changelog is being read.
struct Reading {
    state: StateReader,
    wanted: Wanted,
    /// The first record to read.
    from: Offset,
    /// What it began with.
    source: &'static str,
    /// What that stands for, where it is a snapshot or a standby copy.
    stamp: Option<Stamp>,
    /// Records that a standby copy had before.
    before: u64,
    /// Kafka's timestamp of the last head that was read.
    head_time: Option<i64>,
    /// Whether the commit that is wanted is in the state.
    is_reached: bool,
}

impl Reading {
    /// From the first record of the changelog on.
    fn whole(changelogs: &Changelogs, wanted: Wanted) -> Self {
        let state = StateReader::new(&changelogs.pipeline, changelogs.origin.clone());
        Self {
            state,
            wanted,
            from: Offset::Beginning,
            source: CHANGELOG,
            stamp: None,
            before: 0,
            head_time: None,
            is_reached: false,
        }
    }

    fn part(&self, partition: i32) -> Part {
        Part { partition, from: self.from, ends_at_end: self.is_reached || self.wanted == Wanted::Everything }
    }

    /// Whether what it began with turned out to be so old that deletions since may be gone from the changelog.
    fn is_stale(&self) -> bool {
        // Heads that come a moment before it are of a clock that is a little behind.
        let later =
            self.stamp.zip(self.head_time).filter(|(stamp, time)| stamp.time.is_some_and(|since| since < *time));
        later.is_some_and(|(stamp, time)| stamp.is_stale_at(time))
    }
}

impl Changelogs {
    /// Reads the state of partitions.
    ///
    /// # Errors
    /// When the state of any partition cannot be read or is not what is wanted.
    pub(crate) fn read(&self, wanted: &[(i32, Wanted)]) -> Result<BTreeMap<i32, Restored>, KafkaError> {
        let mut found = BTreeMap::new();
        self.read_each(wanted, &|_| true, &mut |partition, state| {
            found.insert(partition, state);
        })?;
        found.into_iter().map(|(partition, found)| Ok((partition, self.finish(partition, found?)?))).collect()
    }

    /// Reads the state of partitions and hands each over as soon as it is there, or why it cannot be had; nothing of those that
    /// are no longer wanted.
    ///
    /// # Errors
    /// When no partition can be read.
    pub(crate) fn read_each(
        &self,
        wanted: &[(i32, Wanted)],
        is_wanted: &dyn Fn(i32) -> bool,
        give: &mut dyn FnMut(i32, Found),
    ) -> Result<(), KafkaError> {
        self.read_each_on(wanted, BTreeMap::new(), is_wanted, give)
    }

    /// As [`read_each`](Self::read_each), from where standby copies are, where these fit.
    ///
    /// # Errors
    /// As there.
    pub(crate) fn read_each_on(
        &self,
        wanted: &[(i32, Wanted)],
        mut copies: BTreeMap<i32, StandbyCopy>,
        is_wanted: &dyn Fn(i32) -> bool,
        give: &mut dyn FnMut(i32, Found),
    ) -> Result<(), KafkaError> {
        let open = |&(partition, wanted): &(i32, Wanted)| {
            let copied = copies.remove(&partition).and_then(|copy| self.open_copy(partition, wanted, copy));
            (partition, copied.unwrap_or_else(|| self.open(partition, wanted)))
        };
        let useless = self.read_readings(wanted.iter().map(open).collect(), is_wanted, give)?;
        if useless.is_empty() {
            return Ok(());
        }
        tracing::info!(partitions = ?useless, "snapshots or standby copies do not fit: reading the whole changelog");
        let whole = |(partition, wanted)| (partition, Reading::whole(self, wanted));
        self.read_readings(useless.into_iter().map(whole).collect(), is_wanted, give).map(|_| ())
    }

    /// As [`read_each`](Self::read_each); returns the partitions whose snapshot or standby copy turned out to be of no use.
    fn read_readings(
        &self,
        readings: BTreeMap<i32, Reading>,
        is_wanted: &dyn Fn(i32) -> bool,
        give: &mut dyn FnMut(i32, Found),
    ) -> Result<Vec<(i32, Wanted)>, KafkaError> {
        let consumer = self.settings.reader(&format!("{}-restore", self.group))?;
        let parts: Vec<Part> = readings.iter().map(|(&partition, reading)| reading.part(partition)).collect();
        let mut under_way = UnderWay {
            changelogs: self,
            consumer: &consumer,
            begun: Instant::now(),
            readings,
            useless: Vec::new(),
            give,
        };
        let (topic, doing) = (self.topics.state.as_str(), "reading state");
        let reader = ReadToEnd { consumer: &consumer, topic, doing, silence: SILENCE_TIMEOUT };
        let parts = under_way.finish_trusted(parts);
        if let Ended::Silent(silent) = reader.read(&parts, is_wanted, |read| Ok(under_way.take(read)))? {
            silent.iter().for_each(|silence| under_way.fail_silent(silence));
        }
        Ok(under_way.useless)
    }

    /// The state that was read.
    ///
    /// # Errors
    /// When some of it cannot be used.
    pub(crate) fn finish(&self, partition: i32, read: ReadState) -> Result<Restored, KafkaError> {
        let ReadState { state, wanted, source, before, begun } = read;
        let state = match state.finish(&self.pipeline) {
            Ok(state) => state,
            // A copy is never the truth.
            Err(error) if source == STANDBY => {
                tracing::warn!(partition, %error, "a standby copy is of no use: restoring without it");
                let restored = self.read(&[(partition, wanted)])?.remove(&partition);
                return restored.ok_or_else(|| self.torn(partition, "there is no state"));
            }
            Err(error) => return Err(self.unusable(partition, &error)),
        };
        let (open, keys) = (state.open_entities(), state.keys_with_a_past());
        let records = state.records().saturating_sub(before);
        let millis = begun.elapsed().as_millis() as u64;
        tracing::info!(partition, open, keys, records, source, millis, "restored");
        Ok(state)
    }

    /// Where the changelog of a partition begins, and where it ends for those who read what is committed.
    ///
    /// # Errors
    /// When no broker can tell.
    pub(super) fn ends_of(&self, partition: i32) -> Result<(i64, i64), KafkaError> {
        let committed = self.settings.reader(&format!("{}-restore", self.group))?;
        ends_once(&committed, &self.topics.state, partition, ENDS)
    }

    /// Begins with the snapshot where there is one to be trusted.
    fn open(&self, partition: i32, wanted: Wanted) -> Reading {
        let whole = Reading::whole(self, wanted);
        let (Some(tag), Some(folder)) = (wanted.tag(), self.snapshots.as_deref()) else { return whole };
        let mut state = StateReader::new(&self.pipeline, self.origin.clone());
        let snapshot = SnapshotFile::new(folder, partition);
        let take = |key: &[u8], value: &[u8]| state.take(&self.pipeline, key, Some(value)).is_ok();
        #[cfg(feature = "fault-injection")]
        if self.faults.is_snapshot_trusted()
            && let Some(stamp) = snapshot.read(|_, _| true)
        {
            let mut take = take;
            snapshot.read(&mut take);
            return Reading { state, source: SNAPSHOT, stamp: Some(stamp), is_reached: true, ..whole };
        }
        match snapshot.read(take) {
            Some(stamp)
                if stamp.birth == tag.incarnation
                    && stamp.sequence <= tag.commit_number
                    // A snapshot of the commit itself has missed no deletion, however old it is.
                    && (stamp.sequence == tag.commit_number || !stamp.is_stale_at(now_since_epoch()))
                    && state.head().is_some_and(|head| (head.birth, head.sequence) == (stamp.birth, stamp.sequence)) =>
            {
                let (from, is_reached) = (Offset::Offset(stamp.offset), stamp.sequence == tag.commit_number);
                Reading { state, from, source: SNAPSHOT, stamp: Some(stamp), is_reached, ..whole }
            }
            _ => whole,
        }
    }

    /// Begins with a standby copy where it is to be trusted.
    fn open_copy(&self, partition: i32, wanted: Wanted, copy: StandbyCopy) -> Option<Reading> {
        let tag = wanted.tag()?;
        #[cfg(feature = "fault-injection")]
        let fitting = match self.faults.is_standby_trusted() {
            true => copy.believed(tag),
            false => copy.fit(tag, now_since_epoch()),
        };
        #[cfg(not(feature = "fault-injection"))]
        let fitting = copy.fit(tag, now_since_epoch());
        let Some((state, stamp, is_reached)) = fitting else {
            tracing::info!(partition, "a standby copy does not fit the committed offset: restoring without it");
            return None;
        };
        let (from, before) = (Offset::Offset(stamp.offset), state.records());
        let whole = Reading::whole(self, wanted);
        Some(Reading { state, from, source: STANDBY, stamp: Some(stamp), before, is_reached, ..whole })
    }

    /// Why nothing came of a partition for so long. Only where everything there is has been read is the state known to be bad.
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
        let topic = &self.topics.state;
        let config = self.settings.client(&[("isolation.level", "read_uncommitted")]);
        let all = create_consumer(&config, QuietContext)?;
        let end = ends_once(&all, topic, partition, ENDS)?.1;
        Ok(self.ends_of(partition)?.1 < end)
    }

    pub(crate) fn torn(&self, partition: i32, how: &str) -> KafkaError {
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
        if let StateError::Foreign { found, wanted } = error
            && let Some((before, now)) = partitions_in(found).zip(partitions_in(wanted))
        {
            let (topic, group) = (self.topics.input.clone(), self.group.clone());
            let can_grow = self.pipeline.placed_by().len() < 2;
            return KafkaError::PartitionsChanged { topic, before, now, group, can_grow };
        }
        KafkaError::UnusableState {
            group: self.group.clone(),
            topic: self.topics.state.clone(),
            partition,
            cause: error.to_string(),
            is_foreign: matches!(error, StateError::Foreign { .. }),
        }
    }
}

/// How many partitions the origin of a state has that is different in nothing else.
fn partitions_in(difference: &str) -> Option<i32> {
    difference.strip_suffix(" partitions")?.parse().ok()
}

/// Partitions whose changelogs are being read.
struct UnderWay<'a> {
    changelogs: &'a Changelogs,
    consumer: &'a BaseConsumer<QuietContext>,
    begun: Instant,
    readings: BTreeMap<i32, Reading>,
    /// Partitions whose snapshot or standby copy is of no use.
    useless: Vec<(i32, Wanted)>,
    give: &'a mut dyn FnMut(i32, Found),
}

impl UnderWay<'_> {
    /// Those whose snapshot or standby copy is believed, whatever the changelog says: a guarantee that tests break. The others.
    #[cfg(feature = "fault-injection")]
    fn finish_trusted(&mut self, mut parts: Vec<Part>) -> Vec<Part> {
        let faults = &self.changelogs.faults;
        let (snapshots, standbys) = (faults.is_snapshot_trusted(), faults.is_standby_trusted());
        let is_trusted = |reading: &Reading| snapshots || (standbys && reading.source == STANDBY);
        for (partition, reading) in
            self.readings.extract_if(.., |_, reading| reading.is_reached && is_trusted(reading)).collect::<Vec<_>>()
        {
            parts.retain(|part| part.partition != partition);
            self.hand_over(partition, reading);
        }
        parts
    }

    #[cfg(not(feature = "fault-injection"))]
    #[allow(clippy::unused_self, reason = "the other variant uses it")]
    fn finish_trusted(&mut self, parts: Vec<Part>) -> Vec<Part> {
        parts
    }

    fn take(&mut self, read: Read<'_, '_>) -> Next {
        let taken = match read {
            Read::Record(message) => self.take_record(message).map_err(|error| (message.partition(), error)),
            Read::End(partition) => {
                self.finish(partition);
                Ok(Next::PartitionDone)
            }
        };
        taken.unwrap_or_else(|(partition, error)| {
            self.fail(partition, error);
            Next::PartitionDone
        })
    }

    fn take_record(&mut self, message: &BorrowedMessage<'_>) -> Result<Next, KafkaError> {
        let (changelogs, partition, key) = (self.changelogs, message.partition(), message.key().unwrap_or_default());
        let Some(reading) = self.readings.get_mut(&partition) else { return Ok(Next::PartitionDone) };
        let is_head = key == StateReader::HEAD_KEY;
        let later = || changelogs.torn(partition, "the state is of a later change than the offset");
        if reading.is_reached {
            // Nobody can commit anything more once the offset was read (see `restore`).
            return if is_head { Err(later()) } else { Ok(Next::ReadOn) };
        }
        // What cannot be used may be of before a reset, which comes later: the end tells.
        let _ = reading.state.take(&changelogs.pipeline, key, message.payload());
        let (Some(tag), Some(head)) = (reading.wanted.tag(), reading.state.head()) else { return Ok(Next::ReadOn) };
        if is_head {
            reading.head_time = message.timestamp().to_millis();
        }
        // Heads of another incarnation are of before a reset.
        if !is_head || head.birth != tag.incarnation || head.sequence < tag.commit_number {
            return Ok(Next::ReadOn);
        }
        if head.sequence > tag.commit_number {
            return Err(later());
        }
        reading.is_reached = true;
        if let Wanted::Passed(_) = reading.wanted {
            self.finish(partition);
            return Ok(Next::PartitionDone);
        }
        Ok(Next::DoneAtEnd)
    }

    /// Everything of a partition has been read.
    fn finish(&mut self, partition: i32) {
        let Some(reading) = self.readings.remove(&partition) else { return };
        if reading.is_stale() || !self.is_of_this_changelog(partition, reading.stamp) {
            self.useless.push((partition, reading.wanted));
        } else {
            self.hand_over(partition, reading);
        }
    }

    fn hand_over(&mut self, partition: i32, reading: Reading) {
        let Reading { state, wanted, source, before, .. } = reading;
        (self.give)(partition, Ok(ReadState { state, wanted, source, before, begun: self.begun }));
    }

    /// Whether the changelog goes on where a snapshot or a standby copy says: it may have been made anew, or so much of it may
    /// be gone that the client began elsewhere.
    fn is_of_this_changelog(&self, partition: i32, stamp: Option<Stamp>) -> bool {
        let Some(stamp) = stamp else { return true };
        let ends = ends_once(self.consumer, &self.changelogs.topics.state, partition, ENDS);
        ends.is_ok_and(|(low, high)| (low..=high).contains(&stamp.offset))
    }

    fn fail_silent(&mut self, silence: &Silence) {
        let error = self.changelogs.silent(silence, self.readings.get(&silence.partition));
        self.fail(silence.partition, error);
    }

    /// A partition cannot be had; but from its changelog alone, where it began with a standby copy.
    fn fail(&mut self, partition: i32, error: KafkaError) {
        match self.readings.remove(&partition) {
            Some(reading) if reading.source == STANDBY => {
                tracing::warn!(partition, %error, "a standby copy is of no use: restoring without it");
                self.useless.push((partition, reading.wanted));
            }
            _ => (self.give)(partition, Err(error)),
        }
    }
}
