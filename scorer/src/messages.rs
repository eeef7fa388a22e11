//! What goes over the wire: pure functions from outputs and verdicts to messages.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Map, Value, json};
use shared::device::DeviceError;
use shared::pipeline::Pipeline;
use shared::reason::Reason;
use shared::time::format_timestamp;
use shared::verdict::Verdict;

use crate::agreement::Agreement;
use crate::core::{CancellationCount, ClosedEntity, Erroneous, Output, Report, WindowVerdict};
use crate::scoring::Detectors;
use crate::truth::Truth;

/// A message to be published.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// The topic.
    pub topic: Arc<str>,
    /// The key: the entity's, where there is one.
    pub key: Option<String>,
    /// What it says.
    pub content: Content,
}

/// What a message says.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// A detector's verdict.
    Verdict(Box<Verdict>),
    /// An erroneous line or entity, as JSON.
    Erroneous(Value),
    /// A count of cancellations, as JSON.
    Cancellations(Value),
    /// A partition's cancellations, for the instance that adds them up.
    Report(Report),
}

impl Message {
    /// The bytes of the message: JSON on one line; a report in its own form.
    pub fn payload(&self) -> Vec<u8> {
        match &self.content {
            Content::Report(report) => return report.encode(),
            Content::Verdict(verdict) => serde_json::to_vec(verdict),
            Content::Erroneous(value) | Content::Cancellations(value) => serde_json::to_vec(value),
        }
        .expect("messages are plain data with text keys")
    }
}

/// What a batch says.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Encoded {
    /// The messages, in the order of the batch's outputs.
    pub messages: Vec<Message>,
    /// What was found of what its records are known to be.
    pub truth: Truth,
    /// What the pipeline's first two trained detectors say of its entities; nothing where there are not as many.
    pub agreement: Agreement,
}

/// Turns outputs into messages.
#[derive(Debug)]
pub struct Encoder {
    pipeline: Arc<Pipeline>,
    /// The topic or file that records come from, named in erroneous messages.
    source: String,
    /// The topic that entities were assembled from.
    entity_source: String,
    all_verdicts: bool,
    max_raw_bytes: usize,
    erroneous_topic: Arc<str>,
    cancellations_topic: Arc<str>,
    reports_topic: Arc<str>,
    /// Of the detectors that need no training.
    zscore_topics: Vec<Arc<str>>,
}

impl Encoder {
    /// An encoder for records from `source`; verdicts that are not anomalous only with `all_verdicts`. Raw bytes of an
    /// erroneous line beyond `max_raw_bytes` are cut off, and said to be.
    pub fn new(pipeline: Arc<Pipeline>, source: &str, all_verdicts: bool, max_raw_bytes: usize) -> Self {
        let cancellations = pipeline.cancellations.as_ref().map_or("", |cancellations| &cancellations.topic);
        Self {
            source: source.to_owned(),
            entity_source: source.to_owned(),
            all_verdicts,
            max_raw_bytes,
            erroneous_topic: pipeline.erroneous_topic.as_str().into(),
            cancellations_topic: cancellations.into(),
            reports_topic: "".into(),
            zscore_topics: pipeline.zscores.iter().map(|spec| spec.topic.as_str().into()).collect(),
            pipeline,
        }
    }

    /// Names `topic` for entities: that of the offsets of their lines.
    pub fn with_entities_from(self, topic: &str) -> Self {
        Self { entity_source: topic.to_owned(), ..self }
    }

    /// Sends reports of cancellations to `topic`.
    pub fn with_reports_to(self, topic: &str) -> Self {
        Self { reports_topic: topic.into(), ..self }
    }

