//! How long clustering takes.
//!
//! ```text
//! cargo bench -p clustering -p trainer --profile dev                      all but 10 million rows
//! cargo bench -p clustering -p trainer --profile dev -- --include-ignored those too, in 3 GB
//! cargo bench -p clustering -p trainer --profile dev -- iteration         what has it in its name
//! ```
//!
//! With `--profile dev` the dependencies are those that `cargo test` has built; without, cargo builds all of them again.

#[path = "../examples/kmeans-bench/data.rs"]
mod data;

use std::fmt;

use burn::tensor::Device;
use clustering::kmeans::{KMeansParams, Points, fit_from, fit_k, fit_sweep, fit_tree};
use clustering::matrix::Matrix;
use clustering::ops;
use data::{first_rows, overlapping};
use divan::Bencher;
use divan::counter::ItemsCount;

const SEED: u64 = 42;

/// What the pipelines that ship ask for.
const PARAMS: KMeansParams = KMeansParams { n_init: 10, max_iter: 300, tol: 1e-4, seed: SEED, max_state_bytes: None };

/// About as many rows and features as a season of invoices has.
const INVOICES: Size = Size { n_samples: 12_000, n_features: 5, n_clusters: 20 };

/// What the engine is tuned for: many rows, low dimensions, few clusters.
const TYPICAL: Size = Size { n_samples: 1_000_000, n_features: 8, n_clusters: 20 };

fn main() {
    divan::main();
}

/// How much there is to cluster.
#[derive(Debug, Clone, Copy)]
struct Size {
    n_samples: usize,
    n_features: usize,
    n_clusters: usize,
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} x {} x {}", self.n_samples, self.n_features, self.n_clusters)
    }
}

impl Size {
    fn matrix(&self) -> Matrix {
        overlapping(self.n_samples, self.n_features, SEED)
    }

    fn points(&self) -> Points {
        Points::new(self.matrix(), self.n_clusters, &Device::flex()).expect("rows that can be clustered")
    }
}

fn small_and_middle() -> impl Iterator<Item = Size> {
    [100_000, 1_000_000].into_iter().flat_map(sizes)
}

fn large() -> impl Iterator<Item = Size> {
    sizes(10_000_000)
}

fn sizes(n_samples: usize) -> impl Iterator<Item = Size> {
    let of_width = move |n_features| [5, 20, 100].map(|n_clusters| Size { n_samples, n_features, n_clusters });
    [5, 8, 30].into_iter().flat_map(of_width)
}

/// One pass that assigns and adds up: what an iteration consists of, but for a division a cluster.
#[divan::bench(args = small_and_middle(), max_time = 1)]
fn iteration(bencher: Bencher, size: Size) {
    pass(bencher, size);
}

/// The same over ten million rows.
#[divan::bench(args = large(), max_time = 2, ignore)]
fn iteration_of_many_rows(bencher: Bencher, size: Size) {
    pass(bencher, size);
}

fn pass(bencher: Bencher, size: Size) {
    let (device, matrix) = (Device::flex(), size.matrix());
    let centroids = first_rows(&matrix, size.n_clusters).to_tensor(&device); // (n_clusters, n_features)
    let x = matrix.to_tensor(&device); // (n_samples, n_features)
    drop(matrix);
    let bencher = bencher.counter(ItemsCount::new(size.n_samples));
    bencher.bench_local(|| ops::assign_and_accumulate(&x, &centroids));
}

/// Twenty iterations and what comes before and after them.
#[divan::bench(args = [TYPICAL], max_time = 5)]
fn fit(bencher: Bencher, size: Size) {
    let start = first_rows(&size.matrix(), size.n_clusters);
    let points = size.points();
    let params = KMeansParams { n_init: 1, max_iter: 20, tol: 0.0, seed: SEED, max_state_bytes: None };
    bencher.with_inputs(|| start.clone()).bench_local_values(|start| fit_from(&points, start, &params));
}

/// k-means for one k, ten restarts.
#[divan::bench(args = [INVOICES, TYPICAL], max_time = 10)]
fn one_k(bencher: Bencher, size: Size) {
    let points = size.points();
    bencher.bench_local(|| fit_k(&points, size.n_clusters, &PARAMS, &|| {}));
}

/// k-means for every k up to 20, ten restarts each.
#[divan::bench(args = [INVOICES], max_time = 10)]
fn sweep(bencher: Bencher, size: Size) {
    let points = size.points();
    bencher.bench_local(|| fit_sweep(&points, size.n_clusters, &PARAMS, &|| {}));
}

/// A tree of 20 leaves.
#[divan::bench(args = [INVOICES, TYPICAL], max_time = 10)]
fn bisecting(bencher: Bencher, size: Size) {
    let points = size.points();
    bencher.bench_local(|| fit_tree(&points, size.n_clusters, &PARAMS, &|| {}));
}
