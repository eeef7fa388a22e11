//! The names of the topics that a stream reads and writes.

use shared::pipeline::Pipeline;

use crate::kafka::client::error::KafkaError;
use crate::kafka::client::settings::KafkaSettings;

/// The names of the topics that a stream reads and writes for itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topics {
    /// Where records come from: the pipeline's topic.
    pub source: String,
    /// Where entities are assembled from: the same, or the topic of copies in which their lines meet.
    pub input: String,
    /// The changelog of a group's state.
    pub state: String,
    /// What partitions report of cancellations.
    pub reports: String,
}

impl Topics {
    /// The topics of `pipeline` as `group` runs it.
    pub fn new(pipeline: &Pipeline, group: &str) -> Self {
        let internal = |what: &str| internal_name(pipeline, group, what);
        let source = pipeline.topic.clone();
        Self { input: source.clone(), source, state: internal("state"), reports: internal("cancellations") }
    }

    /// The same with lines that are repartitioned first.
    pub fn repartitioned(pipeline: &Pipeline, group: &str) -> Self {
        Self { input: internal_name(pipeline, group, "repartition"), ..Self::new(pipeline, group) }
    }

    /// The topics as `group` has run it so far: the topic of copies is there only where repartitioning was chosen.
    /// Blocks.
    ///
    /// # Errors
    /// [`KafkaError::Unreachable`] when no broker answers.
    pub fn of_group(settings: &KafkaSettings, pipeline: &Pipeline, group: &str) -> Result<Self, KafkaError> {
        let repartitioned = Self::repartitioned(pipeline, group);
        let exists = settings.connect()?.iter().any(|(name, _)| *name == repartitioned.input);
        Ok(if exists { repartitioned } else { Self::new(pipeline, group) })
    }

    /// Whether lines are repartitioned first.
    pub fn is_repartitioned(&self) -> bool {
        self.input != self.source
    }
}

fn internal_name(pipeline: &Pipeline, group: &str, what: &str) -> String {
    format!("{group}-{}-{what}", pipeline.name)
}

/// The topic that remembers which erroneous records `group` has sent to the input again.
pub(crate) fn redriven_topic(pipeline: &Pipeline, group: &str) -> String {
    internal_name(pipeline, group, "redriven")
}

/// The consumer group of repartitioners.
pub(crate) fn repartition_group(group: &str) -> String {
    format!("{group}-repartition")
}
