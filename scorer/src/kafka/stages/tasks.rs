//! The partitions that are worked on: the state machine, and all that comes and goes with its partitions.

use std::sync::Arc;
use std::time::{Duration, Instant};

use shared::pipeline::Pipeline;

use super::restoring::Restoring;
use crate::core::{Core, Counters, Input, Output, Record, Start, WallMillis};
use crate::kafka::client::error::KafkaError;
use crate::kafka::client::producer::ProducedOffsets;
use crate::kafka::state::reports::Reports;
use crate::kafka::state::restore::{Restoration, Restore, StartPosition};
use crate::kafka::state::snapshots::Snapshots;

/// How long the last reports of cancellations may take to come back.
const REPORTS_TIMEOUT: Duration = Duration::from_secs(10);

/// How long to wait at a time for one of them.
const REPORT_WAIT: Duration = Duration::from_millis(50);

/// The state machine with its partitions: where their state comes from, the snapshots that are kept of it, and the
/// reports of cancellations, where they are ours to add up.
pub(crate) struct Tasks<R> {
    pub core: Core,
    /// The partitions that the state machine does not have yet.
    pub restoring: Restoring,
    restorer: R,
    reports: Reports,
    pub snapshots: Snapshots,
    pub pipeline: Arc<Pipeline>,
    /// The topic whose partitions these are: for errors.
    topic: String,
    /// Whether a misplaced line was mentioned.
    has_warned: bool,
    /// Whether an odd date was.
    has_warned_of_dates: bool,
    /// Whether a record that is somebody else's was.
    has_warned_of_foreign: bool,
}

impl<R: Restore> Tasks<R> {
    /// No partitions yet.
    pub(crate) fn new(
        core: Core,
        restorer: R,
        reports: Reports,
        snapshots: Snapshots,
        pipeline: Arc<Pipeline>,
        topic: &str,
    ) -> Self {
        let (restoring, topic) = (Restoring::default(), topic.to_owned());
        Self {
            core,
            restoring,
            restorer,
            reports,
            snapshots,
            pipeline,
            topic,
            has_warned: false,
            has_warned_of_dates: false,
            has_warned_of_foreign: false,
        }
    }

    /// Begins to restore partitions that are ours from now on.
    pub(crate) fn restore(&mut self, partitions: &[i32], out: &mut Vec<Output>) {
        self.begin(partitions, false, out);
    }

    fn begin(&mut self, partitions: &[i32], is_rolled_back: bool, out: &mut Vec<Output>) {
        for &partition in partitions {
            self.core.apply(Input::Restoring { partition }, out);
        }
        self.restoring.begin(partitions, is_rolled_back);
        self.restorer.begin(partitions);
    }

