//! What the store keeps, finds and lets go.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::query::Sort;
use super::severity::Severity;
use super::*;

/// A verdict as the scorer publishes it.
pub(crate) fn verdict(key: &str, detector: &str, severity: &str, customer: &str) -> Value {
    json!({
        "schema": 2, "id": format!("invoices/{detector}/0/{}/{key}", key.len()), "pipeline": "invoices", "key": key,
        "detector": detector, "model_version": "3f9a1c20", "anomalous": true, "severity": severity,
        "reason": "4,000 items, 44 times the usual 91", "score": 30.0, "threshold": 10.0, "ratio": 3.0, "p_value": 0.001,
        "features": { "NumberItems": 4000.0 }, "contributions": { "NumberItems": 1.0 },
        "explanation": [{ "feature": "NumberItems", "share": 1.0, "value": 4000.0, "usual": 91.0, "low": 12.0,
            "high": 400.0, "unit": "items", "text": "4,000 items" }],
        "fields": { "Country": "France", "total": 8400.5 }, "lines": 12, "customer_id": customer,
        "event_time": "2011-07-19T17:04:00Z", "first_timestamp": "2011-07-19T17:04:00Z",
        "last_timestamp": "2011-07-19T17:04:00Z", "source": { "topic": "purchases", "partition": 0, "offsets": [[1, 2]] }
    })
}

pub(crate) fn committed(kind: Kind, value: &Value, at: i64) -> Committed {
    Committed { kind, payload: value.to_string().into_bytes(), at }
}

fn keys(store: &Store, query: &Query) -> Vec<String> {
    store.anomalies.find(query, &store.labels, 1000).entities.iter().map(|entity| entity.key.clone()).collect()
}

fn store_of(verdicts: &[(Value, i64)]) -> Store {
    let mut store = Store::new(Limits::default());
    for (value, at) in verdicts {
        store.take(&committed(Kind::Verdict, value, *at));
    }
    assert_eq!(store.unreadable, 0);
    store
}

#[test]
fn two_detectors_on_one_entity_are_one_row_with_the_worst_in_front() {
    let store = store_of(&[
        (verdict("7", "kmeans", "low", "c"), 10),
        (verdict("7", "bisecting-kmeans", "critical", "c"), 11),
        (verdict("8", "kmeans", "high", "c"), 12),
    ]);
    let page = store.anomalies.find(&Query::default(), &store.labels, 10);
    assert_eq!((page.matching, page.entities[1].key.as_str()), (2, "7"));
    let entity = page.entities[1];
    assert_eq!((entity.severity, entity.opinions.len(), entity.at), (Some(Severity::Critical), 2, 10));
    assert_eq!(entity.worst_detector, "bisecting-kmeans");
    assert_eq!(store.anomalies.timeline.steps()[0].anomalies["kmeans"], 2);
}

#[test]
fn what_comes_again_changes_nothing() {
    let mut store = store_of(&[(verdict("7", "kmeans", "low", "c"), 10)]);
    let (version, bytes) = (store.anomalies.version, store.anomalies.bytes());
    store.take(&committed(Kind::Verdict, &verdict("7", "kmeans", "low", "c"), 99));
    assert_eq!((store.anomalies.version, store.anomalies.bytes(), store.anomalies.len()), (version, bytes, 1));
    assert_eq!(store.anomalies.timeline.steps().len(), 1);
    let letter = json!({ "kind": "line", "reasons": ["late_line"], "source": { "offset": 4 }, "raw": "x" });
    store.take(&committed(Kind::DeadLetter, &letter, 1));
    store.take(&committed(Kind::DeadLetter, &letter, 2));
    assert_eq!(store.errors.len(), 1);
}

#[test]
fn a_message_on_an_entity_has_the_opinions_of_all_detectors() {
    let mut whole = verdict("7", "kmeans", "high", "c");
    let object = whole.as_object_mut().unwrap();
    object["id"] = json!("invoices/0/1/7");
    object.shift_remove("detector");
    let own = |anomalous: bool| {
        json!({ "model_version": "1", "anomalous": anomalous, "score": 1.5, "threshold": 2.0, "reason": "r",
            "contributions": {} })
    };
    object.insert("detectors".to_owned(), json!({ "kmeans": own(true), "other": own(false) }));
    object.insert("anomalous_to".to_owned(), json!(["kmeans"]));
    let store = store_of(&[(whole, 10), (verdict("7", "kmeans", "high", "c"), 10)]);
    let entity = store.anomalies.get("invoices/0/1/7").unwrap();
    let opinions: Vec<(&str, bool)> = entity.opinions.iter().map(|it| (it.detector.as_str(), it.anomalous)).collect();
    assert_eq!(opinions, [("kmeans", true), ("other", false)]);
    let other: Value = serde_json::from_str(&entity.messages[1]).unwrap();
    assert_eq!((&other["detector"], &other["key"], &other["score"]), (&json!("other"), &json!("7"), &json!(1.5)));
    assert_eq!(other["id"], "invoices/other/0/1/7");
}

