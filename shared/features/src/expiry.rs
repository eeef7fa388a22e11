//! Keys with a deadline, in the order in which they expire.
//!
//! A touched entry's deadline is the largest so far, because a partition's clock never goes back and every deadline
//! lies the same span ahead. So a doubly linked list keeps them in order, and every operation takes constant time.
//! A million entries are usual: keys are stored once, and links and table hold indices of four bytes.

use std::hash::BuildHasher;

use hashbrown::DefaultHashBuilder;
use hashbrown::hash_table::{Entry as Slot, HashTable};
use records::time::Timestamp;

const NONE: u32 = u32::MAX;

/// Below so many entries no memory is given back.
const FEW: usize = 1024;

/// Values by key, ordered by deadline.
#[derive(Debug, Clone)]
pub struct ExpiryMap<V> {
    hasher: DefaultHashBuilder,
    slots: HashTable<u32>,
    entries: Vec<Entry<V>>,
    free: Vec<u32>,
    oldest: u32,
    newest: u32,
}

/// Where an entry is, until one is taken out or put in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place(u32);

#[derive(Debug, Clone)]
struct Entry<V> {
    key: Box<str>,
    deadline: Timestamp,
    older: u32,
    newer: u32,
    value: Option<V>,
}

impl<V> Default for ExpiryMap<V> {
    fn default() -> Self {
        Self {
            hasher: DefaultHashBuilder::default(),
            slots: HashTable::new(),
            entries: Vec::new(),
            free: Vec::new(),
            oldest: NONE,
            newest: NONE,
        }
    }
}

impl<V> ExpiryMap<V> {
    /// Bytes of an entry beside its key and what its value points to: the table may just have grown.
    pub const ENTRY_BYTES: usize = size_of::<Entry<V>>() + 16;

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// The value at `key`, after moving its deadline to `deadline`, which is not before any other's.
    pub fn touch(&mut self, key: &str, deadline: Timestamp) -> Option<&mut V> {
        self.touch_at(self.place_of(key)?, deadline)
    }

    /// Where the entry at `key` is: what is asked of it more than once need not be looked up more than once.
    pub fn place_of(&self, key: &str) -> Option<Place> {
        self.find(key).map(Place)
    }

    /// The value at a place.
    pub fn at(&self, Place(slot): Place) -> Option<&V> {
        self.entries.get(slot as usize)?.value.as_ref()
    }

    /// As [`ExpiryMap::touch`], of the entry at a place.
    pub fn touch_at(&mut self, place: Place, deadline: Timestamp) -> Option<&mut V> {
        self.at(place)?;
        let Place(slot) = place;
        self.unlink(slot);
        self.entries[slot as usize].deadline = deadline;
        self.link_newest(slot);
        self.entries[slot as usize].value.as_mut()
    }

    /// The value at `key`.
    pub fn get(&self, key: &str) -> Option<&V> {
        self.entries[self.find(key)? as usize].value.as_ref()
    }

    /// The value at `key`, with its deadline.
    pub fn get_with_deadline(&self, key: &str) -> Option<(Timestamp, &V)> {
        let Entry { deadline, value, .. } = &self.entries[self.find(key)? as usize];
        Some((*deadline, value.as_ref()?))
    }

    /// Sets the value at `key`, with a deadline that is not before any other's.
    pub fn insert(&mut self, key: &str, deadline: Timestamp, value: V) {
        let hash = self.hasher.hash_one(key);
        match self.find_hashed(hash, key).and_then(|slot| self.touch_at(Place(slot), deadline)) {
            Some(existing) => *existing = value,
            None => self.insert_hashed(hash, key, deadline, value),
        }
    }

    /// Sets the value at `key`, which is not there, with a deadline that is not before any other's.
    pub fn insert_new(&mut self, key: &str, deadline: Timestamp, value: V) {
        self.insert_hashed(self.hasher.hash_one(key), key, deadline, value);
    }

