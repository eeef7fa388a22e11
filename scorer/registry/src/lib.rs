//! Finds out what records are by the ids of schemas that they name: a client of Schema Registries with Confluent's paths
//! (Confluent's own, Karapace, Redpanda, Apicurio under `/apis/ccompat/v7`), and a thread that asks.
//!
//! It fills the list that parsers read ([`records::schemas::Schemas`]), and knows neither Kafka nor pipelines. A registry that does not
//! answer makes no record erroneous: whoever has one waits until the schema is there, or until the registry has given no answer
//! for so long that the program ends.

mod client;
mod error;
mod lookup;
#[cfg(feature = "protobuf")]
mod protobuf;
mod settings;

pub use client::{Client, Failure};
pub use error::RegistryError;
pub use lookup::Lookup;
pub use records::framing::SchemaId;
pub use records::schemas::Schemas;
pub use settings::{Kind, Secret, Settings};

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]
mod tests;
