use proptest::prelude::*;

use super::*;
use crate::conformance::{conformance_tests, context, scores};
use crate::supervised::tests::{labelled_rows, labels_of};
use crate::supervised::{EachWeight, Labelled, log_loss, sigmoid};

fn fitted(params: &LogisticRegression, x: &Matrix, labels: &[Option<bool>]) -> Coefficients {
    params.check().unwrap();
    params.fit_labelled(x, labels, &context(&Device::flex())).unwrap()
}

fn models(x: &Matrix) -> Vec<Coefficients> {
    vec![fitted(&LogisticRegression::default(), x, &labels_of(x))]
}

conformance_tests!(LogisticRegression, models);

#[test]
fn without_labels_nothing_is_learned() {
    let (x, _) = labelled_rows(100, 3, 5, 1);
    let refused = LogisticRegression::default().fit(&x, &context(&Device::flex())).unwrap_err();
    assert_eq!(refused, FitError::NoLabels);
}

#[test]
fn rows_without_a_label_change_nothing() {
    let (x, labels) = labelled_rows(600, 3, 6, 2);
    let model = fitted(&LogisticRegression::default(), &x, &labels);
    let (mut values, mut more) = (Vec::new(), Vec::new());
    for (row, &label) in x.rows().zip(&labels) {
        values.extend_from_slice(row);
        values.extend([1e6, -3.0, 8.0]);
        more.extend([label, None]);
    }
    assert_eq!(fitted(&LogisticRegression::default(), &Matrix::from_values(3, values), &more), model);
}

#[test]
fn anomalies_are_told_and_probabilities_are_right() {
    let (x, labels) = labelled_rows(8000, 4, 10, 3);
    for class_weight in [None, Some(ClassWeight::Named(crate::NamedWeight::Balanced))] {
        let model = fitted(&LogisticRegression { class_weight, ..LogisticRegression::default() }, &x, &labels);
        let scores = scores(&model, &x);
        let (mut sure, mut right, mut sum) = (0, 0, 0.0);
        for (score, label) in scores.iter().zip(&labels) {
            sum += f64::from(*score);
            if *score > 0.5 {
                sure += 1;
                right += usize::from(*label == Some(true));
            }
        }
        assert!(right * 10 > sure * 7 && sure > 400, "{right} of {sure}");
        // As many anomalies are expected as there are.
        assert!((sum - 800.0).abs() < 80.0, "{sum}");
    }
}

#[test]
fn a_damaged_model_is_refused() {
    let (x, labels) = labelled_rows(200, 3, 4, 5);
    let good = fitted(&LogisticRegression::default(), &x, &labels);
    let refused = |change: fn(&mut Coefficients)| {
        let mut model = good.clone();
        change(&mut model);
        model.check(3).unwrap_err()
    };
    assert_eq!(good.check(3), Ok(()));
    assert!(good.check(4).unwrap_err().contains("not of 4 features"));
    assert!(refused(|model| model.coefficients[0] = f64::NAN).contains("not a number"));
    assert!(refused(|model| model.means[0] = f64::INFINITY).contains("not a number"));
    assert!(refused(|model| model.intercept = 1e200).contains("not a number"));
    let text = serde_json::to_string(&good).unwrap().replace("\"slope\":", "\"slope\":-");
    assert!(serde_json::from_str::<Coefficients>(&text).unwrap().check(3).unwrap_err().contains("no line that rises"));
}

#[test]
fn parameters_out_of_range_are_refused() {
    let refused = |params: LogisticRegression| params.check().unwrap_err();
    assert!(refused(LogisticRegression { c: 0.0, ..LogisticRegression::default() }).starts_with("C must be"));
    let text = serde_json::to_string(&LogisticRegression { c: 0.5, ..LogisticRegression::default() }).unwrap();
    assert!(text.starts_with("{\"C\":0.5"), "{text}");
    assert!(refused(LogisticRegression { max_iter: 0, ..LogisticRegression::default() }).starts_with("max_iter"));
    let share = LogisticRegression { validation_fraction: 0.9, ..LogisticRegression::default() };
    assert!(refused(share).starts_with("validation_fraction"));
}

/// The mean loss and the penalty, by their definitions.
fn objective(x: &Matrix, labelled: &Labelled, weights: EachWeight, c: f64, at: (&[f64], f64)) -> f64 {
    let (mut loss, mut total) = (0.0, 0.0);
    for (&row, &is_anomaly) in labelled.rows.iter().zip(&labelled.is_anomaly) {
        let log_odds =
            at.1 + x.row(row).iter().zip(at.0).map(|(&value, weight)| f64::from(value) * weight).sum::<f64>();
        loss += weights.of(is_anomaly) * log_loss(log_odds, f64::from(u8::from(is_anomaly)));
        total += weights.of(is_anomaly);
    }
    (c * loss + 0.5 * at.0.iter().map(|weight| weight * weight).sum::<f64>()) / (c * total)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// At the minimum, the loss rises whichever way one goes, and not at all to the first order.
    #[test]
    fn the_loss_has_no_slope_where_it_is_least(
        seed in 0u64..1000, p in 1usize..5, c in 0.01f64..100.0, anomaly in 0.2f64..20.0, size in -3i32..4,
    ) {
        let (x, labels) = labelled_rows(120, p, 4, seed);
        let scaled = x.values().iter().map(|value| value * 10f32.powi(size)).collect();
        let x = Matrix::from_values(p, scaled);
        let labelled = Labelled {
            rows: (0..120).collect(),
            is_anomaly: labels.iter().map(|label| *label == Some(true)).collect(),
        };
        let weights = EachWeight { normal: 1.0, anomaly };
        let problem = Problem::new(&x, &labelled, weights, c);
        let (coefficients, intercept) = problem.minimum(100, 1e-15).unwrap();
        let means = problem.into_means();
        let shift: f64 = coefficients.iter().zip(&means).map(|(weight, mean)| weight * mean).sum();
        let at = |feature: usize, by: f64| {
            let mut coefficients = coefficients.clone();
            let mut intercept = intercept - shift;
            match coefficients.get_mut(feature) {
                Some(weight) => *weight += by,
                None => intercept += by,
            }
            objective(&x, &labelled, weights, c, (&coefficients[..], intercept))
        };
        let least = at(p, 0.0);
        for feature in 0..=p {
            let step = if feature == p { 1e-3 } else { 1e-3 / 10f64.powi(size) };
            let (up, down) = (at(feature, step), at(feature, -step));
            prop_assert!(up >= least - 1e-12 && down >= least - 1e-12);
            let slope = (up - down) / 2e-3;
            prop_assert!(slope.abs() < 1e-5, "{} of feature {}", slope, feature);
        }
    }

    /// The parts of the features and the base are the log-odds, and the score is their probability.
    #[test]
    fn explanations_add_up(seed in 0u64..1000, row in proptest::collection::vec(-50f32..50.0, 3)) {
        let (x, labels) = labelled_rows(200, 3, 4, seed);
        let model = fitted(&LogisticRegression::default(), &x, &labels);
        let scorer = Probabilities { calibration: model.calibration, model };
        let (base, parts) = scorer.explained(&row);
        let log_odds = scorer.log_odds(&row);
        prop_assert!((base + parts.iter().sum::<f64>() - log_odds).abs() < 1e-6);
        let score = scorer.score(&Matrix::from_values(3, row)).values[0];
        prop_assert_eq!(score, sigmoid(log_odds) as f32);
    }
}
