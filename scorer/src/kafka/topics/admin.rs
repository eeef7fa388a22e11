//! What is asked of the broker about topics: to create them, to extend them, how they are set.

use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::types::RDKafkaErrorCode;
use shared::pipeline::Pipeline;

use super::names::Topics;
use crate::kafka::client::error::KafkaError;
use crate::kafka::client::settings::{KafkaSettings, MAX_MESSAGE_BYTES, QuietContext};

const ADMIN_TIMEOUT: Duration = Duration::from_secs(60);

/// How missing topics are created.
#[derive(Debug, Clone, Copy)]
pub struct TopicSettings {
    /// Partitions of a new topic, where that is free to choose.
    pub partitions: i32,
    /// Copies of each; -1 for the broker's default.
    pub replication_factor: i32,
}

pub(crate) async fn create_topics(
    settings: &KafkaSettings,
    names: &[String],
    pipeline: &Pipeline,
    internal: &Topics,
    input_partitions: i32,
    create_as: TopicSettings,
) -> Result<(), KafkaError> {
    let max_bytes = MAX_MESSAGE_BYTES.to_string();
    let retention = repartition_retention(settings, internal).await?;
    let replication = || TopicReplication::Fixed(create_as.replication_factor);
    let topic = |name| {
        if name == internal.state {
            return NewTopic::new(name, input_partitions, replication())
                .set("cleanup.policy", "compact")
                .set("max.message.bytes", &max_bytes)
                // What an instance that was away has not seen deleted, it finds deleted; see `snapshot`.
                .set("delete.retention.ms", "86400000")
                // Compaction leaves the last segment alone: a small one keeps what has to be read back small.
                .set("segment.bytes", "67108864")
                .set("min.cleanable.dirty.ratio", "0.3");
        }
        if name == internal.reports {
            return NewTopic::new(name, 1, replication())
                .set("retention.ms", "86400000")
                .set("segment.bytes", "67108864");
        }
        if name == internal.input && internal.is_repartitioned() {
            return NewTopic::new(name, input_partitions, replication())
                .set("retention.ms", &retention)
                .set("message.timestamp.type", "CreateTime")
                .set("max.message.bytes", &max_bytes);
        }
        let topic = NewTopic::new(name, create_as.partitions, replication());
        // Erroneous lines carry their raw bytes, however many these are.
        if name == pipeline.erroneous_topic { topic.set("max.message.bytes", &max_bytes) } else { topic }
    };
    let topics: Vec<NewTopic<'_>> = names.iter().map(|name| topic(name.as_str())).collect();
    create_on_broker(settings, &topics).await
}

pub(crate) async fn create_on_broker(settings: &KafkaSettings, topics: &[NewTopic<'_>]) -> Result<(), KafkaError> {
    let options = AdminOptions::new().operation_timeout(Some(ADMIN_TIMEOUT)).request_timeout(Some(ADMIN_TIMEOUT));
    let results =
        admin(settings)?.create_topics(topics, &options).await.map_err(KafkaError::failed("creating topics"))?;
    for result in results {
        match result {
            // Another instance may have been faster.
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((topic, code)) => return Err(KafkaError::CreateTopic { topic, cause: code.to_string() }),
        }
    }
    Ok(())
}

/// How long lines are kept on their way, in milliseconds: a week, or as long as the source keeps them. They carry its
/// timestamps: with less than its time, old ones would be gone before they are read.
async fn repartition_retention(settings: &KafkaSettings, topics: &Topics) -> Result<String, KafkaError> {
    const WEEK: i64 = 7 * 24 * 60 * 60 * 1000;
    if !topics.is_repartitioned() {
        return Ok(WEEK.to_string());
    }
    let of_source = topic_setting(settings, &topics.source, "retention.ms").await.unwrap_or_default();
    let of_source = of_source.and_then(|value| value.parse::<i64>().ok()).unwrap_or(WEEK);
    Ok(if of_source < 0 { -1 } else { of_source.max(WEEK) }.to_string())
}

/// Gives `topic` at least so many partitions.
pub(crate) async fn extend_topic(settings: &KafkaSettings, topic: &str, partitions: i32) -> Result<(), KafkaError> {
    let asked = (settings.clone(), topic.to_owned());
    let now = tokio::task::spawn_blocking(move || asked.0.partitions_of(&asked.1))
        .await
        .map_err(|error| KafkaError::Failed { action: "looking for topics", cause: error.to_string() })??;
    if now >= partitions {
        return Ok(());
    }
    let options = AdminOptions::new().operation_timeout(Some(ADMIN_TIMEOUT)).request_timeout(Some(ADMIN_TIMEOUT));
    let wanted = NewPartitions::new(topic, partitions as usize);
    let results = admin(settings)?
        .create_partitions([&wanted], &options)
        .await
        .map_err(KafkaError::failed("adding partitions to a topic"))?;
    match results.into_iter().next() {
        Some(Err((topic, code))) => Err(KafkaError::CreateTopic { topic, cause: code.to_string() }),
        _ => Ok(()),
    }
}

/// The largest message that `topic` takes, in bytes.
pub(crate) async fn max_message_bytes(settings: &KafkaSettings, topic: &str) -> Result<usize, KafkaError> {
    let value = topic_setting(settings, topic, "max.message.bytes").await?;
    // A broker that does not say (a mock) takes what brokers take by default.
    Ok(value.and_then(|value| value.parse().ok()).unwrap_or(1 << 20))
}

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

fn admin(settings: &KafkaSettings) -> Result<AdminClient<QuietContext>, KafkaError> {
    settings.client(&[]).create_with_context(QuietContext).map_err(|error| KafkaError::Settings(error.to_string()))
}
