//! When local snapshots are written: once a changelog has grown by as much as reading it back would cost, beside the stream,
//! and at the end.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::changelogs::Changelogs;
use super::snapshot_thread::{CommittedChange, SnapshotThread};
use crate::clock::now_since_epoch;
use crate::core::{Core, PartitionChanges, StateRecord};
use crate::kafka::client::producer::ProducedOffsets;
use crate::snapshot::{SnapshotFile, Stamp};

/// Changelog records after which a snapshot is worth writing, in addition to as many as the state itself has.
const MIN_RECORDS: u64 = 200_000;

/// The snapshots of the partitions of a stream thread. One is made at a time in a process.
pub(crate) struct Snapshots {
    /// Where the state is, and the folder for snapshots; nothing is written without.
    changelogs: Option<Changelogs>,
    /// Whether they are made beside the stream, too.
    are_beside: bool,
    min_records: u64,
    partitions: BTreeMap<i32, Followed>,
    pending: Vec<Pending>,
    /// The partition whose snapshot is due, from the change on with which it is.
    due: Option<Due>,
    /// The snapshot that is being made.
    in_the_making: Option<SnapshotThread>,
    turn: SnapshotTurn,
    /// Locked while a file is written.
    writing: Arc<Mutex<()>>,
}

/// What the stream threads of a process have in common: one makes a snapshot at a time, for each takes as much memory as its
/// partition; and one writes a file, for they have one folder, and partitions go from thread to thread.
#[derive(Debug, Clone, Default)]
pub(crate) struct SnapshotTurn {
    is_taken: Arc<AtomicBool>,
    writing: Arc<Mutex<()>>,
}

impl SnapshotTurn {
    /// Takes the turn, unless another thread has it.
    fn take(&self) -> Option<TakenTurn> {
        let was_taken = self.is_taken.swap(true, Ordering::AcqRel);
        (!was_taken).then(|| TakenTurn(self.is_taken.clone()))
    }
}

/// A turn, until it is dropped.
struct TakenTurn(Arc<AtomicBool>);

impl Drop for TakenTurn {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// The partition whose snapshot is due.
struct Due {
    partition: i32,
    _turn: TakenTurn,
}

/// A partition's changelog since the last snapshot.
#[derive(Debug, Default, Clone, Copy)]
struct Followed {
    records: u64,
    /// The last commit: which it is, and where the changelog goes on after it.
    stamp: Option<Stamp>,
}

/// A change that is not committed yet.
struct Pending {
    batch: u64,
    partition: i32,
    birth: i64,
    sequence: u64,
    /// What the change is to a snapshot.
    role: Role,
}

/// What a change is to a snapshot.
enum Role {
    /// Nothing.
    None,
    /// The snapshot begins with it.
    First,
    /// It comes after the first.
    Later(Vec<StateRecord>),
}

impl Snapshots {
    /// Of partitions with these changelogs; where there is no folder for snapshots, nothing is written.
    pub(crate) fn new(changelogs: Option<Changelogs>) -> Self {
        Self {
            changelogs: changelogs.filter(|changelogs| changelogs.snapshots.is_some()),
            are_beside: true,
            min_records: MIN_RECORDS,
            partitions: BTreeMap::new(),
            pending: Vec::new(),
            due: None,
            in_the_making: None,
            turn: SnapshotTurn::default(),
            writing: Arc::default(),
        }
    }

    /// The same in one of several stream threads, which take turns.
    pub(crate) fn taking_turns(self, turn: &SnapshotTurn) -> Self {
        Self { turn: turn.clone(), writing: turn.writing.clone(), ..self }
    }

    /// The same, made at the end only unless they may be made beside the stream.
    pub(crate) fn beside_the_stream(self, are_beside: bool) -> Self {
        Self { are_beside, ..self }
    }

