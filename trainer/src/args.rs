//! The command line.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use shared::device::DeviceRequest;
use shared::pipeline::Scaling;

use crate::compare::args::{self as compare, CompareArgs};
use crate::memory::Size;
use crate::overrides::Overrides;

const ABOUT: &str = "Learns from history what normal looks like, for the scorer to find what is not";

const LONG_ABOUT: &str = "\
Learns from history what normal looks like, for the scorer to find what is not.

The trainer reads lines from CSV, JSON or Parquet files, puts the lines of each invoice together, leaves out \
cancellations and invoices that break a rule, computes the features that the pipeline file declares, and fits \
every detector of the pipeline: k-means and bisecting k-means for k = 1, 2, 3 ..., of which the elbow rule takes \
one. The threshold is then set on the scores of the training invoices themselves.

A row that cannot be read is counted by its reason and passed over; the closing table tells how many there were. \
The same files, seed and device give the same models, byte for byte. \
Memory grows with the number of invoices, not of lines.";

const AFTER_LONG_HELP: &str = "\
EXAMPLES
  Train the pipeline `invoices` on resources/training.csv and write models/:
      trainer

  Train on history of your own, on the CPU whatever else there is:
      trainer --input history/2023.csv.gz history/2024.parquet --device cpu

  All files of a folder, in the order of their names (the quotes keep the pattern from the shell):
      trainer --input 'history/*.csv'

  The choices of the Spark job: no scaling, the 2,000th largest score as the threshold:
      trainer --pipeline invoices-spark

  A pipeline of your own, with ten clusters and a threshold that flags one invoice in a thousand:
      trainer --pipeline my-invoices.toml --k 10 --quantile 0.999

  Look at what was learned:
      trainer inspect models/invoices

