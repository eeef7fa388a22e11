//! The command line of `trainer compare`.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args as ClapArgs, ValueEnum};
use shared::device::DeviceRequest;
use shared::time::{Millis, parse_span};

use super::sort::SortBy;
use crate::args::scaling::ScalingName;
use crate::memory::Size;

pub(crate) const LONG_ABOUT: &str = "\
Compares detectors: fits each detector on one part of the data and scores the other part with it. It shows how well each \
detector separates anomalies from normal rows, how far the detectors agree, how long they take and how large their models \
are.

The data come from a pipeline, or from any CSV, JSON or Parquet file. In a file, every column of numbers is a feature, and --label \
names the column that says which rows are anomalies. Labels serve for evaluation only. There are two exceptions: --fit-on \
normal leaves out known anomalies when it fits the detectors, and --prequential trains those of a pipeline that learn from labels.

Without labels, nobody can say which detector is right. The comparison then shows how far the detectors agree, how much \
their scores change with the seed, and how well they find synthetic anomalies, which are made for this purpose. These \
numbers say little about anomalies of other kinds.";

pub(crate) const AFTER_LONG_HELP: &str = "\
EXAMPLES
  Compare the detectors of a pipeline with all others, on its own history; the later part is scored:
      trainer compare --pipeline transactions

  Compare on any table with labels; fit and score all rows, as published benchmarks do:
      trainer compare --input thyroid.parquet --label label --all-rows --output comparison

  Compare three detectors on the public credit card data, best average precision first:
      trainer compare --input creditcard.csv --label Class \\
          --detectors kmeans,isolation-forest,ecod --sort average-precision

  Look for better settings of two detectors:
      trainer compare --input thyroid.parquet --label label --detectors knn,kmeans --search

  Count the false alarms when 0.1%, 1% or 5% are requested:
      trainer compare --input creditcard.csv --label Class --false-alarm-rates

  Train on the past, wait a week for labels, judge the next week, and move on:
      trainer compare --pipeline cards.toml --input history.csv --prequential 7d --delay 7d

  Fit the winner on the whole history and make it the model of the pipeline's detector `kmeans`:
      trainer compare --pipeline transactions --sort average-precision --promote kmeans

WHAT THE TABLE SHOWS
  ROC AUC    the probability that an anomaly scores higher than a normal row; chance gives 0.5
  avg prec   average precision, the area under the precision-recall curve; chance gives the share of anomalies
  ±          half of the 95% interval, by stratified bootstrap over the scored rows
  prec, recall, F1   at the threshold, which is set on the scores of the fitted rows
  at n       precision (and recall) when as many rows are reported as there are anomalies
  agree      mean rank correlation with the scores of the other detectors

FILES
  DIR/comparison.parquet, .json   one row, or one object, per detector: all of the above and more
  DIR/comparison_scores.parquet   every scored row: its label and each detector's score, threshold and verdict
  DIR/comparison_agreement.parquet each pair of detectors: rank correlation, what both report, McNemar's test
  DIR/prequential.json            with --prequential: every detector, part by part

EXIT STATUS
  0  all files are written; a detector that could not take part has a row with the reason
  1  the comparison failed: one sentence says why, and no file was changed
  2  the command line is wrong";

/// Flags of `trainer compare`.
#[derive(Debug, Clone, ClapArgs)]
pub struct CompareArgs {
    /// Compare on the entities and features of this pipeline: one that ships, or a pipeline file
    ///
    /// The pipeline's own detectors take part as the file configures them, beside all others. The history is --input, or
    /// the sample data of the pipeline. `[label]` in the file, or --label, says which entities are anomalies.
    #[arg(long, value_name = "NAME|FILE", required_unless_present = "input")]
    pub pipeline: Option<String>,

    /// Files to compare on: .csv or .jsonl, also as .gz, or .parquet, or patterns; with --pipeline, its history
    ///
    /// Without a pipeline, every column of numbers, booleans or dates (as seconds) is a feature. --categorical says what to
    /// do with text columns. Several files are read one after the other, as if they were one.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub input: Vec<String>,

    /// Column that says which rows are anomalies; it has two values, such as 0 and 1
    ///
    /// 0, false, no and normal mean a normal row; 1, true, yes, anomaly, outlier and fraud mean an anomaly. With two other
    /// values, the rarer one means an anomaly, unless --anomaly names it.
    #[arg(long, value_name = "COLUMN")]
    pub label: Option<String>,

    /// What analysts said, as labels: a file that `scorer labels export` wrote (.csv, .jsonl or .parquet)
    ///
    /// Entities with the label `anomaly` are anomalies, by their keys. All others are normal, also those with the label
    /// `false_alarm` or `unsure`, and those of which nobody said anything.
    #[arg(long, value_name = "FILE", requires = "pipeline", conflicts_with = "label")]
    pub labels: Option<PathBuf>,

