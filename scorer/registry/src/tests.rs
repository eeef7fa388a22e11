//! The client against a small server that speaks the paths of Confluent's registry, and misbehaves on demand. The acceptance tests
//! use a real registry.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use records::schemas::{Refused, Schemas, WriterSchema};
use serde_json::json;

use super::*;

/// Answers by path: each of them until it is the last.
type Answers = HashMap<String, Vec<(u16, String)>>;

/// What a server was asked: path and authorization.
type Asked = Arc<Mutex<Vec<(String, Option<String>)>>>;

/// A server, and what it was asked.
struct Server {
    url: String,
    asked: Asked,
}

impl Server {
    fn start(answers: Vec<(&str, Vec<(u16, String)>)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Asked::default();
        let mut answers: Answers = answers.into_iter().map(|(path, answers)| (path.to_owned(), answers)).collect();
        let log = Arc::clone(&asked);
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let lines = BufReader::new(stream.try_clone().unwrap()).lines();
                let head: Vec<String> = lines.map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
                let path = head[0].split(' ').nth(1).unwrap().to_owned();
                let authorization = head.iter().find_map(|line| {
                    let (name, value) = line.split_once(": ")?;
                    name.eq_ignore_ascii_case("authorization").then(|| value.to_owned())
                });
                let known = answers.get_mut(&path);
                let (status, body) = match known {
                    Some(answers) if answers.len() > 1 => answers.remove(0),
                    Some(answers) => answers[0].clone(),
                    None => (404, json!({ "error_code": 40403, "message": "Schema not found" }).to_string()),
                };
                log.lock().unwrap().push((path, authorization));
                let length = body.len();
                let answer =
                    format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        Self { url, asked }
    }

    fn settings(&self, kind: Kind) -> Settings {
        Settings {
            url: self.url.clone(),
            login: None,
            authorities: None,
            timeout: Duration::from_secs(5),
            give_up_after: Duration::from_secs(60),
            kind,
        }
    }

    fn schema(&self, kind: Kind, number: u32) -> Result<Result<WriterSchema, Refused>, Failure> {
        Client::new(self.settings(kind)).unwrap().schema(SchemaId::Number(number))
    }
}

fn schema(kind: &str, text: &str) -> (u16, String) {
    (200, json!({ "schemaType": kind, "schema": text }).to_string())
}

fn of_avro(text: &str) -> (u16, String) {
    (200, json!({ "schema": text }).to_string())
}

