//! The topics of a pipeline: looked for, created where they are missing, and checked.
//!
//! Two are internal: the changelog, with a partition for each of the input's, and the reports of cancellations. A third is
//! there where lines are repartitioned first: the topic of copies.

use rdkafka::admin::{NewTopic, TopicReplication};
use shared::pipeline::Pipeline;

use super::admin::{TopicSettings, create_on_broker, create_topics, existing_topics, topic_setting};
use super::names::Topics;
use crate::kafka::client::error::KafkaError;
use crate::kafka::client::settings::KafkaSettings;
use crate::snapshot::MAX_AGE;

/// How long a compacted topic keeps deletions, in milliseconds.
const DELETE_RETENTION: &str = "delete.retention.ms";

/// A topic of the pipeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicState {
    /// Its name.
    pub name: String,
    /// How many partitions it has; `None` when it does not exist.
    pub partitions: Option<usize>,
    /// What happens to old records, as the broker says: `delete`, `compact` or both.
    pub cleanup: Option<String>,
}

/// The topics of `pipeline` and the internal ones of `topics`, the source first, as the broker has them.
///
/// # Errors
/// [`KafkaError::Unreachable`] when no broker answers.
pub async fn check_topics(
    settings: &KafkaSettings,
    pipeline: &Pipeline,
    topics: &Topics,
) -> Result<Vec<TopicState>, KafkaError> {
    let existing = existing_topics(settings).await?;
    let mut names: Vec<String> = std::iter::once(topics.source.clone()).chain(own(pipeline.output_topics())).collect();
    names.extend(topics.is_repartitioned().then(|| topics.input.clone()));
    names.push(topics.state.clone());
    names.extend(pipeline.cancellations.iter().map(|_| topics.reports.clone()));
    let mut states = Vec::new();
    for name in names {
        let partitions = existing.iter().find(|(topic, _)| *topic == name).map(|(_, partitions)| *partitions);
        let cleanup = if partitions.is_some() { topic_setting(settings, &name, "cleanup.policy").await? } else { None };
        states.push(TopicState { name, partitions, cleanup });
    }
    Ok(states)
}

fn own<'a>(names: impl IntoIterator<Item = &'a str>) -> impl Iterator<Item = String> {
    names.into_iter().map(str::to_owned).collect::<Vec<_>>().into_iter()
}

/// Creates the topics that are missing, or refuses when `create` is `None`; returns the names of the new ones. Then
/// checks that the internal ones are as they have to be.
///
/// # Errors
/// [`KafkaError`] when no broker answers, a topic is missing and may not be created, or the broker refuses, or an
/// internal topic does not fit the input.
pub async fn ensure_topics(
    settings: &KafkaSettings,
    pipeline: &Pipeline,
    group: &str,
    topics: &Topics,
    create: Option<TopicSettings>,
) -> Result<Vec<String>, KafkaError> {
    let states = check_topics(settings, pipeline, topics).await?;
    let partitions = |name: &str| states.iter().find(|state| state.name == name).and_then(|state| state.partitions);
    let input = partitions(&topics.input).or_else(|| partitions(&topics.source));
    let of_source = partitions(&topics.source).or(create.and_then(|create| usize::try_from(create.partitions).ok()));
    refuse_split_past(pipeline, &topics.source, of_source.unwrap_or(1))?;
    check_fit(&states, topics, input, group)?;
    if partitions(&topics.state).is_some() {
        let kept = topic_setting(settings, &topics.state, DELETE_RETENTION).await?;
        check_deletions_are_kept(&topics.state, kept.as_deref())?;
    }
    let missing: Vec<String> =
        states.into_iter().filter(|state| state.partitions.is_none()).map(|state| state.name).collect();
    match (missing.first(), create) {
        (None, _) => Ok(missing),
        (Some(topic), None) => Err(KafkaError::MissingTopic(topic.clone())),
        (Some(_), Some(create_as)) => {
            let input = input.and_then(|count| i32::try_from(count).ok()).unwrap_or(create_as.partitions);
            create_topics(settings, &missing, pipeline, topics, input, create_as).await?;
            Ok(missing)
        }
    }
}

/// Creates one topic that is no pipeline's, if it is missing, or refuses when `create` is `None`; whether it is new.
///
/// # Errors
/// [`KafkaError`] when no broker answers, the topic is missing and may not be created, or the broker refuses.
pub async fn ensure_topic(
    settings: &KafkaSettings,
    name: &str,
    create: Option<TopicSettings>,
) -> Result<bool, KafkaError> {
    if existing_topics(settings).await?.iter().any(|(topic, _)| topic == name) {
        return Ok(false);
    }
    let create_as = create.ok_or_else(|| KafkaError::MissingTopic(name.to_owned()))?;
    let replication = TopicReplication::Fixed(create_as.replication_factor);
    create_on_broker(settings, &[NewTopic::new(name, create_as.partitions, replication)]).await?;
    Ok(true)
}

fn check_fit(states: &[TopicState], topics: &Topics, input: Option<usize>, group: &str) -> Result<(), KafkaError> {
    let unfit = |topic: &str, problem: String| Err(KafkaError::UnfitTopic { topic: topic.to_owned(), problem });
    for state in states.iter().filter(|state| state.name == topics.state || state.name == topics.reports) {
        let Some(partitions) = state.partitions else { continue };
        if state.name == topics.reports {
            if partitions != 1 {
                return unfit(&state.name, format!("has {partitions} partitions; it must have 1"));
            }
            continue;
        }
        if let Some(input) = input.filter(|input| *input != partitions) {
            return Err(KafkaError::PartitionsChanged {
                topic: topics.input.clone(),
                before: i32::try_from(partitions).unwrap_or(i32::MAX),
                now: i32::try_from(input).unwrap_or(i32::MAX),
                group: group.to_owned(),
            });
        }
        if state.cleanup.as_ref().is_some_and(|cleanup| cleanup != "compact") {
            return unfit(
                &state.name,
                "must have cleanup.policy=compact: with another one the broker would delete state".to_owned(),
            );
        }
    }
    Ok(())
}

