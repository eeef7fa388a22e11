use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::score::ForestScores;
use super::*;
use crate::Scores;
use crate::conformance::gpu;

fn fit(params: &IsolationForest, x: &Matrix, seed: u64) -> Result<Forest, FitError> {
    let device = Device::flex();
    params.fit(x, &Context { device: &device, seed, max_state_bytes: None, on_step: &|| {} })
}

fn grown(n_trees: usize, sample: usize, x: &Matrix) -> Forest {
    let forest = fit(&IsolationForest { n_trees, sample }, x, 7).unwrap();
    forest.check(x.n_features()).unwrap();
    forest
}

fn scores(forest: &Forest, x: &Matrix) -> Vec<f32> {
    forest.on_device(&Device::flex()).score(x).values
}

/// Sums of four uniform numbers, with a few far away.
fn normal_rows(n_samples: usize, n_features: usize, seed: u64) -> Matrix {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut value = |_| (0..4).map(|_| rng.random::<f32>() - 0.5).sum::<f32>();
    Matrix::from_values(n_features, (0..n_samples * n_features).map(&mut value).collect())
}

/// Rows with ties and constant features, as they are.
fn rows() -> impl Strategy<Value = Matrix> {
    (1usize..12, 2usize..90).prop_flat_map(|(d, n)| {
        let values = proptest::collection::vec(prop_oneof![(-3i32..4).prop_map(|v| v as f32), -1e3f32..1e3], n * d);
        (values, proptest::collection::vec(any::<bool>(), d)).prop_map(move |(mut values, is_constant)| {
            for (value, is_constant) in values.iter_mut().zip(is_constant.iter().cycle()) {
                *value = if *is_constant { 2.5 } else { *value };
            }
            Matrix::from_values(d, values)
        })
    })
}

/// The leaf that a row comes to, and how many cuts lie above it.
fn leaf_of(forest: &Forest, tree: usize, row: &[f32]) -> (usize, usize) {
    let (mut node, mut cuts) = (0, 0);
    for _ in 0..forest.depth() {
        let threshold = forest.thresholds.row(tree)[node];
        cuts += usize::from(threshold != f32::MAX);
        let goes_right = row[forest.features.row(tree)[node] as usize] > threshold;
        node = 2 * node + 1 + usize::from(goes_right);
    }
    (node + 1 - (1 << forest.depth()), cuts)
}

/// The score as the paper writes it, trees from the last to the first.
fn naive_score(forest: &Forest, row: &[f32]) -> f32 {
    let length = |tree: usize| forest.path_lengths.row(tree)[leaf_of(forest, tree, row).0];
    let sum: f32 = (0..forest.n_trees()).rev().map(length).sum();
    (-f64::from(sum) / (forest.n_trees() as f64 * unsuccessful_search(forest.sample))).exp2() as f32
}

proptest! {
    #[test]
    fn rows_go_down_as_they_do_one_by_one(x in rows(), n_trees in 1usize..40, sample in 2usize..120) {
        let Ok(forest) = fit(&IsolationForest { n_trees, sample }, &x, 1) else { return Ok(()) };
        prop_assert_eq!(forest.check(x.n_features()), Ok(()));
        let batch = scores(&forest, &x);
        let tensors = ForestScores::in_tensors(&forest, &Device::flex()).score(&x);
        prop_assert_eq!(&tensors, &Scores::new(batch.clone()));
        for (row, score) in x.rows().zip(batch) {
            prop_assert_eq!(score, naive_score(&forest, row));
            prop_assert_eq!(scores(&forest, &Matrix::from_values(x.n_features(), row.to_vec())), [score]);
            prop_assert!((0.0..=1.0).contains(&score));
        }
    }

    #[test]
    fn a_path_is_as_long_as_its_cuts_and_what_its_leaf_would_have_added(x in rows()) {
        // Trees that are grown on all rows: they can be counted again.
        let n = x.n_samples();
        let Ok(forest) = fit(&IsolationForest { n_trees: 5, sample: 128 }, &x, 1) else { return Ok(()) };
        for tree in 0..5 {
            let leaves: Vec<(usize, usize)> = x.rows().map(|row| leaf_of(&forest, tree, row)).collect();
            for (row, &(leaf, cuts)) in x.rows().zip(&leaves) {
                let together: Vec<usize> = (0..n).filter(|&other| leaves[other].0 == leaf).collect();
                let length = cuts as f64 + unsuccessful_search(together.len());
                prop_assert!((f64::from(forest.path_lengths.row(tree)[leaf]) - length).abs() < 1e-4);
                // Whoever is not alone at the end could not be told apart, or there was no level left.
                prop_assert!(cuts == forest.depth() || together.iter().all(|&other| x.row(other) == row));
            }
        }
    }

    #[test]
    fn a_cut_leaves_rows_on_both_sides(x in rows()) {
        let Ok(forest) = fit(&IsolationForest { n_trees: 3, sample: 128 }, &x, 2) else { return Ok(()) };
        for (tree, leaves) in forest.path_lengths.values().chunks(1 << forest.depth()).enumerate() {
            let mut is_reached = vec![false; 2 * leaves.len()]; // nodes from 1 on, then leaves
            for row in x.rows() {
                let mut node = leaf_of(&forest, tree, row).0 + leaves.len();
                while node > 0 {
                    is_reached[node] = true;
                    node /= 2;
                }
            }
            let thresholds = forest.thresholds.row(tree).iter().enumerate().filter(|(_, threshold)| **threshold != f32::MAX);
            for (node, _) in thresholds {
                prop_assert!(is_reached[2 * node + 2] && is_reached[2 * node + 3]);
            }
        }
    }
}

