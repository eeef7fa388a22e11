//! Records and messages that topics do not take: none of them stops a stream, and each is told of.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rdkafka::producer::BaseRecord;
use serde_json::{Value, json};
use tests::{Kafka, PipelineFile, Producer, Received, Run, repository, scorer, start_scorer, text};

/// What topics take where nobody says otherwise.
const DEFAULT_BYTES: usize = 1_048_588;

const DELIVERIES: [&str; 2] = ["exactly-once", "at-least-once"];

/// A broker whose topics take as much as those of any broker, unless they are created with another limit.
fn kafka_with_defaults() -> Option<Kafka> {
    Kafka::start_with(&["--property", &format!("message.max.bytes={DEFAULT_BYTES}")])
}

/// A valid line of an invoice of its own.
fn line(invoice: &str) -> String {
    format!("{invoice},22143,RED MUG,2,9/1/2010 9:22,1.5,12345,France")
}

fn options(kafka: &Kafka, group: &str, delivery: &str, state: &Path) -> Vec<String> {
    let models = repository().join("models");
    let what =
        ["run", "--brokers", &kafka.brokers, "--group", group, "--delivery", delivery, "--state-dir", text(state)];
    let how = ["--models", text(&models), "--device", "cpu", "--clock", "event", "--all-verdicts"];
    [&what[..], &how].concat().into_iter().map(str::to_owned).collect()
}

/// Scores everything that is there. It ends, and well.
fn run_to_the_end(kafka: &Kafka, group: &str, delivery: &str, more: &[&str]) -> Run {
    let folder = tempfile::tempdir().unwrap();
    let options = options(kafka, group, delivery, folder.path());
    let options: Vec<&str> =
        options.iter().map(String::as_str).chain(["--until-end"]).chain(more.iter().copied()).collect();
    let run = start_scorer(&options).wait_at_most(Duration::from_secs(300));
    assert_eq!(run.code, Some(0), "{delivery}: {}", run.stderr);
    run
}

/// Digits that no compression makes much of.
fn digits(seed: u64, count: usize) -> String {
    let mut state = seed;
    let mut digits = String::new();
    while digits.len() < count {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        digits += &format!("{:08x}", state >> 32);
    }
    digits.truncate(count);
    digits
}

/// The keys of messages, in order.
fn keys(messages: &[Received]) -> Vec<String> {
    let mut keys: Vec<String> = messages.iter().map(|message| message.key.clone().unwrap()).collect();
    keys.sort();
    keys
}

/// The number beside a name in the table at the end of a run; 0 where it is not there.
fn counted(run: &Run, name: &str) -> usize {
    let mut cells = run.stdout.split(['│', '┆', '\n']).map(str::trim);
    if cells.any(|cell| cell == name) { cells.next().unwrap().parse().unwrap() } else { 0 }
}

/// A record of control characters, which JSON writes with six bytes each, and an invoice number that would be in its
/// verdict twice.
#[test]
fn huge_records_are_erroneous_and_those_around_them_are_scored() {
    let Some(kafka) = kafka_with_defaults() else { return };
    kafka.create_topic("facturas_erroneas", 1, &[]);
    let (control, number) = (vec![1u8; 900_000], "7".repeat(700_000));
    let payloads =
        [line("1").into_bytes(), control, line("2").into_bytes(), line(&number).into_bytes(), line("3").into_bytes()];
    kafka.create_topic("purchases", 1, &[]);
    kafka.send("purchases", &payloads);
    for (times, delivery) in DELIVERIES.into_iter().enumerate() {
        run_to_the_end(&kafka, delivery, delivery, &[]);
        for topic in ["anomalias_kmeans", "anomalias_bisect_kmeans"] {
            let verdicts = kafka.read(topic);
            assert_eq!(keys(&verdicts[times * 3..]), ["1", "2", "3"], "{topic}, {delivery}");
        }
        let erroneous = kafka.read("facturas_erroneas");
        let [control, number] = &erroneous[times * 2..] else { panic!("{} erroneous", erroneous.len()) };
        assert_eq!(control.value["reasons"], json!(["too_few_fields"]));
        assert_eq!((&control.value["raw_truncated"], &control.value["raw_bytes"]), (&json!(true), &json!(900_000)));
        assert_eq!(control.value["source"]["offset"], 1);
        // As much of it is there as fits.
        let kept = control.value["raw"].as_str().unwrap().len();
        assert!(kept > 170_000 && control.value["raw"].as_str().unwrap().bytes().all(|byte| byte == 1), "{kept}");
        assert_eq!(number.value["reasons"], json!(["key_too_long:InvoiceNo"]));
        assert_eq!(number.value["raw"].as_str().unwrap().as_bytes(), payloads[3]);
    }
}

