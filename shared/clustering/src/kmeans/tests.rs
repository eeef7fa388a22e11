use burn::tensor::Device;
use proptest::prelude::*;

use super::*;
use crate::matrix::Matrix;
use crate::ops::cpu::squared_distance;
use crate::rows::RowStoreBuilder;

const PARAMS: KMeansParams = KMeansParams { n_init: 4, max_iter: 100, tol: 1e-4, seed: 7, max_state_bytes: None };

fn points(n_features: usize, values: Vec<f32>, n_clusters: usize) -> Result<Points, KMeansError> {
    Points::new(Matrix::from_values(n_features, values), n_clusters, &Device::flex())
}

fn sweep(points: &Points, max_k: usize) -> Vec<KMeansFit> {
    fit_sweep(points, max_k, &PARAMS, &|| {}).unwrap()
}

fn tree(points: &Points, max_leaves: usize) -> BisectingTree {
    fit_tree(points, max_leaves, &PARAMS, &|| {}).unwrap()
}

fn rows_of(points: &Points) -> Matrix {
    points.gather(&(0..points.n_samples()).collect::<Vec<_>>()).unwrap()
}

/// Three groups of 40 points each, far apart.
fn three_groups() -> Points {
    let at = |i: usize| {
        let (group, step) = (i % 3, (i / 3) as f32 * 0.01);
        [group as f32 * 100.0 + step, group as f32 * -50.0 - step]
    };
    points(2, (0..120).flat_map(at).collect(), 3).unwrap()
}

fn arbitrary_points() -> impl Strategy<Value = (usize, Vec<f32>)> {
    (1usize..5, 12usize..80).prop_flat_map(|(d, n)| {
        (Just(d), proptest::collection::vec((-1000i32..1000).prop_map(|v| v as f32 / 8.0), n * d))
    })
}

#[test]
fn clear_groups_are_found() {
    let groups = three_groups();
    let fits = sweep(&groups, 3);
    assert_eq!(fits[2].counts, [40, 40, 40]);
    let grown = tree(&groups, 3);
    assert_eq!(grown.n_leaves(), 3);
    assert!((grown.inertia() - fits[2].inertia).abs() < 1e-3 * fits[2].inertia);
}

#[test]
fn too_few_equal_and_infinite_points_are_refused() {
    assert_eq!(points(1, vec![1.0, 2.0], 3).unwrap_err(), KMeansError::TooFewRows { n_samples: 2, n_clusters: 3 });
    assert_eq!(points(2, vec![1.0; 20], 2).unwrap_err(), KMeansError::AllEqual { n_samples: 10 });
    assert_eq!(points(1, vec![1.0, f32::NAN], 1).unwrap_err(), KMeansError::NotFinite { row: 1 });
}

#[test]
fn fewer_distinct_points_than_clusters_still_end() {
    let values = (0..30).map(|i| (i % 3) as f32).collect();
    let few = points(1, values, 8).unwrap();
    let fits = sweep(&few, 8);
    assert!(fits[2..].iter().all(|fit| fit.inertia == 0.0));
    assert_eq!(tree(&few, 8).n_leaves(), 3);
}

#[test]
fn the_same_seed_gives_the_same_bits() {
    let groups = three_groups();
    assert_eq!(sweep(&groups, 6), sweep(&groups, 6));
    assert_eq!(tree(&groups, 6), tree(&groups, 6));
}

