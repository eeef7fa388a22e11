//! The topics of a pipeline: looked for, created where they are missing, and checked.
//!
//! Two are internal: the changelog, with a partition for each of the input's, and the reports of cancellations. A third is
//! there where lines are repartitioned first: the topic of copies. Where the input is scored in several hops, each after the
//! first has a topic that it reads, and a changelog.

use rdkafka::admin::{NewTopic, TopicReplication};
use shared::pipeline::Pipeline;

use super::admin::{TopicSettings, create_on_broker, create_topics, existing_topics, topic_setting};
use super::names::{HopTopics, Topics};
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
    states_of(settings, pipeline, topics, 1).await
}

/// As [`check_topics`]; where the source does not exist, it is going to have so many partitions.
async fn states_of(
    settings: &KafkaSettings,
    pipeline: &Pipeline,
    topics: &Topics,
    new_partitions: i32,
) -> Result<Vec<TopicState>, KafkaError> {
    let existing = existing_topics(settings).await?;
    let known = |name: &str| existing.iter().find(|(topic, _)| topic == name).map(|(_, partitions)| *partitions);
    let of_source = known(&topics.source).and_then(|partitions| i32::try_from(partitions).ok());
    let hops = hops_over(pipeline, topics, of_source.unwrap_or(new_partitions));
    let mut names: Vec<String> = std::iter::once(topics.source.clone()).chain(own(pipeline.output_topics())).collect();
    names.extend(topics.is_repartitioned().then(|| topics.input.clone()));
    names.push(topics.state.clone());
    names.extend(hops.iter().flat_map(|HopTopics { input, state }| [input.clone(), state.clone()]));
    names.extend(pipeline.cancellations.iter().map(|_| topics.reports.clone()));
    let mut states = Vec::new();
    for name in names {
        let partitions = known(&name);
        let cleanup = if partitions.is_some() { topic_setting(settings, &name, "cleanup.policy").await? } else { None };
        states.push(TopicState { name, partitions, cleanup });
    }
    Ok(states)
}

/// The topics of the hops after the first, where so many partitions take hops.
fn hops_over<'a>(pipeline: &Pipeline, topics: &'a Topics, partitions: i32) -> &'a [HopTopics] {
    if pipeline.takes_hops(partitions) { &topics.hops } else { &[] }
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
    let (missing, input) = look_over(settings, pipeline, group, topics, create).await?;
    if let Some(create_as) = create.filter(|_| !missing.is_empty()) {
        let input = input.and_then(|count| i32::try_from(count).ok()).unwrap_or(create_as.partitions);
        create_topics(settings, &missing, pipeline, topics, input, create_as).await?;
    }
    Ok(missing)
}

/// The topics that [`ensure_topics`] would create. Nothing is created.
///
/// # Errors
/// As [`ensure_topics`].
pub async fn missing_topics(
    settings: &KafkaSettings,
    pipeline: &Pipeline,
    group: &str,
    topics: &Topics,
    create: Option<TopicSettings>,
) -> Result<Vec<String>, KafkaError> {
    Ok(look_over(settings, pipeline, group, topics, create).await?.0)
}

