use proptest::prelude::*;

use super::trees::Node;
use super::*;
use crate::conformance::{conformance_tests, context, scores};
use crate::supervised::tests::{labelled_rows, labels_of};
use crate::supervised::{log_loss, sigmoid};

fn fitted(params: &GradientBoosting, x: &Matrix, labels: &[Option<bool>]) -> BoostedTrees {
    params.check().unwrap();
    params.fit_labelled(x, labels, &context(&Device::flex())).unwrap()
}

fn small() -> GradientBoosting {
    GradientBoosting { max_iter: 20, max_leaf_nodes: 6, min_samples_leaf: 5, ..GradientBoosting::default() }
}

fn models(x: &Matrix) -> Vec<BoostedTrees> {
    vec![fitted(&small(), x, &labels_of(x))]
}

conformance_tests!(GradientBoosting, models);

#[test]
fn without_labels_nothing_is_learned() {
    let (x, _) = labelled_rows(100, 3, 5, 1);
    let refused = GradientBoosting::default().fit(&x, &context(&Device::flex())).unwrap_err();
    assert_eq!(refused, FitError::NoLabels);
}

#[test]
fn rows_without_a_label_change_nothing() {
    let (x, labels) = labelled_rows(600, 3, 6, 2);
    let model = fitted(&small(), &x, &labels);
    let (mut values, mut more) = (Vec::new(), Vec::new());
    for (row, &label) in x.rows().zip(&labels) {
        values.extend_from_slice(row);
        values.extend([1e6, -3.0, 8.0]);
        more.extend([label, None]);
    }
    assert_eq!(fitted(&small(), &Matrix::from_values(3, values), &more), model);
}

/// An anomaly is where the first two features have different signs: no sum of features tells that.
fn crossed(n: usize, seed: u64) -> (Matrix, Vec<Option<bool>>) {
    let (x, _) = labelled_rows(n, 3, n, seed);
    let labels = x.rows().map(|row| Some((row[0] > 0.0) != (row[1] > 0.0))).collect();
    (x, labels)
}

#[test]
fn trees_learn_what_a_constant_cannot_tell() {
    let (x, labels) = crossed(1500, 4);
    let model = fitted(&GradientBoosting { max_iter: 60, ..GradientBoosting::default() }, &x, &labels);
    let (new, truth) = crossed(1500, 5);
    let right = scores(&model, &new).iter().zip(&truth).filter(|(score, label)| Some(**score > 0.5) == **label).count();
    assert!(right > 1350, "{right}");
}

#[test]
fn anomalies_are_told_and_probabilities_are_right() {
    let (x, labels) = labelled_rows(4000, 4, 10, 3);
    for class_weight in [None, Some(ClassWeight::Named(crate::NamedWeight::Balanced))] {
        let model = fitted(&GradientBoosting { class_weight, max_iter: 60, ..small() }, &x, &labels);
        let (new, truth) = labelled_rows(4000, 4, 10, 33);
        let probabilities = model.probabilities();
        let loss: f64 = new
            .rows()
            .zip(&truth)
            .map(|(row, label)| log_loss(probabilities.log_odds(row), f64::from(u8::from(*label == Some(true)))))
            .sum();
        let constant: f64 = 4000.0 * -(0.1f64 * 0.1f64.ln() + 0.9 * 0.9f64.ln());
        assert!(loss < 0.7 * constant, "{loss} {constant}");
        let expected: f64 = scores(&model, &new).iter().map(|&score| f64::from(score)).sum();
        assert!((expected - 400.0).abs() < 100.0, "{expected}");
    }
}

#[test]
fn labels_that_have_nothing_to_do_with_the_features_are_refused() {
    let (x, _) = labelled_rows(600, 2, 600, 8);
    let labels: Vec<Option<bool>> = (0..600).map(|row| Some(row % 7 == 0)).collect();
    // No leaf may be as small as half of the rows.
    let params = GradientBoosting { min_samples_leaf: 400, ..GradientBoosting::default() };
    let refused = params.fit_labelled(&x, &labels, &context(&Device::flex())).unwrap_err().to_string();
    assert!(refused.contains("better than a constant does") && refused.contains("below 400"), "{refused}");
}

