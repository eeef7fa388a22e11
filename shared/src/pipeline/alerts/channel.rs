//! `[[channels]]`, checked.

use std::collections::HashSet;
use std::path::PathBuf;

use super::keys::{only_own, unknown};
use super::{ChannelKind, ChannelSpec, MailSecurity, Reference};
use crate::pipeline::PipelineError;
use crate::pipeline::checker::Checker;
use crate::pipeline::file::ChannelSection;

/// The kinds of channels.
const CHANNELS: [&str; 5] = ["webhook", "slack", "email", "alertmanager", "kafka"];

/// The channels.
pub(in super::super) fn channels(
    checker: &Checker<'_>,
    sections: &[ChannelSection],
) -> Result<Vec<ChannelSpec>, PipelineError> {
    let mut seen = HashSet::new();
    if let Some(twice) = sections.iter().find(|section| !seen.insert(&section.name)) {
        return checker.error("[[channels]] name", format!("`{}` stands twice", twice.name));
    }
    sections.iter().map(|section| channel(checker, section)).collect()
}

fn channel(checker: &Checker<'_>, section: &ChannelSection) -> Result<ChannelSpec, PipelineError> {
    checker.name("[[channels]] name", &section.name)?;
    let place = |key: &str| format!("[[channels]] {}: {key}", section.name);
    let needed = |key: &str, value: &Option<String>| {
        value
            .clone()
            .ok_or_else(|| checker.invalid(&place(key), format!("is needed for type = \"{}\"", section.r#type)))
    };
    let (own, kind): (&[&str], ChannelKind) = match section.r#type.as_str() {
        "webhook" => {
            let secret = section.secret.as_ref().map(|text| secret(checker, &place("secret"), text)).transpose()?;
            let url = address(checker, &place("url"), &needed("url", &section.url)?)?;
            (&["url", "secret", "text", "timeout"], ChannelKind::Webhook { url, secret })
        }
        "slack" => {
            // Whoever knows the address may write.
            let url = secret(checker, &place("url"), &needed("url", &section.url)?)?;
            (&["url", "text", "timeout"], ChannelKind::Slack { url })
        }
        "alertmanager" => {
            let url = address(checker, &place("url"), &needed("url", &section.url)?)?;
            (&["url", "timeout"], ChannelKind::Alertmanager { url })
        }
        "email" => {
            let own = &["server", "security", "user", "password", "from", "to", "title", "text", "timeout"];
            (own, email(checker, section, &place)?)
        }
        "kafka" => {
            let topic = checker.topic(&place("topic"), &needed("topic", &section.topic)?)?;
            (&["topic"], ChannelKind::Kafka { topic })
        }
        other => return checker.error(&place("type"), unknown(other, "type of channel", &CHANNELS)),
    };
    let given = [
        ("url", section.url.is_some()),
        ("secret", section.secret.is_some()),
        ("server", section.server.is_some()),
        ("security", section.security.is_some()),
        ("user", section.user.is_some()),
        ("password", section.password.is_some()),
        ("from", section.from.is_some()),
        ("to", section.to.is_some()),
        ("topic", section.topic.is_some()),
        ("title", section.title.is_some()),
        ("text", section.text.is_some()),
        ("timeout", section.timeout.is_some()),
    ];
    only_own(checker, &place, &given, own, &format!("type = \"{}\"", section.r#type))?;
    Ok(ChannelSpec {
        name: section.name.clone(),
        kind,
        title: section.title.clone(),
        text: section.text.clone(),
        timeout: checker.span(&place("timeout"), section.timeout.as_deref().unwrap_or("10s"))?,
    })
}

fn email(
    checker: &Checker<'_>,
    section: &ChannelSection,
    place: &dyn Fn(&str) -> String,
) -> Result<ChannelKind, PipelineError> {
    let missing = |key: &str| checker.invalid(&place(key), "is needed for type = \"email\"".to_owned());
    let security = match section.security.as_deref() {
        None | Some("starttls") => MailSecurity::StartTls,
        Some("tls") => MailSecurity::Tls,
        Some("none") => MailSecurity::None,
        Some(other) => {
            let problem = format!("`{other}` is not known: use \"starttls\", \"tls\" or \"none\"");
            return checker.error(&place("security"), problem);
        }
    };
    let server = section.server.as_deref().ok_or_else(|| missing("server"))?;
    let usual = if security == MailSecurity::Tls { 465 } else { 587 };
    let (host, port) = match server.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().ok()),
        None => (server, Some(usual)),
    };
    let Some(port) = port.filter(|_| !host.is_empty()) else {
        return checker.error(&place("server"), "must be a name with a port, such as \"smtp.example.org:587\"");
    };
    let of =
        |key: &str, text: &Option<String>| text.as_ref().map(|text| secret(checker, &place(key), text)).transpose();
    let user = section.user.as_ref().map(|text| reference(checker, &place("user"), text)).transpose()?;
    let login = match (user, of("password", &section.password)?) {
        (Some(user), Some(password)) => Some((user, password)),
        (None, None) => None,
        (Some(_), None) => return checker.error(&place("password"), "is needed where there is a user"),
        (None, Some(_)) => return checker.error(&place("user"), "is needed where there is a password"),
    };
    let to = section.to.clone().unwrap_or_default();
    if to.is_empty() {
        return Err(missing("to"));
    }
    let from = section.from.clone().ok_or_else(|| missing("from"))?;
    Ok(ChannelKind::Email { host: host.to_owned(), port, security, login, from, to })
}

/// A value, or where it stands.
fn reference(checker: &Checker<'_>, place: &str, text: &str) -> Result<Reference, PipelineError> {
    let reference = match text.split_once(':') {
        Some(("env", name)) => Reference::Env(name.to_owned()),
        Some(("file", path)) => Reference::File(PathBuf::from(path)),
        _ => Reference::Plain(text.to_owned()),
    };
    match &reference {
        Reference::Env(name) if name.is_empty() => checker.error(place, "env: needs the name of a variable"),
        Reference::File(path) if path.as_os_str().is_empty() => checker.error(place, "file: needs a path"),
        _ => Ok(reference),
    }
}

/// A value that the file must not hold. What it holds instead is not repeated: it may be the secret.
fn secret(checker: &Checker<'_>, place: &str, text: &str) -> Result<Reference, PipelineError> {
    match reference(checker, place, text)? {
        Reference::Plain(_) => {
            let problem = "is a secret, which does not belong into this file: use \"env:NAME\" for an environment variable, or \
                           \"file:PATH\" for a file";
            checker.error(place, problem)
        }
        reference => Ok(reference),
    }
}

/// An address that may stand in the file, as long as it holds no password and no token.
fn address(checker: &Checker<'_>, place: &str, text: &str) -> Result<Reference, PipelineError> {
    let reference = reference(checker, place, text)?;
    let Reference::Plain(url) = &reference else { return Ok(reference) };
    if !(url.starts_with("http://") || url.starts_with("https://")) {
        return checker.error(place, "must begin with https:// or http://, or be \"env:NAME\" or \"file:PATH\"");
    }
    if url.contains('@') || url.contains('?') {
        let problem = "may hold a secret, as it has a `@` or a `?`: use \"env:NAME\" for an environment variable, or \
                       \"file:PATH\" for a file";
        return checker.error(place, problem);
    }
    Ok(reference)
}
