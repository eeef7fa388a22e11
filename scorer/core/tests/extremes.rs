//! Whatever number or span a pipeline file has, it is refused in one sentence or the state machine runs by it: without a
//! panic, an overflow, or memory and time that grow with the number.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::ops::Range;
use std::sync::Arc;

use scorer_core::{Core, Input, Record};
use shared::pipeline::Pipeline;

const SPANS: &[&str] = &["0s", "1ms", "1s", "7m", "36500d", "106751991167d", "9223372036854775807ms"];
const NUMBERS: &[&str] = &[
    "0",
    "1",
    "-1",
    "0.5",
    "1000",
    "9223372036854775807",
    "-9223372036854775808",
    "1e308",
    "-1e308",
    "1e39",
    "1e-320",
    "inf",
    "nan",
];

/// Where a text of TOML has numbers and spans, with what may stand in their places.
fn values(text: &str) -> Vec<(Range<usize>, &'static [&'static str])> {
    let (mut found, mut start) = (Vec::new(), 0);
    for line in text.split_inclusive('\n') {
        let content = line.split('#').next().unwrap();
        let bytes = content.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            let is_inside_a_word = at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_');
            if !bytes[at].is_ascii_digit() || is_inside_a_word {
                at += 1;
                continue;
            }
            let rest = &content[at..];
            let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.' && c != '_').unwrap_or(rest.len());
            let unit = rest[digits..].find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len() - digits);
            let length = digits + unit;
            found.push((start + at..start + at + length, if unit > 0 { SPANS } else { NUMBERS }));
            at += length;
        }
        start += line.len();
    }
    found
}

/// Every text in which one value is another.
fn variants(text: &str) -> impl Iterator<Item = String> {
    let values = values(text);
    assert!(values.len() > 10, "{values:?}");
    let text = text.to_owned();
    values.into_iter().flat_map(move |(place, others)| {
        let text = text.clone();
        others.iter().map(move |other| format!("{}{other}{}", &text[..place.start], &text[place.end..]))
    })
}

/// The state machine sees some records that are years apart, and time.
fn run(pipeline: Pipeline, records: &[String]) {
    for detector in &pipeline.detectors {
        let _ = (detector.algorithm.n_steps(), detector.algorithm.most_clusters());
    }
    let (mut core, mut outputs) = (Core::new(Arc::new(pipeline)), Vec::new());
    for (offset, record) in records.iter().enumerate() {
        let timestamp = 1_283_332_920_000 + 40_000_000_000 * (offset as i64 / 20);
        core.apply(Input::Record(Record::new(0, offset as i64, timestamp, record.as_bytes())), &mut outputs);
    }
    core.apply(Input::CaughtUp { partition: 0, now: 1_700_000_000_000 }, &mut outputs);
    core.apply(Input::Time { now: 1_700_000_000_000 + 3_600_000 }, &mut outputs);
    core.apply(Input::End, &mut outputs);
    assert!(outputs.len() <= 400 * records.len(), "{} outputs", outputs.len());
}

/// Runs every variant that is not refused; how many ran, and how many were refused.
fn run_all(text: &str, records: &[String]) -> (usize, usize) {
    let (mut ran, mut refused) = (0, 0);
    run(Pipeline::parse(text, "p.toml").unwrap(), records);
    for variant in variants(text) {
        match Pipeline::parse(&variant, "p.toml") {
            Ok(pipeline) => {
                ran += 1;
                run(pipeline, records);
            }
            Err(error) => {
                refused += 1;
                let error = error.to_string();
                assert!(error.starts_with("p.toml"), "{error}");
            }
        }
    }
    (ran, refused)
}

#[test]
fn invoices_by_any_number() {
    let date = |index: usize| format!("9/{}/{} 9:{:02}", 1 + index % 9, 2010 + 7 * (index / 20), index % 60);
    let records: Vec<String> = (0..80)
        .map(|index| {
            let prefix = if index % 3 == 0 { "C" } else { "" };
            format!("{prefix}{},s,d,{},{},1.5,c{index},France", index / 2, index + 1, date(index))
        })
        .collect();
    let text = include_str!("../../../resources/pipelines/invoices.toml");
    let (ran, refused) = run_all(text, &records);
    assert!(ran > 30 && refused > 30, "{ran} {refused}");
    let by_date = text.replace("clock = \"record\"", "clock = \"InvoiceDate\"");
    assert_ne!(by_date, text);
    run_all(&by_date, &records);
}

#[test]
fn transactions_by_any_number() {
    let records: Vec<String> = (0..80)
        .map(|index| {
            let (user, year, minute) = (index % 5, 2010 + 7 * (index / 20), index % 60);
            format!(
                "{{\"transaction_id\":\"{index}\",\"user_id\":\"u{user}\",\"merchant_id\":\"m\",\"amount\":{}.5,\
                 \"currency\":\"USD\",\"timestamp\":\"{year}-09-01T09:{minute:02}:00Z\"}}",
                index + 1
            )
        })
        .collect();
    let text = include_str!("../../../resources/pipelines/transactions.toml").replace("# lateness = ", "lateness = ");
    let (ran, refused) = run_all(&text, &records);
    assert!(ran > 30 && refused > 30, "{ran} {refused}");
}
