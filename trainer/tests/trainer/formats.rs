//! Lines are the same lines in whatever file they come.

use std::io::Write;
use std::sync::Arc;

use flate2::Compression;
use flate2::write::GzEncoder;
use polars::prelude::*;
use shared::pipeline::Pipeline;
use trainer::load::{LoadError, Loaded, load};
use trainer::progress::Progress;

use crate::fixtures::{Workplace, csv, invoices};

fn loaded(workplace: &Workplace, names: &[&str]) -> Result<Loaded, LoadError> {
    let pipeline = Arc::new(Pipeline::load("invoices").unwrap());
    let files: Vec<_> = names.iter().map(|name| workplace.path(name)).collect();
    load(&pipeline, &files, Progress { quiet: true }, &mut |_, _| Ok(()))
}

fn bad_rows(loaded: &Loaded) -> Vec<String> {
    loaded
        .bad_rows
        .by_frequency()
        .iter()
        .map(|(reason, bad)| format!("{reason} {} {}", bad.count, bad.first.number))
        .collect()
}

#[test]
fn csv_json_gzip_avro_and_parquet_give_the_same_model() {
    let workplace = Workplace::with_history(&invoices(80));
    workplace.write("history.csv.gz", &gzip(&csv(&invoices(80))));
    workplace.write("history.jsonl", &json_lines(80));
    workplace.write("history.ndjson.gz", &gzip(&json_lines(80)));
    parquet(&workplace, "history.parquet", frame(80));
    let lines = String::from_utf8(json_lines(80)).unwrap();
    let objects: Vec<&str> = lines.lines().filter(|line| !line.is_empty()).collect();
    workplace
        .write("history.json", format!("[\n  {}\n]\n", objects.join(",\n\n  ").replace(", ", ",\n    ")).as_bytes());
    workplace.write("one-line.json.gz", &gzip(format!("[{}]", objects.join(",").replace('\r', "")).as_bytes()));
    workplace.write("history.avro", &avro(80));
    workplace.write("history.avro.gz", &gzip(&avro(80)));
    let inputs = [
        "history.csv",
        "history.csv.gz",
        "history.parquet",
        "history.jsonl",
        "history.ndjson.gz",
        "history.json",
        "one-line.json.gz",
        "history.avro",
        "history.avro.gz",
    ];
    let models = inputs.map(|input| {
        let run = workplace.train(input, &[]);
        assert_eq!(run.code, Some(0), "{input}: {run:?}");
        (workplace.model("kmeans"), workplace.model("bisecting-kmeans"))
    });
    for (input, model) in inputs.iter().zip(&models) {
        assert_eq!(*model, models[0], "{input}");
    }
}

