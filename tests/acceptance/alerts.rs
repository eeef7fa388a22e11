//! Alerts on a real broker: what was found arrives, through an outage of the receiver and the death of the scorer, and a
//! receiver can tell what it has seen.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use serde_json::Value;
use tests::{JsonSchema, Kafka, PipelineFile, Received, Running, repository, scorer, start_scorer, text, wait_for};

const PATIENCE: Duration = Duration::from_secs(120);

/// Lines of the sample that are sent.
const LINES: usize = 3000;

/// A receiver of webhooks: the id that the headers name, and the alert.
pub(crate) struct Sink {
    alerts: Receiver<(String, Value)>,
}

impl Sink {
    /// Receives at an address.
    pub(crate) fn at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let (said, alerts) = channel();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                // Whoever goes away in the middle has sent nothing.
                let Some(alert) = read(&stream) else { continue };
                let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n");
                if said.send(alert).is_err() {
                    return;
                }
            }
        });
        Self { alerts }
    }

    pub(crate) fn next(&self) -> (String, Value) {
        self.alerts.recv_timeout(PATIENCE).expect("an alert came")
    }
}

fn read(stream: &TcpStream) -> Option<(String, Value)> {
    let mut reader = BufReader::new(stream);
    let (mut length, mut id) = (0, String::new());
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        match line.trim_end().to_lowercase().split_once(": ") {
            Some(("content-length", value)) => length = value.parse().ok()?,
            Some(("idempotency-key", value)) => id = value.to_owned(),
            _ => {}
        }
        if line.trim_end().is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((id, serde_json::from_slice(&body).ok()?))
}

