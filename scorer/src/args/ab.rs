//! The command line of `ab`: two detectors beside each other.

use std::path::PathBuf;

use clap::Args;

use super::{BrokerArgs, PipelineArgs, parse_since};

/// Options of `ab`.
#[derive(Debug, Clone, Args)]
#[command(after_long_help = AB_EXAMPLES)]
pub struct AbArgs {
    /// Pipeline, models, device.
    #[command(flatten)]
    pub pipeline: PipelineArgs,
    /// First detector; by default the pipeline's first one.
    #[arg(long, value_name = "NAME")]
    pub a: Option<String>,
    /// Second detector; by default the first one that is not --a.
    #[arg(long, value_name = "NAME")]
    pub b: Option<String>,
    /// Files of records, which both detectors score now, or files of verdicts that `scorer score` wrote (.jsonl or
    /// .parquet). By default, the verdicts in the two topics.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub input: Vec<PathBuf>,
    /// Brokers.
    #[command(flatten)]
    pub brokers: BrokerArgs,
    /// Leave out what was published before this time, such as 2026-11-21T09:30:00Z or milliseconds since 1970.
    #[arg(long, value_name = "TIME", conflicts_with = "input", value_parser = parse_since)]
    pub since: Option<i64>,
    /// Labels for verdicts: a CSV or JSON lines file of keys and labels; without FILE, the records of the pipeline's
    /// topic. Records that are scored now contain their labels.
    #[arg(long, value_name = "FILE", num_args = 0..=1)]
    pub labels: Option<Option<PathBuf>>,
    /// Number of entities to show that only one detector calls anomalous.
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub examples: usize,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

const AB_EXAMPLES: &str = "\
Examples:
  scorer ab                                            published verdicts of the pipeline's first two detectors
  scorer ab --since 2026-11-21T09:30:00Z               the same since this time, for example after a new model
  scorer ab --input day-1.csv day-2.csv                records, scored now
  scorer ab --input verdicts.parquet --labels odd.csv  verdicts of `scorer score --output`, and which detector is right

Only `scorer run --all-verdicts` publishes verdicts on normal entities. Without them, a missing verdict is taken for
`normal`, and the number of entities that both detectors call normal is unknown. The command joins no consumer group and
commits nothing.

A file of labels needs a column with the name of the pipeline's key, and a column with the name of its label or `label`.
An entity that the file does not name is normal.";