    fn insert_hashed(&mut self, hash: u64, key: &str, deadline: Timestamp, value: V) {
        let entry = Entry { key: key.into(), deadline, older: NONE, newer: NONE, value: Some(value) };
        let slot = match self.free.pop() {
            Some(slot) => {
                self.entries[slot as usize] = entry;
                slot
            }
            None => {
                self.entries.push(entry);
                (self.entries.len() - 1) as u32
            }
        };
        let Self { hasher, slots, entries, .. } = self;
        slots.insert_unique(hash, slot, |&slot| hasher.hash_one(&*entries[slot as usize].key));
        self.link_newest(slot);
    }

    /// The value at `key`, which is put there if there is none, with its deadline. That may be before others': they have to
    /// be [put in order](Self::put_in_order) before anything else is done.
    pub fn get_or_insert_with(&mut self, key: &str, value: impl FnOnce() -> V) -> (&mut Timestamp, &mut V) {
        let slot = self.find(key).unwrap_or_else(|| {
            self.insert(key, Timestamp::MAX, value());
            self.newest
        });
        let Entry { deadline, value, .. } = &mut self.entries[slot as usize];
        (deadline, value.as_mut().expect("an entry that is found has a value"))
    }

    /// Puts entries in the order of their deadlines, those of the same one in the order of their keys.
    pub fn put_in_order(&mut self) {
        // Deadlines stand beside their slots: to look each up again and again would take longer than to sort.
        let mut slots: Vec<(Timestamp, u32)> =
            self.slots.iter().map(|&slot| (self.entries[slot as usize].deadline, slot)).collect();
        let key = |slot: u32| &*self.entries[slot as usize].key;
        slots.sort_unstable_by(|a, b| a.0.cmp(&b.0).then_with(|| key(a.1).cmp(key(b.1))));
        (self.oldest, self.newest) = (NONE, NONE);
        slots.into_iter().for_each(|(_, slot)| self.link_newest(slot));
    }

