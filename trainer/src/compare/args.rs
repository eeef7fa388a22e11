//! The command line of `trainer compare`.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args as ClapArgs, ValueEnum};
use shared::device::DeviceRequest;

use super::sort::SortBy;
use crate::args::ScalingName;
use crate::memory::Size;

pub(crate) const LONG_ABOUT: &str = "\
Compares detectors: fits every one of them on one part of the data, lets it score the other, and shows how well each tells \
anomalies from what is normal, how far they agree, how long they take and how large their models are.

The data are those of a pipeline, or any CSV or Parquet file: every column of numbers is a feature, and --label names the \
column that says which rows are anomalies. Labels are for judging; nothing is learned from them, unless --fit-on normal \
leaves known anomalies out of what detectors are fitted on.

Without labels nobody can say which detector is right. What is shown then is how far detectors agree, how much their \
scores change with the seed, and how well they find anomalies that were made for the purpose: such numbers are called \
synthetic, and say little about anomalies of other kinds.";

pub(crate) const AFTER_LONG_HELP: &str = "\
EXAMPLES
  The detectors of a pipeline beside all others, on its own history; the later part is scored:
      trainer compare --pipeline transactions

  Any table with labels, as published benchmarks do it: fitted and scored on all rows
      trainer compare --input thyroid.parquet --label label --all-rows --output comparison

  The public credit card set, three detectors, the best average precision first:
      trainer compare --input creditcard.csv --label Class \\
          --detectors kmeans,isolation-forest,ecod --sort average-precision

  How many false alarms there are when 0.1%, 1% or 5% are asked for:
      trainer compare --input creditcard.csv --label Class --false-alarm-rates

  Make the winner the model of the pipeline's detector `kmeans`, fitted again on all of the history:
      trainer compare --pipeline transactions --sort average-precision --promote kmeans

WHAT THE TABLE SHOWS
  ROC AUC    how probable it is that an anomaly scores higher than a normal row; 0.5 is chance
  avg prec   average precision: the area under precision by recall; the share of anomalies is chance
  ±          half of the 95% interval, by stratified bootstrap over the scored rows
  prec, recall, F1   at the threshold, which is set on the scores of the rows that were fitted
  at n       precision, which is recall too, when as many rows are reported as there are anomalies
  agree      mean rank correlation with the scores of the other detectors

FILES
  DIR/comparison.parquet, .json   one row, or one object, a detector: all of the above and more
  DIR/comparison_scores.parquet   every scored row: its label and each detector's score, threshold and verdict
  DIR/comparison_agreement.parquet each pair of detectors: rank correlation, what both report, McNemar's test

EXIT STATUS
  0  every file is written; a detector that could not take part has a row that says why
  1  it could not be done: one sentence says why, and no file was changed
  2  the command line was not understood";

/// Flags of `trainer compare`.
#[derive(Debug, Clone, ClapArgs)]
pub struct CompareArgs {
    /// Compare on the entities and features of this pipeline: one that ships, or a pipeline file
    ///
    /// Its own detectors take part, as the file has them, beside all others. Its history is --input, or its sample. Which
    /// entities are anomalies is what [label] of the file or --label says.
    #[arg(long, value_name = "NAME|FILE", required_unless_present = "input")]
    pub pipeline: Option<String>,

    /// Files to compare on: .csv, .csv.gz or .parquet, or patterns; with --pipeline, its history
    ///
    /// Without a pipeline every column of numbers, booleans or dates (as seconds) is a feature; --categorical says what
    /// becomes of columns of texts. Several files are read one after the other, as if they were one.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub input: Vec<String>,

    /// The column that says which rows are anomalies; it has two values, such as 0 and 1
    ///
    /// 0, false, no and normal are normal, 1, true, yes, anomaly, outlier and fraud are not. Of two other values the rarer
    /// is the anomaly, unless --anomaly says which it is.
    #[arg(long, value_name = "COLUMN")]
    pub label: Option<String>,

    /// The label's value that means an anomaly; every other value is normal then
    #[arg(long, value_name = "VALUE", requires = "label", conflicts_with = "pipeline")]
    pub anomaly: Option<String>,

    /// Columns of a file that are no features, such as an id
    #[arg(long, value_name = "COLUMN", value_delimiter = ',', conflicts_with = "pipeline")]
    pub exclude: Vec<String>,

    /// The folder for the results
    ///
    /// Without it: ./comparison, or of a pipeline MODELS/PIPELINE/reports.
    #[arg(long, value_name = "DIR")]
    pub output: Option<PathBuf>,

    /// The folder of all models, with a pipeline
    #[arg(long, value_name = "DIR", default_value = "models")]
    pub models: PathBuf,

    /// The detectors to compare, with commas between; without it, all of them
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub detectors: Vec<String>,

    /// What the table is sorted by, best first
    ///
    /// Without it: roc-auc, or synthetic-roc-auc where there are no labels.
    #[arg(long, value_name = "METRIC")]
    pub sort: Option<SortBy>,

    /// Seed of all randomness
    #[arg(long, value_name = "N", default_value_t = 42)]
    pub seed: u64,

