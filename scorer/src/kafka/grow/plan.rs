//! Everything that is looked at before a topic grows, and what its partitions will hold.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::message::Message as _;
use rdkafka::producer::Producer as _;
use rdkafka::topic_partition_list::Offset;
use shared::pipeline::Pipeline;

use super::committed::Committed;
use super::evidence::Evidence;
use super::partitioner::Partitioner;
use super::unread::{Allowed, Unread};
use super::{DOING, GrowOptions, Grown, GrownPartition};
use crate::clock::now_since_epoch;
use crate::core::{Growth, Head, NewLife, Origin, Report, Restored, rekey};
use crate::kafka::client::error::KafkaError;
use crate::kafka::client::offsets::ends_once;
use crate::kafka::client::producer::Producer;
use crate::kafka::client::read_to_end::{Next, Part, ReadToEnd};
use crate::kafka::client::settings::KafkaSettings;
use crate::kafka::repartition::misplaced::find_misplaced_among;
use crate::kafka::stages::faults::FaultInjection;
use crate::kafka::state::changelogs::Wanted;
use crate::kafka::state::reset::Access;
use crate::kafka::topics::check::refuse_split_past;
use crate::kafka::topics::names::repartition_group;
use crate::kafka::wire::offset_metadata::StateTag;

const TIMEOUT: Duration = Duration::from_secs(30);

/// How long the broker waits for the end of the transaction: a state may be large. An attempt that follows ends it at once.
const TRANSACTION_TIMEOUT: &str = "600000";

/// The last records of a changelog, with markers of transactions: its last record is a head.
const LAST_RECORDS: i64 = 100;

/// A growth that is thought through.
pub(super) struct Plan {
    pub access: Access,
    /// The producer of the transaction: there is none where nothing is to be changed.
    pub producer: Option<Producer>,
    /// What must not change until the end.
    pub committed: Vec<Committed>,
    /// The state of every partition: `(n_partitions)`.
    pub states: Vec<Restored>,
    pub grown: Grown,
    pub faults: FaultInjection,
    unread: Unread,
    has_grown_before: bool,
}

impl Plan {
    /// Looks at everything. `None` where the topic and the state have as many partitions already. Blocks.
    pub(super) fn new(
        settings: &KafkaSettings,
        pipeline: &Arc<Pipeline>,
        group: &str,
        options: &GrowOptions,
    ) -> Result<Option<Self>, KafkaError> {
        refuse_hops(pipeline, options.partitions)?;
        let mut access = Access::of_first(settings, pipeline, group)?;
        access.refuse_all_members()?;
        let (found, now) = (access.changelogs.origin.partitions, options.partitions);
        let before = last_head(&access)?.origin.partitions;
        if (before, found) == (now, now) {
            return Ok(None);
        }
        refuse_counts(&access, (before, found, now))?;
        access.changelogs.origin.partitions = before;
        // What an earlier attempt left open is over then.
        let producer = if options.is_dry_run { None } else { Some(start_producer(&access)?) };
        let committed = committed(&access, before)?;
        let mut states = States::read(&access, &committed[0])?;
        states.take_reports(&access, before)?;
        let mut evidence = Evidence::new(before, now);
        for (partition, state) in (0..).zip(&states.restored) {
            state.each_placed_key(pipeline, &mut |key: &str| evidence.add(key, partition));
        }
        let partitioner = partitioner(&access, options, &evidence)?;
        let offsets = offsets(&access, states.offsets, (found, now))?;
        let allowed = if found == before { Allowed::None } else { allowed(partitioner, now) };
        let written: Vec<(i32, i64)> = offsets.iter().copied().filter(|(partition, _)| *partition < found).collect();
        let unread = Unread::find(&access, &written, allowed)?;
        let births = states.restored.iter().filter_map(Restored::head).map(|head| head.birth + 1);
        let life = NewLife {
            origin: Origin { partitions: now, ..access.changelogs.origin.clone() },
            birth: births.fold(now_since_epoch(), i64::max),
            offsets: offsets.iter().map(|(_, offset)| *offset).collect(),
            reports_end: reports_end(&access)?,
        };
        let place = |key: &str| partitioner.map_or(0, |by| by.place(key.as_bytes(), now));
        let place: &dyn Fn(&str) -> i32 = &place;
        let growth = Growth { before, now, place: partitioner.map(|_| place) };
        let states = rekey(pipeline, states.restored, &growth, &life)
            .map_err(|error| cannot(&access, &format!("cannot grow: {error}")))?;
        let grown = Grown {
            topic: access.changelogs.topics.input.clone(),
            before,
            partitioner,
            keys: evidence.keys(),
            moved: partitioner.map_or(0, |by| evidence.moved(by)),
            bytes: states.iter().map(|state| bytes(pipeline, state)).sum(),
            partitions: states.iter().map(GrownPartition::of).collect(),
            unread: unread.words(),
        };
        let (faults, has_grown_before) = (options.faults.clone(), found > before);
        Ok(Some(Self { access, producer, committed, states, grown, faults, unread, has_grown_before }))
    }

