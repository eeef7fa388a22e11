//! A webhook: the alert as JSON, signed as <https://www.standardwebhooks.com> describes.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;

use super::http::{ChannelError, Http};
use crate::alert::Alert;
use crate::channel::{Channel, SendError};
use crate::secret::Secret;
use crate::template::Template;

/// What a secret begins with whose rest is base64.
const ENCODED: &str = "whsec_";

/// A webhook.
#[derive(Debug)]
pub struct Webhook {
    http: Http,
    key: Option<hmac::Key>,
    body: Option<Template>,
}

impl Webhook {
    /// Posts to an address; with a secret, requests are signed; with a template, the body is what it makes.
    ///
    /// # Errors
    /// [`ChannelError`].
    pub fn new(
        url: &Secret,
        secret: Option<&Secret>,
        body: Option<Template>,
        patience: Duration,
    ) -> Result<Self, ChannelError> {
        Ok(Self { http: Http::new(url, patience)?, key: secret.map(key).transpose()?, body })
    }
}

fn key(secret: &Secret) -> Result<hmac::Key, ChannelError> {
    let text = secret.reveal();
    let bytes = match text.strip_prefix(ENCODED) {
        Some(encoded) => STANDARD.decode(encoded).map_err(|_| ChannelError::Secret)?,
        None => text.as_bytes().to_vec(),
    };
    Ok(hmac::Key::new(hmac::HMAC_SHA256, &bytes))
}

/// The signature of a message: of its id, the second at which it is sent, and its body.
fn sign(key: &hmac::Key, id: &str, seconds: u64, body: &str) -> String {
    let tag = hmac::sign(key, format!("{id}.{seconds}.{body}").as_bytes());
    format!("v1,{}", STANDARD.encode(tag))
}

/// The signature of a message with this secret, as the header `webhook-signature` has it: for whoever receives one.
///
/// # Errors
/// [`ChannelError::Secret`].
pub fn signature(secret: &Secret, id: &str, seconds: u64, body: &str) -> Result<String, ChannelError> {
    Ok(sign(&key(secret)?, id, seconds, body))
}

impl Channel for Webhook {
    fn send(&self, alert: &Alert) -> Result<(), SendError> {
        let body = match &self.body {
            Some(template) => template.render(alert).map_err(|error| SendError::Refused(error.to_string()))?,
            None => serde_json::to_string(alert).map_err(|error| SendError::Refused(error.to_string()))?,
        };
        // A receiver refuses what is signed for another time, so each attempt is signed anew.
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let mut headers = vec![
            ("content-type", "application/json".to_owned()),
            ("idempotency-key", alert.id.clone()),
            ("webhook-id", alert.id.clone()),
            ("webhook-timestamp", seconds.to_string()),
        ];
        headers.extend(self.key.as_ref().map(|key| ("webhook-signature", sign(key, &alert.id, seconds, &body))));
        self.http.post(body, &headers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification of Standard Webhooks.
    #[test]
    fn a_signature_is_that_of_the_specification() {
        let secret = Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let body = r#"{"test": 2432232314}"#;
        let found = signature(&secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body).unwrap();
        assert_eq!(found, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_secret_is_a_text_or_base64() {
        let sign = |secret: &str| signature(&Secret::new(secret), "a", 1, "b");
        assert_eq!(sign("whsec_cGxhaW4=").unwrap(), sign("plain").unwrap());
        assert!(matches!(sign("whsec_???"), Err(ChannelError::Secret)));
    }
}
