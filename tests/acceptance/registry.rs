//! Records that name schemas of a real Schema Registry (Apicurio, by Confluent's paths), from a real Kafka: the same verdicts
//! as the same payments in JSON, whatever format they are in, and none lost while the registry is away.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::BaseRecord;
use serde_json::{Value, json};
use tests::{Kafka, Producer, Proxy, Registry, scorer, start_scorer, text, wait_for};

use crate::expected::{score_as, sorted, values};

const PATIENCE: Duration = Duration::from_secs(120);

/// The first payment that is sent with the later schema.
const LATER: usize = 40;

const PAYMENTS: usize = 60;

/// A pipeline for payments in a format.
fn pipeline(format: &str, url: &str) -> String {
    let section = if format == "json-schema" { "json" } else { format };
    let registry =
        if format == "json" { String::new() } else { format!("[input.registry]\nurl = \"{url}\"\ntimeout = \"1s\"") };
    format!(
        r#"
        name = "payments"
        entity = {{ key = "id", clock = "at" }}
        detectors = [{{ name = "zscore", algorithm = "zscore-window", value = "amount", by = "shop", window = "1h", slide = "1h", min_count = 5, topic = "odd" }}]
        outputs.erroneous = "bad"
        [input]
        format = "{format}"
        topic = "payments"
        columns = ["id", "shop", "amount:float", "at:datetime", "note?"]
        datetime_formats = ["unix_ms"]
        [input.{section}.paths]
        shop = "merchant.id"
        {registry}
        "#
    )
}

/// Payment `n`: id, shop, amount in cents, moment.
fn payment(n: usize) -> (String, String, i64, i64) {
    let amount = if n == 44 { 90_000 } else { 1_050 + 100 * (n as i64 % 4) };
    (format!("p-{n}"), format!("s{}", n % 3), amount, 1_772_359_200_000 + 60_000 * n as i64)
}

/// The same payments as lines of JSON.
fn as_json(n: usize) -> Value {
    let (id, shop, cents, at) = payment(n);
    json!({ "id": id, "merchant": { "id": shop }, "amount": cents as f64 / 100.0, "at": at })
}

/// What these payments lead to, by topic.
fn expected(folder: &Path) -> BTreeMap<String, Vec<Value>> {
    let (file, lines) = (folder.join("json.toml"), folder.join("payments.jsonl"));
    std::fs::write(&file, pipeline("json", "")).unwrap();
    let text_: String = (0..PAYMENTS).map(|n| format!("{}\n", as_json(n))).collect();
    std::fs::write(&lines, text_).unwrap();
    score_as(text(&file), &lines, folder, folder)
}

/// A whole number as Protobuf writes it, and Avro after `zigzag`.
fn varint(number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = number;
    while rest >= 0x80 {
        bytes.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    bytes.push(rest as u8);
    bytes
}

fn zigzag(number: i64) -> Vec<u8> {
    varint(((number << 1) ^ (number >> 63)) as u64)
}

fn avro_text(text: &str) -> Vec<u8> {
    [zigzag(text.len() as i64), text.as_bytes().to_vec()].concat()
}

const JSON: &str = r#"{"$schema":"http://json-schema.org/draft-07/schema#","type":"object"}"#;

const MERCHANT: &str = r#"{"type":"record","name":"Merchant","namespace":"shop","fields":[
    {"name":"city","type":"string"},{"name":"id","type":"string"}]}"#;

/// The first schema uses another one; the later one has other fields in another order.
const AVRO: [&str; 2] = [
    r#"{"type":"record","name":"Payment","namespace":"shop","fields":[
        {"name":"id","type":"string"},{"name":"tags","type":{"type":"map","values":"string"}},
        {"name":"merchant","type":["null","shop.Merchant"]},
        {"name":"amount","type":{"type":"bytes","logicalType":"decimal","precision":12,"scale":2}},
        {"name":"at","type":{"type":"long","logicalType":"timestamp-millis"}}]}"#,
    r#"{"type":"record","name":"Payment","namespace":"shop","fields":[
        {"name":"at","type":{"type":"long","logicalType":"timestamp-micros"}},{"name":"new","type":["null","double"],"default":null},
        {"name":"amount","type":"double"},{"name":"id","type":"string"},
        {"name":"merchant","type":{"type":"record","name":"Shop","fields":[{"name":"id","type":"string"}]}}]}"#,
];