    /// Notes the changes of a batch, just taken from `core`.
    pub(crate) fn follow(&mut self, batch: u64, changes: &[PartitionChanges], core: &Core) {
        if self.changelogs.is_none() {
            return;
        }
        if self.in_the_making.as_ref().is_some_and(SnapshotThread::is_over) {
            (self.due, self.in_the_making) = (None, None);
        }
        for PartitionChanges { partition, head, records } in changes {
            let followed = self.partitions.entry(*partition).or_default();
            followed.records += records.len() as u64;
            let role = if self.due.as_ref().is_some_and(|due| due.partition == *partition) {
                Role::Later(records.clone())
            } else if self.are_beside
                && self.due.is_none()
                && followed.records >= self.min_records + core.state_records(*partition)
                && let Some(turn) = self.turn.take()
            {
                followed.records = 0;
                self.due = Some(Due { partition: *partition, _turn: turn });
                Role::First
            } else {
                Role::None
            };
            let (birth, sequence) = (head.birth, head.sequence);
            self.pending.push(Pending { batch, partition: *partition, birth, sequence, role });
        }
    }

    /// The batch is committed: now it is known what its changes stand for.
    pub(crate) fn on_committed(&mut self, batch: u64, produced: &ProducedOffsets) {
        let Some(changelogs) = &self.changelogs else { return };
        for done in self.pending.extract_if(.., |pending| pending.batch <= batch) {
            let topic = changelogs.topics.state.clone();
            let end = produced.get(&(topic, done.partition)).filter(|_| done.batch == batch);
            let Some(&offset) = end else {
                // A snapshot that misses a change is none.
                if !matches!(done.role, Role::None) {
                    (self.due, self.in_the_making) = (None, None);
                }
                continue;
            };
            let stamp = Stamp { birth: done.birth, sequence: done.sequence, offset, time: Some(now_since_epoch()) };
            self.partitions.entry(done.partition).or_default().stamp = Some(stamp);
            match (done.role, &self.in_the_making) {
                (Role::First, _) => {
                    let (changelogs, writing) = (changelogs.clone(), self.writing.clone());
                    self.in_the_making = Some(SnapshotThread::begin(changelogs, done.partition, stamp, writing));
                }
                (Role::Later(records), Some(thread)) if thread.partition == done.partition => {
                    if !thread.hand_over(CommittedChange { stamp, records }) {
                        (self.due, self.in_the_making) = (None, None);
                    }
                }
                (Role::Later(_) | Role::None, _) => {}
            }
        }
    }

    /// Nothing that is pending will be committed.
    pub(crate) fn forget(&mut self) {
        self.pending.clear();
        self.partitions.clear();
        (self.due, self.in_the_making) = (None, None);
    }

    /// Partitions are not ours any more.
    pub(crate) fn revoke(&mut self, partitions: &[i32]) {
        self.partitions.retain(|partition, _| !partitions.contains(partition));
        if self.due.as_ref().is_some_and(|due| partitions.contains(&due.partition)) {
            (self.due, self.in_the_making) = (None, None);
        }
    }

    /// When everything is committed: writes a snapshot of each of these partitions that has changed.
    fn leave(&mut self, core: &Core, owned: &[i32]) {
        // What is not written by now is written here, with the changes since.
        if let Some(unfinished) = self.in_the_making.take().filter(|thread| !thread.is_over()) {
            self.partitions.entry(unfinished.partition).or_default().records += 1;
        }
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = self.partitions.iter().filter(|(partition, _)| owned.contains(partition));
        for (&partition, followed) in changed.filter(|(_, followed)| followed.records > 0) {
            if let Some(stamp) = followed.stamp
                && let Err(error) = self.write(partition, stamp, core)
            {
                tracing::warn!(partition, %error, "a snapshot was not written; a restart takes longer");
            }
        }
    }

    fn write(&self, partition: i32, stamp: Stamp, core: &Core) -> std::io::Result<()> {
        let Some(folder) = self.changelogs.as_ref().and_then(|changelogs| changelogs.snapshots.as_ref()) else {
            return Ok(());
        };
        let mut file = SnapshotFile::new(folder, partition).begin()?;
        let mut result = Ok(());
        core.snapshot(partition, |record| {
            if result.is_ok() {
                result = file.put(&record);
            }
        });
        result?;
        file.finish(stamp)
    }
}

/// The snapshots that are written at the end, once the group has its partitions back: until a large state is written, their
/// new owners would wait. That they commit meanwhile changes nothing, because a snapshot says which commit it is of.
pub(crate) struct LastSnapshots {
    snapshots: Snapshots,
    core: Core,
    owned: Vec<i32>,
}

impl LastSnapshots {
    /// Of the partitions in `owned`, as they are in `core`, which is committed.
    pub(crate) fn new(snapshots: Snapshots, core: Core, owned: Vec<i32>) -> Self {
        Self { snapshots, core, owned }
    }

