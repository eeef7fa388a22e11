//! `trainer init` on the layouts that people have: what it tells, and that what it writes can be trained.

use std::fs;
use std::path::PathBuf;

use clap::Parser;
use flate2::write::GzEncoder;
use polars::prelude::*;
use shared::pipeline::{Pipeline, Scored};
use trainer::args::Args;
use trainer::init::{InitArgs, init};

use crate::fixtures::Workplace;
use crate::layouts::{self, LINES, RETAIL, invoice_line, month_and_day, payment, retail, rows, us};

/// What was told of a file.
struct Told {
    pipeline: Pipeline,
    text: String,
    doubts: Vec<String>,
    writing: String,
}

impl Told {
    /// Key, time, customer and features; a label, where there is one.
    fn roles(&self) -> String {
        let name = |index: usize| self.pipeline.schema.columns[index].name.as_str();
        let entity = &self.pipeline.entity;
        let shape = if matches!(self.pipeline.scored, Scored::Sessions(_)) { "sessions" } else { "records" };
        let time = entity.event_time.map_or("-", name);
        let customer = entity.customer.map_or("-", name);
        let label = self.pipeline.label.as_ref().and_then(|label| label.column).map_or("-", name);
        format!(
            "{shape} {} at {time} of {customer} known {label}: {}",
            name(entity.key),
            self.pipeline.feature_names().join(" ")
        )
    }

    fn doubts(&self, part: &str) -> bool {
        self.doubts.iter().any(|doubt| doubt.contains(part))
    }
}

fn arguments(file: PathBuf, output: PathBuf) -> InitArgs {
    InitArgs { file, kafka: None, name: None, output: Some(output), force: false }
}

/// Tells what a file is, trains the pipeline on the same file, and scores nothing else than it has.
fn told(name: &str, bytes: &[u8]) -> Told {
    let workplace = Workplace::new();
    workplace.write(name, bytes);
    told_in(&workplace, name)
}

fn told_in(workplace: &Workplace, name: &str) -> Told {
    let (file, output, models) = (workplace.path(name), workplace.path("my.toml"), workplace.path("models"));
    let initialized = init(&arguments(file.clone(), output.clone())).unwrap();
    let path = |path: &PathBuf| path.display().to_string();
    let fixed = ["trainer", "--quiet", "--device", "cpu", "--max-k", "4", "--n-init", "1"];
    let (output, models, file) = (path(&output), path(&models), path(&file));
    let given = ["--pipeline", &output, "--models", &models, "--input", &file];
    let args = Args::parse_from(fixed.iter().chain(&given));
    trainer::run(&args).unwrap_or_else(|error| panic!("{error:#}\n{}", initialized.draft.text));
    let pipeline = Pipeline::load(&output).unwrap();
    for spec in &pipeline.detectors {
        assert!(workplace.path("models").join(&pipeline.name).join(&spec.name).join("model.json").exists());
    }
    let draft = initialized.draft;
    Told { pipeline, text: fs::read_to_string(&output).unwrap(), doubts: draft.doubts, writing: draft.writing }
}

const OF_RETAIL: &str =
    "sessions InvoiceNo at InvoiceDate of CustomerID known -: AvgUnitPrice MinUnitPrice MaxUnitPrice Time NumberItems";

#[test]
fn online_retail() {
    let told = told("retail.csv", &retail(RETAIL, us));
    assert_eq!(told.roles(), OF_RETAIL);
    assert!(told.text.contains("datetime_formats = [\"%m/%d/%Y %H:%M\"]"), "{}", told.text);
    assert_eq!(told.pipeline.cancellations.as_ref().map(|found| found.key_prefix.as_str()), Some("C"));
    assert!(told.doubts("keys begin with `C`"), "{:?}", told.doubts);
}

#[test]
fn online_retail_of_the_second_edition() {
    let header = "Invoice,StockCode,Description,Quantity,InvoiceDate,Price,Customer ID,Country";
    let date = |month, day, minute| format!("2010-{month:02}-{day:02} {:02}:{:02}:00", minute / 60, minute % 60);
    let told = told("retail.csv", &retail(header, date));
    let expected =
        "sessions Invoice at InvoiceDate of Customer_ID known -: AvgPrice MinPrice MaxPrice Time NumberItems";
    assert_eq!(told.roles(), expected);
    assert!(told.pipeline.schema.columns[6].is_called("Customer ID"));
}

