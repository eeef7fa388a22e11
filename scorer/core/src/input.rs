//! Everything that can happen to the state machine.

use crate::changelog::reader::Restored;
use crate::clock::WallMillis;
use crate::output::Report;
use crate::record::Record;
use crate::resume::Resume;

/// Everything that can happen to the state machine.
#[derive(Debug)]
pub enum Input<'a> {
    /// A partition is going to be ours, and its state is still on its way: until it is there, nobody knows how far its clock
    /// is, and no earlier owner's word that it is idle counts.
    Restoring {
        /// The partition.
        partition: i32,
    },
    /// A partition is ours from here on.
    Assigned {
        /// The partition.
        partition: i32,
        /// Where an earlier owner stopped.
        start: Start,
    },
    /// A partition is no longer ours, or is not going to be: its state goes.
    Revoked {
        /// The partition.
        partition: i32,
    },
    /// A record, in the order of its partition.
    Record(Record<'a>),
    /// Records were deleted before they were read; the next one that there may be is the one after `last`.
    Lost {
        /// The partition.
        partition: i32,
        /// The first of them.
        first: i64,
        /// The last of them.
        last: i64,
    },
    /// No record is left before `next`: the offsets that were passed over are of markers and of aborted transactions.
    Passed {
        /// The partition.
        partition: i32,
        /// Where reading goes on.
        next: i64,
    },
    /// What a partition, ours or not, tells the windows that we own.
    Report {
        /// What it tells.
        report: Report,
        /// The report's offset.
        offset: i64,
    },
    /// The end of the partition has been seen: every record so far has been read.
    CaughtUp {
        /// The partition.
        partition: i32,
        /// Since when that is so. It proves nothing of the time after.
        now: WallMillis,
    },
    /// It is proven that every record which the partition had at a moment has been read: while nothing comes, its clock
    /// goes on to that moment and no further.
    ReadThrough {
        /// The partition.
        partition: i32,
        /// The moment.
        now: WallMillis,
    },
    /// Time has passed, of which nothing is known.
    Time {
        /// The time it is.
        now: WallMillis,
    },
    /// No record will ever come: what is open is complete.
    End,
}

/// Where work on a partition begins.
#[derive(Debug)]
pub enum Start {
    /// At its beginning.
    Fresh,
    /// At this offset, with nothing known of what was before.
    At(i64),
    /// At a line that was read before, whose invoice was still open.
    Reread(Resume),
    /// With the state that an earlier owner left.
    Restored(Box<Restored>),
    /// With the state of the last commit, after this owner's changes since then came to nothing (see [`Core::roll_back`]).
    ///
    /// [`Core::roll_back`]: crate::machine::Core::roll_back
    RolledBack(Box<Restored>),
}
