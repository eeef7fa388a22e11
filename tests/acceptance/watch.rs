//! What was found, in a terminal and as a page, on a real broker: it is what is in the topics, and what analysts said of it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use tests::{Kafka, Run, repository, scorer, start_scorer, text, wait_for};

use crate::window::entity;

const PATIENCE: Duration = Duration::from_secs(60);

/// Lines of the sample that are sent.
const LINES: usize = 6000;

const DETECTORS: [&str; 2] = ["anomalias_kmeans", "anomalias_bisect_kmeans"];

const LABELS: &str = "invoices_labels";

/// What a terminal or a page would obey if it took records for its own.
const HOSTILE: &str = "<script>alert(1)</script>\u{1b}[2J\u{202e}";

/// The sample's first lines and two that break rules, scored to their end.
fn score(kafka: &Kafka, folder: &Path) {
    let sample = std::fs::read_to_string(repository().join("resources/production.csv")).unwrap();
    let mut lines: Vec<&str> = sample.lines().take(LINES + 1).collect();
    lines.extend([
        "990001,22143,BLUE MUG,two,9/1/2010 9:22,1.5,12345,France",
        "990002,22143,RED MUG,2,9/1/2010 9:22,-1.5,12345,France",
    ]);
    let input = folder.join("input.csv");
    std::fs::write(&input, lines.join("\n") + "\n").unwrap();
    let models = repository().join("models");
    let how = ["--models", text(&models), "--device", "cpu", "--clock", "event", "--until-end"];
    let run = ["run", "--state-dir", text(folder), "--brokers", &kafka.brokers];
    for command in [&["replay", text(&input), "--brokers", &kafka.brokers][..], &[&run[..], &how].concat()[..]] {
        let run = scorer(command);
        assert_eq!(run.code, Some(0), "{}", run.stderr);
    }
}

/// The anomalies in the topics: the verdicts on each entity, by its name.
fn anomalies(kafka: &Kafka) -> BTreeMap<String, Vec<Value>> {
    let mut found: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for message in DETECTORS.iter().flat_map(|topic| kafka.read(topic)) {
        found.entry(entity(&message.value)).or_default().push(message.value);
    }
    found
}

/// A command that looks at the broker.
fn look(kafka: &Kafka, command: &[&str]) -> Run {
    scorer(&[command, &["--brokers", &kafka.brokers]].concat())
}

