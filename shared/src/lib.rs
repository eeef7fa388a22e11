//! What the trainer and the scorer must agree on: pipeline files, model files and verdicts; and, under one roof, the crates
//! that these are made of: the parsing of records, features, clustering, detectors and their evaluation.
//!
//! This crate does no network I/O and draws no randomness that was not passed in as a seed. It touches files in four places
//! only: [`pipeline::Pipeline::load`], [`draft::Draft::write`], [`model`] with [`model_source`], and [`memory`], which reads what
//! the kernel says.

pub mod build;
pub mod detector;
pub mod draft;
pub mod fingerprint;
pub mod memory;
pub mod model;
pub mod model_source;
pub mod pipeline;
pub mod shipped;
pub mod verdict;

pub use ::clustering::{device, kmeans, matrix, ops, rows};
pub use ::detectors::{self, scaler, threshold};
pub use ::evaluation;
pub use ::features::{aggregates as features, allocation, codec, expiry, history, zscore};
pub use ::records::{
    avro, csv as records, dialect, framing, json_file, json_lines, magic, reason, schema, schemas, text, time,
};
pub use ::whole_files as files;

/// From the bytes of a record to the values of a line.
pub mod line {
    pub use ::records::line::{HeaderFault, LineParser, Order, Part, Piece, admit, convert, make_key};
    pub use ::records::value::{Value, odd_date};
}
