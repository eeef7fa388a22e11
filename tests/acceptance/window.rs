//! The window of a running scorer, on a real broker: it shows what is in the topics, also after a restart, and its metrics are
//! the numbers of the closing summary.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tests::{JsonSchema, Kafka, PipelineFile, Received, Running, repository, scorer, start_scorer, text, wait_for};

/// How long something may take that takes a moment.
const PATIENCE: Duration = Duration::from_secs(120);

/// Lines of the sample that are sent.
const LINES: usize = 6000;

/// What a page would run if it took records for markup.
const HOSTILE: &str = "<img src=x onerror=alert(1)>";

/// A scorer that runs, and the address of its window.
pub(crate) struct Scorer {
    pub(crate) running: Running,
    address: String,
}

impl Scorer {
    pub(crate) fn start(kafka: &Kafka, pipeline: &Path, folder: &Path, more: &[&str]) -> Self {
        let models = repository().join("models");
        let what = ["run", "--listen", "127.0.0.1:0", "--pipeline", text(pipeline), "--models", text(&models)];
        let how = ["--device", "cpu", "--clock", "event", "--state-dir", text(folder), "--brokers", &kafka.brokers];
        let mut running = start_scorer(&[&what[..], &how, more].concat());
        let address = wait_for("the address of the window", PATIENCE, || {
            assert!(!running.has_ended(), "{}", running.stderr());
            let said = running.stderr();
            let rest = said.split("window: http://").nth(1)?;
            Some(rest.split_once('/')?.0.to_owned())
        });
        Self { running, address }
    }

    /// Status and body of an answer.
    fn get(&self, path: &str) -> (u16, String) {
        self.get_with(path, "")
    }

    fn get_with(&self, path: &str, headers: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{headers}\r\n", self.address);
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head[9..12].parse().unwrap(), body.to_owned())
    }

    /// As the pages of the window write: status and answer.
    pub(crate) fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let head = format!("POST {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n", self.address);
        let kind = "Content-Type: application/json\r\nX-Atalaya-Write: 1\r\n";
        let body = body.to_string();
        stream.write_all(format!("{head}{kind}Content-Length: {}\r\n\r\n{body}", body.len()).as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head[9..12].parse().unwrap(), serde_json::from_str(body).unwrap())
    }

    pub(crate) fn json(&self, path: &str) -> Value {
        let (status, body) = self.get(path);
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).unwrap()
    }

    /// Every metric without labels, and those with them, by what stands before the value.
    fn metrics(&self) -> BTreeMap<String, f64> {
        let (_, text) = self.get("/metrics");
        let metric = |line: &str| {
            let (name, value) = line.rsplit_once(' ')?;
            Some((name.strip_prefix("atalaya_")?.to_owned(), value.parse().ok()?))
        };
        text.lines().filter(|line| !line.starts_with('#')).filter_map(metric).collect()
    }

    /// The names of all anomalies that the window has.
    fn anomalies(&self) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        loop {
            let page = self.json(&format!("/api/v1/anomalies?limit=500&skip={}", found.len()));
            let ids = page["anomalies"].as_array().unwrap().iter().map(|it| it["id"].as_str().unwrap().to_owned());
            let before = found.len();
            found.extend(ids);
            if found.len() == before {
                return found;
            }
        }
    }
}

/// The sample's first lines, and two that break rules.
fn input(folder: &Path) -> std::path::PathBuf {
    let sample = std::fs::read_to_string(repository().join("resources/production.csv")).unwrap();
    let mut lines: Vec<&str> = sample.lines().take(LINES + 1).collect();
    let hostile = format!("990001,22143,{HOSTILE},two,9/1/2010 9:22,1.5,12345,France");
    lines.extend([hostile.as_str(), "990002,22143,RED MUG,2,9/1/2010 9:22,-1.5,12345,France"]);
    let path = folder.join("input.csv");
    std::fs::write(&path, lines.join("\n") + "\n").unwrap();
    path
}

