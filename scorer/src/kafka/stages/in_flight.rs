//! Batches that are closed and not committed yet.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, TrySendError};
use std::time::Duration;

use super::batch::{BatchId, BatchPart, BatchTimes, CommitResult};
use crate::core::{Counters, Output};

/// The next stage has ended, so nothing takes batches any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StageGone;

/// The batches under way, and the counters of the moment when each was closed. Those of the last committed batch are the
/// counters that a rollback goes back to.
pub(crate) struct InFlight {
    next: SyncSender<BatchPart>,
    results: Receiver<CommitResult>,
    /// What ends a batch, or an epoch, and the next stage had no room for.
    waiting: Option<BatchPart>,
    /// Of the last batch that was closed.
    number: u64,
    epoch: u64,
    /// Whether the next stage has parts of the batch that is open.
    has_sent_parts: bool,
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
    pub(crate) fn new(next: SyncSender<BatchPart>, results: Receiver<CommitResult>, max_bytes: usize) -> Self {
        let (under_way, committed) = (BTreeMap::new(), Counters::default());
        let (waiting, number, epoch, has_sent_parts) = (None, 0, 0, false);
        Self { next, results, waiting, number, epoch, has_sent_parts, under_way, max_bytes, committed }
    }

    /// The id of the batch that is open.
    fn open_id(&self) -> BatchId {
        BatchId { number: self.number + 1, epoch: self.epoch }
    }

    /// Hands a part of the open batch on, before it is closed; gives it back where there is no room for it now.
    ///
    /// # Errors
    /// [`StageGone`].
    pub(crate) fn offer_part(&mut self, outputs: Vec<Output>, times: BatchTimes) -> Result<Vec<Output>, StageGone> {
        if self.waiting.is_some() {
            return Ok(outputs);
        }
        match self.next.try_send(BatchPart { id: self.open_id(), outputs, point: None, times }) {
            Ok(()) => {
                self.has_sent_parts = true;
                Ok(Vec::new())
            }
            Err(TrySendError::Full(part)) => Ok(part.outputs),
            Err(TrySendError::Disconnected(_)) => Err(StageGone),
        }
    }

    /// Whether the next stage has parts of the batch that is open.
    pub(crate) fn has_sent_parts(&self) -> bool {
        self.has_sent_parts
    }

    /// The id of a batch that is closed now, and takes so many bytes until it is committed.
    pub(crate) fn register(&mut self, counters: Counters, bytes: usize) -> BatchId {
        let id = self.open_id();
        self.number = id.number;
        self.has_sent_parts = false;
        self.under_way.insert(id.number, UnderWay { counters, bytes });
        id
    }

    /// Forgets a batch that is not worth committing.
    pub(crate) fn drop_batch(&mut self, batch: &BatchPart) {
        self.under_way.remove(&batch.id.number);
    }

    /// Hands the last part of a batch on, or keeps it until there is room.
    ///
    /// # Errors
    /// [`StageGone`].
    pub(crate) fn offer(&mut self, batch: BatchPart) -> Result<(), StageGone> {
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

    /// Begins a new epoch: earlier batches will not be committed. Where parts of an open one are with the next stages, these
    /// hear of it, so that nothing stays half done.
    pub(crate) fn forget(&mut self) {
        self.epoch += 1;
        self.under_way.clear();
        let is_told = std::mem::take(&mut self.has_sent_parts) || self.waiting.take().is_some();
        let times = BatchTimes::now(0, None);
        self.waiting = is_told.then(|| BatchPart { id: self.open_id(), outputs: Vec::new(), point: None, times });
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
    use crate::core::CancellationCount;
    use crate::kafka::client::producer::ProducedOffsets;
    use crate::kafka::stages::batch::CommitPoint;

    fn in_flight() -> (InFlight, Receiver<BatchPart>, Sender<CommitResult>) {
        let (next, batches) = sync_channel(1);
        let (results, heard) = channel();
        (InFlight::new(next, heard, 100), batches, results)
    }

    fn close(in_flight: &mut InFlight, records: u64) -> BatchPart {
        let id = in_flight.register(Counters { records, ..Counters::default() }, 40);
        let times = BatchTimes::now(0, None);
        BatchPart { id, outputs: Vec::new(), point: Some(CommitPoint::Resume(Vec::new())), times }
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

    fn passed() -> Vec<Output> {
        vec![Output::Cancellations(CancellationCount { window_start: 0, window_end: 1, cancellations: 2 })]
    }

    fn offer(in_flight: &mut InFlight) -> Result<Vec<Output>, StageGone> {
        in_flight.offer_part(passed(), BatchTimes::now(1, None))
    }

    #[test]
    fn parts_are_of_the_batch_that_is_closed_after_them_and_never_wait() {
        let (mut in_flight, batches, _results) = in_flight();
        assert!(offer(&mut in_flight).unwrap().is_empty() && in_flight.has_sent_parts());
        assert_eq!(offer(&mut in_flight).unwrap().len(), 1, "it comes back where there is no room");
        assert!(!in_flight.is_waiting());
        let batch = close(&mut in_flight, 10);
        assert_eq!(batches.recv().unwrap().id, batch.id);
        assert!(!in_flight.has_sent_parts(), "that batch is closed");
        in_flight.offer(batch).unwrap();
        let next = close(&mut in_flight, 20);
        in_flight.offer(next).unwrap();
        assert!(in_flight.is_waiting());
        assert_eq!(offer(&mut in_flight).unwrap().len(), 1, "nothing overtakes the end of a batch");
    }

    #[test]
    fn a_batch_that_is_forgotten_half_way_is_told_of() {
        let (mut in_flight, batches, _results) = in_flight();
        in_flight.forget();
        assert!(!in_flight.is_waiting(), "nobody has anything of it");
        offer(&mut in_flight).unwrap();
        in_flight.forget();
        assert!(in_flight.is_waiting() && !in_flight.has_sent_parts());
        // Forgotten once more before that was told.
        in_flight.forget();
        assert_eq!(batches.recv().unwrap().id.epoch, 1);
        in_flight.offer_waiting().unwrap();
        let told = batches.recv().unwrap();
        assert_eq!((told.id, told.outputs.len(), told.point.is_none()), (BatchId { number: 1, epoch: 3 }, 0, true));
        assert_eq!(close(&mut in_flight, 10).id, told.id, "it begins the next batch");
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
