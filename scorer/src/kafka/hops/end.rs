//! What the end of a hop is for the others.

use crate::kafka::client::readable::wait_until_readable;
use crate::kafka::client::settings::KafkaSettings;
use crate::kafka::client::watchdog::Watchdog;
use crate::kafka::repartition::progress::RepartitionProgress;
use crate::kafka::stop::StopHandle;

/// How a hop tells the others that it has come to its end.
pub(crate) struct HopEnd {
    pub stop: StopHandle,
    /// The next hop: its topic, and what it learns of this one.
    pub next: Option<(String, RepartitionProgress)>,
    pub settings: KafkaSettings,
    pub watchdog: Watchdog,
}

impl HopEnd {
    /// The hop has ended; `is_whole` where everything that it has read is committed. Then the next one reads to the end of
    /// that, once it can be read. One that ended in another way is of no use to the others, nor they to it.
    pub(crate) fn tell(self, is_whole: bool) {
        if self.stop.is_requested() {
            return;
        }
        let result = match &self.next {
            _ if !is_whole => Ok(false),
            Some((topic, progress)) => {
                let is_stopped = || self.stop.is_requested();
                let result = wait_until_readable(&self.settings, topic, &self.watchdog, is_stopped);
                if matches!(result, Ok(true)) {
                    progress.set_ended();
                    progress.set_caught_up();
                }
                result
            }
            None => Ok(true),
        };
        if let Err(error) = &result {
            tracing::warn!(%error, "what went on to the next hop is read another time");
        }
        if !matches!(result, Ok(true)) {
            self.stop.request();
        }
    }
}
