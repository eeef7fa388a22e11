//! The first stage: it reads records, drives the state machine and hands batches of outputs on. When a batch could not be
//! committed, it goes back to the last commit.

use std::time::{Duration, Instant};

use rdkafka::{Message as _, Timestamp};

use super::consume_options::ConsumeOptions;
use super::faults::Step;
use super::idle_clock::IdleClock;
use super::in_flight::{InFlight, StageGone};
use super::open_batch::{Limits, OpenBatch};
use super::read_times::ReadTimes;
use super::tasks::Tasks;
use crate::core::{Input, Output, Record, WallMillis};
use crate::kafka::client::error::KafkaError;
use crate::kafka::membership::lost::LostRange;
use crate::kafka::membership::source::{Event, PartitionSource};
use crate::kafka::repartition::progress::RepartitionProgress;
use crate::kafka::state::restore::{Restore, StartPosition};
use crate::kafka::state::snapshots::LastSnapshots;
use crate::kafka::wire::headers::{label_of, schema_of, source_of};

/// The longest wait for a record: how soon a request to stop is seen.
const LONGEST_WAIT: Duration = Duration::from_millis(50);

/// How soon results are committed after a pause, once there is nothing more to read: what came together is committed together.
const QUIET_INTERVAL: Duration = Duration::from_millis(2);

/// How long outputs wait for more while records come without a pause.
const PART_INTERVAL: Duration = Duration::from_millis(2);

/// After how many records to look at the time: at every record, it would cost too much.
const RECORDS_A_LOOK: usize = 32;

/// How long batches under way may take when they are waited for. Meanwhile nothing polls: less than `max.poll.interval.ms`.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(240);

/// How many batches may fail in a row where the stream is to end by itself. Each had a minute or so of the client's own
/// attempts.
const MOST_FAILURES: u32 = 10;

/// How soon to see what proves that nothing was left to read, once something is due.
const EVIDENCE_WAIT: Duration = Duration::from_millis(5);

/// What changes of the state because of a record takes until it is committed, about: a few records of the changelog.
const CHANGE_BYTES: usize = 512;

/// How soon to see that the state of a partition is there, or the schema of a record.
const RESTORE_WAIT: Duration = Duration::from_millis(5);

/// How long to wait at a time for what becomes of batches.
const RESULT_WAIT: Duration = Duration::from_millis(1);

/// How long the next stages may have no room until nothing more is fetched, in milliseconds: to fetch again what the client
/// had takes a moment.
const REST_AFTER: WallMillis = 2_000;

/// What came of waiting until every batch is settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Settled {
    /// Everything is committed.
    Committed,
    /// A batch failed, and everything is as it was at the last commit.
    RolledBack,
    /// The next stage has ended.
    StageGone,
}

/// Whether the end that was reached is the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// Everything is committed, or the next stage is gone.
    ForGood,
    /// Everything is as it was at the last commit: there is something to read again.
    NotYet,
}

/// The loop of the first stage.
pub(crate) struct ConsumeLoop<S, R> {
    source: S,
    tasks: Tasks<R>,
    open: OpenBatch<Output>,
    in_flight: InFlight,
    clock: IdleClock,
    options: ConsumeOptions,
    /// Whether the end was looked for once more after the repartitioner had come to its own.
    has_looked_again: bool,
    /// How many batches have failed since the last one that was committed.
    failures: u32,
    /// Whether a limit that was reached was mentioned.
    has_told_of_limit: bool,
    read_times: ReadTimes,
    /// Whether the group has answered.
    has_joined: bool,
    /// Since when the next stages have had no room.
    held_since: Option<WallMillis>,
    /// Whether nothing is fetched meanwhile.
    is_resting: bool,
}

impl<S: PartitionSource, R: Restore> ConsumeLoop<S, R> {
    /// A loop with nothing to do yet; batches are closed at these limits.
    pub(crate) fn new(
        source: S,
        tasks: Tasks<R>,
        in_flight: InFlight,
        limits: Limits,
        clock: IdleClock,
        options: ConsumeOptions,
    ) -> Self {
        Self {
            source,
            tasks,
            open: OpenBatch::new(limits),
            in_flight,
            clock,
            options,
            has_looked_again: false,
            failures: 0,
            has_told_of_limit: false,
            read_times: ReadTimes::default(),
            has_joined: false,
            held_since: None,
            is_resting: false,
        }
    }

