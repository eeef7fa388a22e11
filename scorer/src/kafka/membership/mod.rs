//! Membership of a consumer group: who an instance is, which partitions are its own, and for whom it may commit.

pub(crate) mod assignment;
pub(crate) mod commit_fence;
pub(crate) mod evidence;
pub(crate) mod identity;
pub(crate) mod join;
pub(crate) mod lost;
pub(crate) mod member;
pub(crate) mod rejoin;
pub(crate) mod source;
