//! What the tests of the detectors by nearest neighbours share, and tests of what these share.

use burn::tensor::Device;
use proptest::prelude::*;

use super::*;
use crate::conformance::scores;
use crate::{Fit, Learned};

/// Twenty rows: three of them equal, the last one far away.
pub(in super::super) fn twenty_rows() -> Matrix {
    let mut rows: Vec<[f32; 2]> =
        (0..20).map(|i| [(i * 37 % 29) as f32 / 4.0, (i * i * 11 % 31) as f32 / 8.0]).collect();
    (rows[17], rows[18], rows[19]) = (rows[3], rows[3], [20.0, -15.0]);
    Matrix::from_values(2, rows.concat())
}

/// Rows on a coarse grid, some of them equal, or anywhere.
pub(in super::super) fn rows() -> impl Strategy<Value = Matrix> {
    (1usize..6, 8usize..80, any::<bool>()).prop_flat_map(|(d, n, on_grid)| {
        let value = if on_grid { (-4i32..4).prop_map(|value| value as f32).boxed() } else { (-9f32..9.0).boxed() };
        let matrix = move |values: Vec<f32>| Matrix::from_values(d, values);
        proptest::collection::vec(value, n * d).prop_map(matrix).prop_filter("rows that are not all equal", differ)
    })
}

fn differ(x: &Matrix) -> bool {
    x.rows().any(|row| row != x.row(0))
}

pub(in super::super) fn fit<P: Fit>(parameters: &P, x: &Matrix, seed: u64) -> Result<P::Learned, FitError> {
    let device = Device::flex();
    parameters.fit(x, &Context { device: &device, seed, max_state_bytes: None, on_step: &|| {} })
}

pub(in super::super) fn assert_same_scores_alone_and_loaded<L: Learned>(model: &L, x: &Matrix) {
    let loaded: L = serde_json::from_str(&serde_json::to_string(model).unwrap()).unwrap();
    assert_eq!(&loaded, model);
    assert_eq!(loaded.check(x.n_features()), Ok(()));
    let alone = |row: &[f32]| scores(&loaded, &Matrix::from_values(x.n_features(), row.to_vec()))[0];
    assert_eq!(x.rows().map(alone).collect::<Vec<f32>>(), scores(model, x));
}

pub(in super::super) fn assert_close(found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len());
    for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert!((found - expected).abs() <= 2e-6 * expected.abs(), "row {index}: {found} instead of {expected}");
    }
}

/// Euclidean distances and indices of the nearest others of each row, in float64, by the definition.
pub(in super::super) fn others(x: &Matrix, k: usize) -> Vec<Vec<(f64, usize)>> {
    let distance = |a: usize, b: usize| {
        let square = |(a, b): (&f32, &f32)| (f64::from(*a) - f64::from(*b)).powi(2);
        x.row(a).iter().zip(x.row(b)).map(square).sum::<f64>().sqrt()
    };
    let of = |row: usize| {
        let others = (0..x.n_samples()).filter(|&other| other != row);
        let mut all: Vec<(f64, usize)> = others.map(|other| (distance(row, other), other)).collect();
        all.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        all.truncate(k);
        all
    };
    (0..x.n_samples()).map(of).collect()
}

fn sample(x: &Matrix, max_rows: usize, seed: u64) -> Reference {
    let device = Device::flex();
    let context = Context { device: &device, seed, max_state_bytes: None, on_step: &|| {} };
    reference(x, 2, max_rows, &context).unwrap()
}

#[test]
fn a_sample_is_of_different_rows_in_their_order_and_the_seeds() {
    let x = Matrix::from_values(1, (0..1000).map(|i| i as f32).collect());
    let kept = sample(&x, 77, 1);
    assert!(kept.rows.has_shape(&[77, 1]));
    assert!(kept.rows.values().windows(2).all(|pair| pair[0] < pair[1]));
    let places: Vec<f32> = kept.places.as_ref().unwrap().values().iter().map(|place| *place as f32).collect();
    assert_eq!(kept.rows.values(), places, "a row's place is its value");
    assert_eq!(kept, sample(&x, 77, 1));
    assert_ne!(kept, sample(&x, 77, 2));
    let all = sample(&x, 1000, 1);
    assert_eq!((all.rows.values(), all.places), (x.values(), None));
}

fn distances(found: &Neighbors) -> Vec<&[f32]> {
    found.rows().map(|(distances, _)| distances).collect()
}

