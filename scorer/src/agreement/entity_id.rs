//! Which entity a verdict is on.

use std::hash::Hash;

use super::labels::hash_of;

/// Which entity a verdict is on: its key, and when it began and ended, because a key may come again.
///
/// 64 bits of a hash: of ten million entities, any two have the same with a probability of three in a million.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntityId(u64);

impl EntityId {
    /// The entity with this key and these times, which all verdicts have to tell in the same way.
    pub fn new<T: Hash>(key: &str, first_timestamp: T, last_timestamp: T) -> Self {
        Self(hash_of((key, first_timestamp, last_timestamp)))
    }
}
