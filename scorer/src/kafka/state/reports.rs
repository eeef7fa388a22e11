//! What all partitions tell of cancellations, read by the one instance that adds it up.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError as ClientError;
use rdkafka::message::Message as _;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use crate::core::Report;
use crate::kafka::client::error::KafkaError;
use crate::kafka::client::settings::{KafkaSettings, QuietContext};
use crate::kafka::clock::now_since_epoch;
use crate::kafka::topics::names::Topics;

/// Reads the topic of reports.
pub(crate) struct ReportReader {
    consumer: BaseConsumer<QuietContext>,
    /// When reading began, in milliseconds since the epoch.
    start: i64,
}

impl ReportReader {
    /// Reads from `position` on.
    pub(crate) fn start(settings: &KafkaSettings, topics: &Topics, position: i64) -> Result<Self, KafkaError> {
        let consumer: BaseConsumer<QuietContext> = settings.reader(&format!("{}-reader", topics.reports))?;
        let mut assignment = TopicPartitionList::new();
        assignment
            .add_partition_offset(&topics.reports, 0, Offset::Offset(position))
            .and_then(|()| consumer.assign(&assignment))
            .map_err(KafkaError::failed("reading the reports of cancellations"))?;
        Ok(Self { consumer, start: now_since_epoch() })
    }

    /// Takes what has come, with its offset.
    pub(crate) fn drain(&self, mut take: impl FnMut(Report, i64)) {
        while let Some(polled) = self.consumer.poll(Duration::ZERO) {
            match polled {
                Ok(message) => match Report::decode(message.payload().unwrap_or_default()) {
                    Ok(mut report) => {
                        // Whoever had nothing to read before this began may have a backlog by now: he will say so again.
                        if message.timestamp().to_millis().is_none_or(|at| at < self.start) {
                            report.idle_since = None;
                        }
                        take(report, message.offset());
                    }
                    Err(error) => tracing::warn!(%error, offset = message.offset(), "a report of cancellations"),
                },
                Err(ClientError::PartitionEOF(_)) => {}
                Err(error) => tracing::debug!(%error, "reading the reports of cancellations"),
            }
        }
    }
}
