use burn::tensor::Device;

use super::*;
use crate::device::{DeviceRequest, choose};

/// A GPU, or the software adapter, or nothing.
fn gpu() -> Option<Device> {
    match choose(DeviceRequest::Gpu(0)).or_else(|_| choose(DeviceRequest::Software)) {
        Ok(chosen) => Some(chosen.device),
        Err(error) => {
            assert!(std::env::var_os("ATALAYA_REQUIRE_SOFTWARE_GPU").is_none(), "{error}");
            eprintln!("skipped: no GPU and no software adapter ({error}); install mesa-vulkan-drivers");
            None
        }
    }
}

/// Points in `groups` loose groups, in no order.
fn points(rows: usize, n_features: usize, groups: usize) -> Matrix {
    let value = |i: usize| {
        let (row, feature) = (i / n_features, i % n_features);
        let noise = ((i * 7919 + row * 31) % 1013) as f32 / 100.0;
        (row * 17 % groups * (feature + 2) % 23) as f32 * 5.0 + noise
    };
    Matrix::from_values(n_features, (0..rows * n_features).map(value).collect())
}

/// The first points, from `from` on, as centroids.
fn start(x: &Matrix, from: usize, k: usize) -> Matrix {
    let d = x.n_features();
    Matrix::from_values(d, x.values()[from * d..(from + k) * d].to_vec())
}

fn chunks(x: &Matrix, sizes: &[usize], device: &Device) -> Vec<Tensor<2>> {
    let tensor = x.to_tensor(device);
    let mut first = 0;
    let chunk = |&size: &usize| {
        first += size;
        tensor.clone().narrow(0, first - size, size)
    };
    sizes.iter().map(chunk).collect()
}

/// The same on the CPU, with the plain operations.
fn on_cpu(x: &Matrix, starts: &[Matrix], max_iter: usize, tolerance: f64) -> Vec<DeviceRun> {
    lloyd_many(&[x.to_tensor(&Device::flex())], starts, None, max_iter, tolerance)
}

fn close(a: &DeviceRun, b: &DeviceRun) {
    assert_eq!(a.n_iter, b.n_iter);
    for (a, b) in a.centroids.values().iter().zip(b.centroids.values()) {
        assert!((a - b).abs() <= 1e-5 * b.abs().max(1.0), "{a} {b}");
    }
}

#[test]
fn runs_are_those_of_the_plain_operations() {
    let Some(device) = gpu() else { return };
    for (n, d) in [(700, 5), (3000, 8), (900, 33)] {
        let x = points(n, d, 6);
        let starts: Vec<Matrix> = (1..9).map(|k| start(&x, k * 3, k)).collect();
        let runs = lloyd_many(&[x.to_tensor(&device)], &starts, None, 30, 1e-4);
        for (run, plain) in runs.iter().zip(on_cpu(&x, &starts, 30, 1e-4)) {
            close(run, &plain);
        }
    }
}

#[test]
fn many_models_are_each_as_if_alone() {
    let Some(device) = gpu() else { return };
    let x = points(5000, 6, 9);
    let tensor = [x.to_tensor(&device)];
    // The largest does not fit into shared memory, and some of them run into empty clusters.
    let mut starts: Vec<Matrix> = (1..13).map(|k| start(&x, k * 7, k)).collect();
    starts.push(start(&x, 0, 900));
    starts.push(Matrix::from_values(6, [start(&x, 3, 4).values(), &[1e4; 6]].concat()));
    let together = lloyd_many(&tensor, &starts, None, 12, 0.0);
    for (start, run) in starts.iter().zip(&together) {
        assert_eq!(&lloyd_many(&tensor, std::slice::from_ref(start), None, 12, 0.0)[0], run);
    }
}

#[test]
fn chunks_are_one_set_of_points() {
    let Some(device) = gpu() else { return };
    let x = points(2600, 4, 5);
    let starts = [start(&x, 0, 5), start(&x, 11, 3)];
    let runs = lloyd_many(&chunks(&x, &[1000, 1500, 100], &device), &starts, None, 40, 1e-6);
    for (run, plain) in runs.iter().zip(on_cpu(&x, &starts, 40, 1e-6)) {
        close(run, &plain);
    }
}

