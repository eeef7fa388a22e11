//! The description of the API beside the answers of a window.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

#[allow(dead_code, reason = "of what the acceptance tests use, this needs a part")]
#[path = "../../../tests/src/json_schema.rs"]
mod json_schema;

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use json_schema::JsonSchema;
use serde_json::{Value, json};
use window::{
    About, Access, Agreement, AlertAction, AlertDesk, AlertNumbers, AlertWord, Concerned, Detector, DetectorDrift,
    Drift, Ends, Feature, FeatureDrift, Histogram, Intake, Keeping, Kind, Limits, Open, Partitions, Redriven, Reply,
    Server, Snapshot, Source,
};

/// Longer than any answer takes.
const PATIENCE: Duration = Duration::from_secs(60);

const WRITE: &str = "X-Atalaya-Write: 1\r\nContent-Type: application/json\r\n";

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

struct Desk;

impl AlertDesk for Desk {
    fn view(&self) -> String {
        json!({ "rules": [], "firing": [], "channels": [] }).to_string()
    }

    fn numbers(&self) -> AlertNumbers {
        AlertNumbers::default()
    }

    fn act(&self, action: &AlertAction) -> Result<Concerned, String> {
        match action {
            AlertAction::Acknowledge { .. } => Ok(Concerned::default()),
            _ => Err("there is no such alert".to_owned()),
        }
    }

    fn heed(&self, _: &AlertWord) {}
}

/// A stream that has something of everything.
fn snapshot() -> Snapshot {
    let names = |of: &str| vec![(of.to_owned(), 1)];
    Snapshot {
        outcomes: vec![("scored", 1)],
        anomalies: names("kmeans"),
        reasons: names("late_line"),
        odd_dates: names("InvoiceDate"),
        cancellations: Some(1),
        lag: Some(1),
        lag_seconds: Some(1.0),
        partitions: Partitions { has_joined: true, owned: 1, ..Partitions::default() },
        seconds_since_commit: Some(1.0),
        resident_bytes: Some(1),
        commits: Histogram { buckets: vec![(0.1, 3), (f64::INFINITY, 1)], sum: 9.5 },
        agreement: Some(Agreement { names: ["a".to_owned(), "b".to_owned()], both: 1, only: [2, 3], neither: 4 }),
        drift: Some(Drift {
            alpha: 0.001,
            detectors: vec![DetectorDrift { name: "a".to_owned(), evidence: Some(3.5), ..DetectorDrift::default() }],
            features: vec![FeatureDrift { name: "f".to_owned(), stability: Some(0.1), ..FeatureDrift::default() }],
        }),
        ..Snapshot::default()
    }
}

fn verdict(key: &str) -> Value {
    json!({
        "schema": 2, "id": format!("invoices/kmeans/0/4/{key}"), "pipeline": "invoices", "key": key, "detector": "kmeans",
        "model_version": "12345678", "definition": "87654321", "anomalous": true, "severity": "high",
        "reason": "4,000 items", "score": 3.5, "threshold": 1.0, "ratio": 3.5, "p_value": 0.01, "features": {},
        "contributions": { "NumberItems": 0.9 }, "fields": { "Country": "France" }, "lines": 2, "customer_id": "ann",
        "event_time": "2011-07-19T17:04:00Z", "first_timestamp": "2011-07-19T17:04:00Z",
        "last_timestamp": "2011-07-19T17:04:00Z"
    })
}

struct Bench {
    open: Open,
    intake: Intake,
    api: JsonSchema,
    document: Value,
    /// What was asked, and how it went.
    asked: BTreeSet<(String, String, u16)>,
}

