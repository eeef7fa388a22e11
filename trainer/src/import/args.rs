//! Flags of `trainer import`.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Subcommand};

use super::distance::DistanceName;
use crate::load::MaxBad;
use crate::memory::Size;

/// What `trainer import spark --help` says first.
pub const LONG_ABOUT: &str = "\
Makes a model of this program from a KMeansModel or BisectingKMeansModel that Spark saved, with the same verdicts.

It reads what `model.save(sc, path)` of MLlib and `model.save(path)` of Spark ML write, of Spark 2 to 4: JSON in `metadata` \
and Parquet in `data`. Clusters are predicted as Spark does it: the nearest centre, or the way down the tree to the nearer child. \
Distances are computed in float64. A model with cosine distance is refused.

The job must have computed the features of the pipeline, in the same order and without scaling.";

/// What `trainer import spark --help` says last.
pub const AFTER_LONG_HELP: &str = "\
EXAMPLES
  Import both models of a job, with the thresholds that it wrote:
      trainer import spark clustering --threshold threshold
      trainer import spark clustering_bisect --threshold threshold_bisect

  The job compared distances and not squared distances; the history tells how rare scores are:
      trainer import spark clustering --threshold threshold --distance euclidean --history history/*.csv";

/// Flags of `trainer import`.
#[derive(Debug, Clone, Args)]
pub struct ImportArgs {
    /// What trained the model.
    #[command(subcommand)]
    pub from: ImportFrom,
}

/// What trained a model.
#[derive(Debug, Clone, Subcommand)]
pub enum ImportFrom {
    /// A KMeansModel or BisectingKMeansModel that Spark saved
    #[command(long_about = LONG_ABOUT, after_long_help = AFTER_LONG_HELP)]
    Spark(SparkArgs),
}

/// Flags of `trainer import spark`.
#[derive(Debug, Clone, Args)]
pub struct SparkArgs {
    /// The folder that the job saved the model in: it has `metadata` and `data`
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,

    /// The pipeline: one that ships, or a pipeline file
    #[arg(long, value_name = "NAME|FILE", default_value = "invoices-spark")]
    pub pipeline: String,

    /// The detector of the pipeline that gets the model; by default, the one with the model's algorithm
    #[arg(long, value_name = "NAME")]
    pub detector: Option<String>,

    /// File with the threshold, as the job wrote it: one number
    ///
    /// A folder that `saveAsTextFile` wrote is read as well. An entity is anomalous when its score is strictly greater.
    #[arg(long, value_name = "FILE")]
    pub threshold: PathBuf,

    /// What the job compared with the threshold
    #[arg(long, value_name = "DISTANCE", default_value = "squared")]
    pub distance: DistanceName,

    /// Folder for models
    #[arg(long, value_name = "DIR", default_value = "models", visible_alias = "output")]
    pub models: PathBuf,

    /// History that tells how rare scores are and what is usual: files as of `trainer --input`
    ///
    /// Verdicts do not depend on it. P-values, usual ranges in explanations and medians come from it.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub history: Vec<String>,

    /// Maximum memory for the history, such as 512MiB or 2GiB; by default three quarters of the machine's memory
    #[arg(long, value_name = "SIZE", value_parser = Size::from_str)]
    pub max_memory: Option<Size>,

    /// Stop where more of the history's rows are dropped for one reason: a share such as 5%
    #[arg(long, value_name = "SHARE", default_value_t, value_parser = MaxBad::from_str)]
    pub max_bad: MaxBad,

    /// Print nothing but errors
    #[arg(long)]
    pub quiet: bool,
}
