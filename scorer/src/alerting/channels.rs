//! Channels, made ready to send.

use std::time::Duration;

use alerts::{Alertmanager, Channel, ChannelError, Slack, Template, TemplateError, Webhook};
#[cfg(feature = "email")]
use alerts::{Email, EmailSettings, Security};
#[cfg(feature = "email")]
use shared::pipeline::MailSecurity;
use shared::pipeline::{ChannelKind, ChannelSpec};
use thiserror::Error;

use super::secrets::{SecretError, read};
use crate::kafka::{AlertTopic, KafkaError, KafkaSettings};

/// A channel of the pipeline file that cannot be made ready.
#[derive(Debug, Error)]
pub enum ChannelsError {
    /// A secret is missing.
    #[error("[[channels]] {0}: {1}")]
    Secret(String, SecretError),
    /// An address or a key is none.
    #[error("[[channels]] {0}: {1}")]
    Channel(String, ChannelError),
    /// A template is none.
    #[error("[[channels]] {0}: {1}")]
    Template(String, TemplateError),
    /// A producer cannot be made.
    #[error("[[channels]] {0}: {1}")]
    Kafka(String, KafkaError),
    /// The program cannot send mails.
    #[error("[[channels]] {0}: this program was built without e-mail: build it with `--features email`")]
    NoEmail(String),
}

/// The kind of a channel, as people see it.
pub fn kind(spec: &ChannelSpec) -> &'static str {
    spec.kind.name()
}

/// Makes a channel ready: reads its secrets, and tries its templates.
///
/// # Errors
/// [`ChannelsError`]; none of its texts has a secret.
pub fn channel(spec: &ChannelSpec, settings: &KafkaSettings) -> Result<Box<dyn Channel>, ChannelsError> {
    let name = || spec.name.clone();
    let secret = |reference| read(reference).map_err(|error| ChannelsError::Secret(name(), error));
    let made = |error| ChannelsError::Channel(name(), error);
    let filled = |error| ChannelsError::Template(name(), error);
    let patience = Duration::from_millis(u64::try_from(spec.timeout).unwrap_or(u64::MAX));
    Ok(match &spec.kind {
        ChannelKind::Webhook { url, secret: key } => {
            let key = key.as_ref().map(secret).transpose()?;
            let body = spec.text.as_deref().map(Template::new).transpose().map_err(filled)?;
            Box::new(Webhook::new(&secret(url)?, key.as_ref(), body, patience).map_err(made)?)
        }
        ChannelKind::Slack { url } => {
            let text = Slack::template(spec.text.as_deref()).map_err(filled)?;
            Box::new(Slack::new(&secret(url)?, text, patience).map_err(made)?)
        }
        ChannelKind::Alertmanager { url } => Box::new(Alertmanager::new(&secret(url)?, patience).map_err(made)?),
        ChannelKind::Kafka { topic } => {
            Box::new(AlertTopic::new(settings, topic).map_err(|error| ChannelsError::Kafka(name(), error))?)
        }
        #[cfg(feature = "email")]
        ChannelKind::Email { host, port, security, login, from, to } => {
            let login = login.as_ref().map(|(user, password)| Ok((secret(user)?, secret(password)?))).transpose()?;
            let settings = EmailSettings {
                host: host.clone(),
                port: *port,
                security: match security {
                    MailSecurity::None => Security::None,
                    MailSecurity::StartTls => Security::StartTls,
                    MailSecurity::Tls => Security::Tls,
                },
                login,
                from: from.clone(),
                to: to.clone(),
                patience,
            };
            let templates = Email::templates(spec.title.as_deref(), spec.text.as_deref()).map_err(filled)?;
            Box::new(Email::new(settings, templates).map_err(made)?)
        }
        #[cfg(not(feature = "email"))]
        ChannelKind::Email { .. } => return Err(ChannelsError::NoEmail(name())),
    })
}
