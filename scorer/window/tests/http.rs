//! The window as those who connect to it see it: over TCP, with requests as they are written on the wire.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use window::{
    About, Access, AlertAction, AlertDesk, AlertNumbers, AlertWord, ChannelNumbers, Committed, Concerned, Detector,
    DetectorDrift, Drift, Ends, FeatureDrift, Histogram, Intake, Keeping, Kind, Limits, Open, Partitions, Refill,
    Server, Snapshot, Source,
};

/// Longer than any answer takes.
const PATIENCE: Duration = Duration::from_secs(60);

struct Bench {
    open: Open,
    intake: Intake,
    refill: Option<Refill>,
    snapshot: Arc<Mutex<Snapshot>>,
}

/// An answer: its status, its headers in lower case, and its body.
#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

/// Alerts with something of everything.
struct Desk;

impl AlertDesk for Desk {
    fn view(&self) -> String {
        "{}".to_owned()
    }

    fn numbers(&self) -> AlertNumbers {
        let channel = ChannelNumbers { name: "mail".to_owned(), ..ChannelNumbers::default() };
        AlertNumbers { firing: vec![("many".to_owned(), 1)], channels: vec![channel], ..AlertNumbers::default() }
    }

    fn act(&self, _: &AlertAction) -> Result<Concerned, String> {
        Ok(Concerned::default())
    }

    fn heed(&self, _: &AlertWord) {}
}

impl Bench {
    fn open() -> Self {
        Self::with_token(None)
    }

    fn with_token(file: Option<&Path>) -> Self {
        let access = Access::new("127.0.0.1:0".parse().unwrap(), file).unwrap();
        let (server, Ends { intake, refill, journal }) = Server::bind(access).unwrap();
        let server = server.with_alerts(Arc::new(Desk));
        journal.keep_in_memory().unwrap();
        let snapshot = Arc::new(Mutex::new(Snapshot::default()));
        let asked = snapshot.clone();
        let about = About {
            pipeline: "invoices".to_owned(),
            detectors: vec![Detector { name: "kmeans".to_owned(), ..Detector::default() }],
            ..About::default()
        };
        let ask = Arc::new(move || asked.lock().unwrap().clone());
        let open = server.open(Source { about, ask, limits: Limits::default(), keeping: Keeping::Memory }).unwrap();
        Self { open, intake, refill: Some(refill), snapshot }
    }

