//! The scorer's pure heart: a state machine from records and time to closed entities, erroneous records and
//! cancellation counts.
//!
//! It does no I/O and reads no clock: the time that passed is part of its inputs. Everything that can reach it is
//! one closed enum, [`Input`], so that Kafka, a file and a test drive the same code.

mod cancellations;
mod clock;
mod counters;
mod entity;
mod expiry;
mod partition;

use std::collections::BTreeMap;
use std::sync::Arc;

use shared::line::LineParser;
use shared::pipeline::Pipeline;
use shared::reason::Reason;
use shared::time::{Millis, Timestamp};
use shared::verdict::EntitySummary;

pub use cancellations::CancellationCount;
pub use counters::Counters;

use cancellations::Publisher;
use partition::Partition;

/// A reading of a clock that only moves forward: milliseconds since a start of the driver's choice.
pub type Monotonic = i64;

/// Everything that can happen to the state machine.
#[derive(Debug)]
pub enum Input<'a> {
    /// A partition is ours from here on; `resume` is what was committed for it.
    Assigned {
        /// The partition.
        partition: i32,
        /// Where an earlier owner stopped.
        resume: Option<Resume>,
    },
    /// A partition is no longer ours: its state goes.
    Revoked {
        /// The partition.
        partition: i32,
    },
    /// A record, in the order of its partition.
    Record(Record<'a>),
    /// Every record of the partition so far has been read.
    CaughtUp {
        /// The partition.
        partition: i32,
        /// When this was seen.
        now: Monotonic,
    },
    /// Time has passed.
    Time {
        /// The time it is.
        now: Monotonic,
    },
    /// No record will ever come: what is open is complete.
    End,
}

/// A record of the input topic or of a file.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// The timestamp that Kafka keeps with it.
    pub timestamp: Timestamp,
    /// Its bytes.
    pub payload: &'a [u8],
}

/// Something to be published.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// A complete, valid entity: to be scored.
    Closed(ClosedEntity),
    /// A line or an entity that breaks a rule.
    Erroneous(Erroneous),
    /// How many cancellations a window has.
    Cancellations(CancellationCount),
}

/// A complete, valid entity.
#[derive(Debug, Clone, PartialEq)]
pub struct ClosedEntity {
    /// What a verdict tells of it beside the score.
    pub summary: EntitySummary,
    /// Its features: `(n_features)`, finite.
    pub features: Vec<f64>,
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

/// What is committed for a partition, so that a later owner goes on where this one stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resume {
    /// Read from here: the first line of the oldest open entity, or the next record.
    pub offset: i64,
    /// Everything that records before this offset led to has been published.
    pub published_to: i64,
    /// Entities whose deadline is not after this clock have been closed.
    pub closed_through: Timestamp,
    /// Windows up to this moment have been published.
    pub windows_through: Timestamp,
}

/// How long after its deadline an entity is closed while a partition is quiet: a line stamped in time may still be on
/// its way.
const GRACE: Millis = 50;

/// How long a partition is quiet before the cancellation window no longer waits for it.
const IDLE_TIMEOUT: Millis = 1_000;

/// The state machine.
#[derive(Debug)]
pub struct Core {
    pipeline: Arc<Pipeline>,
    parser: LineParser,
    partitions: BTreeMap<i32, Partition>,
    publisher: Option<Publisher>,
    counters: Counters,
    last_now: Option<Monotonic>,
}

impl Core {
    /// A state machine for `pipeline` that owns no partition yet.
    pub fn new(pipeline: Arc<Pipeline>) -> Self {
        Self {
            parser: LineParser::new(pipeline.clone()),
            publisher: pipeline.cancellations.as_ref().map(Publisher::new),
            partitions: BTreeMap::new(),
            counters: Counters::default(),
            last_now: None,
            pipeline,
        }
    }

    /// Takes one input and adds what follows from it to `out`.
    pub fn apply(&mut self, input: Input<'_>, out: &mut Vec<Output>) {
        match input {
            Input::Assigned { partition, resume } => self.assign(partition, resume),
            Input::Revoked { partition } => self.revoke(partition),
            Input::Record(record) => self.record(record, out),
            Input::CaughtUp { partition, now } => self.caught_up(partition, now, out),
            Input::Time { now } => self.time(now, out),
            Input::End => self.end(out),
        }
    }

