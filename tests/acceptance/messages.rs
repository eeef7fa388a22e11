//! Messages are what `docs/messages.md` and its schemas say: every kind of them, of files and of topics.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tests::{JsonSchema, Kafka, PipelineFile, Received, repository, scorer, text};

/// The schema of a message, by what it says.
fn schema_of(message: &Value) -> &'static str {
    if message.get("kind").is_some() {
        "dead-letter"
    } else if message.get("cancellations").is_some() {
        "cancellations"
    } else if message.get("detectors").is_some() {
        "entity-verdict"
    } else if message.get("schema").is_some() {
        "verdict"
    } else {
        "verdict-1"
    }
}

/// Fails at the first message that is not as documented; how many there are of each schema.
fn check(messages: &[Value]) -> BTreeMap<&'static str, usize> {
    let mut counts = BTreeMap::new();
    let mut schemas: BTreeMap<&str, JsonSchema> = BTreeMap::new();
    for message in messages {
        let name = schema_of(message);
        let problem = schemas.entry(name).or_insert_with(|| JsonSchema::read(name)).problem(message);
        assert_eq!(problem, None, "{message} by {name}.json");
        *counts.entry(name).or_default() += 1;
    }
    counts
}

/// What `scorer score` writes of a file, without the topics in front.
fn score(input: &Path, pipeline: &Path) -> Vec<Value> {
    let models = repository().join("models");
    let paths = ["--pipeline", text(pipeline), "--models", text(&models), "--device", "cpu"];
    let run = scorer(&[&["score", text(input)][..], &paths].concat());
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let message = |line: &str| {
        let mut message: Value = serde_json::from_str(line).unwrap();
        assert!(message.as_object_mut().unwrap().shift_remove("topic").is_some() || message["kind"] == "undeliverable");
        message
    };
    run.stdout.lines().map(message).collect()
}

/// The sample of invoices, and lines and an invoice that break rules.
fn invoices(folder: &Path) -> PathBuf {
    let mut sample = std::fs::read_to_string(repository().join("resources/production.csv")).unwrap();
    sample += "990001,22143,RED MUG,two,9/1/2010 9:22,1.5,12345,France\n";
    sample += "990002,22143,RED MUG,2,9/1/2010 9:22,1.5,,France\n";
    let path = folder.join("invoices.csv");
    std::fs::write(&path, sample).unwrap();
    path
}

