//! k-means and bisecting k-means for many rows of few features, on the CPU and on GPUs.
//!
//! Same rows, same parameters, same seed, same device: the same clusters, to the bit. Rows are float32, sums float64 or
//! compensated; distances are sums of squared differences. Rows that do not fit in memory stay in a temporary file
//! ([`rows`]).
//!
//! This crate does no network I/O and draws no randomness that was not passed in as a seed. It reads a clock in one place
//! only: [`device`] measures how fast a GPU is, which decides where something is computed. It touches files in two places
//! only: [`rows`], and [`device`], which remembers what it measured and looks for what a GPU lacks.

pub mod device;
pub mod kmeans;
pub mod matrix;
pub mod ops;
pub mod random;
pub mod rows;
pub mod sample;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