#[test]
fn days_before_months() {
    let date = |month: usize, day: usize, minute: usize| {
        format!("{day:02}/{month:02}/2010 {}:{:02}", minute / 60, minute % 60)
    };
    let told = told("retail.csv", &retail(RETAIL, date));
    assert!(told.text.contains("datetime_formats = [\"%d/%m/%Y %H:%M\"]"), "{}", told.text);
    assert!(!told.doubts("day and month"), "{:?}", told.doubts);
}

#[test]
fn a_pandas_index_and_a_table_of_tabs() {
    let lines = String::from_utf8(retail(&format!(",{RETAIL}"), us)).unwrap();
    let indexed: String = lines
        .lines()
        .enumerate()
        .map(|(row, line)| if row == 0 { format!("{line}\n") } else { format!("{},{line}\n", row - 1) })
        .collect();
    let of_index = told("retail.csv", indexed.as_bytes());
    assert_eq!(of_index.roles(), OF_RETAIL);
    assert_eq!(of_index.pipeline.schema.columns[0].name, "column_1");
    let tabs = String::from_utf8(retail(RETAIL, us)).unwrap().replace("\"MUG, RED\"", "MUG RED").replace(',', "\t");
    let of_tabs = told("retail.tsv.csv", tabs.as_bytes());
    assert_eq!(of_tabs.roles(), OF_RETAIL);
    assert!(of_tabs.writing.starts_with("CSV: tabs between fields"), "{}", of_tabs.writing);
}

#[test]
fn semicolons_decimal_commas_and_latin1() {
    let text = rows(LINES, "Rechnungsnr;Artikel;Menge;Datum;Einzelpreis;Kundennr;Land", |row| {
        let (invoice, item, quantity, day, minute, price, customer) = invoice_line(row);
        let (month, day) = month_and_day(day);
        let date = format!("{day:02}.{month:02}.2010 {}:{:02}", minute / 60, minute % 60);
        format!("{invoice};S{item};{quantity};{date};{},{:02};{customer};Österreich", price / 100, price % 100)
    });
    let latin1: Vec<u8> = String::from_utf8(text).unwrap().chars().map(|c| c as u32 as u8).collect();
    let told = told("verkauf.csv", &latin1);
    let features = "AvgEinzelpreis MinEinzelpreis MaxEinzelpreis Time NumberItems";
    assert_eq!(told.roles(), format!("sessions Rechnungsnr at Datum of Kundennr known -: {features}"));
    assert_eq!(told.writing, "CSV: `;` between fields, a header, windows-1252, decimal comma");
    assert!(told.doubts("0xD6 on line 2"), "{:?}", told.doubts);
}

#[test]
fn milliseconds_in_json() {
    let lines: String = (0..LINES)
        .map(|row| {
            let (user, merchant, cents, second) = payment(row);
            let at = 1_700_000_000_000 + second * 1000;
            format!(
                "{{\"transaction_id\":\"t{row}\",\"timestamp\":{at},\"user_id\":{user},\"merchant_id\":\"m{merchant}\",\"amount\":{}.{:02},\"device\":{{\"os\":\"x\"}}}}\n",
                cents / 100,
                cents % 100
            )
        })
        .collect();
    let told = told("payments.jsonl", lines.as_bytes());
    let features = "Amount RatioToUsualOfUserId RatioToUsualOfMerchantId CountInHourOfUserId";
    assert_eq!(told.roles(), format!("records transaction_id at timestamp of user_id known -: {features}"));
    assert!(told.text.contains("datetime_formats = [\"unix_ms\"]"), "{}", told.text);
}

#[test]
fn paysim() {
    let told = told("paysim.csv", &layouts::paysim());
    let balances = "OldbalanceOrg NewbalanceOrig OldbalanceDest NewbalanceDest";
    let features = format!("Amount RatioToUsualOfNameDest CountInDayOfNameDest {balances}");
    assert_eq!(told.roles(), format!("records nameOrig at step of - known isFraud: {features}"));
    assert!(told.doubts("`step` counts steps, which are taken for hours"), "{:?}", told.doubts);
}

#[test]
fn sparkov() {
    let told = told("fraudTrain.csv", &layouts::sparkov());
    let features = "Amount RatioToUsualOfCcNum RatioToUsualOfMerchant CountInHourOfCcNum Speed";
    assert_eq!(
        told.roles(),
        format!("records trans_num at trans_date_trans_time of cc_num known is_fraud: {features}")
    );
    assert!(told.text.contains("speed(merch_lat, merch_long)"), "{}", told.text);
}

