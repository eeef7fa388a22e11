//! Alerts, as the window shows them. Who decides them is not known here: a desk says what is so, and takes what people do.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use serde::Deserialize;
use serde_json::json;

/// What people do about alerts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AlertAction {
    /// They know of an alert.
    Acknowledge {
        /// The alert.
        id: String,
    },
    /// They want to hear nothing of an alert for a while; 0 ends that.
    Snooze {
        /// The alert.
        id: String,
        /// For so long.
        length: Duration,
    },
    /// They want to hear nothing of a rule for a while; 0 ends that.
    SnoozeRule {
        /// The rule.
        rule: String,
        /// For so long.
        length: Duration,
    },
}

/// Numbers of alerts, for those who supervise. Counters begin at 0 when the process starts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AlertNumbers {
    /// The rules, each with how many alerts of it are so now.
    pub firing: Vec<(String, u64)>,
    /// The channels.
    pub channels: Vec<ChannelNumbers>,
    /// Anomalies that no rule saw because too many came at once.
    pub dropped: u64,
    /// Groups that were forgotten because there were too many.
    pub forgotten: u64,
}

/// Numbers of a channel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChannelNumbers {
    /// Its name.
    pub name: String,
    /// Alerts that it took.
    pub sent: u64,
    /// Alerts that it refused for good.
    pub refused: u64,
    /// Alerts that went unsent because too many waited.
    pub dropped: u64,
    /// Alerts that wait.
    pub waiting: u64,
    /// Since when it takes none, in milliseconds since 1970.
    pub failing_since: Option<i64>,
}

/// Who knows of alerts. It is asked on the window's thread, and has to answer at once.
pub trait AlertDesk: Send + Sync {
    /// What is so now, as a JSON object.
    fn view(&self) -> String;

    /// The numbers of what is so now. They are asked for with every scrape.
    fn numbers(&self) -> AlertNumbers;

    /// Does what people want.
    ///
    /// # Errors
    /// Why it cannot be done, in one sentence.
    fn act(&self, action: AlertAction) -> Result<(), String>;
}

/// The longest that people may want to hear nothing: a week.
const LONGEST_MINUTES: u64 = 7 * 24 * 60;

pub(crate) type Desk = Option<Arc<dyn AlertDesk>>;

pub(crate) fn router(desk: Desk) -> Router {
    let router = routes().into_iter().fold(Router::new(), |router, (path, methods)| router.route(path, methods));
    router.with_state(desk)
}

/// The description of the API has each of them.
pub(crate) fn routes() -> [(&'static str, MethodRouter<Desk>); 3] {
    [
        ("/api/v1/alerts", get(view)),
        ("/api/v1/alerts/acknowledge", post(acknowledge)),
        ("/api/v1/alerts/snooze", post(snooze)),
    ]
}

fn answer(status: StatusCode, body: String) -> Response {
    (status, [(CONTENT_TYPE, "application/json")], body).into_response()
}

fn problem(status: StatusCode, error: &str) -> Response {
    answer(status, json!({ "error": error }).to_string())
}

async fn view(State(desk): State<Desk>) -> Response {
    match desk {
        Some(desk) => answer(StatusCode::OK, desk.view()),
        None => answer(StatusCode::OK, json!({ "rules": [], "firing": [], "channels": [] }).to_string()),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Known {
    id: String,
}

async fn acknowledge(State(desk): State<Desk>, query: Result<Query<Known>, QueryRejection>) -> Response {
    match query {
        Ok(Query(Known { id })) => act(desk, AlertAction::Acknowledge { id }),
        Err(rejection) => problem(StatusCode::BAD_REQUEST, &rejection.body_text()),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Snoozed {
    id: Option<String>,
    rule: Option<String>,
    minutes: u64,
}

async fn snooze(State(desk): State<Desk>, query: Result<Query<Snoozed>, QueryRejection>) -> Response {
    let Snoozed { id, rule, minutes } = match query {
        Ok(Query(snoozed)) => snoozed,
        Err(rejection) => return problem(StatusCode::BAD_REQUEST, &rejection.body_text()),
    };
    if minutes > LONGEST_MINUTES {
        return problem(StatusCode::BAD_REQUEST, "minutes may be at most 10080, which is a week");
    }
    let length = Duration::from_secs(60 * minutes);
    match (id, rule) {
        (Some(id), None) => act(desk, AlertAction::Snooze { id, length }),
        (None, Some(rule)) => act(desk, AlertAction::SnoozeRule { rule, length }),
        _ => problem(StatusCode::BAD_REQUEST, "name an alert by id, or a rule by rule"),
    }
}

fn act(desk: Desk, action: AlertAction) -> Response {
    let Some(desk) = desk else {
        return problem(StatusCode::NOT_FOUND, "the pipeline file has no alerts");
    };
    tracing::info!(?action, "alerts");
    match desk.act(action) {
        Ok(()) => answer(StatusCode::OK, json!({ "done": true }).to_string()),
        Err(error) => problem(StatusCode::NOT_FOUND, &error),
    }
}
