//! Traces to a real HTTP receiver on loopback, with outages.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::channel;

use serde_json::Value;

use super::*;

/// Longer than anything takes.
const LONG: Duration = Duration::from_secs(60);

fn batch(number: u64) -> BatchTrace {
    let now = Instant::now();
    let times = (now, now);
    BatchTrace {
        number,
        records: 1,
        messages: 0,
        read: times,
        scored: times,
        published: times,
        committed: Some(times),
        error: None,
    }
}

/// What came: the first line and the headers, and the body.
type Came = (String, Value);

/// A receiver that answers as it is told, and then with 200.
fn receiver(answers: &[&'static str]) -> (SocketAddr, Receiver<Came>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, (said, came)) = (listener.local_addr().unwrap(), channel());
    let mut answers = VecDeque::from(answers.to_vec());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let request = read(&stream);
            let answer = answers.pop_front().unwrap_or("200 OK");
            let head = format!("HTTP/1.1 {answer}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            stream.write_all(head.as_bytes()).unwrap();
            if said.send(request).is_err() {
                return;
            }
        }
    });
    (address, came)
}

fn read(stream: &TcpStream) -> Came {
    let mut reader = BufReader::new(stream);
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if let Some(found) = line.to_lowercase().strip_prefix("content-length:") {
            length = found.trim().parse().unwrap();
        }
        if line.trim().is_empty() {
            break;
        }
        head += &line.to_lowercase();
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    (head, serde_json::from_slice(&body).unwrap())
}

/// The numbers of the batches that came.
fn numbers(came: &Came) -> Vec<String> {
    let spans = came.1["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().unwrap().iter();
    let roots = spans.filter(|span| span["name"] == "batch");
    roots.map(|span| span["attributes"][0]["value"]["intValue"].as_str().unwrap().to_owned()).collect()
}

fn sender(address: SocketAddr) -> Sender {
    Sender {
        receiver: Remote::new(&format!("http://{address}/"), "").unwrap(),
        resource: Vec::new(),
        waiting: VecDeque::new(),
        dropped: Arc::default(),
        failures: 0,
        not_before: None,
    }
}

#[test]
fn what_is_left_is_sent_at_the_end_with_the_headers_that_were_asked_for() {
    let (address, came) = receiver(&[]);
    let traces = Traces::start(&format!("http://{address}"), "x-tenant=a, x-key=Bearer%20b=c", Vec::new()).unwrap();
    let on_batch = traces.on_batch();
    (1..=3).for_each(|number| on_batch(batch(number)));
    traces.close();
    let request = came.recv_timeout(LONG).unwrap();
    assert_eq!(numbers(&request), ["1", "2", "3"]);
    for line in ["post /v1/traces http/1.1", "content-type: application/json", "x-tenant: a", "x-key: bearer b=c"] {
        assert!(request.0.contains(line), "{line} is missing in {}", request.0);
    }
    // Nobody takes any more, and nobody waits.
    on_batch(batch(4));
}

#[test]
fn what_may_be_taken_later_is_sent_again_and_what_is_refused_is_not() {
    let (address, came) = receiver(&["503 Busy\r\nRetry-After: 7", "400 Bad Request"]);
    let mut sender = sender(address);
    sender.add(batch(1));
    let start = Instant::now();
    assert!(!sender.send());
    let wait = sender.not_before.unwrap() - start;
    assert!(wait >= Duration::from_secs(7) && wait < LONG, "{wait:?}");
    assert_eq!((sender.waiting.len(), sender.failures), (1, 1));
    assert!(sender.send(), "it is refused for good");
    assert_eq!((sender.waiting.len(), sender.dropped.load(Ordering::Relaxed)), (0, 1));
    sender.add(batch(2));
    assert!(sender.send() && sender.waiting.is_empty());
    let came: Vec<_> = (0..3).map(|_| numbers(&came.recv_timeout(LONG).unwrap())).collect();
    assert_eq!(came, [["1"], ["1"], ["2"]]);
}

#[test]
fn more_than_may_wait_are_dropped_and_counted() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut sender = sender(nobody);
    (0..MOST as u64 + 10).for_each(|number| sender.add(batch(number)));
    assert_eq!((sender.waiting.len(), sender.waiting[0].number), (MOST, 10), "the newest are kept");
    assert!(!sender.send() && !sender.send());
    assert_eq!((sender.dropped.load(Ordering::Relaxed), sender.failures), (10, 2));
    // At the end nobody waits for a receiver that is not there.
    let (queue, batches) = sync_channel(1);
    let dropped = sender.dropped.clone();
    queue.send(None).unwrap();
    sender.serve(&batches, LONG);
    assert_eq!(dropped.load(Ordering::Relaxed), MOST as u64 + 10);
}

#[test]
fn an_address_or_headers_that_are_none_are_refused_and_no_secret_is_shown() {
    let error = |endpoint: &str, headers: &str| Remote::new(endpoint, headers).unwrap_err().to_string();
    assert!(error("localhost:4318", "").contains("https:// or http://"));
    assert!(error("nowhere", "").contains("--otlp-endpoint must be"));
    for headers in ["SECRET", "a b=SECRET", "a=SECRET%2", "a=SECRET\u{1}x"] {
        let said = error("http://localhost:4318", headers);
        assert!(said.contains("OTEL_EXPORTER_OTLP_HEADERS") && !said.contains("SECRET"), "{said}");
    }
}
