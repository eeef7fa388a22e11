//! Records that somebody wants to be scored at once.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde_json::json;

use super::Route;
use super::problem::Problem;
use crate::questions::{Asking, KINDS, LONGEST_QUESTION, NotTaken, Reply, Written};
use crate::view::View;

/// How long somebody waits for an answer, and how long the records may take to come.
const PATIENCE: Duration = Duration::from_secs(2);

/// What requests of this kind share.
#[derive(Clone)]
pub(super) struct Desk {
    view: Arc<View>,
    asking: Option<Asking>,
}

pub(crate) fn router(view: Arc<View>, asking: Option<Asking>) -> Router {
    let router = routes().into_iter().fold(Router::new(), |router, (path, methods)| router.route(path, methods));
    router.with_state(Desk { view, asking })
}

pub(super) fn routes() -> [Route<Desk>; 1] {
    [("/api/v1/score", post(score))]
}

async fn score(State(Desk { view, asking }): State<Desk>, headers: HeaderMap, body: Body) -> Response {
    let reply = ask(asking.as_ref(), &headers, body).await;
    view.asked.count(reply.as_ref().ok());
    match reply {
        Ok(reply) => answer(reply),
        Err(problem) => problem.into_response(),
    }
}

async fn ask(asking: Option<&Asking>, headers: &HeaderMap, body: Body) -> Result<Reply, Problem> {
    let Some(asking) = asking else {
        return Err(Problem::new(StatusCode::NOT_FOUND, "nothing is scored here".to_owned()));
    };
    let Some(written) = Written::of(headers) else {
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, KINDS.to_owned()));
    };
    let records = match tokio::time::timeout(PATIENCE, to_bytes(body, LONGEST_QUESTION)).await {
        Ok(Ok(records)) => records.to_vec(),
        Ok(Err(_)) => return Err(Problem::new(StatusCode::BAD_REQUEST, "the records did not come whole".to_owned())),
        Err(_) => {
            let why = format!("the records did not come within {} s", PATIENCE.as_secs());
            return Err(Problem::new(StatusCode::REQUEST_TIMEOUT, why));
        }
    };
    let busy = || Reply::NotNow("the scorer has no time for these records: try again in a second".to_owned());
    let ends = || Reply::NotNow("the scorer ends: try again once it is back".to_owned());
    let received = match asking.ask(written, records) {
        Ok(received) => received,
        Err(NotTaken::Full) => return Ok(busy()),
        Err(NotTaken::Closed) => return Ok(ends()),
    };
    match tokio::time::timeout(PATIENCE, received).await {
        Ok(Ok(reply)) => Ok(reply),
        Ok(Err(_)) => Ok(ends()),
        Err(_) => Ok(busy()),
    }
}

fn answer(reply: Reply) -> Response {
    let json = [(CONTENT_TYPE, "application/json")];
    match reply {
        Reply::Scored(verdicts) => (json, verdicts).into_response(),
        Reply::Refused { reasons, why } => {
            let body = json!({ "error": why, "reasons": reasons }).to_string();
            (StatusCode::UNPROCESSABLE_ENTITY, json, body).into_response()
        }
        Reply::NotNow(why) => {
            ([(RETRY_AFTER, "1")], Problem::new(StatusCode::SERVICE_UNAVAILABLE, why)).into_response()
        }
    }
}
