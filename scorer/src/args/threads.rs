//! How many stream threads `run` has.

use std::num::NonZero;
use std::thread::available_parallelism;

use clap::Args;

use super::parse_positive;

/// Options of stream threads.
#[derive(Debug, Clone, Args)]
pub struct ThreadArgs {
    /// Number of stream threads, which share the topic's partitions as instances do: each reads, scores and commits by itself.
    /// By default as many as the machine has cores. None runs without a partition, or without memory for it; the run says how
    /// many there are.
    #[arg(long, value_name = "N", value_parser = parse_positive)]
    pub threads: Option<usize>,
}

impl ThreadArgs {
    /// How many there are to be at most.
    pub fn most(&self) -> usize {
        self.threads.unwrap_or_else(|| available_parallelism().map_or(1, NonZero::get))
    }
}
