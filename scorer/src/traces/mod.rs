//! Traces of the batches of a stream, for OpenTelemetry.
//!
//! The stream leaves a batch that came to its end in a queue that never waits. A thread sends what is in it, several at a time, by
//! OTLP over HTTP as JSON, and again where the receiver cannot take it now. What there is no room for is dropped and counted.

mod otlp;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use std::{io, thread};

use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode, Url};
use thiserror::Error;

use crate::kafka::{BatchTrace, OnBatch};
use otlp::{Resource, request};

/// Batches that may wait.
const MOST: usize = 2_048;

/// Batches of one request.
const AT_A_TIME: usize = 256;

/// How long a batch may wait for others before it is sent.
const EVERY: Duration = Duration::from_secs(5);

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long to wait before a request is sent again: after the first failure, and at most.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Why batches cannot be traced.
#[derive(Debug, Error)]
pub enum TraceError {
    /// The address is none.
    #[error("--otlp-endpoint must be an address such as http://localhost:4318: {0}")]
    Endpoint(String),
    /// What is to be sent with each request is no header. It may be a secret, so it is not shown.
    #[error("OTEL_EXPORTER_OTLP_HEADERS must be NAME=VALUE, several with commas between them")]
    Headers,
    /// The system has no threads, or no certificates.
    #[error("cannot make ready to send traces: {0}")]
    Start(String),
}

/// Traces on their way. What is left is sent by [`Traces::close`].
#[derive(Debug)]
pub struct Traces {
    queue: SyncSender<Option<BatchTrace>>,
    dropped: Arc<AtomicU64>,
    thread: JoinHandle<()>,
}

impl Traces {
    /// Begins to send to a receiver, with these headers (`NAME=VALUE`, with commas between them). `resource` is what all traces are of.
    ///
    /// # Errors
    /// [`TraceError`].
    pub fn start(endpoint: &str, headers: &str, resource: Resource) -> Result<Self, TraceError> {
        let receiver = Remote::new(endpoint, headers)?;
        let (queue, batches) = sync_channel(MOST);
        let dropped = Arc::<AtomicU64>::default();
        let sender = Sender {
            receiver,
            resource,
            waiting: VecDeque::new(),
            dropped: dropped.clone(),
            failures: 0,
            not_before: None,
        };
        let work = move || sender.serve(&batches, EVERY);
        let thread = thread::Builder::new().name("traces".to_owned()).spawn(work).map_err(failed)?;
        Ok(Self { queue, dropped, thread })
    }

    /// Takes batches. It never waits.
    pub fn on_batch(&self) -> OnBatch {
        let (queue, dropped) = (self.queue.clone(), self.dropped.clone());
        Arc::new(move |batch| {
            if queue.try_send(Some(batch)).is_err() {
                dropped.fetch_add(1, Ordering::Relaxed);
            }
        })
    }

    /// Sends what is left, once, and ends. Blocks for as long as that takes.
    pub fn close(self) {
        let Self { queue, dropped, thread } = self;
        // Where nobody takes it, the thread has ended.
        let _ = queue.send(None);
        let _ = thread.join();
        let dropped = dropped.load(Ordering::Relaxed);
        if dropped > 0 {
            tracing::warn!(dropped, "traces of batches were not sent");
        }
    }
}

fn failed(error: io::Error) -> TraceError {
    TraceError::Start(error.to_string())
}

/// The thread that sends.
struct Sender {
    receiver: Remote,
    resource: Resource,
    waiting: VecDeque<BatchTrace>,
    dropped: Arc<AtomicU64>,
    /// Failures in a row.
    failures: u32,
    /// The receiver is left alone until then.
    not_before: Option<Instant>,
}

impl Sender {
    /// Sends what comes until somebody ends it, or nobody is left who could leave anything.
    fn serve(mut self, batches: &Receiver<Option<BatchTrace>>, every: Duration) {
        let mut next = Instant::now() + every;
        loop {
            let due = self.not_before.map_or(next, |not_before| next.max(not_before));
            match batches.recv_timeout(due.saturating_duration_since(Instant::now())) {
                Ok(Some(batch)) => self.add(batch),
                Ok(None) | Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {}
            }
            let may_send = self.not_before.is_none_or(|not_before| Instant::now() >= not_before);
            let is_due = self.waiting.len() >= AT_A_TIME || Instant::now() >= next;
            if may_send && is_due {
                self.send();
                next = Instant::now() + every;
            }
        }
        // Once more, whenever the receiver wanted to be asked again.
        while !self.waiting.is_empty() {
            if !self.send() {
                self.drop_oldest(self.waiting.len());
            }
        }
    }

