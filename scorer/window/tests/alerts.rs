//! The desk of alerts as those who connect to the window see it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

#[allow(dead_code, reason = "of what the acceptance tests use, this needs a part")]
#[path = "../../../tests/src/json_schema.rs"]
mod json_schema;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use json_schema::JsonSchema;
use serde_json::Value;
use window::{
    About, Access, AlertAction, AlertDesk, AlertNumbers, AlertOf, AlertWord, ChannelNumbers, Concerned, Ends, Entry,
    Journal, Keeping, Limits, Open, Outcome, Server, Snapshot, Source, Write,
};

/// Where the schemas are.
fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

#[derive(Default)]
struct Desk {
    done: Mutex<Vec<AlertAction>>,
    heard: Mutex<Vec<AlertWord>>,
}

impl AlertDesk for Desk {
    fn view(&self) -> String {
        r#"{"firing": [{"id": "abc"}]}"#.to_owned()
    }

    fn numbers(&self) -> AlertNumbers {
        let mail = ChannelNumbers {
            name: "mail".to_owned(),
            sent: 3,
            waiting: 2,
            failing_since: Some(0),
            ..ChannelNumbers::default()
        };
        let page = ChannelNumbers { name: "page".to_owned(), refused: 4, dropped: 5, ..ChannelNumbers::default() };
        let firing = vec![("many".to_owned(), 2), ("none".to_owned(), 0)];
        AlertNumbers { firing, channels: vec![mail, page], dropped: 6, forgotten: 7 }
    }

    fn act(&self, action: &AlertAction) -> Result<Concerned, String> {
        if matches!(action, AlertAction::Acknowledge { id } if id != "abc") {
            return Err("there is no such alert".to_owned());
        }
        self.done.lock().unwrap().push(action.clone());
        Ok(Concerned { rule: "many".to_owned(), group: Some("customer 7".to_owned()) })
    }

    fn heed(&self, word: &AlertWord) {
        self.heard.lock().unwrap().push(word.clone());
    }
}

/// A window that keeps nothing.
fn open(desk: Option<Arc<Desk>>) -> Open {
    open_with(desk, Keeping::Nowhere("there is no topic".to_owned())).0
}

fn open_with(desk: Option<Arc<Desk>>, keeping: Keeping) -> (Open, Journal) {
    let access = Access::new("127.0.0.1:0".parse().unwrap(), None).unwrap();
    let (mut server, Ends { journal, .. }) = Server::bind(access).unwrap();
    if let Some(desk) = desk {
        server = server.with_alerts(desk);
    }
    let ask = Arc::new(Snapshot::default);
    let about = About { pipeline: "invoices".to_owned(), ..About::default() };
    (server.open(Source { about, ask, limits: Limits::default(), keeping }).unwrap(), journal)
}

/// The status and the body of an answer.
fn send(open: &Open, request: &str, headers: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(open.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let text =
        format!("{request} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 0\r\n{headers}\r\n");
    stream.write_all(text.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), body.to_owned())
}

const OWN: &str = "x-atalaya-write: 1\r\ncontent-type: application/json\r\n";

