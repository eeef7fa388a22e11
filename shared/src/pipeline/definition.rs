//! What the features of an entity depend on, as a hash: two verdicts with the same one are of features that mean the same.

use records::schema::{Column, Schema};

use super::{Entity, Scored};
use crate::fingerprint::fingerprint;

/// The first 8 hexadecimal digits of the SHA-256 of everything that decides which records are valid, which of them make an
/// entity, and what its features are. Clock, limits, topics, detectors and labels have no part in it.
pub(super) fn of(schema: &Schema, entity: &Entity, scored: &Scored) -> String {
    let mut facts: Vec<String> = schema.columns.iter().map(column).collect();
    facts.extend(schema.currency.iter().map(|currency| {
        let name = |column: usize| &schema.columns[column].name;
        // Rates change every day.
        format!("currency {} by {} in {}", name(currency.amount), name(currency.column), currency.base)
    }));
    facts.push(format!("key {}", schema.columns[entity.key].name));
    facts.extend(entity.required.iter().map(|&column| format!("required {}", schema.columns[column].name)));
    match scored {
        Scored::Sessions(sessions) => {
            facts.push(format!("session_gap {} ms", sessions.gap));
            let expression = |feature: &features::aggregates::Feature| feature.expression(&schema.columns);
            facts.extend(sessions.features.iter().map(|it| format!("feature {}={}", it.name, expression(it))));
        }
        Scored::Records(records) => {
            facts.push(format!("time {}", schema.columns[records.features.time()].name));
            facts.extend(records.features.layout());
        }
    }
    fingerprint(facts.join("\n").as_bytes())[..8].to_owned()
}

fn column(column: &Column) -> String {
    let Column { name, kind, range, if_missing, .. } = column;
    format!("column {name} {kind:?} {range:?} {if_missing:?}")
}
