//! Transactions, scored one by one, through a real Kafka: against the same file without Kafka, and what is no transaction.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use shared::time::format_timestamp;
use tests::{
    Cards, Kafka, PipelineFile, Spoilt, real_transactions, repository, scorer, start_scorer, text, trainer, wait_for,
};

use crate::alerts::{Sink, nobody};
use crate::expected::{score_as, sorted, values};

/// Lines of the history that models are trained on, and of the production file that are sent.
const HISTORY: usize = 100_000;
const SENT: usize = 40_000;

const PATIENCE: Duration = Duration::from_secs(120);

/// Everything that can be said of the past of a customer and of a terminal without a place.
const FEATURES: [&str; 12] = [
    "Hour = \"sin(hour(time))\"",
    "OfHour = \"log1p(count() by customer over 1h)\"",
    "OfDay = \"count() by customer over 1d including this\"",
    "SumOfWeek = \"sum(amount) by customer over 7d\"",
    "MeanOfDay = \"mean(amount) by terminal over 1d\"",
    "SpreadOfMonth = \"std(amount) by terminal over 30d\"",
    "LeastOfWeek = \"min(amount) by terminal over 7d\"",
    "MostOfMonth = \"max(amount) by customer over 30d\"",
    "AboveUsual = \"deviation(amount) by customer over 30d\"",
    "Pause = \"log1p(seconds_since_last() by customer)\"",
    "RatioAtTerminal = \"log(ratio(amount) by terminal over 7d)\"",
    "NewTerminal = \"is_new(terminal) by customer\"",
];

/// The first lines of the real history in a file of `folder`; `None` where the real data are missing and tests may be skipped.
fn history(folder: &Path) -> Option<PathBuf> {
    let all = std::fs::read_to_string(real_transactions("training.csv")?).unwrap();
    let part = all.lines().take(HISTORY + 1).fold(String::new(), |part, line| part + line + "\n");
    let path = folder.join("history.csv");
    std::fs::write(&path, part).unwrap();
    Some(path)
}

/// Real payments and a few bad records in a file of `folder`.
fn production(folder: &Path) -> Option<PathBuf> {
    let all = std::fs::read_to_string(real_transactions("production.csv")?).unwrap();
    let mut part = format!("{}\n", all.lines().next().unwrap());
    Spoilt::new(Cards::of_production(SENT)?).take(SENT).for_each(|(_, line)| writeln!(part, "{line}").unwrap());
    let path = folder.join("production.csv");
    std::fs::write(&path, part).unwrap();
    Some(path)
}

/// Somebody who takes traces, and the address.
fn receiver_of_traces() -> (Sink, String) {
    let address = nobody();
    (Sink::at(address), format!("http://{address}"))
}

