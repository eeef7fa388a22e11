//! The command line of `labels`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::BrokerArgs;

/// What to do with what analysts said.
#[derive(Debug, Subcommand)]
pub enum LabelsCommand {
    /// Write the labels into a file, for `trainer --labels`, `trainer compare --labels`, `scorer ab --labels` and notebooks.
    Export(ExportArgs),
}

/// Options of `labels export`.
#[derive(Debug, Clone, Args)]
pub struct ExportArgs {
    /// Pipeline that ships with the program, or pipeline file; the topic is NAME_labels.
    #[arg(long, value_name = "NAME|FILE", default_value = "invoices")]
    pub pipeline: String,
    /// Brokers.
    #[command(flatten)]
    pub brokers: BrokerArgs,
    /// Output: FILE.jsonl, FILE.csv or FILE.parquet; `-` means JSON lines on standard output.
    #[arg(long, value_name = "FILE", default_value = "-")]
    pub output: PathBuf,
    /// Write the exceptions instead, as JSON lines only.
    #[arg(long)]
    pub exceptions: bool,
}
