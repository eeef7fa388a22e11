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

/// A square of normal rows, and a few that are alike and far away.
fn square_and_outliers(n_outliers: usize) -> Matrix {
    let mut values: Vec<f32> = (0..900).flat_map(|i| [(i % 30) as f32 / 30.0, (i / 30) as f32 / 30.0]).collect();
    values.extend((0..n_outliers).flat_map(|i| [50.0, 50.0 + i as f32 / 1000.0]));
    Matrix::from_values(2, values)
}

fn with_min_share(min_share: f64, k: usize, x: &Matrix) -> [Clusters; 2] {
    let device = Device::flex();
    let context = Context { device: &device, seed: 7, max_state_bytes: None, on_step: &|| {} };
    let (k, min_share) = (KSelection::Fixed(k), Some(min_share));
    [
        KMeans { k, min_share, ..KMeans::default() }.fit(x, &context).unwrap(),
        BisectingKMeans { k, min_share, ..BisectingKMeans::default() }.fit(x, &context).unwrap(),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// However often the same monstrous row was there, as long as it is rare: the next one is far from what is usual, and that is
    /// what is quoted as expected.
    #[test]
    fn an_outlier_does_not_become_usual_by_repetition(n_outliers in 1usize..17, k in 2usize..9) {
        let x = square_and_outliers(n_outliers);
        for learned in with_min_share(0.02, k, &x) {
            learned.check(2).unwrap();
            let scorer = learned.on_device(&Device::flex());
            let next = Matrix::from_values(2, vec![50.0, 50.0]);
            let scores = scorer.score(&next);
            prop_assert!(scores.values[0] > 4000.0, "{}", scores.values[0]);
            let explanation = scorer.explain(&next, &scores).unwrap().remove(0);
            prop_assert!(explanation.expected.iter().all(|x| (-0.1..1.1).contains(x)), "{explanation:?}");
            let small = learned.in_small_clusters(0.02, &x, &Device::flex()).unwrap();
            let n_small = small.iter().filter(|&&is_small| is_small).count();
            prop_assert!(small[900..].iter().all(|&is_small| is_small) && n_small < 100, "{n_small}");
        }
        // Where every cluster counts, the outliers are normal.
        for learned in with_min_share(0.0, k, &x) {
            let next = Matrix::from_values(2, vec![50.0, 50.0]);
            prop_assert!(learned.on_device(&Device::flex()).score(&next).values[0] < 0.01);
            prop_assert_eq!((&learned.corrected, learned.in_small_clusters(0.0, &x, &Device::flex())), (&None, None));
        }
    }

    /// A row's score is its smallest distance to a cluster that counts, and some cluster always does.
    #[test]
    fn small_clusters_do_not_count(values in proptest::collection::vec(-50f32..50.0, 60..160), k in 1usize..12, share in 0.0f64..0.5) {
        let x = Matrix::from_values(2, values[..values.len() / 2 * 2].to_vec());
        for learned in with_min_share(share, k, &x) {
            learned.check(2).unwrap();
            let clusters = learned.clusters();
            let is_small = are_small(&clusters, share);
            prop_assert!(is_small.contains(&false));
            let total: u64 = clusters.iter().map(|cluster| cluster.size).sum();
            for (cluster, is_small) in clusters.iter().zip(&is_small) {
                prop_assert!(!is_small || (cluster.size as f64) < share * total as f64);
            }
            if learned.corrected.is_none() {
                prop_assert!(!is_small.contains(&true));
                continue;
            }
            let scores = learned.on_device(&Device::flex()).score(&x);
            for ((row, &score), &cluster) in x.rows().zip(&scores.values).zip(scores.clusters.as_ref().unwrap()) {
                let distance = |cluster: &Cluster| {
                    row.iter().zip(&cluster.center).map(|(x, c)| f64::from(x - c).powi(2)).sum::<f64>()
                };
                let counting = clusters.iter().zip(&is_small).filter(|(_, is_small)| !**is_small);
                let nearest = counting.map(|(cluster, _)| distance(cluster)).fold(f64::INFINITY, f64::min);
                prop_assert!((f64::from(score) - nearest).abs() <= 1e-4 * nearest.max(1e-2), "{score} {nearest}");
                prop_assert!(!is_small[cluster as usize]);
            }
        }
    }
}
