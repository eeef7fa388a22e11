//! The client: which schema has which id.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use records::avro;
use records::framing::SchemaId;
use records::schemas::{Refused, WriterSchema};
use reqwest::header::{ACCEPT, AUTHORIZATION};
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};

use crate::error::RegistryError;
use crate::settings::{Kind, Settings};

/// The largest answer.
const MOST_BYTES: usize = 16 << 20;

/// Schemas that one may refer to, and those these refer to.
const MOST_REFERENCES: usize = 500;

const ACCEPTED: &str = "application/vnd.schemaregistry.v1+json, application/vnd.schemaregistry+json, application/json";

/// Asks a registry.
#[derive(Debug)]
pub struct Client {
    agent: reqwest::Client,
    /// It waits for one answer at a time.
    runtime: Runtime,
    settings: Settings,
    authorization: Option<crate::Secret>,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// It may come later: what went wrong now.
    ForNow(String),
    /// It will not, however often it is asked.
    ForGood(RegistryError),
}

/// A schema as a registry has it.
struct Registered {
    kind: String,
    text: String,
    references: Vec<Reference>,
}

/// Another schema that it uses.
struct Reference {
    name: String,
    subject: String,
    version: i64,
}

impl Client {
    /// A client of the registry that `settings` name. Nothing is asked yet.
    ///
    /// # Errors
    /// [`RegistryError::NoCertificate`]; [`RegistryError::NoProtobuf`] where schemas of Protobuf cannot be read;
    /// [`RegistryError::NoClient`] where the system has no certificates, or no thread.
    pub fn new(settings: Settings) -> Result<Self, RegistryError> {
        if settings.kind == Kind::Protobuf && !cfg!(feature = "protobuf") {
            return Err(RegistryError::NoProtobuf);
        }
        let mut agent = reqwest::Client::builder().timeout(settings.timeout).user_agent("atalaya");
        if let Some(pem) = &settings.authorities {
            let found = reqwest::Certificate::from_pem_bundle(pem).unwrap_or_default();
            if found.is_empty() {
                return Err(RegistryError::NoCertificate);
            }
            agent = agent.tls_built_in_root_certs(false);
            agent = found.into_iter().fold(agent, reqwest::ClientBuilder::add_root_certificate);
        }
        let agent = agent.build().map_err(|error| RegistryError::NoClient(told(&error)))?;
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| RegistryError::NoClient(error.to_string()))?;
        let basic = |(user, password): &(String, crate::Secret)| {
            crate::Secret(format!("Basic {}", BASE64.encode(format!("{user}:{}", password.0))))
        };
        let authorization = settings.login.as_ref().map(basic);
        Ok(Self { agent, runtime, settings, authorization })
    }

    /// How it asks.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Whether it answers as a registry does, to whoever asks so.
    ///
    /// # Errors
    /// [`Failure`], where it does not.
    pub fn ask(&self) -> Result<(), Failure> {
        // That there is no such schema is an answer.
        self.get("/schemas/ids/1").map(|_| ())
    }

    /// What records of a schema are, or why they cannot be read.
    ///
    /// # Errors
    /// [`Failure`], where the registry does not say.
    pub fn schema(&self, id: SchemaId) -> Result<Result<WriterSchema, Refused>, Failure> {
        let path = match id {
            SchemaId::Number(number) => format!("/schemas/ids/{number}"),
            SchemaId::Guid(_) => format!("/schemas/guids/{id}"),
        };
        let answer = match self.get(&path) {
            // Many registries know no such names: any bytes could be one. Whether it is a registry, a number tells.
            Err(Failure::ForGood(RegistryError::NoRegistry { .. })) if matches!(id, SchemaId::Guid(_)) => {
                self.get("/schemas/ids/1")?;
                None
            }
            answer => answer?,
        };
        let Some(answer) = answer else { return Ok(Err(Refused::Unknown)) };
        let registered = self.registered(&answer, &path)?;
        let refuse = |problem: &str| {
            tracing::warn!(%id, problem, "records of this schema cannot be read");
            Ok(Err(Refused::Unusable))
        };
        let wanted = self.settings.kind;
        if registered.kind != wanted.name() {
            return refuse(&format!("it is of the type {} and not {}", registered.kind, wanted.name()));
        }
        if wanted == Kind::Json {
            return Ok(Ok(WriterSchema::Json));
        }
        let references = match self.references(&registered)? {
            Ok(references) => references,
            Err(problem) => return refuse(&problem),
        };
        let schema = match wanted {
            Kind::Avro => {
                let texts: Vec<String> = references.into_iter().map(|(_, text)| text).collect();
                let schema = avro::Schema::parse(&registered.text, &texts).map_err(|error| error.to_string());
                schema.map(|schema| WriterSchema::Avro(Arc::new(schema)))
            }
            Kind::Protobuf | Kind::Json => {
                let files: HashMap<String, String> = references.into_iter().collect();
                of_protobuf(&registered.text, files)
            }
        };
        match schema {
            Ok(schema) => Ok(Ok(schema)),
            Err(problem) => refuse(&problem),
        }
    }

    /// The schemas that one uses, by their names, each after those that it uses itself; or what is wrong with them.
    fn references(&self, of: &Registered) -> Result<Result<Vec<(String, String)>, String>, Failure> {
        let (mut found, mut known) = (Vec::new(), HashSet::new());
        Ok(self.add_references(of, &mut known, &mut found)?.map(|()| found))
    }

    fn add_references(
        &self,
        of: &Registered,
        known: &mut HashSet<(String, i64)>,
        found: &mut Vec<(String, String)>,
    ) -> Result<Result<(), String>, Failure> {
        for Reference { name, subject, version } in &of.references {
            if !known.insert((subject.clone(), *version)) {
                continue;
            }
            if known.len() > MOST_REFERENCES {
                return Ok(Err(format!("it uses more than {MOST_REFERENCES} other schemas")));
            }
            let path = format!("/subjects/{}/versions/{version}?deleted=true", encoded(subject));
            let Some(answer) = self.get(&path)? else {
                return Ok(Err(format!("it uses `{name}`, and there is no version {version} of `{subject}`")));
            };
            let registered = self.registered(&answer, &path)?;
            if let Err(problem) = self.add_references(&registered, known, found)? {
                return Ok(Err(problem));
            }
            found.push((name.clone(), registered.text));
        }
        Ok(Ok(()))
    }

    fn registered(&self, answer: &Value, path: &str) -> Result<Registered, Failure> {
        let Some(text) = answer["schema"].as_str() else {
            return Err(self.no_registry(format!("the answer to {path} has no `schema`")));
        };
        let reference = |reference: &Value| {
            let text = |key: &str| reference[key].as_str().map(str::to_owned);
            Some(Reference { name: text("name")?, subject: text("subject")?, version: reference["version"].as_i64()? })
        };
        let references = answer["references"].as_array().map_or(&[][..], Vec::as_slice);
        let references = references.iter().map(reference).collect::<Option<Vec<_>>>();
        let Some(references) = references else {
            return Err(
                self.no_registry(format!("the answer to {path} has a reference without name, subject or version"))
            );
        };
        let kind = answer["schemaType"].as_str().unwrap_or(Kind::Avro.name()).to_owned();
        Ok(Registered { kind, text: text.to_owned(), references })
    }

    /// The answer of the registry; `None` where it has no such thing.
    fn get(&self, path: &str) -> Result<Option<Value>, Failure> {
        let (status, text) = self.runtime.block_on(self.fetch(path)).map_err(|error| self.failed(&error))?;
        let json = |text: &str| serde_json::from_str::<Value>(text).ok().filter(Value::is_object);
        match status {
            200 => {
                let text = text.ok_or_else(|| self.no_registry("its answer is larger than 16 MiB".to_owned()))?;
                let found =
                    json(&text).ok_or_else(|| self.no_registry(format!("the answer to {path} is no JSON object")))?;
                Ok(Some(found))
            }
            401 | 403 => Err(Failure::ForGood(RegistryError::Refused { url: self.settings.url.clone(), status })),
            // A registry says so in its own way; anything else says the same of an address that it does not know.
            404 if text.as_ref().is_some_and(|text| json(text).is_some_and(|json| is_not_found(&json))) => Ok(None),
            408 | 425 | 429 | 500..=599 => Err(Failure::ForNow(format!("it answered {status} to {path}"))),
            _ => Err(self.no_registry(format!("it answered {status} to {path}"))),
        }
    }

    /// The status of an answer and what it says; `None` where that is too long.
    async fn fetch(&self, path: &str) -> Result<(u16, Option<String>), reqwest::Error> {
        let mut request = self.agent.get(format!("{}{path}", self.settings.url)).header(ACCEPT, ACCEPTED);
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, &authorization.0);
        }
        let mut response = request.send().await?;
        let (status, mut body) = (response.status().as_u16(), Vec::new());
        while let Some(part) = response.chunk().await? {
            body.extend_from_slice(&part);
            if body.len() > MOST_BYTES {
                return Ok((status, None));
            }
        }
        Ok((status, Some(String::from_utf8_lossy(&body).into_owned())))
    }

    fn failed(&self, error: &reqwest::Error) -> Failure {
        if error.is_builder() { self.no_registry(told(error)) } else { Failure::ForNow(told(error)) }
    }

    fn no_registry(&self, problem: String) -> Failure {
        Failure::ForGood(RegistryError::NoRegistry { url: self.settings.url.clone(), problem })
    }
}

