//! What the features of an entity depend on, in few bytes: two verdicts whose definitions are the same one are of features that
//! mean the same. And what a model has to have in common with a pipeline, word by word, so that what differs can be told.

use std::collections::BTreeMap;

use records::schema::{Column, Schema};
use serde::{Deserialize, Serialize};

use super::{Entity, Scored};
use crate::fingerprint::fingerprint;

/// How far a rate may move before a model is doubted: days move it by less.
const MOST_RATE_CHANGE: f64 = 1.25;

/// The first 8 hexadecimal digits of the SHA-256 of everything that decides which records are valid, which of them make an
/// entity, and what its features are. Clock, limits, topics, detectors and labels have no part in it.
pub(super) fn of(schema: &Schema, entity: &Entity, scored: &Scored) -> String {
    // Features never read the amounts as they came.
    let original = schema.currency.as_ref().and_then(|currency| currency.original);
    let columns = schema.columns.iter().enumerate().filter(|(index, _)| Some(*index) != original);
    let mut facts: Vec<String> = columns.map(|(_, it)| column(it)).collect();
    facts.extend(schema.columns.iter().filter_map(json));
    facts.extend((!schema.json.is_plain()).then(|| format!("messages {:?}", schema.json)));
    facts.extend(currency(schema));
    facts.push(format!("key {}", schema.columns[entity.key].name));
    facts.extend(required(schema, entity));
    match scored {
        Scored::Sessions(sessions) => {
            facts.push(format!("session_gap {} ms", sessions.gap));
            facts.extend(features(schema, scored));
        }
        Scored::Records(records) => {
            facts.push(format!("time {}", schema.columns[records.features.time()].name));
            facts.extend(records.features.layout());
        }
    }
    digits(&facts)
}

/// What a model was trained for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Definition {
    /// The first 8 hexadecimal digits of the SHA-256 of the meaning.
    pub fingerprint: String,
    /// What the features mean: how they are computed, and from which columns. Another meaning needs another model.
    pub meaning: Vec<String>,
    /// Which records are valid, and how much is remembered. A rule may be mended without a new model.
    pub rules: Vec<String>,
    /// What one unit of each currency is in the base.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rates: BTreeMap<String, f64>,
}

impl Definition {
    /// What a model of this pipeline is trained for.
    pub(super) fn new(schema: &Schema, entity: &Entity, scored: &Scored) -> Self {
        let mut used = used_columns(entity, scored);
        if let (Scored::Sessions(_), Some(key)) = (scored, &schema.key) {
            used.extend(&key.parts);
        }
        let used = || schema.columns.iter().enumerate().filter(|(index, _)| used.contains(index)).map(|(_, it)| it);
        let type_of = |column: &Column| format!("column {} {:?}", column.name, column.kind);
        let mut meaning: Vec<String> = used().map(type_of).collect();
        meaning.extend(used().filter_map(|column| Some(format!("missing {} is {}", column.name, column.if_missing?))));
        meaning.extend(currency(schema));
        meaning.extend(features(schema, scored));
        let range = |column: &Column| {
            let (least, most) = column.range;
            (least, most) != (f64::NEG_INFINITY, f64::INFINITY)
        };
        let mut rules: Vec<String> = used()
            .filter(|column| range(column))
            .map(|column| format!("range {} {:?}", column.name, column.range))
            .collect();
        rules.extend(required(schema, entity));
        match scored {
            Scored::Sessions(_) => meaning.push(format!("key {}", schema.columns[entity.key].name)),
            Scored::Records(records) => {
                meaning.push(format!("time {}", schema.columns[records.features.time()].name));
                rules.extend(records.features.spans());
            }
        }
        // Where columns stand in a file of another order does not matter.
        meaning.sort_unstable();
        let rates = schema.currency.as_ref().map_or_else(BTreeMap::new, |currency| currency.rates.clone());
        Self { fingerprint: digits(&meaning), meaning, rules, rates }
    }

