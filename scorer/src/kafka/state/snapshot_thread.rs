//! Writing the snapshot of a partition on a thread of its own, beside the stream.
//!
//! The thread restores the partition as a restart would: from its last snapshot and its changelog, up to a commit. Meanwhile
//! the stream goes on, and brokers may compact what is being read: of a key that was written again since, the older record
//! may be gone. So the changes that the stream commits meanwhile are handed to the thread, and it takes them in until it has
//! all that were in the changelog when it had read up to that commit. Then its state is that of the last change that it took
//! in, and is written. While that is done, the state of this one partition is in memory a second time.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::changelogs::{Changelogs, Wanted};
use crate::core::{Restored, StateReader, StateRecord};
use crate::kafka::client::error::KafkaError;
use crate::kafka::threads::spawn_with_client;
use crate::kafka::wire::offset_metadata::StateTag;
use crate::snapshot::{SnapshotFile, Stamp};

/// How soon a thread sees that its snapshot is not wanted any more.
const LOOK: Duration = Duration::from_millis(100);

/// How long changes that are in the changelog may take until the stream hands them over.
const PATIENCE: Duration = Duration::from_secs(60);

/// Bytes of changes that may wait for the thread. Where the stream writes faster than the thread reads, a snapshot would only
/// grow: it is given up, and begun anew later.
const MOST_WAITING: usize = 32 << 20;

/// A change that is committed.
#[derive(Debug)]
pub(crate) struct CommittedChange {
    pub stamp: Stamp,
    pub records: Vec<StateRecord>,
}

impl CommittedChange {
    fn bytes(&self) -> usize {
        let bytes = |record: &StateRecord| {
            size_of::<StateRecord>() + record.key.len() + record.value.as_ref().map_or(0, Vec::len)
        };
        self.records.iter().map(bytes).sum()
    }
}

/// A snapshot that is being made.
pub(crate) struct SnapshotThread {
    pub partition: i32,
    changes: Sender<CommittedChange>,
    /// Bytes of the changes that were handed over and not taken in.
    waiting: Arc<AtomicUsize>,
    is_cancelled: Arc<AtomicBool>,
    thread: JoinHandle<Result<(), KafkaError>>,
}

impl SnapshotThread {
    /// Begins with a partition that has committed the change `stamp`. From the next change on, each is to be
    /// [handed over](Self::hand_over). Files are written while `writing` is locked.
    pub(crate) fn begin(changelogs: Changelogs, partition: i32, stamp: Stamp, writing: Arc<Mutex<()>>) -> Self {
        let (changes, committed) = channel();
        let is_cancelled = Arc::new(AtomicBool::new(false));
        let waiting = Arc::new(AtomicUsize::new(0));
        let (of_thread, is_wanted) = (waiting.clone(), is_cancelled.clone());
        let work =
            Work { changelogs, partition, stamp, committed, waiting: of_thread, is_cancelled: is_wanted, writing };
        let thread = spawn_with_client("snapshot", move || {
            if let Err(why) = work.run() {
                tracing::warn!(partition, why, "a snapshot was not written; a restart takes longer");
            }
            Ok(())
        });
        Self { partition, changes, waiting, is_cancelled, thread }
    }

    /// Whether the snapshot is written, or will not be.
    pub(crate) fn is_over(&self) -> bool {
        self.thread.is_finished()
    }

    /// Hands over the partition's next change, which is committed. `false` where too much waits: the snapshot is to be given
    /// up.
    #[must_use]
    pub(crate) fn hand_over(&self, change: CommittedChange) -> bool {
        let waiting = change.bytes() + self.waiting.fetch_add(change.bytes(), Ordering::Relaxed);
        // Where the thread has ended, nobody wants it any more.
        let _ = self.changes.send(change);
        waiting <= MOST_WAITING
    }
}

impl Drop for SnapshotThread {
    fn drop(&mut self) {
        self.is_cancelled.store(true, Ordering::Relaxed);
    }
}

struct Work {
    changelogs: Changelogs,
    partition: i32,
    /// The last change that was taken in.
    stamp: Stamp,
    committed: Receiver<CommittedChange>,
    waiting: Arc<AtomicUsize>,
    is_cancelled: Arc<AtomicBool>,
    writing: Arc<Mutex<()>>,
}

impl Work {
    /// Makes the snapshot, unless it is cancelled.
    ///
    /// # Errors
    /// Why it cannot be made.
    fn run(mut self) -> Result<(), String> {
        let Some(mut state) = self.restore().map_err(|error| error.to_string())? else { return Ok(()) };
        let (_, end) = self.changelogs.ends_of(self.partition).map_err(|error| error.to_string())?;
        if !self.take_in_until(end, &mut state)? {
            return Ok(());
        }
        let state = state.finish(&self.changelogs.pipeline).map_err(|error| error.to_string())?;
        self.write(&state).map_err(|error| error.to_string())
    }

    /// The state as it is after the first change. `None` when it is not wanted any more.
    fn restore(&self) -> Result<Option<StateReader>, KafkaError> {
        let tag = StateTag::new(self.stamp.birth, self.stamp.sequence);
        let mut found = None;
        let is_wanted = |_| !self.is_cancelled();
        self.changelogs.read_each(&[(self.partition, Wanted::Passed(tag))], &is_wanted, &mut |_, state| {
            found = Some(state);
        })?;
        found.map(|state| state.map(|state| state.state)).transpose()
    }

    /// Takes in changes until everything before `end` of the changelog is in the state, and all that are there by then.
    /// `false` when it is not wanted any more.
    fn take_in_until(&mut self, end: i64, state: &mut StateReader) -> Result<bool, String> {
        let begun = Instant::now();
        loop {
            // Behind a change stands the marker of its transaction.
            let is_there = self.stamp.offset + 1 >= end;
            let change = match self.committed.recv_timeout(if is_there { Duration::ZERO } else { LOOK }) {
                Ok(change) => change,
                _ if self.is_cancelled() => return Ok(false),
                Err(_) if is_there => return Ok(true),
                Err(RecvTimeoutError::Disconnected) => return Ok(false),
                Err(RecvTimeoutError::Timeout) if begun.elapsed() < PATIENCE => continue,
                Err(RecvTimeoutError::Timeout) => {
                    return Err("the last changes of its changelog are not ours".to_owned());
                }
            };
            self.waiting.fetch_sub(change.bytes(), Ordering::Relaxed);
            for record in &change.records {
                let taken = state.take(&self.changelogs.pipeline, &record.key, record.value.as_deref());
                taken.map_err(|error| error.to_string())?;
            }
            self.stamp = change.stamp;
        }
    }

    fn write(&self, state: &Restored) -> std::io::Result<()> {
        let Some(folder) = &self.changelogs.snapshots else { return Ok(()) };
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_cancelled() {
            return Ok(());
        }
        let mut file = SnapshotFile::new(folder, self.partition).begin()?;
        let mut result = Ok(());
        state.put_all(&self.changelogs.pipeline, |record| {
            if result.is_ok() && !self.is_cancelled() {
                result = file.put(&record);
            }
        });
        result?;
        if self.is_cancelled() { Ok(()) } else { file.finish(self.stamp) }
    }

    fn is_cancelled(&self) -> bool {
        self.is_cancelled.load(Ordering::Relaxed)
    }
}
