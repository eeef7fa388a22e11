//! What a test needs and not every machine has: the real data, a GPU, Apache Kafka.
//!
//! One rule holds for all of them. A test that lacks something fails, because a test that passes without having run
//! proves nothing. Where that is known and accepted, `ATALAYA_ALLOW_SKIP=1` lets such tests pass.

use std::fmt::Display;
use std::path::{Path, PathBuf};

/// The environment variable that lets tests pass that cannot run.
const ALLOW_SKIP: &str = "ATALAYA_ALLOW_SKIP";

/// The environment variable that names the device on which tests run the code for GPUs.
const TEST_DEVICE: &str = "ATALAYA_TEST_DEVICE";

/// Where they run it if none is named: on a real GPU, or else on a software adapter.
const USUAL_DEVICES: [&str; 2] = ["gpu", "software"];

/// How the names of devices begin that run this code.
const GPU_NAMES: [&str; 3] = ["gpu", "vulkan", "software"];

/// What a test looked for; where it is missing, `None` if tests may be skipped. The error says in one sentence what is
/// missing and where it was looked for.
///
/// # Panics
/// When it is missing and tests may not be skipped.
#[track_caller]
pub fn found<T>(looked_for: Result<T, impl Display>) -> Option<T> {
    found_or_skipped(looked_for, may_skip())
}

fn may_skip() -> bool {
    std::env::var_os(ALLOW_SKIP).is_some_and(|value| value == "1")
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

/// A device that runs the code for GPUs, which `choose` finds by its name: the one that `ATALAYA_TEST_DEVICE` names, or else
/// the first of the usual ones, as [`found`] gives it.
///
/// # Panics
/// As [`found`]; and when the device that was named is missing, whatever may be skipped.
#[track_caller]
pub fn gpu<T, E: Display>(choose: impl Fn(&str) -> Result<T, E>) -> Option<T> {
    match test_device() {
        Some(name) => Some(named(&name, choose)),
        None => usual(choose, may_skip()),
    }
}

/// The device that `ATALAYA_TEST_DEVICE` names, if it names one: for what takes long on a software adapter.
///
/// # Panics
/// When it is missing.
#[track_caller]
pub fn named_gpu<T, E: Display>(choose: impl Fn(&str) -> Result<T, E>) -> Option<T> {
    test_device().map(|name| named(&name, choose))
}

fn test_device() -> Option<String> {
    std::env::var_os(TEST_DEVICE).filter(|name| !name.is_empty()).map(|name| name.to_string_lossy().into_owned())
}

#[track_caller]
fn named<T, E: Display>(name: &str, choose: impl Fn(&str) -> Result<T, E>) -> T {
    let kind = name.split(':').next().unwrap_or_default();
    assert!(GPU_NAMES.contains(&kind), "{TEST_DEVICE}={name} names no GPU: use {}", GPU_NAMES.join(", "));
    choose(name).unwrap_or_else(|error| panic!("{TEST_DEVICE}={name}: {error}"))
}

#[track_caller]
fn usual<T, E: Display>(choose: impl Fn(&str) -> Result<T, E>, may_skip: bool) -> Option<T> {
    let [gpu, software] = USUAL_DEVICES;
    let looked_for = choose(gpu).or_else(|_| choose(software)).map_err(|error| {
        format!("a GPU, or a software one (Debian: `apt-get install mesa-vulkan-drivers`), is missing: {error}")
    });
    found_or_skipped(looked_for, may_skip)
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

    /// A machine with a software adapter only.
    fn software_only(name: &str) -> Result<String, String> {
        if name == "software" { Ok(name.to_owned()) } else { Err(format!("no {name}")) }
    }

    #[test]
    fn the_first_of_the_usual_devices_is_taken() {
        assert_eq!(usual(software_only, false).as_deref(), Some("software"));
        assert_eq!(usual(|name| Ok::<_, String>(name.to_owned()), false).as_deref(), Some("gpu"));
        assert_eq!(usual(|name| Err::<(), _>(format!("no {name}")), true), None);
    }

    #[test]
    #[should_panic(expected = "is missing: no software; ATALAYA_ALLOW_SKIP=1 skips")]
    fn no_usual_device_fails_the_test() {
        usual(|name| Err::<(), _>(format!("no {name}")), false);
    }

    #[test]
    fn the_device_that_is_named_is_taken() {
        assert_eq!(named("software", software_only), "software");
    }

    /// Another one in its place would prove nothing of it.
    #[test]
    #[should_panic(expected = "ATALAYA_TEST_DEVICE=gpu:1: no gpu:1")]
    fn a_device_that_is_named_and_missing_fails_the_test() {
        named("gpu:1", software_only);
    }

    #[test]
    #[should_panic(expected = "ATALAYA_TEST_DEVICE=cpu names no GPU: use gpu, vulkan, software")]
    fn the_cpu_is_no_gpu() {
        named("cpu", |name| Ok::<_, String>(name.to_owned()));
    }

    #[test]
    fn what_is_missing_may_be_skipped() {
        assert_eq!(found_or_skipped(absent(), true), None);
        assert_eq!(found_or_skipped(Ok::<_, String>(1), false), Some(1));
    }
}
