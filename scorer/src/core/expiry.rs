//! Keys with a deadline, in the order in which they expire.
//!
//! A touched entry's deadline is the largest so far, because a partition's clock never goes back and every deadline
//! lies the same span ahead. So a doubly linked list keeps them in order, and every operation takes constant time.

use std::collections::HashMap;
use std::sync::Arc;

use shared::time::Timestamp;

const NONE: usize = usize::MAX;

/// Values by key, ordered by deadline.
#[derive(Debug)]
pub(super) struct ExpiryMap<V> {
    slots: HashMap<Arc<str>, usize>,
    entries: Vec<Entry<V>>,
    free: Vec<usize>,
    oldest: usize,
    newest: usize,
}

#[derive(Debug)]
struct Entry<V> {
    key: Arc<str>,
    deadline: Timestamp,
    older: usize,
    newer: usize,
    value: Option<V>,
}

impl<V> Default for ExpiryMap<V> {
    fn default() -> Self {
        Self { slots: HashMap::new(), entries: Vec::new(), free: Vec::new(), oldest: NONE, newest: NONE }
    }
}

impl<V> ExpiryMap<V> {
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// The value at `key`, after moving its deadline to `deadline`, which is not before any other's.
    pub(super) fn touch(&mut self, key: &str, deadline: Timestamp) -> Option<&mut V> {
        let slot = *self.slots.get(key)?;
        self.unlink(slot);
        self.entries[slot].deadline = deadline;
        self.link_newest(slot);
        self.entries[slot].value.as_mut()
    }

    pub(super) fn get(&self, key: &str) -> Option<&V> {
        self.entries[*self.slots.get(key)?].value.as_ref()
    }

    /// Adds a key that is not there yet, with a deadline that is not before any other's.
    pub(super) fn insert(&mut self, key: Arc<str>, deadline: Timestamp, value: V) {
        let entry = Entry { key: key.clone(), deadline, older: NONE, newer: NONE, value: Some(value) };
        let slot = match self.free.pop() {
            Some(slot) => {
                self.entries[slot] = entry;
                slot
            }
            None => {
                self.entries.push(entry);
                self.entries.len() - 1
            }
        };
        self.slots.insert(key, slot);
        self.link_newest(slot);
    }

    /// The earliest deadline.
    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        (self.oldest != NONE).then(|| self.entries[self.oldest].deadline)
    }

    /// Takes out the entry with the earliest deadline if that is not after `clock`.
    pub(super) fn pop_expired(&mut self, clock: Timestamp) -> Option<(Arc<str>, Timestamp, V)> {
        let slot = self.oldest;
        if slot == NONE || self.entries[slot].deadline > clock {
            return None;
        }
        self.unlink(slot);
        self.free.push(slot);
        let entry = &mut self.entries[slot];
        self.slots.remove(&entry.key);
        let value = entry.value.take()?;
        Some((entry.key.clone(), entry.deadline, value))
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &V> {
        self.slots.values().filter_map(|&slot| self.entries[slot].value.as_ref())
    }

    fn link_newest(&mut self, slot: usize) {
        self.entries[slot].older = self.newest;
        self.entries[slot].newer = NONE;
        match self.newest {
            NONE => self.oldest = slot,
            newest => self.entries[newest].newer = slot,
        }
        self.newest = slot;
    }

    fn unlink(&mut self, slot: usize) {
        let (older, newer) = (self.entries[slot].older, self.entries[slot].newer);
        match older {
            NONE => self.oldest = newer,
            older => self.entries[older].newer = newer,
        }
        match newer {
            NONE => self.newest = older,
            newer => self.entries[newer].older = older,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_behaves_as_a_plain_map_ordered_by_deadline(steps in proptest::collection::vec((0u8..12, 0i64..5, any::<bool>()), 0..200)) {
            let mut map = ExpiryMap::default();
            let mut model: BTreeMap<String, (i64, usize)> = BTreeMap::new();
            let mut clock = 0;
            for (order, (key, ahead, pop)) in steps.into_iter().enumerate() {
                clock += ahead;
                let key = format!("k{key}");
                let deadline = clock + 10;
                if map.touch(&key, deadline).is_none() {
                    map.insert(key.as_str().into(), deadline, key.clone());
                }
                model.insert(key, (deadline, order));
                prop_assert_eq!(map.len(), model.len());
                if pop {
                    let expected = model.iter().min_by_key(|(_, at)| **at).filter(|(_, at)| at.0 <= clock + 12)
                        .map(|(key, at)| (key.clone(), at.0));
                    let popped = map.pop_expired(clock + 12).map(|(key, deadline, value)| {
                        assert_eq!(*key, *value);
                        (key.to_string(), deadline)
                    });
                    prop_assert_eq!(&popped, &expected);
                    if let Some((key, _)) = popped { model.remove(&key); }
                }
            }
        }
    }
}
