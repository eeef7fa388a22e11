//! Keys in the order in which they came, each with a time: they go in that order too.
//!
//! Millions are usual. Their texts lie one after the other in chunks, so no key is an allocation of its own, and the table
//! that finds them holds four bytes for each.

use std::collections::VecDeque;
use std::hash::BuildHasher;

use hashbrown::DefaultHashBuilder;
use hashbrown::hash_table::{Entry, HashTable};
use shared::time::Timestamp;

/// A chunk is closed when it has so many keys, or so many bytes of them.
const CHUNK_KEYS: usize = 1024;
const CHUNK_BYTES: usize = 64 << 10;

/// Below so many keys the table is not made smaller.
const SMALL_TABLE: usize = 1024;

/// Keys in the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct KeyQueue {
    hasher: DefaultHashBuilder,
    /// The low bits of the number of each key: of its last one, where a key is there more than once.
    table: HashTable<u32>,
    chunks: VecDeque<Chunk>,
    /// The number of the first key that is left, and of the next one that comes.
    first: u64,
    next: u64,
    text_bytes: usize,
}

/// Keys that came one after the other.
#[derive(Debug)]
struct Chunk {
    /// The number of the first of them.
    first: u64,
    times: Vec<Timestamp>,
    /// Where the text of each ends.
    ends: Vec<u32>,
    texts: String,
}

impl KeyQueue {
    /// Bytes of a key beside its text: its time, where its text ends, and its place in the table, which may just have grown.
    pub const KEY_BYTES: usize = size_of::<Timestamp>() + size_of::<u32>() + 16;

    /// How many keys there are.
    pub fn len(&self) -> usize {
        (self.next - self.first) as usize
    }

    /// Bytes in memory: by the keys alone, so that keys that were read back take as many.
    pub fn bytes(&self) -> usize {
        self.len() * Self::KEY_BYTES + self.text_bytes
    }

    /// Whether `key` is there.
    pub fn contains(&self, key: &str) -> bool {
        self.table.find(self.hasher.hash_one(key), |&low| self.text(self.number(low)) == key).is_some()
    }

    /// The time of the first key.
    pub fn first_time(&self) -> Option<Timestamp> {
        let chunk = self.chunks.front()?;
        chunk.times.get((self.first - chunk.first) as usize).copied()
    }

    /// The time of the last key.
    pub fn last_time(&self) -> Option<Timestamp> {
        self.chunks.back()?.times.last().copied()
    }

    /// Adds a key. One that is there already is there twice, until the first goes.
    pub fn push(&mut self, key: &str, time: Timestamp) {
        let hash = self.hasher.hash_one(key);
        let number = self.next;
        match self.chunks.back_mut().filter(|chunk| chunk.has_room()) {
            Some(chunk) => chunk.push(key, time),
            None => {
                self.chunks.back_mut().into_iter().for_each(Chunk::close);
                self.chunks.push_back(Chunk::new(number, key, time));
            }
        }
        self.next += 1;
        self.text_bytes += key.len();
        let Self { hasher, table, chunks, first, .. } = self;
        let text = |low: u32| text_of(chunks, number_of(low, *first));
        match table.entry(hash, |&low| text(low) == key, |&low| hasher.hash_one(text(low))) {
            Entry::Occupied(mut of_before) => *of_before.get_mut() = number as u32,
            Entry::Vacant(vacant) => {
                vacant.insert(number as u32);
            }
        }
    }

    /// Takes out the first key; its time.
    pub fn pop(&mut self) -> Option<Timestamp> {
        let time = self.first_time()?;
        let text = self.text(self.first);
        let (hash, length, low) = (self.hasher.hash_one(text), text.len(), self.first as u32);
        // Another number is of a later key with the same text.
        if let Ok(found) = self.table.find_entry(hash, |&other| other == low) {
            found.remove();
        }
        self.text_bytes -= length;
        self.first += 1;
        self.chunks.pop_front_if(|chunk| chunk.end() == self.first);
        self.shrink();
        Some(time)
    }

    /// Every key with its time, the first one first.
    pub fn iter(&self) -> impl Iterator<Item = (Timestamp, &str)> {
        self.last(self.len())
    }

    /// The last `count` keys with their times, in order.
    pub fn last(&self, count: usize) -> impl Iterator<Item = (Timestamp, &str)> {
        let from = self.next - count.min(self.len()) as u64;
        let start = self.chunks.partition_point(|chunk| chunk.end() <= from);
        self.chunks.range(start..).flat_map(move |chunk| {
            let skipped = from.saturating_sub(chunk.first) as usize;
            (skipped..chunk.times.len()).map(|index| (chunk.times[index], chunk.text(index)))
        })
    }