    /// The earliest deadline.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        (self.oldest != NONE).then(|| self.entries[self.oldest as usize].deadline)
    }

    /// The latest deadline: a new one may not be before it.
    pub fn last_deadline(&self) -> Option<Timestamp> {
        (self.newest != NONE).then(|| self.entries[self.newest as usize].deadline)
    }

    /// Takes out the entry with the earliest deadline if that is not after `clock`.
    pub fn pop_expired(&mut self, clock: Timestamp) -> Option<(Box<str>, Timestamp, V)> {
        let due = self.next_deadline().is_some_and(|deadline| deadline <= clock);
        if due { self.take(self.oldest) } else { None }
    }

    /// Takes out the entry with the earliest deadline.
    pub fn pop_oldest(&mut self) -> Option<(Box<str>, Timestamp, V)> {
        if self.oldest == NONE { None } else { self.take(self.oldest) }
    }

    /// Takes out the entry at `key`.
    pub fn remove(&mut self, key: &str) -> Option<(Box<str>, Timestamp, V)> {
        self.take(self.find(key)?)
    }

    /// Every entry, the earliest deadline first.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Timestamp, &V)> {
        self.chain(self.oldest, |entry| entry.newer)
    }

    /// Every entry, the latest deadline first.
    pub fn newest_first(&self) -> impl Iterator<Item = (&str, Timestamp, &V)> {
        self.chain(self.newest, |entry| entry.older)
    }

    /// Changes values, those of the latest deadline first, until `change` says that it has enough.
    pub fn change_newest(&mut self, mut change: impl FnMut(&mut V) -> bool) {
        let mut slot = self.newest;
        while slot != NONE {
            let entry = &mut self.entries[slot as usize];
            if !entry.value.as_mut().is_some_and(&mut change) {
                return;
            }
            slot = entry.older;
        }
    }

    /// As [`ExpiryMap::change_newest`], with keys and deadlines.
    pub fn change_newest_entries(&mut self, mut change: impl FnMut(&str, Timestamp, &mut V) -> bool) {
        let mut slot = self.newest;
        while slot != NONE {
            let Entry { key, deadline, older, value, .. } = &mut self.entries[slot as usize];
            if !value.as_mut().is_some_and(|value| change(key, *deadline, value)) {
                return;
            }
            slot = *older;
        }
    }

    fn chain(&self, mut slot: u32, next: impl Fn(&Entry<V>) -> u32) -> impl Iterator<Item = (&str, Timestamp, &V)> {
        std::iter::from_fn(move || {
            let entry = self.entries.get(slot as usize)?;
            slot = next(entry);
            Some((&*entry.key, entry.deadline, entry.value.as_ref()?))
        })
    }

    fn find(&self, key: &str) -> Option<u32> {
        self.find_hashed(self.hasher.hash_one(key), key)
    }

    fn find_hashed(&self, hash: u64, key: &str) -> Option<u32> {
        self.slots.find(hash, |&slot| *self.entries[slot as usize].key == *key).copied()
    }

    fn take(&mut self, slot: u32) -> Option<(Box<str>, Timestamp, V)> {
        self.unlink(slot);
        let Self { hasher, slots, entries, .. } = self;
        let hash = hasher.hash_one(&*entries[slot as usize].key);
        if let Slot::Occupied(found) =
            slots.entry(hash, |&other| other == slot, |&other| hasher.hash_one(&*entries[other as usize].key))
        {
            found.remove();
        }
        self.free.push(slot);
        let entry = &mut self.entries[slot as usize];
        let (key, deadline, value) = (std::mem::take(&mut entry.key), entry.deadline, entry.value.take()?);
        if self.entries.len() > FEW.max(4 * self.len()) {
            self.give_back();
        }
        Some((key, deadline, value))
    }

    /// Gives back what far more entries took than there are: they move together, in their order.
    fn give_back(&mut self) {
        let mut kept = Vec::with_capacity(self.len());
        let mut slot = self.oldest;
        while slot != NONE {
            let entry = &mut self.entries[slot as usize];
            let (key, value) = (std::mem::take(&mut entry.key), entry.value.take());
            let (place, next) = (kept.len() as u32, entry.newer);
            let newer = if next == NONE { NONE } else { place + 1 };
            kept.push(Entry {
                key,
                deadline: entry.deadline,
                older: place.checked_sub(1).unwrap_or(NONE),
                newer,
                value,
            });
            slot = next;
        }
        self.oldest = if kept.is_empty() { NONE } else { 0 };
        self.newest = kept.len().checked_sub(1).map_or(NONE, |last| last as u32);
        (self.entries, self.free, self.slots) = (kept, Vec::new(), HashTable::new());
        let Self { hasher, slots, entries, .. } = self;
        let hash = |&slot: &u32| hasher.hash_one(&*entries[slot as usize].key);
        slots.reserve(entries.len(), hash);
        (0..entries.len() as u32).for_each(|slot| {
            slots.insert_unique(hash(&slot), slot, hash);
        });
    }

    fn link_newest(&mut self, slot: u32) {
        self.entries[slot as usize].older = self.newest;
        self.entries[slot as usize].newer = NONE;
        match self.newest {
            NONE => self.oldest = slot,
            newest => self.entries[newest as usize].newer = slot,
        }
        self.newest = slot;
    }

    fn unlink(&mut self, slot: u32) {
        let (older, newer) = (self.entries[slot as usize].older, self.entries[slot as usize].newer);
        match older {
            NONE => self.oldest = newer,
            older => self.entries[older as usize].newer = newer,
        }
        match newer {
            NONE => self.newest = older,
            newer => self.entries[newer as usize].older = older,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_many_entries_took_is_given_back() {
        let mut map = ExpiryMap::default();
        (0..100_000i64).for_each(|number| map.insert(&number.to_string(), number, number));
        (0..50_000i64).for_each(|number| assert_eq!(map.remove(&(2 * number).to_string()).unwrap().2, 2 * number));
        while map.len() > 100 {
            assert!(map.pop_oldest().is_some());
        }
        assert!(map.entries.capacity() <= FEW && map.slots.capacity() <= 2 * FEW, "{}", map.entries.capacity());
        let left: Vec<i64> = map.iter().map(|(_, _, value)| *value).collect();
        assert_eq!(left, (49_900..50_000).map(|number| 2 * number + 1).collect::<Vec<_>>());
        assert!(map.newest_first().map(|(_, _, value)| value).eq(left.iter().rev()));
        assert!(left.iter().all(|value| map.get(&value.to_string()) == Some(value)));
    }

    proptest! {
        #[test]
        fn what_is_put_in_order_is_ordered_by_deadline_and_key(entries in proptest::collection::btree_map(0u16..500, 0i64..9, 0..80)) {
            let mut map = ExpiryMap::default();
            for (number, deadline) in &entries {
                let (until, _) = map.get_or_insert_with(&format!("k{number}"), || *number);
                *until = *deadline;
            }
            map.put_in_order();
            let mut expected: Vec<(i64, String)> =
                entries.iter().map(|(number, deadline)| (*deadline, format!("k{number}"))).collect();
            expected.sort();
            let found: Vec<(i64, String)> = map.iter().map(|(key, deadline, _)| (deadline, key.to_owned())).collect();
            prop_assert_eq!(&found, &expected);
            let backwards: Vec<&str> = map.newest_first().map(|(key, _, _)| key).collect();
            prop_assert!(backwards.iter().rev().eq(expected.iter().map(|(_, key)| key)));
        }

        #[test]
        fn it_behaves_as_a_plain_map_ordered_by_deadline(steps in proptest::collection::vec((0u8..12, 0i64..5, 0u8..4), 0..200)) {
            let mut map = ExpiryMap::default();
            let mut model: BTreeMap<String, (i64, usize)> = BTreeMap::new();
            let mut clock = 0;
            for (order, (key, ahead, action)) in steps.into_iter().enumerate() {
                clock += ahead;
                let key = format!("k{key}");
                let deadline = clock + 10;
                if action == 0 {
                    let removed = map.remove(&key).map(|(_, deadline, _)| deadline);
                    prop_assert_eq!(removed, model.remove(&key).map(|at| at.0));
                } else {
                    match map.place_of(&key) {
                        Some(place) if action == 2 => {
                            prop_assert_eq!(map.at(place), Some(&key));
                            prop_assert_eq!(map.touch_at(place, deadline).cloned(), Some(key.clone()));
                        }
                        None if action == 2 => map.insert_new(&key, deadline, key.clone()),
                        _ => map.insert(&key, deadline, key.clone()),
                    }
                    model.insert(key, (deadline, order));
                }
                prop_assert_eq!(map.len(), model.len());
                if action == 1 {
                    let expected = model.iter().min_by_key(|(_, at)| **at).filter(|(_, at)| at.0 <= clock + 12)
                        .map(|(key, at)| (key.clone(), at.0));
                    let popped = map.pop_expired(clock + 12).map(|(key, deadline, value)| {
                        assert_eq!(*key, *value);
                        (key.to_string(), deadline)
                    });
                    prop_assert_eq!(&popped, &expected);
                    if let Some((key, _)) = popped { model.remove(&key); }
                }
                let mut ordered: Vec<(&(i64, usize), &String)> = model.iter().map(|(key, at)| (at, key)).collect();
                ordered.sort();
                let keys: Vec<&str> = ordered.iter().map(|(_, key)| key.as_str()).collect();
                prop_assert_eq!(map.iter().map(|(key, _, _)| key).collect::<Vec<_>>(), keys.clone());
                let backwards: Vec<&str> = map.newest_first().map(|(key, _, _)| key).collect();
                prop_assert!(backwards.iter().rev().eq(keys.iter()));
            }
        }
    }
}
