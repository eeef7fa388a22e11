//! The answers: JSON, built from what is kept.

use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Value, json};

use super::list_query::ListQuery;
use super::problem::Problem;
use crate::history::Sample;
use crate::http::access::Who;
use crate::journal::Keeping;
use crate::store::labels::{Exception, Kept};
use crate::store::{Entity, Group, Query, Row};
use crate::view::{View, now};

/// The most entries of a list.
const MOST: usize = 500;

/// The entries of a list where nobody says how many.
const USUAL: usize = 100;

/// The related entities of one.
const RELATED: usize = 30;

/// JSON.
#[derive(Debug)]
pub(crate) struct Answer(String);

impl Answer {
    pub(super) fn of(value: &impl Serialize) -> Self {
        // Plain data with text keys; an empty answer is no JSON, and whoever reads it says so.
        Self(serde_json::to_string(value).unwrap_or_default())
    }

    /// What is JSON already.
    pub(super) fn written(json: String) -> Self {
        Self(json)
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        ([(CONTENT_TYPE, "application/json")], self.0).into_response()
    }
}

fn most(limit: Option<usize>) -> usize {
    limit.unwrap_or(USUAL).min(MOST)
}

/// What changes about a stream, and what the window keeps of it.
fn current(view: &View, sample: Option<&Sample>) -> Value {
    let snapshot = view.snapshot();
    let p99 = snapshot.commits.quantile(0.99);
    let readiness = view.readiness();
    let state = view.state();
    let (anomalies, errors, labels) = (&state.store.anomalies, &state.store.errors, &state.store.labels);
    json!({
        "now": now(),
        "stream": {
            "records": snapshot.records, "scored": snapshot.scored, "open": snapshot.open, "erroneous": snapshot.erroneous,
            "outcomes": pairs(&snapshot.outcomes), "anomalies": pairs(&snapshot.anomalies),
            "reasons": pairs(&snapshot.reasons),
            "cancellations": snapshot.cancellations, "cancellation_windows": snapshot.cancellation_windows,
            "published": snapshot.published, "undeliverable": snapshot.undeliverable, "skipped": snapshot.skipped,
            "sent_again": snapshot.sent_again, "rolled_back": snapshot.rolled_back, "at_limits": snapshot.at_limits,
            "odd_dates": pairs(&snapshot.odd_dates),
            "lag": snapshot.lag, "lag_seconds": snapshot.lag_seconds, "partitions": snapshot.partitions,
            "state_bytes": snapshot.state_bytes, "resident_bytes": snapshot.resident_bytes,
            "commits": snapshot.commits.count(), "commit_p99_seconds": p99,
            "seconds_since_commit": snapshot.seconds_since_commit,
        },
        "ready": readiness.is_ok(),
        "not_ready_because": readiness.err(),
        "window": {
            "entities": anomalies.len(), "entity_bytes": anomalies.bytes(), "oldest": anomalies.oldest(),
            "evicted": anomalies.evicted, "errors": errors.len(), "error_bytes": errors.bytes(), "dropped": view.inflow.dropped(),
            "is_refilling": !view.inflow.is_refilled(),
            "anomalies_version": anomalies.version, "errors_version": errors.version,
            "labels": labels.len(), "labels_version": labels.version, "labels_are_caught_up": labels.is_caught_up,
            "labels_kept": kept(&labels.keeping),
        },
        "sample": sample,
    })
}

/// Where labels are kept.
fn kept(keeping: &Keeping) -> Value {
    match keeping {
        Keeping::Topic(topic) => json!({ "in": "topic", "topic": topic }),
        Keeping::Memory => json!({ "in": "memory" }),
        Keeping::Nowhere(why) => json!({ "in": "nowhere", "why": why }),
    }
}

