//! E-mail, through a server that takes it from us (SMTP).

use std::time::Duration;

use lettre::message::Mailbox;
use lettre::message::header::ContentType;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::{Message, SmtpTransport, Transport as _};

use super::http::ChannelError;
use super::text;
use crate::alert::Alert;
use crate::channel::{Channel, SendError};
use crate::secret::Secret;
use crate::template::{Template, TemplateError, one_line};

/// How the connection is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    /// Not at all.
    None,
    /// After a greeting, and never without.
    StartTls,
    /// From the first byte on.
    Tls,
}

/// How e-mail is sent.
#[derive(Debug, Clone)]
pub struct EmailSettings {
    /// The server.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the connection is encrypted.
    pub security: Security,
    /// Name and password, where the server asks for them.
    pub login: Option<(Secret, Secret)>,
    /// The sender.
    pub from: String,
    /// The receivers.
    pub to: Vec<String>,
    /// How long each step may take.
    pub patience: Duration,
}

/// E-mail.
#[derive(Debug)]
pub struct Email {
    transport: SmtpTransport,
    from: Mailbox,
    to: Vec<Mailbox>,
    title: Template,
    text: Template,
}

impl Email {
    /// The templates of the subject and of the text.
    ///
    /// # Errors
    /// [`TemplateError`].
    pub fn templates(title: Option<&str>, text: Option<&str>) -> Result<(Template, Template), TemplateError> {
        Ok((Template::new(title.unwrap_or(text::TITLE))?, Template::new(text.unwrap_or(text::TEXT))?))
    }

    /// Makes ready to send.
    ///
    /// # Errors
    /// [`ChannelError`].
    pub fn new(settings: EmailSettings, (title, text): (Template, Template)) -> Result<Self, ChannelError> {
        let EmailSettings { host, port, security, login, from, to, patience } = settings;
        let failed = |error: lettre::transport::smtp::Error| ChannelError::Start(error.to_string());
        let parameters = || TlsParameters::new(host.clone()).map_err(failed);
        let tls = match security {
            Security::None => Tls::None,
            Security::StartTls => Tls::Required(parameters()?),
            Security::Tls => Tls::Wrapper(parameters()?),
        };
        let mut builder = SmtpTransport::builder_dangerous(&host).port(port).tls(tls).timeout(Some(patience));
        if let Some((name, password)) = login {
            builder = builder.credentials(Credentials::new(name.reveal().to_owned(), password.reveal().to_owned()));
        }
        let mailbox = |text: &String| text.parse::<Mailbox>().map_err(|_| ChannelError::Mailbox(text.clone()));
        Ok(Self {
            transport: builder.build(),
            from: mailbox(&from)?,
            to: to.iter().map(mailbox).collect::<Result<_, _>>()?,
            title,
            text,
        })
    }

    /// The e-mail about an alert. Its id is the alert's, so that a mail program that gets it twice shows it once.
    fn message(&self, alert: &Alert) -> Result<Message, String> {
        let title = self.title.render(alert).map_err(|error| error.to_string())?;
        let text = self.text.render(alert).map_err(|error| error.to_string())?;
        let domain = self.from.email.domain();
        let mut builder = Message::builder()
            .from(self.from.clone())
            .subject(one_line(&title))
            .date_now()
            .message_id(Some(format!("<{}@{domain}>", alert.id)))
            .header(ContentType::TEXT_PLAIN);
        for to in &self.to {
            builder = builder.to(to.clone());
        }
        builder.body(text).map_err(|error| error.to_string())
    }
}

impl Channel for Email {
    fn send(&self, alert: &Alert) -> Result<(), SendError> {
        let message = self.message(alert).map_err(SendError::Refused)?;
        match self.transport.send(&message) {
            Ok(_) => Ok(()),
            // What a server refuses for good because of its size or content, it refuses again. Everything else, such as a wrong
            // password or an unknown mailbox, somebody may mend.
            Err(error) => match error.status().map(|code| code.to_string()).as_deref() {
                Some(code @ ("552" | "554")) => Err(SendError::Refused(format!("the server answered {code}"))),
                Some(code) => Err(SendError::later(format!("the server answered {code}"))),
                None if error.is_timeout() => Err(SendError::later("no answer in time")),
                None => Err(SendError::later(format!("cannot send: {error}"))),
            },
        }
    }
}