/// The lines of the history in change events, several in an array, with texts for numbers.
#[test]
fn json_however_deep_gives_the_same_model() {
    let workplace = Workplace::with_history(&invoices(80));
    assert_eq!(workplace.train("history.csv", &[]).code, Some(0));
    let expected = workplace.model("kmeans");
    let lines: Vec<String> = String::from_utf8(json_lines(80)).unwrap().lines().map(str::to_owned).collect();
    let lines: Vec<String> = lines
        .into_iter()
        .filter(|line| !line.is_empty())
        .map(|line| {
            let (front, price) = line.split_once("\"Price\": ").unwrap();
            let (price, rest) = price.split_once(',').unwrap();
            format!("{front}\"sold\": {{\"for\": [\"{price}\"]}},{rest}")
        })
        .collect();
    let events: String = lines
        .chunks(3)
        .map(|lines| {
            let rows = lines.join(",");
            format!("{{\"op\":\"c\",\"after\":{{\"rows\":[{rows}]}}}}\n{{\"op\":\"d\",\"before\":{{}}}}\n")
        })
        .collect();
    workplace.write("history.jsonl", events.as_bytes());
    let shipped =
        include_str!("../../../resources/pipelines/invoices.toml").replace("format = \"csv\"", "format = \"json\"");
    let json = "[input.json]\nenvelope = \"debezium\"\nrecords = \"rows\"\nconvert = [\"UnitPrice\"]\n[input.json.paths]\nUnitPrice = \"sold.for[0]\"\n[input.aliases]";
    workplace.write("nested.toml", shipped.replace("[input.aliases]", json).as_bytes());
    let run = workplace.train("history.jsonl", &["--pipeline", "nested.toml"]);
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(run.stdout.contains("deletions, tombstones and empty arrays"), "{}", run.stdout);
    assert_eq!(workplace.model("kmeans"), expected);
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// The lines of the history as objects, under aliases and in another order; the first number as a number.
fn json_lines(n: usize) -> Vec<u8> {
    let object = |line: &str| {
        let row: Vec<&str> = line.rsplitn(6, ',').collect();
        let (number, _) = line.split_once(',').unwrap();
        format!(
            "{{\"Price\": {}, \"Invoice\": {number}, \"Quantity\": {}, \"Customer ID\": {:?}, \"Country\": {:?}, \
             \"InvoiceDate\": {:?}, \"more\": [{{\"Country\": 1}}]}}\r\n\n",
            row[2], row[4], row[1], row[0], row[3]
        )
    };
    invoices(n).lines().map(object).collect::<String>().into_bytes()
}

/// The lines of the history as records of Avro, in blocks of seven: a union, a date with milliseconds, a decimal as price.
fn avro(n: usize) -> Vec<u8> {
    const SCHEMA: &str = r#"{"type":"record","name":"Line","fields":[
        {"name":"Price","type":{"type":"bytes","logicalType":"decimal","precision":9,"scale":3}},
        {"name":"Invoice","type":"long"},{"name":"Quantity","type":["null","int"]},{"name":"more","type":{"type":"array","items":"string"}},
        {"name":"CustomerID","type":"string"},{"name":"Country","type":{"type":"enum","name":"Country","symbols":["Spain","France"]}},
        {"name":"InvoiceDate","type":{"type":"long","logicalType":"timestamp-millis"}}]}"#;
    let long = |number: i64| {
        let (mut bytes, mut rest) = (Vec::new(), ((number << 1) ^ (number >> 63)) as u64);
        while rest >= 0x80 {
            bytes.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        bytes.push(rest as u8);
        bytes
    };
    let bytes = |bytes: &[u8]| [long(bytes.len() as i64), bytes.to_vec()].concat();
    let record = |line: &str| {
        let row: Vec<&str> = line.rsplitn(6, ',').collect();
        let (number, _) = line.split_once(',').unwrap();
        let price = (row[2].parse::<f64>().unwrap() * 1e3) as i32;
        let (quantity, more) =
            ([long(1), long(row[4].parse().unwrap())].concat(), [long(1), bytes(b"x"), long(0)].concat());
        let head = [bytes(&price.to_be_bytes()), long(number.parse().unwrap()), quantity, more].concat();
        [head, bytes(row[1].as_bytes()), long(1), long(microseconds(row[3]) / 1000)].concat()
    };
    let records: Vec<Vec<u8>> = invoices(n).lines().map(record).collect();
    let sync = [7; 16];
    let mut file =
        [b"Obj\x01", &long(1)[..], &bytes(b"avro.schema"), &bytes(SCHEMA.as_bytes()), &long(0), &sync].concat();
    for block in records.chunks(7) {
        file.extend([&long(block.len() as i64)[..], &bytes(&block.concat()), &sync].concat());
    }
    file
}

/// A broken file is one sentence that says how far it could be read, and one of another kind says what it is.
#[test]
fn a_broken_file_of_avro_is_one_sentence() {
    let workplace = Workplace::new();
    let whole = avro(20);
    workplace.write("torn.avro", &whole[..whole.len() - 20]);
    let sentence = "torn.avro: it is damaged after record 35: the file ends within a block";
    workplace.assert_refused("torn.avro", &[], sentence);
    workplace.write("text.avro", &csv(&invoices(20)));
    workplace.assert_refused("text.avro", &[], "text.avro: it does not begin as an Avro file does");
    workplace.write("history.csv", &whole);
    workplace.assert_refused("history.csv", &[], "history.csv is an Avro file: give it a name that ends in .avro");
}

