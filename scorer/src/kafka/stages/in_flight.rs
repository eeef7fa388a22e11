//! Batches that are closed and not committed yet.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, TrySendError};
use std::time::Duration;

use super::batch::{Batch, BatchId, CommitResult};
use crate::core::Counters;

/// The next stage has ended, so nothing takes batches any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StageGone;

/// The batches under way, and the counters of the moment when each was closed. Those of the last committed batch are the
/// counters that a rollback goes back to.
pub(crate) struct InFlight {
    next: SyncSender<Batch>,
    results: Receiver<CommitResult>,
    /// A batch that the next stage had no room for.
    waiting: Option<Batch>,
    number: u64,
    epoch: u64,
    under_way: BTreeMap<u64, UnderWay>,
    /// How many bytes they may take together.
    max_bytes: usize,
    /// The counters of the moment when the last committed batch was closed.
    committed: Counters,
}

/// A batch that is not settled.
struct UnderWay {
    /// The counters of the moment when it was closed.
    counters: Counters,
    /// What it takes until it is committed.
    bytes: usize,
}

impl InFlight {
    /// Batches go to `next`, and what became of them comes back through `results`. Together they take at most `max_bytes`.
    pub(crate) fn new(next: SyncSender<Batch>, results: Receiver<CommitResult>, max_bytes: usize) -> Self {
        let (under_way, committed) = (BTreeMap::new(), Counters::default());
        Self { next, results, waiting: None, number: 0, epoch: 0, under_way, max_bytes, committed }
    }

    /// The id of a batch that is closed now, and takes so many bytes until it is committed.
    pub(crate) fn register(&mut self, counters: Counters, bytes: usize) -> BatchId {
        self.number += 1;
        self.under_way.insert(self.number, UnderWay { counters, bytes });
        BatchId { number: self.number, epoch: self.epoch }
    }

    /// Forgets a batch that is not worth committing.
    pub(crate) fn drop_batch(&mut self, batch: &Batch) {
        self.under_way.remove(&batch.id.number);
    }

