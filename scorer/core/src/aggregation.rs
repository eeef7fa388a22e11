//! What is made of a partition's records: entities of several lines, or a verdict on each.

use shared::history::History;
use shared::pipeline::{Pipeline, Scored};
use shared::time::{Millis, Timestamp};

use crate::changelog::record::ChangelogKind;
use crate::progress::PartitionProgress;
use crate::records::RecordScoring;
use crate::resume::Recovery;
use crate::sessions::OpenSessions;
use crate::step::Step;
use crate::watermarks::SourceClocks;

/// What is made of a partition's records.
#[derive(Debug)]
pub(crate) enum Aggregation {
    Sessions(OpenSessions),
    Records(Box<RecordScoring>),
}

impl Aggregation {
    /// Nothing has been done yet.
    pub fn new(pipeline: &Pipeline, recovery: Recovery) -> Self {
        match &pipeline.scored {
            Scored::Sessions(sessions) => Self::Sessions(OpenSessions::new(pipeline, sessions, recovery)),
            Scored::Records(records) => Self::Records(Box::new(RecordScoring::new(pipeline, records, recovery))),
        }
    }

    /// What is open, and lines of it.
    pub fn size(&self) -> (u64, u64) {
        match self {
            Self::Sessions(sessions) => sessions.size(),
            Self::Records(scoring) => (scoring.size(), scoring.size()),
        }
    }

    /// Bytes that it takes, about.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Sessions(sessions) => sessions.bytes(),
            Self::Records(scoring) => scoring.bytes(),
        }
    }

    /// How many records the changelog holds of this, about.
    pub fn state_records(&self) -> u64 {
        match self {
            Self::Sessions(sessions) => sessions.size().0,
            Self::Records(scoring) => scoring.state_records(),
        }
    }

    /// The first clock at which something is due.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        match self {
            Self::Sessions(sessions) => sessions.next_deadline(),
            Self::Records(scoring) => scoring.next_deadline(),
        }
    }

    /// How long records wait for those that may come before them.
    pub fn lateness(&self) -> Millis {
        match self {
            Self::Sessions(_) => 0,
            Self::Records(scoring) => scoring.lateness(),
        }
    }

    /// The clock from which on every record that went on to a next hop is due there, too.
    pub fn all_due_at(&self) -> Option<Timestamp> {
        match self {
            Self::Sessions(_) => None,
            Self::Records(scoring) => scoring.all_due_at(),
        }
    }

    /// The first record of what is open, where records are read again after a restart.
    pub fn oldest_offset(&self) -> Option<i64> {
        match self {
            Self::Sessions(sessions) => sessions.oldest_offset(),
            Self::Records(scoring) => scoring.oldest_offset(),
        }
    }

    /// Does what is due when the clock shows `clock`.
    pub fn close_due(&mut self, clock: Timestamp, progress: &mut PartitionProgress, step: &mut Step<'_>) {
        match self {
            Self::Sessions(sessions) => sessions.close_due(clock, progress, step),
            Self::Records(scoring) => scoring.judge_due(clock, progress, step),
        }
    }

    /// Gives up what has to go where the partition holds more than it may.
    pub fn keep_within_limits(&mut self, progress: &mut PartitionProgress, step: &mut Step<'_>) {
        match self {
            Self::Sessions(sessions) => sessions.keep_within_limits(progress, step),
            Self::Records(scoring) => scoring.keep_within_limits(progress, step),
        }
    }

    /// The same with a past that is remembered, where records have one.
    pub fn remembering(self, past: History) -> Self {
        match self {
            Self::Records(scoring) => Self::Records(Box::new(scoring.remembering(past))),
            Self::Sessions(_) => self,
        }
    }

    /// A copy of what is remembered of these keys, and whether any of them is known; `None` where nothing has a past, or
    /// only a part of it is here.
    pub fn past_of(&self, keys: &[Option<String>]) -> Option<(History, bool)> {
        match self {
            Self::Records(scoring) if scoring.is_hop() => None,
            Self::Records(scoring) => {
                let past = scoring.past();
                Some((past.of_keys(scoring.features(), keys), past.knows_any(keys)))
            }
            Self::Sessions(_) => None,
        }
    }

    /// Keys whose past is remembered.
    pub fn keys_with_a_past(&self) -> usize {
        match self {
            Self::Sessions(_) => 0,
            Self::Records(scoring) => scoring.keys_with_a_past(),
        }
    }

    /// Whether `kind` is a kind of state of any pipeline.
    pub fn is_kind(kind: u8) -> bool {
        [OpenSessions::KIND, SourceClocks::KIND].contains(&kind) || RecordScoring::KINDS.contains(&kind)
    }

    /// The kinds of its state, in the order in which the changelog has them.
    pub fn kinds(&self) -> [Option<&dyn ChangelogKind>; 3] {
        match self {
            Self::Sessions(sessions) => [Some(sessions), None, None],
            Self::Records(scoring) => scoring.kinds().map(Some),
        }
    }

    /// The same, to be changed.
    pub fn kinds_mut(&mut self) -> [Option<&mut dyn ChangelogKind>; 3] {
        match self {
            Self::Sessions(sessions) => [Some(sessions), None, None],
            Self::Records(scoring) => scoring.kinds_mut().map(Some),
        }
    }
}