/// The lines of the history as a Polars user would have them: typed, a customer number with gaps, microseconds.
fn frame(n: usize) -> DataFrame {
    let text = invoices(n);
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.rsplitn(6, ',').collect()).collect();
    let dates: Vec<i64> = rows.iter().map(|row| microseconds(row[3])).collect();
    let front = |line: &str| line.split_once(',').map(|(number, _)| number.to_owned()).unwrap();
    DataFrame::new_infer_height(vec![
        Column::new("Country".into(), rows.iter().map(|row| row[0]).collect::<Vec<_>>()),
        Column::new("Customer ID".into(), rows.iter().map(|row| row[1][1..].parse::<f64>().ok()).collect::<Vec<_>>()),
        Column::new("Price".into(), rows.iter().map(|row| row[2].parse::<f64>().unwrap()).collect::<Vec<_>>()),
        Column::new("InvoiceDate".into(), dates).cast(&DataType::Datetime(TimeUnit::Microseconds, None)).unwrap(),
        Column::new("Quantity".into(), rows.iter().map(|row| row[4].parse::<i32>().unwrap()).collect::<Vec<_>>()),
        Column::new(
            "Invoice".into(),
            text.lines().map(front).map(|number| number.parse::<i64>().unwrap()).collect::<Vec<_>>(),
        ),
    ])
    .unwrap()
}

fn microseconds(date: &str) -> i64 {
    let mut parser =
        shared::time::DatetimeParser::new(shared::time::DatetimeFormats::read(&["%m/%d/%Y %H:%M"], None).unwrap());
    parser.parse(date).unwrap() * 1000
}

fn parquet(workplace: &Workplace, name: &str, mut frame: DataFrame) {
    let file = std::fs::File::create(workplace.path(name)).unwrap();
    ParquetWriter::new(file).finish(&mut frame).unwrap();
}

#[test]
fn parquet_values_are_under_the_rules_of_the_pipeline() {
    let workplace = Workplace::new();
    let frame = DataFrame::new_infer_height(vec![
        Column::new("InvoiceNo".into(), [Some("1"), Some("2"), Some("3"), Some("4"), Some("  "), Some("6"), Some("7")]),
        Column::new("Quantity".into(), [Some(1.0), Some(1.5), None, Some(4.0), Some(5.0), Some(6.0), Some(7.0)]),
        Column::new("UnitPrice".into(), [1.0, 1.0, 1.0, f64::NAN, 1.0, -1.0, 2.0]),
        Column::new("InvoiceDate".into(), ["3/1/2010 8:00", "", "", "", "", "", "2/30/2010 8:00"]),
        Column::new("CustomerID".into(), [Some("c"), None, None, None, None, None, None]),
        Column::new("Country".into(), ["UK"; 7]),
    ])
    .unwrap();
    parquet(&workplace, "history.parquet", frame);
    let loaded = loaded(&workplace, &["history.parquet"]).unwrap();
    assert_eq!((loaded.rows_read, loaded.n_lines), (7, 1));
    let expected = [
        "missing_value:InvoiceNo 1 5",
        "missing_value:Quantity 1 3",
        "not_an_integer:Quantity 1 2",
        "not_finite:UnitPrice 1 4",
        "not_a_datetime:InvoiceDate 1 7",
        "out_of_range:UnitPrice 1 6",
    ];
    assert_eq!(bad_rows(&loaded), expected);
}

