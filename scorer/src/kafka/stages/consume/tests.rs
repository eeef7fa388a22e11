//! The loop of the first stage between a topic, a changelog and a publisher in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;

use rdkafka::Timestamp;
use rdkafka::config::ClientConfig;
use rdkafka::message::{Headers as _, OwnedMessage};
use shared::pipeline::Pipeline;

use super::*;
use crate::core::{Core, Erroneous, Head, Origin, PartitionChanges, Recovery, Start, StateReader, StateRecord};
use crate::kafka::client::consumer::{GroupConsumer, GroupContext};
use crate::kafka::client::error::ErrorKind;
use crate::kafka::client::producer::ProducedOffsets;
use crate::kafka::client::settings::KafkaSettings;
use crate::kafka::membership::assignment::Assignment;
use crate::kafka::membership::commit_fence::CommitFence;
use crate::kafka::membership::lost::LossPolicy;
use crate::kafka::options::{Delivery, EndWhen, OnLostRecords};
use crate::kafka::schemas::{SchemaSource, SchemaWaits};
use crate::kafka::stages::batch::{BatchPart, CommitPoint, CommitResult};
use crate::kafka::stages::faults::FaultInjection;
use crate::kafka::state::reports::Reports;
use crate::kafka::state::restore::Restoration;
use crate::kafka::state::snapshots::Snapshots;
use crate::kafka::stop::StopHandle;
use crate::kafka::wire::headers::RecordHeaders;
use crate::messages::Costs;
use crate::pasts::pasts;
use crate::status::StatusCell;

mod restores;
mod schemas;

/// Longer than any test.
const HOUR: Duration = Duration::from_secs(3_600);

/// As long as a batch may be open whose parts go ahead: longer than the tests that use it.
const LONG: Duration = Duration::from_secs(10);

/// What happened, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Happened {
    Assigned(Vec<i32>),
    /// A partition is read from this offset on.
    Read(i32, i64),
    Held(Vec<i32>),
    Rested,
    ReadOn,
    /// A partition, committed up to this offset.
    Committed(i32, i64),
    Revoked(Vec<i32>),
}

/// A topic, the changelog of its group, and what the group wants.
#[derive(Default)]
struct Broker {
    lines: BTreeMap<i32, Vec<String>>,
    changes: Vec<Event<OwnedMessage>>,
    changelog: BTreeMap<i32, Vec<StateRecord>>,
    /// Partitions whose restore takes as long as they are in here.
    slow: BTreeSet<i32>,
    /// What goes wrong with the restore of partitions, once each.
    failures: Vec<(i32, KafkaError)>,
    is_lost: bool,
    happened: Vec<Happened>,
}

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Broker>>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Broker> {
        self.0.lock().unwrap()
    }

    /// Commits a batch, as the last stage does.
    fn commit(&self, batch: BatchPart) -> CommitResult {
        let Some(CommitPoint::Changes { changes, .. }) = batch.point else { panic!("it commits state") };
        let mut broker = self.lock();
        for PartitionChanges { partition, head, records } in changes {
            broker.changelog.entry(partition).or_default().extend(records);
            broker.happened.push(Happened::Committed(partition, head.next_offset));
        }
        CommitResult::Committed { number: batch.id.number, produced: ProducedOffsets::new() }
    }

    fn assign(&self, partitions: &[i32]) {
        self.lock().changes.push(Event::Assigned(partitions.to_vec()));
    }

    fn revoke(&self, partitions: &[i32], lost: bool) {
        let mut broker = self.lock();
        broker.is_lost = lost;
        broker.changes.push(Event::Revoked { partitions: partitions.to_vec(), lost });
    }

    fn happened(&self) -> Vec<Happened> {
        self.lock().happened.clone()
    }
}

impl RecordHeaders for OwnedMessage {
    fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers()?.iter().find(|header| header.key == name)?.value
    }
}

struct MemorySource {
    broker: Shared,
    assignment: Assignment,
    /// Partitions whose end was said.
    ended: Vec<i32>,
    is_resting: bool,
    /// Of no group on no broker: a fence has to be of some.
    consumer: GroupConsumer,
}