#[test]
fn a_tree_of_one_leaf_is_its_root() {
    let groups = three_groups();
    let grown = tree(&groups, 4).prefix(1);
    assert_eq!(grown.nodes.len(), 1);
    assert_eq!(grown.nodes[0].children, None);
    let (nodes, _) = grown.predict(&rows_of(&groups), &Device::flex());
    assert!(nodes.iter().all(|&node| node == 0));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn inertia_never_rises_with_k((d, values) in arbitrary_points()) {
        let Ok(data) = points(d, values, 6) else { return Ok(()) };
        let fits = sweep(&data, 6);
        for pair in fits.windows(2) {
            prop_assert!(pair[1].inertia <= pair[0].inertia * (1.0 + 1e-6));
        }
    }

    /// One k alone makes its restarts and no other run: what comes out is the best of them, to the bit.
    #[test]
    fn one_k_is_the_best_of_its_restarts((d, values) in arbitrary_points(), k in 1usize..7) {
        let Ok(data) = points(d, values, k) else { return Ok(()) };
        let runs = std::sync::atomic::AtomicUsize::new(0);
        let count = || { runs.fetch_add(1, std::sync::atomic::Ordering::Relaxed); };
        let fit = fit_k(&data, k, &PARAMS, &count).unwrap();
        let n_runs = if k == 1 { 1 } else { PARAMS.n_init };
        prop_assert_eq!(runs.into_inner(), n_runs);
        let seedings = seeding::seedings(&data, None, k, &PARAMS).unwrap();
        let alone = |seeds: Matrix| fit_from(&data, seeds, &PARAMS).unwrap().0;
        let restarts: Vec<KMeansFit> = seedings.into_iter().take(n_runs).map(alone).collect();
        prop_assert!(restarts.contains(&fit));
        for restart in restarts {
            prop_assert!(fit.inertia <= restart.inertia * (1.0 + 1e-6), "{} {}", fit.inertia, restart.inertia);
        }
    }

    #[test]
    fn a_fit_is_whole((d, values) in arbitrary_points()) {
        let Ok(data) = points(d, values, 5) else { return Ok(()) };
        for fit in sweep(&data, 5) {
            prop_assert_eq!(fit.counts.iter().sum::<u64>(), data.n_samples() as u64);
            let (labels, distances) = fit.predict(&rows_of(&data), data.device());
            let total: f64 = distances.iter().map(|&x| f64::from(x)).sum();
            prop_assert!((total - fit.inertia).abs() <= 1e-6 * total.max(1e-9));
            for (row, (&label, &distance)) in rows_of(&data).rows().zip(labels.iter().zip(&distances)) {
                let nearest = fit.centroids.rows().map(|c| squared_distance(row, c)).fold(f32::INFINITY, f32::min);
                prop_assert_eq!(distance, nearest);
                prop_assert_eq!(squared_distance(row, fit.centroids.row(label as usize)), nearest);
            }
            for (cluster, &farthest) in fit.farthest.iter().enumerate().filter(|(cluster, _)| fit.counts[*cluster] > 0) {
                let mine = labels.iter().zip(&distances).filter(|(label, _)| **label == cluster as i32);
                let largest = mine.map(|(_, distance)| *distance).fold(f32::NEG_INFINITY, f32::max);
                prop_assert_eq!((labels[farthest], distances[farthest]), (cluster as i32, largest));
            }
        }
    }

    #[test]
    fn a_tree_predicts_the_leaves_it_was_grown_with((d, values) in arbitrary_points(), k in 1usize..6) {
        let Ok(data) = points(d, values, 6) else { return Ok(()) };
        let grown = tree(&data, 6).prefix(k);
        let (nodes, distances) = grown.predict(&rows_of(&data), &Device::flex());
        for (index, node) in grown.nodes.iter().enumerate().filter(|(_, node)| node.children.is_none()) {
            let members = nodes.iter().filter(|&&found| found == index as i32).count();
            prop_assert_eq!(members as u64, node.size);
        }
        let total: f64 = distances.iter().map(|&x| f64::from(x)).sum();
        prop_assert!((total - grown.inertia()).abs() <= 1e-5 * total.max(1e-6));
    }

    #[test]
    fn the_largest_leaf_is_split_first((d, values) in arbitrary_points()) {
        let Ok(data) = points(d, values, 6) else { return Ok(()) };
        let grown = tree(&data, 6);
        for splits in 1..grown.n_leaves() {
            let before = grown.prefix(splits);
            let divisible = before.nodes.iter().filter(|node| node.children.is_none()).map(|node| node.inertia);
            let largest = divisible.fold(0.0, f64::max);
            let parent = grown.nodes.iter().find(|node| node.children == Some((2 * splits - 1, 2 * splits))).unwrap();
            prop_assert_eq!(parent.inertia, largest);
        }
    }
}

/// Points that no method finds a clear answer for.
fn cloud(n: usize, d: usize) -> Vec<f32> {
    (0..n * d).map(|i| ((i * 7919 + i / 7 * 31) % 10_007) as f32 / 99.0 + ((i / d) % 5 * 20) as f32).collect()
}

