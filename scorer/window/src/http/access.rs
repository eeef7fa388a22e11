//! Who may look.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use thiserror::Error;

use super::address::Address;
use super::logins::{Logins, LoginsError, Name, Verdict};

/// The shortest token.
const SHORTEST: usize = 16;

/// The longest token.
const LONGEST: usize = 1024;

/// A secret that whoever asks has to know. Only its hash is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token([u8; 32]);

/// Where the window listens, and who may look.
#[derive(Debug, Clone)]
pub struct Access {
    /// The address.
    pub address: Address,
    /// What they have to know. Without it and without logins, everybody on this machine may look.
    pub token: Option<Token>,
    /// Who may log in.
    pub logins: Option<Arc<Logins>>,
}

/// Who looks, where they have logged in by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Who(pub Name);

/// Whether a request may be answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Admission {
    /// It may.
    Granted(Option<Who>),
    /// It does not know what it has to.
    Refused,
    /// Nobody can say: too many passwords are being verified.
    Busy,
}

/// Why the window is not opened.
#[derive(Debug, Error)]
pub enum AccessError {
    /// Others could look.
    #[error(
        "--listen {0} is reached from other machines, and anomalies hold the data of customers: use 127.0.0.1, or name a file \
         with a secret that whoever looks has to know (--auth-token-file FILE) or with logins (--auth-basic-file FILE)"
    )]
    Open(Address),
    /// The logins cannot be used.
    #[error(transparent)]
    Logins(#[from] LoginsError),
    /// The file of the token cannot be read.
    #[error("cannot read the token in {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The file holds no token.
    #[error(
        "{} has no token that can be used: it has to be one line of {SHORTEST} to {LONGEST} letters, digits or signs of ASCII, such as \
         `openssl rand -hex 32` writes",
        path.display()
    )]
    Weak {
        /// The file.
        path: PathBuf,
    },
}

impl Access {
    /// Who may look at `address`: whoever knows the token in a file, or, where only this machine reaches it, everybody.
    ///
    /// # Errors
    /// [`AccessError`] where others could look without a token, or the file holds none.
    pub fn new(address: Address, token_file: Option<&Path>) -> Result<Self, AccessError> {
        Self::with_logins(address, token_file, None)
    }

    /// As [`Access::new`], and whoever logs in with a name and a password of a file may look too.
    ///
    /// # Errors
    /// As [`Access::new`], and where the file of logins cannot be used.
    pub fn with_logins(
        address: Address,
        token_file: Option<&Path>,
        logins_file: Option<&Path>,
    ) -> Result<Self, AccessError> {
        let token = token_file.map(Token::read).transpose()?;
        let logins = logins_file.map(Logins::read).transpose()?.map(Arc::new);
        if token.is_none() && logins.is_none() && !address.is_local() {
            return Err(AccessError::Open(address));
        }
        Ok(Self { address, token, logins })
    }

    /// The most bytes that it takes to say who may look, about.
    pub fn bytes(&self) -> usize {
        self.logins.as_ref().map_or(0, |_| Logins::bytes())
    }

    /// Whether a request knows what it has to. Where there are logins, a login has a name and the password of that name; the token
    /// is for programs then.
    pub(super) async fn admit(&self, headers: &HeaderMap) -> Admission {
        if self.token.is_none() && self.logins.is_none() {
            return Admission::Granted(None);
        }
        let given = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(Given::read);
        match (given, &self.logins) {
            (Some(Given::Login(login)), Some(logins)) => match logins.verify(login).await {
                Verdict::Right(name) => Admission::Granted(Some(Who(name))),
                Verdict::Wrong => Admission::Refused,
                Verdict::Busy => Admission::Busy,
            },
            (Some(given), _) if given.secret().is_some_and(|secret| self.is_token(secret)) => Admission::Granted(None),
            _ => Admission::Refused,
        }
    }

    /// What somebody is told who is refused.
    pub(super) fn who_may_look(&self) -> &'static str {
        match self.logins {
            Some(_) => "log in with your name and your password; programs send the token as a bearer token",
            None => "the token is the password; the name may be any",
        }
    }

    fn is_token(&self, secret: &[u8]) -> bool {
        self.token.as_ref().is_some_and(|token| Token::of(secret) == *token)
    }
}

