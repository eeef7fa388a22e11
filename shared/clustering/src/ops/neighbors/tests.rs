use burn::tensor::{Device, Int, Tensor};
use proptest::prelude::*;

use super::*;
use crate::ops::cube::tests::gpu;
use crate::ops::{Neighbors, neighbors, reference};

fn tensor(n_features: usize, values: &[f32]) -> Tensor<2> {
    Matrix::from_values(n_features, values.to_vec()).to_tensor(&Device::flex())
}

fn lists(found: Neighbors) -> NeighborLists {
    let ints = |tensor: Tensor<2, Int>| tensor.into_data().iter::<i32>().collect();
    NeighborLists {
        squared_distances: found.squared_distances.into_data().iter::<f32>().collect(),
        indices: ints(found.indices),
    }
}

/// Whole numbers, so that every sum is exact and even ties are equal on both sides.
fn whole_numbers(rows: usize, n_features: usize, seed: usize, n_values: usize) -> Matrix {
    let value = |i: usize| ((i * 7919 + seed * 104_729) % n_values) as f32 - 50.0;
    Matrix::from_values(n_features, (0..rows * n_features).map(value).collect())
}

fn plain(x: &Matrix, rows: &Matrix, k: usize) -> NeighborLists {
    let cpu = Device::flex();
    lists(reference::neighbors(&x.to_tensor(&cpu), &rows.to_tensor(&cpu), k))
}

proptest! {
    #[test]
    fn the_kernel_finds_the_neighbors_that_the_reference_finds(
        d in 1usize..9, n in 1usize..50, n_reference in 1usize..200, k in 1usize..8, seed in 0usize..99,
    ) {
        let (x, rows) = (whole_numbers(n, d, seed, 23), whole_numbers(n_reference, d, seed + 1, 23));
        let k = k.min(n_reference);
        let expected = plain(&x, &rows, k);
        let found = neighbors(&tensor(d, x.values()), &tensor(d, rows.values()), k);
        prop_assert_eq!(&lists(found), &expected);
        prop_assert_eq!(&NeighborIndex::new(&rows, k, &Device::flex()).search(&x), &expected);
    }
}

#[test]
fn badly_scaled_rows_keep_their_small_distances() {
    // Beside totals of 74,215 the expansion |x|² - 2xy + |y|² would lose a distance of 0.01 altogether.
    let (x, rows) = (tensor(2, &[74_215.0, 0.04]), tensor(2, &[74_215.0, 0.14, 74_215.0, 0.04]));
    for found in [neighbors(&x, &rows, 2), reference::neighbors(&x, &rows, 2)] {
        let found = lists(found);
        assert_eq!(found.indices, [1, 0]);
        assert_eq!(found.squared_distances[0], 0.0);
        assert!((found.squared_distances[1] - 0.01).abs() < 1e-6, "{found:?}");
    }
}

#[test]
fn the_gpu_finds_the_neighbors_that_the_reference_finds() {
    let Some(gpu) = gpu() else { return };
    let shapes = [
        (1, 1, 1, 1),
        (5, 3, 2, 2),
        (257, 1500, 5, 6),
        (70, 2500, 4, 21),
        (300, 700, 9, 5),
        (600, 500, 33, 7),
        (40, 300, 200, 3),
        (100, 400, 3, 64),
    ];
    for (n, n_reference, d, k) in shapes {
        // Few values, so that there are ties.
        let (x, rows) = (whole_numbers(n, d, 1, 17), whole_numbers(n_reference, d, 2, 17));
        assert!(has_kernel(&gpu, [n, d], n_reference, k), "{n} x {d} of {n_reference}, k = {k}");
        let expected = plain(&x, &rows, k);
        let found = lists(neighbors(&x.to_tensor(&gpu), &rows.to_tensor(&gpu), k));
        assert!(found == expected, "{n} x {d} of {n_reference}, k = {k}");
        let index = NeighborIndex::new(&rows, k, &gpu);
        assert!(matches!(index.storage, Storage::Device(_)));
        assert!(index.search(&x) == expected);
    }
}

#[test]
fn more_neighbors_than_a_gpu_keeps_are_searched_on_the_cpu() {
    let Some(gpu) = gpu() else { return };
    let (x, rows) = (whole_numbers(20, 3, 1, 101), whole_numbers(90, 3, 2, 101));
    assert!(!has_kernel(&gpu, [20, 3], 90, 65));
    let index = NeighborIndex::new(&rows, 65, &gpu);
    assert!(matches!(index.storage, Storage::Cpu(_)));
    assert_eq!(index.search(&x), plain(&x, &rows, 65));
}

#[test]
fn no_rows_have_no_neighbors() {
    let index = NeighborIndex::new(&whole_numbers(9, 3, 1, 101), 2, &Device::flex());
    assert!(index.search(&Matrix::from_values(3, Vec::new())).indices.is_empty());
}
