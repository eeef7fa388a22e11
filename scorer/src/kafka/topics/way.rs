//! The way of a record: which hops there are, and what each reads and writes.

use std::sync::Arc;

use shared::pipeline::Pipeline;

use crate::kafka::client::error::KafkaError;
use crate::kafka::client::settings::KafkaSettings;
use crate::kafka::topics::names::Topics;

/// One hop, as its group runs it. A stream without others is one, too.
#[derive(Debug, Clone)]
pub(crate) struct Hop {
    /// The pipeline as this hop works it off.
    pub pipeline: Arc<Pipeline>,
    pub topics: Topics,
    pub group: String,
    /// The group of the whole, by which users know it.
    pub known_as: String,
    /// The topic where records were first.
    pub first: String,
    /// The topic to which records go on, with its partitions.
    pub next: Option<(String, i32)>,
}

impl Hop {
    /// Whether it reads what a hop before has sent on.
    pub(crate) fn has_before(&self) -> bool {
        self.pipeline.hop().is_some_and(|hop| hop.has_before())
    }

    /// The settings for its group: what the user says of where a group begins is meant for the input. A topic of our own is
    /// read from its first record on.
    pub(crate) fn settings(&self, settings: &KafkaSettings) -> KafkaSettings {
        let mut settings = settings.clone();
        if self.has_before() {
            settings.properties.push(("auto.offset.reset".to_owned(), "earliest".to_owned()));
        }
        settings
    }
}

/// The hops of `pipeline` as `group` runs it, where the topic that it reads has so many partitions.
pub(crate) fn hops_of(pipeline: &Arc<Pipeline>, group: &str, topics: &Topics, partitions: i32) -> Vec<Hop> {
    let hop = |(index, pipeline): (usize, Pipeline)| {
        let next = pipeline.hop().and_then(|hop| hop.next_column());
        let next = next.and_then(|_| topics.hops.get(index)).map(|next| (next.input.clone(), partitions));
        let topics_of_hop = topics.of_hop(index);
        Hop {
            pipeline: Arc::new(pipeline),
            group: if index == 0 { group.to_owned() } else { topics_of_hop.input.clone() },
            topics: topics_of_hop,
            known_as: group.to_owned(),
            first: topics.input.clone(),
            next,
        }
    };
    match pipeline.takes_hops(partitions) {
        true => pipeline.hops(partitions).into_iter().enumerate().map(hop).collect(),
        false => vec![Hop {
            pipeline: pipeline.clone(),
            topics: topics.clone(),
            group: group.to_owned(),
            known_as: group.to_owned(),
            first: topics.input.clone(),
            next: None,
        }],
    }
}

/// The way from the input to the verdicts on one line, where records take hops. Blocks.
///
/// # Errors
/// [`KafkaError`] when no broker answers, or the input is missing.
pub fn topology(settings: &KafkaSettings, pipeline: &Pipeline, topics: &Topics) -> Result<Option<String>, KafkaError> {
    let partitions = settings.partitions_of(&topics.input)?;
    Ok(pipeline.takes_hops(partitions).then(|| way(pipeline, topics)))
}

fn way(pipeline: &Pipeline, topics: &Topics) -> String {
    let mut way = topics.source.clone();
    if topics.is_repartitioned() {
        way += &format!(" -> {}", topics.input);
    }
    let stops = topics.hops.iter().map(|hop| hop.input.as_str()).chain(["verdicts"]);
    for (column, stop) in pipeline.placed_by().into_iter().zip(stops) {
        way += &format!(" -[{}]-> {stop}", pipeline.schema.columns[column].name);
    }
    way
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payments() -> (Arc<Pipeline>, Topics) {
        let pipeline = Arc::new(Pipeline::load("transactions").unwrap());
        let topics = Topics::new(&pipeline, "g");
        (pipeline, topics)
    }

    #[test]
    fn the_way_names_every_topic_and_the_column_that_is_looked_at() {
        let (pipeline, topics) = payments();
        insta::assert_snapshot!(
            way(&pipeline, &topics),
            @"transactions -[user_id]-> g-transactions-by-merchant_id -[merchant_id]-> verdicts"
        );
        insta::assert_snapshot!(
            way(&pipeline, &Topics::repartitioned(&pipeline, "g")),
            @"transactions -> g-transactions-repartition -[user_id]-> g-transactions-by-merchant_id -[merchant_id]-> verdicts"
        );
    }

    #[test]
    fn each_hop_reads_what_the_one_before_sends_on() {
        let (pipeline, topics) = payments();
        let hops = hops_of(&pipeline, "g", &topics, 4);
        let [first, last]: [Hop; 2] = hops.try_into().unwrap();
        assert_eq!((first.topics.input.as_str(), first.group.as_str()), ("transactions", "g"));
        assert_eq!(first.next, Some((last.topics.input.clone(), 4)));
        assert_eq!((last.group.as_str(), last.next.as_ref()), ("g-transactions-by-merchant_id", None));
        assert_eq!((last.first.as_str(), last.has_before(), first.has_before()), ("transactions", true, false));
        let latest = vec![("auto.offset.reset".to_owned(), "latest".to_owned())];
        let settings = KafkaSettings { properties: latest, ..KafkaSettings::at("localhost:1") };
        assert!(first.settings(&settings).starts_at_latest() && !last.settings(&settings).starts_at_latest());
    }

    #[test]
    fn one_partition_is_one_hop() {
        let (pipeline, topics) = payments();
        let [only]: [Hop; 1] = hops_of(&pipeline, "g", &topics, 1).try_into().unwrap();
        assert_eq!((only.topics, only.next, only.group.as_str()), (topics, None, "g"));
        assert!(only.pipeline.hop().is_none());
    }
}
