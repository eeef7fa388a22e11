//! The JSON API, which the pages use too, and the checks and metrics for programs that supervise.

mod alerts;
mod answers;
mod list_query;
mod openapi;
mod problem;
pub(crate) mod redrive;
pub(crate) mod score;
mod stream;
mod words;

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use axum::{Extension, Router};
use serde::Deserialize;

use crate::assets::{asset, page};
use crate::http::access::Who;
use crate::metrics;
use crate::store;
use crate::view::View;
use answers::{Answer, anomalies, anomaly, entities, errors, models, series, status};
use list_query::ListQuery;
use words::PreviewQuery;

pub(crate) use answers::tick;
pub(crate) use problem::Problem;

/// The pages; each shows itself.
const PAGES: [&str; 8] = ["/", "/anomalies", "/anomaly", "/alerts", "/entities", "/exceptions", "/errors", "/models"];

type Shared = State<Arc<View>>;

/// Everything that can be asked, but for what has desks of its own.
pub(crate) fn router(view: Arc<View>) -> Router {
    let pages = PAGES.iter().fold(Router::new(), |router, path| router.route(path, get(page)));
    let files = pages.route("/assets/{*name}", get(|Path(name): Path<String>| async move { asset(&name).await }));
    let router = routes().into_iter().fold(files, |router, (path, methods)| router.route(path, methods));
    router.fallback(nothing).with_state(view)
}

/// A path of the API, with what answers there.
pub(crate) type Route<S> = (&'static str, MethodRouter<S>);

/// What programs ask for, and pages; the description of the API has each.
fn routes() -> Vec<Route<Arc<View>>> {
    vec![
        ("/live", get(|| async { "live\n" })),
        ("/ready", get(get_ready)),
        ("/metrics", get(get_metrics)),
        (
            "/api/v1/openapi.json",
            get(|State(view): Shared| async move { Answer::of(&openapi::document(&view.about.version)) }),
        ),
        ("/api/v1/status", get(|State(view): Shared, who: Whoever| async move { status(&view, who.as_deref()) })),
        ("/api/v1/series", get(get_series)),
        ("/api/v1/anomalies", get(get_anomalies)),
        ("/api/v1/anomaly", get(get_anomaly)),
        ("/api/v1/entities", get(get_entities)),
        ("/api/v1/errors", get(get_errors)),
        ("/api/v1/models", get(|State(view): Shared| async move { models(&view) })),
        ("/api/v1/label", post(post_label)),
        ("/api/v1/precision", get(|State(view): Shared| async move { words::precision(&view) })),
        ("/api/v1/exceptions", get(|State(view): Shared| async move { words::exceptions(&view) }).post(post_exception)),
        ("/api/v1/exceptions/preview", get(get_preview)),
        ("/api/v1/exceptions/withdraw", post(post_withdrawal)),
        ("/api/v1/alerts", get(alerts::view)),
        ("/api/v1/alerts/acknowledge", post(alerts::acknowledge)),
        ("/api/v1/alerts/snooze", post(alerts::snooze)),
        ("/api/v1/stream", get(|State(view): Shared| async move { stream::listen(&view) })),
    ]
}

async fn nothing(uri: Uri) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, format!("there is nothing at {}", uri.path()))
}

async fn get_ready(State(view): Shared) -> Response {
    match view.readiness() {
        Ok(()) => "ready\n".into_response(),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {why}\n")).into_response(),
    }
}

async fn get_metrics(State(view): Shared) -> Result<Response, Problem> {
    let failed = |_| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the metrics could not be written".to_owned());
    let text = metrics::text(&view).map_err(failed)?;
    Ok(([(CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response())
}

/// Who asks, where they have logged in by name.
type Whoever = Option<Extension<Who>>;

async fn post_label(State(view): Shared, who: Whoever, body: Bytes) -> Result<Response, Problem> {
    words::label(&view, who.map(|Extension(who)| who), body).await
}

async fn post_exception(State(view): Shared, who: Whoever, body: Bytes) -> Result<Response, Problem> {
    words::except(&view, who.map(|Extension(who)| who), body).await
}

async fn post_withdrawal(State(view): Shared, who: Whoever, body: Bytes) -> Result<Response, Problem> {
    words::withdraw(&view, who.map(|Extension(who)| who), body).await
}

/// What a query says, or what is wrong with it.
type Asked<T> = Result<Query<T>, QueryRejection>;

async fn get_anomalies(State(view): Shared, query: Asked<store::Query>) -> Result<Answer, Problem> {
    Ok(anomalies(&view, &query?.0))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct One {
    id: String,
}

async fn get_anomaly(State(view): Shared, query: Asked<One>) -> Result<Answer, Problem> {
    anomaly(&view, &query?.0.id)
}

async fn get_preview(State(view): Shared, query: Asked<PreviewQuery>) -> Result<Answer, Problem> {
    words::preview(&view, &query?.0)
}

async fn get_entities(State(view): Shared, query: Asked<ListQuery>) -> Result<Answer, Problem> {
    Ok(entities(&view, &query?.0))
}

async fn get_errors(State(view): Shared, query: Asked<ListQuery>) -> Result<Answer, Problem> {
    Ok(errors(&view, &query?.0))
}

/// How far back.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
enum Span {
    /// Second by second.
    #[default]
    #[serde(rename = "15m")]
    Minutes,
    /// Minute by minute.
    #[serde(rename = "24h")]
    Day,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SeriesQuery {
    #[serde(default)]
    span: Span,
}

async fn get_series(State(view): Shared, query: Asked<SeriesQuery>) -> Result<Answer, Problem> {
    Ok(series(&view, matches!(query?.0.span, Span::Day)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// What is not described is not found by those who make clients of the description.
    #[test]
    fn the_description_has_every_path_and_no_other() {
        let own = routes().into_iter().map(|(path, _)| path);
        let redrive = redrive::routes().into_iter().map(|(path, _)| path);
        let known: BTreeSet<&str> =
            own.chain(redrive).chain(score::routes().into_iter().map(|(path, _)| path)).collect();
        let document = openapi::document("1.2.3");
        let described: BTreeSet<&str> = document["paths"].as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(known, described);
        assert_eq!(document["info"]["version"], "1.2.3");
    }
}