#[test]
fn a_key_may_hold_what_an_id_is_made_of() {
    let store = store_of(&[(verdict("a/b/../<c>", "kmeans", "low", "c"), 1)]);
    assert!(store.anomalies.get("invoices/0/10/a/b/../<c>").is_some());
}

#[test]
fn queries_filter_search_and_sort() {
    let mut rare = verdict("rare", "kmeans", "high", "bob");
    rare["p_value"] = json!(0.0001);
    let store = store_of(&[
        (verdict("first", "kmeans", "critical", "ann"), 1),
        (rare, 2),
        (verdict("third", "zscore", "high", "ann"), 3),
        (verdict("fourth", "kmeans", "low", "bob"), 4),
    ]);
    let all = Query::default();
    assert_eq!(keys(&store, &all), ["fourth", "third", "rare", "first"]);
    assert_eq!(keys(&store, &Query { sort: Sort::Worst, ..all.clone() }), ["first", "rare", "third", "fourth"]);
    assert_eq!(keys(&store, &Query { detector: Some("zscore".to_owned()), ..all.clone() }), ["third"]);
    assert_eq!(keys(&store, &Query { severity: Some(Severity::High), ..all.clone() }), ["third", "rare", "first"]);
    assert_eq!(keys(&store, &Query { q: Some(" ANN ".to_owned()), ..all.clone() }), ["third", "first"]);
    assert_eq!(keys(&store, &Query { q: Some("44 times".to_owned()), ..all.clone() }).len(), 4);
    assert_eq!(keys(&store, &Query { customer: Some("bob".to_owned()), ..all.clone() }), ["fourth", "rare"]);
    assert_eq!(keys(&store, &Query { since: Some(2), until: Some(4), ..all.clone() }), ["third", "rare"]);
    assert_eq!(keys(&store, &Query { skip: 3, ..all }), ["first"]);
}

#[test]
fn groups_are_by_customer_and_say_who_has_most() {
    let mut nobody = verdict("alone", "kmeans", "low", "");
    nobody.as_object_mut().unwrap().shift_remove("customer_id");
    let store = store_of(&[
        (verdict("1", "kmeans", "low", "ann"), 1),
        (verdict("22", "kmeans", "high", "ann"), 2),
        (verdict("333", "kmeans", "critical", "bob"), 3),
        (nobody, 4),
    ]);
    let (all, groups) = store.anomalies.groups(None, 2);
    let found: Vec<_> = groups.iter().map(|it| (it.name, it.anomalies, it.worst, it.last)).collect();
    assert_eq!(found, [("ann", 2, Some(Severity::High), 2), ("bob", 1, Some(Severity::Critical), 3)]);
    assert_eq!((all, groups[0].marks[0].0), (3, 2));
    assert!(store.anomalies.groups(Some(4), 9).1.iter().all(|it| it.name == "alone" && !it.is_customer));
}

#[test]
fn related_are_those_of_the_same_customer_and_of_fields_that_few_share() {
    let mut verdicts: Vec<_> =
        (0..300).map(|i| (verdict(&"k".repeat(i + 1), "kmeans", "low", "x"), i as i64)).collect();
    for (value, at) in &mut verdicts {
        value["customer_id"] = json!(format!("c{}", *at % 150));
        value["fields"]["shop"] = json!(format!("s{}", *at % 100));
    }
    let store = store_of(&verdicts);
    let entity = store.anomalies.find(&Query::default(), &store.labels, 1).entities[0];
    let related = store.anomalies.related(entity, 10);
    let found: Vec<_> = related.iter().map(|(name, value, of)| (name.as_str(), value.as_str(), of.len())).collect();
    assert_eq!(found, [("customer", "c149", 1), ("shop", "s99", 2)], "nearly all are of one country");
}