    /// Runs until a stop is requested, the end is reached, the next stage is gone, or Kafka fails for good; then says why Kafka
    /// failed, if it did, and which snapshots are to be written.
    pub(crate) fn run(mut self) -> (Result<(), KafkaError>, Option<LastSnapshots>) {
        match self.read() {
            Ok(Ok(())) => self.drain(),
            Ok(Err(StageGone)) => (Ok(()), None),
            Err(error) => (Err(error), None),
        }
    }

    fn read(&mut self) -> Result<Result<(), StageGone>, KafkaError> {
        while !self.options.stop.is_requested() {
            if self.step()? == Err(StageGone) {
                return Ok(Err(StageGone));
            }
            if self.is_end() && self.is_end_of_copies()? && self.end()? == Ended::ForGood {
                break;
            }
        }
        Ok(Ok(()))
    }

    /// Takes one event, and hands on what is due. It takes what is there at once, and waits only when there is nothing.
    fn step(&mut self) -> Result<Result<(), StageGone>, KafkaError> {
        if self.follow_commits()? == Err(StageGone) {
            return Ok(Err(StageGone));
        }
        let Self { options, tasks, .. } = &*self;
        options.pasts.answer(|keys| tasks.core.past_of(keys));
        let event = if self.is_held_back() {
            self.wait_for_room()?
        } else {
            self.read_on()?;
            self.follow_restores()?;
            self.follow_schemas()?;
            match self.source.poll(Duration::ZERO)? {
                Event::Nothing => {
                    self.clock.on_empty_queue();
                    self.find_out()?;
                    // What there is goes on before anything is waited for.
                    if self.hand_on(true) == Err(StageGone) {
                        return Ok(Err(StageGone));
                    }
                    self.source.poll(self.wait())?
                }
                event => event,
            }
        };
        self.on_event(event)?;
        Ok(self.hand_on(false))
    }

    // --- events ---------------------------------------------------------------------------------------------------

    /// Until the open batch, the next deadline or a request to stop wants attention.
    fn wait(&self) -> Duration {
        let batch = self.open.due(self.options.commit_interval, self.quiet());
        let batch = batch.map(|due| due.saturating_duration_since(Instant::now()));
        let now = self.clock.now();
        let until = |at: WallMillis| Duration::from_millis(at.saturating_sub(now).max(0) as u64);
        let deadline = self.tasks.core.next_deadline().map(|at| until(at).max(EVIDENCE_WAIT));
        let is_to_come = self.tasks.restoring.is_under_way() || !self.options.schemas.is_empty();
        let restore = is_to_come.then_some(RESTORE_WAIT);
        let has_more = self.options.sends_ahead() && !self.open.items().is_empty();
        let room = (self.in_flight.is_waiting() || has_more).then_some(RESULT_WAIT);
        let wait =
            [Some(LONGEST_WAIT), batch, deadline, restore, room].into_iter().flatten().min().unwrap_or(LONGEST_WAIT);
        // Below a millisecond the client would not wait at all, and a core would be spent on asking.
        wait.max(Duration::from_millis(1))
    }

    /// What is due while nothing comes is done once it is proven that nothing was left to read.
    fn find_out(&mut self) -> Result<(), KafkaError> {
        match self.tasks.core.next_deadline() {
            Some(due) => self.source.find_out(due),
            None => Ok(()),
        }
    }

    /// How long a batch waits for more where, by what is known, there is nothing more to read.
    fn quiet(&self) -> Option<Duration> {
        self.source.seems_caught_up().then_some(QUIET_INTERVAL)
    }