    /// What a batch says.
    ///
    /// # Errors
    /// As [`Detectors::verdicts`].
    pub fn encode(&self, outputs: Vec<Output>, detectors: &Detectors) -> Result<Encoded, DeviceError> {
        let closed = |output: &Output| if let Output::Closed(entity) = output { Some(entity.clone()) } else { None };
        let entities: Vec<ClosedEntity> = outputs.iter().filter_map(closed).collect();
        let mut verdicts = detectors.verdicts(&entities, self.all_verdicts)?.into_iter();
        let Encoded { mut messages, mut truth, mut agreement } = Encoded::default();
        for output in outputs {
            match output {
                Output::Closed(entity) => {
                    let verdicts = verdicts.next().unwrap_or_default();
                    if let [first, second, ..] = self.pipeline.detectors.as_slice() {
                        let is_anomalous = [first, second].map(|spec| {
                            verdicts.iter().any(|(_, verdict)| verdict.anomalous && verdict.detector == spec.name)
                        });
                        agreement.add(is_anomalous, entity.truth.is_some());
                    }
                    if self.pipeline.label.is_some() {
                        let anomalous = verdicts.iter().filter(|(_, verdict)| verdict.anomalous);
                        let detectors = anomalous.map(|(_, verdict)| verdict.detector.as_str());
                        truth.add(entity.truth.as_deref(), detectors);
                    }
                    messages.extend(verdicts.into_iter().map(verdict));
                }
                Output::Windowed(found) => {
                    let found_out = self.windowed(&found);
                    let anomalous = found_out.iter().filter(|(_, verdict)| verdict.anomalous);
                    for (_, verdict) in anomalous.filter(|_| self.pipeline.label.is_some()) {
                        truth.add_found(found.truth.as_deref(), &verdict.detector);
                    }
                    messages.extend(found_out.map(verdict));
                }
                Output::Erroneous(erroneous) => messages.push(self.erroneous(erroneous)),
                Output::Cancellations(count) => messages.push(self.cancellations(count)),
                Output::Report(report) => messages.push(Message {
                    topic: self.reports_topic.clone(),
                    key: Some(report.partition.to_string()),
                    content: Content::Report(report),
                }),
            }
        }
        Ok(Encoded { messages, truth, agreement })
    }

    /// The verdict on a record and its windows; none where it is normal and only anomalies are asked for.
    fn windowed(&self, found: &WindowVerdict) -> Option<(Arc<str>, Verdict)> {
        let WindowVerdict { detector, summary, value, score, window, .. } = found;
        let (spec, topic) = (self.pipeline.zscores.get(*detector)?, self.zscore_topics.get(*detector)?);
        let verdict = Verdict::of_window(&self.pipeline.name, spec, summary, *value, (*score, window));
        (self.all_verdicts || verdict.anomalous).then(|| (topic.clone(), verdict))
    }

    fn erroneous(&self, erroneous: Erroneous) -> Message {
        let (key, value) = match erroneous {
            Erroneous::Line { reasons, source: (partition, offset), raw } => {
                let mut value = json!({
                    "pipeline": self.pipeline.name,
                    "kind": "line",
                    "reasons": reasons,
                    "source": { "topic": self.source, "partition": partition, "offset": offset },
                });
                self.add_raw(&mut value, &raw);
                (None, value)
            }
            Erroneous::Entity { reasons, summary, known, features, partition, offsets } => {
                let known: Map<String, Value> = known.into_iter().map(|(name, value)| (name, value.into())).collect();
                let features: Map<String, Value> =
                    self.pipeline.feature_names().into_iter().zip(features.into_iter().map(Value::from)).collect();
                let mut value = json!({
                    "pipeline": self.pipeline.name,
                    "kind": "entity",
                    "key": summary.key,
                    "reasons": reasons,
                    "lines": summary.lines,
                    "known": known,
                    "features": features,
                    "first_timestamp": format_timestamp(summary.first_timestamp),
                    "last_timestamp": format_timestamp(summary.last_timestamp),
                    "source": { "topic": self.entity_source, "partition": partition, "offsets": offsets },
                });
                if summary.closed_early {
                    value["closed_early"] = true.into();
                }
                (Some(summary.key), value)
            }
            Erroneous::Lost { partition, first, last } => {
                (None, lost_records(&self.pipeline.name, &self.entity_source, partition, (first, last)))
            }
        };
        Message { topic: self.erroneous_topic.clone(), key, content: Content::Erroneous(value) }
    }

