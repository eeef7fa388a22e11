//! The state of a topic that has grown: that of its former partitions, each key where its records are from now on.
//!
//! It is the state of another life, as after a reset: until offsets name that life, the one before holds.

use shared::pipeline::Pipeline;

use super::head::Origin;
use super::reader::Restored;
use super::record::{StateError, StateRecord};
use super::reset::LiveKeys;
use crate::cancellations::windows::Windows;
use crate::growth::{Growth, GrowthError};
use crate::partition::Partition;

/// The life that the state of a topic begins when it has grown.
#[derive(Debug, Clone)]
pub struct NewLife {
    /// What the state belongs to from now on.
    pub origin: Origin,
    /// When that life began, by the driver's clock: later than those of all states before.
    pub birth: i64,
    /// The first record of each partition that is not in the state: `(n_partitions)`.
    pub offsets: Vec<i64>,
    /// Where the reports on cancellations end.
    pub reports_end: Option<i64>,
}

/// The state of every partition of a topic that has grown, by number, from `states`, those of the partitions that it had, by
/// number. In these, everything has been read that was written before the growth.
///
/// # Errors
/// [`GrowthError`] where the state does not fit how keys are placed.
pub fn rekey(
    pipeline: &Pipeline,
    states: Vec<Restored>,
    growth: &Growth<'_>,
    life: &NewLife,
) -> Result<Vec<Restored>, GrowthError> {
    let (mut windows, mut partitions) = (None, Vec::with_capacity(states.len()));
    for (number, state) in (0..).zip(states) {
        let (partition, of_partition) = state.into_partition(number);
        partitions.push(partition);
        windows = windows.or(of_partition);
    }
    let new = Partition::carry_over(pipeline, partitions, growth)?;
    let mut windows = match (&pipeline.cancellations, life.reports_end) {
        (Some(settings), Some(end)) => {
            let reports: Vec<_> = new.iter().map(Partition::whole_report).collect();
            Some(windows.unwrap_or_else(|| Windows::new(settings)).carried_over(&reports, end))
        }
        _ => None,
    };
    let mut states = Vec::with_capacity(new.len());
    for (mut partition, &next_offset) in new.into_iter().zip(&life.offsets) {
        let head = partition.begin_life(pipeline, &life.origin, life.birth, next_offset);
        let head = head.ok_or(GrowthError::State(StateError::Damaged))?;
        // The windows over all are of the first partition.
        states.push(Restored::assembled(partition, windows.take(), head));
    }
    Ok(states)
}

impl Restored {
    /// The records that make a changelog, whose keys are `live`, that of this state, the last one its head. First everything
    /// goes and another life begins: whatever is read before that does not count.
    pub fn put_anew(&self, pipeline: &Pipeline, live: &LiveKeys, mut put: impl FnMut(StateRecord)) {
        if let Some(head) = self.head() {
            let reports_from = self.reports_from();
            let (blank, _) = live.reset(pipeline, head.origin.clone(), head.birth, head.next_offset, reports_from);
            blank.into_iter().for_each(&mut put);
        }
        self.put_all(pipeline, put);
    }
}
