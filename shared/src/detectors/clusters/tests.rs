use burn::tensor::Device;
use proptest::prelude::*;

use super::*;
use crate::detectors::Learned;

fn fit(k: usize, values: &[f32]) -> [Clusters; 2] {
    let x = Matrix::from_values(2, values.to_vec());
    let device = Device::flex();
    let context = Context { device: &device, seed: 7, max_state_bytes: None, on_step: &|| {} };
    let k = KSelection::Fixed(k);
    [
        KMeans { k, ..KMeans::default() }.fit(&x, &context).unwrap(),
        BisectingKMeans { k, ..BisectingKMeans::default() }.fit(&x, &context).unwrap(),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Contributions add up to the score, and the row would have none where it is as expected.
    #[test]
    fn a_distance_is_explained_exactly(values in proptest::collection::vec(-50f32..50.0, 40..120), k in 1usize..6) {
        let values = &values[..values.len() / 2 * 2];
        for learned in fit(k, values) {
            learned.check(2).unwrap();
            let scorer = learned.on_device(&Device::flex());
            let x = Matrix::from_values(2, values.to_vec());
            let scores = scorer.score(&x);
            let explanations = scorer.explain(&x, &scores).unwrap();
            for (explanation, &score) in explanations.iter().zip(&scores.values) {
                let total: f32 = explanation.contributions.iter().sum();
                prop_assert!((total - score).abs() <= 1e-5 * score.max(1e-3), "{total} {score}");
            }
            let expected = explanations.iter().flat_map(|explanation| explanation.expected.clone()).collect();
            for (center, cluster) in
                scorer.score(&Matrix::from_values(2, expected)).values.iter().zip(scores.clusters.unwrap())
            {
                prop_assert!(*center == 0.0 && (cluster as usize) < learned.n_clusters());
            }
        }
    }
}

#[test]
fn parameters_are_checked() {
    let of = |k| KMeans { k, ..KMeans::default() }.check().unwrap_err();
    assert_eq!(of(KSelection::Fixed(0)), "k must be above 0");
    assert!(of(KSelection::Elbow { elbow: 1.0, max: 9 }).starts_with("k: elbow must be between 0 and 1"));
    assert!(BisectingKMeans { tol: f64::NAN, ..BisectingKMeans::default() }.check().is_err());
    assert!(KMeans { n_init: 0, ..KMeans::default() }.check().is_err());
}
