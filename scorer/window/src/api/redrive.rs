//! Erroneous records that somebody wants to be sent to the input again.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::oneshot::Receiver;

use super::answers::Answer;
use super::problem::Problem;
use super::words::{LONGEST_NAME, check, name, read};
use super::{Asked, Route, Whoever};
use crate::http::access::Who;
use crate::redrives::{NotTaken, Orders, Redriven, Which};
use crate::view::now;

/// How long somebody waits before they hear that it goes on.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long the topics may take to be looked through.
const LOOK: Duration = Duration::from_secs(45);

/// Bytes of a reason and of a place.
const LONGEST: usize = 1_000;

/// Who takes orders, where somebody does.
pub(super) type Desk = Option<Orders>;

pub(crate) fn router(desk: Desk) -> Router {
    let router = routes().into_iter().fold(Router::new(), |router, (path, methods)| router.route(path, methods));
    router.with_state(desk)
}

pub(super) fn routes() -> [Route<Desk>; 2] {
    [("/api/v1/errors/redrive", get(show).post(order)), ("/api/v1/errors/redrive/preview", get(preview))]
}

/// Which records, as a query says it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PreviewQuery {
    reason: Option<String>,
    since: Option<i64>,
    record: Option<String>,
}

/// What is to be sent.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewOrder {
    #[serde(default)]
    reason: Option<String>,
    #[serde(default)]
    since: Option<i64>,
    /// When it was looked what would be sent: what came later is left out.
    #[serde(default)]
    until: Option<i64>,
    #[serde(default)]
    record: Option<String>,
    #[serde(default)]
    by: String,
}

async fn show(State(desk): State<Desk>) -> Answer {
    match desk {
        Some(desk) => {
            let mut shown = json!(desk.shown());
            shown["is_possible"] = true.into();
            Answer::of(&shown)
        }
        None => Answer::of(&json!({ "is_possible": false, "running": null, "last": null })),
    }
}

/// Says how many records would be sent.
async fn preview(State(desk): State<Desk>, query: Asked<PreviewQuery>) -> Result<Answer, Problem> {
    let PreviewQuery { reason, since, record } = query?.0;
    let until = now();
    let which = checked(Which { reason, since, until: Some(until), record })?;
    let received = hand_over(desk, which, String::new(), true)?;
    match tokio::time::timeout(LOOK, received).await {
        Ok(answered) => Ok(Answer::of(&json!({ "until": until, "counts": settled(answered)? }))),
        Err(_) => Err(unavailable("it takes too long to look through the topics: use `scorer redrive --dry-run`")),
    }
}

/// Sends them.
async fn order(State(desk): State<Desk>, who: Whoever, body: Bytes) -> Result<Response, Problem> {
    let NewOrder { reason, since, until, record, by } = read(&body)?;
    let which = checked(Which { reason, since, until, record })?;
    let by = signed(by, who.map(|Extension(who)| who));
    check("by", &by, 1..=2 * LONGEST_NAME)?;
    let received = hand_over(desk, which, by, false)?;
    match tokio::time::timeout(PATIENCE, received).await {
        Ok(answered) => Ok(Answer::of(&json!({ "is_over": true, "counts": settled(answered)? })).into_response()),
        Err(_) => Ok((StatusCode::ACCEPTED, Answer::of(&json!({ "is_over": false }))).into_response()),
    }
}

fn unavailable(why: &str) -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, why.to_owned())
}

fn checked(which: Which) -> Result<Which, Problem> {
    for (name, text) in [("reason", &which.reason), ("record", &which.record)] {
        check(name, text.as_deref().unwrap_or("-"), 1..=LONGEST)?;
    }
    Ok(which)
}

/// Who wants it: the name that they give, and the login where that is another one.
fn signed(mut by: String, who: Option<Who>) -> String {
    let login = who.as_ref().map(|Who(login)| login.to_string());
    name(&mut by, who);
    let by = by.trim();
    match login {
        Some(login) if login != by => format!("{by} (logged in as {login})"),
        _ => by.to_owned(),
    }
}

fn hand_over(
    desk: Desk,
    which: Which,
    by: String,
    is_dry: bool,
) -> Result<Receiver<Result<Redriven, String>>, Problem> {
    let Some(desk) = desk else {
        return Err(Problem::new(StatusCode::NOT_FOUND, "nothing is sent again from here".to_owned()));
    };
    desk.order(which, by, is_dry).map_err(|not_taken| match not_taken {
        NotTaken::Full => unavailable("others wait for records to be sent again: try again in a moment"),
        NotTaken::Closed => unavailable("the scorer ends: try again once it is back"),
    })
}

/// What became of it, or why nothing did.
fn settled<E>(answered: Result<Result<Redriven, String>, E>) -> Result<Redriven, Problem> {
    match answered {
        Ok(Ok(counts)) => Ok(counts),
        Ok(Err(why)) => Err(unavailable(&why)),
        Err(_) => Err(unavailable("the scorer ends: try again once it is back")),
    }
}
