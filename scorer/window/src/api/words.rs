//! What analysts say: labels and exceptions, written and read.

use std::time::Duration;

use axum::body::Bytes;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::answers::Answer;
use super::problem::Problem;
use crate::http::access::Who;
use crate::journal::{Keeping, Outcome};
use crate::store::Anomalies;
use crate::store::labels::{
    Exception, ExceptionKind, Kept, Label, Labels, Preview, Said, Withdrawn, Word, moment, reasons_of,
};
use crate::view::{View, now};

/// How long somebody waits for a word to be kept.
const PATIENCE: Duration = Duration::from_secs(45);

/// Bytes of a name, of a reason, and of a note.
pub(super) const LONGEST_NAME: usize = 100;
const LONGEST_REASON: usize = 200;
const LONGEST_NOTE: usize = 4_000;

/// The longest time that something is not to be seen again.
const LONGEST_EXCEPTION: i64 = 366 * 86_400_000;

/// Anomalies that a preview names.
const NAMED: usize = 10;

/// What is said of an anomaly.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewLabel {
    id: String,
    /// The version of the label that was seen; none where there was none.
    #[serde(default)]
    version: Option<u64>,
    /// Names this request: it may be sent again.
    request: String,
    #[serde(default)]
    label: Option<Word>,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    note: String,
    #[serde(default)]
    owner: String,
    #[serde(default)]
    by: String,
}

/// What is not to be seen again.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewException {
    /// An anomaly of the customer and with the reason that are meant.
    id: String,
    /// RFC 3339.
    until: String,
    request: String,
    /// Why. Nobody knows later otherwise.
    note: String,
    #[serde(default)]
    by: String,
}

/// An exception that is taken back.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Withdrawal {
    id: String,
    version: u64,
    request: String,
    #[serde(default)]
    by: String,
}

/// For whom and for what an exception would be.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PreviewQuery {
    id: String,
}

pub(super) fn read<'a, T: Deserialize<'a>>(body: &'a Bytes) -> Result<T, Problem> {
    serde_json::from_slice(body).map_err(|error| bad(format!("the body cannot be read: {error}")))
}

fn bad(why: String) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, why)
}

/// Whoever gives no name has the one that they have logged in by.
pub(super) fn name(by: &mut String, who: Option<Who>) {
    if let Some(Who(name)) = who
        && by.trim().is_empty()
    {
        name.as_ref().clone_into(by);
    }
}

/// Refuses texts that are too long or missing.
pub(super) fn check(name: &str, text: &str, range: std::ops::RangeInclusive<usize>) -> Result<(), Problem> {
    let (least, most) = (*range.start(), *range.end());
    let length = text.trim().len();
    match (length < least, length > most) {
        (true, _) => Err(bad(format!("`{name}` is missing"))),
        (_, true) => Err(bad(format!("`{name}` has {length} bytes and may have at most {most}"))),
        _ => Ok(()),
    }
}

/// Says of an anomaly what it is.
pub(super) async fn label(view: &View, who: Option<Who>, body: Bytes) -> Result<Response, Problem> {
    let mut new: NewLabel = read(&body)?;
    name(&mut new.by, who);
    check("request", &new.request, 8..=LONGEST_NAME)?;
    check("reason", &new.reason, 0..=LONGEST_REASON)?;
    check("note", &new.note, 0..=LONGEST_NOTE)?;
    check("owner", &new.owner, 0..=LONGEST_NAME)?;
    check("by", &new.by, 0..=LONGEST_NAME)?;
    let label = {
        let state = view.state();
        let Some(entity) = state.store.anomalies.get(&new.id) else {
            let why = "the window does not have this anomaly, so it cannot say which verdicts a label is about";
            return Err(Problem::new(StatusCode::NOT_FOUND, why.to_owned()));
        };
        Label {
            label: new.label,
            reason: new.reason.trim().to_owned(),
            note: new.note.trim().to_owned(),
            owner: new.owner.trim().to_owned(),
            by: new.by.trim().to_owned(),
            request: Some(new.request.clone()),
            ..Label::of(entity, &view.about.pipeline, now())
        }
    };
    let outcome = keep(view, &new.id, &label, new.version, new.request).await?;
    let state = view.state();
    answer(
        outcome,
        "label",
        state.store.labels.get(&new.id),
        "somebody else has said something of this anomaly meanwhile",
    )
}

