//! Topics that are read from a moment on and then followed, for a reader that joins no consumer group and commits nothing.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use shared::time::Timestamp;

use super::client::error::KafkaError;
use super::client::settings::{KafkaSettings, QuietContext};
use super::look::Look;
use super::wire::headers::RecordHeaders as _;

const DOING: &str = "following topics";

/// How soon a reader hears that nothing has come.
const POLL_TIMEOUT: Duration = Duration::from_millis(100);

/// A message that was committed.
#[derive(Debug, Clone, Copy)]
pub struct TopicMessage<'a> {
    /// Its topic.
    pub topic: &'a str,
    /// Its key.
    pub key: &'a [u8],
    /// Its bytes; `None` where its key was deleted.
    pub payload: Option<&'a [u8]>,
    /// When it was made, in milliseconds since 1970.
    pub at: i64,
    /// Its place in its partition.
    pub offset: u64,
    /// Whether its headers say that it is a verdict on a normal entity.
    pub is_of_normal: bool,
}

impl<'a> TopicMessage<'a> {
    fn of(message: &'a BorrowedMessage<'_>) -> Self {
        Self {
            topic: message.topic(),
            key: message.key().unwrap_or_default(),
            payload: message.payload(),
            at: message.timestamp().to_millis().unwrap_or(0),
            offset: u64::try_from(message.offset()).unwrap_or(0),
            is_of_normal: message.header("severity") == Some(b"none"),
        }
    }
}

/// Topics with the places up to which they were read.
#[derive(Debug)]
pub struct Follower<'a> {
    settings: &'a KafkaSettings,
    places: TopicPartitionList,
}

impl<'a> Follower<'a> {
    /// One that follows nothing yet.
    pub fn new(settings: &'a KafkaSettings) -> Self {
        Self { settings, places: TopicPartitionList::new() }
    }

    /// Reads what came to a topic since a moment, or ever, up to its present end. It is followed from there. Blocks.
    ///
    /// # Errors
    /// [`KafkaError`] when no broker answers, or the topic is missing.
    pub fn read(
        &mut self,
        topic: &str,
        since: Option<Timestamp>,
        mut take: impl FnMut(TopicMessage<'_>),
    ) -> Result<(), KafkaError> {
        let look = Look::new(self.settings, topic, since)?;
        for (&partition, &place) in look.places() {
            let place = Offset::Offset(place);
            self.places.add_partition_offset(topic, partition, place).map_err(KafkaError::failed(DOING))?;
        }
        look.read(|message| {
            take(TopicMessage::of(message));
            Ok(())
        })
    }

    /// Reads what comes to all topics that were read, until `take` wants no more; `None` tells that nothing has come for a
    /// moment. While no broker answers, nothing comes, and it goes on once one does. Blocks.
    ///
    /// # Errors
    /// [`KafkaError`] when a topic is deleted, or a broker refuses to be read.
    pub fn follow(self, mut take: impl FnMut(Option<TopicMessage<'_>>) -> bool) -> Result<(), KafkaError> {
        let consumer: BaseConsumer<QuietContext> = self.settings.reader("atalaya-follow")?;
        consumer.assign(&self.places).map_err(KafkaError::failed(DOING))?;
        let mut is_away = false;
        loop {
            let wants_more = match consumer.poll(POLL_TIMEOUT) {
                Some(Ok(message)) => {
                    is_away = false;
                    take(Some(TopicMessage::of(&message)))
                }
                Some(Err(error)) if is_final(&error) => return Err(KafkaError::failed(DOING)(error)),
                Some(Err(error)) => {
                    if is_outage(&error) && !is_away {
                        is_away = true;
                        tracing::warn!("no Kafka broker answers: it goes on once one does");
                    }
                    take(None)
                }
                None => take(None),
            };
            if !wants_more {
                return Ok(());
            }
        }
    }
}

/// Whether the client cannot go on by itself.
fn is_final(error: &ClientError) -> bool {
    let code = error.rdkafka_error_code();
    matches!(
        code,
        Some(
            RDKafkaErrorCode::UnknownTopicOrPartition
                | RDKafkaErrorCode::UnknownTopic
                | RDKafkaErrorCode::UnknownPartition
                | RDKafkaErrorCode::TopicAuthorizationFailed
                | RDKafkaErrorCode::SaslAuthenticationFailed
        )
    )
}

/// Whether no broker answers. That one of several has gone is no news.
fn is_outage(error: &ClientError) -> bool {
    error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown)
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use rdkafka::mocking::MockCluster;

    use super::*;
    use crate::kafka::client::producer::{ProduceRecord, Producer};

    fn send(settings: &KafkaSettings, topic: &str, values: &[(i32, &str)]) {
        let producer = Producer::new(settings).unwrap();
        for (partition, value) in values {
            let payload = Some(Cow::Borrowed(value.as_bytes()));
            producer.queue(ProduceRecord { partition: Some(*partition), payload, ..ProduceRecord::to(topic) }).unwrap();
        }
        producer.flush().unwrap();
    }

    fn text(message: TopicMessage<'_>) -> String {
        format!("{} {}", message.topic, std::str::from_utf8(message.payload.unwrap()).unwrap())
    }

    #[test]
    fn everything_comes_once_first_what_is_there_and_then_what_comes() {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic("a", 2, 1).unwrap();
        cluster.create_topic("b", 1, 1).unwrap();
        let settings = KafkaSettings::at(cluster.bootstrap_servers());
        send(&settings, "a", &[(0, "1"), (1, "2")]);
        let (mut follower, mut seen) = (Follower::new(&settings), Vec::new());
        for topic in ["a", "b"] {
            follower.read(topic, None, |message| seen.push(text(message))).unwrap();
        }
        seen.sort();
        assert_eq!(seen, ["a 1", "a 2"]);
        assert!(matches!(follower.read("none", None, |_| {}), Err(KafkaError::MissingTopic(_))));

        send(&settings, "a", &[(0, "3"), (1, "4")]);
        send(&settings, "b", &[(0, "5")]);
        let mut came = Vec::new();
        let follow = follower.follow(|message| {
            came.extend(message.map(text));
            came.len() < 3
        });
        follow.unwrap();
        came.sort();
        assert_eq!(came, ["a 3", "a 4", "b 5"]);
    }
}
