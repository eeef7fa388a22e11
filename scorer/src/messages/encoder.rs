//! From what the state machine says to messages.

use std::sync::Arc;

use serde_json::{Value, json};
use shared::detectors::drift::Identity;
use shared::device::DeviceError;
use shared::pipeline::{Pipeline, VerdictSchema};
use shared::time::format_timestamp;
use shared::verdict::{EntityVerdict, Verdict};

use super::costs::Costs;
use super::dead_letters::{DeadLetters, ErroneousEntity};
use super::message::{Content, Message, Source};
use crate::agreement::Agreement;
use crate::core::{CancellationCount, ClosedEntity, Erroneous, Forwarded, Output, WindowVerdict};
use crate::drift::{Observations, Observed};
use crate::scoring::{Detectors, Verdicts};
use crate::truth::Truth;

/// What a batch says.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Encoded {
    /// The messages, in the order of the batch's outputs.
    pub messages: Vec<Message>,
    /// What was found of what its records are known to be.
    pub truth: Truth,
    /// What the pipeline's first two trained detectors say of its entities; nothing where there are not as many.
    pub agreement: Agreement,
    /// Where its entities lie among those of the training.
    pub observations: Observations,
}

/// Turns outputs into messages.
#[derive(Debug)]
pub struct Encoder {
    pipeline: Arc<Pipeline>,
    /// The topic or file that records come from, named in erroneous messages.
    source: Arc<str>,
    /// The topic that entities were assembled from.
    entity_source: Arc<str>,
    /// The topic that is read, named where records of it are lost.
    read_from: Arc<str>,
    /// The topic that the next hop reads, with its partitions.
    next_hop: Option<(Arc<str>, i32)>,
    all_verdicts: bool,
    dead_letters: DeadLetters,
    cancellations_topic: Arc<str>,
    reports_topic: Arc<str>,
    /// Of the detectors that need no training.
    zscore_topics: Vec<Arc<str>>,
    costs: Costs,
    /// Of what all detectors say of an entity, where that is wanted.
    verdicts_topic: Option<Arc<str>>,
    /// Whether records come from a file, and their offsets are lines.
    is_of_file: bool,
}

impl Encoder {
    /// An encoder for records from `source`; verdicts that are not anomalous only with `all_verdicts`. An erroneous message
    /// is a record of at most `max_bytes`: what there is no room for is cut off, and said to be.
    pub fn new(pipeline: Arc<Pipeline>, source: &str, all_verdicts: bool, max_bytes: usize) -> Self {
        let cancellations = pipeline.cancellations.as_ref().map_or("", |cancellations| &cancellations.topic);
        Self {
            source: source.into(),
            entity_source: source.into(),
            read_from: source.into(),
            next_hop: None,
            all_verdicts,
            dead_letters: DeadLetters::new(&pipeline, max_bytes),
            cancellations_topic: cancellations.into(),
            reports_topic: "".into(),
            costs: Costs::new(&pipeline, all_verdicts),
            zscore_topics: pipeline.zscores.iter().map(|spec| spec.topic.as_str().into()).collect(),
            verdicts_topic: pipeline.verdicts_topic.as_deref().map(Into::into),
            is_of_file: false,
            pipeline,
        }
    }

    /// Names `topic` for entities: that of the offsets of their lines.
    pub fn with_entities_from(self, topic: &str) -> Self {
        Self { entity_source: topic.into(), read_from: topic.into(), ..self }
    }

    /// Of one hop of several: the topic that it reads, which is not the one where records were first, and the topic of the
    /// next hop with its partitions, if there is one.
    pub fn of_hop(self, read_from: &str, next: Option<(&str, i32)>) -> Self {
        Self {
            read_from: read_from.into(),
            next_hop: next.map(|(topic, partitions)| (topic.into(), partitions)),
            ..self
        }
    }

    /// Calls the source a file: the offsets of its records are lines.
    pub fn of_file(self) -> Self {
        // Version 1 has no other word than topic.
        Self { is_of_file: self.pipeline.verdict_schema == VerdictSchema::V2, ..self }
    }

    /// Sends reports of cancellations to `topic`.
    pub fn with_reports_to(self, topic: &str) -> Self {
        Self { reports_topic: topic.into(), ..self }
    }

