//! The end of the loop of the first stage: when it is reached, and what is left to do then.

use std::time::Duration;

use super::{ConsumeLoop, Ended, RESTORE_WAIT, Settled};
use crate::core::Input;
use crate::kafka::client::error::KafkaError;
use crate::kafka::membership::source::{Event, PartitionSource};
use crate::kafka::options::{EndWhen, Progress};
use crate::kafka::stages::peers::{Outlook, Standing};
use crate::kafka::stages::tasks::Tasks;
use crate::kafka::state::restore::Restore;
use crate::kafka::state::snapshots::LastSnapshots;

/// How soon to see that the other threads have come as far.
const PEER_WAIT: Duration = RESTORE_WAIT;

/// What came of waiting for the other threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Met {
    /// All have come as far.
    All,
    /// There are new partitions to read.
    Reassigned,
    /// A stop was requested.
    Stopped,
}

impl<S: PartitionSource, R: Restore> ConsumeLoop<S, R> {
    /// Whether the end has come, for this thread and for all others.
    pub(super) fn has_come_to_end(&mut self) -> Result<bool, KafkaError> {
        let is_at_end = self.is_end() && self.is_end_of_copies()?;
        if self.options.peers.are_there() { self.is_end_of_all(is_at_end) } else { Ok(is_at_end) }
    }

    /// Where there are other threads, how many records were read says nothing yet.
    pub(super) fn is_end(&self) -> bool {
        match &self.options.end_when {
            EndWhen::Never => false,
            EndWhen::Reached(reached) => {
                let progress = || Progress { records: self.tasks.core.counters().records };
                self.has_read_everything() && (self.options.peers.are_there() || reached(&progress()))
            }
            EndWhen::CaughtUp => self.has_read_everything(),
        }
    }

    /// Says how far this thread is, and looks at how far the others are.
    fn is_end_of_all(&self, is_at_end: bool) -> Result<bool, KafkaError> {
        let (standing, peers) = (self.standing(is_at_end), &self.options.peers);
        if standing == Standing::Busy {
            peers.note_busy();
            return Ok(false);
        }
        let is_stuck = matches!(standing, Standing::Stuck(_));
        peers.note(standing, self.tasks.core.counters().records, self.source.member_id());
        match peers.outlook() {
            Outlook::GoOn => Ok(false),
            Outlook::Closing => Ok(!is_stuck),
            Outlook::End { records, is_certain } => {
                let is_reached = match &self.options.end_when {
                    EndWhen::Never => false,
                    EndWhen::Reached(reached) => reached(&Progress { records }),
                    EndWhen::CaughtUp => true,
                };
                Ok(is_reached && (is_certain || self.are_settled()) && peers.close())
            }
            Outlook::Stuck { is_certain } => match self.tasks.restoring.error() {
                Some(error) if is_certain || self.are_settled() => Err(error),
                _ => Ok(false),
            },
        }
    }

    fn standing(&self, is_at_end: bool) -> Standing {
        let assignment = self.source.assignment();
        if assignment.is_empty() {
            Standing::Idle
        } else if is_at_end {
            Standing::AtEnd(assignment.partitions())
        } else if self.is_stuck() {
            Standing::Stuck(assignment.partitions())
        } else {
            Standing::Busy
        }
    }

    /// Whether nothing is read, and to try again to restore what is ours would change nothing.
    pub(super) fn is_stuck(&self) -> bool {
        self.tasks.restoring.have_failed_for_good() && !self.source.assignment().reads_any()
    }

    /// Whether no partition is on its way to any thread. Not while the group does not tell, or was asked a moment ago.
    fn are_settled(&self) -> bool {
        let peers = &self.options.peers;
        peers.may_ask() && self.source.members().is_some_and(|members| peers.are_settled(&members))
    }

    /// Waits until all other threads have come as far as this one. What the group says meanwhile is answered.
    fn meet(&mut self, standing: Standing) -> Result<Met, KafkaError> {
        let are_done = standing == Standing::Done;
        self.options.peers.note(standing, self.tasks.core.counters().records, self.source.member_id());
        while !self.options.peers.have_met(are_done) {
            if self.options.stop.is_requested() {
                return Ok(Met::Stopped);
            }
            // What comes now comes after the end.
            if !std::mem::replace(&mut self.is_resting, true) {
                self.source.rest()?;
            }
            let event = self.source.poll(PEER_WAIT)?;
            // Whoever leaves first leaves partitions that nobody needs any more.
            if are_done && self.options.peers.have_met(are_done) {
                break;
            }
            let epoch = self.in_flight.epoch();
            let is_new = match event {
                Event::Assigned(partitions) => {
                    self.on_assigned(&partitions)?;
                    !partitions.is_empty()
                }
                Event::Revoked { partitions, lost } => {
                    self.on_revoked(&partitions, lost)?;
                    // What is rolled back is read again.
                    self.in_flight.epoch() != epoch
                }
                Event::Record(_) | Event::CaughtUp(_) | Event::Lost(_) | Event::ReadThrough { .. } | Event::Nothing => {
                    false
                }
            };
            if is_new {
                return Ok(Met::Reassigned);
            }
        }
        Ok(Met::All)
    }

