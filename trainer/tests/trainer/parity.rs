//! A feature is the same number at training time and on the stream.

use std::collections::HashMap;
use std::fs;
use std::sync::Arc;

use proptest::prelude::*;
use shared::features::Accumulators;
use shared::line::{LineParser, Order};
use shared::pipeline::Pipeline;
use shared::records::FileRecords;
use trainer::entities::Grouping;
use trainer::load::load;
use trainer::progress::Progress;

use crate::fixtures::{Workplace, csv, real_history};

/// No rule that leaves an invoice out, and every aggregate there is.
fn every_aggregate() -> Pipeline {
    let shipped = include_str!("../../../resources/pipelines/invoices.toml");
    let (before, rest) = shipped.split_once("[cancellations]").unwrap();
    let (_, detectors) = rest.split_once("[[detectors]]").unwrap();
    let features = r#"
        [features]
        Mean = "mean(UnitPrice)"
        Min = "min(UnitPrice)"
        Max = "max(Quantity)"
        SumOfPrices = "sum(UnitPrice)"
        Items = "sum(Quantity)"
        MeanItems = "mean(Quantity)"
        First = "first(UnitPrice)"
        Last = "last(Quantity)"
        FirstHour = "first(hour(InvoiceDate))"
        LastHour = "last(hour(InvoiceDate))"
        MeanHour = "mean(hour(InvoiceDate))"
        Squares = "sum(UnitPrice * UnitPrice)"
        LargestLine = "max(Quantity * UnitPrice)"
        PricePerItem = "last(UnitPrice / Quantity)"
        Difference = "first(UnitPrice - Quantity)"
        Lines = "count()"
        MedianPrice = "median(UnitPrice)"
        MedianItems = "median(Quantity)"
        MedianLine = "median(Quantity * UnitPrice)"
        MedianHour = "median(hour(InvoiceDate))"
        Products = "count_distinct(StockCode)"
        Prices = "count_distinct(UnitPrice)"
        Quantities = "count_distinct(Quantity)"
        ItemsAgain = "sum(Quantity)"
        Moments = "count_distinct(InvoiceDate)"
        Hours = "count_distinct(hour(InvoiceDate))"
        LinePrices = "count_distinct(Quantity * UnitPrice)"
        Customers = "count_distinct(CustomerID)"
        Domestic = "share(Country = 'United Kingdom')"
        Postage = "share(StockCode = 'POST')"
        "#;
    let text = format!("{before}{features}[[detectors]]{detectors}");
    let text = text.replace(r#"required = ["CustomerID", "InvoiceDate", "Country"]"#, "required = []");
    Pipeline::parse(&text, "every aggregate").unwrap()
}

/// As the scorer does it: record by record, line by line.
fn streamed(pipeline: &Arc<Pipeline>, bytes: &[u8]) -> HashMap<String, Vec<f64>> {
    let mut parser = LineParser::new(Arc::clone(&pipeline.schema));
    let mut open: HashMap<String, Accumulators> = HashMap::new();
    let mut records = FileRecords::new(bytes, &pipeline.schema.csv, pipeline.schema.max_record_bytes).unwrap();
    records.next_record().unwrap().expect("a header");
    while let Some(record) = records.next_record().unwrap() {
        let _ = parser.parse_file_record(&record, &Order::Same, |line| {
            let key = line[pipeline.entity.key].text().expect("a key").to_owned();
            open.entry(key)
                .or_insert_with(|| Accumulators::new(pipeline.session_features()))
                .add(pipeline.session_features(), line);
        });
    }
    open.into_iter().map(|(key, state)| (key, state.values(pipeline.session_features()))).collect()
}

fn assert_parity(pipeline: Pipeline, bytes: &[u8], file: &std::path::Path) -> usize {
    let pipeline = Arc::new(pipeline);
    let streamed = streamed(&pipeline, bytes);
    let mut grouping = Grouping::new(&pipeline);
    load(&pipeline, &[file], Progress { quiet: true }, &mut |lines, _| Ok(grouping.add(lines)?)).unwrap();
    let entities = grouping.finish().unwrap();
    assert_eq!(entities.total(), streamed.len());
    for (key, row) in entities.keys.iter().zip(entities.features.rows()) {
        for ((a, b), feature) in row.iter().zip(&streamed[key]).zip(pipeline.session_features()) {
            let close = (a - b).abs() <= 1e-12 * a.abs().max(b.abs());
            assert!(close, "{} of {key}: {a} in training, {b} on the stream", feature.name);
        }
    }
    entities.keys.len()
}

#[test]
fn every_real_invoice_has_the_features_that_the_stream_gives_it() {
    let Some(path) = real_history() else { return };
    let bytes = fs::read(&path).unwrap();
    let all = assert_parity(every_aggregate(), &bytes, &path);
    let trained_on = assert_parity(Pipeline::load("invoices").unwrap(), &bytes, &path);
    println!("{all} invoices, {trained_on} of them trained on");
    assert!(all > trained_on && trained_on > 10_000);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_invoice_has_the_features_that_the_stream_gives_it(
        lines in proptest::collection::vec((0..6u8, -50..5000i32, 0.0..1e6f64, 0..24u8, any::<bool>(), 0..5usize), 1..60)
    ) {
        let text: String = lines.iter().map(|(key, quantity, price, hour, dated, kind)| {
            let date = if *dated { format!("3/1/2010 {hour}:00") } else { String::new() };
            let code = ["POST", "s", "\u{e9}", "S", "22143"][*kind];
            let country = ["UK", "", "United Kingdom", "united kingdom", "France"][*kind];
            // Some numbers and texts stand in several lines, some in none.
            let (quantity, price) = (quantity % 40, (price / 1e4).round());
            format!("{key},{code},d,{quantity},{date},{price},{},{country}\n", ["", "c"][kind % 2])
        }).collect();
        // Without a date there is no hour, and no number: such invoices are left out by both.
        let workplace = Workplace::new();
        let complete = format!("{text}x,s,d,1,3/1/2010 1:00,1,c,UK\n");
        workplace.write("lines.csv", &csv(&complete));
        assert_parity(every_aggregate(), &csv(&complete), &workplace.path("lines.csv"));
    }
}
