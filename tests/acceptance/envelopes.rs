//! Records in envelopes and arrays, from a topic whose producer knows no keys: each has its own outcome, once.

use std::collections::BTreeSet;

use rdkafka::producer::BaseRecord;
use serde_json::{Value, json};
use tests::{Kafka, Producer, Received, scorer, text};

use crate::expected::{score_as, sorted, values};

const PIPELINE: &str = r#"
    name = "payments"
    entity = { clock = "at" }
    detectors = [{ name = "zscore", algorithm = "zscore-window", value = "amount", by = "shop", topic = "odd" }]
    outputs.erroneous = "bad"
    [input]
    format = "json"
    topic = "payments"
    columns = ["shop", "amount:float", "at:datetime"]
    datetime_formats = ["rfc3339"]
    [input.json]
    envelope = "connect"
    records = "batch"
    convert = ["amount"]
    [input.json.paths]
    shop = "merchant.id"
"#;

/// A message of five payments in shops that take turns, the third of them erroneous; the payments have no keys.
fn message(number: usize) -> Value {
    let payment = |row: usize| {
        let amount = if row == 44 { "900.00".to_owned() } else { format!("1{}.50", row % 4) };
        let amount = if row % 5 == 2 { "none".to_owned() } else { amount };
        json!({ "merchant": { "id": format!("s{}", row % 3) }, "amount": amount, "at": format!("2026-03-01T10:{row:02}:00Z") })
    };
    let payments: Vec<Value> = (number * 5..number * 5 + 5).map(payment).collect();
    json!({ "schema": { "type": "struct" }, "payload": { "batch": payments } })
}

#[test]
fn each_record_of_a_message_is_scored_where_it_belongs() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let mut messages: Vec<String> = (0..12).map(|number| message(number).to_string()).collect();
    messages.insert(3, r#"{"schema":null,"payload":null}"#.to_owned());
    std::fs::write(path("payments.toml"), PIPELINE).unwrap();
    std::fs::write(path("payments.jsonl"), messages.join("\n")).unwrap();
    let file = path("payments.toml");
    let expected = score_as(text(&file), &path("payments.jsonl"), folder.path(), folder.path());
    assert_eq!((expected["odd"].len(), expected["bad"].len()), (48, 12));

    let Some(kafka) = Kafka::start() else { return };
    let brokers = ["--pipeline", text(&file), "--brokers", &kafka.brokers];
    assert_eq!(scorer(&[&["topics", "--partitions", "3"][..], &brokers].concat()).code, Some(0));
    let producer = Producer::new(&kafka.brokers);
    for message in &messages {
        producer.send(BaseRecord::<[u8], [u8]>::to("payments").partition(1).payload(message.as_bytes()));
    }
    // What is a tombstone in a compacted topic.
    producer.send(BaseRecord::<[u8], [u8]>::to("payments").partition(1).key(b"s1"));
    producer.flush();

    let state = path("state");
    let run = || {
        let how = ["run", "--all-verdicts", "--until-end", "--device", "cpu", "--state-dir", text(&state)];
        let run = scorer(&[&how[..], &brokers].concat());
        assert_eq!(run.code, Some(0), "{}", run.stderr);
        run.stderr
    };
    let said = run();
    assert!(said.contains("tombstones and empty arrays"), "{said}");
    let (odd, bad) = (kafka.read("odd"), kafka.read("bad"));
    // Their keys are places, and a file is not a topic.
    let unnamed = |messages: Vec<Value>| -> Vec<Value> {
        let without_key = |mut message: Value| {
            message.as_object_mut().unwrap().shift_remove("key");
            message
        };
        messages.into_iter().map(without_key).collect()
    };
    for (topic, found) in [("odd", &odd), ("bad", &bad)] {
        let (found, expected) = (unnamed(values(found).cloned().collect()), unnamed(expected[topic].clone()));
        assert_eq!(sorted(&found), sorted(&expected), "{topic}");
    }
    assert!(odd.iter().any(|message| message.value["anomalous"] == true));

    // Where a record was sent, and which of its message it is.
    let sent: BTreeSet<(i64, u64)> = (0..12).map(|number| (number + i64::from(number >= 3), 2)).collect();
    let place = |message: &Received| {
        let source = &message.value["source"];
        assert_eq!((&source["topic"], &source["partition"]), (&json!("payments"), &json!(1)));
        (source["offset"].as_i64().unwrap(), source["item"].as_u64().unwrap())
    };
    assert_eq!(bad.iter().map(place).collect::<BTreeSet<_>>(), sent);
    let keys: BTreeSet<&str> = odd.iter().map(|message| message.value["key"].as_str().unwrap()).collect();
    assert!(keys.contains("payments-1-0-0") && keys.contains("payments-1-12-4"), "{keys:?}");
    let ids: BTreeSet<&str> = odd.iter().map(|message| message.value["id"].as_str().unwrap()).collect();
    assert_eq!((keys.len(), ids.len()), (48, 48));

    // A second start publishes nothing again, and what is sent again is one record each.
    run();
    let counts = || (kafka.read("odd").len(), kafka.read("bad").len());
    assert_eq!(counts(), (48, 12));
    let redriven = scorer(&[&["redrive"][..], &brokers].concat());
    assert!(redriven.stdout.contains("12"), "{} {}", redriven.stdout, redriven.stderr);
    run();
    assert_eq!(counts(), (48, 24), "they are erroneous as before");
}
