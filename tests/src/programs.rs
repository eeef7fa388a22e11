//! The programs, run as processes of their own.

use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::repository;

/// What a program that ended had to say.
#[derive(Debug)]
pub struct Run {
    /// Its exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

/// Runs `trainer` to its end.
pub fn trainer(arguments: &[&str]) -> Run {
    run("trainer", arguments)
}

/// Runs `scorer` to its end.
pub fn scorer(arguments: &[&str]) -> Run {
    run("scorer", arguments)
}

/// Starts `scorer` and lets it run.
pub fn start_scorer(arguments: &[&str]) -> Running {
    let mut command = Command::new(program("scorer"));
    command.args(arguments).current_dir(repository()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Running(Some(command.spawn().unwrap()))
}

/// A program that runs; it is killed when this is dropped.
#[derive(Debug)]
pub struct Running(Option<Child>);

impl Running {
    /// Sends SIGTERM and waits for the end, and how long that took.
    pub fn terminate(mut self) -> (Run, Duration) {
        let child = self.0.take().unwrap();
        let start = Instant::now();
        signal("TERM", child.id());
        (outcome(child.wait_with_output().unwrap()), start.elapsed())
    }

    /// Sends SIGKILL and waits for the end.
    pub fn kill(mut self) {
        let mut child = self.0.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Waits for the end.
    pub fn wait(mut self) -> Run {
        outcome(self.0.take().unwrap().wait_with_output().unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn signal(name: &str, process: u32) {
    let status = Command::new("kill").arg(format!("-{name}")).arg(process.to_string()).status().unwrap();
    assert!(status.success());
}

fn run(name: &str, arguments: &[&str]) -> Run {
    outcome(Command::new(program(name)).args(arguments).current_dir(repository()).output().unwrap())
}

fn outcome(output: Output) -> Run {
    Run {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// The path of a program: `cargo test --workspace` builds them, because both have integration tests of their own.
fn program(name: &str) -> PathBuf {
    // target/debug/deps/acceptance-... or target/debug/throughput -> target/debug
    let this = std::env::current_exe().unwrap();
    let folder = this.ancestors().skip(1).find(|folder| !folder.ends_with("deps")).unwrap();
    let path = folder.join(name);
    assert!(path.exists(), "{} is missing: run `cargo test --workspace`", path.display());
    path
}