    /// Whether every partition has been read to its end; those whose state cannot be restored hold no other up.
    pub(super) fn has_read_everything(&self) -> bool {
        let assignment = self.source.assignment();
        let is_read = !assignment.reads_any() || assignment.is_caught_up();
        let waits_for_none = self.options.schemas.is_empty() && self.tasks.restoring.have_failed();
        is_read && !assignment.is_empty() && waits_for_none
    }

    /// Whether what the repartitioner copied has been read too: its last copies may have come after the end that was
    /// seen, so the end is looked for once more.
    pub(super) fn is_end_of_copies(&mut self) -> Result<bool, KafkaError> {
        match &self.options.repartitioner {
            None => return Ok(true),
            Some(progress) if !progress.has_caught_up() => return Ok(false),
            // Where what is open stays open, no copy is to be left: the repartitioner makes its last ones first.
            Some(progress) if matches!(self.options.end_when, EndWhen::CaughtUp) && !progress.has_ended() => {
                return Ok(false);
            }
            Some(_) if self.has_looked_again => return Ok(true),
            Some(_) => {}
        }
        let positions = self.source.assignment().positions();
        self.source.read_from(&positions)?;
        self.has_looked_again = true;
        Ok(false)
    }

    /// Closes what is open, then, once all threads have done so, the windows that are left, where that is wanted. What could not be
    /// committed is read and closed again. All threads leave together.
    pub(super) fn end(&mut self) -> Result<Ended, KafkaError> {
        let stays_open = matches!(self.options.end_when, EndWhen::CaughtUp);
        if !stays_open {
            self.tasks.core.apply(Input::End, self.open.items_mut());
        }
        let mut settled = self.settle()?;
        if settled == Settled::Committed {
            // A window over all partitions waits for those whose state cannot be restored.
            let is_whole = self.tasks.restoring.is_empty();
            match self.meet(Standing::Closed { is_whole })? {
                Met::All => {}
                Met::Reassigned => return Ok(self.go_on()),
                Met::Stopped => return Ok(Ended::ForGood),
            }
            if self.options.peers.are_whole() && !stays_open {
                self.tasks.finish_windows(self.open.items_mut());
                settled = self.settle()?;
            }
        }
        match settled {
            Settled::RolledBack => Ok(self.go_on()),
            Settled::StageGone => Ok(Ended::ForGood),
            Settled::Committed => match self.meet(Standing::Done)? {
                Met::Reassigned => Ok(self.go_on()),
                Met::All | Met::Stopped => Ok(Ended::ForGood),
            },
        }
    }

    /// There is something to read again, to its end.
    fn go_on(&mut self) -> Ended {
        self.options.peers.note(Standing::Busy, 0, None);
        self.has_looked_again = false;
        Ended::NotYet
    }

    /// Publishes and commits what was read; then says why a partition could not be read, if any could not, and which snapshots
    /// the next start wants.
    pub(super) fn drain(mut self) -> (Result<(), KafkaError>, Option<LastSnapshots>) {
        let settled = match self.settle() {
            Ok(settled) => settled,
            Err(error) => return (Err(error), None),
        };
        self.report();
        let (seconds, read_seconds) = (self.clock.seconds_at_work(), self.clock.seconds_of_reading());
        let of_all = self.options.peers.on_drained(self.tasks.core.counters().records, seconds, read_seconds);
        if let Some((records, seconds, read_seconds)) = of_all {
            tracing::info!(records, seconds, read_seconds, "ended");
        }
        let result = self.tasks.restoring.error().map_or(Ok(()), Err);
        let owned = self.source.assignment().partitions();
        let Tasks { core, snapshots, .. } = self.tasks;
        (result, (settled == Settled::Committed).then(|| LastSnapshots::new(snapshots, core, owned)))
    }
}
