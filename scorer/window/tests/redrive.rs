//! Orders to send erroneous records again, as those who connect to the window see them.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use serde_json::{Value, json};
use window::{About, Access, Keeping, Limits, Open, Order, Redriven, Redrives, Server, Snapshot, Source, Which};

/// Longer than any answer takes.
const PATIENCE: Duration = Duration::from_secs(60);

const WRITE: &str = "Content-Type: application/json\r\nX-Atalaya-Write: 1\r\n";

const PATH: &str = "/api/v1/errors/redrive";

fn open(access: Access, is_possible: bool) -> (Open, Option<Redrives>) {
    let (server, ..) = Server::bind(access).unwrap();
    let (server, redrives) = match is_possible {
        true => {
            let (server, redrives) = server.with_redrives();
            (server, Some(redrives))
        }
        false => (server, None),
    };
    let ask = Arc::new(Snapshot::default);
    let source = Source { about: About::default(), ask, limits: Limits::default(), keeping: Keeping::Memory };
    (server.open(source).unwrap(), redrives)
}

fn of_everybody() -> Access {
    Access::new("127.0.0.1:0".parse().unwrap(), None).unwrap()
}

/// What is to be sent, who wants it, and whether it is only to be counted.
type Taken = Receiver<(Which, String, bool)>;

/// A window whose orders are taken here, and are done as they are told to.
fn ordered() -> (Open, Taken, Sender<Result<Redriven, String>>) {
    let (open, redrives) = open(of_everybody(), true);
    let (redrives, (said, taken), (results, done)) = (redrives.unwrap(), channel(), channel());
    std::thread::spawn(move || {
        while let Some(order) = redrives.wait() {
            let Order { which, by, is_dry, .. } = &order;
            said.send((which.clone(), by.clone(), *is_dry)).unwrap();
            let Ok(result) = done.recv() else { return };
            order.answer(result);
        }
    });
    (open, taken, results)
}

/// The status and the JSON of an answer.
fn send(open: &Open, request: &str) -> (u16, Value) {
    let mut stream = TcpStream::connect(open.address()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer}"));
    (head[9..12].parse().unwrap(), serde_json::from_str(body).unwrap_or_default())
}

fn get(open: &Open, path: &str) -> (u16, Value) {
    send(open, &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"))
}

fn post(open: &Open, body: &Value, headers: &str) -> (u16, Value) {
    let body = body.to_string();
    let head = format!("POST {PATH} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}");
    send(open, &format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()))
}

#[test]
fn it_is_seen_what_would_be_sent_and_then_it_is_sent() {
    let (open, taken, results) = ordered();
    let counts = Redriven { sent: 3, sent_before: 2, truncated: 1, ..Redriven::default() };
    let told = json!({ "sent": 3, "sent_before": 2, "truncated": 1, "too_large": 0, "not_of_a_record": 0 });
    results.send(Ok(counts)).unwrap();
    let (status, seen) = get(&open, &format!("{PATH}/preview?reason=late_line&since=1000"));
    assert_eq!((status, &seen["counts"]), (200, &told));
    let (which, by, is_dry) = taken.recv().unwrap();
    let reason = Some("late_line".to_owned());
    let until = seen["until"].as_i64();
    assert_eq!(which, Which { reason: reason.clone(), since: Some(1000), until, record: None });
    assert!(until.is_some() && is_dry && by.is_empty());
    assert_eq!(get(&open, PATH).1, json!({ "is_possible": true, "running": null, "last": null }), "nothing was done");

    results.send(Ok(counts)).unwrap();
    let body = json!({ "reason": "late_line", "since": 1000, "until": until, "by": " ann " });
    assert_eq!(post(&open, &body, WRITE), (200, json!({ "is_over": true, "counts": told })));
    assert_eq!(taken.recv().unwrap(), (which, "ann".to_owned(), false));
    let (_, shown) = get(&open, PATH);
    assert_eq!([&shown["last"]["by"], &shown["last"]["reason"]], ["ann", "late_line"]);
    assert_eq!((&shown["last"]["counts"], &shown["running"]), (&told, &Value::Null));

    results.send(Err("no broker answers".to_owned())).unwrap();
    let body = json!({ "record": "purchases:0:17", "by": "bob" });
    assert_eq!(post(&open, &body, WRITE), (503, json!({ "error": "no broker answers" })));
    assert_eq!(taken.recv().unwrap().0.record.as_deref(), Some("purchases:0:17"));
    assert_eq!(get(&open, PATH).1["last"]["error"], "no broker answers");
}

#[test]
fn what_takes_long_goes_on_and_is_seen() {
    let (open, taken, results) = ordered();
    assert_eq!(post(&open, &json!({ "by": "ann" }), WRITE), (202, json!({ "is_over": false })));
    taken.recv().unwrap();
    let (_, shown) = get(&open, PATH);
    assert_eq!((&shown["running"]["by"], &shown["running"]["ended"]), (&json!("ann"), &Value::Null));
    results.send(Ok(Redriven { sent: 7, ..Redriven::default() })).unwrap();
    let start = std::time::Instant::now();
    while get(&open, PATH).1["last"]["counts"]["sent"] != 7 {
        assert!(start.elapsed() < PATIENCE, "the end is seen");
    }
    assert_eq!(get(&open, PATH).1["running"], Value::Null);
}

/// Who asks has to say who they are, and to be a page of this window or a program.
#[test]
fn nobody_else_sends_anything() {
    let (open, taken, results) = ordered();
    let by_ann = json!({ "by": "ann" });
    for (body, headers, status) in [
        (json!({}), WRITE.to_owned(), 400),
        (json!({ "by": "a".repeat(201) }), WRITE.to_owned(), 400),
        (json!({ "by": "ann", "reason": "r".repeat(1001) }), WRITE.to_owned(), 400),
        (json!({ "by": "ann", "everything": true }), WRITE.to_owned(), 400),
        (by_ann.clone(), "Content-Type: application/json\r\n".to_owned(), 403),
        (by_ann.clone(), format!("{WRITE}Sec-Fetch-Site: cross-site\r\n"), 403),
        (by_ann.clone(), format!("{WRITE}Origin: http://evil.example\r\n"), 403),
        (by_ann.clone(), "Content-Type: text/plain\r\nX-Atalaya-Write: 1\r\n".to_owned(), 415),
    ] {
        assert_eq!(post(&open, &body, &headers).0, status, "{body} {headers}");
    }
    let of_host = format!("POST {PATH} HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n{WRITE}");
    assert_eq!(send(&open, &format!("{of_host}Content-Length: 2\r\n\r\n{{}}")).0, 421);
    assert!(taken.try_recv().is_err(), "nobody was asked");
    drop(results);
    // Whoever could send has gone.
    assert_eq!(post(&open, &by_ann, WRITE).0, 503);

    let (impossible, _) = self::open(of_everybody(), false);
    assert_eq!(get(&impossible, PATH).1["is_possible"], false);
    assert_eq!(get(&impossible, &format!("{PATH}/preview")).0, 404);
    assert_eq!(post(&impossible, &by_ann, WRITE).0, 404);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "0123456789abcdef\n").unwrap();
    let access = Access::new("127.0.0.1:0".parse().unwrap(), Some(file.path())).unwrap();
    let (closed, _redrives) = self::open(access, true);
    assert_eq!(post(&closed, &by_ann, WRITE).0, 401);
}
