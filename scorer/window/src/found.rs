//! What was found, for whoever shows it without pages: a terminal, a report. It is the same store that the pages look
//! into.

use std::collections::BTreeMap;

use crate::intake::Committed;
use crate::journal::Entry;
use crate::store::labels::{Said, State};
use crate::store::{Limits, Query, Row, Severity, Sort, Store};

/// What was found, and what analysts say of it, within bounds.
#[derive(Debug)]
pub struct Found {
    store: Store,
}

/// Which anomalies are wanted. What an exception hides never is.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Those that this detector calls anomalous.
    pub detector: Option<String>,
    /// Those of this severity, and worse ones.
    pub severity: Option<Severity>,
    /// Those that were scored at this moment or later, in milliseconds since 1970.
    pub since: Option<i64>,
    /// Those too of which it is known what they are.
    pub is_closed_wanted: bool,
}

/// An exception that is in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InForce<'a> {
    /// For whom.
    pub customer: &'a str,
    /// For which reasons: features.
    pub features: &'a [String],
    /// What was scored before this moment is hidden.
    pub until: i64,
    /// Why.
    pub note: &'a str,
    /// Who wrote it.
    pub by: &'a str,
    /// How many of the anomalies it hides.
    pub hides: usize,
}

/// Erroneous messages in numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ErrorCounts<'a> {
    /// Messages.
    pub messages: usize,
    /// Messages that had to go at the limit, and are in no other number.
    pub evicted: u64,
    /// Messages by reason; one may have several.
    pub by_reason: BTreeMap<&'a str, usize>,
}

impl Found {
    /// Nothing yet.
    pub fn new(limits: Limits) -> Self {
        Self { store: Store::new(limits) }
    }

    /// Takes a message in, and gives the names of the entities that it says something new of.
    pub fn take(&mut self, committed: &Committed) -> Vec<String> {
        self.store.take(committed)
    }

    /// Takes in what an analyst says.
    pub fn hear(&mut self, entry: Entry) {
        self.store.labels.take(entry);
    }

    /// An anomaly, where it is there and wanted.
    pub fn row(&self, id: &str, wanted: &Wanted) -> Option<Row<'_>> {
        let entity = self.store.anomalies.get(id).filter(|entity| entity.worst().is_some())?;
        let is_wanted = wanted.query().filter(&self.store.labels)(entity);
        Some(Row::of(entity, &self.store.labels)).filter(|row| is_wanted && wanted.has_state(row))
    }

    /// Whether an anomaly is there, wanted or not.
    pub fn has(&self, id: &str) -> bool {
        self.store.anomalies.get(id).is_some()
    }

    /// The anomalies that are wanted, the newest first.
    pub fn newest(&self, wanted: &Wanted) -> Vec<Row<'_>> {
        self.find(wanted, Sort::Newest)
    }

    /// The anomalies that are wanted, the worst first; of equally bad ones, the newest.
    pub fn worst(&self, wanted: &Wanted) -> Vec<Row<'_>> {
        self.find(wanted, Sort::Worst)
    }

    fn find(&self, wanted: &Wanted, sort: Sort) -> Vec<Row<'_>> {
        let labels = &self.store.labels;
        let page = self.store.anomalies.find(&Query { sort, ..wanted.query() }, labels, usize::MAX);
        page.entities.into_iter().map(|entity| Row::of(entity, labels)).filter(|row| wanted.has_state(row)).collect()
    }

    /// Every anomaly, hidden ones too, the newest first.
    pub fn all(&self) -> impl Iterator<Item = Row<'_>> {
        self.store.anomalies.newest().map(|entity| Row::of(entity, &self.store.labels))
    }

    /// Entities that had to go at the limit, the oldest first.
    pub fn evicted(&self) -> u64 {
        self.store.anomalies.evicted
    }

    /// Messages and entries that could not be read.
    pub fn unreadable(&self) -> u64 {
        self.store.unreadable + self.store.labels.unreadable
    }

    /// What analysts said of each detector's anomalies that were scored since a moment, or ever.
    pub fn said(&self, since: Option<i64>) -> BTreeMap<String, Said> {
        let since = since.unwrap_or(i64::MIN);
        self.store.labels.precision_since(&self.store.anomalies, since).by_detector
    }

    /// The exceptions that are in force at a moment, the newest first.
    pub fn exceptions(&self, now: i64) -> Vec<InForce<'_>> {
        let hidden = self.store.labels.hidden_by(&self.store.anomalies);
        let all = self.store.labels.exceptions().into_iter().map(|kept| &kept.entry);
        let in_force = all.filter(|of| of.withdrawn.is_none() && of.until > now);
        in_force
            .map(|of| InForce {
                customer: &of.customer_id,
                features: &of.features,
                until: of.until,
                note: &of.note,
                by: &of.by,
                hides: hidden.get(of.id.as_str()).copied().unwrap_or(0),
            })
            .collect()
    }

    /// The erroneous messages in numbers.
    pub fn errors(&self) -> ErrorCounts<'_> {
        let errors = &self.store.errors;
        ErrorCounts { messages: errors.len(), evicted: errors.evicted, by_reason: errors.by_reason() }
    }
}

impl Wanted {
    fn query(&self) -> Query {
        let Self { detector, severity, since, .. } = self.clone();
        Query { detector, severity, since, ..Query::default() }
    }

