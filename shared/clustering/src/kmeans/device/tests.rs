use burn::tensor::Device;

use super::*;
use crate::kmeans::{KMeansParams, fit_sweep, fit_tree};
use crate::ops::cube::tests::gpu;
use crate::rows::{RowStore, RowStoreBuilder};

/// Points in `groups` loose groups, in no order.
fn cloud(rows: usize, n_features: usize, groups: usize) -> Matrix {
    let value = |i: usize| {
        let (row, feature) = (i / n_features, i % n_features);
        let noise = ((i * 7919 + row * 31) % 1013) as f32 / 100.0;
        (row * 17 % groups * (feature + 2) % 23) as f32 * 5.0 + noise
    };
    Matrix::from_values(n_features, (0..rows * n_features).map(value).collect())
}

/// The points from `from` on as centroids.
fn first(x: &Matrix, from: usize, k: usize) -> Matrix {
    let d = x.n_features();
    Matrix::from_values(d, x.values()[from * d..(from + k) * d].to_vec())
}

fn points(x: &Matrix, device: &Device) -> Points {
    Points::new(x.clone(), 1, device).unwrap()
}

fn start(centroids: &Matrix, tolerance: f64) -> Start<'static> {
    Start { centroids: centroids.clone(), members: None, tolerance, keep_labels: false }
}

fn runs(points: &Points, starts: Vec<Start<'_>>, max_iter: usize) -> Vec<Run> {
    lloyd(points, starts, Limits { max_iter, max_state_bytes: None }, &|| {}).unwrap()
}

/// The same on the CPU, with plain operations.
fn plain_runs(x: &Matrix, starts: Vec<Start<'_>>, max_iter: usize) -> Vec<Run> {
    runs(&points(x, &Device::flex()), starts, max_iter)
}

fn close(run: &Run, plain: &Run) {
    assert_eq!(run.n_iter, plain.n_iter);
    for (a, b) in run.centroids.values().iter().zip(plain.centroids.values()) {
        assert!((a - b).abs() <= 1e-5 * b.abs().max(1.0), "{a} {b}");
    }
}

#[test]
fn runs_are_those_of_plain_operations() {
    let Some(device) = gpu() else { return };
    for (n, d) in [(700, 5), (3000, 8), (900, 33)] {
        let x = cloud(n, d, 6);
        let starts: Vec<Start<'_>> = (1..9).map(|k| start(&first(&x, k * 3, k), 1e-4)).collect();
        let gpu_runs = runs(&points(&x, &device), starts.clone(), 30);
        for (run, plain) in gpu_runs.iter().zip(plain_runs(&x, starts, 30)) {
            close(run, &plain);
        }
    }
}

#[test]
fn many_runs_are_each_as_if_alone() {
    let Some(device) = gpu() else { return };
    let x = cloud(5000, 6, 9);
    let points = points(&x, &device);
    // The largest does not fit into shared memory, and another begins with an empty cluster.
    let mut starts: Vec<Start<'_>> = (1..13).map(|k| start(&first(&x, k * 7, k), 0.0)).collect();
    starts.push(start(&first(&x, 0, 900), 0.0));
    starts.push(start(&Matrix::from_values(6, [first(&x, 3, 4).values(), &[1e4; 6]].concat()), 0.0));
    let together = runs(&points, starts.clone(), 12);
    for (start, run) in starts.into_iter().zip(together) {
        assert_eq!(runs(&points, vec![start], 12), [run]);
    }
}

/// Every point belongs to one of four parts.
fn parts(points: &Points) -> Vec<Members> {
    let all = Members::all(points);
    let part_of = |row: usize| ((row * row % 7 + row) % 4) as u16;
    let labels: Vec<Vec<u16>> =
        (0..points.n_chunks()).map(|chunk| (0..CHUNK).map(|row| part_of(chunk * CHUNK + row)).collect()).collect();
    (0..4).map(|part| all.with_label(&labels, part)).collect()
}

