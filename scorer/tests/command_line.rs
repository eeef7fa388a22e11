//! The program as a user types it, without a broker.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

#[path = "documents/mod.rs"]
mod documents;

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

struct Run {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn scorer(arguments: &[&str]) -> Run {
    let output = Command::new(env!("CARGO_BIN_EXE_scorer")).args(arguments).current_dir(repository()).output().unwrap();
    Run {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

#[test]
fn an_unreachable_broker_is_one_sentence() {
    let run = scorer(&["--brokers", "127.0.0.1:1"]);
    assert_eq!(run.code, Some(75), "another start may succeed");
    let lines: Vec<&str> = run.stderr.lines().collect();
    assert_eq!(lines.len(), 1, "{}", run.stderr);
    assert!(lines[0].starts_with("error: nothing listens at 127.0.0.1:1: start a Kafka broker with"), "{}", lines[0]);
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
        ("later", model.replace("\"format_version\": 2", "\"format_version\": 9")),
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
        (&["score", production, "--models", &none], "train it first with `trainer"),
        (&["score", production, "--models", &cut], "is damaged: EOF while parsing"),
        (&["score", production, "--models", &other], "it was trained on the features AvgUnitPrice"),
        (&["score", production, "--models", &later], "its format version is 9 and this program reads 2"),
        (&["score", production, "--output", "out.txt"], "name it FILE.jsonl, FILE.csv or FILE.parquet"),
        (&["score", production, "--output", "/dev/full/x.jsonl"], "cannot write /dev/full/x.jsonl"),
    ];
    for (arguments, expected) in cases {
        let run = scorer(arguments);
        // What is wrong with a model is a matter of configuration, by its exit code.
        let code = if arguments.contains(&"--models") { 78 } else { 1 };
        assert_eq!(run.code, Some(code), "{arguments:?}");
        assert!(run.stderr.starts_with("error: ") && run.stderr.contains(expected), "{arguments:?}: {}", run.stderr);
        assert_eq!(run.stderr.lines().count(), 1, "one sentence: {}", run.stderr);
    }
    assert_eq!(scorer(&["--device", "tpu"]).code, Some(2));
}

/// A CSV file as JSON lines: numbers as numbers where they are some.
fn json_lines(csv: &Path, numbers: &[&str]) -> String {
    let bytes = std::fs::read(csv).unwrap();
    let mut records =
        shared::records::FileRecords::new(bytes.as_slice(), &shared::dialect::Dialect::default(), usize::MAX).unwrap();
    let texts = |fields: &shared::records::Fields| -> Vec<String> {
        fields.iter().map(|field| std::str::from_utf8(field).unwrap().to_owned()).collect()
    };
    let header = texts(records.next_record().unwrap().unwrap().fields);
    let mut lines = String::new();
    while let Some(record) = records.next_record().unwrap() {
        let value = |(name, text): (&String, String)| {
            let number =
                serde_json::from_str::<serde_json::Number>(&text).ok().filter(|_| numbers.contains(&name.as_str()));
            format!("{name:?}:{}", if number.is_some() { text } else { serde_json::json!(text).to_string() })
        };
        let entries: Vec<String> = header.iter().zip(texts(record.fields)).map(value).collect();
        lines += &format!("{{{}}}\n", entries.join(","));
    }
    lines
}

/// The same lines as a file of Avro: each field is a number, a text, or null where the line does not have it.
fn avro(csv: &Path) -> Vec<u8> {
    let lines = json_lines(csv, &["Quantity", "UnitPrice"]);
    let lines: Vec<serde_json::Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let names: Vec<&String> = lines[0].as_object().unwrap().keys().collect();
    let fields: Vec<String> =
        names.iter().map(|name| format!(r#"{{"name":"{name}","type":["null","string","double"]}}"#)).collect();
    let schema = format!(r#"{{"type":"record","name":"Line","fields":[{}]}}"#, fields.join(","));
    let long = |number: usize| {
        let (mut bytes, mut rest) = (Vec::new(), number << 1);
        while rest >= 0x80 {
            bytes.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        bytes.push(rest as u8);
        bytes
    };
    let text = |text: &str| [long(text.len()), text.as_bytes().to_vec()].concat();
    let value = |value: Option<&serde_json::Value>| match value {
        None => long(0),
        Some(serde_json::Value::String(found)) => [long(1), text(found)].concat(),
        Some(number) => [long(2), number.as_f64().unwrap().to_le_bytes().to_vec()].concat(),
    };
    let record = |line: &serde_json::Value| names.iter().flat_map(|name| value(line.get(name.as_str()))).collect();
    let records: Vec<Vec<u8>> = lines.iter().map(record).collect();
    let sync = [7; 16];
    let mut file = [b"Obj\x01", &long(1)[..], &text("avro.schema"), &text(&schema), &long(0), &sync].concat();
    for block in records.chunks(1000) {
        let bytes = block.concat();
        file.extend([&long(block.len())[..], &long(bytes.len()), &bytes, &sync].concat());
    }
    file
}

#[test]
fn a_file_has_the_same_verdicts_however_it_and_the_stream_are_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let production = repository().join("resources/production.csv");
    std::fs::write(path("production.jsonl"), json_lines(&production, &["Quantity", "UnitPrice"])).unwrap();
    let pipeline = std::fs::read_to_string(repository().join("resources/pipelines/invoices.toml")).unwrap();
    std::fs::write(path("json.toml"), pipeline.replace("format = \"csv\"", "format = \"json\"")).unwrap();
    let production = production.to_str().unwrap().to_owned();
    let verdicts = |input: &str, pipeline: &str| -> (Vec<String>, usize) {
        let output = path("verdicts.jsonl");
        let run = scorer(&["score", input, "--pipeline", pipeline, "--output", &output, "--device", "cpu"]);
        assert_eq!(run.code, Some(0), "{}", run.stderr);
        let text = std::fs::read_to_string(output).unwrap();
        let (erroneous, verdicts): (Vec<&str>, Vec<&str>) =
            text.lines().partition(|line| line.starts_with("{\"topic\":\"facturas_erroneas\""));
        // Another file has other lines.
        let unplaced = |line: &str| {
            let mut message: serde_json::Value = serde_json::from_str(line).unwrap();
            let fields = message.as_object_mut().unwrap();
            for name in ["id", "source"] {
                fields.shift_remove(name);
            }
            message.to_string()
        };
        (verdicts.into_iter().map(unplaced).collect(), erroneous.len())
    };
    let expected = verdicts(&production, "invoices");
    assert!(expected.0.len() > 1000 && expected.1 > 0, "{} and {}", expected.0.len(), expected.1);
    let format = "format = \"avro\"\nregistry = { url = \"http://nowhere:1\" }";
    std::fs::write(path("avro.toml"), pipeline.replace("format = \"csv\"", format)).unwrap();
    std::fs::write(path("production.avro"), avro(Path::new(&production))).unwrap();
    let lines = json_lines(Path::new(&production), &["Quantity", "UnitPrice"]);
    let lines: Vec<serde_json::Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let array = serde_json::Value::from(lines);
    std::fs::write(path("pretty.json"), serde_json::to_string_pretty(&array).unwrap()).unwrap();
    std::fs::write(path("one-line.json"), array.to_string()).unwrap();
    for (input, pipeline) in [
        (path("pretty.json"), "invoices".to_owned()),
        (path("one-line.json"), path("json.toml")),
        (path("production.jsonl"), "invoices".to_owned()),
        (path("production.jsonl"), path("json.toml")),
        (production.clone(), path("json.toml")),
        (path("production.avro"), "invoices".to_owned()),
        (path("production.avro"), path("avro.toml")),
    ] {
        let found = verdicts(&input, &pipeline);
        assert!(found == expected, "{input} for {pipeline}: {} and {}", found.0.len(), found.1);
    }
}

#[test]
fn a_pipeline_that_needs_no_model_scores_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let pipeline = r#"
        name = "payments"
        input = { topic = "in", columns = ["id", "shop", "amount:float", "at:datetime"], datetime_formats = ["rfc3339"] }
        entity = { key = "id" }
        detectors = [{ name = "zscore", algorithm = "zscore-window", value = "amount", by = "shop", topic = "odd" }]
        outputs.erroneous = "bad"
    "#;
    std::fs::write(path("payments.toml"), pipeline).unwrap();
    let mut lines = "id,shop,amount,at\n".to_owned();
    for index in 0..40 {
        let amount = if index == 17 { 900 } else { 10 + index % 3 };
        lines += &format!("p{index},shop {},{amount},2024-03-01T10:00:{index:02}Z\n", index % 2);
    }
    std::fs::write(path("payments.csv"), lines).unwrap();
    let score = |output: &str, more: &[&str]| {
        let (input, pipeline, output) = (path("payments.csv"), path("payments.toml"), path(output));
        let fixed = ["score", &input, "--pipeline", &pipeline, "--output", &output, "--device", "cpu"];
        let run = scorer(&[&fixed[..], more].concat());
        assert_eq!(run.code, Some(0), "{}", run.stderr);
        assert!(run.stderr.contains("anomalies by zscore"), "{}", run.stderr);
        std::fs::read(output).unwrap()
    };
    let text = String::from_utf8(score("all.jsonl", &[])).unwrap();
    assert_eq!(text.lines().count(), 40);
    let odd = String::from_utf8(score("odd.jsonl", &["--anomalies-only"])).unwrap();
    assert_eq!(odd.lines().count(), 1, "{odd}");
    let verdict: serde_json::Value = serde_json::from_str(&odd).unwrap();
    assert_eq!(
        (&verdict["topic"], &verdict["key"], &verdict["threshold"]),
        (&"odd".into(), &"p17".into(), &3.0.into())
    );
    assert!(verdict.get("p_value").is_none() && verdict.get("cluster").is_none(), "{odd}");
    let names: Vec<&String> = verdict["features"].as_object().unwrap().keys().collect();
    assert_eq!(names, ["value", "mean", "std", "count"]);
    assert_eq!((&verdict["features"]["value"], &verdict["features"]["count"]), (&900.0.into(), &20.into()));
    assert!(score("all.parquet", &[]).starts_with(b"PAR1"));
}

/// Payments, of which the one in row 17 is odd; its shop and amount, and the time as text.
fn odd_payment(row: usize) -> (usize, usize, String) {
    (row % 2, if row == 17 { 900 } else { 10 + row % 3 }, format!("2024-03-01T10:00:{row:02}Z"))
}

/// A pipeline that needs no model, for payments in JSON.
fn payments_pipeline(json: &str, key: &str) -> String {
    format!(
        r#"
        name = "payments"
        entity = {{ {key} }}
        detectors = [{{ name = "zscore", algorithm = "zscore-window", value = "amount", by = "shop", topic = "odd" }}]
        outputs.erroneous = "bad"
        [input]
        format = "json"
        topic = "in"
        columns = ["id", "shop", "amount:float", "at:datetime"]
        datetime_formats = ["rfc3339"]
        [input.json]
        {json}
        "#
    )
}

/// The messages of `scorer score` for a file with these lines, and what it said.
fn scored(pipeline: &str, lines: &str) -> (Vec<serde_json::Value>, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(path("p.toml"), pipeline).unwrap();
    std::fs::write(path("p.jsonl"), lines).unwrap();
    let (input, pipeline, output) = (path("p.jsonl"), path("p.toml"), path("out.jsonl"));
    let run = scorer(&["score", &input, "--pipeline", &pipeline, "--output", &output, "--device", "cpu"]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let text = std::fs::read_to_string(output).unwrap().replace(&path(""), "");
    (text.lines().map(|line| serde_json::from_str(line).unwrap()).collect(), run.stderr)
}

/// Key and score of each verdict.
fn scores(messages: &[serde_json::Value]) -> Vec<(String, String)> {
    let verdicts = messages.iter().filter(|message| message["topic"] == "odd");
    verdicts.map(|verdict| (verdict["key"].as_str().unwrap().to_owned(), verdict["score"].to_string())).collect()
}

/// The number that stands beside this name in the closing table.
fn row_of<'a>(stderr: &'a str, name: &str) -> Option<&'a str> {
    let cells = stderr.lines().map(|line| line.split(['\u{2506}', '\u{2502}']).map(str::trim));
    cells.map(Iterator::collect).find_map(|cells: Vec<&str>| {
        let place = cells.iter().position(|cell| cell.starts_with(name))?;
        cells.get(place + 1).copied()
    })
}

#[test]
fn payments_have_the_same_verdicts_in_every_envelope() {
    let payment = |row: usize| {
        let (shop, amount, at) = odd_payment(row);
        format!(r#"{{"id":"p{row}","at":"{at}","shop":"{shop}","amount":{amount}}}"#)
    };
    let plain: String = (0..40).map(|row| payment(row) + "\n").collect();
    let (messages, _) = scored(&payments_pipeline("", "key = \"id\""), &plain);
    let expected = scores(&messages);
    assert_eq!(expected.len(), 40);

    // Nested, as text, in change events, with deletions and tombstones among them.
    let event = |row: usize| {
        let (shop, amount, at) = odd_payment(row);
        let after =
            format!(r#"{{"id":"p{row}","at":"{at}","merchant":{{"id":{shop}}},"amounts":[{{"value":"{amount}.0"}}]}}"#);
        let event = format!(r#"{{"before":null,"after":{after},"op":"c"}}"#);
        let deleted = format!(r#"{{"before":{after},"after":null,"op":"d"}}"#);
        match row % 3 {
            0 => format!("{event}\n{deleted}\n"),
            1 => format!("{{\"schema\":{{}},\"payload\":{event}}}\n{{\"schema\":null,\"payload\":null}}\n"),
            _ => format!("{event}\n"),
        }
    };
    let settings = "envelope = \"debezium\"\nconvert = [\"amount\"]\n[input.json.paths]\nshop = \"merchant.id\"\namount = \"amounts[0].value\"";
    let (messages, said) =
        scored(&payments_pipeline(settings, "key = \"id\""), &(0..40).map(event).collect::<String>());
    assert_eq!(scores(&messages), expected);
    assert_eq!(messages.len(), 40, "nothing else is published");
    assert_eq!((row_of(&said, "deletions"), row_of(&said, "tombstones")), (Some("14"), Some("13")), "{said}");
    assert_eq!(row_of(&said, "read"), Some("67"), "{said}");

    // Several in a message, whose time stands once.
    let batch = |batch: usize| {
        let items: Vec<String> = (batch * 5..batch * 5 + 5).map(payment).collect();
        format!("{{\"sent\":{{\"by\":\"x\"}},\"items\":[{}]}}\n", items.join(" , "))
    };
    let settings = "records = \"items\"";
    let (messages, said) = scored(&payments_pipeline(settings, "key = \"id\""), &(0..8).map(batch).collect::<String>());
    assert_eq!(scores(&messages), expected);
    assert_eq!(row_of(&said, "read"), Some("40"), "{said}");
}

#[test]
fn each_record_of_a_message_has_its_own_outcome_and_name() {
    let lines = r#"{"to":"a","list":[{"id":"1","at":"2024-03-01T10:00:00Z","shop":"s","amount":1},{"id":"2","amount":"x"},{"id":"1","at":"2024-03-01T10:00:01Z","shop":"s","amount":1}]}
        {"to":"b","list":[]}
        {"to":"c"}
    "#;
    let pipeline = payments_pipeline("records = \"list\"", "key = \"id\"");
    let (messages, said) = scored(&pipeline, lines);
    let bad: Vec<&serde_json::Value> = messages.iter().filter(|message| message["topic"] == "bad").collect();
    let outcomes: Vec<(String, String)> =
        bad.iter().map(|message| (message["source"].to_string(), message["reasons"].to_string())).collect();
    let outcome = |source: &str, reasons: &str| (source.to_owned(), reasons.to_owned());
    assert_eq!(
        outcomes,
        [
            outcome(
                r#"{"file":"p.jsonl","line":1,"item":1}"#,
                r#"["missing_value:shop","not_a_number:amount","missing_value:at"]"#
            ),
            outcome(r#"{"file":"p.jsonl","line":1,"item":2}"#, r#"["duplicate_key"]"#),
            outcome(r#"{"file":"p.jsonl","line":3}"#, r#"["missing_value:list"]"#),
        ]
    );
    assert_eq!((row_of(&said, "read"), row_of(&said, "tombstones")), (Some("5"), Some("1")), "{said}");
    // What it holds of a record alone is a message with that record alone.
    let alone = bad[0]["raw"].as_str().unwrap();
    assert_eq!(alone, r#"{"to":"a","list":[{"id":"2","amount":"x"}]}"#);
    let (again, _) = scored(&pipeline, alone);
    assert_eq!(again[0]["reasons"], bad[0]["reasons"]);

    // Without a key, a record is named by its place: none is a copy.
    let (messages, _) = scored(&payments_pipeline("records = \"list\"", ""), lines);
    let keys: Vec<String> = scores(&messages).into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, ["p.jsonl:1:0", "p.jsonl:1:2"]);
    let (messages, _) = scored(&payments_pipeline("records = \"list\"", "key = [\"shop\", \"id\"]"), lines);
    assert_eq!(scores(&messages)[0].0, "s/1");
}

#[test]
fn records_of_an_array_are_named_by_the_lines_on_which_they_begin() {
    let object = |id: &str, amount: &str| {
        format!("{{\"id\":\"{id}\",\"at\":\"2024-03-01T10:00:00Z\",\n   \"shop\":\"s\",\"amount\":{amount}}}")
    };
    let array = format!(
        "[\n  {},\n  {}, {},\n  7]\n",
        object("1", "1"),
        object("2", "\"x\""),
        object("3", "1").replace('\n', "")
    );
    let (messages, said) = scored(&payments_pipeline("", "key = \"id\""), &array);
    let bad: Vec<String> = messages
        .iter()
        .filter(|message| message["topic"] == "bad")
        .map(|message| format!("{} {}", message["source"], message["reasons"]))
        .collect();
    assert_eq!(
        bad,
        [r#"{"file":"p.jsonl","line":4} ["not_a_number:amount"]"#, r#"{"file":"p.jsonl","line":6} ["not_json"]"#]
    );
    assert_eq!(row_of(&said, "read"), Some("4"), "{said}");
    // Without a key, a record is named by its place.
    let one_line = format!("[{}]", [object("1", "1"), object("1", "1")].join(",").replace('\n', ""));
    let (messages, _) = scored(&payments_pipeline("", ""), &one_line);
    let keys: Vec<String> = scores(&messages).into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, ["p.jsonl:1", "p.jsonl:1:1"]);
}

/// A reader that has gone, as `head` does, has what it wanted.
#[test]
fn nobody_has_to_listen_to_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("verdicts.jsonl");
    let score = ["score", "resources/production.csv", "--output", output.to_str().unwrap()];
    let demo = ["demo", "--rate", "0"];
    for arguments in [&score[..], &demo] {
        let (gone, writer) = std::io::pipe().unwrap();
        drop(gone);
        let status = Command::new(env!("CARGO_BIN_EXE_scorer"))
            .args(arguments)
            .args(["--device", "cpu"])
            .current_dir(repository())
            .stdout(writer.try_clone().unwrap())
            .stderr(writer)
            .status()
            .unwrap();
        assert_eq!(status.code(), Some(0), "{arguments:?}");
    }
    assert!(output.metadata().unwrap().len() > 0);
}

#[test]
fn simulated_transactions_are_the_same_every_time() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, seed: &str| {
        let path = folder.path().join(name);
        let output = path.to_str().unwrap();
        let run = scorer(&["simulate", "transactions", "--count", "2000", "--seed", seed, "--output", output]);
        assert_eq!(run.code, Some(0), "{}", run.stderr);
        assert!(run.stdout.is_empty() && run.stderr.contains("records                        2000"), "{}", run.stderr);
        std::fs::read_to_string(path).unwrap()
    };
    let first = write("a.jsonl", "1");
    assert_eq!(first.lines().count(), 2000);
    assert_eq!(first, write("b.jsonl", "1"));
    assert_ne!(first, write("c.jsonl", "2"));
}

#[test]
fn mistakes_about_transactions_are_named() {
    let cases: [(&[&str], i32, &str); 4] = [
        (&["--scenario", "theft"], 2, "stolen_card, impossible_travel, card_testing, night_activity"),
        (&["--anomaly-rate", "0.9"], 1, "error: the anomaly rate 0.9 cannot be simulated: give a number from 0 to 0.5"),
        (&["--output", "a.txt"], 1, "error: cannot tell the format of a.txt: name it FILE.jsonl"),
        (
            &["--count", "9", "--output", "/dev/full", "--format", "csv"],
            1,
            "error: cannot write /dev/full: No space left",
        ),
    ];
    for (arguments, code, expected) in cases {
        let run = scorer(&[&["simulate", "transactions"], arguments].concat());
        assert_eq!(run.code, Some(code), "{arguments:?}: {}", run.stderr);
        assert!(run.stderr.contains(expected), "{arguments:?}: {}", run.stderr);
    }
}

/// The program with its output in a pipe, and the first line of it.
fn endless(arguments: &[&str]) -> (std::process::Child, BufReader<std::process::ChildStdout>) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_scorer"));
    command.args(["simulate", "transactions"]).args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    assert!(line.starts_with("{\"transaction_id\":"), "{line}");
    (child, output)
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let (child, output) = endless(&[]);
    drop(output);
    let ended = child.wait_with_output().unwrap();
    assert_eq!((ended.status.code(), String::from_utf8_lossy(&ended.stderr).as_ref()), (Some(0), ""));
}

#[test]
fn an_interrupted_stream_ends_with_a_whole_line() {
    let (child, mut output) = endless(&["--rate", "500"]);
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let mut rest = String::new();
    output.read_to_string(&mut rest).unwrap();
    let ended = child.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(0));
    assert!(rest.is_empty() || rest.ends_with("\"}\n"), "{rest}");
    assert!(String::from_utf8_lossy(&ended.stderr).starts_with("records"));
}

#[test]
fn records_are_judged_one_by_one_and_what_becomes_of_them_adds_up() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let pipeline = r#"
        name = "cards"
        input = { topic = "cards", columns = ["id", "at:datetime", "user", "amount:float", "fraud?"], datetime_formats = ["rfc3339"] }
        label = { column = "fraud" }
        entity = { key = "id", clock = "at", customer = "user" }
        features = { Amount = "amount", Ratio = "ratio(amount) by user over 1d" }
        detectors = [{ name = "kmeans", algorithm = "kmeans", scaling = "none", k = 1, threshold = { top = 1 }, topic = "odd" }]
        outputs = { erroneous = "bad" }
    "#;
    std::fs::write(path("cards.toml"), pipeline).unwrap();
    // One cluster where amounts are 10 and like the user's others; odd is what is further than 2 from that.
    let model = std::fs::read_to_string(repository().join("models/invoices/kmeans/model.json")).unwrap();
    let mut model: serde_json::Value = serde_json::from_str(&model).unwrap();
    model["pipeline"] = "cards".into();
    let meaning = shared::pipeline::Pipeline::parse(pipeline, "cards").unwrap().meaning;
    model["definition"] = serde_json::to_value(meaning).unwrap();
    model["features"] = serde_json::json!(["Amount", "Ratio"]);
    model["scaler"] = serde_json::json!({ "method": "none", "center": [10.0, 1.0], "scale": [1.0, 1.0] });
    model["typical"] = serde_json::json!([10.0, 1.0]);
    model["usual"] = serde_json::json!([[9.0, 11.0], [0.9, 1.1]]);
    let clusters = serde_json::json!({ "centroids": [{ "center": [0.0, 0.0], "size": 1 }] });
    model["learned"] = serde_json::json!({ "kmeans": { "partition": clusters, "inertia_by_k": [] } });
    model["threshold"]["value"] = 4.0.into();
    model["profile"] = serde_json::Value::Null;
    std::fs::create_dir_all(path("models/cards/kmeans")).unwrap();
    std::fs::write(path("models/cards/kmeans/model.json"), model.to_string()).unwrap();
    let records = "id,at,user,amount,fraud\n\
        1,2020-01-01T10:00:00Z,ann,10,0\n\
        2,2020-01-01T10:01:00Z,bob,11,\n\
        3,2020-01-01T10:02:00Z,ann,90,stolen\n\
        3,2020-01-01T10:02:00Z,ann,90,stolen\n\
        4,2020-01-01T09:00:00Z,bob,9,\n\
        5,2019-11-01T09:00:00Z,bob,9,\n\
        6,yesterday,bob,9,\n\
        7,2020-01-01T10:03:00Z,bob,11,lost\n\
        8,2020-01-01T10:04:00Z,cy,20,normal\n";
    std::fs::write(path("records.csv"), records).unwrap();
    let run = scorer(&[
        "score",
        &path("records.csv"),
        "--pipeline",
        &path("cards.toml"),
        "--models",
        &path("models"),
        "--device",
        "cpu",
        "--anomalies-only",
    ]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let lines: Vec<serde_json::Value> = run.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |topic: &str, key: &str| -> Vec<String> {
        lines.iter().filter(|line| line["topic"] == topic).map(|line| line[key].to_string()).collect()
    };
    assert_eq!(of("odd", "key"), [r#""3""#, r#""8""#]);
    assert_eq!(of("bad", "reasons"), [r#"["duplicate_key"]"#, r#"["too_old:at"]"#, r#"["not_a_datetime:at"]"#]);
    let third = lines.iter().find(|line| line["key"] == "3").unwrap();
    assert_eq!((&third["features"]["Ratio"], &third["customer_id"]), (&9.0.into(), &"ann".into()));
    let table: String = run
        .stderr
        .lines()
        .filter(|line| !line.contains(" in ") && !line.starts_with("device"))
        .map(|line| format!("{line}\n"))
        .collect();
    insta::assert_snapshot!(table, @r"
    ┌───────────────────┬───┬─────────────────────┬───┐
    │ records           ┆   ┆ results             ┆   │
    ╞═══════════════════╪═══╪═════════════════════╪═══╡
    │ read              ┆ 9 ┆ records judged      ┆ 6 │
    │   judged          ┆ 6 ┆ anomalies by kmeans ┆ 2 │
    │   malformed       ┆ 1 ┆ erroneous records   ┆ 3 │
    │   duplicates      ┆ 1 ┆ messages published  ┆ 5 │
    │   too old         ┆ 1 ┆                     ┆   │
    │   from the future ┆ 0 ┆                     ┆   │
    │ (out of order)    ┆ 1 ┆                     ┆   │
    └───────────────────┴───┴─────────────────────┴───┘
    ┌───────────┬────────┬────────────┐
    │ label     ┆ judged ┆     kmeans │
    ╞═══════════╪════════╪════════════╡
    │ lost      ┆      1 ┆   0 (0.0%) │
    │ stolen    ┆      1 ┆ 1 (100.0%) │
    │ normal    ┆      4 ┆  1 (25.0%) │
    │ recall    ┆        ┆      50.0% │
    │ precision ┆        ┆      50.0% │
    └───────────┴────────┴────────────┘
    kmeans: drift is not watched, because an earlier trainer wrote its model; train it again.
    The worst anomalies:
      critical  3  Amount 90, 9 times the usual 10 (usual 9 to 11)
      critical  8  Amount 20, 2 times the usual 10 (usual 9 to 11)
    ");
}

/// What a terminal would obey: it clears the screen, in seven bits, in eight, and turns the line round.
const ESCAPES: &str = "\u{1b}[2J\u{9b}2J\u{202e}\u{7}";

/// Fails where a character other than a line break or a tab does something.
fn assert_harmless(what: &str, text: &str) {
    let harmful = text.char_indices().find(|(_, c)| (c.is_control() && !matches!(c, '\n' | '\t')) || *c == '\u{202e}');
    if let Some((at, _)) = harmful {
        let near: String = text[at..].chars().take(40).collect();
        panic!("{what} prints {near:?}");
    }
}

#[test]
fn nothing_of_a_record_reaches_a_terminal_that_obeys_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let write = |name: &str, text: &str| std::fs::write(path(name), text).unwrap();
    let e = ESCAPES;
    let line = |number: usize| {
        let quantity = if number.is_multiple_of(10) { 90_000 } else { 1 + number % 7 };
        let (hour, minute) = (8 + number / 60, number % 60);
        format!("K{e}{number},S{e},D{e},{quantity},9/1/2010 {hour}:{minute:02},1.5,C{e},France{e}\n")
    };
    let header = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country";
    write("e.csv", &format!("{header}\n{}bad{e},line\n", (0..200).map(line).collect::<String>()));
    write("header.csv", &format!("a{e},Country\n1,2\n"));
    let labels: String = (0..200).map(|number| format!("K{e}{number},odd{e}\n")).collect();
    write("labels.csv", &format!("InvoiceNo,label\n{labels}"));
    let payment = |number: usize| {
        let (amount, minute, second) = (if number.is_multiple_of(10) { 9e6 } else { 5.0 }, number / 60, number % 60);
        let escaped = serde_json::to_string(&format!("x{e}")).unwrap();
        let key = serde_json::to_string(&format!("k{e}{number}")).unwrap();
        format!(
            "{{\"transaction_id\":{key},\"user_id\":{escaped},\"merchant_id\":{escaped},\"amount\":{amount},\"currency\":\
             \"EUR\",\"timestamp\":\"2026-05-01T10:{minute:02}:{second:02}Z\",\"label\":{escaped}}}\n"
        )
    };
    write("e.jsonl", &(0..200).map(payment).collect::<String>());
    let (csv, header, labels, json) = (path("e.csv"), path("header.csv"), path("labels.csv"), path("e.jsonl"));
    let (verdicts, parquet, others) = (path("v.jsonl"), path("v.parquet"), path("t.jsonl"));
    let verdict = |(detector, is_anomalous): (&str, bool)| {
        let feature = serde_json::json!({ format!("F{e}"): 1.0 });
        let verdict = serde_json::json!({
            "pipeline": "invoices", "key": format!("K{e}"), "detector": detector, "model_version": format!("v{e}"),
            "anomalous": is_anomalous, "score": 9.0, "threshold": 1.0, "features": feature, "contributions": feature,
            "lines": 1, "first_timestamp": "2010-09-01T09:22:00Z", "last_timestamp": "2010-09-01T09:22:00Z",
        });
        format!("{verdict}\n")
    };
    let disagreeing = path("d.jsonl");
    write("d.jsonl", &[("kmeans", true), ("bisecting-kmeans", false)].map(verdict).concat());
    // Whether a key is to be seen, escaped.
    let cases: [(&[&str], bool); 11] = [
        (&["score", &csv, "--output", &verdicts], false),
        (&["score", &csv, "--output", &parquet], false),
        (&["score", &json, "--pipeline", "transactions", "--output", &others], true),
        (&["score", &header], true),
        (&["ab", "--input", &csv], false),
        (&["ab", "--input", &disagreeing], true),
        (&["ab", "--input", &verdicts, "--labels", &labels], false),
        (&["ab", "--input", &parquet], false),
        (&["ab", "--input", &csv, "--labels", &header], true),
        (&["ab", "--input", &csv, "--json"], false),
        (&["demo", "--input", &csv, "--rate", "0"], true),
    ];
    for (arguments, is_shown) in cases {
        let run = scorer(&[arguments, &["--device", "cpu"]].concat());
        assert!(matches!(run.code, Some(0 | 1)), "{arguments:?}: {}", run.stderr);
        let text = run.stdout + &run.stderr;
        assert_harmless(&arguments.join(" "), &text);
        assert!(!is_shown || text.contains("\\u{1b}[2J"), "{arguments:?} shows it escaped: {text}");
    }
    let lines = scorer(&["score", &csv, "--output", "-", "--device", "cpu"]).stdout;
    assert!(lines.contains("K\\u001b[2J") && lines.chars().all(|c| c >= ' ' || c == '\n'), "JSON escapes them");
}

/// Models of two trainings, as a training leaves them that is killed between two files.
#[test]
fn models_of_different_trainings_are_said_to_be() {
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (repository().join("models/invoices"), folder.path().join("invoices"));
    for name in ["kmeans/model.json", "bisecting-kmeans/model.json", "reports/training.json"] {
        std::fs::create_dir_all(to.join(name).parent().unwrap()).unwrap();
        std::fs::copy(from.join(name), to.join(name)).unwrap();
    }
    let output = folder.path().join("v.jsonl");
    let score = || {
        let (models, output) = (folder.path().to_str().unwrap(), output.to_str().unwrap());
        let run =
            scorer(&["score", "resources/production.csv", "--models", models, "--output", output, "--device", "cpu"]);
        assert_eq!(run.code, Some(0), "{}", run.stderr);
        run.stderr
    };
    assert!(!score().contains("trainings"));
    let path = to.join("bisecting-kmeans/model.json");
    let model = std::fs::read_to_string(&path).unwrap();
    let other = model.replace("\"seed\": 42", "\"seed\": 43");
    assert_ne!(other, model);
    std::fs::write(&path, other).unwrap();
    let said = score();
    let expected =
        "the models of pipeline `invoices` are of different trainings: `bisecting-kmeans` is not of the last one";
    assert!(said.contains(expected), "{said}");
}

/// A file that ends in the middle leaves the results of an earlier one, and nothing half-written beside them.
#[test]
fn results_are_there_whole_or_not_at_all() {
    use std::io::Write;
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("cut.csv.gz");
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packer.write_all(&std::fs::read(repository().join("resources/production.csv")).unwrap()).unwrap();
    let whole = packer.finish().unwrap();
    for name in ["v.jsonl", "v.parquet", "v.csv"] {
        let output = folder.path().join(name);
        let score =
            || scorer(&["score", input.to_str().unwrap(), "--output", output.to_str().unwrap(), "--device", "cpu"]);
        std::fs::write(&input, &whole).unwrap();
        assert_eq!(score().code, Some(0));
        let before = std::fs::read(&output).unwrap();
        assert!(before.len() > 10_000);
        std::fs::write(&input, &whole[..whole.len() - 100]).unwrap();
        let run = score();
        assert_eq!((run.code, run.stderr.lines().count()), (Some(1), 1), "{}", run.stderr);
        assert!(run.stderr.starts_with("error: cannot read ") && run.stderr.contains("cut.csv.gz"), "{}", run.stderr);
        assert!(std::fs::read(&output).unwrap() == before, "{name} is as it was");
    }
    let mut names: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["cut.csv.gz", "v.csv", "v.jsonl", "v.parquet"]);
}