    fn add(&mut self, batch: BatchTrace) {
        self.waiting.push_back(batch);
        self.drop_oldest(self.waiting.len().saturating_sub(MOST));
    }

    fn drop_oldest(&mut self, n: usize) {
        self.waiting.drain(..n);
        self.dropped.fetch_add(n as u64, Ordering::Relaxed);
    }

    /// Sends the oldest of what waits. Whether it is over with these, one way or the other.
    fn send(&mut self) -> bool {
        let n = self.waiting.len().min(AT_A_TIME);
        if n == 0 {
            return true;
        }
        let (now, time) = (Instant::now(), SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default());
        let nanos = |at: Instant| u64::try_from(time.saturating_sub(now - at).as_nanos()).unwrap_or(0);
        let random = || RandomState::new().hash_one(0);
        let body = request(self.waiting.make_contiguous().get(..n).unwrap_or_default(), &self.resource, nanos, random);
        match self.receiver.post(body.to_string()) {
            Ok(()) => {
                self.waiting.drain(..n);
                (self.failures, self.not_before) = (0, None);
                true
            }
            Err(PostError::Refused(why)) => {
                tracing::warn!(why, traces = n, "traces of batches were refused");
                self.drop_oldest(n);
                true
            }
            Err(PostError::Later(why, wait)) => {
                // An outage is one line.
                if self.failures == 0 {
                    tracing::warn!(why, "traces of batches are sent later");
                }
                let doubled = FIRST_PAUSE.saturating_mul(1 << self.failures.min(6)).min(LONGEST_PAUSE);
                self.failures = self.failures.saturating_add(1);
                self.not_before = Some(Instant::now() + wait.unwrap_or(doubled).min(LONGEST_PAUSE));
                false
            }
        }
    }
}

/// Who receives traces.
#[derive(Debug)]
struct Remote {
    client: Client,
    url: Url,
    headers: HeaderMap,
}

/// Why a request was not taken. No text of it has an address.
enum PostError {
    /// It never is.
    Refused(String),
    /// It may be later: after so long, if the receiver says so.
    Later(String, Option<Duration>),
}

impl Remote {
    fn new(endpoint: &str, headers: &str) -> Result<Self, TraceError> {
        let bad = |why: String| TraceError::Endpoint(why);
        let url = Url::parse(&format!("{}/v1/traces", endpoint.trim_end_matches('/')));
        let url = url.map_err(|error| bad(error.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(bad("it has to begin with https:// or http://".to_owned()));
        }
        let agent = concat!("atalaya/", env!("CARGO_PKG_VERSION"));
        let client = Client::builder().timeout(PATIENCE).redirect(Policy::none()).user_agent(agent);
        // A connection that waits would belong to a runtime that is gone by then.
        let client = client.pool_max_idle_per_host(0).build();
        let client = client.map_err(|error| TraceError::Start(error.without_url().to_string()))?;
        Ok(Self { client, url, headers: read_headers(headers).ok_or(TraceError::Headers)? })
    }

    fn post(&self, body: String) -> Result<(), PostError> {
        let later = |why: String| PostError::Later(why, None);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| later(format!("the system gives no timers: {error}")))?;
        // Timers are set when it is sent, which has to be within the runtime.
        let answer = runtime.block_on(async {
            let asked = self.client.post(self.url.clone()).headers(self.headers.clone()).body(body);
            asked.send().await
        });
        let answer = answer.map_err(|error| later(in_words(error)))?;
        let status = answer.status();
        let said = format!("the receiver answered {}", status.as_u16());
        match status {
            _ if status.is_success() => Ok(()),
            // The specification names those that may pass.
            StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => Err(PostError::Later(said, wait(answer.headers()))),
            _ => Err(PostError::Refused(said)),
        }
    }
}

/// What went wrong, without the address: it may hold a secret.
fn in_words(error: reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".to_owned();
    }
    let error = error.without_url();
    let mut cause: &dyn std::error::Error = &error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// Headers as the specification writes them: `NAME=VALUE`, with commas between them; `%20` is a space.
fn read_headers(text: &str) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=')?;
        let mut value = HeaderValue::from_bytes(&decoded(value.trim())?).ok()?;
        value.set_sensitive(true);
        headers.insert(name.trim().parse::<HeaderName>().ok()?, value);
    }
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Some(headers)
}

/// The bytes of a text in which `%` and two digits are a byte; `None` where no two digits follow.
fn decoded(text: &str) -> Option<Vec<u8>> {
    let (mut bytes, mut decoded) = (text.bytes(), Vec::with_capacity(text.len()));
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => {
                let digits = [bytes.next()?, bytes.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            byte => byte,
        });
    }
    Some(decoded)
}

fn wait(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}
