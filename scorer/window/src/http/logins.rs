//! Those who may log in by a name and a password, of which only a slow hash is kept (Argon2id).
//!
//! To verify a password takes a moment and much memory, on purpose. So few are verified at a time, beside the window's thread,
//! and a login that was right is known again by a fast hash with a key that only this process has.

use std::collections::HashMap;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use argon2::{Algorithm, Argon2, Params, PasswordHash, PasswordVerifier as _};
use sha2::{Digest, Sha256};
use thiserror::Error;
use tokio::sync::Semaphore;

/// Passwords that are verified at a time, and that wait for it.
const AT_A_TIME: usize = 2;
const WAITING: usize = 16;

/// Logins that are known again; with more than that, all are verified anew.
const MOST_KNOWN: usize = 1024;

/// Users of a file.
const MOST_USERS: usize = 1000;

/// Bytes of a name and of a password.
const LONGEST_NAME: usize = 64;
const LONGEST_PASSWORD: usize = 1024;

/// The memory of a hash in KiB, and memory times passes: those that OWASP recommends need at least so much.
const LEAST_MEMORY: u32 = 7 << 10;
const LEAST_WORK: u32 = 35 << 10;

/// More than that would let whoever guesses keep the machine busy.
const MOST_MEMORY: u32 = 64 << 10;
const MOST_PASSES: u32 = 10;

/// Where the system gives random bytes.
const RANDOM: &str = "/dev/urandom";

/// Those who may log in.
pub struct Logins {
    users: Vec<User>,
    key: [u8; 32],
    known: Mutex<HashMap<[u8; 32], Name>>,
    permits: Arc<Semaphore>,
    waiting: AtomicUsize,
}

/// The name of somebody who has logged in.
pub(crate) type Name = Arc<str>;

struct User {
    name: Name,
    hash: String,
}

/// What comes of a login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The password is that of this user.
    Right(Name),
    /// It is not.
    Wrong,
    /// Too many others are being verified.
    Busy,
}

/// A file of logins that cannot be used.
#[derive(Debug, Error)]
pub enum LoginsError {
    /// It cannot be read.
    #[error("cannot read the logins in {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A line is no login.
    #[error(
        "{} line {line}: {problem}; a line has to be NAME:HASH, with a hash of Argon2id such as `echo -n PASSWORD | argon2 SALT -id -e` \
         writes",
        path.display()
    )]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        problem: &'static str,
    },
    /// It has no login, or too many.
    #[error("{} has {found} logins: it needs at least one, and may have {MOST_USERS}", path.display())]
    Count {
        /// The file.
        path: PathBuf,
        /// How many it has.
        found: usize,
    },
}