    /// The topics that get more partitions.
    pub(super) fn topics(&self) -> [String; 2] {
        let topics = &self.access.changelogs.topics;
        [topics.input.clone(), topics.state.clone()]
    }

    /// Refuses to go on where something is not read.
    pub(super) fn refuse_unread(&self) -> Result<(), KafkaError> {
        self.refuse(&self.unread, self.has_grown_before)
    }

    fn refuse(&self, unread: &Unread, has_grown: bool) -> Result<(), KafkaError> {
        let topic = self.grown.topic.clone();
        match (unread.records.first_key_value(), unread.words()) {
            (_, None) => Ok(()),
            (Some((partition, (offset, _))), _) if has_grown => {
                let by = self.grown.partitioner.map_or("its key", Partitioner::name);
                Err(cannot(
                    &self.access,
                    &format!(
                        "has its new partitions, and the record at offset {offset} of partition {partition} does not lie where \
                         {by} places it among {}: a producer wrote it that did not know of them, and it would not be judged \
                         in its order. Nothing was carried over; `scorer reset` starts the group again",
                        self.grown.partitions.len()
                    ),
                ))
            }
            (_, Some(left)) => Err(KafkaError::NotReadToEnd { topic, left }),
        }
    }

    /// Carries everything over, once the topics have their partitions. Blocks.
    pub(super) fn carry_out(self) -> Result<Grown, KafkaError> {
        self.wait_for_partitions()?;
        // Whoever wrote meanwhile knew of the new partitions, or it is not in its order.
        let now = self.grown.partitions.len() as i32;
        let offsets: Vec<(i32, i64)> =
            (0..).zip(self.grown.partitions.iter().map(|partition| partition.offset)).collect();
        let unread = Unread::find(&self.access, &offsets, allowed(self.grown.partitioner, now))?;
        self.refuse(&unread, true)?;
        self.write()?;
        Ok(self.grown)
    }
}

impl GrownPartition {
    fn of(state: &Restored) -> Self {
        let offset = state.head().map_or(0, |head| head.next_offset);
        let (open, closed, keys) = (state.open_entities(), state.closed_keys(), state.keys_with_a_past());
        Self { offset, open, closed, keys }
    }
}

/// The state of the partitions of before, and where each goes on.
struct States {
    restored: Vec<Restored>,
    offsets: Vec<(i32, i64)>,
}

impl States {
    /// Takes in what partitions have reported of cancellations since the owner of the first one added them up last.
    fn take_reports(&mut self, access: &Access, partitions: i32) -> Result<(), KafkaError> {
        let changelogs = &access.changelogs;
        let (pipeline, topic) = (&changelogs.pipeline, &changelogs.topics.reports);
        let Some(state) = self.restored.first_mut() else { return Ok(()) };
        let Some(from) = state.unmerged_from(pipeline) else { return Ok(()) };
        let (low, end) = access.ends_of(topic, 0)?;
        if from.max(low) >= end {
            return Ok(());
        }
        let consumer = changelogs.settings.reader(&format!("{}-grow", changelogs.group))?;
        let parts = [Part { partition: 0, from: Offset::Offset(from.max(low)), ends_at_end: true }];
        let reader = ReadToEnd { consumer: &consumer, topic, doing: DOING, silence: TIMEOUT };
        reader.read_all(&parts, |message| {
            // What cannot be read, and what no partition says, is nobody's.
            if let Ok(report) = Report::decode(message.payload().unwrap_or_default())
                && (0..partitions).contains(&report.partition)
            {
                state.take_report(pipeline, &report, message.offset());
            }
            Ok(Next::ReadOn)
        })
    }

