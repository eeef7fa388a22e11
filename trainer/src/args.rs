//! The command line.

pub mod scaling;

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args as ClapArgs, Parser, Subcommand};
use configuration::Program;
use shared::device::DeviceRequest;

use crate::compare::args::{self as compare, CompareArgs};
use crate::devices;
use crate::import::args::ImportArgs;
use crate::init::{self, InitArgs};
use crate::load::MaxBad;
use crate::memory::Size;
use crate::overrides::Overrides;
use scaling::ScalingName;

const ABOUT: &str = "Learns from history what is normal, so that the scorer can find what is not";

const LONG_ABOUT: &str = "\
Learns from history what is normal, so that the scorer can find what is not.

The trainer reads lines from CSV, JSON or Parquet files and combines the lines of each invoice. It leaves out \
cancellations and invoices that break a rule. It computes the features that the pipeline file declares, and fits \
every detector of the pipeline. K-means and bisecting k-means are fitted for k = 1, 2, 3 ..., and the elbow rule \
chooses one k. The threshold is then set on the scores of the training invoices.

The trainer skips a row that it cannot read and counts it by its reason; the closing table shows the counts. \
The same files, seed and device give the same models, byte for byte. \
Memory grows with the number of invoices, not with the number of lines.";

const AFTER_LONG_HELP: &str = "\
EXAMPLES
  Train the pipeline `invoices` on its sample data and write models/:
      trainer

  Train on your own history, on the CPU even if there is a GPU:
      trainer --input history/2023.csv.gz history/2024.parquet --device cpu

  Train on all files of a folder, in the order of their names (the quotes protect the pattern from the shell):
      trainer --input 'history/*.csv'

  Use the settings of the Spark job: no scaling, the 2,000th largest score as the threshold:
      trainer --pipeline invoices-spark

  Write a pipeline file for a file of your own, and train it:
      trainer init payments.csv
      trainer --pipeline payments.toml --input payments.csv

  Train your own pipeline, with ten clusters and a threshold that flags one invoice in a thousand:
      trainer --pipeline my-invoices.toml --k 10 --quantile 0.999

  Show what the models learned:
      trainer inspect models/invoices

  List the devices of this machine, and why a GPU is not seen:
      trainer devices

OPTIONS ELSEWHERE
  Every option is also taken from ATALAYA_<OPTION> in the environment, such as ATALAYA_MODELS, and from the TOML file
  of --config. The command line has precedence, then the environment, then the file.