/// Simulated payments, and some that break rules.
fn payments(folder: &Path) -> PathBuf {
    let path = folder.join("payments.jsonl");
    let run = scorer(&["simulate", "transactions", "--count", "3000", "--seed", "7", "--output", text(&path)]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let mut file = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
    file.write_all(b"{\"transaction_id\":\"t\",\"amount\":-1}\n\xff\xfe\n").unwrap();
    path
}

#[test]
fn what_score_writes_is_as_documented() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pipeline.toml");
    let all_of = |name: &str, input: &Path| {
        PipelineFile::of(name).with_line("outputs", "verdicts = \"together\"").write(&file);
        score(input, &file)
    };
    for (name, input) in [("invoices", invoices(folder.path())), ("transactions", payments(folder.path()))] {
        let messages = all_of(name, &input);
        let counts = check(&messages);
        let n_verdicts = counts["verdict"];
        assert!(n_verdicts > 1000 && counts["entity-verdict"] < n_verdicts, "{counts:?}");
        assert!(counts["dead-letter"] >= 2, "{counts:?}");
        assert_eq!(counts.contains_key("cancellations"), name == "invoices", "{counts:?}");
        let verdicts: Vec<&Value> = messages.iter().filter(|message| schema_of(message) == "verdict").collect();
        let ids: BTreeSet<&str> = verdicts.iter().map(|verdict| verdict["id"].as_str().unwrap()).collect();
        assert_eq!(ids.len(), n_verdicts, "each has an id of its own");
        for verdict in &verdicts {
            assert_eq!(verdict["source"]["file"], json!(text(&input)), "{verdict}");
            assert_eq!(verdict.get("severity").is_some(), verdict["anomalous"] == true, "{verdict}");
            assert!(verdict["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{verdict}");
        }
        // The line that a verdict names is the entity's first.
        let lines: Vec<String> = std::fs::read(&input)
            .unwrap()
            .split(|byte| *byte == b'\n')
            .map(|line| String::from_utf8_lossy(line).into_owned())
            .collect();
        for verdict in verdicts.iter().step_by(97) {
            let line = verdict["source"]["lines"][0][0].as_u64().unwrap() as usize;
            assert!(lines[line - 1].contains(verdict["key"].as_str().unwrap()), "{verdict}");
        }

        // Whoever reads version 1 finds what was there before, and nothing else.
        PipelineFile::of(name).with_line("outputs", "schema = 1").write(&file);
        let before = score(&input, &file);
        let counts = check(&before);
        assert_eq!((counts.get("verdict"), counts["verdict-1"]), (None, n_verdicts), "{counts:?}");
        let schema: Value = JsonSchema::read("verdict-1").properties();
        let olds = before.iter().filter(|message| schema_of(message) == "verdict-1");
        for (old, new) in olds.zip(&verdicts) {
            let mut reduced = (*new).clone();
            reduced.as_object_mut().unwrap().retain(|name, _| schema.get(name).is_some());
            assert_eq!(*old, reduced);
        }
    }
}

/// A topic's messages have their source in it, and headers to route them by.
#[test]
fn what_the_stream_publishes_is_as_documented() {
    let Some(kafka) = Kafka::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let (file, state) = (folder.path().join("pipeline.toml"), folder.path().join("state"));
    PipelineFile::invoices().with_line("outputs", "verdicts = \"together\"").write(&file);
    let brokers = ["--brokers", &kafka.brokers];
    let topics = scorer(&[&["topics", "--pipeline", text(&file), "--partitions", "1"][..], &brokers].concat());
    assert_eq!(topics.code, Some(0), "{}", topics.stderr);
    let sample = std::fs::read_to_string(invoices(folder.path())).unwrap();
    let lines: Vec<&str> = sample.lines().skip(1).collect();
    kafka.send("purchases", &lines.iter().map(|line| line.as_bytes().to_vec()).collect::<Vec<_>>());
    let models = repository().join("models");
    let how = ["--device", "cpu", "--clock", "event", "--until-end", "--state-dir", text(&state)];
    let paths = ["run", "--pipeline", text(&file), "--models", text(&models)];
    let run = scorer(&[&paths[..], &how, &brokers].concat());
    assert_eq!(run.code, Some(0), "{}", run.stderr);

    let values = |topic: &str| kafka.read(topic).into_iter().map(|Received { value, .. }| value).collect::<Vec<_>>();
    let together = values("together");
    let names = ["anomalias_kmeans", "anomalias_bisect_kmeans", "facturas_erroneas", "cancelaciones"];
    let all: Vec<Value> = names.iter().flat_map(|topic| values(topic)).chain(together.iter().cloned()).collect();
    let counts = check(&all);
    assert!(counts.values().all(|count| *count > 0) && counts.len() == 4, "{counts:?}");

    for topic in &names[..2] {
        let (verdicts, headers) = (values(topic), kafka.headers(topic));
        assert!(verdicts.len() >= 20 && headers.len() == verdicts.len(), "{}", verdicts.len());
        for (verdict, headers) in verdicts.iter().zip(headers) {
            let first = verdict["source"]["offsets"][0][0].as_u64().unwrap() as usize;
            assert!(lines[first].starts_with(verdict["key"].as_str().unwrap()), "{verdict}");
            assert_eq!(verdict["source"]["topic"], "purchases");
            let id = format!(
                "invoices/{}/0/{first}/{}",
                verdict["detector"].as_str().unwrap(),
                verdict["key"].as_str().unwrap()
            );
            assert_eq!(verdict["id"], json!(id));
            let header = |name: &str| headers.get(name).map_or("", String::as_str);
            assert_eq!([header("schema"), header("pipeline")], ["2", "invoices"]);
            assert_eq!(
                [&json!(header("detector")), &json!(header("severity"))],
                [&verdict["detector"], &verdict["severity"]]
            );
            assert!(header("scored_at").ends_with('Z') && header("scored_at") > "2024", "{headers:?}");
        }
    }
    // Each anomaly of either detector is in one message of all.
    let anomalous = |topic: &str| -> BTreeSet<String> {
        values(topic).iter().map(|verdict| verdict["key"].as_str().unwrap().to_owned()).collect()
    };
    let found: Vec<String> = together.iter().map(|verdict| verdict["key"].as_str().unwrap().to_owned()).collect();
    let expected: BTreeSet<String> = anomalous(names[0]).union(&anomalous(names[1])).cloned().collect();
    assert_eq!(found.len(), expected.len());
    assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), expected);
    for verdict in &together {
        assert_eq!(verdict["detectors"].as_object().unwrap().len(), 2, "both opinions: {verdict}");
        let to: Vec<&str> = verdict["detectors"]
            .as_object()
            .unwrap()
            .iter()
            .filter(|(_, of)| of["anomalous"] == true)
            .map(|(name, _)| name.as_str())
            .collect();
        assert_eq!(verdict["anomalous_to"], json!(to));
    }
}
