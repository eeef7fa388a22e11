//! A webhook of Slack, or of what takes the same: Mattermost, Rocket.Chat, Discord (`/slack`).

use std::time::Duration;

use serde_json::json;

use super::http::{ChannelError, Http};
use super::text;
use crate::alert::Alert;
use crate::channel::{Channel, SendError};
use crate::secret::Secret;
use crate::template::{Template, TemplateError};

/// Characters of a message; Slack cuts longer ones.
const LONGEST: usize = 12_000;

/// A webhook of Slack.
#[derive(Debug)]
pub struct Slack {
    http: Http,
    text: Template,
}

impl Slack {
    /// The template of a text; without one, title and text as they are.
    ///
    /// # Errors
    /// [`TemplateError`].
    pub fn template(source: Option<&str>) -> Result<Template, TemplateError> {
        let usual = format!("*{}*\n{}", text::TITLE, text::TEXT);
        Template::escaping(source.unwrap_or(&usual), escape)
    }

    /// Posts to an address.
    ///
    /// # Errors
    /// [`ChannelError`].
    pub fn new(url: &Secret, text: Template, patience: Duration) -> Result<Self, ChannelError> {
        Ok(Self { http: Http::new(url, patience)?, text })
    }
}

/// Slack's own rules: these three characters. Without it, a record could mention everybody.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

impl Channel for Slack {
    fn send(&self, alert: &Alert) -> Result<(), SendError> {
        let mut text = self.text.render(alert).map_err(|error| SendError::Refused(error.to_string()))?;
        text.truncate(text.floor_char_boundary(LONGEST));
        let body = json!({ "text": text }).to_string();
        let headers = [("content-type", "application/json".to_owned()), ("idempotency-key", alert.id.clone())];
        self.http.post(body, &headers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_mentions_nobody() {
        let mut alert = Alert::test("invoices", "bad", 5);
        alert.anomalies[0].reason = "<!channel> & more".to_owned();
        let text = Slack::template(None).unwrap().render(&alert).unwrap();
        assert!(text.contains("&lt;!channel&gt; &amp; more") && text.starts_with("*[TEST low] bad: "), "{text}");
    }
}
