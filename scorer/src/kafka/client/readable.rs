//! Whether everything that a topic holds can be read.

use std::time::{Duration, Instant};

use super::error::KafkaError;
use super::offsets::ends_of;
use super::settings::KafkaSettings;
use super::watchdog::Watchdog;

/// How long to wait for that.
const TIMEOUT: Duration = Duration::from_secs(60);

const ENDS: &str = "asking for the ends of a partition";

/// Waits until every transaction in a topic is over: a broker reports a commit before its records can be read everywhere.
/// `false` where that takes too long, or `is_stopped` says so meanwhile. Blocks.
///
/// # Errors
/// When no broker can tell where the topic ends.
pub(crate) fn wait_until_readable(
    settings: &KafkaSettings,
    topic: &str,
    watchdog: &Watchdog,
    is_stopped: impl Fn() -> bool,
) -> Result<bool, KafkaError> {
    let (all, committed) = (settings.reader_of_ends()?, settings.reader(&format!("{topic}-ends"))?);
    let start = Instant::now();
    for partition in 0..settings.partitions_of(topic)? {
        let end = ends_of(&all, topic, partition, ENDS, watchdog)?.1;
        // A reader of committed records gets the end of what is committed.
        while ends_of(&committed, topic, partition, ENDS, watchdog)?.1 < end {
            if is_stopped() || start.elapsed() >= TIMEOUT {
                return Ok(false);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    Ok(true)
}
