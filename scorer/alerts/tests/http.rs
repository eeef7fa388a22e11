//! Alerts to a real HTTP receiver on loopback, with outages.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod http_sink;

use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use alerts::{
    Alert, Alerting, Alertmanager, Anomaly, Backoff, By, Channel, Condition, Earlier, Intake, Reading, Rule, Secret,
    SendError, Severity, Slack, Webhook, signature,
};
use http_sink::{HttpSink, PATIENCE};

const FAST: Backoff = Backoff { first: Duration::from_millis(20), longest: Duration::from_millis(100) };

const SECRET: &str = "a secret of the test";

fn rule(channels: &[&str]) -> Rule {
    Rule {
        name: "bad".to_owned(),
        condition: Condition::Anomalies { severity: Severity::Medium, detectors: Vec::new(), count: 1, window: 60_000 },
        group_by: vec![By::Customer],
        throttle: 0,
        repeat: None,
        resolve_after: 3_600_000,
        channels: channels.iter().map(|name| (*name).to_owned()).collect(),
    }
}

fn anomaly(number: usize) -> Anomaly {
    Anomaly {
        entity: format!("invoices/0/{number}/{number}"),
        key: number.to_string(),
        detector: "kmeans".to_owned(),
        severity: Severity::High,
        reason: "4,000 items, 44 times the usual 91".to_owned(),
        customer: Some(format!("c{number}")),
        fields: vec![("Country".to_owned(), "France".to_owned())],
        at: 0,
    }
}

fn offer(intake: &Intake, number: usize) {
    intake.offer(Severity::High, "kmeans", || anomaly(number));
}

fn webhook(url: &Secret, patience: Duration) -> Box<dyn Channel> {
    Box::new(Webhook::new(url, Some(&Secret::new(SECRET)), None, patience).unwrap())
}

