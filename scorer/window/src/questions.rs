//! Records that are posted to be scored at once: they wait, within bounds, for whoever can score them.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use tokio::sync::oneshot;

/// Questions that may wait.
const WAITING: usize = 32;

/// Bytes of records that may be posted.
pub(crate) const LONGEST_QUESTION: usize = 256 << 10;

/// How records may be written.
pub(crate) const KINDS: &str = "records are JSON, CSV or what the topic has: send Content-Type: application/json, text/csv or \
                                application/octet-stream";

/// How posted records are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// JSON: an object, or an array of them.
    Json,
    /// CSV: lines without a header.
    Csv,
    /// As a record of the stream, whatever that is.
    AsOnTopic,
}

impl Written {
    /// How the body of a request is written, as far as its headers say.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let kind = headers.get(CONTENT_TYPE)?.to_str().ok()?.split(';').next()?.trim();
        let is = |name: &str| kind.eq_ignore_ascii_case(name);
        match () {
            () if is("application/json") => Some(Self::Json),
            () if is("text/csv") => Some(Self::Csv),
            () if is("application/octet-stream") => Some(Self::AsOnTopic),
            () => None,
        }
    }
}

/// Records that are to be scored, and who waits for what comes of them.
pub struct Question {
    /// How they are written.
    pub written: Written,
    /// Their bytes.
    pub records: Vec<u8>,
    answer: oneshot::Sender<Reply>,
}

/// What comes of records that were posted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// What the detectors say, as a JSON object.
    Scored(String),
    /// They cannot be scored, whenever they come.
    Refused {
        /// The rules that they break, in the words of the erroneous topic.
        reasons: Vec<String>,
        /// What is wrong, in one sentence.
        why: String,
    },
    /// They cannot be scored now, for this reason.
    NotNow(String),
}

/// What became of questions so far.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    scored: AtomicU64,
    refused: AtomicU64,
    not_now: AtomicU64,
}

impl Asked {
    /// Counts one more; `None` is one that nobody was asked.
    pub(crate) fn count(&self, reply: Option<&Reply>) {
        let count = match reply {
            Some(Reply::Scored(_)) => &self.scored,
            Some(Reply::NotNow(_)) => &self.not_now,
            Some(Reply::Refused { .. }) | None => &self.refused,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }

    /// How many there were, by what became of them.
    pub(crate) fn counts(&self) -> [(&'static str, u64); 3] {
        [("scored", &self.scored), ("refused", &self.refused), ("not_now", &self.not_now)]
            .map(|(outcome, count)| (outcome, count.load(Ordering::Relaxed)))
    }
}

impl Question {
    /// Whether somebody still waits for what comes of it.
    pub fn is_awaited(&self) -> bool {
        !self.answer.is_closed()
    }

    /// Tells what comes of it. Who asked may have gone.
    pub fn answer(self, reply: Reply) {
        drop(self.answer.send(reply));
    }
}

impl fmt::Debug for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What records hold stays out of logs.
        f.debug_struct("Question").field("written", &self.written).finish_non_exhaustive()
    }
}

/// The end of whoever can score. While it is there, the window takes questions.
#[derive(Debug)]
pub struct Questions(Receiver<Question>);

impl Questions {
    /// The next question; waits for it. `None` once the window is closed. For a thread that may block.
    pub fn wait(&self) -> Option<Question> {
        self.0.recv().ok()
    }
}

/// The window's end.
#[derive(Debug, Clone)]
pub(crate) struct Asking(SyncSender<Question>);

/// Both ends.
pub(crate) fn questions() -> (Asking, Questions) {
    let (asking, questions) = sync_channel(WAITING);
    (Asking(asking), Questions(questions))
}

/// Why a question is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotTaken {
    /// As many wait as may.
    Full,
    /// Nobody scores any more.
    Closed,
}

impl Asking {
    /// Hands records over; what comes of them is received.
    pub(crate) fn ask(&self, written: Written, records: Vec<u8>) -> Result<oneshot::Receiver<Reply>, NotTaken> {
        let (answer, received) = oneshot::channel();
        match self.0.try_send(Question { written, records, answer }) {
            Ok(()) => Ok(received),
            Err(TrySendError::Full(_)) => Err(NotTaken::Full),
            Err(TrySendError::Disconnected(_)) => Err(NotTaken::Closed),
        }
    }
}