    /// No time is later than `time` from now on.
    pub fn set_back(&mut self, time: Timestamp) {
        self.chunks.iter_mut().flat_map(|chunk| &mut chunk.times).for_each(|of_key| *of_key = time.min(*of_key));
    }

    /// Gives memory back once there are far fewer keys than there were.
    fn shrink(&mut self) {
        let Self { hasher, table, chunks, first, .. } = self;
        let wanted = 2 * table.len().max(SMALL_TABLE);
        if table.capacity() > 2 * wanted {
            table.shrink_to(wanted, |&low| hasher.hash_one(text_of(chunks, number_of(low, *first))));
        }
    }

    fn number(&self, low: u32) -> u64 {
        number_of(low, self.first)
    }

    fn text(&self, number: u64) -> &str {
        text_of(&self.chunks, number)
    }
}

/// The number with these low bits, when `first` is the smallest of all.
fn number_of(low: u32, first: u64) -> u64 {
    first + u64::from(low.wrapping_sub(first as u32))
}

fn text_of(chunks: &VecDeque<Chunk>, number: u64) -> &str {
    let after = chunks.partition_point(|chunk| chunk.first <= number);
    let chunk = &chunks[after - 1];
    chunk.text((number - chunk.first) as usize)
}

impl Chunk {
    fn new(first: u64, key: &str, time: Timestamp) -> Self {
        let mut chunk = Self { first, times: Vec::new(), ends: Vec::new(), texts: String::new() };
        chunk.push(key, time);
        chunk
    }

    fn has_room(&self) -> bool {
        self.times.len() < CHUNK_KEYS && self.texts.len() < CHUNK_BYTES
    }

    fn push(&mut self, key: &str, time: Timestamp) {
        self.texts.push_str(key);
        self.times.push(time);
        self.ends.push(self.texts.len() as u32);
    }

    /// No key comes any more.
    fn close(&mut self) {
        self.times.shrink_to_fit();
        self.ends.shrink_to_fit();
        self.texts.shrink_to_fit();
    }

    /// The number after the last one.
    fn end(&self) -> u64 {
        self.first + self.times.len() as u64
    }

    fn text(&self, index: usize) -> &str {
        let start = if index == 0 { 0 } else { self.ends[index - 1] as usize };
        &self.texts[start..self.ends[index] as usize]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Many keys of few texts, so that texts come twice; long ones, so that chunks are closed by their bytes.
        #[test]
        fn it_behaves_as_a_plain_list(steps in proptest::collection::vec((0u8..9, 0usize..7, 1usize..60), 0..60)) {
            let mut queue = KeyQueue::default();
            let mut model: VecDeque<(Timestamp, String)> = VecDeque::new();
            for (clock, (action, kind, count)) in (0i64..).zip(steps) {
                for index in 0..count {
                    if action < 5 {
                        let key = format!("{}{}", index % (kind + 1), "k".repeat(kind * kind * 100));
                        queue.push(&key, clock);
                        model.push_back((clock, key));
                    } else {
                        prop_assert_eq!(queue.pop(), model.pop_front().map(|(time, _)| time));
                    }
                }
                if action == 8 {
                    queue.set_back(clock / 2);
                    model.iter_mut().for_each(|(time, _)| *time = (*time).min(clock / 2));
                }
                prop_assert_eq!(queue.len(), model.len());
                prop_assert_eq!(queue.first_time(), model.front().map(|(time, _)| *time));
                prop_assert_eq!(queue.last_time(), model.back().map(|(time, _)| *time));
                let all: Vec<(Timestamp, &str)> = model.iter().map(|(time, key)| (*time, key.as_str())).collect();
                prop_assert_eq!(queue.iter().collect::<Vec<_>>(), all.clone());
                prop_assert_eq!(queue.last(count).collect::<Vec<_>>(), &all[all.len().saturating_sub(count)..]);
                let texts: usize = all.iter().map(|(_, key)| key.len()).sum();
                prop_assert_eq!(queue.bytes(), all.len() * KeyQueue::KEY_BYTES + texts);
                prop_assert!(all.iter().all(|(_, key)| queue.contains(key)));
                prop_assert!(!queue.contains("another"));
                let distinct: std::collections::BTreeSet<&str> = all.iter().map(|(_, key)| *key).collect();
                prop_assert_eq!(queue.table.len(), distinct.len());
            }
        }
    }

    #[test]
    fn what_many_keys_took_is_given_back() {
        let mut queue = KeyQueue::default();
        (0..100_000).for_each(|number| queue.push(&number.to_string(), number));
        assert!(queue.table.capacity() >= 100_000);
        while queue.len() > 10 {
            queue.pop();
        }
        assert!(queue.table.capacity() < 10 * SMALL_TABLE && queue.chunks.len() == 1);
        assert!((99_990..100_000).all(|number: i64| queue.contains(&number.to_string())));
    }
}