FILES
  MODELS/PIPELINE/DETECTOR/model.json   a model, which the scorer reads; large arrays are in a weights file beside it
  MODELS/PIPELINE/reports/*.parquet     scores, elbow, centroids and agreement, for notebooks
  MODELS/PIPELINE/reports/training.json when, on what, and how long

EXIT STATUS
  0  every file is written
  1  it could not be done: one sentence says why, and no file was changed
  2  the command line was not understood";

/// What was typed.
#[derive(Debug, Parser)]
#[command(
    name = "trainer",
    version,
    about = ABOUT,
    long_about = LONG_ABOUT,
    after_help = "`trainer --help` tells more and gives examples.",
    after_long_help = AFTER_LONG_HELP,
    args_conflicts_with_subcommands = true,
    max_term_width = 110
)]
pub struct Args {
    /// What to do; to fit when nothing is said.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// The flags of `fit`, which may be left out.
    #[command(flatten)]
    pub fit: FitArgs,
}

/// What the program can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Train models on history (this is what `trainer` alone does)
    #[command(after_long_help = AFTER_LONG_HELP)]
    Fit(FitArgs),
    /// Compare detectors on the same rows, of a pipeline or of any table
    #[command(long_about = compare::LONG_ABOUT, after_long_help = compare::AFTER_LONG_HELP)]
    Compare(CompareArgs),
    /// Show what models have learned
    #[command(
        long_about = "Shows what models have learned: clusters in the features' own units, inertia by k, the threshold \
            and what the training was like.\n\nA damaged model file is named and gives exit status 1."
    )]
    Inspect(InspectArgs),
}

/// Flags of `trainer inspect`.
#[derive(Debug, ClapArgs)]
pub struct InspectArgs {
    /// A model.json, or a folder with models in it, such as models/invoices
    #[arg(value_name = "PATH", default_value = "models")]
    pub path: PathBuf,
}

/// Flags of `trainer fit`.
#[derive(Debug, Clone, ClapArgs)]
pub struct FitArgs {
    /// The pipeline: `invoices`, `invoices-spark`, `transactions`, `fraud-handbook`, or a pipeline file
    ///
    /// A pipeline file is TOML and declares columns, rules, features and detectors. Those that ship are in
    /// resources/pipelines: copy one, change it, and pass its path here.
    #[arg(long, value_name = "NAME|FILE", default_value = "invoices")]
    pub pipeline: String,

    /// History to learn from: .csv, .jsonl or .parquet files, or patterns such as 'history/*.csv'
    ///
    /// A CSV file starts with a header; its columns may stand in any order and be called by the aliases of the
    /// pipeline file, and there may be more of them. A JSON file (.jsonl, .ndjson, .json) has an object a line. Both may
    /// be compressed (.gz). In Parquet, dates may be dates or texts in the formats of the
    /// pipeline file. Several files are read one after the other, as if they were one. Without any, the sample of a
    /// pipeline that ships is used.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub input: Vec<String>,

    /// The folder for models and reports
    #[arg(long, value_name = "DIR", default_value = "models")]
    pub models: PathBuf,

    /// What computes: auto, cpu, gpu, gpu:N, software, vulkan, vulkan:N, cuda or cuda:N
    ///
    /// `auto` takes the CPU or, where there is a real GPU on which the fit is predicted to be done sooner, that; the line
    /// `device:` tells which, and why. A GPU that `auto` took and that fails is replaced by the CPU.
    /// `software` is the GPU's code on a software adapter, for tests. `vulkan` and `cuda` must be built in with
    /// `--features`.
    #[arg(long, value_name = "DEVICE", default_value = "auto", value_parser = DeviceRequest::from_str)]
    pub device: DeviceRequest,

    /// Seed of all randomness
    #[arg(long, value_name = "N", default_value_t = 42)]
    pub seed: u64,

    /// Most memory to take, such as 512MiB or 2GiB; without it, three quarters of the machine's
    ///
    /// Lines pass through in chunks, so memory grows with the number of invoices. Within the limit, scaled features go to a
    /// temporary file (in $TMPDIR) and runs of k-means wait for each other; the models are the same. What does not fit even
    /// so is an error that names the smallest size that does. The closing table shows the peak.
    #[arg(long, value_name = "SIZE", value_parser = Size::from_str)]
    pub max_memory: Option<Size>,

    /// Print nothing but errors
    #[arg(long)]
    pub quiet: bool,

    /// Flags that take the place of what the pipeline file says.
    #[command(flatten)]
    pub overrides: OverrideArgs,
}

/// Flags that override the pipeline file.
#[derive(Debug, Clone, Copy, ClapArgs)]
#[command(next_help_heading = "Instead of what the pipeline file says, for every detector")]
pub struct OverrideArgs {
    /// A fixed number of clusters, without the elbow rule
    #[arg(long, value_name = "N", value_parser = above_zero, conflicts_with_all = ["max_k", "elbow"])]
    pub k: Option<usize>,

    /// The largest number of clusters that the elbow rule tries
    #[arg(long, value_name = "N", value_parser = above_zero)]
    pub max_k: Option<usize>,

    /// The elbow: the first k whose inertia is more than this times that of k - 1 is taken
    #[arg(long, value_name = "R", value_parser = between_zero_and_one)]
    pub elbow: Option<f64>,

    /// The threshold: the score that this share of the training invoices does not exceed
    #[arg(long, value_name = "Q", value_parser = between_zero_and_one, conflicts_with = "top")]
    pub quantile: Option<f64>,

    /// The threshold: the N-th largest score of the training invoices
    #[arg(long, value_name = "N", value_parser = above_zero)]
    pub top: Option<usize>,

    /// How features are scaled before distances are taken
    #[arg(long, value_name = "S")]
    pub scaling: Option<ScalingName>,

    /// Restarts from different seedings, of which the best is kept
    #[arg(long, value_name = "N", value_parser = above_zero)]
    pub n_init: Option<usize>,

    /// Most iterations of one restart
    #[arg(long, value_name = "N", value_parser = above_zero)]
    pub max_iter: Option<usize>,

    /// A restart ends when its centroids moved less than this, relative to the variance of the features
    #[arg(long, value_name = "T", value_parser = not_negative)]
    pub tol: Option<f64>,
}

/// A scaling, as it is typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ScalingName {
    /// The features' own units
    None,
    /// Mean 0 and standard deviation 1
    Standard,
    /// Median 0 and interquartile range 1
    Robust,
    /// Mean 0 and standard deviation 1, with far values drawn in by a logarithm
    Symlog,
}

impl From<ScalingName> for Scaling {
    fn from(name: ScalingName) -> Self {
        match name {
            ScalingName::None => Self::None,
            ScalingName::Standard => Self::Standard,
            ScalingName::Robust => Self::Robust,
            ScalingName::Symlog => Self::Symlog,
        }
    }
}

impl From<OverrideArgs> for Overrides {
    fn from(args: OverrideArgs) -> Self {
        Self {
            k: args.k,
            max_k: args.max_k,
            elbow: args.elbow,
            quantile: args.quantile,
            top: args.top,
            scaling: args.scaling.map(Scaling::from),
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
    use super::*;
    use clap::CommandFactory;

    fn parse(arguments: &[&str]) -> Result<Args, clap::Error> {
        Args::try_parse_from(std::iter::once("trainer").chain(arguments.iter().copied()))
    }

    #[test]
    fn the_declaration_is_sound() {
        Args::command().debug_assert();
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
