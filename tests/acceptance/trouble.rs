//! Bad records and missing topics on a real broker.

use serde_json::{Value, json};
use tests::{Kafka, repository, scorer, text};

fn good(invoice: &str) -> Vec<u8> {
    format!("{invoice},22143,\"MUG, RED\",2,9/1/2010 9:22,1.5,12345,France").into_bytes()
}

/// Each bad record of a stream ends as one erroneous record, whole, and the scorer goes on.
#[test]
fn bad_records_are_published_once_and_whole() {
    let Some(kafka) = Kafka::start() else { return };
    kafka.create_topic("purchases", 1, &[("max.message.bytes", "20000000")]);
    let huge = vec![b'x'; 10 << 20];
    let bad: Vec<(Vec<u8>, &str)> = vec![
        (b"".to_vec(), "empty_record"),
        (huge.clone(), "record_too_large"),
        (b"1,s,d,1,9/1/2010 9:22,1.0,c,\xFF\xFE".to_vec(), "invalid_utf8:Country"),
        (b"1,s,\"d,1,9/1/2010 9:22,1.0,c,UK".to_vec(), "unclosed_quote"),
        (b"1,s,\"d\"d,1,9/1/2010 9:22,1.0,c,UK".to_vec(), "text_after_quote"),
        (b"1,s".to_vec(), "too_few_fields"),
        (b"1,s,d,1,9/1/2010 9:22,1.0,c,UK,x".to_vec(), "too_many_fields"),
        (b"InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country".to_vec(), "header_line"),
        (b"1,s,d,1,9/1/2010 9:22,-1.0,c,UK".to_vec(), "out_of_range:UnitPrice"),
        (b"1,s,d,99999999999999999999,9/1/2010 9:22,1.0,c,UK".to_vec(), "out_of_range:Quantity"),
        (b"1,s,d,1,9/1/2010 9:22,inf,c,UK".to_vec(), "not_finite:UnitPrice"),
        (b"1,s,d,1,9/1/2010 9:22,NaN,c,UK".to_vec(), "missing_value:UnitPrice"),
        (b"1,s,d,1,2/30/2010 9:22,1.0,c,UK".to_vec(), "not_a_datetime:InvoiceDate"),
    ];
    let mut payloads = vec![good("1")];
    payloads.extend(bad.iter().map(|(payload, _)| payload.clone()));
    payloads.push(good("2"));
    kafka.send("purchases", &payloads);
    let (models, folder) = (repository().join("models"), tempfile::tempdir().unwrap());
    let state = folder.path().join("state");
    let paths = ["--models", text(&models), "--state-dir", text(&state)];
    let how = ["--device", "cpu", "--all-verdicts", "--until-end"];
    let run = scorer(&[&["run", "--brokers", &kafka.brokers][..], &paths, &how].concat());
    assert_eq!(run.code, Some(0), "{}", run.stderr);

    let erroneous = kafka.read("facturas_erroneas");
    let reasons: Vec<Value> = erroneous.iter().map(|message| message.value["reasons"].clone()).collect();
    assert_eq!(reasons, bad.iter().map(|(_, reason)| json!([reason])).collect::<Vec<_>>());
    for (offset, (message, (payload, _))) in erroneous.iter().zip(&bad).enumerate() {
        assert_eq!(message.value["source"], json!({ "topic": "purchases", "partition": 0, "offset": offset + 1 }));
        match message.value["raw"].as_str() {
            Some(raw) => assert_eq!(raw.as_bytes(), payload),
            None => assert_eq!(message.value["raw_base64"], "MSxzLGQsMSw5LzEvMjAxMCA5OjIyLDEuMCxjLP/+"),
        }
    }
    let keys: Vec<Option<String>> = kafka.read("anomalias_kmeans").into_iter().map(|message| message.key).collect();
    assert_eq!(keys, [Some("1".to_owned()), Some("2".to_owned())], "the good records around them are scored");
}

#[test]
fn a_missing_topic_is_refused_where_none_may_be_created() {
    let Some(kafka) = Kafka::start() else { return };
    let run = scorer(&["--brokers", &kafka.brokers, "--no-create-topics"]);
    assert_eq!(
        (run.code, run.stderr.trim()),
        (Some(78), "error: topic `purchases` does not exist: create it, or leave out --no-create-topics")
    );
}
