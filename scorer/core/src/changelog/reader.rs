//! A partition's state, read back from the records of its changelog or of a snapshot.

use shared::pipeline::Pipeline;
use shared::time::Timestamp;

use super::head::{Head, Origin};
use super::record::{StateError, StateRecord};
use super::reset::LiveKeys;
use crate::cancellations::windows::Windows;
use crate::output::Report;
use crate::partition::Partition;
use crate::resume::Recovery;

/// A partition's state.
#[derive(Debug)]
pub struct Restored {
    partition: Partition,
    windows: Option<Windows>,
    head: Option<Head>,
    records: u64,
}

/// A partition's state, as far as its records have been read.
#[derive(Debug)]
pub struct StateReader {
    restored: Restored,
    origin: Origin,
    /// Why nothing of it may be used; a reset that comes later makes up for that.
    refused: Option<StateError>,
    /// Whether a head of another incarnation came, and no reset before it.
    is_mixed: bool,
}

impl StateReader {
    /// The key of heads: after one, the state is whole.
    pub const HEAD_KEY: &'static [u8] = Head::KEY;

    /// Nothing read yet.
    pub fn new(pipeline: &Pipeline, origin: Origin) -> Self {
        let partition = Partition::new(pipeline, 0, Recovery::Changelog, None);
        let restored = Restored { partition, windows: None, head: None, records: 0 };
        Self { restored, origin, refused: None, is_mixed: false }
    }

    /// Takes in the next record.
    ///
    /// # Errors
    /// [`StateError`]: nothing of the state may be used, unless a reset comes later. [`StateReader::finish`] tells.
    pub fn take(&mut self, pipeline: &Pipeline, key: &[u8], value: Option<&[u8]>) -> Result<(), StateError> {
        self.restored.records += 1;
        let taken = self.take_in(pipeline, key, value);
        if let Err(error) = &taken
            && self.refused.is_none()
        {
            self.refused = Some(error.clone());
        }
        taken
    }

    fn take_in(&mut self, pipeline: &Pipeline, key: &[u8], value: Option<&[u8]>) -> Result<(), StateError> {
        let (&kind, rest) = key.split_first().ok_or(StateError::Damaged)?;
        match (key, value) {
            (Head::KEY, Some(value)) => self.take_head(pipeline, Head::decode(key, value)?.ok_or(StateError::Damaged)?),
            (Windows::KEY, Some(value)) => {
                if let Some(settings) = &pipeline.cancellations {
                    self.restored.windows = Some(Windows::decode(settings, value)?);
                }
                Ok(())
            }
            _ if self.refused.is_some() => Ok(()),
            _ => self.restored.partition.restore(pipeline, kind, rest, value),
        }
    }

    fn take_head(&mut self, pipeline: &Pipeline, head: Head) -> Result<(), StateError> {
        let birth_before = self.restored.head.as_ref().map(|before| before.birth);
        // A reset has deleted whatever was there, of whatever pipeline and topic it was. Until the broker compacts the
        // changelog, it is still read.
        let is_of_another = birth_before.is_some_and(|birth| birth != head.birth);
        if head.is_blank() && (self.refused.is_some() || is_of_another) {
            self.restored.partition = Partition::new(pipeline, 0, Recovery::Changelog, None);
            (self.refused, self.is_mixed) = (None, false);
        } else {
            self.is_mixed |= is_of_another;
        }
        self.restored.partition.restore_head(&head);
        let refusal = head.origin.refusal(&self.origin);
        self.restored.head = Some(head);
        refusal.map_or(Ok(()), Err)
    }

    /// Whether what was read is of two incarnations, with no reset between them: another changelog has taken the place of the
    /// one whose records were read first. Who reads one in one go never sees that.
    pub fn is_mixed(&self) -> bool {
        self.is_mixed
    }

    /// Records taken in.
    pub fn records(&self) -> u64 {
        self.restored.records
    }

    /// Bytes that the state takes, about, as far as it was read. It looks at every key.
    pub fn state_bytes(&self) -> usize {
        self.restored.partition.restoring_bytes()
    }

    /// Why nothing that was read so far may be used, if so.
    pub fn refused(&self) -> Option<&StateError> {
        self.refused.as_ref()
    }

    /// The last head that was read: the state is whole only there.
    pub fn head(&self) -> Option<&Head> {
        self.restored.head()
    }

    /// The state, all of whose records have been read.
    ///
    /// # Errors
    /// [`StateError`] when some of them cannot be used, or parts do not fit together.
    pub fn finish(self, pipeline: &Pipeline) -> Result<Restored, StateError> {
        let Self { mut restored, refused, .. } = self;
        if let Some(error) = refused {
            return Err(error);
        }
        if restored.head.is_some() {
            restored.partition.finish_restoring(pipeline)?;
        }
        Ok(restored)
    }
}