impl Logins {
    /// Reads a file with a login a line, `NAME:HASH`; blank lines and those that begin with `#` say nothing.
    ///
    /// # Errors
    /// [`LoginsError`].
    pub fn read(path: &Path) -> Result<Self, LoginsError> {
        let read = |source| LoginsError::Read { path: path.to_owned(), source };
        let text = fs::read_to_string(path).map_err(read)?;
        let mut users: Vec<User> = Vec::new();
        for (number, line) in (1..).zip(text.lines().map(str::trim)) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let wrong = |problem| LoginsError::Line { path: path.to_owned(), line: number, problem };
            let user = User::read(line).map_err(wrong)?;
            if users.iter().any(|known| known.name == user.name) {
                return Err(wrong("the name is there twice"));
            }
            users.push(user);
        }
        if users.is_empty() || users.len() > MOST_USERS {
            return Err(LoginsError::Count { path: path.to_owned(), found: users.len() });
        }
        let mut key = [0; 32];
        let random = |source| LoginsError::Read { path: RANDOM.into(), source };
        File::open(RANDOM).and_then(|mut source| source.read_exact(&mut key)).map_err(random)?;
        Ok(Self {
            users,
            key,
            known: Mutex::default(),
            permits: Arc::new(Semaphore::new(AT_A_TIME)),
            waiting: AtomicUsize::new(0),
        })
    }

    /// The most bytes that verifications take, about.
    pub(super) const fn bytes() -> usize {
        AT_A_TIME * (MOST_MEMORY as usize * 1024)
    }

    /// Whether a login, `NAME:PASSWORD`, is right.
    pub(super) async fn verify(self: &Arc<Self>, login: Vec<u8>) -> Verdict {
        let mark = self.mark(&login);
        if let Some(name) = self.known().get(&mark) {
            return Verdict::Right(name.clone());
        }
        let Some(_place) = Place::take(&self.waiting) else { return Verdict::Busy };
        let Ok(permit) = self.permits.clone().acquire_owned().await else { return Verdict::Busy };
        // A browser sends several requests at once, all with the same login.
        if let Some(name) = self.known().get(&mark) {
            return Verdict::Right(name.clone());
        }
        let this = self.clone();
        let verified = tokio::task::spawn_blocking(move || {
            // Also whoever does not wait for the end takes a place until then.
            let _permit = permit;
            this.find(&login)
        });
        let Ok(Some(name)) = verified.await else { return Verdict::Wrong };
        let mut known = self.known();
        if known.len() >= MOST_KNOWN {
            known.clear();
        }
        known.insert(mark, name.clone());
        Verdict::Right(name)
    }

    /// The user of this name and password. It takes as long for a name that nobody has.
    fn find(&self, login: &[u8]) -> Option<Name> {
        let colon = login.iter().position(|byte| *byte == b':')?;
        let (name, password) = (&login[..colon], &login[colon + 1..]);
        if password.len() > LONGEST_PASSWORD {
            return None;
        }
        let user = self.users.iter().find(|user| user.name.as_bytes() == name);
        let hash = PasswordHash::new(&user.or(self.users.first())?.hash).ok()?;
        let is_right = Argon2::default().verify_password(password, &hash).is_ok();
        user.filter(|_| is_right).map(|user| user.name.clone())
    }

    /// What a login is known again by.
    fn mark(&self, login: &[u8]) -> [u8; 32] {
        Sha256::new().chain_update(self.key).chain_update(login).finalize().into()
    }

    fn known(&self) -> MutexGuard<'_, HashMap<[u8; 32], Name>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl User {
    fn read(line: &str) -> Result<Self, &'static str> {
        let (name, hash) = line.split_once(':').ok_or("there is no colon")?;
        if name.is_empty() || name.len() > LONGEST_NAME || name.chars().any(char::is_control) {
            return Err("the name has to have 1 to 64 bytes, and no control characters");
        }
        let parsed = PasswordHash::new(hash).map_err(|_| "the hash cannot be read")?;
        if Algorithm::try_from(parsed.algorithm) != Ok(Algorithm::Argon2id) || parsed.hash.is_none() {
            return Err("the hash is not one of Argon2id");
        }
        let params = Params::try_from(&parsed).map_err(|_| "the hash cannot be read")?;
        let (memory, passes) = (params.m_cost(), params.t_cost());
        if memory < LEAST_MEMORY || memory.saturating_mul(passes) < LEAST_WORK {
            return Err("the hash is too weak: use at least 19 MiB and 2 passes (argon2 -k 19456 -t 2)");
        }
        if memory > MOST_MEMORY || passes > MOST_PASSES {
            return Err("the hash takes too long: use at most 64 MiB and 10 passes");
        }
        Ok(Self { name: name.into(), hash: hash.to_owned() })
    }
}

