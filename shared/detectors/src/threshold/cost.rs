//! A threshold by what mistakes cost, on entities of which it is known what they are.
//!
//! An anomaly that is not reported costs `missed`, and every report costs `review`, whatever it is of. The expected cost of a
//! threshold is what it would have cost on the known entities, so it is least where their cost is. For scores that are true
//! probabilities it is about `review / missed`.

use serde::Serialize;

use super::policy::{Cost, ThresholdPolicy};
use super::{Threshold, TooFewScores};

/// Fewest known anomalies that a threshold is chosen by.
const LEAST_ANOMALIES: usize = 10;

/// What a threshold would have done.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct CostPoint {
    /// The score beyond which an entity is reported.
    pub threshold: f32,
    /// How many are reported.
    pub alerts: u64,
    /// How many of them are anomalies.
    pub caught: u64,
    /// How many anomalies are not reported.
    pub missed: u64,
    /// What all this costs.
    pub cost: f64,
}

impl Cost {
    /// What every threshold would have done that tells these entities apart, from one that reports nothing to one that reports all.
    /// `scores` are finite, and `is_anomaly` says what each entity is: `(n_samples)`.
    ///
    /// # Panics
    /// When there is not a label a score.
    pub fn curve(self, scores: &[f32], is_anomaly: &[bool]) -> Vec<CostPoint> {
        assert_eq!(scores.len(), is_anomaly.len(), "a label a score");
        let mut entities: Vec<(f32, bool)> = scores.iter().copied().zip(is_anomaly.iter().copied()).collect();
        entities.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
        let anomalies = is_anomaly.iter().filter(|&&is_anomaly| is_anomaly).count() as u64;
        let point = |threshold: f32, alerts: u64, caught: u64| {
            let missed = anomalies - caught;
            let cost = self.missed * missed as f64 + self.review * alerts as f64;
            CostPoint { threshold, alerts, caught, missed, cost }
        };
        let (mut alerts, mut caught) = (0, 0);
        let mut points = Vec::new();
        for tied in entities.chunk_by(|a, b| a.0 == b.0) {
            points.push(point(tied[0].0, alerts, caught));
            alerts += tied.len() as u64;
            caught += tied.iter().filter(|entity| entity.1).count() as u64;
        }
        points.extend(entities.last().map(|last| point(last.0.next_down(), alerts, caught)));
        points
    }
}

impl Threshold {
    /// Finds the threshold of least cost among the scores of entities of which it is known what they are, and what the others
    /// would have cost. Of several, it is the one that reports the fewest.
    ///
    /// # Errors
    /// [`TooFewScores::Cost`] when too few of them are anomalies.
    ///
    /// # Panics
    /// When there is not a label a score.
    pub fn fit_by_cost(
        cost: Cost,
        scores: &[f32],
        is_anomaly: &[bool],
    ) -> Result<(Self, Vec<CostPoint>), TooFewScores> {
        let policy = ThresholdPolicy::Cost(cost);
        let curve = cost.curve(scores, is_anomaly);
        let n_anomalies = is_anomaly.iter().filter(|&&is_anomaly| is_anomaly).count();
        let best = curve.iter().copied().reduce(|best, point| if point.cost < best.cost { point } else { best });
        match best {
            Some(best) if n_anomalies >= LEAST_ANOMALIES => {
                Ok((Self { policy, value: best.threshold, by_cluster: Vec::new() }, curve))
            }
            _ => Err(TooFewScores::Cost { policy, needed: LEAST_ANOMALIES, n_anomalies, n_samples: scores.len() }),
        }
    }
}

