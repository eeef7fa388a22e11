//! Batches: closed, handed on, waited for; and what became of them, which may be that everything goes back.

use std::sync::mpsc::{RecvTimeoutError, TryRecvError, TrySendError};
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer;

use super::{ConsumeLoop, Event, MAX_BATCH_BYTES, SETTLE_TIMEOUT};
use crate::kafka::client::error::KafkaError;
use crate::kafka::client::producer::Ends;
use crate::kafka::options::Delivery;
use crate::kafka::stages::batch::{Batch, Outcome, Progress, Ticket};

impl<'a> ConsumeLoop<'a> {
    /// Hears what became of batches; whether there is still somebody to make them for.
    pub(super) fn follow_outcomes(&mut self) -> Result<bool, KafkaError> {
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

    pub(super) fn hear(&mut self, outcome: Outcome) -> Result<(), KafkaError> {
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

    pub(super) fn follow_ends(&mut self, ends: &Ends) {
        let reports = ends.iter().filter(|((topic, _), _)| *topic == self.inlet.topics.reports);
        self.published_reports = reports.map(|(_, end)| *end).max().max(self.published_reports);
    }

    /// Batches that were made before this come to nothing.
    pub(super) fn forget_batches(&mut self) {
        self.epoch += 1;
        self.waiting = None;
        self.under_way.clear();
        self.outputs.clear();
        self.batch_since = None;
        (self.batch_records, self.batch_bytes) = (0, 0);
        self.inlet.snapshots.forget();
    }

    /// Whether the next stages have to catch up before more is read.
    pub(super) fn is_held_back(&self) -> bool {
        let full = self.batch_records >= self.inlet.options.batch_records || self.batch_bytes >= MAX_BATCH_BYTES;
        if self.waiting.is_some() && full {
            return true;
        }
        false
    }

    pub(super) fn wait_for_room(&mut self) -> Result<Event<'a>, KafkaError> {
        if let Ok(outcome) = self.inlet.outcomes.recv_timeout(Duration::from_millis(1)) {
            self.hear(outcome)?;
        }
        Ok(Event::Nothing)
    }

    pub(super) fn is_batch_due(&self) -> bool {
        let full = self.batch_records >= self.inlet.options.batch_records || self.batch_bytes >= MAX_BATCH_BYTES;
        if self.waiting.is_some() {
            return false;
        }
        // Under load the time is not asked for at every record.
        let may_be_old = full || self.batch_records.is_multiple_of(32) || self.all_caught_up();
        full || (may_be_old && self.batch_since.is_some_and(|since| since.elapsed() >= self.interval()))
    }

    /// Closes the batch and hands it on; whether there is still somebody to take it.
    pub(super) fn send_batch(&mut self) -> bool {
        let batch = self.close_batch();
        batch.is_none_or(|batch| self.offer(batch))
    }

    /// Hands a batch on, or keeps it until there is room.
    pub(super) fn offer(&mut self, batch: Batch) -> bool {
        match self.inlet.next.try_send(batch) {
            Ok(()) => true,
            Err(TrySendError::Full(batch)) => {
                self.waiting = Some(batch);
                true
            }
            Err(TrySendError::Disconnected(_)) => false,
        }
    }

    pub(super) fn close_batch(&mut self) -> Option<Batch> {
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
    pub(super) fn settle(&mut self) -> Result<bool, KafkaError> {
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
    pub(super) fn is_worth_a_batch(&mut self, batch: &Batch) -> bool {
        let worth = !batch.outputs.is_empty() || matches!(batch.progress, Progress::Changes { .. });
        if !worth {
            self.under_way.remove(&batch.ticket.number);
        }
        worth
    }
}