#[test]
fn clusters_are_evaluated_as_by_plain_operations() {
    let Some(device) = gpu() else { return };
    for (n, d) in [(1, 1), (9001, 3), (800, 40)] {
        let x = cloud(n, d, 8);
        let points = points(&x, &device);
        let (all, parts) = (Members::all(&points), parts(&points));
        let centroids: Vec<Matrix> = [1, 2, 20, 90, 700]
            .map(|k| Matrix::from_values(d, x.values().iter().cycle().take(k * d).map(|value| value + 0.25).collect()))
            .into();
        let members = || {
            [None, Some(&all)]
                .into_iter()
                .chain(parts.iter().map(Some))
                .filter(|members| members.is_none_or(|members| members.len() > 0))
        };
        let running = |centroids: &Matrix, members| DeviceRun {
            centroids: centroids.clone(),
            n_iter: 0,
            members,
            tolerance: 0.0,
            keep_labels: false,
        };
        let clusterings: Vec<DeviceRun<'_>> =
            centroids.iter().flat_map(|centroids| members().map(move |members| running(centroids, members))).collect();
        for (run, evaluation) in clusterings.iter().zip(evaluate(&points, &clusterings).unwrap()) {
            let plain = run.evaluate(&points).unwrap();
            assert_eq!((&evaluation.counts, &evaluation.farthest), (&plain.counts, &plain.farthest));
            for (a, b) in evaluation.inertia.iter().zip(&plain.inertia) {
                assert!((a - b).abs() <= 1e-12 * b, "{a} {b}");
            }
        }
    }
}

#[test]
fn a_run_over_a_part_sees_its_points_only() {
    let Some(device) = gpu() else { return };
    let x = cloud(9000, 3, 8);
    let points = points(&x, &device);
    let (all, parts) = (Members::all(&points), parts(&points));
    let rows: Vec<Matrix> =
        parts.iter().map(|part| points.gather(&part.indices().collect::<Vec<_>>()).unwrap()).collect();
    let mut starts = Vec::new();
    for (part, rows) in parts.iter().zip(&rows) {
        for from in [0, 5] {
            starts.push(Start {
                centroids: first(rows, from, 2),
                members: Some(part),
                tolerance: 1e-6,
                keep_labels: false,
            });
        }
    }
    // A part that overlaps the others waits for them.
    starts.push(Start { centroids: first(&x, 0, 3), members: Some(&all), tolerance: 1e-6, keep_labels: false });
    let gpu_runs = runs(&points, starts.clone(), 30);
    for (index, (run, start)) in gpu_runs.iter().zip(starts).enumerate() {
        let rows = rows.get(index / 2).unwrap_or(&x);
        close(run, &plain_runs(rows, vec![Start { members: None, ..start }], 30)[0]);
    }
}

#[test]
fn labels_are_kept_where_they_are_wanted() {
    let Some(device) = gpu() else { return };
    let x = cloud(5000, 4, 6);
    let start = Start { keep_labels: true, ..start(&first(&x, 0, 5), 1e-3) };
    let (gpu, cpu) = (&runs(&points(&x, &device), vec![start.clone()], 20)[0], &plain_runs(&x, vec![start], 20)[0]);
    assert_eq!((&gpu.labels, &gpu.clusters.counts), (&cpu.labels, &cpu.clusters.counts));
}

#[test]
fn labels_of_parts_and_of_many_clusters_are_those_of_the_cpu() {
    let Some(device) = gpu() else { return };
    // Dot products, an odd number of points, and more labels than eight bits hold. Whole numbers, whose distances are exact.
    let x = Matrix::from_values(17, cloud(9001, 17, 40).values().iter().map(|value| value.round()).collect());
    let (on_gpu, on_cpu) =
        (points(&x, &device).on_device_with(u64::MAX, 100_000, 300_000), points(&x, &Device::flex()));
    let (gpu_parts, cpu_parts) = (parts(&on_gpu), parts(&on_cpu));
    assert!(on_gpu.held().unwrap().is_some_and(|buffers| buffers.len() > 2));
    for k in [1, 7, 300] {
        let centroids = first(&x, 11, k);
        let of = |points: &Points, members| nearest_labels(points, &centroids, members).unwrap();
        assert_eq!(of(&on_gpu, None), crate::kmeans::cpu::labels(&on_cpu, &centroids, &Members::all(&on_cpu)).unwrap());
        for (gpu_part, cpu_part) in gpu_parts.iter().zip(&cpu_parts) {
            let plain = crate::kmeans::cpu::labels(&on_cpu, &centroids, cpu_part).unwrap();
            assert_eq!(of(&on_gpu, Some(gpu_part)), plain);
        }
    }
}

