//! What all partitions report of cancellations, read by the one instance that adds it up: the owner of partition 0.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError as ClientError;
use rdkafka::message::Message as _;
use rdkafka::topic_partition_list::Offset;

use crate::core::Report;
use crate::kafka::client::error::KafkaError;
use crate::kafka::client::offsets::positions_of;
use crate::kafka::client::producer::ProducedOffsets;
use crate::kafka::client::settings::{KafkaSettings, QuietContext};

const DOING: &str = "reading the reports of cancellations";

/// The topic of reports, read while partition 0 is ours.
pub(crate) struct Reports {
    settings: KafkaSettings,
    topic: String,
    reader: Option<ReportReader>,
    published: PublishedReports,
}

/// Where the reports end that this process published: its stream threads share it, for only one of them reads reports.
#[derive(Debug, Clone)]
pub(crate) struct PublishedReports(Arc<AtomicI64>);

impl Default for PublishedReports {
    fn default() -> Self {
        Self(Arc::new(AtomicI64::new(i64::MIN)))
    }
}

impl PublishedReports {
    fn note(&self, end: i64) {
        self.0.fetch_max(end, Ordering::AcqRel);
    }

    /// `None` where none was published.
    fn end(&self) -> Option<i64> {
        Some(self.0.load(Ordering::Acquire)).filter(|end| *end > i64::MIN)
    }
}

impl Reports {
    /// Nothing is read yet.
    pub(crate) fn new(settings: &KafkaSettings, topic: &str) -> Self {
        let published = PublishedReports::default();
        Self { settings: settings.clone(), topic: topic.to_owned(), reader: None, published }
    }

    /// The same in one of several stream threads, which have this in common.
    pub(crate) fn beside(self, published: &PublishedReports) -> Self {
        Self { published: published.clone(), ..self }
    }

    /// Starts to read, or stops: `from` is the first report that is wanted, `None` where the reports are not ours to add
    /// up.
    ///
    /// # Errors
    /// When librdkafka refuses.
    pub(crate) fn follow(&mut self, from: Option<i64>) -> Result<(), KafkaError> {
        match (from, &self.reader) {
            (None, _) => self.reader = None,
            (Some(_), Some(_)) => {}
            (Some(from), None) => self.reader = Some(ReportReader::start(&self.settings, &self.topic, from)?),
        }
        Ok(())
    }

    /// Stops reading: what was read is rolled back.
    pub(crate) fn close(&mut self) {
        self.reader = None;
    }

    /// Whether reports are read here.
    pub(crate) fn is_open(&self) -> bool {
        self.reader.is_some()
    }

    /// Takes what has come, each report with its offset; waits at most `wait` for the first.
    pub(crate) fn drain(&self, wait: Duration, take: impl FnMut(Report, i64)) {
        if let Some(reader) = &self.reader {
            reader.drain(wait, take);
        }
    }

    /// Notes the offsets of what was published here.
    pub(crate) fn on_published(&self, produced: &ProducedOffsets) {
        let reports = produced.iter().filter(|((topic, _), _)| *topic == self.topic);
        reports.for_each(|(_, end)| self.published.note(*end));
    }

    /// Whether reports that this process published have not come back yet; `read_to` is the next one that is wanted.
    pub(crate) fn are_behind(&self, read_to: Option<i64>) -> bool {
        self.is_open() && read_to < self.published.end()
    }
}

struct ReportReader {
    consumer: BaseConsumer<QuietContext>,
    /// Whether the end has been seen: what comes from then on was written after reading began.
    has_caught_up: Cell<bool>,
}

impl ReportReader {
    fn start(settings: &KafkaSettings, topic: &str, from: i64) -> Result<Self, KafkaError> {
        let consumer = settings.reader(&format!("{topic}-reader"))?;
        positions_of(topic, [(0, Offset::Offset(from))])
            .and_then(|assignment| consumer.assign(&assignment))
            .map_err(KafkaError::failed(DOING))?;
        Ok(Self { consumer, has_caught_up: Cell::new(false) })
    }

    fn drain(&self, mut wait: Duration, mut take: impl FnMut(Report, i64)) {
        while let Some(polled) = self.consumer.poll(wait) {
            wait = Duration::ZERO;
            match polled {
                Ok(message) => match Report::decode(message.payload().unwrap_or_default()) {
                    Ok(mut report) => {
                        // An idle report of before we became the owner may be out of date; the partition repeats it.
                        if !self.has_caught_up.get() {
                            report.forget_idle();
                        }
                        take(report, message.offset());
                    }
                    Err(error) => tracing::warn!(%error, offset = message.offset(), "a report of cancellations"),
                },
                Err(ClientError::PartitionEOF(_)) => self.has_caught_up.set(true),
                Err(error) => tracing::debug!(%error, "{DOING}"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_are_behind_until_what_was_published_has_come_back() {
        let settings = KafkaSettings::at("localhost:1");
        let mut reports = Reports::new(&settings, "reports");
        reports.on_published(&ProducedOffsets::from([(("reports".to_owned(), 0), 7), (("state".to_owned(), 0), 99)]));
        reports.on_published(&ProducedOffsets::from([(("state".to_owned(), 1), 100)]));
        assert!(!reports.are_behind(Some(0)), "nobody reads them");
        reports.follow(Some(0)).unwrap();
        assert!(reports.are_behind(Some(6)) && !reports.are_behind(Some(7)));
        reports.follow(None).unwrap();
        assert!(!reports.is_open());
    }

    #[test]
    fn what_another_thread_published_is_waited_for_too() {
        let (settings, published) = (KafkaSettings::at("localhost:1"), PublishedReports::default());
        let [mut reading, other] = [(); 2].map(|()| Reports::new(&settings, "reports").beside(&published));
        reading.follow(Some(0)).unwrap();
        assert!(!reading.are_behind(Some(0)));
        other.on_published(&ProducedOffsets::from([(("reports".to_owned(), 0), 7)]));
        assert!(reading.are_behind(Some(6)) && !reading.are_behind(Some(7)));
    }
}
