//! Where a partition begins and ends.

use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError as ClientError, KafkaResult};
use rdkafka::types::RDKafkaErrorCode;

use super::settings::KafkaError;
use super::watchdog::Watchdog;

/// How long one call may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// How long to ask again: brokers come and go, and a busy one forgets for a moment which partitions there are.
const PATIENCE: Duration = Duration::from_secs(60);

/// The first offset of a partition and the one after its last, as the consumer may read it; `doing` is for the error.
///
/// # Errors
/// When no broker can tell for a minute.
pub(super) fn ends_of<C: ConsumerContext>(
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
