//! What joins the hops of a stream.

use crate::kafka::repartition::progress::RepartitionProgress;
use crate::kafka::stop::StopHandle;
use crate::status::StatusCell;

/// What the hops of a stream share, and what joins each to the one before it.
#[derive(Clone)]
pub(crate) struct Links {
    pub n_hops: usize,
    pub stop: StopHandle,
    /// The status of the hop before, where there is one.
    pub status: Option<StatusCell>,
    /// How far that is.
    pub before: Option<RepartitionProgress>,
}

impl Links {
    /// Those of the first of so many hops.
    pub(crate) fn new(n_hops: usize) -> Self {
        Self { n_hops, stop: StopHandle::default(), status: None, before: None }
    }

    /// The status of a hop with so many stream threads.
    pub(crate) fn status_of_hop(&self, threads: usize) -> StatusCell {
        match &self.status {
            Some(before) => before.of_next_hop(threads),
            None => StatusCell::of_threads(threads),
        }
    }

    /// What stops a hop: with others beside it, one that ends by itself does not end them.
    pub(crate) fn stop_of_hop(&self) -> StopHandle {
        if self.n_hops > 1 { self.stop.of_part() } else { self.stop.clone() }
    }
}
