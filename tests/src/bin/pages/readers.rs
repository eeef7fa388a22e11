//! Programs that ask the window for what open pages ask for. They draw nothing, so they leave the processors to the scorer.

use std::io::{self, BufRead as _, BufReader, Lines, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::thread::JoinHandle;

/// What the pages Now and Anomalies ask for when they hear of something new.
const ASKED: [&[&str]; 2] =
    [&["/api/v1/anomalies?limit=6", "/api/v1/series?span=15m"], &["/api/v1/anomalies?state=open&limit=100"]];

/// The line that begins an event.
const TICK: &str = "event: tick";

/// Readers of the event stream, every other one as the page Now and the others as the page Anomalies.
pub(crate) struct Readers {
    streams: Vec<TcpStream>,
    threads: Vec<JoinHandle<()>>,
}

impl Readers {
    /// So many, once each has heard of a second.
    pub(crate) fn open(address: &str, count: usize) -> Self {
        let streams: Vec<TcpStream> = (0..count).map(|_| ask(address, "/api/v1/stream").unwrap()).collect();
        let begin = |(stream, asked): (&TcpStream, &'static [&'static str])| {
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            assert!(lines.by_ref().map_while(Result::ok).any(|line| line == TICK), "the window tells of each second");
            let address = address.to_owned();
            std::thread::spawn(move || listen(lines, &address, asked))
        };
        let threads = streams.iter().zip(ASKED.into_iter().cycle()).map(begin).collect();
        Self { streams, threads }
    }

    /// Ends them, all of which have listened up to now.
    pub(crate) fn close(self) {
        assert!(self.threads.iter().all(|thread| !thread.is_finished()), "a reader was sent away");
        for stream in &self.streams {
            stream.shutdown(Shutdown::Both).unwrap();
        }
        for thread in self.threads {
            thread.join().unwrap();
        }
    }
}

/// Asks at each event, until the stream of events ends or an answer is none.
fn listen(lines: Lines<BufReader<TcpStream>>, address: &str, asked: &[&str]) {
    for line in lines.map_while(Result::ok) {
        if line == TICK && asked.iter().any(|path| get(address, path).is_err()) {
            return;
        }
    }
}

/// The body of an answer.
pub(crate) fn get(address: &str, path: &str) -> io::Result<String> {
    let mut answer = String::new();
    ask(address, path)?.read_to_string(&mut answer)?;
    match answer.split_once("\r\n\r\n") {
        Some((head, body)) if head.starts_with("HTTP/1.1 200 ") => Ok(body.to_owned()),
        _ => Err(io::Error::other(format!("{path}: {answer}"))),
    }
}

fn ask(address: &str, path: &str) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(address)?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    Ok(stream)
}