#[test]
fn seconds_of_a_competition() {
    let header = "TransactionID,isFraud,TransactionDT,TransactionAmt,ProductCD,card1,card4,P_emaildomain,V1";
    let told = told(
        "train_transaction.csv",
        &rows(LINES, header, |row| {
            let (user, _, cents, second) = payment(row);
            let fraud = usize::from(row % 40 == 3);
            let v1 = if row % 3 == 0 { "" } else { "1.0" };
            format!(
                "{},{fraud},{},{}.{},W,{},visa,,{v1}",
                2_987_000 + row,
                86_400 + second,
                cents / 100,
                cents % 10,
                1000 + user
            )
        }),
    );
    let features = "Amount RatioToUsualOfCard1 CountInHourOfCard1";
    assert_eq!(told.roles(), format!("records TransactionID at TransactionDT of card1 known isFraud: {features}"));
    assert!(told.doubts("`TransactionDT` counts seconds"), "{:?}", told.doubts);
}

#[test]
fn a_file_without_a_header() {
    let text = rows(LINES, "k,2024-01-01T00:00:00Z,u1,1.5", |row| {
        let (user, _, cents, second) = payment(row);
        let date = format!("2024-01-{:02}T{:02}:00:00Z", 1 + second / 86_400, second / 3600 % 24);
        format!("k{row},{date},u{user},{}.{:02}", cents / 100, cents % 100)
    });
    let told = told("rows.csv", &text);
    let features = "Amount RatioToUsualOfColumn3 CountInHourOfColumn3";
    assert_eq!(told.roles(), format!("records column_1 at column_2 of column_3 known -: {features}"));
    assert!(!told.pipeline.schema.csv.header);
    for doubt in
        ["the first line has values", "`column_1` is taken for the key", "`column_3` is taken for the customer"]
    {
        assert!(told.doubts(doubt), "{doubt}: {:?}", told.doubts);
    }
}

#[test]
fn a_bank_with_signs_of_currencies() {
    let text = rows(LINES, "Reference;Booking date;Account;Payee;Amount", |row| {
        let (user, merchant, cents, second) = payment(row);
        let sign = if row % 3 == 0 { "-" } else { "" };
        let date = format!("{:02}.{:02}.2024", 1 + second / 86_400 % 28, 1 + second / 86_400 / 28);
        format!("R{row};{date};DE{user};Shop {merchant};{sign}1.{:03},{:02} €", cents % 1000, cents % 100)
    });
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::default());
    std::io::Write::write_all(&mut encoder, &text).unwrap();
    let told = told("bank.csv.gz", &encoder.finish().unwrap());
    let features = "Amount DeviationOfAccount DeviationOfPayee CountInDayOfAccount";
    assert_eq!(told.roles(), format!("records Reference at Booking_date of Account known -: {features}"));
    let writing = "CSV: `;` between fields, a header, UTF-8, decimal comma, `.` between thousands, signs of currencies";
    assert_eq!((told.writing.as_str(), told.pipeline.name.as_str()), (writing, "bank"));
}

#[test]
fn a_parquet_file() {
    let workplace = Workplace::new();
    let payments: Vec<_> = (0..LINES).map(payment).collect();
    let moments: Vec<i64> = payments.iter().map(|found| 1_700_000_000_000 + found.3 as i64 * 1000).collect();
    let moments = Series::new("at".into(), moments).cast(&DataType::Datetime(TimeUnit::Milliseconds, None)).unwrap();
    let mut frame = DataFrame::new_infer_height(vec![
        Column::new("payment_id".into(), (0..LINES as i64).collect::<Vec<_>>()),
        moments.into_column(),
        Column::new("customer".into(), payments.iter().map(|found| found.0 as i64).collect::<Vec<_>>()),
        Column::new("shop".into(), payments.iter().map(|found| format!("s{}", found.1)).collect::<Vec<_>>()),
        Column::new("amount".into(), payments.iter().map(|found| found.2 as f64 / 100.0).collect::<Vec<_>>()),
    ])
    .unwrap();
    ParquetWriter::new(fs::File::create(workplace.path("payments.parquet")).unwrap()).finish(&mut frame).unwrap();
    let told = told_in(&workplace, "payments.parquet");
    let features = "Amount RatioToUsualOfCustomer RatioToUsualOfShop CountInHourOfCustomer";
    assert_eq!(told.roles(), format!("records payment_id at at of customer known -: {features}"));
    assert_eq!(told.writing, "Parquet");
}

