//! Whoever stands still and whenever, a live run gives what a replay gives: the loop of the first stage, and all that proves
//! that nothing was left to read, between a broker and producers of a simulated time.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel, sync_channel};

use proptest::prelude::*;
use rdkafka::Timestamp;
use rdkafka::message::OwnedMessage;
use shared::pipeline::Pipeline;

use super::*;
use crate::core::{Core, Erroneous, Start};
use crate::kafka::client::log_ends::Answer;
use crate::kafka::client::producer::ProducedOffsets;
use crate::kafka::client::settings::KafkaSettings;
use crate::kafka::membership::assignment::Assignment;
use crate::kafka::membership::commit_fence::CommitFence;
use crate::kafka::membership::evidence::Evidence;
use crate::kafka::membership::lost::LossPolicy;
use crate::kafka::options::{Delivery, EndWhen, OnLostRecords};
use crate::kafka::schemas::{SchemaSource, SchemaWaits};
use crate::kafka::stages::batch::{BatchPart, CommitResult};
use crate::kafka::stages::faults::FaultInjection;
use crate::kafka::state::reports::Reports;
use crate::kafka::state::restore::Restoration;
use crate::kafka::state::snapshots::Snapshots;
use crate::kafka::stop::StopHandle;
use crate::messages::Costs;
use crate::pasts::pasts;
use crate::status::StatusCell;

/// When the first line is stamped.
const START: i64 = 1_767_225_600_000;

/// Longer than anything is open without a line: the session gap, pauses, and what the longest outage asks for.
const QUIET: i64 = 60_000;

/// How long a question to the broker may take.
const ANSWER_TIMEOUT: i64 = 5_000;

/// A line: how long after the one before it is sent, what it is, how long its producer's transaction stays open, and how
/// long it takes into the log once a broker that stood still goes on.
#[derive(Debug, Clone)]
struct Sent {
    after: i64,
    invoice: u8,
    is_cancelled: bool,
    open_for: Option<i64>,
    delay: i64,
}

/// From one moment to another, nothing happens.
type Pause = (i64, i64);

/// What is in the log: when it came, and the line and its timestamp. A marker of a transaction has none.
#[derive(Debug, Clone)]
struct Entry {
    at: i64,
    line: Option<(i64, String)>,
    /// When the transaction is over.
    readable_at: i64,
}

/// A broker with one partition, and the time of everybody.
#[derive(Debug)]
struct World {
    now: i64,
    scorer_pauses: Vec<Pause>,
    broker_pauses: Vec<Pause>,
    /// How long it takes until the state of the partition is there.
    restore: i64,
    log: Vec<Entry>,
}

impl World {
    fn new(sent: &[Sent], scorer_pauses: Vec<Pause>, broker_pauses: Vec<Pause>) -> Self {
        let mut world = Self { now: START - 1_000, scorer_pauses, broker_pauses, restore: 0, log: Vec::new() };
        let mut stamp = START;
        for Sent { after, invoice, is_cancelled, open_for, delay } in sent {
            stamp += after;
            let goes_on = world.broker_from(stamp);
            let at = if goes_on > stamp { goes_on + delay } else { stamp };
            let prefix = if *is_cancelled { "C" } else { "" };
            let line = Some((stamp, format!("{prefix}{invoice},22143,MUG,2,9/1/2010 9:22,1.5,12345,France")));
            let readable_at = open_for.map_or(at, |open_for| world.broker_from(at + open_for));
            world.log.push(Entry { at, line, readable_at });
            if open_for.is_some() {
                world.log.push(Entry { at: readable_at, line: None, readable_at });
            }
        }
        world.log.sort_by_key(|entry| entry.at);
        world
    }

    /// The first moment from `moment` on at which the broker does anything.
    fn broker_from(&self, moment: i64) -> i64 {
        self.broker_pauses.iter().fold(moment, |at, &(from, to)| if (from..to).contains(&at) { to } else { at })
    }

    /// Lets time pass for the scorer.
    fn pass(&mut self, time: i64) {
        self.now += time;
        for &(from, to) in &self.scorer_pauses {
            if (from..to).contains(&self.now) {
                self.now = to;
            }
        }
    }

    /// The moment that is the present for the broker: while it stands still, that of before.
    fn broker_now(&self) -> i64 {
        self.broker_pauses.iter().fold(self.now, |at, &(from, to)| if (from..to).contains(&at) { from } else { at })
    }

