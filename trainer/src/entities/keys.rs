//! Keys of entities, of which there may be many millions: their texts one after the other.

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};

/// Texts in an order, in one piece of memory.
#[derive(Debug, Clone, Default)]
pub struct Keys {
    text: Vec<u8>,
    /// Where each key ends in `text`: `(len)`.
    ends: Vec<usize>,
}

impl Keys {
    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Key `index`.
    ///
    /// # Panics
    /// When there is none.
    pub fn get(&self, index: usize) -> &str {
        std::str::from_utf8(self.bytes(index)).expect("only whole texts are put together")
    }

    /// The keys in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &str> {
        (0..self.len()).map(|index| self.get(index))
    }

    /// Bytes of memory that they take.
    pub(super) fn memory(&self) -> usize {
        self.text_bytes() + size_of_val(&self.ends[..])
    }

    /// Bytes of all texts.
    pub fn text_bytes(&self) -> usize {
        self.text.len()
    }

    fn bytes(&self, index: usize) -> &[u8] {
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        &self.text[start..self.ends[index]]
    }

    pub(super) fn push(&mut self, key: &str) {
        self.text.extend_from_slice(key.as_bytes());
        self.ends.push(self.text.len());
    }

    /// Puts key `from` in the place of key `to`, which is not after it; the keys between them are lost.
    pub(super) fn move_down(&mut self, from: usize, to: usize) {
        let start = if from == 0 { 0 } else { self.ends[from - 1] };
        let place = if to == 0 { 0 } else { self.ends[to - 1] };
        let end = self.ends[from];
        self.text.copy_within(start..end, place);
        self.ends[to] = place + (end - start);
    }

    /// Keeps the first `len` keys.
    pub(super) fn truncate(&mut self, len: usize) {
        self.ends.truncate(len);
        self.text.truncate(self.ends.last().copied().unwrap_or(0));
        self.ends.shrink_to_fit();
        self.text.shrink_to_fit();
    }
}

/// Keys with their numbers, in the order in which they were first asked for.
#[derive(Debug, Default)]
pub(super) struct KeyTable {
    pub(super) keys: Keys,
    numbers: HashTable<usize>,
    hasher: DefaultHashBuilder,
}

impl KeyTable {
    /// The number of a key, and whether it is a new one.
    pub(super) fn index_of(&mut self, key: &str) -> (usize, bool) {
        let Self { keys, numbers, hasher } = self;
        let hash = hasher.hash_one(key.as_bytes());
        if let Some(&index) = numbers.find(hash, |&index| keys.bytes(index) == key.as_bytes()) {
            return (index, false);
        }
        let index = keys.len();
        keys.push(key);
        numbers.insert_unique(hash, index, |&index| hasher.hash_one(keys.bytes(index)));
        (index, true)
    }

    /// Bytes of memory that the table takes.
    pub(super) fn memory(&self) -> usize {
        self.keys.memory() + self.numbers.allocation_size()
    }

    /// The keys alone.
    pub(super) fn into_keys(self) -> Keys {
        self.keys
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn keys_have_the_numbers_of_their_first_appearance(asked in proptest::collection::vec("[ab\u{e9}]{0,3}", 0..60)) {
            let (mut table, mut expected) = (KeyTable::default(), Vec::<String>::new());
            for key in asked {
                let known = expected.iter().position(|known| *known == key);
                prop_assert_eq!(table.index_of(&key), (known.unwrap_or(expected.len()), known.is_none()));
                if known.is_none() { expected.push(key) }
            }
            prop_assert_eq!(table.keys.iter().collect::<Vec<_>>(), expected);
        }

        #[test]
        fn what_is_kept_moves_together(rows in proptest::collection::vec(("[ab\u{e9}]{0,3}", any::<bool>()), 0..60)) {
            let mut keys = Keys::default();
            rows.iter().for_each(|(key, _)| keys.push(key));
            let mut kept = 0;
            for index in (0..rows.len()).filter(|&index| rows[index].1) {
                keys.move_down(index, kept);
                kept += 1;
            }
            keys.truncate(kept);
            let expected: Vec<&str> = rows.iter().filter(|(_, keep)| *keep).map(|(key, _)| key.as_str()).collect();
            prop_assert_eq!(keys.iter().collect::<Vec<_>>(), expected);
        }
    }
}