#[test]
fn people_see_alerts_and_say_that_they_know() {
    let desk = Arc::<Desk>::default();
    let open = open(Some(desk.clone()));
    assert_eq!(send(&open, "GET /alerts", "").0, 200);
    assert_eq!(send(&open, "GET /api/v1/alerts", ""), (200, r#"{"firing": [{"id": "abc"}]}"#.to_owned()));
    // It is done though it cannot be kept, and the answer says so.
    let (status, body) = send(&open, "POST /api/v1/alerts/acknowledge?id=abc", OWN);
    let not_kept = r#"{"done":true,"kept":false,"not_kept_because":"nothing is kept here: there is no topic"}"#;
    assert_eq!((status, body.as_str()), (200, not_kept));
    assert_eq!(send(&open, "POST /api/v1/alerts/snooze?id=abc&minutes=60", OWN).0, 200);
    assert_eq!(send(&open, "POST /api/v1/alerts/snooze?rule=bad&minutes=0", OWN).0, 200);
    let hour = Duration::from_secs(3600);
    assert_eq!(
        *desk.done.lock().unwrap(),
        [
            AlertAction::Acknowledge { id: "abc".to_owned() },
            AlertAction::Snooze { id: "abc".to_owned(), length: hour },
            AlertAction::SnoozeRule { rule: "bad".to_owned(), length: Duration::ZERO },
        ]
    );
    let (status, body) = send(&open, "POST /api/v1/alerts/acknowledge?id=other", OWN);
    assert_eq!((status, body.as_str()), (404, r#"{"error":"there is no such alert"}"#));
    for wrong in ["snooze?id=abc", "snooze?minutes=5", "snooze?id=abc&minutes=99999", "snooze?id=a&rule=b&minutes=5"] {
        assert_eq!(send(&open, &format!("POST /api/v1/alerts/{wrong}"), OWN).0, 400, "{wrong}");
    }
    assert_eq!(desk.done.lock().unwrap().len(), 3);
}

#[test]
fn a_page_of_another_site_changes_nothing() {
    let desk = Arc::<Desk>::default();
    let open = open(Some(desk.clone()));
    let acknowledge = "POST /api/v1/alerts/acknowledge?id=abc";
    // Without the header it could be a form of any site.
    assert_eq!(send(&open, acknowledge, "").0, 403);
    for site in ["cross-site", "same-site"] {
        assert_eq!(send(&open, acknowledge, &format!("{OWN}sec-fetch-site: {site}\r\n")).0, 403, "{site}");
    }
    // A link is no change.
    assert_eq!(send(&open, "GET /api/v1/alerts/acknowledge?id=abc", OWN).0, 405);
    assert!(desk.done.lock().unwrap().is_empty());
    assert_eq!(send(&open, acknowledge, &format!("{OWN}sec-fetch-site: same-origin\r\n")).0, 200);
}

/// What the keeper is asked to keep, and that it has been kept as this version.
fn keep(journal: &Journal, write: &Write, version: u64) -> Value {
    journal.tell(Entry { key: write.key.clone(), value: Some(write.value.clone()), version });
    serde_json::from_slice(&write.value).unwrap()
}

#[test]
fn what_people_say_is_kept_with_what_was_said_before_and_heard() {
    let desk = Arc::<Desk>::default();
    let (open, mut journal) = open_with(Some(desk.clone()), Keeping::Topic("invoices_labels".to_owned()));
    let keeper = std::thread::spawn(move || {
        let first = journal.wait().unwrap();
        let known = keep(&journal, &first, 1);
        assert_eq!((first.key.as_str(), first.seen), ("alert/abc", None));
        journal.answer(first, Outcome::Kept);
        // Somebody at another window is faster: their word is heard, and this one is added to it.
        let late = journal.wait().unwrap();
        assert_eq!(late.seen, Some(1));
        let other = serde_json::json!({
            "schema": 1, "kind": "alert", "id": "alert/abc", "pipeline": "invoices", "by": "eve",
            "acknowledged": "1970-01-01T00:00:09Z",
            "at": "1970-01-01T00:00:09Z"
        });
        journal.tell(Entry { key: late.key.clone(), value: Some(other.to_string().into_bytes()), version: 2 });
        journal.answer(late, Outcome::Stale);
        let second = journal.wait().unwrap();
        let both = keep(&journal, &second, 3);
        assert_eq!(second.seen, Some(2));
        journal.answer(second, Outcome::Kept);
        let third = journal.wait().unwrap();
        journal.answer(third, Outcome::Failed("no broker answers".to_owned()));
        (known, both)
    });
    let kept = r#"{"done":true,"kept":true,"not_kept_because":null}"#.to_owned();
    assert_eq!(send(&open, "POST /api/v1/alerts/acknowledge?id=abc&by=ann", OWN), (200, kept.clone()));
    assert_eq!(send(&open, "POST /api/v1/alerts/snooze?id=abc&minutes=60&by=bob", OWN), (200, kept));
    let (status, body) = send(&open, "POST /api/v1/alerts/snooze?rule=many&minutes=60", OWN);
    assert_eq!(
        (status, body.contains(r#""kept":false,"not_kept_because":"no broker answers""#)),
        (200, true),
        "{body}"
    );
    let (known, both) = keeper.join().unwrap();
    let schema = JsonSchema::read("alert-word");
    for (entry, by) in [(&known, "ann"), (&both, "bob")] {
        assert_eq!(schema.problem(entry), None, "{entry}");
        let said = [&entry["by"], &entry["rule"], &entry["group"], &entry["pipeline"]];
        assert_eq!(said, [by, "many", "customer 7", "invoices"], "{entry}");
    }
    assert_eq!(known.get("snoozed_until"), None);
    assert_eq!(both["acknowledged"], "1970-01-01T00:00:09.000Z", "what others said is not lost");
    assert!(both["snoozed_until"].is_string(), "{both}");
    let heard = desk.heard.lock().unwrap();
    assert!(heard.iter().all(|word| word.of == AlertOf::Group("abc".to_owned())), "{heard:?}");
    let acknowledged: Vec<bool> = heard.iter().map(|word| word.acknowledged == Some(9_000)).collect();
    assert_eq!(acknowledged, [false, true, true]);
    assert_eq!(heard.iter().map(|word| word.snoozed_until.is_some()).collect::<Vec<_>>(), [false, false, true]);
    assert_eq!(desk.done.lock().unwrap().len(), 3, "it is done before it is kept");
}

#[test]
fn a_pipeline_without_alerts_has_an_empty_list() {
    let open = open(None);
    assert!(send(&open, "GET /api/v1/alerts", "").1.contains(r#""firing":[]"#));
    assert_eq!(send(&open, "POST /api/v1/alerts/acknowledge?id=abc", OWN).0, 404);
}

/// A channel that takes nothing is no news on any channel: supervisors have to see it.
#[test]
fn supervisors_see_alerts_and_a_dead_channel() {
    let metrics = |open: &Open| send(open, "GET /metrics", "").1;
    let text = metrics(&open(Some(Arc::default())));
    for line in [
        "atalaya_alerts_firing{rule=\"many\"} 2.0",
        "atalaya_alerts_firing{rule=\"none\"} 0.0",
        "atalaya_alerts_waiting{channel=\"mail\"} 2.0",
        "atalaya_alerts_failing_seconds{channel=\"page\"} 0.0",
        "atalaya_alerts_sent_total{channel=\"mail\"} 3",
        "atalaya_alerts_refused_total{channel=\"page\"} 4",
        "atalaya_alerts_dropped_total{channel=\"page\"} 5",
        "atalaya_alerts_anomalies_dropped_total 6",
        "atalaya_alerts_groups_forgotten_total 7",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
    }
    let dead = text.lines().find_map(|line| line.strip_prefix("atalaya_alerts_failing_seconds{channel=\"mail\"} "));
    assert!(dead.unwrap().parse::<f64>().unwrap() > 1e9, "since 1970: {dead:?}");
    assert!(!metrics(&open(None)).contains("atalaya_alerts"), "without alerts there is nothing to say");
}
