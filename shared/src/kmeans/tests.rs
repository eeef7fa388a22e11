use burn::tensor::Device;
use proptest::prelude::*;

use super::*;
use crate::ops;

const PARAMS: KMeansParams = KMeansParams { n_init: 4, max_iter: 100, tol: 1e-4, seed: 7 };

fn points(n_features: usize, values: Vec<f32>, n_clusters: usize) -> Result<Points, KMeansError> {
    Points::new(Matrix::from_values(n_features, values), n_clusters, &Device::flex())
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
    let fits = fit_sweep(&groups, 3, &PARAMS, &|| {});
    assert_eq!(fits[2].counts, [40, 40, 40]);
    let tree = fit_tree(&groups, 3, &PARAMS, &|| {});
    assert_eq!(tree.n_leaves(), 3);
    assert!((tree.inertia() - fits[2].inertia).abs() < 1e-3 * fits[2].inertia);
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
    let fits = fit_sweep(&few, 8, &PARAMS, &|| {});
    assert!(fits[2..].iter().all(|fit| fit.inertia == 0.0));
    assert_eq!(fit_tree(&few, 8, &PARAMS, &|| {}).n_leaves(), 3);
}

#[test]
fn the_same_seed_gives_the_same_bits() {
    let groups = three_groups();
    assert_eq!(fit_sweep(&groups, 6, &PARAMS, &|| {}), fit_sweep(&groups, 6, &PARAMS, &|| {}));
    assert_eq!(fit_tree(&groups, 6, &PARAMS, &|| {}), fit_tree(&groups, 6, &PARAMS, &|| {}));
}

#[test]
fn a_tree_of_one_leaf_is_its_root() {
    let groups = three_groups();
    let tree = fit_tree(&groups, 4, &PARAMS, &|| {}).prefix(1);
    assert_eq!(tree.nodes.len(), 1);
    assert_eq!(tree.nodes[0].children, None);
    let (nodes, _) = tree.predict(&groups.tensor, &Device::flex());
    assert!(nodes.iter().all(|&node| node == 0));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn inertia_never_rises_with_k((d, values) in arbitrary_points()) {
        let Ok(data) = points(d, values, 6) else { return Ok(()) };
        let fits = fit_sweep(&data, 6, &PARAMS, &|| {});
        for pair in fits.windows(2) {
            prop_assert!(pair[1].inertia <= pair[0].inertia * (1.0 + 1e-6));
        }
    }

    #[test]
    fn a_fit_is_whole((d, values) in arbitrary_points()) {
        let Ok(data) = points(d, values, 5) else { return Ok(()) };
        for fit in fit_sweep(&data, 5, &PARAMS, &|| {}) {
            prop_assert_eq!(fit.counts.iter().sum::<u64>(), data.n_samples() as u64);
            let total: f64 = fit.squared_distances.iter().map(|&x| f64::from(x)).sum();
            prop_assert!((total - fit.inertia).abs() <= 1e-6 * total.max(1e-9));
            for (row, (&label, &distance)) in data.matrix.rows().zip(fit.labels.iter().zip(&fit.squared_distances)) {
                let nearest = fit.centroids.rows().map(|c| ops::simd::squared_distance(row, c)).fold(f32::INFINITY, f32::min);
                prop_assert_eq!(distance, nearest);
                prop_assert_eq!(ops::simd::squared_distance(row, fit.centroids.row(label as usize)), nearest);
            }
        }
    }

    #[test]
    fn a_tree_predicts_the_leaves_it_was_grown_with((d, values) in arbitrary_points(), k in 1usize..6) {
        let Ok(data) = points(d, values, 6) else { return Ok(()) };
        let tree = fit_tree(&data, 6, &PARAMS, &|| {}).prefix(k);
        let (nodes, distances) = tree.predict(&data.tensor, &Device::flex());
        for (index, node) in tree.nodes.iter().enumerate().filter(|(_, node)| node.children.is_none()) {
            let members = nodes.iter().filter(|&&found| found == index as i32).count();
            prop_assert_eq!(members as u64, node.size);
        }
        let total: f64 = distances.iter().map(|&x| f64::from(x)).sum();
        prop_assert!((total - tree.inertia()).abs() <= 1e-5 * total.max(1e-6));
    }

    #[test]
    fn the_largest_leaf_is_split_first((d, values) in arbitrary_points()) {
        let Ok(data) = points(d, values, 6) else { return Ok(()) };
        let tree = fit_tree(&data, 6, &PARAMS, &|| {});
        for splits in 1..tree.n_leaves() {
            let before = tree.prefix(splits);
            let divisible = before.nodes.iter().filter(|node| node.children.is_none()).map(|node| node.inertia);
            let largest = divisible.fold(0.0, f64::max);
            let parent = tree.nodes.iter().find(|node| node.children == Some((2 * splits - 1, 2 * splits))).unwrap();
            prop_assert_eq!(parent.inertia, largest);
        }
    }
}
