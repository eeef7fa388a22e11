//! A real Schema Registry for a test.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::certificate::{PASSWORD, certificate};
use crate::{repository, wait_for};

/// The exit code of registry.sh where Java, Maven or the program is missing.
const IS_MISSING: i32 = 3;

/// How long it may take to start.
const PATIENCE: Duration = Duration::from_secs(120);

/// Where it speaks as Confluent's does.
const PATH: &str = "/apis/ccompat/v7";

/// Apicurio Registry on this machine, stopped when this is dropped. There is none where it is missing and tests may be skipped.
#[derive(Debug)]
pub struct Registry {
    program: Child,
    /// `host:port`.
    pub address: String,
    /// `host:port` where it speaks TLS.
    tls: String,
    folder: tempfile::TempDir,
}

impl Registry {
    /// Starts it on a free port, with no schema.
    pub fn start() -> Option<Self> {
        let script = repository().join("tests/registry/registry.sh");
        let fetched = Command::new(&script).arg("fetch").output().unwrap();
        let found = match fetched.status.code() {
            Some(0) => Ok(()),
            Some(IS_MISSING) => {
                Err(format!("Apicurio Registry is missing: {}", String::from_utf8_lossy(&fetched.stderr).trim()))
            }
            _ => panic!("registry.sh: {}", String::from_utf8_lossy(&fetched.stderr)),
        };
        requirements::found(found)?;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        std::fs::write(path.join("authority.pem"), certificate(path, "registry", &["-validity", "2"])?).unwrap();
        // Both are bound at once, so they differ.
        let [plain, tls] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let [port, tls] = [plain, tls].map(|listener| listener.local_addr().unwrap().port());
        let mut command = Command::new(script);
        command.args(["run", "--port", &port.to_string()]).stdout(Stdio::null()).stderr(Stdio::null());
        command.env("QUARKUS_HTTP_SSL_PORT", tls.to_string());
        command.env("QUARKUS_HTTP_SSL_CERTIFICATE_KEY_STORE_FILE", path.join("registry.p12"));
        command.env("QUARKUS_HTTP_SSL_CERTIFICATE_KEY_STORE_PASSWORD", PASSWORD);
        command.env("QUARKUS_HTTP_INSECURE_REQUESTS", "enabled");
        let program = command.spawn().unwrap();
        // Certificates are for a name and not for an address.
        let (address, tls) = (format!("127.0.0.1:{port}"), format!("localhost:{tls}"));
        let registry = Self { program, address, tls, folder };
        wait_for("the Schema Registry", PATIENCE, || registry.ask("GET", "/schemas/types", None));
        Some(registry)
    }

    /// Its url for a client that comes to `address`, such as a proxy before it.
    pub fn url_at(address: &str) -> String {
        format!("http://{address}{PATH}")
    }

    /// Its url.
    pub fn url(&self) -> String {
        Self::url_at(&self.address)
    }

    /// Its url where it speaks TLS, and the file with the certificate of whoever vouches for it.
    pub fn tls(&self) -> (String, PathBuf) {
        (format!("https://{}{PATH}", self.tls), self.folder.path().join("authority.pem"))
    }

    /// Registers a schema under a subject; its id. `references` are name and subject of the schemas that it uses, each in its first
    /// version.
    pub fn register(&self, subject: &str, kind: &str, schema: &str, references: &[(&str, &str)]) -> u32 {
        let reference = |(name, subject): &(&str, &str)| json!({ "name": name, "subject": subject, "version": 1 });
        let references: Vec<Value> = references.iter().map(reference).collect();
        let body = json!({ "schemaType": kind, "schema": schema, "references": references });
        let answer = self.ask("POST", &format!("/subjects/{subject}/versions"), Some(&body));
        let id = answer.as_ref().and_then(|answer| answer["id"].as_u64());
        u32::try_from(id.unwrap_or_else(|| panic!("{subject} is not registered: {answer:?}"))).unwrap()
    }

    /// The answer to a request; `None` while nobody answers.
    fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Option<Value> {
        let mut stream = TcpStream::connect(&self.address).ok()?;
        let body = body.map_or_else(String::new, Value::to_string);
        let head = format!("{method} {PATH}{path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n", self.address);
        let content =
            format!("Content-Type: application/vnd.schemaregistry.v1+json\r\nContent-Length: {}\r\n\r\n", body.len());
        stream.write_all([head, content, body].concat().as_bytes()).ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).ok()?;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let (_, content) = answer.split_once("\r\n\r\n")?;
        // The length may stand around it, if it comes in chunks.
        let (start, end) = (content.find(['{', '['])?, content.rfind(['}', ']'])?);
        serde_json::from_str(&content[start..=end]).ok()
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}
