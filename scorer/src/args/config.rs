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

#[cfg(test)]
mod tests {
    use clap::{Command, CommandFactory as _};

    use super::super::Cli;
    use super::*;

    /// A name that is misspelled here would have no effect.
    #[test]
    fn what_is_said_of_options_is_of_options_that_there_are() {
        let cli = Cli::command();
        let command =
            |path: &str| path.split(' ').try_fold(&cli, |command, name| command.find_subcommand(name)).unwrap();
        let has = |command: &Command, name: &str| command.get_arguments().any(|arg| arg.get_long() == Some(name));
        let run = command(PROGRAM.default_command);
        let of_run: Vec<&str> = run.get_arguments().filter_map(|arg| arg.get_long()).collect();
        for (path, table) in PROGRAM.same_as {
            assert_eq!(*table, PROGRAM.default_command);
            assert!(of_run.iter().all(|name| has(command(path), name)), "{path}");
        }
        for OnlyWith { command: path, option, with } in PROGRAM.only_with {
            assert!(has(command(path), option) && has(command(path), with), "{path}");
        }
        assert!(PROGRAM.secret_pairs.iter().all(|name| has(run, name)));
        assert!(!cfg!(feature = "otel") || PROGRAM.secrets.iter().all(|name| has(run, name)));
    }
}
