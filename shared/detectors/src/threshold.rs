//! From scores to a threshold, and from a score to a p-value.
//!
//! `top` and `quantile` look at the scores of the training entities themselves. `false_alarm_rate` looks at entities that
//! the detector was not trained on: split-conformal prediction (Vovk, Gammerman and Shafer 2005; for anomaly detection
//! Laxhammar and Falkman 2010). If these and an entity to come are exchangeable, its score exceeds the threshold with at
//! most the probability that was asked for, however the detector came to its scores and however few they are.
//!
//! Exchangeable means: like the entities that were held out, anomalies among these included. Of the normal entities alone, at
//! most `rate / (1 - share of anomalies)` exceed the threshold, and mostly far fewer, because it lies among the anomalies'
//! scores. Where what comes differs from what was held out, nothing is promised; so the newest part of a history is the one to
//! hold out ([`HeldOut::Newest`]), and how many exceed a threshold that was set on the older half of it shows whether they differ.
//!
//! Anomalies among what is held out push the threshold up, among their own scores. `trimmed_rate` leaves the largest scores out
//! first, a share `trim` of them. If no larger share is anomalous, a normal entity exceeds the threshold with at most about
//! `rate + trim / (1 - trim)`, whichever scores the anomalies have; and with at most `rate` where they have the largest ones and
//! are as many as were left out ([`Trimmed`] has both to the letter). So it finds more than `false_alarm_rate` on a history with
//! anomalies, and its worst case is stated.
//!
//! `cost` looks at entities that were held out and of which it is known what they are, and weighs what missing an anomaly costs
//! against what looking at a report costs.

mod calibration;
mod cost;
mod groups;
mod policy;

use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::random::Stream;

pub use calibration::Calibration;
pub use cost::{CostPoint, thinned};
pub use policy::{Cost, ThresholdPolicy, Trimmed};

/// Fewer scores than the policy needs.
#[derive(Debug, Error, PartialEq)]
pub enum TooFewScores {
    /// For a rank among the training scores.
    #[error(
        "threshold top = {top} needs at least {top} training rows, but there are {n_samples}: use threshold = {{ quantile = 0.99 }}"
    )]
    Top {
        /// The rank.
        top: usize,
        /// How many there are.
        n_samples: usize,
    },
    /// For a false alarm as rare as that.
    #[error(
        "threshold {policy} needs at least {needed} rows that are held out of the training, but there are {n_samples}: use more \
         history, a larger calibration_share, or a rate of at least {}",
        (1.0 / ((n_samples - policy.n_out(*n_samples)) as f64 + 1.0) * 1e4).ceil() / 1e4
    )]
    FalseAlarmRate {
        /// The rate that was asked for.
        policy: ThresholdPolicy,
        /// How many rows it takes.
        needed: usize,
        /// How many there are.
        n_samples: usize,
    },
    /// Nobody knows what the entities are.
    #[error(
        "threshold {policy} needs to know which of the rows that are held out are anomalies: name the column of labels, or use \
         threshold = {{ false_alarm_rate = 0.001 }}"
    )]
    NoLabels {
        /// What was asked for.
        policy: ThresholdPolicy,
    },
    /// Of anomalies, to tell what missing them costs.
    #[error(
        "threshold {policy} needs at least {needed} rows that are labelled as anomalies among those that are held out of the \
         training, but {n_anomalies} of the {n_samples} labelled ones are: use more history, or a larger calibration_share"
    )]
    Cost {
        /// What was asked for.
        policy: ThresholdPolicy,
        /// How many anomalies it takes.
        needed: usize,
        /// How many there are.
        n_anomalies: usize,
        /// How many rows are labelled.
        n_samples: usize,
    },
}

/// From which score on an entity is anomalous: when its score is strictly greater than `value`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Threshold {
    /// How it was found.
    pub policy: ThresholdPolicy,
    /// The score.
    pub value: f32,
    /// The score for each cluster, where each has one of its own; none where they share one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub by_cluster: Vec<f32>,
}

impl Threshold {
    /// Finds the threshold among scores, which are finite: of the training entities, or for a
    /// [`false_alarm_rate`](ThresholdPolicy::FalseAlarmRate) of entities that were held out.
    ///
    /// # Errors
    /// [`TooFewScores`] when the policy asks for more scores than there are.
    pub fn fit(policy: ThresholdPolicy, scores: &[f32]) -> Result<Self, TooFewScores> {
        Ok(Self { policy, value: nth_largest(policy, scores)?, by_cluster: Vec::new() })
    }

