//! A message, its bytes and its size.

use std::sync::Arc;

use serde_json::Value;
use shared::verdict::Verdict;

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
    /// An erroneous line or entity, or a message that its topic does not take, as JSON.
    Erroneous(Value),
    /// A count of cancellations, as JSON.
    Cancellations(Value),
    /// A partition's cancellations, for the instance that adds them up.
    Report(Report),
}

/// Where records are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Their topic, or their file.
    pub topic: Arc<str>,
    /// Their partition.
    pub partition: i32,
    /// First and last offset of each run of them.
    pub offsets: Vec<(i64, i64)>,
}

impl Source {
    /// One record.
    pub fn record(topic: &Arc<str>, partition: i32, offset: i64) -> Self {
        Self { topic: topic.clone(), partition, offsets: vec![(offset, offset)] }
    }

    /// The first record.
    pub fn first_offset(&self) -> Option<i64> {
        self.offsets.first().map(|(first, _)| *first)
    }
}

impl Content {
    /// The bytes: JSON on one line; a report in its own form.
    pub fn payload(&self) -> Vec<u8> {
        match self {
            Self::Report(report) => return report.encode(),
            Self::Verdict(verdict) => serde_json::to_vec(verdict),
            Self::Erroneous(value) | Self::Cancellations(value) => serde_json::to_vec(value),
        }
        .expect("messages are plain data with text keys")
    }
}

/// The longest text that a header says of what is wrong.
const MAX_CAUSE_BYTES: usize = 500;

impl Message {
    /// The bytes of the message: JSON on one line; a report in its own form.
    pub fn payload(&self) -> Vec<u8> {
        self.content.payload()
    }

    /// The headers of a dead letter: what Kafka Connect and Kafka Streams (KIP-1034) write, so that tools made for theirs
    /// can read ours. Other messages have none.
    pub fn headers(&self) -> Vec<(&'static str, String)> {
        match &self.content {
            Content::Erroneous(value) => headers_of(value, self.source.as_ref()),
            Content::Verdict(_) | Content::Cancellations(_) | Content::Report(_) => Vec::new(),
        }
    }
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
