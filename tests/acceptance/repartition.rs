//! Lines that their producer did not key by invoice number.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::producer::BaseRecord;
use serde_json::{Value, json};
use tests::{Kafka, Lines, Producer, TOPICS, real_data, scorer, start_scorer, text, train};

const PARTITIONS: usize = 3;

/// Lines before the scorer starts, then in all.
const FIRST: usize = 300;
const ALL: usize = 6_000;

/// Sends lines without keys to one partition after the other; line `i` is then at offset `i / PARTITIONS` of partition
/// `i % PARTITIONS`.
fn send(producer: &Producer, lines: &[String], from: usize) {
    for (index, line) in lines.iter().enumerate() {
        let partition = ((from + index) % PARTITIONS) as i32;
        producer.send(BaseRecord::<[u8], [u8]>::to("purchases").partition(partition).payload(line.as_bytes()));
    }
    producer.flush();
}

/// Real lines with some among them that cannot be parsed.
fn lines() -> Option<Vec<String>> {
    let lines = Lines::of_production()?.take(ALL).enumerate();
    let some_broken = |(index, (_, line)): (usize, (String, String))| {
        if index % 100 == 50 { format!("broken {index}") } else { line }
    };
    Some(lines.map(some_broken).collect())
}

/// How many lines each invoice has, cancellations apart.
fn invoices(lines: &[String]) -> BTreeMap<String, u64> {
    let mut invoices = BTreeMap::new();
    let keys = lines.iter().filter_map(|line| Some(line.split_once(',')?.0));
    for key in keys.filter(|key| !key.starts_with('C')) {
        *invoices.entry(key.to_owned()).or_default() += 1;
    }
    invoices
}

/// Real lines without keys over three partitions, to a scorer that stops in the middle and goes on: each invoice is one,
/// with all of its lines, and an erroneous line says where it was sent. By the clock of the records, which are all sent
/// within the session gap: no line can be late, in whatever order the partitions are read.
#[test]
fn lines_without_keys_meet_in_one_invoice() {
    let (Some(history), Some(lines)) = (real_data("training.csv"), lines()) else { return };
    let folder = tempfile::tempdir().unwrap();
    train(&history, folder.path());
    let Some(kafka) = Kafka::start() else { return };
    let brokers = ["--brokers", &kafka.brokers];
    let topics = || scorer(&[&["topics"][..], &brokers, &["--partitions", &PARTITIONS.to_string()]].concat());
    assert_eq!(topics().code, Some(0));
    let producer = Producer::new(&kafka.brokers);
    send(&producer, &lines[..FIRST], 0);

    let state = folder.path().join("state");
    let options = ["run", "--models", text(folder.path()), "--device", "cpu", "--clock", "record", "--all-verdicts"];
    let options = [&options[..], &["--json-logs", "--state-dir", text(&state)], &brokers].concat();
    let mut running = start_scorer(&options);
    let how = running.wait_for_log("repartition")["how"].as_str().unwrap().to_owned();
    assert!(how.contains("has no key") && how.contains("atalaya-invoices-repartition"), "{how}");
    running.wait_for_log("repartitioning lines");
    for (portion, lines) in lines[FIRST..].chunks(300).enumerate() {
        send(&producer, lines, FIRST + portion * 300);
        std::thread::sleep(Duration::from_millis(100));
    }
    let (run, _) = running.terminate();
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let run = scorer(&[&options[..], &["--until-end"]].concat());
    assert_eq!(run.code, Some(0), "{}", run.stderr);

    let erroneous: Vec<Value> = kafka.read("facturas_erroneas").into_iter().map(|message| message.value).collect();
    for topic in TOPICS.iter().filter(|topic| topic.starts_with("anomalias")) {
        let verdicts: Vec<Value> = kafka.read(topic).into_iter().map(|message| message.value).collect();
        let entities = erroneous.iter().filter(|message| message["kind"] == "entity").chain(&verdicts);
        let mut found = BTreeMap::new();
        for entity in entities {
            let key = entity["key"].as_str().unwrap().to_owned();
            let before = found.insert(key, entity["lines"].as_u64().unwrap());
            assert_eq!(before, None, "an invoice in two: {entity}");
        }
        assert_eq!(found, invoices(&lines), "{topic}");
    }

    let of_lines = erroneous.iter().filter(|message| message["kind"] == "line");
    let mut sources: Vec<(u64, u64)> = Vec::new();
    for message in of_lines {
        let source = &message["source"];
        let (partition, offset) = (source["partition"].as_u64().unwrap(), source["offset"].as_u64().unwrap());
        assert_eq!(source["topic"], "purchases");
        assert_eq!(message["raw"], json!(lines[offset as usize * PARTITIONS + partition as usize]));
        sources.push((partition, offset));
    }
    sources.sort_unstable();
    let broken = (0..ALL).filter(|index| index % 100 == 50);
    let mut sent: Vec<(u64, u64)> =
        broken.map(|index| ((index % PARTITIONS) as u64, (index / PARTITIONS) as u64)).collect();
    sent.sort_unstable();
    assert_eq!(sources, sent, "each broken line is there once");

    // Everything that was sent has been sent on.
    for (committed, end) in kafka.committed("atalaya-repartition", "purchases", PARTITIONS as u32) {
        assert_eq!(committed, Some(end));
    }
    assert!(topics().stdout.contains("internal: repartitioned lines"), "{}", topics().stdout);

    // Now that state is of the other topic, reading the lines directly is refused.
    let never = scorer(&[&options[..], &["--until-end", "--repartition", "never"]].concat());
    assert_eq!(never.code, Some(78));
    assert!(never.stderr.contains("made with topic `atalaya-invoices-repartition`"), "{}", never.stderr);
    assert!(never.stderr.contains("scorer reset"), "{}", never.stderr);
}

#[test]
fn lines_without_keys_need_exactly_once() {
    let Some(lines) = lines() else { return };
    let Some(kafka) = Kafka::start() else { return };
    let brokers = ["--brokers", &kafka.brokers];
    assert_eq!(scorer(&[&["topics"][..], &brokers, &["--partitions", "3"]].concat()).code, Some(0));
    send(&Producer::new(&kafka.brokers), &lines[..FIRST], 0);
    let run = scorer(&[&["run", "--device", "cpu", "--delivery", "at-least-once"][..], &brokers].concat());
    assert_eq!(run.code, Some(1));
    assert!(run.stderr.contains("needs --delivery exactly-once, or --repartition never"), "{}", run.stderr);
}
