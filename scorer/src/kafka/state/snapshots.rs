//! When local snapshots are written: once a changelog has grown by as much as reading it back would cost, and at the end.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use crate::core::{Core, PartitionChanges};
use crate::kafka::client::producer::Ends;
use crate::kafka::topics::names::Topics;
use crate::snapshot::{SnapshotFile, Stamp, Unstamped};

/// Changelog records after which a snapshot is worth its while, beside as many as the state itself has.
const MIN_RECORDS: u64 = 200_000;

/// The snapshots of an instance's partitions.
pub(crate) struct Snapshots {
    folder: Option<PathBuf>,
    topics: Topics,
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    partitions: BTreeMap<i32, Followed>,
    pending: Vec<Pending>,
}

/// A partition's changelog since the last snapshot.
#[derive(Debug, Default, Clone, Copy)]
struct Followed {
    records: u64,
    /// The last committed change: where it began, its number, and where the changelog goes on.
    stamp: Option<Stamp>,
}

/// A change that is not committed yet, and perhaps a snapshot that stands for it.
struct Pending {
    number: u64,
    partition: i32,
    birth: i64,
    sequence: u64,
    snapshot: Option<Unstamped>,
}

impl Snapshots {
    pub(crate) fn new(folder: Option<PathBuf>, topics: Topics) -> Self {
        Self { folder, topics, state: RefCell::default() }
    }

    /// Notes the changes of batch `number`, just taken from `core`, and writes the snapshots that are due.
    pub(crate) fn follow(&self, number: u64, changes: &[PartitionChanges], core: &Core) {
        let mut state = self.state.borrow_mut();
        for PartitionChanges { partition, head, records } in changes {
            let followed = state.partitions.entry(*partition).or_default();
            followed.records += records.len() as u64;
            let is_due = followed.records >= MIN_RECORDS + core.state_records(*partition);
            let snapshot = if is_due {
                followed.records = 0;
                self.write(*partition, core)
            } else {
                None
            };
            let (birth, sequence) = (head.birth, head.sequence);
            state.pending.push(Pending { number, partition: *partition, birth, sequence, snapshot });
        }
    }

    /// The batch is committed: now it is known what its snapshots stand for.
    pub(crate) fn committed(&self, number: u64, ends: &Ends) {
        let mut state = self.state.borrow_mut();
        let State { partitions, pending } = &mut *state;
        for done in pending.extract_if(.., |pending| pending.number <= number) {
            let end = ends.get(&(self.topics.state.clone(), done.partition)).filter(|_| done.number == number);
            let Some(&offset) = end else { continue };
            let stamp = Stamp { birth: done.birth, sequence: done.sequence, offset };
            partitions.entry(done.partition).or_default().stamp = Some(stamp);
            if let Some(snapshot) = done.snapshot {
                // Waiting for the disk is not for the thread that reads records.
                std::thread::spawn(move || finish(snapshot, stamp));
            }
        }
    }

    /// Nothing that is pending will be committed.
    pub(crate) fn forget(&self) {
        let mut state = self.state.borrow_mut();
        state.pending.clear();
        state.partitions.clear();
    }

    /// Everything is committed, and the end: a snapshot of each partition that is still owned and has changed.
    pub(crate) fn leave(&self, core: &Core, owned: &BTreeSet<i32>) {
        let state = self.state.borrow();
        let changed = state.partitions.iter().filter(|(partition, _)| owned.contains(partition));
        for (&partition, followed) in changed.filter(|(_, followed)| followed.records > 0) {
            if let (Some(stamp), Some(snapshot)) = (followed.stamp, self.write(partition, core)) {
                finish(snapshot, stamp);
            }
        }
    }

    fn write(&self, partition: i32, core: &Core) -> Option<Unstamped> {
        let file = SnapshotFile::new(self.folder.as_ref()?, partition);
        let written = file.begin().and_then(|mut snapshot| {
            let mut result = Ok(());
            core.snapshot(partition, |record| {
                if result.is_ok() {
                    result = snapshot.put(&record);
                }
            });
            result.map(|()| snapshot)
        });
        written
            .inspect_err(
                |error| tracing::warn!(%error, partition, "a snapshot was not written; a restart takes longer"),
            )
            .ok()
    }
}

fn finish(snapshot: Unstamped, stamp: Stamp) {
    if let Err(error) = snapshot.finish(stamp) {
        tracing::warn!(%error, "a snapshot was not written; a restart takes longer");
    }
}
