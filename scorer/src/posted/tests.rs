//! What is said of records that are posted.

use std::path::Path;

use proptest::prelude::*;
use serde_json::{Value, json};
use shared::device::{DeviceRequest, choose};
use shared::model_source::ModelSource;

use super::*;
use crate::file::{FileLines, InputFile};
use crate::messages::{Content, Encoder};

/// Later than all dates of the samples.
const NOW: Timestamp = 1_900_000_000_000;

fn posted(name: &str) -> PostedRecords {
    let pipeline = Pipeline::load(name).unwrap();
    let device = choose(DeviceRequest::Cpu).unwrap();
    let detectors = Detectors::load(&ModelSource::BuiltIn, &pipeline, &device).unwrap();
    PostedRecords::new(&pipeline, Arc::new(detectors))
}

fn sample(name: &str) -> InputFile {
    InputFile::open(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../resources").join(name)).unwrap()
}

/// Nobody remembers anything.
fn nothing(_: Vec<Option<String>>) -> Result<Option<History>, String> {
    Ok(None)
}

fn scored(reply: Reply) -> Value {
    match reply {
        Reply::Scored(answer) => serde_json::from_str(&answer).unwrap(),
        other => panic!("{other:?}"),
    }
}

/// What `scorer score` writes of these records of a file, without where they stand in it.
fn of_file(posted: &PostedRecords, name: &str, bytes: Vec<u8>) -> Vec<String> {
    let pipeline = Arc::new(Pipeline::load(&posted.on_topic.name).unwrap().with_event_clock().unwrap());
    let mut lines = FileLines::new(InputFile::of_bytes(Path::new(name), bytes), &pipeline).unwrap();
    let encoder = Encoder::new(pipeline.clone(), name, true, usize::MAX).of_file();
    let (mut core, mut outputs) = (Core::new(Arc::new(lines.pipeline(&pipeline))), Vec::new());
    while let Some(line) = lines.next_line().unwrap() {
        let record =
            Record { written_by: Some(NOW), file: Some(name), ..Record::new(0, line.number as i64, 0, &line.record) };
        core.apply(Input::Record(record), &mut outputs);
    }
    core.apply(Input::End, &mut outputs);
    let messages = encoder.encode(outputs, &posted.detectors).unwrap().messages;
    let verdicts = messages.iter().filter(|message| matches!(&message.content, Content::Verdict(_)));
    let without_place = |bytes: Vec<u8>| {
        let mut value: Value = serde_json::from_slice(&bytes).unwrap();
        let fields = value.as_object_mut().unwrap();
        assert!(fields.shift_remove("id").is_some() && fields.shift_remove("source").is_some());
        value.to_string()
    };
    verdicts.map(|message| without_place(message.payload())).collect()
}

fn texts(verdicts: &Value) -> Vec<String> {
    verdicts.as_array().unwrap().iter().map(Value::to_string).collect()
}

/// The lines of each of the first invoices of the sample.
fn invoices(count: usize) -> Vec<Vec<Vec<u8>>> {
    let pipeline = Pipeline::load("invoices").unwrap();
    let mut lines = FileLines::new(sample("production.csv"), &pipeline).unwrap();
    let mut invoices: Vec<(Vec<u8>, Vec<Vec<u8>>)> = Vec::new();
    while let Some(mut line) = lines.next_line().unwrap() {
        let key = line.text(0).unwrap().into_owned();
        let n_invoices = invoices.len();
        match invoices.iter_mut().find(|(known, _)| *known == key) {
            Some((_, lines)) => lines.push(line.record.to_vec()),
            None if n_invoices == count => break,
            None => invoices.push((key, vec![line.record.to_vec()])),
        }
    }
    invoices.into_iter().map(|(_, lines)| lines).collect()
}

const HEADER: &str = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country";

/// The same lines as an array of objects.
fn as_json(lines: &[Vec<u8>]) -> Vec<u8> {
    let names: Vec<&str> = HEADER.split(',').collect();
    let object = |line: &Vec<u8>| {
        let pipeline = Pipeline::load("invoices").unwrap();
        let mut records = FileRecords::whole(Cursor::new(line.as_slice()), &pipeline.schema.csv, 1 << 20).unwrap();
        let fields = records.next_record().unwrap().unwrap().fields;
        let text = |place: usize| std::str::from_utf8(fields.get(place)).unwrap();
        let value = |name: &str, text: &str| match name {
            "Quantity" | "UnitPrice" => serde_json::from_str(text).unwrap_or_else(|_| Value::from(text)),
            _ => Value::from(text),
        };
        let entry = |(place, name): (usize, &&str)| ((*name).to_owned(), value(name, text(place)));
        names.iter().enumerate().map(entry).collect::<serde_json::Map<_, _>>()
    };
    serde_json::to_vec(&lines.iter().map(object).collect::<Vec<_>>()).unwrap()
}

#[test]
fn an_invoice_has_the_verdicts_that_scorer_score_gives_it() {
    let posted = posted("invoices");
    let (mut compared, mut anomalies) = (0, 0);
    for lines in invoices(60) {
        let body = lines.join(&b'\n');
        let file = [HEADER.as_bytes(), b"\n", &body].concat();
        let expected = of_file(&posted, "one.csv", file);
        for (written, body) in
            [(Written::Csv, body.clone()), (Written::AsOnTopic, body), (Written::Json, as_json(&lines))]
        {
            match posted.reply(written, &body, NOW, nothing) {
                Reply::Scored(answer) => {
                    let answer: Value = serde_json::from_str(&answer).unwrap();
                    assert_eq!(texts(&answer["verdicts"]), expected, "{written:?}");
                    assert_eq!((&answer["published"], &answer["past"]), (&json!(false), &json!("not_needed")));
                    let found = answer["verdicts"].as_array().unwrap().iter().filter(|it| it["anomalous"] == true);
                    assert_eq!(answer["anomalous_to"].as_array().unwrap().len(), found.count());
                    assert_eq!(answer["anomalous"], !answer["anomalous_to"].as_array().unwrap().is_empty());
                    compared += 1;
                    anomalies += usize::from(answer["anomalous"] == true);
                }
                // The stream scores what is left of an invoice without its erroneous lines.
                Reply::Refused { .. } => {}
                Reply::NotNow(why) => panic!("{why}"),
            }
        }
    }
    assert!(compared > 100 && anomalies > 3, "{compared} {anomalies}");
}

/// The answer is what the stream will say of the payment when it comes.
#[test]
fn a_payment_is_scored_by_what_the_stream_remembers() {
    let posted = posted("transactions");
    let mut lines = FileLines::new(sample("transactions/production.jsonl.gz"), &posted.on_topic).unwrap();
    let mut core = Core::new(posted.on_topic.clone());
    let (mut compared, mut differences) = (0, 0);
    for number in 0..400 {
        let line = lines.next_line().unwrap().unwrap().record.to_vec();
        let past_of = |keys: Vec<Option<String>>| Ok(core.past_of(&keys));
        let with_past = posted.reply(Written::Json, &line, NOW, past_of);
        let without = posted.reply(Written::Json, &line, NOW, nothing);
        let mut outputs = Vec::new();
        core.apply(Input::Record(Record { written_by: Some(NOW), ..Record::new(0, number, 0, &line) }), &mut outputs);
        let closed = outputs.iter().find_map(|it| if let Output::Closed(entity) = it { Some(entity) } else { None });
        // Whether a record has come before is no question of models.
        let Some(entity) = closed else { continue };
        let verdicts = posted.detectors.at_once(entity);
        let as_written =
            |verdict: &Verdict| -> Value { serde_json::from_str(&serde_json::to_string(verdict).unwrap()).unwrap() };
        let expected: Vec<String> = verdicts.iter().map(|verdict| as_written(verdict).to_string()).collect();
        let (with_past, without) = (scored(with_past), scored(without));
        // The first record of a partition has no past anywhere.
        assert_eq!((&with_past["past"], number > 0), (&json!(if number > 0 { "state" } else { "none" }), number > 0));
        assert_eq!(texts(&with_past["verdicts"]), expected);
        assert_eq!((&without["past"], &without["not_judged"]), (&json!("none"), &json!(["zscore"])));
        compared += 1;
        differences += usize::from(with_past["verdicts"] != without["verdicts"]);
    }
    assert!(compared > 300 && differences > 30, "{compared} {differences}");
}

#[test]
fn a_past_that_is_not_there_yet_is_said() {
    let line =
        br#"{"transaction_id":"t","user_id":"u","merchant_id":"m","amount":1.5,"timestamp":"2024-01-01T00:00:00Z"}"#;
    let posted = posted("transactions");
    let reply = posted.reply(Written::Json, line, NOW, |keys| Err(format!("{keys:?}")));
    let asked = r#"[Some("u"), Some("m")]"#;
    assert_eq!(reply, Reply::NotNow(asked.to_owned()));
    // Of a record that is erroneous nobody is asked.
    let broken = posted.reply(Written::Json, b"{}", NOW, |keys| Err(format!("{keys:?}")));
    assert!(matches!(&broken, Reply::Refused { reasons, .. } if reasons.len() > 3), "{broken:?}");
}

#[test]
fn what_is_wrong_is_said_in_the_words_of_the_erroneous_topic() {
    let posted = posted("invoices");
    let reply = |body: &str| match posted.reply(Written::Csv, body.as_bytes(), NOW, nothing) {
        Reply::Refused { reasons, why } => (reasons.join(" "), why),
        other => panic!("{other:?}"),
    };
    let said = |reasons: &str, why: &str| (reasons.to_owned(), why.to_owned());
    let good = "1,22143,MUG,2,9/1/2010 9:22,1.5,12345,France";
    let bad = "1,22143,MUG,two,9/1/2010 9:22,-1.5,12345,France";
    let reasons = "not_an_integer:Quantity out_of_range:UnitPrice";
    let words = "not_an_integer:Quantity, out_of_range:UnitPrice";
    assert_eq!(reply(bad), said(reasons, &format!("the record is erroneous: {words}")));
    assert_eq!(
        reply(&format!("{good}\n{bad}\n{good}")),
        said(reasons, &format!("1 of 3 records are erroneous: {words}"))
    );
    assert_eq!(reply("1,2"), said("too_few_fields", "the record is erroneous: too_few_fields"));
    assert_eq!(reply(""), said("empty_record", "the record is erroneous: empty_record"));
    assert_eq!(reply(HEADER), said("header_line", "the record is erroneous: header_line"));
    let nobodys = good.replace("12345", "");
    let missing = "missing_required:CustomerID";
    assert_eq!(reply(&nobodys), said(missing, &format!("the record is erroneous: {missing}")));
    let both = format!("{nobodys}\n{nobodys}");
    assert_eq!(reply(&both), said(missing, &format!("the records make an erroneous entity: {missing}")));
    let other = good.replacen('1', "2", 1);
    let two = "the records are of 2 entities: post those of one";
    assert_eq!(reply(&format!("{good}\n{other}")), said("", two));
    let cancelled = format!("C{good}");
    assert_eq!(reply(&cancelled), said("", "the record is a cancellation, which is counted and not scored"));
    // Lines that come together are one invoice, whatever their dates.
    let later = good.replace("9:22", "9:59");
    let both = format!("{later}\n{good}");
    let Reply::Scored(answer) = posted.reply(Written::Csv, both.as_bytes(), NOW, nothing) else { panic!() };
    assert_eq!(serde_json::from_str::<Value>(&answer).unwrap()["verdicts"][0]["lines"], 2);
    let empty = posted.reply(Written::Json, b"[]", NOW, nothing);
    assert!(matches!(&empty, Reply::Refused { why, .. } if why.starts_with("there is no record")), "{empty:?}");
}

proptest! {
    #[test]
    fn any_bytes_are_survived(
        bytes in proptest::collection::vec(any::<u8>(), 0..80),
        written in proptest::sample::select(vec![Written::Csv, Written::Json, Written::AsOnTopic]),
    ) {
        thread_local! {
            static POSTED: [PostedRecords; 2] = [posted("invoices"), posted("transactions")];
        }
        POSTED.with(|all| {
            for posted in all {
                let reply = posted.reply(written, &bytes, NOW, nothing);
                prop_assert!(matches!(reply, Reply::Refused { .. }), "{reply:?}");
            }
            Ok(())
        })?;
    }
}
