//! Records that have to wait until the schemas are known that they name, and how these get known.
//!
//! A record whose schema is not known yet holds its partition, and no other: it is fetched again once the schema is there. So
//! the loop goes on polling, the instance stays in its group, and whatever keeps the registry silent makes no record erroneous.

use std::collections::BTreeMap;
use std::sync::Arc;

use rdkafka::Message;
use registry::{Client, Failure, Kind, Lookup, RegistryError, SchemaId, Secret, Settings};
use shared::pipeline::{InputFormat, Password, Pipeline, Registry, Schema};

use super::client::error::KafkaError;

/// Where the schemas of a pipeline's records come from, where they have any.
#[derive(Debug, Clone)]
pub(crate) struct SchemaSource {
    schema: Arc<Schema>,
    lookup: Option<Arc<Lookup>>,
}

impl SchemaSource {
    /// Begins to look schemas up for `pipeline`; nothing is asked yet.
    ///
    /// # Errors
    /// When a password or a certificate is not where the pipeline file says.
    pub(crate) fn new(pipeline: &Pipeline) -> Result<Self, KafkaError> {
        let schema = Arc::clone(&pipeline.schema);
        let lookup = match (&pipeline.registry, &schema.schemas) {
            (Some(registry), Some(schemas)) => {
                let client = Client::new(settings(registry, schema.format)?)?;
                Some(Arc::new(Lookup::start(client, Arc::clone(schemas))))
            }
            _ => None,
        };
        Ok(Self { schema, lookup })
    }

    /// The schema that has to be known before this message can be parsed, and who is asked for it.
    fn unknown(&self, payload: &[u8], header: Option<&[u8]>) -> Option<(SchemaId, &Lookup)> {
        Some((self.schema.unknown_schema(payload, header)?, self.lookup.as_deref()?))
    }

    /// Waits until the schema of a message is known, or that it cannot be. Blocks.
    ///
    /// # Errors
    /// When the registry does not say.
    pub(crate) fn wait_for(&self, payload: &[u8], header: Option<&[u8]>) -> Result<(), KafkaError> {
        match self.unknown(payload, header) {
            Some((id, lookup)) => Ok(lookup.wait_for(id)?),
            None => Ok(()),
        }
    }
}

/// The partitions whose next records wait for their schemas.
#[derive(Debug)]
pub(crate) struct SchemaWaits {
    source: SchemaSource,
    /// The offset of the record, and its schema.
    waiting: BTreeMap<i32, (i64, SchemaId)>,
}

impl SchemaWaits {
    /// Nothing waits yet.
    pub(crate) fn new(source: SchemaSource) -> Self {
        Self { source, waiting: BTreeMap::new() }
    }

    /// Whether a record has to wait: then its partition is to be held. `header` is what a header says of its schema.
    ///
    /// # Errors
    /// When the registry is not going to say.
    pub(crate) fn must_wait(&mut self, message: &impl Message, header: Option<&[u8]>) -> Result<bool, KafkaError> {
        let Some((id, lookup)) = self.source.unknown(message.payload().unwrap_or_default(), header) else {
            return Ok(false);
        };
        lookup.ask(id)?;
        self.waiting.insert(message.partition(), (message.offset(), id));
        Ok(true)
    }

    /// The partitions that are to be read again, each from its record on.
    ///
    /// # Errors
    /// When the registry is not going to say.
    pub(crate) fn take_ready(&mut self) -> Result<Vec<(i32, i64)>, KafkaError> {
        let Some(lookup) = self.source.lookup.as_deref().filter(|_| !self.waiting.is_empty()) else {
            return Ok(Vec::new());
        };
        let mut ready = Vec::new();
        for (&partition, &(offset, id)) in &self.waiting {
            if lookup.is_known(id)? {
                ready.push((partition, offset));
            }
        }
        self.forget(&ready.iter().map(|(partition, _)| *partition).collect::<Vec<_>>());
        Ok(ready)
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// How many partitions wait.
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Partitions are not ours any more.
    pub(crate) fn forget(&mut self, partitions: &[i32]) {
        self.waiting.retain(|partition, _| !partitions.contains(partition));
    }

    /// Waits for nothing any more; gives back the partitions that did.
    pub(crate) fn clear(&mut self) -> Vec<i32> {
        std::mem::take(&mut self.waiting).into_keys().collect()
    }
}

/// Asks the registry of a pipeline, where it has one; its address. Blocks.
///
/// # Errors
/// When it does not answer, or not as a registry does.
pub(super) fn ask_registry(pipeline: &Pipeline) -> Result<Option<String>, KafkaError> {
    let Some(registry) = &pipeline.registry else { return Ok(None) };
    let client = Client::new(settings(registry, pipeline.schema.format)?)?;
    let (url, after) = (client.settings().url.clone(), client.settings().timeout);
    match client.ask() {
        Ok(()) => Ok(Some(url)),
        Err(Failure::ForGood(error)) => Err(error.into()),
        Err(Failure::ForNow(cause)) => Err(RegistryError::Silent { url, after, cause }.into()),
    }
}

impl From<RegistryError> for KafkaError {
    fn from(error: RegistryError) -> Self {
        Self::Registry(error)
    }
}

fn settings(registry: &Registry, format: InputFormat) -> Result<Settings, KafkaError> {
    let bad = |key: &str, problem: String| KafkaError::RegistrySetting { key: key.to_owned(), problem };
    let password = match &registry.password {
        None => None,
        Some(Password::File(path)) => {
            let text = std::fs::read_to_string(path)
                .map_err(|error| bad("password_file", format!("cannot read {}: {error}", path.display())))?;
            Some(text.trim_end_matches(['\n', '\r']).to_owned())
        }
        Some(Password::Variable(name)) => {
            let found = std::env::var(name);
            Some(found.map_err(|_| bad("password_env", format!("the variable {name} is not set, or is no text")))?)
        }
    };
    let authorities = match &registry.ca_file {
        None => None,
        Some(path) => {
            let read = std::fs::read(path);
            Some(read.map_err(|error| bad("ca_file", format!("cannot read {}: {error}", path.display())))?)
        }
    };
    let kind = match format {
        InputFormat::Avro => Kind::Avro,
        InputFormat::Protobuf => Kind::Protobuf,
        InputFormat::Json | InputFormat::Csv => Kind::Json,
    };
    Ok(Settings {
        url: registry.url.clone(),
        login: registry.user.clone().zip(password.map(Secret)),
        authorities,
        timeout: registry.timeout,
        give_up_after: registry.give_up_after,
        kind,
    })
}