impl MemorySource {
    fn next(&mut self) -> Event<OwnedMessage> {
        let mut broker = self.broker.lock();
        if !broker.changes.is_empty() {
            let event = broker.changes.remove(0);
            if let Event::Lost(lost) = &event {
                self.assignment.on_passed(lost.partition, lost.next());
            }
            return event;
        }
        if self.is_resting {
            return Event::Nothing;
        }
        for (partition, offset) in self.assignment.positions() {
            if let Some(line) = broker.lines.get(&partition).and_then(|lines| lines.get(offset as usize)) {
                self.assignment.on_record(partition, offset);
                self.ended.retain(|ended| *ended != partition);
                let (payload, time) = (Some(line.as_bytes().to_vec()), Timestamp::CreateTime(1_767_225_600_000));
                return Event::Record(OwnedMessage::new(payload, None, "in".into(), time, partition, offset, None));
            }
        }
        let at_end = self.assignment.positions().into_iter().find(|(partition, _)| !self.ended.contains(partition));
        let Some((partition, _)) = at_end else { return Event::Nothing };
        self.ended.push(partition);
        self.assignment.on_caught_up(partition);
        Event::CaughtUp(partition)
    }
}

impl PartitionSource for MemorySource {
    type Record = OwnedMessage;

    fn poll(&mut self, _: Duration) -> Result<Event<OwnedMessage>, KafkaError> {
        Ok(self.next())
    }

    fn find_out(&mut self, _: WallMillis) -> Result<(), KafkaError> {
        Ok(())
    }

    fn assignment(&self) -> &Assignment {
        &self.assignment
    }

    fn assign(&mut self, partitions: &[i32]) -> Result<(), KafkaError> {
        self.broker.lock().happened.push(Happened::Assigned(partitions.to_vec()));
        self.assignment.hold(partitions);
        Ok(())
    }

    fn read_from(&mut self, positions: &[(i32, i64)]) -> Result<(), KafkaError> {
        let read = positions.iter().map(|&(partition, offset)| Happened::Read(partition, offset));
        self.broker.lock().happened.extend(read);
        self.assignment.read_from(positions);
        self.ended.retain(|ended| !positions.iter().any(|(partition, _)| partition == ended));
        Ok(())
    }

    fn hold(&mut self, partitions: &[i32]) -> Result<(), KafkaError> {
        self.broker.lock().happened.push(Happened::Held(partitions.to_vec()));
        self.assignment.hold(partitions);
        Ok(())
    }

    fn rest(&mut self) -> Result<(), KafkaError> {
        self.broker.lock().happened.push(Happened::Rested);
        self.is_resting = true;
        Ok(())
    }

    fn read_on(&mut self) -> Result<(), KafkaError> {
        self.broker.lock().happened.push(Happened::ReadOn);
        self.is_resting = false;
        Ok(())
    }

    fn revoke(&mut self, partitions: &[i32]) {
        self.broker.lock().happened.push(Happened::Revoked(partitions.to_vec()));
        self.assignment.revoke(partitions);
    }

    fn is_lost(&self) -> bool {
        self.broker.lock().is_lost
    }

    fn fence(&self) -> Option<CommitFence> {
        CommitFence::now(&self.consumer)
    }

    fn seems_caught_up(&self) -> bool {
        self.assignment.is_caught_up()
    }

    fn lag(&self) -> Option<i64> {
        None
    }
}

/// Restores from the changelog in memory.
struct MemoryRestorer {
    broker: Shared,
    pipeline: Arc<Pipeline>,
    origin: Origin,
    /// Partitions that have no outcome yet.
    begun: Vec<i32>,
}

impl Restore for MemoryRestorer {
    fn begin(&mut self, partitions: &[i32]) {
        self.begun.extend(partitions);
    }

    fn outcome(&mut self) -> Option<Restoration> {
        let mut broker = self.broker.lock();
        let ready = self.begun.iter().position(|partition| !broker.slow.contains(partition))?;
        let partition = self.begun.remove(ready);
        if let Some(failure) = broker.failures.iter().position(|(failing, _)| *failing == partition) {
            return Some(Restoration { partition, result: Err(broker.failures.remove(failure).1) });
        }
        let mut state = StateReader::new(&self.pipeline, self.origin.clone());
        for record in broker.changelog.get(&partition).into_iter().flatten() {
            state.take(&self.pipeline, &record.key, record.value.as_deref()).unwrap();
        }
        let offset = state.head().map(|head: &Head| head.next_offset);
        let start = match offset {
            Some(_) => Start::Restored(Box::new(state.finish(&self.pipeline).unwrap())),
            None => Start::At(0),
        };
        Some(Restoration { partition, result: Ok(StartPosition { offset: offset.unwrap_or(0), start }) })
    }

