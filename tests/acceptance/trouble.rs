//! Bad records, quiet topics and missing topics on a real broker.

use serde_json::{Value, json};
use tests::{Kafka, repository, scorer, start_scorer};

fn good(invoice: &str) -> Vec<u8> {
    format!("{invoice},22143,\"MUG, RED\",2,9/1/2010 9:22,1.5,12345,France").into_bytes()
}

/// Each bad record of a stream ends as one erroneous record, whole, and the scorer goes on.
#[test]
fn bad_records_are_published_once_and_whole() {
    let kafka = Kafka::start();
    kafka.create_topic("purchases", 1, &[("max.message.bytes", "20000000")]);
    let huge = vec![b'x'; 10 << 20];
    let bad: Vec<(Vec<u8>, &str)> = vec![
        (b"".to_vec(), "empty_record"),
        (huge.clone(), "record_too_large"),
        (b"1,s,\xFF\xFE,1,9/1/2010 9:22,1.0,c,UK".to_vec(), "invalid_utf8:Description"),
        (b"1,s".to_vec(), "too_few_fields"),
        (b"1,s,d,1,9/1/2010 9:22,1.0,c,UK,x".to_vec(), "too_many_fields"),
        (b"InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country".to_vec(), "header_line"),
        (b"1,s,d,1,9/1/2010 9:22,-1.0,c,UK".to_vec(), "out_of_range:UnitPrice"),
        (b"1,s,d,99999999999999999999,9/1/2010 9:22,1.0,c,UK".to_vec(), "out_of_range:Quantity"),
        (b"1,s,d,1,9/1/2010 9:22,NaN,c,UK".to_vec(), "not_finite:UnitPrice"),
        (b"1,s,d,1,2/30/2010 9:22,1.0,c,UK".to_vec(), "not_a_datetime:InvoiceDate"),
    ];
    let mut payloads = vec![good("1")];
    payloads.extend(bad.iter().map(|(payload, _)| payload.clone()));
    payloads.push(good("2"));
    kafka.send("purchases", &payloads);
    let models = repository().join("models");
    let options = [
        "run",
        "--models",
        models.to_str().unwrap(),
        "--brokers",
        &kafka.brokers,
        "--device",
        "cpu",
        "--all-verdicts",
        "--until-end",
    ];
    let run = start_scorer(&options).wait();
    assert_eq!(run.code, Some(0), "{}", run.stderr);

    let erroneous = kafka.read("facturas_erroneas");
    let reasons: Vec<Value> = erroneous.iter().map(|message| message.value["reasons"].clone()).collect();
    assert_eq!(reasons, bad.iter().map(|(_, reason)| json!([reason])).collect::<Vec<_>>());
    for (offset, (message, (payload, _))) in erroneous.iter().zip(&bad).enumerate() {
        assert_eq!(message.value["source"], json!({ "topic": "purchases", "partition": 0, "offset": offset + 1 }));
        match message.value["raw"].as_str() {
            Some(raw) => assert_eq!(raw.as_bytes(), payload),
            None => assert_eq!(message.value["raw_base64"], "MSxzLP/+LDEsOS8xLzIwMTAgOToyMiwxLjAsYyxVSw=="),
        }
    }
    let keys: Vec<Option<String>> = kafka.read("anomalias_kmeans").into_iter().map(|message| message.key).collect();
    assert_eq!(keys, [Some("1".to_owned()), Some("2".to_owned())], "the good records around them are scored");
}

/// On Kafka's own clock, a quiet topic closes its last invoice by itself.
#[test]
fn a_quiet_topic_closes_its_last_invoice() {
    let kafka = Kafka::start();
    let text = std::fs::read_to_string(repository().join("resources/pipelines/invoices.toml")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let pipeline = folder.path().join("quick.toml");
    std::fs::write(&pipeline, text.replace("session_gap = \"40s\"", "session_gap = \"2s\"")).unwrap();
    let options = [
        "run",
        "--pipeline",
        pipeline.to_str().unwrap(),
        "--brokers",
        &kafka.brokers,
        "--device",
        "cpu",
        "--all-verdicts",
    ];
    let create = scorer(&["topics", "--brokers", &kafka.brokers]);
    assert_eq!(create.code, Some(0), "{}", create.stderr);
    let running = start_scorer(&options);
    kafka.send("purchases", &[good("7"), good("7")]);
    let verdicts = kafka.read_until("anomalias_kmeans", |received| !received.is_empty());
    assert_eq!((verdicts.len(), &verdicts[0].value["lines"]), (1, &json!(2)));
    assert_eq!(running.terminate().0.code, Some(0));
}

#[test]
fn a_missing_topic_is_refused_where_none_may_be_created() {
    let kafka = Kafka::start();
    let run = scorer(&["--brokers", &kafka.brokers, "--no-create-topics"]);
    assert_eq!(
        (run.code, run.stderr.trim()),
        (Some(1), "error: topic `purchases` does not exist: create it, or leave out --no-create-topics")
    );
}
