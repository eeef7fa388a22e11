//! What analysts say, taken in and let go.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::intake::Kind as Message;
use crate::store::tests::{committed, verdict};
use crate::store::{Limits, Query, Store};

fn entry(version: u64, key: &str, value: Value) -> Entry {
    Entry { key: key.to_owned(), value: (!value.is_null()).then(|| value.to_string().into_bytes()), version }
}

fn label(id: &str, word: Option<&str>, owner: &str) -> Value {
    json!({ "schema": 1, "kind": "label", "id": id, "label": word, "owner": owner, "at": "2026-11-21T09:30:00Z" })
}

fn exception(id: &str, customer: &str, features: &[&str], until: &str) -> Value {
    json!({
        "schema": 1, "kind": "exception", "id": id, "customer_id": customer, "features": features, "until": until,
        "at": "2026-11-21T09:30:00Z", "by": "ann", "note": "they moved",
    })
}

/// Three anomalies of ann (the last by two detectors, for two reasons) and one of bob.
fn store() -> Store {
    let mut store = Store::new(Limits::default());
    let mut other = verdict("333", "other", "low", "ann");
    other["contributions"] = json!({ "AvgUnitPrice": 0.9, "NumberItems": 0.1 });
    let all = [
        (verdict("1", "kmeans", "low", "ann"), 1_000),
        (verdict("22", "kmeans", "high", "ann"), 2_000),
        (verdict("333", "kmeans", "high", "ann"), 3_000),
        (other, 3_000),
        (verdict("4444", "kmeans", "high", "bob"), 4_000),
    ];
    for (value, at) in &all {
        store.take(&committed(Message::Verdict, value, *at));
    }
    store
}

fn id(key: &str) -> String {
    format!("invoices/0/{}/{key}", key.len())
}

fn keys(store: &Store, state: Option<State>) -> Vec<String> {
    let page = store.anomalies.find(&Query { state, ..Query::default() }, &store.labels, 100);
    page.entities.iter().map(|entity| entity.key.clone()).collect()
}

#[test]
fn what_is_said_of_alerts_is_kept_beside_and_changes_no_anomaly() {
    let mut store = store();
    let word =
        |id: &str, by: &str| json!({ "schema": 1, "kind": "alert", "id": id, "by": by, "at": "2026-11-21T09:30:00Z" });
    store.labels.take(entry(1, "alert/abc", word("alert/abc", "ann")));
    store.labels.take(entry(2, "alert/abc", word("alert/abc", "bob")));
    let kept = store.labels.alert("alert/abc").unwrap();
    assert_eq!((kept.version, kept.entry.by.as_str()), (2, "bob"));
    assert_eq!((store.labels.len(), store.labels.exceptions().len(), keys(&store, Some(State::Open)).len()), (0, 0, 4));
    store.labels.take(entry(3, "alert/other", word("alert/abc", "eve")));
    assert_eq!(store.labels.unreadable, 1, "it names another one");
    store.labels.take(entry(4, "alert/abc", Value::Null));
    assert!(store.labels.alert("alert/abc").is_none());
    for number in 0..MOST_ALERTS as u64 + 5 {
        let id = format!("alert/{number}");
        store.labels.take(entry(number + 5, &id, word(&id, "ann")));
    }
    assert!(store.labels.alert("alert/4").is_none() && store.labels.alert("alert/5").is_some(), "the oldest go");
}

#[test]
fn a_word_closes_an_anomaly_and_an_owner_or_a_doubt_takes_it_into_review() {
    let mut store = store();
    assert_eq!(keys(&store, Some(State::Open)).len(), 4);
    store.labels.take(entry(1, &id("1"), label(&id("1"), Some("anomaly"), "")));
    store.labels.take(entry(2, &id("22"), label(&id("22"), Some("unsure"), "")));
    store.labels.take(entry(3, &id("333"), label(&id("333"), None, "ann")));
    assert_eq!(keys(&store, Some(State::Open)), ["4444"]);
    assert_eq!(keys(&store, Some(State::InReview)), ["333", "22"]);
    assert_eq!(keys(&store, Some(State::Closed)), ["1"]);
    assert_eq!(keys(&store, None).len(), 4);
    // The newest entry of a key counts, and one that is taken back is as if nothing had been said.
    store.labels.take(entry(4, &id("22"), label(&id("22"), Some("false_alarm"), "")));
    store.labels.take(entry(5, &id("1"), Value::Null));
    assert_eq!(keys(&store, Some(State::Closed)), ["22"]);
    assert_eq!(store.labels.get(&id("22")).unwrap().version, 4);
}

