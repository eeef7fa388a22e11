//! Where records come from, as a loop that reads partitions sees it.

use std::time::Duration;

use super::assignment::Assignment;
use super::commit_fence::CommitFence;
use super::lost::LostRange;
use crate::core::WallMillis;
use crate::kafka::client::error::KafkaError;
use crate::kafka::client::group_members::GroupMember;
use crate::kafka::wire::headers::RecordHeaders;

/// Everything that reaches a loop that reads partitions.
#[derive(Debug)]
pub(crate) enum Event<R> {
    /// A record of a partition that is ours.
    Record(R),
    /// Every record so far of a partition that is ours has been read.
    CaughtUp(i32),
    /// Records of a partition that is ours were deleted before they were read; the next ones of it come after them.
    Lost(LostRange),
    /// Nothing was left to read in these partitions at this moment.
    ReadThrough {
        /// Which.
        partitions: Vec<i32>,
        /// The moment, which is past, by the clock of the source.
        at: WallMillis,
    },
    /// The group assigns partitions: they are ours once [`PartitionSource::assign`] is called, and are read once
    /// [`PartitionSource::read_from`] is.
    Assigned(Vec<i32>),
    /// The group revokes partitions: they are ours until [`PartitionSource::revoke`] is called.
    Revoked {
        /// Which.
        partitions: Vec<i32>,
        /// Whether others own them already, so that nothing can be committed for them.
        lost: bool,
    },
    /// There was nothing within the time that was given.
    Nothing,
}

/// The partitions that a consumer group shares out, as one of its members sees them: what happens to them, one event at a
/// time, and what the member answers.
///
/// Whatever changes the assignment comes before the records that were fetched with it.
pub(crate) trait PartitionSource {
    /// A record.
    type Record: RecordHeaders;

    /// The next event; waits for it at most `wait`, longer only where it drops records of partitions that are not ours.
    ///
    /// # Errors
    /// When reading cannot go on.
    fn poll(&mut self, wait: Duration) -> Result<Event<Self::Record>, KafkaError>;

    /// Says that something is due at `due` if nothing comes. From then on the source finds out what has been read, and says
    /// so by [`Event::ReadThrough`].
    ///
    /// # Errors
    /// When the client refuses.
    fn find_out(&mut self, due: WallMillis) -> Result<(), KafkaError>;

    /// What is ours.
    fn assignment(&self) -> &Assignment;

    /// Answers [`Event::Assigned`]: the partitions are ours, and nothing of them is read yet.
    ///
    /// # Errors
    /// When the client refuses.
    fn assign(&mut self, partitions: &[i32]) -> Result<(), KafkaError>;

    /// Reads partitions that are ours from these offsets on, wherever they were read before. A record that was fetched and not
    /// handed out is dropped if it is theirs.
    ///
    /// # Errors
    /// When the client refuses, or a partition cannot be moved.
    fn read_from(&mut self, positions: &[(i32, i64)]) -> Result<(), KafkaError>;

    /// Reads nothing more of partitions that are ours, until [`read_from`](Self::read_from) is called again. A record that was
    /// fetched and not handed out is dropped if it is theirs.
    ///
    /// # Errors
    /// When the client refuses.
    fn hold(&mut self, partitions: &[i32]) -> Result<(), KafkaError>;

    /// Fetches nothing more of what is read, and hands no record out, until [`read_on`](Self::read_on) is called. What the group
    /// says is handed out all the same.
    ///
    /// # Errors
    /// When the client refuses.
    fn rest(&mut self) -> Result<(), KafkaError>;

    /// Ends a [`rest`](Self::rest): reading goes on where it stood.
    ///
    /// # Errors
    /// When the client refuses.
    fn read_on(&mut self) -> Result<(), KafkaError>;

    /// Answers [`Event::Revoked`].
    fn revoke(&mut self, partitions: &[i32]);

    /// Whether everything that was ours is lost, which [`Event::Revoked`] is going to say.
    fn is_lost(&self) -> bool;

    /// What a batch that is closed now is to be committed with. `None` without membership.
    fn fence(&self) -> Option<CommitFence>;

    /// What the group calls this member; `None` where it is in no group.
    fn member_id(&self) -> Option<String> {
        None
    }

    /// The members of the group with their partitions, as its coordinator says now; `None` where it does not say.
    fn members(&self) -> Option<Vec<GroupMember>> {
        None
    }

    /// Whether nothing is left to read of what is read, by what brokers said with the last records. It is no proof, for more may
    /// have come since; it is known sooner than [`Event::CaughtUp`].
    fn seems_caught_up(&self) -> bool;

    /// How many records there are that were not read yet; `None` where that is not known, as of partitions that are held.
    fn lag(&self) -> Option<i64>;
}
