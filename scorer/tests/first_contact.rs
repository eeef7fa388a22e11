//! What somebody meets first: options from the command line, the environment and a file, checks, reports, and a pipe that
//! somebody closes.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

struct Run {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

fn scorer(folder: &Path, variables: &[(&str, &str)], arguments: &[&str]) -> Run {
    let output = Command::new(env!("CARGO_BIN_EXE_scorer"))
        .args(arguments)
        .envs(variables.iter().copied())
        .current_dir(folder)
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Run { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

const FILE: &str = r#"
brokers = "of-all:9092"
device = "cpu"

[run]
brokers = "of-run:9092"
group = "of-run"
threads = 2
all-verdicts = true
kafka-property = ["client.rack=a", "sasl.password=GEHEIM1"]

[simulate.invoices]
days = 1
"#;

#[test]
fn every_option_is_shown_with_its_source() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("scorer.toml"), FILE).unwrap();
    let variables =
        [("ATALAYA_CONFIG", "scorer.toml"), ("ATALAYA_GROUP", "of-variable"), ("ATALAYA_BATCH_RECORDS", "7")];
    let run = scorer(folder.path(), &variables, &["config", "show", "--json", "--batch-records", "5"]);
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""));
    let shown: Value = serde_json::from_str(&run.stdout).unwrap();
    for (name, value, source, place) in [
        ("batch-records", json!("5"), "command_line", Value::Null),
        ("group", json!("of-variable"), "environment", json!("ATALAYA_GROUP")),
        ("brokers", json!("of-run:9092"), "file", json!("scorer.toml: run.brokers")),
        ("device", json!("cpu"), "file", json!("scorer.toml: device")),
        ("threads", json!("2"), "file", json!("scorer.toml: run.threads")),
        ("all-verdicts", json!("true"), "file", json!("scorer.toml: run.all-verdicts")),
        (
            "kafka-property",
            json!(["client.rack=***", "sasl.password=***"]),
            "file",
            json!("scorer.toml: run.kafka-property"),
        ),
        ("pipeline", json!("invoices"), "default", Value::Null),
        ("until-end", json!("false"), "default", Value::Null),
        ("max-memory", Value::Null, "default", Value::Null),
    ] {
        assert_eq!(shown[name], json!({ "value": value, "source": source, "place": place }), "{name}");
    }
    assert!(shown.get("json").is_none() && shown.get("config").is_none(), "{}", run.stdout);
    let table = scorer(folder.path(), &variables, &["config", "show"]);
    assert!(table.stdout.contains("environment ATALAYA_GROUP") && table.stdout.contains("***"), "{}", table.stdout);
    assert!(!(table.stdout + &run.stdout).contains("GEHEIM1"));
}

#[test]
fn a_command_takes_its_options_from_its_table() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("scorer.toml"), FILE).unwrap();
    let run = |arguments: &[&str]| {
        let all = [&["simulate", "invoices", "--config", "scorer.toml"][..], arguments].concat();
        scorer(folder.path(), &[], &all).stdout.lines().count()
    };
    let (one, two) = (run(&[]), run(&["--days", "2"]));
    assert!(one > 10 && two > one, "{one} and {two}");
}

#[test]
fn brokers_for_everything_else_do_not_turn_samples_into_a_stream() {
    let folder = tempfile::tempdir().unwrap();
    let variables = [("ATALAYA_BROKERS", "127.0.0.1:1")];
    let run = scorer(folder.path(), &variables, &["simulate", "transactions", "--count", "3"]);
    assert_eq!((run.code, run.stdout.lines().count()), (Some(0), 3), "{}", run.stderr);
    let to_kafka = scorer(folder.path(), &variables, &["simulate", "transactions", "--count", "3", "--topic", "t"]);
    assert!(to_kafka.stderr.contains("127.0.0.1:1"), "{}", to_kafka.stderr);
}

#[test]
fn mistakes_outside_of_the_command_line_are_one_sentence_with_their_place() {
    let folder = tempfile::tempdir().unwrap();
    let with_file = |text: &str, arguments: &[&str]| {
        std::fs::write(folder.path().join("f.toml"), text).unwrap();
        scorer(folder.path(), &[("ATALAYA_CONFIG", "f.toml")], arguments)
    };
    for (text, wanted) in [
        ("broker = 'a:1'", "error: f.toml: there is no option `broker`; did you mean `brokers`?"),
        ("[run]\ndevice = 'tpu'", "error: f.toml: run.device: invalid value 'tpu' for '--device <DEVICE>': use "),
        ("[run]\njson-logs = 'perhaps'", "error: f.toml: run.json-logs: --json-logs is on or off: use true or false"),
        ("brokers = ", "error: f.toml, line 1: "),
    ] {
        let run = with_file(text, &[]);
        assert_eq!((run.code, run.stderr.lines().count()), (Some(2), 1), "{text}: {}", run.stderr);
        assert!(run.stderr.starts_with(wanted), "{text}: {}", run.stderr);
    }
    let run = scorer(folder.path(), &[("ATALAYA_STATE_DIRS", "x")], &["config", "show"]);
    assert_eq!(run.code, Some(0));
    let warning =
        "warning: ATALAYA_STATE_DIRS is set, and no option of scorer is named so; did you mean ATALAYA_STATE_DIR?\n";
    assert_eq!(run.stderr, warning);
}

