//! The test of the tests: one that fails leaves nothing behind that the tests after it would suffer from.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::{Clock, Feed, Kafka, Proxy, Subject, Trial, text};

/// Threads and processes have been waited for when their owner is dropped; this is for other tests of this process.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a test started that can be looked for from outside.
struct Started {
    folders: [PathBuf; 2],
    port: u16,
}

/// A trial under load, through a proxy that is cut, ends in the middle.
fn fails(started: &OnceLock<Started>) {
    let proxy = Proxy::bind();
    let Some(trial) = Trial::of(Subject::Payments, Clock::Event, Kafka::start_behind(&proxy), 1) else { return };
    let _feed = Feed::start(trial.sender(), 1_000);
    let _instance = trial.instance("only", &[]);
    trial.group.wait_until_all_move();
    proxy.cut();
    let folders = [trial.folder().to_owned(), trial.kafka.folder().to_owned()];
    assert!(folders.iter().all(|folder| folder.exists() && !processes_of(folder).is_empty()), "there is what to leave");
    started.set(Started { folders, port: proxy.port() }).ok().expect("it is set once");
    panic!("on purpose");
}

#[test]
fn a_test_that_fails_leaves_no_thread_process_listener_or_folder() {
    let (before, started) = (threads(), OnceLock::new());
    let failed = catch_unwind(AssertUnwindSafe(|| fails(&started)));
    let Some(Started { folders, port }) = started.get() else {
        // It could not run, which is allowed where `failed` is not an error.
        return failed.unwrap();
    };
    for folder in folders {
        assert_eq!(processes_of(folder), Vec::<String>::new(), "of {}", folder.display());
        assert!(!folder.exists(), "{} is removed", folder.display());
    }
    assert!(TcpStream::connect(("127.0.0.1", *port)).is_err(), "the proxy does not listen any more");
    let left = || {
        let mut left = threads();
        left.retain(|id, _| !before.contains_key(id));
        left
    };
    let start = Instant::now();
    while !left().is_empty() && start.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(left(), BTreeMap::new(), "threads that go on");
}

/// The command lines of processes that name a folder: brokers and scorers do.
fn processes_of(folder: &Path) -> Vec<String> {
    let of_process = |entry: fs::DirEntry| fs::read(entry.path().join("cmdline")).ok();
    let lines = fs::read_dir("/proc").unwrap().flatten().filter_map(of_process);
    let lines = lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    lines.filter(|line| line.contains(text(folder))).collect()
}

/// The threads of this process by their number, with their names.
fn threads() -> BTreeMap<String, String> {
    let named = |entry: fs::DirEntry| {
        let name = fs::read_to_string(entry.path().join("comm")).ok()?;
        Some((entry.file_name().to_string_lossy().into_owned(), name.trim().to_owned()))
    };
    fs::read_dir("/proc/self/task").unwrap().flatten().filter_map(named).collect()
}