#[test]
fn an_exception_hides_what_every_detector_flags_for_its_reasons_before_its_end() {
    let mut store = store();
    let (day, name) = ("1970-01-01T00:00:03.500Z", "exception/a");
    store.labels.take(entry(1, name, exception(name, "ann", &["NumberItems"], day)));
    assert_eq!(keys(&store, Some(State::Hidden)), ["22", "1"], "the third is flagged for another reason too");
    assert_eq!(keys(&store, None), ["4444", "333"]);
    store.labels.take(entry(2, name, exception(name, "ann", &["NumberItems", "AvgUnitPrice"], day)));
    assert_eq!(keys(&store, Some(State::Hidden)), ["333", "22", "1"]);
    // What was scored after its end is shown, and whatever somebody has said something of.
    store.labels.take(entry(3, name, exception(name, "ann", &["NumberItems", "AvgUnitPrice"], "1970-01-01T00:00:02Z")));
    assert_eq!(keys(&store, Some(State::Hidden)), ["1"]);
    store.labels.take(entry(4, &id("1"), label(&id("1"), Some("anomaly"), "")));
    assert!(keys(&store, Some(State::Hidden)).is_empty());
    store.labels.take(entry(5, &id("1"), Value::Null));
    let mut withdrawn = exception(name, "ann", &["NumberItems"], day);
    withdrawn["withdrawn"] = json!({ "by": "bob", "at": "2026-11-21T09:30:00Z" });
    store.labels.take(entry(6, name, withdrawn));
    assert!(keys(&store, Some(State::Hidden)).is_empty());
    assert_eq!(store.labels.exceptions()[0].entry.withdrawn.as_ref().unwrap().by, "bob");
}

#[test]
fn a_preview_says_what_would_have_been_hidden_and_what_of_it_was_confirmed() {
    let mut store = store();
    let of = |store: &Store, features: &[&str], now| {
        let (found, named) = store.labels.preview(&store.anomalies, "ann", features, now);
        (found.anomalies, found.confirmed, named.len())
    };
    assert_eq!(of(&store, &["NumberItems"], 5_000), (2, 0, 2));
    store.labels.take(entry(1, &id("22"), label(&id("22"), Some("anomaly"), "")));
    store.labels.take(entry(2, &id("1"), label(&id("1"), Some("false_alarm"), "")));
    assert_eq!(of(&store, &["NumberItems", "AvgUnitPrice"], 5_000), (3, 1, 3));
    assert_eq!(of(&store, &["NumberItems"], 30 * DAY + 1_500), (1, 1, 1), "the first is older than that");
    assert_eq!(of(&store, &["Country"], 5_000), (0, 0, 0));
}

#[test]
fn precision_is_by_detector_and_day_and_doubts_are_no_part_of_it() {
    let mut store = store();
    let mut first = label(&id("333"), Some("anomaly"), "");
    first["verdicts"] = json!([{ "detector": "kmeans" }]);
    first["scored_at"] = json!("2026-11-20T23:59:59Z");
    store.labels.take(entry(1, &id("333"), first));
    store.labels.take(entry(2, &id("22"), label(&id("22"), Some("false_alarm"), "")));
    store.labels.take(entry(3, &id("1"), label(&id("1"), Some("unsure"), "")));
    // Nobody knows which detector found this one.
    store.labels.take(entry(4, "elsewhere", label("elsewhere", Some("anomaly"), "")));
    let found = store.labels.precision(&store.anomalies);
    assert_eq!(found.all, Said { anomaly: 2, false_alarm: 1, unsure: 1 });
    assert_eq!(found.by_detector["kmeans"], Said { anomaly: 1, false_alarm: 1, unsure: 1 });
    assert_eq!(found.by_detector["kmeans"].precision(), Some(0.5));
    assert_eq!(
        found.by_day.keys().map(|at| moment::text(*at)).collect::<Vec<_>>(),
        ["2026-11-20T00:00:00.000Z", "2026-11-21T00:00:00.000Z"]
    );
    assert_eq!(Said::default().precision(), None);
}

#[test]
fn what_is_no_label_is_counted_and_takes_the_place_of_what_was_there() {
    let mut store = store();
    store.labels.take(entry(1, &id("1"), label(&id("1"), Some("anomaly"), "")));
    let wrong = [
        json!({}),
        json!(3),
        json!({ "kind": "label" }),
        json!({ "kind": "other", "id": id("1"), "at": "2026-11-21T09:30:00Z" }),
        label("another", Some("anomaly"), ""),
        label(&id("1"), Some("perhaps"), ""),
        json!({ "schema": 1, "kind": "label", "id": id("1"), "at": "yesterday" }),
        label(&id("1"), Some("anomaly"), &"x".repeat(LONGEST)),
    ];
    for (version, value) in (2..).zip(wrong) {
        store.labels.take(entry(version, &id("1"), value.clone()));
        assert_eq!(store.labels.unreadable, version - 1, "{value}");
        assert_eq!(store.labels.len(), 0, "the topic says something else by now");
    }
}

proptest! {
    /// The count of bytes is that of what is there, whatever is said in whichever order.
    #[test]
    fn bytes_are_counted(said in prop::collection::vec((0u8..6, 0usize..400, any::<bool>()), 0..60)) {
        let mut labels = Labels::new();
        for (version, (key, size, is_gone)) in (1..).zip(said) {
            let key = format!("k{key}");
            let value = if is_gone { Value::Null } else { label(&key, None, &"o".repeat(size)) };
            labels.take(entry(version, &key, value));
            let (counted, real) = labels.counted_bytes();
            prop_assert_eq!(counted, real);
            prop_assert_eq!(labels.by_version.len(), labels.by_id.len());
        }
    }
}
