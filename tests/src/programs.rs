//! The programs, run as processes of their own.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::{repository, text, wait_for};

/// How long a program may take to leave after SIGTERM, and to say what is waited for.
const PATIENCE: Duration = Duration::from_secs(120);

/// How often a look is taken at a program whose memory is measured.
const LOOK: Duration = Duration::from_millis(10);

/// The unit of processor time in `/proc`: on Linux it is the same on every machine (`getconf CLK_TCK`).
const TICKS_A_SECOND: f64 = 100.0;

/// What a program took.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Spent {
    /// Seconds of all processors together.
    pub cpu_seconds: f64,
    /// The most memory that it had, in KiB.
    pub memory: u64,
}

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

/// Trains on the history in `file` into the folder `models`.
pub fn train(file: &Path, models: &Path) {
    let run = trainer(&["--input", text(file), "--models", text(models), "--device", "cpu", "--quiet"]);
    assert_eq!((run.code, run.stdout.as_str()), (Some(0), ""), "{}", run.stderr);
}

/// Starts `scorer` and lets it run.
pub fn start_scorer(arguments: &[&str]) -> Running {
    start("scorer", arguments)
}

/// Starts the scorer that has the flags that break a guarantee, and lets it run.
pub fn start_broken_scorer(arguments: &[&str]) -> Running {
    start("scorer-faults", arguments)
}

fn start(name: &str, arguments: &[&str]) -> Running {
    start_in(&repository(), &program(name), arguments)
}

/// Starts a program in a folder and lets it run.
pub(crate) fn start_in(folder: &Path, program: &Path, arguments: &[&str]) -> Running {
    let (stdout, stderr) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
    let mut command = Command::new(program);
    command.args(arguments).current_dir(folder);
    command.stdout(stdout.try_clone().unwrap()).stderr(stderr.try_clone().unwrap());
    Running { child: command.spawn().unwrap(), stdout, stderr }
}

/// Builds both programs, so that a program of this crate does not run stale ones: `cargo run` builds only its own.
pub fn build_programs() {
    build(&[]);
}

/// Builds the scorer that has the flags that break a guarantee.
pub fn build_broken_scorer() {
    build(&["-p", "tests", "--bin", "scorer-faults"]);
}

fn build(what: &[&str]) {
    let Some(cargo) = std::env::var_os("CARGO") else { return };
    let mut build = Command::new(cargo);
    build.args(["build", "--quiet"]).args(what).current_dir(repository());
    // What `cargo run` says of this program is not for the build: build scripts that look at it would run again.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        let is_of_cargo = text.starts_with("CARGO") && text != "CARGO_HOME" && text != "CARGO_TARGET_DIR";
        if is_of_cargo || text == "LD_LIBRARY_PATH" {
            build.env_remove(&name);
        }
    }
    assert!(build.status().unwrap().success());
}

/// A program that runs; it is killed when this is dropped, and heard when a test fails.
#[derive(Debug)]
pub struct Running {
    child: Child,
    // Files, not pipes: a pipe that nobody reads stops the program once it is full.
    stdout: File,
    stderr: File,
}

impl Running {
    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The seconds that it has computed so far, of all processors together.
    pub fn cpu_seconds(&self) -> f64 {
        cpu_seconds(self.id())
    }

    /// Sends it a signal, named without SIG.
    pub fn signal(&self, name: &str) {
        signal(name, self.id());
    }

    /// Sends SIGTERM and waits for the end, and how long that took.
    pub fn terminate(mut self) -> (Run, Duration) {
        let start = Instant::now();
        // One that has ended by itself is not there to be asked; its exit code tells.
        if !self.has_ended() {
            self.signal("TERM");
        }
        let status = wait_for("the end after SIGTERM", PATIENCE, || self.child.try_wait().unwrap());
        (self.outcome(status), start.elapsed())
    }

    /// Sends SIGKILL and waits for the end.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for the end.
    pub fn wait(mut self) -> Run {
        let status = self.child.wait().unwrap();
        self.outcome(status)
    }

