//! Flags of `trainer init`.

use std::path::PathBuf;

use clap::Args;

/// What `trainer init --help` says first.
pub const LONG_ABOUT: &str = "\
Looks at a file and writes a pipeline file for it, which can be trained at once.

It reads CSV (plain or .gz), JSON lines or Parquet, and tells how the file is written, what its columns are and what \
they are for: the key, the time, the amount, the customer, the label. What it is not sure of it says, with the evidence, \
on the terminal and as comments in the file. Change what is wrong there.";

/// Flags of `trainer init`.
#[derive(Debug, Clone, Args)]
pub struct InitArgs {
    /// The file: .csv, .jsonl or .parquet; text files may be compressed (.gz)
    #[arg(value_name = "FILE")]
    pub file: PathBuf,

    /// Topic that the scorer is to read; by default, the name of the pipeline
    #[arg(long, value_name = "TOPIC")]
    pub kafka: Option<String>,

    /// Name of the pipeline; by default, that of the file
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,

    /// The pipeline file to write; by default, NAME.toml
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,

    /// Overwrite the pipeline file
    #[arg(long)]
    pub force: bool,
}