    /// As [`fit`](Self::fit), with a threshold for each of `n_clusters` from the scores of its own entities, and p-values from
    /// the same. Clusters with too few of them for a threshold have one together, so that a
    /// [`false_alarm_rate`](ThresholdPolicy::FalseAlarmRate) is kept by each group of clusters, and by all entities.
    ///
    /// # Errors
    /// As [`fit`](Self::fit).
    ///
    /// # Panics
    /// When there are not as many clusters as scores, or one is not below `n_clusters`.
    pub fn fit_by_cluster(
        policy: ThresholdPolicy,
        scores: &[f32],
        clusters: &[i32],
        n_clusters: usize,
    ) -> Result<(Self, Vec<Calibration>), TooFewScores> {
        let of_all = Self::fit(policy, scores)?;
        let of_clusters = by_cluster(scores, clusters, n_clusters);
        let counts: Vec<usize> = of_clusters.iter().map(Vec::len).collect();
        let (mut by_cluster, mut calibrations) = (Vec::with_capacity(n_clusters), Vec::with_capacity(n_clusters));
        let mut last: Option<(Vec<usize>, f32, Calibration)> = None;
        for cluster in 0..n_clusters {
            let group = groups::group_of(cluster, &counts, policy.needed());
            // Clusters that are pooled come one after the other with the same group, which may be large.
            let (group, value, calibration) = match last.take() {
                Some(known) if known.0 == group => known,
                _ => {
                    let scores: Vec<f32> = group.iter().flat_map(|&other| &of_clusters[other]).copied().collect();
                    let value = nth_largest(policy, &scores).unwrap_or(of_all.value);
                    (group, value, Calibration::fit_for(policy, &scores))
                }
            };
            by_cluster.push(value);
            calibrations.push(calibration.clone());
            last = Some((group, value, calibration));
        }
        Ok((Self { by_cluster, ..of_all }, calibrations))
    }

    /// The threshold for entities of a cluster.
    pub fn of_cluster(&self, cluster: Option<i32>) -> f32 {
        let own = cluster.and_then(|cluster| self.by_cluster.get(usize::try_from(cluster).ok()?));
        own.copied().unwrap_or(self.value)
    }

    /// Whether a score, of an entity of this cluster, is anomalous.
    pub fn is_exceeded(&self, score: f32, cluster: Option<i32>) -> bool {
        score > self.of_cluster(cluster)
    }
}

/// Which entities of a history are held out of the training, to set a threshold by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HeldOut {
    /// The last ones: of a history in the order of time, those that are most like what comes.
    #[default]
    Newest,
    /// A random choice, which is exchangeable with the rest of the history.
    Random,
}

impl HeldOut {
    /// Whether each of `n_samples` entities is held out, of which that are this share.
    pub fn choose(self, n_samples: usize, share: f64, seed: u64) -> Vec<bool> {
        let n_held_out = ((n_samples as f64 * share).round() as usize).min(n_samples);
        let mut order: Vec<usize> = (0..n_samples).rev().collect();
        if self == Self::Random {
            order.shuffle(&mut Stream::HeldOut.of(seed));
        }
        let mut held_out = vec![false; n_samples];
        order[..n_held_out].iter().for_each(|&index| held_out[index] = true);
        held_out
    }
}

/// The scores of each cluster.
fn by_cluster(scores: &[f32], clusters: &[i32], n_clusters: usize) -> Vec<Vec<f32>> {
    assert_eq!(scores.len(), clusters.len(), "a cluster a score");
    let mut parts = vec![Vec::new(); n_clusters];
    scores.iter().zip(clusters).for_each(|(&score, &cluster)| parts[cluster as usize].push(score));
    parts
}

