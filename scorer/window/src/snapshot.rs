//! The stream at a moment.

use serde::Serialize;

/// The numbers of a stream at a moment. Counters begin at 0 when the process starts.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Snapshot {
    /// Records read.
    pub records: u64,
    /// Records by outcome. Each record has one, and these add up to what was read, came with the state, or was lost.
    pub outcomes: Vec<(&'static str, u64)>,
    /// Entities handed on to be scored.
    pub scored: u64,
    /// Anomalies published, by detector.
    pub anomalies: Vec<(String, u64)>,
    /// Broken rules, by reason.
    pub reasons: Vec<(String, u64)>,
    /// Records and entities that were published as erroneous.
    pub erroneous: u64,
    /// Entities that are open, and records that wait.
    pub open: u64,
    /// Distinct cancelled entities; `None` where the pipeline counts none.
    pub cancellations: Option<u64>,
    /// Windows of cancellations that were published.
    pub cancellation_windows: u64,
    /// Messages that the broker has acknowledged.
    pub published: u64,
    /// Messages that their topics did not take, told of in the erroneous topic.
    pub undeliverable: u64,
    /// Those that the erroneous topic did not take either.
    pub skipped: u64,
    /// Batches that were sent again.
    pub sent_again: u64,
    /// How often everything went back to the last commit.
    pub rolled_back: u64,
    /// What was closed, judged or forgotten before its time, at a limit.
    pub at_limits: u64,
    /// Records with a date that is hardly meant, by column.
    pub odd_dates: Vec<(String, u64)>,
    /// Records that the broker has and that were not read, as far as that is known.
    pub lag: Option<u64>,
    /// How long ago the record that was read last was written, while there are more to read; 0 where there are none.
    pub lag_seconds: Option<f64>,
    /// The partitions of this instance.
    pub partitions: Partitions,
    /// Bytes of the state.
    pub state_bytes: u64,
    /// How long commits took.
    pub commits: Histogram,
    /// How long ago the last commit was.
    pub seconds_since_commit: Option<f64>,
    /// Bytes that the process has in memory.
    pub resident_bytes: Option<u64>,
    /// How the first two trained detectors agree.
    pub agreement: Option<Agreement>,
    /// Whether the stream is still like the training; `None` where nothing is trained.
    pub drift: Option<Drift>,
}

/// The partitions of an instance.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Partitions {
    /// Whether the group has answered yet.
    pub has_joined: bool,
    /// Those that are this instance's.
    pub owned: usize,
    /// Those whose state is on its way.
    pub restoring: usize,
    /// Those whose state could not be restored.
    pub failed: usize,
    /// Those whose next record waits until its schema is known.
    pub waiting: usize,
    /// Those of other instances whose state is followed here.
    pub standby: usize,
    /// Changelog records that these copies are behind.
    pub standby_lag: u64,
}

/// Durations, counted by upper bounds.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Histogram {
    /// Upper bounds in seconds, each with how many durations are at most that and above the bound before it. The last one is
    /// infinite.
    pub buckets: Vec<(f64, u64)>,
    /// The sum of all durations, in seconds.
    pub sum: f64,
}

impl Snapshot {
    /// The same with counters that are at least those of an earlier moment. A transaction that fails takes counters back, until
    /// the same records are read again; a counter that goes back looks like a restart to Prometheus.
    pub(crate) fn at_least(mut self, earlier: &Self) -> Self {
        self.records = self.records.max(earlier.records);
        self.scored = self.scored.max(earlier.scored);
        self.erroneous = self.erroneous.max(earlier.erroneous);
        self.at_limits = self.at_limits.max(earlier.at_limits);
        self.cancellations = self.cancellations.max(earlier.cancellations);
        raise(&mut self.outcomes, &earlier.outcomes);
        raise(&mut self.reasons, &earlier.reasons);
        raise(&mut self.odd_dates, &earlier.odd_dates);
        self
    }
}

/// Raises each count to what it was; what is missing by now is there again.
fn raise<N: Clone + PartialEq>(counts: &mut Vec<(N, u64)>, earlier: &[(N, u64)]) {
    for (name, before) in earlier {
        match counts.iter_mut().find(|(other, _)| other == name) {
            Some((_, count)) => *count = (*count).max(*before),
            None => counts.push((name.clone(), *before)),
        }
    }
}

