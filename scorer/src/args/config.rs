//! The command lines that ask what the program would do, and what it is.

use clap::{Args, Subcommand};
use configuration::{OnlyWith, Program};

use super::RunArgs;

/// What the declaration of the command line does not say of options in the environment and in files.
pub const PROGRAM: Program = Program {
    default_command: "run",
    same_as: &[("config show", "run"), ("check", "run"), ("doctor", "run")],
    // Brokers for everything else do not turn a file of samples into a stream.
    only_with: &[OnlyWith { command: "simulate transactions", option: "brokers", with: "topic" }],
    secrets: &["otlp-endpoint"],
    secret_pairs: &["kafka-property"],
    of_others: &["label", "detectors"],
};

/// What to do with the configuration.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Show every option of `run`: its value, and whether it is of the command line, the environment, a file, or the default.
    Show(ShowArgs),
}

/// Options of `config show`.
#[derive(Debug, Clone, Args)]
pub struct ShowArgs {
    /// Those of `run`.
    #[command(flatten)]
    pub run: RunArgs,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// Options of `check`.
#[derive(Debug, Clone, Args)]
pub struct CheckArgs {
    /// Those of `run`.
    #[command(flatten)]
    pub run: RunArgs,
}

/// Options of `doctor`.
#[derive(Debug, Clone, Args)]
pub struct DoctorArgs {
    /// Those of `run`.
    #[command(flatten)]
    pub run: RunArgs,
}

/// Options of `version`.
#[derive(Debug, Clone, Args)]
pub struct VersionArgs {
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}