    fn cancel(&mut self, partitions: &[i32]) {
        self.begun.retain(|begun| !partitions.contains(begun));
    }
}

/// A loop, and what it is between.
struct Bench {
    consume: ConsumeLoop<MemorySource, MemoryRestorer>,
    broker: Shared,
    batches: Receiver<BatchPart>,
    results: Sender<CommitResult>,
    now: Arc<AtomicI64>,
}

impl Bench {
    /// Each partition with so many lines, all of them assigned; batches of so many records.
    fn new(partitions: &[(i32, usize)], records: usize) -> Self {
        Self::of(pipeline(""), partitions, records)
    }

    fn of(pipeline: Arc<Pipeline>, partitions: &[(i32, usize)], records: usize) -> Self {
        let broker = Shared::default();
        broker.lock().lines = partitions.iter().map(|&(number, count)| (number, lines(number, count))).collect();
        broker.assign(&partitions.iter().map(|(number, _)| *number).collect::<Vec<_>>());
        let (layout, costs) = (pipeline.state_layout(), Costs::new(&pipeline, false));
        let origin = Origin { topic: "in".into(), partitions: 2, layout, topic_id: None };
        let (next, batches) = sync_channel(1);
        let (results, commit_results) = channel();
        let consumer =
            ClientConfig::new().set("group.id", "nobody").create_with_context(GroupContext::default()).unwrap();
        let settings = KafkaSettings::at(String::new());
        let source = MemorySource {
            broker: broker.clone(),
            assignment: Assignment::default(),
            ended: Vec::new(),
            is_resting: false,
            consumer,
        };
        let schemas = SchemaSource::new(&pipeline).unwrap();
        let tasks = Tasks::new(
            Core::sharing(pipeline.clone(), Recovery::Changelog, origin.clone()),
            MemoryRestorer { broker: broker.clone(), pipeline: pipeline.clone(), origin, begun: Vec::new() },
            Reports::new(&settings, "reports"),
            Snapshots::new(None),
            pipeline,
            "in",
        );
        let options = ConsumeOptions {
            delivery: Delivery::ExactlyOnce,
            costs,
            commit_interval: HOUR,
            end_when: EndWhen::Never,
            losses: LossPolicy { on_lost: OnLostRecords::Continue, topic: "in".to_owned(), group: "g".to_owned() },
            schemas: SchemaWaits::new(schemas),
            repartitioner: None,
            next_hop: None,
            pasts: pasts().1,
            stop: StopHandle::default(),
            status: StatusCell::default(),
            faults: FaultInjection::default(),
        };
        let (in_flight, limits) = (InFlight::new(next, commit_results, usize::MAX), Limits { records, bytes: 10_000 });
        let now = Arc::new(AtomicI64::new(1_000));
        let read = now.clone();
        let clock = IdleClock::new(move || read.load(Ordering::Relaxed), || 1_767_225_600_000);
        let consume = ConsumeLoop::new(source, tasks, in_flight, limits, clock, options);
        Self { consume, broker, batches, results, now }
    }

    fn steps(&mut self, count: usize) {
        for _ in 0..count {
            assert_eq!(self.consume.step().unwrap(), Ok(()));
        }
    }

    fn records(&self) -> u64 {
        self.consume.tasks.core.counters().records
    }

    /// Steps until a batch is handed on.
    fn next_batch(&mut self) -> BatchPart {
        for _ in 0..1_000_000 {
            match self.batches.try_recv() {
                Ok(batch) => return batch,
                Err(TryRecvError::Empty) => self.steps(1),
                Err(TryRecvError::Disconnected) => break,
            }
        }
        panic!("there is a batch")
    }

