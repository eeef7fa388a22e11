//! Membership of a consumer group: who an instance is, and which partitions are its own.

pub(crate) mod identity;
pub(crate) mod rejoin;
