//! Logins by name, as those who log in see them.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use argon2::password_hash::{PasswordHasher as _, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use window::{About, Access, Ends, Intake, Keeping, Kind, Limits, Open, Server, Snapshot, Source};

const PATIENCE: Duration = Duration::from_secs(60);

fn hash(password: &str) -> String {
    let params = Params::new(7 << 10, 5, 1, None).unwrap();
    let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    argon.hash_password(password.as_bytes(), &SaltString::from_b64("c29tZXNhbHRzb21l").unwrap()).unwrap().to_string()
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    file
}

/// A window for Ann, Bob and programs with a token.
fn open() -> (Open, Intake) {
    let (logins, token) = (file(&format!("Ann:{}\nBob:{}\n", hash("one"), hash("two"))), file("0123456789abcdef\n"));
    let address = "127.0.0.1:0".parse().unwrap();
    let access = Access::with_logins(address, Some(token.path()), Some(logins.path())).unwrap();
    assert!(access.bytes() >= 64 << 20);
    let (server, Ends { intake, journal, .. }) = Server::bind(access).unwrap();
    journal.keep_in_memory().unwrap();
    let ask = Arc::new(Snapshot::default);
    let source = Source { about: About::default(), ask, limits: Limits::default(), keeping: Keeping::Memory };
    (server.open(source).unwrap(), intake)
}

/// Status and body of an answer.
fn send(open: &Open, request: &str, authorization: &str, body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(open.address()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let more = match body {
        "" => String::new(),
        body => format!("Content-Length: {}\r\nContent-Type: application/json\r\nX-Atalaya-Write: 1\r\n", body.len()),
    };
    let head = format!("{request} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{authorization}{more}\r\n");
    stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), body.to_owned())
}

fn login(name: &str, password: &str) -> String {
    format!("Authorization: Basic {}\r\n", STANDARD.encode(format!("{name}:{password}")))
}

#[test]
fn each_logs_in_with_their_own_password() {
    let (open, _intake) = open();
    let status = |authorization: &str| send(&open, "GET /api/v1/status", authorization, "");
    let name = |authorization: &str| {
        let (status, body) = status(authorization);
        assert_eq!(status, 200, "{body}");
        serde_json::from_str::<Value>(&body).unwrap()["login"].clone()
    };
    // The second time it is known.
    for _ in 0..2 {
        assert_eq!([name(&login("Ann", "one")), name(&login("Bob", "two"))], [json!("Ann"), json!("Bob")]);
    }
    for (user, password) in [("Ann", "two"), ("ann", "one"), ("Eve", "one"), ("", ""), ("Ann", "0123456789abcdef")] {
        let (status, body) = status(&login(user, password));
        assert_eq!((status, body.contains("log in with your name")), (401, true), "{user}: {body}");
    }
    assert_eq!(status("").0, 401);
    assert_eq!(name("Authorization: Bearer 0123456789abcdef\r\n"), Value::Null, "programs have no name");
    assert_eq!(status("Authorization: Bearer one\r\n").0, 401);
    assert_eq!(send(&open, "GET /live", "", "").0, 200);
}

#[test]
fn a_word_has_the_name_of_whoever_says_it() {
    let (open, intake) = open();
    let verdict = json!({
        "id": "p/kmeans/0/1/k", "pipeline": "p", "key": "k", "detector": "kmeans", "model_version": "1", "anomalous": true,
        "score": 3.5, "threshold": 1.0, "features": {}, "contributions": {}, "lines": 1,
        "first_timestamp": "2011-07-19T17:04:00Z", "last_timestamp": "2011-07-19T17:04:00Z"
    });
    intake.offer(Kind::Verdict, 1_000, || verdict.to_string().into_bytes());
    let (ann, start) = (login("Ann", "one"), Instant::now());
    let id = loop {
        let list: Value = serde_json::from_str(&send(&open, "GET /api/v1/anomalies", &ann, "").1).unwrap();
        if let Some(id) = list["anomalies"][0]["id"].as_str() {
            break id.to_owned();
        }
        assert!(start.elapsed() < PATIENCE, "{list}");
    };
    let say = |request: &str, version: &Value, by: Option<&str>, authorization: &str| {
        let mut body = json!({ "id": id, "request": request, "version": version, "label": "unsure" });
        if let Some(by) = by {
            body["by"] = by.into();
        }
        let (status, answer) = send(&open, "POST /api/v1/label", authorization, &body.to_string());
        assert_eq!(status, 200, "{answer}");
        serde_json::from_str::<Value>(&answer).unwrap()["label"].clone()
    };
    let first = say("request-1", &Value::Null, None, &ann);
    assert_eq!(first["by"], "Ann");
    let second = say("request-2", &first["version"], Some(" "), &login("Bob", "two"));
    assert_eq!(second["by"], "Bob");
    let third = say("request-3", &second["version"], Some("the night shift"), &ann);
    assert_eq!(third["by"], "the night shift");
    let program = say("request-4", &third["version"], None, "Authorization: Bearer 0123456789abcdef\r\n");
    assert_eq!(program["by"], Value::Null);
}