    /// The next batch, with the outputs of all its parts.
    fn whole_batch(&mut self) -> BatchPart {
        let mut outputs = Vec::new();
        loop {
            let BatchPart { id, outputs: more, point, times } = self.next_batch();
            outputs.extend(more);
            if point.is_some() {
                return BatchPart { id, outputs, point, times };
            }
        }
    }

    /// Commits every batch from now on, on a thread of its own; gives back the loop.
    fn with_publisher(self) -> (ConsumeLoop<MemorySource, MemoryRestorer>, Shared) {
        let Self { consume, broker, batches, results, .. } = self;
        let commits = broker.clone();
        thread::spawn(move || {
            while let Ok(batch) = batches.recv() {
                if results.send(commits.commit(batch)).is_err() {
                    return;
                }
            }
        });
        (consume, broker)
    }
}

/// Records that are looked at with the past of a user, as `history` says; nothing is cancelled.
fn pipeline(history: &str) -> Arc<Pipeline> {
    let text = r#"
        name = "small"
        input = { topic = "in", columns = ["id", "user", "shop", "n:int", "at:datetime"], datetime_formats = ["rfc3339"] }
        entity = { key = "id" }
        outputs.erroneous = "bad"
        detectors = [{ name = "kmeans", algorithm = "kmeans", topic = "out" }]
        [features]
        a = "count() by user over 1h"
    "#;
    Arc::new(Pipeline::parse(&format!("{text}\n{history}"), "small.toml").unwrap())
}

fn lines(partition: i32, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{partition}-{number},ann,shop,5,2026-01-01T00:00:00Z")).collect()
}

/// Partitions, and the offset up to which a batch commits each.
fn commits(batch: &BatchPart) -> Vec<(i32, i64)> {
    let Some(CommitPoint::Changes { changes, .. }) = &batch.point else { panic!("it commits state") };
    changes.iter().map(|changes| (changes.partition, changes.head.next_offset)).collect()
}

#[test]
fn what_was_read_is_handed_on_once_there_is_nothing_more() {
    let mut bench = Bench::new(&[(0, 2), (1, 0)], 100);
    bench.broker.lock().lines.insert(1, vec!["nonsense".to_owned()]);
    let batch = bench.next_batch();
    assert_eq!((batch.id.number, commits(&batch)), (1, vec![(0, 2), (1, 1)]));
    let erroneous = batch.outputs.iter().filter(|output| matches!(output, Output::Erroneous(_))).count();
    assert_eq!((erroneous, batch.outputs.len()), (1, 3), "each record has its outcome");
    use Happened::{Assigned, Read};
    assert_eq!(bench.broker.happened(), [Assigned(vec![0, 1]), Read(0, 0), Read(1, 0)]);
}

#[test]
fn what_there_is_goes_on_before_its_batch_is_whole() {
    let mut bench = Bench::new(&[(0, 3)], 100);
    bench.consume.options.commit_interval = LONG;
    // The first batch after a pause does not wait for the interval, and the next one does.
    let first = bench.whole_batch();
    assert_eq!(commits(&first), [(0, 3)]);
    let committed = bench.broker.commit(first);
    bench.results.send(committed).unwrap();
    for count in 4..6 {
        bench.broker.lock().lines.insert(0, lines(0, count));
        let part = bench.next_batch();
        assert_eq!((part.id.number, part.outputs.len(), part.point.is_none()), (2, 1, true));
    }
    bench.consume.options.commit_interval = Duration::ZERO;
    let last = bench.next_batch();
    assert_eq!((last.id.number, last.outputs.len(), commits(&last)), (2, 0, vec![(0, 5)]));
}

#[test]
fn what_is_lost_half_way_is_told_to_the_next_stage() {
    let mut bench = Bench::new(&[(0, 2)], 100);
    bench.consume.options.commit_interval = LONG;
    let first = bench.whole_batch();
    let committed = bench.broker.commit(first);
    bench.results.send(committed).unwrap();
    bench.broker.lock().lines.insert(0, lines(0, 3));
    assert!(bench.next_batch().point.is_none());
    bench.broker.revoke(&[0], true);
    let told = bench.next_batch();
    assert_eq!((told.id.epoch, told.outputs.len(), told.point.is_none()), (1, 0, true));
}