    /// Waits for the end; beside what it says, what it took.
    pub fn wait_and_account(mut self) -> (Run, Spent) {
        let mut spent = Spent::default();
        // One that has ended is still in the table of processes until it is waited for, and has no memory any more.
        while !self.has_state('Z') {
            spent.memory = memory(self.id(), "VmHWM").unwrap_or(spent.memory);
            std::thread::sleep(LOOK);
        }
        spent.cpu_seconds = cpu_seconds(self.id());
        let status = self.child.wait().unwrap();
        (self.outcome(status), spent)
    }

    /// Waits for the end, but not for ever.
    pub fn wait_at_most(mut self, limit: Duration) -> Run {
        let status = wait_for("the program's end", limit, || self.child.try_wait().unwrap());
        self.outcome(status)
    }

    /// Whether a signal has stopped it.
    pub fn is_stopped(&self) -> bool {
        self.has_state('T')
    }

    fn has_state(&self, state: char) -> bool {
        stat(self.id()).first().is_some_and(|field| field.starts_with(state))
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Its standard output so far.
    pub fn stdout(&self) -> String {
        written(&self.stdout)
    }

    /// Its standard error so far.
    pub fn stderr(&self) -> String {
        written(&self.stderr)
    }

    /// The fields of every JSON log line so far with this message.
    pub fn log(&self, message: &str) -> Vec<Value> {
        logged(&self.stderr(), message)
    }

    /// Waits for the first JSON log line with this message; its fields.
    pub fn wait_for_log(&mut self, message: &str) -> Value {
        wait_for(&format!("the log line `{message}`"), PATIENCE, || {
            let ended = self.has_ended();
            let found = self.log(message).into_iter().next();
            assert!(found.is_some() || !ended, "it ended before it logged `{message}`");
            found
        })
    }

    fn outcome(&self, status: ExitStatus) -> Run {
        Run { code: status.code(), stdout: written(&self.stdout), stderr: self.stderr() }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("process {} said at last:\n{}", self.id(), last_lines(&self.stderr()));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The fields of `/proc/N/stat` after the name, which is in parentheses and may hold spaces: the state is the first.
fn stat(process: u32) -> Vec<String> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields);
    fields.split_whitespace().map(str::to_owned).collect()
}

/// The time that a process computed, its own and the system's for it, as `proc_pid_stat(5)` has them.
pub(crate) fn cpu_seconds(process: u32) -> f64 {
    let fields = stat(process);
    let ticks: u64 = fields[11..13].iter().map(|ticks| ticks.parse::<u64>().unwrap()).sum();
    ticks as f64 / TICKS_A_SECOND
}

/// What `/proc` says of a process's memory: `VmRSS` is what it has, `VmHWM` the most that it has had; in KiB. `None` when it
/// has ended.
pub(crate) fn memory(process: u32, name: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let value = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    value.trim().trim_end_matches("kB").trim().parse().ok()
}

/// The fields of every JSON log line in `stderr` with this message.
pub fn logged(stderr: &str, message: &str) -> Vec<Value> {
    let lines = stderr.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let fields = lines.filter_map(|mut line| Some(line.get_mut("fields")?.take()));
    fields.filter(|fields| fields["message"] == message).collect()
}

/// Sends a signal, named without SIG, to a process.
pub(crate) fn signal(name: &str, process: u32) {
    let status = Command::new("kill").arg(format!("-{name}")).arg(process.to_string()).status().unwrap();
    assert!(status.success());
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}

/// Everything in a file that a program still writes to: its position, which the program shares, stays where it is.
fn written(file: &File) -> String {
    let mut bytes = vec![0; file.metadata().unwrap().len() as usize];
    file.read_exact_at(&mut bytes, 0).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn run(name: &str, arguments: &[&str]) -> Run {
    let Output { status, stdout, stderr } =
        Command::new(program(name)).args(arguments).current_dir(repository()).output().unwrap();
    let lossy = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Run { code: status.code(), stdout: lossy(stdout), stderr: lossy(stderr) }
}

/// The path of a program: `cargo test --workspace` builds them, because their crates have integration tests.
pub(crate) fn program(name: &str) -> PathBuf {
    // target/debug/deps/acceptance-... or target/debug/throughput -> target/debug
    let this = std::env::current_exe().unwrap();
    let folder = this.ancestors().skip(1).find(|folder| !folder.ends_with("deps")).unwrap();
    let path = folder.join(name);
    assert!(path.exists(), "{} is missing: run `cargo test --workspace`", path.display());
    path
}
