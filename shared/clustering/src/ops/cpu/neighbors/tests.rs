use proptest::prelude::*;

use super::super::lanes::Portable;
use super::super::{fused, squared_distance};
use super::*;

fn rows(values: &[f32], n_features: usize) -> Rows<'_> {
    Rows { values, n_features }
}

/// Values that repeat after a while and do not lie on a grid.
fn scattered(count: usize, step: usize, scale: f32) -> Vec<f32> {
    (0..count).map(|i| ((i * step) % 1013) as f32 / 17.0 * scale - 20.0).collect()
}

/// All distances, sorted with their indices.
fn by_definition(x: Rows<'_>, reference: Rows<'_>, k: usize) -> (Vec<f32>, Vec<i32>) {
    let of_row = |row: usize| {
        let to = |index: usize| (squared_distance(x.row(row), reference.row(index)).min(f32::MAX), index as i32);
        let mut all: Vec<(f32, i32)> = (0..reference.len()).map(to).collect();
        all.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        all.truncate(k);
        all
    };
    (0..x.len()).flat_map(of_row).unzip()
}

fn search(x: Rows<'_>, reference: Rows<'_>, k: usize) -> (Vec<f32>, Vec<i32>) {
    neighbors(x, &BoxTree::new(reference), k)
}

#[test]
fn neighbors_are_those_of_the_definition_for_every_shape() {
    for d in [1, 2, 4, 5, 9, 16, 17, 33, 70] {
        for n_reference in [1, 15, 64, 65, 1100, 3000] {
            for n in [1, 31, 33, 200] {
                let (x, reference) = (scattered(n * d, 7919, 1.0), scattered(n_reference * d, 7907, 1.1));
                let (x, reference) = (rows(&x, d), rows(&reference, d));
                for k in [1, 5, n_reference.min(21)].into_iter().filter(|k| *k <= n_reference) {
                    let expected = by_definition(x, reference, k);
                    assert_eq!(search(x, reference, k), expected, "n = {n} of {n_reference}, d = {d}, k = {k}");
                }
            }
        }
    }
}

#[test]
fn of_rows_that_are_equal_the_first_are_found() {
    // Five values, each many times; all boxes are points or lines.
    let values: Vec<f32> = (0..20_000).map(|i| (i * 7919 % 5) as f32).collect();
    let reference = rows(&values, 1);
    let (distances, indices) = search(rows(&[2.0, 9.0], 1), reference, 7);
    let first = |wanted: f32| (0..20_000i32).filter(|&i| values[i as usize] == wanted).take(7).collect::<Vec<_>>();
    assert_eq!(indices, [first(2.0), first(4.0)].concat());
    assert_eq!(distances, [[0.0; 7], [25.0; 7]].concat());
}

#[test]
fn what_is_beyond_float32_is_far_away() {
    let (x, reference) = ([0.0, f32::MAX], [-f32::MAX, 1e30, 3.0, f32::MAX]);
    let found = search(rows(&x, 1), rows(&reference, 1), 4);
    assert_eq!(found.0, [9.0, f32::MAX, f32::MAX, f32::MAX, 0.0, f32::MAX, f32::MAX, f32::MAX]);
    assert_eq!(found.1, [2, 0, 1, 3, 3, 0, 1, 2]);
}

#[test]
fn every_instruction_set_finds_the_same_neighbors() {
    // Without fused multiply-add the portable instructions, which round twice, are all there is: nothing to compare.
    if !fused() {
        return;
    }
    for d in [3, 9, 40] {
        let (values, k) = (scattered(5000 * d, 7919, 1.0), 6);
        let (x, tree) = (rows(&values[..BATCH * d], d), BoxTree::new(rows(&values, d)));
        let (mut distances, mut indices) = (vec![f32::INFINITY; BATCH * k], vec![NO_ROW; BATCH * k]);
        // SAFETY: arrays need no instruction in particular.
        unsafe { search_body::<Portable<true>>(x, &tree, k, &mut distances, &mut indices) };
        assert_eq!((distances, indices), neighbors(x, &tree, k));
    }
}

#[test]
fn one_thread_and_many_find_the_same_neighbors() {
    let values = scattered(20_000 * 3, 31, 1.0);
    let in_pool = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| search(rows(&values, 3), rows(&values, 3), 5))
    };
    assert_eq!(in_pool(1), in_pool(4));
}

#[test]
fn a_row_has_the_same_neighbors_alone_and_in_a_batch() {
    let values = scattered(3000 * 5, 7919, 1.0);
    let (x, tree) = (rows(&values, 5), BoxTree::new(rows(&values, 5)));
    let (distances, indices) = neighbors(x, &tree, 4);
    for row in (0..x.len()).step_by(7) {
        let alone = neighbors(rows(x.row(row), 5), &tree, 4);
        assert_eq!((&alone.0[..], &alone.1[..]), (&distances[row * 4..][..4], &indices[row * 4..][..4]));
    }
}

/// Few values, so that there are ties and equal rows, and many, so that there are none; some far from the others, and
/// small ones beside large ones.
fn points() -> impl Strategy<Value = (usize, Vec<f32>, Vec<f32>)> {
    (1usize..24, 1usize..90, 1usize..600, 0usize..4).prop_flat_map(|(d, n, n_reference, kind)| {
        let value = match kind {
            0 => (-3i32..3).prop_map(|value| value as f32).boxed(),
            1 => (-20f32..20.0).boxed(),
            2 => prop_oneof![9 => -1f32..1.0, 1 => -1e6f32..1e6].boxed(),
            _ => prop_oneof![-1e-20f32..1e-20, Just(74_215.0), Just(74_215.01), -1e19f32..1e19].boxed(),
        };
        let values = move |rows: usize| proptest::collection::vec(value.clone(), rows * d);
        (Just(d), values(n), values(n_reference))
    })
}

proptest! {
    #[test]
    fn boxes_leave_out_only_what_is_not_among_the_nearest((d, x, reference) in points(), k in 1usize..12) {
        let (x, reference) = (rows(&x, d), rows(&reference, d));
        let k = k.min(reference.len());
        prop_assert_eq!(search(x, reference, k), by_definition(x, reference, k));
    }

    #[test]
    fn training_rows_are_their_own_nearest_or_equal_to_it((d, x, _) in points()) {
        let x = rows(&x, d);
        let (distances, indices) = search(x, x, 1);
        for row in 0..x.len() {
            prop_assert_eq!(distances[row], 0.0);
            prop_assert!(indices[row] as usize <= row);
        }
    }
}