/// Writes that something is not to be seen again.
pub(super) async fn except(view: &View, who: Option<Who>, body: Bytes) -> Result<Response, Problem> {
    let mut new: NewException = read(&body)?;
    name(&mut new.by, who);
    check("request", &new.request, 8..=LONGEST_NAME)?;
    check("note", &new.note, 1..=LONGEST_NOTE)?;
    check("by", &new.by, 1..=LONGEST_NAME)?;
    let (at, until) = (now(), moment::parse(&new.until));
    let Some(until) = until.filter(|until| *until > at && *until <= at + LONGEST_EXCEPTION) else {
        return Err(bad("`until` has to be a moment in the next 366 days, such as 2027-01-31T00:00:00Z".to_owned()));
    };
    let id = format!("exception/{}", new.request);
    let exception = {
        let state = view.state();
        let store = &state.store;
        let (customer, features) = meant(&store.anomalies, &new.id)?;
        let (preview, _) = store.labels.preview(&store.anomalies, customer, &features, at);
        Exception {
            schema: 1,
            kind: ExceptionKind::Exception,
            id: id.clone(),
            pipeline: Some(view.about.pipeline.clone()),
            customer_id: customer.to_owned(),
            features: features.into_iter().map(str::to_owned).collect(),
            of: Some(new.id),
            until,
            note: new.note.trim().to_owned(),
            by: new.by.trim().to_owned(),
            at,
            preview: Some(preview),
            withdrawn: None,
            request: Some(new.request.clone()),
        }
    };
    let outcome = keep(view, &id, &exception, None, new.request).await?;
    let state = view.state();
    answer(outcome, "exception", state.store.labels.exception(&id), "there is another exception of this name")
}

/// Takes an exception back: what it hid is there again.
pub(super) async fn withdraw(view: &View, who: Option<Who>, body: Bytes) -> Result<Response, Problem> {
    let Withdrawal { id, version, request, mut by } = read(&body)?;
    name(&mut by, who);
    check("request", &request, 8..=LONGEST_NAME)?;
    check("by", &by, 1..=LONGEST_NAME)?;
    let known = view.state().store.labels.exception(&id).map(|kept| kept.entry.clone());
    let Some(known) = known else {
        return Err(Problem::new(StatusCode::NOT_FOUND, "there is no such exception".to_owned()));
    };
    let withdrawn = Some(Withdrawn { by: by.trim().to_owned(), at: now() });
    let exception = Exception { withdrawn, request: Some(request.clone()), ..known };
    let outcome = keep(view, &id, &exception, Some(version), request).await?;
    let state = view.state();
    answer(
        outcome,
        "exception",
        state.store.labels.exception(&id),
        "somebody else has changed this exception meanwhile",
    )
}

/// Hands an entry over, and waits until it is kept or not.
pub(super) async fn keep(
    view: &View,
    key: &str,
    entry: &impl Serialize,
    seen: Option<u64>,
    request: String,
) -> Result<Outcome, Problem> {
    let unavailable = |why: &str| Problem::new(StatusCode::SERVICE_UNAVAILABLE, why.to_owned());
    if let Keeping::Nowhere(why) = &view.state().store.labels.keeping {
        return Err(unavailable(&format!("nothing is kept here: {why}")));
    }
    let value = serde_json::to_vec(entry).map_err(|error| bad(error.to_string()))?;
    let Some(answered) = view.desk.write(key.to_owned(), value, seen, request) else {
        return Err(unavailable("too much waits to be kept: try again in a moment"));
    };
    match tokio::time::timeout(PATIENCE, answered).await {
        Ok(Ok(Outcome::Failed(why))) => Err(unavailable(&why)),
        Ok(Ok(outcome)) => Ok(outcome),
        Ok(Err(_)) => Err(unavailable("the scorer ends: try again once it is back")),
        Err(_) => Err(unavailable(
            "nobody knows yet whether it is kept: send the same request again, which is kept once however often it comes",
        )),
    }
}

