//! The laws of a pass: what its labels, sums and rounds must be, whatever the points, the clusters and the device are.

use burn::backend::DispatchDevice;
use burn::tensor::Device;
use cubecl::client::Client;
use cubecl::prelude::CubeElement;
use proptest::prelude::*;

use super::batch::DeviceBlock;
use super::labels::Labeller;
use super::runs::{Outcome, RunBatch, RunStart, RunState};
use super::shape::TileShape;
use super::tests::gpu;
use crate::matrix::{Matrix, host_values};
use crate::ops::{assign_and_accumulate, nearest};

/// What points look like.
#[derive(Debug, Clone, Copy)]
enum Kind {
    /// Whole numbers: many ties.
    Whole,
    /// Numbers of all kinds around 0.
    Spread,
    /// A small cloud that is far from 0: dot products lose it.
    Far,
    /// A few distant groups.
    Groups,
}

#[derive(Debug, Clone)]
struct Case {
    x: Matrix,
    c: Matrix,
}

fn number(index: usize, seed: u64) -> f32 {
    // SplitMix64: as good as random, and the same everywhere.
    let mut bits = seed.wrapping_add((index as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((bits ^ (bits >> 31)) >> 40) as f32 / (1u32 << 24) as f32 - 0.5
}

fn rows(n_rows: usize, n_features: usize, kind: Kind, seed: u64) -> Matrix {
    let value = |index: usize| {
        let any = number(index, seed);
        match kind {
            Kind::Whole => (any * 7.0).round(),
            Kind::Spread => any * 10f32.powi((index % 5) as i32 - 2),
            Kind::Far => 74_215.0 + any,
            Kind::Groups => (number(index / n_features, seed ^ 1) * 5.0).round() * 100.0 + any,
        }
    };
    Matrix::from_values(n_features, (0..n_rows * n_features).map(value).collect())
}

impl Case {
    /// Centroids are some of the points, and some others.
    fn new([n, d, k]: [usize; 3], kind: Kind, seed: u64) -> Self {
        let x = rows(n, d, kind, seed);
        let mut c = rows(k, d, kind, seed ^ 2).into_values();
        for cluster in (0..k).step_by(3) {
            c[cluster * d..(cluster + 1) * d].copy_from_slice(x.row(cluster * 7 % n));
        }
        Self { x, c: Matrix::from_values(d, c) }
    }

    fn dims(&self) -> [usize; 3] {
        [self.x.n_samples(), self.x.n_features(), self.c.n_samples()]
    }

    fn shape(&self, client: &Client, piece: usize) -> TileShape {
        let [n, d, k] = self.dims();
        TileShape::new(client, n.min(piece), d, k).expect("shapes that every adapter has room for")
    }

    fn labels(&self, client: &Client) -> Vec<u16> {
        let labeller = Labeller::new(client, self.shape(client, usize::MAX), self.c.values());
        labeller.label(&block(client, &self.x, usize::MAX), <[u16]>::to_vec).unwrap()
    }

    /// One round over blocks of points, each in pieces of `piece`.
    fn round(&self, client: &Client, piece: usize, blocks: &[DeviceBlock]) -> RunState {
        let (shape, [n, _, k]) = (self.shape(client, piece), self.dims());
        let start = RunStart { centroids: self.c.values(), n_iter: 0, leaf: 0, tolerance: 0.0 };
        let batch = RunBatch::new(client, shape, shape.rows(n.min(piece), k), &[start]);
        for (index, block) in blocks.iter().enumerate() {
            batch.pass(block, index == 0);
        }
        batch.end_round(9);
        batch.read().unwrap().swap_remove(0)
    }
}

fn client(device: &Device) -> Client {
    let DispatchDevice::Cube(device) = device.as_dispatch() else { panic!("{device:?} is no GPU") };
    device.client()
}

fn block(client: &Client, x: &Matrix, piece: usize) -> DeviceBlock {
    let n_samples = x.n_samples();
    let values = client.create_from_slice(f32::as_bytes(x.values()));
    DeviceBlock { first: 0, piece: piece.min(n_samples), x: values, leaves: None, n_samples }
}

/// As float64 has it.
fn squared_distance(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum()
}

fn same_bits(a: &RunState, b: &RunState) {
    assert_eq!((a.n_iter, a.outcome), (b.n_iter, b.outcome));
    let bits = |state: &RunState| state.centroids.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(a), bits(b));
}

/// A label's distance is at most that of the nearest centroid and the rounding of both, which is `d + 2` roundings each of the
/// distance itself, wherever the points are.
fn labels_are_nearest(case: &Case, labels: &[u16]) {
    let [_, d, _] = case.dims();
    let rounding = 2.01 * (d + 2) as f64 * 2f64.powi(-24);
    for (row, &label) in case.x.rows().zip(labels) {
        let best = case.c.rows().map(|c| squared_distance(row, c)).fold(f64::INFINITY, f64::min);
        let found = squared_distance(row, case.c.row(usize::from(label)));
        assert!(found <= best * (1.0 + rounding), "{found} where {best} is possible, {:?}", case.dims());
    }
}

/// The centroids after a round are the means of what has their labels, or stay where one has none.
fn centroids_are_means(case: &Case, labels: &[u16], state: &RunState) {
    let [_, d, k] = case.dims();
    let (mut sums, mut counts) = (vec![0.0; k * d], vec![0u32; k]);
    for (row, &label) in case.x.rows().zip(labels) {
        counts[usize::from(label)] += 1;
        for (sum, value) in sums[usize::from(label) * d..].iter_mut().zip(row) {
            *sum += f64::from(*value);
        }
    }
    if counts.contains(&0) {
        assert_eq!((state.outcome, state.n_iter), (Outcome::HasEmptyCluster, 0));
        assert_eq!(state.centroids, case.c.values());
        return;
    }
    assert_eq!(state.n_iter, 1);
    let largest = case.x.values().iter().fold(0f64, |largest, value| largest.max(f64::from(value.abs())));
    for (index, (sum, found)) in sums.iter().zip(&state.centroids).enumerate() {
        let mean = sum / f64::from(counts[index / d]);
        assert!((mean - f64::from(*found)).abs() <= 1e-6 * largest, "{found} for {mean}, {:?}", case.dims());
    }
}

/// Few numbers of features, for each of which a kernel is compiled: around those where it becomes another one.
fn cases() -> impl Strategy<Value = (Case, usize)> {
    let kind = prop_oneof![Just(Kind::Whole), Just(Kind::Spread), Just(Kind::Far), Just(Kind::Groups)];
    let features = prop::sample::select(vec![1, 3, 8, 16, 30, 65, 130]);
    let clusters = prop::sample::select(vec![1, 3, 20, 300]);
    let near_a_tile = prop::sample::select(vec![1usize, 2, 127, 128, 129, 255, 256, 257, 511, 513, 1_025]);
    let n_samples = prop_oneof![near_a_tile, 1usize..2_500];
    (n_samples, features, clusters, kind, any::<u64>(), 64usize..1_500)
        .prop_map(|(n, d, k, kind, seed, piece)| (Case::new([n, d, k], kind, seed), piece))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_round_labels_and_moves_as_float64_does((case, _) in cases()) {
        let Some(device) = gpu() else { return Ok(()) };
        let client = client(&device);
        let labels = case.labels(&client);
        labels_are_nearest(&case, &labels);
        let state = case.round(&client, usize::MAX, &[block(&client, &case.x, usize::MAX)]);
        prop_assert!(state.centroids.iter().all(|value| value.is_finite()));
        centroids_are_means(&case, &labels, &state);
    }

    /// Dot products only decide where they decide as differences do.
    #[test]
    fn labels_are_those_of_differences((case, _) in cases()) {
        let Some(device) = gpu() else { return Ok(()) };
        let (by_differences, _) = nearest(&case.x.to_tensor(&device), &case.c.to_tensor(&device));
        let by_differences: Vec<i32> = host_values(by_differences.into_data());
        let labels = case.labels(&client(&device));
        prop_assert!(labels.iter().map(|&label| i32::from(label)).eq(by_differences), "{:?}", case.dims());
    }

    /// A buffer in pieces is what as many buffers of a piece are, bit for bit, and a second time is what the first was.
    #[test]
    fn pieces_of_a_buffer_are_buffers_of_a_piece((case, piece) in cases()) {
        let Some(device) = gpu() else { return Ok(()) };
        let (client, d) = (client(&device), case.x.n_features());
        let in_one = || case.round(&client, piece, &[block(&client, &case.x, piece)]);
        let apart: Vec<DeviceBlock> = case.x.values().chunks(piece * d)
            .map(|values| block(&client, &Matrix::from_values(d, values.to_vec()), piece))
            .collect();
        let state = in_one();
        same_bits(&state, &in_one());
        same_bits(&state, &case.round(&client, piece, &apart));
    }

    /// What the plain operation says of all points together is what float64 says of its labels.
    #[test]
    fn totals_are_those_of_the_labels((case, _) in cases()) {
        let Some(device) = gpu() else { return Ok(()) };
        let [n, d, k] = case.dims();
        let found = assign_and_accumulate(&case.x.to_tensor(&device), &case.c.to_tensor(&device));
        let labels: Vec<i32> = host_values(found.labels.into_data());
        let (mut counts, mut sums, mut inertia) = (vec![0.0; k], vec![0.0; k * d], 0.0);
        for (row, &label) in case.x.rows().zip(&labels) {
            let label = label as usize;
            counts[label] += 1.0;
            inertia += squared_distance(row, case.c.row(label));
            sums[label * d..].iter_mut().zip(row).for_each(|(sum, value)| *sum += f64::from(*value));
        }
        prop_assert_eq!(found.counts, counts);
        // Or what float32 makes of the distances of a few points.
        let rounding = 1e-6f64.max((d + 2) as f64 * 2f64.powi(-24));
        prop_assert!((found.inertia - inertia).abs() <= rounding * inertia, "{} {}", found.inertia, inertia);
        let largest = case.x.values().iter().fold(0f64, |largest, value| largest.max(f64::from(value.abs())));
        for (a, b) in found.sums.iter().zip(&sums) {
            prop_assert!((a - b).abs() <= 1e-6 * largest * n as f64, "{} {}", a, b);
        }
    }
}

/// A unit takes several points at a time where there are many, fewer of them the more features they have.
#[test]
fn many_points_are_labelled_and_summed_as_few_are() {
    let Some(device) = gpu() else { return };
    let client = client(&device);
    for (d, k) in [(2, 5), (18, 7), (40, 3)] {
        let case = Case::new([(1 << 18) + 77, d, k], Kind::Spread, 5);
        let shape = case.shape(&client, usize::MAX);
        assert!(shape.points > 1, "{shape:?}");
        let labels = case.labels(&client);
        labels_are_nearest(&case, &labels);
        let state = case.round(&client, usize::MAX, &[block(&client, &case.x, usize::MAX)]);
        centroids_are_means(&case, &labels, &state);
    }
}
