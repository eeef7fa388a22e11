//! What is asked of the broker about topics: to create them, to extend them, how they are set.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::admin::{
    AdminClient, AdminOptions, ConfigResource, NewPartitions, NewTopic, OwnedResourceSpecifier, ResourceSpecifier,
    TopicReplication,
};
use rdkafka::types::RDKafkaErrorCode;
use shared::pipeline::Pipeline;

use super::names::Topics;
use crate::kafka::client::blocking::blocking;
use crate::kafka::client::error::KafkaError;
use crate::kafka::client::settings::{KafkaSettings, MAX_MESSAGE_BYTES, QuietContext};
use crate::kafka::client::token;

const LOOKING: &str = "looking for topics";

const ADMIN_TIMEOUT: Duration = Duration::from_secs(60);

/// How missing topics are created.
#[derive(Debug, Clone, Copy)]
pub struct TopicSettings {
    /// Partitions of a new topic, where that is free to choose.
    pub partitions: i32,
    /// Copies of each; -1 for the broker's default.
    pub replication_factor: i32,
}

/// As [`KafkaSettings::connect`], for a task, which may not block.
pub(crate) async fn existing_topics(settings: &KafkaSettings) -> Result<Vec<(String, usize)>, KafkaError> {
    let settings = settings.clone();
    blocking(LOOKING, move || settings.connect()).await
}

/// As [`KafkaSettings::partitions_of`], for a task, which may not block.
pub(crate) async fn partitions_of(settings: &KafkaSettings, topic: &str) -> Result<i32, KafkaError> {
    let (settings, topic) = (settings.clone(), topic.to_owned());
    blocking(LOOKING, move || settings.partitions_of(&topic)).await
}

/// Creates topics of these names, each as what it is for needs it.
pub(crate) async fn create_topics(
    settings: &KafkaSettings,
    names: &[String],
    pipeline: &Pipeline,
    internal: &Topics,
    input_partitions: i32,
    create_as: TopicSettings,
) -> Result<(), KafkaError> {
    let max_bytes = MAX_MESSAGE_BYTES.to_string();
    let retention = internal_retention(settings, internal).await?;
    let has_bounds = bounds_timestamps(settings, internal).await;
    let replication = || TopicReplication::Fixed(create_as.replication_factor);
    let between_hops: Vec<&str> = internal.hops.iter().map(|hop| hop.input.as_str()).collect();
    let of_hops: Vec<&str> = internal.hops.iter().map(|hop| hop.state.as_str()).collect();
    let topic = |name| {
        if of_hops.contains(&name) || name == internal.state {
            return NewTopic::new(name, input_partitions, replication())
                .set("cleanup.policy", "compact")
                .set("max.message.bytes", &max_bytes)
                // An instance that was away for less than this still sees what was deleted meanwhile; see `snapshot`.
                .set("delete.retention.ms", "86400000")
                // Compaction leaves the last segment alone: a small segment keeps a restore short.
                .set("segment.bytes", "67108864")
                .set("min.cleanable.dirty.ratio", "0.3");
        }
        if name == internal.reports {
            return NewTopic::new(name, 1, replication())
                .set("retention.ms", "86400000")
                .set("segment.bytes", "67108864");
        }
        if name == internal.input && internal.is_repartitioned() {
            let topic = NewTopic::new(name, input_partitions, replication());
            let topic = if has_bounds { any_timestamp(topic) } else { topic };
            return topic
                .set("retention.ms", &retention)
                .set("message.timestamp.type", "CreateTime")
                .set("max.message.bytes", &max_bytes);
        }
        if between_hops.contains(&name) {
            return NewTopic::new(name, input_partitions, replication())
                .set("cleanup.policy", "delete")
                .set("retention.ms", &retention)
                .set("max.message.bytes", &max_bytes);
        }
        let topic = NewTopic::new(name, create_as.partitions, replication());
        // Erroneous lines carry their raw bytes, however many these are.
        if name == pipeline.erroneous_topic { topic.set("max.message.bytes", &max_bytes) } else { topic }
    };
    let topics: Vec<NewTopic<'_>> = names.iter().map(|name| topic(name.as_str())).collect();
    create_on_broker(settings, &topics).await
}

/// Whether the broker has settings for how far timestamps may be from its time: one before Kafka 3.6 has none, and takes
/// any.
async fn bounds_timestamps(settings: &KafkaSettings, topics: &Topics) -> bool {
    let setting = topic_setting(settings, &topics.source, "message.timestamp.after.max.ms");
    topics.is_repartitioned() && setting.await.is_ok_and(|found| found.is_some())
}

