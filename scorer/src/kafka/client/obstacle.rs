//! Why no broker can be reached, by what librdkafka says of its connections.
//!
//! It has codes for few of the causes, and says the others in words.

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::KafkaError as ClientError;

use super::settings::log_client;
use super::token;

/// Most bytes of the broker's own words that are repeated.
const MAX_WORDS: usize = 300;

/// A connection that lives for longer has answered something.
const NEW: Duration = Duration::from_secs(5);

/// What stands between a client and a broker; what tells most of the cause comes last.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Obstacle {
    /// Nothing listens there.
    NotListening,
    /// Nobody knows the host.
    UnknownHost(String),
    /// The broker at this address ends connections at the first question: it may want a login.
    ClosedLater(String),
    /// The broker at this address ends connections before anything is asked: it may want TLS, or not know it.
    Closed(String),
    /// The broker at this address and this client do not come to terms about TLS.
    Tls(String),
    /// The broker at this address does not take the login, and says why.
    Login { address: String, words: String },
}

impl Obstacle {
    /// What a message of librdkafka's about a connection tells, such as
    /// `sasl_ssl://host:9093/bootstrap: SSL handshake failed: ... (after 5ms in state SSL_HANDSHAKE)`.
    pub(crate) fn of(message: &str) -> Option<Self> {
        let (address, said) = address_and_words(message);
        let has = |part: &str| said.contains(part);
        if let Some((_, host)) = said.split_once("Failed to resolve '") {
            let host = host.split('\'').next().unwrap_or_default();
            return Some(Self::UnknownHost(without_port(host).to_owned()));
        }
        if has("SASL authentication error") || has("SASL authentication failure") || has("mechanism handshake failed") {
            return Some(Self::Login { address, words: words(said) });
        }
        if has("might require SASL authentication") || has("UnsupportedSaslMechanism") {
            let words = "it wants a login, and none is set".to_owned();
            return Some(Self::Login { address, words });
        }
        // A broker without TLS takes the greeting for a request that is too large.
        if has("SSL handshake failed") || has("verify broker certificate") || has("SSL transport error") {
            return Some(Self::Tls(address));
        }
        if has("Connection refused") {
            return Some(Self::NotListening);
        }
        // The answer of TLS to a request without it is no answer of a broker's.
        let is_closed = has("Disconnected") || has("connection closed by peer") || has("Connection reset");
        let is_before_any_answer = has("in state APIVERSION_QUERY") || has("in state CONNECT") || has("SSL listener?");
        let is_no_frame = has("Invalid frame size") || has("Invalid response size");
        if is_no_frame || (is_closed && is_before_any_answer) {
            return Some(Self::Closed(address));
        }
        let is_new = age(said).is_some_and(|age| age < NEW);
        (is_closed && is_new && has("in state UP")).then_some(Self::ClosedLater(address))
    }

    /// Whether waiting does not help: somebody has to change a setting first.
    pub(crate) fn is_lasting(&self) -> bool {
        matches!(self, Self::Closed(_) | Self::Tls(_) | Self::Login { .. })
    }
}

/// The address that a message begins with, behind the thread that logs it, and the rest.
fn address_and_words(message: &str) -> (String, &str) {
    let message = message.strip_prefix("[thrd:").and_then(|rest| rest.split_once("]: ")).map_or(message, |(_, it)| it);
    let (name, said) = message.split_once(": ").unwrap_or(("", message));
    let name = name.split_once("://").map_or(name, |(_, name)| name);
    (name.split('/').next().unwrap_or_default().to_owned(), said)
}

/// How long a connection was in the state in which it ended.
fn age(said: &str) -> Option<Duration> {
    let (_, after) = said.rsplit_once("(after ")?;
    after.split_once("ms ")?.0.parse().ok().map(Duration::from_millis)
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, _)) if host.parse::<IpAddr>().is_err() => name,
        _ => host,
    }
}

/// The broker's words of what librdkafka says, without its own before and behind.
fn words(said: &str) -> String {
    let said = said.rsplit_once(" (after ").map_or(said, |(said, _)| said);
    let said = said.split_once("SASL authentication error: ").map_or(said, |(_, words)| words);
    said[..said.floor_char_boundary(MAX_WORDS)].trim_end_matches('.').to_owned()
}

/// Keeps what a client says of its connections.
#[derive(Debug, Default)]
pub(crate) struct Listener {
    worst: Mutex<Option<Obstacle>>,
}

impl Listener {
    /// What tells most of all that was said so far.
    pub(crate) fn obstacle(&self) -> Option<Obstacle> {
        self.worst.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn hear(&self, message: &str) {
        let heard = Obstacle::of(message);
        let mut worst = self.worst.lock().unwrap_or_else(PoisonError::into_inner);
        if heard > *worst {
            *worst = heard;
        }
    }
}

impl ClientContext for Listener {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.hear(message);
        log_client(level, facility, message);
    }