    fn has_state(&self, row: &Row<'_>) -> bool {
        self.is_closed_wanted || row.state() != State::Closed
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::intake::Kind;
    use crate::store::tests::{committed, verdict};

    fn found(verdicts: &[(Value, i64)]) -> Found {
        let mut found = Found::new(Limits::default());
        for (value, at) in verdicts {
            found.take(&committed(Kind::Verdict, value, *at));
        }
        found
    }

    fn hear(found: &mut Found, version: u64, value: &Value) {
        let key = value["id"].as_str().unwrap().to_owned();
        found.hear(Entry { key, value: Some(value.to_string().into_bytes()), version });
    }

    fn keys(rows: &[Row<'_>]) -> Vec<String> {
        rows.iter().map(|row| row.key().to_owned()).collect()
    }

    #[test]
    fn a_message_names_the_entity_that_it_says_something_new_of() {
        let mut found = found(&[]);
        let mut take = |value: &Value| found.take(&committed(Kind::Verdict, value, 5));
        let first = verdict("7", "kmeans", "low", "c");
        assert_eq!(take(&first), ["invoices/0/1/7"]);
        assert!(take(&first).is_empty(), "it came again");
        assert_eq!(take(&verdict("7", "other", "high", "c")), ["invoices/0/1/7"]);
        let mut normal = verdict("8", "kmeans", "low", "c");
        normal["anomalous"] = json!(false);
        assert!(take(&normal).is_empty());
        let row = found.row("invoices/0/1/7", &Wanted::default()).unwrap();
        assert_eq!(row.opinions().map(|it| it.detector).collect::<Vec<_>>(), ["kmeans", "other"]);
        assert_eq!(row.said_by_worst("score"), Some(json!(30.0)));
        assert!(!found.has("invoices/0/1/8"));
    }

    #[test]
    fn what_is_closed_comes_when_it_is_wanted_and_what_is_hidden_never() {
        let mut found = found(&[
            (verdict("1", "kmeans", "low", "ann"), 1_000),
            (verdict("22", "kmeans", "critical", "ann"), 2_000),
            (verdict("333", "other", "high", "bob"), 3_000),
        ]);
        let all = Wanted { is_closed_wanted: true, ..Wanted::default() };
        assert_eq!(keys(&found.worst(&all)), ["22", "333", "1"]);
        hear(
            &mut found,
            1,
            &json!({ "schema": 1, "kind": "label", "id": "invoices/0/3/333", "label": "anomaly", "at": "1970-01-02T00:00:00Z",
                "scored_at": "1970-01-01T00:00:03Z" }),
        );
        hear(
            &mut found,
            2,
            &json!({ "schema": 1, "kind": "exception", "id": "exception/a", "customer_id": "ann", "features": ["NumberItems"],
                "until": "1970-01-01T00:00:01.500Z", "at": "1970-01-01T00:00:00Z", "note": "moved", "by": "eve" }),
        );
        assert_eq!(keys(&found.newest(&Wanted::default())), ["22"]);
        assert_eq!(keys(&found.newest(&all)), ["333", "22"]);
        assert_eq!(found.all().count(), 3);
        assert_eq!(found.row("invoices/0/3/333", &all).unwrap().word().unwrap().name(), "anomaly");
        assert!(found.row("invoices/0/3/333", &Wanted::default()).is_none());
        assert!(found.row("invoices/0/1/1", &all).is_none() && found.has("invoices/0/1/1"));
        let bad = Wanted { severity: Some(Severity::Medium), detector: Some("kmeans".to_owned()), ..all.clone() };
        assert_eq!(keys(&found.newest(&bad)), ["22"]);

        assert_eq!(found.said(None)["other"], Said { anomaly: 1, ..Said::default() });
        assert!(found.said(Some(3_001)).is_empty());
        let in_force = found.exceptions(1_000);
        assert_eq!((in_force[0].customer, in_force[0].hides, in_force[0].note), ("ann", 1, "moved"));
        assert!(found.exceptions(1_500).is_empty(), "it has run out");
    }

    #[test]
    fn errors_are_counted_by_reason_and_what_had_to_go_is_told() {
        let mut found = Found::new(Limits { errors: 2, ..Limits::default() });
        for offset in 0..3 {
            let letter =
                json!({ "kind": "line", "reasons": ["late_line", "too_large"], "source": { "offset": offset } });
            found.take(&committed(Kind::DeadLetter, &letter, offset));
        }
        let by_reason = BTreeMap::from([("late_line", 2), ("too_large", 2)]);
        assert_eq!(found.errors(), ErrorCounts { messages: 2, evicted: 1, by_reason });
    }

    #[test]
    fn a_row_is_what_the_api_gives() {
        let found = found(&[(verdict("7", "kmeans", "low", "c"), 10)]);
        let row = serde_json::to_value(&found.newest(&Wanted::default())[0]).unwrap();
        let names: Vec<&str> = row.as_object().unwrap().keys().map(String::as_str).collect();
        let of_entity = "id key customer at event_time lines severity worst_detector reason fields opinions";
        assert_eq!(names.join(" "), format!("{of_entity} state label"));
        assert_eq!((&row["state"], &row["at"]), (&json!("open"), &json!(10)));
    }
}
