//! Records in Avro's binary encoding (the Avro specification, version 1.12): values in the order of the schema that they were
//! written with, and nothing between them that would say what they are.
//!
//! A plan is made once for each schema (`plan`): what to read into which column, and what to pass over. So no tree of values
//! is built for a record, and texts stay where they stand in it.

mod container;
mod cursor;
mod decimal;
mod plan;
mod read;
mod schema;

pub use container::{AvroFile, AvroFileError, AvroRecord};
pub(crate) use cursor::Cursor;
pub(crate) use decimal::Decimal;
pub(crate) use plan::AvroPlan;
pub(crate) use read::{Finder, Found};
pub(crate) use schema::{FixedMeaning, Meaning, Type, TypeId};
pub use schema::{Schema, SchemaError};

#[cfg(test)]
mod tests;
