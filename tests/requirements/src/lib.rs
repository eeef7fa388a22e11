//! What a test needs and not every machine has: the real data, a GPU, Apache Kafka.
//!
//! One rule holds for all of them. A test that lacks something fails, because a test that passes without having run
//! proves nothing. Where that is known and accepted, `ATALAYA_ALLOW_SKIP=1` lets such tests pass.

use std::fmt::Display;
use std::path::{Path, PathBuf};

/// The environment variable that lets tests pass that cannot run.
const ALLOW_SKIP: &str = "ATALAYA_ALLOW_SKIP";

/// What a test looked for; where it is missing, `None` if tests may be skipped. The error says in one sentence what is
/// missing and where it was looked for.
///
/// # Panics
/// When it is missing and tests may not be skipped.
#[track_caller]
pub fn found<T>(looked_for: Result<T, impl Display>) -> Option<T> {
    found_or_skipped(looked_for, std::env::var_os(ALLOW_SKIP).is_some_and(|value| value == "1"))
}

#[track_caller]
fn found_or_skipped<T>(looked_for: Result<T, impl Display>, may_skip: bool) -> Option<T> {
    match looked_for {
        Ok(found) => Some(found),
        Err(missing) if may_skip => {
            eprintln!("skipped: {missing}");
            None
        }
        Err(missing) => panic!("{missing}; {ALLOW_SKIP}=1 skips the tests that need it"),
    }
}

/// A file of the real data, as [`found`] gives it: in `shared/data` beside the repository.
///
/// # Panics
/// As [`found`].
#[track_caller]
pub fn real_data(name: &str) -> Option<PathBuf> {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("the crate is in tests/");
    let folder = repository.parent().unwrap_or(repository).join("shared/data");
    found(file(&folder.join(name)))
}

fn file(path: &Path) -> Result<PathBuf, String> {
    match path.is_file() {
        true => Ok(path.to_owned()),
        false => Err(format!("the real data are missing: there is no file {}", path.display())),
    }
}

/// A device that runs the code for GPUs, as [`found`] gives it.
///
/// # Panics
/// As [`found`].
#[track_caller]
pub fn gpu<T>(looked_for: Result<T, impl Display>) -> Option<T> {
    found(looked_for.map_err(|error| {
        format!("a GPU, or a software one (Debian: `apt-get install mesa-vulkan-drivers`), is missing: {error}")
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn absent() -> Result<PathBuf, String> {
        file(&std::env::temp_dir().join("no such file"))
    }

    #[test]
    #[should_panic(expected = "no such file; ATALAYA_ALLOW_SKIP=1 skips the tests that need it")]
    fn what_is_missing_fails_the_test() {
        found_or_skipped(absent(), false);
    }

    #[test]
    fn what_is_missing_may_be_skipped() {
        assert_eq!(found_or_skipped(absent(), true), None);
        assert_eq!(found_or_skipped(Ok::<_, String>(1), false), Some(1));
    }
}
