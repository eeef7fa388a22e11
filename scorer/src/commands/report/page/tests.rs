//! Laws of the page: it is well-formed and needs nothing else, records are text in it, and its counts add up.

use proptest::prelude::*;
use serde_json::json;
use window::{Committed, Entry, Kind, Limits};

use super::*;

const NOW: i64 = 1_763_717_561_250;

const PERIOD: Period = Period { from: NOW - 86_400_000, to: NOW };

fn take(found: &mut Found, kind: Kind, value: &Value) {
    found.take(&Committed { kind, payload: value.to_string().into_bytes(), at: NOW });
}

fn hear(found: &mut Found, value: &Value) {
    let key = value["id"].as_str().unwrap().to_owned();
    found.hear(Entry { key, value: Some(value.to_string().into_bytes()), version: 1 });
}

fn verdict(key: &str, detector: &str, severity: &str, text: &str) -> Value {
    json!({
        "schema": 2, "id": format!("invoices/{detector}/0/7/{key}"), "pipeline": "invoices", "key": key, "detector": detector,
        "model_version": "1", "anomalous": true, "severity": severity, "reason": text, "score": 20.0, "threshold": 10.0,
        "ratio": 2.0, "features": {}, "contributions": { "NumberItems": 1.0 }, "lines": 1, "customer_id": text,
        "explanation": [{ "feature": "NumberItems", "share": 0.97, "value": 4000.0, "usual": 91.0, "low": 12.0, "high": 400.0,
            "unit": "items", "text": format!("4,000 items (usual 12 to 400) {text}") }],
        "fields": { "Country": text, "nothing": null, "total": 8400.5 }, "event_time": "2011-07-19T17:04:00Z",
        "first_timestamp": "2011-07-19T17:04:00Z", "last_timestamp": "2011-07-19T17:04:00Z",
    })
}

/// Everything that a page can tell of, with this text wherever somebody may have written one.
fn found(text: &str) -> Found {
    let mut found = Found::new(Limits::default());
    take(&mut found, Kind::Verdict, &verdict(&format!("1{text}"), "kmeans", "high", text));
    take(&mut found, Kind::Verdict, &verdict(&format!("1{text}"), "bisecting-kmeans", "critical", text));
    take(&mut found, Kind::Verdict, &verdict("2", &format!("other{text}"), "low", text));
    take(
        &mut found,
        Kind::DeadLetter,
        &json!({ "kind": "line", "reasons": [format!("reason{text}")], "source": {}, "raw": text }),
    );
    hear(
        &mut found,
        &json!({ "schema": 1, "kind": "label", "id": format!("invoices/0/7/1{text}"), "label": "anomaly",
        "owner": format!("o{text}"), "at": "2025-11-21T09:30:00Z" }),
    );
    hear(
        &mut found,
        &json!({ "schema": 1, "kind": "exception", "id": "exception/a", "customer_id": format!("c{text}"),
        "features": [text], "until": "2100-01-01T00:00:00Z", "at": "2025-11-21T09:30:00Z", "note": text,
        "by": format!("b{text}") }),
    );
    found
}

fn cancelled(text: &str) -> Cancelled {
    let mut cancelled = Cancelled::default();
    let count = json!({ "window_start": text, "window_end": text, "cancellations": 3 });
    cancelled.add(count.to_string().as_bytes());
    cancelled
}

fn html(found: &Found, cancelled: &Cancelled) -> String {
    Page::new(&Pipeline::load("invoices").unwrap(), PERIOD, found, cancelled).html().unwrap()
}

/// The tags of a page, without the texts between them. Whatever is opened is closed, in the right order.
fn tags(html: &str) -> Vec<String> {
    let (mut tags, mut open) = (Vec::new(), Vec::new());
    for part in html.split('<').skip(1) {
        let (tag, _) = part.split_once('>').expect("a tag ends");
        let name = tag.split_whitespace().next().unwrap();
        match name.strip_prefix('/') {
            Some(name) => assert_eq!(open.pop(), Some(name), "in {tags:?}"),
            None if ["meta", "!doctype"].contains(&name) => {}
            None => open.push(name),
        }
        tags.push(tag.to_owned());
    }
    assert!(open.is_empty(), "{open:?} stay open");
    tags
}

