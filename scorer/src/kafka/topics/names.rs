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
    /// The topics of the hops after the first, where the input has several partitions and records are looked at by more
    /// columns than one.
    pub hops: Vec<HopTopics>,
}

/// The topics of a hop after the first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HopTopics {
    /// What it reads: records from the hop before, keyed by its column. Its consumer group has the same name.
    pub input: String,
    /// The changelog of its state.
    pub state: String,
}

impl Topics {
    /// The topics of `pipeline` as `group` runs it.
    pub fn new(pipeline: &Pipeline, group: &str) -> Self {
        let internal = |what: &str| internal_name(pipeline, group, what);
        let source = pipeline.topic.clone();
        let columns = pipeline.placed_by();
        let hop = |index: usize| {
            let input = internal(&hop_name(index, &pipeline.schema.columns[columns[index]].name));
            HopTopics { state: format!("{input}-state"), input }
        };
        Self {
            input: source.clone(),
            source,
            state: internal("state"),
            reports: internal("cancellations"),
            hops: (1..columns.len()).map(hop).collect(),
        }
    }

    /// The topics of the hop `index`, for which the one that it reads is where all begins.
    pub(crate) fn of_hop(&self, index: usize) -> Self {
        match index.checked_sub(1).and_then(|after| self.hops.get(after)) {
            None => self.clone(),
            Some(HopTopics { input, state }) => Self {
                source: input.clone(),
                input: input.clone(),
                state: state.clone(),
                reports: self.reports.clone(),
                hops: Vec::new(),
            },
        }
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

/// What a topic that is keyed by a column is called. Names of topics are plainer than those of columns: where that makes a
/// difference, a number tells two of them apart.
fn hop_name(index: usize, column: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let plain: String = column.chars().map(|c| if is_plain(c) { c } else { '_' }).collect();
    if plain == column { format!("by-{plain}") } else { format!("by-{plain}-{index}") }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hop_has_topics_of_its_own() {
        let pipeline = Pipeline::load("transactions").unwrap();
        let topics = Topics::new(&pipeline, "g");
        let second = topics.of_hop(1);
        assert_eq!(second.input, "g-transactions-by-merchant_id");
        assert_eq!(second.state, "g-transactions-by-merchant_id-state");
        assert!(!second.is_repartitioned() && second.hops.is_empty());
        assert_eq!(topics.of_hop(0), topics);
        assert!(Topics::new(&Pipeline::load("invoices").unwrap(), "g").hops.is_empty());
    }

    #[test]
    fn columns_that_no_topic_can_be_called_by_are_told_apart() {
        assert_eq!(hop_name(1, "a.b-c_d"), "by-a.b-c_d");
        assert_eq!((hop_name(1, "a b"), hop_name(2, "a/b")), ("by-a_b-1".to_owned(), "by-a_b-2".to_owned()));
    }
}