    fn address(&self) -> SocketAddr {
        self.open.address()
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Sends this, and reads the answer to its end.
    fn send(&self, request: &str) -> Answer {
        let mut stream = self.connect();
        stream.write_all(request.as_bytes()).unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer to {request}: {text}"));
        let status = head[9..12].parse().unwrap();
        Answer { status, head: head.to_lowercase(), body: body.to_owned() }
    }

    fn get_with(&self, path: &str, headers: &str) -> Answer {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n"))
    }

    /// As the pages of the window write.
    fn post(&self, path: &str, body: &Value) -> Answer {
        self.post_with(path, &body.to_string(), "Content-Type: application/json\r\nX-Atalaya-Write: 1\r\n")
    }

    fn post_with(&self, path: &str, body: &str, headers: &str) -> Answer {
        let head = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}");
        self.send(&format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()))
    }

    fn get(&self, path: &str) -> Answer {
        self.get_with(path, "")
    }

    /// Asks until it is so: what is offered is taken in a little later.
    fn wait_for(&self, path: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        let start = Instant::now();
        loop {
            let answer = self.get(path);
            if answer.status == 200 && is_so(&answer.json()) {
                return answer.json();
            }
            assert!(start.elapsed() < PATIENCE, "{path}: {answer:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn offer(&self, kind: Kind, value: &Value, at: i64) {
        self.intake.offer(kind, at, || value.to_string().into_bytes());
    }
}

fn verdict(key: &str) -> Value {
    json!({
        "schema": 2, "id": format!("invoices/kmeans/0/4/{key}"), "pipeline": "invoices", "key": key, "detector": "kmeans",
        "model_version": "1", "anomalous": true, "severity": "high", "reason": "4,000 items", "score": 3.5, "threshold": 1.0,
        "ratio": 3.5, "p_value": 0.01, "features": {}, "contributions": {}, "fields": { "Country": "France" }, "lines": 2,
        "customer_id": "ann", "event_time": "2011-07-19T17:04:00Z", "first_timestamp": "2011-07-19T17:04:00Z",
        "last_timestamp": "2011-07-19T17:04:00Z"
    })
}

#[test]
fn every_page_is_there_and_loads_only_what_is_part_of_the_program() {
    let bench = Bench::open();
    for path in ["/", "/anomalies?sort=worst", "/anomaly?id=x", "/entities", "/exceptions", "/errors", "/models"] {
        let page = bench.get(path);
        assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")), "{path}");
        let policy = page.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'; script-src 'self';") && !policy.contains("unsafe"), "{policy}");
        assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
        assert!(!page.body.contains("style=") && !page.body.contains("<style") && !page.body.contains("onclick"));
    }
    // From the page to what it loads, to what that loads.
    let (mut seen, mut open) = (BTreeSet::new(), vec!["/".to_owned()]);
    while let Some(path) = open.pop() {
        if !seen.insert(path.clone()) {
            continue;
        }
        let file = bench.get(&path);
        assert_eq!(file.status, 200, "{path}");
        let folder = if path == "/" { "/" } else { path.rsplit_once('/').unwrap().0 };
        // The library's own texts name its home.
        let is_own = !path.contains("/vendor/");
        // Drawings name the standard that they are written in.
        let others = file.body.replace("http://www.w3.org/", "");
        assert!(!is_own || !(others.contains("http://") || others.contains("https://")), "{path}");
        for quoted in file.body.split('"').skip(1).step_by(2).filter(|_| is_own) {
            if quoted.starts_with("/assets/") {
                open.push(quoted.to_owned());
            } else if let Some(name) = quoted.strip_prefix("./") {
                open.push(format!("{folder}/{name}"));
            } else if let Some(name) = quoted.strip_prefix("../") {
                open.push(format!("{}/{name}", folder.rsplit_once('/').unwrap().0));
            }
        }
    }
    assert!(seen.len() > 15 && seen.contains("/assets/pages/now.js"), "{seen:?}");
    assert_eq!(bench.get("/assets/../Cargo.toml").status, 404);
    assert_eq!(bench.get("/assets/%2e%2e/src/lib.rs").status, 404);
}

#[test]
fn what_comes_in_is_found_and_shown_as_it_is() {
    let mut bench = Bench::open();
    let hostile = "<script>alert(1)</script>\u{202e}\u{0}";
    bench.offer(Kind::Verdict, &verdict(hostile), 2_000);
    bench.offer(Kind::Verdict, &json!({ "no": "verdict" }), 2_000);
    bench.offer(
        Kind::DeadLetter,
        &json!({ "kind": "line", "reasons": ["late_line"], "source": { "topic": "t", "offset": 1 }, "raw": hostile }),
        1_000,
    );
    let refill = bench.refill.take().unwrap();
    std::thread::spawn(move || {
        let earlier =
            Committed { kind: Kind::Verdict, payload: verdict("earlier").to_string().into_bytes(), at: 1_000 };
        assert!(refill.add(earlier));
    });
    let list = bench.wait_for("/api/v1/anomalies", |list| list["matching"] == 2);
    let keys: Vec<&str> = list["anomalies"].as_array().unwrap().iter().map(|it| it["key"].as_str().unwrap()).collect();
    assert_eq!(keys, [hostile, "earlier"], "the newest first, whenever it came");
    let raw = bench.get("/api/v1/anomalies?q=EARL&severity=high&detector=kmeans&sort=worst&limit=1");
    assert_eq!((raw.json()["matching"].clone(), raw.header("content-type")), (json!(1), Some("application/json")));
    assert_eq!(raw.header("cache-control"), Some("no-store"));
    let one = bench.get("/api/v1/anomaly?id=invoices/0/4/earlier").json();
    assert_eq!((&one["verdicts"][0]["reason"], &one["related"][0]["value"]), (&json!("4,000 items"), &json!("ann")));
    assert_eq!(one["related"][0]["anomalies"][0]["key"], hostile);
    assert_eq!(bench.get("/api/v1/entities").json()["entities"][0]["anomalies"], 2);
    let errors = bench.wait_for("/api/v1/errors?reason=late_line", |errors| errors["matching"] == 1);
    assert_eq!(errors["errors"][0]["content"], hostile);
    let status = bench.wait_for("/api/v1/status", |status| status["window"]["is_refilling"] == false);
    assert_eq!(status["window"]["entities"], 2);
    assert!(bench.get("/metrics").body.contains("atalaya_window_unreadable_total 1\n"));
}

#[test]
fn what_is_asked_wrongly_is_explained() {
    let bench = Bench::open();
    let problem = |path: &str, status: u16| {
        let answer = bench.get(path);
        assert_eq!(answer.status, status, "{path}: {answer:?}");
        answer.json()["error"].as_str().unwrap().to_owned()
    };
    assert!(problem("/api/v1/anomalies?severity=awful", 400).contains("severity"));
    assert!(problem("/api/v1/anomalies?skip=-1", 400).contains("skip"));
    assert!(problem("/api/v1/anomalies?colour=red", 400).contains("colour"));
    assert!(problem("/api/v1/series?span=7y", 400).contains("span"));
    assert!(problem("/api/v1/anomaly", 400).contains("id"));
    assert!(problem("/api/v1/anomaly?id=none", 404).contains("does not have this anomaly"));
    assert!(problem("/nowhere", 404).contains("/nowhere"));
    assert_eq!(bench.post("/api/v1/anomalies", &json!({})).status, 405);
    let body = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc";
    assert_eq!(bench.send(body).status, 413);
    let put = "PUT /api/v1/label HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    assert_eq!(bench.send(put).status, 405);
    assert_eq!(bench.get(&format!("/api/v1/anomalies?q={}", "x".repeat(9000))).status, 414);
    assert!(bench.send("nonsense\r\n\r\n").status == 400);
    assert_eq!(
        bench.get_with("/", &format!("X: {}\r\n", "x".repeat(100_000))).status,
        431,
        "more than headers may have"
    );
}

/// A page elsewhere whose name is made to lead to this machine sends its own name.
#[test]
fn other_names_and_other_sites_get_nothing() {
    let bench = Bench::open();
    let of_host =
        |host: &str| bench.send(&format!("GET /api/v1/status HTTP/1.1\r\n{host}Connection: close\r\n\r\n")).status;
    let port = bench.address().port();
    assert_eq!([of_host("Host: localhost\r\n"), of_host(&format!("Host: 127.0.0.1:{port}\r\n"))], [200, 200]);
    for host in ["Host: evil.example\r\n", "Host: evil.example:80\r\n", "", "Host: localhost\r\nHost: evil.example\r\n"]
    {
        assert_eq!(of_host(host), 421, "{host}");
    }
    let target = "GET http://evil.example/api/v1/status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    assert_eq!(bench.send(target).status, 421);
    let cross =
        |mode: &str| bench.get_with("/", &format!("Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: {mode}\r\n")).status;
    assert_eq!([cross("no-cors"), cross("navigate")], [403, 200]);
}

#[test]
fn a_token_is_asked_for_everywhere_but_by_supervisors() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "0123456789abcdef\n").unwrap();
    let bench = Bench::with_token(Some(file.path()));
    for path in ["/", "/metrics", "/api/v1/status", "/api/v1/stream", "/assets/main.js", "/nowhere", "/live/", "//live"]
    {
        let refused = bench.get(path);
        assert_eq!(refused.status, 401, "{path}");
        assert!(refused.header("www-authenticate").unwrap().starts_with("basic realm="));
        assert!(!refused.body.contains("0123456789"));
    }
    assert_eq!(bench.get("/live").status, 200);
    assert_eq!(bench.get_with("/metrics", "Authorization: Bearer 0123456789abcdef\r\n").status, 200);
    let login = STANDARD.encode("anybody:0123456789abcdef");
    assert_eq!(bench.get_with("/", &format!("Authorization: Basic {login}\r\n")).status, 200);
    assert_eq!(bench.get_with("/", "Authorization: Bearer 0123456789abcdeg\r\n").status, 401);
}

