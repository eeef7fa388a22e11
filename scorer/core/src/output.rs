//! What the state machine says.

use shared::reason::Reason;
use shared::verdict::EntitySummary;
use shared::zscore::WindowSummary;

use super::{CancellationCount, Report};

/// Something to be published.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// A complete, valid entity: to be scored.
    Closed(ClosedEntity),
    /// What a detector that needs no training found of a record, once the windows that hold it were complete.
    Windowed(WindowVerdict),
    /// A line or an entity that breaks a rule.
    Erroneous(Erroneous),
    /// How many cancellations a window has.
    Cancellations(CancellationCount),
    /// News of a partition for the owner of the windows.
    Report(Report),
}

/// A complete, valid entity.
#[derive(Debug, Clone, PartialEq)]
pub struct ClosedEntity {
    /// What a verdict tells of it beside the score.
    pub summary: EntitySummary,
    /// Its features: `(n_features)`, finite.
    pub features: Vec<f64>,
    /// The scenario that it is known to be of, where records say so; not for detectors to see.
    pub truth: Option<Box<str>>,
}

/// What a detector that compares the records of a window found of one.
#[derive(Debug, Clone, PartialEq)]
pub struct WindowVerdict {
    /// The detector's place in [`shared::pipeline::Pipeline::zscores`].
    pub detector: usize,
    /// What a verdict tells of the record beside the score.
    pub summary: EntitySummary,
    /// The scenario that it is known to be of.
    pub truth: Option<Box<str>>,
    /// Its value.
    pub value: f64,
    /// How far that is from the centre of the window, in spreads; 0 where all windows hold too few records.
    pub score: f64,
    /// The window that gave the score.
    pub window: WindowSummary,
}

/// A line or an entity that breaks a rule.
#[derive(Debug, Clone, PartialEq)]
pub enum Erroneous {
    /// A line.
    Line {
        /// Every rule it breaks.
        reasons: Vec<Reason>,
        /// Its partition and offset.
        source: (i32, i64),
        /// Its bytes.
        raw: Vec<u8>,
    },
    /// A complete entity.
    Entity {
        /// Every rule it breaks.
        reasons: Vec<Reason>,
        /// What is known of it.
        summary: EntitySummary,
        /// Columns and their first values, of those that rules ask for.
        known: Vec<(String, String)>,
        /// Its features; NaN where no line had the column.
        features: Vec<f64>,
        /// Its partition.
        partition: i32,
        /// First and last offset of each run of its lines.
        offsets: Vec<(i64, i64)>,
    },
}