/// A transaction that is open for long would be ended by the broker.
#[test]
fn nothing_goes_ahead_where_a_batch_may_take_long() {
    let mut bench = Bench::new(&[(0, 3)], 100);
    let first = bench.next_batch();
    assert_eq!((commits(&first), first.outputs.len()), (vec![(0, 3)], 3), "it is whole");
    bench.broker.lock().lines.insert(0, lines(0, 5));
    bench.steps(20);
    assert!(matches!(bench.batches.try_recv(), Err(TryRecvError::Empty)));
}

#[test]
fn a_batch_holds_as_many_records_as_it_may() {
    let mut bench = Bench::new(&[(0, 5)], 2);
    assert_eq!(commits(&bench.next_batch()), [(0, 2)]);
    assert_eq!(commits(&bench.next_batch()), [(0, 4)]);
}

#[test]
fn a_batch_holds_as_many_bytes_as_it_may() {
    let mut bench = Bench::new(&[(0, 5)], 100);
    while bench.records() < 1 {
        bench.steps(1);
    }
    let bytes = 3 * bench.consume.open.bytes();
    assert!(bytes > 3 * CHANGE_BYTES, "what follows from a record is in it");
    let mut bench = Bench::new(&[(0, 5)], 100);
    bench.consume.open = OpenBatch::new(Limits { records: 100, bytes });
    assert_eq!(commits(&bench.next_batch()), [(0, 3)]);
}

#[test]
fn nothing_is_read_while_two_batches_wait_and_the_third_is_full() {
    let mut bench = Bench::new(&[(0, 20)], 2);
    bench.steps(20);
    assert_eq!(bench.records(), 6, "one batch in the channel, one that waits, and one that is full");
    let first = bench.batches.try_recv().unwrap();
    bench.steps(20);
    assert_eq!(commits(&first), [(0, 2)]);
    assert_eq!(bench.records(), 9, "one more closes the third, and two fill the fourth");
}

#[test]
fn nothing_is_read_while_batches_take_as_much_as_they_may() {
    let mut bench = Bench::new(&[(0, 20)], 2);
    let (next, batches) = sync_channel(1);
    let (results, commit_results) = channel();
    bench.consume.in_flight = InFlight::new(next, commit_results, 1);
    bench.steps(20);
    assert_eq!(bench.records(), 2, "the first batch takes all there is");
    let first = batches.try_recv().unwrap();
    bench.steps(20);
    assert_eq!(bench.records(), 2, "that it is being scored changes nothing");
    results.send(CommitResult::Committed { number: first.id.number, produced: ProducedOffsets::new() }).unwrap();
    bench.steps(20);
    assert_eq!(bench.records(), 4);
}

/// A member that asks for nothing is taken for dead; and its group waits for it.
#[test]
fn while_there_is_no_room_for_long_only_the_group_is_listened_to() {
    use Happened::{Read, ReadOn, Rested, Revoked};
    let mut bench = Bench::new(&[(0, 20), (1, 20)], 2);
    bench.steps(20);
    let read = bench.records();
    assert!(!bench.broker.happened().contains(&Rested), "a moment without room is nothing");
    bench.now.fetch_add(REST_AFTER, Ordering::Relaxed);
    bench.steps(3);
    assert_eq!(bench.broker.happened().last(), Some(&Rested), "once");
    bench.broker.assign(&[2]);
    bench.steps(3);
    assert_eq!(
        bench.broker.happened().last(),
        Some(&Happened::Assigned(vec![2])),
        "its state may wait, its answer not"
    );
    assert_eq!(bench.records(), read);
    let first = bench.batches.try_recv().unwrap();
    bench.results.send(bench.broker.commit(first)).unwrap();
    bench.steps(20);
    let happened = bench.broker.happened();
    let after: Vec<&Happened> = happened.iter().filter(|happened| matches!(happened, ReadOn | Read(2, _))).collect();
    assert_eq!(after, [&ReadOn, &Read(2, 0)]);
    assert!(bench.records() > read);
    // Lost while it rests: nobody reads on what is not ours.
    bench.now.fetch_add(REST_AFTER, Ordering::Relaxed);
    bench.steps(3);
    bench.broker.revoke(&[0, 1, 2], true);
    bench.steps(3);
    assert!(bench.broker.happened().contains(&Revoked(vec![0, 1, 2])));
    assert!(bench.consume.source.assignment().is_empty());
}