    /// What was counted so far.
    pub fn counters(&self) -> Counters {
        let (open_entities, open_lines) = self
            .partitions
            .values()
            .map(Partition::open_size)
            .fold((0, 0), |sum, size| (sum.0 + size.0, sum.1 + size.1));
        Counters { open_entities, open_lines, ..self.counters.clone() }
    }

    /// What to commit for each partition once every output so far is published.
    pub fn resume_points(&self) -> Vec<(i32, Resume)> {
        let windows_through = self.publisher.as_ref().map_or(Timestamp::MIN, Publisher::published_through);
        let point = |(&number, partition): (&i32, &Partition)| Some((number, partition.resume_point(windows_through)?));
        self.partitions.iter().filter_map(point).collect()
    }

    /// When the next [`Input::Time`] would close an entity, if no record comes before.
    pub fn next_deadline(&self) -> Option<Monotonic> {
        self.partitions.values().filter_map(|partition| partition.next_deadline()).min()
    }

    fn assign(&mut self, partition: i32, resume: Option<Resume>) {
        if let (Some(publisher), Some(resume)) = (&mut self.publisher, resume) {
            publisher.resume(resume.windows_through);
        }
        self.partitions.insert(partition, Partition::new(&self.pipeline, partition, resume));
    }

    /// Lines of entities that were open here are somebody else's to count now.
    fn revoke(&mut self, partition: i32) {
        if let Some(partition) = self.partitions.remove(&partition) {
            self.counters.given_up_lines += partition.open_size().1;
        }
    }

    fn record(&mut self, record: Record<'_>, out: &mut Vec<Output>) {
        let Self { pipeline, parser, partitions, counters, .. } = self;
        let partition =
            partitions.entry(record.partition).or_insert_with(|| Partition::new(pipeline, record.partition, None));
        counters.records += 1;
        let before = partition.watermark();
        partition.record(pipeline, parser, &record, counters, out);
        if partition.watermark() != before {
            self.publish_windows(out);
        }
    }

    fn caught_up(&mut self, partition: i32, now: Monotonic, out: &mut Vec<Output>) {
        self.last_now = Some(now);
        if let Some(partition) = self.partitions.get_mut(&partition) {
            partition.caught_up(&self.pipeline, now, &mut self.counters, out);
        }
    }

    fn time(&mut self, now: Monotonic, out: &mut Vec<Output>) {
        self.last_now = Some(now);
        for partition in self.partitions.values_mut() {
            partition.time(&self.pipeline, now, &mut self.counters, out);
        }
        self.publish_windows(out);
    }

    fn end(&mut self, out: &mut Vec<Output>) {
        for partition in self.partitions.values_mut() {
            partition.end(&self.pipeline, &mut self.counters, out);
        }
        if let Some(publisher) = &mut self.publisher {
            publisher.finish(self.partitions.values_mut().map(|partition| &mut partition.cancelled), out);
        }
    }

    fn publish_windows(&mut self, out: &mut Vec<Output>) {
        let Some(publisher) = &mut self.publisher else { return };
        if let Some(clock) = common_clock(&self.partitions, self.last_now) {
            publisher.advance(clock, self.partitions.values_mut().map(|partition| &mut partition.cancelled), out);
        }
    }
}

/// The clock of all partitions together: the slowest of those that have something to read; when none has, the fastest.
fn common_clock(partitions: &BTreeMap<i32, Partition>, now: Option<Monotonic>) -> Option<Timestamp> {
    let is_idle = |partition: &&Partition| partition.is_idle_for(IDLE_TIMEOUT, now);
    if partitions.values().all(|partition| is_idle(&partition)) {
        return partitions.values().filter_map(|partition| partition.clock_at(now)).max();
    }
    let active = partitions.values().filter(|partition| !is_idle(partition));
    // A partition that has not been read at all may hold anything: it holds the window back.
    active.map(Partition::watermark).min().flatten()
}

#[cfg(test)]
mod tests;
