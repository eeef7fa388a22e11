//! Where the next owner of a partition goes on.

use shared::time::Timestamp;

/// How a partition that changes hands gets its state back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recovery {
    /// From its changelog.
    Changelog,
    /// By reading the lines of open invoices again: what closed before is forgotten.
    Reread,
}

/// What is committed for a partition, so that a later owner goes on where this one stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resume {
    /// Read from here: the first line of the oldest open entity, or the next record.
    pub offset: i64,
    /// Everything that records before this offset led to has been published.
    pub published_to: i64,
    /// Entities whose deadline is not after this clock have been closed.
    pub closed_through: Timestamp,
    /// Windows up to this moment have been published.
    pub windows_through: Timestamp,
}
