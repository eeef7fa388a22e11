//! Records that wait are sorted at every commit and with every pane. What decides their order lies in texts of their own, so each
//! comparison would look those up; here the beginning of it lies together.

use std::cmp::Ordering;

use shared::time::Timestamp;

/// Bytes of a text that a rank holds.
const HEAD: usize = size_of::<u64>();

/// What has an order that [`Rank`]s tell for the most part.
pub(super) trait Ranked {
    fn rank(&self) -> Rank;

    /// The whole order: first by name, then by time.
    fn in_order(&self, other: &Self) -> Ordering;
}

/// What [`Ranked::in_order`] looks at first.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rank {
    /// The first bytes of the name of its windows, with zeros where there are fewer.
    head: u64,
    /// How many bytes that name has.
    len: usize,
    time: Timestamp,
}

impl Rank {
    /// The rank of what has this name and time.
    pub(super) fn of(name: &str, time: Timestamp) -> Self {
        let (by, mut head) = (name.as_bytes(), [0; HEAD]);
        let known = by.len().min(HEAD);
        head[..known].copy_from_slice(&by[..known]);
        Self { head: u64::from_be_bytes(head), len: by.len(), time }
    }

    /// The order of two records, of which `whole` tells where ranks do not.
    pub(super) fn compare(&self, other: &Self, whole: impl FnOnce() -> Ordering) -> Ordering {
        let is_known = self.len <= HEAD && other.len <= HEAD;
        match self.head.cmp(&other.head) {
            Ordering::Equal if is_known => self.len.cmp(&other.len).then(self.time.cmp(&other.time)).then_with(whole),
            Ordering::Equal => whole(),
            order => order,
        }
    }
}

/// Puts records in order. Beside them, no more is in memory than their ranks.
pub(super) fn in_order<T: Ranked>(records: &mut [T]) {
    let mut order: Vec<(Rank, usize)> = records.iter().map(T::rank).zip(0..).collect();
    order.sort_unstable_by(|(a, of_a), (b, of_b)| a.compare(b, || records[*of_a].in_order(&records[*of_b])));
    let mut from: Vec<usize> = order.into_iter().map(|(_, place)| place).collect();
    for first in 0..from.len() {
        // Round the circle of places, each of which gets what is in the next one.
        let mut place = first;
        loop {
            let next = std::mem::replace(&mut from[place], place);
            if next == first {
                break;
            }
            records.swap(place, next);
            place = next;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A name, a time, and what else there is.
    #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
    struct Record(String, i64, u8);

    impl Ranked for Record {
        fn rank(&self) -> Rank {
            Rank::of(&self.0, self.1)
        }

        fn in_order(&self, other: &Self) -> Ordering {
            self.cmp(other)
        }
    }

    proptest! {
        /// Names around the length of what a rank holds, of few letters, of which one is what fills a rank up.
        #[test]
        fn ranks_lead_to_the_same_order(
            records in proptest::collection::vec(("[\u{0}ab]{0,10}", 0..3i64, 0..4u8), 0..40)
        ) {
            let mut records: Vec<Record> =
                records.into_iter().map(|(name, time, rest)| Record(name, time, rest)).collect();
            let mut expected = records.clone();
            expected.sort();
            for a in &records {
                for b in &records {
                    prop_assert_eq!(a.rank().compare(&b.rank(), || a.cmp(b)), a.cmp(b));
                }
            }
            in_order(&mut records);
            prop_assert_eq!(records, expected);
        }
    }
}
