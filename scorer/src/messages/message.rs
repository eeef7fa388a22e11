//! A message, its bytes and its size.

use std::sync::Arc;

use serde_json::Value;
use shared::verdict::{EntityVerdict, Severity, Verdict, VerdictSource};

use crate::core::Report;

/// A message to be published.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// The topic.
    pub topic: Arc<str>,
    /// The key: the entity's, where there is one.
    pub key: Option<String>,
    /// What it says.
    pub content: Content,
    /// The records that it is about, where these are known.
    pub source: Option<Source>,
}

/// What a message says.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// A detector's verdict.
    Verdict(Box<Verdict>),
    /// What all detectors say of an entity.
    Entity(Box<EntityVerdict>),
    /// An erroneous line or entity, or a message that its topic does not take, as JSON.
    Erroneous(Value),
    /// A count of cancellations, as JSON.
    Cancellations(Value),
    /// A partition's cancellations, for the instance that adds them up.
    Report(Report),
    /// What the next hop reads: a record, or how far a partition is.
    ForNextHop {
        /// Its bytes.
        bytes: Vec<u8>,
        /// The partition that it is for; where none is named, that of its key.
        partition: Option<i32>,
    },
}

/// Where records are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Their topic, or their file.
    pub topic: Arc<str>,
    /// Their partition.
    pub partition: i32,
    /// First and last offset of each run of them; of a file, the lines.
    pub offsets: Vec<(i64, i64)>,
    /// Whether it is a file.
    pub is_file: bool,
}

impl Source {
    /// One record.
    pub fn record(topic: &Arc<str>, partition: i32, offset: i64) -> Self {
        Self::in_topic(topic, partition, vec![(offset, offset)])
    }

    /// Runs of records.
    pub fn in_topic(topic: &Arc<str>, partition: i32, offsets: Vec<(i64, i64)>) -> Self {
        Self { topic: topic.clone(), partition, offsets, is_file: false }
    }

    /// The first record.
    pub fn first_offset(&self) -> Option<i64> {
        self.offsets.first().map(|(first, _)| *first)
    }

    /// As verdicts name it.
    pub fn of_verdict(&self) -> VerdictSource {
        if self.is_file {
            VerdictSource::in_file(&self.topic, &self.offsets)
        } else {
            VerdictSource::in_topic(&self.topic, self.partition, &self.offsets)
        }
    }
}

impl Content {
    /// The bytes: JSON on one line; what only instances read in its own form.
    pub fn payload(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(&mut out);
        out
    }

    /// Adds the bytes to `out`.
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Report(report) => {
                out.extend_from_slice(&report.encode());
                return;
            }
            Self::ForNextHop { bytes, .. } => {
                out.extend_from_slice(bytes);
                return;
            }
            Self::Verdict(verdict) => serde_json::to_writer(out, verdict),
            Self::Entity(verdict) => serde_json::to_writer(out, verdict),
            Self::Erroneous(value) | Self::Cancellations(value) => serde_json::to_writer(out, value),
        }
        .expect("messages are plain data with text keys");
    }

    /// Whether it stays among the instances: nobody else would know what to make of it.
    pub fn is_internal(&self) -> bool {
        matches!(self, Self::Report(_) | Self::ForNextHop { .. })
    }

    /// The partition that it is for, where that does not follow from its key.
    pub fn partition(&self) -> Option<i32> {
        if let Self::ForNextHop { partition, .. } = self { *partition } else { None }
    }
}

/// The longest text that a header says of what is wrong.
const MAX_CAUSE_BYTES: usize = 500;

impl Message {
    /// The bytes of the message: JSON on one line; a report in its own form.
    pub fn payload(&self) -> Vec<u8> {
        self.content.payload()
    }

    /// As [`Message::payload`], by way of a buffer that many messages use one after the other: what is returned is as large as it
    /// has to be.
    pub fn payload_by(&self, buffer: &mut Vec<u8>) -> Vec<u8> {
        buffer.clear();
        self.content.write(buffer);
        buffer.as_slice().to_vec()
    }

