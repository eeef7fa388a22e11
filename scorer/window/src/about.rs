//! What does not change while a stream runs.

use serde::Serialize;

/// The stream, its topics and its detectors.
#[derive(Debug, Clone, Default, Serialize)]
pub struct About {
    /// The version of the program.
    pub version: String,
    /// The pipeline.
    pub pipeline: String,
    /// The topic that is read.
    pub topic: String,
    /// The topic of erroneous records.
    pub erroneous_topic: String,
    /// The consumer group.
    pub group: String,
    /// The instance, where it has a name.
    pub instance: Option<String>,
    /// The guarantee, in words.
    pub delivery: String,
    /// What computes the scores.
    pub device: String,
    /// What the stream's things are called.
    pub words: Words,
    /// The detectors, in the order of the pipeline file.
    pub detectors: Vec<Detector>,
}

/// What the stream's things are called.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Words {
    /// What a verdict is on: `invoice`, `record`.
    pub entity: String,
    /// Several of them.
    pub entities: String,
    /// What the customer column is called.
    pub customer: Option<String>,
}

/// A detector.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Detector {
    /// Its name.
    pub name: String,
    /// Its algorithm.
    pub algorithm: String,
    /// Where its verdicts are published.
    pub topic: String,
    /// The version of its model, or of its settings where it has none.
    pub model_version: Option<String>,
    /// The rows it was trained on.
    pub trained_on: Option<usize>,
    /// How many of them exceed its threshold.
    pub flagged_in_training: Option<usize>,
    /// The score that an anomaly exceeds; the lowest of them, where clusters have thresholds of their own.
    pub threshold: Option<f32>,
    /// The highest of them.
    pub highest_threshold: Option<f32>,
    /// How the threshold was chosen, in words.
    pub threshold_policy: String,
    /// The features that it looks at, each with the usual range.
    pub features: Vec<Feature>,
}

/// A feature of a detector.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Feature {
    /// Its name.
    pub name: String,
    /// Its unit, where the pipeline file says one.
    pub unit: Option<String>,
    /// What the pipeline file calls it.
    pub label: Option<String>,
    /// The 5th percentile of the history, as people read it.
    pub low: Option<f64>,
    /// The median.
    pub usual: Option<f64>,
    /// The 95th percentile.
    pub high: Option<f64>,
}
