//! When local snapshots are written: once a changelog has grown by as much as reading it back would cost, and at the end.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::clock::now_since_epoch;
use crate::core::{Core, PartitionChanges};
use crate::kafka::client::producer::ProducedOffsets;
use crate::snapshot::{SnapshotFile, Stamp, Unstamped};

/// Changelog records after which a snapshot is worth writing, in addition to as many as the state itself has.
const MIN_RECORDS: u64 = 200_000;

/// The snapshots of an instance's partitions.
pub(crate) struct Snapshots {
    folder: Option<PathBuf>,
    /// The changelog topic.
    changelog: String,
    partitions: BTreeMap<i32, Followed>,
    pending: Vec<Pending>,
}

/// A partition's changelog since the last snapshot.
#[derive(Debug, Default, Clone, Copy)]
struct Followed {
    records: u64,
    /// The last commit: which it is, and where the changelog goes on after it.
    stamp: Option<Stamp>,
}

/// A change that is not committed yet, and perhaps a snapshot that stands for it.
struct Pending {
    batch: u64,
    partition: i32,
    birth: i64,
    sequence: u64,
    snapshot: Option<Unstamped>,
}

impl Snapshots {
    /// Of partitions with this changelog; without a folder nothing is written.
    pub(crate) fn new(folder: Option<PathBuf>, changelog: &str) -> Self {
        Self { folder, changelog: changelog.to_owned(), partitions: BTreeMap::new(), pending: Vec::new() }
    }

    /// Notes the changes of a batch, just taken from `core`, and writes the snapshots that are due.
    pub(crate) fn follow(&mut self, batch: u64, changes: &[PartitionChanges], core: &Core) {
        for PartitionChanges { partition, head, records } in changes {
            let followed = self.partitions.entry(*partition).or_default();
            followed.records += records.len() as u64;
            let is_due = followed.records >= MIN_RECORDS + core.state_records(*partition);
            if is_due {
                followed.records = 0;
            }
            let snapshot = if is_due { self.write(*partition, core) } else { None };
            let (birth, sequence) = (head.birth, head.sequence);
            self.pending.push(Pending { batch, partition: *partition, birth, sequence, snapshot });
        }
    }

    /// The batch is committed: now it is known what its snapshots stand for.
    pub(crate) fn on_committed(&mut self, batch: u64, produced: &ProducedOffsets) {
        for done in self.pending.extract_if(.., |pending| pending.batch <= batch) {
            let end = produced.get(&(self.changelog.clone(), done.partition)).filter(|_| done.batch == batch);
            let Some(&offset) = end else { continue };
            let stamp = Stamp { birth: done.birth, sequence: done.sequence, offset, time: Some(now_since_epoch()) };
            self.partitions.entry(done.partition).or_default().stamp = Some(stamp);
            if let Some(snapshot) = done.snapshot {
                // The thread that reads records must not wait for the disk.
                std::thread::spawn(move || finish(snapshot, stamp));
            }
        }
    }

    /// Nothing that is pending will be committed.
    pub(crate) fn forget(&mut self) {
        self.pending.clear();
        self.partitions.clear();
    }

    /// At the end, when everything is committed: writes a snapshot of each partition that is still owned and has changed.
    pub(crate) fn leave(&self, core: &Core, owned: &[i32]) {
        let changed = self.partitions.iter().filter(|(partition, _)| owned.contains(partition));
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
        written.inspect_err(warn).ok()
    }
}

fn finish(snapshot: Unstamped, stamp: Stamp) {
    let _ = snapshot.finish(stamp).inspect_err(warn);
}

fn warn(error: &std::io::Error) {
    tracing::warn!(%error, "a snapshot was not written; a restart takes longer");
}
