//! What every request has to pass, and what every answer says to browsers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::header::{
    AUTHORIZATION, CONTENT_LENGTH, HOST, ORIGIN, RETRY_AFTER, TRANSFER_ENCODING, WWW_AUTHENTICATE,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::access::{Access, Admission};
use super::address::is_local_host;
use crate::api::Problem;
use crate::questions::{KINDS, LONGEST_QUESTION, Written};
use crate::rate::Rate;
use crate::view::now;

/// Bytes of the path with the query.
const LONGEST_TARGET: usize = 8192;

/// Bytes of the body of a write.
const LONGEST_WRITE: usize = 16 << 10;

/// Requests that are answered in a second, those that are to be scored, and writes.
const REQUESTS_A_SECOND: u64 = 2_000;
const QUESTIONS_A_SECOND: u64 = 200;
const WRITES_A_SECOND: u64 = 20;

/// The header that every write has. A page of another site cannot send it: a browser asks here first whether it may, and hears
/// no.
const WRITE_HEADER: &str = "x-atalaya-write";

/// Where records are scored: they are posted and change nothing.
const SCORE: &str = "/api/v1/score";

/// How long a wrong secret waits for its answer.
const REFUSAL_DELAY: Duration = Duration::from_millis(250);

/// How often requests without any secret are logged at most, in milliseconds. Those with a wrong one always are.
const LOG_EVERY: i64 = 1000;

/// What tells whether the process works is asked by supervisors, who know no secret; it says nothing of the data.
const PUBLIC: [&str; 2] = ["/live", "/ready"];

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub SocketAddr);

/// What is checked.
#[derive(Debug)]
pub(crate) struct Guard {
    access: Access,
    refusals: AtomicU64,
    last_logged: AtomicI64,
    requests: Rate,
    questions: Rate,
    writes: Rate,
}

impl Guard {
    pub(crate) fn new(access: Access) -> Self {
        Self {
            access,
            refusals: AtomicU64::new(0),
            last_logged: AtomicI64::new(0),
            requests: Rate::default(),
            questions: Rate::default(),
            writes: Rate::default(),
        }
    }

    /// What is wrong with a request before its secret is looked at.
    fn problem(&self, request: &Request) -> Option<(StatusCode, &'static str)> {
        let headers = request.headers();
        if self.access.address.is_local() && !is_for_this_machine(request) {
            let why = "this address is reached as localhost or 127.0.0.1 only";
            return Some((StatusCode::MISDIRECTED_REQUEST, why));
        }
        if request.uri().path_and_query().is_some_and(|target| target.as_str().len() > LONGEST_TARGET) {
            return Some((StatusCode::URI_TOO_LONG, "the address is too long"));
        }
        let problem = match *request.method() {
            Method::POST if request.uri().path() == SCORE => self.problem_of_question(headers),
            Method::POST => self.problem_of_write(headers),
            _ if has_body(headers) => Some((StatusCode::PAYLOAD_TOO_LARGE, "requests have no body here")),
            _ => None,
        };
        if problem.is_some() {
            return problem;
        }
        if !self.requests.admits(now(), REQUESTS_A_SECOND) {
            return Some((StatusCode::TOO_MANY_REQUESTS, "there are too many requests: try again in a second"));
        }
        // A page of another site may link here, and may load nothing from here.
        let is = |name: &str, value: &str| headers.get(name).is_some_and(|it| it == value);
        if is("sec-fetch-site", "cross-site") && !is("sec-fetch-mode", "navigate") {
            return Some((StatusCode::FORBIDDEN, "other sites may not read this"));
        }
        None
    }

    /// What is wrong with a write: it comes from a page of this window or from a program, it is JSON, and it is short.
    fn problem_of_write(&self, headers: &HeaderMap) -> Option<(StatusCode, &'static str)> {
        if !is_of_this_site(headers) || !headers.contains_key(WRITE_HEADER) {
            let why = "only the pages of this window and programs that send the header X-Atalaya-Write may write here";
            return Some((StatusCode::FORBIDDEN, why));
        }
        if Written::of(headers) != Some(Written::Json) {
            return Some((StatusCode::UNSUPPORTED_MEDIA_TYPE, "a write is JSON: send Content-Type: application/json"));
        }
        if let Some(problem) = problem_of_length(headers, LONGEST_WRITE, "a write has at most 16 KiB") {
            return Some(problem);
        }
        if !self.writes.admits(now(), WRITES_A_SECOND) {
            return Some((StatusCode::TOO_MANY_REQUESTS, "there are too many writes: try again in a second"));
        }
        None
    }