/// The name of the entity of a verdict: that of the verdict without the detector.
pub(crate) fn entity(verdict: &Value) -> String {
    let (id, detector) = (verdict["id"].as_str().unwrap(), verdict["detector"].as_str().unwrap());
    id.replacen(&format!("/{detector}/"), "/", 1)
}

#[test]
fn the_window_shows_what_was_committed_before_and_after_a_restart() {
    let Some(kafka) = Kafka::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let pipeline = folder.path().join("pipeline.toml");
    // What is open at the end stays open, however long the test takes.
    PipelineFile::invoices().with("session_gap", "20m").write(&pipeline);
    let input = input(folder.path());
    let scorer_ = Scorer::start(&kafka, &pipeline, folder.path(), &[]);
    assert_eq!(scorer_.get("/live").0, 200);
    wait_for("partitions that are read", PATIENCE, || (scorer_.get("/ready").0 == 200).then_some(()));
    assert!(scorer_.anomalies().is_empty());

    let replay = scorer(&["replay", text(&input), "--pipeline", text(&pipeline), "--brokers", &kafka.brokers]);
    assert_eq!(replay.code, Some(0), "{}", replay.stderr);
    let sent = (LINES + 2) as f64;
    let is_done = |metrics: &BTreeMap<String, f64>| {
        let read = |name: &str| metrics.get(name).copied();
        // What is committed is counted a moment after what is read.
        (read("records_read_total") == Some(sent) && read("lag_records") == Some(0.0)).then_some(())
    };
    wait_for("all lines", PATIENCE, || is_done(&scorer_.metrics()));

    let topics = ["anomalias_kmeans", "anomalias_bisect_kmeans"];
    let published = || -> Vec<Received> { topics.iter().flat_map(|topic| kafka.read(topic)).collect() };
    let shown = wait_for("the anomalies of the topics", PATIENCE, || {
        let verdicts = published();
        let expected: BTreeSet<String> = verdicts.iter().map(|it| entity(&it.value)).collect();
        let shown = scorer_.anomalies();
        (!shown.is_empty() && shown == expected && counted(&scorer_) == verdicts.len() as u64).then_some(shown)
    });
    let verdicts = published();
    assert!(verdicts.len() > 20, "{} verdicts", verdicts.len());
    is_told_as_published(&scorer_, &verdicts);
    is_as_described(&scorer_);
    let errors = scorer_.json("/api/v1/errors");
    let raw = errors["errors"].as_array().unwrap().iter().filter_map(|it| it["content"].as_str());
    assert!(raw.filter(|raw| raw.contains(HOSTILE)).count() == 1, "{errors}");
    assert_eq!(errors["matching"].as_u64().unwrap() as usize, kafka.read("facturas_erroneas").len());

    let metrics = scorer_.metrics();
    let (run, _) = scorer_.running.terminate();
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    is_the_summary(&metrics, &run.stdout);

    let again = Scorer::start(&kafka, &pipeline, folder.path(), &[]);
    wait_for("what was there before", PATIENCE, || (again.anomalies() == shown).then_some(()));
    is_told_as_published(&again, &verdicts);
    wait_for("the errors", PATIENCE, || (again.json("/api/v1/errors")["matching"] == errors["matching"]).then_some(()));
    assert_eq!(again.metrics()["records_read_total"], 0.0, "nothing was scored again");
    let dropped = again.json("/api/v1/status")["window"]["dropped"].clone();
    assert_eq!((dropped.as_u64(), again.running.terminate().0.code), (Some(0), Some(0)));
}

/// Every list and every number is as the description of the API says.
fn is_as_described(scorer: &Scorer) {
    let api = JsonSchema::of_api(scorer.json("/api/v1/openapi.json"));
    let newest = scorer.json("/api/v1/anomalies?limit=1")["anomalies"][0]["id"].as_str().unwrap().to_owned();
    let asked = ["status", "series", "anomalies", "entities", "errors", "models", "precision", "exceptions", "alerts"];
    let one = format!("/api/v1/anomaly?id={newest}");
    for target in asked.map(|path| format!("/api/v1/{path}")).into_iter().chain([one]) {
        let (path, answer) = (target.split('?').next().unwrap(), scorer.json(&target));
        assert_eq!(api.problem_of_answer(("get", path), 200, &answer), None, "{target}: {answer}");
    }
}