    /// The high watermark at a moment.
    fn end_at(&self, moment: i64) -> usize {
        self.log.iter().take_while(|entry| entry.at <= moment).count()
    }

    /// The last stable offset at a moment.
    fn stable_end_at(&self, moment: i64) -> usize {
        self.log.iter().take_while(|entry| entry.at <= moment && entry.readable_at <= moment).count()
    }

    /// The records, as a replay reads them: offset, timestamp and line.
    fn records(&self) -> impl Iterator<Item = (i64, i64, &str)> {
        let lines = (0..).zip(&self.log).filter_map(|(offset, entry)| Some((offset, entry.line.as_ref()?)));
        lines.map(|(offset, (stamp, line))| (offset, *stamp, line.as_str()))
    }
}

/// The partition as a consumer reads it.
struct SimulatedSource {
    world: Rc<RefCell<World>>,
    assignment: Assignment,
    evidence: Evidence,
    is_assigned: bool,
    /// What is fetched next.
    position: usize,
    /// The last end that was seen.
    end_seen: Option<usize>,
    /// The answer that is on its way.
    answer: Option<Answer>,
}

impl SimulatedSource {
    fn next(&mut self) -> Option<Event<OwnedMessage>> {
        if !self.is_assigned {
            self.is_assigned = true;
            return Some(Event::Assigned(vec![0]));
        }
        if !self.assignment.reads_any() {
            return None;
        }
        let world = self.world.borrow();
        if let Some(answer) = self.answer.take_if(|answer| answer.answered_at <= world.now)
            && let Some(at) = self.evidence.on_answer(&answer)
        {
            let ends_seen: BTreeMap<i32, i64> = self.end_seen.map(|end| (0, end as i64)).into_iter().collect();
            let partitions = self.assignment.read_through(&answer.ends.unwrap_or_default(), &ends_seen);
            if !partitions.is_empty() {
                return Some(Event::ReadThrough { partitions, at });
            }
        }
        let end = world.stable_end_at(world.broker_now());
        while self.position < end {
            let offset = self.position as i64;
            self.position += 1;
            if let Some((stamp, line)) = &world.log[self.position - 1].line {
                self.assignment.on_record(0, offset);
                let (payload, time) = (Some(line.as_bytes().to_vec()), Timestamp::CreateTime(*stamp));
                return Some(Event::Record(OwnedMessage::new(payload, None, "in".into(), time, 0, offset, None)));
            }
        }
        if self.end_seen == Some(end) {
            return None;
        }
        self.end_seen = Some(end);
        self.assignment.on_caught_up(0);
        Some(Event::CaughtUp(0))
    }
}

impl PartitionSource for SimulatedSource {
    type Record = OwnedMessage;

    fn poll(&mut self, wait: Duration) -> Result<Event<OwnedMessage>, KafkaError> {
        if let Some(event) = self.next() {
            return Ok(event);
        }
        self.world.borrow_mut().pass(wait.as_millis() as i64);
        Ok(Event::Nothing)
    }

    fn find_out(&mut self, due: WallMillis) -> Result<(), KafkaError> {
        let world = self.world.borrow();
        if !self.evidence.is_wanted(world.now, due) {
            return Ok(());
        }
        let asked_at = world.now;
        // Of everything that lies before a broker that goes on, the question is read first.
        let read_at = world.broker_from(asked_at + 1);
        let timeout = asked_at + ANSWER_TIMEOUT;
        let ends = (read_at < timeout).then(|| vec![(0, world.end_at(read_at) as i64)]);
        self.answer = Some(Answer { asked_at, answered_at: (read_at + 1).min(timeout), ends });
        self.evidence.on_question();
        Ok(())
    }

    fn assignment(&self) -> &Assignment {
        &self.assignment
    }

    fn assign(&mut self, partitions: &[i32]) -> Result<(), KafkaError> {
        self.assignment.hold(partitions);
        Ok(())
    }

    fn read_from(&mut self, positions: &[(i32, i64)]) -> Result<(), KafkaError> {
        self.assignment.read_from(positions);
        Ok(())
    }

    fn hold(&mut self, partitions: &[i32]) -> Result<(), KafkaError> {
        self.assignment.hold(partitions);
        Ok(())
    }

    fn rest(&mut self) -> Result<(), KafkaError> {
        panic!("the next stages have room")
    }

    fn read_on(&mut self) -> Result<(), KafkaError> {
        panic!("the next stages have room")
    }

    fn revoke(&mut self, _: &[i32]) {}

    fn is_lost(&self) -> bool {
        false
    }