/// What is kept now; with 409 where that is not what was sent.
fn answer<T: Serialize>(
    outcome: Outcome,
    name: &str,
    kept: Option<&Kept<T>>,
    stale: &str,
) -> Result<Response, Problem> {
    if outcome == Outcome::Kept {
        return Ok(Answer::of(&json!({ name: kept })).into_response());
    }
    let body = Answer::of(&json!({ "error": format!("{stale}: look at it, and say it again"), name: kept }));
    Ok((StatusCode::CONFLICT, body).into_response())
}

/// What an exception would have hidden.
///
/// # Errors
/// When the anomaly is not there, or has no customer or no reason.
pub(super) fn preview(view: &View, query: &PreviewQuery) -> Result<Answer, Problem> {
    let state = view.state();
    let store = &state.store;
    let (customer, features) = meant(&store.anomalies, &query.id)?;
    let (preview, covered) = store.labels.preview(&store.anomalies, customer, &features, now());
    let Preview { days, anomalies, confirmed } = preview;
    let named: Vec<Value> = covered
        .iter()
        .take(NAMED)
        .map(|it| {
            let word = store.labels.get(&it.id).and_then(|kept| kept.entry.label);
            json!({ "id": it.id, "key": it.key, "at": it.at, "severity": it.severity, "reason": it.reason, "label": word })
        })
        .collect();
    Ok(Answer::of(&json!({
        "customer_id": customer, "features": features, "days": days, "anomalies": anomalies, "confirmed": confirmed,
        "oldest": store.anomalies.oldest(), "named": named,
    })))
}

/// The customer and the reasons of an anomaly.
fn meant<'a>(anomalies: &'a Anomalies, id: &str) -> Result<(&'a str, Vec<&'a str>), Problem> {
    let Some(entity) = anomalies.get(id) else {
        return Err(Problem::new(StatusCode::NOT_FOUND, "the window does not have this anomaly".to_owned()));
    };
    let Some((customer, mut features)) = reasons_of(entity) else {
        let why = "an exception is for a customer and a reason: this anomaly has no customer, or no feature to blame";
        return Err(bad(why.to_owned()));
    };
    features.sort_unstable();
    features.dedup();
    Ok((customer, features))
}

/// All exceptions, and whether they hide anything at the moment.
pub(super) fn exceptions(view: &View) -> Answer {
    let state = view.state();
    let Labels { is_caught_up, version, .. } = &state.store.labels;
    let hidden = state.store.labels.hidden_by(&state.store.anomalies);
    let list = state.store.labels.exceptions().into_iter().map(|kept| {
        let mut value = json!(kept);
        value["hides"] = json!(hidden.get(kept.entry.id.as_str()).copied().unwrap_or(0));
        value
    });
    let list: Vec<Value> = list.collect();
    Answer::of(&json!({ "now": now(), "is_caught_up": is_caught_up, "version": version, "exceptions": list }))
}

/// How often detectors are right.
pub(super) fn precision(view: &View) -> Answer {
    let state = view.state();
    let precision = state.store.labels.precision(&state.store.anomalies);
    let told = |said: &Said| {
        let mut value = json!(said);
        value["precision"] = json!(said.precision());
        value
    };
    let names = view.about.detectors.iter().map(|it| it.name.as_str());
    let of_this =
        names.map(|name| (name.to_owned(), told(&precision.by_detector.get(name).copied().unwrap_or_default())));
    let detectors: serde_json::Map<String, Value> = of_this.collect();
    let days: Vec<Value> = precision.by_day.iter().map(|(at, of)| json!({ "at": at, "detectors": of })).collect();
    Answer::of(&json!({
        "labels": told(&precision.all), "kept": state.store.labels.len(), "detectors": detectors, "days": days,
    }))
}