#[test]
fn a_damaged_model_is_refused() {
    let (x, labels) = crossed(300, 9);
    let good = fitted(&small(), &x, &labels);
    assert_eq!(good.check(3), Ok(()));
    let text = serde_json::to_value(&good).unwrap();
    let refused = |place: &str, index: usize, value: serde_json::Value| {
        let mut text = text.clone();
        let (array, key) = place.split_once('/').unwrap();
        text[array][key]["values"][index] = value;
        serde_json::from_value::<BoostedTrees>(text).unwrap().check(3).unwrap_err()
    };
    assert!(refused("trees/features", 0, 3.into()).contains("node 0 is not of one of 3 features"));
    assert!(refused("trees/features", 0, (-2).into()).contains("node 0 is not of one of 3 features"));
    assert!(refused("trees/features", 0, (-1).into()).contains("nothing leads to node 1"));
    assert!(refused("trees/rights", 0, 0.into()).contains("does not come after it"));
    assert!(refused("trees/rights", 0, 1.into()).contains("does not come after it"));
    assert!(refused("trees/rights", 0, (-5).into()).contains("does not come after it"));
    assert!(refused("trees/rights", 0, 100_000.into()).contains("does not come after it"));
    assert!(refused("trees/counts", 0, 0.into()).contains("no row of the fit"));
    assert!(refused("trees/counts", 0, 7.into()).contains("are not those of the two below it"));
    let changed = |change: fn(&mut serde_json::Value)| {
        let mut text = text.clone();
        change(&mut text);
        serde_json::from_value::<BoostedTrees>(text).unwrap().check(3).unwrap_err()
    };
    assert!(changed(|text| text["trees"]["n_nodes"] = serde_json::json!([])).contains("has no trees"));
    assert!(changed(|text| text["trees"]["n_nodes"][0] = 0.into()).contains("one without nodes"));
    assert!(changed(|text| text["trees"]["n_nodes"][0] = u64::MAX.into()).contains("more than"));
    assert!(changed(|text| text["trees"]["n_nodes"][0] = 1000.into()).contains("are not of"));
    assert!(changed(|text| text["start"] = 1e300.into()).contains("first log-odds"));
    assert!(changed(|text| text["normal"]["values"][0] = 1e300.into()).contains("finite"));
    assert!(good.check(1).is_err());
}

/// A chain that is deeper than trees may be.
#[test]
fn a_tree_that_is_too_deep_is_refused() {
    let mut nodes = Vec::new();
    let depth = MAX_DEPTH + 1;
    for level in 0..depth {
        let here = 2 * level;
        nodes.push(Node::inner(0, level as f32, [here + 1, here + 2], (depth + 1 - level) as u32));
        nodes.push(Node::leaf(1.0, 1));
    }
    nodes.push(Node::leaf(2.0, 1));
    let deep = Trees::of(&[Tree::in_order(&nodes)]);
    assert!(deep.check(1).unwrap_err().contains("deeper than 16"));
    // From its second split on, it is no deeper than allowed.
    let rest: Vec<Node> = (1..depth)
        .flat_map(|level| {
            let here = 2 * (level - 1);
            let inner = Node::inner(0, level as f32, [here + 1, here + 2], (depth + 1 - level) as u32);
            [inner, Node::leaf(1.0, 1)]
        })
        .chain([Node::leaf(2.0, 1)])
        .collect();
    assert_eq!(Trees::of(&[Tree::in_order(&rest)]).check(1), Ok(()));
}

#[test]
fn parameters_out_of_range_are_refused() {
    let refused = |params: GradientBoosting| params.check().unwrap_err();
    let depth = GradientBoosting { max_depth: 17, ..GradientBoosting::default() };
    assert_eq!(refused(depth), "max_depth must be between 1 and 16");
    let bins = GradientBoosting { max_bins: 256, ..GradientBoosting::default() };
    assert_eq!(refused(bins), "max_bins must be between 2 and 255");
    let rate = GradientBoosting { learning_rate: f64::NAN, ..GradientBoosting::default() };
    assert_eq!(refused(rate), "learning_rate must be between 0.0001 and 1");
}

/// The mean of a tree over the rows of its fit where only the features of `known` are known: the game of the explanation.
fn value(tree: &Tree, index: usize, row: &[f32], known: u32) -> f64 {
    let node = &tree.nodes[index];
    let Some(feature) = node.feature() else { return node.leaf_value() };
    let [left, right] = node.children();
    if known & (1 << feature) != 0 {
        return value(tree, if node.goes_left(row[feature]) { left } else { right }, row, known);
    }
    [left, right].iter().map(|&child| value(tree, child, row, known) * tree.nodes[child].count() / node.count()).sum()
}

