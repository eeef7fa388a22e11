//! The real production file through a real Kafka, against the same file without Kafka.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use tests::{Kafka, TOPICS, real_data, scorer, start_scorer, text, train};

use crate::expected::{score, sorted, values};

fn windows(messages: &[Value]) -> Vec<(String, u64)> {
    let window = |message: &Value| {
        (message["window_end"].as_str().unwrap().to_owned(), message["cancellations"].as_u64().unwrap())
    };
    messages.iter().map(window).collect()
}

/// Train on the real history, start the scorer as its own process, replay the real production file: the same invoices,
/// the same scores, nothing missing, nothing extra, and counts that add up.
fn the_stream_gives_what_the_file_gives(partitions: u32) {
    let (Some(history), Some(production)) = (real_data("training.csv"), real_data("production.csv")) else { return };
    let folder = tempfile::tempdir().unwrap();
    train(&history, folder.path());
    let expected = score(&production, folder.path(), folder.path());

    let Some(kafka) = Kafka::start() else { return };
    let create = ["--partitions", &partitions.to_string()];
    let brokers = ["--brokers", &kafka.brokers];
    let topics = scorer(&[&["topics"][..], &brokers, &create].concat());
    assert_eq!(topics.code, Some(0), "{}", topics.stderr);
    let options = ["run", "--models", text(folder.path()), "--device", "cpu", "--clock", "event", "--all-verdicts"];
    let state = folder.path().join("state");
    let running = start_scorer(&[&options[..], &brokers, &["--state-dir", text(&state)]].concat());
    let replay = scorer(&[&["replay", text(&production)][..], &brokers].concat());
    assert_eq!(replay.code, Some(0), "{}", replay.stderr);

    // The last invoices close by themselves, 40 s after the last line was read.
    for topic in TOPICS.iter().filter(|topic| **topic != "cancelaciones") {
        let count = expected[*topic].len();
        let received = kafka.read_until(topic, |received| received.len() >= count);
        assert_eq!(sorted(values(&received)), sorted(&expected[*topic]), "{topic}");
        assert!(
            received.iter().all(|message| message.key.as_deref() == message.value["key"].as_str()),
            "{topic}: keys"
        );
    }
    let (run, took) = running.terminate();
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert!(took < Duration::from_secs(10), "it drained and left in {took:?}");
    for (committed, end) in kafka.committed("atalaya", "purchases", partitions) {
        // An empty partition has nothing to commit.
        assert_eq!(committed.unwrap_or(0), end, "everything is complete, so everything is committed");
    }

    // A file ends, and its windows run on to a zero. A stream does not end: its clock is as far after the last record as
    // the test has taken since, so how many of the windows after that record are there depends on the machine.
    let found = windows(&kafka.read("cancelaciones").into_iter().map(|message| message.value).collect::<Vec<_>>());
    let all = windows(&expected["cancelaciones"]);
    assert_eq!(found[..], all[..found.len()], "cancellation counts");
    let last = last_date(&production);
    let missing: Vec<_> = all[found.len()..].iter().filter(|(end, _)| *end <= last).collect();
    assert!(missing.is_empty(), "only windows after the last record, at {last}, may be missing: {missing:?}");
}

/// The date of a file's last line, as messages write it: `12/9/2010 20:01` is the fourth field from the end.
fn last_date(file: &Path) -> String {
    let lines = std::fs::read_to_string(file).unwrap();
    let date = lines.lines().last().unwrap().rsplit(',').nth(3).unwrap();
    let numbers: Vec<u32> = date.split(['/', ' ', ':']).map(|number| number.parse().unwrap()).collect();
    let [month, day, year, hour, minute] = numbers[..] else { panic!("{date}") };
    format!("{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:00Z")
}

#[test]
fn a_replayed_history_gives_what_the_file_gives() {
    the_stream_gives_what_the_file_gives(1);
}

#[test]
fn several_partitions_give_what_the_file_gives() {
    the_stream_gives_what_the_file_gives(3);
}

/// How often the scorer is killed.
const KILLS: usize = 4;

/// At least once: killed in the middle and started again, it misses nothing and invents nothing, and each start gives a
/// message at most once.
#[test]
fn a_killed_scorer_goes_on_where_it_stopped() {
    let (Some(history), Some(production)) = (real_data("training.csv"), real_data("production.csv")) else { return };
    let folder = tempfile::tempdir().unwrap();
    train(&history, folder.path());
    // Late lines need what a restart forgets of closed invoices; a file without them is the fair measure here.
    let lines = without_late_lines(&production, folder.path());
    let expected = score(&lines, folder.path(), folder.path());

    let Some(kafka) = Kafka::start() else { return };
    let brokers = ["--brokers", &kafka.brokers];
    assert_eq!(scorer(&[&["replay", text(&lines)][..], &brokers].concat()).code, Some(0));
    let options = ["run", "--models", text(folder.path()), "--device", "cpu", "--clock", "event", "--all-verdicts"];
    let state = folder.path().join("state");
    let delivery = ["--delivery", "at-least-once", "--state-dir", text(&state)];
    // The group waits for a killed member until its session has timed out.
    let small_batches = ["--batch-records", "500", "-X", "session.timeout.ms=6000"];
    let options = [&options[..], &brokers, &delivery, &small_batches].concat();
    for kills in 1..=KILLS {
        let running = start_scorer(&options);
        kafka.read_until("anomalias_bisect_kmeans", |received| received.len() > 300 * kills);
        running.kill();
    }
    let last = start_scorer(&[&options[..], &["--until-end"]].concat()).wait();
    assert_eq!(last.code, Some(0), "{}", last.stderr);
    for topic in TOPICS.iter().filter(|topic| **topic != "cancelaciones") {
        let (found, wanted) = (counted(sorted(values(&kafka.read(topic)))), counted(sorted(&expected[*topic])));
        assert!(found.keys().eq(wanted.keys()), "{topic}: nothing is lost and nothing invented");
        for (message, count) in found {
            let once = wanted[&message];
            assert!((once..=once * (KILLS + 1)).contains(&count), "{topic}: {count} times {message}");
        }
    }
}

/// How often each line is there.
fn counted(lines: Vec<String>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    lines.into_iter().for_each(|line| *counts.entry(line).or_default() += 1);
    counts
}

fn without_late_lines(file: &Path, models: &Path) -> PathBuf {
    let folder = models.join("reference");
    std::fs::create_dir_all(&folder).unwrap();
    let late: BTreeSet<i64> = score(file, models, &folder)["facturas_erroneas"]
        .iter()
        .filter(|message| message["reasons"] == serde_json::json!(["late_line"]))
        .map(|message| message["source"]["line"].as_i64().unwrap())
        .collect();
    assert!(!late.is_empty(), "the real file has late lines");
    let bytes = std::fs::read_to_string(file).unwrap();
    let kept = bytes.lines().enumerate().filter(|(index, _)| !late.contains(&(*index as i64 + 1)));
    let path = models.join("without_late_lines.csv");
    std::fs::write(&path, kept.map(|(_, line)| format!("{line}\n")).collect::<String>()).unwrap();
    path
}
