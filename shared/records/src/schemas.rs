//! The schemas that records name, as far as they are known: a list that somebody else fills, and every parser of a pipeline
//! reads.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::avro;
use crate::framing::SchemaId;
use crate::protobuf;
use crate::reason::Reason;

/// Schemas that a registry does not have, or that cannot be used, are remembered up to this number: any bytes can name one.
const MOST_REFUSED: usize = 10_000;

/// What records of a schema are.
#[derive(Debug, Clone)]
pub enum WriterSchema {
    /// Avro's binary encoding.
    Avro(Arc<avro::Schema>),
    /// Messages of Protobuf.
    Protobuf(Arc<protobuf::Messages>),
    /// JSON, which names its fields itself.
    Json,
}

/// Why records of a schema cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// The registry has no such schema.
    Unknown,
    /// It has, and it is of another kind than the pipeline's records, or cannot be understood.
    Unusable,
}

impl Refused {
    pub(crate) fn reason(self, id: SchemaId) -> Reason {
        match self {
            Self::Unknown => Reason::UnknownSchema(id.to_string()),
            Self::Unusable => Reason::UnusableSchema(id.to_string()),
        }
    }
}

/// The schemas that are known.
#[derive(Debug, Default)]
pub struct Schemas(RwLock<Known>);

#[derive(Debug, Default)]
struct Known {
    schemas: HashMap<SchemaId, WriterSchema>,
    refused: HashMap<SchemaId, Refused>,
}

impl Schemas {
    /// Whether it is known what records of this schema are, or that they cannot be read.
    pub fn knows(&self, id: SchemaId) -> bool {
        let known = self.read();
        known.schemas.contains_key(&id) || known.refused.contains_key(&id)
    }

    /// Notes what records of a schema are.
    pub fn insert(&self, id: SchemaId, schema: WriterSchema) {
        let mut known = self.write();
        known.refused.remove(&id);
        known.schemas.insert(id, schema);
    }

    /// Notes that records of a schema cannot be read.
    pub fn refuse(&self, id: SchemaId, refused: Refused) {
        let mut known = self.write();
        if known.refused.len() >= MOST_REFUSED {
            known.refused.clear();
        }
        known.refused.insert(id, refused);
    }

    /// Forgets what the registry did not have: by now it may.
    pub fn forget_unknown(&self) {
        self.write().refused.retain(|_, refused| *refused != Refused::Unknown);
    }

    pub(crate) fn get(&self, id: SchemaId) -> Result<WriterSchema, Refused> {
        let known = self.read();
        match known.schemas.get(&id) {
            Some(schema) => Ok(schema.clone()),
            // Nobody asked for it.
            None => Err(known.refused.get(&id).copied().unwrap_or(Refused::Unknown)),
        }
    }

    // A panic elsewhere leaves the lists as they are.
    fn read(&self) -> RwLockReadGuard<'_, Known> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Known> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}