#[test]
fn the_version_is_told_to_people_and_to_programs() {
    let folder = tempfile::tempdir().unwrap();
    let short = scorer(folder.path(), &[], &["--version"]).stdout;
    let lines = scorer(folder.path(), &[], &["version"]).stdout;
    assert!(lines.starts_with(&short) && lines.contains("compiler: rustc "), "{short}{lines}");
    let json: Value = serde_json::from_str(&scorer(folder.path(), &[], &["version", "--json"]).stdout).unwrap();
    assert_eq!((&json["program"], &json["version"]), (&json!("scorer"), &json!(env!("CARGO_PKG_VERSION"))));
    let formats: Vec<&str> = json["formats"].as_array().unwrap().iter().filter_map(|of| of["of"].as_str()).collect();
    assert_eq!(formats, ["model", "verdict", "state"]);
}

/// Each check has a line, and the exit code is that of `run`.
#[test]
fn a_check_ends_as_the_run_would() {
    let folder = tempfile::tempdir().unwrap();
    let nowhere = ["--brokers", "127.0.0.1:1", "--device", "cpu"];
    let check = |more: &[&str]| scorer(folder.path(), &[], &[&["check"][..], &nowhere, more].concat());
    let unreachable = check(&[]);
    let run = scorer(folder.path(), &[], &nowhere);
    assert_eq!((unreachable.code, run.code), (Some(75), Some(75)), "{}", unreachable.stdout);
    for wanted in [
        "ok    options ",
        "ok    pipeline `invoices`, ",
        "ok    device   cpu",
        "ok    models   kmeans ",
        "wrong brokers  nothing listens at 127.0.0.1:1",
        "ok    state ",
    ] {
        assert!(unreachable.stdout.lines().any(|line| line.starts_with(wanted)), "{wanted}: {}", unreachable.stdout);
    }
    assert!(unreachable.stderr.ends_with("checks failed\n"), "{}", unreachable.stderr);
    let no_pipeline = check(&["--pipeline", "nowhere.toml"]);
    assert_eq!(no_pipeline.code, Some(78), "{}", no_pipeline.stdout);
    assert!(no_pipeline.stdout.contains("\nwrong pipeline "), "{}", no_pipeline.stdout);
    let no_models = check(&["--models", "nowhere"]);
    assert_eq!(no_models.code, Some(78), "{}", no_models.stdout);
    assert!(no_models.stdout.contains("\nwrong models   "), "{}", no_models.stdout);
    let contradicting = check(&["--standbys", "1", "--delivery", "at-least-once"]);
    assert!(contradicting.stdout.starts_with("wrong options "), "{}", contradicting.stdout);
    assert_eq!(contradicting.code, Some(1));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is created");
}

/// A report that may be sent to strangers: everything that matters, and no secret.
#[test]
fn a_report_has_versions_options_and_models_but_no_secrets() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("scorer.toml"), FILE.replace("of-run:9092", "127.0.0.1:1")).unwrap();
    let run = scorer(folder.path(), &[("ATALAYA_CONFIG", "scorer.toml")], &["doctor"]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    for wanted in [
        "program:\n  scorer ",
        "\nmachine:\n  system: ",
        "\ndevices:\n  cpu: cpu, ",
        "\n  group = of-run (scorer.toml: run.group)\n",
        "\n  kafka-property = client.rack=***, sasl.password=*** (scorer.toml: run.kafka-property)\n",
        "\n  definition: ",
        "\n  model kmeans: version ",
        "\nstate folder:\n  ",
        // A secret among the flags is refused without being repeated.
        "\nkafka:\n  ",
    ] {
        assert!(run.stdout.contains(wanted), "{wanted}: {}", run.stdout);
    }
    assert!(!(run.stdout + &run.stderr).contains("GEHEIM1"));
}

#[test]
fn a_reader_who_has_seen_enough_is_no_error() {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_scorer"))
        .args(["score", "resources/production.csv", "--device", "cpu"])
        .current_dir(repository)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.starts_with("{\"topic\":"), "{line}");
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), stderr.contains("Broken pipe")), (Some(0), false), "{stderr}");
}