/// A payment in the first schema, or in the later one.
fn as_avro(n: usize) -> Vec<u8> {
    let (id, shop, cents, at) = payment(n);
    if n < LATER {
        let amount = (cents as i32).to_be_bytes();
        let tags = [zigzag(1), avro_text("k"), avro_text("v"), zigzag(0)].concat();
        let merchant = [zigzag(1), avro_text("Vigo"), avro_text(&shop)].concat();
        return [avro_text(&id), tags, merchant, zigzag(4), amount.to_vec(), zigzag(at)].concat();
    }
    let amount = (cents as f64 / 100.0).to_le_bytes().to_vec();
    [zigzag(at * 1_000), zigzag(0), amount, avro_text(&id), avro_text(&shop)].concat()
}

fn framed(id: u32, body: &[u8]) -> Vec<u8> {
    [&[0][..], &id.to_be_bytes(), body].concat()
}

fn avro_ids(registry: &Registry) -> [u32; 2] {
    registry.register("merchant", "AVRO", MERCHANT, &[]);
    [
        registry.register("payments-1", "AVRO", AVRO[0], &[("shop.Merchant", "merchant")]),
        registry.register("payments-2", "AVRO", AVRO[1], &[]),
    ]
}

fn send(producer: &Producer, key: &str, payload: &[u8], header: Option<&[u8]>) {
    let mut record = BaseRecord::<[u8], [u8]>::to("payments").key(key.as_bytes()).payload(payload);
    if let Some(header) = header {
        record = record.headers(OwnedHeaders::new().insert(Header { key: "__value_schema_id", value: Some(header) }));
    }
    producer.send(record);
}

/// Every way in which a record says its schema, two schemas of which one uses another, and records that are none.
#[test]
fn payments_in_avro_have_the_verdicts_that_they_have_in_json() {
    let folder = tempfile::tempdir().unwrap();
    let expected = expected(folder.path());
    assert_eq!(expected["odd"].len(), PAYMENTS);
    let (Some(registry), Some(kafka)) = (Registry::start(), Kafka::start()) else { return };
    let ids = avro_ids(&registry);
    let other = registry.register("other", "JSON", JSON, &[]);
    let file = folder.path().join("avro.toml");
    std::fs::write(&file, pipeline("avro", &registry.url())).unwrap();
    let brokers = ["--pipeline", text(&file), "--brokers", &kafka.brokers];
    assert_eq!(scorer(&[&["topics", "--partitions", "2"][..], &brokers].concat()).code, Some(0));
    let producer = Producer::new(&kafka.brokers);
    let of_other = format!("unusable_schema:{other}");
    let bad: [(&str, Vec<u8>); 6] = [
        ("no_schema_id", b"{\"id\":\"p-1\"}".to_vec()),
        ("unknown_schema:999", framed(999, &as_avro(1))),
        (&of_other, framed(other, b"{}")),
        ("not_avro", framed(ids[0], &as_avro(1)[1..])),
        ("not_avro", framed(ids[0], &[as_avro(1), vec![0]].concat())),
        ("unknown_schema:01010101-0101-0101-0101-010101010101", vec![1; 40]),
    ];
    for (_, payload) in &bad {
        send(&producer, "bad", payload, None);
    }
    for n in 0..PAYMENTS {
        let (id, body) = (ids[usize::from(n >= LATER)], as_avro(n));
        match n % 5 {
            0 => send(&producer, &payment(n).0, &body, Some(&framed(id, &[]))),
            _ => send(&producer, &payment(n).0, &framed(id, &body), None),
        }
    }
    producer.flush();
    let state = folder.path().join("state");
    let run = || {
        let how = ["run", "--all-verdicts", "--until-end", "--device", "cpu", "--state-dir", text(&state)];
        let run = scorer(&[&how[..], &brokers].concat());
        assert_eq!(run.code, Some(0), "{}", run.stderr);
    };
    run();
    assert_eq!(sorted(values(&kafka.read("odd"))), sorted(&expected["odd"]));
    let erroneous = kafka.read("bad");
    let mut reasons: Vec<&str> = erroneous.iter().map(|it| it.value["reasons"][0].as_str().unwrap()).collect();
    let mut wanted: Vec<&str> = bad.iter().map(|(reason, _)| *reason).collect();
    reasons.sort_unstable();
    wanted.sort_unstable();
    assert_eq!(reasons, wanted);
    // Once more, and nothing comes twice; what is sent again is what it was.
    let redriven = scorer(&[&["redrive", "--reason", "not_avro"][..], &brokers].concat());
    assert_eq!(redriven.code, Some(0), "{}", redriven.stderr);
    run();
    assert_eq!((kafka.read("odd").len(), kafka.read("bad").len()), (PAYMENTS, bad.len() + 2));
}

