//! How long scoring takes, with the models that ship; and what a training takes besides the fit: scaling, and what turns scores into
//! p-values.
//!
//! ```text
//! cargo bench -p shared -p trainer --profile dev
//! ```
//!
//! With `--profile dev` the dependencies are those that `cargo test` has built; without, cargo builds all of them again.

#[expect(dead_code, reason = "other benchmarks take more of it")]
#[path = "../clustering/examples/kmeans-bench/data.rs"]
mod data;

use std::path::Path;

use burn::tensor::Device;
use data::overlapping;
use divan::Bencher;
use divan::counter::ItemsCount;
use shared::detector::Detector;
use shared::matrix::FeatureMatrix;
use shared::model::Model;
use shared::scaler::{Scaler, Scaling};
use shared::threshold::Calibration;

const SEED: u64 = 42;

fn main() {
    divan::main();
}

const BATCHES: [usize; 6] = [1, 10, 100, 1_000, 10_000, 100_000];

/// Batches of features to scores and contributions, by the model that ships.
#[divan::bench(args = BATCHES, max_time = 1)]
fn scoring_kmeans(bencher: Bencher, n_samples: usize) {
    score(bencher, n_samples, "kmeans");
}

/// The same with the tree that ships.
#[divan::bench(args = BATCHES, max_time = 1)]
fn scoring_bisecting_kmeans(bencher: Bencher, n_samples: usize) {
    score(bencher, n_samples, "bisecting-kmeans");
}

fn score(bencher: Bencher, n_samples: usize, detector: &str) {
    let path = Model::path(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../models"), "invoices", detector);
    let detector = Detector::new(Model::read(&path).expect("the model that ships"), &Device::flex());
    let features = features(n_samples, detector.model().features.len());
    bencher.counter(ItemsCount::new(n_samples)).bench_local(|| detector.score(&features));
}

fn features(n_samples: usize, n_features: usize) -> FeatureMatrix {
    let matrix = overlapping(n_samples, n_features, SEED);
    FeatureMatrix::from_values(n_features, matrix.values().iter().map(|value| f64::from(*value)).collect())
}

/// Scalers of eight features.
#[divan::bench(args = Scaling::ALL, max_time = 3)]
fn fitting_a_scaler(bencher: Bencher, scaling: Scaling) {
    let features = features(1_000_000, 8);
    bencher.counter(ItemsCount::new(features.n_samples())).bench_local(|| Scaler::fit(scaling, &features));
}

/// Rows of eight features, scaled.
#[divan::bench(args = [1, 1_000, 1_000_000], max_time = 2)]
fn scaling_rows(bencher: Bencher, n_samples: usize) {
    let features = features(n_samples, 8);
    let scaler = Scaler::fit(Scaling::Robust, &features);
    bencher.counter(ItemsCount::new(n_samples)).bench_local(|| scaler.transform(&features));
}

/// The ranks that p-values are made of.
#[divan::bench(args = [10_000, 1_000_000], max_time = 2)]
fn calibrating(bencher: Bencher, n_samples: usize) {
    let scores = overlapping(n_samples, 1, SEED).into_values();
    bencher.counter(ItemsCount::new(n_samples)).bench_local(|| Calibration::fit(&scores));
}