#[test]
fn what_is_no_message_is_counted_and_left_out() {
    let mut store = Store::new(Limits::default());
    for bad in ["", "{}", "[1]", "{\"detectors\":3}", "{\"detectors\":{\"a\":1}}", "\u{0}"] {
        for kind in [Kind::Verdict, Kind::DeadLetter] {
            store.take(&Committed { kind, payload: bad.as_bytes().to_vec(), at: 0 });
        }
    }
    store.take(&Committed { kind: Kind::Verdict, payload: vec![0xff], at: 0 });
    assert_eq!((store.unreadable, store.anomalies.len(), store.errors.len()), (13, 0, 0));
}

#[test]
fn version_1_has_rows_too() {
    let value = json!({
        "pipeline": "invoices", "key": "7", "detector": "kmeans", "model_version": "1", "anomalous": true, "score": 2.0,
        "threshold": 1.0, "features": {}, "contributions": {}, "lines": 1, "first_timestamp": "2011-07-19T17:04:00Z",
        "last_timestamp": "2011-07-19T17:04:00Z"
    });
    let other = json!({ "detector": "other" });
    let mut second = value.clone();
    second["detector"] = other["detector"].clone();
    let store = store_of(&[(value, 1), (second, 1)]);
    assert_eq!(
        (store.anomalies.len(), store.anomalies.find(&Query::default(), &store.labels, 1).entities[0].opinions.len()),
        (1, 2)
    );
}

#[test]
fn an_erroneous_record_is_cut_to_what_is_shown() {
    let raw = "é".repeat(100_000);
    let letter = json!({ "kind": "line", "reasons": ["too_many_fields"], "source": { "offset": 1 }, "raw": raw });
    let letter = DeadLetter::read(letter.to_string().as_bytes(), 1).unwrap();
    assert!(letter.is_cut && letter.content.len() == 4096);
    let lost = json!({ "kind": "lost", "reasons": ["lost"], "source": { "offsets": [[1, 9]] } });
    let lost = DeadLetter::read(lost.to_string().as_bytes(), 1).unwrap();
    assert!(!lost.is_cut && lost.content.is_empty());
}

/// However many anomalies there are, memory is bounded; what is left is the newest.
#[test]
fn a_million_anomalies_take_no_more_than_the_limits() {
    let limits = Limits { entities: 3_000, entity_bytes: 4 << 20, errors: 100, error_bytes: 64 << 10 };
    let mut store = Store::new(limits);
    let text = verdict("KEY", "kmeans", "high", "CUSTOMER").to_string();
    for number in 0..1_000_000i64 {
        let payload = text.replace("KEY", &number.to_string()).replace("CUSTOMER", &(number % 1000).to_string());
        store.take(&Committed { kind: Kind::Verdict, payload: payload.into_bytes(), at: number });
        assert!(store.anomalies.len() <= limits.entities && store.anomalies.bytes() <= limits.entity_bytes);
    }
    let left = store.anomalies.len() as u64;
    assert!(left > 1_000 && store.anomalies.evicted == 1_000_000 - left, "{left}");
    assert_eq!(keys(&store, &Query::default())[0], "999999");
    assert_eq!(store.anomalies.by_id_len(), store.anomalies.len());
}

proptest! {
    /// The bounds hold for any sizes, and the count of bytes is that of what is there.
    #[test]
    fn bounds_hold_in_any_order(times in prop::collection::vec((0i64..50, 0usize..3000, 0u8..3), 0..200)) {
        let limits = Limits { entities: 20, entity_bytes: 40_000, errors: 10, error_bytes: 20_000 };
        let mut store = Store::new(limits);
        for (at, size, kind) in times {
            let mut value = verdict(&format!("{at}-{size}"), ["a", "b", "c"][kind as usize], "low", "c");
            value["reason"] = json!("r".repeat(size));
            store.take(&committed(Kind::Verdict, &value, at));
            let raw = "é".repeat(size);
            let letter = json!({ "kind": "line", "reasons": [raw], "source": { "offset": size }, "raw": raw });
            store.take(&committed(Kind::DeadLetter, &letter, at));
            prop_assert!(store.anomalies.len() <= 20 && store.anomalies.bytes() <= 40_000);
            prop_assert!(store.errors.len() <= 10 && store.errors.bytes() <= 20_000);
            prop_assert_eq!(store.anomalies.bytes(), store.anomalies.counted_bytes());
            let page = store.anomalies.find(&Query::default(), &store.labels, 1000);
            prop_assert!(page.entities.is_sorted_by(|a, b| a.at >= b.at));
        }
    }
}