#[test]
fn a_model_of_a_leaf_sees_its_points_only() {
    let Some(device) = gpu() else { return };
    let (x, n_leaves) = (points(1800, 3, 8), 4);
    let leaf_of = |row: usize| (row * row % 7 + row) as i32 % n_leaves;
    let leaves: Vec<i32> = (0..1800).map(leaf_of).collect();
    let sizes = [500, 1300];
    let leaf_tensors = [&leaves[..500], &leaves[500..]]
        .map(|leaves| Tensor::<1, Int>::from_data(TensorData::new(leaves.to_vec(), [leaves.len()]), &device));
    let members: Vec<Matrix> = (0..n_leaves)
        .map(|leaf| {
            let rows = x.rows().enumerate().filter(|&(row, _)| leaf_of(row) == leaf);
            Matrix::from_values(3, rows.flat_map(|(_, row)| row.iter().copied()).collect())
        })
        .collect();
    let starts: Vec<Matrix> = members.iter().map(|members| start(members, 0, 2)).collect();
    let leaf_of_model: Vec<i32> = (0..n_leaves).collect();
    let groups = Groups { leaf_of_point: &leaf_tensors, leaf_of_model: &leaf_of_model };
    let runs = lloyd_many(&chunks(&x, &sizes, &device), &starts, Some(groups), 30, 1e-6);
    for ((run, members), start) in runs.iter().zip(&members).zip(starts) {
        close(run, &on_cpu(members, &[start], 30, 1e-6)[0]);
    }
}

#[test]
fn an_empty_cluster_takes_the_farthest_point() {
    let Some(device) = gpu() else { return };
    let x = Matrix::from_values(1, vec![0.0, 1.0, 2.0, 50.0, 0.0, 1.0, 2.0]);
    let starts = [Matrix::from_values(1, vec![1.0, -1000.0, 1000.0])];
    let run = &lloyd_many(&[x.to_tensor(&device)], &starts, None, 1, 0.0)[0];
    // Of the others, the first of the points at distance 1 is the next one.
    assert_eq!(run.centroids.values(), [6.0 / 5.0, 50.0, 0.0]);
    close(&lloyd_many(&[x.to_tensor(&device)], &starts, None, 20, 0.0)[0], &on_cpu(&x, &starts, 20, 0.0)[0]);
}

#[test]
fn fewer_distinct_points_than_clusters_still_end() {
    let Some(device) = gpu() else { return };
    let x = Matrix::from_values(2, (0..300).flat_map(|i| [(i % 3) as f32 * 0.7, 4.1]).collect());
    let run = &lloyd_many(&[x.to_tensor(&device)], &[start(&x, 0, 6)], None, 100, 0.0)[0];
    assert!(run.n_iter < 5);
    let assignment = ops::assign_and_accumulate(&x.to_tensor(&device), &run.centroids.to_tensor(&device));
    assert_eq!(assignment.inertia, 0.0);
}

#[test]
fn rounds_are_counted_to_the_last() {
    let Some(device) = gpu() else { return };
    let x = points(1500, 2, 40);
    let starts = [start(&x, 0, 12)];
    for max_iter in [0, 1, 7, 8, 9] {
        let run = &lloyd_many(&[x.to_tensor(&device)], &starts, None, max_iter, 0.0)[0];
        assert_eq!(run.n_iter, max_iter);
    }
}

#[test]
fn no_models_and_no_points_are_no_runs() {
    let Some(device) = gpu() else { return };
    let x = points(10, 2, 2);
    assert_eq!(lloyd_many(&[x.to_tensor(&device)], &[], None, 10, 0.0), []);
    let run = &lloyd_many(&[], &[start(&x, 0, 2)], None, 10, 0.0)[0];
    assert_eq!(run.centroids, start(&x, 0, 2));
}
