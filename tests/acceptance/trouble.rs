//! Bad records, missing brokers and missing models, as a user meets them.

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
fn an_unreachable_broker_is_one_sentence() {
    let run = scorer(&["--brokers", "127.0.0.1:1"]);
    assert_eq!(run.code, Some(1));
    let lines: Vec<&str> = run.stderr.lines().collect();
    assert_eq!(lines.len(), 1, "{}", run.stderr);
    assert!(lines[0].starts_with("error: no Kafka broker answered at 127.0.0.1:1 within 10 s: start one with"));
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

#[test]
fn wrong_files_and_models_are_one_sentence_each() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let write = |name: &str, text: &str| std::fs::write(path(name), text).unwrap();
    let production = "resources/production.csv";
    write("empty.csv", "");
    write("columns.csv", "a,b\n1,2\n");
    let model = std::fs::read_to_string(repository().join("models/invoices/kmeans/model.json")).unwrap();
    for (models, content) in [
        ("cut", model[..model.len() / 2].to_owned()),
        ("other", model.replace("\"NumberItems\"", "\"Total\"")),
        ("later", model.replace("\"format_version\": 1", "\"format_version\": 9")),
    ] {
        std::fs::create_dir_all(path(&format!("{models}/invoices/kmeans"))).unwrap();
        write(&format!("{models}/invoices/kmeans/model.json"), &content);
    }
    let (none, cut, other, later) = (path("none"), path("cut"), path("other"), path("later"));
    let (empty, columns) = (path("empty.csv"), path("columns.csv"));
    let cases: [(&[&str], &str); 9] = [
        (&["score", "no-such.csv"], "cannot read no-such.csv: No such file"),
        (&["score", &empty], "is empty: a header line with the columns InvoiceNo"),
        (&["score", &columns], "line 1: the header lacks the columns InvoiceNo"),
        (&["score", production, "--models", &none], "train it first with `cargo run -p trainer"),
        (&["score", production, "--models", &cut], "is damaged: EOF while parsing"),
        (&["score", production, "--models", &other], "it was trained on the features AvgUnitPrice"),
        (&["score", production, "--models", &later], "its format version is 9 and this program reads 1"),
        (&["score", production, "--output", "out.txt"], "name it FILE.jsonl or FILE.parquet"),
        (&["score", production, "--output", "/dev/full/x.jsonl"], "cannot write /dev/full/x.jsonl"),
    ];
    for (arguments, expected) in cases {
        let run = scorer(arguments);
        assert_eq!(run.code, Some(1), "{arguments:?}");
        assert!(run.stderr.starts_with("error: ") && run.stderr.contains(expected), "{arguments:?}: {}", run.stderr);
        assert_eq!(run.stderr.lines().count(), 1, "one sentence: {}", run.stderr);
    }
    assert_eq!(scorer(&["--device", "tpu"]).code, Some(2));
}

#[test]
fn the_demo_finds_the_simulated_anomalies() {
    let run = scorer(&["demo", "--rate", "0", "--device", "cpu"]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let labels = std::fs::read_to_string(repository().join("resources/production_labels.csv")).unwrap();
    let labelled: Vec<&str> = labels.lines().skip(1).filter_map(|line| line.split(',').next()).collect();
    let found = labelled.iter().filter(|invoice| run.stdout.contains(&format!("invoice {invoice}  kmeans"))).count();
    assert!(labelled.len() >= 30 && found * 10 >= labelled.len() * 9, "{found} of {} found", labelled.len());
}