#[test]
fn it_is_ready_once_all_partitions_are_read() {
    let bench = Bench::open();
    let set = |partitions| bench.snapshot.lock().unwrap().partitions = partitions;
    let ready = || {
        let answer = bench.get("/ready");
        (answer.status, answer.body)
    };
    assert_eq!(ready(), (503, "not ready: the consumer group has given no partitions yet\n".to_owned()));
    set(Partitions { has_joined: true, owned: 3, restoring: 2, ..Partitions::default() });
    assert_eq!(ready(), (503, "not ready: the state of 2 partitions is being restored\n".to_owned()));
    set(Partitions { has_joined: true, owned: 3, failed: 1, ..Partitions::default() });
    assert_eq!(ready().0, 503);
    set(Partitions { has_joined: true, owned: 3, ..Partitions::default() });
    assert_eq!((ready(), bench.get("/live").status), ((200, "ready\n".to_owned()), 200));
}

#[test]
fn metrics_are_the_numbers_of_the_stream() {
    let bench = Bench::open();
    *bench.snapshot.lock().unwrap() = Snapshot {
        records: 1000,
        outcomes: vec![("scored", 990), ("malformed", 10)],
        anomalies: vec![("k\"means\\\n".to_owned(), 7)],
        lag: Some(5),
        lag_seconds: Some(2.5),
        commits: Histogram { buckets: vec![(0.1, 3), (f64::INFINITY, 1)], sum: 9.5 },
        ..Snapshot::default()
    };
    let metrics = bench.get("/metrics");
    assert_eq!(metrics.header("content-type"), Some("application/openmetrics-text; version=1.0.0; charset=utf-8"));
    for line in [
        "atalaya_records_read_total 1000",
        "atalaya_records_total{outcome=\"scored\"} 990",
        "atalaya_records_total{outcome=\"malformed\"} 10",
        "atalaya_anomalies_total{detector=\"k\\\"means\\\\\\n\"} 7",
        "atalaya_lag_records 5.0",
        "atalaya_lag_seconds 2.5",
        "# TYPE atalaya_commit_duration_seconds histogram",
        "atalaya_commit_duration_seconds_sum 9.5",
        "atalaya_commit_duration_seconds_count 4",
        "atalaya_commit_duration_seconds_bucket{le=\"0.1\"} 3",
        "atalaya_commit_duration_seconds_bucket{le=\"+Inf\"} 4",
        "atalaya_window_dropped_total 0",
        "# EOF",
    ] {
        assert!(metrics.body.lines().any(|found| found == line), "{line} is missing in\n{}", metrics.body);
    }
    assert!(
        !metrics.body.contains("cancellations") && !metrics.body.contains("resident"),
        "what is not known is left out"
    );
    // Prometheus' conventions: a type and a help for each, units at the end, no name twice.
    let names: Vec<&str> = metrics.body.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    assert_eq!(names.len(), names.iter().collect::<BTreeSet<_>>().len());
    // A failed transaction takes counters back; a scrape does not see that.
    bench.snapshot.lock().unwrap().records = 900;
    assert!(bench.get("/metrics").body.contains("atalaya_records_read_total 1000\n"));
}

