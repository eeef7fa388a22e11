//! The end of the loop of the first stage: when it is reached, and what is left to do then.

use super::{ConsumeLoop, Ended, Settled};
use crate::core::Input;
use crate::kafka::client::error::KafkaError;
use crate::kafka::membership::source::PartitionSource;
use crate::kafka::options::{EndWhen, Progress};
use crate::kafka::stages::tasks::Tasks;
use crate::kafka::state::restore::Restore;
use crate::kafka::state::snapshots::LastSnapshots;

impl<S: PartitionSource, R: Restore> ConsumeLoop<S, R> {
    pub(super) fn is_end(&self) -> bool {
        match &self.options.end_when {
            EndWhen::Never => false,
            EndWhen::Reached(reached) => {
                let progress = || Progress { records: self.tasks.core.counters().records };
                self.has_read_everything() && reached(&progress())
            }
            EndWhen::CaughtUp => self.has_read_everything(),
        }
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

    /// Closes what is open, then the windows that are left, where that is wanted. What could not be committed is read and closed
    /// again.
    pub(super) fn end(&mut self) -> Result<Ended, KafkaError> {
        let stays_open = matches!(self.options.end_when, EndWhen::CaughtUp);
        if !stays_open {
            self.tasks.core.apply(Input::End, self.open.items_mut());
        }
        let mut settled = self.settle()?;
        // A window over all partitions waits for those whose state cannot be restored.
        if settled == Settled::Committed && self.tasks.restoring.is_empty() && !stays_open {
            self.tasks.finish_windows(self.open.items_mut());
            settled = self.settle()?;
        }
        if settled == Settled::RolledBack {
            self.has_looked_again = false;
            return Ok(Ended::NotYet);
        }
        Ok(Ended::ForGood)
    }

    /// Publishes and commits what was read; then says why a partition could not be read, if any could not, and which snapshots
    /// the next start wants.
    pub(super) fn drain(mut self) -> (Result<(), KafkaError>, Option<LastSnapshots>) {
        let settled = match self.settle() {
            Ok(settled) => settled,
            Err(error) => return (Err(error), None),
        };
        self.report();
        let records = self.tasks.core.counters().records;
        tracing::info!(records, seconds = self.clock.seconds_at_work(), "ended");
        let result = self.tasks.restoring.error().map_or(Ok(()), Err);
        let owned = self.source.assignment().partitions();
        let Tasks { core, snapshots, .. } = self.tasks;
        (result, (settled == Settled::Committed).then(|| LastSnapshots::new(snapshots, core, owned)))
    }
}