/// Lloyd's algorithm by its definition: every point against every centroid, sums from the start in every round.
fn plain_lloyd(points: &Points, mut centroids: Matrix, params: &KMeansParams) -> (Matrix, usize) {
    let x = rows_of(points).to_tensor(points.device());
    for round in 1..=params.max_iter {
        let assignment = crate::ops::assign_and_accumulate(&x, &centroids.to_tensor(points.device()));
        let d = centroids.n_features();
        let mean = |(i, sum): (usize, &f64)| (sum / assignment.counts[i / d]) as f32;
        let next = Matrix::from_values(d, assignment.sums.iter().enumerate().map(mean).collect());
        let shift = totals::squared_shift(&centroids, &next);
        centroids = next;
        if shift <= params.tol * points.mean_variance() {
            return (centroids, round);
        }
    }
    (centroids, params.max_iter)
}

#[test]
fn a_run_that_leaves_distances_out_ends_where_plain_lloyd_ends() {
    for (n, d, k) in [(500, 2, 7), (5000, 5, 20), (20_000, 8, 33)] {
        let data = points(d, cloud(n, d), k).unwrap();
        let start = data.gather(&(0..k).map(|i| i * (n / k)).collect::<Vec<_>>()).unwrap();
        let params = KMeansParams { tol: 0.0, max_iter: 40, ..PARAMS };
        let (centroids, rounds) = plain_lloyd(&data, start.clone(), &params);
        let (fit, labels) = fit_from(&data, start, &params).unwrap();
        let (expected, _) = fit.predict(&rows_of(&data), data.device());
        assert!(labels.iter().map(|&label| i32::from(label)).eq(expected));
        assert_eq!(fit.n_iter, rounds, "n = {n}");
        let largest = centroids.values().iter().fold(0f32, |largest, value| largest.max(value.abs()));
        for (a, b) in fit.centroids.values().iter().zip(centroids.values()) {
            assert!((a - b).abs() <= largest * 1e-6, "n = {n}: {a} {b}");
        }
    }
}

#[test]
fn runs_together_are_the_runs_alone() {
    let data = points(3, cloud(70_000, 3), 9).unwrap();
    let seeds = seeding::seedings(&data, None, 9, &PARAMS).unwrap();
    let start =
        |k: usize| run::Start { centroids: seeds[0].first_rows(k), members: None, tolerance: 1e-3, keep_labels: true };
    let limits = |max_state_bytes| run::Limits { max_iter: 30, max_state_bytes };
    let run = |starts, bytes| lloyd::lloyd(&data, starts, limits(bytes), &|| {}).unwrap();
    let alone: Vec<run::Run> = (1..10).flat_map(|k| run(vec![start(k)], None)).collect();
    assert_eq!(run((1..10).map(start).collect(), None), alone);
    assert_eq!(run((1..10).map(start).collect(), Some(70_000 * cpu::STATE_BYTES * 2)), alone);
}

#[test]
fn points_in_a_file_give_what_points_in_memory_give() {
    let values = cloud(30_000, 4);
    let mut builder = RowStoreBuilder::new(4, Some(1000));
    builder.extend(&values).unwrap();
    let in_file = Points::from_rows(builder.finish().unwrap(), 6, &Device::flex()).unwrap();
    assert!(in_file.rows().is_spilled());
    let in_memory = points(4, values, 6).unwrap();
    assert_eq!(in_file.mean_variance(), in_memory.mean_variance());
    assert_eq!(sweep(&in_file, 6), sweep(&in_memory, 6));
    assert_eq!(tree(&in_file, 6), tree(&in_memory, 6));
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let data = points(4, cloud(40_000, 4), 6).unwrap();
    let in_pool = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| (sweep(&data, 6), tree(&data, 6)))
    };
    // With one thread a pass is shared, with sixteen the runs go side by side.
    assert_eq!(in_pool(1), in_pool(16));
}

#[test]
fn more_clusters_than_labels_can_tell_apart_are_refused() {
    let n = MOST_CLUSTERS + 2;
    let values: Vec<f32> = (0..n).map(|i| i as f32).collect();
    let refused = KMeansError::TooManyClusters { n_clusters: MOST_CLUSTERS + 1 };
    assert_eq!(points(1, values.clone(), MOST_CLUSTERS + 1).unwrap_err(), refused);
    let data = points(1, values.clone(), 1).unwrap();
    let start = Matrix::from_values(1, values[..=MOST_CLUSTERS].to_vec());
    assert_eq!(fit_from(&data, start, &PARAMS).unwrap_err(), refused);
    let start = Matrix::from_values(1, values[..MOST_CLUSTERS].to_vec());
    let (fit, labels) = fit_from(&data, start, &KMeansParams { max_iter: 0, ..PARAMS }).unwrap();
    assert_eq!((fit.counts.len(), usize::from(labels[MOST_CLUSTERS - 1])), (MOST_CLUSTERS, MOST_CLUSTERS - 1));
}