#[test]
fn rows_of_a_parquet_file_are_counted_through_its_row_groups() {
    let workplace = Workplace::new();
    let numbers: Vec<Option<i64>> = (0..1000).map(|row| (row % 100 != 99).then_some(row)).collect();
    let mut frame = DataFrame::new_infer_height(vec![
        Column::new("InvoiceNo".into(), numbers),
        Column::new("Quantity".into(), vec![1i64; 1000]),
        Column::new("UnitPrice".into(), vec![1.0; 1000]),
        Column::new("InvoiceDate".into(), vec!["3/1/2010 8:00"; 1000]),
        Column::new("CustomerID".into(), vec!["c"; 1000]),
        Column::new("Country".into(), (0..1000).map(|row| if row < 500 { "UK" } else { "FR" }).collect::<Vec<_>>()),
    ])
    .unwrap();
    let file = std::fs::File::create(workplace.path("groups.parquet")).unwrap();
    ParquetWriter::new(file).with_row_group_size(Some(64)).finish(&mut frame).unwrap();
    let pipeline = Arc::new(Pipeline::load("invoices").unwrap());
    let mut keys = Vec::new();
    let loaded = load(&pipeline, &[workplace.path("groups.parquet")], Progress { quiet: true }, &mut |lines, _| {
        let column = lines.column("InvoiceNo")?.str()?.clone();
        keys.extend(column.iter().map(|key| key.unwrap().parse::<i64>().unwrap()));
        Ok(())
    })
    .unwrap();
    assert_eq!((loaded.rows_read, bad_rows(&loaded)), (1000, vec!["missing_value:InvoiceNo 10 100".to_owned()]));
    assert_eq!(keys, (0..1000).filter(|row| row % 100 != 99).collect::<Vec<i64>>());
}

#[test]
fn a_parquet_column_of_another_type_is_named() {
    let workplace = Workplace::new();
    let mut wrong = frame(10);
    wrong.replace("Price", Column::new("Price".into(), [&b"x"[..]; 20])).unwrap();
    parquet(&workplace, "wrong.parquet", wrong);
    let error = loaded(&workplace, &["wrong.parquet"]).unwrap_err().to_string();
    let wanted = "wrong.parquet: column `Price` is of type BinaryView, but the pipeline file declares it as float: \
        a number, a decimal, a time of day or a boolean would be right";
    assert!(error.ends_with(wanted), "{error}");
    let error = {
        parquet(&workplace, "few.parquet", frame(10).select(["Invoice", "Price", "Country"]).unwrap());
        loaded(&workplace, &["few.parquet"]).unwrap_err().to_string()
    };
    assert!(
        error.contains("the columns `Quantity`, `InvoiceDate`, `CustomerID` are missing; the columns found are"),
        "{error}"
    );
}

#[test]
fn a_file_that_is_not_utf8_throughout_loses_only_those_lines() {
    let workplace = Workplace::new();
    let mut bytes = csv("1,s,a,1,3/1/2010 8:00,1,c,UK\n");
    bytes.extend(b"2,s,CAF\xC9 SET,1,3/1/2010 8:00,1,c,CURA\xC7AO\n3,s,CAF\xC9,1,3/1/2010 8:00,1,c,UK\n");
    workplace.write("latin1.csv", &bytes);
    let loaded = loaded(&workplace, &["latin1.csv"]).unwrap();
    assert_eq!((loaded.rows_read, loaded.n_lines), (3, 2));
    // Nothing reads the description.
    assert_eq!(bad_rows(&loaded), ["invalid_utf8:Country 1 3"]);
}

#[test]
fn quoted_fields_headers_in_between_and_odd_rows() {
    let workplace = Workplace::new();
    let lines = "1,s,\"LAMP, \"\"RED\"\"\nTALL\",1,3/1/2010 8:00,1,c,UK\r\n\
        InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n\n1,s,d\n\
        1,s,d,1,3/1/2010 8:00,inf,c,UK\n1,s,d,1,3/1/2010 8:00,1e999,c,UK\n1,s,d,1,3/1/2010 8:00,1,c,UK,more\n";
    workplace.write("history.csv", &csv(lines));
    let loaded = loaded(&workplace, &["history.csv"]).unwrap();
    assert_eq!(loaded.rows_read, 6);
    assert_eq!(
        bad_rows(&loaded),
        ["not_finite:UnitPrice 2 7", "too_few_fields 1 6", "too_many_fields 1 9", "header_line 1 4"]
    );
}

