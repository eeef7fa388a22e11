//! Records that are messages of Protobuf: fields with numbers, whose names and types a schema has.
//!
//! As for Avro, a plan is made once for each type of message: which numbers to read into which columns. Everything else is passed
//! over.

mod plan;
mod read;
mod types;
mod wire;

pub(crate) use plan::ProtobufPlan;
pub use types::{FieldType, Kind, Meaning, MessageType, Messages};
pub(crate) use wire::Wire;

#[cfg(test)]
mod tests;