/// Names with numbers, in their order.
fn pairs(of: &[(impl AsRef<str>, u64)]) -> Value {
    of.iter()
        .map(|(name, count)| (name.as_ref().to_owned(), Value::from(*count)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// What listeners hear each second.
pub(crate) fn tick(view: &View, sample: &Sample) -> String {
    current(view, Some(sample)).to_string()
}

pub(super) fn status(view: &View, who: Option<&Who>) -> Answer {
    let mut status = current(view, None);
    status["login"] = json!(who.map(|Who(name)| name.as_ref()));
    status["about"] = json!(view.about);
    Answer::of(&status)
}

/// Numbers over time: by the second or by the minute; and when there were anomalies, by the minute.
pub(super) fn series(view: &View, is_of_day: bool) -> Answer {
    let state = view.state();
    let samples = if is_of_day { state.history.minutes() } else { state.history.seconds() };
    Answer::of(&json!({ "samples": samples, "anomalies": state.store.anomalies.timeline.steps() }))
}

pub(super) fn anomalies(view: &View, query: &Query) -> Answer {
    let state = view.state();
    let labels = &state.store.labels;
    let page = state.store.anomalies.find(query, labels, most(query.limit));
    let rows: Vec<Row<'_>> = page.entities.into_iter().map(|entity| Row::of(entity, labels)).collect();
    Answer::of(&json!({
        "matching": page.matching, "kept": state.store.anomalies.len(), "oldest": state.store.anomalies.oldest(),
        "version": state.store.anomalies.version, "labels_version": labels.version, "anomalies": rows,
    }))
}

/// An entity with the verdicts on it, as they were published, and what is related to it.
#[derive(Serialize)]
struct One<'a> {
    #[serde(flatten)]
    row: Row<'a>,
    /// The exception that covers it, whether or not it is hidden.
    exception: Option<&'a Kept<Exception>>,
    verdicts: Vec<Value>,
    related: Vec<Related<'a>>,
}

#[derive(Serialize)]
struct Related<'a> {
    by: String,
    value: String,
    anomalies: Vec<&'a Entity>,
}

pub(super) fn anomaly(view: &View, id: &str) -> Result<Answer, Problem> {
    let state = view.state();
    let anomalies = &state.store.anomalies;
    let Some(entity) = anomalies.get(id) else {
        let why =
            "the window does not have this anomaly: it may be older than what is kept, and the topics still have it";
        return Err(Problem::new(StatusCode::NOT_FOUND, why.to_owned()));
    };
    let verdicts = entity.messages.iter().filter_map(|message| serde_json::from_str(message).ok()).collect();
    let related = anomalies.related(entity, RELATED).into_iter();
    let related = related.map(|(by, value, anomalies)| Related { by, value, anomalies }).collect();
    let labels = &state.store.labels;
    Ok(Answer::of(&One { row: Row::of(entity, labels), exception: labels.covering(entity), verdicts, related }))
}

pub(super) fn entities(view: &View, query: &ListQuery) -> Answer {
    let state = view.state();
    let (all, groups): (usize, Vec<Group<'_>>) = state.store.anomalies.groups(query.since, most(query.limit));
    let oldest = state.store.anomalies.oldest();
    Answer::of(&json!({ "all": all, "oldest": oldest, "now": now(), "entities": groups }))
}

pub(super) fn errors(view: &View, query: &ListQuery) -> Answer {
    let state = view.state();
    let errors = &state.store.errors;
    let text = query.q.as_deref().filter(|text| !text.is_empty());
    let (matching, newest) = errors.newest(query.reason.as_deref(), text, query.skip, most(query.limit));
    Answer::of(&json!({
        "matching": matching, "kept": errors.len(), "by_reason": errors.by_reason(), "version": errors.version,
        "errors": newest,
    }))
}

pub(super) fn models(view: &View) -> Answer {
    let snapshot = view.snapshot();
    Answer::of(&json!({
        "detectors": view.about.detectors, "words": view.about.words, "scored": snapshot.scored,
        "anomalies": pairs(&snapshot.anomalies), "agreement": snapshot.agreement, "drift": snapshot.drift,
    }))
}
