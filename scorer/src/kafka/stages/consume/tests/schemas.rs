//! Records that wait for their schemas, beside others that do not.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;

use super::*;

/// The lines of `partition`, each with the id of a schema before it that is the partition's number and one.
fn framed(partition: i32, count: usize) -> Vec<String> {
    let id = char::from(partition as u8 + 1);
    lines(partition, count).iter().map(|line| format!("\0\0\0\0{id}{}", as_json(line))).collect()
}

fn as_json(line: &str) -> String {
    let fields: Vec<&str> = line.split(',').collect();
    format!(r#"{{"id":"{}","user":"{}","shop":"s","n":5,"at":"{}"}}"#, fields[0], fields[1], fields[4])
}

/// A pipeline whose registry has the schema 2, and the schema 1 once `go` says so.
fn pipeline_of(go: Receiver<()>) -> Arc<Pipeline> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let go = Arc::new(Mutex::new(go));
    thread::spawn(move || {
        let mut is_there = false;
        for mut stream in listener.incoming().flatten() {
            let mut request = String::new();
            // To close a connection with something left to read would take the answer back.
            let mut lines = BufReader::new(stream.try_clone().unwrap());
            while !request.ends_with("\r\n\r\n") && lines.read_line(&mut request).unwrap() > 0 {}
            is_there |= go.lock().unwrap().try_recv().is_ok();
            let is_away = request.contains("/schemas/ids/1 ") && !is_there;
            let (status, body) = if is_away { (503, "") } else { (200, r#"{"schemaType":"JSON","schema":"{}"}"#) };
            let head = format!("HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
            let _ = stream.write_all((head + body).as_bytes());
        }
    });
    let text = r#"
        name = "small"
        entity = { key = "id" }
        outputs.erroneous = "bad"
        detectors = [{ name = "kmeans", algorithm = "kmeans", topic = "out" }]
        [input]
        topic = "in"
        format = "json-schema"
        columns = ["id", "user", "shop", "n:int", "at:datetime"]
        datetime_formats = ["rfc3339"]
        [features]
        a = "count() by user over 1h"
    "#;
    Arc::new(Pipeline::parse(&format!("{text}\n[input.registry]\nurl = \"{url}\"\n"), "small.toml").unwrap())
}

impl Bench {
    /// Steps until so many records were taken.
    fn until(&mut self, records: u64) {
        let start = Instant::now();
        while self.records() < records {
            assert!(start.elapsed() < Duration::from_secs(60), "{} of {records}", self.records());
            if let Ok(batch) = self.batches.try_recv() {
                self.results.send(self.broker.commit(batch)).unwrap();
            }
            self.steps(1);
        }
    }

    fn waits(&self) -> bool {
        !self.consume.options.schemas.is_empty()
    }
}

fn bench() -> (Bench, Sender<()>) {
    let (go, gone) = channel();
    let bench = Bench::of(pipeline_of(gone), &[(0, 3), (1, 4)], 100);
    bench.broker.lock().lines = BTreeMap::from([(0, framed(0, 3)), (1, framed(1, 4))]);
    (bench, go)
}

#[test]
fn a_record_waits_for_its_schema_and_holds_no_other_partition() {
    let (mut bench, go) = bench();
    bench.until(4);
    bench.steps(20);
    assert_eq!((bench.records(), bench.waits()), (4, true), "those of the other partition");
    assert!(bench.broker.happened().contains(&Happened::Held(vec![0])));
    assert_eq!(bench.consume.options.status.get().waiting_partitions, 1);
    assert!(!bench.consume.has_read_everything(), "what waits is not read");
    go.send(()).unwrap();
    bench.until(7);
    assert!(!bench.waits());
    bench.consume.report();
    assert_eq!(bench.consume.options.status.get().waiting_partitions, 0);
    let counters = bench.consume.tasks.core.counters();
    assert_eq!((counters.malformed_lines, counters.accounted()), (0, counters.outcomes()), "{counters:?}");
}

#[test]
fn a_rollback_takes_the_partitions_along_that_wait() {
    let (mut bench, go) = bench();
    bench.until(4);
    bench.consume.roll_back().unwrap();
    assert!(!bench.waits(), "it is fetched again, and then it waits again");
    go.send(()).unwrap();
    bench.until(7);
    bench.steps(50);
    assert_eq!((bench.records(), bench.consume.tasks.core.counters().malformed_lines), (7, 0));
}

#[test]
fn what_is_given_up_waits_for_nobody() {
    let (mut bench, _go) = bench();
    bench.until(4);
    assert!(bench.waits());
    bench.broker.revoke(&[0], true);
    bench.broker.lock().is_lost = false;
    bench.steps(2);
    assert!(!bench.waits());
}
