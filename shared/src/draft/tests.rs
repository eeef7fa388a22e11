use proptest::prelude::*;

use super::*;
use crate::pipeline::{ColumnType, InputFormat, Scored};

fn request(name: &str) -> Request {
    Request { name: name.to_owned(), topic: name.to_owned(), source: "file.csv".to_owned(), command: "trainer init" }
}

fn findings(text: &str) -> Result<Findings, String> {
    let mut doubts = Vec::new();
    let dialect = csv::layout(text.as_bytes(), true, None, &mut doubts).map_err(|error| error.to_string())?;
    let sample = csv::sample(text.as_bytes(), &dialect).map_err(|error| error.to_string())?;
    study(Writing::Csv(Box::new(dialect)), &sample, doubts).map_err(|error| error.to_string())
}

fn drafted(text: &str) -> (Draft, Pipeline) {
    let draft = draft(&findings(text).unwrap(), &request("small")).unwrap();
    let pipeline = Pipeline::parse(&draft.text, "small").unwrap();
    (draft, pipeline)
}

/// Lines of invoices, two each, as a German shop exports them.
fn invoices() -> String {
    let line = |row: usize| {
        let (invoice, item) = (row / 2, row % 2);
        let (day, price) = (1 + invoice % 28, 5 + row % 7);
        format!(
            "{};S{item};{};{day:02}.03.2010 8:{:02};{price},25;K{}\n",
            9000 + invoice,
            1 + row % 5,
            invoice % 60,
            invoice % 9
        )
    };
    "Rechnung Nr.;Artikel;Menge;Datum;Preis;Kunde\n".to_owned() + &(0..120).map(line).collect::<String>()
}

#[test]
fn lines_of_invoices_become_sessions() {
    let (draft, pipeline) = drafted(&invoices());
    let Scored::Sessions(sessions) = &pipeline.scored else { panic!("records\n{}", draft.text) };
    let name = |index: usize| pipeline.schema.columns[index].name.as_str();
    assert_eq!(name(pipeline.entity.key), "Rechnung_Nr");
    assert_eq!(pipeline.entity.customer.map(name), Some("Kunde"));
    assert_eq!(sessions.gap, 40_000);
    assert_eq!(pipeline.feature_names(), ["AvgPreis", "MinPreis", "MaxPreis", "Time", "NumberItems"]);
    assert_eq!((pipeline.schema.csv.delimiter, pipeline.schema.csv.texts.numbers.decimal), (b';', ','));
    assert!(pipeline.schema.columns[0].is_called("Rechnung Nr."));
    assert_eq!(pipeline.schema.columns[2].kind, ColumnType::Integer);
    assert!(draft.doubts.iter().any(|doubt| doubt.contains("name no zone")), "{:?}", draft.doubts);
    // What is told on the terminal stands in the file too.
    let comments =
        draft.text.lines().filter_map(|line| line.strip_prefix("# ")).map(|line| line.trim_start_matches("- ").trim());
    let comments = comments.collect::<Vec<_>>().join(" ");
    assert!(draft.doubts.iter().all(|doubt| comments.contains(doubt.as_str())), "{}", draft.text);
}

#[test]
fn payments_become_records() {
    let row = |row: usize| {
        let (user, shop) = (row % 7, row % 5);
        let fraud = u8::from(row.is_multiple_of(31));
        format!("t{row},2024-01-{:02}T10:00:00Z,u{user},s{shop},{}.50,{fraud}\n", 1 + row % 28, 10 + row % 13)
    };
    let text =
        "payment_id,created_at,user,merchant,amount,is_fraud\n".to_owned() + &(0..200).map(row).collect::<String>();
    let (draft, pipeline) = drafted(&text);
    assert!(matches!(pipeline.scored, Scored::Records(_)));
    let label =
        pipeline.label.as_ref().and_then(|label| label.column).map(|index| &pipeline.schema.columns[index].name);
    assert_eq!(label.map(String::as_str), Some("is_fraud"));
    assert_eq!(
        pipeline.feature_names(),
        ["Amount", "RatioToUsualOfUser", "RatioToUsualOfMerchant", "CountInHourOfUser"]
    );
    assert_eq!((pipeline.detectors.len(), pipeline.zscores.len()), (2, 1));
    assert_eq!(draft.columns[3][3], "merchant");
    assert_eq!(draft.doubts, Vec::<String>::new());
}

#[test]
fn a_table_is_json_on_the_topic() {
    let mut findings = findings(&invoices()).unwrap();
    findings.writing = Writing::Table;
    let draft = draft(&findings, &request("x")).unwrap();
    assert_eq!(Pipeline::parse(&draft.text, "x").unwrap().schema.format, InputFormat::Json);
}

#[test]
fn names_of_files_become_names_of_pipelines() {
    for (source, name) in
        [("Online Retail II", "online-retail-ii"), ("Años", "a-os"), ("..", "records"), ("a.b", "a.b")]
    {
        assert_eq!(pipeline_name(source), name);
    }
    let error = draft(&findings(&invoices()).unwrap(), &request("a b")).unwrap_err().to_string();
    assert!(error.contains("`a b` is no name"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn whatever_columns_are_called_the_draft_is_a_pipeline(
        names in proptest::collection::vec("([a-zA-Z0-9_:?.\\[\\]\"'\\\\#(){} =é\u{1b}]|id|amount|user|lat){0,8}", 6),
        seed in 0..100usize,
    ) {
        let cell = |column: usize, row: usize| match (column + seed) % 6 {
            0 => format!("k{row}"),
            1 => format!("2024-02-{:02} 10:00", 1 + row % 27),
            2 => format!("{}.5", row % 11),
            3 => format!("u{}", row % 4),
            4 => (row % 2).to_string(),
            _ => format!("text \u{1b}[2J {}", row % 9),
        };
        let quoted = |text: &String| format!("\"{}\"", text.replace('"', "\"\""));
        let header = names.iter().map(quoted).collect::<Vec<_>>().join(",");
        let rows = (0..50).map(|row| (0..6).map(|column| cell(column, row)).collect::<Vec<_>>().join(",") + "\n");
        let text = format!("{header}\n{}", rows.collect::<String>());
        if let Ok(findings) = findings(&text) {
            let draft = draft(&findings, &request("p"));
            prop_assert!(draft.is_ok(), "{:?}", draft.err());
            let has_escape = draft.unwrap().text.contains('\u{1b}');
            prop_assert!(!has_escape);
        }
    }
}