#[test]
fn what_was_read_of_a_revoked_partition_is_committed_first() {
    let (mut consume, broker) = Bench::new(&[(0, 3), (1, 1)], 100).with_publisher();
    // The assignment, and three of the four records.
    (0..4).for_each(|_| consume.step().unwrap().unwrap());
    broker.revoke(&[0], false);
    consume.step().unwrap().unwrap();
    use Happened::{Assigned, Committed, Read, Revoked};
    let happened = [Assigned(vec![0, 1]), Read(0, 0), Read(1, 0), Committed(0, 3), Revoked(vec![0])];
    assert_eq!(broker.happened(), happened);
    assert_eq!(consume.source.assignment().partitions(), [1]);
    // Whoever owns it next goes on from there, with its state.
    broker.assign(&[0]);
    (0..2).for_each(|_| consume.step().unwrap().unwrap());
    assert!(broker.happened().contains(&Read(0, 3)), "{:?}", broker.happened());
}

#[test]
fn nothing_is_committed_of_partitions_that_are_lost() {
    let mut bench = Bench::new(&[(0, 3)], 100);
    bench.steps(3);
    assert_eq!(bench.records(), 2);
    bench.broker.revoke(&[0], true);
    bench.steps(10);
    assert!(matches!(bench.batches.try_recv(), Err(TryRecvError::Empty)));
    assert_eq!(bench.records(), 0, "what was not committed did not happen");
    assert!(bench.consume.source.assignment().is_empty());
}

#[test]
fn a_batch_that_failed_is_read_again_from_the_last_commit() {
    let mut bench = Bench::new(&[(0, 6)], 2);
    let first = bench.next_batch();
    let committed = bench.broker.commit(first);
    bench.results.send(committed).unwrap();
    let second = bench.next_batch();
    assert_eq!((second.id.epoch, commits(&second)), (0, vec![(0, 4)]));
    bench.results.send(CommitResult::Failed { epoch: 0, reason: "a test".to_owned() }).unwrap();
    bench.steps(1);
    let happened = bench.broker.happened();
    assert!(happened.ends_with(&[Happened::Held(vec![0]), Happened::Read(0, 2)]), "{happened:?}");
    // The third batch of before may still be in the channel: of an epoch that is over.
    let again = loop {
        let batch = bench.next_batch();
        if batch.id.epoch == 1 {
            break batch;
        }
    };
    assert_eq!(commits(&again), [(0, 4)]);
    let happened = bench.broker.happened().len();
    bench.results.send(CommitResult::Failed { epoch: 0, reason: "the third".to_owned() }).unwrap();
    bench.steps(1);
    assert_eq!(bench.broker.happened().len(), happened, "going back once is enough");
}

/// A loop that has read two of eight records and hears that the next four are gone.
fn bench_with_a_loss(on_lost: OnLostRecords) -> Bench {
    let mut bench = Bench::new(&[(0, 8)], 100);
    bench.consume.options.losses.on_lost = on_lost;
    bench.steps(3);
    bench.broker.lock().changes.push(Event::Lost(LostRange { partition: 0, first: 2, last: 5 }));
    bench
}

#[test]
fn lost_records_are_an_outcome_of_their_batch() {
    let mut bench = bench_with_a_loss(OnLostRecords::Continue);
    let batch = bench.next_batch();
    assert_eq!(commits(&batch), [(0, 8)]);
    let is_lost = |output: &&Output| matches!(output, Output::Erroneous(Erroneous::Lost { first: 2, last: 5, .. }));
    assert_eq!(batch.outputs.iter().filter(is_lost).count(), 1);
    let counters = bench.consume.tasks.core.counters();
    assert_eq!((counters.records, counters.lost_to_retention), (4, 4));
    // A batch that failed did not happen: its loss is found again.
    bench.results.send(CommitResult::Failed { epoch: batch.id.epoch, reason: "a test".to_owned() }).unwrap();
    bench.steps(1);
    assert_eq!(bench.consume.tasks.core.counters().lost_to_retention, 0);
}