#[test]
fn several_files_are_one_history() {
    let text = invoices(80);
    let middle = text.match_indices('\n').nth(80).unwrap().0 + 1;
    let workplace = Workplace::with_history(&text);
    std::fs::create_dir(workplace.path("parts")).unwrap();
    workplace.write("parts/a.csv", &csv(&text[..middle]));
    workplace.write("parts/b.csv", &csv(&text[middle..]));
    let models = ["history.csv", "parts/*.csv"].map(|input| {
        let run = workplace.train(input, &[]);
        assert_eq!(run.code, Some(0), "{run:?}");
        workplace.model("kmeans")
    });
    assert_eq!(models[0], models[1]);
}

/// Payments in several currencies, some of which may not say where they were made.
const PAYMENTS: &str = r#"
    name = "payments"
    [input]
    format = "FORMAT"
    topic = "payments"
    columns = ["id", "amount:float", "currency?", "latitude:float?", "at:datetime", "label?"]
    datetime_formats = ["rfc3339"]
    [input.ranges]
    amount = { above = 0.0 }
    [currency]
    column = "currency"
    amount = "amount"
    base = "EUR"
    rates = { USD = 0.5 }
    [label]
    column = "label"
    [entity]
    key = "id"
    session_gap = "1s"
    [features]
    Amount = "sum(amount)"
    [[detectors]]
    name = "kmeans"
    algorithm = "kmeans"
    topic = "anomalies"
    [outputs]
    erroneous = "erroneous"
"#;

/// The amounts and the reasons that a file of payments gives, where its stream is of this format.
fn payments(workplace: &Workplace, name: &str, format: &str) -> (Vec<f64>, Vec<String>) {
    let pipeline = Arc::new(Pipeline::parse(&PAYMENTS.replace("FORMAT", format), "test.toml").unwrap());
    let mut amounts = Vec::new();
    let loaded = load(&pipeline, &[workplace.path(name)], Progress { quiet: true }, &mut |lines, _| {
        amounts.extend(lines.column("amount")?.f64()?.iter().flatten());
        Ok(())
    });
    (amounts, bad_rows(&loaded.unwrap()))
}

#[test]
fn lines_are_the_same_in_every_file_and_whatever_the_stream_is() {
    let workplace = Workplace::new();
    let (amounts, currencies) =
        ([3.0, 3.0, 3.0, 0.0, 3.0, 0.1], [Some("USD"), Some("EUR"), None, None, Some("usd"), None]);
    let at = "2026-03-01T10:00:00Z";
    let mut frame = DataFrame::new_infer_height(vec![
        Column::new("id".into(), (1i64..7).collect::<Vec<_>>()),
        Column::new("amount".into(), amounts),
        Column::new("currency".into(), currencies),
        Column::new("at".into(), [at; 6]),
    ])
    .unwrap();
    let rows: Vec<_> = (1..7).zip(amounts).zip(currencies).collect();
    let csv: String = rows
        .iter()
        .map(|((id, amount), currency)| format!("{at},{},{amount},{id}\n", currency.unwrap_or_default()))
        .collect();
    let json: String = rows
        .iter()
        .map(|((id, amount), currency)| {
            let currency = currency.map_or(String::new(), |name| format!(",\"currency\":{name:?}"));
            format!("{{\"at\":{at:?},\"amount\":{amount},\"id\":{id}{currency}}}\n")
        })
        .collect();
    workplace.write("payments.csv", format!("at,currency,amount,id\n{csv}").as_bytes());
    workplace.write("payments.jsonl", json.as_bytes());
    workplace.write("payments.json", json.trim_end().as_bytes());
    parquet(&workplace, "payments.parquet", frame.clone());
    frame = frame.drop("currency").unwrap();
    parquet(&workplace, "euros.parquet", frame);
    for format in ["csv", "json"] {
        for (name, first) in [("payments.csv", 2), ("payments.jsonl", 1), ("payments.json", 1), ("payments.parquet", 1)]
        {
            let (amounts, reasons) = payments(&workplace, name, format);
            assert_eq!(amounts, [1.5, 3.0, 3.0, 0.1], "{name}");
            let expected =
                [format!("out_of_range:amount 1 {}", first + 3), format!("unknown_currency:currency 1 {}", first + 4)];
            assert_eq!(reasons.iter().collect::<std::collections::BTreeSet<_>>(), expected.iter().collect(), "{name}");
        }
        assert_eq!(payments(&workplace, "euros.parquet", format).0, [3.0, 3.0, 3.0, 3.0, 0.1]);
    }
    workplace.write("payments.txt", json.as_bytes());
    assert_eq!(payments(&workplace, "payments.txt", "json").0, [1.5, 3.0, 3.0, 0.1], "as the stream");
}