/// How far the farthest centroid is from the mean of its points, in units of the largest of these.
fn distance_from_means(data: &Points, fit: &KMeansFit, labels: &[u16]) -> f64 {
    let rows = rows_of(data);
    let of_cluster = |cluster: usize| {
        let mine = || rows.rows().zip(labels).filter(move |(_, label)| usize::from(**label) == cluster);
        let n = mine().count().max(1) as f64;
        let largest = mine().flat_map(|(row, _)| row).fold(0f64, |largest, x| largest.max(f64::from(x.abs())));
        let distance = |(j, center): (usize, &f32)| {
            let mean = mine().map(|(row, _)| f64::from(row[j])).sum::<f64>() / n;
            (mean - f64::from(*center)).abs() / largest.max(f64::MIN_POSITIVE)
        };
        let has_points = mine().next().is_some();
        let distances = fit.centroids.row(cluster).iter().enumerate().map(distance);
        if has_points { distances.fold(0.0, f64::max) } else { 0.0 }
    };
    (0..fit.counts.len()).map(of_cluster).fold(0.0, f64::max)
}

/// A point of 1e17 is at first in the cluster of the small ones; beside it, their sum cannot be told from 0.
#[test]
fn an_enormous_point_that_leaves_does_not_take_the_others_along() {
    let data = points(2, vec![1.0, 1.0, 2.0, 2.0, 3.0, 1.0, 1e17, 0.0, 6e16, 5e16], 2).unwrap();
    let start = Matrix::from_values(2, vec![5e16, 0.0, 6e16, 5e16]);
    let (fit, labels) = fit_from(&data, start, &KMeansParams { tol: 0.0, ..PARAMS }).unwrap();
    assert_eq!(labels, [0, 0, 0, 1, 1]);
    assert_eq!(fit.centroids.row(0), [2.0, (4.0 / 3.0) as f32]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whatever else there is, and wherever it was on the way.
    #[test]
    fn centroids_are_the_means_of_their_points(
        values in proptest::collection::vec((0i32..18, -9f32..9.0), 24..80), starts in proptest::collection::vec(0usize..12, 2..6),
    ) {
        let values: Vec<f32> = values.iter().map(|(power, x)| x * 10f32.powi(power / 9 * 9 + power % 9 / 6 * 8)).collect();
        let Ok(data) = points(2, values[..values.len() / 2 * 2].to_vec(), starts.len()) else { return Ok(()) };
        let start = data.gather(&starts).unwrap();
        let (fit, labels) = fit_from(&data, start, &KMeansParams { tol: 0.0, ..PARAMS }).unwrap();
        prop_assume!(fit.n_iter < PARAMS.max_iter);
        let distance = distance_from_means(&data, &fit, &labels);
        prop_assert!(distance < 1e-5, "{distance}");
    }
}

/// Rows of a few values, with more clusters than values: clusters are empty again and again.
#[test]
fn empty_clusters_are_filled_alike_by_any_number_of_threads() {
    let values: Vec<f32> = (0..30_000).map(|i| (i * 7919 % 15 * (i % 3 + 1)) as f32).collect();
    let in_pool = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let data = points(1, values.clone(), 40).unwrap();
            let start = Matrix::from_values(1, vec![-1.0; 40]);
            fit_from(&data, start, &PARAMS).unwrap()
        })
    };
    let (fit, labels) = in_pool(1);
    assert_eq!((fit.clone(), labels), in_pool(16));
    let distinct = values.iter().map(|x| x.to_bits()).collect::<std::collections::BTreeSet<u32>>().len();
    assert_eq!(fit.counts.iter().filter(|&&count| count > 0).count(), distinct.min(40), "every value has a cluster");
    assert_eq!(fit.inertia, 0.0);
}

#[test]
fn seeds_of_many_points_come_from_all_over_them() {
    let n = 300_000;
    let data = points(1, (0..n).map(|i| (i / 100_000 * 1000) as f32).collect(), 3).unwrap();
    let seeds = seeding::seedings(&data, None, 3, &PARAMS).unwrap();
    for seeds in seeds {
        let mut found = seeds.values().to_vec();
        found.sort_by(f32::total_cmp);
        assert_eq!(found, [0.0, 1000.0, 2000.0]);
    }
}
