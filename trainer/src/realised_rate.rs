//! Whether a false-alarm rate holds in time: what a threshold that was set on the older half of the held-out entities does to
//! the newer half.
//!
//! The threshold that a model gets is set on both halves, so its own rate on them says nothing. Where history drifts, the
//! newer half exceeds the threshold of the older one more often than was asked for, and so may what comes exceed the model's.

use serde::Serialize;
use shared::threshold::{Threshold, ThresholdPolicy};

/// A rate that was asked for beside the one that came about.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RealisedRate {
    /// The rate that was asked for.
    pub asked: f64,
    /// Entities that the threshold was set on.
    pub calibrated_on: usize,
    /// Entities after these, that were compared with it.
    pub checked_on: usize,
    /// How many of them exceeded it.
    pub exceeding: usize,
    /// The share of them that did.
    pub realised: f64,
    /// The same for the entities of each cluster, where clusters have thresholds of their own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub by_cluster: Vec<ClusterRate>,
}

/// The part of a cluster.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClusterRate {
    /// The cluster's number in verdicts.
    pub cluster: usize,
    /// Its entities that were compared with its threshold.
    pub checked_on: usize,
    /// How many of them exceeded it.
    pub exceeding: usize,
}

impl RealisedRate {
    /// By the score and the cluster of the entities that were held out, in the order of time; `n_clusters` where each cluster
    /// has a threshold of its own. None where the policy promises no rate, or the older half is too small for a threshold.
    pub fn measure(
        policy: ThresholdPolicy,
        held_out: &[(f32, Option<i32>)],
        n_clusters: Option<usize>,
    ) -> Option<Self> {
        let asked = policy.rate()?;
        let (older, newer) = held_out.split_at(held_out.len() / 2);
        let scores: Vec<f32> = older.iter().map(|entity| entity.0).collect();
        let clusters: Option<Vec<i32>> = older.iter().map(|entity| entity.1).collect();
        let threshold = match (n_clusters, clusters) {
            (Some(n_clusters), Some(clusters)) => {
                Threshold::fit_by_cluster(policy, &scores, &clusters, n_clusters).ok()?.0
            }
            _ => Threshold::fit(policy, &scores).ok()?,
        };
        let exceeds = |&&(score, cluster): &&(f32, Option<i32>)| threshold.is_exceeded(score, cluster);
        let of_cluster = |cluster: usize| {
            let mine = || newer.iter().filter(move |entity| entity.1 == i32::try_from(cluster).ok());
            ClusterRate { cluster, checked_on: mine().count(), exceeding: mine().filter(exceeds).count() }
        };
        let exceeding = newer.iter().filter(exceeds).count();
        Some(Self {
            asked,
            calibrated_on: older.len(),
            checked_on: newer.len(),
            exceeding,
            realised: exceeding as f64 / newer.len().max(1) as f64,
            by_cluster: (0..n_clusters.unwrap_or(0)).map(of_cluster).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scores(of: impl Fn(usize) -> (f32, i32), n: usize) -> Vec<(f32, Option<i32>)> {
        (0..n).map(of).map(|(score, cluster)| (score, Some(cluster))).collect()
    }

    /// A number between 0 and 1 that follows no order.
    fn noise(index: usize) -> f32 {
        ((index * 7919 + 13) % 10_007) as f32 / 10_007.0
    }

    #[test]
    fn a_rate_is_kept_by_a_history_that_stays_as_it_is_and_not_by_one_that_drifts() {
        let policy = ThresholdPolicy::FalseAlarmRate(0.01);
        let steady = RealisedRate::measure(policy, &scores(|index| (noise(index), 0), 8000), None).unwrap();
        assert_eq!((steady.asked, steady.calibrated_on, steady.checked_on), (0.01, 4000, 4000));
        assert!(steady.realised > 0.005 && steady.realised < 0.015, "{steady:?}");
        let drifting = scores(|index| (noise(index) + index as f32 / 40_000.0, 0), 8000);
        let drifting = RealisedRate::measure(policy, &drifting, None).unwrap();
        assert!(drifting.realised > 0.05, "{drifting:?}");
    }

    #[test]
    fn the_rate_of_each_cluster_is_told() {
        let policy = ThresholdPolicy::FalseAlarmRate(0.1);
        // A large cluster, and a small one whose scores are ten times as high.
        let of = |index: usize| if index.is_multiple_of(50) { (10.0 + noise(index), 1) } else { (noise(index), 0) };
        let by_cluster = RealisedRate::measure(policy, &scores(of, 5000), Some(2)).unwrap();
        assert_eq!(by_cluster.by_cluster.iter().map(|rate| rate.checked_on).sum::<usize>(), 2500);
        assert!(by_cluster.realised < 0.12, "{by_cluster:?}");
        assert!(by_cluster.by_cluster[1].exceeding <= 15, "{by_cluster:?}");
        let together = RealisedRate::measure(policy, &scores(of, 5000), None).unwrap();
        assert!(together.by_cluster.is_empty());
    }

    #[test]
    fn without_a_promise_or_with_too_few_entities_there_is_no_rate() {
        let few = scores(|index| (noise(index), 0), 100);
        assert_eq!(RealisedRate::measure(ThresholdPolicy::Quantile(0.9), &few, None), None);
        assert_eq!(RealisedRate::measure(ThresholdPolicy::FalseAlarmRate(0.01), &few, None), None);
    }
}