fn nth_largest(policy: ThresholdPolicy, scores: &[f32]) -> Result<f32, TooFewScores> {
    let n_samples = scores.len();
    let rank = policy.rank(n_samples);
    if rank == 0 {
        return Err(match policy {
            ThresholdPolicy::Top(top) => TooFewScores::Top { top, n_samples },
            ThresholdPolicy::Cost(_) => TooFewScores::NoLabels { policy },
            ThresholdPolicy::FalseAlarmRate(_) | ThresholdPolicy::TrimmedRate(_) => {
                TooFewScores::FalseAlarmRate { policy, needed: policy.needed(), n_samples }
            }
            ThresholdPolicy::Quantile(_) => TooFewScores::Top { top: 1, n_samples },
        });
    }
    let mut sorted = scores.to_vec();
    let (_, value, _) = sorted.select_nth_unstable_by(rank - 1, |a, b| b.total_cmp(a));
    Ok(*value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn top_is_the_nth_largest_and_strict() {
        let threshold = Threshold::fit(ThresholdPolicy::Top(2), &[5.0, 1.0, 3.0, 4.0]).unwrap();
        assert_eq!(threshold.value, 4.0);
        assert!(!threshold.is_exceeded(4.0, None));
        assert!(threshold.is_exceeded(4.1, None));
    }

    #[test]
    fn too_few_rows_for_top_name_a_quantile() {
        let error = Threshold::fit(ThresholdPolicy::Top(2000), &[1.0; 30]).unwrap_err().to_string();
        assert_eq!(
            error,
            "threshold top = 2000 needs at least 2000 training rows, but there are 30: use threshold = { quantile = 0.99 }"
        );
    }

    #[test]
    fn too_few_rows_for_a_rate_say_how_many_it_takes() {
        let error = Threshold::fit(ThresholdPolicy::FalseAlarmRate(0.001), &[1.0; 500]).unwrap_err().to_string();
        assert!(error.contains("needs at least 999 rows") && error.contains("at least 0.002"), "{error}");
        assert!(Threshold::fit(ThresholdPolicy::FalseAlarmRate(0.001), &[1.0; 999]).is_ok());
    }

    /// One in a hundred of the history is an anomaly: the threshold of a plain rate lies among them.
    #[test]
    fn without_the_largest_scores_anomalies_of_the_history_do_not_raise_the_threshold() {
        let scores: Vec<f32> =
            (0..1_000).map(|i| if i % 100 == 0 { 500.0 + i as f32 } else { (i % 97) as f32 }).collect();
        let policy = ThresholdPolicy::TrimmedRate(Trimmed { false_alarm_rate: 0.005, trim: 0.01 });
        let (plain, trimmed) = (
            Threshold::fit(ThresholdPolicy::FalseAlarmRate(0.005), &scores).unwrap(),
            Threshold::fit(policy, &scores).unwrap(),
        );
        assert!(plain.value > 500.0 && trimmed.value == 96.0, "{} {}", plain.value, trimmed.value);
        let p = Calibration::fit_for(policy, &scores).p_value(97.0);
        assert!((p - 1.0 / 991.0).abs() < 1e-12, "{p}");
        assert_eq!(policy.to_string(), "trimmed_rate = { false_alarm_rate = 0.005, trim = 0.01 }");
        let error = Threshold::fit(policy, &scores[..100]).unwrap_err().to_string();
        assert!(
            error.contains("trim = 0.01 } needs at least 201 rows") && error.contains("but there are 100"),
            "{error}"
        );
        assert!(Threshold::fit(policy, &scores[..201]).is_ok() && Threshold::fit(policy, &scores[..200]).is_err());
        let nothing = Trimmed { false_alarm_rate: 0.005, trim: 0.0 };
        assert!(ThresholdPolicy::TrimmedRate(nothing).check().unwrap_err().contains("trim must be above 0"));
    }

    #[test]
    fn each_cluster_may_have_a_threshold_of_its_own() {
        let scores: Vec<f32> = (0..200).map(|i| if i % 2 == 0 { i as f32 } else { 1000.0 + i as f32 }).collect();
        let clusters: Vec<i32> = (0..200).map(|i| i % 2).collect();
        let (threshold, calibrations) =
            Threshold::fit_by_cluster(ThresholdPolicy::Quantile(0.9), &scores, &clusters, 3).unwrap();
        // Cluster 2 has no score: it has the threshold of the smallest of the others, with which it is pooled.
        assert_eq!(threshold.by_cluster, [178.0, 1179.0, 178.0]);
        assert_eq!(calibrations[2], calibrations[0]);
        assert!(calibrations[0].p_value(500.0) < 0.02 && calibrations[1].p_value(500.0) == 1.0);
        assert!(threshold.is_exceeded(500.0, Some(0)) && !threshold.is_exceeded(500.0, Some(1)));
        assert!(!threshold.is_exceeded(500.0, None) && !threshold.is_exceeded(500.0, Some(7)));
    }

    proptest! {
        /// The finite-sample guarantee, counted out: of n + 1 exchangeable scores, each being the one to come in turn, at most
        /// the asked-for share exceeds the threshold of the others.
        #[test]
        fn a_false_alarm_rate_is_kept(scores in proptest::collection::vec(0u8..60, 20..60), rate in 0.05f64..0.5) {
            let policy = ThresholdPolicy::FalseAlarmRate(rate);
            let scores: Vec<f32> = scores.into_iter().map(f32::from).collect();
            let mut alarms = 0;
            for index in 0..scores.len() {
                let mut others = scores.clone();
                let next = others.swap_remove(index);
                let threshold = Threshold::fit(policy, &others).unwrap();
                let p = Calibration::fit_for(policy, &others).p_value(next);
                if threshold.is_exceeded(next, None) {
                    alarms += 1;
                    prop_assert!(p <= rate + 1e-9, "{p} {rate}");
                }
            }
            prop_assert!(f64::from(alarms) <= rate * scores.len() as f64 + 1e-9, "{alarms} of {}", scores.len());
        }

        /// The same of normal entities where some of the held-out ones are anomalies: at most `(m + k) / (n - a + 1)` of them
        /// exceed the threshold whatever the anomalies' scores are, and at most the asked-for share where these are the largest
        /// and as many as are left out.
        #[test]
        fn a_trimmed_rate_is_kept_among_anomalies(
            normal in proptest::collection::vec(0u8..60, 20..60), anomalous in proptest::collection::vec(0u8..100, 0..12),
            rate in 0.05f64..0.4, trim in 0.01f64..0.3,
        ) {
            let trimmed = Trimmed { false_alarm_rate: rate, trim };
            let policy = ThresholdPolicy::TrimmedRate(trimmed);
            let normal: Vec<f32> = normal.into_iter().map(f32::from).collect();
            let alarms = |anomalies: &[f32]| {
                let (mut alarms, mut bound) = (0, 0);
                for index in 0..normal.len() {
                    let mut others = normal.clone();
                    let next = others.swap_remove(index);
                    others.extend(anomalies);
                    let (n_out, rank) = (policy.n_out(others.len()), policy.rank(others.len()));
                    let Ok(threshold) = Threshold::fit(policy, &others) else { continue };
                    bound = rank;
                    if threshold.is_exceeded(next, None) {
                        alarms += 1;
                        let p = Calibration::fit_for(policy, &others).p_value(next);
                        prop_assert!(p <= rate + 1e-9, "{} {} {}", p, rate, n_out);
                    }
                }
                Ok((alarms, bound))
            };
            let n_all = normal.len() - 1 + anomalous.len();
            let anomalies: Vec<f32> = anomalous.iter().copied().map(f32::from).take(trimmed.n_out(n_all)).collect();
            let (found, bound) = alarms(&anomalies)?;
            prop_assert!(found <= bound, "{} above rank {}", found, bound);
            // As many as are left out of them and the normal ones together.
            let largest: Vec<f32> = (0..normal.len()).map(|i| 100.0 + i as f32).collect();
            let n_largest = (0..largest.len()).find(|&n| trimmed.n_out(normal.len() - 1 + n) == n);
            if let Some(n_largest) = n_largest {
                let (found, _) = alarms(&largest[..n_largest])?;
                prop_assert!(found as f64 <= rate * normal.len() as f64 + 1e-9, "{} of {}", found, normal.len());
            }
        }

        /// The same with a threshold for each cluster, however small these are and however their scores differ.
        #[test]
        fn a_false_alarm_rate_by_cluster_is_kept(
            entities in proptest::collection::vec((0i32..5, 0u8..40), 30..90), sizes in proptest::collection::vec(1i32..40, 5),
            rate in 0.05f64..0.4, shift in 0u8..200,
        ) {
            // Clusters of very different sizes, and the small ones with the higher scores.
            let cluster = |drawn: i32, score: u8| if i32::from(score) < sizes[drawn as usize] { drawn } else { 0 };
            let entities: Vec<(i32, f32)> = entities
                .into_iter()
                .map(|(drawn, score)| (cluster(drawn, score), score))
                .map(|(cluster, score)| (cluster, f32::from(score) + cluster as f32 * f32::from(shift)))
                .collect();
            let policy = ThresholdPolicy::FalseAlarmRate(rate);
            let mut alarms = 0;
            for index in 0..entities.len() {
                let mut others = entities.clone();
                let (cluster, next) = others.swap_remove(index);
                let (clusters, scores): (Vec<i32>, Vec<f32>) = others.into_iter().unzip();
                let (threshold, calibrations) = Threshold::fit_by_cluster(policy, &scores, &clusters, 5).unwrap();
                if threshold.is_exceeded(next, Some(cluster)) {
                    alarms += 1;
                    let p = calibrations[cluster as usize].p_value(next);
                    prop_assert!(p <= rate + 1e-9, "{p} {rate}");
                }
            }
            prop_assert!(f64::from(alarms) <= rate * entities.len() as f64 + 1e-9, "{alarms} of {}", entities.len());
        }

        #[test]
        fn a_quantile_is_exceeded_by_at_most_its_share(scores in proptest::collection::vec(0f32..1e6, 1..400), q in 0.01f64..0.999) {
            let threshold = Threshold::fit(ThresholdPolicy::Quantile(q), &scores).unwrap();
            let above = scores.iter().filter(|&&score| threshold.is_exceeded(score, None)).count();
            prop_assert!(above as f64 <= (1.0 - q) * scores.len() as f64 + 1e-9);
        }
    }
}