/// What a reader sees.
fn seen(html: &str) -> String {
    let body = html.split_once("<main>").unwrap().1;
    let texts = body.split('<').filter_map(|part| part.split_once('>')).map(|(_, text)| text);
    let text = texts.collect::<Vec<_>>().join(" ");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn a_page_tells_what_was_found_and_what_analysts_said() {
    let seen = seen(&html(&found(""), &cancelled("2011-07-19T17:00:00Z")));
    for said in [
        "What was published from 2025-11-20 09:32 UTC to 2025-11-21 09:32 UTC, of the invoices in topic purchases.",
        "2 anomalies 1 critical 0 high 0 medium 1 low Closed by analysts: 1. In review: 0. Hidden by exceptions: 0.",
        "kmeans 0 1 0 0 1 bisecting-kmeans 1 0 0 0 1 other 0 0 0 1 1",
        "Of 1 anomalies of kmeans or bisecting-kmeans, 1 are of both, 0 of kmeans alone and 0 of bisecting-kmeans alone",
        "critical invoice 1 , CustomerID",
        "97.0% 4,000 items (usual 12 to 400) Shares are of the score of bisecting-kmeans.",
        "kmeans : high, 2.0 x threshold. bisecting-kmeans : critical, 2.0 x threshold. Dated 2011-07-19T17:04:00Z",
        "Country , total 8400.5",
        "Analysts say: anomaly. Owner: o",
        "kmeans 1 0 0 100.0% 100.0% bisecting-kmeans 1 0 0 100.0% 100.0%",
        "c 2100-01-01 00:00 UTC b 0",
        "reason messages reason 1 1 message in all",
        "3 2011-07-19T17:00:00Z 2011-07-19T17:00:00Z The windows with the most of 1 that were published.",
    ] {
        assert!(seen.contains(said), "`{said}` is not said: {seen}");
    }
}

#[test]
fn a_page_about_nothing_says_so() {
    let page = html(&Found::new(Limits::default()), &Cancelled::default());
    tags(&page);
    let seen = seen(&page);
    for said in [
        "0 anomalies 0 critical 0 high 0 medium 0 low",
        "No anomaly was published in this time.",
        "Nobody has said anything of an anomaly yet. No exception is in force.",
        "No erroneous record was published in this time.",
        "Nothing was cancelled in the 0 windows that were published in this time.",
    ] {
        assert!(seen.contains(said), "`{said}` is not said: {seen}");
    }
}

#[test]
fn a_page_needs_nothing_but_itself() {
    let page = html(&found(""), &cancelled(""));
    for outside in ["http:", "https:", "src=", "href=", "url(", "@import", "<script", "<link", "<img"] {
        assert!(!page.contains(outside), "{outside}");
    }
    let style = page.split_once("<style>").unwrap().1.split_once("</style>").unwrap().0;
    assert!(style.len() < 20_000 && style.contains("prefers-color-scheme: dark") && style.contains("@media print"));
}

#[test]
fn what_records_hold_is_text() {
    let hostile = "<script>alert(1)</script>\"'&amp;{{ 7 * 7 }}\u{1b}[2J\u{202e}\u{0}</bdi></div>";
    let page = html(&found(hostile), &cancelled(hostile));
    assert_eq!(tags(&page), tags(&html(&found("x"), &cancelled("x"))), "no text adds a tag");
    assert!(
        page.contains("&lt;script&gt;alert(1)&lt;&#x2f;script&gt;&quot;&#x27;&amp;amp;{{ 7 * 7 }}␛[2J‹U+202E›␀"),
        "{page}"
    );
    assert!(!page.contains('\u{202e}') && !page.chars().any(|c| c.is_control() && c != '\n'));
}

#[test]
fn verdicts_that_tell_no_severity_have_a_column_of_their_own() {
    let mut found = Found::new(Limits::default());
    let mut first = verdict("1", "kmeans", "high", "");
    first.as_object_mut().unwrap().shift_remove("severity");
    take(&mut found, Kind::Verdict, &first);
    take(&mut found, Kind::Verdict, &verdict("2", "kmeans", "low", ""));
    let (pipeline, cancelled) = (Pipeline::load("invoices").unwrap(), Cancelled::default());
    let page = Page::new(&pipeline, PERIOD, &found, &cancelled);
    assert_eq!(
        page.levels.iter().map(|it| it.name).collect::<Vec<_>>(),
        ["critical", "high", "medium", "low", "not told"]
    );
    assert_eq!(page.detectors[0].counts, ["0", "0", "0", "1", "1"]);
    assert_eq!(page.detectors[1].counts, ["0", "0", "0", "0", "0"]);
}

proptest! {
    /// The counts of severities are those of all entities, and those of a detector add up to its own.
    #[test]
    fn counts_add_up(verdicts in proptest::collection::vec((0u8..40, 0usize..3, 0usize..4), 0..120)) {
        let mut found = Found::new(Limits::default());
        let mut said = std::collections::BTreeSet::new();
        for (key, detector, severity) in verdicts {
            let detector = ["kmeans", "bisecting-kmeans", "elsewhere"][detector];
            // A detector says one thing of an entity.
            if said.insert((key, detector)) {
                let severity = Severity::ALL[severity].name();
                take(&mut found, Kind::Verdict, &verdict(&key.to_string(), detector, severity, "x"));
            }
        }
        let (pipeline, cancelled) = (Pipeline::load("invoices").unwrap(), Cancelled::default());
        let page = Page::new(&pipeline, PERIOD, &found, &cancelled);
        let number = |text: &String| text.replace(',', "").parse::<usize>().unwrap();
        let entities = said.iter().map(|(key, _)| key).collect::<std::collections::BTreeSet<_>>().len();
        prop_assert_eq!(number(&page.total), entities);
        prop_assert_eq!(page.levels.iter().map(|level| number(&level.count)).sum::<usize>(), entities);
        for of in &page.detectors {
            prop_assert_eq!(of.counts.len(), page.levels.len());
            prop_assert_eq!(of.counts.iter().map(number).sum::<usize>(), number(&of.total));
            prop_assert_eq!(number(&of.total), said.iter().filter(|(_, name)| *name == of.name).count());
        }
        prop_assert_eq!(page.detectors.iter().map(|of| number(&of.total)).sum::<usize>(), said.len());
        prop_assert_eq!(page.worst.len(), entities.min(WORST));
        tags(&page.html().unwrap());
    }

    #[test]
    fn no_text_breaks_a_page(text in proptest::collection::vec(any::<char>(), 1..30)) {
        let text: String = text.into_iter().collect();
        let page = html(&found(&text), &cancelled(&text));
        prop_assert_eq!(tags(&page), tags(&html(&found("x"), &cancelled("x"))));
        prop_assert!(!page.chars().any(|c| c.is_control() && c != '\n'));
    }
}