/// A stream that is no longer like the training.
fn drifted() -> Drift {
    let detector = DetectorDrift {
        name: "kmeans".to_owned(),
        scores: 1000,
        evidence: Some(3.25),
        since: Some("2026-01-05T10:00:00Z".to_owned()),
        stability: Some(0.3),
        said: "kmeans: the stream is no longer like the training.".to_owned(),
    };
    let feature = |name: &str, stability| FeatureDrift { name: name.to_owned(), stability, outside: 0.5, missing: 0.0 };
    let features = vec![feature("amount", Some(0.5)), feature("hour", None)];
    Drift { alpha: 0.001, detectors: vec![detector], features }
}

#[test]
fn drift_is_told_where_there_is_enough_to_say() {
    let bench = Bench::open();
    bench.snapshot.lock().unwrap().drift = Some(drifted());
    let metrics = bench.get("/metrics").body;
    for line in [
        "atalaya_drift_martingale_log10{detector=\"kmeans\"} 3.25",
        "atalaya_drift_alarm{detector=\"kmeans\"} 1.0",
        "atalaya_score_psi{detector=\"kmeans\"} 0.3",
        "atalaya_feature_psi{feature=\"amount\"} 0.5",
        "atalaya_feature_outside{feature=\"amount\"} 0.5",
        "atalaya_feature_missing{feature=\"amount\"} 0.0",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line} is missing in\n{metrics}");
    }
    assert!(!metrics.contains("hour"), "of too few values nothing is said");
    let models: Value = serde_json::from_str(&bench.get("/api/v1/models").body).unwrap();
    assert_eq!(models["drift"]["detectors"][0]["since"], "2026-01-05T10:00:00Z");
    assert!(models["drift"]["features"][1]["stability"].is_null());
}