/// Some of the points of a curve: those where the alerts have grown by a twelfth, the first and the last one, and that with this
/// threshold.
pub fn thinned(curve: &[CostPoint], threshold: f32) -> Vec<CostPoint> {
    let mut next = 0;
    let last = curve.len().saturating_sub(1);
    let is_kept = |(index, point): (usize, &CostPoint)| {
        let is_next = point.alerts >= next;
        if is_next {
            next = point.alerts + 1 + point.alerts / 12;
        }
        (is_next || index == last || point.threshold == threshold).then_some(*point)
    };
    curve.iter().enumerate().filter_map(is_kept).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const COST: Cost = Cost { missed: 120.0, review: 4.0 };

    #[test]
    fn a_threshold_is_chosen_by_what_it_costs() {
        // Half of what scores 90 and more is an anomaly, and an anomaly is worth 30 looks.
        let scores: Vec<f32> = (0..1000).map(|index| (index % 100) as f32).collect();
        let is_anomaly: Vec<bool> = (0..1000).map(|index| index % 100 >= 90 && index % 2 == 0).collect();
        let (threshold, curve) = Threshold::fit_by_cost(COST, &scores, &is_anomaly).unwrap();
        assert_eq!(threshold.value, 89.0);
        assert_eq!(curve.len(), 101);
        let chosen = curve.iter().find(|point| point.threshold == 89.0).unwrap();
        assert_eq!((chosen.alerts, chosen.caught, chosen.missed, chosen.cost), (100, 50, 0, 400.0));
        assert_eq!((curve[0].alerts, curve[0].missed, curve[0].cost), (0, 50, 6000.0));
        let all = curve.last().unwrap();
        assert_eq!((all.alerts, all.caught, all.cost), (1000, 50, 4000.0));
        let thin = thinned(&curve, 89.0);
        assert!(
            thin.len() < 60 && thin.contains(chosen) && thin.first() == curve.first() && thin.last() == curve.last()
        );
    }

    #[test]
    fn too_few_anomalies_and_senseless_costs_are_refused() {
        let scores = [1.0; 50];
        let is_anomaly: Vec<bool> = (0..50).map(|index| index < 9).collect();
        let error = Threshold::fit_by_cost(COST, &scores, &is_anomaly).unwrap_err().to_string();
        assert!(error.starts_with("threshold cost = { missed = 120, review = 4 } needs at least 10"), "{error}");
        assert!(error.contains("9 of the 50"), "{error}");
        assert!(Threshold::fit_by_cost(COST, &[], &[]).is_err());
        let unlabelled = Threshold::fit(ThresholdPolicy::Cost(COST), &scores).unwrap_err().to_string();
        assert!(unlabelled.contains("needs to know which"), "{unlabelled}");
        let check = |missed, review| ThresholdPolicy::Cost(Cost { missed, review }).check();
        assert_eq!(check(120.0, 4.0), Ok(()));
        assert!(check(4.0, 4.0).unwrap_err().contains("missed must be above review"));
        assert!(check(f64::NAN, 4.0).is_err() && check(4.0, -1.0).is_err() && check(f64::INFINITY, 1.0).is_err());
    }

    #[test]
    fn a_pipeline_file_has_it_as_it_is_written() {
        let text = r#"{"cost": {"missed": 120, "review": 4}}"#;
        let policy: ThresholdPolicy = serde_json::from_str(text).unwrap();
        assert_eq!(policy, ThresholdPolicy::Cost(COST));
        assert_eq!(policy.to_string(), "cost = { missed = 120, review = 4 }");
        assert!(policy.needs_calibration() && policy.rate().is_none());
        assert!(serde_json::from_str::<ThresholdPolicy>(r#"{"cost": {"missed": 120}}"#).is_err());
    }

    proptest! {
        /// No threshold costs less, and each point says what its threshold does.
        #[test]
        fn no_threshold_costs_less(
            entities in proptest::collection::vec((0u8..40, any::<bool>()), 1..120), missed in 2.0f64..50.0, any in -1f32..41.0,
        ) {
            let (scores, mut is_anomaly): (Vec<f32>, Vec<bool>) =
                entities.into_iter().map(|(score, is_anomaly)| (f32::from(score), is_anomaly)).unzip();
            let mut scores = scores;
            scores.extend([7.0; 10]);
            is_anomaly.extend([true; 10]);
            let cost = Cost { missed, review: 1.0 };
            let of = |threshold: f32| {
                let alerts = scores.iter().filter(|&&score| score > threshold).count() as f64;
                let lost = scores.iter().zip(&is_anomaly).filter(|&(&score, &is)| is && score <= threshold).count() as f64;
                missed * lost + alerts
            };
            let (threshold, curve) = Threshold::fit_by_cost(cost, &scores, &is_anomaly).unwrap();
            prop_assert!(of(threshold.value) <= of(any) + 1e-9);
            prop_assert!(curve.iter().all(|point| (point.cost - of(point.threshold)).abs() < 1e-9));
            prop_assert!(curve.is_sorted_by(|a, b| a.alerts < b.alerts && a.threshold > b.threshold));
            prop_assert!(curve.iter().all(|point| point.caught + point.missed == curve[0].missed));
        }
    }
}
