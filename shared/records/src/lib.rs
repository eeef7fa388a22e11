//! From the bytes of a record to the values of a line: what a record may look like ([`schema`]), how it is taken apart
//! ([`csv`] in a [`dialect`], [`json_file`], [`avro`], [`protobuf`], with a schema that [`framing`] names), what is valid ([`mod@line`]), and
//! how what it holds is shown ([`mod@text`]). What records seem to be, where nobody says, is for [`sniff`] to tell.
//!
//! Pure: nothing here does I/O of its own, reads a clock or knows what is made of the values.

pub mod avro;
pub mod csv;
pub mod dialect;
mod field;
pub mod framing;
mod json;
pub mod json_file;
pub mod json_lines;
pub mod json_path;
pub mod line;
pub mod magic;
mod piece;
pub mod protobuf;
pub mod reason;
pub mod schema;
pub mod schemas;
pub mod sniff;
pub mod text;
pub mod time;
pub mod value;
