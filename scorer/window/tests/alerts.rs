//! The desk of alerts as those who connect to the window see it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use window::{
    About, Access, AlertAction, AlertDesk, AlertNumbers, ChannelNumbers, Keeping, Limits, Open, Server, Snapshot,
    Source,
};

#[derive(Default)]
struct Desk(Mutex<Vec<AlertAction>>);

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

    fn act(&self, action: AlertAction) -> Result<(), String> {
        if matches!(&action, AlertAction::Acknowledge { id } if id != "abc") {
            return Err("there is no such alert".to_owned());
        }
        self.0.lock().unwrap().push(action);
        Ok(())
    }
}

fn open(desk: Option<Arc<Desk>>) -> Open {
    let access = Access::new("127.0.0.1:0".parse().unwrap(), None).unwrap();
    let (mut server, ..) = Server::bind(access).unwrap();
    if let Some(desk) = desk {
        server = server.with_alerts(desk);
    }
    let ask = Arc::new(Snapshot::default);
    server.open(Source { about: About::default(), ask, limits: Limits::default(), keeping: Keeping::Memory }).unwrap()
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
    assert_eq!(send(&open, "POST /api/v1/alerts/acknowledge?id=abc", OWN).0, 200);
    assert_eq!(send(&open, "POST /api/v1/alerts/snooze?id=abc&minutes=60", OWN).0, 200);
    assert_eq!(send(&open, "POST /api/v1/alerts/snooze?rule=bad&minutes=0", OWN).0, 200);
    let hour = Duration::from_secs(3600);
    assert_eq!(
        *desk.0.lock().unwrap(),
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
    assert_eq!(desk.0.lock().unwrap().len(), 3);
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
    assert!(desk.0.lock().unwrap().is_empty());
    assert_eq!(send(&open, acknowledge, &format!("{OWN}sec-fetch-site: same-origin\r\n")).0, 200);
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
