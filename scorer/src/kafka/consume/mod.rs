//! The first stage: records in, state machine, batches of outputs on; and back again when a batch came to nothing.

mod batches;
mod ownership;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::group::InputContext;
use super::publish::{Outcome, Progress, Ticket};
use super::repartition::{RouterProgress, label_of, source_of};
use super::reports::ReportReader;
use super::restore::Restorer;
use super::settings::KafkaError;
use super::snapshots::Snapshots;
use super::status::StatusCell;
use super::stream::{EndWhen, Progress as StreamProgress, StopHandle, StreamOptions, Topics};
use super::watchdog::Watchdog;
use crate::core::{Core, Counters, Input, Output, Record, WallMillis as Monotonic};

/// The longest wait for a record: how soon a request to stop is seen.
const LONGEST_WAIT: Duration = Duration::from_millis(50);

/// How soon results are committed while there is nothing else to do.
const QUIET_INTERVAL: Duration = Duration::from_millis(5);

/// How long batches under way may take when they are waited for.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(300);

/// A batch is closed when its records have so many bytes.
const MAX_BATCH_BYTES: usize = 32 << 20;

/// How long moving to another offset may take.
const SEEK_TIMEOUT: Duration = Duration::from_secs(30);

pub(super) type InputConsumer = BaseConsumer<InputContext>;

/// Outputs of a stretch of the input, and what is committed with them.
#[derive(Debug)]
pub(super) struct Batch {
    pub ticket: Ticket,
    pub outputs: Vec<Output>,
    pub progress: Progress,
}

/// Everything that reaches the loop.
enum Event<'a> {
    Message(BorrowedMessage<'a>),
    CaughtUp(i32),
    Nothing,
}

/// What the first stage works with.
pub(super) struct Inlet {
    pub consumer: Arc<InputConsumer>,
    pub topics: Topics,
    pub options: StreamOptions,
    pub restorer: Restorer,
    pub snapshots: Snapshots,
    pub watchdog: Watchdog,
    /// How far those are who bring lines together first, where somebody does.
    pub routing: Option<RouterProgress>,
    pub stop: StopHandle,
    pub status: StatusCell,
    pub next: SyncSender<Batch>,
    pub outcomes: Receiver<Outcome>,
}

/// Runs until a stop is asked for, the end is reached, the next stage is gone, or Kafka fails for good.
pub(super) fn consume(inlet: Inlet, core: Core) -> Result<(), KafkaError> {
    let clock = WallClock { start: Instant::now(), epoch: now_since_epoch() };
    let consumer = inlet.consumer.clone();
    let consumer_loop = ConsumeLoop {
        core,
        clock,
        reports: None,
        outputs: Vec::new(),
        batch_since: None,
        batch_records: 0,
        batch_bytes: 0,
        last_time: clock.start,
        first_record: None,
        drained: None,
        waiting: None,
        number: 0,
        epoch: 0,
        under_way: BTreeMap::new(),
        committed: Counters::default(),
        published_reports: None,
        owned: BTreeSet::new(),
        caught_up: BTreeSet::new(),
        next_offsets: BTreeMap::new(),
        has_looked_again: false,
        has_warned: false,
        inlet: &inlet,
    };
    let result = consumer_loop.run();
    // Nobody will poll and answer any more: whatever the group still wants is answered at once.
    consumer.context().close();
    result
}

struct ConsumeLoop<'a> {
    inlet: &'a Inlet,
    core: Core,
    clock: WallClock,
    /// What partitions tell of cancellations, when it is ours to add it up.
    reports: Option<ReportReader>,
    outputs: Vec<Output>,
    /// When the oldest output of the open batch was made.
    batch_since: Option<Instant>,
    batch_records: usize,
    batch_bytes: usize,
    last_time: Instant,
    first_record: Option<Instant>,
    /// Since when there has been nothing in the client's queue.
    drained: Option<Monotonic>,
    /// A batch that the next stage had no room for.
    waiting: Option<Batch>,
    number: u64,
    epoch: u64,
    /// What had been counted when each batch that is not settled was made.
    under_way: BTreeMap<u64, Counters>,
    /// What had been counted when the last committed batch was made.
    committed: Counters,
    /// Where the reports end that this instance published.
    published_reports: Option<i64>,
    owned: BTreeSet<i32>,
    /// Those of the owned partitions whose every record has been read.
    caught_up: BTreeSet<i32>,
    /// Where reading goes on in each partition.
    next_offsets: BTreeMap<i32, i64>,
    /// Whether the end was looked for once more after the router had come to its own.
    has_looked_again: bool,
    /// Whether a misplaced line was mentioned.
    has_warned: bool,
}

