//! The newest messages that were committed to a topic, for a reader that joins no consumer group and commits nothing.

use rdkafka::message::Message as _;

use super::client::error::KafkaError;
use super::client::settings::KafkaSettings;
use super::look::Look;
use super::wire::headers::RecordHeaders as _;

/// A message that was committed.
#[derive(Debug)]
pub struct RecentMessage<'a> {
    /// Its bytes.
    pub payload: &'a [u8],
    /// When it was made, in milliseconds since 1970.
    pub at: i64,
    /// Whether its headers say that it is a verdict on a normal entity.
    pub is_of_normal: bool,
}

/// Reads the newest messages of a topic, about `most` of them: partition by partition in their order, of all partitions at the
/// same time. Blocks.
///
/// # Errors
/// [`KafkaError`] when no broker answers, or the topic is missing.
pub fn read_recent(
    settings: &KafkaSettings,
    topic: &str,
    most: usize,
    mut take: impl FnMut(RecentMessage<'_>),
) -> Result<(), KafkaError> {
    let partitions = settings.partitions_of(topic)?;
    let of_each = most.div_ceil(usize::try_from(partitions).unwrap_or(1).max(1));
    Look::new(settings, topic, None)?.newest(i64::try_from(of_each).unwrap_or(i64::MAX)).read(|message| {
        if let Some(payload) = message.payload() {
            let at = message.timestamp().to_millis().unwrap_or(0);
            take(RecentMessage { payload, at, is_of_normal: message.header("severity") == Some(b"none") });
        }
        Ok(())
    })
}
