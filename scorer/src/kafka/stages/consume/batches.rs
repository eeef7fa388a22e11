//! The batches of the first stage: when they are handed on, and what becomes of them.

use std::time::{Duration, Instant};

use super::{
    ConsumeLoop, MOST_FAILURES, PART_INTERVAL, RECORDS_A_LOOK, REST_AFTER, RESULT_WAIT, SETTLE_TIMEOUT, Settled,
};
use crate::kafka::client::error::KafkaError;
use crate::kafka::membership::source::{Event, PartitionSource};
use crate::kafka::options::{Delivery, EndWhen};
use crate::kafka::stages::batch::{BatchPart, BatchTimes, CommitPoint, CommitResult};
use crate::kafka::stages::in_flight::StageGone;
use crate::kafka::stages::tasks::Tasks;
use crate::kafka::state::restore::Restore;

impl<S: PartitionSource, R: Restore> ConsumeLoop<S, R> {
    /// Takes the results of batches, and hands the batch on that waits.
    pub(super) fn follow_commits(&mut self) -> Result<Result<(), StageGone>, KafkaError> {
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
                if self.failures >= MOST_FAILURES && !matches!(self.options.end_when, EndWhen::Never) {
                    let cause = format!("{MOST_FAILURES} attempts in a row have failed, the last one of: {reason}");
                    return Err(KafkaError::Failed { action: "committing a batch", cause });
                }
                self.roll_back()
            }
            CommitResult::Failed { .. } => Ok(()),
        }
    }

    /// Begins a new epoch: earlier batches will not be committed.
    pub(super) fn forget_batches(&mut self) {
        self.in_flight.forget();
        self.open.clear();
        self.tasks.snapshots.forget();
    }

    /// Whether the next stages have to catch up before more is read.
    pub(super) fn is_held_back(&self) -> bool {
        let is_full = self.in_flight.is_waiting() && self.open.is_full();
        is_full || !self.in_flight.has_room_for(self.open.bytes())
    }

    /// Waits for what becomes of batches. When that takes long, nothing more is fetched, so that the source can be asked what
    /// the group says: a member that asks for nothing for `max.poll.interval.ms` is taken for dead.
    pub(super) fn wait_for_room(&mut self) -> Result<Event<S::Record>, KafkaError> {
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
    pub(super) fn read_on(&mut self) -> Result<(), KafkaError> {
        self.held_since = None;
        if std::mem::take(&mut self.is_resting) { self.source.read_on() } else { Ok(()) }
    }

    /// Hands the batch on that is due, or else what there is of it: once nothing is left in the client's queue, or after a
    /// moment. Readers see the results of a transaction when it is committed, but all that can be done before is done then.
    pub(super) fn hand_on(&mut self, is_drained: bool) -> Result<(), StageGone> {
        if self.in_flight.is_waiting() {
            return Ok(());
        }
        let may_be_time = is_drained || self.open.records().is_multiple_of(RECORDS_A_LOOK);
        if self.open.is_full() || (may_be_time && self.is_batch_due(is_drained)) {
            return self.close_batch().map_or(Ok(()), |batch| self.in_flight.offer(batch));
        }
        let is_part_due = may_be_time && (is_drained || self.open.has_old_items(PART_INTERVAL));
        if is_part_due && !self.open.items().is_empty() && self.options.sends_ahead() {
            let (outputs, times) = (self.open.take_items(), self.times());
            let left = self.in_flight.offer_part(outputs, times)?;
            self.open.put_back(left);
        }
        Ok(())
    }

    fn is_batch_due(&self, is_drained: bool) -> bool {
        let quiet = if is_drained { self.quiet() } else { None };
        self.open.due(self.options.commit_interval, quiet).is_some_and(|due| due <= Instant::now())
    }

    fn times(&self) -> BatchTimes {
        BatchTimes::now(self.open.records(), self.open.since())
    }

    /// Closes the batch; `None` where it would commit nothing.
    fn close_batch(&mut self) -> Option<BatchPart> {
        self.tasks.core.report(self.open.items_mut());
        let (bytes, times) = (self.open.bytes(), self.times());
        self.open.restart();
        self.report();
        let point = match self.options.delivery {
            Delivery::AtLeastOnce => CommitPoint::Resume(self.tasks.core.resume_points()),
            Delivery::ExactlyOnce => {
                // Without membership there is nobody to commit for. The changes stay where they are until the group says
                // so, too, and takes the partitions with them.
                let fence = self.source.fence()?;
                let changes = self.tasks.core.take_changes();
                if changes.is_empty() && self.open.items().is_empty() && !self.in_flight.has_sent_parts() {
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
        Some(BatchPart { id, outputs: self.open.take_items(), point: Some(point), times })
    }

    /// Closes the batch and waits until everything is committed, or has come to nothing and been rolled back.
    pub(super) fn settle(&mut self) -> Result<Settled, KafkaError> {
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
                let has_parts = self.in_flight.has_sent_parts();
                closed = self.close_batch().filter(|batch| has_parts || self.is_worth_a_batch(batch));
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
    fn is_worth_a_batch(&mut self, batch: &BatchPart) -> bool {
        let is_worth_it = !batch.outputs.is_empty() || matches!(batch.point, Some(CommitPoint::Changes { .. }));
        if !is_worth_it {
            self.in_flight.drop_batch(batch);
        }
        is_worth_it
    }
}
