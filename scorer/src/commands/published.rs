//! What was published of a pipeline, and what analysts said of it, for commands that look at it without a window.

use anyhow::{Result, anyhow};
use shared::pipeline::Pipeline;
use window::{Committed, Entry, Found, Kind};

use crate::kafka::{Follower, KafkaError, TopicMessage, labels_topic};

/// Reads the verdicts since a moment and all labels, up to their present ends; all of these topics can be followed then.
pub(super) fn read_anomalies(
    follower: &mut Follower<'_>,
    pipeline: &Pipeline,
    since: i64,
    found: &mut Found,
) -> Result<()> {
    let topics = pipeline.detector_topics().map(|(_, topic)| topic).chain(pipeline.verdicts_topic.as_deref());
    for topic in topics {
        read(follower, pipeline, topic, since, |message| drop(take(found, Kind::Verdict, message)))?;
    }
    match follower.read(&labels_topic(pipeline), None, |message| hear(found, message)) {
        // Nobody has had a window yet, so nobody has said anything.
        Ok(()) | Err(KafkaError::MissingTopic(_)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Reads a topic that the scorer writes, since a moment and up to its present end.
pub(super) fn read(
    follower: &mut Follower<'_>,
    pipeline: &Pipeline,
    topic: &str,
    since: i64,
    take: impl FnMut(TopicMessage<'_>),
) -> Result<()> {
    follower.read(topic, Some(since), take).map_err(|error| match error {
        KafkaError::MissingTopic(topic) => anyhow!(
            "topic `{topic}` does not exist: nothing was published of pipeline `{}` yet; `scorer run` with this pipeline \
             creates the topic",
            pipeline.name
        ),
        error => error.into(),
    })
}

/// Takes a message in, and gives the names of the entities that it says something new of.
pub(super) fn take(found: &mut Found, kind: Kind, message: TopicMessage<'_>) -> Vec<String> {
    let TopicMessage { payload, at, is_of_normal, .. } = message;
    match payload.filter(|_| !is_of_normal) {
        Some(payload) => found.take(&Committed { kind, payload: payload.to_vec(), at }),
        None => Vec::new(),
    }
}

/// Takes in what an analyst says.
pub(super) fn hear(found: &mut Found, message: TopicMessage<'_>) {
    let key = String::from_utf8_lossy(message.key).into_owned();
    found.hear(Entry { key, value: message.payload.map(<[u8]>::to_vec), version: message.offset });
}