impl Token {
    fn read(path: &Path) -> Result<Self, AccessError> {
        let read = |source| AccessError::Read { path: path.to_owned(), source };
        let text = fs::read_to_string(path).map_err(read)?;
        let token = text.strip_suffix('\n').unwrap_or(&text);
        let token = token.strip_suffix('\r').unwrap_or(token);
        let is_good = (SHORTEST..=LONGEST).contains(&token.len()) && token.bytes().all(|byte| byte.is_ascii_graphic());
        if is_good { Ok(Self::of(token.as_bytes())) } else { Err(AccessError::Weak { path: path.to_owned() }) }
    }

    /// To compare hashes takes as long for a guess that is nearly right as for any other: nobody knows what a hash begins with.
    fn of(secret: &[u8]) -> Self {
        Self(Sha256::digest(secret).into())
    }
}

/// What an `Authorization` header has.
enum Given {
    /// A bearer token.
    Bearer(Vec<u8>),
    /// A name and a password, with a colon between them, which is what a browser asks people for.
    Login(Vec<u8>),
}

impl Given {
    fn read(header: &str) -> Option<Self> {
        let (scheme, rest) = header.split_once(' ')?;
        if scheme.eq_ignore_ascii_case("bearer") {
            return Some(Self::Bearer(rest.trim().as_bytes().to_vec()));
        }
        let is_login = scheme.eq_ignore_ascii_case("basic");
        is_login.then(|| STANDARD.decode(rest.trim()).ok()).flatten().map(Self::Login)
    }

    /// The token, or the password of a login with any name.
    fn secret(&self) -> Option<&[u8]> {
        match self {
            Self::Bearer(token) => Some(token),
            Self::Login(login) => {
                let colon = login.iter().position(|byte| *byte == b':')?;
                Some(&login[colon + 1..])
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "0123456789abcdef";

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        file
    }

    fn granted(access: &Access, header: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, header.parse().unwrap());
        admitted(access, &headers) == Admission::Granted(None)
    }

    fn admitted(access: &Access, headers: &HeaderMap) -> Admission {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(access.admit(headers))
    }

    #[test]
    fn what_others_reach_needs_a_token() {
        let open = Access::new("0.0.0.0:1".parse().unwrap(), None).unwrap_err().to_string();
        assert!(open.contains("--listen 0.0.0.0:1") && open.contains("--auth-token-file"), "{open}");
        let local = Access::new("127.0.0.1:1".parse().unwrap(), None).unwrap();
        assert_eq!(admitted(&local, &HeaderMap::new()), Admission::Granted(None));
        let with_token = Access::new("0.0.0.0:1".parse().unwrap(), Some(file(SECRET).path())).unwrap();
        assert_eq!(admitted(&with_token, &HeaderMap::new()), Admission::Refused);
    }

    #[test]
    fn a_token_is_a_bearer_token_or_the_password_of_a_login() {
        let access = Access::new("127.0.0.1:1".parse().unwrap(), Some(file(&format!("{SECRET}\n")).path())).unwrap();
        assert!(granted(&access, &format!("Bearer {SECRET}")) && granted(&access, &format!("bearer {SECRET}")));
        let basic = |login: &str| format!("Basic {}", STANDARD.encode(login));
        assert!(granted(&access, &basic(&format!("anybody:{SECRET}"))));
        for wrong in ["Bearer", "Bearer x", "Bearer 0123456789abcdeF", "Basic !!", "Digest 0123456789abcdef", SECRET] {
            assert!(!granted(&access, wrong), "{wrong}");
        }
        for wrong in [SECRET.to_owned(), format!("{SECRET}:"), format!("a:b:{SECRET}")] {
            assert!(!granted(&access, &basic(&wrong)), "{wrong}");
        }
    }

    #[test]
    fn a_file_without_a_good_token_is_refused() {
        let address: Address = "127.0.0.1:1".parse().unwrap();
        for weak in
            ["", "\n", "short", "0123456789abcde\n", "0123456789abcdef\n\n", "0123456789 abcdef", "0123456789abcdefé"]
        {
            let error = Access::new(address, Some(file(weak).path())).unwrap_err();
            assert!(matches!(error, AccessError::Weak { .. }), "{weak:?}: {error}");
        }
        let missing = Access::new(address, Some(Path::new("/nowhere/token"))).unwrap_err().to_string();
        assert!(missing.starts_with("cannot read the token in /nowhere/token: "), "{missing}");
    }
}
