//! The first stage: records in, state machine, batches of outputs on; and back again when a batch came to nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, TrySendError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use serde::{Deserialize, Serialize};
use shared::time::Timestamp;

use super::group::{InputContext, Ownership};
use super::producer::Ends;
use super::publish::{Outcome, Progress, Ticket};
use super::repartition::{RouterProgress, source_of};
use super::reports::ReportReader;
use super::restore::{Begin, Restorer};
use super::settings::KafkaError;
use super::snapshots::Snapshots;
use super::status::StatusCell;
use super::stream::{Delivery, EndWhen, Progress as StreamProgress, StopHandle, StreamOptions, Topics};
use super::watchdog::Watchdog;
use crate::core::{Core, Counters, Input, Monotonic, Output, Record, Resume, Start};

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

    // --- the group's wishes ---------------------------------------------------------------------------------------

    /// Answers what the group wants.
    fn follow_ownership(&mut self) -> Result<(), KafkaError> {
        for change in self.inlet.consumer.context().take_changes() {
            match change {
                Ownership::Assigned(partitions) => self.take_on(&partitions)?,
                Ownership::Revoked { partitions, lost } => self.give_up(&partitions, lost)?,
                Ownership::Failed(code) => tracing::warn!(%code, "the consumer group could not share out partitions"),
            }
        }
        Ok(())
    }

    fn take_on(&mut self, partitions: &[i32]) -> Result<(), KafkaError> {
        let consumer = &*self.inlet.consumer;
        self.refuse_new_partitions(partitions)?;
        let Some(begins) = self.inlet.restorer.begin(consumer, partitions, &self.inlet.stop)? else { return Ok(()) };
        let mut list = TopicPartitionList::new();
        for begin in begins {
            list.add_partition_offset(&self.inlet.topics.input, begin.partition, Offset::Offset(begin.offset))
                .map_err(KafkaError::failed("taking partitions on"))?;
            self.next_offsets.insert(begin.partition, begin.offset);
            self.assigned(begin.partition, begin.start)?;
        }
        consumer.incremental_assign(&list).map_err(KafkaError::failed("taking partitions on"))?;
        consumer.context().take_on(partitions);
        self.owned.extend(partitions);
        Ok(())
    }

    fn assigned(&mut self, partition: i32, start: Start) -> Result<(), KafkaError> {
        self.caught_up.remove(&partition);
        self.core.apply(Input::Assigned { partition, start }, &mut self.outputs);
        // State that came with the partition is committed already.
        let counters = self.core.counters();
        self.committed.open_lines += counters.taken_over_lines - self.committed.taken_over_lines;
        self.committed.taken_over_lines = counters.taken_over_lines;
        if self.reports.is_none()
            && let Some(position) = self.core.reports_from()
        {
            self.reports = Some(ReportReader::start(&self.inlet.restorer.settings, &self.inlet.topics, position)?);
        }
        Ok(())
    }

    /// A key's partition depends on how many there are: lines of an open invoice would go elsewhere from now on.
    fn refuse_new_partitions(&self, partitions: &[i32]) -> Result<(), KafkaError> {
        let before = self.inlet.restorer.origin.partitions;
        match partitions.iter().max() {
            Some(&largest) if largest >= before => Err(KafkaError::PartitionsChanged {
                topic: self.inlet.topics.input.clone(),
                before,
                now: largest + 1,
                group: self.inlet.options.group.clone(),
            }),
            _ => Ok(()),
        }
    }

    fn give_up(&mut self, partitions: &[i32], lost: bool) -> Result<(), KafkaError> {
        let consumer = &*self.inlet.consumer;
        let lost = lost || consumer.assignment_lost();
        if lost {
            tracing::warn!(
                ?partitions,
                "partitions were lost to other instances; what was not committed is theirs to do"
            );
            self.forget_batches();
        } else {
            // What was read is committed before anybody else goes on from there.
            self.settle()?;
        }
        consumer.context().give_up(partitions);
        self.owned.retain(|owned| !partitions.contains(owned));
        self.caught_up.retain(|caught_up| !partitions.contains(caught_up));
        if lost {
            // All of them are lost together.
            self.core.roll_back(self.given_up());
        } else {
            for &partition in partitions {
                self.core.apply(Input::Revoked { partition }, &mut self.outputs);
            }
        }
        self.committed = self.core.counters();
        if self.core.reports_from().is_none() {
            self.reports = None;
        }
        let list = assignment(&self.inlet.topics.input, partitions);
        if let Err(error) = consumer.incremental_unassign(&list) {
            // A session that is over has nothing assigned any more.
            tracing::debug!(%error, "giving partitions up");
        }
        Ok(())
    }

    /// What had been counted at the last commit, with what was open then as somebody else's.
    fn given_up(&self) -> Counters {
        let mut counters = self.committed.clone();
        counters.given_up_lines += counters.open_lines;
        counters
    }

    // --- what became of batches -------------------------------------------------------------------------------------

    /// Hears what became of batches; whether there is still somebody to make them for.
    fn follow_outcomes(&mut self) -> Result<bool, KafkaError> {
        loop {
            match self.inlet.outcomes.try_recv() {
                Ok(outcome) => self.hear(outcome)?,
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return Ok(false),
            }
        }
        if let Some(batch) = self.waiting.take() {
            return Ok(self.offer(batch));
        }
        Ok(true)
    }

    fn hear(&mut self, outcome: Outcome) -> Result<(), KafkaError> {
        match outcome {
            Outcome::Committed { number, ends } => {
                if let Some(counters) = self.under_way.remove(&number) {
                    self.committed = counters;
                }
                self.follow_ends(&ends);
                self.inlet.snapshots.committed(number, &ends);
                Ok(())
            }
            Outcome::Failed { epoch, reason } if epoch == self.epoch => {
                tracing::warn!(reason, "a batch came to nothing: going back to the last commit");
                self.roll_back()
            }
            Outcome::Failed { .. } => Ok(()),
        }
    }

    fn follow_ends(&mut self, ends: &Ends) {
        let reports = ends.iter().filter(|((topic, _), _)| *topic == self.inlet.topics.reports);
        self.published_reports = reports.map(|(_, end)| *end).max().max(self.published_reports);
    }

    /// State, timers, counters and position as they were at the last commit.
    fn roll_back(&mut self) -> Result<(), KafkaError> {
        self.forget_batches();
        self.reports = None;
        let consumer = &*self.inlet.consumer;
        let owned = Vec::from_iter(self.owned.iter().copied());
        // A consumer whose session is over will hear of it when it is polled, and then begins anew.
        if owned.is_empty() || consumer.assignment_lost() {
            self.core.roll_back(self.given_up());
            return Ok(());
        }
        self.core.roll_back(self.committed.clone());
        let Some(begins) = self.inlet.restorer.begin(consumer, &owned, &self.inlet.stop)? else { return Ok(()) };
        let mut list = TopicPartitionList::new();
        for Begin { partition, offset, start } in begins {
            list.add_partition_offset(&self.inlet.topics.input, partition, Offset::Offset(offset))
                .map_err(KafkaError::failed("going back to the last commit"))?;
            self.next_offsets.insert(partition, offset);
            let start = match start {
                Start::Restored(restored) => Start::RolledBack(restored),
                other => other,
            };
            self.assigned(partition, start)?;
        }
        self.seek(list)
    }

    fn seek(&self, list: TopicPartitionList) -> Result<(), KafkaError> {
        let _watched = self.inlet.watchdog.watch("seeking", SEEK_TIMEOUT * 2);
        let sought = self.inlet.consumer.seek_partitions(list, SEEK_TIMEOUT).map_err(KafkaError::failed("seeking"))?;
        match sought.elements().iter().find_map(|element| element.error().err()) {
            Some(error) => Err(KafkaError::failed("seeking")(error)),
            None => Ok(()),
        }
    }

    /// Batches that were made before this come to nothing.
    fn forget_batches(&mut self) {
        self.epoch += 1;
        self.waiting = None;
        self.under_way.clear();
        self.outputs.clear();
        self.batch_since = None;
        (self.batch_records, self.batch_bytes) = (0, 0);
        self.inlet.snapshots.forget();
    }

    // --- records and time -------------------------------------------------------------------------------------------

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
            tracing::warn!(
                partition,
                offset,
                "a line's key is missing or is not its invoice number: lines of one invoice may be in several partitions, \
                 each of which makes an invoice of its own; `--repartition always` brings them together"
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

    // --- batches ----------------------------------------------------------------------------------------------------

    /// Whether the next stages have to catch up before more is read.
    fn is_held_back(&self) -> bool {
        let full = self.batch_records >= self.inlet.options.batch_records || self.batch_bytes >= MAX_BATCH_BYTES;
        if self.waiting.is_some() && full {
            return true;
        }
        false
    }

    fn wait_for_room(&mut self) -> Result<Event<'a>, KafkaError> {
        if let Ok(outcome) = self.inlet.outcomes.recv_timeout(Duration::from_millis(1)) {
            self.hear(outcome)?;
        }
        Ok(Event::Nothing)
    }

    fn is_batch_due(&self) -> bool {
        let full = self.batch_records >= self.inlet.options.batch_records || self.batch_bytes >= MAX_BATCH_BYTES;
        if self.waiting.is_some() {
            return false;
        }
        // Under load the time is not asked for at every record.
        let may_be_old = full || self.batch_records.is_multiple_of(32) || self.all_caught_up();
        full || (may_be_old && self.batch_since.is_some_and(|since| since.elapsed() >= self.interval()))
    }

    /// Closes the batch and hands it on; whether there is still somebody to take it.
    fn send_batch(&mut self) -> bool {
        let batch = self.close_batch();
        batch.is_none_or(|batch| self.offer(batch))
    }

    /// Hands a batch on, or keeps it until there is room.
    fn offer(&mut self, batch: Batch) -> bool {
        match self.inlet.next.try_send(batch) {
            Ok(()) => true,
            Err(TrySendError::Full(batch)) => {
                self.waiting = Some(batch);
                true
            }
            Err(TrySendError::Disconnected(_)) => false,
        }
    }

    fn close_batch(&mut self) -> Option<Batch> {
        self.core.report(&mut self.outputs);
        self.batch_since = None;
        (self.batch_records, self.batch_bytes) = (0, 0);
        self.report();
        let progress = match self.inlet.options.delivery {
            Delivery::AtLeastOnce => Progress::Resume(self.core.resume_points()),
            Delivery::ExactlyOnce => {
                let changes = self.core.take_changes();
                if changes.is_empty() && self.outputs.is_empty() {
                    return None;
                }
                // Without membership there is nothing to commit for.
                let group = self.inlet.consumer.group_metadata()?;
                Progress::Changes { changes, group, given_up: self.inlet.consumer.context().times_given_up() }
            }
        };
        self.number += 1;
        self.under_way.insert(self.number, self.core.counters());
        if let Progress::Changes { changes, .. } = &progress {
            self.inlet.snapshots.follow(self.number, changes, &self.core);
        }
        let ticket = Ticket { number: self.number, epoch: self.epoch };
        Some(Batch { ticket, outputs: std::mem::take(&mut self.outputs), progress })
    }

    /// Closes the batch and waits until everything is committed, or has come to nothing and been rolled back.
    fn settle(&mut self) -> Result<bool, KafkaError> {
        let deadline = Instant::now() + SETTLE_TIMEOUT;
        let epoch = self.epoch;
        let mut open = if self.waiting.is_none() { self.close_batch() } else { None };
        while self.epoch == epoch {
            if let Some(batch) = self.waiting.take().or_else(|| open.take())
                && !self.offer(batch)
            {
                return Ok(false);
            }
            if self.waiting.is_none() && open.is_none() && self.under_way.is_empty() {
                // What came while an older batch waited for room is a batch of its own.
                match self.close_batch() {
                    Some(batch) if self.is_worth_a_batch(&batch) => open = Some(batch),
                    _ => return Ok(true),
                }
                continue;
            }
            match self.inlet.outcomes.recv_timeout(Duration::from_millis(1)) {
                Ok(outcome) => self.hear(outcome)?,
                Err(RecvTimeoutError::Timeout) if Instant::now() >= deadline => {
                    let cause = format!("nothing heard for {} s", SETTLE_TIMEOUT.as_secs());
                    return Err(KafkaError::Failed { action: "waiting for batches under way", cause });
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(false),
            }
        }
        Ok(false)
    }

    /// At least once, a batch may say nothing but where to read on.
    fn is_worth_a_batch(&mut self, batch: &Batch) -> bool {
        let worth = !batch.outputs.is_empty() || matches!(batch.progress, Progress::Changes { .. });
        if !worth {
            self.under_way.remove(&batch.ticket.number);
        }
        worth
    }

    // --- the end ----------------------------------------------------------------------------------------------------

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

fn assignment(topic: &str, partitions: &[i32]) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    partitions.iter().for_each(|partition| {
        list.add_partition(topic, *partition);
    });
    list
}

/// What a [`Resume`] looks like beside a committed offset.
#[derive(Debug, Serialize, Deserialize)]
struct Metadata {
    v: u32,
    offset: i64,
    to: i64,
    closed: Timestamp,
    windows: Timestamp,
}

pub(super) fn encode_resume(resume: &Resume) -> String {
    let Resume { offset, published_to, closed_through, windows_through } = *resume;
    let metadata = Metadata { v: 1, offset, to: published_to, closed: closed_through, windows: windows_through };
    serde_json::to_string(&metadata).expect("numbers are plain data")
}

/// `None` for offsets that somebody else committed, without a word of ours beside them.
pub(super) fn decode_resume(metadata: &str) -> Option<Resume> {
    let Metadata { v, offset, to, closed, windows } = serde_json::from_str(metadata).ok()?;
    (v == 1).then_some(Resume { offset, published_to: to, closed_through: closed, windows_through: windows })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_committed_is_read_back() {
        let resume = Resume { offset: 5, published_to: 9, closed_through: -1, windows_through: Timestamp::MIN };
        assert_eq!(decode_resume(&encode_resume(&resume)), Some(resume));
        assert_eq!(decode_resume(""), None);
        assert_eq!(decode_resume("someone else's"), None);
    }
}