#[test]
fn what_is_far_from_everything_is_anomalous() {
    let mut values = normal_rows(2000, 4, 3).into_values();
    values.extend([9.0, -9.0, 9.0, 9.0]);
    let x = Matrix::from_values(4, values);
    let scores = scores(&grown(100, 256, &x), &x);
    let (far, others) = scores.split_last().unwrap();
    assert!(*far > 0.75, "{far}");
    assert!(others.iter().all(|score| score < far));
    assert!(others.iter().sum::<f32>() / 2000.0 < 0.5);
}

#[test]
fn constants_of_the_paper() {
    assert_eq!([0, 1, 2].map(unsuccessful_search), [0.0, 0.0, 1.0]);
    // c(256) of the paper's figures; H(255) by itself: 6.1243...
    let harmonic: f64 = (1..256).map(|i| 1.0 / f64::from(i)).sum();
    assert!((unsuccessful_search(256) - (2.0 * harmonic - 2.0 * 255.0 / 256.0)).abs() < 5e-3);
    assert_eq!([2, 3, 4, 255, 256, 257].map(depth), [1, 2, 2, 8, 8, 9]);
}

#[test]
fn only_features_that_vary_are_looked_at_and_all_of_them() {
    let mut x = normal_rows(300, 40, 5).into_values();
    x.chunks_exact_mut(40).for_each(|row| row[..30].fill(1.0));
    let forest = grown(20, 256, &Matrix::from_values(40, x));
    let nodes = forest.features.values().iter().zip(forest.thresholds.values());
    let mut counts = [0; 40];
    nodes.filter(|(_, threshold)| **threshold != f32::MAX).for_each(|(feature, _)| counts[*feature as usize] += 1);
    assert!(counts[..30].iter().all(|count| *count == 0) && counts[30..].iter().all(|count| *count > 50), "{counts:?}");
}

#[test]
fn one_thread_grows_and_scores_as_many_do() {
    let x = normal_rows(5000, 7, 1);
    let on_threads = |n: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap();
        pool.install(|| {
            let forest = grown(30, 100, &x);
            let scores = scores(&forest, &x);
            (forest, scores)
        })
    };
    assert_eq!(on_threads(1), on_threads(4));
    let params = IsolationForest::default();
    assert_eq!(fit(&params, &x, 1), fit(&params, &x, 1));
    assert_ne!(fit(&params, &x, 1), fit(&params, &x, 2));
}

#[test]
fn steps_are_as_many_as_announced() {
    let steps = std::sync::atomic::AtomicU64::new(0);
    let on_step = || {
        steps.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    };
    let params = IsolationForest { n_trees: 13, sample: 16 };
    let context = Context { device: &Device::flex(), seed: 0, max_state_bytes: None, on_step: &on_step };
    params.fit(&normal_rows(20, 2, 1), &context).unwrap();
    assert_eq!(steps.into_inner(), params.n_steps());
}

#[test]
fn a_forest_that_was_saved_is_the_same() {
    let x = normal_rows(500, 5, 1);
    let forest = grown(10, 64, &x);
    let mut read: Forest = serde_json::from_str(&serde_json::to_string(&forest).unwrap()).unwrap();
    assert_eq!(read, forest);
    assert_eq!(scores(&read, &x), scores(&forest, &x));
    // Arrays that are kept elsewhere leave their shapes, which is not enough to score with.
    assert_eq!(
        read.arrays().iter().map(|(name, _)| *name).collect::<Vec<_>>(),
        ["features", "thresholds", "path_lengths"]
    );
    for (_, array) in read.arrays() {
        match array {
            ArrayMut::F32(array) => drop(array.take()),
            ArrayMut::I32(array) => drop(array.take()),
        }
    }
    assert!(read.check(5).unwrap_err().contains("nodes"));
}

