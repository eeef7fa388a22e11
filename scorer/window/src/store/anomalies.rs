//! The newest entities with anomalies, one each however many detectors found it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::Serialize;

use super::entity::Entity;
use super::labels::Labels;
use super::query::{Page, Query, Sort};
use super::severity::Severity;
use super::timeline::Timeline;
use super::verdict::Verdict;

/// When an entity was first seen, and a number that tells those of one moment apart.
type Place = (i64, u64);

/// The newest entities, within bounds.
#[derive(Debug)]
pub(crate) struct Anomalies {
    by_time: BTreeMap<Place, Entity>,
    by_id: HashMap<Arc<str>, Place>,
    pub timeline: Timeline,
    bytes: usize,
    most: usize,
    most_bytes: usize,
    next: u64,
    /// Entities that had to go.
    pub evicted: u64,
    /// Changes with every verdict.
    pub version: u64,
}

/// The anomalies of a customer, or of an entity without one.
#[derive(Debug, Serialize)]
pub(crate) struct Group<'a> {
    /// The customer, or the entity's key.
    pub name: &'a str,
    /// Whether it is a customer.
    pub is_customer: bool,
    pub anomalies: usize,
    pub worst: Option<Severity>,
    /// When the last one was scored.
    pub last: i64,
    /// The newest of them, the newest first: when, how bad, and which.
    pub marks: Vec<(i64, Option<Severity>, &'a str)>,
}

/// The most marks of a group.
const MARKS: usize = 60;

/// A field is what entities have in common where no more than one in so many shares its value, or just a few do: most share
/// their country or their currency.
const ONE_IN: usize = 20;
const FEW: usize = 3;

impl Anomalies {
    pub(super) fn new(most: usize, most_bytes: usize) -> Self {
        Self {
            by_time: BTreeMap::new(),
            by_id: HashMap::new(),
            timeline: Timeline::default(),
            bytes: 0,
            most,
            most_bytes,
            next: 0,
            evicted: 0,
            version: 0,
        }
    }

    /// Adds a verdict: to its entity, where that is there; else it begins one, if that is an anomaly to any detector. Gives the
    /// entity's name where it says something new of it.
    pub(super) fn add(&mut self, verdict: Verdict, at: i64, is_anomaly: bool) -> Option<String> {
        let id = verdict.entity_id();
        let (detector, anomalous) = (verdict.opinion.detector.clone(), verdict.opinion.anomalous);
        let is_news = match self.by_id.get(id.as_str()).and_then(|place| self.by_time.get_mut(place)) {
            Some(entity) => {
                self.bytes -= entity.bytes();
                let is_news = entity.add(verdict);
                self.bytes += entity.bytes();
                is_news
            }
            None if !is_anomaly => false,
            None => {
                self.insert(Entity::new(id.clone(), verdict, at));
                true
            }
        };
        if is_news {
            self.version += 1;
            if anomalous {
                self.timeline.add(at, &detector);
            }
            self.evict();
        }
        is_news.then_some(id)
    }

    fn insert(&mut self, entity: Entity) {
        let place = (entity.at, self.next);
        self.next += 1;
        self.bytes += entity.bytes();
        self.by_id.insert(entity.id.as_str().into(), place);
        self.by_time.insert(place, entity);
    }

    fn evict(&mut self) {
        while self.by_time.len() > self.most || self.bytes > self.most_bytes {
            let Some((_, oldest)) = self.by_time.pop_first() else { break };
            self.bytes -= oldest.bytes();
            self.by_id.remove(oldest.id.as_str());
            self.evicted += 1;
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.by_time.len()
    }

    /// Bytes that the entities take, about.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// When the oldest was scored.
    pub(crate) fn oldest(&self) -> Option<i64> {
        self.by_time.first_key_value().map(|((at, _), _)| *at)
    }

    #[cfg(test)]
    pub(super) fn counted_bytes(&self) -> usize {
        self.by_time.values().map(Entity::bytes).sum()
    }

    #[cfg(test)]
    pub(super) fn by_id_len(&self) -> usize {
        self.by_id.len()
    }

    pub(crate) fn get(&self, id: &str) -> Option<&Entity> {
        self.by_time.get(self.by_id.get(id)?)
    }

    /// All anomalies, the newest first.
    pub(crate) fn newest(&self) -> impl Iterator<Item = &Entity> {
        self.by_time.values().rev().filter(|entity| entity.worst().is_some())
    }

    /// Those that are asked for.
    pub(crate) fn find(&self, query: &Query, labels: &Labels, most: usize) -> Page<'_> {
        let is_wanted = query.filter(labels);
        let mut found: Vec<&Entity> = self.newest().filter(|entity| is_wanted(entity)).collect();
        if query.sort == Sort::Worst {
            // Of equally bad ones, the newest first: the sort keeps their order.
            found.sort_by_cached_key(|entity| std::cmp::Reverse(entity.worst().map(|worst| worst.badness())));
        }
        let matching = found.len();
        Page { matching, entities: found.into_iter().skip(query.skip).take(most).collect() }
    }

    /// Who has how many, the most first.
    pub(crate) fn groups(&self, since: Option<i64>, most: usize) -> (usize, Vec<Group<'_>>) {
        let mut groups: HashMap<(bool, &str), Group<'_>> = HashMap::new();
        for entity in self.newest().filter(|entity| since.is_none_or(|since| entity.at >= since)) {
            let (is_customer, name) = (entity.customer.is_some(), entity.customer.as_ref().unwrap_or(&entity.key));
            let last = entity.at;
            let group = groups.entry((is_customer, name)).or_insert_with(|| Group {
                name,
                is_customer,
                anomalies: 0,
                worst: None,
                last,
                marks: Vec::new(),
            });
            group.anomalies += 1;
            group.worst = group.worst.max(entity.severity);
            if group.marks.len() < MARKS {
                group.marks.push((entity.at, entity.severity, &entity.id));
            }
        }
        let mut groups: Vec<_> = groups.into_values().collect();
        groups.sort_by(|a, b| {
            let key = |group: &Group<'_>| (group.anomalies, group.worst, group.last);
            key(b).cmp(&key(a)).then(a.name.cmp(b.name))
        });
        let all = groups.len();
        groups.truncate(most);
        (all, groups)
    }

    /// The other entities that have something in common with one: for its customer, and for each text among its fields, those
    /// with the same, the newest first. What nearly all have is left out.
    pub(crate) fn related(&self, entity: &Entity, most: usize) -> Vec<(String, String, Vec<&Entity>)> {
        let few = (self.len() / ONE_IN).max(FEW);
        let others = || self.newest().filter(|other| other.id != entity.id);
        let mut related = Vec::new();
        if let Some(customer) = &entity.customer {
            let of_customer = others().filter(|other| other.customer.as_ref() == Some(customer)).take(most).collect();
            related.push(("customer".to_owned(), customer.clone(), of_customer));
        }
        for (name, value) in &entity.fields {
            let Some(text) = value.as_str().filter(|text| entity.customer.as_deref() != Some(text)) else { continue };
            let same: Vec<&Entity> =
                others().filter(|other| other.fields.get(name) == Some(value)).take(few + 1).collect();
            if !same.is_empty() && same.len() <= few {
                related.push((name.clone(), text.to_owned(), same.into_iter().take(most).collect()));
            }
        }
        related
    }
}
