//! Where a partition begins and ends.

use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError as ClientError, KafkaResult};
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka::types::RDKafkaErrorCode;

use super::consumer::InputConsumer;
use super::error::KafkaError;
use super::settings::KafkaSettings;
use super::watchdog::Watchdog;
use crate::kafka::stop::StopHandle;

/// How long one call may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// How long to ask again: brokers come and go, and a busy one forgets for a moment which partitions there are.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long a committed offset may be awaited while a transaction on it is open: longer than such a transaction lives.
pub(crate) const STABLE_TIMEOUT: Duration = Duration::from_secs(120);

/// The first offset of a partition and the one after its last, as the consumer may read it; `doing` is for the error.
///
/// # Errors
/// When no broker can tell for a minute.
pub(crate) fn ends_of<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topic: &str,
    partition: i32,
    doing: &'static str,
    watchdog: &Watchdog,
) -> Result<(i64, i64), KafkaError> {
    let start = Instant::now();
    loop {
        let watched = watchdog.watch(doing, CALL_TIMEOUT * 6);
        let answer: KafkaResult<(i64, i64)> = consumer.fetch_watermarks(topic, partition, CALL_TIMEOUT);
        drop(watched);
        match answer {
            Ok(ends) => return Ok(ends),
            Err(error) if is_final(&error) || start.elapsed() >= PATIENCE => {
                return Err(KafkaError::failed(doing)(error));
            }
            Err(error) => {
                tracing::info!(%error, topic, partition, doing, "asking again");
                std::thread::sleep(Duration::from_millis(100));
            }
        }
    }
}

/// Whether to ask again would change nothing.
fn is_final(error: &ClientError) -> bool {
    let code = error.rdkafka_error_code();
    matches!(code, Some(RDKafkaErrorCode::TopicAuthorizationFailed | RDKafkaErrorCode::SaslAuthenticationFailed))
}

/// What is committed for partitions of `topic`, once no transaction on it is open. `None` when a stop was asked for
/// meanwhile.
pub(crate) fn committed_offsets(
    consumer: &InputConsumer,
    topic: &str,
    partitions: &[i32],
    watchdog: &Watchdog,
    stop: &StopHandle,
) -> Result<Option<TopicPartitionList>, KafkaError> {
    let start = Instant::now();
    loop {
        let mut asked = TopicPartitionList::new();
        partitions.iter().for_each(|partition| {
            asked.add_partition(topic, *partition);
        });
        let watched = watchdog.watch("asking for committed offsets", CALL_TIMEOUT * 6);
        let answer = consumer.committed_offsets(asked, CALL_TIMEOUT);
        drop(watched);
        let error = match answer {
            Ok(committed) => match committed.elements().iter().find_map(|element| element.error().err()) {
                None => return Ok(Some(committed)),
                Some(error) => error,
            },
            Err(error) => error,
        };
        // The broker does not answer while a transaction of the old owner is open; brokers come and go.
        tracing::info!(%error, "waiting for committed offsets");
        if stop.is_requested() {
            return Ok(None);
        }
        if start.elapsed() >= STABLE_TIMEOUT {
            return Err(KafkaError::failed("asking for committed offsets")(error));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Where a group begins that has read nothing yet of a partition.
pub(crate) fn first_offset(
    consumer: &InputConsumer,
    topic: &str,
    partition: i32,
    settings: &KafkaSettings,
    watchdog: &Watchdog,
) -> Result<i64, KafkaError> {
    let (low, high) = ends_of(consumer, topic, partition, "asking for the ends of a partition", watchdog)?;
    Ok(if settings.starts_at_latest() { high } else { low })
}
