//! An entity that a detector called anomalous, with what every detector says of it.

use serde::Serialize;
use serde_json::{Map, Value};

use super::opinion::Opinion;
use super::severity::Severity;
use super::verdict::{Read, Verdict};

/// What an entity takes beside the texts of its verdicts, about: indexes, and what lists show of it.
const OVERHEAD: usize = 512;

/// What a list shows of an entity.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Entity {
    /// Its name, the same whenever it is judged again.
    pub id: String,
    pub key: String,
    pub customer: Option<String>,
    /// When the first of its verdicts was made, in milliseconds since 1970.
    pub at: i64,
    pub event_time: String,
    pub lines: u64,
    /// The worst that a detector says.
    pub severity: Option<Severity>,
    /// The detector that says so.
    pub worst_detector: String,
    /// Why, in its words.
    pub reason: Option<String>,
    pub fields: Map<String, Value>,
    /// What the detectors say, as far as that was published.
    pub opinions: Vec<Opinion>,
    /// Their messages, in the same order.
    #[serde(skip)]
    pub messages: Vec<Box<str>>,
}

impl Entity {
    /// The entity of a first verdict.
    pub(super) fn new(id: String, Verdict { read, opinion, json }: Verdict, at: i64) -> Self {
        let Read { key, customer_id, fields, lines, event_time, last_timestamp, .. } = read;
        let mut entity = Self {
            id,
            key,
            customer: customer_id,
            at,
            event_time: event_time.unwrap_or(last_timestamp),
            lines,
            severity: None,
            worst_detector: String::new(),
            reason: None,
            fields,
            opinions: vec![opinion],
            messages: vec![json],
        };
        entity.choose_worst();
        entity
    }

    /// Adds what another detector says. `false` where it has spoken already: the same records give the same verdict.
    pub(super) fn add(&mut self, Verdict { opinion, json, .. }: Verdict) -> bool {
        if self.opinions.iter().any(|known| known.detector == opinion.detector) {
            return false;
        }
        self.opinions.push(opinion);
        self.messages.push(json);
        self.choose_worst();
        true
    }

    fn choose_worst(&mut self) {
        if let Some(worst) = self.worst() {
            let (severity, detector, reason) = (worst.severity, worst.detector.clone(), worst.reason.clone());
            (self.severity, self.worst_detector, self.reason) = (severity, detector, reason);
        }
    }

    /// The opinion of the detector that says the worst; of several, the first one's.
    pub(crate) fn worst(&self) -> Option<&Opinion> {
        let anomalous = self.opinions.iter().filter(|opinion| opinion.anomalous);
        anomalous.reduce(|worst, next| if next.badness() > worst.badness() { next } else { worst })
    }

    /// Bytes that it takes, about.
    pub(super) fn bytes(&self) -> usize {
        let messages: usize = self.messages.iter().map(|message| message.len()).sum();
        // The texts of lists repeat a part of the messages.
        OVERHEAD + messages + messages / 2
    }

    /// The texts that a search looks at.
    pub(super) fn texts(&self) -> impl Iterator<Item = &str> {
        let of_fields = self.fields.values().filter_map(Value::as_str);
        let reasons = self.opinions.iter().filter_map(|opinion| opinion.reason.as_deref());
        [Some(self.key.as_str()), self.customer.as_deref()].into_iter().flatten().chain(reasons).chain(of_fields)
    }
}
