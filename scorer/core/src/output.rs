//! What the state machine says.

use shared::codec::{Damaged, Reader, put_optional, put_signed, put_unsigned};
use shared::reason::Reason;
use shared::time::{Millis, Timestamp};
use shared::verdict::EntitySummary;
use shared::zscore::WindowSummary;

use crate::clock::WallMillis;

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
    /// A record that goes on to the next hop.
    Forwarded(Forwarded),
    /// How far a partition is, for every partition of the next hop's topic.
    Watermark(Vec<u8>),
}

/// A record that goes on to the next hop, with what is known of it by then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forwarded {
    /// Its value of the column by which the next hop's topic is keyed.
    pub key: String,
    /// The record, as the next hop reads it.
    pub bytes: Vec<u8>,
}

impl Output {
    /// The entity that is to be scored, if it is one.
    pub fn closed(&self) -> Option<&ClosedEntity> {
        if let Self::Closed(entity) = self { Some(entity) } else { None }
    }
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
    /// Its partition.
    pub partition: i32,
    /// First and last offset of each run of its lines.
    pub offsets: Vec<(i64, i64)>,
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
    /// Its partition: that in which it was first.
    pub partition: i32,
    /// Its offset there, unless it has been waiting since before states had offsets.
    pub offset: Option<i64>,
}

/// A line or an entity that breaks a rule, or records that nobody can read any more.
#[derive(Debug, Clone, PartialEq)]
pub enum Erroneous {
    /// A line.
    Line {
        /// Every rule it breaks.
        reasons: Vec<Reason>,
        /// Its partition and offset.
        source: (i32, i64),
        /// Its place among the records of its message, from 0, where that holds several.
        item: Option<u32>,
        /// Its bytes; of one of several, those of a message that holds it alone.
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
    /// Records that were deleted before they were read.
    Lost {
        /// Their partition.
        partition: i32,
        /// The offset of the first one.
        first: i64,
        /// The offset of the last one.
        last: i64,
    },
}

/// A published count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CancellationCount {
    /// The window's first moment.
    pub window_start: Timestamp,
    /// The moment after its last.
    pub window_end: Timestamp,
    /// Distinct cancelled keys whose first line lies in it.
    pub cancellations: u64,
}

/// What one partition tells the windows. Its numbers are absolute: to read it twice changes nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The partition.
    pub partition: i32,
    /// The largest timestamp it has seen: panes before it are complete.
    pub watermark: Option<Timestamp>,
    /// Since when it has had nothing to read, by the clock of its owner: earlier builds said this alone.
    pub idle_since: Option<WallMillis>,
    /// How long it has had nothing to read, once that is long enough not to wait for it.
    pub idle_for: Option<Millis>,
    /// Cancelled keys by the start of their pane: those that changed, and those of the last window.
    pub panes: Vec<(Timestamp, u64)>,
}

const REPORT_VERSION: u8 = 1;

/// The tag of the idle time.
const IDLE_FOR: u8 = b'i';

impl Report {
    /// The report as bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![REPORT_VERSION];
        put_signed(&mut out, i64::from(self.partition));
        put_optional(&mut out, self.watermark);
        put_optional(&mut out, self.idle_since);
        put_unsigned(&mut out, self.panes.len() as u64);
        for (start, count) in &self.panes {
            put_signed(&mut out, *start);
            put_unsigned(&mut out, *count);
        }
        // As in a head, what came later stands at the end.
        if let Some(idle_for) = self.idle_for {
            out.push(IDLE_FOR);
            put_signed(&mut out, idle_for);
        }
        out
    }

    /// Takes back that there is nothing to read.
    pub fn forget_idle(&mut self) {
        self.idle_since = None;
        self.idle_for = None;
    }

    /// Reads what [`Report::encode`] wrote.
    ///
    /// # Errors
    /// [`Damaged`] for anything else.
    pub fn decode(bytes: &[u8]) -> Result<Self, Damaged> {
        let mut reader = Reader(bytes);
        if reader.byte()? != REPORT_VERSION {
            return Err(Damaged);
        }
        let partition = i32::try_from(reader.signed()?).map_err(|_| Damaged)?;
        let (watermark, idle_since) = (reader.optional()?, reader.optional()?);
        let count = reader.count()?;
        let panes = (0..count).map(|_| Ok((reader.signed()?, reader.unsigned()?))).collect::<Result<_, Damaged>>()?;
        let mut report = Self { partition, watermark, idle_since, idle_for: None, panes };
        while !reader.0.is_empty() {
            match reader.byte()? {
                IDLE_FOR => report.idle_for = Some(reader.signed()?),
                _ => return Err(Damaged),
            }
        }
        Ok(report)
    }
}
