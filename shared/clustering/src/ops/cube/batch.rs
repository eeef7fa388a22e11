//! What a pass that serves many runs is told: the runs, in a table, and the points, block by block.

use cubecl::server::Handle;

/// Fields of a run in the table of a batch.
pub(super) const FIELDS: usize = 8;
pub(super) const FIRST: usize = 0;
pub(super) const N_CLUSTERS: usize = 1;
pub(super) const COPIES: usize = 2;
pub(super) const OWNERS_PER_COPY: usize = 3;
pub(super) const LEAF: usize = 4;
pub(super) const TOLERANCE: usize = 5;
pub(super) const STATE: usize = 6;
pub(super) const N_ITER: usize = 7;

/// What a run's state says.
pub(super) const RUNNING: u32 = 0;
pub(super) const DONE: u32 = 1;
pub(super) const HAS_EMPTY_CLUSTER: u32 = 2;

/// Points on the device: a block of them.
#[derive(Debug, Clone)]
pub(crate) struct DeviceBlock {
    /// Index of its first point.
    pub first: usize,
    /// Points of a piece; the last one may have fewer.
    pub piece: usize,
    /// `(n_samples, n_features)`, contiguous float32.
    pub x: Handle,
    /// The leaf each point is in, int32; `None` where every run sees every point.
    pub leaves: Option<Handle>,
    pub n_samples: usize,
}

impl DeviceBlock {
    /// The leaves and how many they are, or `none` where every run sees every point.
    pub(super) fn leaves_or<'a>(&'a self, none: &'a Handle) -> (&'a Handle, usize) {
        self.leaves.as_ref().map_or((none, 1), |leaves| (leaves, self.n_samples))
    }
}
