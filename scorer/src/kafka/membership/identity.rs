//! The identity of an instance: a name that is the same after a restart, and a folder of its own.
//!
//! Its stream threads have names that begin with its own. The first thread has just that name, however many there are: so whoever
//! starts an instance again, with as many threads or others, fences what the one before left behind.

use std::fs::{self, File, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::kafka::client::error::KafkaError;
use crate::private;

/// More instances of one group than a machine will hold.
const MAX_SLOTS: usize = 1024;

/// The file that says how many stream threads there were.
const THREADS: &str = "threads";

/// More than any instance has.
const MAX_THREADS: usize = 64;

/// An instance of the scorer.
#[derive(Debug)]
pub(crate) struct Identity {
    /// The name, part of the transactional id: a new instance of the same name fences the old one.
    pub name: String,
    /// Where it keeps snapshots; nowhere without a folder for state.
    pub folder: Option<PathBuf>,
    // Held as long as the instance lives: the system releases it however the process ends.
    _lock: Option<File>,
}

impl Identity {
    /// The instance called `name`, or the first free slot of this machine. Snapshots are kept in
    /// `state_dir/group/name`.
    ///
    /// # Errors
    /// When the folder cannot be made or an instance of this name runs already.
    pub(crate) fn claim(name: Option<&str>, group: &str, state_dir: Option<&Path>) -> Result<Self, KafkaError> {
        let Some(state_dir) = state_dir else {
            // Without a folder there are no slots: a name that nobody else has.
            let name = name.map_or_else(|| format!("{}-{:016x}", machine(), rand::random::<u64>()), str::to_owned);
            return Ok(Self { name, folder: None, _lock: None });
        };
        let folder_of = |name: &str| state_dir.join(file_name(group)).join(file_name(name));
        if let Some(name) = name {
            // The second instance of a name fences the first one; meanwhile only one of them may use the folder.
            let folder = folder_of(name);
            create_folders(state_dir, &folder)?;
            let lock = lock(&folder)?;
            let folder = lock.is_some().then_some(folder);
            return Ok(Self { name: name.to_owned(), folder, _lock: lock });
        }
        for slot in 0..MAX_SLOTS {
            let folder = folder_of(&format!("{}-{slot}", machine()));
            create_folders(state_dir, &folder)?;
            if let Some(lock) = lock(&folder)? {
                let name = format!("{}-{slot}-{}", machine(), token(&folder)?);
                return Ok(Self { name, folder: Some(folder), _lock: Some(lock) });
            }
        }
        Err(KafkaError::StateFolder { path: state_dir.to_owned(), cause: "every slot is taken".to_owned() })
    }
}

/// The name of a stream thread of the instance called `name`; they are counted from 0.
pub(crate) fn thread_name(name: &str, thread: usize) -> String {
    if thread == 0 { name.to_owned() } else { format!("{name}-thread-{}", thread + 1) }
}

impl Identity {
    /// How many stream threads this instance had that may have left a transaction open; one where nothing says so.
    pub(crate) fn threads_before(&self) -> usize {
        let noted = self.folder.as_ref().and_then(|folder| fs::read_to_string(folder.join(THREADS)).ok());
        noted.and_then(|noted| noted.trim().parse().ok()).map_or(1, |threads: usize| threads.clamp(1, MAX_THREADS))
    }

    /// Notes that there are so many from now on, for who comes after.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub(crate) fn note_threads(&self, threads: usize) -> Result<(), KafkaError> {
        let Some(folder) = self.folder.as_ref().filter(|_| threads != self.threads_before()) else { return Ok(()) };
        let path = folder.join(THREADS);
        let failed = |error: std::io::Error| KafkaError::StateFolder { path: path.clone(), cause: error.to_string() };
        let mut file = private::writing().truncate(true).open(&path).map_err(failed)?;
        file.write_all(threads.to_string().as_bytes()).map_err(failed)
    }
}

/// Makes the folder of an instance, and those above it up to that of all state, where they are missing.
fn create_folders(state_dir: &Path, folder: &Path) -> Result<(), KafkaError> {
    let above = [state_dir, folder.parent().unwrap_or(state_dir), folder];
    above.into_iter().try_for_each(|path| {
        let failed =
            |error: std::io::Error| KafkaError::StateFolder { path: path.to_owned(), cause: error.to_string() };
        private::create_folder(path).map_err(failed)
    })
}