#[test]
fn a_loss_ends_the_loop_where_that_is_asked_for() {
    let mut bench = bench_with_a_loss(OnLostRecords::Fail);
    let error = bench.consume.step().unwrap_err();
    assert!(matches!(error, KafkaError::RecordsLost { partition: 0, first: 2, last: 5, .. }), "{error}");
    assert!(matches!(bench.batches.try_recv(), Err(TryRecvError::Empty)), "nothing is committed");
}

#[test]
fn a_loop_whose_partitions_are_being_lost_does_not_go_back() {
    let mut bench = Bench::new(&[(0, 2)], 2);
    let batch = bench.next_batch();
    bench.broker.lock().is_lost = true;
    bench.results.send(CommitResult::Failed { epoch: batch.id.epoch, reason: "fenced".to_owned() }).unwrap();
    bench.steps(1);
    assert!(!bench.broker.happened().iter().any(|happened| matches!(happened, Happened::Held(_))));
    assert_eq!(bench.records(), 0);
}

#[test]
fn the_end_is_reached_when_everything_is_committed() {
    let mut bench = Bench::new(&[(0, 3), (1, 1)], 2);
    bench.consume.options.end_when = EndWhen::Reached(Arc::new(|progress| progress.records == 4));
    let status = bench.consume.options.status.clone();
    let (consume, broker) = bench.with_publisher();
    consume.run().0.unwrap();
    let happened = broker.happened();
    assert!(happened.contains(&Happened::Committed(0, 3)) && happened.contains(&Happened::Committed(1, 1)));
    assert_eq!(status.get().counters.records, 4);
}

/// As [`Bench::with_publisher`], where the first `failures` batches fail.
fn with_failing_publisher(bench: Bench, failures: u32) -> (ConsumeLoop<MemorySource, MemoryRestorer>, Shared) {
    let Bench { consume, broker, batches, results, .. } = bench;
    let commits = broker.clone();
    thread::spawn(move || {
        let (mut left, mut failed_epoch) = (failures, None);
        while let Ok(batch) = batches.recv() {
            let epoch = batch.id.epoch;
            if failed_epoch == Some(epoch) {
                continue;
            }
            let result = if left > 0 {
                (left, failed_epoch) = (left - 1, Some(epoch));
                CommitResult::Failed { epoch, reason: "a test".to_owned() }
            } else {
                commits.commit(batch)
            };
            if results.send(result).is_err() {
                return;
            }
        }
    });
    (consume, broker)
}

#[test]
fn what_failed_at_the_end_is_read_again_and_committed() {
    for failures in 1..MOST_FAILURES {
        let mut bench = Bench::new(&[(0, 3), (1, 1)], 100);
        bench.consume.options.end_when = EndWhen::Reached(Arc::new(|_| true));
        let status = bench.consume.options.status.clone();
        let (consume, broker) = with_failing_publisher(bench, failures);
        consume.run().0.unwrap();
        let happened = broker.happened();
        assert!(happened.contains(&Happened::Committed(0, 3)), "{failures}: {happened:?}");
        assert!(happened.contains(&Happened::Committed(1, 1)), "{failures}: {happened:?}");
        assert_eq!(status.get().counters.records, 4, "each record counts once");
    }
}

#[test]
fn an_end_that_cannot_be_committed_is_an_error() {
    let mut bench = Bench::new(&[(0, 3)], 100);
    bench.consume.options.end_when = EndWhen::Reached(Arc::new(|_| true));
    let (consume, broker) = with_failing_publisher(bench, u32::MAX);
    let error = consume.run().0.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("in a row have failed, the last one of: a test"), "{error}");
    assert!(!broker.happened().iter().any(|happened| matches!(happened, Happened::Committed(..))));
}

#[test]
fn a_request_to_stop_commits_what_was_read() {
    let mut bench = Bench::new(&[(0, 3)], 100);
    bench.steps(3);
    bench.consume.options.stop.request();
    let (consume, broker) = bench.with_publisher();
    consume.run().0.unwrap();
    assert_eq!(broker.happened().last(), Some(&Happened::Committed(0, 2)));
}

#[test]
fn without_a_next_stage_the_loop_ends() {
    let Bench { consume, batches, results, .. } = Bench::new(&[(0, 1)], 1);
    drop((batches, results));
    consume.run().0.unwrap();
}
