//! Alerts: what is so now, and what people do about it.

use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::json;

use super::answers::Answer;
use super::problem::Problem;
use super::words::{LONGEST_NAME, check, keep, name};
use super::{Asked, Shared, Whoever};
use crate::alerts::{AlertAction, Concerned};
use crate::journal::Outcome;
use crate::store::labels::AlertEntry;
use crate::view::{View, now};

/// The longest that people may want to hear nothing: a week.
const LONGEST_MINUTES: u64 = 7 * 24 * 60;

/// How long somebody waits for their word to be kept. It holds at once, kept or not.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often it is tried to add to what others say at the same time.
const TRIES: usize = 5;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Known {
    id: String,
    #[serde(default)]
    by: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Snoozed {
    id: Option<String>,
    rule: Option<String>,
    minutes: u64,
    #[serde(default)]
    by: String,
}

/// What is so now.
pub(super) async fn view(State(view): Shared) -> Answer {
    match &view.alerts {
        Some(desk) => Answer::written(desk.view()),
        None => Answer::of(&json!({ "rules": [], "firing": [], "channels": [] })),
    }
}

pub(super) async fn acknowledge(State(view): Shared, who: Whoever, query: Asked<Known>) -> Result<Answer, Problem> {
    let Known { id, by } = query?.0;
    act(&view, AlertAction::Acknowledge { id }, by, who).await
}

pub(super) async fn snooze(State(view): Shared, who: Whoever, query: Asked<Snoozed>) -> Result<Answer, Problem> {
    let Snoozed { id, rule, minutes, by } = query?.0;
    let bad = |why: &str| Problem::new(StatusCode::BAD_REQUEST, why.to_owned());
    if minutes > LONGEST_MINUTES {
        return Err(bad("minutes may be at most 10080, which is a week"));
    }
    let length = Duration::from_secs(60 * minutes);
    let action = match (id, rule) {
        (Some(id), None) => AlertAction::Snooze { id, length },
        (None, Some(rule)) => AlertAction::SnoozeRule { rule, length },
        _ => return Err(bad("name an alert by id, or a rule by rule")),
    };
    act(&view, action, by, who).await
}

/// Does it at once, whatever becomes of Kafka: an alert may be about that. Then keeps it, where that is possible.
async fn act(view: &View, action: AlertAction, mut by: String, who: Whoever) -> Result<Answer, Problem> {
    name(&mut by, who.map(|Extension(who)| who));
    check("by", &by, 0..=LONGEST_NAME)?;
    let not_found = |why: String| Problem::new(StatusCode::NOT_FOUND, why);
    let desk = view.alerts.as_ref().ok_or_else(|| not_found("the pipeline file has no alerts".to_owned()))?;
    let at = now();
    let of = desk.act(&action).map_err(not_found)?;
    tracing::info!(?action, by, "alerts");
    let kept = keep_word(view, &action, &of, &by, at).await;
    let why = kept.as_ref().err();
    Ok(Answer::of(&json!({ "done": true, "kept": kept.is_ok(), "not_kept_because": why })))
}

/// Keeps what somebody did, so that it is so after a restart and at other instances.
async fn keep_word(view: &View, action: &AlertAction, of: &Concerned, by: &str, at: i64) -> Result<(), String> {
    let key = action.key();
    for _ in 0..TRIES {
        let request = format!("{at}-{:016x}", RandomState::new().hash_one(&key));
        let (entry, seen) = {
            let state = view.state();
            let known = state.store.labels.alert(&key);
            let said = known.map(|known| known.entry.clone());
            let said = said.unwrap_or_else(|| AlertEntry::new(key.clone(), &view.about.pipeline));
            (said.with(action, of, by, at), known.map(|known| known.version))
        };
        let entry = AlertEntry { request: Some(request.clone()), ..entry };
        match tokio::time::timeout(PATIENCE, keep(view, &key, &entry, seen, request)).await {
            Ok(Ok(Outcome::Kept)) => return Ok(()),
            // What somebody else has said meanwhile has been heard by now: this is added to it.
            Ok(Ok(_)) => {}
            Ok(Err(problem)) => return Err(problem.into_sentence()),
            Err(_) => return Err("nobody knows yet whether it is kept".to_owned()),
        }
    }
    Err("others say something of it all the time: say it again".to_owned())
}
