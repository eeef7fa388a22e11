//! Records that are posted to be scored, as those who post them see it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use window::{About, Access, Keeping, Limits, Open, Questions, Reply, Server, Snapshot, Source, Written};

/// Longer than any answer takes.
const PATIENCE: Duration = Duration::from_secs(60);

const JSON: &str = "Content-Type: application/json\r\n";

fn open(is_scored: bool) -> (Open, Option<Questions>) {
    let access = Access::new("127.0.0.1:0".parse().unwrap(), None).unwrap();
    let (server, ..) = Server::bind(access).unwrap();
    let (server, questions) = match is_scored {
        true => {
            let (server, questions) = server.with_questions();
            (server, Some(questions))
        }
        false => (server, None),
    };
    let ask = Arc::new(Snapshot::default);
    let source = Source { about: About::default(), ask, limits: Limits::default(), keeping: Keeping::Memory };
    (server.open(source).unwrap(), questions)
}

/// Answers as the records say.
fn answering() -> Open {
    let (open, questions) = open(true);
    let questions = questions.unwrap();
    std::thread::spawn(move || {
        while let Some(question) = questions.wait() {
            let text = String::from_utf8_lossy(&question.records).into_owned();
            let reply = match text.as_str() {
                "bad" => Reply::Refused { reasons: vec!["late_line".to_owned()], why: "the record is bad".to_owned() },
                "later" => Reply::NotNow("not now".to_owned()),
                _ => Reply::Scored(format!("{{\"written\":\"{:?}\",\"bytes\":{}}}", question.written, text.len())),
            };
            question.answer(reply);
        }
    });
    open
}

/// The status, the head in lower case and the body of an answer.
fn send(open: &Open, request: &str) -> (u16, String, String) {
    let mut stream = TcpStream::connect(open.address()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // An answer may come before the whole request is sent.
    let _ = stream.write_all(request.as_bytes());
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer}"));
    (head[9..12].parse().unwrap(), head.to_lowercase(), body.to_owned())
}

fn post(open: &Open, body: &str, headers: &str) -> (u16, String, String) {
    let head = "POST /api/v1/score HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n";
    send(open, &format!("{head}{headers}Content-Length: {}\r\n\r\n{body}", body.len()))
}

#[test]
fn each_answer_has_its_status() {
    let open = answering();
    for (kind, written) in [
        ("application/json", Written::Json),
        ("Application/JSON; charset=utf-8", Written::Json),
        ("text/csv", Written::Csv),
        ("application/octet-stream", Written::AsOnTopic),
    ] {
        let (status, head, body) = post(&open, "1,2", &format!("Content-Type: {kind}\r\n"));
        assert_eq!((status, body), (200, format!("{{\"written\":\"{written:?}\",\"bytes\":3}}")), "{kind}");
        assert!(head.contains("content-type: application/json") && head.contains("cache-control: no-store"), "{head}");
    }
    let (status, _, body) = post(&open, "bad", JSON);
    assert_eq!((status, body.as_str()), (422, r#"{"error":"the record is bad","reasons":["late_line"]}"#));
    let (status, head, body) = post(&open, "later", JSON);
    assert_eq!((status, body.as_str()), (503, r#"{"error":"not now"}"#));
    assert!(head.contains("retry-after: 1"), "{head}");
    let (.., metrics) = send(&open, "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    for (outcome, count) in [("scored", 4), ("refused", 1), ("not_now", 1)] {
        let line = format!("atalaya_score_requests_total{{outcome=\"{outcome}\"}} {count}\n");
        assert!(metrics.contains(&line), "{line}{metrics}");
    }
}

/// It changes nothing, so that programs need no header of their own; pages of other sites still make nobody work.
#[test]
fn what_is_too_large_or_from_elsewhere_is_refused() {
    let open = answering();
    let status = |body: &str, headers: &str| post(&open, body, headers).0;
    assert_eq!(status("1", ""), 415);
    assert_eq!(status("1", "Content-Type: text/plain\r\n"), 415);
    assert_eq!(status("1", &format!("{JSON}Sec-Fetch-Site: cross-site\r\n")), 403);
    assert_eq!(status("1", &format!("{JSON}Origin: http://evil.example\r\n")), 403);
    assert_eq!(status("1", &format!("{JSON}Sec-Fetch-Site: same-origin\r\n")), 200);
    assert_eq!(status(&"x".repeat(256 << 10), JSON), 200);
    assert_eq!(status(&"x".repeat((256 << 10) + 1), JSON), 413);
    let chunked = format!("{JSON}Transfer-Encoding: chunked\r\n");
    assert!([400, 411, 413].contains(&status("1", &chunked)));
    let of_host = format!("POST /api/v1/score HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n{JSON}");
    assert_eq!(send(&open, &format!("{of_host}Content-Length: 1\r\n\r\n1")).0, 421);
    let get = "GET /api/v1/score HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    assert_eq!(send(&open, get).0, 405);
}

#[test]
fn nobody_waits_for_a_scorer_that_is_busy_or_gone() {
    let (busy, questions) = open(true);
    let start = Instant::now();
    let (status, _, body) = post(&busy, "1", JSON);
    assert_eq!(status, 503, "{body}");
    assert!(body.contains("has no time for these records") && start.elapsed() < PATIENCE / 2, "{body}");
    let question = questions.as_ref().unwrap().wait().unwrap();
    assert!(!question.is_awaited(), "who asked has gone");
    question.answer(Reply::NotNow(String::new()));
    // Records that never come are not waited for either.
    let head = "POST /api/v1/score HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 9\r\n";
    assert_eq!(send(&busy, &format!("{head}{JSON}\r\n1")).0, 408);
    drop(questions);
    let (status, _, body) = post(&busy, "1", JSON);
    assert_eq!((status, body.contains("the scorer ends")), (503, true), "{body}");
    let (unasked, _) = open(false);
    assert_eq!(post(&unasked, "1", JSON).0, 404);
}

#[test]
fn a_full_queue_is_said_at_once_and_too_many_requests_are_refused() {
    let (open, questions) = open(true);
    let posting: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..40).map(|_| scope.spawn(|| post(&open, "1", JSON).0)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(posting.iter().all(|status| *status == 503), "{posting:?}");
    let questions = questions.unwrap();
    // The window closes, so that there is an end to what waits.
    drop(open);
    assert_eq!(std::iter::from_fn(|| questions.wait()).count(), 32, "no more wait than may");
    let open = answering();
    let many = (0..1_000).any(|_| post(&open, "1", JSON).0 == 429);
    assert!(many, "more than 200 a second are not answered");
}