#[test]
fn a_schema_comes_with_those_that_it_uses() {
    let record = |name: &str, field: &str| {
        format!(r#"{{"type":"record","name":"{name}","fields":[{{"name":"x","type":"{field}"}}]}}"#)
    };
    let using = |text: String, subject: &str| {
        let reference = json!({ "name": "n", "subject": subject, "version": 3 });
        (200, json!({ "schema": text, "references": [reference] }).to_string())
    };
    let server = Server::start(vec![
        ("/schemas/ids/1", vec![using(record("A", "B"), "b/ä")]),
        ("/subjects/b%2F%C3%A4/versions/3?deleted=true", vec![using(record("B", "C"), "c")]),
        ("/subjects/c/versions/3?deleted=true", vec![of_avro(&record("C", "int"))]),
        ("/schemas/ids/2", vec![using(record("A", "D"), "d")]),
    ]);
    let Ok(Ok(WriterSchema::Avro(found))) = server.schema(Kind::Avro, 1) else { panic!("no schema") };
    assert_eq!(found.field_names(), ["x"]);
    assert!(matches!(server.schema(Kind::Avro, 2), Ok(Err(Refused::Unusable))), "what it uses is not there");
    assert!(matches!(server.schema(Kind::Avro, 3), Ok(Err(Refused::Unknown))));
}

#[test]
fn a_schema_of_another_kind_or_a_broken_one_is_of_no_use() {
    let server = Server::start(vec![
        ("/schemas/ids/1", vec![schema("JSON", "{}")]),
        ("/schemas/ids/2", vec![of_avro("{")]),
        ("/schemas/ids/3", vec![schema("PROTOBUF", "syntax = \"proto3\"; message A { int32 x = 1; }")]),
        ("/schemas/ids/4", vec![schema("PROTOBUF", "message A { Nowhere x = 1; }")]),
    ]);
    let is_unusable = |kind, number| matches!(server.schema(kind, number), Ok(Err(Refused::Unusable)));
    assert!(is_unusable(Kind::Avro, 1) && is_unusable(Kind::Avro, 2) && is_unusable(Kind::Avro, 3));
    assert!(is_unusable(Kind::Json, 3));
    assert!(matches!(server.schema(Kind::Json, 1), Ok(Ok(WriterSchema::Json))));
    if cfg!(feature = "protobuf") {
        assert!(is_unusable(Kind::Protobuf, 4));
        assert!(matches!(server.schema(Kind::Protobuf, 3), Ok(Ok(WriterSchema::Protobuf(_)))));
    } else {
        let without = Client::new(server.settings(Kind::Protobuf)).map(|_| ());
        assert_eq!(without, Err(RegistryError::NoProtobuf));
    }
}

#[test]
fn what_passes_is_told_apart_from_what_does_not() {
    let html = || "<html>no such page</html>".to_owned();
    let server = Server::start(vec![
        ("/schemas/ids/1", vec![(500, String::new())]),
        ("/schemas/ids/2", vec![(429, String::new())]),
        ("/schemas/ids/3", vec![(401, json!({ "error_code": 40101 }).to_string())]),
        ("/schemas/ids/4", vec![(404, html())]),
        ("/schemas/ids/5", vec![(200, html())]),
        ("/schemas/ids/6", vec![(200, "{}".to_owned())]),
        ("/schemas/ids/7", vec![(404, json!({ "error_code": 0 }).to_string())]),
        ("/schemas/guids/01010101-0101-0101-0101-010101010101", vec![(404, html())]),
    ]);
    for number in [1, 2] {
        assert!(matches!(server.schema(Kind::Avro, number), Err(Failure::ForNow(_))), "{number}");
    }
    assert!(matches!(server.schema(Kind::Avro, 3), Err(Failure::ForGood(RegistryError::Refused { status: 401, .. }))));
    for number in 4..=7 {
        let found = server.schema(Kind::Avro, number);
        assert!(matches!(found, Err(Failure::ForGood(RegistryError::NoRegistry { .. }))), "{number}: {found:?}");
    }
    // A registry that knows no such names is one all the same; anything else there is none.
    let guid = SchemaId::Guid([1; 16]);
    let found = Client::new(server.settings(Kind::Avro)).unwrap().schema(guid);
    assert!(matches!(found, Err(Failure::ForNow(_))), "the number 1 cannot be asked now");
    let nobody = Settings { url: "http://127.0.0.1:1".to_owned(), ..server.settings(Kind::Avro) };
    assert!(matches!(Client::new(nobody).unwrap().schema(guid), Err(Failure::ForNow(_))));
}

#[test]
fn a_password_goes_to_the_registry_and_nowhere_else() {
    let server = Server::start(vec![("/schemas/ids/1", vec![(401, "s3cret".to_owned())])]);
    let login = Some(("reader".to_owned(), Secret("s3cret".to_owned())));
    let client = Client::new(Settings { login, ..server.settings(Kind::Avro) }).unwrap();
    let Err(Failure::ForGood(error)) = client.schema(SchemaId::Number(1)) else { panic!("it is let in") };
    assert_eq!(server.asked.lock().unwrap()[0].1.as_deref(), Some("Basic cmVhZGVyOnMzY3JldA=="));
    let shown = format!("{error} {error:?} {client:?}");
    assert!(!shown.contains("s3cret") && !shown.contains("cmVhZGVyOnMzY3JldA"), "{shown}");
    let pem = Settings { authorities: Some(b"nothing".to_vec()), ..server.settings(Kind::Avro) };
    assert_eq!(Client::new(pem).map(|_| ()), Err(RegistryError::NoCertificate));
}

#[test]
fn a_lookup_asks_again_until_there_is_an_answer_and_asks_once_for_what_is_known() {
    let server =
        Server::start(vec![("/schemas/ids/1", vec![(503, String::new()), (500, String::new()), of_avro("\"int\"")])]);
    let schemas: Arc<Schemas> = Arc::default();
    let lookup = Lookup::start(Client::new(server.settings(Kind::Avro)).unwrap(), Arc::clone(&schemas));
    let (one, two) = (SchemaId::Number(1), SchemaId::Number(2));
    assert_eq!((lookup.is_known(one), schemas.knows(one)), (Ok(false), false));
    assert_eq!((lookup.wait_for(one), lookup.wait_for(two), lookup.wait_for(one)), (Ok(()), Ok(()), Ok(())));
    assert!(schemas.knows(one) && schemas.knows(two), "that there is none is known, too");
    let paths: Vec<String> = server.asked.lock().unwrap().iter().map(|(path, _)| path.clone()).collect();
    assert_eq!(paths, ["/schemas/ids/1", "/schemas/ids/1", "/schemas/ids/1", "/schemas/ids/2"]);
}

#[test]
fn a_registry_that_stays_away_is_given_up_and_one_that_refuses_at_once() {
    let server = Server::start(vec![
        ("/schemas/ids/1", vec![(503, String::new())]),
        ("/schemas/ids/2", vec![(403, String::new())]),
    ]);
    let settings = Settings { give_up_after: Duration::from_millis(300), ..server.settings(Kind::Avro) };
    let start = |settings| Lookup::start(Client::new(settings).unwrap(), Arc::default());
    let begun = Instant::now();
    let lookup = start(settings.clone());
    let error = lookup.wait_for(SchemaId::Number(1)).unwrap_err();
    assert!(matches!(&error, RegistryError::Silent { cause, .. } if cause.contains("503")), "{error}");
    assert!(begun.elapsed() >= Duration::from_millis(300));
    assert_eq!(lookup.ask(SchemaId::Number(2)), Err(error), "from then on nothing is asked");
    let refused = start(settings).wait_for(SchemaId::Number(2));
    assert!(matches!(refused, Err(RegistryError::Refused { status: 403, .. })), "{refused:?}");
}