    /// The next partition whose state is there, and where work on it begins. What could not be restored for now is tried again
    /// when it is time to.
    ///
    /// # Errors
    /// What is true of all partitions.
    pub(crate) fn next_restored(&mut self, now: WallMillis) -> Result<Option<(i32, StartPosition)>, KafkaError> {
        for due in self.restoring.take_due(now) {
            self.restorer.begin(&[due]);
        }
        while let Some(Restoration { partition, result }) = self.restorer.outcome() {
            match result {
                Ok(start) => return Ok(Some((partition, start))),
                Err(error) if error.is_of_one_partition() => self.restoring.on_failed(partition, error, now),
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Takes a partition on that has been restored.
    ///
    /// # Errors
    /// When reports cannot be read.
    pub(crate) fn assign(&mut self, partition: i32, start: Start, out: &mut Vec<Output>) -> Result<(), KafkaError> {
        let start = match (self.restoring.on_restored(partition), start) {
            (Some(true), Start::Restored(restored)) => Start::RolledBack(restored),
            (_, start) => start,
        };
        self.core.apply(Input::Assigned { partition, start }, out);
        self.reports.follow(self.core.reports_from())
    }

    /// Lets go of partitions whose work is committed.
    ///
    /// # Errors
    /// When reports cannot be read.
    pub(crate) fn revoke(&mut self, partitions: &[i32], out: &mut Vec<Output>) -> Result<(), KafkaError> {
        self.restorer.cancel(partitions);
        self.restoring.remove(partitions);
        self.snapshots.revoke(partitions);
        for &partition in partitions {
            self.core.apply(Input::Revoked { partition }, out);
        }
        self.reports.follow(self.core.reports_from())
    }

    /// Drops all state and goes back to these counters.
    pub(crate) fn drop_state(&mut self, counters: Counters) {
        self.core.roll_back(counters);
        self.reports.close();
    }

    /// As [`drop_state`](Self::drop_state), and begins to restore partitions as they were at the last commit.
    pub(crate) fn roll_back(&mut self, partitions: &[i32], counters: Counters, out: &mut Vec<Output>) {
        self.drop_state(counters);
        self.begin(partitions, true, out);
    }

    /// Takes a record.
    ///
    /// # Errors
    /// [`KafkaError::NotOwned`] when its partition is not ours.
    pub(crate) fn record(&mut self, record: Record<'_>, out: &mut Vec<Output>) -> Result<(), KafkaError> {
        let (partition, offset) = (record.partition, record.offset);
        if !self.core.owns(partition) {
            return Err(KafkaError::NotOwned { topic: self.topic.clone(), partition, offset });
        }
        self.core.apply(Input::Record(record), out);
        if !self.has_warned && self.core.misplaced_lines() > 0 {
            self.has_warned = true;
            warn_of_misplaced(&self.pipeline, partition, offset);
        }
        if !self.has_warned_of_foreign && self.core.foreign_records() > 0 {
            self.has_warned_of_foreign = true;
            tracing::warn!(
                topic = self.topic.as_str(),
                partition,
                offset,
                "a record of this internal topic is of somebody else, or of another pipeline or version: such records are skipped and \
                 counted"
            );
        }
        if let Some(column) = self.core.odd_dates().keys().next().filter(|_| !self.has_warned_of_dates) {
            warn_of_odd_date(column, partition, offset);
            self.has_warned_of_dates = true;
        }
        Ok(())
    }

    /// Takes the time, and what has been reported meanwhile.
    pub(crate) fn time(&mut self, now: WallMillis, out: &mut Vec<Output>) {
        self.core.apply(Input::Time { now }, out);
        self.take_reports(Duration::ZERO, out);
    }

    fn take_reports(&mut self, wait: Duration, out: &mut Vec<Output>) {
        let Self { core, reports, .. } = self;
        reports.drain(wait, |report, offset| core.apply(Input::Report { report, offset }, out));
    }

    /// Notes that a batch is committed.
    pub(crate) fn on_committed(&mut self, batch: u64, produced: &ProducedOffsets) {
        self.reports.on_published(produced);
        self.snapshots.on_committed(batch, produced);
    }

    /// What is open is complete and committed: publishes the windows that are left, once every report has come back.
    pub(crate) fn finish_windows(&mut self, out: &mut Vec<Output>) {
        let deadline = Instant::now() + REPORTS_TIMEOUT;
        while self.reports.are_behind(self.core.reports_from()) {
            if Instant::now() >= deadline {
                tracing::warn!("the last cancellations are not counted: their reports could not be read back");
                break;
            }
            self.take_reports(REPORT_WAIT, out);
        }
        if self.reports.is_open() {
            self.core.finish_windows(out);
        }
    }
}

fn warn_of_odd_date(column: &str, partition: i32, offset: i64) {
    tracing::warn!(
        partition,
        offset,
        "`{column}` of a record is before 1970, or more than a year after the record: such dates are counted; see whether \
         `datetime_formats` in the pipeline file reads dates as they are meant"
    );
}

fn warn_of_misplaced(pipeline: &Pipeline, partition: i32, offset: i64) {
    let column = pipeline.placed_by().first().map_or("", |&column| &pipeline.schema.columns[column].name);
    tracing::warn!(
        partition,
        offset,
        "a record has no key, or a key that is not its `{column}`: records that belong together may be in several \
         partitions, and each partition sees only a part of them; `--repartition always` repartitions them"
    );
}
