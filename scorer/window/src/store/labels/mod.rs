//! What analysts say: of anomalies, of what they do not want to see again, and of alerts.

mod alert;
mod exception;
mod label;
pub(crate) mod moment;
mod precision;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

pub(crate) use alert::AlertEntry;
pub(crate) use exception::{Exception, ExceptionKind, Preview, Withdrawn, reasons_of};
pub(crate) use label::Label;
pub use label::{State, Word};
pub(crate) use precision::Precision;
pub use precision::Said;

use super::{Anomalies, Entity};
use crate::journal::{Entry, Keeping};

/// Labels that are kept; the oldest go first. The topic has them all.
const MOST: usize = 50_000;

/// Their bytes, about.
const MOST_BYTES: usize = 24 << 20;

/// Exceptions that are kept.
const MOST_EXCEPTIONS: usize = 1_000;

/// Words on alerts that are kept. What was said of the others holds as long as it would; only who says more of one takes its place.
const MOST_ALERTS: usize = 10_000;

/// Bytes of an entry that is read.
const LONGEST: usize = 64 << 10;

/// How far back a preview looks.
const PREVIEW_DAYS: u32 = 30;

const DAY: i64 = 86_400_000;

/// An entry with its version, which a write has to name.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Kept<T> {
    pub version: u64,
    #[serde(flatten)]
    pub entry: T,
}

/// Everything that analysts have said.
#[derive(Debug)]
pub(crate) struct Labels {
    by_id: HashMap<String, Kept<Label>>,
    by_version: BTreeMap<u64, String>,
    exceptions: HashMap<String, Kept<Exception>>,
    alerts: HashMap<String, Kept<AlertEntry>>,
    bytes: usize,
    pub keeping: Keeping,
    /// Whether everything that was kept before has been read.
    pub is_caught_up: bool,
    /// Changes with every entry.
    pub version: u64,
    pub unreadable: u64,
}

/// What tells the kinds of entries.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Label,
    Exception,
    Alert,
}

#[derive(Deserialize)]
struct Marked {
    kind: Kind,
}

impl Labels {
    pub(super) fn new() -> Self {
        Self {
            by_id: HashMap::new(),
            by_version: BTreeMap::new(),
            exceptions: HashMap::new(),
            alerts: HashMap::new(),
            bytes: 0,
            keeping: Keeping::Nowhere("nobody keeps them".to_owned()),
            is_caught_up: false,
            version: 0,
            unreadable: 0,
        }
    }

    /// Takes an entry in: it takes the place of those with its key before it.
    pub(crate) fn take(&mut self, Entry { key, value, version }: Entry) {
        self.version += 1;
        self.remove(&key);
        self.exceptions.remove(&key);
        self.alerts.remove(&key);
        let Some(value) = value else { return };
        if !self.read(key, &value, version) {
            self.unreadable += 1;
        }
    }

    /// Whether it can be read. The key says what an entry is about, whatever is in it.
    fn read(&mut self, key: String, value: &[u8], version: u64) -> bool {
        let Some(Marked { kind }) = (value.len() <= LONGEST).then(|| serde_json::from_slice(value).ok()).flatten()
        else {
            return false;
        };
        match kind {
            Kind::Label => {
                let Some(label) = serde_json::from_slice::<Label>(value).ok().filter(|label| label.id == key) else {
                    return false;
                };
                self.insert(key, Kept { version, entry: label });
            }
            Kind::Exception => {
                let Some(of) = serde_json::from_slice::<Exception>(value).ok().filter(|of| of.id == key) else {
                    return false;
                };
                self.exceptions.insert(key, Kept { version, entry: of });
                while self.exceptions.len() > MOST_EXCEPTIONS {
                    let oldest =
                        self.exceptions.iter().min_by_key(|(_, of)| of.entry.until).map(|(key, _)| key.clone());
                    let Some(oldest) = oldest else { break };
                    self.exceptions.remove(&oldest);
                }
            }
            Kind::Alert => {
                let Some(of) = serde_json::from_slice::<AlertEntry>(value).ok().filter(|of| of.id == key) else {
                    return false;
                };
                self.alerts.insert(key, Kept { version, entry: of });
                while self.alerts.len() > MOST_ALERTS {
                    let oldest = self.alerts.iter().min_by_key(|(_, of)| of.version).map(|(key, _)| key.clone());
                    let Some(oldest) = oldest else { break };
                    self.alerts.remove(&oldest);
                }
            }
        }
        true
    }

