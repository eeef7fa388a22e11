//! One request, and what its answer means.

use std::net::IpAddr;
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode, Url};
use thiserror::Error;
use tokio::runtime::Builder;

use crate::channel::SendError;
use crate::secret::Secret;

/// The longest time that a receiver may ask to be left alone.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// A channel that cannot be made.
#[derive(Debug, Error)]
pub enum ChannelError {
    /// The address is none. It may hold a secret, so it is not shown.
    #[error("the url must be an address such as https://example.org/hook ({0})")]
    Url(String),
    /// The system has no threads, or no certificates.
    #[error("cannot make ready to send: {0}")]
    Start(String),
    /// The key of a signature is none.
    #[error("the secret begins with whsec_, and what follows is not base64")]
    Secret,
    /// A mailbox is none.
    #[error("`{0}` is no e-mail address")]
    Mailbox(String),
}

/// Sends requests to one address.
#[derive(Debug)]
pub struct Http {
    client: Client,
    url: Secret,
}

impl Http {
    /// Makes ready to send to an address. The whole of a request and its answer may take as long as `patience`.
    ///
    /// # Errors
    /// [`ChannelError`].
    pub fn new(url: &Secret, patience: Duration) -> Result<Self, ChannelError> {
        let parsed = Url::parse(url.reveal()).map_err(|error| ChannelError::Url(error.to_string()))?;
        if !matches!(parsed.scheme(), "http" | "https") {
            return Err(ChannelError::Url("it has to begin with https:// or http://".to_owned()));
        }
        let agent = concat!("atalaya/", env!("CARGO_PKG_VERSION"));
        let mut client = Client::builder().timeout(patience).redirect(Policy::none()).user_agent(agent);
        // The next alert may come in hours: a connection that waits for it is closed by then.
        client = client.pool_max_idle_per_host(0);
        if is_of_this_machine(&parsed) {
            client = client.no_proxy();
        }
        let client = client.build().map_err(|error| ChannelError::Start(error.without_url().to_string()))?;
        Ok(Self { client, url: url.clone() })
    }

    /// Posts a body.
    ///
    /// # Errors
    /// [`SendError`]: a receiver that says that it is the message that is wrong never gets it again. Everything else may be
    /// mended, so it is tried again.
    pub fn post(&self, body: String, headers: &[(&'static str, String)]) -> Result<(), SendError> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let value = HeaderValue::from_str(value).map_err(|_| SendError::Refused(format!("{name} is no header")))?;
            map.insert(HeaderName::from_static(name), value);
        }
        let request = self.client.post(self.url.reveal()).headers(map).body(body);
        // Whoever sends is a thread that may wait, and alerts are rare: a runtime lives as long as a request.
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| SendError::later(format!("the system gives no timers: {error}")))?;
        let answer = runtime.block_on(async { request.send().await });
        let answer = answer.map_err(|error| SendError::later(in_words(error)))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        let said = format!("the receiver answered {}", status.as_u16());
        match status {
            StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE | StatusCode::UNPROCESSABLE_ENTITY => {
                Err(SendError::Refused(said))
            }
            _ if status.is_redirection() => {
                Err(SendError::later(format!("{said}, which leads elsewhere: name the address itself")))
            }
            _ => Err(SendError::Later { cause: said, wait: wait(answer.headers()) }),
        }
    }
}

/// What went wrong, without the address: it may hold a secret.
fn in_words(error: reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".to_owned();
    }
    let what = if error.is_connect() { "cannot connect" } else { "the request failed" };
    let error = error.without_url();
    let mut cause: &dyn std::error::Error = &error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    format!("{what}: {cause}")
}

fn wait(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(LONGEST_WAIT))
}

fn is_of_this_machine(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    host == "localhost" || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}
