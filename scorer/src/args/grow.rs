//! The command line of `grow`.

use clap::{Args, ValueEnum};

use super::GroupArgs;
#[cfg(feature = "fault-injection")]
use super::run::parse_end;
#[cfg(feature = "fault-injection")]
use crate::kafka::SuddenEnd;

/// How producers place keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PartitionerArg {
    /// As Java's producers do by default.
    Murmur2,
    /// As librdkafka's producers do by default, and those of the languages that stand on it (`consistent_random`).
    Crc32,
    /// As Sarama's producers do by default.
    Fnv1a,
}

/// Options of `grow`.
#[derive(Debug, Clone, Args)]
#[command(after_long_help = STEPS)]
pub struct GrowArgs {
    /// Pipeline, brokers and group.
    #[command(flatten)]
    pub of: GroupArgs,
    /// Number of partitions that the topic is to have; more than it has now, 2 at least.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(2..))]
    pub partitions: i32,
    /// How the producers of the topic place keys; by default, as the keys that are remembered say. A topic with one partition
    /// does not tell.
    #[arg(long, value_name = "NAME", value_enum)]
    pub partitioner: Option<PartitionerArg>,
    /// Change nothing, and say what would be done and what has to be read before.
    #[arg(long)]
    pub dry_run: bool,
    /// End without a farewell at a moment that matters.
    #[cfg(feature = "fault-injection")]
    #[arg(long, value_name = "WHERE", hide = true, value_parser = parse_end)]
    pub end_at: Option<std::sync::Arc<SuddenEnd>>,
}

const STEPS: &str = "\
Steps:
  1. Stop the producers of the topic. (If its lines are repartitioned, they may go on.)
  2. scorer run --until-caught-up    reads what is left; all scorers of the group end then
  3. scorer grow --partitions N
  4. Start the producers anew: one that runs may not know of the new partitions for five minutes (metadata.max.age.ms).
     Start the scorers.

If it is killed, run it again: what was there is whole until everything has been carried over.";