/// An address where nobody is.
pub(crate) fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn write_pipeline(path: &Path, hook: SocketAddr) {
    let sections = format!(
        "[[channels]]
name = \"hook\"
type = \"webhook\"
url = \"http://{hook}/alerts\"

[[channels]]
name = \"topic\"
type = \"kafka\"
topic = \"invoice_alerts\"

[[alerts]]
name = \"each-invoice\"
detectors = [\"kmeans\"]
group_by = [\"key\"]
throttle = \"1ms\"
channels = [\"hook\", \"topic\"]

[outputs]"
    );
    // What is open at the end stays open, however long the test takes.
    PipelineFile::invoices().with("session_gap", "20m").replaced("[outputs]", &sections).write(path);
}

fn start(kafka: &Kafka, pipeline: &Path, folder: &Path) -> (Running, String) {
    let models = repository().join("models");
    let what = ["run", "--listen", "127.0.0.1:0", "--pipeline", text(pipeline), "--models", text(&models)];
    let how = ["--device", "cpu", "--clock", "event", "--state-dir", text(folder), "--brokers", &kafka.brokers];
    let mut running = start_scorer(&[&what[..], &how].concat());
    let address = wait_for("the address of the window", PATIENCE, || {
        assert!(!running.has_ended(), "{}", running.stderr());
        let said = running.stderr();
        Some(said.split("window: http://").nth(1)?.split_once('/')?.0.to_owned())
    });
    (running, address)
}

/// What the window says of alerts.
fn view(address: &str) -> Value {
    let mut stream = TcpStream::connect(address).unwrap();
    let request = format!("GET /api/v1/alerts HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let view = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
    assert_eq!(JsonSchema::of_window().problem_of_part("Alerts", &view), None, "{view}");
    view
}

/// Does what people do on the page, and expects it to be kept.
fn say(address: &str, what: &str) {
    let mut stream = TcpStream::connect(address).unwrap();
    let head = format!("POST /api/v1/alerts/{what} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
    let more = "X-Atalaya-Write: 1\r\nContent-Type: application/json\r\nContent-Length: 0\r\n\r\n";
    stream.write_all(format!("{head}{more}").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let body: Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
    assert_eq!((&body["done"], &body["kept"]), (&Value::Bool(true), &Value::Bool(true)), "{what}: {body}");
}

fn keys(verdicts: &[Received]) -> BTreeSet<String> {
    verdicts.iter().map(|verdict| verdict.value["key"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn alerts_arrive_through_an_outage_and_the_death_of_the_scorer() {
    let Some(kafka) = Kafka::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let (pipeline, input) = (folder.path().join("pipeline.toml"), folder.path().join("input.csv"));
    let hook = nobody();
    write_pipeline(&pipeline, hook);
    let sample = std::fs::read_to_string(repository().join("resources/production.csv")).unwrap();
    std::fs::write(&input, sample.lines().take(LINES + 1).collect::<Vec<_>>().join("\n") + "\n").unwrap();

    // Nobody receives the webhook; the topic does.
    let (running, address) = start(&kafka, &pipeline, folder.path());
    let replay = scorer(&["replay", text(&input), "--pipeline", text(&pipeline), "--brokers", &kafka.brokers]);
    assert_eq!(replay.code, Some(0), "{}", replay.stderr);
    let found = wait_for("an alert for each anomaly", PATIENCE, || {
        let found = keys(&kafka.read("anomalias_kmeans"));
        let told = kafka.read("invoice_alerts");
        (found.len() > 10 && told.len() == found.len() && view(&address)["channels"][1]["sent"] == found.len())
            .then_some(found)
    });
    let told = kafka.read("invoice_alerts");
    let ids: BTreeSet<String> = told.iter().map(|alert| alert.value["id"].as_str().unwrap().to_owned()).collect();
    let named: BTreeSet<String> =
        told.iter().map(|alert| alert.value["anomalies"][0]["key"].as_str().unwrap().to_owned()).collect();
    assert_eq!((named, ids.len()), (found.clone(), found.len()));
    let headers: BTreeSet<String> =
        kafka.headers("invoice_alerts").into_iter().map(|headers| headers["idempotency_key"].clone()).collect();
    assert_eq!(headers, ids);
    // The dead channel is seen, and all of it waits.
    let dead = view(&address)["channels"][0].clone();
    assert!(dead["error"].as_str().unwrap().starts_with("cannot connect"), "{dead}");
    assert_eq!((dead["sent"].as_u64(), dead["waiting"].as_u64()), (Some(0), Some(found.len() as u64)));
    assert!(dead["failing_since"].is_i64(), "{dead}");

    // What waits dies with the scorer. The next one decides again from the topics.
    running.kill();
    let sink = Sink::at(hook);
    let (running, address) = start(&kafka, &pipeline, folder.path());
    let received: Vec<(String, Value)> = (0..found.len()).map(|_| sink.next()).collect();
    let received_ids: BTreeSet<String> = received.iter().map(|(id, _)| id.clone()).collect();
    assert_eq!(received_ids, ids, "the same alerts have the same names");
    assert!(received.iter().all(|(id, alert)| alert["id"] == *id));
    // The topic has them twice by now, and whoever reads it can tell.
    wait_for("the alerts in the topic", PATIENCE, || {
        let told = kafka.read("invoice_alerts");
        let again: BTreeSet<String> = told.iter().map(|it| it.value["id"].as_str().unwrap().to_owned()).collect();
        (told.len() == 2 * found.len() && again == ids).then_some(())
    });
    wait_for("the channel that is well again", PATIENCE, || {
        (view(&address)["channels"][0]["sent"] == found.len()).then_some(())
    });

    // What people say of alerts outlives the scorer.
    let firing = view(&address)["firing"].as_array().unwrap().clone();
    let id = |index: usize| firing[index]["id"].as_str().unwrap().to_owned();
    say(&address, &format!("acknowledge?id={}&by=Ann", id(0)));
    say(&address, &format!("snooze?id={}&minutes=60&by=Ann", id(1)));
    running.kill();
    let (running, address) = start(&kafka, &pipeline, folder.path());
    let again = wait_for("the alerts that are so", PATIENCE, || {
        let firing = view(&address)["firing"].as_array().unwrap().clone();
        (!firing.is_empty()).then_some(firing)
    });
    let of = |id: &str| again.iter().find(|alert| alert["id"] == id).unwrap_or_else(|| panic!("no {id}: {again:?}"));
    assert_eq!((&of(&id(0))["is_acknowledged"], &of(&id(0))["snoozed_until"]), (&Value::Bool(true), &Value::Null));
    assert_eq!(of(&id(1))["is_acknowledged"], false);
    assert!(of(&id(1))["snoozed_until"].is_i64(), "{again:?}");
    let told: Vec<Value> = (0..found.len() - 2).map(|_| sink.next().1).collect();
    let groups: BTreeSet<&str> = told.iter().map(|alert| alert["group_id"].as_str().unwrap()).collect();
    assert!(!groups.contains(id(0).as_str()) && !groups.contains(id(1).as_str()), "{groups:?}");
    let (run, _) = running.terminate();
    assert_eq!(run.code, Some(0), "{}", run.stderr);
}

#[test]
fn a_test_alert_says_what_became_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let pipeline = folder.path().join("pipeline.toml");
    let dead = nobody();
    write_pipeline(&pipeline, dead);
    let of_hook = ["alerts", "test", "--pipeline", text(&pipeline), "--channel", "hook"];
    let failed = scorer(&of_hook);
    assert_eq!(failed.code, Some(1));
    assert!(failed.stdout.starts_with("hook (webhook): cannot connect"), "{}", failed.stdout);
    assert!(failed.stderr.contains("the test did not arrive by hook"), "{}", failed.stderr);
    let sink = Sink::at(dead);
    let sent = scorer(&of_hook);
    assert_eq!((sent.code, sent.stdout.trim()), (Some(0), "hook (webhook): sent"), "{}", sent.stderr);
    let (_, alert) = sink.next();
    assert_eq!((alert["status"].as_str(), alert["rule"].as_str()), (Some("test"), Some("each-invoice")));
    let unknown = scorer(&["alerts", "test", "--pipeline", text(&pipeline), "--channel", "hok"]);
    assert!(unknown.stderr.contains("there is no channel `hok`: there are hook, topic"), "{}", unknown.stderr);
    let none = scorer(&["alerts", "test"]);
    assert!(none.stderr.contains("has no [[channels]]"), "{}", none.stderr);
}
