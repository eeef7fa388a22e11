//! How many instances keep a copy of a partition's state.

use clap::Args;

/// Copies of the state.
#[derive(Debug, Clone, Copy, Args)]
pub struct StandbyArgs {
    /// Number of other instances of the group that keep a copy of the state of each partition up to date in memory, so that one
    /// that takes a partition over goes on from its copy instead of reading the state back. The partition may still go to an
    /// instance without a copy; with one less than there are instances, each has a copy of all. Needs exactly-once delivery, and
    /// has one stream thread.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub standbys: usize,
}
