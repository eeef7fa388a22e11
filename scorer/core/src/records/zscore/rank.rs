//! Records that wait are sorted at every commit and with every pane. What decides their order lies in texts of their own, so each
//! comparison would look those up; here the beginning of it lies together.

use std::cmp::Ordering;

use shared::time::Timestamp;

use super::pane::Waiting;

/// Bytes of a text that a rank holds.
const HEAD: usize = size_of::<u64>();

/// What [`Waiting::in_order`] looks at first.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rank {
    /// The first bytes of the name of its windows, with zeros where there are fewer.
    head: u64,
    /// How many bytes that name has.
    len: usize,
    time: Timestamp,
}

impl Rank {
    pub(super) fn of(waiting: &Waiting) -> Self {
        let (by, mut head) = (waiting.by.as_bytes(), [0; HEAD]);
        let known = by.len().min(HEAD);
        head[..known].copy_from_slice(&by[..known]);
        Self { head: u64::from_be_bytes(head), len: by.len(), time: waiting.time }
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
pub(super) fn in_order(records: &mut [Waiting]) {
    let mut order: Vec<(Rank, usize)> = records.iter().map(Rank::of).zip(0..).collect();
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
    use shared::verdict::EntitySummary;

    use super::*;
    use crate::growth::CameFrom;

    fn waiting((by, time, key, value): (String, i64, u8, u8), offset: i64) -> Waiting {
        let entity = EntitySummary {
            key: key.to_string().into(),
            lines: 1,
            customer: None,
            first_timestamp: time,
            last_timestamp: time,
            closed_early: false,
            fields: [].into(),
        };
        Waiting::new(&by, value.into(), &entity, None, (CameFrom::HERE, offset))
    }

    proptest! {
        /// Names around the length of what a rank holds, of few letters, of which one is what fills a rank up.
        #[test]
        fn ranks_lead_to_the_same_order(
            records in proptest::collection::vec(("[\u{0}ab]{0,10}", 0..3i64, 0..3u8, 0..2u8), 0..40)
        ) {
            let mut records: Vec<Waiting> = records.into_iter().zip(0..).map(|(it, offset)| waiting(it, offset)).collect();
            let mut expected = records.clone();
            expected.sort_by(Waiting::in_order);
            for a in &records {
                for b in &records {
                    prop_assert_eq!(Rank::of(a).compare(&Rank::of(b), || a.in_order(b)), a.in_order(b));
                }
            }
            in_order(&mut records);
            prop_assert_eq!(records, expected);
        }
    }
}
