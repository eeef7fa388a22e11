//! Hops: a topic of several partitions whose records are looked at with others by more columns than one.
//!
//! Each hop is a stream of its own: consumer group, transactions, changelog and snapshots. Only the first one reads the
//! pipeline's topic; each other one reads what the one before has sent on, keyed by its own column. So everything that holds
//! of a stream holds of each of them, and a record is in the input of exactly one.

pub(crate) mod end;
pub(crate) mod links;
pub(crate) mod share;