    /// Value of the label that means an anomaly; every other value then means a normal row
    #[arg(long, value_name = "VALUE", requires = "label", conflicts_with = "pipeline")]
    pub anomaly: Option<String>,

    /// Value of the label that means a normal row; every other value then means an anomaly
    ///
    /// May be repeated. --normal-label "" means that a row without a label is normal.
    #[arg(long, value_name = "VALUE", requires = "label", conflicts_with_all = ["pipeline", "anomaly"])]
    pub normal_label: Vec<String>,

    /// Columns of a file that are not features, such as an id
    #[arg(long, value_name = "COLUMN", value_delimiter = ',', conflicts_with = "pipeline")]
    pub exclude: Vec<String>,

    /// Folder for the results
    ///
    /// The default is ./comparison; with a pipeline, MODELS/PIPELINE/reports.
    #[arg(long, value_name = "DIR")]
    pub output: Option<PathBuf>,

    /// Folder of all models, with a pipeline
    #[arg(long, value_name = "DIR", default_value = "models")]
    pub models: PathBuf,

    /// Detectors to compare, separated by commas; by default all of them
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub detectors: Vec<String>,

    /// Also try other settings of each detector: every scaling, and k and the correction where there are some
    ///
    /// A second table shows the best of them beside the detector's own, and whether the data tell that they are better. With labels
    /// they are if the bootstrap intervals of the ROC AUC do not meet. Without labels they are if the scores agree more with the
    /// other detectors, by more than they change with the seed, and are neither less steady nor worse on synthetic anomalies.
    #[arg(long)]
    pub search: bool,

    /// Measure that sorts the table, best first
    ///
    /// The default is roc-auc, or ensemble if there are no labels.
    #[arg(long, value_name = "METRIC")]
    pub sort: Option<SortBy>,

    /// Seed of all randomness
    #[arg(long, value_name = "N", default_value_t = 42)]
    pub seed: u64,

    /// Device that computes: auto, cpu, gpu, gpu:N, software, vulkan or vulkan:N
    #[arg(long, value_name = "DEVICE", default_value = "auto", value_parser = DeviceRequest::from_str)]
    pub device: DeviceRequest,

    /// Maximum memory, such as 512MiB or 2GiB; by default three quarters of the machine's memory
    #[arg(long, value_name = "SIZE", value_parser = Size::from_str)]
    pub max_memory: Option<Size>,

    /// Skip a detector if its fit or its scoring would take longer than this many minutes
    ///
    /// If there are many rows, a few are fitted first to estimate the time for all of them.
    #[arg(long, value_name = "N", default_value_t = 60.0, value_parser = above_zero)]
    pub max_minutes: f64,

    /// Make the winner the model of the pipeline's detector DETECTOR; without a name, of its first detector
    ///
    /// The winner by --sort is fitted again on the whole history, with the threshold policy and the topic of DETECTOR, and
    /// replaces its model.
    #[arg(long, value_name = "DETECTOR", num_args = 0..=1, default_missing_value = "", requires = "pipeline")]
    pub promote: Option<String>,

    /// Print nothing but errors
    #[arg(long)]
    pub quiet: bool,

    /// How the data are split and prepared.
    #[command(flatten)]
    pub data: DataArgs,

    /// What else is measured, and how.
    #[command(flatten)]
    pub measuring: MeasuringArgs,

    /// Whether the history is gone through in the order of time.
    #[command(flatten)]
    pub prequential: PrequentialArgs,
}

/// How the data are prepared.
#[derive(Debug, Clone, Copy, ClapArgs)]
#[command(next_help_heading = "The data")]
pub struct DataArgs {
    /// Fit on all rows and score the same rows, as published benchmark tables do
    #[arg(long, conflicts_with_all = ["test_share", "split", "false_alarm_rates"])]
    pub all_rows: bool,

    /// Share of the rows that are scored and not fitted
    #[arg(long, value_name = "R", default_value_t = 0.3, value_parser = between_zero_and_one)]
    pub test_share: f64,

    /// How these rows are chosen; by default the later rows of a pipeline, random rows of a table
    #[arg(long, value_name = "HOW")]
    pub split: Option<SplitName>,

    /// Rows that detectors are fitted on; usually there are anomalies among them
    #[arg(long, value_name = "ROWS", default_value = "all")]
    pub fit_on: FitOn,

    /// Scaling of the features for detectors that are not in the pipeline file; by default the best one for each
    #[arg(long, value_name = "S")]
    pub scaling: Option<ScalingName>,

    /// What to do with missing values; the statistic is taken from the fitted rows
    #[arg(long, value_name = "RULE", default_value = "median")]
    pub missing: MissingRule,

