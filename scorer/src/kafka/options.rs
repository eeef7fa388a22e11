//! How a stream runs.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::stages::faults::FaultInjection;
use super::topics::names::Topics;
use crate::messages::Message;

/// How far a stream has come.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// Records read.
    pub records: u64,
}

/// When a stream ends by itself.
#[derive(Clone)]
pub enum EndWhen {
    /// It does not.
    Never,
    /// When everything there is has been read and this holds too: open entities are then complete.
    Reached(Arc<dyn Fn(&Progress) -> bool + Send + Sync>),
    /// When everything there is has been read and committed; what is open stays open.
    CaughtUp,
}

impl fmt::Debug for EndWhen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Never => "Never",
            Self::Reached(_) => "Reached",
            Self::CaughtUp => "CaughtUp",
        })
    }
}

/// What a crash can do to results.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// The results of the last moments may be published twice, and a restart forgets which invoices had closed.
    AtLeastOnce,
    /// Nothing: every record has its outcome once.
    ExactlyOnce,
}

/// What happens when records were deleted before they were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnLostRecords {
    /// They are counted and published as lost, and the stream goes on.
    Continue,
    /// The stream ends.
    Fail,
}

/// How a stream runs.
#[derive(Clone)]
pub struct StreamOptions {
    /// The consumer group.
    pub group: String,
    /// What a crash can do to results.
    pub delivery: Delivery,
    /// The topics that it reads and writes; with a topic of copies, which needs exactly once, lines are repartitioned
    /// first.
    pub topics: Topics,
    /// How many stream threads there may be. None runs without a partition.
    pub threads: usize,
    /// The name of a static member; without one the instance takes a free slot of its machine.
    pub instance_id: Option<String>,
    /// Where local snapshots are kept.
    pub state_dir: Option<PathBuf>,
    /// How many other instances keep a copy of the state of a partition, and follow it. Only exactly once is there anything to
    /// follow.
    pub standbys: usize,
    /// A batch is closed after so many records.
    pub batch_records: usize,
    /// How many bytes of memory the process may take; `None` where nothing says how many there are.
    pub max_memory: Option<u64>,
    /// How many of these other parts of the process take.
    pub other_memory: u64,
    /// How often results are committed under load.
    pub commit_interval: Duration,
    /// What happens when records were deleted before they were read.
    pub on_lost_records: OnLostRecords,
    /// Publish verdicts that are not anomalous as well.
    pub all_verdicts: bool,
    /// When the stream ends by itself.
    pub end_when: EndWhen,
    /// Whether brokers are asked for the ids of topics; a cluster that is only simulated never answers that.
    pub asks_topic_ids: bool,
    /// The largest record that topics take; without it the broker is asked about each.
    pub max_message_bytes: Option<usize>,
    /// Told of each batch that came to its end, where somebody traces them. It is called between two commits, and may not wait.
    pub on_batch: Option<OnBatch>,
    /// Failures and broken guarantees: none, except in tests.
    pub faults: FaultInjection,
}

impl fmt::Debug for StreamOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamOptions")
            .field("group", &self.group)
            .field("delivery", &self.delivery)
            .field("topics", &self.topics)
            .field("instance_id", &self.instance_id)
            .finish_non_exhaustive()
    }
}

/// A batch that came to its end: what it held, and when it was in which stage.
#[derive(Debug, Clone)]
pub struct BatchTrace {
    /// Its number in this run of its stream thread.
    pub number: u64,
    /// Records that were read for it.
    pub records: usize,
    /// Messages that follow from them.
    pub messages: usize,
    /// When its first record came, and when it was closed.
    pub read: (Instant, Instant),
    /// When it began to be scored, and when it was.
    pub scored: (Instant, Instant),
    /// When the first message of it was sent, and when the broker had acknowledged all of them, or it had come to nothing.
    pub published: (Instant, Instant),
    /// When all was acknowledged, and when it was committed or that had failed.
    pub committed: Option<(Instant, Instant)>,
    /// Why it came to nothing, where it did: its records are read again.
    pub error: Option<String>,
}

/// Called with each batch that came to its end.
pub type OnBatch = Arc<dyn Fn(BatchTrace) + Send + Sync>;

/// Called with each acknowledged message.
pub type OnMessage = Arc<dyn Fn(&Message) + Send + Sync>;
