//! Who may look.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use thiserror::Error;

use super::address::Address;

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
    /// What they have to know; without it everybody on this machine may look.
    pub token: Option<Token>,
}

/// Why the window is not opened.
#[derive(Debug, Error)]
pub enum AccessError {
    /// Others could look.
    #[error(
        "--listen {0} is reached from other machines, and anomalies hold the data of customers: use 127.0.0.1, or name a file \
         with a secret that whoever looks has to know (--auth-token-file FILE)"
    )]
    Open(Address),
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
        let token = token_file.map(Token::read).transpose()?;
        if token.is_none() && !address.is_local() {
            return Err(AccessError::Open(address));
        }
        Ok(Self { address, token })
    }

    /// Whether a request knows what it has to.
    pub(super) fn is_granted(&self, headers: &HeaderMap) -> bool {
        let Some(token) = &self.token else { return true };
        let given = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(secret_of);
        given.is_some_and(|given| Token::of(&given) == *token)
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

/// The secret of an `Authorization` header: a bearer token, or the password of a login with any name, which is what a browser
/// asks people for.
fn secret_of(header: &str) -> Option<Vec<u8>> {
    let (scheme, rest) = header.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.trim().as_bytes().to_vec());
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let login = STANDARD.decode(rest.trim()).ok()?;
    let colon = login.iter().position(|byte| *byte == b':')?;
    Some(login[colon + 1..].to_vec())
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
        access.is_granted(&headers)
    }

    #[test]
    fn what_others_reach_needs_a_token() {
        let open = Access::new("0.0.0.0:1".parse().unwrap(), None).unwrap_err().to_string();
        assert!(open.contains("--listen 0.0.0.0:1") && open.contains("--auth-token-file"), "{open}");
        let local = Access::new("127.0.0.1:1".parse().unwrap(), None).unwrap();
        assert!(local.is_granted(&HeaderMap::new()));
        let with_token = Access::new("0.0.0.0:1".parse().unwrap(), Some(file(SECRET).path())).unwrap();
        assert!(!with_token.is_granted(&HeaderMap::new()));
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
