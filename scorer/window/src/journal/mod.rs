//! What analysts say, in and out: entries that were kept come in, and what is said here goes out to whoever keeps it.
//!
//! The window keeps nothing itself. It hands over a [`Write`], and answers whoever asked once the keeper says what became of
//! it. The keeper tells of each entry that is kept, whoever wrote it, before it answers the write that it came of.

mod memory;
mod versions;

use tokio::sync::mpsc::error::{TryRecvError, TrySendError};
use tokio::sync::{mpsc, oneshot};

pub use versions::{Check, Versions};

/// Writes that may wait.
const WAITING: usize = 64;

/// An entry as it was read: the newest of its key takes the place of those before it.
#[derive(Debug, Clone)]
pub struct Entry {
    /// What it is about.
    pub key: String,
    /// What is said, JSON as `docs/labels.md` describes it; `None` where it was taken back.
    pub value: Option<Vec<u8>>,
    /// Its place among all entries: larger than that of any before it.
    pub version: u64,
}

/// An entry that is to be kept.
#[derive(Debug)]
pub struct Write {
    /// What it is about.
    pub key: String,
    /// What is said.
    pub value: Vec<u8>,
    /// The version of the entry that its writer saw; `None` where there was none.
    pub seen: Option<u64>,
    /// Names the write: the same write may come again, and is kept once.
    pub request: String,
    answer: oneshot::Sender<Outcome>,
}

/// What became of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is kept, now or since it came before.
    Kept,
    /// Somebody else was faster: there is a newer entry than the one that was seen.
    Stale,
    /// It is not kept, or nobody knows, for this reason.
    Failed(String),
}

/// What the keeper tells.
#[derive(Debug)]
pub(crate) enum News {
    Entry(Entry),
    CaughtUp,
    Keeping(Keeping),
    Answer(oneshot::Sender<Outcome>, Outcome),
}

/// Where entries are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Keeping {
    /// In a topic of this name.
    Topic(String),
    /// In the memory of this process.
    Memory,
    /// Nowhere, for this reason.
    Nowhere(String),
}

/// The keeper's end.
#[derive(Debug)]
pub struct Journal {
    writes: mpsc::Receiver<Write>,
    /// A write that was looked for, and found.
    found: Option<Write>,
    news: mpsc::Sender<News>,
}

/// The window's end.
#[derive(Debug)]
pub(crate) struct Desk {
    writes: mpsc::Sender<Write>,
}

/// Both ends, and what the keeper tells.
pub(crate) fn journal() -> (Journal, Desk, mpsc::Receiver<News>) {
    let (writes, to_keep) = mpsc::channel(WAITING);
    let (news, told) = mpsc::channel(WAITING);
    (Journal { writes: to_keep, found: None, news }, Desk { writes }, told)
}

impl Journal {
    /// The next write, if one waits. `Err` once nobody is left to write.
    ///
    /// # Errors
    /// When the window is closed.
    pub fn try_next(&mut self) -> Result<Option<Write>, Closed> {
        if let Some(write) = self.found.take() {
            return Ok(Some(write));
        }
        match self.writes.try_recv() {
            Ok(write) => Ok(Some(write)),
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => Err(Closed),
        }
    }

    /// Whether a write waits, or nobody is left to write.
    pub fn has_next(&mut self) -> bool {
        match self.try_next() {
            Ok(found) => {
                self.found = found;
                self.found.is_some()
            }
            Err(Closed) => true,
        }
    }

    /// The next write; waits for it. `None` once nobody is left to write. For a thread that may block.
    pub fn wait(&mut self) -> Option<Write> {
        self.found.take().or_else(|| self.writes.blocking_recv())
    }

    /// Tells of an entry. For a thread that may block; whether anybody is left to hear it.
    pub fn tell(&self, entry: Entry) -> bool {
        self.news.blocking_send(News::Entry(entry)).is_ok()
    }

    /// Tells that everything that was kept before has been told.
    pub fn tell_caught_up(&self) {
        let _ = self.news.blocking_send(News::CaughtUp);
    }

    /// Tells where entries are kept from now on, or why they are not.
    pub fn tell_keeping(&self, keeping: Keeping) {
        let _ = self.news.blocking_send(News::Keeping(keeping));
    }

    /// Answers a write, after everything that was told before.
    pub fn answer(&self, write: Write, outcome: Outcome) {
        let _ = self.news.blocking_send(News::Answer(write.answer, outcome));
    }
}

/// Nobody is left to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closed;

impl Desk {
    /// Hands over a write; what comes of it is received. `None` where too many wait, or nobody keeps any.
    pub(crate) fn write(
        &self,
        key: String,
        value: Vec<u8>,
        seen: Option<u64>,
        request: String,
    ) -> Option<oneshot::Receiver<Outcome>> {
        let (answer, received) = oneshot::channel();
        match self.writes.try_send(Write { key, value, seen, request, answer }) {
            Ok(()) => Some(received),
            Err(TrySendError::Full(_) | TrySendError::Closed(_)) => None,
        }
    }
}