/// Local snapshots rely on deletions: one that is gone before an old snapshot is read again would bring back what was
/// deleted.
fn check_deletions_are_kept(topic: &str, kept: Option<&str>) -> Result<(), KafkaError> {
    let least = MAX_AGE.as_millis();
    // A broker that does not say (a mock) keeps them as long as brokers do by default.
    match kept.and_then(|kept| kept.parse::<u128>().ok()) {
        Some(kept) if kept < least => Err(KafkaError::UnfitTopic {
            topic: topic.to_owned(),
            problem: format!(
                "has {DELETE_RETENTION}={kept}; it must be at least {least}, because local snapshots of that age are used and \
                 rely on the deletions since"
            ),
        }),
        _ => Ok(()),
    }
}

/// Features that look at the past by two columns need all records of both in one partition, and a topic is keyed by one;
/// windows by a column are such a look, and windows over all records leave no choice at all.
///
/// # Errors
/// [`KafkaError::UnfitTopic`] where a topic with so many partitions would part them.
pub(crate) fn refuse_split_past(pipeline: &Pipeline, topic: &str, partitions: usize) -> Result<(), KafkaError> {
    if partitions < 2 {
        return Ok(());
    }
    let unfit = |problem: String| Err(KafkaError::UnfitTopic { topic: topic.to_owned(), problem });
    if let Some(spec) = pipeline.sees_all() {
        return unfit(format!(
            "has {partitions} partitions and detector `{}` compares each record with all others: use a topic with one \
             partition, or give the detector `by` with the column that keys the topic",
            spec.name
        ));
    }
    let columns = pipeline.placed_by();
    if columns.len() < 2 {
        return Ok(());
    }
    let names: Vec<String> =
        columns.iter().map(|&column| format!("`{}`", pipeline.schema.columns[column].name)).collect();
    let (looks, only) = match pipeline.zscores.is_empty() {
        true => ("features read earlier records", "features"),
        false => ("features and detectors read other records", "features and windows"),
    };
    unfit(format!(
        "has {partitions} partitions and {looks} by {}: the topic has one key, so the records of the other would be split; use \
         a topic with one partition, or only {only} by the column that keys it",
        names.join(" and by ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pipeline(features: &str) -> Pipeline {
        with_detectors(features, r#"{ name = "kmeans", algorithm = "kmeans", topic = "out" }"#)
    }

    fn with_detectors(features: &str, detectors: &str) -> Pipeline {
        let text = format!(
            r#"
            name = "small"
            input = {{ topic = "in", columns = ["id", "user", "shop", "n:int", "at:datetime"], datetime_formats = ["rfc3339"] }}
            entity = {{ key = "id" }}
            outputs.erroneous = "bad"
            detectors = [{detectors}]
            [features]
            {features}
            "#
        );
        Pipeline::parse(&text, "small.toml").unwrap()
    }

    #[test]
    fn a_changelog_that_forgets_deletions_too_soon_is_refused() {
        let check = |kept| check_deletions_are_kept("g-invoices-state", kept);
        for kept in [None, Some("86400000"), Some("43200000")] {
            check(kept).unwrap();
        }
        insta::assert_snapshot!(
            check(Some("43199999")).unwrap_err(),
            @"topic `g-invoices-state` has delete.retention.ms=43199999; it must be at least 43200000, because local snapshots of that age are used and rely on the deletions since"
        );
    }

    #[test]
    fn a_topic_that_would_split_the_past_of_a_key_is_refused() {
        let user = r#"a = "count() by user over 1h""#;
        let both = pipeline(&format!("{user}\nb = \"count() by shop over 1h\""));
        let refused = |pipeline: &Pipeline, partitions| refuse_split_past(pipeline, "in", partitions).is_err();
        assert!(!refused(&pipeline(user), 3) && !refused(&both, 1));
        assert!(!refused(&pipeline(r#"hour = "hour(at)""#), 3));
        assert!(!refused(&Pipeline::load("invoices").unwrap(), 3));
        insta::assert_snapshot!(
            refuse_split_past(&both, "in", 3).unwrap_err(),
            @"topic `in` has 3 partitions and features read earlier records by `user` and by `shop`: the topic has one key, so the records of the other would be split; use a topic with one partition, or only features by the column that keys it"
        );
    }

    #[test]
    fn a_topic_that_would_split_the_windows_of_a_detector_is_refused() {
        let zscore = |by: &str| {
            let detector = r#"{ name = "z", algorithm = "zscore-window", value = "n", topic = "out" BY }"#;
            with_detectors(r#"a = "count() by user over 1h""#, &detector.replace("BY", by))
        };
        assert!(refuse_split_past(&zscore(r#", by = "user""#), "in", 3).is_ok());
        for by in ["", r#", by = "shop""#] {
            assert!(refuse_split_past(&zscore(by), "in", 1).is_ok());
        }
        insta::assert_snapshot!(
            refuse_split_past(&zscore(r#", by = "shop""#), "in", 3).unwrap_err(),
            @"topic `in` has 3 partitions and features and detectors read other records by `user` and by `shop`: the topic has one key, so the records of the other would be split; use a topic with one partition, or only features and windows by the column that keys it"
        );
        insta::assert_snapshot!(
            refuse_split_past(&zscore(""), "in", 3).unwrap_err(),
            @"topic `in` has 3 partitions and detector `z` compares each record with all others: use a topic with one partition, or give the detector `by` with the column that keys the topic"
        );
    }
}