    /// What makes its dead letters.
    pub fn dead_letters(&self) -> &DeadLetters {
        &self.dead_letters
    }

    /// What outputs take until they are committed.
    pub fn costs(&self) -> Costs {
        self.costs.clone()
    }

    /// What a batch says.
    ///
    /// # Errors
    /// As [`Detectors::verdicts`].
    pub fn encode(&self, outputs: Vec<Output>, detectors: &Detectors) -> Result<Encoded, DeviceError> {
        let entities: Vec<&ClosedEntity> = outputs.iter().filter_map(Output::closed).collect();
        let n_entities = entities.len();
        let (verdicts, scores) = detectors.judged(&entities, self.all_verdicts)?;
        let mut verdicts = verdicts.into_iter().enumerate();
        let Encoded { mut messages, mut truth, mut agreement, mut observations } = Encoded::default();
        for output in outputs {
            let observed = observed(&output);
            match output {
                Output::Closed(entity) => {
                    let (row, verdicts) = verdicts.next().unwrap_or_default();
                    if let Some((plan, observed)) = detectors.drift().plan().zip(observed) {
                        let scores = scores.iter().filter_map(|batch| batch.scores.values.get(row).copied());
                        observations.add(plan, observed, scores, &entity.features);
                    }
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
                    let source = self.source_of(&self.entity_source, entity.partition, entity.offsets);
                    self.publish(verdicts, Some(source), &mut messages);
                }
                Output::Windowed(found) => {
                    let verdicts: Verdicts = self.windowed(&found).into_iter().collect();
                    let anomalous = verdicts.iter().filter(|(_, verdict)| verdict.anomalous);
                    for (_, verdict) in anomalous.filter(|_| self.pipeline.label.is_some()) {
                        truth.add_found(found.truth.as_deref(), &verdict.detector);
                    }
                    let source = found
                        .offset
                        .filter(|_| !verdicts.is_empty())
                        .map(|offset| self.source_of(&self.entity_source, found.partition, vec![(offset, offset)]));
                    self.publish(verdicts, source, &mut messages);
                }
                Output::Erroneous(erroneous) => {
                    if let Erroneous::Entity { features, .. } = &erroneous
                        && let Some((plan, observed)) = detectors.drift().plan().zip(observed)
                    {
                        observations.add(plan, observed, std::iter::empty(), features);
                    }
                    messages.push(self.erroneous(erroneous));
                }
                Output::Cancellations(count) => messages.push(self.cancellations(count)),
                Output::Report(report) => messages.push(Message {
                    topic: self.reports_topic.clone(),
                    key: Some(report.partition.to_string()),
                    content: Content::Report(report),
                    source: None,
                }),
                Output::Forwarded(Forwarded { key, bytes }) => {
                    // A client puts records without a key anywhere.
                    let partition = key.is_empty().then_some(0);
                    self.send_on(Some(key), bytes, partition, &mut messages);
                }
                Output::Watermark(bytes) => {
                    let partitions = self.next_hop.as_ref().map_or(0, |(_, partitions)| *partitions);
                    (0..partitions).for_each(|to| self.send_on(None, bytes.clone(), Some(to), &mut messages));
                }
            }
        }
        self.costs.learn(n_entities, &messages);
        Ok(Encoded { messages, truth, agreement, observations })
    }

    fn send_on(&self, key: Option<String>, bytes: Vec<u8>, partition: Option<i32>, messages: &mut Vec<Message>) {
        if let Some((topic, _)) = &self.next_hop {
            let content = Content::ForNextHop { bytes, partition };
            messages.push(Message { topic: topic.clone(), key, content, source: None });
        }
    }

    fn source_of(&self, topic: &Arc<str>, partition: i32, offsets: Vec<(i64, i64)>) -> Source {
        Source { is_file: self.is_of_file, ..Source::in_topic(topic, partition, offsets) }
    }