/// Milliseconds since the epoch that never go back while the process runs, so that readings of different runs compare.
#[derive(Debug, Clone, Copy)]
struct WallClock {
    start: Instant,
    epoch: Monotonic,
}

impl WallClock {
    fn now(&self) -> Monotonic {
        self.epoch + self.start.elapsed().as_millis() as Monotonic
    }
}

pub(super) fn now_since_epoch() -> Monotonic {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as Monotonic)
}

impl<'a> ConsumeLoop<'a> {
    fn run(mut self) -> Result<(), KafkaError> {
        while !self.inlet.stop.is_requested() {
            if !self.follow_outcomes()? {
                return Ok(());
            }
            let event = if self.is_held_back() { self.wait_for_room()? } else { self.next_event()? };
            // What is ours may have changed while we waited: that comes before any record.
            let epoch = self.epoch;
            self.follow_ownership()?;
            // After going back, the input is read again from there: what had been read before is not the next record.
            self.handle(if self.epoch == epoch { event } else { Event::Nothing });
            if self.is_batch_due() && !self.send_batch() {
                return Ok(());
            }
            if self.is_end() && self.is_end_of_routing()? {
                return self.end();
            }
        }
        self.drain()
    }

    /// Takes what is there at once, and waits only when there is nothing.
    fn next_event(&mut self) -> Result<Event<'a>, KafkaError> {
        let consumer = &*self.inlet.consumer;
        let polled = consumer.poll(Duration::ZERO).or_else(|| {
            self.drained.get_or_insert(self.clock.now());
            consumer.poll(self.wait())
        });
        match polled {
            None => Ok(Event::Nothing),
            Some(Ok(message)) => Ok(Event::Message(message)),
            Some(Err(ClientError::PartitionEOF(partition))) => Ok(Event::CaughtUp(partition)),
            Some(Err(ClientError::MessageConsumption(RDKafkaErrorCode::UnknownTopicOrPartition))) => {
                Err(KafkaError::MissingTopic(self.inlet.topics.input.clone()))
            }
            Some(Err(error)) => match consumer.client().fatal_error() {
                Some((RDKafkaErrorCode::FencedInstanceId, _)) => Err(KafkaError::Fenced {
                    group: self.inlet.options.group.clone(),
                    name: self.inlet.options.instance_id.clone().unwrap_or_default(),
                }),
                Some((_, cause)) => Err(KafkaError::Failed { action: "reading records", cause }),
                // librdkafka goes on by itself after anything else, such as a broker that went away.
                None => {
                    tracing::warn!(%error, "reading records");
                    Ok(Event::Nothing)
                }
            },
        }
    }

    /// Until the open batch, the next deadline or a request to stop wants attention.
    fn wait(&self) -> Duration {
        let batch = self.batch_since.map(|since| (since + self.interval()).saturating_duration_since(Instant::now()));
        let now = self.clock.now();
        let deadline = self.core.next_deadline().map(|at| Duration::from_millis((at - now).max(0) as u64));
        let wait = [Some(LONGEST_WAIT), batch, deadline].into_iter().flatten().min().unwrap_or(LONGEST_WAIT);
        // Below a millisecond the client would not wait at all, and a core would be spent on asking.
        wait.max(Duration::from_millis(1))
    }

    /// How long results may wait for company.
    fn interval(&self) -> Duration {
        let interval = self.inlet.options.commit_interval;
        if self.all_caught_up() { interval.min(QUIET_INTERVAL) } else { interval }
    }

    fn handle(&mut self, event: Event<'_>) {
        match event {
            Event::Message(message) => {
                // A message that was under way when its partition went.
                if !self.owned.contains(&message.partition()) {
                    return;
                }
                self.caught_up.remove(&message.partition());
                self.drained = None;
                self.first_record.get_or_insert_with(Instant::now);
                self.batch_records += 1;
                let payload = message.payload().unwrap_or_default();
                self.batch_bytes += payload.len();
                let (partition, offset) = (message.partition(), message.offset());
                let mut source = (partition, offset);
                if self.inlet.routing.is_some() {
                    self.next_offsets.insert(partition, offset + 1);
                    source = source_of(&message).unwrap_or(source);
                }
                let record = Record {
                    partition,
                    offset,
                    timestamp: message.timestamp().to_millis().unwrap_or(0),
                    key: message.key(),
                    label: label_of(&message, &self.inlet.restorer.pipeline),
                    payload,
                    source,
                };
                self.core.apply(Input::Record(record), &mut self.outputs);
                self.warn_of_misplaced(partition, offset);
            }
            Event::CaughtUp(partition) if !self.owned.contains(&partition) => {}
            Event::CaughtUp(partition) => {
                self.caught_up.insert(partition);
                // The broker says late that there is nothing more; it has been so since the last record was read.
                let now = self.drained.unwrap_or_else(|| self.clock.now());
                self.core.apply(Input::CaughtUp { partition, now }, &mut self.outputs);
            }
            Event::Nothing => self.pass_time(),
        }
        // Under load there is never nothing: time passes all the same.
        if self.batch_records.is_multiple_of(1024) && self.last_time.elapsed() >= LONGEST_WAIT {
            self.pass_time();
        }
        if !self.outputs.is_empty() || self.batch_records > 0 {
            self.batch_since.get_or_insert_with(Instant::now);
        }
    }

    fn warn_of_misplaced(&mut self, partition: i32, offset: i64) {
        if !self.has_warned && self.core.misplaced_lines() > 0 {
            self.has_warned = true;
            let pipeline = &self.inlet.restorer.pipeline;
            let column = pipeline.placed_by().first().map_or("", |&column| &pipeline.columns[column].name);
            tracing::warn!(
                partition,
                offset,
                "a record's key is missing or is not its `{column}`: what belongs together may be in several partitions, each of which \
                 takes its part for the whole; `--repartition always` brings it together"
            );
        }
    }

    fn pass_time(&mut self) {
        self.last_time = Instant::now();
        let now = self.clock.now();
        self.core.apply(Input::Time { now }, &mut self.outputs);
        self.hear_reports();
        self.report();
    }

    fn hear_reports(&mut self) {
        let Some(reports) = &self.reports else { return };
        let (core, outputs) = (&mut self.core, &mut self.outputs);
        reports.drain(|report, offset| core.apply(Input::Report { report, offset }, outputs));
    }

    /// Publishes and commits what was read, and leaves snapshots for the next start.
    fn drain(mut self) -> Result<(), KafkaError> {
        if self.settle()? {
            self.inlet.snapshots.leave(&self.core, &self.owned);
        }
        self.finished();
        Ok(())
    }

    /// What is open is complete; then the windows that are left, for which every report has to be heard.
    fn end(mut self) -> Result<(), KafkaError> {
        self.core.apply(Input::End, &mut self.outputs);
        if self.settle()? {
            let deadline = Instant::now() + Duration::from_secs(10);
            while self.reports.is_some() && self.core.reports_from() < self.published_reports {
                if Instant::now() >= deadline {
                    tracing::warn!("the last cancellations are not counted: their reports did not come back");
                    break;
                }
                self.hear_reports();
            }
            if self.reports.is_some() {
                self.core.finish_windows(&mut self.outputs);
            }
        }
        self.drain()
    }

    fn finished(&mut self) {
        self.report();
        let seconds = self.first_record.map_or(0.0, |first| first.elapsed().as_secs_f64());
        tracing::info!(records = self.core.counters().records, seconds, "ended");
    }

    fn report(&self) {
        let (counters, lag) = (self.core.counters(), self.inlet.consumer.context().lag());
        let lag = if self.all_caught_up() { Some(0) } else { lag };
        let lag = match &self.inlet.routing {
            Some(routing) => lag.zip(routing.lag()).map(|(ours, before)| ours + before),
            None => lag,
        };
        self.inlet.status.update(|status| {
            status.counters = counters;
            status.lag = lag;
        });
    }

    /// Whether what the router sent has been read too: its last lines may have come after the end that was seen, so
    /// that the end is looked for once more.
    fn is_end_of_routing(&mut self) -> Result<bool, KafkaError> {
        match &self.inlet.routing {
            None => return Ok(true),
            Some(routing) if !routing.has_caught_up() => return Ok(false),
            Some(_) if self.has_looked_again => return Ok(true),
            Some(_) => {}
        }
        let mut list = TopicPartitionList::new();
        for (&partition, &offset) in self.next_offsets.iter().filter(|(partition, _)| self.owned.contains(partition)) {
            list.add_partition_offset(&self.inlet.topics.input, partition, Offset::Offset(offset))
                .map_err(KafkaError::failed("looking for the end"))?;
        }
        self.seek(list)?;
        self.caught_up.clear();
        self.has_looked_again = true;
        Ok(false)
    }

    fn all_caught_up(&self) -> bool {
        !self.owned.is_empty() && self.caught_up.len() == self.owned.len()
    }

    fn is_end(&self) -> bool {
        match &self.inlet.options.end_when {
            EndWhen::Never => false,
            EndWhen::Reached(reached) => {
                self.all_caught_up() && reached(&StreamProgress { records: self.core.counters().records })
            }
        }
    }
}