#[test]
fn labels_go_to_the_chunks_of_their_points() {
    let mut chunks = vec![Vec::new(); 3];
    let labels: Vec<u16> = (0..2 * CHUNK as u16 + 5).collect();
    for (first, end) in [(0, 3), (3, CHUNK), (CHUNK, CHUNK + 1), (CHUNK + 1, labels.len())] {
        append(&mut chunks, first, &labels[first..end]);
    }
    assert_eq!(chunks, labels.chunks(CHUNK).map(<[u16]>::to_vec).collect::<Vec<_>>());
}

#[test]
fn an_empty_cluster_takes_the_farthest_point() {
    let Some(device) = gpu() else { return };
    let x = Matrix::from_values(1, vec![0.0, 1.0, 2.0, 50.0, 0.0, 1.0, 2.0]);
    let starts = vec![start(&Matrix::from_values(1, vec![1.0, -1000.0, 1000.0]), 0.0)];
    let once = &runs(&points(&x, &device), starts.clone(), 1)[0];
    // Of the others, the first of the points at distance 1 is the next one.
    assert_eq!(once.centroids.values(), [6.0 / 5.0, 50.0, 0.0]);
    close(&runs(&points(&x, &device), starts.clone(), 20)[0], &plain_runs(&x, starts, 20)[0]);
}

#[test]
fn fewer_distinct_points_than_clusters_still_end() {
    let Some(device) = gpu() else { return };
    let x = Matrix::from_values(2, (0..300).flat_map(|i| [(i % 3) as f32 * 0.7, 4.1]).collect());
    let points = points(&x, &device);
    let run = &runs(&points, vec![start(&first(&x, 0, 6), 0.0)], 100)[0];
    assert!(run.n_iter < 5);
    assert_eq!(run.clusters.inertia, [0.0; 6]);
}

#[test]
fn rounds_are_counted_to_the_last() {
    let Some(device) = gpu() else { return };
    let x = cloud(1500, 2, 40);
    for max_iter in [0, 1, 7, 8, 9] {
        let runs = runs(&points(&x, &device), vec![start(&first(&x, 0, 12), 0.0)], max_iter);
        assert_eq!(runs[0].n_iter, max_iter);
    }
}

#[test]
fn no_starts_are_no_runs() {
    let Some(device) = gpu() else { return };
    assert_eq!(runs(&points(&cloud(10, 2, 2), &device), Vec::new(), 10), []);
}

/// Runs over all points and over a part of them, one of which begins with an empty cluster.
fn mixed_starts<'a>(x: &Matrix, part: &'a Members) -> Vec<Start<'a>> {
    let with_empty = Matrix::from_values(x.n_features(), [first(x, 50, 2).values(), &[1e4; 6]].concat());
    let of_part = Start { members: Some(part), ..start(&first(x, 9, 3), 0.0) };
    let starts = vec![start(&first(x, 0, 4), 0.0), start(&with_empty, 0.0), of_part];
    starts.into_iter().map(|start| Start { keep_labels: true, ..start }).collect()
}