    /// What computes: auto, cpu, gpu, gpu:N, software, vulkan, vulkan:N, cuda or cuda:N
    #[arg(long, value_name = "DEVICE", default_value = "auto", value_parser = DeviceRequest::from_str)]
    pub device: DeviceRequest,

    /// Most memory to take, such as 512MiB or 2GiB; without it, three quarters of the machine's
    #[arg(long, value_name = "SIZE", value_parser = Size::from_str)]
    pub max_memory: Option<Size>,

    /// Skip a detector when its fit, or scoring, would take longer than this many minutes
    ///
    /// Of many rows a few are fitted first, to tell how long all of them would take.
    #[arg(long, value_name = "N", default_value_t = 60.0, value_parser = above_zero)]
    pub max_minutes: f64,

    /// Make the winner the pipeline's model: of its detector DETECTOR, or of its first
    ///
    /// The best by --sort is fitted again on all of the history, with the threshold's policy and the topic of that
    /// detector, and takes the place of its model.
    #[arg(long, value_name = "DETECTOR", num_args = 0..=1, default_missing_value = "", requires = "pipeline")]
    pub promote: Option<String>,

    /// Print nothing but errors
    #[arg(long)]
    pub quiet: bool,

    /// How data are split and what becomes of them.
    #[command(flatten)]
    pub data: DataArgs,

    /// What else is measured, and how.
    #[command(flatten)]
    pub measuring: MeasuringArgs,
}

/// What becomes of the data.
#[derive(Debug, Clone, Copy, ClapArgs)]
#[command(next_help_heading = "The data")]
pub struct DataArgs {
    /// Fit on all rows and score the same rows, as published benchmark tables do
    #[arg(long, conflicts_with_all = ["test_share", "split", "false_alarm_rates"])]
    pub all_rows: bool,

    /// The share of rows that are scored and not fitted on
    #[arg(long, value_name = "R", default_value_t = 0.3, value_parser = between_zero_and_one)]
    pub test_share: f64,

    /// Which rows these are; without it, the later ones of a pipeline's and random ones of a table's
    #[arg(long, value_name = "HOW")]
    pub split: Option<SplitName>,

    /// What detectors are fitted on; anomalies among the rows are the usual case
    #[arg(long, value_name = "ROWS", default_value = "all")]
    pub fit_on: FitOn,

    /// How features are scaled for detectors that are not of the pipeline file; without it, as is best for each
    #[arg(long, value_name = "S")]
    pub scaling: Option<ScalingName>,

    /// What becomes of missing values: the statistic is that of the rows that are fitted on
    #[arg(long, value_name = "RULE", default_value = "median")]
    pub missing: MissingRule,

    /// What becomes of columns of texts that are no numbers
    #[arg(long, value_name = "RULE", default_value = "drop")]
    pub categorical: CategoricalRule,
}

/// What is measured.
#[derive(Debug, Clone, Copy, ClapArgs)]
#[command(next_help_heading = "The measures")]
pub struct MeasuringArgs {
    /// The threshold: the score that this share of the fitted rows does not exceed; 0.99 when nothing is said
    #[arg(long, value_name = "Q", value_parser = between_zero_and_one, conflicts_with = "false_alarm_rate")]
    pub quantile: Option<f64>,

    /// The threshold: the score that a normal row exceeds with at most this probability, by rows that are held out
    #[arg(long, value_name = "R", value_parser = between_zero_and_one)]
    pub false_alarm_rate: Option<f64>,

    /// A second table: false alarms asked for and realised, for 0.1%, 1% and 5%
    ///
    /// Detectors are fitted on a part of the rows, thresholds are set on normal rows of another part (split conformal
    /// prediction), and false alarms are counted on the normal rows of a third. Without labels every row counts as normal.
    #[arg(long)]
    pub false_alarm_rates: bool,

    /// Replicates of the bootstrap
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub bootstrap: u32,

    /// How much scores change with the seed; it takes two more fits of each detector, and is on without labels
    #[arg(long)]
    pub stability: bool,
}

/// Which rows are scored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SplitName {
    /// The last rows: what detectors meet in production
    Later,
    /// Rows that are drawn, of anomalies and normal ones the same share
    Random,
}

/// What detectors are fitted on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FitOn {
    /// Every row, anomalies too
    All,
    /// Rows that the label calls normal
    Normal,
}

/// What becomes of missing values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum MissingRule {
    /// They are an error
    Refuse,
    /// They become the feature's median
    Median,
    /// They become its mean
    Mean,
    /// They become 0
    Zero,
}

/// What becomes of columns of texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CategoricalRule {
    /// They are left out
    Drop,
    /// A feature a value, 0 or 1, where there are at most 32 values; otherwise left out
    OneHot,
    /// They are an error
    Refuse,
}

fn above_zero(text: &str) -> Result<f64, String> {
    let fits = |number: &f64| number.is_finite() && *number > 0.0;
    text.parse().ok().filter(fits).ok_or_else(|| "use a number above 0, such as 60".to_owned())
}

fn between_zero_and_one(text: &str) -> Result<f64, String> {
    let between = |number: &f64| *number > 0.0 && *number < 1.0;
    text.parse().ok().filter(between).ok_or_else(|| "use a number between 0 and 1, such as 0.3".to_owned())
}