impl Restored {
    /// The last head that was read: the state is whole only there.
    pub fn head(&self) -> Option<&Head> {
        self.head.as_ref()
    }

    /// The largest timestamp seen.
    pub fn watermark(&self) -> Option<Timestamp> {
        self.partition.watermark()
    }

    /// Whether a clock in the state shows more than `time`: that of the partition, or that of the windows over all.
    pub fn is_later_than(&self, time: Timestamp) -> bool {
        let is_window_later = self.windows.as_ref().is_some_and(|windows| windows.is_later_than(time));
        is_window_later || self.watermark().is_some_and(|watermark| watermark > time)
    }

    /// The first report on cancellations that is not in the windows of the state; `None` where the pipeline has no windows.
    pub fn unmerged_from(&self, pipeline: &Pipeline) -> Option<i64> {
        pipeline.cancellations.as_ref().map(|_| self.windows.as_ref().map_or(0, Windows::position))
    }

    /// Takes a report on cancellations into the windows of the state.
    pub fn take_report(&mut self, pipeline: &Pipeline, report: &Report, offset: i64) {
        if let Some(settings) = &pipeline.cancellations {
            self.windows.get_or_insert_with(|| Windows::new(settings)).on_report(report, offset, None);
        }
    }

    /// Sets the clocks of the state, that of the partition `number`, back to `time`: open entities close as if their last
    /// lines had come then at the latest.
    ///
    /// # Errors
    /// [`StateError::Later`] where records that are scored one by one are remembered beyond it.
    pub fn set_back(&mut self, pipeline: &Pipeline, number: i32, time: Timestamp) -> Result<(), StateError> {
        if self.watermark().is_some_and(|watermark| watermark > time) {
            self.partition.set_back(pipeline, time).map_err(|latest| StateError::Later { latest })?;
        }
        if let Some(windows) = &mut self.windows {
            windows.set_back(number, time);
        }
        Ok(())
    }

    /// The changes of the changelog, whose keys are `live`, that bring it to this state, each with its head: first
    /// everything goes, then all is written again. What is remembered is in the order of time, which now goes back.
    pub fn rewrite(&mut self, pipeline: &Pipeline, live: &LiveKeys) -> Option<(Vec<StateRecord>, Head)> {
        let origin = self.head.as_ref()?.origin.clone();
        self.partition.next_change();
        let mut out = live.deletions();
        out.push(self.partition.head(&origin).record());
        self.partition.next_change();
        let head = self.partition.head(&origin);
        self.partition.snapshot(pipeline, self.windows.as_ref(), Some(&head), &mut |record| out.push(record));
        self.head = Some(head.clone());
        Some((out, head))
    }

    /// Records taken in.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// Open entities, and records that wait.
    pub fn open_entities(&self) -> usize {
        self.partition.open_size().0 as usize
    }

    /// Keys whose past is remembered.
    pub fn keys_with_a_past(&self) -> usize {
        self.partition.keys_with_a_past()
    }

    /// Closed keys that are remembered.
    pub fn closed_keys(&self) -> usize {
        self.partition.closed_keys()
    }

    /// Cancelled keys that are remembered.
    pub fn cancelled_keys(&self) -> usize {
        self.partition.cancelled_keys()
    }

    /// The state as records: what the changelog would hold if it held each key once.
    pub fn snapshot(&self, pipeline: &Pipeline) -> Vec<StateRecord> {
        let mut out = Vec::new();
        self.put_all(pipeline, |record| out.push(record));
        out
    }

    /// As [`snapshot`](Self::snapshot), record by record.
    pub fn put_all(&self, pipeline: &Pipeline, mut put: impl FnMut(StateRecord)) {
        self.partition.snapshot(pipeline, self.windows.as_ref(), self.head.as_ref(), &mut put);
    }

    /// State that was put together otherwise than from records.
    pub(super) fn assembled(partition: Partition, windows: Option<Windows>, head: Head) -> Self {
        Self { partition, windows, head: Some(head), records: 0 }
    }

    /// From which report on the windows over all partitions go on, where they are of this one.
    pub(super) fn reports_from(&self) -> Option<i64> {
        self.windows.as_ref().map(Windows::position)
    }

    /// Visits the keys by which what is in the state is placed.
    pub fn each_placed_key(&self, pipeline: &Pipeline, visit: &mut dyn FnMut(&str)) {
        self.partition.each_placed_key(pipeline, visit);
    }

    /// The partition `number` and, where they are of it, the windows over all.
    pub(crate) fn into_partition(self, number: i32) -> (Partition, Option<Windows>) {
        (self.partition.numbered(number), self.windows)
    }
}