fn start(channels: Vec<(String, &'static str, Box<dyn Channel>)>) -> (Alerting, Intake) {
    start_after(channels, Vec::new)
}

fn start_after(
    channels: Vec<(String, &'static str, Box<dyn Channel>)>,
    earlier: impl FnOnce() -> Vec<Anomaly> + Send + 'static,
) -> (Alerting, Intake) {
    let names: Vec<String> = channels.iter().map(|(name, ..)| name.clone()).collect();
    let rule = rule(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let earlier = move || Earlier { anomalies: earlier(), words: Vec::new() };
    Alerting::start("invoices", vec![rule], channels, FAST, Arc::new(Reading::default), earlier).unwrap()
}

/// Waits until something is so.
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// An address where nobody is.
fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[test]
fn a_webhook_is_signed_and_says_what_was_found() {
    let sink = HttpSink::start(&[]);
    let (alerting, intake) = start(vec![("hook".to_owned(), "webhook", webhook(&sink.url("/hook?a=b"), PATIENCE))]);
    offer(&intake, 7);
    let request = sink.next();
    assert_eq!(request.path, "/hook?a=b");
    let (id, seconds) = (request.header("webhook-id"), request.header("webhook-timestamp").parse().unwrap());
    let expected = signature(&Secret::new(SECRET), id, seconds, &request.body).unwrap();
    assert_eq!(request.header("webhook-signature"), expected);
    assert_eq!(request.header("idempotency-key"), id);
    let alert = request.json();
    assert_eq!((alert["id"].as_str(), alert["status"].as_str()), (Some(id), Some("firing")));
    assert_eq!(alert["group"]["customer"], "c7");
    assert_eq!(alert["anomalies"][0]["fields"]["Country"], "France");
    assert_eq!(alerting.close(PATIENCE), 0);
}

#[test]
fn after_an_outage_everything_arrives_once_and_in_order() {
    let address = nobody();
    let url = Secret::new(format!("http://{address}/hook"));
    let (alerting, intake) = start(vec![("hook".to_owned(), "webhook", webhook(&url, PATIENCE))]);
    let desk = alerting.desk();
    (0..20).for_each(|number| offer(&intake, number));
    // Nobody is there, and that is seen.
    until("the channel fails", || desk.view().channels[0].failures >= 2 && desk.view().channels[0].waiting == 20);
    let view = desk.view().channels.remove(0);
    assert!(view.failing_since.is_some() && view.sent == 0, "{view:?}");
    assert!(view.error.as_deref().is_some_and(|error| error.starts_with("cannot connect")), "{view:?}");
    // Somebody comes, who is not ready at once.
    let sink =
        HttpSink::at(address, &["503 Service Unavailable", "500 Internal Server Error", "429 Too Many Requests"]);
    let ids: Vec<String> = (0..23).map(|_| sink.next().header("webhook-id").to_owned()).collect();
    assert!(ids[..4].iter().all(|id| *id == ids[0]), "what fails is sent again with the same id: {ids:?}");
    let mut different = ids.clone();
    different.dedup();
    assert_eq!(different.len(), 20);
    until("the channel is well", || desk.view().channels[0].sent == 20);
    let view = desk.view().channels.remove(0);
    assert_eq!((view.failures, view.error, view.failing_since, view.dropped), (0, None, None, 0));
    drop(alerting);
}

#[test]
fn a_dead_channel_holds_back_no_other_and_nobody_who_offers() {
    let sink = HttpSink::start(&[]);
    // It takes connections and says nothing.
    let silent = HttpSink::start(&["silence"; 64]);
    let (alerting, intake) = start(vec![
        ("dead".to_owned(), "webhook", webhook(&silent.url("/"), Duration::from_millis(300))),
        ("alive".to_owned(), "webhook", webhook(&sink.url("/"), PATIENCE)),
    ]);
    let begin = Instant::now();
    (0..100).for_each(|number| offer(&intake, number));
    assert!(begin.elapsed() < Duration::from_secs(5), "to offer takes no time");
    for number in 0..100 {
        assert_eq!(sink.next().json()["anomalies"][0]["key"], number.to_string());
    }
    let desk = alerting.desk();
    until("the silence is seen", || desk.view().channels[0].error.as_deref() == Some("no answer in time"));
    let dead = desk.view().channels.remove(0);
    assert_eq!((dead.sent, dead.waiting), (0, 100));
    // What cannot be sent is told at the end.
    assert_eq!(alerting.close(Duration::from_millis(100)), 100);
}

#[test]
fn an_alert_that_is_refused_for_good_does_not_stop_the_next() {
    let sink = HttpSink::start(&["400 Bad Request"]);
    let (alerting, intake) = start(vec![("hook".to_owned(), "webhook", webhook(&sink.url("/"), PATIENCE))]);
    (0..2).for_each(|number| offer(&intake, number));
    assert_eq!([sink.next().json()["count"].clone(), sink.next().json()["count"].clone()], [1, 1]);
    let desk = alerting.desk();
    until("both are done", || desk.view().channels[0].sent == 1);
    assert_eq!((desk.view().channels[0].refused, desk.view().channels[0].waiting), (1, 0));
}

#[test]
fn what_was_published_before_the_start_is_decided_again_with_the_same_names() {
    let sink = HttpSink::start(&[]);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as i64;
    let earlier = move || {
        let at = |number, minutes: i64| Anomaly { at: now - minutes * 60_000, ..anomaly(number) };
        vec![at(2, 1), at(1, 5), at(0, 30)]
    };
    let mut ids = Vec::new();
    for _ in 0..2 {
        let channels = vec![("hook".to_owned(), "webhook", webhook(&sink.url("/"), PATIENCE))];
        let (alerting, _intake) = start_after(channels, earlier);
        let found = [sink.next(), sink.next()];
        // In the order of time, without what is too long ago.
        assert_eq!(found.each_ref().map(|it| it.json()["anomalies"][0]["key"].clone()), ["1", "2"]);
        ids.push(found.map(|it| it.header("idempotency-key").to_owned()));
        assert_eq!(alerting.close(PATIENCE), 0);
    }
    assert_eq!(ids[0], ids[1]);
}

#[test]
fn slack_gets_a_text_and_alertmanager_labels() {
    let sink = HttpSink::start(&[]);
    let slack = Slack::new(&sink.url("/services/T/B/x"), Slack::template(None).unwrap(), PATIENCE).unwrap();
    let manager = Alertmanager::new(&sink.url("/prefix/"), PATIENCE).unwrap();
    let (alerting, intake) = start(vec![("chat".to_owned(), "slack", Box::new(slack))]);
    offer(&intake, 7);
    let text = sink.next().json()["text"].as_str().unwrap().to_owned();
    assert!(text.starts_with("*[FIRING high] bad: 1 anomaly of customer c7*\n"), "{text}");
    assert!(text.contains("- 7 (high, kmeans): 4,000 items, 44 times the usual 91"), "{text}");
    alerting.close(PATIENCE);
    manager.send(&Alert::test("invoices", "bad", 1_700_000_000_000)).unwrap();
    let request = sink.next();
    assert_eq!(request.path, "/prefix/api/v2/alerts");
    let alert = &request.json()[0];
    assert_eq!(alert["labels"], serde_json::json!({ "alertname": "bad", "pipeline": "invoices" }));
    assert_eq!(alert["startsAt"], "2023-11-14T22:13:20.000Z");
}

#[test]
fn what_is_said_of_a_failure_holds_no_secret() {
    let secret = "T0KEN";
    let url = |address: &str| Secret::new(format!("http://{address}/{secret}?{secret}"));
    let refused = Webhook::new(&url(&nobody().to_string()), None, None, PATIENCE).unwrap();
    let failed = refused.send(&Alert::test("p", "r", 0)).unwrap_err();
    assert!(matches!(failed, SendError::Later { .. }) && !failed.to_string().contains(secret), "{failed}");
    assert!(!format!("{refused:?}").contains(secret));
    let unknown = Webhook::new(&url("nowhere.invalid"), None, None, PATIENCE).unwrap();
    let failed = unknown.send(&Alert::test("p", "r", 0)).unwrap_err();
    assert!(!failed.to_string().contains(secret), "{failed}");
    for bad in ["", "T0KEN", "ftp://example.org/T0KEN", "http://[T0KEN"] {
        let error = Webhook::new(&Secret::new(bad), None, None, PATIENCE).unwrap_err().to_string();
        assert!(error.starts_with("the url must be an address") && !error.contains(secret), "{error}");
    }
}

#[test]
fn a_receiver_that_says_when_is_left_alone_until_then() {
    let sink =
        HttpSink::start(&["429 Too Many Requests\r\nRetry-After: 7", "301 Moved\r\nLocation: http://example.org/"]);
    let hook = Webhook::new(&sink.url("/"), None, None, PATIENCE).unwrap();
    let alert = Alert::test("p", "r", 0);
    let wait = Some(Duration::from_secs(7));
    let said = Mutex::new(hook.send(&alert).unwrap_err());
    assert_eq!(said.into_inner().unwrap(), SendError::Later { cause: "the receiver answered 429".to_owned(), wait });
    let moved = hook.send(&alert).unwrap_err().to_string();
    assert!(moved.contains("301") && moved.contains("leads elsewhere"), "{moved}");
    assert_eq!(sink.next().header("webhook-signature"), "", "without a secret nothing is signed");
}