    fn insert(&mut self, key: String, label: Kept<Label>) {
        self.bytes += label.entry.bytes();
        self.by_version.insert(label.version, key.clone());
        self.by_id.insert(key, label);
        while self.by_id.len() > MOST || self.bytes > MOST_BYTES {
            let Some((_, oldest)) = self.by_version.pop_first() else { break };
            self.remove(&oldest);
        }
    }

    fn remove(&mut self, key: &str) {
        if let Some(label) = self.by_id.remove(key) {
            self.bytes -= label.entry.bytes();
            self.by_version.remove(&label.version);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    #[cfg(test)]
    fn counted_bytes(&self) -> (usize, usize) {
        (self.bytes, self.by_id.values().map(|label| label.entry.bytes()).sum())
    }

    pub(crate) fn get(&self, id: &str) -> Option<&Kept<Label>> {
        self.by_id.get(id)
    }

    pub(crate) fn exception(&self, id: &str) -> Option<&Kept<Exception>> {
        self.exceptions.get(id)
    }

    /// What was said of an alert or of a rule, by its key.
    pub(crate) fn alert(&self, key: &str) -> Option<&Kept<AlertEntry>> {
        self.alerts.get(key)
    }

    /// All exceptions, the newest first.
    pub(crate) fn exceptions(&self) -> Vec<&Kept<Exception>> {
        let mut all: Vec<_> = self.exceptions.values().collect();
        all.sort_by_key(|word| Reverse((word.entry.at, word.version)));
        all
    }

    /// How far somebody has come with an entity.
    pub(crate) fn state(&self, entity: &Entity) -> State {
        let said = self.get(&entity.id).map_or(State::Open, |label| label.entry.state());
        if said == State::Open && self.covering(entity).is_some() { State::Hidden } else { said }
    }

    /// The exception that covers an entity: each detector that calls it an anomaly does so for a reason that is excepted. Of
    /// several, the one that ends last.
    pub(crate) fn covering(&self, entity: &Entity) -> Option<&Kept<Exception>> {
        if self.exceptions.is_empty() {
            return None;
        }
        let (customer, features) = reasons_of(entity)?;
        let covering = self.exceptions.values().filter(|of| of.entry.covers(customer, &features, entity.at));
        covering.max_by_key(|of| of.entry.until)
    }

    /// What an exception would have hidden in the last days, as if nothing else were excepted or said: how many, how many of
    /// them were confirmed, and some of them.
    pub(crate) fn preview<'a>(
        &self,
        anomalies: &'a Anomalies,
        customer: &str,
        features: &[&str],
        now: i64,
    ) -> (Preview, Vec<&'a Entity>) {
        let since = now - i64::from(PREVIEW_DAYS) * DAY;
        let is_covered = |entity: &&Entity| {
            entity.at >= since
                && reasons_of(entity)
                    .is_some_and(|(of, found)| of == customer && found.iter().all(|it| features.contains(it)))
        };
        let covered: Vec<&Entity> = anomalies.newest().filter(is_covered).collect();
        let is_confirmed =
            |entity: &&&Entity| self.get(&entity.id).is_some_and(|it| it.entry.label == Some(Word::Anomaly));
        let confirmed = covered.iter().filter(is_confirmed).count();
        (Preview { days: PREVIEW_DAYS, anomalies: covered.len(), confirmed }, covered)
    }

    /// How many of these anomalies each exception hides.
    pub(crate) fn hidden_by(&self, anomalies: &Anomalies) -> HashMap<&str, usize> {
        let mut hidden = HashMap::new();
        for entity in anomalies.newest() {
            if self.state(entity) == State::Hidden
                && let Some(of) = self.covering(entity)
            {
                *hidden.entry(of.entry.id.as_str()).or_default() += 1;
            }
        }
        hidden
    }

    /// How often detectors are right. A label that names no detector is of those that the window knows to have found it.
    pub(crate) fn precision(&self, anomalies: &Anomalies) -> Precision {
        self.precision_since(anomalies, i64::MIN)
    }

    /// The same of what was scored since a moment.
    pub(crate) fn precision_since(&self, anomalies: &Anomalies, since: i64) -> Precision {
        let labels = self.by_id.values().filter(|label| label.entry.scored_or_said_at() >= since);
        Precision::of(labels.map(|Kept { entry, .. }| {
            let named: Vec<&str> = entry.verdicts.iter().map(|verdict| verdict.detector.as_str()).collect();
            if !named.is_empty() {
                return (entry, named);
            }
            let entity = anomalies.get(&entry.id).into_iter().flat_map(|entity| &entity.opinions);
            (entry, entity.filter(|opinion| opinion.anomalous).map(|opinion| opinion.detector.as_str()).collect())
        }))
    }
}
