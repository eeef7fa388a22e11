//! An open entity: what its lines so far add up to.

use std::sync::Arc;

use shared::features::Accumulators;
use shared::line::Value;
use shared::pipeline::Pipeline;
use shared::reason::Reason;
use shared::time::{Timestamp, format_timestamp};
use shared::verdict::EntitySummary;

use super::{ClosedEntity, Erroneous, Output};

/// An entity that may still get lines. Of the lines themselves only runs of offsets are kept.
#[derive(Debug)]
pub(super) struct OpenEntity {
    features: Accumulators,
    /// First value of each required column, then of the customer's.
    known: Box<[Option<Box<str>>]>,
    lines: u64,
    first_timestamp: Timestamp,
    last_timestamp: Timestamp,
    offsets: Vec<(i64, i64)>,
}

impl OpenEntity {
    pub(super) fn new(pipeline: &Pipeline, timestamp: Timestamp) -> Self {
        Self {
            features: Accumulators::new(&pipeline.features),
            known: known_columns(pipeline).map(|_| None).collect(),
            lines: 0,
            first_timestamp: timestamp,
            last_timestamp: timestamp,
            offsets: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, pipeline: &Pipeline, line: &[Value<'_>], timestamp: Timestamp, offset: i64) {
        self.features.add(&pipeline.features, line);
        for (known, column) in self.known.iter_mut().zip(known_columns(pipeline)) {
            if known.is_none() {
                *known = written(line[column]);
            }
        }
        self.lines += 1;
        self.first_timestamp = self.first_timestamp.min(timestamp);
        self.last_timestamp = self.last_timestamp.max(timestamp);
        match self.offsets.last_mut() {
            Some((_, last)) if *last + 1 == offset => *last = offset,
            _ => self.offsets.push((offset, offset)),
        }
    }

    pub(super) fn lines(&self) -> u64 {
        self.lines
    }

    /// The complete entity, valid or with every rule it breaks.
    pub(super) fn close(self, pipeline: &Pipeline, key: Arc<str>, partition: i32) -> Output {
        let features = self.features.values(&pipeline.features);
        let reasons = self.broken_rules(pipeline, &features);
        let customer = pipeline.entity.customer.and(self.known.last().cloned().flatten());
        let summary = EntitySummary {
            key: key.to_string(),
            lines: self.lines,
            customer: customer.map(Into::into),
            first_timestamp: self.first_timestamp,
            last_timestamp: self.last_timestamp,
        };
        if reasons.is_empty() {
            return Output::Closed(ClosedEntity { summary, features });
        }
        let columns = pipeline.entity.required.iter().map(|&column| pipeline.columns[column].name.clone());
        let known = columns.zip(&self.known).filter_map(|(name, value)| Some((name, value.as_deref()?.to_owned())));
        let (known, offsets) = (known.collect(), self.offsets);
        Output::Erroneous(Erroneous::Entity { reasons, known, summary, features, partition, offsets })
    }

    fn broken_rules(&self, pipeline: &Pipeline, features: &[f64]) -> Vec<Reason> {
        let name = |column: usize| pipeline.columns[column].name.clone();
        let required = pipeline.entity.required.iter().zip(&self.known);
        let mut reasons: Vec<Reason> = required
            .filter(|(_, value)| value.is_none())
            .map(|(&column, _)| Reason::MissingRequired(name(column)))
            .collect();
        let numbers = pipeline.features.iter().zip(features).filter(|(_, value)| !value.is_finite());
        // A missing date leaves its hour without a value: the missing date is the reason then.
        if reasons.is_empty() {
            reasons.extend(numbers.map(|(feature, _)| Reason::NotFinite(feature.name.clone())));
        }
        reasons
    }
}

fn known_columns(pipeline: &Pipeline) -> impl Iterator<Item = usize> + '_ {
    pipeline.entity.required.iter().copied().chain(pipeline.entity.customer)
}

fn written(value: Value<'_>) -> Option<Box<str>> {
    match value {
        Value::Missing => None,
        Value::Text(text) => Some(text.into()),
        Value::Integer(number) => Some(number.to_string().into()),
        Value::Float(number) => Some(number.to_string().into()),
        Value::Datetime(moment) => Some(format_timestamp(moment).into()),
    }
}