#[cfg(feature = "protobuf")]
fn of_protobuf(text: &str, files: HashMap<String, String>) -> Result<WriterSchema, String> {
    crate::protobuf::compile(text, files).map(|messages| WriterSchema::Protobuf(Arc::new(messages)))
}

#[cfg(not(feature = "protobuf"))]
fn of_protobuf(_: &str, _: HashMap<String, String>) -> Result<WriterSchema, String> {
    Err(RegistryError::NoProtobuf.to_string())
}

/// An error with what led to it, without the address, which may hold a secret.
fn told(error: &reqwest::Error) -> String {
    let mut causes: Vec<String> = Vec::new();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        causes.push(cause.to_string());
        source = cause.source();
    }
    let kind = if error.is_timeout() { "no answer in time" } else { "no answer" };
    // The last cause says it: what is around it only repeats that there is one.
    causes.pop().map_or_else(|| kind.to_owned(), |cause| format!("{kind}: {cause}"))
}

/// Whether an answer says that there is no such subject, version or schema.
fn is_not_found(answer: &Value) -> bool {
    answer["error_code"].as_i64().is_some_and(|code| (40_400..40_500).contains(&code))
}

/// A name as a part of a path.
fn encoded(name: &str) -> String {
    let part = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    name.bytes().map(part).collect()
}
