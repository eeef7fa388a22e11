//! What is said when something is wrong.

use axum::extract::rejection::QueryRejection;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// A problem, in one sentence.
#[derive(Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    error: String,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, error: String) -> Self {
        Self { status, error }
    }

    /// What is wrong, in one sentence.
    pub(crate) fn into_sentence(self) -> String {
        self.error
    }
}

impl From<QueryRejection> for Problem {
    fn from(rejection: QueryRejection) -> Self {
        Self::new(StatusCode::BAD_REQUEST, rejection.body_text())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = json!({ "error": self.error }).to_string();
        (self.status, [(CONTENT_TYPE, "application/json")], body).into_response()
    }
}
