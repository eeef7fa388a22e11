//! What the trainer and the scorer must agree on: pipeline files, the parsing and validity of a line,
//! features, scaling, the clustering kernels, thresholds, model files and verdicts.
//!
//! This crate does no network I/O and draws no randomness that was not passed in as a seed. It reads a clock in one place
//! only: [`device`] measures how fast a GPU is, which decides where something is computed. It touches files in four places
//! only: [`pipeline::Pipeline::load`], [`model`], [`rows`], which keeps what does not fit in memory in a temporary file,
//! and [`device`], which remembers what it measured.

pub mod codec;
pub mod detector;
pub mod detectors;
pub mod device;
pub mod evaluation;
pub mod expiry;
pub mod features;
mod fields;
pub mod files;
pub mod fingerprint;
pub mod history;
mod json;
pub mod json_lines;
pub mod kmeans;
pub mod line;
pub mod matrix;
pub mod model;
pub mod ops;
pub mod pipeline;
pub mod reason;
pub mod records;
pub mod rows;
pub mod scaler;
pub mod schema;
pub mod threshold;
pub mod time;
pub mod value;
pub mod verdict;
pub mod zscore;
