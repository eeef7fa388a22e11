//! The topics of a pipeline: looked for, and created where they are missing.

use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::types::RDKafkaErrorCode;
use shared::pipeline::Pipeline;

use super::settings::{KafkaError, KafkaSettings, MAX_MESSAGE_BYTES, QuietContext};

const ADMIN_TIMEOUT: Duration = Duration::from_secs(15);

/// How missing topics are created.
#[derive(Debug, Clone, Copy)]
pub struct TopicSettings {
    /// Partitions of a new topic.
    pub partitions: i32,
    /// Copies of each; -1 for the broker's default.
    pub replication_factor: i32,
}

/// A topic of the pipeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicState {
    /// Its name.
    pub name: String,
    /// How many partitions it has; `None` when it does not exist.
    pub partitions: Option<usize>,
}

/// The topics of `pipeline`, the input first, as the broker has them.
///
/// # Errors
/// [`KafkaError::Unreachable`] when no broker answers.
pub fn check_topics(settings: &KafkaSettings, pipeline: &Pipeline) -> Result<Vec<TopicState>, KafkaError> {
    let existing = settings.connect()?;
    let names = std::iter::once(pipeline.topic.as_str()).chain(pipeline.output_topics());
    let state = |name: &str| TopicState {
        name: name.to_owned(),
        partitions: existing.iter().find(|(topic, _)| topic == name).map(|(_, partitions)| *partitions),
    };
    Ok(names.map(state).collect())
}

/// Creates the topics that are missing, or refuses when `create` is `None`; returns the names of the new ones.
///
/// # Errors
/// [`KafkaError`] when no broker answers, a topic is missing and may not be created, or the broker refuses.
pub async fn ensure_topics(
    settings: &KafkaSettings,
    pipeline: &Pipeline,
    create: Option<TopicSettings>,
) -> Result<Vec<String>, KafkaError> {
    // Waiting for a broker blocks.
    let (asked, of) = (settings.clone(), pipeline.clone());
    let states = tokio::task::spawn_blocking(move || check_topics(&asked, &of))
        .await
        .map_err(|error| KafkaError::Failed { action: "looking for topics", cause: error.to_string() })??;
    let missing: Vec<String> =
        states.into_iter().filter(|state| state.partitions.is_none()).map(|state| state.name).collect();
    match (missing.first(), create) {
        (None, _) => Ok(missing),
        (Some(topic), None) => Err(KafkaError::MissingTopic(topic.clone())),
        (Some(_), Some(create_as)) => {
            create_topics(settings, &missing, &pipeline.erroneous_topic, create_as).await?;
            Ok(missing)
        }
    }
}

async fn create_topics(
    settings: &KafkaSettings,
    names: &[String],
    erroneous_topic: &str,
    create_as: TopicSettings,
) -> Result<(), KafkaError> {
    let admin = admin(settings)?;
    let max_bytes = MAX_MESSAGE_BYTES.to_string();
    let topic = |name| {
        let topic = NewTopic::new(name, create_as.partitions, TopicReplication::Fixed(create_as.replication_factor));
        // Erroneous lines carry their raw bytes, however many these are.
        if name == erroneous_topic { topic.set("max.message.bytes", &max_bytes) } else { topic }
    };
    let topics: Vec<NewTopic<'_>> = names.iter().map(|name| topic(name.as_str())).collect();
    let options = AdminOptions::new().operation_timeout(Some(ADMIN_TIMEOUT)).request_timeout(Some(ADMIN_TIMEOUT));
    let results = admin.create_topics(&topics, &options).await.map_err(KafkaError::failed("creating topics"))?;
    for result in results {
        match result {
            // Another instance may have been faster.
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((topic, code)) => return Err(KafkaError::CreateTopic { topic, cause: code.to_string() }),
        }
    }
    Ok(())
}

/// The largest message that `topic` takes, in bytes.
pub(super) async fn max_message_bytes(settings: &KafkaSettings, topic: &str) -> Result<usize, KafkaError> {
    let options = AdminOptions::new().request_timeout(Some(ADMIN_TIMEOUT));
    let configs = admin(settings)?
        .describe_configs(&[ResourceSpecifier::Topic(topic)], &options)
        .await
        .map_err(KafkaError::failed("asking for a topic's settings"))?;
    let entry = configs.into_iter().flatten().next();
    let value = entry.and_then(|config| config.get("max.message.bytes")?.value.clone()?.parse().ok());
    // A broker that does not say (a mock) takes what brokers take by default.
    Ok(value.unwrap_or(1 << 20))
}

fn admin(settings: &KafkaSettings) -> Result<AdminClient<QuietContext>, KafkaError> {
    settings.client(&[]).create_with_context(QuietContext).map_err(|error| KafkaError::Settings(error.to_string()))
}