impl Bench {
    fn open() -> Self {
        let access = Access::new("127.0.0.1:0".parse().unwrap(), None).unwrap();
        let (server, Ends { intake, journal, .. }) = Server::bind(access).unwrap();
        let (server, questions) = server.with_alerts(Arc::new(Desk)).with_questions();
        std::thread::spawn(move || {
            while let Some(question) = questions.wait() {
                let reasons = vec!["not_json".to_owned()];
                question.answer(Reply::Refused { reasons, why: "the record is erroneous: not_json".to_owned() });
            }
        });
        let (server, redrives) = server.with_redrives();
        std::thread::spawn(move || {
            while let Some(order) = redrives.wait() {
                let failed = order.which.reason.as_deref() == Some("down");
                let sent = Redriven { sent: 3, sent_before: 1, ..Redriven::default() };
                order.answer(if failed { Err("no broker answers".to_owned()) } else { Ok(sent) });
            }
        });
        journal.keep_in_memory().unwrap();
        let feature = Feature { name: "NumberItems".to_owned(), low: Some(1.0), ..Feature::default() };
        let detector = Detector { name: "kmeans".to_owned(), features: vec![feature], ..Detector::default() };
        let about = About { version: "1.2.3".to_owned(), detectors: vec![detector], ..About::default() };
        let ask = Arc::new(snapshot);
        let open = server.open(Source { about, ask, limits: Limits::default(), keeping: Keeping::Memory }).unwrap();
        let mut bench =
            Self { open, intake, api: JsonSchema::of_api(empty()), document: Value::Null, asked: BTreeSet::new() };
        bench.document = bench.send("GET", "/api/v1/openapi.json", "", "").1;
        bench.api = JsonSchema::of_api(bench.document.clone());
        bench
    }

    /// The status and the JSON of an answer; null where it is none.
    fn send(&self, method: &str, path: &str, headers: &str, body: &str) -> (u16, Value) {
        let mut stream = TcpStream::connect(self.open.address()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let length = if body.is_empty() && method == "GET" {
            String::new()
        } else {
            format!("Content-Length: {}\r\n", body.len())
        };
        let head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{length}{headers}\r\n");
        stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head[9..12].parse().unwrap(), serde_json::from_str(body).unwrap_or_default())
    }

    /// Asks, and compares the answer with its description.
    fn get(&mut self, path: &str, status: u16) -> Value {
        self.described("GET", path, "", "", status)
    }

    fn post(&mut self, path: &str, body: &Value, status: u16) -> Value {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.described("POST", path, WRITE, &body, status)
    }

    fn described(&mut self, method: &str, target: &str, headers: &str, body: &str, status: u16) -> Value {
        let (found, answer) = self.send(method, target, headers, body);
        assert_eq!(found, status, "{method} {target}: {answer}");
        let path = target.split('?').next().unwrap();
        let problem = self.api.problem_of_answer((&method.to_lowercase(), path), status, &answer);
        assert_eq!(problem, None, "{method} {target}: {answer}");
        self.asked.insert((method.to_lowercase(), path.to_owned(), status));
        answer
    }
}

/// A description of nothing.
fn empty() -> Value {
    json!({ "paths": {}, "components": { "schemas": {} } })
}