const PROTOBUF: &str = r#"
    syntax = "proto3";
    package shop;
    import "google/protobuf/timestamp.proto";
    import "merchant.proto";
    message Other { string nothing = 1; }
    message Payment {
      reserved 1;
      string id = 2;
      Merchant merchant = 3;
      double amount = 4;
      google.protobuf.Timestamp at = 5;
      map<string, string> tags = 6;
    }
"#;

const MERCHANT_PROTO: &str = r#"syntax = "proto3"; package shop; message Merchant { string city = 1; string id = 2; }"#;

/// A payment as the second message of its schema.
fn as_protobuf(n: usize) -> Vec<u8> {
    let (id, shop, cents, at) = payment(n);
    let part =
        |number: u64, bytes: &[u8]| [varint(number << 3 | 2), varint(bytes.len() as u64), bytes.to_vec()].concat();
    let moment = [varint(8), varint(at as u64 / 1_000)].concat();
    let amount = [varint(4 << 3 | 1), (cents as f64 / 100.0).to_le_bytes().to_vec()].concat();
    let tags = part(6, &[part(1, b"k"), part(2, b"v")].concat());
    // One place, which is 1: the second message.
    let place = [zigzag(1), zigzag(1)].concat();
    [place, tags, part(2, id.as_bytes()), part(3, &part(2, shop.as_bytes())), amount, part(5, &moment)].concat()
}

#[test]
fn payments_in_protobuf_and_with_a_json_schema_have_the_same_verdicts() {
    let folder = tempfile::tempdir().unwrap();
    let expected = expected(folder.path());
    let (Some(registry), Some(kafka)) = (Registry::start(), Kafka::start()) else { return };
    registry.register("merchant", "PROTOBUF", MERCHANT_PROTO, &[]);
    let protobuf = registry.register("payments", "PROTOBUF", PROTOBUF, &[("merchant.proto", "merchant")]);
    let json = registry.register("payments-json", "JSON", JSON, &[]);
    for (format, prefix) in [("protobuf", "pb-"), ("json-schema", "js-")] {
        if format == "protobuf" && !cfg!(feature = "protobuf") {
            continue;
        }
        let file = folder.path().join("pipeline.toml");
        let of_format = pipeline(format, &registry.url()).replace("\"payments\"", &format!("\"{prefix}payments\""));
        let of_format =
            of_format.replace("\"odd\"", &format!("\"{prefix}odd\"")).replace("\"bad\"", &format!("\"{prefix}bad\""));
        std::fs::write(&file, of_format).unwrap();
        let brokers = ["--pipeline", text(&file), "--brokers", &kafka.brokers];
        assert_eq!(scorer(&[&["topics"][..], &brokers].concat()).code, Some(0));
        let messages = (0..PAYMENTS).map(|n| match format {
            "protobuf" => framed(protobuf, &as_protobuf(n)),
            _ => framed(json, as_json(n).to_string().as_bytes()),
        });
        let broken = if format == "protobuf" { framed(protobuf, &[2, 2, 0xff]) } else { framed(json, b"{") };
        kafka.send(&format!("{prefix}payments"), &messages.chain([broken]).collect::<Vec<_>>());
        let state = folder.path().join(format!("{prefix}state"));
        let how = ["run", "--all-verdicts", "--until-end", "--device", "cpu", "--state-dir", text(&state)];
        let run = scorer(&[&how[..], &brokers].concat());
        assert_eq!(run.code, Some(0), "{}", run.stderr);
        let plain = |message: &Value| {
            let mut message = message.clone();
            // What is named after the pipeline and its topics.
            for name in ["pipeline", "model_version"] {
                message.as_object_mut().unwrap().shift_remove(name);
            }
            message
        };
        let found: Vec<Value> = values(&kafka.read(&format!("{prefix}odd"))).map(plain).collect();
        assert_eq!(sorted(&found), sorted(&expected["odd"].iter().map(plain).collect::<Vec<_>>()), "{format}");
        let bad = kafka.read(&format!("{prefix}bad"));
        let reason = if format == "protobuf" { "not_protobuf" } else { "not_json" };
        assert_eq!(bad.iter().map(|it| it.value["reasons"].clone()).collect::<Vec<_>>(), [json!([reason])]);
    }
}

