//! An entity that a detector called anomalous, with what every detector says of it.

use serde::Serialize;
use serde_json::{Map, Value};

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

/// What a detector says of an entity, in short.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Opinion {
    pub detector: String,
    pub anomalous: bool,
    pub severity: Option<Severity>,
    pub reason: Option<String>,
    pub score: f64,
    pub threshold: f64,
    pub ratio: Option<f64>,
    pub p_value: Option<f64>,
}

impl Entity {
    /// The entity of a first verdict.
    pub(super) fn new(id: String, Verdict { read, json }: Verdict, at: i64) -> Self {
        let opinion = Opinion::of(&read);
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
    pub(super) fn add(&mut self, Verdict { read, json }: Verdict) -> bool {
        if self.opinions.iter().any(|opinion| opinion.detector == read.detector) {
            return false;
        }
        self.opinions.push(Opinion::of(&read));
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
    pub(super) fn worst(&self) -> Option<&Opinion> {
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

impl Opinion {
    fn of(read: &Read) -> Self {
        Self {
            detector: read.detector.clone(),
            anomalous: read.anomalous,
            severity: read.severity,
            reason: read.reason.clone(),
            score: read.score,
            threshold: read.threshold,
            ratio: read.ratio,
            p_value: read.p_value,
        }
    }

    /// What is worse is larger: the level first, then how rare the score is, then how far it is beyond the threshold.
    pub(super) fn badness(&self) -> (Option<Severity>, Rank, Rank) {
        (self.severity, Rank(-self.p_value.unwrap_or(1.0)), Rank(self.ratio.unwrap_or(0.0)))
    }
}

/// A number in the order of numbers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rank(f64);

impl PartialEq for Rank {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Rank {}

impl PartialOrd for Rank {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Rank {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}
