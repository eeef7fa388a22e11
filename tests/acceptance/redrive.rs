//! `scorer redrive`: erroneous records, once more and once.

use std::path::Path;

use serde_json::json;
use tests::{Kafka, Received, repository, scorer, text};

/// A line of an invoice of its own, at a minute of its own.
fn line(invoice: u32, price: &str) -> String {
    format!("{invoice},22143,RED MUG,2,9/1/2010 9:{invoice:02},{price},12345,France")
}

/// A group on a broker.
struct Group<'a> {
    kafka: &'a Kafka,
    folder: &'a Path,
}

impl Group<'_> {
    /// Scores everything that is there, with a pipeline in which the lowest price is this one.
    fn run(&self, lowest_price: &str) {
        let pipeline = self.folder.join(format!("above{lowest_price}.toml"));
        let shipped = std::fs::read_to_string(repository().join("resources/pipelines/invoices.toml")).unwrap();
        let own = shipped.replace("UnitPrice = { min = 0.0 }", &format!("UnitPrice = {{ min = {lowest_price} }}"));
        assert!(lowest_price == "0.0" || own != shipped, "the range is there");
        std::fs::write(&pipeline, own).unwrap();
        let (models, state) = (repository().join("models"), self.folder.join("state"));
        let what = ["run", "--pipeline", text(&pipeline), "--models", text(&models), "--device", "cpu"];
        let how = [
            "--clock",
            "event",
            "--all-verdicts",
            "--until-end",
            "--repartition",
            "never",
            "--state-dir",
            text(&state),
        ];
        let run = scorer(&[&what[..], &how, &["--brokers", &self.kafka.brokers]].concat());
        assert_eq!(run.code, Some(0), "{}", run.stderr);
    }

    /// What `scorer redrive` says.
    fn redrive(&self, options: &[&str]) -> String {
        let run = scorer(&[&["redrive", "--brokers", &self.kafka.brokers][..], options].concat());
        assert_eq!(run.code, Some(0), "{}", run.stderr);
        run.stdout.trim().to_owned()
    }

    fn verdicts(&self) -> Vec<String> {
        let verdicts = self.kafka.read("anomalias_kmeans");
        verdicts.into_iter().map(|Received { key, .. }| key.unwrap()).collect()
    }
}

#[test]
fn erroneous_records_are_sent_again_once_each() {
    let Some(kafka) = Kafka::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let group = Group { kafka: &kafka, folder: folder.path() };
    // What is erroneous lies between what is not; one record is larger than an erroneous message may be.
    kafka.create_topic("purchases", 2, &[("max.message.bytes", "20000000")]);
    kafka.create_topic("facturas_erroneas", 1, &[("max.message.bytes", "100000")]);
    let huge = "x".repeat(2_000_000);
    let lines = [line(10, "1.5"), line(11, "-2"), "broken".to_owned(), line(12, "-3"), huge, line(13, "1.5")];
    kafka.send("purchases", &lines.map(String::into_bytes));
    group.run("0.0");
    assert_eq!(group.verdicts(), ["10", "13"]);
    let erroneous = kafka.read("facturas_erroneas");
    let reasons: Vec<_> = erroneous.iter().map(|message| message.value["reasons"][0].clone()).collect();
    assert_eq!(reasons, ["out_of_range:UnitPrice", "too_few_fields", "out_of_range:UnitPrice", "record_too_large"]);

    // Headers as other tools know them.
    let headers = kafka.headers("facturas_erroneas");
    for (headers, offset) in headers.iter().zip(["1", "2", "3", "4"]) {
        for prefix in ["__connect.errors", "__streams.errors"] {
            let of = |name: &str| headers[&format!("{prefix}.{name}")].as_str();
            assert_eq!([of("topic"), of("partition"), of("offset")], ["purchases", "0", offset]);
        }
    }
    assert_eq!(headers[1]["__connect.errors.exception.message"], "too_few_fields");
    assert_eq!(headers[1]["__streams.errors.message"], "too_few_fields");

    // The cause is mended, and what it concerned is sent again: to its partition, with its key, once.
    assert_eq!(group.redrive(&["--reason", "late_line"]), "0 sent to `purchases`");
    for _ in 0..2 {
        let seen = group.redrive(&["--dry-run", "--reason", "out_of_range"]);
        assert_eq!(seen, "2 would be sent to `purchases`", "to look at it changes nothing");
    }
    assert_eq!(group.redrive(&["--record", "purchases:0:33"]), "0 sent to `purchases`");
    assert_eq!(group.redrive(&["--reason", "out_of_range"]), "2 sent to `purchases`");
    assert_eq!(group.redrive(&["--reason", "out_of_range:UnitPrice"]), "0 sent to `purchases`\n2 sent before");
    let headers = kafka.headers("purchases");
    let origins: Vec<Option<&String>> = headers.iter().map(|headers| headers.get("redriven.from")).collect();
    let sent = ["purchases:0:1".to_owned(), "purchases:0:3".to_owned()];
    assert_eq!(origins, [None, None, None, None, None, None, Some(&sent[0]), Some(&sent[1])]);
    group.run("-5.0");
    let mut verdicts = group.verdicts();
    verdicts.sort();
    assert_eq!(verdicts, ["10", "11", "12", "13"]);

    // Without a reason the others follow; what is still broken ends as erroneous again, and is then another record.
    let left_out = "1 left out: the erroneous message holds only a part of the record";
    assert_eq!(group.redrive(&[]), format!("1 sent to `purchases`\n2 sent before\n{left_out}"));
    assert_eq!(group.redrive(&["--since", "2999-01-01T00:00:00Z"]), "0 sent to `purchases`");
    group.run("-5.0");
    assert_eq!(group.verdicts().len(), 4);
    let again = kafka.read("facturas_erroneas").pop().unwrap();
    // The transaction before it ended with a marker, at offset 8.
    assert_eq!(again.value["source"], json!({ "topic": "purchases", "partition": 0, "offset": 9 }));
    assert_eq!(group.redrive(&["--reason", "too_few_fields"]), "1 sent to `purchases`\n1 sent before");
}
