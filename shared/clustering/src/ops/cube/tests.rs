use burn::backend::DispatchDevice;
use burn::tensor::{Device, Int, Tensor};

use super::can_run;
use crate::device::choose_by_name;
use crate::matrix::Matrix;
use crate::ops::{Assignment, TreeLinks, assign_and_accumulate, descend, nearest, reference};

/// The GPU that tests run on, or the software adapter; nothing where both are missing and tests may be skipped.
pub(crate) fn gpu() -> Option<Device> {
    requirements::gpu(choose_by_name).map(|chosen| chosen.device)
}

fn ints(tensor: &Tensor<1, Int>) -> Vec<i32> {
    tensor.to_data().iter::<i32>().collect()
}

fn floats<const D: usize>(tensor: &Tensor<D>) -> Vec<f32> {
    tensor.to_data().iter::<f32>().collect()
}

/// Whole numbers, so that every sum is exact whatever its order.
fn whole_numbers(rows: usize, n_features: usize, seed: usize) -> Matrix {
    let value = |i: usize| ((i * 7919 + seed * 104_729) % 101) as f32 - 50.0;
    Matrix::from_values(n_features, (0..rows * n_features).map(value).collect())
}

fn same(kernel: &Assignment, plain: &Assignment) {
    assert_eq!(ints(&kernel.labels), ints(&plain.labels));
    assert_eq!(floats(&kernel.squared_distances), floats(&plain.squared_distances));
    assert_eq!(kernel.counts, plain.counts);
    assert_eq!(kernel.sums, plain.sums);
    assert_eq!(kernel.inertia, plain.inertia);
}

fn on(device: &Device, x: &Matrix, c: &Matrix) -> Assignment {
    assign_and_accumulate(&x.to_tensor(device), &c.to_tensor(device))
}

fn plain(x: &Matrix, c: &Matrix) -> Assignment {
    let cpu = Device::flex();
    reference::assign_and_accumulate(&x.to_tensor(&cpu), &c.to_tensor(&cpu))
}

/// The kernel for points of this shape, and not the fallback, is what a test is about.
fn has_kernel(device: &Device, [n, d]: [usize; 2], k: usize) -> bool {
    let DispatchDevice::Cube(device) = device.as_dispatch() else { return false };
    can_run(device, [n, d], k)
}

#[test]
fn whole_numbers_are_assigned_exactly_as_by_the_reference() {
    let Some(device) = gpu() else { return };
    let shapes = [
        (1, 1, 1),
        (5, 3, 2),
        (2, 1, 5),
        (256, 2, 3),
        (257, 5, 20),
        (5000, 8, 20),
        (3001, 12, 7),
        (1999, 33, 20),
        (1500, 64, 20),
        (2100, 64, 256),
        (4099, 5, 256),
        (70_001, 6, 2),
        (300, 200, 3),
        // More features than a cube has units.
        (300, 300, 3),
        // Sums of more clusters and features than shared memory has room for.
        (1000, 130, 300),
        (513, 1, 7000),
    ];
    for (n, d, k) in shapes {
        let (x, c) = (whole_numbers(n, d, 1), whole_numbers(k, d, 2));
        assert!(has_kernel(&device, [n, d], k), "{n} x {d}, {k} clusters");
        let kernel = on(&device, &x, &c);
        same(&kernel, &plain(&x, &c));
        let (labels, distances) = nearest(&x.to_tensor(&device), &c.to_tensor(&device));
        assert_eq!(ints(&labels), ints(&kernel.labels));
        assert_eq!(floats(&distances), floats(&kernel.squared_distances));
    }
}

#[test]
fn four_points_a_unit_are_assigned_as_one_is() {
    let Some(device) = gpu() else { return };
    let (x, c) = (whole_numbers(300_007, 4, 1), whole_numbers(9, 4, 2));
    same(&on(&device, &x, &c), &plain(&x, &c));
}

#[test]
fn clustered_points_are_assigned_as_by_the_reference() {
    let Some(device) = gpu() else { return };
    let d = 7;
    let value = |i: usize| {
        let (row, feature) = (i / d, i % d);
        (row % 5 * (feature + 1)) as f32 * 10.0 + ((i * 7919) % 1013) as f32 / 1013.0
    };
    let x = Matrix::from_values(d, (0..4000 * d).map(value).collect());
    let c = Matrix::from_values(d, x.values()[..11 * d].to_vec());
    let (kernel, plain) = (on(&device, &x, &c), plain(&x, &c));
    assert_eq!(ints(&kernel.labels), ints(&plain.labels));
    assert_eq!(kernel.counts, plain.counts);
    let close = |(a, b): (&f64, &f64)| (a - b).abs() <= 2e-6 * b.abs().max(1e-3);
    assert!(kernel.sums.iter().zip(&plain.sums).all(close));
    assert!(close((&kernel.inertia, &plain.inertia)));
}