/// Locks a folder; `None` when another process has it.
fn lock(folder: &Path) -> Result<Option<File>, KafkaError> {
    let path = folder.join("lock");
    let failed = |error: std::io::Error| KafkaError::StateFolder { path: path.clone(), cause: error.to_string() };
    let file = private::writing().open(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

/// What tells this folder from all others, even on machines of the same name: chosen once, and kept in it.
fn token(folder: &Path) -> Result<String, KafkaError> {
    let path = folder.join("id");
    let failed = |error: std::io::Error| KafkaError::StateFolder { path: path.clone(), cause: error.to_string() };
    match fs::read_to_string(&path) {
        Ok(token) if token.len() == 16 => return Ok(token),
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    let token = format!("{:016x}", rand::random::<u64>());
    let mut file = private::writing().truncate(true).open(&path).map_err(failed)?;
    file.write_all(token.as_bytes()).map_err(failed)?;
    Ok(token)
}

fn machine() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    if name.trim().is_empty() { "localhost".to_owned() } else { name.trim().to_owned() }
}

/// A name as a file name: characters that could lead to another folder are replaced.
fn file_name(name: &str) -> String {
    let plain = |c: char| if c.is_alphanumeric() || c == '-' || c == '_' { c } else { '_' };
    name.chars().map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_has_the_same_name_after_a_restart_and_is_never_shared() {
        let folder = tempfile::tempdir().unwrap();
        let claim = || Identity::claim(None, "g", Some(folder.path())).unwrap();
        let (first, second) = (claim(), claim());
        assert_ne!(first.name, second.name);
        let name = first.name.clone();
        drop(first);
        assert_eq!(claim().name, name);
        let elsewhere = tempfile::tempdir().unwrap();
        assert_ne!(Identity::claim(None, "g", Some(elsewhere.path())).unwrap().name, name, "another folder");
    }

    #[test]
    fn the_first_thread_has_the_name_of_the_instance() {
        assert_eq!([0, 1, 9].map(|thread| thread_name("a", thread)), ["a", "a-thread-2", "a-thread-10"]);
    }

    #[test]
    fn how_many_threads_there_were_is_known_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let claim = || Identity::claim(Some("i"), "g", Some(folder.path())).unwrap();
        assert_eq!(claim().threads_before(), 1);
        claim().note_threads(1).unwrap();
        let file = folder.path().join("g").join("i").join(THREADS);
        assert!(!file.exists(), "one thread leaves the folder as it was");
        for threads in [4, 2, 1] {
            claim().note_threads(threads).unwrap();
            assert_eq!(claim().threads_before(), threads);
        }
        for damaged in ["", "many", "0", "-1"] {
            fs::write(&file, damaged).unwrap();
            assert_eq!(claim().threads_before(), 1, "{damaged:?}");
        }
        fs::write(&file, "99999999").unwrap();
        assert_eq!(claim().threads_before(), MAX_THREADS);
        let without = Identity::claim(Some("i"), "g", None).unwrap();
        without.note_threads(4).unwrap();
        assert_eq!(without.threads_before(), 1);
    }

    #[test]
    fn nobody_else_can_read_what_is_kept() {
        use std::os::unix::fs::MetadataExt;
        let above = tempfile::tempdir().unwrap();
        let state_dir = above.path().join("state");
        let folder = Identity::claim(None, "g", Some(&state_dir)).unwrap().folder.unwrap();
        for path in [&state_dir, &state_dir.join("g"), &folder, &folder.join("lock"), &folder.join("id")] {
            let mode = fs::metadata(path).unwrap().mode() & 0o777;
            assert_eq!(mode, if path.is_dir() { 0o700 } else { 0o600 }, "{}", path.display());
        }
    }

    #[test]
    fn a_lock_that_leads_elsewhere_is_refused_and_what_it_leads_to_stays() {
        let (state_dir, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let target = elsewhere.path().join("precious");
        fs::write(&target, "kept").unwrap();
        let folder = state_dir.path().join("g").join("i");
        fs::create_dir_all(&folder).unwrap();
        std::os::unix::fs::symlink(&target, folder.join("lock")).unwrap();
        let error = Identity::claim(Some("i"), "g", Some(state_dir.path())).unwrap_err();
        assert!(matches!(error, KafkaError::StateFolder { .. }), "{error}");
        assert_eq!(fs::read(&target).unwrap(), b"kept");
    }

    #[test]
    fn names_cannot_lead_out_of_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let identity = Identity::claim(Some("../../x"), "a/b", Some(folder.path())).unwrap();
        assert_eq!(identity.folder, Some(folder.path().join("a_b").join("______x")));
        assert_eq!(identity.name, "../../x");
    }
}
