//! The state of partitions: restored, kept on disk, looked at, mended, deleted.

pub(crate) mod changelogs;
pub(crate) mod reports;
pub(crate) mod reset;
pub(crate) mod restore;
pub(crate) mod restore_threads;
pub(crate) mod snapshot_thread;
pub(crate) mod snapshots;
pub(crate) mod standby;
pub(crate) mod watermark;