/// Shapley values by their definition.
fn shapley(tree: &Tree, row: &[f32]) -> Vec<f64> {
    let p = row.len() as u32;
    let factorial = |n: u32| (1..=n).map(f64::from).product::<f64>();
    (0..p)
        .map(|feature| {
            let sets = (0..1u32 << p).filter(|set| set & (1 << feature) == 0);
            sets.map(|set| {
                let size = set.count_ones();
                let weight = factorial(size) * factorial(p - size - 1) / factorial(p);
                weight * (value(tree, 0, row, set | (1 << feature)) - value(tree, 0, row, set))
            })
            .sum()
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn explanations_are_shapley_values(seed in 0u64..1000, row in proptest::collection::vec(-3f32..3.0, 4)) {
        let (x, labels) = labelled_rows(240, 4, 3, seed);
        let params = GradientBoosting { max_iter: 3, max_leaf_nodes: 12, min_samples_leaf: 2, n_iter_no_change: 3, ..small() };
        let Ok(model) = params.fit_labelled(&x, &labels, &context(&Device::flex())) else { return Ok(()) };
        for tree in model.trees.trees() {
            let mut parts = vec![0.0; 4];
            shap::add_parts(&tree, &row, &mut parts);
            for (part, exact) in parts.iter().zip(shapley(&tree, &row)) {
                prop_assert!((part - exact).abs() < 1e-9, "{part} {exact}");
            }
            prop_assert!((tree.mean() - value(&tree, 0, &row, 0)).abs() < 1e-9);
        }
    }

    /// The parts of the features and the base are the log-odds, and the score is their probability.
    #[test]
    fn explanations_add_up(seed in 0u64..1000, row in proptest::collection::vec(-9f32..9.0, 6)) {
        let (x, labels) = labelled_rows(400, 6, 4, seed);
        let params = GradientBoosting { max_leaf_nodes: 20, min_samples_leaf: 2, max_depth: MAX_DEPTH, ..small() };
        let model = fitted(&params, &x, &labels).probabilities();
        let (base, parts) = model.explained(&row);
        let log_odds = model.log_odds(&row);
        prop_assert!((base + parts.iter().sum::<f64>() - log_odds).abs() < 1e-6);
        let score = model.score(&Matrix::from_values(6, row)).values[0];
        prop_assert_eq!(score, sigmoid(log_odds) as f32);
    }

    /// A map of a feature that keeps the order of its values changes no score of the rows of the fit.
    #[test]
    fn only_the_order_of_values_matters(seed in 0u64..1000) {
        let (x, labels) = labelled_rows(300, 3, 4, seed);
        // Whole numbers, so that the map is exact; a held-back row lies on the same side of an edge if it has a value of the fit.
        let whole = |value: f32| (value * 2.0).round().clamp(-4.0, 4.0);
        let plain = Matrix::from_values(3, x.values().iter().map(|&value| whole(value)).collect());
        let mapped = plain.values().iter().map(|value| value.powi(3) + value).collect();
        let mapped = Matrix::from_values(3, mapped);
        let fit = |x: &Matrix| small().fit_labelled(x, &labels, &context(&Device::flex()));
        match (fit(&plain), fit(&mapped)) {
            (Ok(a), Ok(b)) => {
                let rows = |x: &Matrix| x.first_rows(240);
                prop_assert_eq!(scores(&a, &rows(&plain)), scores(&b, &rows(&mapped)));
            }
            (a, b) => prop_assert_eq!(a.is_err(), b.is_err()),
        }
    }

    /// A model that was read is the model; one that was damaged is refused, or scores and explains without a panic.
    #[test]
    fn a_model_survives_its_file(
        seed in 0u64..1000, array in 0usize..4, place in 0usize..400, value in -3i32..40,
    ) {
        let (x, labels) = labelled_rows(200, 3, 4, seed);
        let model = fitted(&small(), &x, &labels);
        let mut text = serde_json::to_value(&model).unwrap();
        prop_assert_eq!(&serde_json::from_value::<BoostedTrees>(text.clone()).unwrap(), &model);
        let array = ["features", "values", "rights", "counts"][array];
        let values = text["trees"][array]["values"].as_array_mut().unwrap();
        let place = place % values.len();
        values[place] = value.into();
        let damaged: BoostedTrees = serde_json::from_value(text).unwrap();
        if damaged.check(3).is_ok() {
            let (scorer, first) = (damaged.on_device(&Device::flex()), x.first_rows(5));
            let scored = scorer.score(&first);
            prop_assert!(scored.values.iter().all(|score| (0.0..=1.0).contains(score)));
            prop_assert_eq!(scorer.explain(&first, &scored).map(|explained| explained.len()), Some(5));
        }
    }
}