    /// Turns the verdicts on an entity into messages: those of each detector that are wanted, and all of them together where
    /// one of them is.
    fn publish(&self, verdicts: Verdicts, source: Option<Source>, messages: &mut Vec<Message>) {
        // As of nearly all entities.
        if verdicts.is_empty() {
            return;
        }
        let named = source.as_ref().map(Source::of_verdict);
        let verdicts: Verdicts = match named {
            Some(source) => {
                verdicts.into_iter().map(|(topic, verdict)| (topic, verdict.found_in(source.clone()))).collect()
            }
            None => verdicts,
        };
        let is_wanted = |verdict: &Verdict| self.all_verdicts || verdict.anomalous;
        if let Some(topic) = self.verdicts_topic.as_ref().filter(|_| verdicts.iter().any(|(_, it)| is_wanted(it))) {
            let all: Vec<&Verdict> = verdicts.iter().map(|(_, verdict)| verdict).collect();
            messages.extend(EntityVerdict::of(&all).map(|verdict| Message {
                topic: topic.clone(),
                key: Some(verdict.key.clone()),
                content: Content::Entity(Box::new(verdict)),
                source: source.clone(),
            }));
        }
        let wanted = verdicts.into_iter().filter(|(_, verdict)| is_wanted(verdict));
        messages.extend(wanted.map(|(topic, verdict)| Message {
            topic,
            key: Some(verdict.key.clone()),
            content: Content::Verdict(Box::new(verdict.in_schema(self.pipeline.verdict_schema))),
            source: source.clone(),
        }));
    }

    /// The verdict on a record and its windows.
    fn windowed(&self, found: &WindowVerdict) -> Option<(Arc<str>, Verdict)> {
        let WindowVerdict { detector, summary, value, score, window, .. } = found;
        let (spec, topic) = (self.pipeline.zscores.get(*detector)?, self.zscore_topics.get(*detector)?);
        let is_anomalous = *score > f64::from(spec.threshold);
        // Nearly all are normal: of those nothing is put in words.
        (self.all_verdicts || is_anomalous)
            .then(|| (topic.clone(), Verdict::of_window(&self.pipeline, spec, summary, *value, (*score, window))))
    }

    fn erroneous(&self, erroneous: Erroneous) -> Message {
        match erroneous {
            Erroneous::Line { reasons, source: (partition, offset), item, raw } => {
                let source = self.source_of(&self.source, partition, vec![(offset, offset)]);
                self.dead_letters.line(&reasons, (source, item), &raw)
            }
            Erroneous::Entity { reasons, summary, known, features, partition, offsets } => {
                let names = self.pipeline.feature_names().into_iter();
                let features = names.zip(features.into_iter().map(Value::from)).collect();
                let source = self.source_of(&self.entity_source, partition, offsets);
                self.dead_letters.entity(ErroneousEntity { reasons, summary, known, features, source })
            }
            Erroneous::Lost { partition, first, last } => {
                self.dead_letters.lost(&self.read_from, partition, (first, last))
            }
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
        let content = Content::Cancellations(value);
        Message { topic, key: Some(self.pipeline.name.clone()), content, source: None }
    }
}

/// Which entity an output is about, where it is one with features.
fn observed(output: &Output) -> Option<Observed> {
    let (summary, partition, offsets) = match output {
        Output::Closed(entity) => (&entity.summary, entity.partition, &entity.offsets),
        Output::Erroneous(Erroneous::Entity { summary, partition, offsets, .. }) => (summary, *partition, offsets),
        Output::Erroneous(_)
        | Output::Windowed(_)
        | Output::Cancellations(_)
        | Output::Report(_)
        | Output::Forwarded(_)
        | Output::Watermark(_) => return None,
    };
    let first = offsets.first().map_or(-1, |(first, _)| *first);
    let identity = Identity::of_record(partition, first, &summary.key);
    Some(Observed { identity, time: summary.last_timestamp })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_names_its_window() {
        let encoder = Encoder::new(Arc::new(Pipeline::load("invoices").unwrap()), "purchases", false, usize::MAX);
        let count = CancellationCount { window_start: 0, window_end: 480_000, cancellations: 3 };
        insta::assert_snapshot!(
            String::from_utf8(encoder.cancellations(count).payload()).unwrap(),
            @r#"{"pipeline":"invoices","window_start":"1970-01-01T00:00:00Z","window_end":"1970-01-01T00:08:00Z","cancellations":3}"#
        );
    }
}
