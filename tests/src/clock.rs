//! Which clock a trial goes by.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use shared::time::format_timestamp;

use crate::PipelineFile;

/// Of a pipeline of sessions that goes by Kafka's clock: short, so that invoices close while instances are hit.
const SESSION_GAP: &str = "5s";

/// How far ahead of its time the last record is: further than whatever is open then.
const AHEAD: Duration = Duration::from_secs(60);

/// The clock of `--clock`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Clock {
    /// The dates in the records.
    #[default]
    Event,
    /// Kafka's timestamps, which go on while nothing comes.
    Record,
}

impl Clock {
    /// The one of this name.
    pub fn of(name: &str) -> Option<Self> {
        [Self::Event, Self::Record].into_iter().find(|clock| clock.name() == name)
    }

    /// As `--clock` names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Event => "event",
            Self::Record => "record",
        }
    }

    /// A pipeline file of sessions for a trial.
    pub(crate) fn of_sessions(self, file: PipelineFile) -> PipelineFile {
        match self {
            Self::Event => file,
            Self::Record => file.with("session_gap", SESSION_GAP),
        }
    }

    /// Whether the windows of payments are judged. By Kafka's clock, which is at today, payments of last year come too
    /// late for their windows.
    pub(crate) fn has_windows(self) -> bool {
        self == Self::Event
    }

    /// The timestamp of the last record where it decides what is closed, and how messages write it.
    pub(crate) fn end(self) -> Option<(i64, String)> {
        let end = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() + AHEAD;
        let timestamp = end.as_millis() as i64;
        (self == Self::Record).then(|| (timestamp, format_timestamp(timestamp)))
    }
}
