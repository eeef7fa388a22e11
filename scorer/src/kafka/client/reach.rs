//! Reaching a broker for the first time, or why it cannot be reached.

use std::time::Duration;

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::Consumer as _;

use super::error::{CONNECT_TIMEOUT, KafkaError};
use super::obstacle::{Listener, Obstacle};
use super::settings::{KafkaSettings, create_consumer};
use super::tls_probe::{self, Authorities, Greeting};

/// How long it takes until what stands in the way for good is told.
const FIRST_ATTEMPT: Duration = Duration::from_secs(2);

/// How long a client that has not reached anybody is listened to.
const HEARING: Duration = Duration::from_millis(100);

impl KafkaSettings {
    /// Waits for a broker to answer, and returns the names of its topics and how many partitions each has.
    ///
    /// # Errors
    /// What stands in the way, after ten seconds; after two where waiting does not help.
    pub fn connect(&self) -> Result<Vec<(String, usize)>, KafkaError> {
        let mut config = self.client(&[]);
        // Of a broker that hangs up, the client says so at this level.
        config.set_log_level(RDKafkaLogLevel::Info);
        let consumer = create_consumer(&config, Listener::default())?;
        let ask = |timeout: Duration| {
            let answer = consumer.fetch_metadata(None, timeout);
            // What the client says of itself is heard then, all of it: a poll that does not wait hears one message.
            while answer.is_err() && consumer.poll(HEARING).is_some() {}
            answer
        };
        let is_lasting = || consumer.context().obstacle().is_some_and(|obstacle| obstacle.is_lasting());
        let answer = ask(FIRST_ATTEMPT);
        let answer = if answer.is_err() && !is_lasting() { ask(CONNECT_TIMEOUT - FIRST_ATTEMPT) } else { answer };
        let metadata = answer.map_err(|_| self.unreachable(consumer.context().obstacle()))?;
        Ok(metadata.topics().iter().map(|topic| (topic.name().to_owned(), topic.partitions().len())).collect())
    }

    /// Why no broker was reached.
    fn unreachable(&self, obstacle: Option<Obstacle>) -> KafkaError {
        let brokers = self.brokers.clone();
        match obstacle {
            None => KafkaError::Unreachable { brokers },
            Some(Obstacle::NotListening) => KafkaError::NotListening { brokers },
            Some(Obstacle::UnknownHost(host)) => KafkaError::UnknownHost { host },
            Some(Obstacle::Login { address, words }) => KafkaError::Login { address, words },
            Some(Obstacle::ClosedLater(address)) if !self.logs_in() => {
                let words = "it ends connections at the first question, and no login is set".to_owned();
                KafkaError::Login { address, words }
            }
            Some(Obstacle::ClosedLater(_)) => KafkaError::Unreachable { brokers },
            Some(Obstacle::Tls(address) | Obstacle::Closed(address)) => {
                let greeting = tls_probe::greet(&address, &self.authorities());
                match tls_problem(&greeting, self.speaks_tls()) {
                    Some(problem) => KafkaError::Tls { address, problem },
                    None => KafkaError::Unreachable { brokers },
                }
            }
        }
    }

    fn logs_in(&self) -> bool {
        self.property("security.protocol").is_some_and(|protocol| protocol.to_ascii_lowercase().starts_with("sasl"))
    }

    fn authorities(&self) -> Authorities {
        match (self.property("ssl.ca.pem"), self.property("ssl.ca.location")) {
            (Some(pem), _) => Authorities::Pem(pem),
            (None, Some(path)) if path != "probe" => Authorities::Of(path),
            _ => Authorities::Usual,
        }
    }
}

/// What is wrong between this program and a broker that answers a greeting by TLS so; `None` where that does not tell.
fn tls_problem(greeting: &Greeting, speaks_tls: bool) -> Option<String> {
    const EXPECTS: &str =
        "the broker expects TLS: set security.protocol to SSL, or with a login to SASL_SSL, in --kafka-config";
    const VERIFY: &str = "with ssl.truststore.location (PEM) in --kafka-config";
    Some(match greeting {
        Greeting::NoTls if speaks_tls => {
            "the broker does not speak TLS there: name its port for TLS with --brokers, or set \
             security.protocol to PLAINTEXT, or with a login to SASL_PLAINTEXT"
                .to_owned()
        }
        Greeting::NoTls | Greeting::Silent => return None,
        _ if !speaks_tls => EXPECTS.to_owned(),
        Greeting::Expired => "the certificate of the broker has expired: have it renewed".to_owned(),
        Greeting::NotYetValid => "the certificate of the broker is not valid yet: look at the clocks".to_owned(),
        Greeting::OtherName(names) => {
            let names = if names.is_empty() { "none of this name".to_owned() } else { names.join(", ") };
            format!("the certificate of the broker is for other names ({names}): use one of them with --brokers")
        }
        Greeting::Untrusted => {
            format!(
                "nobody who is trusted vouches for the certificate of the broker: name that of its authority {VERIFY}"
            )
        }
        Greeting::Failed(why) => {
            format!("TLS fails ({why}): look at the certificate of the broker, and name that of its authority {VERIFY}")
        }
        Greeting::Valid => {
            "TLS fails though the certificate of the broker is valid: it may ask for one of this program, \
             which ssl.keystore.location names in --kafka-config"
                .to_owned()
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_greeting_tells_depends_on_what_was_to_be_spoken() {
        let says = |greeting: Greeting, speaks_tls: bool| tls_problem(&greeting, speaks_tls).unwrap_or_default();
        assert!(says(Greeting::NoTls, true).contains("does not speak TLS there"));
        assert_eq!(says(Greeting::NoTls, false), "", "it closed for another reason");
        for greeting in [Greeting::Valid, Greeting::Untrusted, Greeting::Expired] {
            assert!(says(greeting, false).starts_with("the broker expects TLS"));
        }
        assert!(says(Greeting::Expired, true).contains("has expired"));
        assert!(says(Greeting::NotYetValid, true).contains("not valid yet"));
        assert!(says(Greeting::OtherName(vec!["a.b".to_owned(), "c".to_owned()]), true).contains("(a.b, c)"));
        assert!(says(Greeting::Untrusted, true).contains("nobody who is trusted"));
        assert!(says(Greeting::Failed("odd".to_owned()), true).contains("TLS fails (odd)"));
        assert!(says(Greeting::Valid, true).contains("ssl.keystore.location"));
    }

    /// Each within its time, and none of them as if no broker were there.
    #[test]
    fn a_host_that_nobody_knows_and_a_port_where_nothing_listens_are_told() {
        let connect = |brokers: &str| KafkaSettings::at(brokers).connect().unwrap_err();
        assert!(matches!(connect("127.0.0.1:1"), KafkaError::NotListening { .. }));
        let unknown = connect("no-such-host.invalid:9092");
        assert!(matches!(&unknown, KafkaError::UnknownHost { host } if host == "no-such-host.invalid"), "{unknown}");
    }
}
