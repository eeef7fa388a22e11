//! `scorer demo`, and the program without anything beside it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

struct Run {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn scorer(arguments: &[&str]) -> Run {
    scorer_in(&repository(), arguments)
}

fn scorer_in(folder: &Path, arguments: &[&str]) -> Run {
    let output = Command::new(env!("CARGO_BIN_EXE_scorer")).args(arguments).current_dir(folder).output().unwrap();
    Run {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// The lines of the demo that tell of an anomaly each.
fn rows_of_the_demo(stdout: &str) -> Vec<&str> {
    let rows = stdout.lines().skip_while(|line| !line.starts_with("severity  time ")).skip(1);
    rows.take_while(|line| !line.is_empty()).collect()
}

/// Invoices that are anomalous to `detector`, as the demo printed them.
fn printed_by_the_demo(stdout: &str, detector: &str) -> Vec<String> {
    let is_found = |row: &&str| !row.ends_with(" alone]") || row.ends_with(&format!("[{detector} alone]"));
    let rows = rows_of_the_demo(stdout).into_iter().filter(is_found);
    rows.filter_map(|row| row.split_whitespace().nth(3)).map(str::to_owned).collect()
}

/// Invoices that are anomalous to `detector`, as `scorer score` writes them.
fn found_in_the_file(verdicts: &str, detector: &str) -> Vec<String> {
    let verdicts = verdicts.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let keys = verdicts.filter(|verdict| verdict["detector"] == detector && verdict["anomalous"] == true);
    keys.map(|verdict| verdict["key"].as_str().unwrap().to_owned()).collect()
}

/// The stream of the demo finds what is found in its file, each on one line, and that is nearly all that was simulated.
#[test]
fn the_demo_finds_the_simulated_anomalies() {
    let run = scorer(&["demo", "--rate", "0", "--device", "cpu"]);
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""));
    assert!(run.stdout.lines().all(|line| line.chars().count() <= 100), "{}", run.stdout);
    let mut keys: Vec<&str> =
        rows_of_the_demo(&run.stdout).iter().filter_map(|row| row.split_whitespace().nth(3)).collect();
    let n_rows = keys.len();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), n_rows, "one line an invoice");
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("verdicts.jsonl");
    let (production, path) = ("resources/production.csv", output.to_str().unwrap());
    let scored = scorer(&["score", production, "--anomalies-only", "--output", path, "--device", "cpu"]);
    assert_eq!(scored.code, Some(0), "{}", scored.stderr);
    let verdicts = std::fs::read_to_string(output).unwrap();
    let labels = std::fs::read_to_string(repository().join("resources/production_labels.csv")).unwrap();
    let labelled: Vec<&str> = labels.lines().skip(1).filter_map(|line| line.split(',').next()).collect();
    assert!(labelled.len() >= 30, "{}", labelled.len());
    for detector in ["kmeans", "bisecting-kmeans"] {
        let (mut printed, mut expected) =
            (printed_by_the_demo(&run.stdout, detector), found_in_the_file(&verdicts, detector));
        printed.sort_unstable();
        expected.sort_unstable();
        assert_eq!(printed, expected, "{detector}");
        let found = labelled.iter().filter(|invoice| printed.iter().any(|key| key == *invoice)).count();
        assert!(found * 10 >= labelled.len() * 9, "{detector}: {found} of {} found", labelled.len());
        // A row of the table at the end.
        let row = |line: &&str| {
            line.contains(&format!("anomalies by {detector} ")) && line.contains(&printed.len().to_string())
        };
        assert!(run.stdout.lines().any(|line| row(&line)), "{}", run.stdout);
    }
}

