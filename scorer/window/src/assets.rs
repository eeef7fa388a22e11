//! The files of the pages, which are part of the program.

use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};

/// A file: its name, its type and its content.
type Asset = (&'static str, &'static str, &'static str);

const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";

macro_rules! assets {
    ($($name:literal: $kind:expr),* $(,)?) => {
        [$(($name, $kind, include_str!(concat!("../assets/", $name)))),*]
    };
}

const ASSETS: [Asset; 27] = assets![
    "base.css": STYLE,
    "parts.css": STYLE,
    "pages.css": STYLE,
    "words.css": STYLE,
    "media.css": STYLE,
    "icon.svg": "image/svg+xml",
    "main.js": SCRIPT,
    "api.js": SCRIPT,
    "dom.js": SCRIPT,
    "format.js": SCRIPT,
    "charts.js": SCRIPT,
    "keys.js": SCRIPT,
    "parts.js": SCRIPT,
    "theme.js": SCRIPT,
    "pages/alerts.js": SCRIPT,
    "pages/now.js": SCRIPT,
    "pages/anomalies.js": SCRIPT,
    "pages/anomaly.js": SCRIPT,
    "pages/review.js": SCRIPT,
    "pages/entities.js": SCRIPT,
    "pages/exceptions.js": SCRIPT,
    "pages/errors.js": SCRIPT,
    "pages/models.js": SCRIPT,
    "pages/redrive.js": SCRIPT,
    "vendor/uPlot.iife.min.js": SCRIPT,
    "vendor/uPlot.min.css": STYLE,
    "vendor/uPlot.LICENSE.txt": TEXT,
];

const PAGE: &str = include_str!("../assets/index.html");

/// Every page is this one; its scripts read the address.
pub(crate) async fn page() -> Response {
    ([(CONTENT_TYPE, "text/html; charset=utf-8"), (CACHE_CONTROL, "no-cache")], PAGE).into_response()
}

/// A file of the page.
pub(crate) async fn asset(name: &str) -> Response {
    match ASSETS.iter().find(|(known, ..)| *known == name) {
        // A new program may have new files under the same names.
        Some((_, kind, content)) => ([(CONTENT_TYPE, *kind), (CACHE_CONTROL, "no-cache")], *content).into_response(),
        None => (StatusCode::NOT_FOUND, "there is no such file").into_response(),
    }
}