#[test]
fn a_new_row_has_the_training_row_that_equals_it_as_a_neighbor() {
    let rows = Array::new([4, 1], vec![0.0, 1.0, 3.0, 7.0]);
    let neighborhood = Neighborhood::new(&rows, None, 2, &Device::flex());
    let x = Matrix::from_values(1, vec![1.0, 7.0]);
    assert_eq!(distances(&neighborhood.of(&x)), [[0.0, 1.0], [0.0, 4.0]]);
    assert_eq!(distances(&neighborhood.of_training(&x, &[Some(1), Some(3)])), [[1.0, 2.0], [4.0, 6.0]]);
    assert_eq!(distances(&neighborhood.of_training(&x, &[None, Some(4)])), [[0.0, 1.0], [0.0, 4.0]]);
}

/// Of equal rows, each leaves out itself alone; one that was not kept has those that were.
#[test]
fn only_the_row_itself_is_left_out() {
    let rows = Array::new([4, 1], vec![5.0, 5.0, 5.0, 9.0]);
    let places = Array::new([4], vec![2, 4, 7, 8]);
    let neighborhood = Neighborhood::new(&rows, Some(&places), 2, &Device::flex());
    let x = Matrix::from_values(1, vec![5.0; 5]);
    // The last of these was in the fit, but is not among the rows that were kept.
    let found = neighborhood.of_training(&x, &[Some(2), Some(4), Some(7), None, Some(5)]);
    assert_eq!(distances(&found), [[0.0, 0.0]; 5]);
    let indices: Vec<&[i32]> = found.rows().map(|(_, indices)| indices).collect();
    assert_eq!(indices, [[1, 2], [0, 2], [0, 1], [0, 1], [0, 1]]);
    // With two equal rows, the nearest other row of one that was kept is not at a distance of 0 twice.
    let rows = Array::new([4, 1], vec![5.0, 5.0, 6.0, 9.0]);
    let neighborhood = Neighborhood::new(&rows, Some(&places), 2, &Device::flex());
    let found = neighborhood.of_training(&Matrix::from_values(1, vec![5.0; 2]), &[Some(4), Some(5)]);
    assert_eq!(distances(&found), [[0.0, 1.0], [0.0, 0.0]]);
}

#[test]
fn places_that_are_not_those_of_the_rows_are_refused() {
    let rows = Array::new([4, 1], vec![5.0, 5.0, 6.0, 9.0]);
    let check = |places: &Array<i32>| check_reference(&rows, Some(places), 2, 1);
    assert_eq!(check(&Array::new([4], vec![0, 3, 5, 9])), Ok(()));
    assert!(check(&Array::new([3], vec![0, 3, 5])).unwrap_err().contains("one place"));
    assert!(check(&Array::default()).unwrap_err().contains("one place"));
}

#[test]
fn too_few_rows_and_equal_rows_are_refused() {
    let device = Device::flex();
    let context = Context { device: &device, seed: 1, max_state_bytes: None, on_step: &|| {} };
    let x = Matrix::from_values(1, vec![1.0, 2.0, 3.0]);
    let error = reference(&x, 3, 10, &context).unwrap_err();
    assert_eq!(error.to_string(), "3 rows are too few: k = 3 neighbours needs at least 4");
    let x = Matrix::from_values(1, vec![1.0; 9]);
    assert_eq!(reference(&x, 3, 10, &context), Err(FitError::AllEqual { n_samples: 9 }));
}

#[test]
fn parameters_out_of_range_are_refused() {
    assert_eq!(check_parameters(5, 6), Ok(()));
    for (k, max_rows) in [(0, 100), (1001, 65_536), (5, 5), (5, MOST_ROWS + 1)] {
        assert!(check_parameters(k, max_rows).is_err(), "k = {k}, max_rows = {max_rows}");
    }
}

proptest! {
    #[test]
    fn neighbors_of_training_rows_are_the_nearest_others(x in rows(), k in 1usize..7) {
        let reference = Array::new([x.n_samples(), x.n_features()], x.values().to_vec());
        let places: Vec<Option<usize>> = (0..x.n_samples()).map(Some).collect();
        let found = Neighborhood::new(&reference, None, k, &Device::flex()).of_training(&x, &places);
        for ((distances, _), others) in found.rows().zip(others(&x, k)) {
            for (distance, (expected, _)) in distances.iter().zip(others) {
                prop_assert!((f64::from(*distance) - expected).abs() <= 1e-6 * expected);
            }
        }
    }
}