    fn fence(&self) -> Option<CommitFence> {
        None
    }

    fn seems_caught_up(&self) -> bool {
        self.assignment.is_caught_up()
    }

    fn lag(&self) -> Option<i64> {
        None
    }
}

/// Begins at the first record, after a while.
struct FromTheStart {
    world: Rc<RefCell<World>>,
    /// Partitions, and when their state is there.
    begun: Vec<(i32, i64)>,
}

impl Restore for FromTheStart {
    fn begin(&mut self, partitions: &[i32]) {
        let world = self.world.borrow();
        let ready_at = world.now + world.restore;
        self.begun.extend(partitions.iter().map(|&partition| (partition, ready_at)));
    }

    fn outcome(&mut self) -> Option<Restoration> {
        let now = self.world.borrow().now;
        let (partition, _) = self.begun.pop_if(|(_, ready_at)| *ready_at <= now)?;
        Some(Restoration { partition, result: Ok(StartPosition { offset: 0, start: Start::At(0) }) })
    }

    fn cancel(&mut self, partitions: &[i32]) {
        self.begun.retain(|(begun, _)| !partitions.contains(begun));
    }
}

/// A live run.
struct Live {
    consume: ConsumeLoop<SimulatedSource, FromTheStart>,
    world: Rc<RefCell<World>>,
    batches: Receiver<BatchPart>,
    results: Sender<CommitResult>,
    outputs: Vec<Output>,
}

impl Live {
    fn new(world: World, pipeline: &Arc<Pipeline>) -> Self {
        let world = Rc::new(RefCell::new(world));
        let (next, batches) = sync_channel(1);
        let (results, commit_results) = channel();
        let settings = KafkaSettings::at(String::new());
        let source = SimulatedSource {
            world: world.clone(),
            assignment: Assignment::default(),
            evidence: Evidence::default(),
            is_assigned: false,
            position: 0,
            end_seen: None,
            answer: None,
        };
        let tasks = Tasks::new(
            Core::new(pipeline.clone()),
            FromTheStart { world: world.clone(), begun: Vec::new() },
            Reports::new(&settings, "reports"),
            Snapshots::new(None),
            pipeline.clone(),
            "in",
        );
        let options = ConsumeOptions {
            delivery: Delivery::AtLeastOnce,
            costs: Costs::new(pipeline, false),
            commit_interval: Duration::ZERO,
            end_when: EndWhen::Never,
            losses: LossPolicy { on_lost: OnLostRecords::Continue, topic: "in".to_owned(), group: "g".to_owned() },
            repartitioner: None,
            next_hop: None,
            schemas: SchemaWaits::new(SchemaSource::new(pipeline).unwrap()),
            pasts: pasts().1,
            stop: StopHandle::default(),
            status: StatusCell::default(),
            faults: FaultInjection::default(),
        };
        let (in_flight, limits) =
            (InFlight::new(next, commit_results, usize::MAX), Limits { records: 10, bytes: 1 << 20 });
        // To look at the time takes time, so that everything can stand still at any step.
        let (read, of_day) = (world.clone(), world.clone());
        let now = move || {
            read.borrow_mut().pass(1);
            read.borrow().now
        };
        let clock = IdleClock::new(now, move || of_day.borrow().now);
        let consume = ConsumeLoop::new(source, tasks, in_flight, limits, clock, options);
        Self { consume, world, batches, results, outputs: Vec::new() }
    }

    fn run_until(&mut self, moment: i64) {
        while self.world.borrow().now < moment {
            assert_eq!(self.consume.step().unwrap(), Ok(()));
            while let Ok(batch) = self.batches.try_recv() {
                self.outputs.extend(batch.outputs);
                let (number, produced) = (batch.id.number, ProducedOffsets::new());
                if batch.point.is_some() {
                    self.results.send(CommitResult::Committed { number, produced }).unwrap();
                }
            }
        }
    }

    /// Everything that came out; nothing comes any more.
    fn end(mut self) -> Vec<Output> {
        let mut outputs = std::mem::take(&mut self.outputs);
        self.consume.tasks.core.apply(Input::End, self.consume.open.items_mut());
        outputs.extend(self.consume.open.take_items());
        outputs
    }
}

fn pipeline() -> Arc<Pipeline> {
    let text = include_str!("../../../../../resources/pipelines/invoices.toml");
    let text = text.replace("session_gap = \"40s\"", "session_gap = \"4s\"");
    let text = text.replace("window = \"8m\"", "window = \"6s\"").replace("slide = \"1m\"", "slide = \"2s\"");
    Arc::new(Pipeline::parse(&text, "invoices").unwrap())
}