impl Histogram {
    /// How many durations there are.
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|(_, count)| count).sum()
    }

    /// The bound that a share of all durations is at most; `None` of none, and where they are beyond the last finite bound.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let wanted = (share * self.count() as f64).ceil().max(1.0) as u64;
        let mut seen = 0;
        let bucket = self.buckets.iter().find(|(_, count)| {
            seen += count;
            seen >= wanted
        });
        bucket.map(|(bound, _)| *bound).filter(|bound| bound.is_finite())
    }
}

/// How two detectors agree on entities.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Agreement {
    /// Their names.
    pub names: [String; 2],
    /// Anomalies of both.
    pub both: u64,
    /// Anomalies of the first alone, and of the second alone.
    pub only: [u64; 2],
    /// Entities that are normal to both.
    pub neither: u64,
}

/// Whether the stream is still like the training, since the start.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Drift {
    /// The probability with which a detector ever raises an alarm while nothing has changed.
    pub alpha: f64,
    /// The trained detectors.
    pub detectors: Vec<DetectorDrift>,
    /// The features.
    pub features: Vec<FeatureDrift>,
}

/// The scores of a detector beside those of its training.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct DetectorDrift {
    /// The detector.
    pub name: String,
    /// Scores that were counted.
    pub scores: u64,
    /// The decimal logarithm of the evidence that they are not like the training; `None` where the model does not say how
    /// that was.
    pub evidence: Option<f64>,
    /// Since when they are not, once an alarm was raised: a moment in RFC 3339.
    pub since: Option<String>,
    /// The population stability index of the newest scores; `None` of too few.
    pub stability: Option<f64>,
    /// What is said of it, in a sentence.
    pub said: String,
}

/// The values of a feature beside those of the training.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct FeatureDrift {
    /// The feature.
    pub name: String,
    /// The population stability index of the newest values; `None` of too few.
    pub stability: Option<f64>,
    /// The share of them outside the range of the training.
    pub outside: f64,
    /// The share of records without a value.
    pub missing: f64,
}

impl Drift {
    /// What a number of each detector is, where it has one.
    pub(crate) fn by_detector(&self, of: impl Fn(&DetectorDrift) -> Option<f64>) -> Vec<(&str, f64)> {
        self.detectors.iter().filter_map(|detector| Some((detector.name.as_str(), of(detector)?))).collect()
    }

    /// What a number of each feature is, where it has one.
    pub(crate) fn by_feature(&self, of: impl Fn(&FeatureDrift) -> Option<f64>) -> Vec<(&str, f64)> {
        self.features.iter().filter_map(|feature| Some((feature.name.as_str(), of(feature)?))).collect()
    }
}

impl DetectorDrift {
    /// Whether an alarm was raised, as a number; `None` where nothing is watched.
    pub(crate) fn alarm(&self) -> Option<f64> {
        self.evidence.map(|_| f64::from(u8::from(self.since.is_some())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_never_go_back() {
        let of = |records, outcomes: &[(&'static str, u64)], reasons: &[(&str, u64)]| Snapshot {
            records,
            outcomes: outcomes.to_vec(),
            reasons: reasons.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect(),
            lag: Some(records),
            ..Snapshot::default()
        };
        let before = of(10, &[("scored", 5), ("late", 2)], &[("late_line", 2)]);
        let rolled_back = of(8, &[("scored", 6), ("late", 0)], &[]).at_least(&before);
        assert_eq!(
            rolled_back,
            Snapshot { lag: Some(8), ..of(10, &[("scored", 6), ("late", 2)], &[("late_line", 2)]) }
        );
    }

    #[test]
    fn a_quantile_is_the_bound_that_so_many_are_within() {
        let of = |counts: [u64; 3]| {
            let buckets = [0.01, 0.1, f64::INFINITY].into_iter().zip(counts).collect();
            Histogram { buckets, sum: 0.0 }
        };
        assert_eq!(of([98, 2, 0]).quantile(0.99), Some(0.1));
        assert_eq!(of([98, 2, 0]).quantile(0.5), Some(0.01));
        assert_eq!(of([0, 0, 1]).quantile(0.5), None, "it is beyond what was told apart");
        assert_eq!(of([0, 0, 0]).quantile(0.5), None);
        assert_eq!(Histogram::default().quantile(0.5), None);
    }
}