/// A payment of a few users, minutes apart.
fn payment(number: usize, amount: f64) -> Vec<u8> {
    let (user, minute) = (number % 3, number % 60);
    let at = format!("2026-11-01T{:02}:{minute:02}:00Z", number / 60);
    let payment = json!({
        "transaction_id": format!("t{number}"), "user_id": format!("u{user}"), "merchant_id": "m", "amount": amount,
        "currency": "EUR", "latitude": 40.4, "longitude": -3.7, "timestamp": at,
    });
    payment.to_string().into_bytes()
}

/// What a payment switch hears before it says yes is what the stream says afterwards.
#[test]
fn a_payment_that_is_posted_has_the_verdicts_that_it_gets_as_a_record() {
    let Some(kafka) = Kafka::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let pipeline = folder.path().join("pipeline.toml");
    PipelineFile::of("transactions").write(&pipeline);
    let scorer = Scorer::start(&kafka, &pipeline, folder.path(), &["--all-verdicts"]);
    wait_for("partitions that are read", PATIENCE, || (scorer.get("/ready").0 == 200).then_some(()));
    let sent: Vec<Vec<u8>> = (0..90).map(|number| payment(number, 10.0 + number as f64)).collect();
    kafka.send("transactions", &sent);
    let topics = ["transaction_anomalies_kmeans", "transaction_anomalies_bisecting-kmeans"];
    for topic in topics {
        kafka.read_until(topic, |verdicts| verdicts.len() == sent.len());
    }

    let next = payment(90, 4_000.0);
    let (status, answer) = scorer.post("/api/v1/score", &serde_json::from_slice(&next).unwrap());
    assert_eq!((status, &answer["past"], &answer["published"]), (200, &json!("state"), &json!(false)), "{answer}");
    let api = JsonSchema::of_api(scorer.json("/api/v1/openapi.json"));
    assert_eq!(api.problem_of_answer(("post", "/api/v1/score"), 200, &answer), None, "{answer}");
    assert_eq!((&answer["anomalous"], &answer["not_judged"]), (&json!(true), &json!(["zscore"])), "{answer}");
    let (status, refused) = scorer.post("/api/v1/score", &json!({ "amount": "much" }));
    assert_eq!(api.problem_of_answer(("post", "/api/v1/score"), status, &refused), None, "{refused}");
    assert!(
        status == 422 && refused["reasons"].as_array().unwrap().contains(&json!("not_a_number:amount")),
        "{refused}"
    );

    kafka.send("transactions", &[next]);
    for (place, topic) in topics.into_iter().enumerate() {
        let verdicts = kafka.read_until(topic, |verdicts| verdicts.len() == sent.len() + 1);
        let mut last = verdicts.into_iter().find(|verdict| verdict.value["key"] == "t90").unwrap().value;
        let fields = last.as_object_mut().unwrap();
        assert!(fields.remove("id").is_some() && fields.remove("source").is_some());
        assert_eq!(answer["verdicts"][place], last, "{topic}");
    }
    assert_eq!(scorer.metrics()["score_requests_total{outcome=\"scored\"}"], 1.0);
    assert_eq!(scorer.running.terminate().0.code, Some(0));
}

/// How many verdicts the stream has committed.
fn counted(scorer: &Scorer) -> u64 {
    let status = scorer.json("/api/v1/status");
    status["stream"]["anomalies"].as_object().unwrap().values().filter_map(Value::as_u64).sum()
}

/// Each verdict is shown as it was published.
fn is_told_as_published(scorer: &Scorer, verdicts: &[Received]) {
    for Received { value, .. } in verdicts {
        let one = scorer.json(&format!("/api/v1/anomaly?id={}", entity(value)));
        let shown = one["verdicts"].as_array().unwrap();
        assert!(shown.contains(value), "{value} is not among {shown:?}");
        assert_eq!(one["key"], value["key"]);
    }
}