    /// Hands a batch on, or keeps it until there is room.
    ///
    /// # Errors
    /// [`StageGone`].
    pub(crate) fn offer(&mut self, batch: Batch) -> Result<(), StageGone> {
        match self.next.try_send(batch) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(batch)) => {
                self.waiting = Some(batch);
                Ok(())
            }
            Err(TrySendError::Disconnected(_)) => Err(StageGone),
        }
    }

    /// Hands the batch on that waits, if one does.
    ///
    /// # Errors
    /// [`StageGone`].
    pub(crate) fn offer_waiting(&mut self) -> Result<(), StageGone> {
        self.waiting.take().map_or(Ok(()), |batch| self.offer(batch))
    }

    /// Whether a batch waits for room.
    pub(crate) fn is_waiting(&self) -> bool {
        self.waiting.is_some()
    }

    /// Whether there is room beside the batches under way for one that takes so many bytes; a batch that is alone is never too
    /// large.
    pub(crate) fn has_room_for(&self, bytes: usize) -> bool {
        let under_way: usize = self.under_way.values().map(|batch| batch.bytes).sum();
        self.under_way.is_empty() || under_way.saturating_add(bytes) < self.max_bytes
    }

    /// Whether every batch is settled.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_none() && self.under_way.is_empty()
    }

    /// What became of a batch, if that is known.
    ///
    /// # Errors
    /// [`StageGone`].
    pub(crate) fn try_result(&self) -> Result<Option<CommitResult>, StageGone> {
        match self.results.try_recv() {
            Ok(result) => Ok(Some(result)),
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => Err(StageGone),
        }
    }

    /// As [`try_result`](Self::try_result), waiting at most so long.
    ///
    /// # Errors
    /// [`StageGone`].
    pub(crate) fn wait_for_result(&self, wait: Duration) -> Result<Option<CommitResult>, StageGone> {
        match self.results.recv_timeout(wait) {
            Ok(result) => Ok(Some(result)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(StageGone),
        }
    }

    /// Notes that a batch is committed.
    pub(crate) fn on_committed(&mut self, number: u64) {
        if let Some(batch) = self.under_way.remove(&number) {
            self.committed = batch.counters;
        }
    }

    /// Notes that a partition came with state, or came back with it: what is open in it is committed already, whatever becomes
    /// of the batches under way.
    pub(crate) fn on_assigned(&mut self, before: &Counters, after: &Counters) {
        let taken_over = after.taken_over_lines - before.taken_over_lines;
        let taken_back = before.given_up_lines - after.given_up_lines;
        let under_way = self.under_way.values_mut().map(|batch| &mut batch.counters);
        for counters in under_way.chain([&mut self.committed]) {
            counters.taken_over_lines += taken_over;
            counters.given_up_lines -= taken_back;
            counters.open_lines += taken_over + taken_back;
        }
    }

    /// Notes that partitions were revoked or rolled back: everything that is counted now is committed.
    pub(crate) fn on_revoked(&mut self, counters: Counters) {
        self.committed = counters;
    }

    /// Begins a new epoch: earlier batches will not be committed.
    pub(crate) fn forget(&mut self) {
        self.epoch += 1;
        self.waiting = None;
        self.under_way.clear();
    }

    /// How often everything was rolled back.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The counters of the last commit.
    pub(crate) fn committed(&self) -> &Counters {
        &self.committed
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel, sync_channel};

    use super::*;
    use crate::kafka::client::producer::ProducedOffsets;
    use crate::kafka::stages::batch::{BatchTimes, CommitPoint};

    fn in_flight() -> (InFlight, Receiver<Batch>, Sender<CommitResult>) {
        let (next, batches) = sync_channel(1);
        let (results, heard) = channel();
        (InFlight::new(next, heard, 100), batches, results)
    }

    fn close(in_flight: &mut InFlight, records: u64) -> Batch {
        let id = in_flight.register(Counters { records, ..Counters::default() }, 40);
        let times = BatchTimes::closed(0, None);
        Batch { id, outputs: Vec::new(), point: CommitPoint::Resume(Vec::new()), times }
    }

    #[test]
    fn a_batch_without_room_waits_and_goes_first() {
        let (mut in_flight, batches, _results) = in_flight();
        for records in [10, 20] {
            let batch = close(&mut in_flight, records);
            assert_eq!(in_flight.offer(batch), Ok(()));
        }
        assert!(in_flight.is_waiting());
        assert_eq!(batches.recv().unwrap().id.number, 1);
        assert_eq!(in_flight.offer_waiting(), Ok(()));
        assert!(!in_flight.is_waiting() && !in_flight.is_empty());
        assert_eq!(batches.recv().unwrap().id.number, 2);
    }

    #[test]
    fn a_commit_moves_the_counters_to_go_back_to() {
        let (mut in_flight, _batches, results) = in_flight();
        let batch = close(&mut in_flight, 10);
        close(&mut in_flight, 20);
        results.send(CommitResult::Committed { number: batch.id.number, produced: ProducedOffsets::new() }).unwrap();
        let Ok(Some(CommitResult::Committed { number, .. })) = in_flight.try_result() else {
            panic!("it is committed")
        };
        in_flight.on_committed(number);
        assert_eq!((in_flight.committed().records, in_flight.is_empty()), (10, false));
        in_flight.on_committed(2);
        assert_eq!((in_flight.committed().records, in_flight.is_empty()), (20, true));
    }

    #[test]
    fn there_is_room_for_so_many_bytes() {
        let (mut in_flight, _batches, _results) = in_flight();
        assert!(in_flight.has_room_for(1_000), "alone, none is too large");
        let batch = close(&mut in_flight, 10);
        assert!(in_flight.has_room_for(59) && !in_flight.has_room_for(60));
        close(&mut in_flight, 20);
        assert!(in_flight.has_room_for(19) && !in_flight.has_room_for(20));
        in_flight.on_committed(batch.id.number);
        assert!(in_flight.has_room_for(59));
        in_flight.forget();
        assert!(in_flight.has_room_for(1_000));
    }

    #[test]
    fn what_a_partition_came_with_is_committed_whatever_becomes_of_batches() {
        let (mut in_flight, _batches, _results) = in_flight();
        in_flight.on_revoked(Counters { given_up_lines: 5, ..Counters::default() });
        let counters = |records| Counters { records, given_up_lines: 5, ..Counters::default() };
        let id = in_flight.register(counters(10), 1);
        // Two partitions come with state: one from elsewhere, and one of which 4 lines were given up here.
        let after = Counters { taken_over_lines: 3, given_up_lines: 1, open_lines: 7, ..counters(12) };
        in_flight.on_assigned(&counters(12), &after);
        let lines = |counters: &Counters| {
            (counters.records, counters.taken_over_lines, counters.given_up_lines, counters.open_lines)
        };
        assert_eq!(lines(in_flight.committed()), (0, 3, 1, 7));
        in_flight.on_committed(id.number);
        assert_eq!(lines(in_flight.committed()), (10, 3, 1, 7), "its batch was closed before");
    }

    #[test]
    fn batches_that_are_forgotten_do_not_count() {
        let (mut in_flight, _batches, _results) = in_flight();
        let batch = close(&mut in_flight, 10);
        in_flight.forget();
        assert!(in_flight.is_empty());
        in_flight.on_committed(batch.id.number);
        assert_eq!(in_flight.committed().records, 0);
        assert_eq!((batch.id.epoch, in_flight.epoch()), (0, 1));
    }

    #[test]
    fn a_stage_that_ended_is_noticed_both_ways() {
        let (mut in_flight, batches, results) = in_flight();
        drop((batches, results));
        let batch = close(&mut in_flight, 10);
        assert_eq!(in_flight.offer(batch), Err(StageGone));
        assert!(matches!(in_flight.try_result(), Err(StageGone)));
    }
}
