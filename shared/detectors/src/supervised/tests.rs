use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use clustering::matrix::Matrix;

/// Rows of `p` features, of which the first two tell anomalies, one in `one_in`, from normal rows, mostly; the order of both is mixed.
pub(crate) fn labelled_rows(n: usize, p: usize, one_in: usize, seed: u64) -> (Matrix, Vec<Option<bool>>) {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let (mut values, mut labels) = (Vec::new(), Vec::new());
    for index in 0..n {
        let is_anomaly = index % one_in == one_in / 2;
        for feature in 0..p {
            let noise = (0..12).map(|_| random.random::<f32>()).sum::<f32>() - 6.0;
            values.push(if is_anomaly && feature < 2 { noise + 2.0 } else { noise });
        }
        labels.push(Some(is_anomaly));
    }
    (Matrix::from_values(p, values), labels)
}

/// The labels of the rows that every detector has to pass its tests on: the first feature tells what they are.
pub(crate) fn labels_of(x: &Matrix) -> Vec<Option<bool>> {
    x.rows().map(|row| Some(row[0] - row[1] > 4.0)).collect()
}

#[test]
fn the_newest_rows_are_held_back_and_rows_without_a_label_are_neither() {
    let labels: Vec<Option<bool>> = (0..120).map(|row| (row % 6 != 0).then_some(row % 3 == 1)).collect();
    let Parts { older, newest } = Parts::split(&labels, 0.2).unwrap();
    assert_eq!((older.rows.len(), newest.rows.len()), (80, 20));
    assert!(older.rows.last() < newest.rows.first());
    assert!(older.rows.iter().chain(&newest.rows).all(|row| row % 6 != 0));
    assert!(older.rows.iter().zip(&older.is_anomaly).all(|(row, is_anomaly)| (row % 3 == 1) == *is_anomaly));
}

#[test]
fn more_is_held_back_where_the_newest_rows_have_too_few_anomalies() {
    let labels: Vec<Option<bool>> = (0..1000).map(|row| Some(row % 10 == 0 && row < 700)).collect();
    let Parts { older, newest } = Parts::split(&labels, 0.1).unwrap();
    assert_eq!((newest.rows[0], newest.n_anomalies()), (670, LEAST_NEWEST));
    assert_eq!(older.n_anomalies(), 67);
}

#[test]
fn a_class_that_is_missing_or_too_small_is_refused() {
    let refused = |labels: &[Option<bool>]| Parts::split(labels, 0.2).unwrap_err().to_string();
    let all_normal = refused(&[Some(false); 500]);
    assert!(all_normal.starts_with("0 of the 500 labelled rows are anomalies"), "{all_normal}");
    let all_anomalies = refused(&[Some(true); 500]);
    assert!(all_anomalies.starts_with("0 of the 500 labelled rows are normal"), "{all_anomalies}");
    let few: Vec<Option<bool>> = (0..500).map(|row| Some(row % 60 == 0)).collect();
    assert!(refused(&few).starts_with("9 of the 500 labelled rows are anomalies"), "{}", refused(&few));
    assert!(refused(&[None; 50]).starts_with("0 of the 0 labelled rows"));
}

#[test]
fn class_weights_are_a_name_or_numbers() {
    let read = |text: &str| serde_json::from_str::<ClassWeight>(text);
    let balanced = read("\"balanced\"").unwrap();
    assert_eq!(balanced, ClassWeight::Named(NamedWeight::Balanced));
    let each = read("{\"normal\": 1, \"anomaly\": 20}").unwrap();
    assert_eq!(each, ClassWeight::Each(EachWeight { normal: 1.0, anomaly: 20.0 }));
    assert!(read("\"equal\"").unwrap_err().to_string().contains("must be \"balanced\""));
    assert!(read("{\"normal\": 1}").is_err() && read("{\"normal\": 1, \"anomaly\": 2, \"other\": 3}").is_err());
    assert!(ClassWeight::Each(EachWeight { normal: 0.0, anomaly: 1.0 }).check().is_err());
    let labelled = Labelled { rows: (0..100).collect(), is_anomaly: (0..100).map(|row| row < 20).collect() };
    let weights = ClassWeight::of(Some(balanced), &labelled);
    assert!((weights.normal * 80.0 - weights.anomaly * 20.0).abs() < 1e-9);
}

#[test]
fn a_calibration_finds_the_probabilities_that_there_are() {
    // What was computed is twice too certain, and one too low.
    let mut random = ChaCha8Rng::seed_from_u64(3);
    let log_odds: Vec<f64> = (0..200_000).map(|_| random.random_range(-4.0..4.0)).collect();
    let is_anomaly: Vec<bool> = log_odds.iter().map(|&z| random.random::<f64>() < sigmoid(z)).collect();
    let raw: Vec<f64> = log_odds.iter().map(|z| 2.0 * z - 1.0).collect();
    let line = Platt::fit(&raw, &is_anomaly);
    for z in [-3.0, 0.0, 2.0] {
        assert!((line.log_odds(2.0 * z - 1.0) - z).abs() < 0.1, "{line:?} {z}");
    }
}

proptest! {
    /// Whatever rows say of it, also where they contradict it or are huge.
    #[test]
    fn a_calibration_keeps_the_order(
        rows in proptest::collection::vec((-8.0f64..8.0, any::<bool>()), 2..60), power in 0i32..12, a in -9.0f64..9.0, b in -9.0f64..9.0,
    ) {
        let (mut raw, mut is_anomaly): (Vec<f64>, Vec<bool>) = rows.into_iter().unzip();
        raw.iter_mut().for_each(|raw| *raw *= 10f64.powi(power));
        (is_anomaly[0], is_anomaly[1]) = (true, false);
        let line = Platt::fit(&raw, &is_anomaly);
        prop_assert_eq!(line.check(), Ok(()));
        let of = |value: f64| line.log_odds(value * 10f64.powi(power));
        prop_assert!((a < b) == (of(a) < of(b)) || (a - b).abs() < 1e-6);
    }

    #[test]
    fn a_loss_is_that_of_the_probability(log_odds in -30.0f64..30.0, target in 0.0f64..=1.0) {
        let p = sigmoid(log_odds);
        let direct = -(target * p.ln() + (1.0 - target) * sigmoid(-log_odds).ln());
        prop_assert!((log_loss(log_odds, target) - direct).abs() < 1e-9, "{} {}", log_loss(log_odds, target), direct);
        prop_assert!((sigmoid(-log_odds) + p - 1.0).abs() < 1e-12);
    }
}