/// A place among those who wait, until it is dropped.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(waiting: &'a AtomicUsize) -> Option<Self> {
        let place = Self(waiting);
        (waiting.fetch_add(1, Ordering::Relaxed) < AT_A_TIME + WAITING).then_some(place)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl fmt::Debug for Logins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Logins").field("users", &self.users.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use argon2::Version;
    use argon2::password_hash::{PasswordHasher as _, SaltString};

    use super::*;

    fn hash(algorithm: Algorithm, (memory, passes): (u32, u32), password: &str) -> String {
        let params = Params::new(memory, passes, 1, None).unwrap();
        let salt = SaltString::from_b64("c29tZXNhbHRzb21l").unwrap();
        Argon2::new(algorithm, Version::V0x13, params).hash_password(password.as_bytes(), &salt).unwrap().to_string()
    }

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        file
    }

    fn block_on<T>(work: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
    }

    const WEAKEST: (u32, u32) = (LEAST_MEMORY, 5);

    #[test]
    fn a_login_is_right_with_its_own_password_alone() {
        let (ann, bob) = (hash(Algorithm::Argon2id, WEAKEST, "an:n"), hash(Algorithm::Argon2id, WEAKEST, "bob"));
        let file = file(&format!("# analysts\n\nAnn Lee:{ann}\r\nbob:{bob}\n"));
        let logins = Arc::new(Logins::read(file.path()).unwrap());
        block_on(async {
            let verify = async |login: &str| logins.verify(login.as_bytes().to_vec()).await;
            for _ in 0..2 {
                assert_eq!(verify("Ann Lee:an:n").await, Verdict::Right("Ann Lee".into()));
                assert_eq!(verify("bob:bob").await, Verdict::Right("bob".into()));
                for wrong in ["bob:an:n", "Ann Lee:bob", "eve:bob", "eve:an:n", "bob:", "bob", ":bob", "", "bob:bob "] {
                    assert_eq!(verify(wrong).await, Verdict::Wrong, "{wrong}");
                }
                let long = format!("bob:{}", "x".repeat(LONGEST_PASSWORD + 1));
                assert_eq!(verify(&long).await, Verdict::Wrong);
            }
        });
        assert_eq!(logins.known().len(), 2, "what is wrong is not remembered");
        assert_eq!(logins.waiting.load(Ordering::Relaxed), 0);
    }

    /// Whoever guesses keeps nobody out who is known, and the machine free.
    #[test]
    fn few_are_verified_at_a_time_and_few_wait() {
        let file = file(&format!("ann:{}\n", hash(Algorithm::Argon2id, WEAKEST, "ann")));
        let logins = Arc::new(Logins::read(file.path()).unwrap());
        block_on(async {
            assert_eq!(logins.verify(b"ann:ann".to_vec()).await, Verdict::Right("ann".into()));
            let guesses = (0..60).map(|number| {
                let logins = logins.clone();
                tokio::spawn(async move { logins.verify(format!("ann:{number}").into_bytes()).await })
            });
            let guesses: Vec<_> = guesses.collect();
            tokio::task::yield_now().await;
            assert_eq!(logins.verify(b"ann:ann".to_vec()).await, Verdict::Right("ann".into()));
            let mut busy = 0;
            for guess in guesses {
                let verdict = guess.await.unwrap();
                assert!(verdict == Verdict::Wrong || verdict == Verdict::Busy);
                busy += usize::from(verdict == Verdict::Busy);
            }
            assert_eq!(busy, 60 - AT_A_TIME - WAITING);
        });
    }

    #[test]
    fn a_file_that_lets_anybody_in_is_refused() {
        let good = hash(Algorithm::Argon2id, WEAKEST, "x");
        let problem = |text: &str| Logins::read(file(text).path()).unwrap_err().to_string();
        for (text, expected) in [
            (String::new(), "has 0 logins"),
            ("# nobody\n".to_owned(), "has 0 logins"),
            ("ann\n".to_owned(), "line 1: there is no colon"),
            (format!("ann:{good}\n\nann:{good}\n"), "line 3: the name is there twice"),
            (format!(":{good}\n"), "line 1: the name has to have"),
            (format!("{}:{good}\n", "x".repeat(65)), "line 1: the name has to have"),
            ("ann:secret\n".to_owned(), "line 1: the hash cannot be read"),
            ("ann:$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21l\n".to_owned(), "line 1: the hash is not one of"),
            (format!("ann:{}\n", hash(Algorithm::Argon2i, WEAKEST, "x")), "line 1: the hash is not one of Argon2id"),
            (format!("ann:{}\n", hash(Algorithm::Argon2id, (LEAST_MEMORY, 1), "x")), "line 1: the hash is too weak"),
            (format!("ann:{}\n", hash(Algorithm::Argon2id, (1024, 9), "x")), "line 1: the hash is too weak"),
            (
                format!("ann:{}\n", hash(Algorithm::Argon2id, (LEAST_MEMORY, 11), "x")),
                "line 1: the hash takes too long",
            ),
        ] {
            let problem = problem(&text);
            assert!(problem.contains(expected) && !problem.contains("secret"), "{problem}");
        }
        let missing = Logins::read(Path::new("/nowhere/logins")).unwrap_err().to_string();
        assert!(missing.starts_with("cannot read the logins in /nowhere/logins: "), "{missing}");
    }
}