/// Whoever reads logs and whoever reads metrics mean the same by a name.
#[test]
fn numbers_for_logs_are_those_of_the_metrics() {
    let bench = Bench::open();
    let snapshot = Snapshot {
        records: 1000,
        outcomes: vec![("scored", 990), ("malformed", 10)],
        scored: 300,
        anomalies: vec![("kmeans".to_owned(), 7), ("other".to_owned(), 0)],
        reasons: vec![("late_line".to_owned(), 8)],
        erroneous: 9,
        open: 11,
        cancellations: Some(12),
        cancellation_windows: 13,
        published: 14,
        undeliverable: 15,
        skipped: 16,
        sent_again: 17,
        rolled_back: 18,
        at_limits: 19,
        odd_dates: vec![("at".to_owned(), 23)],
        lag: Some(20),
        lag_seconds: Some(2.5),
        partitions: Partitions {
            has_joined: true,
            owned: 9,
            restoring: 2,
            failed: 1,
            waiting: 3,
            standby: 4,
            standby_lag: 24,
        },
        state_bytes: 21,
        commits: Histogram { buckets: vec![(0.1, 3), (f64::INFINITY, 1)], sum: 9.5 },
        seconds_since_commit: Some(0.5),
        resident_bytes: Some(22),
        agreement: None,
        drift: Some(drifted()),
    };
    *bench.snapshot.lock().unwrap() = snapshot.clone();
    let text = bench.get("/metrics").body;
    let metric = |name: &str| {
        let found = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        found.unwrap_or_else(|| panic!("{name} is no metric")).parse::<f64>().unwrap()
    };
    let numbers = snapshot.numbers();
    for (name, value) in &numbers {
        match value.as_object() {
            Some(of) => {
                assert!(!of.is_empty(), "{name}");
                for (label, count) in of {
                    let prefix = format!("{name}{{");
                    let line =
                        text.lines().find(|line| line.starts_with(&prefix) && line.contains(&format!("\"{label}\"")));
                    let count = count.as_f64().unwrap();
                    assert_eq!(line.unwrap().rsplit_once(' ').unwrap().1.parse(), Ok(count), "{name} {label}");
                }
            }
            None => assert_eq!(Some(metric(name)), value.as_f64(), "{name}"),
        }
    }
    assert!(numbers.len() > 20, "{numbers:?}");
    let unknown = Snapshot::default().numbers();
    assert!(unknown["atalaya_lag_records"].is_null() && !unknown.contains_key("atalaya_cancellations_total"));
}

/// Rules and dashboards that name what there is not stay silent for ever.
#[test]
fn rules_dashboard_and_documents_name_metrics_that_there_are() {
    let bench = Bench::open();
    let names = |of: &str| vec![(of.to_owned(), 1)];
    *bench.snapshot.lock().unwrap() = Snapshot {
        outcomes: vec![("scored", 1)],
        anomalies: names("kmeans"),
        reasons: names("late_line"),
        odd_dates: vec![("InvoiceDate".to_owned(), 1)],
        cancellations: Some(1),
        lag: Some(1),
        lag_seconds: Some(1.0),
        seconds_since_commit: Some(1.0),
        resident_bytes: Some(1),
        commits: Histogram { buckets: vec![(0.1, 3), (f64::INFINITY, 1)], sum: 9.5 },
        drift: Some(drifted()),
        ..Snapshot::default()
    };
    let text = bench.get("/metrics").body;
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let known: BTreeSet<&str> = text.lines().filter_map(|line| line.split(|c| !is_of_name(c)).next()).collect();
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    for (file, at_least) in [("monitoring/alerts.yml", 8), ("monitoring/grafana.json", 12), ("metrics.md", 40)] {
        let text = std::fs::read_to_string(docs.join(file)).unwrap();
        let named = text.split(|c| !is_of_name(c)).filter(|word| word.starts_with("atalaya_") && !word.ends_with('_'));
        let named: BTreeSet<&str> = named
            .map(|name| {
                name.strip_suffix("_duration_seconds").map_or(name, |_| "atalaya_commit_duration_seconds_bucket")
            })
            .collect();
        assert!(named.len() >= at_least, "{file}: {named:?}");
        let missing: Vec<_> = named.difference(&known).collect();
        assert!(missing.is_empty(), "{file} names {missing:?}, which are not among {known:?}");
    }
    let page = std::fs::read_to_string(docs.join("metrics.md")).unwrap();
    let documented: BTreeSet<&str> = page.split(|c| !is_of_name(c)).collect();
    let of_histogram = ["_bucket", "_sum", "_count"];
    let undocumented: Vec<&&str> = known
        .iter()
        .filter(|name| name.starts_with("atalaya_"))
        .filter(|name| {
            let of_all = of_histogram.iter().find_map(|suffix| name.strip_suffix(*suffix));
            !documented.contains(*name) && !of_all.is_some_and(|name| documented.contains(name))
        })
        .collect();
    assert!(undocumented.is_empty(), "docs/metrics.md has no row for {undocumented:?}");
    let dashboard = std::fs::read_to_string(docs.join("monitoring/grafana.json")).unwrap();
    assert!(serde_json::from_str::<Value>(&dashboard).unwrap()["panels"].as_array().unwrap().len() > 8);
}