/// The results, whatever their order.
fn sorted(outputs: Vec<Output>) -> Vec<String> {
    let text = |output: Output| match output {
        Output::Closed(entity) => format!("{} has {} lines", entity.summary.key, entity.summary.lines),
        Output::Erroneous(Erroneous::Line { reasons, source, .. }) => format!("{source:?}: {reasons:?}"),
        other => format!("{other:?}"),
    };
    let mut texts: Vec<String> = outputs.into_iter().map(text).collect();
    texts.sort();
    texts
}

fn replay(world: &World, pipeline: &Arc<Pipeline>) -> Vec<String> {
    let (mut core, mut outputs) = (Core::new(pipeline.clone()), Vec::new());
    for (offset, stamp, line) in world.records() {
        core.apply(Input::Record(Record::new(0, offset, stamp, line.as_bytes())), &mut outputs);
    }
    core.apply(Input::End, &mut outputs);
    sorted(outputs)
}

/// A live run, and the replay of the same log.
fn both(world: World) -> (Vec<String>, Vec<String>) {
    let pipeline = pipeline();
    let replayed = replay(&world, &pipeline);
    let last = world.log.iter().map(|entry| entry.readable_at).max().unwrap_or(START);
    let pauses = world.scorer_pauses.iter().chain(&world.broker_pauses).map(|(_, to)| *to);
    let end = pauses.chain([last, world.now + world.restore]).max().unwrap_or(START) + QUIET;
    let mut live = Live::new(world, &pipeline);
    live.run_until(end);
    assert_eq!(live.consume.tasks.core.counters().open_lines, 0, "what is quiet for long is closed");
    (sorted(live.end()), replayed)
}

fn line(after: i64, invoice: u8) -> Sent {
    Sent { after, invoice, is_cancelled: false, open_for: None, delay: 50 }
}

/// Two lines of an invoice, the second 3 s after the first and with a gap of 4 s in time, and whoever stands still.
fn two_lines(second: Sent, scorer_pauses: Vec<Pause>, broker_pauses: Vec<Pause>) -> Vec<String> {
    let (live, replayed) = both(World::new(&[line(0, 7), second], scorer_pauses, broker_pauses));
    assert_eq!(live, replayed);
    live
}

#[test]
fn a_line_that_was_in_time_belongs_to_its_invoice_whoever_stood_still() {
    let expected = ["7 has 2 lines"];
    assert_eq!(two_lines(line(3_000, 7), Vec::new(), Vec::new()), expected);
    assert_eq!(two_lines(line(3_000, 7), vec![(START + 1_000, START + 7_000)], Vec::new()), expected);
    assert_eq!(two_lines(line(3_000, 7), Vec::new(), vec![(START + 1_000, START + 7_000)]), expected);
    let held_back = Sent { open_for: Some(5_000), ..line(3_000, 7) };
    assert_eq!(two_lines(held_back, Vec::new(), Vec::new()), expected);
    // A line that was late is late.
    assert_eq!(two_lines(line(4_500, 7), Vec::new(), Vec::new()).len(), 2);
}

fn sent() -> impl Strategy<Value = Sent> {
    let after = prop_oneof![0i64..500, 0i64..4_500, 3_500i64..4_100, 10_000i64..12_000];
    let open_for = prop_oneof![4 => Just(None), 1 => (0i64..9_000).prop_map(Some)];
    (after, 0u8..3, prop::bool::weighted(0.2), open_for, 0i64..60).prop_map(
        |(after, invoice, is_cancelled, open_for, delay)| Sent { after, invoice, is_cancelled, open_for, delay },
    )
}

/// Pauses, each a while after the one before.
fn pauses() -> impl Strategy<Value = Vec<Pause>> {
    let length = prop_oneof![1i64..100, 1i64..9_000];
    proptest::collection::vec((300i64..9_000, length), 0..5).prop_map(|pauses| {
        let mut at = START;
        let pause = |(after, length)| {
            let from = at + after;
            at = from + length;
            (from, at)
        };
        pauses.into_iter().map(pause).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_live_run_gives_what_a_replay_gives(
        sent in proptest::collection::vec(sent(), 1..20), scorer in pauses(), broker in pauses(), restore in 0i64..9_000
    ) {
        let (live, replayed) = both(World { restore, ..World::new(&sent, scorer, broker) });
        prop_assert_eq!(live, replayed);
    }
}
