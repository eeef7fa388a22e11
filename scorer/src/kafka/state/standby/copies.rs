//! The copies of an instance, which one thread feeds and others take.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::copy::StandbyCopy;

/// The copies of an instance.
#[derive(Debug, Default)]
pub(super) struct Copies {
    held: Mutex<Held>,
    /// Whether the instance got or lost partitions since that was last asked.
    has_changed: AtomicBool,
    is_over: AtomicBool,
}

#[derive(Debug, Default)]
struct Held {
    copies: BTreeMap<i32, StandbyCopy>,
    /// The instance's own partitions. A copy of one is kept until the restore takes it.
    owned: BTreeSet<i32>,
}

impl Copies {
    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that partitions are the instance's own from now on.
    pub(super) fn own(&self, partitions: &[i32]) {
        self.held().owned.extend(partitions);
        self.has_changed.store(true, Ordering::Relaxed);
    }

    /// Notes that partitions are the instance's own no more.
    pub(super) fn disown(&self, partitions: &[i32]) {
        self.held().owned.retain(|owned| !partitions.contains(owned));
        self.has_changed.store(true, Ordering::Relaxed);
    }

    /// Takes out the copies of partitions.
    pub(super) fn take_out(&self, partitions: impl Iterator<Item = i32>) -> BTreeMap<i32, StandbyCopy> {
        let mut held = self.held();
        partitions.filter_map(|partition| Some((partition, held.copies.remove(&partition)?))).collect()
    }

    /// Lets the copies of these partitions be, and those of the instance's own; drops the others.
    pub(super) fn keep(&self, partitions: &BTreeSet<i32>) {
        let mut held = self.held();
        let Held { copies, owned } = &mut *held;
        copies.retain(|partition, _| partitions.contains(partition) || owned.contains(partition));
    }

    /// Begins with copies of those partitions that have none and are not the instance's own; which.
    pub(super) fn begin(&self, partitions: &BTreeSet<i32>, new: impl Fn() -> StandbyCopy) -> Vec<i32> {
        let mut held = self.held();
        let Held { copies, owned } = &mut *held;
        let mut begun = Vec::new();
        for &partition in partitions.difference(owned) {
            copies.entry(partition).or_insert_with(|| {
                begun.push(partition);
                new()
            });
        }
        begun
    }

    /// Looks at the copy of a partition, if there is one.
    pub(super) fn with<T>(&self, partition: i32, look: impl FnOnce(&mut StandbyCopy) -> T) -> Option<T> {
        self.held().copies.get_mut(&partition).map(look)
    }

    /// What `look` makes of each copy.
    pub(super) fn each<T>(&self, mut look: impl FnMut(i32, &StandbyCopy) -> T) -> Vec<T> {
        self.held().copies.iter().map(|(partition, copy)| look(*partition, copy)).collect()
    }

    /// Drops the copy of a partition.
    pub(super) fn remove(&self, partition: i32) {
        self.held().copies.remove(&partition);
    }

    /// Whether the instance got or lost partitions since the last time.
    pub(super) fn take_change(&self) -> bool {
        self.has_changed.swap(false, Ordering::Relaxed)
    }

    /// Nobody wants copies any more.
    pub(super) fn end(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }

    /// Whether nobody wants copies any more.
    pub(super) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }
}