/// A topic of verdicts that takes no verdict: each is in a dead letter, whole, with its source.
#[test]
fn verdicts_that_their_topic_does_not_take_are_dead_letters() {
    let Some(kafka) = kafka_with_defaults() else { return };
    kafka.create_topic("anomalias_kmeans", 1, &[("max.message.bytes", "300")]);
    kafka.create_topic("purchases", 1, &[]);
    let invoices: Vec<String> = (100..120).map(|number| number.to_string()).collect();
    let payloads: Vec<Vec<u8>> = invoices.iter().map(|invoice| line(invoice).into_bytes()).collect();
    kafka.send("purchases", &payloads);
    for (times, delivery) in DELIVERIES.into_iter().enumerate() {
        let run = run_to_the_end(&kafka, delivery, delivery, &[]);
        assert_eq!(counted(&run, "undeliverable, told as erroneous"), invoices.len(), "{}", run.stdout);
        assert_eq!(counted(&run, "undeliverable, skipped"), 0, "{}", run.stdout);
        let letters = &kafka.read("facturas_erroneas")[times * invoices.len()..];
        assert_eq!(keys(letters), invoices, "{delivery}");
        for letter in letters {
            let Received { key, value } = letter;
            let offset = value["key"].as_str().unwrap().parse::<i64>().unwrap() - 100;
            let source = json!({ "topic": "purchases", "partition": 0, "offsets": [[offset, offset]] });
            assert_eq!((&value["kind"], &value["reasons"]), (&json!("undeliverable"), &json!(["undeliverable"])));
            assert_eq!((&value["topic"], &value["source"]), (&json!("anomalias_kmeans"), &source));
            assert_eq!((&value["message"]["key"], &value["message"]["detector"]), (&json!(key), &json!("kmeans")));
            assert!(value["cause"].as_str().unwrap().contains("300"), "{value}");
        }
        let others = kafka.read("anomalias_bisect_kmeans");
        assert_eq!(keys(&others[times * invoices.len()..]), invoices, "what others take is there, {delivery}");
    }
    assert!(kafka.read("anomalias_kmeans").is_empty());
}

/// The broker refuses while a scorer runs that asked it before: what is too large is found among what is not, which is
/// published all the same, once.
#[test]
fn a_limit_that_falls_while_the_scorer_runs_costs_only_what_is_too_large() {
    for delivery in DELIVERIES {
        let Some(kafka) = kafka_with_defaults() else { return };
        kafka.create_topic("anomalias_kmeans", 1, &[]);
        kafka.create_topic("purchases", 1, &[]);
        let folder = tempfile::tempdir().unwrap();
        let pipeline = folder.path().join("brief.toml");
        // In version 1, a short name makes a small verdict and a long name a large one.
        PipelineFile::invoices().with("session_gap", "2s").with_line("outputs", "schema = 1").write(&pipeline);
        let options = options(&kafka, "falling", delivery, folder.path());
        let options: Vec<&str> = options.iter().map(String::as_str).chain(["--pipeline", text(&pipeline)]).collect();
        let running = start_scorer(&options);
        // The lines are of one minute: the invoices close all at once.
        kafka.send("purchases", &[line("before").into_bytes()]);
        kafka.read_until("anomalias_kmeans", |verdicts| verdicts.len() == 1);
        // Less than a long name is when it is compressed, more than a verdict with a short one.
        kafka.set("anomalias_kmeans", "max.message.bytes", "1100");
        let is_long = |number: usize| number.is_multiple_of(7);
        let long = digits(1, 960);
        let name = |number: usize| if is_long(number) { format!("{number}-{long}") } else { number.to_string() };
        let names: Vec<String> = (0..100).map(name).collect();
        kafka.send("purchases", &names.iter().map(|name| line(name).into_bytes()).collect::<Vec<_>>());

        let n_long = (0..100).filter(|number| is_long(*number)).count();
        let verdicts = kafka.read_until("anomalias_kmeans", |verdicts| verdicts.len() > 100 - n_long);
        let letters = kafka.read_until("facturas_erroneas", |letters| letters.len() >= n_long);
        let (run, _) = running.terminate();
        assert_eq!(run.code, Some(0), "{delivery}: {}", run.stderr);
        let expected = |is_wanted: &dyn Fn(usize) -> bool| {
            (0..100).filter(|number| is_wanted(*number)).map(name).collect::<BTreeSet<_>>()
        };
        let mut short = expected(&|number| !is_long(number));
        short.insert("before".to_owned());
        let once = |messages: &[Value]| {
            let keys: Vec<String> = messages.iter().map(|value| value["key"].as_str().unwrap().to_owned()).collect();
            assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), keys.len(), "{delivery}: each is there once");
            keys.into_iter().collect::<BTreeSet<_>>()
        };
        let values = |messages: Vec<Received>| messages.into_iter().map(|message| message.value).collect::<Vec<_>>();
        assert_eq!(once(&values(verdicts)), short, "{delivery}");
        let letters: Vec<Value> = values(letters).into_iter().map(|value| value["message"].clone()).collect();
        assert_eq!(once(&letters), expected(&is_long), "{delivery}");
    }
}