/// The counters of the last scrape are what the summary says.
fn is_the_summary(metrics: &BTreeMap<String, f64>, summary: &str) {
    let of = |name: &str| -> f64 {
        let cells = summary.lines().flat_map(|line| {
            let cells: Vec<&str> = line.split(['│', '┆']).map(str::trim).collect();
            cells.windows(2).map(|pair| (pair[0].to_owned(), pair[1].to_owned())).collect::<Vec<_>>()
        });
        let found = cells.filter(|(found, _)| found == name).find_map(|(_, value)| value.parse().ok());
        found.unwrap_or_else(|| panic!("no `{name}` in {summary}"))
    };
    for (metric, row) in [
        ("records_read_total", "read"),
        ("records_total{outcome=\"scored\"}", "in scored invoices"),
        ("records_total{outcome=\"malformed\"}", "malformed"),
        ("records_total{outcome=\"late\"}", "late"),
        ("records_total{outcome=\"cancellation\"}", "of cancellations"),
        ("anomalies_total{detector=\"kmeans\"}", "anomalies by kmeans"),
        ("anomalies_total{detector=\"bisecting-kmeans\"}", "anomalies by bisecting-kmeans"),
    ] {
        assert_eq!(metrics.get(metric), Some(&of(row)), "{metric}: {metrics:?}\n{summary}");
    }
    assert!(metrics["commit_duration_seconds_count"] > 0.0 && metrics["state_bytes"] > 0.0);
}

/// Whoever does not know the token sees nothing, and it is said who tried.
#[test]
fn a_token_keeps_the_window_closed() {
    let Some(kafka) = Kafka::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let (pipeline, token) = (folder.path().join("pipeline.toml"), folder.path().join("token"));
    PipelineFile::invoices().write(&pipeline);
    std::fs::write(&token, "0123456789abcdef\n").unwrap();
    let scorer = Scorer::start(&kafka, &pipeline, folder.path(), &["--auth-token-file", text(&token)]);
    assert_eq!([scorer.get("/api/v1/anomalies").0, scorer.get("/").0, scorer.get("/live").0], [401, 401, 200]);
    wait_for("the log of that", PATIENCE, || scorer.running.stderr().contains("without the right token").then_some(()));
    // Each wrong secret is, however fast they come.
    let before = scorer.running.stderr().matches("without the right token").count();
    std::thread::scope(|scope| {
        for _ in 0..5 {
            scope.spawn(|| assert_eq!(scorer.get_with("/", "Authorization: Bearer 0123456789abcdeg\r\n").0, 401));
        }
    });
    wait_for("the log of each", PATIENCE, || {
        (scorer.running.stderr().matches("without the right token").count() == before + 5).then_some(())
    });
    assert_eq!(scorer.get_with("/metrics", "Authorization: Bearer 0123456789abcdef\r\n").0, 200);
    assert_eq!(scorer.running.terminate().0.code, Some(0));
}

/// What could be seen from elsewhere is not shown without a secret, and a port that is taken is said before anything starts.
#[test]
fn a_window_that_cannot_be_opened_is_one_sentence() {
    let open = scorer(&["run", "--listen", "0.0.0.0:0", "--brokers", "127.0.0.1:1"]);
    assert_eq!(open.code, Some(1));
    assert!(open.stderr.contains("--auth-token-file") && open.stderr.lines().count() == 1, "{}", open.stderr);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let run = scorer(&["run", "--listen", &address, "--brokers", "127.0.0.1:1"]);
    assert_eq!(run.code, Some(1));
    assert!(run.stderr.starts_with(&format!("error: cannot listen on {address}: ")), "{}", run.stderr);
    let wrong = scorer(&["run", "--listen", "8600"]);
    assert_eq!(wrong.code, Some(2));
    assert!(wrong.stderr.contains("127.0.0.1:8600"), "{}", wrong.stderr);
}