    fn read(access: &Access, committed: &Committed) -> Result<Self, KafkaError> {
        let changelogs = &access.changelogs;
        let mut wanted = Vec::new();
        for (partition, (offset, metadata)) in (0..).zip(&committed.offsets) {
            changelogs.input.refuse_foreign(metadata)?;
            wanted.push(match (offset, StateTag::decode(metadata)) {
                (Some(_), Some(tag)) => (partition, Wanted::Last(tag)),
                (None, _) => (partition, Wanted::Everything),
                (Some(_), None) => {
                    let cause =
                        format!("group `{}` keeps no state on Kafka, so there is none to carry over", changelogs.group);
                    return Err(KafkaError::Failed { action: DOING, cause });
                }
            });
        }
        let (mut restored, mut offsets) = (Vec::new(), Vec::new());
        for ((partition, state), (offset, _)) in changelogs.read(&wanted)?.into_iter().zip(&committed.offsets) {
            let of_state = state.head().map(|head| head.next_offset);
            let next = match (of_state, *offset) {
                (Some(of_state), Some(offset)) if of_state == offset => offset,
                // Groups are forgotten after days without members; the state says where they were.
                (Some(of_state), None) => of_state,
                (None, None) => access.ends_of(&changelogs.topics.input, partition)?.0,
                (of_state, Some(offset)) => {
                    let of_state = of_state.map_or_else(|| "nowhere".to_owned(), |at| format!("at offset {at}"));
                    return Err(changelogs.torn(partition, &format!("the state is {of_state}, the group at {offset}")));
                }
            };
            restored.push(state);
            offsets.push((partition, next));
        }
        Ok(Self { restored, offsets })
    }
}

/// What is known of a key by a later column is placed by that, in the state of another hop: one partition has it all.
fn refuse_hops(pipeline: &Pipeline, now: i32) -> Result<(), KafkaError> {
    if !pipeline.takes_hops(now) {
        return Ok(());
    }
    let name = |column: usize| format!("`{}`", pipeline.schema.columns[column].name);
    let names: Vec<String> = pipeline.placed_by().into_iter().map(name).collect();
    let problem = format!(
        "cannot grow to {now} partitions with its state: its records are looked at with others by {}, one hop after the other, \
         and each hop has a state of its own. `kafka-topics.sh --alter --topic {} --partitions {now}` adds partitions, and \
         `scorer reset` then starts the group again",
        names.join(" and by "),
        pipeline.topic
    );
    Err(KafkaError::UnfitTopic { topic: pipeline.topic.clone(), problem })
}

fn cannot(access: &Access, problem: &str) -> KafkaError {
    KafkaError::UnfitTopic { topic: access.changelogs.topics.input.clone(), problem: problem.to_owned() }
}

/// The last head of any partition's state.
fn last_head(access: &Access) -> Result<Head, KafkaError> {
    let changelogs = &access.changelogs;
    let (settings, topic, group) = (&changelogs.settings, &changelogs.topics.state, &changelogs.group);
    let nothing = || {
        cannot(access, &format!("cannot grow: group `{group}` has no state of it, so there is nothing to carry over"))
    };
    let partitions = match settings.partitions_of(topic) {
        Ok(partitions) => partitions,
        Err(KafkaError::MissingTopic(_)) => return Err(nothing()),
        Err(error) => return Err(error),
    };
    let consumer = settings.reader(&format!("{group}-grow"))?;
    let reader = ReadToEnd { consumer: &consumer, topic, doing: "reading state", silence: TIMEOUT };
    for partition in 0..partitions {
        let (low, end) = ends_once(&consumer, topic, partition, "asking for the ends of a changelog")?;
        let mut last = None;
        for from in [low.max(end - LAST_RECORDS), low] {
            if last.is_some() || from >= end {
                break;
            }
            reader.read_all(&[Part { partition, from: Offset::Offset(from), ends_at_end: true }], |message| {
                let (key, value) = (message.key().unwrap_or_default(), message.payload().unwrap_or_default());
                last = Head::decode(key, value).ok().flatten().or(last.take());
                Ok(Next::ReadOn)
            })?;
        }
        if let Some(head) = last {
            return Ok(head);
        }
    }
    Err(nothing())
}

