//! How long scoring takes, with the models that ship.
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
    let matrix = overlapping(n_samples, detector.model().features.len(), SEED);
    let features = matrix.values().iter().map(|value| f64::from(*value)).collect();
    let features = FeatureMatrix::from_values(matrix.n_features(), features);
    bencher.counter(ItemsCount::new(n_samples)).bench_local(|| detector.score(&features));
}
