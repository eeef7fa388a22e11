//! How a registry is asked.

use std::fmt;
use std::time::Duration;

/// How a registry is asked.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Its address, without a slash at the end.
    pub url: String,
    /// The user and the password, where it wants them.
    pub login: Option<(String, Secret)>,
    /// Certificates of authorities to trust instead of the usual ones, in PEM.
    pub authorities: Option<Vec<u8>>,
    /// How long one answer may take.
    pub timeout: Duration,
    /// How long it may give none.
    pub give_up_after: Duration,
    /// What the schemas of records have to be.
    pub kind: Kind,
}

/// What a schema is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Avro.
    Avro,
    /// Protobuf.
    Protobuf,
    /// JSON Schema.
    Json,
}

impl Kind {
    /// What registries call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Avro => "AVRO",
            Self::Protobuf => "PROTOBUF",
            Self::Json => "JSON",
        }
    }
}

/// A text that is never shown.
#[derive(Clone)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_shown() {
        let login = Some(("reader".to_owned(), Secret("s3cret".to_owned())));
        let span = Duration::from_secs(1);
        let (url, kind) = ("http://registry".to_owned(), Kind::Avro);
        let settings = Settings { url, login, authorities: None, timeout: span, give_up_after: span, kind };
        let shown = format!("{settings:?}");
        assert!(shown.contains("reader") && !shown.contains("s3cret"), "{shown}");
    }
}