/// Checks the topics that are there; which ones are not, and how many partitions the input has.
async fn look_over(
    settings: &KafkaSettings,
    pipeline: &Pipeline,
    group: &str,
    topics: &Topics,
    create: Option<TopicSettings>,
) -> Result<(Vec<String>, Option<usize>), KafkaError> {
    let states = states_of(settings, pipeline, topics, create.map_or(1, |create| create.partitions)).await?;
    let partitions = |name: &str| states.iter().find(|state| state.name == name).and_then(|state| state.partitions);
    let input = partitions(&topics.input).or_else(|| partitions(&topics.source));
    let of_source = partitions(&topics.source).or(create.and_then(|create| usize::try_from(create.partitions).ok()));
    refuse_split_past(pipeline, &topics.source, of_source.unwrap_or(1))?;
    check_fit(&states, topics, input, group)?;
    for state in std::iter::once(&topics.state).chain(topics.hops.iter().map(|hop| &hop.state)) {
        if partitions(state).is_some() {
            let kept = topic_setting(settings, state, DELETE_RETENTION).await?;
            check_deletions_are_kept(state, kept.as_deref())?;
        }
    }
    let missing: Vec<String> =
        states.into_iter().filter(|state| state.partitions.is_none()).map(|state| state.name).collect();
    match (missing.first(), create) {
        (Some(topic), None) => Err(KafkaError::MissingTopic(topic.clone())),
        _ => Ok((missing, input)),
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
    for state in states {
        let (Some(partitions), name) = (state.partitions, &state.name) else { continue };
        let is_other = |cleanup: &str| state.cleanup.as_ref().is_some_and(|found| found != cleanup);
        if *name == topics.reports && partitions != 1 {
            return unfit(name, format!("has {partitions} partitions; it must have 1"));
        }
        if let Some(hop) = topics.hops.iter().find(|hop| hop.input == *name) {
            check_hop(hop, partitions, (&topics.input, input), group)?;
            if is_other("delete") {
                return unfit(
                    name,
                    format!(
                        "must have cleanup.policy=delete: with another one the broker would delete records that were not \
                         judged yet; `kafka-configs.sh --alter --entity-type topics --entity-name {name} --add-config \
                         cleanup.policy=delete` mends it"
                    ),
                );
            }
        }
        if *name != topics.state && topics.hops.iter().all(|hop| hop.state != *name) {
            continue;
        }
        if let Some(input) = input.filter(|input| *input != partitions) {
            return Err(KafkaError::PartitionsChanged {
                topic: topics.input.clone(),
                before: i32::try_from(partitions).unwrap_or(i32::MAX),
                now: i32::try_from(input).unwrap_or(i32::MAX),
                group: group.to_owned(),
                can_grow: topics.hops.is_empty(),
            });
        }
        if is_other("compact") {
            return unfit(
                name,
                "must have cleanup.policy=compact: with another one the broker would delete state".to_owned(),
            );
        }
    }
    Ok(())
}

/// The topic between two hops has as many partitions as the input: each says to each how far it is.
fn check_hop(
    hop: &HopTopics,
    partitions: usize,
    (input, wanted): (&str, Option<usize>),
    group: &str,
) -> Result<(), KafkaError> {
    let Some(wanted) = wanted.filter(|wanted| *wanted != partitions) else { return Ok(()) };
    let mended = match partitions < wanted {
        true => {
            format!("`scorer reset --group {group} --to latest` (or a time; with the --pipeline of `run`) adds them")
        }
        false => format!(
            "stop the scorers, `kafka-topics.sh --delete --topic {}`, and start again with `scorer reset --group {group} --to \
             latest` (or a time; with the --pipeline of `run`)",
            hop.input
        ),
    };
    let problem = format!("has {partitions} partitions; it must have {wanted}, as `{input}`: {mended}");
    Err(KafkaError::UnfitTopic { topic: hop.input.clone(), problem })
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

/// Windows over all records need all of them in one partition.
///
/// # Errors
/// [`KafkaError::UnfitTopic`] where a topic with so many partitions would part them.
pub(crate) fn refuse_split_past(pipeline: &Pipeline, topic: &str, partitions: usize) -> Result<(), KafkaError> {
    match pipeline.sees_all() {
        Some(spec) if partitions > 1 => Err(KafkaError::UnfitTopic {
            topic: topic.to_owned(),
            problem: format!(
                "has {partitions} partitions and detector `{}` compares each record with all others: use a topic with one \
                 partition, or give the detector `by` with a column whose records it compares",
                spec.name
            ),
        }),
        _ => Ok(()),
    }
}

/// What goes from hop to hop is committed with what it follows from, or not at all.
///
/// # Errors
/// [`KafkaError::UnfitTopic`] where a topic with so many partitions takes hops.
pub(crate) fn refuse_hops_at_least_once(pipeline: &Pipeline, topic: &str, partitions: i32) -> Result<(), KafkaError> {
    if !pipeline.takes_hops(partitions) {
        return Ok(());
    }
    let name = |column: usize| format!("`{}`", pipeline.schema.columns[column].name);
    let names: Vec<String> = pipeline.placed_by().into_iter().map(name).collect();
    let by = names.join(" and by ");
    let problem = format!(
        "has {partitions} partitions, and records are looked at with others by {by}, one hop after the other: that needs \
         --delivery exactly-once, or a topic with one partition"
    );
    Err(KafkaError::UnfitTopic { topic: topic.to_owned(), problem })
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
    fn windows_over_all_records_are_refused_where_a_topic_would_split_them() {
        let zscore = |by: &str| {
            let detector = r#"{ name = "z", algorithm = "zscore-window", value = "n", topic = "out" BY }"#;
            with_detectors(r#"a = "count() by user over 1h""#, &detector.replace("BY", by))
        };
        for by in [r#", by = "user""#, r#", by = "shop""#] {
            assert!(refuse_split_past(&zscore(by), "in", 3).is_ok(), "{by}");
        }
        assert!(refuse_split_past(&zscore(""), "in", 1).is_ok());
        insta::assert_snapshot!(
            refuse_split_past(&zscore(""), "in", 3).unwrap_err(),
            @"topic `in` has 3 partitions and detector `z` compares each record with all others: use a topic with one partition, or give the detector `by` with a column whose records it compares"
        );
    }

    #[test]
    fn hops_are_refused_at_least_once() {
        let user = r#"a = "count() by user over 1h""#;
        let both = pipeline(&format!("{user}\nb = \"count() by shop over 1h\""));
        let refused = |pipeline: &Pipeline, partitions| refuse_hops_at_least_once(pipeline, "in", partitions).is_err();
        assert!(!refused(&pipeline(user), 3) && !refused(&both, 1));
        insta::assert_snapshot!(
            refuse_hops_at_least_once(&both, "in", 3).unwrap_err(),
            @"topic `in` has 3 partitions, and records are looked at with others by `user` and by `shop`, one hop after the other: that needs --delivery exactly-once, or a topic with one partition"
        );
    }

    fn state(name: &str, partitions: usize, cleanup: &str) -> TopicState {
        TopicState { name: name.to_owned(), partitions: Some(partitions), cleanup: Some(cleanup.to_owned()) }
    }

    #[test]
    fn a_topic_between_hops_that_is_not_as_it_has_to_be_is_refused_with_what_mends_it() {
        let topics = Topics::new(&Pipeline::load("transactions").unwrap(), "g");
        let check = |found: TopicState| check_fit(&[found], &topics, Some(4), "g");
        let name = &topics.hops[0].input;
        check(state(name, 4, "delete")).unwrap();
        insta::assert_snapshot!(
            check(state(name, 3, "delete")).unwrap_err(),
            @"topic `g-transactions-by-merchant_id` has 3 partitions; it must have 4, as `transactions`: `scorer reset --group g --to latest` (or a time; with the --pipeline of `run`) adds them"
        );
        insta::assert_snapshot!(
            check(state(name, 6, "delete")).unwrap_err(),
            @"topic `g-transactions-by-merchant_id` has 6 partitions; it must have 4, as `transactions`: stop the scorers, `kafka-topics.sh --delete --topic g-transactions-by-merchant_id`, and start again with `scorer reset --group g --to latest` (or a time; with the --pipeline of `run`)"
        );
        insta::assert_snapshot!(
            check(state(name, 4, "compact")).unwrap_err(),
            @"topic `g-transactions-by-merchant_id` must have cleanup.policy=delete: with another one the broker would delete records that were not judged yet; `kafka-configs.sh --alter --entity-type topics --entity-name g-transactions-by-merchant_id --add-config cleanup.policy=delete` mends it"
        );
        let changelog = &topics.hops[0].state;
        check(state(changelog, 4, "compact")).unwrap();
        assert!(check(state(changelog, 4, "delete")).is_err() && check(state(changelog, 2, "compact")).is_err());
    }
}