    /// What to do with text columns
    #[arg(long, value_name = "RULE", default_value = "drop")]
    pub categorical: CategoricalRule,
}

/// What is measured.
#[derive(Debug, Clone, Copy, ClapArgs)]
#[command(next_help_heading = "The measures")]
pub struct MeasuringArgs {
    /// Threshold: the score that this share of the fitted rows does not exceed; by default 0.99
    #[arg(long, value_name = "Q", value_parser = between_zero_and_one, conflicts_with = "false_alarm_rate")]
    pub quantile: Option<f64>,

    /// Threshold: the score that a normal row exceeds with at most this probability, set on held-out rows
    #[arg(long, value_name = "R", value_parser = between_zero_and_one)]
    pub false_alarm_rate: Option<f64>,

    /// Leave this share of the largest held-out scores out first: that many of the rows may be anomalies
    #[arg(long, value_name = "SHARE", value_parser = between_zero_and_one, requires = "false_alarm_rate")]
    pub trim: Option<f64>,

    /// Show a second table: requested and measured false alarms, for 0.1%, 1% and 5%
    ///
    /// Detectors are fitted on one part of the rows, thresholds are set on normal rows of a second part (split conformal
    /// prediction), and false alarms are counted on the normal rows of a third. Without labels, every row counts as normal.
    #[arg(long)]
    pub false_alarm_rates: bool,

    /// Number of bootstrap replicates
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub bootstrap: u32,

    /// Measure how much scores change with the seed; takes two more fits per detector; always on without labels
    #[arg(long)]
    pub stability: bool,
}

/// How a history is gone through in the order of time.
#[derive(Debug, Clone, Copy, ClapArgs)]
#[command(next_help_heading = "In the order of time")]
pub struct PrequentialArgs {
    /// Train the pipeline's detectors on the past, judge them on the next SPAN, such as 7d, and move on by SPAN
    ///
    /// Detectors that learn from labels take part. The table shows means over all parts, which are in prequential.json one by
    /// one: ROC AUC, average precision, and the share of --cards-a-day cards (values of the customer of `entity`) looked at each day that
    /// were compromised, as the Fraud Detection Handbook counts it: a card that was found counts no more.
    #[arg(
        long,
        value_name = "SPAN",
        value_parser = span,
        requires = "pipeline",
        conflicts_with_all = [
            "all_rows", "split", "fit_on", "false_alarm_rates", "search", "sort", "promote", "labels", "stability", "quantile",
            "false_alarm_rate",
        ]
    )]
    pub prequential: Option<Millis>,

    /// Time until labels are known: this much of the past is left out of the training
    #[arg(long, value_name = "SPAN", value_parser = span_or_zero, default_value = "7d", requires = "prequential")]
    pub delay: Millis,

    /// Train on this much of the past; by default on all of it
    #[arg(long, value_name = "SPAN", value_parser = span, requires = "prequential")]
    pub train_span: Option<Millis>,

    /// Cards that are looked at each day
    #[arg(
        long,
        value_name = "N",
        default_value_t = 100,
        value_parser = clap::value_parser!(u32).range(1..=1_000_000),
        requires = "prequential"
    )]
    pub cards_a_day: u32,
}

/// Which rows are scored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SplitName {
    /// The last rows, as in production
    Later,
    /// Random rows, with the same share of anomalies and of normal rows
    Random,
}

/// What detectors are fitted on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FitOn {
    /// All rows, including anomalies
    All,
    /// Rows with a normal label
    Normal,
}

/// What to do with missing values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum MissingRule {
    /// Report an error
    Refuse,
    /// Use the feature's median
    Median,
    /// Use the feature's mean
    Mean,
    /// Use 0
    Zero,
}

/// What to do with text columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CategoricalRule {
    /// Leave them out
    Drop,
    /// Make one feature per value, 0 or 1, if there are at most 32 values; otherwise leave the column out
    OneHot,
    /// Report an error
    Refuse,
}

fn above_zero(text: &str) -> Result<f64, String> {
    let fits = |number: &f64| number.is_finite() && *number > 0.0;
    text.parse().ok().filter(fits).ok_or_else(|| "use a number above 0, such as 60".to_owned())
}

fn span(text: &str) -> Result<Millis, String> {
    parse_span(text).ok_or_else(|| "use a span of time, such as 7d or 12h".to_owned())
}

fn span_or_zero(text: &str) -> Result<Millis, String> {
    if text.trim() == "0" { Ok(0) } else { span(text) }
}

fn between_zero_and_one(text: &str) -> Result<f64, String> {
    let between = |number: &f64| *number > 0.0 && *number < 1.0;
    text.parse().ok().filter(between).ok_or_else(|| "use a number between 0 and 1, such as 0.3".to_owned())
}