#[test]
fn degenerate_points_are_assigned_as_by_the_reference() {
    let Some(device) = gpu() else { return };
    let duplicates = Matrix::from_values(3, [1.0, -2.0, 3.0].repeat(500));
    let constant_feature = Matrix::from_values(2, (0..999).flat_map(|i| [(i % 10) as f32, 4.0]).collect());
    for x in [duplicates, constant_feature] {
        // More clusters than distinct points, some of them equal.
        let c = whole_numbers(30, x.n_features(), 3);
        let c = Matrix::from_values(x.n_features(), [c.values(), c.values()].concat());
        same(&on(&device, &x, &c), &plain(&x, &c));
    }
}

#[test]
fn badly_scaled_points_keep_their_small_distances() {
    let Some(device) = gpu() else { return };
    // Beside totals of 74,215 the expansion |x|² - 2xc + |c|² would lose a distance of 0.01 altogether.
    let x = Matrix::from_values(2, vec![74_215.0, 0.04, 74_215.0, 0.14]);
    let c = Matrix::from_values(2, vec![74_215.0, 0.04, 0.0, 0.0]);
    let distances = floats(&on(&device, &x, &c).squared_distances);
    assert_eq!(distances[0], 0.0);
    assert!((distances[1] - 0.01).abs() < 1e-6, "{distances:?}");
}

#[test]
fn a_tie_goes_to_the_lowest_index() {
    let Some(device) = gpu() else { return };
    for k in [3, 300] {
        let x = Matrix::from_values(1, vec![0.0; 10]);
        let c = Matrix::from_values(1, (0..k).map(|i| if i % 2 == 0 { 1.0 } else { -1.0 }).collect());
        assert_eq!(ints(&on(&device, &x, &c).labels), [0; 10]);
    }
}

#[test]
fn equal_numbers_do_not_saturate() {
    let Some(device) = gpu() else { return };
    // A running float32 total of these is off by more than a thousandth.
    let n = 600_000;
    let x = Matrix::from_values(2, [0.1, 3.3].repeat(n));
    let c = Matrix::from_values(2, vec![0.0, 3.0]);
    let result = on(&device, &x, &c);
    let expected = f64::from(floats(&result.squared_distances)[0]) * n as f64;
    assert!((result.inertia / expected - 1.0).abs() < 1e-12, "{} {expected}", result.inertia);
    for (sum, value) in result.sums.iter().zip([0.1f32, 3.3]) {
        // What a chain of additions in float32 may lose before it is folded.
        let error = sum / (f64::from(value) * n as f64) - 1.0;
        assert!(error.abs() < 1e-6, "{error}");
    }
}

#[test]
fn the_same_points_give_the_same_bits() {
    let Some(device) = gpu() else { return };
    let x = Matrix::from_values(5, (0..40_000 * 5).map(|i| ((i * 7919) % 1013) as f32 / 17.0).collect());
    let c = Matrix::from_values(5, x.values()[..100].to_vec());
    same(&on(&device, &x, &c), &on(&device, &x, &c));
}

#[test]
fn what_the_device_cannot_hold_takes_the_reference() {
    let Some(device) = gpu() else { return };
    let (x, c) = (whole_numbers(3, 5000, 1), whole_numbers(2, 5000, 2));
    assert!(!has_kernel(&device, [3, 5000], 2));
    // Nor does a kernel count further than its numbers of 32 bits.
    let most = i32::MAX as usize;
    assert!(has_kernel(&device, [most, 2], 2) && !has_kernel(&device, [most + 1, 2], 2));
    same(&on(&device, &x, &c), &plain(&x, &c));
}

#[test]
fn points_descend_as_by_the_reference() {
    let Some(device) = gpu() else { return };
    let root = TreeLinks { left: vec![0], right: vec![0], depth: 0 };
    // 0 -> (1, 2), 2 -> (3, 4): three leaves.
    let small = TreeLinks { left: vec![1, 1, 3, 3, 4], right: vec![2, 1, 4, 3, 4], depth: 2 };
    // Every right child has children, and there are more nodes than shared memory holds at 20 features.
    let n_nodes = 301;
    let child = |side: i32| (0..n_nodes).map(|i| if i % 2 == 0 && i + 2 < n_nodes { i + side } else { i }).collect();
    let deep = TreeLinks { left: child(1), right: child(2), depth: 150 };
    for (n, d, links) in [(10, 2, &root), (1000, 5, &small), (2001, 20, &deep), (500, 40, &small)] {
        let (x, centers) = (whole_numbers(n, d, 1), whole_numbers(links.left.len(), d, 2));
        assert!(has_kernel(&device, [n, d], links.left.len()));
        let kernel = descend(&x.to_tensor(&device), &centers.to_tensor(&device), links);
        let cpu = Device::flex();
        let plain = reference::descend(&x.to_tensor(&cpu), &centers.to_tensor(&cpu), links);
        assert_eq!(ints(&kernel.nodes), ints(&plain.nodes));
        assert_eq!(floats(&kernel.squared_distances), floats(&plain.squared_distances));
    }
}