#[test]
fn points_that_stay_and_points_that_are_sent_give_the_same_bits() {
    let Some(device) = gpu() else { return };
    // Of so many magnitudes that a sum's last bits depend on the order.
    let scaled = |(i, value): (usize, &f32)| value * 10f32.powi((i * 31 % 11) as i32 - 5);
    let x = Matrix::from_values(6, cloud(300_000, 6, 9).values().iter().enumerate().map(scaled).collect());
    let in_file = || {
        let mut builder = RowStoreBuilder::new(6, Some(1000));
        builder.extend(x.values()).unwrap();
        builder.finish().unwrap()
    };
    let in_memory = || RowStore::from_matrix(x.clone());
    // Seven pieces of 43,690 rows: the blocks of the file, which has two, do not end where they do.
    let run = |rows: RowStore, room: u64, pieces_a_buffer: u64| {
        let buffer = pieces_a_buffer << 20;
        let points = Points::from_rows(rows, 4, &device).unwrap().on_device_with(room, 1 << 20, buffer);
        let n_buffers = 7u64.div_ceil(pieces_a_buffer) as usize;
        assert_eq!(points.held().unwrap().map(<[_]>::len), (room > 0).then_some(n_buffers));
        let part = parts(&points).swap_remove(2);
        runs(&points, mixed_starts(&x, &part), 3)
    };
    let all = x.values().len() as u64 * 4;
    let held = run(in_memory(), all, 7);
    for (rows, room, pieces) in
        [(in_memory(), all, 1), (in_memory(), all, 3), (in_memory(), 0, 1), (in_file(), all, 2), (in_file(), 0, 1)]
    {
        assert!(run(rows, room, pieces) == held, "room for {room} bytes, {pieces} pieces a buffer");
    }
}

#[test]
fn points_that_fit_are_sent_once() {
    let Some(device) = gpu() else { return };
    let x = cloud(9000, 6, 9);
    let mut points = points(&x, &device);
    let part = parts(&points).swap_remove(2);
    // Without the empty cluster, for which the host looks rows up.
    let starts = || [0, 2].map(|start| mixed_starts(&x, &part).swap_remove(start)).to_vec();
    let of = |points: &Points| runs(points, starts(), 3);
    let before = of(&points);
    points.forget_rows();
    assert!(of(&points) == before);
}

#[test]
fn points_that_do_not_fit_are_sent_in_every_pass() {
    let Some(device) = gpu() else { return };
    let x = cloud(900, 3, 4);
    let points = points(&x, &device).on_device_with(x.values().len() as u64 * 4 - 1, 1024, 1024);
    runs(&points, vec![start(&first(&x, 0, 3), 0.0)], 2);
    assert!(points.held().unwrap().is_none());
}

/// The squares of the values are far larger than the distances within a cloud: products with fewer digits would lose these.
#[test]
fn clouds_that_are_far_apart_are_clustered_as_by_plain_operations() {
    let Some(device) = gpu() else { return };
    let d = 4;
    let value = |(i, value): (usize, &f32)| value / 20.0 + if (i / d).is_multiple_of(2) { 74.0 } else { -74.0 };
    let x = Matrix::from_values(d, cloud(4000, d, 6).values().iter().enumerate().map(value).collect());
    let starts: Vec<Start<'_>> = (2..8).map(|k| start(&first(&x, 5, k), 1e-4)).collect();
    let gpu_runs = runs(&points(&x, &device), starts.clone(), 30);
    for (run, plain) in gpu_runs.iter().zip(plain_runs(&x, starts, 30)) {
        close(run, &plain);
        let (inertia, expected): (f64, f64) = (run.clusters.inertia.iter().sum(), plain.clusters.inertia.iter().sum());
        assert!((inertia - expected).abs() <= 1e-6 * expected, "{inertia} {expected}");
    }
}

#[test]
fn a_sweep_and_a_tree_are_those_of_the_cpu() {
    let Some(device) = gpu() else { return };
    let x = cloud(3000, 5, 7);
    let params = KMeansParams { n_init: 2, max_iter: 50, tol: 1e-4, seed: 3, max_state_bytes: None };
    let (on_gpu, on_cpu) = (points(&x, &device), points(&x, &Device::flex()));
    let sweep = |points: &Points| fit_sweep(points, 6, &params, &|| {}).unwrap();
    for (gpu, cpu) in sweep(&on_gpu).iter().zip(sweep(&on_cpu)) {
        assert!((gpu.inertia - cpu.inertia).abs() <= 1e-5 * cpu.inertia, "{} {}", gpu.inertia, cpu.inertia);
    }
    let tree = |points: &Points| fit_tree(points, 6, &params, &|| {}).unwrap();
    let (gpu, cpu) = (tree(&on_gpu), tree(&on_cpu));
    assert_eq!(
        gpu.nodes.iter().map(|node| node.size).collect::<Vec<_>>(),
        cpu.nodes.iter().map(|node| node.size).collect::<Vec<_>>()
    );
}
