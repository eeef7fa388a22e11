//! Offsets: where partitions begin and end, what a group has committed, and how a consumer is moved.

use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError as ClientError, KafkaResult};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaErrorCode;
use shared::time::Timestamp;

use super::error::KafkaError;
use super::settings::KafkaSettings;
use super::watchdog::Watchdog;

/// How long one call may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a call that asks several brokers may take.
const LONG_CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// How long to ask again: brokers come and go, and a busy one may not know for a moment which partitions there are.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long a committed offset may be awaited while a transaction on it is open: longer than such a transaction lives.
pub(crate) const STABLE_TIMEOUT: Duration = Duration::from_secs(120);

/// Partitions of `topic`, each with an offset.
///
/// # Errors
/// When librdkafka refuses an offset.
pub(crate) fn positions_of(
    topic: &str,
    positions: impl IntoIterator<Item = (i32, Offset)>,
) -> KafkaResult<TopicPartitionList> {
    let mut list = TopicPartitionList::new();
    for (partition, offset) in positions {
        list.add_partition_offset(topic, partition, offset)?;
    }
    Ok(list)
}

/// Partitions of `topic`, without offsets.
pub(crate) fn partitions_of(topic: &str, partitions: &[i32]) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    for &partition in partitions {
        list.add_partition(topic, partition);
    }
    list
}

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
                tracing::info!(%error, topic, partition, doing, "retrying");
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

/// As [`ends_of`], asked once.
///
/// # Errors
/// When no broker can tell.
pub(crate) fn ends_once<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topic: &str,
    partition: i32,
    doing: &'static str,
) -> Result<(i64, i64), KafkaError> {
    consumer.fetch_watermarks(topic, partition, LONG_CALL_TIMEOUT).map_err(KafkaError::failed(doing))
}

/// What the consumer's group has committed for partitions of `topic`, once no transaction on it is open. `None` when
/// `is_stopped` says so meanwhile.
///
/// # Errors
/// When the broker does not tell for two minutes.
pub(crate) fn committed_offsets<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topic: &str,
    partitions: &[i32],
    watchdog: &Watchdog,
    is_stopped: impl Fn() -> bool,
) -> Result<Option<TopicPartitionList>, KafkaError> {
    let start = Instant::now();
    loop {
        let watched = watchdog.watch("asking for committed offsets", CALL_TIMEOUT * 6);
        let answer = consumer.committed_offsets(partitions_of(topic, partitions), CALL_TIMEOUT);
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
        if is_stopped() {
            return Ok(None);
        }
        if start.elapsed() >= STABLE_TIMEOUT {
            return Err(KafkaError::failed("asking for committed offsets")(error));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Where a group begins that has read nothing of a partition yet.
///
/// # Errors
/// When no broker can tell for a minute.
pub(crate) fn first_offset<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topic: &str,
    partition: i32,
    settings: &KafkaSettings,
    watchdog: &Watchdog,
) -> Result<i64, KafkaError> {
    let (low, high) = ends_of(consumer, topic, partition, "asking for the ends of a partition", watchdog)?;
    Ok(if settings.starts_at_latest() { high } else { low })
}

/// The first offset at that time or later of each of the first `partitions` partitions; `Offset::End` where no record is
/// that late.
///
/// # Errors
/// When no broker can tell.
pub(crate) fn offsets_at<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topic: &str,
    partitions: i32,
    time: Timestamp,
) -> Result<TopicPartitionList, KafkaError> {
    positions_of(topic, (0..partitions).map(|partition| (partition, Offset::Offset(time))))
        .and_then(|asked| consumer.offsets_for_times(asked, LONG_CALL_TIMEOUT))
        .map_err(KafkaError::failed("looking for a time"))
}

/// Reads on at these offsets.
///
/// # Errors
/// When a partition cannot be moved.
pub(crate) fn seek<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topic: &str,
    positions: &[(i32, i64)],
    watchdog: &Watchdog,
) -> Result<(), KafkaError> {
    let failed = KafkaError::failed("seeking");
    let list = positions.iter().map(|&(partition, offset)| (partition, Offset::Offset(offset)));
    let list = positions_of(topic, list).map_err(&failed)?;
    let _watched = watchdog.watch("seeking", LONG_CALL_TIMEOUT * 2);
    let sought = consumer.seek_partitions(list, LONG_CALL_TIMEOUT).map_err(&failed)?;
    match sought.elements().iter().find_map(|element| element.error().err()) {
        Some(error) => Err(failed(error)),
        None => Ok(()),
    }
}
