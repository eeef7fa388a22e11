//! What outputs take on their way: as they are, as messages, and as what the client keeps of these until they are
//! acknowledged. About, and rather more than less.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use shared::allocation::allocated;
use shared::pipeline::{FieldValue, Pipeline, ZScoreSpec};
use shared::verdict::EntitySummary;

use super::message::{Content, Message};
use crate::core::{Erroneous, Forwarded, Output};

/// A verdict without its features: its texts, its JSON, and the client's copy of that.
const VERDICT_BYTES: usize = 4 << 10;

/// A feature of a verdict: its number, what explains it, in its JSON, and in the client's copy.
const FEATURE_BYTES: usize = 1 << 10;

/// A field of a verdict that it repeats of the entity.
const FIELD_BYTES: usize = 512;

/// A verdict on a record of a window.
const WINDOW_VERDICT_BYTES: usize = VERDICT_BYTES + 3 * FEATURE_BYTES;

/// A message that is neither a verdict nor erroneous.
const MESSAGE_BYTES: usize = 1 << 10;

/// A value in a map, or in a list, beside its text.
const VALUE_BYTES: usize = 160;

/// How much of what may be published is expected to be before anything was: anomalies are few.
const EXPECTED_ANOMALIES: (usize, usize) = (1, 8);

/// What outputs take until they are committed. How many verdicts an entity has is learned: where all are published as many
/// as there are detectors, and else hardly any, until there are more.
#[derive(Debug, Clone)]
pub struct Costs {
    /// Bytes of the verdicts on an entity: expected, and at most.
    expected: Arc<AtomicUsize>,
    most: usize,
    /// The scores beyond which the verdicts on records of windows are published.
    thresholds: Arc<[f64]>,
    /// How many partitions of the next hop are told how far one is.
    next_partitions: usize,
}

impl Costs {
    /// Nothing is learned yet.
    pub(crate) fn new(pipeline: &Pipeline, all_verdicts: bool) -> Self {
        let fields = pipeline.fields.names().count() * FIELD_BYTES;
        let n_verdicts = pipeline.detectors.len() + usize::from(pipeline.verdicts_topic.is_some());
        let all = n_verdicts * (VERDICT_BYTES + pipeline.n_features() * FEATURE_BYTES + fields);
        let expected = if all_verdicts { all } else { all / EXPECTED_ANOMALIES.1 * EXPECTED_ANOMALIES.0 };
        let threshold = |spec: &ZScoreSpec| if all_verdicts { f64::NEG_INFINITY } else { f64::from(spec.threshold) };
        let thresholds = pipeline.zscores.iter().map(threshold).collect();
        let next_partitions = pipeline.hop().map_or(0, |hop| usize::try_from(hop.partitions).unwrap_or(0));
        Self { expected: Arc::new(AtomicUsize::new(expected)), most: all, thresholds, next_partitions }
    }

    /// Bytes that an output takes until it is committed.
    pub fn of(&self, output: &Output) -> usize {
        let own = size_of::<Output>();
        own + match output {
            Output::Closed(entity) => {
                let numbers = allocated(size_of_val(&*entity.features)) + allocated(size_of_val(&*entity.offsets));
                // Runs of offsets are in each verdict's source.
                let runs = 2 * size_of_val(&*entity.offsets);
                // While it is scored, it is there twice.
                own + 2 * numbers + runs + of_summary(&entity.summary) + self.expected.load(Ordering::Relaxed)
            }
            Output::Windowed(verdict) => {
                let is_published = self.thresholds.get(verdict.detector).is_some_and(|most| verdict.score > *most);
                of_summary(&verdict.summary) + if is_published { WINDOW_VERDICT_BYTES } else { 0 }
            }
            // As it is, as a value, as JSON, and as the client's copy of that.
            Output::Erroneous(Erroneous::Line { raw, .. }) => raw.len() + 3 * escaped(raw) + MESSAGE_BYTES,
            Output::Erroneous(Erroneous::Entity { summary, known, features, offsets, .. }) => {
                let texts: usize = known.iter().map(|(name, value)| name.len() + value.len()).sum();
                let values = known.len() + features.len() + 2 * offsets.len();
                of_summary(summary) + 4 * texts + values * 2 * VALUE_BYTES + MESSAGE_BYTES
            }
            Output::Erroneous(Erroneous::Lost { .. }) | Output::Cancellations(_) => MESSAGE_BYTES,
            Output::Report(report) => MESSAGE_BYTES + size_of_val(&*report.panes),
            // As it is, as a message, as its bytes, and as the client's copy of these.
            Output::Forwarded(Forwarded { key, bytes }) => MESSAGE_BYTES + 4 * (key.len() + bytes.len()),
            Output::Watermark(bytes) => self.next_partitions * (MESSAGE_BYTES + 3 * bytes.len()),
        }
    }

    /// Learns from a batch what the verdicts on so many entities take: twice as much is expected of the next, and less only by
    /// and by.
    pub(super) fn learn(&self, n_entities: usize, messages: &[Message]) {
        if n_entities == 0 {
            return;
        }
        let verdict = |message: &Message| match &message.content {
            Content::Verdict(verdict) => of_verdict(verdict.features.len(), verdict.fields.len()),
            Content::Entity(verdict) => of_verdict(verdict.features.len(), verdict.fields.len()),
            Content::Erroneous(_) | Content::Cancellations(_) | Content::Report(_) | Content::ForNextHop { .. } => 0,
        };
        let found = messages.iter().map(verdict).sum::<usize>() / n_entities;
        let before = self.expected.load(Ordering::Relaxed);
        self.expected.store((2 * found).max(before - before / 8).min(self.most), Ordering::Relaxed);
    }
}

fn of_verdict(n_features: usize, n_fields: usize) -> usize {
    VERDICT_BYTES + n_features * FEATURE_BYTES + n_fields * FIELD_BYTES
}

fn of_summary(summary: &EntitySummary) -> usize {
    let customer = summary.customer.as_ref().map_or(0, |customer| customer.len());
    let field = |field: &FieldValue| match field {
        FieldValue::Text(text) => size_of::<FieldValue>() + allocated(text.len()),
        FieldValue::Missing | FieldValue::Number(_) => size_of::<FieldValue>(),
    };
    let fields: usize = summary.fields.iter().map(field).sum();
    // In the output and in what is made of it.
    2 * (allocated(summary.key.len()) + allocated(customer) + fields)
}

/// The length of bytes as a text in JSON, at most.
fn escaped(raw: &[u8]) -> usize {
    raw.iter()
        .map(|byte| match byte {
            b'"' | b'\\' => 2,
            b' '..=b'~' => 1,
            _ => 6,
        })
        .sum()
}