#[test]
fn answers_are_as_they_are_described() {
    let mut bench = Bench::open();
    assert_eq!((&bench.document["openapi"], &bench.document["info"]["version"]), (&json!("3.1.0"), &json!("1.2.3")));
    let letter =
        json!({ "kind": "line", "reasons": ["late_line"], "source": { "topic": "t", "offset": 1 }, "raw": "1" });
    bench.intake.offer(Kind::DeadLetter, 1_000, || letter.to_string().into_bytes());
    for key in ["k", "other"] {
        bench.intake.offer(Kind::Verdict, 2_000, || verdict(key).to_string().into_bytes());
    }
    let start = Instant::now();
    while bench.get("/api/v1/anomalies", 200)["matching"] != 2 || bench.get("/api/v1/errors", 200)["matching"] != 1 {
        assert!(start.elapsed() < PATIENCE, "what is offered is taken in");
    }
    let id = "invoices/0/4/k";
    let label = json!({ "id": id, "request": "request-1", "label": "unsure", "note": "n", "by": "ann" });
    bench.post("/api/v1/label", &label, 200);
    bench.post("/api/v1/label", &json!({ "id": id, "request": "request-2" }), 409);
    bench.post("/api/v1/label", &json!({ "id": "none", "request": "request-3" }), 404);
    bench.post("/api/v1/label", &json!({}), 400);
    let day = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() as i64 + 86_400;
    let until = chrono::DateTime::from_timestamp(day, 0).unwrap().to_rfc3339();
    let exception = json!({ "id": id, "until": until, "request": "request-4", "note": "n", "by": "ann" });
    bench.post("/api/v1/exceptions", &exception, 200);
    bench.post("/api/v1/exceptions", &json!({}), 400);
    let all = bench.get("/api/v1/exceptions", 200);
    let named = &all["exceptions"][0];
    let full = bench.get(&format!("/api/v1/anomaly?id={id}"), 200);
    assert!(full["exception"].is_object() && full["label"].is_object() && full["verdicts"][0].is_object(), "{full}");
    let back = json!({ "id": named["id"], "version": named["version"], "request": "request-5", "by": "bob" });
    bench.post("/api/v1/exceptions/withdraw", &back, 200);
    bench.get("/api/v1/exceptions", 200);
    for path in ["anomalies?sort=worst&severity=low", "entities", "errors", "models", "precision", "status", "alerts"] {
        bench.get(&format!("/api/v1/{path}"), 200);
    }
    bench.get(&format!("/api/v1/exceptions/preview?id={id}"), 200);
    bench.get("/api/v1/errors/redrive", 200);
    bench.get("/api/v1/errors/redrive/preview?reason=late_line&since=1000&record=t:0:1", 200);
    bench.get("/api/v1/errors/redrive/preview?since=soon", 400);
    bench.get("/api/v1/errors/redrive/preview?reason=down", 503);
    let redrive = json!({ "reason": "late_line", "since": 1, "until": 2, "record": null, "by": "ann" });
    bench.post("/api/v1/errors/redrive", &redrive, 200);
    bench.post("/api/v1/errors/redrive", &json!({}), 400);
    bench.post("/api/v1/errors/redrive", &json!({ "reason": "down", "by": "ann" }), 503);
    let shown = bench.get("/api/v1/errors/redrive", 200);
    assert!(shown["last"]["error"].is_string() && shown["running"].is_null(), "{shown}");
    bench.get("/api/v1/anomaly?id=none", 404);
    bench.get("/api/v1/anomalies?skip=-1", 400);
    bench.get("/api/v1/series", 200);
    bench.get("/api/v1/series?span=24h", 200);
    bench.get("/api/v1/openapi.json", 200);
    bench.post("/api/v1/alerts/acknowledge?id=a", &Value::Null, 200);
    bench.post("/api/v1/alerts/snooze?id=a&minutes=1", &Value::Null, 404);
    bench.described("POST", "/api/v1/score", "Content-Type: application/json\r\n", "x", 422);
    bench.described("POST", "/api/v1/score", "", "x", 415);
    // What is no JSON, or ends never, is compared elsewhere.
    let others = ["/live", "/ready", "/metrics", "/api/v1/stream"].map(|path| ("get".to_owned(), path.to_owned()));
    let asked: BTreeSet<_> =
        bench.asked.iter().map(|(method, path, _)| (method.clone(), path.clone())).chain(others).collect();
    let paths = bench.document["paths"].as_object().unwrap();
    let of_path = |(path, methods): (&String, &Value)| -> Vec<(String, String)> {
        methods.as_object().unwrap().keys().map(|method| (method.clone(), path.clone())).collect()
    };
    assert_eq!(asked, paths.iter().flat_map(of_path).collect(), "every method of every path was compared");
}

#[test]
fn what_is_told_each_second_is_as_it_is_described() {
    let bench = Bench::open();
    let mut stream = TcpStream::connect(bench.open.address()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"GET /api/v1/stream HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut heard = String::new();
    let tick = loop {
        let mut bytes = [0; 4096];
        let n = stream.read(&mut bytes).unwrap();
        assert!(n > 0, "{heard}");
        heard += std::str::from_utf8(&bytes[..n]).unwrap();
        let whole = heard.split_once("data: ").and_then(|(_, rest)| rest.split_once("\n\n"));
        if let Some((data, _)) = whole {
            break serde_json::from_str::<Value>(data).unwrap();
        }
    };
    assert_eq!(bench.api.problem_of_part("Tick", &tick), None, "{tick}");
    assert!(tick["sample"].is_object());
}

/// A path answers to the methods that are described, and to no other.
#[test]
fn methods_are_those_that_are_described() {
    let bench = Bench::open();
    for (path, methods) in bench.document["paths"].as_object().unwrap() {
        for method in ["GET", "POST"] {
            // It would never end.
            if (method, path.as_str()) == ("GET", "/api/v1/stream") {
                continue;
            }
            let is_described = methods.get(method.to_lowercase()).is_some();
            // Not all at once: few writes are answered in a second.
            let start = Instant::now();
            let (headers, body) = if method == "POST" { (WRITE, "{}") } else { ("", "") };
            let status = loop {
                match bench.send(method, path, headers, body).0 {
                    429 => assert!(start.elapsed() < PATIENCE, "{path}"),
                    status => break status,
                }
            };
            assert_eq!(status == 405, !is_described, "{method} {path}: {status}");
        }
    }
}