/// Refuses what is no growth: `before` is the state's number of partitions, `found` the topic's.
fn refuse_counts(access: &Access, (before, found, now): (i32, i32, i32)) -> Result<(), KafkaError> {
    let pipeline = &access.changelogs.pipeline;
    if now <= before {
        return Err(cannot(
            access,
            &format!(
                "cannot grow to {now} partitions: the state of the group is of {before}, and partitions do not go"
            ),
        ));
    }
    if found < before || found > now {
        return Err(cannot(
            access,
            &format!("has {found} partitions and the state of the group is of {before}: it cannot grow to {now}"),
        ));
    }
    refuse_split_past(pipeline, &access.changelogs.topics.input, usize::try_from(now).unwrap_or(1))
}

/// A producer that fences others that write the state of the group while nobody is in it, and ends what they left open.
fn start_producer(access: &Access) -> Result<Producer, KafkaError> {
    let changelogs = &access.changelogs;
    let mut config = changelogs.settings.transactional_producer(&format!("{}-reset", changelogs.topics.state));
    if changelogs.settings.property("transaction.timeout.ms").is_none() {
        config.set("transaction.timeout.ms", TRANSACTION_TIMEOUT);
    }
    let producer = Producer::create(&config, Vec::new())?;
    producer.client.init_transactions(TIMEOUT).map_err(KafkaError::failed(DOING))?;
    Ok(producer)
}

/// What the group has committed, and its repartitioner.
fn committed(access: &Access, before: i32) -> Result<Vec<Committed>, KafkaError> {
    let changelogs = &access.changelogs;
    let (settings, topics, group) = (&changelogs.settings, &changelogs.topics, &changelogs.group);
    let mut committed = vec![Committed::ask(settings, group, &topics.input, before, &changelogs.watchdog)?];
    if topics.is_repartitioned() {
        let (group, partitions) = (repartition_group(group), settings.partitions_of(&topics.source)?);
        committed.push(Committed::ask(settings, &group, &topics.source, partitions, &changelogs.watchdog)?);
    }
    Ok(committed)
}

/// How keys are placed. `None` where the state is not placed by keys.
fn partitioner(access: &Access, options: &GrowOptions, evidence: &Evidence) -> Result<Option<Partitioner>, KafkaError> {
    let changelogs = &access.changelogs;
    let (settings, pipeline) = (&changelogs.settings, &changelogs.pipeline);
    if pipeline.placed_by().is_empty() {
        return Ok(None);
    }
    let mut said = options.partitioner;
    if changelogs.topics.is_repartitioned() {
        // Its only producer is this program.
        let name = settings.property("partitioner").unwrap_or_else(|| "consistent_random".to_owned());
        said = said.or(Partitioner::of_librdkafka(&name));
    } else if let Some(found) = find_misplaced_among(settings, pipeline, changelogs.origin.partitions)? {
        return Err(cannot(access, &format!("cannot grow: it is not keyed by what its state is placed by ({found})")));
    }
    let partitioner =
        evidence.partitioner(said).map_err(|why| cannot(access, &format!("cannot grow: its keys {why}")))?;
    Ok(Some(partitioner))
}

/// Where each partition goes on, `(n_partitions)`: those that are new at their first record.
fn offsets(access: &Access, before: Vec<(i32, i64)>, (found, now): (i32, i32)) -> Result<Vec<(i32, i64)>, KafkaError> {
    let mut offsets = before;
    for partition in offsets.len() as i32..now {
        let is_there = partition < found;
        let first = if is_there { access.ends_of(&access.changelogs.topics.input, partition)?.0 } else { 0 };
        offsets.push((partition, first));
    }
    Ok(offsets)
}

fn allowed(partitioner: Option<Partitioner>, now: i32) -> Allowed {
    partitioner.map_or(Allowed::Any, |by| Allowed::PlacedBy(by, now))
}

fn reports_end(access: &Access) -> Result<Option<i64>, KafkaError> {
    let changelogs = &access.changelogs;
    match &changelogs.pipeline.cancellations {
        Some(_) => Ok(Some(access.ends_of(&changelogs.topics.reports, 0)?.1)),
        None => Ok(None),
    }
}

fn bytes(pipeline: &Pipeline, state: &Restored) -> u64 {
    let mut bytes = 0;
    state.put_all(pipeline, |record| bytes += record.key.len() + record.value.map_or(0, |value| value.len()));
    bytes as u64
}