    /// Fails where features of `other`, a pipeline's definition, mean something else than those of this one, a model's.
    pub(crate) fn check(&self, other: &Self) -> Result<(), String> {
        if self.meaning == other.meaning {
            return Ok(());
        }
        let lacks = |a: &[String], b: &[String]| {
            let missing = a.iter().filter(|fact| !b.contains(fact)).map(|fact| format!("`{fact}`"));
            missing.collect::<Vec<_>>().join(", ")
        };
        let (was, is) = (lacks(&self.meaning, &other.meaning), lacks(&other.meaning, &self.meaning));
        let or_nothing = |facts: String| if facts.is_empty() { "nothing more".to_owned() } else { facts };
        Err(format!(
            "it was trained for the definition {} and the pipeline file has {}: the model has {} and the file {}; train it \
             again",
            self.fingerprint,
            other.fingerprint,
            or_nothing(was),
            or_nothing(is)
        ))
    }

    /// What differs between a model's definition and a pipeline's and may be meant.
    pub(crate) fn doubts(&self, other: &Self) -> Vec<String> {
        let added = other.rules.iter().filter(|rule| !self.rules.contains(rule)).map(|rule| format!("`{rule}` is new"));
        let gone = self.rules.iter().filter(|rule| !other.rules.contains(rule)).map(|rule| format!("`{rule}` is gone"));
        let has_moved = |(name, now): (&String, &f64)| {
            let was = self.rates.get(name)?;
            let factor = (now / was).max(was / now);
            (factor > MOST_RATE_CHANGE).then(|| format!("the rate of {name} was {was} and is {now}"))
        };
        added.chain(gone).chain(other.rates.iter().filter_map(has_moved)).collect()
    }
}

/// The columns on whose values features depend.
fn used_columns(entity: &Entity, scored: &Scored) -> Vec<usize> {
    match scored {
        Scored::Sessions(sessions) => {
            sessions.features.iter().flat_map(|feature| feature.columns()).chain([entity.key]).collect()
        }
        Scored::Records(records) => {
            let keys = records.features.relations().iter().map(|relation| relation.key);
            [records.features.columns(), records.features.places()].concat().into_iter().chain(keys).collect()
        }
    }
}

fn features(schema: &Schema, scored: &Scored) -> Vec<String> {
    match scored {
        Scored::Sessions(sessions) => {
            let of =
                |it: &features::aggregates::Feature| format!("feature {}={}", it.name, it.expression(&schema.columns));
            sessions.features.iter().map(of).collect()
        }
        Scored::Records(records) => {
            let of = |it: &features::history::RecordFeature| format!("feature {}={}", it.name, it.expression());
            records.features.features().iter().map(of).collect()
        }
    }
}

fn currency(schema: &Schema) -> Option<String> {
    let name = |column: usize| &schema.columns[column].name;
    // Rates change every day.
    let currency = schema.currency.as_ref()?;
    Some(format!("currency {} by {} in {}", name(currency.amount), name(currency.column), currency.base))
}

fn required<'a>(schema: &'a Schema, entity: &'a Entity) -> impl Iterator<Item = String> + 'a {
    entity.required.iter().map(|&column| format!("required {}", schema.columns[column].name))
}

fn digits(facts: &[String]) -> String {
    fingerprint(facts.join("\n").as_bytes())[..8].to_owned()
}

/// How JSON writes a column, where that is not as usual. What is known of labels has no part in it.
fn json(column: &Column) -> Option<String> {
    let converts = column.converts && !column.is_lenient;
    let is_usual = column.path.is_none() && !converts;
    (!is_usual).then(|| format!("json {} at {} converts {converts}", column.name, column.place()))
}

fn column(column: &Column) -> String {
    let Column { name, kind, range, if_missing, .. } = column;
    format!("column {name} {kind:?} {range:?} {if_missing:?}")
}
