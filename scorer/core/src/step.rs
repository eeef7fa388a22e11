//! What a step of a partition has beside the partition.

use shared::pipeline::Pipeline;

use crate::counters::Counters;
use crate::output::Output;

/// What is looked at beside a record's own bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Checks {
    /// The column whose value has to be the record's key, where that decides who gets it.
    pub key: Option<usize>,
}

/// What every step of a partition reads and writes beside the partition.
pub(crate) struct Step<'a> {
    pub pipeline: &'a Pipeline,
    pub counters: &'a mut Counters,
    pub out: &'a mut Vec<Output>,
}
