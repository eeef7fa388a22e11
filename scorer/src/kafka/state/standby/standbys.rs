//! The copies that an instance keeps, for those who restore partitions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::thread::JoinHandle;

use super::copies::Copies;
use super::copy::StandbyCopy;
use super::follower::Follower;
use crate::kafka::client::consumer::GroupConsumer;
use crate::kafka::client::error::KafkaError;
use crate::kafka::state::changelogs::Changelogs;
use crate::kafka::threads::spawn_with_client;
use crate::status::StatusCell;

/// What the copies of an instance are of.
pub(crate) struct StandbySettings {
    pub changelogs: Changelogs,
    /// The instance as a member of its group.
    pub member: Arc<GroupConsumer>,
    /// How many instances keep a copy of a partition.
    pub standbys: usize,
    /// Bytes that a partition's state may take.
    pub max_bytes: usize,
    pub status: StatusCell,
}

/// Copies of the state of partitions that other instances own. A thread of its own follows their changelogs; whoever drops this
/// waits for its end.
pub(crate) struct Standbys {
    copies: Arc<Copies>,
    thread: Option<JoinHandle<Result<(), KafkaError>>>,
}

impl Standbys {
    /// Begins to follow.
    pub(crate) fn start(with: StandbySettings) -> Self {
        let StandbySettings { changelogs, member, standbys, max_bytes, status } = with;
        let copies = Arc::new(Copies::default());
        let follower = Follower {
            changelogs,
            copies: copies.clone(),
            member: Arc::downgrade(&member),
            standbys,
            max_bytes,
            status,
            read: BTreeSet::new(),
            too_large: BTreeSet::new(),
            asked_at: None,
            has_told: false,
        };
        let thread = spawn_with_client("standby", move || {
            if let Err(error) = follower.run() {
                tracing::warn!(%error, "no standby copies are kept: partitions that move here are restored in full");
            }
            Ok(())
        });
        Self { copies, thread: Some(thread) }
    }

    /// Notes that partitions are the instance's own from now on. Their copies are followed until they are taken over.
    pub(crate) fn own(&self, partitions: &[i32]) {
        self.copies.own(partitions);
    }

    /// Notes that partitions are the instance's own no more.
    pub(crate) fn disown(&self, partitions: &[i32]) {
        self.copies.disown(partitions);
    }

    /// Takes over the copies of partitions, of those that have one.
    pub(crate) fn take_over(&self, partitions: impl Iterator<Item = i32>) -> BTreeMap<i32, StandbyCopy> {
        self.copies.take_out(partitions)
    }

    /// Lets the thread end: nobody wants copies any more.
    pub(crate) fn end(&self) {
        self.copies.end();
    }
}

impl Drop for Standbys {
    fn drop(&mut self) {
        self.end();
        // Its client is gone before the process ends: while that ends, nothing may use what libraries then put away.
        if let Some(thread) = self.thread.take() {
            // What went wrong on it was said there.
            let _ = thread.join();
        }
    }
}
