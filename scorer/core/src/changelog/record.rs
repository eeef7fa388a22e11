//! What a record of a changelog is, and what every kind of state does with its own.

use shared::codec::{Damaged, Reader};
use shared::history::PartError;
use shared::pipeline::Pipeline;
use shared::time::{Timestamp, format_timestamp};
use thiserror::Error;

/// The first byte of every value.
pub const VERSION: u8 = 1;

/// A record of a changelog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateRecord {
    /// What it is of.
    pub key: Vec<u8>,
    /// What it is; `None` deletes.
    pub value: Option<Vec<u8>>,
}

/// Why state cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum StateError {
    /// Bytes that nobody wrote.
    #[error("a record of the state is damaged or of another version")]
    Damaged,
    /// Deadlines that go back.
    #[error("records of the state are out of order")]
    Disordered,
    /// State of another topic, partition count or pipeline.
    #[error("the state was made with {found}; here it is {wanted}")]
    Foreign {
        /// What of its origin is different.
        found: String,
        /// What that is where it is wanted.
        wanted: String,
    },
    /// State of a topic that was deleted and made anew since.
    #[error("the state is of an earlier topic `{topic}`, which was deleted and made anew since")]
    OfEarlierTopic {
        /// The topic.
        topic: String,
    },
    /// Records that are remembered from after a time.
    #[error("records up to {} are remembered, which no clock takes back", format_timestamp(*latest))]
    Later {
        /// The latest.
        latest: Timestamp,
    },
}

impl From<Damaged> for StateError {
    fn from(_: Damaged) -> Self {
        Self::Damaged
    }
}

impl From<PartError> for StateError {
    fn from(_: PartError) -> Self {
        Self::Damaged
    }
}

/// One kind of state in a partition's changelog.
pub(crate) trait ChangelogKind {
    /// The bytes that its keys begin with.
    fn kinds(&self) -> &'static [u8];

    /// Takes in a record of one of its kinds, whose key comes without the first byte; without a value it is deleted.
    fn restore(&mut self, pipeline: &Pipeline, kind: u8, key: &[u8], value: Option<&[u8]>) -> Result<(), StateError>;

    /// A change has been read to its end: what is forgotten when the partition's clock shows `clock` goes.
    fn forget_restored(&mut self, _clock: Timestamp) {}

    /// Bytes that what was taken in takes, about, before it is [put together](Self::finish_restoring). It may look at every
    /// key.
    fn restoring_bytes(&self) -> usize;

    /// Puts together what was taken in, once every record is there.
    fn finish_restoring(&mut self, _pipeline: &Pipeline) -> Result<(), StateError> {
        Ok(())
    }

    /// Writes what changed since the last time.
    fn take_changes(&mut self, pipeline: &Pipeline, changes: &mut Changes);

    /// Writes everything, as the changelog has it after [`ChangelogKind::take_changes`] when the partition's clock shows
    /// `clock`.
    fn snapshot(&self, pipeline: &Pipeline, clock: Timestamp, put: &mut dyn FnMut(StateRecord));
}

/// The records of one change.
#[derive(Debug)]
pub(crate) struct Changes {
    /// What the partition's clock shows.
    pub clock: Option<Timestamp>,
    /// The number of the next list of keys.
    pub next_list: u64,
    pub records: Vec<StateRecord>,
}

/// A value without its version.
pub(crate) fn versioned(value: &[u8]) -> Result<Reader<'_>, Damaged> {
    let mut reader = Reader(value);
    if reader.byte()? == VERSION { Ok(reader) } else { Err(Damaged) }
}

pub(crate) fn text(bytes: &[u8]) -> Result<&str, Damaged> {
    std::str::from_utf8(bytes).map_err(|_| Damaged)
}
