//! What is read of a verdict's bytes.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::opinion::Opinion;

/// A verdict as far as lists and searches need it, and the whole of it.
#[derive(Debug)]
pub(super) struct Verdict {
    pub read: Read,
    pub opinion: Opinion,
    /// The message, JSON.
    pub json: Box<str>,
}

/// What a verdict says of its entity, as far as lists show it. Version 1 has less of it.
#[derive(Debug, Deserialize)]
pub(super) struct Read {
    pub pipeline: String,
    pub key: String,
    #[serde(default)]
    pub fields: Map<String, Value>,
    pub lines: u64,
    pub customer_id: Option<String>,
    pub event_time: Option<String>,
    pub first_timestamp: String,
    pub last_timestamp: String,
}

impl Verdict {
    /// The entity's name: that of the verdict without the detector. Version 1 names none, and has what tells entities apart.
    pub(super) fn entity_id(&self) -> String {
        let Self { read, opinion, .. } = self;
        let parts: Option<(&str, &str, &str)> = opinion.id.as_deref().and_then(|id| {
            let of_detector = id.strip_prefix(&read.pipeline)?.strip_prefix('/')?;
            let rest = of_detector.strip_prefix(&opinion.detector)?.strip_prefix('/')?;
            let (partition, rest) = rest.split_once('/')?;
            let (offset, key) = rest.split_once('/')?;
            Some((partition, offset, key))
        });
        match parts {
            Some((partition, offset, key)) => format!("{}/{partition}/{offset}/{key}", read.pipeline),
            None => format!("{}/{}/{}", read.pipeline, read.first_timestamp, read.key),
        }
    }
}

/// The verdicts that a message holds: one of one detector, or those of all detectors on an entity. `None` of anything else.
pub(super) fn verdicts_of(payload: &[u8]) -> Option<Vec<Verdict>> {
    let text = std::str::from_utf8(payload).ok()?;
    // Most messages are verdicts of one detector, and these are not taken apart.
    if let Ok(opinion) = serde_json::from_str::<Opinion>(text) {
        return Some(vec![Verdict { read: serde_json::from_str(text).ok()?, opinion, json: text.into() }]);
    }
    let mut shared: Map<String, Value> = serde_json::from_str(text).ok()?;
    let Value::Object(detectors) = shared.shift_remove("detectors")? else { return None };
    ["anomalous_to", "anomalous", "severity", "reason"].iter().for_each(|name| {
        shared.shift_remove(*name);
    });
    let id = shared.get("id").and_then(Value::as_str).map(str::to_owned);
    detectors.into_iter().map(|(name, own)| of_detector(&shared, id.as_deref(), name, own)).collect()
}

/// A detector's part of a message on an entity, as a verdict of its own.
fn of_detector(shared: &Map<String, Value>, id: Option<&str>, name: String, own: Value) -> Option<Verdict> {
    let Value::Object(own) = own else { return None };
    let mut whole = shared.clone();
    whole.extend(own);
    let pipeline = whole.get("pipeline").and_then(Value::as_str)?;
    let place = id.and_then(|id| id.strip_prefix(pipeline)?.strip_prefix('/'));
    if let Some(id) = place.map(|place| format!("{pipeline}/{name}/{place}")) {
        whole.insert("id".to_owned(), Value::String(id));
    }
    whole.insert("detector".to_owned(), Value::String(name));
    let json = serde_json::to_string(&whole).ok()?;
    let whole = Value::Object(whole);
    Some(Verdict {
        read: Read::deserialize(&whole).ok()?,
        opinion: Opinion::deserialize(&whole).ok()?,
        json: json.into(),
    })
}