/// The real files, as far as they are there.
#[test]
fn the_real_files_are_told() {
    if let Some(path) = crate::fixtures::real_history() {
        let output = Workplace::new();
        let draft = init(&arguments(path, output.path("retail.toml"))).unwrap().draft;
        assert!(
            draft.text.contains("key = \"InvoiceNo\"") && draft.text.contains("session_gap = \"40s\""),
            "{}",
            draft.text
        );
        assert!(draft.text.contains("datetime_formats = [\"%m/%d/%Y %H:%M\"]"), "{}", draft.text);
    }
    if let Some(path) = crate::fixtures::real_transactions("training.csv") {
        let output = Workplace::new();
        let draft = init(&arguments(path, output.path("cards.toml"))).unwrap().draft;
        for line in ["key = \"TRANSACTION_ID\"", "customer = \"CUSTOMER_ID\"", "column = \"TX_FRAUD\""] {
            assert!(draft.text.contains(line), "{line}\n{}", draft.text);
        }
        assert!(draft.text.contains("by TERMINAL_ID over"), "{}", draft.text);
    }
}

#[test]
fn records_that_nothing_names_are_named_by_where_they_stand() {
    let row = |row: usize| {
        let numbers = format!("{}.25,{}.5,{}.99", row * 3 % 7, row * 5 % 11, 1 + row % 40);
        format!("{}.0,{numbers},\"{}\"", row / 2, usize::from(row == 9))
    };
    let told = told("creditcard.csv", &rows(LINES, "\"Time\",\"V1\",\"V2\",\"Amount\",\"Class\"", row));
    assert_eq!(told.roles(), "records record at Time of - known Class: Amount V1 V2");
    assert!(told.pipeline.is_keyless() && told.text.contains("\n# key = "), "{}", told.text);
    assert!(!told.text.contains("remember = "), "{}", told.text);
    assert!(told.doubts("none of the 5 columns has another value in each record"), "{:?}", told.doubts);

    // What comes closest is named, and whose records they are.
    let shop = |row: usize| {
        let (day, second) = (1 + row / 400 % 28, row * 3 % 60);
        let at = format!("2024-01-{day:02}T10:{:02}:{second:02}Z", row % 60);
        format!("{at},u{},t{},{}.50", row % 40, row % (LINES / 2), 1 + row * 7 % 90)
    };
    let told = self::told("payments.csv", &rows(LINES, "at,user_id,terminal,amount", shop));
    assert!(
        told.roles().starts_with("records record at at of user_id known -: Amount RatioToUsualOf"),
        "{}",
        told.roles()
    );
    let closest = format!("`terminal` comes closest with {} values in {} records", grouped(LINES / 2), grouped(LINES));
    assert!(told.doubts(&closest), "{:?}", told.doubts);
}

fn grouped(number: usize) -> String {
    shared::text::grouped(number as u64)
}

#[test]
fn what_makes_no_pipeline_is_said_in_one_sentence() {
    for (name, bytes, sentence) in [
        ("words.csv", b"hello\nworld\n".to_vec(), "words.csv: its lines are not divided by commas"),
        ("empty.csv", Vec::new(), "empty.csv: there is no record in it"),
        ("header.csv", b"a,b\n".to_vec(), "header.csv: there is no record in it: at least a hundred would be right"),
        ("text.jsonl", b"hello\n".to_vec(), "text.jsonl: none of its 1 records is a JSON object"),
        ("book.csv", b"PK\x03\x04\x14\0\x06\0".to_vec(), "book.csv is a zip archive"),
        (
            "keys.csv",
            rows(50, "id,amount", |row| format!("k{row},{row}.5")),
            "keys.csv: no column says when a record was: a date is needed",
        ),
    ] {
        let workplace = Workplace::new();
        workplace.write(name, &bytes);
        let run = workplace.run(&["init", name]);
        assert_eq!((run.code, run.stderr.lines().count()), (Some(1), 1), "{run:?}");
        assert!(run.stderr.starts_with(&format!("error: {sentence}")), "{}", run.stderr);
        assert_eq!(fs::read_dir(workplace.path("")).unwrap().count(), 1, "nothing is written");
    }
}

