//! What is made of a partition's records: entities of several lines, or a verdict on each.

use shared::expiry::ExpiryMap;
use shared::pipeline::{Pipeline, Scored};
use shared::time::Timestamp;

use super::Step;
use super::judging::Judging;
use super::partition::Standing;
use super::restored::Restored;
use super::sessions::OpenSessions;
use super::state::StateRecord;

/// What is made of a partition's records.
#[derive(Debug)]
pub(super) enum Work {
    Sessions(OpenSessions),
    Records(Box<Judging>),
}

impl Work {
    /// Nothing has been done yet. `is_reread` says whether a restart reads the records of what is open again.
    pub(super) fn new(pipeline: &Pipeline, is_reread: bool) -> Self {
        match &pipeline.scored {
            Scored::Sessions(sessions) => {
                Self::Sessions(OpenSessions::new(pipeline, sessions, ExpiryMap::default(), is_reread))
            }
            Scored::Records(records) => Self::Records(Box::new(Judging::new(pipeline, records, is_reread))),
        }
    }

    /// What the changelog has.
    pub(super) fn restored(pipeline: &Pipeline, restored: &mut Restored) -> Self {
        match (&pipeline.scored, restored.past.take()) {
            (Scored::Sessions(sessions), _) => {
                let open = std::mem::take(&mut restored.open);
                Self::Sessions(OpenSessions::new(pipeline, sessions, open, false))
            }
            (Scored::Records(records), Some(past)) => {
                Self::Records(Box::new(Judging::restored(pipeline, records, past)))
            }
            (Scored::Records(_), None) => Self::new(pipeline, false),
        }
    }

    /// What is open, and lines of it.
    pub(super) fn size(&self) -> (u64, u64) {
        match self {
            Self::Sessions(sessions) => sessions.size(),
            Self::Records(judging) => (judging.size(), judging.size()),
        }
    }

    /// How many records the changelog holds of this, about.
    pub(super) fn state_records(&self) -> u64 {
        match self {
            Self::Sessions(sessions) => sessions.size().0,
            Self::Records(judging) => judging.state_records(),
        }
    }

    /// The first clock at which something is due.
    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        match self {
            Self::Sessions(sessions) => sessions.next_deadline(),
            Self::Records(judging) => judging.next_deadline(),
        }
    }

    /// The first record of what is open, where records are read again after a restart.
    pub(super) fn oldest_offset(&self) -> Option<i64> {
        match self {
            Self::Sessions(sessions) => sessions.oldest_offset(),
            Self::Records(judging) => judging.oldest_offset(),
        }
    }

    /// Does what is due when the clock shows `clock`.
    pub(super) fn close_due(&mut self, clock: Timestamp, standing: &mut Standing, step: &mut Step<'_>) {
        match self {
            Self::Sessions(sessions) => sessions.close_due(clock, standing, step),
            Self::Records(judging) => judging.judge_due(clock, standing, step),
        }
    }

    /// Writes down what changed since the last time.
    pub(super) fn take_changes(&mut self, out: &mut Vec<StateRecord>) {
        match self {
            Self::Sessions(sessions) => sessions.take_changes(out),
            Self::Records(judging) => judging.take_changes(out),
        }
    }

    /// Everything, as the changelog has it after [`Work::take_changes`].
    pub(super) fn snapshot(&self, put: impl FnMut(StateRecord)) {
        match self {
            Self::Sessions(sessions) => sessions.snapshot(put),
            Self::Records(judging) => judging.snapshot(put),
        }
    }
}