    fn on_event(&mut self, event: Event<S::Record>) -> Result<(), KafkaError> {
        match event {
            Event::Record(record) => self.on_record(&record)?,
            Event::Lost(lost) => self.on_lost(lost)?,
            Event::CaughtUp(partition) => {
                self.pass_markers(partition);
                let now = self.clock.idle_since();
                self.tasks.core.apply(Input::CaughtUp { partition, now }, self.open.items_mut());
            }
            Event::ReadThrough { partitions, at } => {
                for partition in partitions {
                    self.tasks.core.apply(Input::ReadThrough { partition, now: at }, self.open.items_mut());
                }
            }
            Event::Assigned(partitions) => self.on_assigned(&partitions)?,
            Event::Revoked { partitions, lost } => self.on_revoked(&partitions, lost)?,
            Event::Nothing => self.pass_time(),
        }
        // Under load `Nothing` never comes, but time passes all the same.
        if self.clock.is_overdue() {
            self.find_out()?;
            self.pass_time();
        }
        let costs = &self.options.costs;
        self.open.count_items(|output| costs.of(output));
        self.open.start_time();
        Ok(())
    }

    fn on_record(&mut self, message: &S::Record) -> Result<(), KafkaError> {
        self.options.faults.pass(Step::Read);
        self.clock.on_record();
        // A session that is over is said by the next event: nothing of it waits.
        let schema = schema_of(message, &self.tasks.pipeline.schema);
        if !self.source.is_lost() && self.options.schemas.must_wait(message, schema)? {
            return self.source.hold(&[message.partition()]);
        }
        let payload = message.payload().unwrap_or_default();
        self.open.add_record(CHANGE_BYTES);
        let (partition, offset) = (message.partition(), message.offset());
        if let Some(written) = message.timestamp().to_millis() {
            self.read_times.on_record(partition, written);
        }
        let original = self.options.repartitioner.as_ref().and_then(|_| source_of(message));
        let record = Record {
            partition,
            offset,
            timestamp: message.timestamp().to_millis().unwrap_or(0),
            written_by: Some(match message.timestamp() {
                Timestamp::LogAppendTime(appended) => appended,
                Timestamp::CreateTime(_) | Timestamp::NotAvailable => self.clock.time_of_day(),
            }),
            key: message.key(),
            label: label_of(message, &self.tasks.pipeline),
            schema,
            payload,
            file: None,
            item: original.and_then(|original| original.item),
            source: original.map_or((partition, offset), |original| original.at),
        };
        match self.tasks.record(record, self.open.items_mut()) {
            // Fetched before the session was over, which the next event says: their new owners read them.
            Err(KafkaError::NotOwned { .. }) if self.source.is_lost() => Ok(()),
            taken => taken,
        }
    }

    /// Records that are gone are an outcome of their own; reading goes on with the first one that is left.
    fn on_lost(&mut self, lost: LostRange) -> Result<(), KafkaError> {
        self.options.losses.accept(&lost)?;
        let LostRange { partition, first, last } = lost;
        self.tasks.core.apply(Input::Lost { partition, first, last }, self.open.items_mut());
        Ok(())
    }

    /// Markers of transactions at the end of a partition are no records, and no lag either.
    fn pass_markers(&mut self, partition: i32) {
        if let Some(next) = self.source.assignment().next_offset(partition) {
            self.tasks.core.apply(Input::Passed { partition, next }, self.open.items_mut());
        }
    }

    fn pass_time(&mut self) {
        let now = self.clock.tick();
        self.tasks.time(now, self.open.items_mut());
        self.report();
    }

    // --- the assignment -------------------------------------------------------------------------------------------

    /// Partitions are ours. They are read once their state is there; the others are read on meanwhile.
    fn on_assigned(&mut self, partitions: &[i32]) -> Result<(), KafkaError> {
        self.has_joined = true;
        self.source.assign(partitions)?;
        self.tasks.restore(partitions, self.open.items_mut());
        Ok(())
    }

    /// Takes the partitions on whose state is there, and reads them.
    fn follow_restores(&mut self) -> Result<(), KafkaError> {
        // What is lost is restored for nobody, as the next event says.
        if self.tasks.restoring.is_empty() || self.source.is_lost() {
            return Ok(());
        }
        while let Some((partition, StartPosition { offset, start })) = self.tasks.next_restored(self.clock.now())? {
            let before = self.tasks.core.counters();
            self.tasks.assign(partition, start, self.open.items_mut())?;
            self.in_flight.on_assigned(&before, &self.tasks.core.counters());
            self.clock.on_new_reading();
            self.source.read_from(&[(partition, offset)])?;
        }
        match self.tasks.restoring.error() {
            Some(error) if self.tasks.restoring.have_failed_for_good() && !self.source.assignment().reads_any() => {
                Err(error)
            }
            _ => Ok(()),
        }
    }