/// What `scorer watch --once --json` shows.
fn watched(kafka: &Kafka, more: &[&str]) -> Vec<Value> {
    let run = look(kafka, &[&["watch", "--once", "--json"], more].concat());
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    run.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn names(rows: &[Value]) -> BTreeSet<String> {
    let names: BTreeSet<String> = rows.iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(names.len(), rows.len(), "an entity is one line");
    names
}

#[test]
fn a_terminal_and_a_page_show_what_is_in_the_topics() {
    let Some(kafka) = Kafka::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let missing = look(&kafka, &["watch"]);
    assert_eq!((missing.code, missing.stderr.lines().count()), (Some(1), 1), "{}", missing.stderr);
    assert!(missing.stderr.contains("topic `anomalias_kmeans` does not exist"), "{}", missing.stderr);

    score(&kafka, folder.path());
    let found = anomalies(&kafka);
    assert!(found.len() > 10, "{} anomalies", found.len());
    let rows = watched(&kafka, &[]);
    assert_eq!(names(&rows), found.keys().cloned().collect());
    for row in &rows {
        let of = &found[row["id"].as_str().unwrap()];
        let detectors = |values: &[Value]| -> BTreeSet<String> {
            values.iter().map(|it| it["detector"].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(detectors(row["opinions"].as_array().unwrap()), detectors(of));
        assert_eq!((&row["key"], &row["state"]), (&of[0]["key"], &json!("open")));
    }
    assert!(rows.is_sorted_by_key(|row| row["at"].as_i64()), "the newest stands last");
    let critical = watched(&kafka, &["--severity", "critical"]);
    let is_critical = |row: &&Value| row["severity"] == "critical";
    assert_eq!(names(&critical).len(), rows.iter().filter(is_critical).count());

    what_analysts_say_is_heard(&kafka, &found);
    what_comes_is_shown(&kafka, &found);
    lines_are_fit_for_a_terminal(&kafka);
    the_page_is_whole(&kafka, folder.path());
    let group = format!("{}-look", DETECTORS[0]);
    assert_eq!(kafka.committed(&group, DETECTORS[0], 1)[0].0, None, "whoever looks commits nothing");
}

/// The first anomaly is a false alarm, and the second is not to be shown again.
fn what_analysts_say_is_heard(kafka: &Kafka, found: &BTreeMap<String, Vec<Value>>) {
    kafka.create_topic(LABELS, 1, &[("cleanup.policy", "compact")]);
    let mut ids = found.keys();
    let (closed, hidden) = (ids.next().unwrap(), ids.find(|id| found[*id][0]["customer_id"].is_string()).unwrap());
    let reason = |verdict: &Value| verdict["contributions"].as_object().unwrap().keys().next().unwrap().clone();
    let label =
        json!({ "schema": 1, "kind": "label", "id": closed, "label": "false_alarm", "at": "2026-11-21T09:30:00Z" });
    let exception = json!({ "schema": 1, "kind": "exception", "id": "exception/a", "features":
        found[hidden].iter().map(reason).collect::<BTreeSet<_>>(), "customer_id": found[hidden][0]["customer_id"],
        "until": "2100-01-01T00:00:00Z", "at": "2026-11-21T09:30:00Z", "note": HOSTILE });
    kafka.send_keyed(LABELS, [(closed.clone(), label.to_string()), ("exception/a".to_owned(), exception.to_string())]);
    let (shown, all) = (names(&watched(kafka, &[])), names(&watched(kafka, &["--all"])));
    assert!(!shown.contains(closed) && !shown.contains(hidden), "{shown:?}");
    assert!(all.contains(closed) && !all.contains(hidden), "{all:?}");
}

/// Two detectors find an invoice while somebody watches.
fn what_comes_is_shown(kafka: &Kafka, found: &BTreeMap<String, Vec<Value>>) {
    let before = watched(kafka, &[]).len();
    let mut running = start_scorer(&["watch", "--json", "--brokers", &kafka.brokers]);
    let mut lines = |count: usize| {
        wait_for("lines", PATIENCE, || {
            assert!(!running.has_ended(), "{}", running.stderr());
            let shown = running.stdout();
            (shown.lines().count() >= count && shown.ends_with('\n')).then_some(shown)
        })
    };
    lines(before);
    for (topic, detector) in DETECTORS.into_iter().zip(["kmeans", "bisecting-kmeans"]) {
        let mut verdict = found.values().next().unwrap()[0].clone();
        verdict["key"] = json!(HOSTILE);
        verdict["customer_id"] = json!("whom no exception is for");
        verdict["detector"] = json!(detector);
        verdict["id"] = json!(format!("invoices/{detector}/0/999999/{HOSTILE}"));
        verdict["reason"] = json!(format!("{HOSTILE} is the reason"));
        kafka.send_keyed(topic, [(HOSTILE.to_owned(), verdict.to_string())]);
    }
    let shown = lines(before + 1);
    running.signal("INT");
    let ended = running.wait_at_most(PATIENCE);
    assert_eq!((ended.code, ended.stdout.lines().count()), (Some(0), before + 1), "{}", ended.stderr);
    let last: Value = serde_json::from_str(shown.lines().last().unwrap()).unwrap();
    assert_eq!(last["key"], HOSTILE);
    // The second opinion may have come after the line. Who looks later sees both.
    let later = watched(kafka, &[]).into_iter().find(|row| row["key"] == HOSTILE).unwrap();
    assert_eq!(later["opinions"].as_array().unwrap().len(), 2, "{later}");
}

fn lines_are_fit_for_a_terminal(kafka: &Kafka) {
    let run = look(kafka, &["watch", "--once", "--since", "1d"]);
    let rows = watched(kafka, &[]);
    assert_eq!((run.code, run.stdout.lines().count()), (Some(0), rows.len() + 1), "{}", run.stderr);
    assert!(run.stdout.starts_with("severity  scored UTC   invoice"), "{}", run.stdout);
    for line in run.stdout.lines() {
        assert!(line.chars().count() <= 100 && !line.chars().any(|c| c.is_control() || c == '\u{202e}'), "{line:?}");
    }
    assert!(run.stdout.contains("alert(1)"), "what is hostile is shown as text: {}", run.stdout);
}

fn the_page_is_whole(kafka: &Kafka, folder: &Path) {
    let path: PathBuf = folder.join("report.html");
    let run = look(kafka, &["report", "--since", "24h", "--output", text(&path)]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let page = std::fs::read_to_string(&path).unwrap();
    let found = anomalies(kafka).len();
    assert!(page.starts_with("<!doctype html>") && page.trim_end().ends_with("</html>"));
    assert!(page.contains(&format!("{found} anomalies")), "{found}: {page}");
    assert!(!page.contains("<script") && page.contains("&lt;script&gt;") && !page.contains('\u{1b}'));
    let erroneous = kafka.read("facturas_erroneas");
    for message in &erroneous {
        for reason in message.value["reasons"].as_array().unwrap() {
            assert!(page.contains(reason.as_str().unwrap()), "{reason}: {page}");
        }
    }
    let said = format!("{found} anomalies and {} erroneous messages since ", erroneous.len());
    assert!(run.stdout.starts_with(&said), "{}", run.stdout);
    // What is there stays as it is where nothing can be written in its place.
    let refused = look(kafka, &["report", "--pipeline", "transactions", "--output", text(&path)]);
    assert_eq!((refused.code, std::fs::read_to_string(&path).unwrap()), (Some(1), page));
}