    fn error(&self, error: ClientError, reason: &str) {
        self.hear(reason);
        tracing::debug!(%error, reason, "connecting");
    }

    fn generate_oauth_token(&self, config: Option<&str>) -> token::Answer {
        token::of_config(config)
    }
}

impl ConsumerContext for Listener {}

#[cfg(test)]
mod tests {
    use super::*;

    /// As librdkafka 2.12 writes them.
    #[test]
    fn what_librdkafka_says_tells_the_cause() {
        let login = |words: &str| {
            Some(Obstacle::Login { address: "kafka.bank.example:9094".to_owned(), words: words.to_owned() })
        };
        let address = || "localhost:9093".to_owned();
        let cases = [
            (
                "nosuchhost:9092/bootstrap: Failed to resolve 'nosuchhost:9092': Name or service not known (after 9ms in \
                 state CONNECT)",
                Some(Obstacle::UnknownHost("nosuchhost".to_owned())),
            ),
            (
                "[thrd:ssl://localhost:9093/bootstrap]: ssl://localhost:9093/bootstrap: Disconnected: SSL connection closed \
                 by peer (after 3ms in state UP)",
                Some(Obstacle::ClosedLater(address())),
            ),
            (
                "localhost:9/bootstrap: Connect to ipv4#127.0.0.1:9 failed: Connection refused (after 0ms in state CONNECT)",
                Some(Obstacle::NotListening),
            ),
            (
                "ssl://localhost:9093/bootstrap: SSL handshake failed: error:0A000086:SSL routines::certificate verify \
                 failed: broker certificate could not be verified, verify that ssl.ca.location is correctly configured or \
                 root CA certificates are installed (install ca-certificates package) (after 5ms in state SSL_HANDSHAKE)",
                Some(Obstacle::Tls(address())),
            ),
            (
                "[thrd:ssl://localhost:9093/bootstrap]: ssl://localhost:9093/bootstrap: SSL handshake failed: Disconnected: \
                 connection closed by peer: connecting to a PLAINTEXT broker listener? (after 2ms in state SSL_HANDSHAKE)",
                Some(Obstacle::Tls(address())),
            ),
            (
                "sasl_ssl://kafka.bank.example:9094/bootstrap: SASL authentication error: Authentication failed during \
                 authentication due to invalid credentials with SASL mechanism SCRAM-SHA-512 (after 320ms in state \
                 AUTH_REQ, 4 identical error(s) suppressed)",
                login(
                    "Authentication failed during authentication due to invalid credentials with SASL mechanism \
                     SCRAM-SHA-512",
                ),
            ),
            (
                "sasl_ssl://kafka.bank.example:9094/bootstrap: SASL PLAIN mechanism handshake failed: Broker: Unsupported \
                 SASL mechanism: broker's supported mechanisms: SCRAM-SHA-512 (after 1ms in state AUTH_HANDSHAKE)",
                login(
                    "SASL PLAIN mechanism handshake failed: Broker: Unsupported SASL mechanism: broker's supported \
                     mechanisms: SCRAM-SHA-512",
                ),
            ),
            (
                "localhost:9093/bootstrap: Disconnected: connection closed by peer: requesting ApiVersion: \
                 might be caused by incorrect security.protocol configuration (connecting to a SSL listener?) or broker \
                 version is < 0.10 (see api.version.request) (after 1ms in state APIVERSION_QUERY)",
                Some(Obstacle::Closed(address())),
            ),
            (
                "localhost:9093/bootstrap: Receive failed: Invalid frame size 352518912 (after 0ms in state \
                 APIVERSION_QUERY)",
                Some(Obstacle::Closed(address())),
            ),
            // An idle connection that a broker closes is nothing.
            ("localhost:9093/1: Disconnected: connection closed by peer (after 600000ms in state UP)", None),
            ("1/1 brokers are down", None),
            ("", None),
        ];
        for (message, expected) in cases {
            assert_eq!(Obstacle::of(message), expected, "{message}");
        }
    }

    #[test]
    fn what_tells_most_is_kept() {
        let listener = Listener::default();
        let heard = |message: &str| {
            listener.hear(message);
            listener.obstacle()
        };
        assert_eq!(heard("1/1 brokers are down"), None);
        assert_eq!(heard("a:9/1: Connect to ipv4#1.2.3.4:9 failed: Connection refused"), Some(Obstacle::NotListening));
        let tls = Obstacle::Tls("a:9".to_owned());
        assert_eq!(heard("ssl://a:9/1: SSL handshake failed: error"), Some(tls.clone()));
        assert_eq!(heard("a:9/1: Connect to ipv4#1.2.3.4:9 failed: Connection refused"), Some(tls.clone()));
        assert!(tls.is_lasting() && !Obstacle::NotListening.is_lasting());
    }
}