/// Copies have the timestamps of their originals, whatever the source takes.
fn any_timestamp(topic: NewTopic<'_>) -> NewTopic<'_> {
    const ANY: &str = "9223372036854775807";
    topic.set("message.timestamp.before.max.ms", ANY).set("message.timestamp.after.max.ms", ANY)
}

/// Creates topics; those that exist stay as they are.
pub(crate) async fn create_on_broker(settings: &KafkaSettings, topics: &[NewTopic<'_>]) -> Result<(), KafkaError> {
    let options = AdminOptions::new().operation_timeout(Some(ADMIN_TIMEOUT)).request_timeout(Some(ADMIN_TIMEOUT));
    let results =
        admin(settings)?.create_topics(topics, &options).await.map_err(KafkaError::failed("creating topics"))?;
    for result in results {
        match result {
            // Another instance may have been faster.
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((topic, code)) => return Err(not_created(topic, code)),
        }
    }
    Ok(())
}

/// How long copies, and records between hops, are kept, in milliseconds: a week, or as long as the source keeps its records.
/// Copies carry the source's timestamps, so that with a shorter time old ones would be deleted before they are read.
async fn internal_retention(settings: &KafkaSettings, topics: &Topics) -> Result<String, KafkaError> {
    const WEEK: i64 = 7 * 24 * 60 * 60 * 1000;
    if !topics.is_repartitioned() && topics.hops.is_empty() {
        return Ok(WEEK.to_string());
    }
    let of_source = topic_setting(settings, &topics.source, "retention.ms").await.unwrap_or_default();
    let of_source = of_source.and_then(|value| value.parse::<i64>().ok()).unwrap_or(WEEK);
    Ok(if of_source < 0 { -1 } else { of_source.max(WEEK) }.to_string())
}

/// Gives `topic` at least so many partitions.
pub(crate) async fn extend_topic(settings: &KafkaSettings, topic: &str, partitions: i32) -> Result<(), KafkaError> {
    if partitions_of(settings, topic).await? >= partitions {
        return Ok(());
    }
    let options = AdminOptions::new().operation_timeout(Some(ADMIN_TIMEOUT)).request_timeout(Some(ADMIN_TIMEOUT));
    let wanted = NewPartitions::new(topic, partitions as usize);
    let results = admin(settings)?
        .create_partitions([&wanted], &options)
        .await
        .map_err(KafkaError::failed("adding partitions to a topic"))?;
    match results.into_iter().next() {
        Some(Err((topic, code))) => Err(not_created(topic, code)),
        _ => Ok(()),
    }
}

/// What brokers take by default, in bytes.
pub(crate) const DEFAULT_MAX_MESSAGE_BYTES: usize = 1_048_588;

/// The largest batch of records that each of these topics takes, in bytes.
pub(crate) async fn max_message_bytes(
    settings: &KafkaSettings,
    topics: &[String],
) -> Result<BTreeMap<String, usize>, KafkaError> {
    let options = AdminOptions::new().request_timeout(Some(ADMIN_TIMEOUT));
    let asked: Vec<ResourceSpecifier<'_>> = topics.iter().map(|topic| ResourceSpecifier::Topic(topic)).collect();
    let answers = admin(settings)?
        .describe_configs(&asked, &options)
        .await
        .map_err(KafkaError::failed("asking for the settings of topics"))?;
    let limit = |config: ConfigResource| match &config.specifier {
        OwnedResourceSpecifier::Topic(topic) => {
            Some((topic.clone(), config.get("max.message.bytes")?.value.as_ref()?.parse().ok()?))
        }
        _ => None,
    };
    Ok(answers.into_iter().flatten().filter_map(limit).collect())
}

/// A setting of a topic, where the broker tells.
pub(crate) async fn topic_setting(
    settings: &KafkaSettings,
    topic: &str,
    name: &str,
) -> Result<Option<String>, KafkaError> {
    let options = AdminOptions::new().request_timeout(Some(ADMIN_TIMEOUT));
    let configs = admin(settings)?
        .describe_configs(&[ResourceSpecifier::Topic(topic)], &options)
        .await
        .map_err(KafkaError::failed("asking for a topic's settings"))?;
    let entry = configs.into_iter().flatten().next();
    Ok(entry.and_then(|config| config.get(name)?.value.clone()))
}

/// Why a topic was not created or extended.
fn not_created(topic: String, code: RDKafkaErrorCode) -> KafkaError {
    let denied = KafkaError::denied(code, || format!("creating topic `{topic}`"));
    denied.unwrap_or_else(|| KafkaError::CreateTopic { topic, cause: code.to_string() })
}

fn admin(settings: &KafkaSettings) -> Result<AdminClient<QuietContext>, KafkaError> {
    let config = settings.client(&[]);
    let admin: AdminClient<QuietContext> = config.create_with_context(QuietContext).map_err(KafkaError::settings)?;
    token::give_first(&config, admin.inner().native_ptr())?;
    Ok(admin)
}