/// Nobody answers at first; later nobody answers for the second schema. Records wait, those after them too, and nothing is
/// lost, sent twice or erroneous. A registry that stays away ends the program with an exit code that means: start me again.
#[test]
fn records_wait_while_the_registry_is_away() {
    let folder = tempfile::tempdir().unwrap();
    let expected = expected(folder.path());
    let (Some(registry), Some(kafka)) = (Registry::start(), Kafka::start()) else { return };
    let ids = avro_ids(&registry);
    let proxy = Proxy::bind();
    let file = folder.path().join("avro.toml");
    let url = Registry::url_at(&format!("127.0.0.1:{}", proxy.port()));
    std::fs::write(&file, pipeline("avro", &url)).unwrap();
    let brokers = ["--pipeline", text(&file), "--brokers", &kafka.brokers];
    assert_eq!(scorer(&[&["topics", "--partitions", "2"][..], &brokers].concat()).code, Some(0));
    let producer = Producer::new(&kafka.brokers);
    let send_those = |range: std::ops::Range<usize>| {
        for n in range {
            // Keyed as they have to be, so that no copies are made.
            send(&producer, &payment(n).1, &framed(ids[usize::from(n >= LATER)], &as_avro(n)), None);
        }
        producer.flush();
    };
    proxy.cut();
    proxy.pass_on_to(&registry.address);
    send_those(0..20);
    let state = folder.path().join("state");
    let how = ["run", "--all-verdicts", "--device", "cpu", "--json-logs", "--state-dir", text(&state)];
    let mut running = start_scorer(&[&how[..], &brokers].concat());
    const SILENT: &str = "the Schema Registry does not answer: records wait for their schemas";
    running.wait_for_log(SILENT);
    assert_eq!((kafka.read("odd").len(), kafka.read("bad").len()), (0, 0));
    proxy.heal();
    running.wait_for_log("the Schema Registry answers again");

    // The first schema is known, so its records need no registry; the next ones do.
    proxy.cut();
    send_those(20..PAYMENTS);
    wait_for("the second outage", PATIENCE, || (running.log(SILENT).len() == 2).then_some(()));
    assert!(!running.has_ended(), "{}", running.stderr());
    assert_eq!(kafka.read("bad").len(), 0);
    // Stopped while they wait, it goes on where it was.
    let (stopped, _) = running.terminate();
    assert_eq!(stopped.code, Some(0), "{}", stopped.stderr);

    let impatient =
        std::fs::read_to_string(&file).unwrap().replace("timeout = \"1s\"", "timeout = \"1s\"\ngive_up_after = \"1s\"");
    std::fs::write(&file, impatient).unwrap();
    let given_up = scorer(&[&how[..], &brokers].concat());
    assert_eq!(given_up.code, Some(75), "{}", given_up.stderr);
    assert!(given_up.stderr.contains("has given no answer for 1 s"), "{}", given_up.stderr);

    proxy.heal();
    let end = scorer(&[&how[..], &["--until-end"], &brokers].concat());
    assert_eq!(end.code, Some(0), "{}", end.stderr);
    assert_eq!(sorted(values(&kafka.read("odd"))), sorted(&expected["odd"]));
    assert_eq!(kafka.read("bad").len(), 0);
}

/// With the right certificate it is as without TLS; with another one the scorer says so, and ends when it has waited enough.
#[test]
fn a_registry_is_asked_over_tls() {
    let folder = tempfile::tempdir().unwrap();
    let expected = expected(folder.path());
    let (Some(registry), Some(kafka)) = (Registry::start(), Kafka::start()) else { return };
    let ids = avro_ids(&registry);
    let (url, authority) = registry.tls();
    let file = folder.path().join("avro.toml");
    let brokers = ["--pipeline", text(&file), "--brokers", &kafka.brokers];
    let write = |more: &str| {
        let url_and_more = format!("url = \"{url}\"\n{more}");
        let plain = format!("url = \"{}\"", registry.url());
        std::fs::write(&file, pipeline("avro", &registry.url()).replace(&plain, &url_and_more)).unwrap();
    };
    let run = || {
        let state = folder.path().join("state");
        let how = ["run", "--all-verdicts", "--until-end", "--device", "cpu", "--state-dir", text(&state)];
        scorer(&[&how[..], &brokers].concat())
    };
    write("give_up_after = \"2s\"");
    assert_eq!(scorer(&[&["topics", "--partitions", "2"][..], &brokers].concat()).code, Some(0));
    let producer = Producer::new(&kafka.brokers);
    for n in 0..PAYMENTS {
        send(&producer, &payment(n).0, &framed(ids[usize::from(n >= LATER)], &as_avro(n)), None);
    }
    producer.flush();
    let refused = run();
    assert_eq!(refused.code, Some(75), "{}", refused.stderr);
    assert!(refused.stderr.contains("certificate"), "{}", refused.stderr);
    write(&format!("ca_file = \"{}\"", text(&authority)));
    let open = run();
    assert_eq!(open.code, Some(0), "{}", open.stderr);
    assert_eq!(sorted(values(&kafka.read("odd"))), sorted(&expected["odd"]));
}