    /// Reads partitions on whose next records had to wait for their schemas.
    fn follow_schemas(&mut self) -> Result<(), KafkaError> {
        if self.options.schemas.is_empty() || self.source.is_lost() {
            return Ok(());
        }
        match self.options.schemas.take_ready()? {
            ready if ready.is_empty() => Ok(()),
            ready => self.source.read_from(&ready),
        }
    }

    /// Commits what was read of partitions before their new owner goes on from there. If they are lost, it is too late for
    /// that.
    fn on_revoked(&mut self, partitions: &[i32], lost: bool) -> Result<(), KafkaError> {
        if lost {
            tracing::warn!(?partitions, "partitions were lost to other instances, which continue from the last commit");
            self.forget_batches();
        } else {
            self.settle()?;
        }
        self.source.revoke(partitions);
        self.options.schemas.forget(partitions);
        if lost {
            // All of them are lost together.
            self.tasks.drop_state(self.in_flight.committed().clone());
        }
        self.tasks.revoke(partitions, self.open.items_mut())?;
        self.in_flight.on_revoked(self.tasks.core.counters());
        Ok(())
    }

    /// State, timers, counters and position go back to what they were at the last commit, of each partition once that is
    /// restored. What had no state yet has none to go back.
    fn roll_back(&mut self) -> Result<(), KafkaError> {
        self.forget_batches();
        let counters = self.in_flight.committed().clone();
        // These are held, and have state all the same.
        let waiting = self.options.schemas.clear();
        // A consumer whose session is over gets a revocation with its next poll, and then new partitions.
        if self.source.is_lost() {
            self.tasks.drop_state(counters);
        } else {
            let positions = self.source.assignment().positions();
            let read: Vec<i32> = positions.into_iter().map(|(number, _)| number).chain(waiting).collect();
            self.source.hold(&read)?;
            self.tasks.roll_back(&read, counters, self.open.items_mut());
        }
        self.in_flight.on_revoked(self.tasks.core.counters());
        Ok(())
    }

    /// Updates the status, and says it once when a partition has reached a limit.
    fn report(&mut self) {
        let (mut counters, lag) = (self.tasks.core.counters(), self.source.lag());
        if counters.at_limits() > 0 && !std::mem::replace(&mut self.has_told_of_limit, true) {
            tracing::warn!(
                state_bytes = self.tasks.core.state_bytes(),
                "a partition has reached a limit of the pipeline file or its part of --max-memory: what is missed least is \
                 given up, and counted"
            );
        }
        counters.lost_to_retention += self.options.repartitioner.as_ref().map_or(0, RepartitionProgress::lost);
        let lag = match &self.options.repartitioner {
            Some(progress) => lag.zip(progress.lag()).map(|(ours, before)| ours + before),
            None => lag,
        };
        if let Some(next_hop) = &self.options.next_hop {
            next_hop.set_lag(lag);
        }
        let (failed, restoring) = self.tasks.restoring.counts();
        let assignment = self.source.assignment();
        let owned = assignment.partitions().len();
        let lag_seconds = self.read_times.lag_seconds(assignment.behind(), self.clock.time_of_day());
        let (has_joined, state_bytes) = (self.has_joined, self.tasks.core.state_bytes());
        let waiting_before = self.options.repartitioner.as_ref().map_or(0, RepartitionProgress::waiting);
        let waiting = self.options.schemas.len() + waiting_before;
        self.options.status.update(|status| {
            status.counters = counters;
            status.lag = lag;
            status.failed_partitions = failed;
            status.restoring_partitions = restoring;
            status.waiting_partitions = waiting;
            status.lag_seconds = lag_seconds;
            status.has_joined = has_joined;
            status.owned_partitions = owned;
            status.state_bytes = state_bytes;
        });
    }
}

mod batches;
mod ending;
#[cfg(test)]
mod pauses;
#[cfg(test)]
mod tests;