FILES
  MODELS/PIPELINE/DETECTOR/model.json   a model for the scorer; large arrays are in a weights file beside it
  MODELS/PIPELINE/reports/*.parquet     scores, elbow, centroids and agreement, for notebooks
  MODELS/PIPELINE/reports/training.json time, data and duration of the training

EXIT STATUS
  0  all files are written
  1  the training failed: one sentence says why, and no file was changed
  2  the command line is wrong";

/// What the declaration of the command line does not say of options in the environment and in files.
pub const PROGRAM: Program = Program {
    default_command: "fit",
    same_as: &[],
    only_with: &[],
    secrets: &[],
    secret_pairs: &[],
    of_others: &["speed"],
};

/// What was typed.
#[derive(Debug, Parser)]
#[command(
    name = "trainer",
    version,
    about = ABOUT,
    long_about = LONG_ABOUT,
    after_help = "`trainer --help` explains more and gives examples.",
    after_long_help = AFTER_LONG_HELP,
    args_conflicts_with_subcommands = true,
    max_term_width = 110
)]
pub struct Args {
    /// What to do; without a command: `fit`.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// The flags of `fit`, which may be left out.
    #[command(flatten)]
    pub fit: FitArgs,
}

/// What the program can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Train models on history (the default)
    #[command(after_long_help = AFTER_LONG_HELP)]
    Fit(FitArgs),
    /// Write a pipeline file for a file of your own
    #[command(long_about = init::LONG_ABOUT)]
    Init(InitArgs),
    /// Take over a model that Spark trained
    Import(ImportArgs),
    /// Compare detectors on the same rows, from a pipeline or from any table
    #[command(long_about = compare::LONG_ABOUT, after_long_help = compare::AFTER_LONG_HELP)]
    Compare(CompareArgs),
    /// Show what models have learned
    #[command(
        long_about = "Shows what models have learned: clusters in the features' own units, inertia by k, the threshold \
            and facts about the training.\n\nIf a model file is damaged, the command names it and ends with status 1."
    )]
    Inspect(InspectArgs),
    /// List the devices of this machine, with what was measured on each
    #[command(long_about = devices::LONG_ABOUT)]
    Devices(DevicesArgs),
    /// Print the version, how the program was built, and which formats it knows
    Version(VersionArgs),
}

/// Flags of `trainer version`.
#[derive(Debug, ClapArgs)]
pub struct VersionArgs {
    /// Print JSON instead of lines
    #[arg(long)]
    pub json: bool,
}

/// Flags of `trainer devices`.
#[derive(Debug, ClapArgs)]
pub struct DevicesArgs {
    /// Print JSON instead of a table
    #[arg(long)]
    pub json: bool,
}

/// Flags of `trainer inspect`.
#[derive(Debug, ClapArgs)]
pub struct InspectArgs {
    /// A model.json, or a folder that contains models, such as models/invoices
    #[arg(value_name = "PATH", default_value = "models")]
    pub path: PathBuf,
}

/// Flags of `trainer fit`.
#[derive(Debug, Clone, ClapArgs)]
pub struct FitArgs {
    /// The pipeline: `invoices`, `transactions`, or another that ships, or a pipeline file
    ///
    /// `invoices-spark`, `fraud-handbook`, `online-retail`, `paysim`, `sparkov` and `creditcard` ship as well.
    /// A pipeline file is a TOML file that declares columns, rules, features and detectors. The files that ship are in
    /// resources/pipelines: copy one, change it, and pass its path here.
    #[arg(long, value_name = "NAME|FILE", default_value = "invoices")]
    pub pipeline: String,

    /// History to learn from: .csv, .jsonl or .parquet files, or patterns such as 'history/*.csv'
    ///
    /// A CSV file starts with a header. Its columns may have any order and the aliases of the pipeline file as names;
    /// further columns are ignored. A JSON file (.jsonl, .ndjson, .json) has one object per line. Both may be compressed
    /// (.gz). In a Parquet file, dates may be dates, or text in the formats of the pipeline file. Several files are read
    /// one after the other, as if they were one. Without this option, the sample data of the pipeline are used, if it
    /// ships with the program: the file resources/training.csv, or what is built in where there is no such file.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub input: Vec<String>,

    /// Folder for models and reports
    #[arg(long, value_name = "DIR", default_value = "models")]
    pub models: PathBuf,

    /// Device that computes: auto, cpu, gpu, gpu:N, software, vulkan or vulkan:N
    ///
    /// `auto` takes a GPU if it is discrete, has kernels for the work, and rows x features x clusters x rounds are above a
    /// break-even that is measured once; else the CPU. The line `device:` names the device and the reason, also why a GPU is
    /// not seen. If a GPU that `auto` took fails, the CPU takes over. `software` runs the GPU's code on a software adapter,
    /// for tests. `vulkan` must be compiled in with `--features vulkan`. `trainer devices` lists what there is.
    #[arg(long, value_name = "DEVICE", default_value = "auto", value_parser = DeviceRequest::from_str)]
    pub device: DeviceRequest,

    /// Seed of all randomness
    #[arg(long, value_name = "N", default_value_t = 42)]
    pub seed: u64,

    /// Maximum memory, such as 512MiB or 2GiB; by default three quarters of the machine's memory
    ///
    /// Lines are processed in chunks, so memory grows with the number of invoices. To stay within the limit, the trainer
    /// writes scaled features to a temporary file (in $TMPDIR) and lets runs of k-means wait for each other; the models are
    /// the same. If the limit is too small even so, the error names the smallest size that suffices. The closing table
    /// shows the peak.
    #[arg(long, value_name = "SIZE", value_parser = Size::from_str)]
    pub max_memory: Option<Size>,

    /// Stop where more of a file's rows are dropped for one reason: a share such as 5%
    ///
    /// If many rows of a file are dropped for the same reason, the pipeline file is more likely to be wrong than the rows.
    /// No model is written then. For dates and numbers, the error says what would read them. Fewer than ten rows never stop a
    /// training, and 100% switches this off.
    #[arg(long, value_name = "SHARE", default_value_t, value_parser = MaxBad::from_str)]
    pub max_bad: MaxBad,

    /// Leave out what analysts have confirmed as anomalies: a file that `scorer labels export` wrote (.csv, .jsonl or .parquet)
    ///
    /// Entities with the label `anomaly` have no part in the training, the threshold and the calibration. They are found by their
    /// keys. `false_alarm` and `unsure` leave nothing out.
    #[arg(long, value_name = "FILE")]
    pub labels: Option<PathBuf>,

    /// Print nothing but errors
    #[arg(long)]
    pub quiet: bool,

    /// Replace models of another history with models of the sample data
    ///
    /// Without --input, the trainer learns from sample data. If the folder has models of another history, it leaves them as they
    /// are, writes the new ones into a folder beside it, such as models-sample, and says so.
    #[arg(long)]
    pub force: bool,

    /// Flags that override the pipeline file.
    #[command(flatten)]
    pub overrides: OverrideArgs,
}

/// Flags that override the pipeline file.
#[derive(Debug, Clone, Copy, ClapArgs)]
#[command(next_help_heading = "Options that override the pipeline file, for every detector")]
pub struct OverrideArgs {
    /// Use this number of clusters, without the elbow rule
    #[arg(long, value_name = "N", value_parser = above_zero, conflicts_with_all = ["max_k", "elbow"])]
    pub k: Option<usize>,

    /// Largest number of clusters that the elbow rule tries
    #[arg(long, value_name = "N", value_parser = above_zero)]
    pub max_k: Option<usize>,

    /// Elbow rule: take the first k whose inertia is more than R times the inertia of k - 1
    #[arg(long, value_name = "R", value_parser = between_zero_and_one)]
    pub elbow: Option<f64>,

    /// Threshold: the score that this share of the training invoices does not exceed
    #[arg(long, value_name = "Q", value_parser = between_zero_and_one, conflicts_with = "top")]
    pub quantile: Option<f64>,

    /// Threshold: the N-th largest score of the training invoices
    #[arg(long, value_name = "N", value_parser = above_zero)]
    pub top: Option<usize>,

    /// Scaling of the features
    #[arg(long, value_name = "S")]
    pub scaling: Option<ScalingName>,

    /// Number of runs from different seedings; the best is kept
    #[arg(long, value_name = "N", value_parser = above_zero)]
    pub n_init: Option<usize>,

    /// Maximum number of iterations of one run
    #[arg(long, value_name = "N", value_parser = above_zero)]
    pub max_iter: Option<usize>,

    /// A run ends when its center shift is less than this, relative to the variance of the features
    #[arg(long, value_name = "T", value_parser = not_negative)]
    pub tol: Option<f64>,
}

impl From<OverrideArgs> for Overrides {
    fn from(args: OverrideArgs) -> Self {
        Self {
            k: args.k,
            max_k: args.max_k,
            elbow: args.elbow,
            quantile: args.quantile,
            top: args.top,
            scaling: args.scaling.map(Into::into),
            n_init: args.n_init,
            max_iter: args.max_iter,
            tol: args.tol,
        }
    }
}

fn above_zero(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|&number| number > 0).ok_or_else(|| "use a whole number above 0".to_owned())
}

fn between_zero_and_one(text: &str) -> Result<f64, String> {
    let between = |number: &f64| *number > 0.0 && *number < 1.0;
    text.parse().ok().filter(between).ok_or_else(|| "use a number between 0 and 1, such as 0.99".to_owned())
}

fn not_negative(text: &str) -> Result<f64, String> {
    let fits = |number: &f64| number.is_finite() && *number >= 0.0;
    text.parse().ok().filter(fits).ok_or_else(|| "use a number that is not negative, such as 0.0001".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use shared::device::AUTO_RULE;

    use super::*;

    fn parse(arguments: &[&str]) -> Result<Args, clap::Error> {
        Args::try_parse_from(std::iter::once("trainer").chain(arguments.iter().copied()))
    }

    #[test]
    fn the_declaration_is_sound() {
        Args::command().debug_assert();
    }

    /// Help and the page on devices say the rule by which a GPU is taken in the same words as the program.
    #[test]
    fn the_rule_for_gpus_is_the_same_everywhere() {
        let in_one_line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let help = Args::command().find_subcommand("fit").unwrap().clone().render_long_help().to_string();
        let page = include_str!("../../docs/devices.md");
        for text in [help.as_str(), page] {
            assert!(in_one_line(text).contains(AUTO_RULE), "{AUTO_RULE}");
        }
    }

    #[test]
    fn fit_is_the_default() {
        let alone = parse(&[]).unwrap();
        assert!(alone.command.is_none());
        assert_eq!((alone.fit.pipeline.as_str(), alone.fit.seed), ("invoices", 42));
        assert!(alone.fit.input.is_empty());
        assert_eq!(parse(&["--seed", "3"]).unwrap().fit.seed, 3);
        let Some(Command::Fit(fit)) = parse(&["fit", "--input", "a.csv", "b.csv", "--seed", "3"]).unwrap().command
        else {
            panic!("no fit")
        };
        assert_eq!((fit.input.len(), fit.seed), (2, 3));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for bad in [
            &["--k", "0"][..],
            &["--k", "3", "--elbow", "0.5"],
            &["--quantile", "1"],
            &["--quantile", "NaN"],
            &["--quantile", "0.9", "--top", "5"],
            &["--scaling", "huge"],
            &["--device", "tpu"],
            &["--tol=-1"],
            &["--seed=-1"],
            &["--max-memory", "lots"],
            &["train"],
        ] {
            assert_eq!(parse(bad).unwrap_err().exit_code(), 2, "{bad:?}");
        }
    }
}