#[test]
fn damaged_forests_are_refused() {
    let x = normal_rows(500, 5, 1);
    let forest = grown(10, 64, &x);
    let refused = |change: &dyn Fn(&mut Forest), why: &str| {
        let mut damaged = forest.clone();
        change(&mut damaged);
        let error = damaged.check(5).unwrap_err();
        assert!(error.contains(why), "{error}");
    };
    let with = |array: &Array<f32>, value: f32| {
        let mut values = array.values().to_vec();
        values[100] = value;
        Array::new(array.shape(), values)
    };
    refused(&|damaged| damaged.sample = 1, "sub-sample");
    refused(&|damaged| damaged.sample = usize::MAX, "sub-sample");
    refused(&|damaged| damaged.sample = 65, "nodes");
    refused(&|damaged| damaged.path_lengths = Array::default(), "trees");
    refused(&|damaged| damaged.thresholds = Array::default(), "nodes");
    refused(&|damaged| damaged.thresholds = with(&damaged.thresholds, f32::NAN), "threshold");
    refused(&|damaged| damaged.path_lengths = with(&damaged.path_lengths, f32::INFINITY), "path length");
    refused(&|damaged| damaged.path_lengths = with(&damaged.path_lengths, -1.0), "path length");
    assert!(forest.check(4).unwrap_err().contains("feature"));
    let mut negative = forest.clone();
    negative.features = Array::new([10, 63], vec![-1; 630]);
    assert!(negative.check(5).unwrap_err().contains("feature"));
}

#[test]
fn parameters_are_checked() {
    let check = |n_trees, sample| IsolationForest { n_trees, sample }.check();
    assert_eq!(IsolationForest::default().check(), Ok(()));
    assert_eq!(check(10_000, 1024), Ok(()));
    assert_eq!(check(256, 65_536), Ok(()));
    assert_eq!(check(0, 256), Err("n_trees must be between 1 and 10000".into()));
    assert_eq!(check(10_001, 256), Err("n_trees must be between 1 and 10000".into()));
    assert_eq!(check(100, 1), Err("sample must be between 2 and 65536".into()));
    assert_eq!(check(100, 65_537), Err("sample must be between 2 and 65536".into()));
    assert!(check(257, 65_536).unwrap_err().starts_with("n_trees times sample"));
    assert!(check(10_000, 1025).unwrap_err().starts_with("n_trees times sample"));
    assert!(serde_json::from_str::<IsolationForest>(r#"{"n_tree": 3}"#).is_err());
    assert_eq!(
        serde_json::from_str::<IsolationForest>(r#"{"sample": 3}"#).unwrap(),
        IsolationForest { n_trees: 100, sample: 3 }
    );
}

#[test]
fn rows_that_nothing_can_be_learned_from_are_refused() {
    let params = IsolationForest::default();
    let refused = |n: usize| fit(&params, &Matrix::from_values(2, vec![1.0; 2 * n]), 1).unwrap_err();
    assert!(matches!(refused(1), FitError::TooFewRows { n_samples: 1, needed: 2, .. }));
    assert!(matches!(refused(0), FitError::TooFewRows { n_samples: 0, .. }));
    assert_eq!(refused(3), FitError::AllEqual { n_samples: 3 });
}

#[test]
fn few_rows_wide_rows_equal_rows_and_the_greatest_numbers() {
    let two = Matrix::from_values(1, vec![f32::MIN, f32::MAX]);
    assert_eq!(scores(&grown(100, 256, &two), &two), [0.5, 0.5]);
    assert!(scores(&grown(3, 2, &two), &Matrix::from_values(1, vec![])).is_empty());
    // Neighbours in float32: no threshold lies between them but the lower one.
    let close = Matrix::from_values(1, vec![1.0, 1.0f32.next_up()]);
    assert_eq!(scores(&grown(100, 256, &close), &close), [0.5, 0.5]);
    let wide = normal_rows(60, 1500, 2);
    assert!(scores(&grown(100, 256, &wide), &wide).iter().all(|score| (0.3..0.7).contains(score)));
    // One other row among so many that most sub-samples have it not.
    let mut rare = vec![0.0; 20_000];
    rare[77] = 1.0;
    let rare = Matrix::from_values(1, rare);
    let scores = scores(&grown(200, 256, &rare), &rare);
    assert!(scores[77] >= scores[0]);
}

#[test]
fn sums_of_the_largest_forest_are_exact() {
    let x = normal_rows(3000, 3, 4);
    let forest = grown(10_000, 1024, &x);
    let few = x.first_rows(20);
    for (row, score) in few.rows().zip(scores(&forest, &few)) {
        assert_eq!(score, naive_score(&forest, row));
    }
}

#[test]
fn a_gpu_scores_as_the_cpu_does() {
    let Some(device) = gpu() else { return };
    // One has more pairs of row and tree than a pass.
    for (n_samples, n_features, n_trees, sample) in
        [(5, 1, 1, 2), (700, 6, 100, 256), (3001, 33, 17, 1000), (9001, 3, 500, 9)]
    {
        let x = normal_rows(n_samples, n_features, 6);
        let forest = grown(n_trees, sample, &x);
        assert_eq!(forest.on_device(&device).score(&x).values, scores(&forest, &x));
    }
}