#[test]
fn it_says_what_it_found_and_what_is_next_and_overwrites_nothing() {
    let workplace = Workplace::new();
    workplace.write("My Shop.csv", &retail(RETAIL, us));
    let run = workplace.run(&["init", "My Shop.csv", "--kafka", "orders"]);
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""));
    for wanted in [
        "CSV: `,` between fields, a header, UTF-8",
        "InvoiceDate   date %m/%d/%Y %H:%M",
        "key: names the lines of an entity",
        "Not certain:",
        "wrote my-shop.toml; next:",
        "trainer --pipeline my-shop.toml --input 'My Shop.csv'",
        "scorer score 'My Shop.csv' --pipeline my-shop.toml",
    ] {
        assert!(run.stdout.contains(wanted), "`{wanted}` is missing in\n{}", run.stdout);
    }
    let pipeline = Pipeline::load(&workplace.path("my-shop.toml").display().to_string()).unwrap();
    assert_eq!(pipeline.topic, "orders");
    workplace.write("my-shop.toml", b"mine");
    let refused = workplace.run(&["init", "My Shop.csv"]);
    let sentence =
        "error: my-shop.toml is there already: name another file with --output FILE, or overwrite it with --force\n";
    assert_eq!((refused.code, refused.stderr.as_str()), (Some(1), sentence));
    assert_eq!(fs::read(workplace.path("my-shop.toml")).unwrap(), b"mine");
    assert_eq!(workplace.run(&["init", "My Shop.csv", "--force"]).code, Some(0));
}

/// What a bank's interface gives: an object in an object, amounts as texts, milliseconds.
fn nested_payment(row: usize) -> String {
    let (user, merchant, cents, second) = payment(row);
    format!(
        r#"{{"transactionId":"t{row}","bookedAt":{},"amount":{{"value":"{}.{:02}","currency":"EUR"}},"customer":{{"id":"c{user}"}},"merchant":{{"id":"m{merchant}","info":{{"note":"x"}}}},"is_fraud":{}}}"#,
        1_704_067_200_000usize + second * 1000,
        cents / 100,
        cents % 100,
        row % 50 == 9
    )
}

#[test]
fn nested_json() {
    let told = told("bank.jsonl", &(0..LINES).map(|row| nested_payment(row) + "\n").collect::<String>().into_bytes());
    assert!(
        told.roles().starts_with("records transactionId at bookedAt of customer_id known is_fraud: "),
        "{}",
        told.roles()
    );
    assert!(told.text.contains("convert = [\"amount_value\"]"), "{}", told.text);
    for path in ["amount_value = \"amount.value\"", "customer_id = \"customer.id\"", "merchant_id = \"merchant.id\""] {
        assert!(told.text.contains(path), "{}", told.text);
    }
}

#[test]
fn change_events_and_arrays() {
    let event =
        |row: usize| format!("{{\"before\":null,\"after\":{},\"op\":\"c\",\"ts_ms\":1}}\n", nested_payment(row));
    let events = told("events.jsonl", (0..LINES).map(event).collect::<String>().as_bytes());
    assert!(events.text.contains("envelope = \"debezium\""), "{}", events.text);
    let array = |from: usize| format!("[{}]\n", (from..from + 10).map(nested_payment).collect::<Vec<_>>().join(","));
    let arrays = told("arrays.jsonl", (0..LINES).step_by(10).map(array).collect::<String>().as_bytes());
    assert!(arrays.text.contains("records = \".\""), "{}", arrays.text);
    // A file that is one array: on the topic, each of its values is a message.
    let objects: Vec<String> = (0..LINES).map(nested_payment).collect();
    let pretty =
        told("array.json", format!("[\n  {}\n]", objects.join(",\n  ").replace(",\"", ",\n    \"")).as_bytes());
    let one_line = told("line.json", format!("[{}]", objects.join(",")).as_bytes());
    for told in [&pretty, &one_line] {
        assert!(!told.text.contains("records = ") && told.writing.starts_with("JSON, an object"), "{}", told.text);
    }
    for told in [&events, &arrays, &pretty, &one_line] {
        assert!(
            told.roles().starts_with("records transactionId at bookedAt of customer_id known is_fraud: "),
            "{}",
            told.roles()
        );
        assert!(told.writing.starts_with("JSON, a"), "{}", told.writing);
    }
}