#[test]
fn pages_hear_of_each_second_and_are_counted_until_they_go() {
    let bench = Bench::open();
    bench.snapshot.lock().unwrap().records = 42;
    let mut stream = bench.connect();
    stream.write_all(b"GET /api/v1/stream HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut heard = String::new();
    while heard.matches("event: tick").count() < 2 {
        let mut bytes = [0; 4096];
        let n = stream.read(&mut bytes).unwrap();
        assert!(n > 0, "{heard}");
        heard += std::str::from_utf8(&bytes[..n]).unwrap();
    }
    assert!(heard.to_lowercase().contains("content-type: text/event-stream"));
    let data = heard.lines().find_map(|line| line.strip_prefix("data: ")).unwrap();
    let tick: Value = serde_json::from_str(data).unwrap();
    assert_eq!((&tick["stream"]["records"], &tick["ready"]), (&json!(42), &json!(false)));
    assert!(bench.get("/metrics").body.contains("atalaya_window_pages 1.0\n"));
    drop(stream);
    let start = Instant::now();
    while !bench.get("/metrics").body.contains("atalaya_window_pages 0.0\n") {
        assert!(start.elapsed() < PATIENCE, "the page has gone");
    }
    assert!(!bench.get("/api/v1/series").json()["samples"].as_array().unwrap().is_empty());
}

/// Those who connect and say nothing take the place of nobody but each other.
#[test]
fn one_connection_too_many_is_closed_at_once() {
    let bench = Bench::open();
    let silent: Vec<TcpStream> = (0..300).map(|_| bench.connect()).collect();
    let is_closed = |mut stream: &TcpStream| {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        matches!(stream.read(&mut [0; 1]), Ok(0) | Err(_))
    };
    assert!(is_closed(silent.last().unwrap()));
    drop(silent);
    let start = Instant::now();
    loop {
        let mut stream = bench.connect();
        let mut answer = String::new();
        let sent = stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        if sent.is_ok() && stream.read_to_string(&mut answer).is_ok() && answer.starts_with("HTTP/1.1 200") {
            assert!(!answer.contains("atalaya_window_connections_refused_total 0\n"), "{answer}");
            return;
        }
        assert!(start.elapsed() < PATIENCE, "places are free again");
    }
}

#[test]
fn an_address_that_is_taken_is_an_error_and_a_window_that_closes_frees_it() {
    let bench = Bench::open();
    let address = bench.address();
    let again = || Server::bind(Access::new(address.into(), None).unwrap()).map(|_| ());
    let error = again().unwrap_err().to_string();
    assert!(error.starts_with(&format!("cannot listen on {address}: ")) && error.contains("--listen"), "{error}");
    drop(bench);
    let start = Instant::now();
    while again().is_err() {
        assert!(start.elapsed() < PATIENCE, "it is free again");
    }
}

fn said(id: &str, request: &str, version: Option<u64>, word: &str) -> Value {
    json!({ "id": id, "request": request, "version": version, "label": word, "note": "<b>\u{202e}", "by": "ann" })
}

#[test]
fn a_word_is_kept_once_and_by_nobody_who_has_not_seen_the_last_one() {
    let bench = Bench::open();
    bench.offer(Kind::Verdict, &verdict("k"), 1_000);
    bench.wait_for("/api/v1/anomalies?state=open", |list| list["matching"] == 1);
    let id = "invoices/0/4/k";
    let first = bench.post("/api/v1/label", &said(id, "request-1", None, "anomaly"));
    assert_eq!(first.status, 200, "{first:?}");
    let kept = first.json()["label"].clone();
    assert_eq!((&kept["label"], &kept["note"], &kept["by"]), (&json!("anomaly"), &json!("<b>\u{202e}"), &json!("ann")));
    assert_eq!(kept["verdicts"][0]["id"], "invoices/kmeans/0/4/k");
    assert_eq!(
        (&kept["verdicts"][0]["model_version"], &kept["scored_at"]),
        (&json!("1"), &json!("1970-01-01T00:00:01.000Z"))
    );
    // The same request comes again, as after a lost answer.
    let again = bench.post("/api/v1/label", &said(id, "request-1", None, "anomaly"));
    assert_eq!((again.status, &again.json()["label"]), (200, &kept));
    // Another analyst has not seen it.
    let stale = bench.post("/api/v1/label", &said(id, "request-2", None, "false_alarm"));
    assert_eq!((stale.status, &stale.json()["label"]), (409, &kept));
    let version = kept["version"].as_u64();
    let seen = bench.post("/api/v1/label", &said(id, "request-3", version, "false_alarm"));
    assert_eq!((seen.status, &seen.json()["label"]["label"]), (200, &json!("false_alarm")));
    assert_eq!(bench.post("/api/v1/label", &said(id, "request-4", version, "unsure")).status, 409);
    let states = ["open", "closed"]
        .map(|state| bench.get(&format!("/api/v1/anomalies?state={state}")).json()["matching"].clone());
    assert_eq!(states, [json!(0), json!(1)]);
    let precision = bench.get("/api/v1/precision").json();
    assert_eq!(
        precision["detectors"]["kmeans"],
        json!({ "anomaly": 0, "false_alarm": 1, "unsure": 0, "precision": 0.0 })
    );
    assert!(bench.get("/metrics").body.contains("atalaya_labels{detector=\"kmeans\",label=\"false_alarm\"} 1.0\n"));
    let tick = bench.get("/api/v1/status").json();
    assert_eq!((&tick["window"]["labels"], &tick["window"]["labels_kept"]), (&json!(1), &json!({ "in": "memory" })));
}

#[test]
fn an_exception_hides_and_can_be_taken_back() {
    let bench = Bench::open();
    let mut value = verdict("k");
    value["contributions"] = json!({ "NumberItems": 0.9, "Price": 0.1 });
    bench.offer(Kind::Verdict, &value, 1_000);
    bench.offer(Kind::Verdict, &verdict("no-feature"), 1_000);
    bench.wait_for("/api/v1/anomalies", |list| list["matching"] == 2);
    let preview = bench.get("/api/v1/exceptions/preview?id=invoices/0/4/k").json();
    assert_eq!((&preview["customer_id"], &preview["features"]), (&json!("ann"), &json!(["NumberItems"])));
    assert_eq!(bench.get("/api/v1/exceptions/preview?id=invoices/0/4/no-feature").status, 400);
    let exception = |until: &str| {
        let body =
            json!({ "id": "invoices/0/4/k", "until": until, "request": "request-1", "note": "moved", "by": "ann" });
        bench.post("/api/v1/exceptions", &body)
    };
    for wrong in ["2001-01-01T00:00:00Z", "2999-01-01T00:00:00Z", "soon"] {
        assert_eq!(exception(wrong).status, 400, "{wrong}");
    }
    let day = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() as i64 + 86_400;
    let until = chrono::DateTime::from_timestamp(day, 0).unwrap().to_rfc3339();
    let saved = exception(&until);
    assert_eq!((saved.status, exception(&until).status), (200, 200), "{saved:?}");
    let all = bench.get("/api/v1/exceptions").json();
    assert_eq!((all["exceptions"].as_array().unwrap().len(), &all["exceptions"][0]["hides"]), (1, &json!(1)));
    assert_eq!(bench.get("/api/v1/anomalies").json()["matching"], 1);
    assert_eq!(bench.get("/api/v1/anomalies?state=hidden").json()["anomalies"][0]["key"], "k");
    let (id, version) = (&all["exceptions"][0]["id"], &all["exceptions"][0]["version"]);
    let back = |request: &str| json!({ "id": id, "version": version, "request": request, "by": "bob" });
    assert_eq!(bench.post("/api/v1/exceptions/withdraw", &back("request-2")).status, 200);
    assert_eq!(bench.post("/api/v1/exceptions/withdraw", &back("request-3")).status, 409);
    assert_eq!(bench.get("/api/v1/anomalies").json()["matching"], 2);
    assert_eq!(bench.get("/api/v1/exceptions").json()["exceptions"][0]["withdrawn"]["by"], "bob");
}

/// A page elsewhere may make a browser send what it likes, but for what only this window's pages send.
#[test]
fn a_write_is_taken_only_from_pages_of_this_window_and_from_programs() {
    let bench = Bench::open();
    bench.offer(Kind::Verdict, &verdict("k"), 1_000);
    bench.wait_for("/api/v1/anomalies", |list| list["matching"] == 1);
    let body = said("invoices/0/4/k", "request-1", None, "anomaly").to_string();
    let (json, write) = ("Content-Type: application/json\r\n", "X-Atalaya-Write: 1\r\n");
    let of = |headers: &str| bench.post_with("/api/v1/label", &body, headers).status;
    for (headers, status) in [
        (json.to_owned(), 403),
        (write.to_owned(), 415),
        (format!("{write}Content-Type: text/plain\r\n"), 415),
        (format!("{write}{json}Sec-Fetch-Site: cross-site\r\n"), 403),
        (format!("{write}{json}Sec-Fetch-Site: same-site\r\n"), 403),
        (format!("{write}{json}Origin: http://evil.example\r\n"), 403),
        (format!("{write}{json}Origin: null\r\n"), 403),
    ] {
        assert_eq!(of(&headers), status, "{headers}");
    }
    let chunked = of(&format!("{write}{json}Transfer-Encoding: chunked\r\n"));
    assert!([400, 411, 413].contains(&chunked), "{chunked}");
    let huge = "x".repeat(20_000);
    assert_eq!(bench.post_with("/api/v1/label", &huge, &format!("{write}{json}")).status, 413);
    let of_host = format!("POST /api/v1/label HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n{write}{json}");
    assert_eq!(bench.send(&format!("{of_host}Content-Length: {}\r\n\r\n{body}", body.len())).status, 421);
    for path in ["/api/v1/label/", "/api/v1//label", "/api/v1/../v1/label", "/api/v1/label%2f"] {
        assert!([404, 405].contains(&bench.post_with(path, &body, &format!("{write}{json}")).status), "{path}");
    }
    assert_eq!(bench.get("/api/v1/anomalies?state=open").json()["matching"], 1, "none of them was taken");
    assert_eq!(of(&format!("{write}{json}Sec-Fetch-Site: same-origin\r\nOrigin: http://localhost\r\n")), 200);
}

#[test]
fn what_is_said_wrongly_is_explained() {
    let bench = Bench::open();
    bench.offer(Kind::Verdict, &verdict("k"), 1_000);
    bench.wait_for("/api/v1/anomalies", |list| list["matching"] == 1);
    let with = |name: &str, value: Value| {
        let mut body = said("invoices/0/4/k", "request-1", None, "anomaly");
        body[name] = value;
        let answer = bench.post("/api/v1/label", &body);
        (answer.status, answer.json()["error"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(with("id", json!("none")).0, 404);
    for (name, value) in [
        ("label", json!("perhaps")),
        ("version", json!(-1)),
        ("request", json!("")),
        ("note", json!("x".repeat(4_001))),
        ("owner", json!("x".repeat(101))),
        ("colour", json!("red")),
    ] {
        let (status, error) = with(name, value);
        assert_eq!(status, 400, "{name}");
        assert!(error.contains(name) || error.contains("body"), "{name}: {error}");
    }
    assert_eq!(
        bench.post_with("/api/v1/label", "{", "Content-Type: application/json\r\nX-Atalaya-Write: 1\r\n").status,
        400
    );
}

#[test]
fn too_many_writes_are_refused() {
    let bench = Bench::open();
    let statuses: BTreeSet<u16> = (0..60).map(|_| bench.post("/api/v1/label", &json!({})).status).collect();
    assert_eq!(statuses, BTreeSet::from([400, 429]));
}
