//! What all partitions tell of cancellations, read by the one instance that adds it up.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError as ClientError;
use rdkafka::message::Message as _;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::settings::{KafkaError, KafkaSettings, QuietContext};
use super::stream::Topics;
use crate::core::Report;

/// Reads the topic of reports.
pub(super) struct ReportReader {
    consumer: BaseConsumer<QuietContext>,
}

impl ReportReader {
    /// Reads from `position` on.
    pub(super) fn start(settings: &KafkaSettings, topics: &Topics, position: i64) -> Result<Self, KafkaError> {
        let consumer: BaseConsumer<QuietContext> = settings.reader(&format!("{}-reader", topics.reports))?;
        let mut assignment = TopicPartitionList::new();
        assignment
            .add_partition_offset(&topics.reports, 0, Offset::Offset(position))
            .and_then(|()| consumer.assign(&assignment))
            .map_err(KafkaError::failed("reading the reports of cancellations"))?;
        Ok(Self { consumer })
    }

    /// Takes what has come, with its offset.
    pub(super) fn drain(&self, mut take: impl FnMut(Report, i64)) {
        while let Some(polled) = self.consumer.poll(Duration::ZERO) {
            match polled {
                Ok(message) => match Report::decode(message.payload().unwrap_or_default()) {
                    Ok(report) => take(report, message.offset()),
                    Err(error) => tracing::warn!(%error, offset = message.offset(), "a report of cancellations"),
                },
                Err(ClientError::PartitionEOF(_)) => {}
                Err(error) => tracing::debug!(%error, "reading the reports of cancellations"),
            }
        }
    }
}