/// Small verdicts to a topic that takes less than the client likes to put into one batch.
#[test]
fn a_busy_topic_may_take_less_than_a_full_batch() {
    let Some(kafka) = kafka_with_defaults() else { return };
    kafka.create_topic("anomalias_kmeans", 1, &[("max.message.bytes", "100000")]);
    kafka.create_topic("purchases", 1, &[]);
    let invoices: Vec<String> = (0..3000).map(|number| digits(number, 192)).collect();
    kafka.send("purchases", &invoices.iter().map(|invoice| line(invoice).into_bytes()).collect::<Vec<_>>());
    let mut expected = invoices;
    expected.sort();
    for delivery in DELIVERIES {
        let run = run_to_the_end(&kafka, delivery, delivery, &[]);
        assert_eq!(counted(&run, "undeliverable, told as erroneous"), 0, "{}", run.stdout);
        let mut found = keys(&kafka.read("anomalias_kmeans"));
        found.dedup();
        assert_eq!(found, expected, "{delivery}");
    }
    assert_eq!(kafka.read("anomalias_kmeans").len(), 2 * expected.len());
}

const PARTITIONS: u32 = 3;

/// Lines without keys over all partitions, with timestamps of the day after tomorrow; which are where.
fn send_from_the_future(kafka: &Kafka) -> BTreeMap<(u64, u64), String> {
    kafka.create_topic("purchases", PARTITIONS, &[("message.timestamp.after.max.ms", &i64::MAX.to_string())]);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
    let producer = Producer::new(&kafka.brokers);
    let mut sent = BTreeMap::new();
    for number in 0..81 {
        let (partition, line) = (number % PARTITIONS, line(&number.to_string()));
        let record = BaseRecord::<[u8], [u8]>::to("purchases").partition(partition as i32).payload(line.as_bytes());
        producer.send(record.timestamp(now + 2 * 86_400_000));
        sent.insert((u64::from(partition), u64::from(number / PARTITIONS)), line);
    }
    producer.flush();
    sent
}

/// The topic that the scorer makes for copies takes every timestamp that its source takes.
#[test]
fn copies_have_whatever_timestamps_their_originals_have() {
    let Some(kafka) = Kafka::start() else { return };
    let sent = send_from_the_future(&kafka);
    let run = run_to_the_end(&kafka, "atalaya", "exactly-once", &["--repartition", "always"]);
    assert_eq!(counted(&run, "undeliverable, told as erroneous"), 0, "{}", run.stdout);
    assert_eq!(kafka.read("anomalias_kmeans").len(), sent.len());
    assert!(kafka.read("facturas_erroneas").is_empty());
}

/// A topic of copies that somebody else made, and that takes no such timestamps: the lines are dead letters with all their
/// bytes, and once the topic is mended they can be sent again.
#[test]
fn copies_that_their_topic_does_not_take_are_dead_letters_and_can_be_sent_again() {
    let Some(kafka) = Kafka::start() else { return };
    let sent = send_from_the_future(&kafka);
    kafka.create_topic("atalaya-invoices-repartition", PARTITIONS, &[("message.timestamp.after.max.ms", "3600000")]);
    let run = run_to_the_end(&kafka, "atalaya", "exactly-once", &["--repartition", "always"]);
    assert_eq!(counted(&run, "undeliverable, told as erroneous"), sent.len(), "{}", run.stdout);
    let mut told = BTreeMap::new();
    for Received { value, .. } in kafka.read("facturas_erroneas") {
        assert_eq!((&value["kind"], &value["topic"]), (&json!("line"), &json!("atalaya-invoices-repartition")));
        let source = (value["source"]["partition"].as_u64().unwrap(), value["source"]["offset"].as_u64().unwrap());
        let before = told.insert(source, value["raw"].as_str().unwrap().to_owned());
        assert_eq!(before, None, "each is told of once");
    }
    assert_eq!(told, sent);

    kafka.set("atalaya-invoices-repartition", "message.timestamp.after.max.ms", &i64::MAX.to_string());
    let redriven = scorer(&["redrive", "--reason", "undeliverable", "--brokers", &kafka.brokers]);
    assert_eq!((redriven.code, redriven.stdout.trim()), (Some(0), "81 sent to `purchases`"), "{}", redriven.stderr);
    run_to_the_end(&kafka, "atalaya", "exactly-once", &["--repartition", "always"]);
    assert_eq!(kafka.read("anomalias_kmeans").len(), sent.len());
}