    /// Writes those that have changed.
    pub(crate) fn write(mut self) {
        self.snapshots.leave(&self.core, &self.owned);
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use rdkafka::mocking::MockCluster;
    use rdkafka::producer::DefaultProducerContext;
    use shared::pipeline::Pipeline;

    use super::*;
    use crate::core::{Input, Origin, Record, Recovery, Start};
    use crate::kafka::client::producer::{ProduceRecord, Producer};
    use crate::kafka::client::settings::KafkaSettings;
    use crate::kafka::client::watchdog::Watchdog;
    use crate::kafka::topics::input::InputTopic;
    use crate::kafka::topics::names::Topics;

    const PATIENCE: Duration = Duration::from_secs(60);

    /// The key of the windows over all partitions.
    const WINDOWS: &[u8] = b"w";

    /// Keys and values of a changelog.
    type Contents = BTreeMap<Vec<u8>, Vec<u8>>;

    /// A partition that commits changes, one batch each.
    struct Committing {
        core: Core,
        snapshots: Snapshots,
        producer: Producer,
        _cluster: MockCluster<'static, DefaultProducerContext>,
        folder: tempfile::TempDir,
        changelogs: Changelogs,
        /// Where the changelog ends after each change, and what the state is then.
        changes: Vec<(i64, Contents)>,
    }

    impl Committing {
        fn new(min_records: u64) -> Self {
            let (cluster, folder) = (MockCluster::new(1).unwrap(), tempfile::tempdir().unwrap());
            let pipeline = Arc::new(Pipeline::load("invoices").unwrap());
            let topics = Topics::new(&pipeline, "g");
            cluster.create_topic(&topics.state, 1, 1).unwrap();
            let (topic, layout) = (topics.input.clone(), pipeline.state_layout());
            let settings = KafkaSettings::at(cluster.bootstrap_servers());
            let origin = Origin { topic, partitions: 1, layout, topic_id: None };
            let changelogs = Changelogs {
                settings: settings.clone(),
                input: InputTopic::without_id(&topics.input, "g", &pipeline.name),
                origin: origin.clone(),
                pipeline: pipeline.clone(),
                topics,
                group: "g".to_owned(),
                snapshots: Some(folder.path().to_owned()),
                watchdog: Watchdog::new(),
                #[cfg(feature = "fault-injection")]
                faults: crate::kafka::stages::faults::FaultInjection::default(),
            };
            let mut core = Core::sharing(pipeline, Recovery::Changelog, origin);
            core.apply(Input::Assigned { partition: 0, start: Start::At(0) }, &mut Vec::new());
            let snapshots = Snapshots { min_records, ..Snapshots::new(Some(changelogs.clone())) };
            let producer = Producer::new(&settings).unwrap();
            Self { core, snapshots, producer, _cluster: cluster, folder, changelogs, changes: Vec::new() }
        }

        /// Reads a few lines, which close others, and commits that.
        fn commit(&mut self) {
            let number = self.changes.len() as i64;
            for line in 0..3 {
                let (offset, timestamp) = (3 * number + line, 20_000 * number + line);
                let payload = format!("{},22143,MUG,2,9/1/2010 9:22,1.5,12345,France", number % 7 + line);
                let record = Record::new(0, offset, timestamp, payload.as_bytes());
                self.core.apply(Input::Record(record), &mut Vec::new());
            }
            let changes = self.core.take_changes();
            self.snapshots.follow(number as u64, &changes, &self.core);
            let topic = self.changelogs.topics.state.clone();
            let mut end = self.changes.last().map_or(0, |(end, _)| *end);
            for record in &changes[0].records {
                self.producer.queue(ProduceRecord::state(&topic, 0, record)).unwrap();
                end += 1;
            }
            self.producer.flush().unwrap();
            let mut state = BTreeMap::new();
            self.core.snapshot(0, |record| {
                state.insert(record.key, record.value.unwrap());
            });
            // Nothing is reported here, so the windows stay as they begin, and the changelog has no record of them.
            state.remove(WINDOWS);
            self.changes.push((end, state));
            self.snapshots.on_committed(number as u64, &ProducedOffsets::from([((topic, 0), end)]));
        }

        /// The snapshot on disk has to be that of a change; of which.
        fn change_on_disk(&self) -> Option<usize> {
            let mut found = BTreeMap::new();
            let stamp = SnapshotFile::new(self.folder.path(), 0).read(|key, value| {
                found.insert(key.to_vec(), value.to_vec());
                true
            })?;
            found.remove(WINDOWS);
            let change = stamp.sequence as usize - 1;
            let (end, state) = &self.changes[change];
            assert_eq!(stamp.offset, *end);
            assert!(found == *state, "the state after change {change}, and nothing else");
            Some(change)
        }

        fn is_in_the_making(&self) -> bool {
            self.snapshots.in_the_making.as_ref().is_some_and(|thread| !thread.is_over())
        }

        /// Commits until a snapshot is being made; how often.
        fn commit_until_due(&mut self) -> usize {
            let before = self.changes.len();
            while !self.is_in_the_making() {
                assert!(self.changes.len() < before + 1_000, "it is due at some time");
                self.commit();
            }
            self.changes.len() - before
        }
    }

    #[test]
    fn snapshots_of_changes_are_written_while_more_are_committed() {
        let mut partition = Committing::new(50);
        let mut last = 0;
        for round in 0..3 {
            let first = partition.changes.len() + partition.commit_until_due() - 1;
            assert!(first > 5, "not before it is due");
            let start = Instant::now();
            while partition.is_in_the_making() {
                assert!(start.elapsed() < PATIENCE);
                partition.commit();
            }
            let change = partition.change_on_disk().unwrap();
            assert!(change >= first && change > last, "round {round}: {change} after {first} and {last}");
            last = change;
        }
    }

    #[test]
    fn the_threads_of_a_process_make_one_snapshot_at_a_time() {
        let turn = SnapshotTurn::default();
        let [mut first, mut second] = [(); 2].map(|()| {
            let mut partition = Committing::new(50);
            partition.snapshots = partition.snapshots.taking_turns(&turn);
            partition
        });
        let writing = turn.writing.clone();
        let held = writing.lock().unwrap();
        first.commit_until_due();
        (0..200).for_each(|_| second.commit());
        assert!(!second.is_in_the_making(), "it is due for long, and the other one is not done");
        drop(held);
        let start = Instant::now();
        while first.is_in_the_making() {
            assert!(start.elapsed() < PATIENCE);
            std::thread::yield_now();
        }
        assert!(first.change_on_disk().is_some());
        // With its next change, or where it forgets what was due.
        first.snapshots.forget();
        second.commit_until_due();
    }

    #[test]
    fn what_is_rolled_back_or_revoked_has_no_snapshot() {
        for is_revoked in [false, true] {
            let mut partition = Committing::new(50);
            let writing = partition.snapshots.writing.clone();
            let held = writing.lock().unwrap();
            partition.commit_until_due();
            if is_revoked {
                partition.snapshots.revoke(&[0])
            } else {
                partition.snapshots.forget()
            }
            drop(held);
            let start = Instant::now();
            while Arc::strong_count(&writing) > 2 {
                assert!(start.elapsed() < PATIENCE, "its thread ends");
                std::thread::yield_now();
            }
            assert_eq!(partition.change_on_disk(), None);
        }
    }

    #[test]
    fn what_is_not_written_at_the_end_is_written_then() {
        let mut partition = Committing::new(50);
        partition.commit_until_due();
        partition.snapshots.leave(&partition.core, &[0]);
        assert_eq!(partition.change_on_disk(), Some(partition.changes.len() - 1));
        assert!(!partition.is_in_the_making());
    }

    #[test]
    fn a_partition_without_changes_keeps_its_snapshot() {
        let mut partition = Committing::new(1_000_000);
        partition.commit();
        partition.snapshots.leave(&partition.core, &[0]);
        assert_eq!(partition.change_on_disk(), Some(0));
        partition.commit();
        partition.snapshots.leave(&partition.core, &[]);
        assert_eq!(partition.change_on_disk(), Some(0), "what is not owned is not written");
    }
}