    /// The headers of a dead letter: what Kafka Connect and Kafka Streams (KIP-1034) write, so that tools made for theirs
    /// can read ours. Those of a verdict: what a router needs, so that it need not read the JSON. Other messages have none.
    pub fn headers(&self) -> Vec<(&'static str, String)> {
        match &self.content {
            Content::Erroneous(value) => headers_of(value, self.source.as_ref()),
            Content::Verdict(verdict) if verdict.schema > 1 => {
                routing(verdict.schema, &verdict.pipeline, &verdict.detector, verdict.severity)
            }
            Content::Entity(verdict) => {
                routing(verdict.schema, &verdict.pipeline, &verdict.anomalous_to.join(","), verdict.severity)
            }
            Content::Verdict(_) | Content::Cancellations(_) | Content::Report(_) | Content::ForNextHop { .. } => {
                Vec::new()
            }
        }
    }

    /// Whether it says when it was made, beside its headers: the bytes of the message itself depend on nothing but records
    /// and models.
    pub fn has_time_of_scoring(&self) -> bool {
        match &self.content {
            Content::Verdict(verdict) => verdict.schema > 1,
            Content::Entity(_) => true,
            Content::Erroneous(_) | Content::Cancellations(_) | Content::Report(_) | Content::ForNextHop { .. } => {
                false
            }
        }
    }
}

/// The headers of a verdict. One on a normal entity has the severity `none`.
fn routing(schema: u32, pipeline: &str, detector: &str, severity: Option<Severity>) -> Vec<(&'static str, String)> {
    vec![
        ("schema", schema.to_string()),
        ("pipeline", pipeline.to_owned()),
        ("detector", detector.to_owned()),
        ("severity", severity.map_or("none", Severity::name).to_owned()),
    ]
}

/// The headers of a dead letter that says this of its source.
pub(super) fn headers_of(value: &Value, source: Option<&Source>) -> Vec<(&'static str, String)> {
    let mut headers = Vec::with_capacity(8);
    if let Some(source) = source {
        let partition = source.partition.to_string();
        let offset = source.first_offset().map(|offset| offset.to_string());
        headers.push(("__connect.errors.topic", source.topic.to_string()));
        headers.push(("__connect.errors.partition", partition.clone()));
        headers.extend(offset.clone().map(|offset| ("__connect.errors.offset", offset)));
        headers.push(("__streams.errors.topic", source.topic.to_string()));
        headers.push(("__streams.errors.partition", partition));
        headers.extend(offset.map(|offset| ("__streams.errors.offset", offset)));
    }
    let cause = cause_of(value);
    headers.push(("__connect.errors.exception.message", cause.clone()));
    headers.push(("__streams.errors.message", cause));
    headers
}

/// The reasons, and the broker's words where there are any.
fn cause_of(value: &Value) -> String {
    let reasons = value["reasons"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let mut cause = reasons.collect::<Vec<_>>().join(", ");
    if let Some(words) = value["cause"].as_str() {
        cause = format!("{cause}: {words}");
    }
    cause.truncate(cause.floor_char_boundary(MAX_CAUSE_BYTES));
    cause
}

/// Bytes of a batch of one record beside its key, payload and headers: 61 of the batch, and at most 28 of the record.
const RECORD_OVERHEAD: usize = 89;

/// Bytes of a header beside its name and value: at most.
const HEADER_OVERHEAD: usize = 10;

/// The size of a record as its topic's `max.message.bytes` counts it where it is alone and nothing is compressed: at most
/// this, and a few bytes less.
pub fn record_bytes(key: Option<&[u8]>, payload: usize, headers: &[(&str, String)]) -> usize {
    let headers: usize = headers.iter().map(|(name, value)| HEADER_OVERHEAD + name.len() + value.len()).sum();
    RECORD_OVERHEAD.saturating_add(key.map_or(0, <[u8]>::len)).saturating_add(payload).saturating_add(headers)
}
