//! The state of partitions: restored, kept on disk, looked at, deleted.

pub(crate) mod reports;
pub(crate) mod reset;
pub(crate) mod restore;
pub(crate) mod snapshots;
