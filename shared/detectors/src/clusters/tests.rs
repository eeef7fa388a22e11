use burn::tensor::Device;
use proptest::prelude::*;

use super::*;
use crate::Learned;

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

fn corrected(correction: Correction, x: &Matrix, k: usize) -> Clusters {
    let device = Device::flex();
    let context = Context { device: &device, seed: 7, max_state_bytes: None, on_step: &|| {} };
    KMeans { k: KSelection::Fixed(k), correction, ..KMeans::default() }.fit(x, &context).unwrap()
}

/// The definition, cluster by cluster.
fn by_definition(learned: &Clusters, row: &[f32]) -> f64 {
    let corrected = learned.corrected.as_ref().unwrap();
    let of = |(cluster, penalty): (&Cluster, &Option<f32>)| {
        let penalty = f64::from((*penalty)?);
        let values = row.iter().zip(&cluster.center).zip(&corrected.weights);
        Some(penalty + values.map(|((x, c), w)| f64::from(*w) * f64::from(x - c).powi(2)).sum::<f64>())
    };
    learned.clusters().iter().zip(&corrected.penalties).filter_map(of).fold(f64::INFINITY, f64::min)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn a_corrected_score_is_what_its_definition_says(values in proptest::collection::vec(-50f32..50.0, 60..160), k in 1usize..7) {
        let x = Matrix::from_values(2, values[..values.len() / 2 * 2].to_vec());
        for correction in [Correction::Size, Correction::Spread, Correction::Both] {
            let learned = corrected(correction, &x, k);
            learned.check(2).unwrap();
            let scorer = learned.on_device(&Device::flex());
            let scores = scorer.score(&x);
            for ((row, &score), explanation) in x.rows().zip(&scores.values).zip(scorer.explain(&x, &scores).unwrap()) {
                let expected = by_definition(&learned, row);
                prop_assert!((f64::from(score) - expected).abs() <= 1e-4 * expected.max(1e-2), "{score} {expected}");
                let total: f32 = explanation.contributions.iter().sum();
                prop_assert!((total - score).abs() <= 1e-4 * score.max(1e-2), "{total} {score}");
            }
        }
    }
}

/// Anomalies that are alike have a cluster of their own, which plain k-means takes for normal.
#[test]
fn a_small_cluster_is_not_normal() {
    let mut values: Vec<f32> = (0..400).flat_map(|i| [(i % 20) as f32 / 20.0, (i / 20) as f32 / 20.0]).collect();
    values.extend((0..8).flat_map(|i| [9.0, 9.0 + i as f32 / 100.0]));
    let x = Matrix::from_values(2, values);
    let last = |correction| *corrected(correction, &x, 2).on_device(&Device::flex()).score(&x).values.last().unwrap();
    assert!(last(Correction::None) < 0.1 && last(Correction::Size) > 50.0 && last(Correction::Both) > 100.0);
}

#[test]
fn a_correction_that_does_not_fit_is_refused() {
    let x = Matrix::from_values(2, (0..80).map(|i| (i * i % 17) as f32).collect());
    let learned = corrected(Correction::Both, &x, 3);
    let with = |change: fn(&mut Corrected)| {
        let mut learned = learned.clone();
        change(learned.corrected.as_mut().unwrap());
        learned.check(2).unwrap_err()
    };
    assert!(with(|it| it.weights.truncate(1)).contains("is not for 2 features and 3 clusters"));
    assert!(with(|it| it.weights[0] = f32::NAN).contains("negative or not finite"));
    assert!(with(|it| it.penalties.fill(None)).contains("no cluster counts"));
}
