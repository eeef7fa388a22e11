//! The first stage: it reads records, drives the state machine and hands batches of outputs on. When a batch could not be
//! committed, it goes back to the last commit.

use std::time::{Duration, Instant};

use rdkafka::{Message as _, Timestamp};

use super::batch::{Batch, BatchTimes, CommitPoint, CommitResult};
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
use crate::kafka::options::{Delivery, EndWhen};
use crate::kafka::repartition::progress::RepartitionProgress;
use crate::kafka::state::restore::{Restore, StartPosition};
use crate::kafka::state::snapshots::LastSnapshots;
use crate::kafka::wire::headers::{label_of, schema_of, source_of};

/// The longest wait for a record: how soon a request to stop is seen.
const LONGEST_WAIT: Duration = Duration::from_millis(50);

/// How soon results are committed while there is nothing else to do.
const QUIET_INTERVAL: Duration = Duration::from_millis(5);

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

    /// Takes one event, and hands the batch on that it makes due.
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
            self.next_event()?
        };
        self.on_event(event)?;
        Ok(if self.is_batch_due() { self.send_batch() } else { Ok(()) })
    }

    // --- events ---------------------------------------------------------------------------------------------------

    /// Takes what is there at once, and waits only when there is nothing.
    fn next_event(&mut self) -> Result<Event<S::Record>, KafkaError> {
        let event = self.source.poll(Duration::ZERO)?;
        if !matches!(event, Event::Nothing) {
            return Ok(event);
        }
        self.clock.on_empty_queue();
        self.find_out()?;
        self.source.poll(self.wait())
    }

    /// Until the open batch, the next deadline or a request to stop wants attention.
    fn wait(&self) -> Duration {
        let batch = self.open.time_left(self.interval());
        let now = self.clock.now();
        let until = |at: WallMillis| Duration::from_millis(at.saturating_sub(now).max(0) as u64);
        let deadline = self.tasks.core.next_deadline().map(|at| until(at).max(EVIDENCE_WAIT));
        let is_to_come = self.tasks.restoring.is_under_way() || !self.options.schemas.is_empty();
        let restore = is_to_come.then_some(RESTORE_WAIT);
        let wait = [Some(LONGEST_WAIT), batch, deadline, restore].into_iter().flatten().min().unwrap_or(LONGEST_WAIT);
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

    /// How long results may wait for more.
    fn interval(&self) -> Duration {
        let interval = self.options.commit_interval;
        if self.source.assignment().is_caught_up() { interval.min(QUIET_INTERVAL) } else { interval }
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

    // --- batches --------------------------------------------------------------------------------------------------

    /// Takes the results of batches, and hands the batch on that waits.
    fn follow_commits(&mut self) -> Result<Result<(), StageGone>, KafkaError> {
        loop {
            match self.in_flight.try_result() {
                Ok(Some(result)) => self.on_commit_result(result)?,
                Ok(None) => return Ok(self.in_flight.offer_waiting()),
                Err(gone) => return Ok(Err(gone)),
            }
        }
    }

    fn on_commit_result(&mut self, result: CommitResult) -> Result<(), KafkaError> {
        match result {
            CommitResult::Committed { number, produced } => {
                self.failures = 0;
                self.in_flight.on_committed(number);
                self.tasks.on_committed(number, &produced);
                Ok(())
            }
            CommitResult::Failed { epoch, reason } if epoch == self.in_flight.epoch() => {
                tracing::warn!(reason, "a batch was discarded: rolling back to the last commit");
                self.failures += 1;
                // Who waits for the end has to learn that it does not come. A service goes on until its brokers do.
                if self.failures >= MOST_FAILURES && matches!(self.options.end_when, EndWhen::Reached(_)) {
                    let cause = format!("{MOST_FAILURES} attempts in a row have failed, the last one of: {reason}");
                    return Err(KafkaError::Failed { action: "committing a batch", cause });
                }
                self.roll_back()
            }
            CommitResult::Failed { .. } => Ok(()),
        }
    }

    /// Begins a new epoch: earlier batches will not be committed.
    fn forget_batches(&mut self) {
        self.in_flight.forget();
        self.open.clear();
        self.tasks.snapshots.forget();
    }

    /// Whether the next stages have to catch up before more is read.
    fn is_held_back(&self) -> bool {
        let is_full = self.in_flight.is_waiting() && self.open.is_full();
        is_full || !self.in_flight.has_room_for(self.open.bytes())
    }

    /// Waits for what becomes of batches. When that takes long, nothing more is fetched, so that the source can be asked what
    /// the group says: a member that asks for nothing for `max.poll.interval.ms` is taken for dead.
    fn wait_for_room(&mut self) -> Result<Event<S::Record>, KafkaError> {
        if let Ok(Some(result)) = self.in_flight.wait_for_result(RESULT_WAIT) {
            self.on_commit_result(result)?;
        }
        let now = self.clock.now();
        let held_for = now - *self.held_since.get_or_insert(now);
        if !self.is_resting {
            if held_for < REST_AFTER {
                return Ok(Event::Nothing);
            }
            self.source.rest()?;
            self.is_resting = true;
        }
        self.source.poll(Duration::ZERO)
    }

    /// There is room: goes on to fetch where that had stopped.
    fn read_on(&mut self) -> Result<(), KafkaError> {
        self.held_since = None;
        if std::mem::take(&mut self.is_resting) { self.source.read_on() } else { Ok(()) }
    }

    fn is_batch_due(&self) -> bool {
        if self.in_flight.is_waiting() {
            return false;
        }
        // Under load, to ask for the time at every record would cost too much.
        let may_be_old = self.open.records().is_multiple_of(32) || self.source.assignment().is_caught_up();
        self.open.is_full() || (may_be_old && self.open.is_old(self.interval()))
    }

    /// Closes the batch and hands it on.
    fn send_batch(&mut self) -> Result<(), StageGone> {
        self.close_batch().map_or(Ok(()), |batch| self.in_flight.offer(batch))
    }

    /// Closes the batch; `None` where it would commit nothing.
    fn close_batch(&mut self) -> Option<Batch> {
        self.tasks.core.report(self.open.items_mut());
        let bytes = self.open.bytes();
        let times = BatchTimes::closed(self.open.records(), self.open.since());
        self.open.restart();
        self.report();
        let point = match self.options.delivery {
            Delivery::AtLeastOnce => CommitPoint::Resume(self.tasks.core.resume_points()),
            Delivery::ExactlyOnce => {
                // Without membership there is nobody to commit for. The changes stay where they are until the group says
                // so, too, and takes the partitions with them.
                let fence = self.source.fence()?;
                let changes = self.tasks.core.take_changes();
                if changes.is_empty() && self.open.items().is_empty() {
                    return None;
                }
                CommitPoint::Changes { changes, fence }
            }
        };
        let id = self.in_flight.register(self.tasks.core.counters(), bytes);
        if let CommitPoint::Changes { changes, .. } = &point {
            let Tasks { core, snapshots, .. } = &mut self.tasks;
            snapshots.follow(id.number, changes, core);
        }
        Some(Batch { id, outputs: self.open.take_items(), point, times })
    }

    /// Closes the batch and waits until everything is committed, or has come to nothing and been rolled back.
    fn settle(&mut self) -> Result<Settled, KafkaError> {
        let deadline = Instant::now() + SETTLE_TIMEOUT;
        let epoch = self.in_flight.epoch();
        let mut closed = if self.in_flight.is_waiting() { None } else { self.close_batch() };
        while self.in_flight.epoch() == epoch {
            let offered = match closed.take_if(|_| !self.in_flight.is_waiting()) {
                Some(batch) => self.in_flight.offer(batch),
                None => self.in_flight.offer_waiting(),
            };
            if offered == Err(StageGone) {
                return Ok(Settled::StageGone);
            }
            if closed.is_none() && self.in_flight.is_empty() {
                // What came while an older batch waited for room is a batch of its own.
                closed = self.close_batch().filter(|batch| self.is_worth_a_batch(batch));
                if closed.is_none() {
                    return Ok(Settled::Committed);
                }
                continue;
            }
            match self.in_flight.wait_for_result(RESULT_WAIT) {
                Ok(Some(result)) => self.on_commit_result(result)?,
                Ok(None) if Instant::now() >= deadline => {
                    let cause = format!("nothing heard for {} s", SETTLE_TIMEOUT.as_secs());
                    return Err(KafkaError::Failed { action: "waiting for batches under way", cause });
                }
                Ok(None) => {}
                Err(StageGone) => return Ok(Settled::StageGone),
            }
        }
        Ok(Settled::RolledBack)
    }

    /// At least once, a batch may say nothing but where to read on.
    fn is_worth_a_batch(&mut self, batch: &Batch) -> bool {
        let is_worth_it = !batch.outputs.is_empty() || matches!(batch.point, CommitPoint::Changes { .. });
        if !is_worth_it {
            self.in_flight.drop_batch(batch);
        }
        is_worth_it
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
        let (failed, restoring) = self.tasks.restoring.counts();
        let assignment = self.source.assignment();
        let owned = assignment.partitions().len();
        let lag_seconds = self.read_times.lag_seconds(assignment.behind(), self.clock.time_of_day());
        let (has_joined, state_bytes) = (self.has_joined, self.tasks.core.state_bytes());
        self.options.status.update(|status| {
            status.counters = counters;
            status.lag = lag;
            status.failed_partitions = failed;
            status.restoring_partitions = restoring;
            status.lag_seconds = lag_seconds;
            status.has_joined = has_joined;
            status.owned_partitions = owned;
            status.state_bytes = state_bytes;
        });
    }
}

mod ending;
#[cfg(test)]
mod pauses;
#[cfg(test)]
mod tests;