#[test]
fn odd_lines_of_json_are_counted_by_their_line() {
    let workplace = Workplace::new();
    let line = |more: &str| format!("{{\"id\":\"1\",\"amount\":2{more}}}");
    let deep = line(&format!(",\"x\":{}{}", "[".repeat(10_000), "]".repeat(10_000)));
    let large = line(&format!(",\"x\":\"{}\"", "x".repeat(1 << 20)));
    let lines = [
        "\u{feff}".to_owned() + &line(""),
        String::new(),
        deep,
        large,
        line(",\"id\":1"),
        "id,amount".to_owned(),
        "  ".to_owned(),
        line(",\"amount\":2").replace("\"amount\":2,", ""),
        line("")[..9].to_owned(),
    ];
    workplace.write("payments.jsonl", lines.join("\r\n").as_bytes());
    let (amounts, reasons) = payments(&workplace, "payments.jsonl", "json");
    assert_eq!(amounts, [2.0, 2.0]);
    assert_eq!(reasons, ["not_json 2 6", "record_too_large 1 4", "nested_too_deep 1 3", "duplicate_field:id 1 5"]);
}

/// Whatever byte of what a file says of itself is another one, and wherever it ends: it is read, or refused in one sentence.
#[test]
fn a_damaged_parquet_file_is_read_or_refused() {
    let workplace = Workplace::new();
    let mut rows = frame(80);
    let file = std::fs::File::create(workplace.path("history.parquet")).unwrap();
    ParquetWriter::new(file).with_row_group_size(Some(50)).finish(&mut rows).unwrap();
    let whole = std::fs::read(workplace.path("history.parquet")).unwrap();
    let read = |bytes: &[u8]| {
        workplace.write("damaged.parquet", bytes);
        loaded(&workplace, &["damaged.parquet"]).map_err(|error| error.to_string())
    };
    assert!(read(&whole).is_ok());
    let footer = whole.len() - 8 - u32::from_le_bytes(whole[whole.len() - 8..][..4].try_into().unwrap()) as usize;
    let mut refused = 0;
    for place in footer..whole.len() {
        for value in [0, 0x7f, 0xff, whole[place] ^ 0x10] {
            let mut damaged = whole.clone();
            damaged[place] = value;
            if let Err(error) = read(&damaged) {
                refused += 1;
                assert_eq!(error.lines().count(), 1, "byte {place} = {value}: {error}");
                assert!(error.contains("damaged.parquet"), "byte {place} = {value}: {error}");
            }
        }
    }
    assert!(refused > 100, "{refused}");
    for length in (0..whole.len()).step_by(13) {
        assert!(read(&whole[..length]).is_err(), "{length} bytes");
    }
}
