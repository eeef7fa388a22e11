//! A topic that gets more partitions: which of them a key is in then, and what came from another one.

use shared::codec::{Damaged, Reader, put_signed};
use shared::history::PartError;
use thiserror::Error;

use crate::changelog::record::StateError;

/// A topic that gets more partitions.
///
/// A key is placed by the remainder of its hash. So a partition of before has keys for those of now whose number leaves the
/// same remainder by the greatest common divisor of both counts, and for no others.
pub struct Growth<'a> {
    /// How many partitions it had.
    pub before: i32,
    /// How many it has.
    pub now: i32,
    /// The partition of a key, of those that there are now; `None` where nothing in the state is placed by a key.
    pub place: Option<&'a dyn Fn(&str) -> i32>,
}

/// Why state cannot be divided among more partitions.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum GrowthError {
    /// A key whose hash is not what placed it.
    #[error("`{key}` is in partition {from} and would go to {to}, which keys of that partition cannot go to")]
    Elsewhere {
        /// The key.
        key: String,
        /// Where it is.
        from: i32,
        /// Where it would go.
        to: i32,
    },
    /// A key of which two partitions know.
    #[error("`{key}` is open in two partitions")]
    Twice {
        /// The key.
        key: String,
    },
    /// Records that take several hops: what is known of a key by a later column is in another topic.
    #[error("records take several hops, of which each has a state of its own")]
    Hops,
    /// State that cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
}

impl From<Damaged> for GrowthError {
    fn from(damaged: Damaged) -> Self {
        Self::State(damaged.into())
    }
}

impl From<PartError> for GrowthError {
    fn from(error: PartError) -> Self {
        Self::State(error.into())
    }
}

impl Growth<'_> {
    /// Where a key goes that is in the partition `from`; where nothing is placed by a key, it stays.
    pub(crate) fn place(&self, from: i32, key: &str) -> Result<i32, GrowthError> {
        let Some(place) = self.place else { return Ok(from) };
        let to = place(key);
        match (0..self.now).contains(&to) && self.feeds(from, to) {
            true => Ok(to),
            false => Err(GrowthError::Elsewhere { key: key.to_owned(), from, to }),
        }
    }

    /// Whether the partition `from` of before has keys that may go to the partition `to` of now.
    pub(crate) fn feeds(&self, from: i32, to: i32) -> bool {
        let divisor = greatest_common_divisor(self.before, self.now);
        self.place.is_none() || (to - from) % divisor == 0
    }

    /// The numbers of the partitions of now.
    pub(crate) fn numbers(&self) -> std::ops::Range<i32> {
        0..self.now
    }
}

fn greatest_common_divisor(a: i32, b: i32) -> i32 {
    let (mut a, mut b) = (a, b);
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a.abs().max(1)
}

/// The partition whose offsets something has that is in another one: because its topic grew, or because a hop before, which
/// reads a topic of its own, sent it on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct CameFrom(i32);

impl CameFrom {
    /// It never went anywhere.
    pub const HERE: Self = Self(-1);

    const TAG: u8 = b'm';

    /// It has the offset of this partition, whichever it is in.
    pub fn of(partition: i32) -> Self {
        Self(partition)
    }

    /// The same after it went from one partition to another, or to the same.
    pub fn moved(self, from: i32, to: i32) -> Self {
        if self == Self::HERE && from != to { Self(from) } else { self }
    }

    /// The partition whose offsets it has, where it is in the partition `number`.
    pub fn partition(self, number: i32) -> i32 {
        if self == Self::HERE { number } else { self.0 }
    }

    /// The partition whose offsets it has, if that is another one.
    pub fn elsewhere(self) -> Option<i32> {
        (self != Self::HERE).then_some(self.0)
    }

    /// What stands at the end of a state record of it: nothing for what never went anywhere.
    pub fn encode(self, out: &mut Vec<u8>) {
        if self != Self::HERE {
            out.push(Self::TAG);
            put_signed(out, i64::from(self.0));
        }
    }

    /// Reads the end of a state record.
    pub fn decode(mut reader: Reader<'_>) -> Result<Self, Damaged> {
        if reader.0.is_empty() {
            return Ok(Self::HERE);
        }
        if reader.byte()? != Self::TAG {
            return Err(Damaged);
        }
        let number = i32::try_from(reader.signed()?).ok().filter(|number| *number >= 0).ok_or(Damaged)?;
        reader.end()?;
        Ok(Self(number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_feeds_those_that_hashes_can_lead_to() {
        let place = |_: &str| 0;
        for (before, now) in [(1, 4), (2, 4), (2, 5), (4, 6), (6, 9)] {
            let growth = Growth { before, now, place: Some(&place) };
            for (from, to) in (0..before).flat_map(|from| (0..now).map(move |to| (from, to))) {
                let is_met = (0..before * now).any(|hash| hash % before == from && hash % now == to);
                assert_eq!(growth.feeds(from, to), is_met, "{from} of {before} to {to} of {now}");
            }
        }
    }

    #[test]
    fn where_something_came_from_is_read_back() {
        let moved = CameFrom::HERE.moved(3, 7);
        for came_from in [CameFrom::HERE, CameFrom::HERE.moved(2, 2), moved, moved.moved(7, 9)] {
            let mut out = Vec::new();
            came_from.encode(&mut out);
            assert_eq!(CameFrom::decode(Reader(&out)), Ok(came_from));
        }
        assert_eq!([CameFrom::HERE, moved].map(CameFrom::elsewhere), [None, Some(3)]);
        assert_eq!(
            (moved.moved(7, 9).partition(9), CameFrom::HERE.partition(9)),
            (3, 9),
            "offsets are those of the first"
        );
        for damaged in [&b"m"[..], b"x\x02", b"m\x01", b"m\x02\x00"] {
            assert_eq!(CameFrom::decode(Reader(damaged)), Err(Damaged));
        }
    }
}