/// The window shows what the terminal tells, and stays until the program is ended.
#[test]
fn the_window_of_the_demo_stays_open() {
    let arguments = ["demo", "--rate", "0", "--device", "cpu", "--listen", "127.0.0.1:0"];
    let mut command = Command::new(env!("CARGO_BIN_EXE_scorer"));
    let mut demo = command.args(arguments).current_dir(repository()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(demo.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut printed = String::new();
    let stays = lines.by_ref().find(|line| {
        printed += &format!("{line}\n");
        line.starts_with("The window stays open at http://")
    });
    let address = stays.unwrap().split("http://").nth(1).unwrap().split('/').next().unwrap().to_owned();
    assert!(printed.contains(&format!("The same in the browser: http://{address}/")), "{printed}");
    let rows = rows_of_the_demo(&printed).len();
    // What the last moment brought may still be in the window's queue.
    let shown = (0..500).find_map(|_| {
        let shown = anomalies_at(&address);
        std::thread::sleep(Duration::from_millis(20));
        (shown == rows).then_some(shown)
    });
    assert_eq!(shown, Some(rows), "{printed}");
    assert!(Command::new("kill").arg(demo.id().to_string()).status().unwrap().success());
    assert_eq!(demo.wait().unwrap().code(), Some(0));
    assert_eq!(lines.next(), None);
}

/// How many entities a window lists.
fn anomalies_at(address: &str) -> usize {
    let mut connection = TcpStream::connect(address).unwrap();
    write!(connection, "GET /api/v1/anomalies HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    let body = &answer[answer.find('{').unwrap()..=answer.rfind('}').unwrap()];
    let answer: serde_json::Value = serde_json::from_str(body).unwrap();
    answer["matching"].as_u64().unwrap() as usize
}

#[test]
fn the_window_of_the_demo_is_for_this_machine() {
    let run = scorer(&["demo", "--listen", "0.0.0.0:0"]);
    assert_eq!(run.code, Some(2), "{}", run.stderr);
    assert!(run.stderr.contains("the demo's window is for this machine alone"), "{}", run.stderr);
}

/// In a folder with nothing in it, what is built in takes the place of samples and models; what is there wins.
#[test]
fn the_program_alone_is_enough() {
    let folder = tempfile::tempdir().unwrap();
    let run = scorer_in(folder.path(), &["demo", "--rate", "0", "--device", "cpu"]);
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""));
    let said = run.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        said.starts_with("A producer sends sample data that are built into the program to the topic `purchases`"),
        "{said}"
    );
    assert!(said.contains("models that are built into the program and were trained on sample data"), "{said}");
    assert!(said.contains("What is planted in the sample, and what each detector found of it:"), "{said}");
    for kind in ["bulk_quantity", "huge_basket", "night_order", "pence_as_pounds", "price_spike", "unmarked_return"] {
        assert!(said.contains(&format!("│ {kind} ┆ ")), "{kind} is missing in {said}");
    }

    std::fs::create_dir(folder.path().join("resources")).unwrap();
    let production = std::fs::read_to_string(repository().join("resources/production.csv")).unwrap();
    let first: Vec<&str> = production.lines().take(500).collect();
    std::fs::write(folder.path().join("resources/production.csv"), first.join("\n")).unwrap();
    let run = scorer_in(folder.path(), &["demo", "--rate", "0", "--device", "cpu"]);
    assert!(run.stdout.starts_with("A producer sends resources/production.csv to the topic"), "{}", run.stdout);
    assert!(!run.stdout.contains("planted"), "the labels that are built in are of another file: {}", run.stdout);

    let scored =
        scorer_in(folder.path(), &["score", "resources/production.csv", "--output", "a.jsonl", "--device", "cpu"]);
    assert_eq!(scored.code, Some(0), "{}", scored.stderr);
    assert!(scored.stderr.contains("there are no models of pipeline `invoices` in ./models"), "{}", scored.stderr);
    let models = repository().join("models");
    let named = ["score", "resources/production.csv", "--output", "b.jsonl", "--device", "cpu", "--models"];
    let scored = scorer_in(folder.path(), &[&named[..], &[models.to_str().unwrap()]].concat());
    assert!(!scored.stderr.contains("there are no models"), "{}", scored.stderr);
    let [built_in, of_folder] = ["a.jsonl", "b.jsonl"].map(|name| std::fs::read(folder.path().join(name)).unwrap());
    assert_eq!(built_in, of_folder);
}

/// What is built in is what a program uses: the history, which is the trainer's, would only make the scorer larger.
#[test]
fn the_history_is_not_in_the_program() {
    let program = std::fs::read(env!("CARGO_BIN_EXE_scorer")).unwrap();
    let has = |file: Option<&shared::shipped::BuiltIn>| {
        let part = &file.unwrap().bytes[4096..4160];
        program.windows(part.len()).any(|window| window == part)
    };
    assert!(has(shared::shipped::stream("resources/transactions/production.jsonl.gz")));
    assert!(!has(shared::shipped::history("resources/transactions/training.jsonl.gz")));
    assert!(!has(shared::shipped::history("resources/training.csv")));
}