    /// The bytes as text where they are UTF-8, else in base64: either way they can be had back.
    fn add_raw(&self, value: &mut Value, raw: &[u8]) {
        let kept = &raw[..raw.len().min(self.max_raw_bytes)];
        match std::str::from_utf8(kept) {
            Ok(text) => value["raw"] = text.into(),
            Err(_) => value["raw_base64"] = BASE64.encode(kept).into(),
        }
        if kept.len() < raw.len() {
            value["raw_bytes"] = raw.len().into();
            value["raw_truncated"] = true.into();
        }
    }

    fn cancellations(&self, count: CancellationCount) -> Message {
        let value = json!({
            "pipeline": self.pipeline.name,
            "window_start": format_timestamp(count.window_start),
            "window_end": format_timestamp(count.window_end),
            "cancellations": count.cancellations,
        });
        let topic = self.cancellations_topic.clone();
        Message { topic, key: Some(self.pipeline.name.clone()), content: Content::Cancellations(value) }
    }
}

/// The message about records of `topic` that were deleted before they were read: those from the first offset to the last.
pub(crate) fn lost_records(pipeline: &str, topic: &str, partition: i32, (first, last): (i64, i64)) -> Value {
    json!({
        "pipeline": pipeline,
        "kind": "lost",
        "reasons": [Reason::LostToRetention],
        "source": { "topic": topic, "partition": partition, "offsets": [[first, last]] },
    })
}

fn verdict((topic, verdict): (Arc<str>, Verdict)) -> Message {
    Message { topic, key: Some(verdict.key.clone()), content: Content::Verdict(Box::new(verdict)) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoder(max_raw_bytes: usize) -> Encoder {
        Encoder::new(Arc::new(Pipeline::load("invoices").unwrap()), "purchases", false, max_raw_bytes)
    }

    fn line(raw: &[u8]) -> Erroneous {
        Erroneous::Line { reasons: vec![Reason::NotANumber("UnitPrice".into())], source: (2, 17), raw: raw.to_vec() }
    }

    fn json_of(encoder: &Encoder, erroneous: Erroneous) -> Value {
        serde_json::from_slice(&encoder.erroneous(erroneous).payload()).unwrap()
    }

    #[test]
    fn an_erroneous_line_tells_why_and_where() {
        let message = encoder(100).erroneous(line(b"1,2,3"));
        insta::assert_snapshot!(
            String::from_utf8(message.payload()).unwrap(),
            @r#"{"pipeline":"invoices","kind":"line","reasons":["not_a_number:UnitPrice"],"source":{"topic":"purchases","partition":2,"offset":17},"raw":"1,2,3"}"#
        );
    }

    #[test]
    fn lost_records_are_named_by_their_offsets() {
        let encoder = encoder(1).with_entities_from("copies");
        insta::assert_snapshot!(
            json_of(&encoder, Erroneous::Lost { partition: 2, first: 100, last: 299 }),
            @r#"{"pipeline":"invoices","kind":"lost","reasons":["lost_to_retention"],"source":{"topic":"copies","partition":2,"offsets":[[100,299]]}}"#
        );
    }

    #[test]
    fn a_count_names_its_window() {
        let count = CancellationCount { window_start: 0, window_end: 480_000, cancellations: 3 };
        insta::assert_snapshot!(
            String::from_utf8(encoder(1).cancellations(count).payload()).unwrap(),
            @r#"{"pipeline":"invoices","window_start":"1970-01-01T00:00:00Z","window_end":"1970-01-01T00:08:00Z","cancellations":3}"#
        );
    }

    #[test]
    fn what_is_cut_off_is_said() {
        let value = json_of(&encoder(3), line(b"abcdef"));
        assert_eq!(
            (&value["raw"], &value["raw_bytes"], &value["raw_truncated"]),
            (&json!("abc"), &json!(6), &json!(true))
        );
    }

    proptest! {
        #[test]
        fn raw_bytes_can_be_had_back(raw in proptest::collection::vec(any::<u8>(), 0..100)) {
            let value = json_of(&encoder(1000), line(&raw));
            let back = match value["raw"].as_str() {
                Some(text) => text.as_bytes().to_vec(),
                None => BASE64.decode(value["raw_base64"].as_str().unwrap()).unwrap(),
            };
            prop_assert_eq!(back, raw);
        }
    }
}
