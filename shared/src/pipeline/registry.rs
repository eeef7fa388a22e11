//! `[input.registry]`: where the schemas are that records name.

use std::path::PathBuf;
use std::time::Duration;

use super::PipelineError;
use super::checker::Checker;
use super::file::RegistrySection;

const DEFAULT_TIMEOUT: &str = "10s";
const DEFAULT_GIVE_UP_AFTER: &str = "5m";

/// A Schema Registry, and how it is asked. Passwords are not in it: only where they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registry {
    /// Its address, without a slash at the end.
    pub url: String,
    /// Who asks, where it wants to know.
    pub user: Option<String>,
    /// Where the password is.
    pub password: Option<Password>,
    /// Certificates of authorities to trust instead of the usual ones, in PEM.
    pub ca_file: Option<PathBuf>,
    /// How long one answer may take.
    pub timeout: Duration,
    /// How long it may give none before the program ends.
    pub give_up_after: Duration,
}

/// Where a password is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Password {
    /// In a file.
    File(PathBuf),
    /// In a variable of the environment.
    Variable(String),
}

/// `is_framed`: whether records name a schema.
pub(super) fn check(
    checker: &Checker<'_>,
    section: Option<&RegistrySection>,
    is_framed: bool,
) -> Result<Option<Registry>, PipelineError> {
    const PLACE: &str = "[input.registry]";
    let section = match section {
        None if is_framed => {
            let problem = "is needed: its url is that of the Schema Registry, such as \"https://registry:8081\"";
            return checker.error(PLACE, problem);
        }
        None => return Ok(None),
        Some(_) if !is_framed => {
            let problem = "is for format = \"avro\", \"protobuf\" or \"json-schema\": remove it";
            return checker.error(PLACE, problem);
        }
        Some(section) => section,
    };
    let place = |key: &str| format!("{PLACE} {key}");
    let url = section.url.as_deref().unwrap_or_default().trim().trim_end_matches('/');
    let authority = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://")).unwrap_or_default();
    // Whatever stands there is not repeated: it may be a password.
    if authority.split('/').next().unwrap_or_default().contains('@') {
        let problem = "must not hold a user or a password: use user with password_file or password_env";
        return checker.error(&place("url"), problem);
    }
    if authority.is_empty() || authority.contains([' ', '?', '#']) {
        let problem = "must be an address that begins with https:// or http://, such as \"https://registry:8081\"";
        return checker.error(&place("url"), problem);
    }
    let password = match (&section.password_file, &section.password_env) {
        (Some(_), Some(_)) => {
            return checker.error(&place("password_env"), "stands beside password_file: leave one of them out");
        }
        (Some(file), None) => Some(Password::File(file.into())),
        (None, Some(name)) => Some(Password::Variable(name.clone())),
        (None, None) => None,
    };
    if section.user.is_some() != password.is_some() {
        let problem = "goes with password_file or password_env: give both, or neither";
        return checker.error(&place("user"), problem);
    }
    let span = |key: &str, text: &Option<String>, default: &str| {
        let millis = checker.span(&place(key), text.as_deref().unwrap_or(default))?;
        Ok(Duration::from_millis(millis.unsigned_abs()))
    };
    Ok(Some(Registry {
        url: url.to_owned(),
        user: section.user.clone(),
        password,
        ca_file: section.ca_file.as_ref().map(PathBuf::from),
        timeout: span("timeout", &section.timeout, DEFAULT_TIMEOUT)?,
        give_up_after: span("give_up_after", &section.give_up_after, DEFAULT_GIVE_UP_AFTER)?,
    }))
}