/// Train on a part of the real history, start the scorer as its own process, replay a part of the real production file:
/// the same verdicts, scores and features, nothing missing and nothing extra.
fn the_stream_gives_what_the_file_gives(pipeline: PipelineFile, partitions: u32) {
    let folder = tempfile::tempdir().unwrap();
    let (Some(history), Some(production)) = (history(folder.path()), production(folder.path())) else { return };
    let (file, models) = (folder.path().join("cards.toml"), folder.path().join("models"));
    pipeline.clone().write(&file);
    let same = ["--pipeline", text(&file), "--models", text(&models), "--device", "cpu"];
    let trained = trainer(&[&["--input", text(&history), "--quiet"][..], &same].concat());
    assert_eq!(trained.code, Some(0), "{}", trained.stderr);
    let expected = score_as(text(&file), &production, &models, folder.path());

    let Some(kafka) = Kafka::start() else { return };
    let brokers = ["--brokers", &kafka.brokers];
    let create = ["--pipeline", text(&file), "--partitions", &partitions.to_string()];
    let topics = scorer(&[&["topics"][..], &brokers, &create].concat());
    assert_eq!(topics.code, Some(0), "{}", topics.stderr);
    let state = folder.path().join("state");
    let how = ["--all-verdicts", "--json-logs", "--status-interval", "1s", "--state-dir", text(&state)];
    let (receiver, endpoint) = receiver_of_traces();
    let traced = ["--otlp-endpoint", &endpoint];
    let running = start_scorer(&[&["run"][..], &brokers, &same, &how, &traced].concat());
    let replay = scorer(&[&["replay", text(&production), "--pipeline", text(&file)][..], &brokers].concat());
    assert_eq!(replay.code, Some(0), "{}", replay.stderr);

    let pipeline = pipeline.pipeline();
    for topic in pipeline.output_topics() {
        let expected = &expected[topic];
        let received = kafka.read_until(topic, |received| received.len() >= expected.len());
        assert_eq!(sorted(values(&received)), sorted(expected), "{topic}");
        assert!(
            received.iter().all(|message| message.key.as_deref() == message.value["key"].as_str()),
            "{topic}: keys"
        );
    }
    let told = wait_for("all records in the numbers of the log", PATIENCE, || {
        let all = |told: &Value| told["atalaya_records_read_total"].as_u64() >= Some(SENT as u64);
        running.log("status").into_iter().find(all)
    });
    assert_eq!(told["atalaya_partitions"], json!({ "reading": partitions, "restoring": 0, "failed": 0 }), "{told}");
    assert!(told["atalaya_records_total"]["scored"].as_u64() > Some(0), "{told}");
    let (run, _) = running.terminate();
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let (_, traces) = receiver.next();
    let spans = traces["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().unwrap();
    let names: Vec<&str> = spans.iter().take(5).map(|span| span["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["batch", "read", "score", "publish", "commit"], "{traces}");
    assert!(!run.stderr.contains("repartition"), "replayed payments are where their past is: {}", run.stderr);
    for (committed, end) in kafka.committed("atalaya", &pipeline.topic, partitions) {
        assert_eq!(committed, Some(end), "everything is committed");
    }
}

#[test]
fn replayed_payments_give_what_the_file_gives() {
    the_stream_gives_what_the_file_gives(PipelineFile::of("fraud-handbook").with_features(&FEATURES), 1);
}

/// Features by one key let a topic have several partitions.
#[test]
fn several_partitions_give_what_the_file_of_payments_gives() {
    the_stream_gives_what_the_file_gives(PipelineFile::of("fraud-handbook"), 3);
}

/// A payment of user `u` that everything is well with.
fn payment(id: &str, amount: &str) -> String {
    payment_with(id, amount, "")
}

/// The same with further fields, each after a comma; the last of a name would count, if it were allowed twice.
fn payment_with(id: &str, amount: &str, more: &str) -> String {
    let place = r#""latitude":40.4,"longitude":-3.7"#;
    let place = if more.contains("itude") { "" } else { place };
    let time = if more.contains("timestamp") { "" } else { r#""timestamp":"2026-05-04T10:00:00Z""# };
    let fields =
        [&format!(r#""transaction_id":"{id}","user_id":"u","merchant_id":"m","amount":{amount}"#), place, time, more];
    let fields: Vec<&str> = fields.into_iter().filter(|field| !field.is_empty()).collect();
    format!("{{{}}}", fields.join(","))
}

/// What is no transaction, and why.
fn bad_records() -> Vec<(Vec<u8>, Vec<&'static str>)> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
    let in_an_hour = format_timestamp(now + 3_600_000);
    let nested = format!(r#""x":{}{}"#, "[".repeat(10_000), "]".repeat(10_000));
    let missing = [
        "missing_value:transaction_id",
        "missing_value:user_id",
        "missing_value:merchant_id",
        "missing_value:amount",
        "missing_value:timestamp",
    ];
    let mut not_utf8 = payment("b", "1.0").into_bytes();
    let user = not_utf8.windows(3).position(|found| found == b"\"u\"").unwrap() + 1;
    not_utf8[user] = 0xFF;
    let texts: Vec<(String, Vec<&str>)> = vec![
        (String::new(), vec!["empty_record"]),
        (r#"{"transaction_id":"b","#.to_owned(), vec!["not_json"]),
        (format!("{} {}", payment("b", "1.0"), payment("b", "1.0")), vec!["not_json"]),
        ("[1]".to_owned(), vec!["not_json"]),
        ("{}".to_owned(), missing.to_vec()),
        (payment("b", "-1.0"), vec!["out_of_range:amount"]),
        (payment("b", "0"), vec!["out_of_range:amount"]),
        (payment("b", "NaN"), vec!["not_json"]),
        (payment("b", "\"NaN\""), vec!["not_a_number:amount"]),
        (payment("b", "\"12.5\""), vec!["not_a_number:amount"]),
        (payment("b", "1e400"), vec!["not_finite:amount"]),
        (payment("b", "null"), vec!["missing_value:amount"]),
        (payment_with("b", "1.0", r#""amount":2.0"#), vec!["duplicate_field:amount"]),
        (
            payment_with("b", "1.0", r#""latitude":90.1,"longitude":-180.5"#),
            vec!["out_of_range:latitude", "out_of_range:longitude"],
        ),
        (payment_with("b", "1.0", r#""currency":"XXX""#), vec!["unknown_currency:currency"]),
        (payment_with("b", "1.0", r#""timestamp":"2026-02-30T10:00:00Z""#), vec!["not_a_datetime:timestamp"]),
        (payment_with("b", "1.0", &format!(r#""timestamp":"{in_an_hour}""#)), vec!["from_the_future:timestamp"]),
        (payment_with("b", "1.0", r#""timestamp":"2025-05-04T10:00:00Z""#), vec!["too_old:timestamp"]),
        (payment("first", "1.0"), vec!["duplicate_key"]),
        (payment_with("b", "1.0", &nested), vec!["nested_too_deep"]),
    ];
    let mut records: Vec<(Vec<u8>, Vec<&str>)> =
        texts.into_iter().map(|(text, reasons)| (text.into_bytes(), reasons)).collect();
    records.push((not_utf8, vec!["invalid_utf8:user_id"]));
    records.push((vec![0xFF; 999_999], vec!["record_too_large"]));
    records
}

/// The raw bytes that an erroneous record carries, where they are text or of 0xFF alone.
fn raw_of(message: &Value) -> Vec<u8> {
    match (message["raw"].as_str(), message["raw_base64"].as_str()) {
        (Some(raw), None) => raw.as_bytes().to_vec(),
        (None, Some(base64)) => from_base64(base64),
        _ => panic!("raw bytes in one form: {message}"),
    }
}

fn from_base64(text: &str) -> Vec<u8> {
    let digits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut bits, mut count, mut bytes) = (0u32, 0, Vec::new());
    for character in text.bytes().filter(|character| *character != b'=') {
        bits = bits << 6 | digits.iter().position(|digit| *digit == character).unwrap() as u32;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    bytes
}

/// The number beside a name in the table at the end of a run.
fn counted(table: &str, name: &str) -> usize {
    let mut cells = table.split(['│', '┆', '\n']).map(str::trim);
    cells.find(|cell| *cell == name).unwrap_or_else(|| panic!("`{name}` is in {table}"));
    cells.next().unwrap().parse().unwrap()
}

/// Each bad record of a stream ends as one erroneous record, whole; what is good around it is judged as if it had not been
/// there, before a restart and after it.
#[test]
fn bad_payments_are_published_once_and_whole() {
    let Some(kafka) = Kafka::start() else { return };
    let brokers = ["--brokers", &kafka.brokers];
    let topics = scorer(&[&["topics", "--pipeline", "transactions"][..], &brokers].concat());
    assert_eq!(topics.code, Some(0), "{}", topics.stderr);
    let folder = tempfile::tempdir().unwrap();
    let (models, state) = (repository().join("models"), folder.path().join("state"));
    let run = || {
        let what = ["run", "--pipeline", "transactions", "--models", text(&models), "--device", "cpu"];
        let how = ["--all-verdicts", "--until-end", "--state-dir", text(&state)];
        let run = scorer(&[&what[..], &how, &brokers].concat());
        assert_eq!(run.code, Some(0), "{}", run.stderr);
        run.stdout
    };
    let bad = bad_records();
    let payloads = |first: &str, last: &str| {
        let bad = bad.iter().map(|(payload, _)| payload.clone());
        let [first, last] = [first, last].map(|id| payment(id, "1.0").into_bytes());
        std::iter::once(first).chain(bad).chain([last]).collect::<Vec<_>>()
    };
    let mut once: Vec<Vec<&str>> = bad.iter().map(|(_, reasons)| reasons.clone()).collect();
    for (round, last) in ["second", "third"].into_iter().enumerate() {
        // The second time, the first payment has been there before.
        kafka.send("transactions", &payloads("first", last));
        let table = run();
        let refused = bad.len() + round;
        let parts =
            ["judged", "malformed", "duplicates", "too old", "from the future"].map(|name| counted(&table, name));
        assert_eq!(parts, [2 - round, bad.len() - 3, 1 + round, 1, 1], "{table}");
        assert_eq!(counted(&table, "read"), bad.len() + 2, "{table}");
        assert_eq!(counted(&table, "erroneous records"), refused, "{table}");
    }

    let erroneous = kafka.read("transaction_errors");
    let mut twice = once.clone();
    twice.push(vec!["duplicate_key"]);
    twice.append(&mut once);
    let reasons: Vec<Value> = erroneous.iter().map(|message| message.value["reasons"].clone()).collect();
    assert_eq!(reasons, twice.into_iter().map(Value::from).collect::<Vec<_>>());
    let sent = [payloads("first", "second"), payloads("first", "third")].concat();
    let good = |offset: usize| offset == 0 || (offset + 1).is_multiple_of(bad.len() + 2);
    let offsets: Vec<usize> = (0..sent.len()).filter(|offset| !good(*offset)).collect();
    for (message, offset) in erroneous.iter().zip(offsets) {
        assert_eq!(message.value["source"], json!({ "topic": "transactions", "partition": 0, "offset": offset }));
        assert!(raw_of(&message.value) == sent[offset], "the bytes of offset {offset} are back");
    }

    let verdicts = kafka.read("transaction_anomalies_kmeans");
    let keys: Vec<Option<&str>> = verdicts.iter().map(|message| message.key.as_deref()).collect();
    assert_eq!(keys, ["first", "second", "third"].map(Some));
    for (before, verdict) in verdicts.iter().enumerate() {
        let features = &verdict.value["features"];
        let of_hour = features["PaymentsInHour"].as_f64().unwrap();
        assert!((of_hour - (before as f64).ln_1p()).abs() < 1e-12, "{before} good payments before: {features}");
    }
}
