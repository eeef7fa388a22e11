//! What topics hold at this moment, for a reader that joins no consumer group and commits nothing.

use std::sync::Arc;

use rdkafka::message::Message as _;
use shared::line::{LineParser, Part};
use shared::pipeline::Pipeline;
use shared::time::Timestamp;

use super::client::error::KafkaError;
use super::client::settings::KafkaSettings;
use super::look::Look;
use super::schemas::SchemaSource;
use super::wire::headers::{label_of, schema_of};
use crate::agreement::{Intake, Labels};

/// What was published to the topics of two detectors by a moment: neither is read further than it went then.
pub struct VerdictTopics([Look; 2]);

impl VerdictTopics {
    /// Notes where `topics` end now, and where they begin, or what comes since a moment does.
    ///
    /// # Errors
    /// [`KafkaError`] when no broker answers, or a topic is missing.
    pub fn until_now(
        settings: &KafkaSettings,
        topics: [&str; 2],
        since: Option<Timestamp>,
    ) -> Result<Self, KafkaError> {
        let [first, second] = topics.map(|topic| Look::new(settings, topic, since));
        Ok(Self([first?, second?]))
    }

    /// Reads the verdicts.
    ///
    /// # Errors
    /// [`KafkaError`] when the brokers fall silent.
    pub fn read(self, intake: &mut Intake<'_>) -> Result<(), KafkaError> {
        self.0.into_iter().try_for_each(|look| {
            look.read(|message| {
                intake.message(message.payload().unwrap_or_default());
                Ok(())
            })
        })
    }
}

/// Reads the labels of all records in the pipeline's topic, up to its present end; by the records' keys, as the pipeline
/// takes them out of the records.
///
/// # Errors
/// As [`VerdictTopics::until_now`] and [`VerdictTopics::read`].
pub fn read_topic_labels(settings: &KafkaSettings, pipeline: &Arc<Pipeline>) -> Result<Labels, KafkaError> {
    let mut labels = Labels::default();
    let Some(label) = &pipeline.label else { return Ok(labels) };
    let schemas = SchemaSource::new(pipeline)?;
    let mut parser = LineParser::new(pipeline.schema.clone());
    Look::new(settings, &pipeline.topic, None)?.read(|message| {
        let (header, schema) = (label_of(message, pipeline), schema_of(message, &pipeline.schema));
        schemas.wait_for(message.payload().unwrap_or_default(), schema)?;
        // What cannot be parsed has no verdict either.
        parser.each_with(message.payload().unwrap_or_default(), schema, |piece, part| {
            let Part::Line(line) = part else { return };
            let at = (message.partition(), message.offset());
            let place = pipeline.is_keyless().then(|| pipeline.key_in_topic(at, piece.index()));
            let text = header.or_else(|| line[label.column?].text());
            if let Some(key) = place.as_deref().or(line[pipeline.entity.key].text()) {
                labels.add(key, label.scenario(text).is_some());
            }
        });
        Ok(())
    })?;
    Ok(labels)
}
