//! What is made of a partition's records: entities of several lines, or a verdict on each.

use shared::pipeline::{Pipeline, Scored};
use shared::time::Timestamp;

use crate::changelog::record::ChangelogKind;
use crate::progress::Standing;
use crate::records::Judging;
use crate::sessions::OpenSessions;
use crate::step::Step;

/// What is made of a partition's records.
#[derive(Debug)]
pub(crate) enum Work {
    Sessions(OpenSessions),
    Records(Box<Judging>),
}

impl Work {
    /// Nothing has been done yet. `is_reread` says whether a restart reads the records of what is open again.
    pub fn new(pipeline: &Pipeline, is_reread: bool) -> Self {
        match &pipeline.scored {
            Scored::Sessions(sessions) => Self::Sessions(OpenSessions::new(pipeline, sessions, is_reread)),
            Scored::Records(records) => Self::Records(Box::new(Judging::new(pipeline, records, is_reread))),
        }
    }

    /// What is open, and lines of it.
    pub fn size(&self) -> (u64, u64) {
        match self {
            Self::Sessions(sessions) => sessions.size(),
            Self::Records(judging) => (judging.size(), judging.size()),
        }
    }

    /// How many records the changelog holds of this, about.
    pub fn state_records(&self) -> u64 {
        match self {
            Self::Sessions(sessions) => sessions.size().0,
            Self::Records(judging) => judging.state_records(),
        }
    }

    /// The first clock at which something is due.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        match self {
            Self::Sessions(sessions) => sessions.next_deadline(),
            Self::Records(judging) => judging.next_deadline(),
        }
    }

    /// The first record of what is open, where records are read again after a restart.
    pub fn oldest_offset(&self) -> Option<i64> {
        match self {
            Self::Sessions(sessions) => sessions.oldest_offset(),
            Self::Records(judging) => judging.oldest_offset(),
        }
    }

    /// Does what is due when the clock shows `clock`.
    pub fn close_due(&mut self, clock: Timestamp, standing: &mut Standing, step: &mut Step<'_>) {
        match self {
            Self::Sessions(sessions) => sessions.close_due(clock, standing, step),
            Self::Records(judging) => judging.judge_due(clock, standing, step),
        }
    }

    /// Keys whose past is remembered.
    pub fn keys_with_a_past(&self) -> usize {
        match self {
            Self::Sessions(_) => 0,
            Self::Records(judging) => judging.keys_with_a_past(),
        }
    }

    /// Whether `kind` is a kind of state of any pipeline.
    pub fn is_kind(kind: u8) -> bool {
        kind == OpenSessions::KIND || Judging::KINDS.contains(&kind)
    }

    /// The kinds of its state, in the order in which the changelog has them.
    pub fn kinds(&self) -> [Option<&dyn ChangelogKind>; 3] {
        match self {
            Self::Sessions(sessions) => [Some(sessions), None, None],
            Self::Records(judging) => judging.kinds().map(Some),
        }
    }

    /// The same, to be changed.
    pub fn kinds_mut(&mut self) -> [Option<&mut dyn ChangelogKind>; 3] {
        match self {
            Self::Sessions(sessions) => [Some(sessions), None, None],
            Self::Records(judging) => judging.kinds_mut().map(Some),
        }
    }
}