    /// What is wrong with records that are to be scored. A page of another site could not read the answer, and cannot send any of
    /// these types either; so programs need no header of their own.
    fn problem_of_question(&self, headers: &HeaderMap) -> Option<(StatusCode, &'static str)> {
        if !is_of_this_site(headers) {
            return Some((StatusCode::FORBIDDEN, "only the pages of this window and programs may have records scored"));
        }
        if Written::of(headers).is_none() {
            return Some((StatusCode::UNSUPPORTED_MEDIA_TYPE, KINDS));
        }
        if let Some(problem) = problem_of_length(headers, LONGEST_QUESTION, "records have at most 256 KiB") {
            return Some(problem);
        }
        if !self.questions.admits(now(), QUESTIONS_A_SECOND) {
            return Some((StatusCode::TOO_MANY_REQUESTS, "too many records are to be scored: try again in a second"));
        }
        None
    }

    /// Every secret that was wrong is logged. A browser asks without one first, and so do many programs: of those, one a second
    /// is, with how many there were.
    fn log_refusal(&self, peer: Option<Peer>, path: &str, had_secret: bool) {
        let (refused, last) =
            (self.refusals.fetch_add(1, Ordering::Relaxed) + 1, self.last_logged.load(Ordering::Relaxed));
        let now = now();
        if !had_secret && now.saturating_sub(last) < LOG_EVERY {
            return;
        }
        self.last_logged.store(now, Ordering::Relaxed);
        let peer = peer.map_or_else(|| "unknown".to_owned(), |Peer(address)| address.to_string());
        tracing::warn!(peer, path, refused, "a request to the window without the right token or login was refused");
    }
}

fn text_of<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).map(|value| value.to_str().unwrap_or_default())
}

/// Whether a request is from a page of this window, or from a program.
fn is_of_this_site(headers: &HeaderMap) -> bool {
    match text_of(headers, &HeaderName::from_static("sec-fetch-site")) {
        Some(site) => site == "same-origin",
        // A browser that says nothing of sites says where its page is from.
        None => text_of(headers, &ORIGIN).is_none_or(|origin| {
            let of_page = origin.split_once("://").map(|(_, host)| host);
            of_page.is_some() && of_page == text_of(headers, &HOST)
        }),
    }
}

/// What is wrong with the length of a body.
fn problem_of_length(headers: &HeaderMap, most: usize, too_long: &'static str) -> Option<(StatusCode, &'static str)> {
    let Some(length) = text_of(headers, &CONTENT_LENGTH).and_then(|length| length.parse::<usize>().ok()) else {
        return Some((StatusCode::LENGTH_REQUIRED, "what is posted says its length: send Content-Length"));
    };
    let is_too_long = length > most || headers.contains_key(TRANSFER_ENCODING);
    is_too_long.then_some((StatusCode::PAYLOAD_TOO_LARGE, too_long))
}

/// Whether the names that a request has for this machine are names of this machine itself.
fn is_for_this_machine(request: &Request) -> bool {
    let mut hosts = request.headers().get_all(HOST).iter();
    let host = hosts.next().and_then(|host| host.to_str().ok());
    let is_in_target = request.uri().authority().is_none_or(|authority| is_local_host(authority.as_str()));
    is_in_target && hosts.next().is_none() && host.is_some_and(is_local_host)
}

fn has_body(headers: &HeaderMap) -> bool {
    let length = headers.get(CONTENT_LENGTH).is_some_and(|length| length != "0");
    length || headers.contains_key(TRANSFER_ENCODING)
}

/// Lets a request through or answers it, and adds what browsers have to know.
pub(crate) async fn guard(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    let answer = match guard.problem(&request) {
        Some((status, why)) => Problem::new(status, why.to_owned()).into_response(),
        None if PUBLIC.contains(&request.uri().path()) => next.run(request).await,
        None => guard.admitted(request, next).await,
    };
    with_headers(answer)
}

impl Guard {
    /// Lets a request through that knows what it has to.
    async fn admitted(&self, mut request: Request, next: Next) -> Response {
        match self.access.admit(request.headers()).await {
            Admission::Granted(who) => {
                if let Some(who) = who {
                    request.extensions_mut().insert(who);
                }
                next.run(request).await
            }
            Admission::Busy => {
                let why = "too many passwords are being verified: try again in a moment".to_owned();
                ([(RETRY_AFTER, "1")], Problem::new(StatusCode::SERVICE_UNAVAILABLE, why)).into_response()
            }
            Admission::Refused => {
                let had_secret = request.headers().contains_key(AUTHORIZATION);
                self.log_refusal(request.extensions().get().copied(), request.uri().path(), had_secret);
                tokio::time::sleep(REFUSAL_DELAY).await;
                let ask = [(WWW_AUTHENTICATE, "Basic realm=\"Atalaya\", charset=\"UTF-8\"")];
                (StatusCode::UNAUTHORIZED, ask, self.access.who_may_look()).into_response()
            }
        }
    }
}

/// Scripts, styles and data come from here alone; nothing that a record says can become one of them.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; \
                      trusted-types 'none'";

const HEADERS: [(&str, &str); 7] = [
    ("content-security-policy", POLICY),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("permissions-policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
];

fn with_headers(mut answer: Response) -> Response {
    let headers = answer.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    // Data of customers stays out of caches; a file of the page says itself how long it may be kept.
    headers.entry("cache-control").or_insert(HeaderValue::from_static("no-store"));
    answer
}
